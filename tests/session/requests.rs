//! A session with requests for pages: its answers, its memory, and its end.

use super::*;
use crate::random::Random;
use moss::connection::backlog::Spares;
use moss::connection::session::SHORT_BYTES;

const SMALL: &[u8] = b"GET /small.txt HTTP/1.1\r\nHost: box\r\n\r\n";
const LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: box\r\n\r\n";
const LAST: &[u8] = b"GET /small.txt HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n";
const WRONG: &[u8] = b"GET /small.txt HTTP/1.1\r\n\r\n";

const LARGE_BYTES: usize = 1 << 20;

/// The limit of bytes queued for a peer that reads nothing; one more answer may exceed it.
const MOST_QUEUED: usize = 2 * SHORT_BYTES + 1_000;

fn site() -> Served {
    let large = (0..LARGE_BYTES).map(|at| (at / 251) as u8).collect();
    let files = [("/small.txt", b"a small page\n".to_vec()), ("/large", large)];
    Served { pages: Some(Pages::from_files(files)), ..Served::new() }
}

impl Served {
    /// Takes at most this number of bytes of what is to be sent.
    fn take_answer(&mut self, most: usize) -> Vec<u8> {
        self.session.allow(most);
        let mut taken = self.session.unsent().to_vec();
        taken.truncate(most);
        self.session.advance(taken.len(), &mut Spares::default(), self.now);
        self.session.allow(0);
        self.session.sent_all(self.now);
        taken
    }

    /// Takes all that is to be sent, a number of bytes at a time, and goes on with requests that
    /// waited for it.
    fn answers(&mut self, mut piece: impl FnMut() -> usize) -> Vec<u8> {
        let mut sent = Vec::new();
        loop {
            let taken = self.take_answer(piece());
            if !self.session.is_busy() {
                self.receive(b"");
            }
            if taken.is_empty() {
                return sent;
            }
            sent.extend(taken);
        }
    }

    fn status(&mut self) -> String {
        let sent = self.answers(|| usize::MAX);
        String::from_utf8_lossy(&sent[..12]).into_owned()
    }
}

#[test]
fn answered_connection_stays_for_the_next_request() {
    let mut served = site();
    for _ in 0..3 {
        served.receive(SMALL);
        let sent = String::from_utf8(served.answers(|| usize::MAX)).unwrap();
        assert!(sent.starts_with("HTTP/1.1 200 ") && sent.ends_with("\r\n\r\na small page\n"));
        assert!(served.session.is_idle());
        assert_eq!((served.session.phase(), served.session.held()), (Phase::Kept, 0));
    }
}

#[test]
fn answers_are_the_same_however_requests_and_answers_are_cut() {
    let requests = [SMALL, LARGE, SMALL, SMALL, LARGE, LAST, SMALL].concat();
    let mut served = site();
    served.receive(&requests);
    let whole = served.answers(|| usize::MAX);
    assert!(whole.len() > 2 * LARGE_BYTES);
    assert_eq!(served.session.phase(), Phase::Ending);
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut served = site();
        served.budget = 1 + random.below(3);
        let (longest_in, longest_out) = (1 << random.below(9), 64 << random.below(13));
        let mut sent = Vec::new();
        let mut rest = &requests[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((1 + random.below(longest_in)).min(rest.len()));
            served.receive(piece);
            sent.extend(served.answers(|| 1 + random.below(longest_out)));
            rest = later;
        }
        assert!(sent == whole, "seed {seed}");
    }
}

#[test]
fn page_is_sent_from_the_shared_copy_as_far_as_allowed() {
    let mut served = site();
    served.receive(LARGE);
    assert!(served.session.held() <= MOST_QUEUED, "{}", served.session.held());
    served.sent();
    assert!(served.session.wants_body());
    assert_eq!(served.session.unsent(), b"", "nothing may be sent");
    served.session.allow(1_000);
    assert_eq!(served.session.unsent().len(), 1_000);
    served.session.advance(400, &mut Spares::default(), served.now);
    assert_eq!(served.session.unsent().len(), 600);
    served.session.advance(600, &mut Spares::default(), served.now);
    assert_eq!((served.session.unsent(), served.session.held()), (&b""[..], 0));
}

#[test]
fn next_request_waits_until_a_page_is_sent() {
    let mut served = site();
    served.receive(&[LARGE, SMALL].concat());
    assert!(served.session.is_busy());
    assert_eq!(served.session.unparsed(), SMALL.len());
    while served.session.is_busy() {
        assert!(!served.take_answer(64 << 10).is_empty());
    }
    assert_eq!(served.session.unsent(), b"");
    served.receive(b"");
    assert_eq!(served.session.unparsed(), 0);
    assert!(served.session.unsent().starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn requests_are_not_read_while_answers_are_unread() {
    let mut served = site();
    let mut requests = 0;
    while !served.session.is_busy() {
        served.receive(SMALL);
        requests += 1;
    }
    assert!(requests > 30, "{requests}");
    let queued = served.session.backlog_len();
    assert!((SHORT_BYTES..=MOST_QUEUED).contains(&queued), "{queued}");
    assert_eq!(served.answers(|| 1_000).len() % requests, 0, "each is answered alike");
}

#[test]
fn upgrade_may_follow_a_page() {
    let mut served = site();
    served.receive(&[LARGE, UPGRADE, &frame(FIN | PING, b"?")].concat());
    let sent = served.answers(|| usize::MAX);
    assert!(sent.windows(13).any(|window| window == b"HTTP/1.1 101 "));
    assert!(sent.ends_with(&unmasked(FIN | PONG, b"?")));
    assert_eq!((served.session.phase(), served.session.held()), (Phase::Open, 0));
}

#[test]
fn peer_that_shut_down_writing_gets_all_answers() {
    let mut served = site();
    served.receive(LARGE);
    served.session.peer_ended(served.now);
    assert!(!served.session.is_over(served.now));
    assert!(served.answers(|| 5_000).len() > LARGE_BYTES);
    assert_eq!(served.session.ending(), Some(Ending::Answered));
    assert!(served.session.is_over(served.now));
}

#[test]
fn thousandth_request_is_the_last() {
    let mut served = site();
    for _ in 1..1_000 {
        served.receive(SMALL);
        assert!(!served.sent().windows(17).any(|window| window == b"Connection: close"));
    }
    served.receive(&[SMALL, SMALL].concat());
    let sent = String::from_utf8(served.sent()).unwrap();
    assert_eq!(sent.matches("HTTP/1.1 200 ").count(), 1);
    assert!(sent.contains("\r\nConnection: close\r\n"));
    assert_eq!(served.session.phase(), Phase::Ending);
}

#[test]
fn refusal_comes_after_earlier_answers() {
    let mut served = site();
    served.receive(&[SMALL, LARGE, WRONG, SMALL].concat());
    let sent = served.answers(|| 5_000);
    let last = sent.windows(9).rposition(|window| window == b"HTTP/1.1 ").unwrap();
    assert!(last > LARGE_BYTES && sent[last..].starts_with(b"HTTP/1.1 400 "));
    let ending = Some(Ending::Refused(Refusal::BadRequest));
    assert_eq!((served.session.phase(), served.session.ending()), (Phase::Ending, ending));
}

#[test]
fn idle_connection_ends_after_five_seconds() {
    let mut served = site();
    for _ in 0..3 {
        served.receive(SMALL);
        served.wait(Duration::from_secs(9));
        assert_eq!(served.session.phase(), Phase::Kept, "its answer was not read yet");
        served.sent();
        served.wait(Duration::from_millis(4_900));
        assert_eq!(served.session.phase(), Phase::Kept);
    }
    served.wait(Duration::from_millis(100));
    assert_eq!(served.session.ending(), Some(Ending::Answered));
    assert_eq!(served.sent(), b"");
}

#[test]
fn next_request_has_ten_seconds() {
    let mut served = site();
    served.receive(SMALL);
    served.sent();
    served.wait(Duration::from_secs(4));
    for byte in &SMALL[..19] {
        served.receive(&[*byte]);
        assert!(!served.session.is_idle());
        served.wait(Duration::from_millis(500));
    }
    assert_eq!(served.session.phase(), Phase::Kept);
    served.wait(Duration::from_millis(500));
    assert_eq!(served.status(), "HTTP/1.1 408");
}

#[test]
fn reader_may_be_slow_for_as_long_as_it_takes_something() {
    let mut served = site();
    let patience = 2 * served.config.keepalive;
    served.receive(LARGE);
    for _ in 0..100 {
        served.wait(patience - Duration::from_secs(1));
        assert_eq!(served.take_answer(1).len(), 1);
    }
    served.wait(patience - Duration::from_secs(1));
    assert_eq!(served.session.phase(), Phase::Kept);
    served.wait(Duration::from_secs(1));
    assert_eq!(served.session.ending(), Some(Ending::SlowReader));
    assert!(served.session.is_over(served.now), "nothing more can be sent to it");
}

#[test]
fn reader_that_reads_nothing_is_dropped_even_if_it_sends_requests() {
    let mut served = site();
    let patience = 2 * served.config.keepalive;
    served.receive(SMALL);
    for _ in 1..patience.as_secs() {
        served.wait(Duration::from_secs(1));
        served.receive(SMALL);
    }
    assert!(!served.session.is_busy());
    served.wait(Duration::from_secs(1));
    assert_eq!(served.session.ending(), Some(Ending::SlowReader));
}

#[test]
fn peer_may_close_at_once_after_the_last_answer() {
    for last in [LAST, WRONG] {
        let mut served = site();
        served.receive(&[LARGE, last].concat());
        served.answers(|| usize::MAX);
        assert_eq!(served.session.phase(), Phase::Ending);
        assert!(!served.session.is_busy(), "it must read the end");
        served.session.peer_ended(served.now);
        assert!(served.session.is_over(served.now));
    }
}

#[test]
fn last_answer_may_be_read_slowly() {
    let mut served = site();
    let patience = 2 * served.config.keepalive;
    served.receive(&[SMALL, WRONG].concat());
    for _ in 0..5 {
        served.wait(patience - Duration::from_secs(1));
        assert_eq!(served.take_answer(1).len(), 1);
        assert_eq!(served.session.phase(), Phase::Kept);
    }
    served.answers(|| 10);
    let ending = Some(Ending::Refused(Refusal::BadRequest));
    assert_eq!((served.session.phase(), served.session.ending()), (Phase::Ending, ending));
    served.wait(ENDING_TIMEOUT - Duration::from_millis(1));
    assert!(!served.session.is_over(served.now));
    served.wait(Duration::from_millis(1));
    assert!(served.session.is_over(served.now));
}

#[test]
fn download_ends_with_its_connection() {
    for ends in [
        |session: &mut Session, now| session.close(Ending::Stopping, now),
        |session: &mut Session, now| session.cut(Ending::Memory, now),
        |session: &mut Session, now| session.broken(now),
    ] {
        let mut served = site();
        served.receive(LARGE);
        served.take_answer(20 << 10);
        assert!(served.session.wants_body());
        ends(&mut served.session, served.now);
        assert_eq!(served.answers(|| usize::MAX), b"");
        assert_eq!((served.session.phase(), served.session.backlog_len()), (Phase::Ending, 0));
    }
}
