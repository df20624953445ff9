//! When the world's watchdog is to hear that the loop goes on.
//!
//! Its time is the world's own, in which a moss that stood still was late, and not the one
//! that deadlines of peers go by: the watchdog counts on meanwhile.

use std::time::{Duration, Instant};

/// What is owed to a watchdog.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    due: Instant,
}

impl Heartbeat {
    /// Of a watchdog that wants to hear so often, from now on.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, due: now + interval }
    }

    /// How long the next one may take still.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// Whether it is time for one, which then counts as told.
    pub(super) fn beats(&mut self, now: Instant) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + self.interval;
        }
        is_due
    }
}
