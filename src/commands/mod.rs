//! The commands of the program, one file each, and their output.
//!
//! `print!` and `eprint!` are not used: they panic if the output is closed, and the exit status,
//! on which scripts and systemd rely, would be 101.

pub(crate) mod addresses;
pub(crate) mod check;
pub(crate) mod health;
pub(crate) mod serve;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use log::Level;
use moss::operate::{cgroup, journal};
use moss::settings::room::Room;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The exit status for errors that a person has to fix: starting moss again would not help.
pub(crate) const WRONG_SETTINGS: u8 = 2;

/// Prints to stdout.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints on stderr, in one line, why the program ends, and returns this exit status.
#[cold]
pub(crate) fn give_up(status: u8, why: &dyn Display) -> ExitCode {
    let mut stderr = std::io::stderr();
    let priority = if journal::is_journal(&stderr) { journal::priority(Level::Error) } else { "" };
    let _ = stderr.write_all(format!("{priority}moss: {why}\n").as_bytes());
    ExitCode::from(status)
}

/// The version, and the commit if it was known when moss was built (see `build.rs`).
pub(crate) const VERSION: &str = env!("VERSION_AND_COMMIT");

/// How much memory moss may use.
pub(crate) fn room() -> Room {
    Room { machine: cgroup::machine_memory(), cgroup: cgroup::memory_limit() }
}

/// Raises the soft limit on open files to the hard one, and returns the limit that is in force.
/// Each connection is a descriptor, and the soft limit is often 1024 for the sake of old
/// programs.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    in_force.unwrap_or(u64::MAX)
}
