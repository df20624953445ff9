//! Every connection: its socket with its session, and the way of bytes between the two.
//!
//! Deliveries are queued here, each queue is sent once a turn, and the limits on unsent
//! bytes are enforced. Nobody here decides who gets what: who left is put on a list,
//! for the server to tell the relay.

use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::connection::backlog::{Opcode, Spares};
use crate::connection::session::{Input, Phase, Session};
use crate::protocol::packet::Outgoing;
use crate::protocol::relay::Delivery;
use crate::server::peer::Peer;
use crate::server::socket::Socket;
use crate::server::table::Table;
use crate::settings::config::Limits;

/// All connections.
#[derive(Debug)]
pub(crate) struct Peers {
    table: Table<Peer>,
    limits: Limits,
    /// This turn's time.
    pub(crate) now: Instant,
    /// Peers to be served in this or the next turn.
    ready: Vec<u64>,
    /// Clients that wait for the master, in the order in which they came.
    waiting: Vec<u64>,
    /// Peers with something to send.
    unflushed: Vec<u64>,
    /// Peers that can receive no more; the relay is to be told.
    departed: Vec<u64>,
    /// Peers that are over, and are to be reaped.
    ended: Vec<u64>,
    /// Open WebSockets.
    open: usize,
    /// Empty buffers for whoever is sent something next.
    spares: Spares,
    /// Heap bytes of all table.
    held: usize,
    /// Bytes ever queued, for telling what a packet caused.
    queued: u64,
}

impl Peers {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            table: Table::new(),
            now,
            ready: Vec::new(),
            waiting: Vec::new(),
            unflushed: Vec::new(),
            departed: Vec::new(),
            ended: Vec::new(),
            open: 0,
            spares: Spares::new(limits.max_memory_bytes),
            held: 0,
            queued: 0,
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
        self.open
    }

    /// Bytes queued since the start.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Peer> {
        self.table.get_mut(id)
    }

    /// Unsent bytes of one peer.
    pub(crate) fn backlog(&self, id: u64) -> usize {
        self.table.get(id).map_or(0, |peer| peer.session.unsent().len())
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
        let Some(id) = self.table.id_of_token(event.token().0) else { return };
        let Some(peer) = self.table.get_mut(id) else { return };
        peer.socket.note(event);
        let (readable, writable) = (peer.socket.is_readable(), peer.socket.is_writable());
        if writable && !peer.session.unsent().is_empty() {
            self.flush_later(id);
        }
        if readable {
            self.serve_later(id);
        }
    }

    /// Puts a peer on the ready list.
    pub(crate) fn serve_later(&mut self, id: u64) {
        if let Some(peer) = self.table.get_mut(id)
            && !peer.on_ready
        {
            peer.on_ready = true;
            self.ready.push(id);
        }
    }

    /// Takes the ready list; whoever is put on it from now on waits for the next turn.
    pub(crate) fn take_ready(&mut self) -> Vec<u64> {
        let ready = std::mem::take(&mut self.ready);
        for &id in &ready {
            if let Some(peer) = self.table.get_mut(id) {
                peer.on_ready = false;
            }
        }
        ready
    }

    /// Whether the next turn has work already.
    pub(crate) fn has_work(&self) -> bool {
        let lists = [&self.ready, &self.unflushed, &self.departed, &self.ended];
        lists.iter().any(|list| !list.is_empty())
    }

    /// Takes bytes that one peer sent into its session.
    pub(crate) fn take_in<'b>(&mut self, id: u64, received: &'b mut [u8]) -> Option<Input<'b>> {
        let peer = self.table.get_mut(id)?;
        let input = peer.session.take_in(received, self.now);
        // What is being handled is not held any more: whoever sent a large packet must not
        // be dropped as the largest holder for what the packet causes.
        peer.recount(&mut self.held);
        Some(input)
    }

    /// Turns a session into an open WebSocket.
    pub(crate) fn open_session(&mut self, id: u64, response: &[u8]) {
        if let Some(peer) = self.table.get_mut(id) {
            peer.session.open(response);
            peer.counted_open = true;
            self.open += 1;
            self.flush_later(id);
        }
    }

    /// Sends an HTTP answer, and ends.
    pub(crate) fn answer(&mut self, id: u64, answer: &[u8]) {
        let now = self.now;
        if let Some(peer) = self.table.get_mut(id) {
            peer.session.answer(answer, now);
            self.settle(id);
        }
    }

    /// Hands over what the relay decided.
    pub(crate) fn deliver(&mut self, delivery: Delivery<'_>) {
        match delivery {
            Delivery::Peer { to, packet } => self.queue(to, packet),
            Delivery::Master { to, packet } => {
                if let Some(peer) = self.table.get_mut(to) {
                    peer.was_master = true;
                }
                self.queue(to, packet);
            }
            Delivery::Broadcast { to, packet } => {
                self.queue(to, packet);
                self.flush(to);
            }
            Delivery::Close { id, reason } => self.close(id, 1008, reason),
        }
    }

    /// Closes a connection after what is queued for it.
    pub(crate) fn close(&mut self, id: u64, code: u16, reason: &str) {
        let now = self.now;
        if let Some(peer) = self.table.get_mut(id) {
            // The reason may be the master's words, which are not for the log.
            log::debug!("{id}: closed with {code}");
            peer.session.close(code, reason, now);
            self.settle(id);
        }
    }

    /// Closes a connection at the cost of what is queued for it.
    pub(crate) fn cut(&mut self, id: u64, reason: &str) {
        let now = self.now;
        if let Some(peer) = self.table.get_mut(id)
            && peer.session.phase() != Phase::Ending
        {
            log::debug!("{id}: dropped: {reason}");
            peer.session.cut(1013, reason, now);
            self.account(id);
            self.flush_later(id);
        }
    }

    /// Closes all connections.
    pub(crate) fn close_all(&mut self, code: u16, reason: &str) {
        for id in self.ids() {
            self.close(id, code, reason);
        }
    }

    /// Draws the conclusions from what a session has done by itself: its answers are
    /// flushed, its departure is told, its end is seen.
    pub(crate) fn settle(&mut self, id: u64) {
        // What the session itself had to say, pongs above all, is backlog too.
        self.make_room(id, 0);
        self.account(id);
        self.flush_later(id);
        self.bound_memory();
    }

    /// The next peer of which the relay has not been told that it left.
    pub(crate) fn next_departed(&mut self) -> Option<u64> {
        self.departed.pop()
    }

    /// Removes the connections that are over.
    pub(crate) fn reap(&mut self) -> usize {
        let mut reaped = 0;
        while let Some(id) = self.ended.pop() {
            // Dropping the stream closes it and takes it out of the poll.
            if let Some(peer) = self.table.remove(id) {
                log::debug!("{id}: gone");
                self.held -= peer.counted_held;
                reaped += 1;
            }
        }
        reaped
    }

    /// Sends what was queued in this turn, each peer's once.
    pub(crate) fn flush_all(&mut self) {
        for id in std::mem::take(&mut self.unflushed) {
            if let Some(peer) = self.table.get_mut(id) {
                peer.on_unflushed = false;
                self.flush(id);
            }
        }
    }

    /// Looks at each connection's deadlines. Clients that are `held_back` are not
    /// listened to, so their silence means nothing.
    pub(crate) fn tick(&mut self, keepalive: Duration, held_back: impl Fn(u64) -> bool) {
        for id in self.ids() {
            let now = self.now;
            let Some(peer) = self.table.get_mut(id) else { continue };
            if peer.session.phase() == Phase::Open && held_back(id) {
                continue;
            }
            peer.session.tick(keepalive, now);
            self.settle(id);
        }
    }

    /// Remembers a client that has to wait for the master. It keeps its readiness.
    pub(crate) fn wait(&mut self, id: u64) {
        if let Some(peer) = self.table.get_mut(id)
            && !peer.on_waiting
        {
            peer.on_waiting = true;
            self.waiting.push(id);
        }
    }

    /// Does not hold a client's silence against it: it was not listened to for so long.
    pub(crate) fn excuse(&mut self, id: u64, held_back: Duration) {
        let now = self.now;
        if let Some(peer) = self.table.get_mut(id) {
            peer.session.excuse(held_back, now);
        }
    }

    /// Puts the clients that waited on the ready list, the longest wait first, and before
    /// those who had their turn: in any other order the same few could fill the master's
    /// backlog each time, and the others would never be heard.
    pub(crate) fn release(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let served = std::mem::take(&mut self.ready);
        self.ready = waiting.iter().copied().filter(|&id| self.get_mut(id).is_some()).collect();
        for id in served {
            if self.get_mut(id).is_some_and(|peer| !peer.on_waiting) {
                self.ready.push(id);
            }
        }
        for id in waiting {
            if let Some(peer) = self.table.get_mut(id) {
                peer.on_waiting = false;
                peer.on_ready = true;
            }
        }
    }

    /// Keeps what all table hold together within the limit: what is queued for those
    /// who read is sent, and if that does not do, whoever holds most is dropped.
    fn bound_memory(&mut self) {
        if self.held <= self.limits.max_memory_bytes {
            return;
        }
        self.flush_all();
        while self.held > self.limits.max_memory_bytes {
            let most = self.table.iter_mut().max_by_key(|(_, peer)| peer.counted_held);
            let Some((id, peer)) = most else { return };
            if peer.session.phase() == Phase::Ending {
                peer.session.broken(self.now);
                self.account(id);
            } else {
                self.cut(id, "too much is held for it");
            }
        }
    }

    fn ids(&mut self) -> Vec<u64> {
        self.table.iter_mut().map(|(id, _)| id).collect()
    }

    /// Makes room for `len` bytes: if the backlog would pass the limit, what is queued
    /// is sent now; if that does not help, the peer is cut off, so that nobody waits
    /// for it.
    fn make_room(&mut self, id: u64, len: usize) {
        let Some(peer) = self.table.get(id) else { return };
        // The master's clients are held back above the limit; what moss itself has to
        // tell it may go on top, but not without end.
        let limit = self.limits.max_backlog_bytes * if peer.was_master { 2 } else { 1 };
        if peer.session.unsent().len() + len > limit {
            self.flush(id);
            if self.backlog(id) + len > limit {
                self.cut(id, "reads too slowly");
            }
        }
    }

    fn queue(&mut self, to: u64, packet: Outgoing<'_>) {
        let len = packet.encoded_len();
        self.queued += len as u64;
        self.make_room(to, len);
        let Some(peer) = self.table.get_mut(to) else { return };
        if peer.session.phase() != Phase::Open {
            return;
        }
        peer.session.lend(&mut self.spares, peer.was_master);
        packet.write(peer.session.queue(Opcode::Text, len));
        peer.recount(&mut self.held);
        if !peer.on_unflushed {
            peer.on_unflushed = true;
            self.unflushed.push(to);
        }
        self.bound_memory();
    }

    /// Brings the sums and lists up to date with one session.
    fn account(&mut self, id: u64) {
        let Some(peer) = self.table.get_mut(id) else { return };
        peer.recount(&mut self.held);
        if peer.session.phase() != Phase::Ending {
            return;
        }
        if peer.session.is_over(self.now) {
            self.ended.push(id);
        }
        if peer.counted_open {
            peer.counted_open = false;
            self.open -= 1;
            self.departed.push(id);
            // A client that was held back may have been reported as readable long ago.
            self.serve_later(id);
        }
    }

    /// A session that is ending is flushed even of nothing: that shuts its stream down.
    fn flush_later(&mut self, id: u64) {
        if let Some(peer) = self.table.get_mut(id)
            && !peer.on_unflushed
            && (!peer.session.unsent().is_empty() || peer.session.phase() == Phase::Ending)
        {
            peer.on_unflushed = true;
            self.unflushed.push(id);
        }
    }

    /// Sends as much as the socket takes.
    fn flush(&mut self, id: u64) {
        let Some(peer) = self.table.get_mut(id) else { return };
        if peer.flush(&mut self.spares).is_err() {
            // Nothing that the peer sent may be lost: reading meets the end.
            peer.session.discard_unsent();
            self.serve_later(id);
        }
        self.account(id);
    }
}
