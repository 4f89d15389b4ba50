//! A Redis whose clock is wrong: libfaketime answers its process in place of the system.

use std::{fs, path::PathBuf, time::Duration};

use super::Redis;

/// Whether libfaketime is there. Debian's package has its name.
pub fn can_turn_clocks() -> bool {
    library().is_some()
}

impl Redis {
    /// From the next start on, its clock is so many seconds behind; right again with 0.
    pub fn turn_clock_back(&mut self, by: Duration) {
        self.environment.clear();
        if !by.is_zero() {
            let library = library().unwrap_or_else(|| panic!("libfaketime is not installed"));
            // the allocator of Debian's Redis asks for the time before the library is ready: take that of libc
            let libraries = format!("{}:libc.so.6", library.display());
            let offset = format!("-{}", by.as_secs());
            // Redis measures its pauses by the monotonic clock, which never goes back.
            let monotonic = ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into());
            self.environment = vec![("LD_PRELOAD", libraries.into()), ("FAKETIME", offset.into()), monotonic];
        }
    }
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.exists())
}
