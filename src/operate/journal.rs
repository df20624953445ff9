//! The log: simple_logger, for a program that must never wait for its log.
//!
//! simple_logger prints with `println!`, which blocks while a pipe is full and panics
//! when stdout is closed. So a line is printed only if stdout takes it now, and a panic is
//! caught here. The number of lines per second is limited, since peers can cause them.
//! Dropped lines are counted, and the count is logged as soon as lines can be printed again.
//!
//! Under journald a line has its priority, as sd-daemon(3) describes it, and no time, which
//! the journal adds. Anywhere else it has the time, in UTC, and the level.
//!
//! Only moss's own lines are logged: tungstenite logs payloads at `trace`.

use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{env, io};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstat;
use simple_logger::SimpleLogger;

use crate::operate::utc::Utc;

/// Lines per second; more are dropped.
const LINES_A_SECOND: u32 = 100;

/// The longest line, in bytes: a pipe that polls as writable takes this much without blocking
/// (`PIPE_BUF` is at least 4096 on Linux).
const LINE_BYTES: usize = 2048;

/// How many lines were dropped in all. Global, like the log itself.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts logging to stdout.
pub fn start(level: LevelFilter) {
    silence_broken_stdout();
    let inner = SimpleLogger::new().with_level(level);
    log::set_max_level(level);
    let is_journal = is_journal(io::stdout());
    let journal = Journal { inner, is_journal, flow: Mutex::new(Flow::new(Instant::now())) };
    log::set_boxed_logger(Box::new(journal)).expect("no logger was set before");
}

/// How many lines were dropped since the start, for any reason.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Whether this descriptor leads to journald. `JOURNAL_STREAM` names the socket, and has to be
/// compared: a child of a service inherits the variable, but may have another stdout.
pub fn is_journal(fd: impl AsFd) -> bool {
    let Ok(named) = env::var("JOURNAL_STREAM") else { return false };
    fstat(fd).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The prefix of a line for journald: a priority of syslog(3).
pub fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

struct Journal {
    inner: SimpleLogger,
    /// stdout leads to journald.
    is_journal: bool,
    flow: Mutex<Flow>,
}

/// How many lines were printed in this second, and how many were dropped since the last notice.
#[derive(Debug)]
struct Flow {
    second: Instant,
    printed: u32,
    dropped: u64,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Not by simple_logger's list of modules, which adds kilobytes of code for sorting.
        metadata.target().starts_with("moss") && self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Ok(mut flow) = self.flow.lock() else { return };
        if !flow.admits(Instant::now()) || !stdout_takes_a_line() {
            flow.drop_line();
            return;
        }
        if flow.dropped > 0 {
            let notice = format!("{} lines of the log were dropped", flow.dropped);
            if !self.print(record.level(), &notice) {
                flow.drop_line();
                return;
            }
            flow.dropped = 0;
        }
        let mut line = record.args().to_string();
        line.truncate(line.floor_char_boundary(LINE_BYTES));
        if !self.print(record.level(), &line) {
            flow.drop_line();
        }
    }

    fn flush(&self) {}
}

impl Journal {
    /// Prints a line; false if that failed.
    fn print(&self, level: Level, line: &str) -> bool {
        let print = || {
            if self.is_journal {
                return println!("{}{line}", priority(level));
            }
            // It stays in stdout's buffer until the line is complete.
            print!("{} ", Utc(SystemTime::now()));
            let arguments = format_args!("{line}");
            self.inner.log(&Record::builder().level(level).target("moss").args(arguments).build());
        };
        panic::catch_unwind(AssertUnwindSafe(print)).is_ok()
    }
}

impl Flow {
    fn new(now: Instant) -> Self {
        Self { second: now, printed: 0, dropped: 0 }
    }

    fn drop_line(&mut self) {
        self.dropped += 1;
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }

    fn admits(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.printed = 0;
        }
        self.printed += 1;
        self.printed <= LINES_A_SECOND
    }
}

fn stdout_takes_a_line() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
        && fds[0].revents().contains(PollFlags::OUT)
        && !fds[0].revents().contains(PollFlags::ERR)
}

/// A panic of `println!` is expected and caught above; only its report is suppressed.
fn silence_broken_stdout() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or_default();
        if !message.starts_with("failed printing to stdout") {
            report(info);
        }
    }));
}
