//! What processes have used, as the kernel reports it.

use std::{fs, ops::Sub, time::Duration};

use anyhow::{Context, Result};

/// Ticks of CPU time a second in `/proc`. Linux reports the same number to user space on every architecture.
const TICKS_PER_SECOND: u32 = 100;

/// CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// In the program.
    pub(crate) user: Duration,
    /// In the kernel.
    pub(crate) system: Duration,
}

impl Cpu {
    /// What these processes have used since they began.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        pids.iter().try_fold(Self::default(), |sum, pid| {
            let one = Self::of_one(*pid)?;
            Ok(Self { user: sum.user + one.user, system: sum.system + one.system })
        })
    }

    fn of_one(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
        // the name, in parentheses, may contain anything
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
        let mut times = fields.split_whitespace().skip(11);
        let mut next = || -> Result<Duration> {
            let ticks: u32 = times.next().context("/proc/PID/stat is too short")?.parse()?;
            Ok(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
        };
        Ok(Self { user: next()?, system: next()? })
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user.saturating_sub(earlier.user), system: self.system.saturating_sub(earlier.system) }
    }
}

/// The resident memory of these processes, in KiB.
pub(crate) fn resident_kib(pids: &[u32]) -> Result<u64> {
    pids.iter().try_fold(0, |sum, pid| {
        let status =
            fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(sum + line.trim().trim_end_matches(" kB").parse::<u64>()?)
    })
}

/// The load of this machine: what `/proc/loadavg` begins with.
pub(crate) fn machine_load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
