//! Fuzz target: a session that gets its bytes in pieces, with small budgets, has the same events
//! and sends the same bytes as one that gets them whole. Its messages are those of a plain
//! tungstenite context that reads the same bytes. If it serves pages, it answers each request
//! once and in order, however it is cut and however slowly the answers are read. Behind a
//! trusted proxy it does the same, and reports the requester before each request.

use std::io::{self, Read, Write};
use std::time::Instant;

use moss::connection::backlog::Spares;
use moss::connection::ending::Ending;
use moss::connection::session::{Event, Phase, Session};
use moss::http::answer::{After, Answer, Health, health};
use moss::http::head::{Head, read_head};
use moss::http::pages::Pages;
use moss::settings::config::Config;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Small, so that a fuzzer's inputs reach beyond it.
const MAX_PACKET_BYTES: usize = 300;

/// Bytes that are held between two pieces: an incomplete head or frame, a message in fragments,
/// unused capacity of buffers, tungstenite's buffers. Nothing is waiting to be sent.
const MAX_HELD_BYTES: usize = 32 << 10;

/// The largest page, which is never queued as a whole.
const LARGE_BYTES: usize = 40_000;

/// The limit of bytes queued for a peer that reads nothing: 16 KiB, and of the last answer the
/// head and 16 KiB of its page.
const MAX_QUEUED_BYTES: usize = 33 << 10;

/// Panics if the result of the session in `data` depends on how its bytes are cut, or if it reads
/// other messages than tungstenite. The first three bytes say how to cut. The rest are the peer's
/// bytes: from its request head on, or from its first frame on.
pub(crate) fn check(data: &[u8]) {
    let Some((&[mode, piece, budget], bytes)) = data.split_first_chunk() else { return };
    if budget & 0x80 > 0 {
        return check_pages(bytes, [mode, piece, budget]);
    }
    let mut stream = if mode & 1 == 0 { UPGRADE.to_vec() } else { Vec::new() };
    stream.extend_from_slice(bytes);
    let whole = run(&stream, &Manner::whole(None));
    // Two sizes in turn, so that frames are cut at different places.
    let sizes = [usize::from(piece % 64) + 1, usize::from(mode >> 1) + 1];
    let budget = usize::from(budget % 8) + 1;
    let by_proxy = piece & 0x40 > 0;
    assert_eq!(run(&stream, &Manner { sizes, budget, by_proxy, ..Manner::whole(None) }), whole);
    if mode & 1 == 0 {
        check_against_tungstenite(bytes, whole);
    }
}

/// The same for a moss that serves pages; the peer's bytes are requests.
fn check_pages(stream: &[u8], [mode, piece, budget]: [u8; 3]) {
    let large = (0..LARGE_BYTES).map(|at| at as u8).collect();
    let pages = Pages::from_files([("/index.html", b"an index".to_vec()), ("/large", large)]);
    let whole = run(stream, &Manner::whole(Some(&pages)));
    let (due, is_all) = due(stream, &pages);
    assert!(whole.sent.starts_with(&due), "wrong answers");
    assert!(!is_all || whole.sent.len() == due.len(), "surplus bytes");
    let manner = Manner {
        pages: Some(&pages),
        sizes: [usize::from(piece) + 1, 1 << (mode % 16)],
        budget: usize::from(budget % 8) + 1,
        takes: 7 << (budget >> 3 & 15),
        by_proxy: mode & 0x10 > 0,
    };
    let cut = run(stream, &manner);
    assert!(cut.sent == whole.sent, "other answers");
    assert_eq!((cut.said, cut.phase), (whole.said, whole.phase));
}

/// The answers to all requests, each handled alone; and whether nothing else may be sent, because
/// no request becomes a WebSocket.
fn due(mut stream: &[u8], pages: &Pages) -> (Vec<u8>, bool) {
    let config = config();
    let mut due = Vec::new();
    // The last request of a connection.
    for number in 1..=1_000 {
        let (len, mut answer) = match read_head(stream, &config, Some(pages)) {
            Head::Answered { len, answer } => (len, answer),
            Head::Report { len, is_head, after, .. } => (len, told(is_head, after)),
            Head::Upgrade { response, .. } => return ([due, response].concat(), false),
            Head::Refused { answer, .. } => return ([due, answer].concat(), true),
            // After other requests it is not a request any more.
            Head::Tls if number > 1 => return (due, false),
            _ => return (due, true),
        };
        if number == 1_000 {
            answer.close();
        }
        let is_last = answer.after() == After::Close;
        let (bytes, body) = answer.into_parts();
        due.extend(bytes);
        due.extend(body.iter().flat_map(|body| body.rest()));
        if is_last {
            break;
        }
        stream = &stream[len..];
    }
    (due, true)
}

/// The health report in these tests.
fn told(is_head: bool, after: After) -> Answer {
    let told = Health { uptime_seconds: 1, connections: 2, clients: 3, master: true };
    health(&told, is_head, after)
}

/// How a session is driven.
struct Manner<'p> {
    pages: Option<&'p Pages>,
    /// The sizes of received pieces, used in turn.
    sizes: [usize; 2],
    /// The budget of a turn, in events.
    budget: usize,
    /// How many bytes are sent at a time.
    takes: usize,
    by_proxy: bool,
}

impl<'p> Manner<'p> {
    fn whole(pages: Option<&'p Pages>) -> Self {
        let all = usize::MAX;
        Self { pages, sizes: [all; 2], budget: all, takes: all, by_proxy: false }
    }
}

/// All observable results of a session.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    said: Vec<Event<'static>>,
    sent: Vec<u8>,
    phase: Phase,
}

impl Outcome {
    /// Sends at most this number of bytes. Returns whether there were any.
    fn take(&mut self, session: &mut Session, most: usize, now: Instant) -> bool {
        session.allow(most);
        let unsent = session.unsent();
        let count = unsent.len().min(most);
        self.sent.extend_from_slice(&unsent[..count]);
        session.advance(count, &mut Spares::default(), now);
        session.allow(0);
        session.sent_all(now);
        count > 0
    }
}

fn config() -> Config {
    let mut config = Config::new("a secret of some length", "offer");
    config.limits.max_packet_bytes = MAX_PACKET_BYTES;
    config
}

/// Runs a session from start to end.
fn run(stream: &[u8], manner: &Manner<'_>) -> Outcome {
    let config = config();
    let now = Instant::now();
    let mut session = Session::new(now);
    if manner.by_proxy {
        session.came_by_proxy();
    }
    let mut asked = false;
    let mut outcome = Outcome { said: Vec::new(), sent: Vec::new(), phase: Phase::Head };
    let mut rest = stream;
    for &size in manner.sizes.iter().cycle() {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let mut piece = piece.to_vec();
        let mut received = &mut piece[..];
        loop {
            let mut input = session.take_in(received, now);
            let mut left = manner.budget;
            while left > 0
                && let Some(event) = session.next(&mut input, &config, manner.pages, now)
            {
                left -= 1;
                let mut event = owned(event);
                if matches!(event, Event::Requester(_)) {
                    assert!(!asked && manner.by_proxy, "a requester twice, or without a proxy");
                    asked = true;
                    continue;
                }
                if matches!(event, Event::Upgrade(_) | Event::Report { .. } | Event::Answered(_)) {
                    assert_eq!(asked, manner.by_proxy, "whether the requester was reported");
                    asked = false;
                }
                match event {
                    Event::Upgrade(ref response) => session.open(response),
                    Event::Report { is_head, after, .. } if manner.pages.is_some() => {
                        session.reply(told(is_head, after), now);
                    }
                    Event::Report { .. } => session.answer(b"health", Ending::Answered, now),
                    Event::Answered(answer) => {
                        session.reply(*answer, now);
                        event = Event::Handled;
                    }
                    _ => {}
                }
                outcome.said.push(event);
            }
            session.put_back(input);
            if session.phase() == Phase::Kept {
                let queued = session.backlog_len();
                assert!(queued <= MAX_QUEUED_BYTES, "{queued} bytes queued");
            }
            let is_busy = session.is_busy();
            while outcome.take(&mut session, manner.takes, now) && session.is_busy() {}
            assert!(!session.is_busy(), "nothing is sent any more");
            if left > 0 && !is_busy {
                break;
            }
            received = &mut [];
        }
        let held = session.held() - session.backlog_held();
        assert!(held <= MAX_HELD_BYTES, "{held} bytes held");
        if rest.is_empty() {
            break;
        }
    }
    while outcome.take(&mut session, manner.takes, now) {}
    assert!(session.held() <= MAX_HELD_BYTES, "{} bytes held", session.held());
    outcome.phase = session.phase();
    outcome
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

/// Compares with tungstenite alone, which reads the same frames.
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
        // This writes the answer to the last frame.
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
        // A control frame may never be long, whatever the limit (RFC 6455, section 5.5).
        Error::Capacity(_) if has_long_control(frames) => (Phase::Ending, Some(1002)),
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

/// Whether the first frame over the limit is a control frame.
fn has_long_control(mut frames: &[u8]) -> bool {
    while let [first, second, rest @ ..] = frames {
        let (len, header) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            (127, _) => match rest.first_chunk() {
                Some(len) => (u64::from_be_bytes(*len), 10),
                None => return false,
            },
            (len, _) => (u64::from(len), 2),
        };
        if len > MAX_PACKET_BYTES as u64 {
            return first & 8 > 0;
        }
        frames = frames.get(header + 4 + len as usize..).unwrap_or_default();
    }
    false
}

/// A stream with these bytes to read, and a buffer for writes.
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
