//! The poll loop.
//!
//! [`Server::turn`] is one turn of it: the list of jobs, in their order. The clock is read
//! after each wait, and the time passed on as `now`. Only the server holds both the relay and
//! the connections; `serving` passes packets between them.
//!
//! All that the server needs from the operating system goes through one trait, [`World`].
//! [`system`] implements it on the kernel; tests have a simulated implementation.

mod addresses;
mod admission;
mod candidates;
pub mod certificate;
mod counters;
mod heartbeat;
mod listener;
mod memory;
mod peer;
mod peers;
mod pressure;
mod queue;
mod reports;
mod schedule;
mod secrets;
mod serving;
mod signals;
pub mod site;
pub mod socket;
pub mod start;
pub mod system;
pub mod table;
pub mod world;

use std::time::{Duration, Instant};
use std::{io, mem};

use crate::connection::ending::Ending;
use crate::operate::notify::Notice;
use crate::protocol::relay::Relay;
use crate::server::candidates::Candidates;
use crate::server::certificate::Certificate;
use crate::server::counters::Turns;
use crate::server::heartbeat::Heartbeat;
use crate::server::listener::Listener;
use crate::server::peer::Buffers;
use crate::server::peers::Peers;
use crate::server::pressure::Pressure;
use crate::server::reports::Kernel;
use crate::server::site::Site;
use crate::server::world::{Endpoint, Ready, World};
use crate::settings::config::{Config, Limits};

/// The receive buffer that all connections share; one receive takes no more.
const RECEIVE_BYTES: usize = 64 << 10;

/// The most clients that are sent an announcement in one turn.
const TURN_ANNOUNCEMENTS: usize = 256;

/// The resolution of deadlines.
const TICK: Duration = Duration::from_secs(1);

/// A running server.
pub struct Server<W: World> {
    world: W,
    /// Empty once moss is stopping.
    listeners: Vec<Listener>,
    /// For connections at the TLS endpoint.
    certificate: Option<Certificate>,
    site: Option<Site>,
    peers: Peers<W>,
    relay: Relay,
    pressure: Pressure,
    candidates: Candidates,
    config: Config,
    started: Instant,
    next_tick: Instant,
    /// How long moss was suspended in all.
    stood_still: Duration,
    stops_at: Option<Instant>,
    /// Only if there is a watchdog.
    heartbeat: Option<Heartbeat>,
    /// Files are being read again, and the service manager was told so.
    is_reloading: bool,
    turns: Turns,
    kernel: Kernel,
    /// With [`RECEIVE_BYTES`]; empty while peers are served.
    buffers: Buffers,
}

impl<W: World> Server<W> {
    /// A server in a world that already listens; the addresses and files in `config` are not
    /// used. Without a certificate, connections at the TLS endpoint are dropped.
    pub fn new(
        config: Config,
        certificate: Option<Certificate>,
        site: Option<Site>,
        mut world: W,
    ) -> Self {
        let now = world.now();
        let tls = certificate.is_some();
        Self {
            listeners: Endpoint::ALL.map(Listener::new).into(),
            certificate,
            site,
            peers: Peers::new(&config, tls, world.random(), RECEIVE_BYTES, now),
            relay: Relay::new(&config),
            candidates: Candidates::default(),
            pressure: Pressure::new(most_for_master(&config.limits), config.keepalive / 2),
            heartbeat: world.watchdog().map(|interval| Heartbeat::new(interval, now)),
            is_reloading: false,
            world,
            config,
            started: now,
            next_tick: now,
            stood_still: Duration::ZERO,
            stops_at: None,
            turns: Turns::default(),
            kernel: Kernel::default(),
            buffers: Buffers::new(RECEIVE_BYTES),
        }
    }

    /// The limits that are in force.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Tells the service manager that moss is ready, and serves until a signal ends it.
    ///
    /// # Errors
    /// The wait itself fails; no peer can cause that.
    pub fn run(mut self) -> io::Result<()> {
        self.world.notify(Notice::Ready);
        while self.turn()? {}
        Ok(())
    }

    /// One turn of the loop: waits, and then does all jobs. False if it was the last turn.
    ///
    /// # Errors
    /// The wait itself fails; no peer can cause that.
    pub fn turn(&mut self) -> io::Result<bool> {
        let time_out = self.time_out();
        match self.world.wait(time_out) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.peers.now = self.time_after(time_out),
        }
        let mut signal = false;
        self.world.ready(|ready| match ready {
            Ready::Listener(endpoint) => self.listeners.iter_mut().for_each(|listener| {
                if listener.endpoint == endpoint {
                    listener.note();
                }
            }),
            Ready::Signal => signal = true,
            Ready::Stream { token, readiness } => self.peers.note(token, readiness),
        });
        if signal && self.handle_signals() {
            return Ok(false);
        }
        if self.listeners.iter().any(|listener| listener.is_ready(self.peers.now)) {
            self.accept();
        }
        // Taken out, since its bytes are handled by methods that borrow all of `self`.
        let mut buffers = mem::take(&mut self.buffers);
        self.serve_all(&mut buffers);
        self.buffers = buffers;
        self.tick();
        self.read_pages();
        self.notify_manager();
        self.tell_departures();
        self.announce();
        self.peers.flush_all();
        self.peers.send_bodies();
        self.review_pressure();
        self.tell_departures();
        self.wake_listeners();
        if self.config.metrics {
            // The clock is read once more only if metrics are on.
            let began = self.peers.now + self.stood_still;
            self.turns.count(self.world.now().saturating_duration_since(began));
        }
        Ok(!self.is_stopped())
    }

    /// Heap bytes that all sessions hold; `MOSS_MAX_MEMORY_BYTES` bounds them.
    pub fn held(&self) -> usize {
        self.peers.held()
    }

    /// The time after a wait, without the time in which moss was suspended: its machine slept, or
    /// the process was stopped. Peers could not be heard meanwhile, so no deadline counts that
    /// time.
    fn time_after(&mut self, time_out: Option<Duration>) -> Instant {
        let now = self.world.now() - self.stood_still;
        let late = time_out.map_or(Duration::ZERO, |time_out| {
            now.saturating_duration_since(self.peers.now + time_out)
        });
        if late < TICK {
            return now;
        }
        // It is unknown when the suspension began: none of the wait counts.
        self.stood_still += now - self.peers.now;
        self.peers.now
    }

    /// How long the next wait may be, counted from the time of this turn: the clock is read once
    /// a turn, and no deadline is so precise that the length of a turn would matter.
    fn time_out(&self) -> Option<Duration> {
        let now = self.peers.now;
        if self.peers.has_work() || self.relay.has_announcements() || self.is_reading() {
            return Some(Duration::ZERO);
        }
        let tick = (!self.peers.is_empty()).then_some(self.next_tick);
        let accept = self.listeners.iter().filter_map(|listener| listener.next_try(now)).min();
        let times = [tick, accept, self.pressure.deadline(), self.stops_at];
        let next = times.into_iter().flatten().min();
        let next = next.map(|next| next.saturating_duration_since(now));
        let beat = self.heartbeat.as_ref().map(|beat| beat.time_left(now + self.stood_still));
        [next, beat].into_iter().flatten().min()
    }

    fn tick(&mut self) {
        let now = self.peers.now;
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        self.peers.tick(self.config.keepalive);
        while let Some(id) = self.candidates.expire(now) {
            self.peers.close(id, Ending::NotMaster);
        }
        if let Some(generation) = self.site.as_mut().and_then(|site| site.expire(now)) {
            self.peers.end_downloads_before(generation);
        }
    }

    /// Sends some of the pending announcements; not all at once, since peers have to be served
    /// in between.
    fn announce(&mut self) {
        self.relay.announce(TURN_ANNOUNCEMENTS, &mut |delivery| self.peers.deliver(delivery));
    }

    fn tell_departures(&mut self) {
        while let Some(gone) = self.peers.next_departed() {
            self.candidates.remove(gone);
            if self.relay.master() == Some(gone) {
                log::info!("{gone}: the master has left");
            }
            self.relay.leave(gone, &mut |delivery| self.peers.deliver(delivery));
        }
    }

    fn is_stopped(&self) -> bool {
        self.stops_at.is_some_and(|at| self.peers.is_empty() || self.peers.now >= at)
    }
}

/// How many bytes may be unsent to the master before its clients wait: the limit of one peer or,
/// if there is little memory, what leaves room for one more packet and for all other peers.
fn most_for_master(limits: &Limits) -> usize {
    limits.max_backlog_bytes.min((limits.max_memory_bytes - limits.max_packet_bytes) / 2)
}
