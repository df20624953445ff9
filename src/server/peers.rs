//! Every connection: its socket with its session, and the way of bytes between the two.
//!
//! [`Peers::with`] is the one door to a peer. Whatever is done to one there, its sums,
//! its lists and its limits are right after it: no caller has to remember what follows
//! from what it did. Nobody here decides who gets what: who left is put on a list, for
//! the server to tell the relay.

use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::connection::backlog::{Opcode, Spares};
use crate::connection::session::{Input, Phase, Session};
use crate::protocol::packet::Outgoing;
use crate::protocol::relay::Delivery;
use crate::server::peer::{Peer, Place, Share};
use crate::server::socket::{Received, Socket};
use crate::server::table::Table;
use crate::settings::config::Limits;

/// All connections.
#[derive(Debug)]
pub(crate) struct Peers {
    table: Table<Peer>,
    limits: Limits,
    /// This turn's time.
    pub(crate) now: Instant,
    lists: Lists,
    sums: Sums,
    /// Empty buffers for the next receivers.
    spares: Spares,
}

/// Ids of peers that something is to be done with. One that is gone is passed over.
#[derive(Debug, Default)]
struct Lists {
    /// To be served in this or the next turn.
    ready: Vec<u64>,
    /// Clients that wait for the master, in the order in which they came.
    waiting: Vec<u64>,
    /// With something to send.
    to_flush: Vec<u64>,
    /// They can receive no more; the relay is to be told.
    departed: Vec<u64>,
}

/// What all peers together are and have.
#[derive(Debug, Default)]
struct Sums {
    /// Open WebSockets.
    open: usize,
    /// Heap bytes of all sessions.
    held: usize,
    /// Bytes ever queued, for telling what a packet caused.
    queued: u64,
    /// Connections that ended since somebody asked.
    ended: usize,
}

impl Peers {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            table: Table::new(),
            now,
            lists: Lists::default(),
            sums: Sums::default(),
            spares: Spares::new(limits.max_memory_bytes),
            limits,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Open WebSockets.
    pub(crate) fn open(&self) -> usize {
        self.sums.open
    }

    /// Bytes queued since the start.
    pub(crate) fn queued(&self) -> u64 {
        self.sums.queued
    }

    /// Unsent bytes of one peer.
    pub(crate) fn backlog(&self, id: u64) -> usize {
        self.table.get(id).map_or(0, |peer| peer.session.unsent().len())
    }

    /// Whether the next turn has work already.
    pub(crate) fn has_work(&self) -> bool {
        let lists = [&self.lists.ready, &self.lists.to_flush, &self.lists.departed];
        lists.iter().any(|list| !list.is_empty())
    }

    /// The next peer of which the relay has not been told that it left.
    pub(crate) fn next_departed(&mut self) -> Option<u64> {
        self.lists.departed.pop()
    }

    /// How many connections have ended since this was asked last.
    pub(crate) fn take_ended(&mut self) -> usize {
        std::mem::take(&mut self.sums.ended)
    }

    /// The one door to a peer: does something with it, and then all that follows from
    /// that. Its backlog is within the limit then, the sums count what it holds, it
    /// stands on the lists where it belongs, and it is removed if it is over. Nothing if
    /// the peer is gone.
    pub(crate) fn with<R>(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut Peer, &mut Spares) -> R,
    ) -> Option<R> {
        let result = self.touch(id, act)?;
        if self.sums.held > self.limits.max_memory_bytes {
            self.bound_memory();
        }
        Some(result)
    }

    /// The door without the bound on all memory, which itself comes in here.
    fn touch<R>(&mut self, id: u64, act: impl FnOnce(&mut Peer, &mut Spares) -> R) -> Option<R> {
        let peer = self.table.get_mut(id)?;
        let before = peer.share();
        let result = act(peer, &mut self.spares);
        bound_backlog(peer, &mut self.spares, self.limits.max_backlog_bytes, self.now);
        let after = peer.share();
        self.sums.held = self.sums.held - before.held + after.held;
        if !peer.to_flush && peer.has_output() {
            peer.to_flush = true;
            self.lists.to_flush.push(id);
        }
        if peer.place == Place::Idle && peer.has_input() {
            peer.place = Place::Ready;
            self.lists.ready.push(id);
        }
        if before.phase != after.phase || after.phase == Phase::Ending {
            self.advance(id, before, after);
        }
        Some(result)
    }

    /// What follows when a session moves on in its life.
    fn advance(&mut self, id: u64, before: Share, after: Share) {
        if before.phase != Phase::Open && after.phase == Phase::Open {
            self.sums.open += 1;
        }
        let Some(peer) = self.table.get_mut(id) else { return };
        if before.phase == Phase::Open && after.phase == Phase::Ending {
            self.sums.open -= 1;
            self.lists.departed.push(id);
            if peer.place == Place::Waiting {
                // It is not heard any more, but still read: else its end would not be met.
                peer.place = Place::Ready;
                self.lists.ready.push(id);
            }
        }
        if peer.session.is_over(self.now) {
            // Dropping the stream closes it and takes it out of the poll.
            self.table.remove(id);
            self.sums.held -= after.held;
            self.sums.ended += 1;
            log::debug!("{id}: gone");
        }
    }

    /// Adds a connection that was just accepted. One that can't be registered is
    /// closed by dropping it.
    pub(crate) fn accept(&mut self, mut stream: TcpStream, registry: &Registry) {
        let session = Session::new(self.now);
        let added = self.table.insert_with(|id| {
            let token = Token(id as usize);
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            std::io::Result::Ok(Peer::new(Socket::new(stream), session))
        });
        match added {
            Ok(id) => log::debug!("{id}: connected"),
            Err(error) => log::warn!("a connection can't be polled: {error}"),
        }
    }

    /// Remembers what a poll event says.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Some(id) = self.table.id_of_token(event.token().0) {
            self.with(id, |peer, _| peer.socket.note(event));
        }
    }

    /// Takes the ready list; who is put on it from now on waits for the next turn.
    pub(crate) fn take_ready(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.lists.ready)
    }

    /// Begins to serve a peer. False if it is not to be served any more.
    pub(crate) fn begin(&mut self, id: u64) -> bool {
        let begin = |peer: &mut Peer, _: &mut Spares| {
            let ready = peer.place == Place::Ready;
            if ready {
                peer.place = Place::Served;
            }
            ready
        };
        self.with(id, begin) == Some(true)
    }

    /// Receives from a peer that is being served: bytes to be handled, with their number,
    /// which is 0 where an earlier budget left some. Nothing if there is nothing to do.
    pub(crate) fn receive<'b>(
        &mut self,
        id: u64,
        buffer: &'b mut [u8],
    ) -> Option<(usize, Input<'b>)> {
        let now = self.now;
        self.with(id, |peer, _| {
            let count = match peer.interrupted {
                true => 0,
                false => match peer.socket.receive(buffer) {
                    Received::Bytes(count) => count,
                    Received::Blocked => return None,
                    Received::End => {
                        peer.session.peer_ended(now);
                        return None;
                    }
                    Received::Broken => {
                        peer.session.broken(now);
                        return None;
                    }
                },
            };
            Some((count, peer.session.take_in(&mut buffer[..count], now)))
        })?
    }

    /// Ends the handling of received bytes; it was `interrupted` if more could be said.
    pub(crate) fn put_back(&mut self, id: u64, input: Input<'_>, interrupted: bool) {
        self.with(id, |peer, _| {
            peer.session.put_back(input);
            peer.interrupted = interrupted && peer.session.has_unparsed();
        });
    }

    /// Ends the serving of a peer. What it still has to say is for a later turn.
    pub(crate) fn finish(&mut self, id: u64) {
        self.with(id, |peer, _| {
            if peer.place == Place::Served {
                peer.place = Place::Idle;
            }
        });
    }

    /// Ends the serving of a client that has to wait for the master.
    pub(crate) fn wait(&mut self, id: u64) {
        if let Some(Place::Served) = self.table.get(id).map(|peer| peer.place) {
            self.with(id, |peer, _| peer.place = Place::Waiting);
            self.lists.waiting.push(id);
        }
    }

    /// Puts the clients that waited on the ready list, the longest wait first, and before
    /// those who had their turn.
    pub(crate) fn release(&mut self) {
        let mut ready = std::mem::take(&mut self.lists.waiting);
        ready.retain(|&id| {
            let waiting = |peer: &mut Peer, _: &mut Spares| {
                let waited = peer.place == Place::Waiting;
                if waited {
                    peer.place = Place::Ready;
                }
                waited
            };
            self.with(id, waiting) == Some(true)
        });
        ready.append(&mut self.lists.ready);
        self.lists.ready = ready;
    }

    /// Hands over what the relay decided.
    pub(crate) fn deliver(&mut self, delivery: Delivery<'_>) {
        match delivery {
            Delivery::Peer { to, packet } => self.queue(to, packet, false),
            Delivery::Master { to, packet } => self.queue(to, packet, true),
            Delivery::Broadcast { to, packet } => {
                self.queue(to, packet, false);
                self.flush(to);
            }
            Delivery::Close { id, reason } => self.close(id, 1008, reason),
        }
    }

    fn queue(&mut self, to: u64, packet: Outgoing<'_>, to_master: bool) {
        let len = packet.encoded_len();
        self.sums.queued += len as u64;
        self.with(to, |peer, spares| {
            if peer.session.phase() == Phase::Open {
                peer.was_master |= to_master;
                peer.session.lend(spares, peer.was_master);
                packet.write(peer.session.queue(Opcode::Text, len));
            }
        });
    }

    /// Closes a connection after what is queued for it.
    pub(crate) fn close(&mut self, id: u64, code: u16, reason: &str) {
        // The reason may be the master's words, which are not for the log.
        log::debug!("{id}: closed with {code}");
        let now = self.now;
        self.with(id, |peer, _| peer.session.close(code, reason, now));
    }

    /// Closes a connection at the cost of what is queued for it.
    pub(crate) fn cut(&mut self, id: u64, reason: &str) {
        let now = self.now;
        self.touch(id, |peer, _| cut(peer, reason, now));
    }

    /// Closes all connections.
    pub(crate) fn close_all(&mut self, code: u16, reason: &str) {
        for id in self.ids() {
            self.close(id, code, reason);
        }
    }

    /// Sends what was queued in this turn, each peer's once.
    pub(crate) fn flush_all(&mut self) {
        for id in std::mem::take(&mut self.lists.to_flush) {
            self.flush(id);
        }
    }

    /// Looks at each connection's deadlines. Clients that are `held_back` are not
    /// listened to, so their silence means nothing.
    pub(crate) fn tick(&mut self, keepalive: Duration, held_back: impl Fn(u64) -> bool) {
        for id in self.ids() {
            let now = self.now;
            self.with(id, |peer, _| {
                if peer.session.phase() != Phase::Open || !held_back(id) {
                    peer.session.tick(keepalive, now);
                }
            });
        }
    }

    /// Sends as much as the socket takes.
    fn flush(&mut self, id: u64) {
        self.touch(id, |peer, spares| {
            peer.to_flush = false;
            peer.flush(spares);
        });
    }

    /// Keeps what all sessions hold together within the limit: what is queued for those
    /// who read is sent, and if that does not do, the largest holder is dropped.
    fn bound_memory(&mut self) {
        self.flush_all();
        while self.sums.held > self.limits.max_memory_bytes {
            let most = self.table.iter_mut().max_by_key(|(_, peer)| peer.session.held());
            let Some((id, peer)) = most else { return };
            let now = self.now;
            if peer.session.phase() == Phase::Ending {
                self.touch(id, |peer, _| peer.session.broken(now));
            } else {
                self.cut(id, "too much is held for it");
            }
        }
    }

    fn ids(&mut self) -> Vec<u64> {
        self.table.iter_mut().map(|(id, _)| id).collect()
    }
}

/// Keeps a peer's backlog within `limit` bytes: above it, what is queued is sent now; if
/// that does not help, the peer is dropped, so that nobody waits for it.
fn bound_backlog(peer: &mut Peer, spares: &mut Spares, limit: usize, now: Instant) {
    // The master's clients are held back above the limit; what moss itself has to tell it
    // may go on top, but not without end.
    let limit = if peer.was_master { 2 * limit } else { limit };
    if peer.session.unsent().len() > limit {
        peer.flush(spares);
        if peer.session.unsent().len() > limit {
            cut(peer, "reads too slowly", now);
        }
    }
}

fn cut(peer: &mut Peer, reason: &str, now: Instant) {
    if peer.session.phase() != Phase::Ending {
        log::debug!("dropped: {reason}");
        peer.session.cut(1013, reason, now);
    }
}
