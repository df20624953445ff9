//! A turn of the loop and a round of turns are bounded, however many peers send much.
//!
//! Moss is stopped while a crowd's kernel buffers are filled with the smallest frames. Then the
//! test counts how many of them moss handles before it answers another peer: each pong that a
//! flooder can read is one.

use std::io::Write;
use std::time::Instant;

use rustix::process::Signal;

use crate::crowd::{drain, guests};
use crate::process::stop;
use crate::sockets::{REQUEST, health};
use crate::support::{Client, Moss, Stream, crowd, frame};

const PING: u8 = 0x89;

/// Bytes of a pong that answers an empty ping.
const PONG_LEN: usize = 2;

/// The limit of frames in a round, which is the longest wait of a peer; and a third more, for what
/// moss does until the test has stopped it.
const ROUND: usize = (32 << 10) * 4 / 3;

/// A crowd that floods a moss, and the number of frames that moss has handled.
struct Siege {
    flooders: Vec<Stream>,
    waiting: usize,
    handled: usize,
}

impl Siege {
    /// Fills the buffers of `count` guests with `each` frames. Afterwards moss is stopped.
    fn lay(moss: &Moss, count: usize, each: usize) -> Self {
        let flooders = guests(moss, count);
        stop(moss);
        let frames = frame(PING, b"").repeat(each);
        let fill = |mut flooder: &Stream| flooder.write(&frames).unwrap_or(0) / 6;
        let waiting: usize = flooders.iter().map(fill).sum();
        assert!(waiting > count * each / 2, "the kernel took {waiting} frames only");
        Self { flooders, waiting, handled: 0 }
    }

    /// Stops moss, and returns how many frames it has handled since the last call.
    fn handled(&mut self, moss: &Moss) -> usize {
        stop(moss);
        let count = self.flooders.iter().map(drain).sum::<usize>() / PONG_LEN;
        self.handled += count;
        moss.signal(Signal::CONT);
        count
    }

    /// Fails if moss has handled more than `most` frames since the last call.
    #[track_caller]
    fn expect_at_most(&mut self, moss: &Moss, most: usize, what: &str, start: Instant) {
        let time = start.elapsed();
        let count = self.handled(moss);
        println!("{what}: after {time:?} and {count} of {} frames", self.waiting);
        assert!(count <= most, "{what}: after {count} frames; {most} are allowed");
    }
}

/// All other peers are served within a round or two of a crowd's flood.
fn expect_service(wanted: usize, each: usize) {
    /// The number of visitors, one after the other, and the frames that may be handled for each:
    /// about four turns, as a new connection does not wait for a round.
    const VISITORS: usize = 20;
    const VISIT: usize = 20_000;

    let crowd = crowd(wanted);
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let mut siege = Siege::lay(&moss, crowd.size, each);
    client.send(r#"{"type":"x"}"#);
    let newcomer = moss.connect();
    newcomer.write_ahead(REQUEST.as_bytes());
    let start = Instant::now();
    moss.signal(Signal::CONT);

    let mut newcomer = Client::upgraded(newcomer).expect("an upgrade");
    newcomer.expect_nothing();
    siege.expect_at_most(&moss, 2 * ROUND, "a newcomer's ping is answered", start);
    master.expect(&format!(r#"{{"type":"x","payload":"","id":"{id}"}}"#));
    siege.expect_at_most(&moss, ROUND, "a client's packet arrives", start);
    let start = Instant::now();
    client.send(r#"{"type":"y"}"#);
    master.expect(&format!(r#"{{"type":"y","payload":"","id":"{id}"}}"#));
    siege.expect_at_most(&moss, 2 * ROUND, "another one arrives", start);
    let start = Instant::now();
    (0..VISITORS).for_each(|_| _ = health(&moss));
    siege.expect_at_most(&moss, VISITORS * VISIT, "20 visitors are answered", start);
    // The flood lasted longer than all of that.
    assert!(siege.handled < siege.waiting / 2, "{} frames were too few", siege.waiting);
}

#[test]
fn newcomers_and_clients_do_not_wait_for_a_crowd_that_floods() {
    expect_service(1_500, 8_192);
}

#[test]
#[ignore = "needs 15,300 open files, where a stock machine allows 1,024"]
fn newcomers_and_clients_do_not_wait_for_fifteen_thousand_that_flood() {
    expect_service(15_000, 2_048);
}
