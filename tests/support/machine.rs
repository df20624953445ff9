//! What a machine may lack: descriptors for a crowd, or rights or a network for a test.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::OVER_TLS;

/// Descriptors left for the tests that run beside a crowd; together they have some 370 open at
/// once if there are enough cores to run them all.
const SPARE: usize = 448;

/// The largest crowd through TLS, where each costs both sides a handshake.
const MOST_OVER_TLS: usize = 1_500;

/// Held by the test with a crowd: a test program has only one crowd at a time.
static CROWD: Mutex<()> = Mutex::new(());

/// Permission to open many connections, one descriptor each, as long as it is held.
pub struct Crowd {
    /// How many connections.
    pub size: usize,
    _turn: MutexGuard<'static, ()>,
}

/// Waits until no other test of this program has a crowd, so that this one may use all
/// descriptors. Its size is `wanted`, or what the hard limit on open files allows.
pub fn crowd(wanted: usize) -> Crowd {
    let wanted = if OVER_TLS { wanted.min(MOST_OVER_TLS) } else { wanted };
    // A poisoned lock means that another test has failed. This one still runs.
    let turn = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let hard = getrlimit(Resource::Nofile).maximum;
    // The soft limit is 1024 on most machines, for the sake of old programs.
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).expect("a higher limit");
    let fit = hard.map_or(usize::MAX, |hard| hard as usize).saturating_sub(SPARE);
    assert!(fit >= 100, "ulimit -Hn allows no crowd");
    if fit < wanted {
        println!("{fit} connections instead of {wanted}: see ulimit -Hn");
    }
    Crowd { size: wanted.min(fit), _turn: turn }
}

/// Reports that a test was skipped on this machine. Not by `eprintln!`, since the output of
/// tests that pass is not shown.
pub fn skipped(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("a place to say so");
}
