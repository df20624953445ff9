//! CPU time and memory of other processes, from the kernel.

use std::fs;
use std::io;
use std::iter::Sum;
use std::thread;
use std::time::Duration;

/// How often to check, at intervals of two milliseconds, whether a server has become idle.
const PATIENCE: u32 = 5_000;

pub(crate) struct Memory {
    /// Resident bytes, including the pages of the program and its libraries.
    pub(crate) resident: u64,
    /// Resident bytes that no file backs: heap, stack, written data.
    pub(crate) anonymous: u64,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(memories: I) -> Self {
        memories.fold(Self { resident: 0, anonymous: 0 }, |sum, memory| Self {
            resident: sum.resident + memory.resident,
            anonymous: sum.anonymous + memory.anonymous,
        })
    }
}

/// CPU time of all threads of `processes` so far, user and system, once they are idle.
///
/// The kernel's count of a thread's time is exact once the thread has stopped running; before
/// that, up to a tick is missing.
pub(crate) fn cpu_time(processes: &[u32]) -> io::Result<Duration> {
    let now =
        || processes.iter().map(|process| cpu_time_now(*process)).sum::<io::Result<Duration>>();
    let mut before = now()?;
    for _ in 0..PATIENCE {
        thread::sleep(Duration::from_millis(2));
        let after = now()?;
        if after == before {
            return Ok(after);
        }
        before = after;
    }
    Err(io::Error::other("the server stays busy without load"))
}

/// CPU time of all threads of a process, until each last stopped running.
pub(crate) fn cpu_time_now(process: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = schedstat.split_whitespace().next();
        nanoseconds += on_cpu
            .and_then(|field| field.parse::<u64>().ok())
            .ok_or_else(|| io::Error::other("the kernel keeps no schedstat"))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The running child processes of `process`.
pub(crate) fn children(process: u32) -> io::Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    Ok(list.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// Memory of a process, from the page tables: the counters in `status` are off by up to a batch
/// of pages for each core.
pub(crate) fn memory(process: u32) -> io::Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let bytes = |name: &str| {
        rollup
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| io::Error::other(format!("no {name} in smaps_rollup")))
    };
    Ok(Memory { resident: bytes("Rss:")?, anonymous: bytes("Anonymous:")? })
}
