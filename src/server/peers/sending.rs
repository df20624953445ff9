//! Sends to peers: queueing, flushing, and dropping when memory runs out.

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
/// once, and a few TLS records.
const PIECE_BYTES: usize = 128 << 10;

/// How many such pieces are sent in a turn: some milliseconds on a small machine, even with TLS.
const TURN_PIECES: usize = 8;

impl<W: World> Peers<W> {
    /// Carries out what the relay decided.
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

    /// Sends what was queued in this turn, once for each peer.
    pub(crate) fn flush_all(&mut self) {
        let mut list = std::mem::take(&mut self.lists.to_flush);
        for id in list.drain(..) {
            self.flush(id);
        }
        // The list keeps its memory for the next turn, unless a new list was begun.
        if self.lists.to_flush.is_empty() {
            self.lists.to_flush = list;
        }
    }

    /// Sends as much as the socket takes.
    pub(crate) fn flush(&mut self, id: u64) {
        let now = self.now;
        // By `with`, and not `touch`: sealing may take more memory than it frees.
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

    /// Sends pieces of pages, one per peer, up to the limit of a turn. The rest waits for the
    /// next turns: downloads may be long, and others have to be served.
    #[inline]
    pub(crate) fn send_bodies(&mut self) {
        if !self.lists.bodies.is_empty() {
            self.send_some_bodies();
        }
    }

    #[cold]
    fn send_some_bodies(&mut self) {
        let now = self.now;
        // Peers that want more are put at the end again.
        let most = self.lists.bodies.len().min(TURN_PIECES);
        for _ in 0..most {
            let Some(id) = self.lists.bodies.pop_front() else { break };
            self.with(id, |peer, spares| {
                peer.to_send_body = false;
                peer.send_body(PIECE_BYTES, spares, now);
            });
        }
    }

    /// Enforces the memory limits, in the order of `memory`. The list of candidates is made once
    /// for each step, so this ends even if a sum is wrong.
    #[cold]
    pub(super) fn bound_memory(&mut self) {
        self.give_up_halves(Excess::GuestsHalves);
        // What the master can send now may be enough; otherwise it is the last to be dropped.
        self.give_back(&|peer| peer.role == Role::Master, &|_, _| {});
        self.give_up(&|peer| {
            peer.role == Role::Guest && (peer.unsent_held() > 0 || peer.session.is_kept())
        });
        self.give_up_halves(Excess::Halves);
        self.give_up(&|peer| peer.role == Role::Client && peer.unsent_held() > 0);
        // Their halves are within their limit, but must not cost the master its place.
        self.give_up(&|peer| {
            peer.role == Role::Guest && (!peer.session.is_http() || peer.has_tls())
        });
        self.give_up(&|peer| peer.role == Role::Client);
        self.give_up(&|peer| peer.role == Role::Master);
    }

    /// While there is this excess, drops peers with incomplete messages, unless freeing unused
    /// memory is enough.
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

    /// While the memory limit is exceeded, drops peers that hold something.
    fn give_up(&mut self, whom: &dyn Fn(&Peer<W>) -> bool) {
        self.give_back(whom, &|peer, now| cut(peer, Ending::Memory, now));
        // Frames that were sent in part stay queued, and may still be too much.
        self.drop_unsent_of_ending();
    }

    /// While the memory limit is exceeded, drops the unsent bytes of ending peers.
    fn drop_unsent_of_ending(&mut self) {
        let is_ending = |peer: &Peer<W>| peer.session.phase() == Phase::Ending;
        self.give_back(&is_ending, &Peer::give_up);
    }

    /// While the memory limit is exceeded, goes through the peers that hold something and for
    /// which `whom` holds, the largest first: sends and frees what is possible, and calls `more`
    /// if that was not enough.
    ///
    /// With `dyn`: a copy for each pair of closures would add half a percent to the program.
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
