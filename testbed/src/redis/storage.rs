//! What a Redis has on disk, and what may happen to it while the server does not run.

use std::{
    fs, mem,
    path::{Path, PathBuf},
};

use super::Redis;

impl Redis {
    /// Removes everything. It must not run.
    pub fn forget(&self) {
        let _there_or_not = fs::remove_dir_all(self.append_only());
        let _there_or_not = fs::remove_file(self.directory.join("dump.rdb"));
    }

    /// Cuts this many bytes, but at most half of the file, from the end of the newest part of the append-only file, as a
    /// power failure may. It must not run. Returns how many bytes were cut.
    pub fn cut_append_only_file(&self, bytes: u64) -> u64 {
        let parts = fs::read_dir(self.append_only()).unwrap().map(|entry| entry.unwrap().path());
        let newest = parts
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
            .unwrap();
        let length = fs::metadata(&newest).unwrap().len();
        let cut = bytes.min(length / 2);
        fs::File::options().write(true).open(newest).unwrap().set_len(length - cut).unwrap();
        cut
    }

    /// Starts it from its last `SAVE`, as if the append-only file had been lost, and lets it write one again. It must not
    /// run.
    pub async fn resume_from_save(&mut self) {
        let _there_or_not = fs::remove_dir_all(self.append_only());
        let settings = mem::take(&mut self.settings);
        self.resume().await;
        self.settings = settings;
        self.command(&["CONFIG", "SET", "appendonly", "yes"]).await;
    }

    /// The same from a snapshot that `redis-cli --rdb` has made.
    pub async fn resume_from(&mut self, snapshot: &Path) {
        fs::copy(snapshot, self.directory.join("dump.rdb")).unwrap();
        self.resume_from_save().await;
    }

    /// What it has printed, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("redis.log")).unwrap()
    }

    fn append_only(&self) -> PathBuf {
        self.directory.join("appendonlydir")
    }
}
