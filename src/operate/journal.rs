//! The log: simple_logger, made safe for a program that must never stop for its log.
//!
//! simple_logger prints with `println!`, which blocks while a pipe is full and panics
//! when stdout is gone. So each line is only printed if stdout takes it now, and a panic
//! ends at this file. Lines are also limited a second, since peers cause them. What was
//! dropped is counted, and the count is told as soon as lines flow again.
//!
//! Only moss's own lines are let through: tungstenite logs payloads at `trace`.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use simple_logger::SimpleLogger;

/// Lines a second; more are dropped.
const LINES_A_SECOND: u32 = 100;

/// A line is no longer than this many bytes: a pipe that polls as writable takes so
/// much without blocking (`PIPE_BUF` is at least 4096 on Linux).
const LINE_BYTES: usize = 2048;

/// How many lines were dropped in all. The log is the whole program's, and so is this.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts logging to stdout.
pub fn start(level: LevelFilter) {
    silence_broken_stdout();
    let inner = SimpleLogger::new().with_level(LevelFilter::Off).with_module_level("moss", level);
    log::set_max_level(inner.max_level());
    let journal = Journal { inner, flow: Mutex::new(Flow::new(Instant::now())) };
    log::set_boxed_logger(Box::new(journal)).expect("no logger was set before");
}

/// How many lines were dropped since the start, for whatever reason.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

struct Journal {
    inner: SimpleLogger,
    flow: Mutex<Flow>,
}

/// How many lines were printed in this second, and how many were dropped since.
#[derive(Debug)]
struct Flow {
    second: Instant,
    printed: u32,
    dropped: u64,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
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
    /// Prints, and says whether that worked.
    fn print(&self, level: Level, line: &str) -> bool {
        let arguments = format_args!("{line}");
        let record = Record::builder().level(level).target("moss").args(arguments).build();
        panic::catch_unwind(AssertUnwindSafe(|| self.inner.log(&record))).is_ok()
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
    let stdout = std::io::stdout();
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
