//! Several requests on one connection that is kept alive.
//!
//! The next request is read only when little of the last answer is left to send, so little is
//! held for a peer that sends requests and reads no answers. The body of a page is not
//! queued: it is sent from the one copy that all connections share, as much at a time as the
//! caller allows.

use std::time::{Duration, Instant};

use super::{HEAD_TIMEOUT, Phase, Proxied, Session};
use crate::connection::backlog::Spares;
use crate::connection::ending::Ending;
use crate::http::answer::{After, Answer, Refusal};
use crate::http::page::Body;

/// How long a connection may be idle between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The most requests that are answered on one connection.
const MOST_REQUESTS: u32 = 1000;

/// With this many unsent bytes no further request is read. Up to this much of a page is copied
/// and queued with its head, so that a short page takes one write.
pub const SHORT_BYTES: usize = 16 << 10;

/// The state of a connection that is kept alive.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// How many requests were answered.
    requests: u32,
    /// The rest of a page.
    body: Option<Body>,
    /// How many bytes of it may be sent now.
    allowed: usize,
    /// TLS has bytes of an answer that the socket has not taken.
    underway: bool,
    /// If the connection ends once all is sent: the reason.
    last: Option<Ending>,
}

impl Session {
    /// Answers a request. The connection stays open if the answer says so.
    pub fn reply(&mut self, mut answer: Answer, now: Instant) {
        if !matches!(self.phase, Phase::Head | Phase::Kept) {
            // It was closed while its answer was made.
            return;
        }
        if !self.has_answer() {
            self.since = now;
        }
        if self.proxied == Proxied::Told {
            self.proxied = Proxied::Due;
        }
        let requests = 1 + self.exchange.as_ref().map_or(0, |exchange| exchange.requests);
        if requests >= MOST_REQUESTS {
            answer.close();
        }
        let ending = answer.refused().map_or(Ending::Answered, Ending::Refused);
        let closes = answer.after() == After::Close;
        let (bytes, mut body) = answer.into_parts();
        let rest = body.as_ref().map_or(&[][..], |body| body.rest());
        let first = &rest[..rest.len().min(SHORT_BYTES)];
        let queued = first.len();
        self.backlog.reserve(bytes.len() + queued);
        self.backlog.push_raw(&bytes);
        self.backlog.push_raw(first);
        if let Some(body) = &mut body {
            body.advance(queued);
        }
        let body = body.filter(|body| !body.rest().is_empty());
        if closes && body.is_none() && self.phase == Phase::Head {
            return self.end(ending, now);
        }
        self.phase = Phase::Kept;
        let exchange = self.exchange.get_or_insert_default();
        exchange.requests = requests;
        exchange.body = body;
        exchange.last = closes.then_some(ending);
    }

    /// Whether it was answered, and is kept alive for the next request or still receives a long
    /// answer.
    #[inline]
    pub fn is_kept(&self) -> bool {
        self.phase == Phase::Kept
    }

    /// Whether it is kept alive, with nothing to send and no request begun.
    pub fn is_idle(&self) -> bool {
        self.is_kept() && !self.has_answer() && self.partial.is_none()
    }

    /// Whether it is a trusted proxy's, between two requests: it counts for no other address.
    pub fn is_proxys_own(&self) -> bool {
        self.proxied == Proxied::Due && self.is_idle()
    }

    /// Whether its next request has to wait until more of the last answer is sent.
    #[inline]
    pub fn is_busy(&self) -> bool {
        // Not if it is ending: then received bytes are discarded up to their end.
        self.is_kept()
            && self.exchange.as_ref().is_some_and(|exchange| {
                exchange.body.is_some()
                    || exchange.last.is_some()
                    || self.backlog.unsent_len() >= SHORT_BYTES
            })
    }

    /// Whether the body of a page is what has to be sent next.
    pub fn wants_body(&self) -> bool {
        self.backlog.unsent_len() == 0 && self.body().is_some()
    }

    /// The generation of the page that is being sent to it.
    pub fn body_generation(&self) -> Option<u32> {
        self.body().map(|body| body.generation)
    }

    /// Allows it to send this many bytes of a page, until the next call.
    pub fn allow(&mut self, bytes: usize) {
        if let Some(exchange) = &mut self.exchange {
            exchange.allowed = bytes;
        }
    }

    /// Whether something of an answer is not sent yet.
    pub(super) fn has_answer(&self) -> bool {
        self.backlog.unsent_len() > 0
            || self
                .exchange
                .as_ref()
                .is_some_and(|exchange| exchange.body.is_some() || exchange.underway)
    }

    fn body(&self) -> Option<&Body> {
        self.exchange.as_ref()?.body.as_ref()
    }

    /// The part of a page that may be sent now.
    pub(super) fn allowed_body(&self) -> &[u8] {
        match self.exchange.as_deref() {
            Some(Exchange { body: Some(body), allowed, .. }) => {
                let rest = body.rest();
                &rest[..rest.len().min(*allowed)]
            }
            _ => &[],
        }
    }

    /// `count` bytes of an answer were sent.
    #[cold]
    pub(super) fn advance_answer(&mut self, count: usize, spares: &mut Spares, now: Instant) {
        if count == 0 {
            return;
        }
        if self.is_kept() {
            self.since = now;
        }
        if self.backlog.unsent_len() > 0 {
            self.backlog.advance(count, spares);
        } else if let Some(exchange) = &mut self.exchange
            && let Some(body) = &mut exchange.body
        {
            body.advance(count);
            exchange.allowed -= count;
            if body.rest().is_empty() {
                exchange.body = None;
            }
        }
    }

    /// Ends the connection once its answer is sent, if it was kept alive. False if it was not.
    pub(super) fn end_after(&mut self, ending: Ending) -> bool {
        let is_kept = self.is_kept();
        if is_kept && let Some(exchange) = &mut self.exchange {
            exchange.last = Some(ending);
        }
        is_kept
    }

    /// Why the connection ends when its peer closes it.
    pub(super) fn reason_for_end(&self) -> Ending {
        let last = self.exchange.as_ref().and_then(|exchange| exchange.last);
        last.unwrap_or(if self.is_idle() { Ending::Answered } else { Ending::Left })
    }

    /// Whether TLS still has bytes of an answer that the socket has not taken (`underway`), and
    /// whether the socket has taken some just now (`moved`).
    pub fn note_underway(&mut self, underway: bool, moved: bool, now: Instant) {
        if let Some(exchange) = &mut self.exchange {
            exchange.underway = underway;
            if moved && self.phase == Phase::Kept {
                self.since = now;
            }
        }
    }

    /// All bytes are sent. True if the connection ends now.
    #[cold]
    pub fn sent_all(&mut self, now: Instant) -> bool {
        let last = self.exchange.as_ref().and_then(|exchange| exchange.last);
        match last {
            Some(ending) if self.is_kept() && !self.has_answer() => {
                self.end(ending, now);
                true
            }
            _ => false,
        }
    }

    /// Drops the rest of an answer.
    pub(super) fn give_up_body(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.body = None;
            exchange.underway = false;
        }
    }

    /// Checks the deadlines of a connection that is kept alive; one that takes nothing of an
    /// answer for `patience` is dropped.
    pub(super) fn tick_kept(&mut self, patience: Duration, now: Instant) {
        let since = now.saturating_duration_since(self.since);
        if self.has_answer() {
            if since >= patience {
                self.drop_now(Ending::SlowReader, now);
            }
        } else if self.partial.is_some() {
            if since >= HEAD_TIMEOUT {
                self.refuse(Refusal::Timeout, now);
            }
        } else if since >= IDLE_TIMEOUT {
            self.end(Ending::Answered, now);
        }
    }
}
