//! The poll loop: everything that happens, happens in a turn of it.
//!
//! `Server::turn` reads as the list of a turn's jobs, in their order. This file owns
//! the poll, the signals and the clock (`now` is asked for after each poll and handed
//! down), and decides who is read. It alone holds both the relay and the connections, and
//! carries packets from one to the others.

mod listener;
mod peer;
mod peers;
mod pressure;
pub mod socket;
pub mod table;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::connection::session::Event;
use crate::http::answer::{self, Health};
use crate::protocol::relay::Relay;
use crate::server::listener::Listener;
use crate::server::peers::Peers;
use crate::server::pressure::{Pressure, Verdict};
use crate::server::table::FIRST_FREE_TOKEN;
use crate::settings::config::{Config, HEAD_RESERVE};

/// Frames that a peer may have handled in one turn.
const TURN_FRAMES: usize = 1024;

/// Bytes that a peer may send, and cause to be sent, in one turn.
const TURN_BYTES: u64 = 1 << 20;

/// The receive buffer that all connections share; one receive takes no more.
const RECEIVE_BYTES: usize = 64 << 10;

/// Connections accepted in one turn.
const TURN_ACCEPTS: usize = 256;

/// How long the peers have to answer the Close when moss stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Deadlines have a grain of a second.
const TICK: Duration = Duration::from_secs(1);

const LISTENER: Token = Token(FIRST_FREE_TOKEN);
const SIGNALS: Token = Token(FIRST_FREE_TOKEN + 1);

/// A moss that listens.
pub struct Server {
    poll: Poll,
    signals: Signals,
    /// Gone once moss is stopping.
    listener: Option<Listener>,
    peers: Peers,
    relay: Relay,
    pressure: Pressure,
    config: Config,
    started: Instant,
    next_tick: Instant,
    stops_at: Option<Instant>,
}

impl Server {
    /// Listens, and catches SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// The address can't be listened on, or the system gives no poll or no signals.
    pub fn bind(config: Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let listener = Listener::bind(config.listen, poll.registry(), LISTENER)?;
        let now = Instant::now();
        Ok(Self {
            poll,
            signals,
            listener: Some(listener),
            peers: Peers::new(config.limits.clone(), now),
            relay: Relay::new(&config),
            pressure: Pressure::new(config.limits.max_backlog_bytes, config.keepalive / 2),
            config,
            started: now,
            next_tick: now,
            stops_at: None,
        })
    }

    /// Where moss listens.
    ///
    /// # Errors
    /// The kernel does not tell, or moss is stopping.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?.address()
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// The poll itself fails; no peer can bring that about.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; RECEIVE_BYTES];
        while self.turn(&mut events, &mut buffer)? {}
        Ok(())
    }

    /// One turn of the loop. False if it was the last.
    fn turn(&mut self, events: &mut Events, buffer: &mut [u8]) -> io::Result<bool> {
        match self.poll.poll(events, self.time_out(Instant::now())) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.peers.now = Instant::now(),
        }
        for event in &*events {
            match event.token() {
                LISTENER => self.listener.iter_mut().for_each(Listener::note),
                SIGNALS if self.stop_again() => return Ok(false),
                SIGNALS => {}
                _ => self.peers.note(event),
            }
        }
        self.accept();
        for id in self.peers.take_ready() {
            self.serve(id, buffer);
        }
        self.tick();
        self.tell_departures();
        self.peers.flush_all();
        self.review_pressure();
        self.tell_departures();
        self.wake_listener();
        Ok(!self.is_stopped())
    }

    /// How long the next poll may wait.
    fn time_out(&self, now: Instant) -> Option<Duration> {
        if self.peers.has_work() {
            return Some(Duration::ZERO);
        }
        let tick = (!self.peers.is_empty()).then_some(self.next_tick);
        let accept = self.listener.as_ref().and_then(|listener| listener.next_try(now));
        let times = [tick, accept, self.pressure.deadline(), self.stops_at];
        let next = times.into_iter().flatten().min()?;
        // The kernel counts milliseconds, and mio rounds up: never too early.
        Some(next.saturating_duration_since(now))
    }

    fn accept(&mut self) {
        let now = self.peers.now;
        let Some(listener) = self.listener.as_mut().filter(|listener| listener.is_ready(now))
        else {
            return;
        };
        for _ in 0..TURN_ACCEPTS {
            if self.peers.len() >= self.config.limits.max_connections + HEAD_RESERVE {
                return listener.rest(now);
            }
            match listener.accept(now) {
                Some(stream) => self.peers.accept(stream, self.poll.registry()),
                None => return,
            }
        }
    }

    /// Receives from one peer and handles what it says, up to its budget.
    fn serve(&mut self, id: u64, buffer: &mut [u8]) {
        if !self.peers.begin(id) {
            return;
        }
        let now = self.peers.now;
        let mut budget = Budget { frames: TURN_FRAMES, bytes: TURN_BYTES };
        // Asked again after each packet: else each newcomer could log in and add a whole
        // receive to the backlog of a master that does not keep up.
        let mut waits = self.must_wait(id);
        while !waits && !budget.is_spent() {
            let Some((received, mut input)) = self.peers.receive(id, buffer) else { break };
            budget.spend(0, received as u64);
            while !waits && !budget.is_spent() {
                let config = &self.config;
                let next =
                    self.peers.with(id, |peer, _| peer.session.next(&mut input, config, now));
                let Some(Some(event)) = next else { break };
                let before = self.peers.queued();
                self.handle(id, event);
                budget.spend(1, self.peers.queued() - before);
                waits = self.must_wait(id);
            }
            self.peers.put_back(id, input, waits || budget.is_spent());
        }
        if waits {
            self.peers.wait(id);
        } else {
            self.peers.finish(id);
        }
    }

    fn handle(&mut self, id: u64, event: Event<'_>) {
        // Nobody must meet a master, or a client, that has gone.
        self.tell_departures();
        match event {
            Event::Text(text) => self.relay(id, &text),
            // What is no UTF-8 is no packet, and neither is an empty text.
            Event::Binary(payload) => self.relay(id, str::from_utf8(&payload).unwrap_or_default()),
            Event::Upgrade(response) => {
                if self.peers.open() < self.config.limits.max_connections {
                    self.peers.with(id, |peer, _| peer.session.open(&response));
                } else {
                    self.answer(id, &answer::full_house());
                }
            }
            Event::Health => {
                let health = Health {
                    uptime_seconds: (self.peers.now - self.started).as_secs(),
                    connections: self.peers.open(),
                    clients: self.relay.clients().len(),
                    master: self.relay.master().is_some(),
                };
                self.answer(id, &answer::health(&health));
            }
            Event::Handled => {}
        }
    }

    /// Sends an HTTP answer, and ends.
    fn answer(&mut self, id: u64, answer: &[u8]) {
        let now = self.peers.now;
        self.peers.with(id, |peer, _| peer.session.answer(answer, now));
    }

    fn relay(&mut self, sender: u64, text: &str) {
        let before = self.relay.master();
        self.relay.handle(sender, text, &mut |delivery| self.peers.deliver(delivery));
        match self.relay.master() {
            master if master == before => {}
            Some(_) => {
                log::info!("{sender} is master now; clients: {}", self.relay.clients().len());
            }
            None => log::warn!("{sender}: the master sent too many wrong secrets: dropped"),
        }
    }

    /// Whether this is a client, and clients have to wait for the master.
    fn must_wait(&mut self, id: u64) -> bool {
        let master = self.master_backlog();
        self.pressure.holds(master, self.peers.now) && self.relay.is_client(id)
    }

    fn master_backlog(&self) -> Option<(u64, usize)> {
        self.relay.master().map(|master| (master, self.peers.backlog(master)))
    }

    fn review_pressure(&mut self) {
        match self.pressure.review(self.master_backlog(), self.peers.now) {
            Verdict::Unchanged => {}
            Verdict::Release(held_back) => {
                let now = self.peers.now;
                let clients: Vec<u64> = self.relay.clients().collect();
                for client in clients {
                    self.peers.with(client, |peer, _| peer.session.excuse(held_back, now));
                }
                self.peers.release();
            }
            Verdict::Drop(master) => {
                log::warn!("{master}: the master does not keep up with its clients: dropped");
                self.peers.cut(master, "reads too slowly");
            }
        }
    }

    fn tick(&mut self) {
        let now = self.peers.now;
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        let held_back = |id| self.pressure.is_on() && self.relay.is_client(id);
        self.peers.tick(self.config.keepalive, held_back);
    }

    fn tell_departures(&mut self) {
        while let Some(gone) = self.peers.next_departed() {
            if self.relay.master() == Some(gone) {
                log::info!("{gone}: the master has left");
            }
            self.relay.leave(gone, &mut |delivery| self.peers.deliver(delivery));
        }
    }

    /// Where a connection has ended there is room for another.
    fn wake_listener(&mut self) {
        if self.peers.take_ended() > 0
            && let Some(listener) = &mut self.listener
        {
            listener.wake(self.peers.now);
        }
    }

    /// A signal came. True if it is the second one.
    fn stop_again(&mut self) -> bool {
        for _ in self.signals.pending() {
            if self.stops_at.is_some() {
                return true;
            }
            log::info!("stopping");
            self.stops_at = Some(self.peers.now + STOP_TIMEOUT);
            self.listener = None;
            self.peers.close_all(1001, "moss is stopping");
        }
        false
    }

    fn is_stopped(&self) -> bool {
        self.stops_at.is_some_and(|at| self.peers.is_empty() || self.peers.now >= at)
    }
}

/// What is left for a peer in this turn.
#[derive(Debug)]
struct Budget {
    frames: usize,
    bytes: u64,
}

impl Budget {
    fn spend(&mut self, frames: usize, bytes: u64) {
        self.frames = self.frames.saturating_sub(frames);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_spent(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }
}
