//! Requests that are answered one after another, on a connection that stays open.
//!
//! The next request is read when little of the last answer is left to send, so what is held
//! for somebody who asks and does not read stays small. A page is not queued: its bytes are
//! sent from the one copy that all share, as far as the caller allows at a time.

use std::time::{Duration, Instant};

use super::{HEAD_TIMEOUT, Phase, Proxied, Session};
use crate::connection::backlog::Spares;
use crate::connection::ending::Ending;
use crate::http::answer::{After, Answer, Refusal};
use crate::http::page::Body;

/// How long a connection may be idle between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests are answered on one connection.
const MOST_REQUESTS: u32 = 1000;

/// Unsent bytes with which no further request is read. So much of a page is queued with its
/// head, in a copy: a short one takes one write.
pub const SHORT_BYTES: usize = 16 << 10;

/// The state of a connection that was answered and goes on.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// How many requests were answered.
    requests: u32,
    /// What is left of a page.
    body: Option<Body>,
    /// How many bytes of it may be sent now.
    allowed: usize,
    /// TLS has bytes of an answer that the socket has not taken.
    underway: bool,
    /// Why it ends once all is sent, if it does then.
    last: Option<Ending>,
}

impl Session {
    /// Answers a request. The connection stays open if the answer says so.
    pub fn reply(&mut self, mut answer: Answer, now: Instant) {
        if !matches!(self.phase, Phase::Head | Phase::Kept) {
            // It had to go while its answer was made.
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

    /// Whether it was answered, and is kept open for the next request or is being sent a long
    /// answer.
    #[inline]
    pub fn is_kept(&self) -> bool {
        self.phase == Phase::Kept
    }

    /// Whether it is, and has nothing to be sent and asks for nothing.
    pub fn is_idle(&self) -> bool {
        self.is_kept() && !self.has_answer() && self.partial.is_none()
    }

    /// Whether it comes from a trusted proxy, and is nobody else's as long as no request comes.
    pub fn is_proxys_own(&self) -> bool {
        self.proxied == Proxied::Due && self.is_idle()
    }

    /// Whether its next request has to wait until more of the last answer is sent.
    #[inline]
    pub fn is_busy(&self) -> bool {
        // Once it is ending what comes is thrown away, and its end is to be met.
        self.is_kept()
            && self.exchange.as_ref().is_some_and(|exchange| {
                exchange.body.is_some()
                    || exchange.last.is_some()
                    || self.backlog.unsent_len() >= SHORT_BYTES
            })
    }

    /// Whether a page is being sent to it, and nothing that comes before that.
    pub fn wants_body(&self) -> bool {
        self.backlog.unsent_len() == 0 && self.body().is_some()
    }

    /// The generation of the page that is being sent to it.
    pub fn body_generation(&self) -> Option<u32> {
        self.body().map(|body| body.generation)
    }

    /// Lets it send so many bytes of a page, and no more until this is called again.
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

    /// What of a page may be sent now.
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

    /// Ends it with the last words that were said, if it was kept so far. False if it was not.
    pub(super) fn end_after(&mut self, ending: Ending) -> bool {
        let is_kept = self.is_kept();
        if is_kept && let Some(exchange) = &mut self.exchange {
            exchange.last = Some(ending);
        }
        is_kept
    }

    /// Why it ends when its peer does.
    pub(super) fn reason_for_end(&self) -> Ending {
        let last = self.exchange.as_ref().and_then(|exchange| exchange.last);
        last.unwrap_or(if self.is_idle() { Ending::Answered } else { Ending::Left })
    }

    /// What of it TLS has is on its way still, or not any more; some of it went if it `moved`.
    pub fn note_underway(&mut self, underway: bool, moved: bool, now: Instant) {
        if let Some(exchange) = &mut self.exchange {
            exchange.underway = underway;
            if moved && self.phase == Phase::Kept {
                self.since = now;
            }
        }
    }

    /// All that was to be sent is: true if it ends by that.
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

    /// What is left of an answer is not sent any more.
    pub(super) fn give_up_body(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.body = None;
            exchange.underway = false;
        }
    }

    /// Looks at the clock of a connection that was answered; one that takes nothing for
    /// `patience` is dropped.
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
