//! Moves bytes between a peer's socket and its session: [`Peer::receive`] and [`Peer::flush`].
//!
//! The session's bytes are plain text. With TLS they are sealed only when the socket can take
//! them, one record at a time, since sealed bytes can't be dropped any more. Before the
//! handshake is complete nothing can be sealed: a session that ends then sends nothing.

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

/// The receive buffers that all connections share.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    received: Vec<u8>,
    /// The plain text of received records.
    plain: Vec<u8>,
}

impl Buffers {
    /// Buffers for the largest receive.
    pub(crate) fn new(largest_receive: usize) -> Self {
        Self { received: vec![0; largest_receive], plain: Vec::new() }
    }
}

impl<W: World> Peer<W> {
    /// Receives up to `most` bytes, or goes on with those that an earlier share left. Returns the
    /// bytes as an `Input`, and what receiving them cost, in frames; `None` if there is nothing
    /// to do.
    pub(crate) fn receive<'b>(
        &mut self,
        buffers: &'b mut Buffers,
        most: usize,
        now: Instant,
    ) -> Option<(Input<'b>, i64)> {
        // Any number of requests may come at once; those that have to wait stay in the kernel.
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

    /// Decrypts received records. Returns the plain text and what that cost, in frames.
    fn open_records<'b>(
        &mut self,
        received: &'b mut [u8],
        plain: &'b mut Vec<u8>,
        now: Instant,
    ) -> (&'b mut [u8], i64) {
        if self.tls.as_ref().is_some_and(|tls| tls.is_new()) && received[0] != tls::FIRST_BYTE {
            // Plain HTTP or WebSocket on the TLS port.
            self.tls = None;
            self.session.came_without_tls();
        }
        let Some(tls) = &mut self.tls else { return (received, 1) };
        let was_whole = tls.half() == 0;
        plain.clear();
        let cost = 1 + tls.receive(received, plain);
        self.session.heard(now);
        // If the connection is kept alive, its next request begins with the plain text of the
        // record, not with the record.
        if was_whole && tls.half() > 0 && !self.session.is_kept() {
            self.session.begins(now);
        }
        if tls.is_handshaking() {
            // Sent at once: nothing of the session can be sent together with it, and the
            // handshakes of many peers take much memory.
            send_sealed(&mut self.socket, tls);
        }
        (plain, cost)
    }

    /// Tells the session that TLS has ended, if it has, after all bytes before were handled.
    fn tell_end(&mut self, now: Instant) {
        match &self.tls {
            Some(tls) if tls.has_failed() => self.session.drop_now(Ending::Tls, now),
            Some(tls) if tls.has_ended() => self.session.peer_ended(now),
            _ => {}
        }
    }

    /// Ends without sending anything more; the bytes of an incomplete message are dropped, too.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.session.broken(now);
        self.tls = None;
    }

    /// Ends a peer that still holds an incomplete record: TLS keeps it until close_notify is
    /// sent, which the socket does not take now.
    pub(crate) fn give_up_half(&mut self, now: Instant) {
        if self.tls.as_ref().is_some_and(|tls| tls.half() > 0) {
            self.give_up(now);
        }
    }

    /// Sends as much as the socket takes, and shuts it down after the last byte.
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
            // It can't be sent any more. What the peer sent is still read: the socket is
            // readable up to its end.
            self.session.discard_unsent();
        }
        if sent_all && self.session.is_kept() && self.session.sent_all(now) {
            // The session has ended: TLS sends close_notify.
            sent_all = self.flush_sealed(spares, now);
        }
        if self.session.phase() == Phase::Ending && self.session.unsent().is_empty() && sent_all {
            self.socket.shut_down();
        }
    }

    /// Sends as many records as the socket takes. The session's bytes are sealed only when it can
    /// take some, since sealed bytes can't be dropped any more. True if TLS has nothing left to
    /// send.
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

/// Sends sealed bytes, as far as the socket takes them.
fn send_sealed<W: World>(socket: &mut Socket<W>, tls: &mut Tls) {
    while !tls.unsent().is_empty() && socket.is_writable() {
        // An error shows as a broken socket.
        let count = socket.send(tls.unsent()).unwrap_or(0);
        tls.advance(count);
    }
}
