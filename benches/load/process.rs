//! What the kernel says of another process: its CPU time and its memory.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

/// Looks, two milliseconds apart, for a server to come to rest.
const PATIENCE: u32 = 5_000;

#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Resident bytes, the program's own pages and its libraries' included.
    pub(crate) resident: u64,
    /// Resident bytes that no file backs: heap, stack, written data.
    pub(crate) anonymous: u64,
}

/// CPU time of all threads so far, user and system, once they are at rest.
///
/// The kernel brings a thread's count up to date when it stops running, to the
/// nanosecond; asked too early it leaves out up to a tick.
pub(crate) fn cpu_time(process: u32) -> io::Result<Duration> {
    let mut before = cpu_time_now(process)?;
    for _ in 0..PATIENCE {
        thread::sleep(Duration::from_millis(2));
        let after = cpu_time_now(process)?;
        if after == before {
            return Ok(after);
        }
        before = after;
    }
    Err(io::Error::other("a server with nothing to do never rests"))
}

/// CPU time of all threads so far, as of when each last stopped running.
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

/// Read from the page tables: the counters in `status` are off by up to a
/// batch of pages for each core.
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
