//! Every connection: its socket with its session, and the way of bytes between the two.
//!
//! [`Peers::with`] is the one endpoint to a peer. Whatever is done to one there, its sums,
//! its lists and its limits are right after it: no caller has to remember what follows
//! from what it did. Nobody here decides who gets what: who left is put on a list, for
//! the server to tell the relay.

mod arriving;
#[cfg(debug_assertions)]
mod check;
mod displacing;
mod sending;
mod serving;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) use arriving::Arrival;

use crate::connection::backlog::Spares;
use crate::connection::ending::Ending;
use crate::connection::session::Phase;
use crate::server::addresses::Addresses;
use crate::server::counters::Counters;
use crate::server::line::Line;
use crate::server::memory::{Bounds, Memory};
use crate::server::peer::{Peer, Snapshot};
use crate::server::schedule::{Place, Schedule};
use crate::server::table::Table;
use crate::server::world::{Readiness, World};
use crate::settings::config::Config;

/// How often the log says what TLS on the plain port means.
const HINT: Duration = Duration::from_secs(60);

/// All connections.
#[derive(Debug)]
pub(crate) struct Peers<W: World> {
    table: Table<Peer<W>>,
    addresses: Addresses,
    /// The trusted proxy of each connection that comes by one, as long as requests may follow.
    /// They are few: an address in each peer would cost all of them.
    proxied: HashMap<u64, IpAddr>,
    /// Unsent bytes of one peer.
    max_backlog: usize,
    bounds: Bounds,
    memory: Memory,
    /// This turn's time.
    pub(crate) now: Instant,
    schedule: Schedule,
    lists: Lists,
    sums: Sums,
    counters: Counters,
    /// Empty buffers for the next receivers.
    spares: Spares,
    /// When the log may say again what TLS on the plain port means.
    next_tls_hint: Option<Instant>,
}

/// Ids of peers that something is to be done with. One that is gone is passed over.
#[derive(Debug, Default)]
struct Lists {
    /// With something to send.
    to_flush: Vec<u64>,
    /// With a page to be sent, and a socket that takes more of it.
    bodies: VecDeque<u64>,
    /// They can receive no more; the relay is to be told.
    departed: Vec<u64>,
    /// Kept, in the order in which they came.
    kept: Line,
    /// Of those, who was idle when it was put here: some are no more.
    idle: Line,
}

/// What all peers together are and have.
#[derive(Debug, Default)]
struct Sums {
    /// Open WebSockets.
    open: usize,
    /// Connections that were answered and go on.
    kept: usize,
    /// Bytes ever queued, for telling what a packet caused.
    queued: u64,
    /// Connections that ended since somebody asked.
    ended: usize,
    /// Clients that wait for the master.
    paused: usize,
}

impl<W: World> Peers<W> {
    /// None yet, who may come through TLS or not, and ids from this `serial` on; one call
    /// receives at most `largest_receive` bytes.
    pub(crate) fn new(
        config: &Config,
        tls: bool,
        serial: u64,
        largest_receive: usize,
        now: Instant,
    ) -> Self {
        let limits = &config.limits;
        let trusted = config.trusted_proxies.clone();
        Self {
            table: Table::new(serial),
            addresses: Addresses::new(limits.max_connections_per_address, trusted),
            proxied: HashMap::new(),
            now,
            schedule: Schedule::new(limits.max_memory_bytes, largest_receive),
            lists: Lists::default(),
            sums: Sums::default(),
            counters: Counters::default(),
            spares: Spares::new(limits.max_memory_bytes),
            next_tls_hint: None,
            max_backlog: limits.max_backlog_bytes,
            bounds: Bounds::new(limits, tls),
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

    /// Connections that are kept open for requests, or are being sent a page.
    pub(crate) fn kept(&self) -> usize {
        self.sums.kept
    }

    /// Whether this is one of them.
    pub(crate) fn is_kept(&self, id: u64) -> bool {
        self.table.get(id).is_some_and(|peer| peer.session.is_kept())
    }

    /// Heap bytes of all sessions.
    pub(crate) fn held(&self) -> usize {
        self.memory.held()
    }

    /// Bytes that are not sent yet, of all sessions.
    pub(crate) fn unsent(&self) -> usize {
        self.memory.unsent()
    }

    /// Clients that wait for the master.
    pub(crate) fn paused(&self) -> usize {
        self.sums.paused
    }

    /// What has become of connections since the start.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes queued since the start.
    pub(crate) fn queued(&self) -> u64 {
        self.sums.queued
    }

    /// Whether a peer was pinged and has not answered yet.
    pub(crate) fn is_unanswered(&self, id: u64) -> bool {
        self.table.get(id).is_some_and(|peer| peer.session.is_unanswered())
    }

    /// Unsent bytes of one peer.
    pub(crate) fn backlog(&self, id: u64) -> usize {
        self.table.get(id).map_or(0, |peer| peer.session.backlog_len())
    }

    /// Whether the next turn has work already.
    pub(crate) fn has_work(&self) -> bool {
        let lists = [&self.lists.to_flush, &self.lists.departed];
        self.schedule.has_work()
            || !self.lists.bodies.is_empty()
            || lists.iter().any(|list| !list.is_empty())
    }

    /// The next peer of which the relay has not been told that it left.
    pub(crate) fn next_departed(&mut self) -> Option<u64> {
        self.lists.departed.pop()
    }

    /// How many connections have ended since this was asked last.
    pub(crate) fn take_ended(&mut self) -> usize {
        std::mem::take(&mut self.sums.ended)
    }

    /// The one endpoint to a peer: does something with it, and then all that follows from
    /// that. Its backlog is within the limit then, the sums count what it holds, it
    /// stands on the lists where it belongs, and it is removed if it is over. Nothing if
    /// the peer is gone.
    pub(crate) fn with<R>(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut Peer<W>, &mut Spares) -> R,
    ) -> Option<R> {
        let result = self.touch(id, act)?;
        if !self.bounds.are_kept(&self.memory) {
            self.bound_memory();
        }
        Some(result)
    }

    /// The endpoint without the bound on all memory, which itself comes in here.
    #[inline]
    fn touch<R>(&mut self, id: u64, act: impl FnOnce(&mut Peer<W>, &mut Spares) -> R) -> Option<R> {
        let peer = self.table.get_mut(id)?;
        let before = peer.snapshot();
        let result = act(peer, &mut self.spares);
        if peer.has_tls() {
            peer.settle(self.now);
        }
        if peer.session.backlog_len() > self.max_backlog {
            bound_backlog(peer, &mut self.spares, self.max_backlog, self.now);
        }
        let after = peer.snapshot();
        self.memory.replace(before, after);
        if !peer.to_flush && peer.has_output() {
            peer.to_flush = true;
            self.lists.to_flush.push(id);
        }
        if peer.standing.place == Place::Idle && peer.has_input() {
            // Who was answered already takes turns with all others.
            self.schedule.ready(id, &mut peer.standing, after.phase == Phase::Head);
        }
        if before.phase != Phase::Open || after.phase != Phase::Open {
            self.advance(id, before, after);
        }
        Some(result)
    }

    /// What follows where a session is, or was, no open WebSocket: it may move on in its life.
    #[cold]
    fn advance(&mut self, id: u64, before: Snapshot, after: Snapshot) {
        if after.phase == Phase::Kept {
            self.list_kept(id, before.phase != Phase::Kept);
        }
        if before.phase == after.phase && after.phase != Phase::Ending {
            return;
        }
        if before.phase != Phase::Open && after.phase == Phase::Open {
            self.sums.open += 1;
            // No request follows.
            self.proxied.remove(&id);
        }
        if before.phase == Phase::Kept && after.phase != Phase::Kept {
            self.sums.kept -= 1;
        }
        let Some(peer) = self.table.get_mut(id) else { return };
        if before.phase != Phase::Ending && after.phase == Phase::Ending {
            if let Some(ending) = peer.session.ending() {
                self.counters.close(ending);
                log_ending(id, peer, ending);
            }
            if peer.breaks_handshake() {
                self.counters.failed_handshakes += 1;
            }
            if peer.session.ending() == Some(Ending::TlsOnPlain)
                && self.next_tls_hint.is_none_or(|at| self.now >= at)
            {
                self.next_tls_hint = Some(self.now + HINT);
                log::info!(
                    "a peer spoke TLS to the plain port, which is for http:// and ws:// only"
                );
            }
        }
        if before.phase == Phase::Open && after.phase == Phase::Ending {
            self.sums.open -= 1;
            self.lists.departed.push(id);
            if peer.standing.place == Place::Waiting {
                self.sums.paused -= 1;
                // It is not heard any more, but still read: else its end would not be met.
                self.schedule.ready(id, &mut peer.standing, false);
            }
        }
        if peer.is_over(self.now) {
            // Dropping the stream closes it and takes it out of the poll.
            if peer.counts {
                self.addresses.leave(peer.address);
            }
            self.proxied.remove(&id);
            self.table.remove(id);
            self.memory.remove(after);
            self.sums.ended += 1;
        }
    }

    /// Remembers what a poll event says.
    pub(crate) fn note(&mut self, token: usize, readiness: Readiness) {
        if let Some(id) = self.table.id_of_token(token) {
            self.with(id, |peer, _| peer.socket.note(readiness));
        }
    }

    /// Closes a connection at the cost of what is queued for it.
    pub(crate) fn cut(&mut self, id: u64, ending: Ending) {
        let now = self.now;
        self.touch(id, |peer, _| cut(peer, ending, now));
    }

    /// Closes a connection after what is queued for it.
    pub(crate) fn close(&mut self, id: u64, ending: Ending) {
        let now = self.now;
        self.with(id, |peer, _| peer.session.close(ending, now));
    }

    /// Breaks off the downloads of pages of all earlier generations.
    pub(crate) fn end_downloads_before(&mut self, generation: u32) {
        let now = self.now;
        for id in self.ids() {
            self.with(id, |peer, _| {
                let is_old = |of: u32| generation.wrapping_sub(of).cast_signed() > 0;
                if peer.session.body_generation().is_some_and(is_old) {
                    peer.session.drop_now(Ending::SlowReader, now);
                }
            });
        }
    }

    /// Closes all connections.
    pub(crate) fn close_all(&mut self, ending: Ending) {
        for id in self.ids() {
            self.close(id, ending);
        }
    }

    /// Looks at each connection's deadlines.
    pub(crate) fn tick(&mut self, keepalive: Duration) {
        #[cfg(debug_assertions)]
        self.check();
        for id in self.ids() {
            let now = self.now;
            self.with(id, |peer, _| peer.tick(keepalive, now));
        }
    }

    fn ids(&self) -> Vec<u64> {
        self.table.iter().map(|(id, _)| id).collect()
    }
}

/// Keeps a peer's backlog within `limit` bytes: above it, what is queued is sent now; if
/// that does not help, the peer is dropped, so that nobody waits for it.
#[cold]
fn bound_backlog<W: World>(peer: &mut Peer<W>, spares: &mut Spares, limit: usize, now: Instant) {
    // The master's clients are held back above the limit; what moss itself has to tell it
    // may go on top, but not without end.
    let limit = if peer.was_master { 2 * limit } else { limit };
    if peer.session.backlog_len() > limit {
        peer.flush(spares, now);
        if peer.session.backlog_len() > limit {
            cut(peer, Ending::SlowReader, now);
        }
    }
}

fn cut<W: World>(peer: &mut Peer<W>, ending: Ending, now: Instant) {
    if peer.session.phase() != Phase::Ending {
        peer.session.cut(ending, now);
    }
}

/// One line for each connection that ends, with the word for the reason.
fn log_ending<W: World>(id: u64, peer: &Peer<W>, ending: Ending) {
    let mut code = itoa::Buffer::new();
    let more = match ending.code() {
        _ if ending == Ending::Tls => peer.tls_failure(),
        // A Close frame is for WebSockets.
        code if code == 0 || (code >= 1000 && peer.session.is_http()) => "",
        number => code.format(number),
    };
    let (open, close) = if more.is_empty() { ("", "") } else { (" (", ")") };
    log::log!(ending.level(), "{id}, {peer}: {}{open}{more}{close}", ending.word());
}
