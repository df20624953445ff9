//! The session as bytes in, bytes out: no socket, and the time is whatever a test says.

mod random;

use std::time::{Duration, Instant};

use moss::backlog::Opcode;
use moss::config::Config;
use moss::session::{ENDING_TIMEOUT, Event, HEAD_TIMEOUT, Phase, Session};
use random::Random;

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// RFC 6455, section 5.2: the opcodes, and FIN, which every frame has but a fragment
/// that others follow.
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

const MAX_PACKET: usize = 262_144;

/// What a session may hold beyond the packet that it is receiving: buffers' slack,
/// tungstenite's state and its read buffer.
const SLACK: usize = 8 << 10;

/// A session with what a server does for it.
struct Served {
    session: Session,
    config: Config,
    now: Instant,
    /// The most that the session ever held between two receives.
    most_held: usize,
    /// Events without a break.
    budget: usize,
}

impl Served {
    fn new() -> Self {
        let config = Config::new("a secret of some length", "offer");
        assert_eq!(config.limits.max_packet_bytes, MAX_PACKET);
        let now = Instant::now();
        Self { session: Session::new(now), config, now, most_held: 0, budget: usize::MAX }
    }

    /// A WebSocket whose response is sent.
    fn open() -> Self {
        let mut served = Self::new();
        assert!(matches!(served.receive(UPGRADE)[..], [Event::Upgrade(_)]));
        assert!(served.sent().starts_with(b"HTTP/1.1 101 "));
        served
    }

    /// Hands over bytes as the server does, and collects what they say.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Event<'static>> {
        let mut said = Vec::new();
        let mut bytes = bytes.to_vec();
        let mut received = &mut bytes[..];
        while self.take(received, &mut said) == self.budget && self.session.has_unparsed() {
            received = &mut [];
        }
        self.most_held = self.most_held.max(self.session.held());
        said
    }

    /// One turn: up to a budget of events. Says how many there were.
    fn take(&mut self, received: &mut [u8], said: &mut Vec<Event<'static>>) -> usize {
        let mut events = 0;
        let mut input = self.session.take_in(received, self.now);
        while events < self.budget
            && let Some(event) = self.session.next(&mut input, &self.config, self.now)
        {
            events += 1;
            let event = owned(event);
            if let Event::Upgrade(response) = &event {
                self.session.open(response);
            }
            said.push(event);
        }
        self.session.put_back(input);
        events
    }

    /// Sends everything.
    fn sent(&mut self) -> Vec<u8> {
        let sent = self.session.unsent().to_vec();
        self.session.advance(sent.len());
        sent
    }

    /// Sends everything, which is one Close; its code.
    fn close_code(&mut self) -> u16 {
        let sent = self.sent();
        assert_eq!(self.session.phase(), Phase::Ending);
        assert_eq!(sent[0], FIN | CLOSE, "{sent:?}");
        assert_eq!(usize::from(sent[1]), sent.len() - 2, "more than one frame: {sent:?}");
        u16::from_be_bytes([sent[2], sent[3]])
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.session.tick(self.config.keepalive, self.now);
    }
}

fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Text(text) => Event::Text(text.into_owned().into()),
        Event::Binary(bytes) => Event::Binary(bytes.into_owned().into()),
        Event::Upgrade(response) => Event::Upgrade(response),
        Event::Health => Event::Health,
        Event::Frame => Event::Frame,
    }
}

/// A client's frame: masked, of minimal length. The first byte says all but that.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(first, payload.len() as u64);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a masked frame, up to the mask.
fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..126 => header.push(0x80 | len as u8),
        126..0x1_0000 => {
            header.push(0x80 | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(len.to_be_bytes());
        }
    }
    header
}

/// A frame without its mask, as only a server may send it.
fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn text(text: &'static str) -> Event<'static> {
    Event::Text(text.into())
}

/// Breaks a rule in every position: as the first frame, behind a message, in a message's
/// fragments, and behind a control frame in those; and with something behind it, which
/// must not be heard any more.
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
        assert!(said.iter().all(|event| *event == Event::Frame), "{offence:?}: {said:?}");
        assert_eq!(served.close_code(), code, "{offence:?} behind {before:?}");
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
fn close_that_is_none_is_a_protocol_error() {
    assert_fails(&frame(FIN | CLOSE, b"\x03"), 1002);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_fails(&close(code, b""), 1002);
    }
}

#[test]
fn text_that_is_no_utf8_is_inconsistent_data() {
    // No start, an overlong spelling, half a surrogate pair, too large, an end too soon.
    for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82"] {
        let mut served = Served::open();
        assert_eq!(served.receive(&frame(FIN | TEXT, bad)), [Event::Frame]);
        assert_eq!(served.close_code(), 1007);

        assert_fails(&close(1000, bad), 1007);

        let mut served = Served::open();
        let fragments = [frame(TEXT, b"a"), frame(CONTINUATION, b""), frame(FIN, bad)];
        assert_eq!(served.receive(&fragments.concat()), [const { Event::Frame }; 3]);
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
fn characters_may_be_cut_by_fragments() {
    let mut served = Served::open();
    let pieces = [frame(TEXT, b"\xe2"), frame(CONTINUATION, b"\x82"), frame(FIN, b"\xac")];
    assert_eq!(served.receive(&pieces.concat()), [Event::Frame, Event::Frame, text("€")]);
}

#[test]
fn binary_need_not_be_text() {
    let mut served = Served::open();
    let frames = [frame(FIN | BINARY, b"\xff"), frame(BINARY, b"\xff"), frame(FIN, b"\xfe")];
    assert_eq!(
        served.receive(&frames.concat()),
        [Event::Binary(b"\xff"[..].into()), Event::Frame, Event::Binary(b"\xff\xfe"[..].into())]
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
        assert_eq!(said, [Event::Frame, Event::Frame]);
        assert_eq!(served.close_code(), 1002);
    }
}

#[test]
fn oversized_frame_is_told_from_its_header() {
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
fn oversized_message_in_fragments_is_too_big() {
    let half = vec![b'x'; MAX_PACKET / 2];
    let mut served = Served::open();
    served.receive(&[frame(TEXT, &half), frame(CONTINUATION, &half)].concat());
    assert_eq!(served.session.phase(), Phase::Open);
    served.receive(&frame(CONTINUATION, b"x"));
    assert_eq!(served.close_code(), 1009);
}

#[test]
fn packet_of_just_the_limit_passes() {
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
    let message = said.iter().position(|event| *event != Event::Frame);
    assert_eq!((message, &said[6], said.len()), (Some(6), &text("abc"), 8));
    let pongs = [&b"1"[..], b"", &longest, b"2"].map(|payload| unmasked(FIN | PONG, payload));
    assert_eq!(served.sent(), pongs.concat());
    assert_eq!(served.session.held(), 0);
}

#[test]
fn close_is_echoed_and_nothing_behind_it_heard() {
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9going", b"\x0b\xb8", b"\x13\x87\xe2\x82\xac"] {
        for before in [&b""[..], &frame(TEXT, b"half a message")] {
            let mut served = Served::open();
            served.receive(before);
            let late = frame(FIN | TEXT, b"{}");
            let said = served.receive(&[frame(FIN | CLOSE, payload), late.clone()].concat());
            assert_eq!(said, [Event::Frame]);
            assert_eq!(served.sent(), unmasked(FIN | CLOSE, payload));
            assert_eq!(served.session.phase(), Phase::Ending);
            assert_eq!(served.receive(&late), []);
            assert!(!served.session.is_over(served.now));
            served.session.peer_ended(served.now);
            assert!(served.session.is_over(served.now));
        }
    }
}

#[test]
fn close_reason_is_cut_on_a_character_boundary() {
    let mut served = Served::open();
    // 41 characters of three bytes are just 123; one more byte in front cuts the last.
    served.session.close(1008, &format!("x{}", "€".repeat(50)), served.now);
    let sent = served.sent();
    assert_eq!(&sent[4..], format!("x{}", "€".repeat(40)).as_bytes());
    assert_eq!(usize::from(sent[1]), 2 + 121);
}

#[test]
fn close_comes_after_what_was_queued_and_only_once() {
    let mut served = Served::open();
    served.session.queue(Opcode::Text, 2).extend(b"{}");
    served.session.close(1001, "", served.now);
    served.session.close(1008, "", served.now);
    assert_eq!(served.sent(), b"\x81\x02{}\x88\x02\x03\xe9");
}

#[test]
fn cut_keeps_the_frame_that_has_begun() {
    let mut served = Served::open();
    for payload in [b"one", b"two"] {
        served.session.queue(Opcode::Text, 3).extend(payload);
    }
    served.session.advance(1);
    served.session.cut(1013, "", served.now);
    assert_eq!(served.sent(), b"\x03one\x88\x02\x03\xf5");
}

#[test]
fn silent_peer_is_pinged_once_and_then_dropped() {
    let mut served = Served::open();
    let keepalive = served.config.keepalive;
    served.wait(keepalive - Duration::from_secs(1));
    assert_eq!(served.sent(), b"");
    served.wait(Duration::from_secs(1));
    assert_eq!(served.sent(), unmasked(FIN | PING, b""));
    served.wait(keepalive - Duration::from_secs(1));
    assert_eq!(served.sent(), b"");
    assert_eq!(served.session.phase(), Phase::Open);
    served.wait(Duration::from_secs(1));
    assert_eq!(served.close_code(), 1011);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut served = Served::open();
    let keepalive = served.config.keepalive;
    for byte in frame(FIN | TEXT, b"{}") {
        served.wait(keepalive);
        assert_eq!(served.sent(), unmasked(FIN | PING, b""));
        served.wait(keepalive - Duration::from_secs(1));
        served.receive(&[byte]);
    }
    assert_eq!(served.session.phase(), Phase::Open);
}

#[test]
fn silence_of_one_who_was_not_listened_to_is_excused() {
    let mut served = Served::open();
    let keepalive = served.config.keepalive;
    served.now += 3 * keepalive;
    served.session.excuse(2 * keepalive, served.now);
    served.wait(Duration::ZERO);
    assert_eq!(served.sent(), unmasked(FIN | PING, b""));
    served.session.excuse(9 * keepalive, served.now);
    served.wait(2 * keepalive);
    assert_eq!(served.close_code(), 1011);
}

#[test]
fn request_head_has_ten_seconds_however_it_drips() {
    let mut served = Served::new();
    for byte in &UPGRADE[..9] {
        assert_eq!(served.receive(&[*byte]), []);
        served.wait(Duration::from_secs(1));
        assert_eq!(served.sent(), b"");
    }
    served.wait(HEAD_TIMEOUT - Duration::from_secs(9));
    assert!(served.sent().starts_with(b"HTTP/1.1 408 "));
    assert_eq!(served.receive(&UPGRADE[9..]), []);
    assert_eq!(served.session.phase(), Phase::Ending);
}

#[test]
fn ending_waits_five_seconds_for_the_peer() {
    let mut served = Served::open();
    served.session.close(1001, "", served.now);
    served.sent();
    assert!(!served.session.is_over(served.now + ENDING_TIMEOUT - Duration::from_millis(1)));
    assert!(served.session.is_over(served.now + ENDING_TIMEOUT));
}

#[test]
fn ending_is_prolonged_by_nothing() {
    let mut served = Served::open();
    served.session.close(1001, "", served.now);
    served.sent();
    for _ in 0..5 {
        served.wait(Duration::from_secs(1));
        assert_eq!(served.receive(&frame(FIN | PING, b"")), []);
        served.session.close(1008, "", served.now);
    }
    assert_eq!(served.sent(), b"");
    assert!(served.session.is_over(served.now));
}

#[test]
fn peer_that_has_ended_is_still_sent_what_is_queued() {
    let mut served = Served::open();
    served.session.queue(Opcode::Text, 2).extend(b"{}");
    served.session.peer_ended(served.now);
    assert!(!served.session.is_over(served.now));
    assert_eq!(served.sent(), b"\x81\x02{}");
    assert!(served.session.is_over(served.now));
}

#[test]
fn broken_connection_is_over_at_once() {
    let mut served = Served::open();
    served.session.queue(Opcode::Text, 2).extend(b"{}");
    served.session.broken(served.now);
    assert!(served.session.is_over(served.now));
    assert_eq!(served.session.held(), 0);
}

#[test]
fn http_answer_ends_what_is_no_websocket() {
    let mut served = Served::new();
    let said = served.receive(b"GET /nowhere HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(said, [Event::Frame]);
    let sent = String::from_utf8(served.sent()).unwrap();
    assert!(sent.starts_with("HTTP/1.1 404 ") && sent.matches("HTTP/1.1").count() == 1, "{sent}");
    assert_eq!((served.session.phase(), served.session.held()), (Phase::Ending, 0));
}

#[test]
fn connection_without_a_websocket_gets_no_close_frame() {
    let mut served = Served::new();
    served.receive(&UPGRADE[..20]);
    served.session.close(1001, "moss is stopping", served.now);
    assert_eq!(served.sent(), b"");
    assert_eq!(served.session.phase(), Phase::Ending);
}

#[test]
fn spent_budget_is_gone_on_with_without_new_bytes() {
    let mut served = Served::open();
    served.budget = 2;
    let frames = [frame(FIN | TEXT, b"1"), frame(FIN | PING, b"2"), frame(FIN | TEXT, b"3")];
    let mut said = Vec::new();
    assert_eq!(served.take(&mut frames.concat(), &mut said), 2);
    assert!(served.session.has_unparsed());
    assert_eq!(served.take(&mut [], &mut said), 1);
    assert!(!served.session.has_unparsed());
    assert_eq!(said, [text("1"), Event::Frame, text("3")]);
    assert_eq!(served.sent(), unmasked(FIN | PONG, b"2"));
    assert_eq!(served.session.held(), 0);
}

/// A conversation with all that a session knows; its last frame is a Close.
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
fn two_pieces_are_the_same_as_the_whole() {
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
fn arbitrary_pieces_and_budgets_are_the_same_as_the_whole() {
    let bytes = conversation(70_000);
    let mut served = Served::new();
    let whole = (served.receive(&bytes), served.sent());
    for seed in 0..100 {
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
fn session_that_is_closed_lets_go_of_what_it_received() {
    let mut served = Served::open();
    served.receive(&frame(TEXT, &[b'x'; 100_000]));
    served.receive(&frame(FIN, &[b'x'; 100_000])[..50_000]);
    assert!(served.session.held() >= 150_000);
    served.session.close(1001, "", served.now);
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
    let bound = 3 * MAX_PACKET + SLACK;
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
fn half_frame_behind_a_large_fragment_is_bounded_too() {
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
    // What tungstenite may hold for the message, and a frame's own buffer, which doubles
    // as it grows.
    let bound = 3 * MAX_PACKET + 2 * MAX_PACKET + SLACK;
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
