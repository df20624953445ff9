//! The extra places of a full server for the next master.
//!
//! While there is no master, or the master does not answer, a few connections above the limit
//! are accepted: candidates. They may only send `ping` and `set-master`. A candidate that does
//! not become master in time is closed. If all places are taken, a new candidate replaces the
//! oldest one: silent strangers must not keep the master out.

use std::time::{Duration, Instant};

/// How long a candidate has to become master.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may keep its place when another wants it.
const GRACE: Duration = Duration::from_secs(1);

/// The candidates, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    list: Vec<(u64, Instant)>,
}

impl Candidates {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds one.
    pub(crate) fn add(&mut self, id: u64, now: Instant) {
        self.list.push((id, now));
    }

    /// Removes one that has become master or is gone.
    pub(crate) fn remove(&mut self, id: u64) {
        self.list.retain(|&(candidate, _)| candidate != id);
    }

    /// Removes the one that has to make room for another; `None` if all have come just now.
    pub(crate) fn displace(&mut self, now: Instant) -> Option<u64> {
        let &(id, came) = self.list.first()?;
        (now.saturating_duration_since(came) > GRACE).then(|| {
            self.list.remove(0);
            id
        })
    }

    /// Removes one whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<u64> {
        let &(id, came) = self.list.first()?;
        (now.saturating_duration_since(came) >= PATIENCE).then(|| {
            self.list.remove(0);
            id
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn first_makes_room_after_a_second() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        assert_eq!(candidates.displace(now), None);
        candidates.add(1, now);
        candidates.add(2, now + GRACE);
        assert_eq!(candidates.displace(now + GRACE), None);
        assert_eq!(candidates.displace(now + GRACE + MILLISECOND), Some(1));
        assert_eq!(candidates.displace(now + GRACE + MILLISECOND), None);
    }

    #[test]
    fn who_does_not_become_master_in_time_has_to_go() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(1, now);
        candidates.add(2, now);
        candidates.add(3, now + MILLISECOND);
        assert_eq!(candidates.len(), 3);
        candidates.remove(1);
        assert_eq!(candidates.expire(now + PATIENCE - MILLISECOND), None);
        assert_eq!(candidates.expire(now + PATIENCE), Some(2));
        assert_eq!(candidates.expire(now + PATIENCE), None);
        assert_eq!(candidates.len(), 1);
    }
}
