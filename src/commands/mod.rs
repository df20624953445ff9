//! What the program does, one file for each command; and how it speaks to who started it.
//!
//! Nothing here panics because nobody reads: `print!` and `eprint!` would, and the exit status,
//! which scripts and systemd go by, would be 101.

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

/// Exit status of what a person has to put right: starting moss again would not help.
pub(crate) const WRONG_SETTINGS: u8 = 2;

/// Prints to stdout.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Says on stderr, in one line, why the program ends, with this exit status.
#[cold]
pub(crate) fn give_up(status: u8, why: &dyn Display) -> ExitCode {
    let mut stderr = std::io::stderr();
    let priority = if journal::is_journal(&stderr) { journal::priority(Level::Error) } else { "" };
    let _ = stderr.write_all(format!("{priority}moss: {why}\n").as_bytes());
    ExitCode::from(status)
}

/// The version, and the commit if the build knew it (see `build.rs`).
pub(crate) const VERSION: &str = env!("MOSS_VERSION");

/// How much memory moss may take.
pub(crate) fn room() -> Room {
    Room { machine: cgroup::machine_memory(), cgroup: cgroup::memory_limit() }
}

/// Raises the soft limit on open files to the hard one, and returns what is in force:
/// a connection is a descriptor, and the soft limit is often 1024 for old programs' sake.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    in_force.unwrap_or(u64::MAX)
}
