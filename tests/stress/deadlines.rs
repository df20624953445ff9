//! No wait is unbounded. The simulation checks each deadline; here the process has to end.

use std::time::{Duration, Instant};

use crate::support::Moss;

/// How long moss waits for one peer that does not answer its Close. When moss stops, it waits
/// less.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn stopping_does_not_wait_for_those_who_never_answer() {
    let ends_in_time = |_| {
        let mut moss = Moss::start();
        let mut master = moss.master("1");
        let (_client, _) = moss.client_of(&mut master);
        let _head = moss.connect();
        let start = Instant::now();
        moss.terminate();
        assert!(moss.wait().success());
        start.elapsed() < ENDING_TIMEOUT
    };
    // A busy machine may be late itself, so there are several tries.
    assert!((0..5).any(ends_in_time), "moss waited for its peers each time");
}
