//! What the kernel tells about a running moss: memory, CPU time, descriptors.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Moss, PATIENCE};

/// Bytes in a mebibyte.
pub const MIB: usize = 1 << 20;

/// Measures how far a moss's resident memory rises.
pub struct Memory {
    pid: u32,
    before: usize,
}

impl Memory {
    /// Starts to measure.
    pub fn watch(moss: &Moss) -> Self {
        let pid = moss.pid();
        // Sets the high-water mark to what is resident now (proc(5), clear_refs).
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a mark to be reset");
        Self { pid, before: status(pid, "VmRSS") }
    }

    /// The highest rise since then, in bytes.
    pub fn peak(&self) -> usize {
        status(self.pid, "VmHWM").saturating_sub(self.before)
    }

    /// The rise that is left now, in bytes.
    pub fn rise(&self) -> usize {
        status(self.pid, "VmRSS").saturating_sub(self.before)
    }

    /// Fails if memory has risen by more at any time.
    #[track_caller]
    pub fn assert_peak_below(&self, bound: usize) {
        let peak = self.peak();
        println!("memory rose by {} KiB at most; {} are allowed", peak >> 10, bound >> 10);
        assert!(peak < bound, "memory rose by {peak} bytes; {bound} are allowed");
    }
}

/// CPU time that a moss has used so far, to a hundredth of a second.
pub fn cpu_time(moss: &Moss) -> Duration {
    let stat = stat(moss);
    let ticks = |at: usize| -> u64 { stat[at].parse().expect("a number") };
    // utime and stime, in hundredths of a second on every Linux.
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Whether a moss is asleep.
pub fn is_asleep(moss: &Moss) -> bool {
    stat(moss)[0] == "S"
}

/// Waits until a moss has nothing to do: it has handled all that it was sent, and the kernel takes
/// no more of what it sends.
#[track_caller]
pub fn wait_until_idle(moss: &Moss) {
    let start = Instant::now();
    let mut asleep = 0;
    while asleep < 20 {
        assert!(start.elapsed() < PATIENCE, "moss is never idle");
        asleep = if is_asleep(moss) { asleep + 1 } else { 0 };
        thread::sleep(Duration::from_millis(5));
    }
}

/// Stops a moss until SIGCONT, and waits until it has stopped.
pub fn stop(moss: &Moss) {
    moss.signal(Signal::STOP);
    let start = Instant::now();
    while stat(moss)[0] != "T" {
        assert!(start.elapsed() < PATIENCE, "moss does not stop");
        thread::yield_now();
    }
}

/// Descriptors that a moss has open.
pub fn descriptors(moss: &Moss) -> usize {
    fs::read_dir(format!("/proc/{}/fd", moss.pid())).expect("a process").count()
}

/// Waits until a moss has no more than this number of descriptors open. The end of a connection is
/// noticed only later, and moss also waits for the peer to close.
#[track_caller]
pub fn wait_for_descriptors(moss: &Moss, most: usize) {
    let start = Instant::now();
    while descriptors(moss) > most {
        let open = descriptors(moss);
        assert!(start.elapsed() < PATIENCE, "{open} descriptors are open, not {most}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until all that was sent from this address has arrived at the socket of moss, the end of
/// the connection included. The kernel may deliver later what was sent earlier elsewhere.
#[track_caller]
pub fn wait_for_arrival(from: SocketAddr) {
    let port = format!(":{:04X}", from.port());
    let is_on_its_way = || {
        let sockets = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        sockets.lines().any(|line| {
            // The columns are: number, local address, remote address, state, and how many bytes
            // are not acknowledged yet, before a colon.
            let columns: Vec<_> = line.split_whitespace().collect();
            columns[1].ends_with(&port) && !columns[4].starts_with("00000000:")
        })
    };
    let start = Instant::now();
    while is_on_its_way() {
        assert!(start.elapsed() < PATIENCE, "not all has arrived from {from}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The fields of /proc/<pid>/stat (proc(5)) after the name, which may contain spaces.
fn stat(moss: &Moss) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", moss.pid())).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    fields.split_whitespace().map(str::to_owned).collect()
}

fn status(pid: u32, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with(field)).expect("a field");
    let kib: usize = line.split_whitespace().nth(1).expect("a value").parse().expect("a number");
    kib << 10
}
