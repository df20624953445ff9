//! A memory cgroup for the server under test. The kernel charges to it the server's own memory
//! and the kernel's memory for its sockets, and nothing of the load generator.
//!
//! It needs root, and a hierarchy that is writable on this machine. Version 1 counts TCP
//! buffers separately, version 2 everything together. Both charge pages in batches for each
//! processor, so a figure is off by up to a quarter of a megabyte per processor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The usual path of version 1's memory hierarchy.
const VERSION_1: &str = "/sys/fs/cgroup/memory";
/// The path of version 2.
const VERSION_2: &str = "/sys/fs/cgroup";
/// More than any machine has: TCP buffers are counted only if they have a limit.
const NO_LIMIT: &str = "4611686018427387904";

pub(crate) struct Charge {
    folder: PathBuf,
    /// The files whose sum is the charged memory.
    counters: &'static [&'static str],
}

impl Charge {
    /// Creates an empty cgroup.
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

    /// Adds processes: memory that they allocate from now on is charged here, earlier memory not.
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
    /// Deletes the cgroup. Its processes must have ended.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
