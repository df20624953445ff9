//! No wait is unbounded. The simulation checks each deadline; here the process has to end.

use std::time::{Duration, Instant};

use crate::support::Moss;

/// Time from the signal to the end.
const STOP: Duration = Duration::from_secs(3);

/// Tolerance for a busy machine.
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
