//! Every connection: its socket with its session, and the way of bytes between the two.
//!
//! [`Peers::with`] is the one door to a peer. Whatever is done to one there, its sums,
//! its lists and its limits are right after it: no caller has to remember what follows
//! from what it did. Nobody here decides who gets what: who left is put on a list, for
//! the server to tell the relay.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::connection::backlog::{Opcode, Spares};
use crate::connection::ending::Ending;
use crate::connection::session::{Input, Phase, Session};
use crate::protocol::packet::Outgoing;
use crate::protocol::relay::{Delivery, Expulsion, Role};
use crate::server::memory::{self, Bounds, Excess, Memory};
use crate::server::peer::{Peer, Snapshot};
use crate::server::schedule::{Budget, Place, Schedule, Share, Standing};
use crate::server::socket::{Received, Socket};
use crate::server::table::Table;
use crate::settings::config::Limits;

/// All connections.
#[derive(Debug)]
pub(crate) struct Peers {
    table: Table<Peer>,
    /// Unsent bytes of one peer.
    max_backlog: usize,
    bounds: Bounds,
    memory: Memory,
    /// This turn's time.
    pub(crate) now: Instant,
    schedule: Schedule,
    lists: Lists,
    sums: Sums,
    /// Empty buffers for the next receivers.
    spares: Spares,
}

/// Ids of peers that something is to be done with. One that is gone is passed over.
#[derive(Debug, Default)]
struct Lists {
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
    /// Bytes ever queued, for telling what a packet caused.
    queued: u64,
    /// Connections that ended since somebody asked.
    ended: usize,
}

impl Peers {
    /// None yet; one call receives at most `largest_receive` bytes.
    pub(crate) fn new(limits: &Limits, largest_receive: usize, now: Instant) -> Self {
        Self {
            table: Table::new(),
            now,
            schedule: Schedule::new(limits.max_memory_bytes, largest_receive),
            lists: Lists::default(),
            sums: Sums::default(),
            spares: Spares::new(limits.max_memory_bytes),
            max_backlog: limits.max_backlog_bytes,
            bounds: Bounds::new(limits),
            memory: Memory::default(),
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
        let lists = [&self.lists.to_flush, &self.lists.departed];
        self.schedule.has_work() || lists.iter().any(|list| !list.is_empty())
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
        if self.bounds.excess(&self.memory).is_some() {
            self.bound_memory();
        }
        Some(result)
    }

    /// The door without the bound on all memory, which itself comes in here.
    fn touch<R>(&mut self, id: u64, act: impl FnOnce(&mut Peer, &mut Spares) -> R) -> Option<R> {
        let peer = self.table.get_mut(id)?;
        let before = peer.snapshot();
        let result = act(peer, &mut self.spares);
        bound_backlog(peer, &mut self.spares, self.max_backlog, self.now);
        let after = peer.snapshot();
        self.memory.replace(before, after);
        if !peer.to_flush && peer.has_output() {
            peer.to_flush = true;
            self.lists.to_flush.push(id);
        }
        if peer.standing.place == Place::Idle && peer.has_input() {
            self.schedule.ready(id, &mut peer.standing, after.phase == Phase::Head);
        }
        if before.phase != after.phase || after.phase == Phase::Ending {
            self.advance(id, before, after);
        }
        Some(result)
    }

    /// What follows when a session moves on in its life.
    fn advance(&mut self, id: u64, before: Snapshot, after: Snapshot) {
        if before.phase != Phase::Open && after.phase == Phase::Open {
            self.sums.open += 1;
        }
        let Some(peer) = self.table.get_mut(id) else { return };
        if before.phase != Phase::Ending && after.phase == Phase::Ending {
            tell_of_ending(id, peer);
        }
        if before.phase == Phase::Open && after.phase == Phase::Ending {
            self.sums.open -= 1;
            self.lists.departed.push(id);
            if peer.standing.place == Place::Waiting {
                // It is not heard any more, but still read: else its end would not be met.
                self.schedule.ready(id, &mut peer.standing, false);
            }
        }
        if peer.session.is_over(self.now) {
            // Dropping the stream closes it and takes it out of the poll.
            self.table.remove(id);
            self.memory.remove(after);
            self.sums.ended += 1;
        }
    }

    /// Adds a connection that was just accepted. One that can't be registered is
    /// closed by dropping it.
    pub(crate) fn accept(&mut self, mut stream: TcpStream, address: IpAddr, registry: &Registry) {
        let session = Session::new(self.now);
        let standing = Standing::new(&self.schedule);
        let added = self.table.insert_with(|id| {
            let token = Token(id as usize);
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            std::io::Result::Ok(Peer::new(Socket::new(stream), session, address, standing))
        });
        match added {
            Ok(id) => log::debug!("{id}, visitor at {address}: connected"),
            Err(error) => log::warn!("a connection can't be polled: {error}"),
        }
    }

    /// Remembers what a poll event says.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Some(id) = self.table.id_of_token(event.token().0) {
            self.with(id, |peer, _| peer.socket.note(event));
        }
    }

    /// The share of each peer that is ready now.
    pub(crate) fn share(&self) -> Share {
        self.schedule.share()
    }

    /// The next connection whose request head is to be read.
    pub(crate) fn next_arrival(&mut self) -> Option<u64> {
        self.schedule.next_arrival()
    }

    /// The next peer that is to be served in this turn.
    pub(crate) fn next_ready(&mut self) -> Option<u64> {
        self.schedule.next_ready()
    }

    /// Begins to serve a peer, and says what it may spend. Nothing if it is not to be
    /// served now.
    pub(crate) fn begin(&mut self, id: u64, share: Budget) -> Option<Budget> {
        let peer = self.table.get_mut(id)?;
        (peer.standing.place == Place::Ready)
            .then(|| self.schedule.begin(id, &mut peer.standing, share))?
    }

    /// Receives at most `most` bytes from a peer that is being served: their number, which
    /// is 0 where an earlier budget left some, and a walk over them. Nothing if there is
    /// nothing to do.
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
            peer.interrupted = interrupted && peer.session.unparsed() > 0;
        });
    }

    /// Ends the serving of a peer with so much `left`. What it still has to say is for the
    /// next round.
    pub(crate) fn finish(&mut self, id: u64, left: Budget) {
        let Some(peer) = self.table.get_mut(id) else { return };
        self.schedule.finish(&mut peer.standing, left);
        self.with(id, |_, _| {});
    }

    /// Stops serving a client that has to wait for the master; so much is `left` to it.
    pub(crate) fn interrupt(&mut self, id: u64, left: Budget) {
        if let Some(peer) = self.table.get_mut(id) {
            self.schedule.interrupt(id, &mut peer.standing, left);
        }
    }

    /// Lets a client that is ready wait for the master.
    pub(crate) fn wait(&mut self, id: u64) {
        if let Some(peer) = self.table.get_mut(id)
            && peer.standing.place == Place::Ready
        {
            self.schedule.wait(id, &mut peer.standing);
        }
    }

    /// Lets the clients that waited go on, the longest wait first, and before all others.
    pub(crate) fn release(&mut self) {
        let mut waited = self.schedule.take_waiting();
        waited.retain(|&id| {
            let Some(peer) = self.table.get_mut(id) else { return false };
            let waits = peer.standing.place == Place::Waiting;
            if waits {
                peer.standing.place = Place::Ready;
            }
            waits
        });
        self.schedule.resume(waited);
    }

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
                    Expulsion::NoPlace => peer.session.close(Ending::Full, now),
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

    /// Closes a connection at the cost of what is queued for it.
    pub(crate) fn cut(&mut self, id: u64, ending: Ending) {
        let now = self.now;
        self.touch(id, |peer, _| cut(peer, ending, now));
    }

    /// Closes all connections.
    pub(crate) fn close_all(&mut self, ending: Ending) {
        let now = self.now;
        for id in self.ids() {
            self.with(id, |peer, _| peer.session.close(ending, now));
        }
    }

    /// Sends what was queued in this turn, each peer's once.
    pub(crate) fn flush_all(&mut self) {
        for id in std::mem::take(&mut self.lists.to_flush) {
            self.flush(id);
        }
    }

    /// Looks at each connection's deadlines.
    pub(crate) fn tick(&mut self, keepalive: Duration) {
        for id in self.ids() {
            let now = self.now;
            self.with(id, |peer, _| {
                if peer.standing.place != Place::Idle {
                    // It has said something, which only was not listened to yet.
                    peer.session.heard(now);
                }
                peer.session.tick(keepalive, now);
            });
        }
    }

    /// Sends as much as the socket takes.
    pub(crate) fn flush(&mut self, id: u64) {
        self.touch(id, |peer, spares| {
            peer.to_flush = false;
            peer.flush(spares);
        });
    }

    /// Keeps what all peers hold within its bounds. Each step takes from somebody, and for
    /// unsent bytes nobody is asked twice: this ends even if a sum is wrong.
    fn bound_memory(&mut self) {
        while let Some(Excess::GuestsHalves | Excess::Halves) = self.bounds.excess(&self.memory) {
            let Some(id) = memory::oldest_half(&mut self.table) else { break };
            self.cut(id, Ending::Memory);
        }
        for role in [Role::Guest, Role::Client, Role::Master] {
            self.give_up_unsent(role, |peer, now| {
                if peer.session.backlog_held() > 0 {
                    cut(peer, Ending::Memory, now);
                }
            });
            // The frames that they had begun to send may be much still.
            self.give_up_unsent(role, |peer, now| {
                if peer.session.phase() == Phase::Ending {
                    peer.session.broken(now);
                }
            });
        }
    }

    /// As long as too much is held: sends and gives back what can be, peer by peer, and
    /// does `more` to those for whom that is not enough.
    fn give_up_unsent(&mut self, role: Role, more: impl Fn(&mut Peer, Instant)) {
        if self.bounds.excess(&self.memory).is_none() {
            return;
        }
        let now = self.now;
        for id in memory::unsent(&mut self.table, role) {
            self.touch(id, |peer, spares| {
                peer.flush(spares);
                peer.session.shrink();
            });
            if self.bounds.excess(&self.memory).is_none() {
                return;
            }
            self.touch(id, |peer, _| more(peer, now));
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
            cut(peer, Ending::SlowReader, now);
        }
    }
}

fn cut(peer: &mut Peer, ending: Ending, now: Instant) {
    if peer.session.phase() != Phase::Ending {
        peer.session.cut(ending, now);
    }
}

/// One line for each connection that ends, with the word for the reason.
fn tell_of_ending(id: u64, peer: &Peer) {
    let Some(ending) = peer.session.ending() else { return };
    let word = ending.word();
    match ending.code() {
        0 => log::log!(ending.level(), "{id}, {peer}: {word}"),
        code => log::log!(ending.level(), "{id}, {peer}: {word} ({code})"),
    }
}
