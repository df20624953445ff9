//! A control group for one test, which limits a moss's memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, skipped};

/// A control group, of the version that controls memory here. Dropping it kills its processes
/// and removes it, so it has to be dropped after its moss.
pub struct Cgroup {
    path: PathBuf,
    is_version_2: bool,
}

impl Cgroup {
    /// A group with this limit in bytes, without swap. `None` where none can be made: the test is
    /// reported as skipped.
    pub fn of(test: &str, bytes: usize) -> Option<Self> {
        let made = Self::version_1(bytes).or_else(|| Self::version_2(bytes));
        if made.is_none() {
            skipped(test, "no control group can be made here that limits memory: is this root?");
        }
        made
    }

    fn version_1(bytes: usize) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.split_once(":memory:/"))?.1;
        let group = Self {
            path: fresh(&Path::new("/sys/fs/cgroup/memory").join(own))?,
            is_version_2: false,
        };
        group.set("memory.limit_in_bytes", &bytes.to_string())?;
        // Swap is not counted on every machine.
        let _ = group.set("memory.memsw.limit_in_bytes", &bytes.to_string());
        Some(group)
    }

    /// A group below the root: a group with processes can't have subgroups with limits.
    fn version_2(bytes: usize) -> Option<Self> {
        let group = Self { path: fresh(Path::new("/sys/fs/cgroup"))?, is_version_2: true };
        group.set("memory.max", &bytes.to_string())?;
        let _ = group.set("memory.swap.max", "0");
        Some(group)
    }

    /// A subgroup without a limit of its own.
    pub fn inner(&self) -> Option<Self> {
        let path = self.path.join("inner");
        fs::create_dir(&path).ok()?;
        Some(Self { path, is_version_2: self.is_version_2 })
    }

    /// The shell command with which a process joins the group, for `Setup::before`.
    pub fn enter(&self) -> String {
        format!("echo $$ > '{}/cgroup.procs'", self.path.display())
    }

    /// How many processes the kernel has killed for memory.
    pub fn kills(&self) -> u64 {
        let name = if self.is_version_2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.path.join(name)).expect("a group");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.expect("a count").parse().expect("a number")
    }

    /// The most memory that it has used, if the kernel counts that.
    pub fn peak(&self) -> Option<usize> {
        let name = if self.is_version_2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.path.join(name)).ok()?.trim().parse().ok()
    }

    fn set(&self, name: &str, value: &str) -> Option<()> {
        fs::write(self.path.join(name), value).ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A killed process stays in the group until it has ended.
        let start = Instant::now();
        while fs::remove_dir(&self.path).is_err() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Makes a group in this folder.
fn fresh(parent: &Path) -> Option<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("moss-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = parent.join(name);
    // Without a cgroup file system this would make an ordinary folder; without the right to
    // write it fails.
    if !parent.join("cgroup.procs").exists() {
        return None;
    }
    fs::create_dir(&path).ok()?;
    Some(path)
}
