//! Back-pressure: when clients are not read because the master does not keep up.
//!
//! A pure decision: numbers and the time in, a verdict out. When the master's backlog exceeds
//! the limit its clients have to wait, and TCP slows them down: nothing is lost, and memory
//! stays bounded. A master that does not catch up in time is dropped, or its clients would
//! wait for ever.

use std::time::{Duration, Instant};

/// Whether clients have to wait, and since when for which master.
#[derive(Debug)]
pub(crate) struct Pressure {
    limit: usize,
    patience: Duration,
    pause: Option<Pause>,
    /// When the last pause ended.
    ended: Option<Instant>,
    /// The length of all pauses that have ended.
    total: Duration,
}

/// For this long after a pause the master still counts as slow. Between two pauses the kernel
/// takes a megabyte at a time, which does not show in moss's backlog.
const MEMORY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Pause {
    master: u64,
    since: Instant,
}

/// What to do at the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing changes.
    Unchanged,
    /// The clients are read again.
    Release,
    /// The master's time is over: drop it.
    Drop(u64),
}

impl Pressure {
    /// Clients wait if more than `limit` bytes are unsent to the master, for at most `patience`.
    pub(crate) fn new(limit: usize, patience: Duration) -> Self {
        Self { limit, patience, pause: None, ended: None, total: Duration::ZERO }
    }

    /// Whether clients have to wait now.
    pub(crate) fn is_on(&self) -> bool {
        self.pause.is_some()
    }

    /// Whether clients begin to wait if the master's backlog has this many bytes.
    pub(crate) fn begins_at(&self, backlog: usize) -> bool {
        backlog > self.limit && self.pause.is_none()
    }

    /// Whether clients have to wait; to be asked before each read. `master` is the master and
    /// its backlog in bytes. Once true, it stays true until [`review`](Self::review) releases
    /// the clients.
    pub(crate) fn holds(&mut self, master: Option<(u64, usize)>, now: Instant) -> bool {
        if let (None, Some((master, backlog))) = (self.pause, master)
            && backlog > self.limit
        {
            self.pause = Some(Pause { master, since: now });
        }
        self.pause.is_some()
    }

    /// Whether clients have to wait, or had to a short while ago.
    pub(crate) fn is_recent(&self, now: Instant) -> bool {
        let recent = |ended| now.saturating_duration_since(ended) < MEMORY;
        self.pause.is_some() || self.ended.is_some_and(recent)
    }

    /// Decides at the end of a turn.
    pub(crate) fn review(&mut self, master: Option<(u64, usize)>, now: Instant) -> Verdict {
        let Some(pause) = self.pause else { return Verdict::Unchanged };
        let waited = now.saturating_duration_since(pause.since);
        match master {
            Some((id, backlog)) if id == pause.master && backlog >= self.limit / 2 => {
                if waited < self.patience {
                    return Verdict::Unchanged;
                }
                Verdict::Drop(id)
            }
            _ => {
                self.pause = None;
                self.ended = Some(now);
                self.total += waited;
                Verdict::Release
            }
        }
    }

    /// How long clients had to wait since the start.
    pub(crate) fn total(&self, now: Instant) -> Duration {
        let current = self.pause.map(|pause| now.saturating_duration_since(pause.since));
        self.total + current.unwrap_or_default()
    }

    /// When [`review`](Self::review) will drop the master if it does not catch up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.since + self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn paused(now: Instant) -> Pressure {
        let mut pressure = Pressure::new(100, 5 * SECOND);
        assert!(!pressure.holds(Some((1, 100)), now));
        assert!(pressure.holds(Some((1, 101)), now));
        pressure
    }

    #[test]
    fn clients_wait_until_the_backlog_is_below_half() {
        let now = Instant::now();
        let mut pressure = paused(now);
        assert!(pressure.holds(Some((1, 60)), now));
        assert_eq!(pressure.review(Some((1, 50)), now + SECOND), Verdict::Unchanged);
        assert_eq!(pressure.review(Some((1, 49)), now + SECOND), Verdict::Release);
        assert!(!pressure.holds(Some((1, 60)), now));
    }

    #[test]
    fn pause_is_remembered_for_a_while() {
        let now = Instant::now();
        let mut pressure = paused(now);
        assert!(pressure.is_recent(now + 4 * SECOND));
        assert_eq!(pressure.review(Some((1, 49)), now + 4 * SECOND), Verdict::Release);
        assert!(pressure.is_recent(now + 4 * SECOND));
        assert!(!pressure.is_recent(now + 5 * SECOND));
    }

    #[test]
    fn time_of_all_pauses_is_counted() {
        let now = Instant::now();
        let mut pressure = paused(now);
        assert_eq!(pressure.total(now + SECOND), SECOND);
        assert_eq!(pressure.review(Some((1, 49)), now + 2 * SECOND), Verdict::Release);
        assert_eq!(pressure.total(now + 9 * SECOND), 2 * SECOND);
        assert!(pressure.holds(Some((1, 101)), now + 9 * SECOND));
        assert_eq!(pressure.total(now + 10 * SECOND), 3 * SECOND);
    }

    #[test]
    fn new_master_or_none_releases_the_clients() {
        let now = Instant::now();
        assert_eq!(paused(now).review(Some((2, 1000)), now), Verdict::Release);
        assert_eq!(paused(now).review(None, now), Verdict::Release);
    }

    #[test]
    fn master_that_does_not_catch_up_is_dropped() {
        let now = Instant::now();
        let mut pressure = paused(now);
        assert_eq!(pressure.review(Some((1, 50)), now + 5 * SECOND), Verdict::Drop(1));
        assert_eq!(pressure.review(None, now + 5 * SECOND), Verdict::Release);
    }
}
