//! Fuzz target: a session that gets its bytes in pieces, with budgets that end in
//! between, says and sends what one does that gets them whole; and its messages are
//! those of a plain tungstenite context that reads the same bytes.

use std::io::{self, Read, Write};
use std::time::Instant;

use moss::connection::backlog::Spares;
use moss::connection::ending::Ending;
use moss::connection::session::{Event, Phase, Session};
use moss::settings::config::Config;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Small, so that a fuzzer's inputs reach beyond it.
const MAX_PACKET_BYTES: usize = 300;

/// What is held between two pieces: a partial head or frame, a message in fragments,
/// their buffers' slack, tungstenite's buffers. All of it was sent already.
const MAX_HELD_BYTES: usize = 32 << 10;

/// Panics if the session in `data` depends on how its bytes are cut, or reads other
/// messages than tungstenite. The first three bytes say how to cut; then come the
/// peer's bytes: from the request head on, or from the first frame on.
pub(crate) fn check(data: &[u8]) {
    let Some((&[mode, piece, budget], bytes)) = data.split_first_chunk() else { return };
    let mut stream = if mode & 1 == 0 { UPGRADE.to_vec() } else { Vec::new() };
    stream.extend_from_slice(bytes);
    let whole = run(&stream, &[stream.len()], usize::MAX);
    // Two sizes in turn, so that a frame's parts don't fall on the same places each time.
    let sizes = [usize::from(piece % 64) + 1, usize::from(mode >> 1) + 1];
    assert_eq!(run(&stream, &sizes, usize::from(budget % 8) + 1), whole);
    if mode & 1 == 0 {
        check_against_tungstenite(bytes, whole);
    }
}

/// Everything that a session shows.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    said: Vec<Event<'static>>,
    sent: Vec<u8>,
    phase: Phase,
}

/// A whole session: the stream in pieces of these sizes in turn, and no more than
/// `budget` events without a break.
fn run(stream: &[u8], sizes: &[usize], budget: usize) -> Outcome {
    let mut config = Config::new("a secret of some length", "offer");
    config.limits.max_packet_bytes = MAX_PACKET_BYTES;
    let now = Instant::now();
    let mut session = Session::new(now);
    let mut outcome = Outcome { said: Vec::new(), sent: Vec::new(), phase: Phase::Head };
    let mut rest = stream;
    for &size in sizes.iter().cycle() {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let mut piece = piece.to_vec();
        let mut received = &mut piece[..];
        loop {
            let mut input = session.take_in(received, now);
            let mut left = budget;
            while left > 0
                && let Some(event) = session.next(&mut input, &config, None, now)
            {
                left -= 1;
                let event = owned(event);
                match &event {
                    Event::Upgrade(response) => session.open(response),
                    Event::Health { .. } => session.answer(b"health", Ending::Answered, now),
                    _ => {}
                }
                outcome.said.push(event);
            }
            session.put_back(input);
            if left > 0 {
                break;
            }
            received = &mut [];
        }
        outcome.sent.extend_from_slice(session.unsent());
        session.advance(session.unsent().len(), &mut Spares::default(), now);
        assert!(session.held() <= MAX_HELD_BYTES, "{} bytes held", session.held());
        if rest.is_empty() {
            break;
        }
    }
    outcome.phase = session.phase();
    outcome
}

fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Text(text) => Event::Text(text.into_owned().into()),
        Event::Binary(bytes) => Event::Binary(bytes.into_owned().into()),
        Event::Upgrade(response) => Event::Upgrade(response),
        Event::Health { is_head, after } => Event::Health { is_head, after },
        Event::Answered(answer) => Event::Answered(answer),
        Event::Handled => Event::Handled,
    }
}

/// The same frames, read by tungstenite without moss.
fn check_against_tungstenite(frames: &[u8], outcome: Outcome) {
    let mut said = outcome.said.into_iter();
    let Some(Event::Upgrade(response)) = said.next() else { panic!("no upgrade") };
    let sent = outcome.sent.strip_prefix(&response[..]).expect("the response comes first");

    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_PACKET_BYTES))
        .max_frame_size(Some(MAX_PACKET_BYTES));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut stream = Stream { input: frames, output: Vec::new() };
    let mut messages = Vec::new();
    let end = loop {
        let read = context.read(&mut stream);
        // What the last frame has to be answered with is written here.
        let _ = context.flush(&mut stream);
        match read {
            Ok(Message::Text(text)) => messages.push(Event::Text(text.as_str().to_owned().into())),
            Ok(Message::Binary(bytes)) => messages.push(Event::Binary(bytes.to_vec().into())),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let is_message = |event: &Event<'_>| matches!(event, Event::Text(_) | Event::Binary(_));
    assert_eq!(said.filter(is_message).collect::<Vec<_>>(), messages);
    let last_words = sent.strip_prefix(&stream.output[..]).expect("the same answers");
    let (phase, code) = match end {
        Error::Io(_) => (Phase::Open, None),
        Error::ConnectionClosed | Error::AlreadyClosed => (Phase::Ending, None),
        Error::Utf8(_) => (Phase::Ending, Some(1007_u16)),
        Error::Capacity(_) => (Phase::Ending, Some(1009)),
        Error::Protocol(_) => (Phase::Ending, Some(1002)),
        other => panic!("{other}"),
    };
    assert_eq!(outcome.phase, phase);
    match code {
        None => assert_eq!(last_words, b""),
        Some(code) => {
            assert_eq!(last_words[0], 0x88);
            assert_eq!(last_words[1] as usize, last_words.len() - 2);
            assert_eq!(last_words[2..4], code.to_be_bytes());
        }
    }
}

/// Bytes to read, and a place to write; nothing more comes.
struct Stream<'s> {
    input: &'s [u8],
    output: Vec<u8>,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
