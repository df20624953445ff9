//! When the watchdog has to be told that the loop is alive.
//!
//! This goes by the real time, not by the time for the deadlines of peers, which stops while
//! moss is suspended: the watchdog's clock does not stop.

use std::time::{Duration, Instant};

/// When the next notice to the watchdog is due.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    due: Instant,
}

impl Heartbeat {
    /// For a watchdog with this interval, from now on.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, due: now + interval }
    }

    /// The time until the next notice.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// Whether a notice is due; then it counts as sent.
    pub(super) fn beats(&mut self, now: Instant) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + self.interval;
        }
        is_due
    }
}
