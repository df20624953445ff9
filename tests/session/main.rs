//! The session without a socket: bytes in, bytes out, and a clock that the test sets.

mod life;
mod memory;
mod pieces;
#[path = "../random/mod.rs"]
mod random;
mod requests;
mod rules;

use std::time::{Duration, Instant};

use moss::connection::backlog::{Opcode, Spares};
use moss::connection::ending::Ending;
use moss::connection::session::{ENDING_TIMEOUT, Event, HEAD_TIMEOUT, Phase, Session};
use moss::http::answer::{Health, Refusal, health};
use moss::http::pages::Pages;
use moss::settings::config::Config;

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// RFC 6455, section 5.2: the opcodes, and FIN, which every frame has except a fragment
/// that is not the last.
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

const MAX_PACKET: usize = 262_144;

/// Bytes that a session may hold beyond the packet that it is receiving: unused capacity of
/// buffers, tungstenite's state and its read buffer.
const SLACK: usize = 8 << 10;

/// A session, driven as the server does.
struct Served {
    session: Session,
    config: Config,
    pages: Option<Pages>,
    now: Instant,
    /// The most that the session ever held between two receives.
    most_held: usize,
    /// The budget of a turn, in events.
    budget: usize,
}

impl Served {
    fn new() -> Self {
        let config = Config::new("a secret of some length", "offer");
        assert_eq!(config.limits.max_packet_bytes, MAX_PACKET);
        let now = Instant::now();
        let session = Session::new(now);
        Self { session, config, pages: None, now, most_held: 0, budget: usize::MAX }
    }

    /// An open WebSocket whose response was sent.
    fn open() -> Self {
        let mut served = Self::new();
        assert!(matches!(served.receive(UPGRADE)[..], [Event::Upgrade(_)]));
        assert!(served.sent().starts_with(b"HTTP/1.1 101 "));
        served
    }

    /// Passes bytes to the session as the server does. Returns the events.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Event<'static>> {
        let mut said = Vec::new();
        let mut bytes = bytes.to_vec();
        let mut received = &mut bytes[..];
        while self.take(received, &mut said) == self.budget && (self.session.unparsed() > 0) {
            received = &mut [];
        }
        self.most_held = self.most_held.max(self.session.held());
        said
    }

    /// One turn: up to a budget of events. Returns their number.
    fn take(&mut self, received: &mut [u8], said: &mut Vec<Event<'static>>) -> usize {
        let mut events = 0;
        let mut input = self.session.take_in(received, self.now);
        while events < self.budget
            && let Some(event) =
                self.session.next(&mut input, &self.config, self.pages.as_ref(), self.now)
        {
            events += 1;
            let mut event = owned(event);
            match event {
                Event::Upgrade(ref response) => self.session.open(response),
                Event::Report { is_head, after, .. } => {
                    let told =
                        Health { uptime_seconds: 0, connections: 0, clients: 0, master: false };
                    self.session.reply(health(&told, is_head, after), self.now);
                }
                Event::Answered(answer) => {
                    self.session.reply(*answer, self.now);
                    event = Event::Handled;
                }
                _ => {}
            }
            said.push(event);
        }
        self.session.put_back(input);
        events
    }

    /// Sends everything.
    fn sent(&mut self) -> Vec<u8> {
        let sent = self.session.unsent().to_vec();
        self.session.advance(sent.len(), &mut Spares::default(), self.now);
        self.session.sent_all(self.now);
        sent
    }

    /// Sends everything, which must be one Close. Returns its code.
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
        Event::Requester(requester) => Event::Requester(requester),
        Event::Text(text) => Event::Text(text.into_owned().into()),
        Event::Binary(bytes) => Event::Binary(bytes.into_owned().into()),
        Event::Upgrade(response) => Event::Upgrade(response),
        Event::Report { report, is_head, after } => Event::Report { report, is_head, after },
        Event::Answered(answer) => Event::Answered(answer),
        Event::Handled => Event::Handled,
    }
}

/// A client's frame: masked, with the shortest length field. `first` is its first byte.
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
