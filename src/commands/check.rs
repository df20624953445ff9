//! `moss check`: reads all settings and files as a start does, and prints the settings.
//!
//! Settings go to stdout, one `NAME=value` per line, with remarks that begin with `#`; warnings
//! go to stderr. No port is opened: moss may be running meanwhile.

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

/// A setting as one line, whatever characters its value has.
fn line(name: &str, value: &str) -> String {
    if value.contains(char::is_control) {
        format!("{name}={value:?}\n")
    } else {
        format!("{name}={value}\n")
    }
}

/// The log during a check: info lines as remarks, warnings on stderr.
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
