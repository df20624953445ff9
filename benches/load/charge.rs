//! A memory cgroup for the server under test: what the kernel charges to it, which is its
//! own memory and the kernel's for its sockets, and nothing of the load generator's.
//!
//! It takes root, and a hierarchy that this machine lets it write to: version 1 counts TCP's
//! buffers apart from the rest, version 2 all in one. Either hands pages to each processor
//! in lots, so that a figure is off by up to a quarter of a megabyte for each of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where version 1 has its memory hierarchy, by custom.
const VERSION_1: &str = "/sys/fs/cgroup/memory";
/// Where version 2 has all of them.
const VERSION_2: &str = "/sys/fs/cgroup";
/// More than any machine has: TCP's buffers are counted only where they have a limit.
const NO_LIMIT: &str = "4611686018427387904";

pub(crate) struct Charge {
    folder: PathBuf,
    /// Its files' sum is what is charged.
    counters: &'static [&'static str],
}

impl Charge {
    /// For a server that is added next.
    pub(crate) fn new() -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("moss-bench-{}-{number}", process::id());
        if Path::new(VERSION_1).is_dir() {
            let folder = Path::new(VERSION_1).join(name);
            fs::create_dir(&folder)?;
            let charge = Self {
                folder,
                counters: &["memory.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes"],
            };
            fs::write(charge.folder.join("memory.kmem.tcp.limit_in_bytes"), NO_LIMIT)?;
            return Ok(charge);
        }
        let folder = Path::new(VERSION_2).join(name);
        fs::create_dir(&folder)?;
        let charge = Self { folder, counters: &["memory.current"] };
        charge.bytes().map(|_| charge)
    }

    /// What the processes need from now on is charged here; what they have is not.
    pub(crate) fn add(&self, processes: &[u32]) -> io::Result<()> {
        processes
            .iter()
            .try_for_each(|id| fs::write(self.folder.join("cgroup.procs"), id.to_string()))
    }

    pub(crate) fn bytes(&self) -> io::Result<u64> {
        self.counters
            .iter()
            .map(|counter| {
                let text = fs::read_to_string(self.folder.join(counter))?;
                text.trim().parse::<u64>().map_err(io::Error::other)
            })
            .sum()
    }
}

impl Drop for Charge {
    /// Its processes have ended by now.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
