//! A turn of the loop and a round of turns are bounded, however many peers send much.
//!
//! Moss is stopped while a crowd's kernel buffers are filled with the smallest frames. Then the
//! test counts how many of them moss handles before it answers another peer: each pong that a
//! flooder can read is one.

use std::io::Write;
use std::time::Instant;

use rustix::process::Signal;

use crate::crowd::{drain, guests};
use crate::sockets::{REQUEST, health};
use crate::support::process::stop;
use crate::support::{Client, Moss, Stream, crowd, frame};

const PING: u8 = 0x89;

/// Bytes of an empty ping, and of the pong that answers it.
const PING_LEN: usize = 6;
const PONG_LEN: usize = 2;

/// The limit of frames in a round, which is the longest wait of a peer; and a third more, for what
/// moss does until the test has stopped it.
const ROUND: usize = (32 << 10) * 4 / 3;

/// On a busy machine moss may handle many more frames before the test has stopped it, so there are
/// several tries. If peers waited for the crowd, there would be too many frames each time.
const TRIES: usize = 20;

/// A crowd that floods a moss.
struct Siege<'m> {
    moss: &'m Moss,
    flooders: Vec<Flooder>,
    /// How many frames each flooder sends ahead.
    each: usize,
    frames: Vec<u8>,
}

struct Flooder {
    stream: Stream,
    /// Bytes of pings that the kernel has taken.
    sent: usize,
    /// Bytes of pongs that were read.
    heard: usize,
}

impl Flooder {
    /// The number of frames that moss has not handled.
    fn waiting(&self) -> usize {
        self.sent / PING_LEN - self.heard / PONG_LEN
    }
}

impl<'m> Siege<'m> {
    /// A crowd of `count` guests, each with `each` frames in its buffers. Afterwards moss is
    /// stopped.
    fn lay(moss: &'m Moss, count: usize, each: usize) -> Self {
        let flooder = |stream| Flooder { stream, sent: 0, heard: 0 };
        let flooders = guests(moss, count).into_iter().map(flooder).collect();
        let mut siege = Self { moss, flooders, each, frames: frame(PING, b"").repeat(each) };
        stop(moss);
        siege.fill();
        siege
    }

    /// Fills the buffers up.
    fn fill(&mut self) {
        for flooder in &mut self.flooders {
            let start = flooder.sent % PING_LEN;
            let end = self.frames.len().saturating_sub(flooder.waiting() * PING_LEN);
            let more = &self.frames[start..end.max(start)];
            flooder.sent += (&flooder.stream).write(more).unwrap_or(0);
        }
        let waiting = self.waiting();
        let least = self.flooders.len() * self.each / 2;
        assert!(waiting > least, "the kernel took {waiting} frames only");
    }

    /// The number of frames that moss has not handled.
    fn waiting(&self) -> usize {
        self.flooders.iter().map(Flooder::waiting).sum()
    }

    /// Fails unless moss answers before it has handled more than `most` frames. `ask` is called
    /// while it is stopped, and `hear` when it goes on.
    #[track_caller]
    fn expect_answer<T>(
        &mut self,
        most: usize,
        what: &str,
        mut ask: impl FnMut() -> T,
        mut hear: impl FnMut(T),
    ) {
        for _ in 0..TRIES {
            self.fill();
            let waiting = self.waiting();
            let asked = ask();
            let start = Instant::now();
            self.moss.signal(Signal::CONT);
            hear(asked);
            let time = start.elapsed();
            stop(self.moss);
            for flooder in &mut self.flooders {
                flooder.heard += drain(&flooder.stream);
            }
            let count = waiting - self.waiting();
            println!("{what}: after {time:?} and {count} of {waiting} frames");
            if count <= most {
                return;
            }
        }
        panic!("{what}: each time after more than {most} frames");
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
    siege.expect_answer(
        2 * ROUND,
        "a newcomer's ping is answered",
        || {
            let newcomer = moss.connect();
            newcomer.write_ahead(REQUEST.as_bytes());
            newcomer
        },
        |newcomer| Client::upgraded(newcomer).expect("an upgrade").expect_nothing(),
    );
    let arrival = format!(r#"{{"type":"x","payload":"","id":"{id}"}}"#);
    siege.expect_answer(
        ROUND,
        "a client's packet arrives",
        || client.send(r#"{"type":"x"}"#),
        |()| master.expect(&arrival),
    );
    siege.expect_answer(
        VISITORS * VISIT,
        "20 visitors are answered",
        || {},
        |()| (0..VISITORS).for_each(|_| _ = health(&moss)),
    );
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
