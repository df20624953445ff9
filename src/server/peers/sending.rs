//! How peers are sent to: queueing, flushing, and what is given up for memory.

use std::time::Instant;

use super::{Peers, cut};
use crate::connection::backlog::Opcode;
use crate::connection::ending::Ending;
use crate::connection::session::Phase;
use crate::http::answer::Answer;
use crate::protocol::packet::Outgoing;
use crate::protocol::relay::{Delivery, Expulsion, Role};
use crate::server::memory::{self, Excess};
use crate::server::peer::Peer;
use crate::server::world::World;

/// The most bytes of a page that are sent to one peer in a turn: what most kernels take at
/// once, and a few records of TLS.
const PIECE_BYTES: usize = 128 << 10;

/// How many such pieces are sent in a turn: some milliseconds on a small machine, with TLS too.
const TURN_PIECES: usize = 8;

impl<W: World> Peers<W> {
    /// Hands over what the relay decided.
    pub(crate) fn deliver(&mut self, delivery: Delivery<'_>) {
        match delivery {
            Delivery::Role { id, role } => {
                self.with(id, |peer, _| peer.take_role(role));
            }
            Delivery::Packet { to, packet } => self.queue(to, packet),
            Delivery::Broadcast { to, packet } => {
                self.queue(to, packet);
                self.flush(to);
            }
            Delivery::WrongSecret { id } => {
                self.with(id, |peer, _| log::warn!("{id}, {peer}: wrong-secret"));
            }
            Delivery::Close { id, why } => {
                let now = self.now;
                self.with(id, |peer, _| match why {
                    Expulsion::Kicked(reason) => peer.session.kick(reason, now),
                    Expulsion::WrongSecrets => peer.session.close(Ending::WrongSecrets, now),
                    Expulsion::NoPlace => peer.session.close(Ending::NotMaster, now),
                });
            }
        }
    }

    fn queue(&mut self, to: u64, packet: Outgoing<'_>) {
        let len = packet.encoded_len();
        self.sums.queued += len as u64;
        self.with(to, |peer, spares| {
            if peer.session.phase() == Phase::Open {
                peer.session.lend(spares, peer.was_master);
                packet.write(peer.session.queue(Opcode::Text, len));
            }
        });
    }

    /// Sends what was queued in this turn, each peer's once.
    pub(crate) fn flush_all(&mut self) {
        let mut list = std::mem::take(&mut self.lists.to_flush);
        for id in list.drain(..) {
            self.flush(id);
        }
        // Its memory is for the next turn's, unless that has begun.
        if self.lists.to_flush.is_empty() {
            self.lists.to_flush = list;
        }
    }

    /// Sends as much as the socket takes.
    pub(crate) fn flush(&mut self, id: u64) {
        let now = self.now;
        // Sealing may take more memory than it frees.
        self.with(id, |peer, spares| {
            peer.to_flush = false;
            peer.flush(spares, now);
        });
    }

    /// Answers a request.
    pub(crate) fn reply(&mut self, id: u64, answer: Answer) {
        let now = self.now;
        let queued = self.with(id, |peer, spares| {
            peer.session.lend(spares, false);
            let before = peer.session.backlog_len();
            peer.session.reply(answer, now);
            peer.session.backlog_len() - before
        });
        self.sums.queued += queued.unwrap_or(0) as u64;
    }

    /// Sends a part of the pages that are being sent, to each a piece in turn. What they want
    /// has no end, and others are to be served: the rest is for the next turns.
    #[inline]
    pub(crate) fn send_bodies(&mut self) {
        if !self.lists.bodies.is_empty() {
            self.send_some_bodies();
        }
    }

    #[cold]
    fn send_some_bodies(&mut self) {
        let now = self.now;
        // Those who want more stand at the end again.
        let most = self.lists.bodies.len().min(TURN_PIECES);
        for _ in 0..most {
            let Some(id) = self.lists.bodies.pop_front() else { break };
            self.with(id, |peer, spares| {
                peer.to_send_body = false;
                peer.send_body(PIECE_BYTES, spares, now);
            });
        }
    }

    /// Keeps what all peers hold within its bounds. Each step takes from somebody, and the
    /// lists of those who are asked are made once each: this ends even if a sum is wrong.
    #[cold]
    pub(super) fn bound_memory(&mut self) {
        self.give_up_halves(Excess::GuestsHalves);
        // What the master can send or give back may be enough; else all others pay before it.
        self.give_back(&|peer| peer.role == Role::Master, &|_, _| {});
        self.give_up(&|peer| {
            peer.role == Role::Guest && (peer.unsent_held() > 0 || peer.session.is_kept())
        });
        self.give_up_halves(Excess::Halves);
        self.give_up(&|peer| peer.role == Role::Client && peer.unsent_held() > 0);
        // What they have sent is no more than it may be, but it must not cost the master.
        self.give_up(&|peer| {
            peer.role == Role::Guest && (!peer.session.is_http() || peer.has_tls())
        });
        self.give_up(&|peer| peer.role == Role::Client);
        self.give_up(&|peer| peer.role == Role::Master);
    }

    /// As long as there is this excess, drops those that hold messages that are not whole, if
    /// they have nothing to give back.
    fn give_up_halves(&mut self, excess: Excess) {
        while self.bounds.excess(&self.memory) == Some(excess) {
            let only_guests = excess == Excess::GuestsHalves;
            let Some(id) = memory::oldest_half(&self.table, only_guests) else { break };
            self.touch(id, |peer, _| peer.session.shrink(false));
            if self.bounds.excess(&self.memory) == Some(excess) {
                self.cut(id, Ending::Memory);
                let now = self.now;
                self.touch(id, |peer, spares| {
                    peer.flush(spares, now);
                    peer.give_up_half(now);
                });
            }
        }
    }

    /// As long as too much is held, drops those peers that hold something.
    fn give_up(&mut self, whom: &dyn Fn(&Peer<W>) -> bool) {
        self.give_back(whom, &|peer, now| cut(peer, Ending::Memory, now));
        // The frames that they had begun to send may be much still.
        self.drop_unsent_of_ending();
    }

    /// As long as too much is held, gives up what those who are ending have not sent.
    fn drop_unsent_of_ending(&mut self) {
        let is_ending = |peer: &Peer<W>| peer.session.phase() == Phase::Ending;
        self.give_back(&is_ending, &Peer::give_up);
    }

    /// As long as too much is held, asks those peers that hold something, who holds most of it
    /// first: sends and gives back what can be, and does `more` if they still are like that.
    ///
    /// One function for all who ask: a copy for each would be a two-hundredth of the program.
    fn give_back(&mut self, whom: &dyn Fn(&Peer<W>) -> bool, more: &dyn Fn(&mut Peer<W>, Instant)) {
        if !self.bounds.are_exceeded(&self.memory) {
            return;
        }
        let now = self.now;
        let asked = |peer: &Peer<W>| peer.held() > 0 && whom(peer);
        for id in memory::largest_first(&self.table, asked) {
            self.touch(id, |peer, spares| {
                peer.flush(spares, now);
                let all = peer.role == Role::Master;
                peer.session.shrink(all);
            });
            if !self.bounds.are_exceeded(&self.memory) {
                return;
            }
            self.touch(id, |peer, _| {
                if asked(peer) {
                    more(peer, now);
                }
            });
        }
    }
}
