//! `moss check`: reads all that a start reads, and tells what would be in force.
//!
//! Settings go to stdout, one `NAME=value` a line, and remarks among them begin with `#`; what
//! a start would warn of goes to stderr. No port is opened: whoever checks does it beside a moss
//! that runs.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use log::{Level, LevelFilter, Log, Metadata, Record};
use moss::server::start;
use moss::settings::{environment, summary};

use super::{WRONG_SETTINGS, addresses, give_up, raise_descriptor_limit, room, say};

/// Checks; the exit status is 0 if moss could start with these settings.
pub(crate) fn run() -> ExitCode {
    let mut config = match environment::load(raise_descriptor_limit(), room()) {
        Ok(config) => config,
        Err(error) => return give_up(WRONG_SETTINGS, &error),
    };
    log::set_max_level(LevelFilter::Info);
    log::set_logger(&Remarks).expect("no logger was set before");
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    if let Err(error) = start::load(&mut config) {
        return give_up(WRONG_SETTINGS, &error);
    }
    addresses::warn(&config);
    for (name, value) in summary::in_force(&config) {
        say(&line(name, &value));
    }
    ExitCode::SUCCESS
}

/// A value is one line, whatever is in it.
fn line(name: &str, value: &str) -> String {
    if value.contains(char::is_control) {
        format!("{name}={value:?}\n")
    } else {
        format!("{name}={value}\n")
    }
}

/// The log of a start, for who reads it at once.
struct Remarks;

impl Log for Remarks {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("moss")
    }

    fn log(&self, record: &Record<'_>) {
        let remark: &dyn Display = record.args();
        if !self.enabled(record.metadata()) {
        } else if record.level() <= Level::Warn {
            let _ = writeln!(std::io::stderr(), "moss: warning: {remark}");
        } else {
            say(&format!("# {remark}\n"));
        }
    }

    fn flush(&self) {}
}
