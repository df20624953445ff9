//! The life of one connection: request head → open WebSocket → ending. Where pages are
//! served, other requests may come first; see `answering`.
//!
//! Bytes in, events out; packets in, unsent bytes out. No TCP, no poll, no clock (time
//! is a parameter), and packets are not interpreted: a test or a fuzzer runs it without a
//! socket.
//!
//! Received bytes stay in a buffer that all connections share: an [`Input`] goes over them and
//! yields each packet in place. Only the beginning of an incomplete frame moves into the
//! session. So an idle session owns no heap memory.
//!
//! A frame that is not simply one whole message (control frames, fragments, and whatever
//! breaks a rule) goes to a tungstenite context that exists only as long as it is needed; see
//! `frames`.
//!
//! The caller keeps this order: [`Session::take_in`], [`Session::next`] any number of times,
//! [`Session::put_back`].

mod answering;
mod reading;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use self::answering::Exchange;
pub use self::answering::SHORT_BYTES;
use crate::connection::backlog::{Backlog, Opcode, Spares};
use crate::connection::ending::Ending;
use crate::connection::frames::{Fragments, Header};
pub use crate::connection::input::Input;
use crate::http::answer::{After, Answer, Refusal};
use crate::http::forwarded::Requester;
use crate::http::head::Report;
use crate::http::pages::Pages;
use crate::settings::config::Config;

/// The time from accept to a complete request head, however slowly its bytes come.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The time from the last thing that moss sends to the end of the connection by the peer.
pub const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest reason that a Close frame holds (RFC 6455, section 5.5), in bytes.
const MAX_REASON_BYTES: usize = 123;

/// A connection without its socket.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Why it is ending, once it is.
    ending: Option<Ending>,
    /// When its phase began or, while it is open, the message that it is receiving.
    since: Instant,
    /// The peer's last sign of life.
    heard: Instant,
    pinged: bool,
    peer_ended: bool,
    /// It came to the TLS port without TLS: its request is redirected or refused.
    lacks_tls: bool,
    /// Whether a trusted proxy names the client of each request.
    proxied: Proxied,
    /// Received and not handled; `None` when idle.
    partial: Option<Box<Partial>>,
    /// Only if the connection is kept alive after an answer.
    exchange: Option<Box<Exchange>>,
    backlog: Backlog,
}

/// The received part of an incomplete message. In a box, since few sessions have one.
#[derive(Debug, Default)]
struct Partial {
    /// The start of a frame, or whole frames that were left when a budget was spent.
    bytes: Vec<u8>,
    /// The frames before it of a fragmented message.
    fragments: Option<Box<Fragments>>,
}

/// Whether a connection comes from a trusted proxy, which names the client of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxied {
    No,
    /// The client of the next request is still to be read.
    Due,
    /// It was read, and the request is not answered.
    Told,
}

/// The phases of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its first request head is being read.
    Head,
    /// A request was answered, and the connection is kept alive.
    Kept,
    /// It is a WebSocket.
    Open,
    /// Its last bytes are queued; what it receives is discarded.
    Ending,
}

/// What was read from the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A request has come through a trusted proxy, from this client. The request itself is the
    /// next event, unless the connection is refused now.
    Requester(Requester),
    /// A valid upgrade with its response: call [`Session::open`] with it, or refuse it
    /// by [`Session::answer`].
    Upgrade(Vec<u8>),
    /// A request for `/health` or `/metrics`: call [`Session::reply`].
    Report {
        /// Which of the two.
        report: Report,
        /// Answer without a body.
        is_head: bool,
        /// Whether the connection is to stay open.
        after: After,
    },
    /// Another request, and its answer: call [`Session::reply`] with it, or refuse it.
    Answered(Box<Answer>),
    /// A text message.
    Text(Cow<'i, str>),
    /// A binary message.
    Binary(Cow<'i, [u8]>),
    /// Handled by the session itself, a refused request included; counts against the budget.
    Handled,
}

impl Session {
    /// A connection that was just accepted.
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Head,
            ending: None,
            since: now,
            heard: now,
            pinged: false,
            peer_ended: false,
            lacks_tls: false,
            proxied: Proxied::No,
            partial: None,
            exchange: None,
            backlog: Backlog::default(),
        }
    }

    /// It came to the TLS port without TLS: its request will be redirected to `https://`.
    pub fn came_without_tls(&mut self) {
        self.lacks_tls = true;
    }

    /// It came from a trusted proxy: each request is preceded by [`Event::Requester`].
    pub fn came_by_proxy(&mut self) {
        self.proxied = Proxied::Due;
    }

    /// The phase of the session.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the session is not a WebSocket, or ended before it was one.
    pub fn is_http(&self) -> bool {
        matches!(self.phase, Phase::Head | Phase::Kept)
            || self.exchange.is_some()
            || matches!(
                self.ending,
                Some(
                    Ending::Refused(_)
                        | Ending::Answered
                        | Ending::Redirected
                        | Ending::Displaced
                        | Ending::Tls
                        | Ending::TlsOnPlain
                        | Ending::Dropped
                )
            )
    }

    /// Why the session is ending, once it is.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The bytes to send to the peer next, as far as they may be sent now.
    pub fn unsent(&self) -> &[u8] {
        match self.backlog.unsent() {
            [] => self.allowed_body(),
            bytes => bytes,
        }
    }

    /// Gives the session an empty buffer to queue into, unless it has one; a large one if
    /// `much` data is expected.
    pub fn lend(&mut self, spares: &mut Spares, much: bool) {
        self.backlog.lend(spares, much);
    }

    /// `count` of the unsent bytes were sent; a buffer that is empty now is given back.
    #[inline]
    pub fn advance(&mut self, count: usize, spares: &mut Spares, now: Instant) {
        if self.exchange.is_some() {
            self.advance_answer(count, spares, now);
        } else {
            self.backlog.advance(count, spares);
        }
    }

    /// Heap bytes of the session between two calls: backlog, partial frames, fragments. While
    /// it is served, it may hold received bytes up to three times.
    pub fn held(&self) -> usize {
        self.backlog_held() + self.partial_held()
    }

    /// Bytes that are not sent yet.
    #[inline]
    pub fn backlog_len(&self) -> usize {
        self.backlog.unsent_len()
    }

    /// Whether it has received bytes that are not handled yet.
    #[inline]
    pub fn has_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Heap bytes of what was received and is not handled yet.
    pub fn partial_held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>() + partial.bytes.capacity() + partial.fragments_held()
        })
    }

    /// Heap bytes of what is not sent yet.
    pub fn backlog_held(&self) -> usize {
        self.backlog.held()
    }

    /// Received bytes that are not parsed yet: whole frames, and an incomplete one.
    pub fn unparsed(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes.len())
    }

    /// Heap bytes of a fragmented message that is not complete.
    pub fn fragments_held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.fragments_held())
    }

    /// Bytes of that message.
    pub(super) fn fragments_len(&self) -> usize {
        let fragments = self.partial.as_ref().and_then(|partial| partial.fragments.as_ref());
        fragments.map_or(0, |fragments| fragments.len())
    }

    /// When its phase began or, while it is open, when the incomplete message began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Frees unused memory: `all` of it, or only where it is much.
    pub fn shrink(&mut self, all: bool) {
        self.backlog.shrink(all);
        if let Some(partial) = &mut self.partial {
            partial.bytes.shrink_to_fit();
            if let Some(fragments) = &mut partial.fragments {
                fragments.shrink();
            }
        }
    }

    /// Takes received bytes. If there are none, goes on with earlier ones.
    #[inline]
    pub fn take_in<'b>(&mut self, received: &'b mut [u8], now: Instant) -> Input<'b> {
        if !received.is_empty() {
            self.heard(now);
        }
        match &mut self.partial {
            Some(partial) => {
                if self.phase == Phase::Open {
                    partial.make_room(received.len());
                }
                Input::new(received, &mut partial.bytes)
            }
            None => {
                if !received.is_empty() {
                    self.begins(now);
                }
                Input::new(received, &mut Vec::new())
            }
        }
    }

    /// Bytes have come; unless they continue a message, a new one begins now. A further request
    /// head counts as a message, too, but not while earlier answers are unsent: its time would
    /// run while moss lets it wait.
    pub fn begins(&mut self, now: Instant) {
        let begins = match self.phase {
            Phase::Open => true,
            Phase::Kept => !self.has_answer(),
            Phase::Head | Phase::Ending => false,
        };
        if begins && self.partial.is_none() {
            self.since = now;
        }
    }

    /// The next event in the bytes; `None` if there is none.
    pub fn next<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        config: &Config,
        pages: Option<&Pages>,
        now: Instant,
    ) -> Option<Event<'i>> {
        match self.phase {
            Phase::Open => self.next_frame(input, config.limits.max_packet_bytes, now),
            Phase::Head | Phase::Kept => self.next_head(input, config, pages, now),
            Phase::Ending => {
                input.clear();
                None
            }
        }
    }

    /// Keeps the bytes that were not parsed.
    pub fn put_back(&mut self, input: Input<'_>) {
        if self.phase == Phase::Ending {
            return;
        }
        let bytes = input.into_rest();
        if !bytes.is_empty() {
            self.partial.get_or_insert_default().bytes = bytes;
        } else if self.fragments_held() == 0 {
            self.partial = None;
        }
    }

    /// Becomes a WebSocket by sending the response to its upgrade.
    pub fn open(&mut self, response: &[u8]) {
        if !matches!(self.phase, Phase::Head | Phase::Kept) {
            // It was closed meanwhile.
            return;
        }
        self.backlog.push_raw(response);
        self.exchange = None;
        self.phase = Phase::Open;
        self.since = self.heard;
    }

    /// Sends an HTTP answer, and ends.
    pub fn answer(&mut self, answer: &[u8], ending: Ending, now: Instant) {
        self.backlog.push_raw(answer);
        if !self.end_after(ending) {
            self.end(ending, now);
        }
    }

    /// Refuses the request that was read last.
    pub fn refuse(&mut self, refusal: Refusal, now: Instant) {
        self.answer(&refusal.answer(), Ending::Refused(refusal), now);
    }

    /// Queues a frame; the caller must append its `len` bytes of payload to the returned buffer.
    pub fn queue(&mut self, opcode: Opcode, len: usize) -> &mut Vec<u8> {
        self.backlog.push_frame(opcode, len)
    }

    /// Sends what is queued and then a Close (RFC 6455, section 7.1.2), and ends.
    pub fn close(&mut self, ending: Ending, now: Instant) {
        self.close_saying(ending.text(), ending, now);
    }

    /// Closes it for the master. A reason that is too long is cut at a character boundary.
    pub fn kick(&mut self, reason: &str, now: Instant) {
        self.close_saying(reason, Ending::Kicked, now);
    }

    /// Like [`close`](Self::close), but drops all frames of which nothing was sent: the peer
    /// reads too slowly, and its memory is needed now.
    pub fn cut(&mut self, ending: Ending, now: Instant) {
        self.backlog.cut();
        self.give_up_body();
        self.close(ending, now);
    }

    fn close_saying(&mut self, reason: &str, ending: Ending, now: Instant) {
        if self.phase == Phase::Open {
            let reason = &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)];
            let payload = self.backlog.push_frame(Opcode::Close, 2 + reason.len());
            payload.extend_from_slice(&ending.code().to_be_bytes());
            payload.extend_from_slice(reason.as_bytes());
        }
        self.end(ending, now);
    }

    /// The peer has closed its side. What is queued is still sent.
    pub fn peer_ended(&mut self, now: Instant) {
        self.peer_ended = true;
        if !self.has_answer() || !self.end_after(Ending::Answered) {
            self.end(self.reason_for_end(), now);
        }
    }

    /// Nothing can be sent any more; what the peer sent before is still read.
    pub fn discard_unsent(&mut self) {
        if self.has_answer() {
            self.end_after(Ending::Left);
        }
        self.backlog = Backlog::default();
        self.give_up_body();
    }

    /// Ends the connection without sending anything more.
    pub fn drop_now(&mut self, ending: Ending, now: Instant) {
        self.end(ending, now);
        self.broken(now);
    }

    /// Whether the peer was pinged and has not given a sign of life since.
    pub fn is_unanswered(&self) -> bool {
        self.pinged
    }

    /// The connection is broken, both ways.
    pub fn broken(&mut self, now: Instant) {
        self.discard_unsent();
        self.peer_ended(now);
    }

    /// Whether the peer has closed its side.
    pub fn has_peer_ended(&self) -> bool {
        self.peer_ended
    }

    /// Whether nothing is left to do or to wait for.
    pub fn is_over(&self, now: Instant) -> bool {
        self.is_overdue(now)
            || (self.phase == Phase::Ending && self.peer_ended && self.unsent().is_empty())
    }

    /// Whether the peer's time to close its side is over.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.phase == Phase::Ending && now >= self.since + ENDING_TIMEOUT
    }

    /// Checks the deadlines: queues a ping, or ends the session, when it is time. To be called
    /// at least once a second.
    pub fn tick(&mut self, keepalive: Duration, now: Instant) {
        match self.phase {
            Phase::Kept => self.tick_kept(2 * keepalive, now),
            Phase::Head if now >= self.since + HEAD_TIMEOUT => self.refuse(Refusal::Timeout, now),
            Phase::Open => {
                let silence = now.saturating_duration_since(self.heard);
                if silence >= keepalive && !self.pinged {
                    self.pinged = true;
                    if silence >= 2 * keepalive {
                        // moss was late with its ping: the peer gets its time to answer.
                        self.heard += silence - keepalive;
                    }
                    self.queue(Opcode::Ping, 0);
                } else if silence >= 2 * keepalive {
                    self.close(Ending::Silent, now);
                }
            }
            Phase::Head | Phase::Ending => {}
        }
    }

    /// The peer gave a sign of life; bytes that wait to be received count, too.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = false;
    }

    fn end(&mut self, ending: Ending, now: Instant) {
        if self.phase != Phase::Ending {
            self.phase = Phase::Ending;
            self.ending = Some(ending);
            self.since = now;
            self.partial = None;
            self.give_up_body();
        }
    }
}

impl Partial {
    /// Makes room for this many more bytes. The buffer doubles, but not beyond the end of its
    /// frame: else a packet could take twice its length, and not fit the smallest memory limit
    /// that can be configured.
    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        let Ok(Some(header)) = Header::parse(&self.bytes) else { return };
        let frame = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let frame = frame.saturating_add(header.len);
        if self.bytes.capacity() < needed && frame < 2 * self.bytes.capacity() {
            self.bytes.reserve_exact(needed.max(frame) - self.bytes.len());
        }
    }

    fn fragments_held(&self) -> usize {
        self.fragments.as_ref().map_or(0, |fragments| fragments.held())
    }
}
