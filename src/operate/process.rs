//! What the kernel reports about moss's own process, for `/metrics`.
//!
//! All of it works in a sandbox where only processes are visible in `/proc` (systemd's
//! `ProcSubset=pid`). Values that are not available are left out; nothing here fails.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The process as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// When it started, since 1970, by the clock at that time: setting the clock does not change
    /// it.
    pub start: Option<Duration>,
    /// CPU time so far, user's and system's.
    pub cpu: Option<Duration>,
    /// Resident memory, in bytes. The kernel counts in batches, so up to some hundred kilobytes
    /// may be missing.
    pub resident_bytes: Option<u64>,
    /// Descriptors that are open.
    pub open_fds: Option<u64>,
    /// The limit of open descriptors; `None` if there is no limit.
    pub max_fds: Option<u64>,
}

impl Process {
    /// Asks the kernel. The caller provides the time of the start.
    #[cold]
    pub fn now(start: SystemTime) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            start: start.duration_since(UNIX_EPOCH).ok(),
            cpu: cpu.try_into().ok(),
            resident_bytes: resident_bytes(),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// From `status`, in kilobytes (proc_pid_status(5)). `statm` is shorter, but counts in pages,
/// whose size would have to be asked for.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Since Linux 6.2 the size of the folder is their number (proc_pid_fd(5)). Before, the size is
/// 0, and the entries are counted, without the descriptor that this needs itself.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => (fs::read_dir("/proc/self/fd").ok()?.count() as u64).checked_sub(1),
        count => Some(count),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn process_is_told_as_it_is() {
        let before = SystemTime::now();
        let process = Process::now(before);
        assert_eq!(process.start, before.duration_since(UNIX_EPOCH).ok());
        assert!(process.open_fds >= Some(3) && process.open_fds <= process.max_fds, "{process:?}");
        assert!((1 << 20..1 << 40).contains(&process.resident_bytes.expect("a size")));
    }

    #[test]
    fn figures_grow_with_what_is_used() {
        const BYTES: usize = 64 << 20;

        let before = Process::now(SystemTime::now());
        let files: Vec<_> = (0..200).map(|_| fs::File::open("/proc/self/stat")).collect();
        let bytes = black_box(vec![1_u8; BYTES]);
        let after = Process::now(SystemTime::now());
        // Other tests of this program open files too, and drop theirs.
        assert!(after.open_fds > before.open_fds.map(|count| count + 100), "{after:?}");
        let more = before.resident_bytes.map(|before| before + BYTES as u64 / 2);
        assert!(after.resident_bytes > more, "{after:?}");
        assert!(after.cpu > before.cpu, "{after:?}");
        drop((files, bytes));
    }
}
