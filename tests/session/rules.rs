//! The rules of RFC 6455: each violation, in every position, and its close code.

use super::*;

/// Sends an offence in every position: as the first frame, after a message, between a message's
/// fragments, and after a control frame between those. Frames after it must be ignored.
fn assert_fails(offence: &[u8], code: u16) {
    let message = frame(FIN | TEXT, b"{}");
    let fragment = frame(TEXT, b"a");
    let ping = frame(FIN | PING, b"");
    for (before, pongs) in [
        (Vec::new(), 0),
        (message.clone(), 0),
        (fragment.clone(), 0),
        ([fragment, frame(CONTINUATION, b"b"), ping].concat(), 1),
    ] {
        let mut served = Served::open();
        served.receive(&before);
        assert_eq!(served.sent().len(), 2 * pongs);
        let said = served.receive(&[offence, &message[..]].concat());
        assert!(said.iter().all(|event| *event == Event::Handled), "{offence:?}: {said:?}");
        assert_eq!(served.close_code(), code, "{offence:?} after {before:?}");
        assert_eq!(served.receive(&message), []);
        assert_eq!(served.sent(), b"");
        assert_eq!(served.session.held(), 0);
    }
}

#[test]
fn reserved_bits_are_a_protocol_error() {
    for bit in [0x40, 0x20, 0x10] {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            assert_fails(&frame(FIN | bit | opcode, b""), 1002);
        }
    }
}

#[test]
fn reserved_opcodes_are_a_protocol_error() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        assert_fails(&frame(FIN | opcode, b"x"), 1002);
    }
}

#[test]
fn frames_without_a_mask_are_a_protocol_error() {
    for first in [FIN | TEXT, FIN | BINARY, TEXT, FIN | CLOSE, FIN | PING, FIN | PONG] {
        assert_fails(&unmasked(first, b""), 1002);
        assert_fails(&unmasked(first, b"{}"), 1002);
    }
}

#[test]
fn control_frames_in_fragments_or_too_long_are_a_protocol_error() {
    for opcode in [CLOSE, PING, PONG] {
        assert_fails(&frame(opcode, b""), 1002);
        assert_fails(&frame(FIN | opcode, &[b'x'; 126]), 1002);
    }
}

#[test]
fn malformed_close_is_a_protocol_error() {
    assert_fails(&frame(FIN | CLOSE, b"\x03"), 1002);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_fails(&close(code, b""), 1002);
    }
}

#[test]
fn text_that_is_no_utf8_is_inconsistent_data() {
    // No start, an overlong form, half a surrogate pair, too large, an early end.
    for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82"] {
        let mut served = Served::open();
        assert_eq!(served.receive(&frame(FIN | TEXT, bad)), [Event::Handled]);
        assert_eq!(served.close_code(), 1007);

        assert_fails(&close(1000, bad), 1007);

        let mut served = Served::open();
        let fragments = [frame(TEXT, b"a"), frame(CONTINUATION, b""), frame(FIN, bad)];
        assert_eq!(served.receive(&fragments.concat()), [const { Event::Handled }; 3]);
        assert_eq!(served.close_code(), 1007);
    }
}

#[test]
fn text_in_fragments_fails_at_the_first_wrong_byte() {
    let mut served = Served::open();
    served.receive(&frame(TEXT, b"\xff"));
    assert_eq!(served.close_code(), 1007);

    let mut served = Served::open();
    served.receive(&[frame(TEXT, b"\xe2"), frame(CONTINUATION, b"a")].concat());
    assert_eq!(served.close_code(), 1007);
}

#[test]
fn character_may_be_split_between_fragments() {
    let mut served = Served::open();
    let pieces = [frame(TEXT, b"\xe2"), frame(CONTINUATION, b"\x82"), frame(FIN, b"\xac")];
    assert_eq!(served.receive(&pieces.concat()), [Event::Handled, Event::Handled, text("€")]);
}

#[test]
fn binary_need_not_be_text() {
    let mut served = Served::open();
    let frames = [frame(FIN | BINARY, b"\xff"), frame(BINARY, b"\xff"), frame(FIN, b"\xfe")];
    assert_eq!(
        served.receive(&frames.concat()),
        [Event::Binary(b"\xff"[..].into()), Event::Handled, Event::Binary(b"\xff\xfe"[..].into())]
    );
}

#[test]
fn continuation_of_nothing_is_a_protocol_error() {
    for first in [CONTINUATION, FIN] {
        let mut served = Served::open();
        served.receive(&frame(first, b"x"));
        assert_eq!(served.close_code(), 1002);
    }
}

#[test]
fn message_within_a_message_is_a_protocol_error() {
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        let mut served = Served::open();
        let said = served.receive(&[frame(TEXT, b"{"), frame(first, b"{}")].concat());
        assert_eq!(said, [Event::Handled, Event::Handled]);
        assert_eq!(served.close_code(), 1002);
    }
}

#[test]
fn oversized_frame_is_refused_at_its_header() {
    for len in [MAX_PACKET as u64 + 1, 1 << 32, 1 << 40, 1 << 63, u64::MAX] {
        for first in [FIN | TEXT, FIN | BINARY, TEXT] {
            // The mask belongs to the header; not one byte of payload ever comes.
            assert_fails(&[header(first, len), vec![0; 4]].concat(), 1009);
        }
        let mut served = Served::open();
        served.receive(&frame(TEXT, b"{"));
        served.receive(&[header(CONTINUATION, len), vec![0; 4]].concat());
        assert_eq!(served.close_code(), 1009);
    }
}

#[test]
fn too_long_fragments_and_pings_are_refused_at_their_header() {
    for (first, second, code) in [
        (frame(TEXT, &[b'x'; MAX_PACKET - 1]), header(CONTINUATION, 2), 1009),
        (frame(TEXT, b"x"), header(CONTINUATION, MAX_PACKET as u64), 1009),
        (Vec::new(), header(FIN | PING, 126), 1002),
        (frame(TEXT, b"x"), header(FIN | PING, 126), 1002),
    ] {
        let mut served = Served::open();
        served.receive(&[first, second, vec![0; 4]].concat());
        assert_eq!(served.close_code(), code);
    }
}

#[test]
fn oversized_message_in_fragments_is_too_big() {
    let half = vec![b'x'; MAX_PACKET / 2];
    let mut served = Served::open();
    served.receive(&[frame(TEXT, &half), frame(CONTINUATION, &half)].concat());
    assert_eq!(served.session.phase(), Phase::Open);
    served.receive(&frame(CONTINUATION, b"x"));
    assert_eq!(served.close_code(), 1009);
}

#[test]
fn packet_of_exactly_the_limit_passes() {
    let payload = "x".repeat(MAX_PACKET);
    let (first, last) = payload.as_bytes().split_at(MAX_PACKET / 3);
    for bytes in
        [frame(FIN | TEXT, payload.as_bytes()), [frame(TEXT, first), frame(FIN, last)].concat()]
    {
        let said = Served::open().receive(&bytes);
        assert_eq!(said.last(), Some(&Event::Text(payload.as_str().into())));
    }
}

#[test]
fn pings_are_answered_in_order_and_between_fragments() {
    let longest = [b'p'; 125];
    let mut served = Served::open();
    let said = served.receive(
        &[
            frame(FIN | PING, b"1"),
            frame(TEXT, b"a"),
            frame(FIN | PING, b""),
            frame(FIN | PING, &longest),
            frame(CONTINUATION, b"b"),
            frame(FIN | PONG, b"of nobody's"),
            frame(FIN, b"c"),
            frame(FIN | PING, b"2"),
        ]
        .concat(),
    );
    let message = said.iter().position(|event| *event != Event::Handled);
    assert_eq!((message, &said[6], said.len()), (Some(6), &text("abc"), 8));
    let pongs = [&b"1"[..], b"", &longest, b"2"].map(|payload| unmasked(FIN | PONG, payload));
    assert_eq!(served.sent(), pongs.concat());
    assert_eq!(served.session.held(), 0);
}

#[test]
fn close_is_echoed_and_later_bytes_are_ignored() {
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9going", b"\x0b\xb8", b"\x13\x87\xe2\x82\xac"] {
        for before in [&b""[..], &frame(TEXT, b"half a message")] {
            let mut served = Served::open();
            served.receive(before);
            let late = frame(FIN | TEXT, b"{}");
            let said = served.receive(&[frame(FIN | CLOSE, payload), late.clone()].concat());
            assert_eq!(said, [Event::Handled]);
            assert_eq!(served.sent(), unmasked(FIN | CLOSE, payload));
            assert_eq!(served.session.phase(), Phase::Ending);
            assert_eq!(served.receive(&late), []);
            assert!(!served.session.is_over(served.now));
            served.session.peer_ended(served.now);
            assert!(served.session.is_over(served.now));
        }
    }
}
