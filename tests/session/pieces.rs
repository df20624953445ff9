//! The result does not depend on the pieces in which bytes come and go.

use super::*;
use crate::random::Random;
use moss::connection::backlog::Spares;

/// A conversation with all kinds of frames; the last one is a Close.
fn conversation(large: usize) -> Vec<u8> {
    [
        UPGRADE.to_vec(),
        frame(FIN | TEXT, b"{\"type\":\"ping\"}"),
        frame(FIN | TEXT, b""),
        frame(TEXT, b"\xe2"),
        frame(FIN | PING, b"between"),
        frame(CONTINUATION, b""),
        frame(FIN, b"\x82\xac"),
        frame(FIN | BINARY, &vec![b'x'; large]),
        frame(BINARY, &vec![b'y'; large / 2]),
        frame(FIN, &vec![b'z'; large / 2]),
        frame(FIN | PONG, b"unasked"),
        close(1000, b"bye"),
        frame(FIN | TEXT, b"late"),
    ]
    .concat()
}

#[test]
fn session_goes_on_after_a_spent_budget_without_new_bytes() {
    let mut served = Served::open();
    served.budget = 2;
    let frames = [frame(FIN | TEXT, b"1"), frame(FIN | PING, b"2"), frame(FIN | TEXT, b"3")];
    let mut said = Vec::new();
    assert_eq!(served.take(&mut frames.concat(), &mut said), 2);
    assert!(served.session.unparsed() > 0);
    assert_eq!(served.take(&mut [], &mut said), 1);
    assert_eq!(served.session.unparsed(), 0);
    assert_eq!(said, [text("1"), Event::Handled, text("3")]);
    assert_eq!(served.sent(), unmasked(FIN | PONG, b"2"));
    assert_eq!(served.session.held(), 0);
}

#[test]
fn result_is_the_same_for_any_two_pieces() {
    let bytes = conversation(200);
    let mut served = Served::new();
    let whole = (served.receive(&bytes), served.sent());
    assert_eq!(whole.0.len(), 13 - 1);
    for cut in 0..=bytes.len() {
        let mut served = Served::new();
        let mut said = served.receive(&bytes[..cut]);
        said.extend(served.receive(&bytes[cut..]));
        assert!((said, served.sent()) == whole, "cut at {cut}");
    }
}

#[test]
fn result_is_the_same_for_any_pieces_and_budgets() {
    let bytes = conversation(70_000);
    let mut served = Served::new();
    let whole = (served.receive(&bytes), served.sent());
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut served = Served::new();
        served.budget = 1 + random.below(4);
        let longest = 1 << random.below(18);
        let mut said = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(1 + random.below(longest.min(rest.len())));
            said.extend(served.receive(piece));
            rest = later;
        }
        assert!((said, served.sent()) == whole, "seed {seed}");
    }
}

/// Splits what a session sent into its frames: first byte and payload.
fn frames(mut sent: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [first, len, rest @ ..] = sent {
        let (len, rest) = match *len {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            len => (usize::from(len), rest),
        };
        frames.push((*first, &rest[..len]));
        sent = &rest[len..];
    }
    frames
}

#[test]
fn peer_reads_whole_frames_in_order_whenever_it_is_cut_off() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut served = Served::open();
        let mut queued = Vec::new();
        let mut sent = Vec::new();
        for number in 0..random.below(100) {
            let longest = 1 << random.below(18);
            let payload = vec![number as u8; random.below(longest)];
            served.session.queue(Opcode::Text, payload.len()).extend(&payload);
            queued.push(payload);
            let count = random.below(1 + served.session.unsent().len());
            sent.extend_from_slice(&served.session.unsent()[..count]);
            served.session.advance(count, &mut Spares::default(), served.now);
        }
        served.session.cut(Ending::SlowReader, served.now);
        sent.extend(served.sent());
        let mut frames = frames(&sent);
        assert_eq!(frames.pop(), Some((FIN | CLOSE, &b"\x03\xf5reads too slowly"[..])));
        assert!(frames.len() <= queued.len());
        for (frame, queued) in frames.into_iter().zip(&queued) {
            assert!(frame == (FIN | TEXT, queued), "seed {seed}");
        }
    }
}
