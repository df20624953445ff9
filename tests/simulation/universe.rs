//! One simulation: moss, its peers and the network between them, on one clock.
//!
//! The real server runs turn by turn, and makes all its calls to this [`World`]. While it waits
//! in a poll, the others run: the network carries bytes, peers act, faults happen. A turn of moss
//! takes only the time of its calls. After each turn its effects are checked, and from time to
//! time all deadlines.
//!
//! First there are faults and hostile peers; then all is calm, and moss has ten seconds to send
//! all that it owes; then moss has to sleep, and at last to stop.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Once;
use std::time::{Duration, Instant};

use moss::operate::notify::Notice;
use moss::server::Server;
use moss::server::site::Site;
use moss::server::world::{Endpoint, Ready, Signals, World as Seam};
use moss::settings::room::Room;

use crate::judge::{Judge, TURN_FRAMES};
use crate::manager::Manager;
use crate::network::{Event, Link, MILLISECOND, Network, SECOND, Turn};
use crate::pages::Folder;
use crate::peers::{Mail, Peer, World};
use crate::plan::{Fault, Kind, Part, Plan};
use crate::random::Random;
use crate::sealed::{self, Clients, Sealed};
use crate::wire::{Reader, Said};

/// How long moss may take to send all that it owes, once all is calm.
const SETTLING: u64 = 10 * SECOND;

/// The limit of bytes that a turn receives, see moss's schedule: 4 MiB from all ready peers, 1 MiB
/// from new connections, and the rest of one share (1 MiB). With TLS, this number of bytes
/// counts for a frame.
const TURN_BYTES: usize = (4 << 20) + (1 << 20) + (1 << 20) + (128 << 10) + 22 * TURN_FRAMES;
const TURN_ACCEPTS: usize = 256;

/// The limit of handshakes in a turn: each counts for 128 frames.
const TURN_HANDSHAKES: usize = TURN_FRAMES / 128 + 2;

/// The limit of bytes of pages that a turn sends. Shorter sends are queued bytes, not pages.
const TURN_PAGE_BYTES: usize = 1 << 20;
const MOST_QUEUED: usize = 34 << 10;

/// The most memory for a visitor: its answers and its next request, with unused capacity of
/// buffers, and TLS.
const VISITOR_BYTES: usize = 160 << 10;

/// How many turns in a row may make no system call: with a slow master a client's share is as
/// little as 64 bytes a turn, up to 64 KiB are received at a time, and each frame counts when
/// it is received and when it is sent.
const IDLE_TURNS: usize = 4_000;

/// The result of a simulation without a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Simulated time, in microseconds.
    pub(crate) time: u64,
    /// How many packets were passed on.
    pub(crate) passed: u64,
    pub(crate) turns: u64,
    /// A hash of all calls of moss to the network.
    pub(crate) trail: u64,
}

impl Outcome {
    /// Adds the numbers of another simulation.
    pub(crate) fn add(&mut self, other: Self) {
        self.time += other.time;
        self.passed += other.passed;
        self.turns += other.turns;
        self.trail ^= other.trail;
    }
}

/// The stage of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Hostile,
    Calm,
    Sleep,
    Stop,
}

struct Universe {
    plan: Plan,
    network: Network,
    peers: Vec<Peer>,
    /// The peer of each link.
    owners: Vec<usize>,
    mail: Vec<Mail>,
    readers: Vec<Reader>,
    /// The TLS of the links that have it.
    sealed: BTreeMap<usize, Sealed>,
    clients: Clients,
    /// The pages, if any are served.
    folder: Option<Folder>,
    /// The version of the pages that moss is reading.
    reading: Option<usize>,
    judge: Judge,
    manager: Manager,
    stage: Stage,
    stage_began: u64,
    base: Instant,
    /// How far moss's clock is ahead of the network's.
    asleep: u64,
    random: Random,
    next_check: u64,
    turns: u64,
    /// How many turns in a row made no system call.
    idle_turns: usize,
    /// How many turns did nothing in the last three seconds, when there is nothing to do.
    idle_while_asleep: usize,
    /// How many signals to stop moss has got.
    signalled: usize,
    /// Signals to read files again that moss has not handled yet.
    unread: usize,
    traced: bool,
}

/// Runs a plan. Panics when a check fails; `traced` prints all events.
pub(crate) fn run(plan: &Plan, traced: bool) -> Outcome {
    listen_to_the_log();
    LINES.with_borrow_mut(Vec::clear);
    let universe = Rc::new(RefCell::new(Universe::new(plan.clone(), traced)));
    let certificate = plan.has_tls().then(sealed::certificate);
    let kernel = Kernel(Rc::clone(&universe));
    let link = universe.borrow().folder.as_ref().map(|folder| folder.link.clone());
    let site = link.map(|link| {
        Site::load(link, Room::default()).unwrap_or_else(|problem| panic!("{problem}"))
    });
    let mut server = Server::new(plan.settings.config(), certificate, site, kernel);
    while server.turn().expect("the poll never fails") {
        universe.borrow_mut().after_turn(server.held());
    }
    universe.borrow_mut().after_last_turn();
    drop(server);
    let universe = universe.borrow();
    universe.after_all();
    Outcome {
        time: universe.network.now,
        passed: universe.judge.passed,
        turns: universe.turns,
        trail: universe.network.trail,
    }
}

impl Universe {
    fn new(plan: Plan, traced: bool) -> Self {
        let mut random = Random::new(plan.seed);
        let mut network = Network::new(random.next(), plan.odds, plan.most_sockets);
        let peers: Vec<Peer> = plan
            .parts
            .iter()
            .enumerate()
            .map(|(number, &part)| {
                let peer = Peer::new(number, part, plan.settings);
                if plan.steady { peer.steady() } else { peer }
            })
            .collect();
        for (number, peer) in peers.iter().enumerate() {
            network.at(peer.begins_at(), Event::Wake(number));
        }
        for (number, &(at, _)) in plan.faults.iter().enumerate() {
            network.at(at, Event::Fault(number));
        }
        network.at(plan.calm, Event::Stage);
        Self {
            judge: Judge::new(plan.settings, plan.odds, plan.has_tls()),
            network,
            peers,
            owners: Vec::new(),
            mail: Vec::new(),
            readers: Vec::new(),
            sealed: BTreeMap::new(),
            clients: Clients::new(),
            folder: plan.settings.pages.then(Folder::new),
            reading: None,
            manager: Manager::new(plan.watchdog),
            stage: Stage::Hostile,
            stage_began: 0,
            base: Instant::now(),
            asleep: 0,
            random,
            next_check: 0,
            turns: 0,
            idle_turns: 0,
            idle_while_asleep: 0,
            signalled: 0,
            unread: 0,
            traced,
            plan,
        }
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if self.traced {
            eprintln!("{:>12} {}", self.network.now, what());
        }
    }

    /// Runs all events up to a time.
    fn live(&mut self) {
        loop {
            if let Some(link) = self.network.next_notice() {
                let owner = self.owners[link];
                self.with_peer(owner, |peer, world| {
                    if peer.link == Some(link) {
                        peer.runs(world);
                    }
                });
                continue;
            }
            // Sometimes moss runs between two events of the same moment.
            let now = self.network.now;
            let on_time = self.network.next_time().is_some_and(|time| now < time + MILLISECOND);
            if on_time && self.network.has_news() && self.random.is_one_in(3) {
                return;
            }
            let Some(event) = self.network.next_due() else { return };
            if !matches!(event, Event::Carry(..)) {
                self.trace(|| format!("{event:?}"));
            }
            match event {
                Event::Wake(peer) => self.with_peer(peer, Peer::wakes),
                Event::Fault(fault) => self.begin_fault(self.plan.faults[fault].1),
                Event::Stage => self.next_stage(),
                other => self.network.happen(other),
            }
        }
    }

    fn with_peer(&mut self, number: usize, act: impl FnOnce(&mut Peer, &mut World<'_>)) {
        let mut world = World {
            network: &mut self.network,
            judge: &mut self.judge,
            mail: &mut self.mail,
            sealed: &mut self.sealed,
            clients: &self.clients,
            calm: self.stage != Stage::Hostile,
        };
        act(&mut self.peers[number], &mut world);
        // A new connection is the next link.
        while self.owners.len() < self.network.links.len() {
            self.owners.push(number);
            self.mail.push(Mail::new());
            self.readers.push(Reader::default());
        }
    }

    fn begin_fault(&mut self, fault: Fault) {
        self.trace(|| format!("{fault:?}"));
        if self.stage != Stage::Hostile {
            return;
        }
        let now = self.network.now;
        match fault {
            Fault::Stall(peer, len) => {
                if let Some(link) = self.peers[peer].link {
                    self.network.stall(link, now + len);
                }
            }
            Fault::Reset(peer) => {
                if let Some(link) = self.peers[peer].link {
                    self.with_peer(peer, |peer, world| peer.tears(link, world));
                }
            }
            Fault::Away(peer) => self.with_peer(peer, Peer::vanishes),
            Fault::NoSockets(len) => self.network.no_sockets_until = now + len,
            Fault::Busy(len) => self.network.busy_until = now + len,
            Fault::Sleep(len) => {
                self.asleep += len;
                // moss counts none of the wait around it, so its deadlines may be a second late.
                self.judge.lateness += SECOND;
            }
            Fault::Reload => {
                if let Some(folder) = &mut self.folder {
                    folder.change();
                }
                self.network.reload();
            }
        }
    }

    fn next_stage(&mut self) {
        let now = self.network.now;
        self.stage_began = now;
        let (stage, until) = match self.stage {
            Stage::Hostile if self.plan.early => (Stage::Stop, None),
            Stage::Hostile => (Stage::Calm, Some(now + SETTLING)),
            Stage::Calm => (Stage::Sleep, Some(now + 3 * SECOND)),
            Stage::Sleep | Stage::Stop => (Stage::Stop, None),
        };
        self.trace(|| format!("now: {stage:?}"));
        if let Some(until) = until {
            self.network.at(until, Event::Stage);
        }
        match stage {
            Stage::Hostile => {}
            Stage::Calm => {
                self.stage = stage;
                self.network.calm();
                self.judge.calms(now);
                for peer in 0..self.peers.len() {
                    self.with_peer(peer, Peer::calms);
                }
                self.visit(now + SETTLING - SECOND);
            }
            Stage::Sleep => self.judge.settles(&self.network.links, now),
            Stage::Stop => {
                self.judge.rests();
                self.judge.stopping = true;
                self.network.stop();
                if self.plan.twice {
                    self.network.at(now + MILLISECOND, Event::Stage);
                }
            }
        }
        self.stage = stage;
    }

    /// An inspector requests /health when all is calm.
    fn visit(&mut self, at: u64) {
        let number = self.peers.len();
        let (kind, endpoint) = (Kind::Inspector, Endpoint::Plain);
        let part = Part { kind, endpoint, at, much: 0, seed: self.random.next() };
        self.peers.push(Peer::new(number, part, self.plan.settings));
        self.network.at(at, Event::Wake(number));
    }

    fn after_turn(&mut self, held: usize) {
        self.take_lines();
        assert_eq!(self.unread, 0, "a signal to read files again was not handled");
        self.manager.after_turn(self.reading.is_some(), self.signalled > 0);
        self.turns += 1;
        let turn = std::mem::take(&mut self.network.turn);
        let Turn { accepted, receives, bytes, handshakes, page_bytes, .. } = turn;
        assert!(accepted <= TURN_ACCEPTS, "{accepted} accepted in a turn");
        assert!(receives <= TURN_FRAMES, "{receives} receives in a turn");
        assert!(bytes <= TURN_BYTES, "{bytes} bytes received in a turn");
        assert!(page_bytes <= TURN_PAGE_BYTES, "{page_bytes} bytes of pages sent in a turn");
        assert!(handshakes <= TURN_HANDSHAKES, "{handshakes} handshakes begun in a turn");
        let most = self.plan.settings.max_memory;
        assert!(held <= most, "{held} bytes are held; {most} are allowed");
        if self.plan.has_only_visitors() {
            let here = self.network.links.iter().filter(|link| link.is_at_moss()).count();
            assert!(held <= here * VISITOR_BYTES, "{held} bytes are held for {here} visitors");
        }
        self.idle_turns = if turn.is_idle() { self.idle_turns + 1 } else { 0 };
        if self.stage == Stage::Sleep && turn.is_idle() {
            self.idle_while_asleep += 1;
            assert!(self.idle_while_asleep < 20, "moss keeps waking up without work");
        }
        let owes_nothing = self.stage == Stage::Sleep
            && turn.is_idle()
            && self.judge.owes_nothing(&self.network.links);
        if owes_nothing {
            assert_eq!(held, 0, "moss owes nothing, but holds bytes");
        }
        let now = self.network.now;
        self.judge.ends_turn(&self.network.links, now);
        if now >= self.next_check {
            self.next_check = now + SECOND / 4;
            let least = self.judge.least_held(&self.network.links);
            assert!(held >= least, "moss counts {held} bytes, and holds {least} at least");
            self.judge.checks_deadlines(&self.network.links, now);
        }
        if self.signalled > 0 {
            let waited = now - self.stage_began;
            assert!(
                waited <= 3 * SECOND + self.judge.lateness,
                "moss has been stopping for {waited}"
            );
            assert!(self.signalled < 2, "moss goes on after a second signal");
            assert!(!self.network.listening, "moss still listens, though it stops");
            let open = self.network.links.iter().any(Link::is_at_moss);
            assert!(open, "moss goes on, though all connections are gone");
        }
    }

    /// moss may end only if no connection is left, the time is over, or there was a second signal.
    fn after_last_turn(&mut self) {
        self.take_lines();
        let waited = self.network.now - self.stage_began;
        let open = self.network.links.iter().any(Link::is_at_moss);
        assert!(!open || self.signalled > 1 || waited >= 3 * SECOND, "moss ends after {waited}");
    }

    fn after_all(&self) {
        assert_eq!(self.stage, Stage::Stop, "moss has stopped by itself");
        self.judge.stops(&self.network.links, self.plan.twice);
    }

    fn take_lines(&mut self) {
        for line in LINES.take() {
            if line == "the certificate was read again"
                || line.starts_with("SIGHUP: there are no files")
            {
                self.unread = self.unread.checked_sub(1).expect("a signal that asks for it");
            }
            if line == "the pages were read again" {
                let version = self.reading.take().expect("a signal that asks for it");
                self.judge.reloads(version, self.network.now);
            }
            self.trace(|| format!("log: {line}"));
            self.judge.logs(&line, &self.network.links, self.network.now);
        }
    }

    fn wait(&mut self, time_out: Option<Duration>) -> io::Result<()> {
        let network = &mut self.network;
        let wait = time_out.map(|time_out| time_out.as_micros().div_ceil(1_000) as u64 * 1_000);
        assert!(
            wait.is_none()
                || !network.links.is_empty()
                || self.reading.is_some()
                || self.plan.watchdog.is_some(),
            "moss wakes up before anybody has connected"
        );
        assert!(
            self.reading.is_none() || wait == Some(0),
            "moss sleeps while it has files to read"
        );
        assert!(
            wait != Some(0) || self.idle_turns < IDLE_TURNS,
            "too many turns in a row did nothing"
        );
        self.manager.waits(wait);
        if network.is_interrupted() {
            self.judge.begins_turn(network.now);
            return Err(ErrorKind::Interrupted.into());
        }
        let deadline = wait.map(|wait| network.now + wait);
        let before = self.asleep;
        loop {
            self.live();
            if self.network.has_news() || self.asleep > before {
                break;
            }
            match (self.network.next_time(), deadline) {
                (Some(next), deadline) if deadline.is_none_or(|deadline| next <= deadline) => {
                    self.network.now = self.network.now.max(next);
                }
                (_, Some(deadline)) => {
                    self.network.now = self.network.now.max(deadline);
                    break;
                }
                (_, None) => panic!("moss sleeps without a deadline, and no event will come"),
            }
        }
        if wait != Some(0) {
            self.network.now += self.network.lateness();
            self.live();
        }
        self.network.poll();
        self.judge.begins_turn(self.network.now);
        Ok(())
    }

    fn send(&mut self, link: usize, bytes: &[u8]) -> io::Result<usize> {
        self.take_lines();
        let sent = self.network.send(link, bytes.len());
        let count = sent.as_ref().copied().unwrap_or(0);
        self.judge.sent(link, count, bytes.len() - count);
        let count = sent?;
        let end = self.network.links[link].sent;
        if bytes.len() > MOST_QUEUED && self.judge.is_visitor(link) {
            self.network.turn.page_bytes += count;
        }
        let Some(sealed) = self.sealed.get_mut(&link) else {
            self.tell(link, &bytes[..count], end);
            return Ok(count);
        };
        let opened = sealed.opens(&bytes[..count], end);
        for plain in opened {
            self.judge.opens_record(link);
            self.tell(link, &plain, end);
        }
        Ok(count)
    }

    /// Passes to the judge what moss has sent, and to the peer what it has read.
    fn tell(&mut self, link: usize, plain: &[u8], end: u64) {
        self.readers[link].push(plain);
        while let Some(message) = self.readers[link].next(self.judge.is_head(link)) {
            self.trace(|| format!("{link} is told {message:.200?}"));
            self.judge.said(link, &message, &self.network.links, self.network.now);
            if !matches!(message, Said::Page(_)) {
                self.mail[link].push_back((end, message));
            }
        }
    }

    fn shut_down(&mut self, link: usize) -> io::Result<()> {
        self.take_lines();
        if let Some(sealed) = self.sealed.get(&link) {
            self.judge.shuts_down(link, sealed, &self.network.links[link]);
        }
        self.network.shut_down(link)
    }
}

/// The world that moss calls.
struct Kernel(Rc<RefCell<Universe>>);

/// moss's side of a connection.
struct Stream {
    universe: Rc<RefCell<Universe>>,
    link: usize,
}

impl Seam for Kernel {
    type Stream = Stream;

    fn now(&self) -> Instant {
        let mut universe = self.0.borrow_mut();
        let now = universe.network.now + universe.asleep;
        universe.manager.asked_at = now;
        universe.base + Duration::from_micros(now)
    }

    fn wait(&mut self, time_out: Option<Duration>) -> io::Result<()> {
        self.0.borrow_mut().wait(time_out)
    }

    fn ready(&self, note: impl FnMut(Ready)) {
        let ready = self.0.borrow().network.ready();
        ready.into_iter().for_each(note);
    }

    fn accept(&mut self, endpoint: Endpoint) -> io::Result<(Stream, IpAddr)> {
        let (link, address) = self.0.borrow_mut().network.accept(endpoint)?;
        Ok((Stream { universe: Rc::clone(&self.0), link }, address))
    }

    fn register(&mut self, stream: &mut Stream, token: usize) -> io::Result<()> {
        let mut universe = self.0.borrow_mut();
        universe.trace(|| format!("{} is {token}", stream.link));
        universe.network.register(stream.link, token);
        let Universe { judge, network, .. } = &mut *universe;
        judge.registers(stream.link, token, &network.links);
        Ok(())
    }

    fn shut_down(stream: &Stream) -> io::Result<()> {
        stream.universe.borrow_mut().shut_down(stream.link)
    }

    fn limit_send_buffer(stream: &Stream, bytes: usize) -> io::Result<()> {
        stream.universe.borrow_mut().network.limit_send_buffer(stream.link, bytes);
        Ok(())
    }

    fn stop_listening(&mut self) {
        self.0.borrow_mut().network.stop_listening();
    }

    fn signals(&mut self) -> Signals {
        let mut universe = self.0.borrow_mut();
        let signals = std::mem::take(&mut universe.network.signals);
        universe.signalled += signals.stop;
        if signals.reload > 0 {
            let version = universe.folder.as_ref().map(|folder| folder.version);
            // A version that is being read is given up for the newer one.
            universe.reading = version;
            universe.unread += usize::from(version.is_none() || universe.plan.has_tls());
        }
        signals
    }

    fn notify(&mut self, notice: Notice) {
        let mut universe = self.0.borrow_mut();
        universe.take_lines();
        universe.trace(|| format!("notice: {notice:?}"));
        let (reads, stops) = (universe.reading.is_some(), universe.signalled > 0);
        universe.manager.hears(notice, reads, stops);
    }

    fn watchdog(&self) -> Option<Duration> {
        self.0.borrow().manager.interval.map(Duration::from_micros)
    }

    fn random(&mut self) -> u64 {
        self.0.borrow_mut().random.next()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut universe = self.universe.borrow_mut();
        let received = universe.network.receive(self.link, buffer);
        universe.trace(|| format!("{} is heard: {received:?} of {}", self.link, buffer.len()));
        received
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.universe.borrow_mut().send(self.link, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A socket reports its error only once.
        if std::thread::panicking() {
            return;
        }
        let mut universe = self.universe.borrow_mut();
        universe.take_lines();
        universe.network.drop_stream(self.link);
        let Universe { judge, network, .. } = &mut *universe;
        judge.drops(self.link, &network.links, network.now);
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "link {}", self.link)
    }
}

thread_local! {
    /// The log lines since the last check.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A logger that keeps moss's lines, separately for each thread and its simulation.
struct Listener;

impl log::Log for Listener {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("moss")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn listen_to_the_log() {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Listener).expect("no other log");
        log::set_max_level(log::LevelFilter::Debug);
    });
}
