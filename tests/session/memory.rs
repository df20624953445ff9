//! How much memory a session holds: none at rest, and never more than the bounds in these tests,
//! whatever a peer sends.

use super::*;
use moss::connection::backlog::Spares;

#[test]
fn session_at_rest_owns_no_heap() {
    let mut served = Served::open();
    assert_eq!(served.session.held(), 0);
    for bytes in [
        frame(FIN | TEXT, b"{}"),
        frame(FIN | PING, b"x"),
        frame(FIN | PONG, b"x"),
        [frame(TEXT, b"{"), frame(FIN | PING, b""), frame(FIN, b"}")].concat(),
    ] {
        served.receive(&bytes);
        served.sent();
        assert_eq!(served.session.held(), 0, "after {bytes:?}");
    }
    assert!(served.most_held > 0);
}

#[test]
fn large_packet_leaves_nothing_behind() {
    let payload = vec![b'x'; MAX_PACKET];
    let (first, last) = payload.split_at(MAX_PACKET / 2);
    for packet in [frame(FIN | TEXT, &payload), [frame(TEXT, first), frame(FIN, last)].concat()] {
        let mut served = Served::open();
        for piece in packet.chunks(1_000) {
            served.receive(piece);
        }
        assert!(served.most_held >= MAX_PACKET / 2);
        assert_eq!(served.session.held(), 0);
    }
    let mut served = Served::open();
    served.session.queue(Opcode::Text, payload.len()).extend(&payload);
    assert!(served.session.held() > MAX_PACKET);
    served.sent();
    assert_eq!(served.session.held(), 0);
}

#[test]
fn closed_session_drops_what_it_received() {
    let mut served = Served::open();
    served.receive(&frame(TEXT, &[b'x'; 100_000]));
    served.receive(&frame(FIN, &[b'x'; 100_000])[..50_000]);
    assert!(served.session.held() >= 150_000);
    served.session.close(Ending::Stopping, served.now);
    served.sent();
    assert_eq!(served.session.held(), 0);
}

#[test]
fn large_packet_does_not_keep_room_for_what_follows() {
    let mut served = Served::open();
    let packet = frame(FIN | TEXT, &[b'x'; MAX_PACKET]);
    let (begin, end) = packet.split_at(packet.len() - 1);
    served.receive(begin);
    let said = served.receive(&[end, &frame(FIN | TEXT, b"{}")[..3]].concat());
    assert_eq!(said.len(), 1);
    assert!(served.session.held() <= SLACK, "{}", served.session.held());
}

#[test]
fn flood_of_tiny_fragments_is_held_once() {
    let mut served = Served::open();
    served.receive(&frame(BINARY, b"x"));
    let fragments = frame(CONTINUATION, b"x").repeat(1_000);
    while served.session.phase() == Phase::Open {
        served.receive(&fragments);
    }
    assert_eq!(served.close_code(), 1009);
    let bound = MAX_PACKET + MAX_PACKET / 8 + SLACK;
    assert!(served.most_held <= bound, "{}", served.most_held);
}

#[test]
fn flood_of_empty_continuations_holds_nothing() {
    let mut served = Served::open();
    served.receive(&frame(TEXT, b""));
    let fragments = frame(CONTINUATION, b"").repeat(1_000);
    for _ in 0..100 {
        served.receive(&fragments);
    }
    assert_eq!(served.session.phase(), Phase::Open);
    assert!(served.most_held <= SLACK, "{}", served.most_held);
}

#[test]
fn announced_length_reserves_nothing() {
    let mut served = Served::open();
    served.receive(&header(FIN | TEXT, MAX_PACKET as u64));
    assert!(served.session.held() <= SLACK, "{}", served.session.held());
    served.receive(&[0; 4]);
    served.receive(&[b'x'; 100]);
    assert!(served.session.held() <= SLACK, "{}", served.session.held());
}

#[test]
fn half_frames_hold_no_more_than_the_largest_packet() {
    let mut served = Served::open();
    let all_but_one = frame(FIN | TEXT, &[b'x'; MAX_PACKET]);
    for piece in all_but_one[..all_but_one.len() - 1].chunks(1 << 10) {
        served.receive(piece);
    }
    let bound = 2 * MAX_PACKET + SLACK;
    assert!(served.most_held <= bound, "{}", served.most_held);
}

#[test]
fn packet_in_fragments_is_held_little_more_than_once() {
    for head in [1, MAX_PACKET / 3, MAX_PACKET / 2, MAX_PACKET - 1] {
        let mut served = Served::open();
        let text = [b'x'; MAX_PACKET];
        let (head, tail) = text.split_at(head);
        let (middle, tail) = tail.split_at(tail.len() / 2);
        for fragment in
            [frame(TEXT, head), frame(CONTINUATION, middle), frame(FIN | CONTINUATION, tail)]
        {
            for piece in fragment.chunks(1 << 10) {
                served.receive(piece);
            }
        }
        assert_eq!(served.session.held(), 0);
        let bound = MAX_PACKET + MAX_PACKET / 8 + SLACK;
        assert!(served.most_held <= bound, "{}", served.most_held);
    }
}

#[test]
fn half_frame_after_a_large_fragment_is_bounded_too() {
    let mut served = Served::open();
    for fragment in [
        frame(TEXT, &[b'x'; MAX_PACKET]),
        header(CONTINUATION, MAX_PACKET as u64),
        vec![b'x'; MAX_PACKET + 3],
    ] {
        for piece in fragment.chunks(1 << 10) {
            served.receive(piece);
        }
    }
    // The message, and a frame's own buffer, which doubles as it grows.
    let bound = MAX_PACKET + 2 * MAX_PACKET + SLACK;
    assert!(served.most_held <= bound, "{}", served.most_held);
}

#[test]
fn unread_pongs_are_held_and_counted() {
    let mut served = Served::open();
    let pings = frame(FIN | PING, &[b'x'; 100]).repeat(100);
    for round in 1..=100 {
        served.receive(&pings);
        assert_eq!(served.session.unsent().len(), round * 102 * 100);
        assert!(served.session.held() >= served.session.unsent().len());
    }
    assert!(served.session.held() <= 2 * served.session.unsent().len());
    served.sent();
    assert_eq!(served.session.held(), 0);
}

#[test]
fn peer_that_is_cut_off_keeps_only_the_frame_that_has_begun() {
    let mut served = Served::open();
    for _ in 0..100 {
        served.session.queue(Opcode::Text, 10_000).extend([b'x'; 10_000]);
    }
    served.session.advance(1, &mut Spares::default(), served.now);
    served.session.cut(Ending::SlowReader, served.now);
    // The Close after it doubles the buffer.
    assert!(served.session.held() <= 2 * 10_000 + SLACK, "{}", served.session.held());
}
