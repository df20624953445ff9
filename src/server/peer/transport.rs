//! The two ways of bytes between a peer's socket and its session: [`Peer::receive`] and
//! [`Peer::flush`].
//!
//! The session's bytes are plain on both. With TLS they are sealed when the socket can take
//! them, a record at a time: what is sealed can't be given up any more. Before the handshake
//! is over nothing can be sealed, so a session that ends by then ends without a word.

use std::time::Instant;

use super::Peer;
use crate::connection::backlog::Spares;
use crate::connection::ending::Ending;
use crate::connection::session::{Input, Phase};
use crate::http::head::MAX_HEAD_BYTES;
use crate::server::schedule::LEAST_RECEIVE;
use crate::server::socket::{Received, Socket};
use crate::server::world::World;
use crate::tls::{self, Tls};

/// What all connections share for receiving.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    received: Vec<u8>,
    /// What received records say.
    plain: Vec<u8>,
}

impl Buffers {
    /// Room for as many bytes as one call may receive.
    pub(crate) fn new(largest_receive: usize) -> Self {
        Self { received: vec![0; largest_receive], plain: Vec::new() }
    }
}

impl<W: World> Peer<W> {
    /// Receives at most so many bytes, or goes on with what an earlier share left: a walk over
    /// what they say, and what it cost, in frames. Nothing if there is nothing to do.
    pub(crate) fn receive<'b>(
        &mut self,
        buffers: &'b mut Buffers,
        most: usize,
        now: Instant,
    ) -> Option<(Input<'b>, i64)> {
        // A visitor's requests may come in any number, and wait best where the kernel has them.
        let most = match self.session.phase() {
            Phase::Head | Phase::Kept => {
                most.min(MAX_HEAD_BYTES.saturating_sub(self.session.unparsed()).max(LEAST_RECEIVE))
            }
            _ => most,
        };
        let count = match self.interrupted {
            true => 0,
            false => match self.socket.receive(&mut buffers.received[..most]) {
                Received::Bytes(count) => count,
                Received::Blocked => {
                    self.tell_end(now);
                    return None;
                }
                Received::End => {
                    self.tell_end(now);
                    self.session.peer_ended(now);
                    return None;
                }
                Received::Broken => {
                    self.session.broken(now);
                    return None;
                }
            },
        };
        let mut plain = &mut buffers.received[..count];
        let mut cost = 1;
        if self.has_tls() && count > 0 {
            (plain, cost) = self.open_records(plain, &mut buffers.plain, now);
        }
        Some((self.session.take_in(plain, now), cost))
    }

    /// What received records say, and what that cost, in frames.
    fn open_records<'b>(
        &mut self,
        received: &'b mut [u8],
        plain: &'b mut Vec<u8>,
        now: Instant,
    ) -> (&'b mut [u8], i64) {
        if self.tls.as_ref().is_some_and(|tls| tls.is_new()) && received[0] != tls::FIRST_BYTE {
            // Somebody forgot an s.
            self.tls = None;
            self.session.came_without_tls();
        }
        let Some(tls) = &mut self.tls else { return (received, 1) };
        let was_whole = tls.half() == 0;
        plain.clear();
        let cost = 1 + tls.receive(received, plain);
        self.session.heard(now);
        // A connection that is kept begins to ask by what the record says.
        if was_whole && tls.half() > 0 && !self.session.is_kept() {
            self.session.begins(now);
        }
        if tls.is_handshaking() {
            // Nothing of the session's can go with it, and a crowd's handshakes are much to hold.
            send_sealed(&mut self.socket, tls);
        }
        (plain, cost)
    }

    /// Tells the session if TLS has ended, after all that came before.
    fn tell_end(&mut self, now: Instant) {
        match &self.tls {
            Some(tls) if tls.has_failed() => self.session.drop_now(Ending::Tls, now),
            Some(tls) if tls.has_ended() => self.session.peer_ended(now),
            _ => {}
        }
    }

    /// Ends without another word; what came of a message that is not whole is given up, too.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.session.broken(now);
        self.tls = None;
    }

    /// TLS needs what came of a record until its own last word. Where the socket does not take
    /// that, the half is given up with the peer.
    pub(crate) fn give_up_half(&mut self, now: Instant) {
        if self.tls.as_ref().is_some_and(|tls| tls.half() > 0) {
            self.give_up(now);
        }
    }

    /// Sends as much as the socket takes, and shuts it down after the last words.
    pub(crate) fn flush(&mut self, spares: &mut Spares, now: Instant) {
        let mut sent_all = true;
        if self.has_tls() {
            sent_all = self.flush_sealed(spares, now);
        } else {
            while !self.session.unsent().is_empty() && self.socket.is_writable() {
                // An error shows as a broken socket.
                let count = self.socket.send(self.session.unsent()).unwrap_or(0);
                self.session.advance(count, spares, now);
            }
        }
        if self.socket.is_broken() {
            // It would be waited for in vain. What the peer sent is still read: the socket
            // is readable until that meets the end.
            self.session.discard_unsent();
        }
        if sent_all && self.session.is_kept() && self.session.sent_all(now) {
            // TLS has something to say to that.
            sent_all = self.flush_sealed(spares, now);
        }
        if self.session.phase() == Phase::Ending && self.session.unsent().is_empty() && sent_all {
            self.socket.shut_down();
        }
    }

    /// Sends as many records as the socket takes. The session's bytes are sealed only when
    /// it can take some: what is sealed can't be given up any more. True if TLS has nothing
    /// left to say.
    fn flush_sealed(&mut self, spares: &mut Spares, now: Instant) -> bool {
        let Self { socket, tls: Some(tls), session, .. } = self else { return true };
        let before = tls.unsent().len();
        while socket.is_writable() {
            if tls.unsent().is_empty() {
                if tls.is_handshaking() {
                    break;
                }
                if session.unsent().is_empty() {
                    if session.phase() == Phase::Ending {
                        tls.close();
                    }
                } else {
                    let count = tls.seal(session.unsent());
                    session.advance(count, spares, now);
                }
                if tls.unsent().is_empty() {
                    break;
                }
            }
            send_sealed(socket, tls);
        }
        if socket.is_broken() {
            tls.discard_unsent();
        }
        let left = tls.unsent().len();
        session.note_underway(left > 0, left != before, now);
        left == 0
    }
}

/// Sends what is sealed, as far as the socket takes it.
fn send_sealed<W: World>(socket: &mut Socket<W>, tls: &mut Tls) {
    while !tls.unsent().is_empty() && socket.is_writable() {
        // An error shows as a broken socket.
        let count = socket.send(tls.unsent()).unwrap_or(0);
        tls.advance(count);
    }
}
