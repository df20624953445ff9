//! What a machine may lack: descriptors for a crowd, and rights or network for a test.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::OVER_TLS;

/// Descriptors left to the tests that run beside a crowd; all of those together have
/// some 370 open at once where there are cores enough to run them all.
const SPARE: usize = 448;

/// The largest crowd through TLS, where each costs both sides a handshake.
const MOST_OVER_TLS: usize = 1_500;

/// Held by the one crowd of a test program.
static CROWD: Mutex<()> = Mutex::new(());

/// Leave to open many connections, one descriptor each, for as long as it is kept.
pub struct Crowd {
    /// How many.
    pub size: usize,
    _turn: MutexGuard<'static, ()>,
}

/// Waits until no other test of this program has a crowd, so that this one may have all
/// descriptors. Its size is what is wanted, or what the hard limit on open files allows.
pub fn crowd(wanted: usize) -> Crowd {
    let wanted = if OVER_TLS { wanted.min(MOST_OVER_TLS) } else { wanted };
    // A test that fails says so itself; it is no reason for the next one to fail.
    let turn = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let hard = getrlimit(Resource::Nofile).maximum;
    // The soft limit is 1024 on most machines, for old programs' sake.
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).expect("a higher limit");
    let fit = hard.map_or(usize::MAX, |hard| hard as usize).saturating_sub(SPARE);
    assert!(fit >= 100, "ulimit -Hn allows no crowd");
    if fit < wanted {
        println!("{fit} connections instead of {wanted}: see ulimit -Hn");
    }
    Crowd { size: wanted.min(fit), _turn: turn }
}

/// Says that a test shows nothing on this machine. `eprintln!` would say it to nobody:
/// what a test that passes prints is thrown away.
pub fn skipped(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("a place to say so");
}
