//! Counters of connections since the start, and how long turns of the loop took.

use std::time::Duration;

use crate::connection::ending::Ending;

/// The upper bounds of the buckets for turns, with their text; the last bucket has no bound.
pub(crate) const TURN_BOUNDS: [(Duration, &str); 9] = [
    (Duration::from_micros(100), "0.0001"),
    (Duration::from_micros(300), "0.0003"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_millis(3), "0.003"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(30), "0.03"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(300), "0.3"),
    (Duration::from_secs(1), "1"),
];

/// Counters of connections.
///
/// Each accepted connection is open or closed. It counts as closed from the moment at which its
/// end is decided and logged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// All that were accepted.
    pub(crate) accepted: u64,
    /// Those that were closed, in the order of [`Ending::ALL`].
    pub(crate) closed: [u64; Ending::ALL.len()],
    /// TLS handshakes: full ones, and those that resumed an earlier session.
    pub(crate) handshakes: [u64; 2],
    /// TLS handshakes that began and failed.
    pub(crate) failed_handshakes: u64,
}

/// How long turns took, without the wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    /// How many turns are in each bucket.
    pub(crate) counts: [u64; TURN_BOUNDS.len() + 1],
    /// The time of all turns together.
    pub(crate) sum: Duration,
}

impl Counters {
    /// Counts a connection that is closed for this reason.
    #[cold]
    pub(crate) fn close(&mut self, ending: Ending) {
        if let Some(at) = Ending::ALL.iter().position(|&other| other == ending) {
            self.closed[at] += 1;
        }
    }

    /// All that were closed.
    #[cfg(debug_assertions)]
    pub(crate) fn all_closed(&self) -> u64 {
        self.closed.iter().sum()
    }
}

impl Turns {
    /// Counts a turn that took this long.
    pub(crate) fn count(&mut self, time: Duration) {
        let bucket = TURN_BOUNDS.iter().position(|&(bound, _)| time <= bound);
        self.counts[bucket.unwrap_or(TURN_BOUNDS.len())] += 1;
        self.sum += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_is_in_the_first_bucket_that_holds_it() {
        let mut turns = Turns::default();
        for micros in [0, 100, 101, 1_000_000, 1_000_001] {
            turns.count(Duration::from_micros(micros));
        }
        assert_eq!(turns.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(turns.sum, Duration::from_micros(2_000_202));
    }

    #[test]
    fn bounds_are_spelled_as_they_are() {
        for (bound, text) in TURN_BOUNDS {
            assert_eq!(text.parse(), Ok(bound.as_secs_f64()));
        }
    }

    #[test]
    fn each_ending_is_counted_by_itself() {
        let mut counters = Counters::default();
        Ending::ALL.into_iter().for_each(|ending| counters.close(ending));
        assert!(counters.closed.iter().all(|&count| count == 1));
    }
}
