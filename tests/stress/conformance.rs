//! Each violation of RFC 6455 gets its close code in every position: in the first frame, after
//! valid ones, within a fragmented message, whole or in pieces. The session runs without a
//! socket; the Autobahn suite tests the same over sockets.

use std::time::Instant;

use moss::connection::session::{Event, Phase, Session};
use moss::settings::config::Config;

use crate::support::frame;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const FIN: u8 = 0x80;

/// A session's reaction to these pieces: its messages, and its close code if any.
fn outcome(pieces: &[&[u8]]) -> (Vec<String>, Option<u16>) {
    let now = Instant::now();
    let config = Config::new("secret", "offer");
    let mut session = Session::new(now);
    session.open(b"");
    let mut messages = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = session.take_in(&mut bytes, now);
        while let Some(event) = session.next(&mut input, &config, None, now) {
            match event {
                Event::Text(text) => messages.push(text.into_owned()),
                Event::Binary(bytes) => messages.push(format!("{bytes:?}")),
                _ => {}
            }
        }
        session.put_back(input);
    }
    let code = close_code(session.unsent());
    assert_eq!(code.is_some(), session.phase() == Phase::Ending, "a Close and the end, or neither");
    (messages, code)
}

/// The code of the Close that must be the last of these frames, if there is one.
fn close_code(mut frames: &[u8]) -> Option<u16> {
    while let [first, len, rest @ ..] = frames {
        assert!(*len < 126, "moss sends only short frames here");
        let (payload, rest) = rest.split_at(usize::from(*len));
        if *first == CLOSE {
            assert!(rest.is_empty(), "a frame after the Close");
            return Some(u16::from_be_bytes(*payload.first_chunk().expect("a code")));
        }
        frames = rest;
    }
    None
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

/// The header of a frame with this length field; the payload does not matter.
fn header(first: u8, len: u64) -> Vec<u8> {
    [&[first, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat()
}

/// Frames that are violations in every position.
fn violations() -> Vec<(String, Vec<u8>, u16)> {
    let mut list = Vec::new();
    let mut add = |name: String, bytes, code| list.push((name, bytes, code));
    for first in 0..=0xff_u8 {
        let reserved_bits = first & 0x70 != 0;
        let reserved_opcode = matches!(first & 0x0f, 3..=7 | 0xb..=0xf);
        let cut_control = first & 0x88 == 0x08;
        if reserved_bits || reserved_opcode || cut_control {
            add(format!("first byte {first:#04x}"), frame(first, b""), 1002);
            add(format!("first byte {first:#04x}, payload"), frame(first, b"hello"), 1002);
        }
    }
    for first in [TEXT, 0x82, FIN, 0x01, CLOSE, PING, 0x8a] {
        add(format!("unmasked {first:#04x}"), unmasked(first, b""), 1002);
        add(format!("unmasked {first:#04x}, payload"), unmasked(first, b"\x03\xe8"), 1002);
    }
    for first in [CLOSE, PING, 0x8a] {
        add(format!("long control {first:#04x}"), frame(first, &[b'x'; 126]), 1002);
    }
    add("Close with one byte".to_owned(), frame(CLOSE, b"x"), 1002);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        add(format!("Close {code}"), frame(CLOSE, &code.to_be_bytes()), 1002);
    }
    add("Close with a bad reason".to_owned(), frame(CLOSE, b"\x03\xe8ab\xff"), 1007);
    add("Close with half a character".to_owned(), frame(CLOSE, b"\x03\xe8ab\xc3"), 1007);
    for first in [TEXT, 0x82, 0x01, 0x02] {
        for len in [262_145, 1 << 32, u64::MAX >> 1, u64::MAX] {
            add(format!("{len} bytes of {first:#04x}"), header(first, len), 1009);
        }
    }
    list
}

/// Valid frames before a violation, with the number of complete messages in them.
fn positions() -> Vec<(&'static str, Vec<u8>, usize)> {
    vec![
        ("first", Vec::new(), 0),
        ("after a message", frame(TEXT, b"good"), 1),
        ("after a ping", frame(PING, b"good"), 0),
        ("after fragments", [frame(0x01, b"go"), frame(FIN, b"od")].concat(), 1),
        ("within fragments", frame(0x01, b"go"), 0),
        ("after a ping within fragments", [frame(0x02, b"go"), frame(PING, b"")].concat(), 0),
    ]
}

#[test]
fn each_violation_has_its_code_in_every_position() {
    for (position, before, messages) in positions() {
        for (name, bytes, code) in violations() {
            // What follows a violation is ignored.
            let whole = [&before[..], &bytes, &frame(FIN, b"x"), &frame(TEXT, b"late")].concat();
            let (found, closed) = outcome(&[&whole]);
            assert_eq!(closed, Some(code), "{name}, {position}");
            assert_eq!(found.len(), messages, "{name}, {position}");
            let single: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(outcome(&single), (found, closed), "{name}, {position}, byte by byte");
        }
    }
}

#[test]
fn fragments_must_go_on_and_end() {
    let one = frame(0x01, b"a");
    let cases: [(&str, Vec<u8>, u16); 6] = [
        ("continuation of nothing", frame(FIN, b"x"), 1002),
        ("continuation of nothing, not the last", frame(0x00, b"x"), 1002),
        (
            "continuation after the last",
            [&one[..], &frame(FIN, b""), &frame(FIN, b"")].concat(),
            1002,
        ),
        ("text within text", [&one[..], &frame(TEXT, b"b")].concat(), 1002),
        ("binary within text", [&one[..], &frame(0x02, b"b")].concat(), 1002),
        ("a reserved bit on a continuation", [&one[..], &frame(0xc0, b"b")].concat(), 1002),
    ];
    for (name, bytes, code) in cases {
        assert_eq!(outcome(&[&bytes]).1, Some(code), "{name}");
    }
}

#[test]
fn text_must_be_utf_8() {
    // Not a start, a surrogate, overlong, beyond Unicode, cut off.
    for bad in [&b"\x80"[..], b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        let text = [b"good", bad].concat();
        assert_eq!(outcome(&[&frame(TEXT, &text)]).1, Some(1007), "{bad:x?}");
        for at in 0..=text.len() {
            let (start, end) = text.split_at(at);
            let frames = [frame(0x01, start), frame(PING, b""), frame(FIN, end)].concat();
            assert_eq!(outcome(&[&frames]).1, Some(1007), "{bad:x?} cut at {at}");
        }
        // Binary messages need not be UTF-8.
        assert_eq!(outcome(&[&frame(0x82, &text)]).1, None, "{bad:x?}");
    }
    // A character may be spread over fragments.
    let euro = "\u{20ac}".as_bytes();
    let frames = [frame(0x01, &euro[..1]), frame(0x00, &euro[1..2]), frame(FIN, &euro[2..])];
    assert_eq!(outcome(&[&frames.concat()]), (vec!["\u{20ac}".to_owned()], None));
}

#[test]
fn length_of_all_fragments_counts() {
    let most = Config::new("secret", "offer").limits.max_packet_bytes;
    let half = vec![b'x'; most / 2];
    let fits = [frame(0x01, &half), frame(0x00, &half), frame(FIN, b"")].concat();
    assert_eq!(outcome(&[&fits]).1, None);
    let long = [frame(0x01, &half), frame(0x00, &half), frame(FIN, b"x")].concat();
    assert_eq!(outcome(&[&long]), (Vec::new(), Some(1009)));
}

#[test]
fn close_is_answered_by_its_own_code_and_ends_all() {
    for code in [1000_u16, 1001, 1003, 1007, 1011, 3000, 4999] {
        let bytes = [
            frame(0x01, b"unfinished"),
            frame(CLOSE, &[&code.to_be_bytes()[..], b"bye"].concat()),
            frame(FIN, b"late"),
            frame(PING, b"late"),
        ];
        assert_eq!(outcome(&[&bytes.concat()]), (Vec::new(), Some(code)));
    }
}
