//! One connection's life: request head → open WebSocket → ending. With pages, other requests
//! may come before; see `answering`.
//!
//! Bytes in, packets out; packets in, unsent bytes out. No TCP, no poll, no clock (time
//! is a parameter), no idea of what a packet means: a test or a fuzzer runs it without a
//! socket.
//!
//! Received bytes stay where they were received, in a buffer that all connections
//! share: an [`Input`] walks over them and yields each packet in place. Only what is
//! left of a frame that is not whole yet moves into the session. So a session at rest
//! owns no heap.
//!
//! A frame that is not simply one whole message (control frames, fragments, and whatever
//! breaks a rule) goes to a tungstenite context that exists for just so long; see `frames`.
//!
//! The caller keeps this order: [`Session::take_in`], [`Session::next`] until it has
//! had enough, [`Session::put_back`].

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

/// From accept to a finished request head, whatever the peer drips.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// From the last thing that moss says to the peer's end of the connection.
pub const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest reason that a Close frame holds (RFC 6455, section 5.5), in bytes.
const MAX_REASON_BYTES: usize = 123;

/// A connection without its socket.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Why it is ending, once it is.
    ending: Option<Ending>,
    /// When what it does now began: its phase or, while open, the message that it receives.
    since: Instant,
    /// The last sign of life.
    heard: Instant,
    pinged: bool,
    peer_ended: bool,
    /// It came to the TLS port without TLS, and its request is only told so.
    lacks_tls: bool,
    /// Whether it says with each request whose that is.
    proxied: Proxied,
    /// What it has received and not handled; nothing at rest.
    partial: Option<Box<Partial>>,
    /// Only of a connection that was answered and may ask again.
    exchange: Option<Box<Exchange>>,
    backlog: Backlog,
}

/// What is received of a message that is not whole. In a box, as few sessions have it.
#[derive(Debug, Default)]
struct Partial {
    /// The start of a frame, or frames of a spent budget.
    bytes: Vec<u8>,
    /// The frames before it, of a message in fragments.
    fragments: Option<Box<Fragments>>,
}

/// Whether a connection comes from a proxy that says whose each request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxied {
    No,
    /// Whose the next request is has not been told.
    Due,
    /// It has, and the request is not answered.
    Told,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its first request head is being read.
    Head,
    /// It was answered, and may ask again.
    Kept,
    /// It is a WebSocket.
    Open,
    /// Its last words are queued; what it receives is thrown away.
    Ending,
}

/// What the received bytes say.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A request has come by a trusted proxy, and this is whose it is. What it says comes next,
    /// unless it is refused.
    Requester(Requester),
    /// A proper upgrade with its response: call [`Session::open`] with it, or refuse it
    /// by [`Session::answer`].
    Upgrade(Vec<u8>),
    /// moss is asked about itself: call [`Session::reply`].
    Report {
        /// What is to be told.
        report: Report,
        /// Without the body.
        is_head: bool,
        /// What the request wants to become of the connection.
        after: After,
    },
    /// Something else is asked for, and this is due: call [`Session::reply`], or refuse it.
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

    /// It came to the TLS port without TLS: its request is answered by the way to `https://`.
    pub fn came_without_tls(&mut self) {
        self.lacks_tls = true;
    }

    /// It came from a trusted proxy: whose a request is, is told before what it says.
    pub fn came_by_proxy(&mut self) {
        self.proxied = Proxied::Due;
    }

    /// Where the session is in its life.
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

    /// What is to be sent to the peer next, as far as it may be sent now.
    pub fn unsent(&self) -> &[u8] {
        match self.backlog.unsent() {
            [] => self.allowed_body(),
            bytes => bytes,
        }
    }

    /// Gives the session an empty buffer to queue into, unless it has one; a large one if
    /// `much` is to be expected.
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

    /// Heap bytes of the session at rest: backlog, partial frames, fragments. While it is
    /// served, what it received is in memory of its own up to three times.
    pub fn held(&self) -> usize {
        self.backlog_held() + self.partial_held()
    }

    /// Bytes that are not sent yet.
    #[inline]
    pub fn backlog_len(&self) -> usize {
        self.backlog.unsent_len()
    }

    /// Whether it has received what is not handled yet.
    #[inline]
    pub fn has_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Heap bytes of what it has received and not handled.
    pub fn partial_held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>() + partial.bytes.capacity() + partial.fragments_held()
        })
    }

    /// Heap bytes of what is not sent yet.
    pub fn backlog_held(&self) -> usize {
        self.backlog.held()
    }

    /// Bytes of received frames, and of the one that is not whole.
    pub fn unparsed(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes.len())
    }

    /// Heap bytes of a message in fragments that has not ended.
    pub fn fragments_held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.fragments_held())
    }

    /// Bytes of that message.
    pub(super) fn fragments_len(&self) -> usize {
        let fragments = self.partial.as_ref().and_then(|partial| partial.fragments.as_ref());
        fragments.map_or(0, |fragments| fragments.len())
    }

    /// Since when it does what it does now: since when it is in its phase or, while it is
    /// open, receives the message that is not whole.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Gives memory back that is not in use: `all` of it, or as far as that is much.
    pub fn shrink(&mut self, all: bool) {
        self.backlog.shrink(all);
        if let Some(partial) = &mut self.partial {
            partial.bytes.shrink_to_fit();
            if let Some(fragments) = &mut partial.fragments {
                fragments.shrink();
            }
        }
    }

    /// Takes bytes that were received just now; with none, goes on with earlier ones.
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

    /// The first bytes of a message have come, unless they go on with one. A request head
    /// is one where others came before; as long as their answers are not sent, who has to
    /// wait is moss.
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

    /// The next thing that the bytes say; nothing when they say no more.
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

    /// Keeps what was not parsed for later.
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
            // It had to go meanwhile.
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

    /// Queues a frame; the caller appends its `len` bytes of payload to what it is given.
    pub fn queue(&mut self, opcode: Opcode, len: usize) -> &mut Vec<u8> {
        self.backlog.push_frame(opcode, len)
    }

    /// Sends what is queued and then a Close (RFC 6455, section 7.1.2), and ends.
    pub fn close(&mut self, ending: Ending, now: Instant) {
        self.close_saying(ending.text(), ending, now);
    }

    /// Closes it as the master wants it. A reason is cut to what fits, on a character
    /// boundary.
    pub fn kick(&mut self, reason: &str, now: Instant) {
        self.close_saying(reason, Ending::Kicked, now);
    }

    /// Like [`close`](Self::close), but gives up all that has not begun to be sent: the
    /// peer takes it too slowly, and its memory is wanted now.
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

    /// The peer has sent its last byte. What is queued is still sent.
    pub fn peer_ended(&mut self, now: Instant) {
        self.peer_ended = true;
        if !self.has_answer() || !self.end_after(Ending::Answered) {
            self.end(self.reason_for_end(), now);
        }
    }

    /// Nothing can be sent any more; what the peer sent before is still to be read.
    pub fn discard_unsent(&mut self) {
        if self.has_answer() {
            self.end_after(Ending::Left);
        }
        self.backlog = Backlog::default();
        self.give_up_body();
    }

    /// Ends the connection without another word.
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

    /// Whether the peer has sent its last byte.
    pub fn has_peer_ended(&self) -> bool {
        self.peer_ended
    }

    /// Whether nothing is left to do or to wait for.
    pub fn is_over(&self, now: Instant) -> bool {
        self.is_overdue(now)
            || (self.phase == Phase::Ending && self.peer_ended && self.unsent().is_empty())
    }

    /// Whether the peer had all its time to end.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.phase == Phase::Ending && now >= self.since + ENDING_TIMEOUT
    }

    /// Looks at the clock; at least once a second. Queues a ping, or ends the session,
    /// when it is time.
    pub fn tick(&mut self, keepalive: Duration, now: Instant) {
        match self.phase {
            Phase::Kept => self.tick_kept(2 * keepalive, now),
            Phase::Head if now >= self.since + HEAD_TIMEOUT => self.refuse(Refusal::Timeout, now),
            Phase::Open => {
                let silence = now.saturating_duration_since(self.heard);
                if silence >= keepalive && !self.pinged {
                    self.pinged = true;
                    if silence >= 2 * keepalive {
                        // Nobody looked in time: moss was late. It must ask first.
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

    /// The peer gives a sign of life; bytes of it that nobody has received yet are one.
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
    /// Makes room for so many bytes. The buffer doubles, but not beyond the end of its
    /// frame: a packet would count for up to twice its length, and not fit the least
    /// memory that may be configured.
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
