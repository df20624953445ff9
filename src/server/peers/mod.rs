//! All connections.
//!
//! [`Peers::with`] is the only way to change a peer. After each change the sums, the lists and
//! the limits are brought up to date there, so no caller has to remember what follows from
//! its change. Nothing here decides who gets what: peers that have left are put on a list, and
//! the server tells the relay.

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
use crate::server::memory::{Bounds, Memory};
use crate::server::peer::{Peer, Snapshot};
use crate::server::queue::Queue;
use crate::server::schedule::{Place, Schedule};
use crate::server::table::Table;
use crate::server::world::{Readiness, World};
use crate::settings::config::Config;

/// How often the log explains TLS on the plain port.
const HINT: Duration = Duration::from_secs(60);

/// All connections.
#[derive(Debug)]
pub(crate) struct Peers<W: World> {
    table: Table<Peer<W>>,
    addresses: Addresses,
    /// The trusted proxy of each connection that comes from one, as long as requests may follow.
    /// They are few: a field in each peer would take memory for all.
    proxied: HashMap<u64, IpAddr>,
    /// The limit of unsent bytes of one peer.
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
    /// When the log may explain TLS on the plain port again.
    next_tls_hint: Option<Instant>,
}

/// Ids of peers with something to do. Ids of peers that are gone are skipped.
#[derive(Debug, Default)]
struct Lists {
    /// Peers with bytes to send.
    to_flush: Vec<u64>,
    /// Peers with a page to send, and a socket that takes more of it.
    bodies: VecDeque<u64>,
    /// Peers that can't receive any more, of which the relay does not know yet.
    departed: Vec<u64>,
    /// Connections that are kept alive, the oldest first.
    kept: Queue,
    /// Those of them that were idle when they were put here; some may not be any more.
    idle: Queue,
}

/// Sums over all peers.
#[derive(Debug, Default)]
struct Sums {
    /// Open WebSockets.
    open: usize,
    /// Connections that are kept alive.
    kept: usize,
    /// Bytes queued since the start; the difference tells what a packet caused.
    queued: u64,
    /// Connections that ended since the last call of `take_ended`.
    ended: usize,
    /// Clients that wait for the master.
    paused: usize,
}

impl<W: World> Peers<W> {
    /// No peers yet. `tls`: peers may use TLS; ids start with this `serial`; one call receives
    /// at most `largest_receive` bytes.
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

    /// Connections that are kept alive for requests, or are being sent a page.
    pub(crate) fn kept(&self) -> usize {
        self.sums.kept
    }

    /// Whether this connection is one of them.
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

    /// The counters of connections since the start.
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

    /// Whether there is already work for the next turn.
    pub(crate) fn has_work(&self) -> bool {
        let lists = [&self.lists.to_flush, &self.lists.departed];
        self.schedule.has_work()
            || !self.lists.bodies.is_empty()
            || lists.iter().any(|list| !list.is_empty())
    }

    /// The next peer that has left, which the relay does not know yet.
    pub(crate) fn next_departed(&mut self) -> Option<u64> {
        self.lists.departed.pop()
    }

    /// How many connections have ended since the last call.
    pub(crate) fn take_ended(&mut self) -> usize {
        std::mem::take(&mut self.sums.ended)
    }

    /// The only way to change a peer: calls `act` with it, and then does what follows from the
    /// change. After that its backlog is within the limit, the sums are right, it is on the
    /// lists on which it has to be, and it is removed if it is over. `None` if the peer is gone.
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

    /// The same without enforcing the memory limit; what enforces it uses this itself.
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
            // Not an arrival if a request was already answered: then it takes turns with others.
            self.schedule.ready(id, &mut peer.standing, after.phase == Phase::Head);
        }
        if before.phase != Phase::Open || after.phase != Phase::Open {
            self.advance(id, before, after);
        }
        Some(result)
    }

    /// What follows from a change of the session's phase, if it has changed. Called only if the
    /// session is not, or was not, an open WebSocket.
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
            // No more requests will follow.
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
                // What it sends is ignored now, but still read, up to the end of its stream.
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

    /// Notes the readiness of a poll event.
    pub(crate) fn note(&mut self, token: usize, readiness: Readiness) {
        if let Some(id) = self.table.id_of_token(token) {
            self.with(id, |peer, _| peer.socket.note(readiness));
        }
    }

    /// Closes a connection, and drops what is queued for it.
    pub(crate) fn cut(&mut self, id: u64, ending: Ending) {
        let now = self.now;
        self.touch(id, |peer, _| cut(peer, ending, now));
    }

    /// Closes a connection after sending what is queued for it.
    pub(crate) fn close(&mut self, id: u64, ending: Ending) {
        let now = self.now;
        self.with(id, |peer, _| peer.session.close(ending, now));
    }

    /// Ends the downloads of pages of all earlier generations.
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

    /// Checks the deadlines of all connections.
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
/// that does not help the peer is dropped, so that nobody has to wait for it.
#[cold]
fn bound_backlog<W: World>(peer: &mut Peer<W>, spares: &mut Spares, limit: usize, now: Instant) {
    // Above the limit the master's clients have to wait. moss's own packets to the master may
    // exceed it, but not without a limit either.
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

/// Logs one line for each connection that ends, with the word for the reason.
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
