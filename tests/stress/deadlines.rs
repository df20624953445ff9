//! No wait is unbounded. The simulation checks each deadline; what is left here is the
//! process, which has to end.

use std::time::{Duration, Instant};

use crate::support::Moss;

/// From the signal to the end.
const STOP: Duration = Duration::from_secs(3);

/// What a busy machine may add to it.
const GRACE: Duration = Duration::from_secs(8);

#[test]
fn stopping_does_not_wait_for_those_who_never_answer() {
    let mut moss = Moss::start();
    let mut master = moss.master("1");
    let (client, _) = moss.client_of(&mut master);
    let head = moss.connect();
    let start = Instant::now();
    moss.terminate();
    assert!(moss.wait().success());
    assert!(start.elapsed() < STOP + GRACE, "{:?}", start.elapsed());
    drop((master, client, head));
}
