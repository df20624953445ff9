//! The plan of a seed: settings, peers with their connections, faults, and the duration.
//!
//! All random decisions about a simulation are made here, and each peer has a seed of its own.
//! So a plan that fails can lose a peer, a fault or some time, and the rest still happens much
//! as before ([`Plan::smaller`]).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use moss::server::world::Endpoint;
use moss::settings::config::{Config, Secret};
use moss::settings::networks::Networks;
use moss::tls;

use crate::network::{MILLISECOND, Odds, SECOND};
use crate::random::Random;

/// The secrets of masters and of clients.
pub(crate) const SECRET: &str = "only-the-simulation-knows";
pub(crate) const LOGIN_SECRET: &str = "the-code-on-the-label";

/// The trusted proxies, and one of them.
const PROXIES: &str = "172.16.0.0/12";
pub(crate) const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1));

/// The settings of moss that matter here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) max_connections: usize,
    pub(crate) per_address: Option<usize>,
    pub(crate) max_packet: usize,
    pub(crate) max_backlog: usize,
    pub(crate) max_memory: usize,
    /// In microseconds.
    pub(crate) keepalive: u64,
    pub(crate) login_secret: bool,
    /// The optional packets about clients and masters have types.
    pub(crate) notices: bool,
    /// Pages are served.
    pub(crate) pages: bool,
}

/// The kind of a peer. The first four are honest: moss may drop them only for lack of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends the master numbered packets.
    Client,
    /// Sends set-master, answers packets, and sends some of its own.
    Master,
    /// Pings.
    Guest,
    /// Requests /health, or a path that does not exist.
    Visitor,
    /// A client that floods.
    Flooder,
    /// A client that floods a slow master without a pause, to get its share.
    Share,
    /// A master that reads slowly.
    SlowMaster,
    /// A master that stops reading.
    DeadMaster,
    /// Floods with pings and reads the pongs.
    Pinger,
    /// A client that logs in repeatedly.
    Returner,
    /// Becomes master repeatedly.
    Usurper,
    /// Causes answers that it does not read.
    Stalled,
    /// The same, reading a little.
    Trickler,
    /// Sends an incomplete frame, and then nothing, or a byte at a time.
    Hoarder,
    /// Guesses secrets.
    Guesser,
    /// Violates RFC 6455.
    Breaker,
    /// Violates HTTP.
    BadVisitor,
    /// Violates TLS, or never finishes its handshake.
    BadTls,
    /// Sends a long first message of TLS, incomplete.
    HelloHoarder,
    /// Sends plain HTTP to the TLS port, or TLS to the plain port.
    Stranger,
    /// Never finishes its request head.
    Dripper,
    /// Sends messages that are not packets.
    Rubbish,
    /// Sends nothing after its upgrade or login, not even a pong.
    Mute,
    /// Does not close a connection that moss has closed.
    Clinger,
    /// A client that the master kicks.
    Nuisance,
    /// Requests pages, one after the other or several at once, and perhaps then a WebSocket.
    Browser,
    /// Reads large pages slowly.
    Dawdler,
    /// Requests large pages, or many small ones, and stops reading.
    Stopper,
    /// Compares /health with what the judge knows, when all is calm.
    Inspector,
}

const HOSTILE: [Kind; 16] = [
    Kind::Flooder,
    Kind::Pinger,
    Kind::Returner,
    Kind::Usurper,
    Kind::Stalled,
    Kind::Trickler,
    Kind::Hoarder,
    Kind::Guesser,
    Kind::Breaker,
    Kind::BadVisitor,
    Kind::Dripper,
    Kind::Rubbish,
    Kind::Mute,
    Kind::Clinger,
    Kind::Nuisance,
    Kind::DeadMaster,
];

/// A peer: its start time, and the seed of its actions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) endpoint: Endpoint,
    pub(crate) at: u64,
    /// The number of messages, if it floods.
    pub(crate) much: u64,
    pub(crate) seed: u64,
}

/// A fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing is carried on a peer's connection for this time.
    Stall(usize, u64),
    /// A peer's connection is reset.
    Reset(usize),
    /// A peer's host vanishes for good.
    Away(usize),
    /// There are no descriptors for this time.
    NoSockets(u64),
    /// moss gets no processor for this time.
    Busy(u64),
    /// The machine sleeps for this time: only moss's clock goes on.
    Sleep(u64),
    /// A signal makes moss read its files again.
    Reload,
}

/// One simulation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) odds: Odds,
    pub(crate) most_sockets: usize,
    pub(crate) parts: Vec<Part>,
    pub(crate) faults: Vec<(u64, Fault)>,
    /// When faults and hostile acts end, in microseconds.
    pub(crate) calm: u64,
    /// moss gets a second signal to stop, soon after the first.
    pub(crate) twice: bool,
    /// moss is stopped before all is calm.
    pub(crate) early: bool,
    /// Peers stay connected, and act without a pause.
    pub(crate) steady: bool,
    /// The interval of the watchdog, in microseconds.
    pub(crate) watchdog: Option<u64>,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings::new(&mut random);
        let calm = random.between(5, 40) * SECOND;
        let mut plan = Self {
            seed,
            settings,
            odds: odds(&mut random),
            most_sockets: settings.max_connections + 20,
            parts: Vec::new(),
            faults: Vec::new(),
            calm,
            twice: random.is_one_in(8),
            early: random.is_one_in(8),
            steady: false,
            watchdog: None,
        };
        match random.below(10) {
            0 => plan.crowd_of_one_kind(&mut random),
            1 => plan.slow_master(&mut random),
            2 => plan.full_server(&mut random),
            3 => plan.rush(&mut random),
            4 => plan.handover(&mut random),
            _ => plan.mixture(&mut random),
        }
        plan.add_faults(&mut random);
        if tls::AVAILABLE {
            // With its own random numbers, so that the rest of a plan is the same with and without.
            plan.add_tls(&mut Random::new(!seed));
        }
        plan.add_pages(&mut Random::new(seed.rotate_left(24)));
        let mut random = Random::new(seed.rotate_left(40));
        plan.watchdog = random.is_one_in(4).then(|| random.between(SECOND / 2, 5 * SECOND));
        plan
    }

    /// Clients with a packet a second each, for some time, without faults.
    pub(crate) fn quiet(clients: usize, seconds: u64) -> Self {
        let mut random = Random::new(1);
        let mut plan = Self {
            seed: 0,
            settings: Settings::usual(),
            odds: Odds::default(),
            most_sockets: 1_000,
            parts: Vec::new(),
            faults: Vec::new(),
            calm: seconds * SECOND,
            twice: false,
            early: false,
            steady: true,
            watchdog: None,
        };
        plan.add(Kind::Master, 1, &mut random);
        plan.add(Kind::Client, clients, &mut random);
        plan
    }

    /// A plan with only floods.
    pub(crate) fn flood(clients: usize, seconds: u64) -> Self {
        let mut plan = Self::quiet(0, seconds);
        plan.add(Kind::Flooder, clients, &mut Random::new(2));
        plan
    }

    /// A slow master, and clients that flood it: two more of them every three seconds.
    pub(crate) fn newcomers(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Self::quiet(0, 20);
        plan.parts.clear();
        plan.settings.max_packet = 1_000;
        plan.add(Kind::SlowMaster, 1, &mut random);
        for number in 0..10 {
            let at = SECOND + random.between(0, 1_000) + number / 2 * 3 * SECOND;
            let much = u64::MAX;
            plan.push(Kind::Share, at, much, &mut random);
        }
        plan
    }

    /// Honest peers, and a few of any other kind.
    fn mixture(&mut self, random: &mut Random) {
        let masters = random.pick(&[1, 1, 1, 2, 3]);
        self.add(Kind::Master, masters, random);
        let clients = random.below(12);
        self.add(Kind::Client, clients, random);
        let others = random.below(3);
        self.add(Kind::Guest, others, random);
        self.add(Kind::Visitor, others, random);
        for _ in 0..random.below(10) {
            let kind = random.pick(&HOSTILE);
            self.add(kind, 1, random);
        }
    }

    /// Honest peers beside many of one other kind.
    fn crowd_of_one_kind(&mut self, random: &mut Random) {
        self.calm = self.calm.min(15 * SECOND);
        self.add(Kind::Master, 1, random);
        self.add(Kind::Client, 4, random);
        self.add(Kind::Visitor, 2, random);
        let hoarders = random.is_one_in(4);
        let kind = if hoarders { Kind::Hoarder } else { random.pick(&HOSTILE) };
        let count = random.pick(&[20, 40, 150]);
        let count = match kind {
            Kind::Hoarder => 150,
            Kind::Usurper | Kind::Flooder | Kind::Returner | Kind::DeadMaster => count.min(20),
            _ => count,
        };
        self.add(kind, count, random);
    }

    /// Clients that flood a slow master for their shares.
    fn slow_master(&mut self, random: &mut Random) {
        if random.is_one_in(2) {
            // Small packets, so that shares can be checked over short spans.
            self.settings = Settings::for_packets(1_000, random);
        }
        // Long enough for silent peers to be dropped.
        let (keepalive, longest) = random.pick(&[(2, 20), (6, 8), (30, 8)]);
        self.settings.keepalive = keepalive * SECOND;
        self.calm = self.calm.min(longest * SECOND);
        // After a partial receive a client has nothing to send for a moment, and loses its turn.
        self.odds.partial = 0;
        self.add(Kind::SlowMaster, 1, random);
        let shares = random.pick(&[2, 2, 3, 3, 6, 20]);
        for _ in 0..shares {
            let much = u64::MAX;
            self.push(Kind::Share, SECOND, much, random);
        }
        let clients = random.below(3);
        self.add(Kind::Client, clients, random);
        if random.is_one_in(2) {
            let kinds = [Kind::Hoarder, Kind::Guest, Kind::Pinger, Kind::Stalled, Kind::Nuisance];
            let kind = random.pick(&kinds);
            self.add(kind, 8, random);
        }
        if random.is_one_in(2) {
            self.add(Kind::Mute, 3, random);
        }
    }

    /// Clients flood a master that does not read, until another takes its place.
    fn handover(&mut self, random: &mut Random) {
        self.calm = self.calm.min(12 * SECOND);
        self.settings.keepalive = random.pick(&[5, 30]) * SECOND;
        let count = random.between(1, 3) as usize;
        self.add(Kind::DeadMaster, count, random);
        self.add(Kind::Flooder, 3, random);
        self.add(Kind::Client, 6, random);
        self.add(Kind::Guest, 3, random);
        for _ in 0..2 {
            let at = random.between(self.calm / 4, self.calm);
            self.push(Kind::Master, at, 0, random);
        }
    }

    /// More peers than there are places.
    fn full_server(&mut self, random: &mut Random) {
        self.settings.max_connections = random.between(1, 8) as usize;
        self.most_sockets = self.settings.max_connections + random.pick(&[20, 20, 4]);
        self.settings.per_address = random.pick(&[None, None, Some(2), Some(5)]);
        let masters = random.pick(&[0, 2, 2]);
        self.add(Kind::Master, masters, random);
        self.add(Kind::Client, 12, random);
        self.add(Kind::Visitor, 6, random);
        let kinds = [Kind::Dripper, Kind::Mute, Kind::Clinger, Kind::Guest, Kind::BadVisitor];
        for _ in 0..3 {
            let kind = random.pick(&kinds);
            self.add(kind, 8, random);
        }
    }

    /// Many peers that connect at once, while moss is busy.
    fn rush(&mut self, random: &mut Random) {
        self.calm = self.calm.min(8 * SECOND);
        self.add(Kind::Master, 1, random);
        self.add(Kind::Client, 4, random);
        let kinds = [Kind::Pinger, Kind::Pinger, Kind::Rubbish, Kind::Returner, Kind::Visitor];
        let kind = random.pick(&kinds);
        let count = if kind == Kind::Visitor { 350 } else { random.pick(&[120, 300]) };
        for _ in 0..count {
            self.push(kind, SECOND, 400, random);
        }
        for _ in 0..3 {
            let busy = random.between(20, 200) * MILLISECOND;
            let at = SECOND + random.between(0, 100) * MILLISECOND;
            self.faults.push((at, Fault::Busy(busy)));
        }
    }

    fn add(&mut self, kind: Kind, count: usize, random: &mut Random) {
        for _ in 0..count {
            let at = random.between(0, self.calm / 2);
            let early = matches!(kind, Kind::Master | Kind::SlowMaster | Kind::DeadMaster)
                || random.is_one_in(2);
            let at = if early { at / 8 } else { at };
            let much = random.pick(&[100, 1_000, 10_000]) / count as u64;
            self.push(kind, at, much.max(50), random);
        }
    }

    fn push(&mut self, kind: Kind, at: u64, much: u64, random: &mut Random) {
        self.parts.push(Part { kind, endpoint: Endpoint::Plain, at, much, seed: random.next() });
    }

    /// In some plans, some peers use TLS, and a few violate it. A handshake takes long to
    /// simulate, so they are never very many.
    fn add_tls(&mut self, random: &mut Random) {
        let with_tls = random.is_one_in(6);
        for _ in 0..random.pick(&[0, 0, 0, 0, 1, 3]) {
            self.faults.push((random.between(0, self.calm), Fault::Reload));
        }
        if !with_tls {
            return;
        }
        let odds = random.pick(&[1, 2, 2, 8]);
        let few = self.parts.len() < 40;
        for part in &mut self.parts {
            if random.is_one_in(if few { odds } else { 8 * odds }) {
                part.endpoint = Endpoint::Tls;
            }
        }
        let count = random.pick(&[0, 1, 4, 12]);
        self.add(Kind::BadTls, count, random);
        let count = random.pick(&[0, 0, 2]);
        self.add(Kind::Stranger, count, random);
        if self.parts.len() < 250 {
            match random.below(16) {
                0 => self.add(Kind::BadTls, 60, random),
                1 | 2 => self.add(Kind::HelloHoarder, 100, random),
                // All at once.
                3 => (0..80).for_each(|_| {
                    let kind = random.pick(&[Kind::BadTls, Kind::Guest]);
                    self.push(kind, SECOND, 0, random);
                }),
                _ => {}
            }
        }
        let hoarders = random.is_one_in(2);
        for part in &mut self.parts {
            match part.kind {
                Kind::BadTls | Kind::HelloHoarder => part.endpoint = Endpoint::Tls,
                Kind::Hoarder if hoarders => part.endpoint = Endpoint::Tls,
                Kind::Stranger => part.endpoint = random.pick(&Endpoint::ALL),
                Kind::Guest if part.at == SECOND => part.endpoint = Endpoint::Tls,
                _ => {}
            }
        }
    }

    /// In some plans pages are served and requested; in a few, peers request only pages.
    fn add_pages(&mut self, random: &mut Random) {
        if !random.is_one_in(4) {
            return;
        }
        self.settings.pages = true;
        if random.is_one_in(4) {
            self.parts.clear();
            self.faults.clear();
        }
        let first = self.parts.len();
        let (browsers, slow) = random.pick(&[(4, 1), (4, 1), (12, 4), (20, 20), (120, 2)]);
        let full = self.settings.max_connections < 100;
        let (browsers, slow) = if full { (12, 6) } else { (browsers, slow) };
        self.add(Kind::Browser, browsers, random);
        for _ in 0..slow {
            let kind = random.pick(&[Kind::Dawdler, Kind::Stopper]);
            self.add(kind, 1, random);
        }
        if random.is_one_in(4) {
            // All at once.
            self.parts[first..].iter_mut().for_each(|part| part.at = SECOND);
        }
        for _ in 0..random.pick(&[0, 1, 1, 4]) {
            self.faults.push((random.between(0, self.calm), Fault::Reload));
        }
        for _ in 0..random.pick(&[0, 0, 6]) {
            let peer = first + random.below(self.parts.len() - first);
            let fault = random.pick(&[
                Fault::Reset(peer),
                Fault::Away(peer),
                Fault::Stall(peer, (self.settings.keepalive / 2).min(5 * SECOND)),
            ]);
            self.faults.push((random.between(0, self.calm), fault));
        }
        if tls::AVAILABLE && browsers < 100 && random.is_one_in(4) {
            let new = &mut self.parts[first..];
            new.iter_mut().for_each(|part| part.endpoint = random.pick(&Endpoint::ALL));
        }
    }

    /// Whether all peers request only pages, so that moss holds little.
    pub(crate) fn has_only_visitors(&self) -> bool {
        let kinds = [Kind::Browser, Kind::Dawdler, Kind::Stopper, Kind::Inspector];
        self.parts.iter().all(|part| kinds.contains(&part.kind))
    }

    /// Whether moss has a certificate, for peers that use TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.parts.iter().any(|part| part.endpoint == Endpoint::Tls || part.kind == Kind::Stranger)
    }

    fn add_faults(&mut self, random: &mut Random) {
        for _ in 0..random.pick(&[0, 0, 3, 12]) {
            let peer = random.below(self.parts.len());
            // Clients that share a slow master must always have something to send.
            if matches!(self.parts[peer].kind, Kind::Share | Kind::SlowMaster) {
                continue;
            }
            // A short time: an honest peer must still answer moss's pings in time.
            let stall = random.between(1, self.settings.keepalive / (10 * MILLISECOND));
            let fault = match random.below(8) {
                0 => Fault::Reset(peer),
                1 => Fault::Away(peer),
                2 => Fault::NoSockets(random.between(1, 2_000) * MILLISECOND),
                3 => Fault::Sleep(600 * SECOND),
                _ => Fault::Stall(peer, stall * MILLISECOND),
            };
            self.faults.push((random.between(0, self.calm), fault));
        }
    }

    /// Plans that are a little smaller than this one, the smallest first.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut push = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            plans.push(plan);
        };
        let count = self.parts.len();
        for size in [count / 2, count / 4, 1] {
            for first in (0..count).step_by(size.max(1)).filter(|_| size > 0) {
                // Faults refer to peers by number, and the numbers change.
                push(&|plan| {
                    let end = count.min(first + size);
                    plan.parts.drain(first..end);
                    plan.faults.retain(|(_, fault)| {
                        !matches!(fault, Fault::Stall(..) | Fault::Reset(_) | Fault::Away(_))
                    });
                });
            }
        }
        for fault in 0..self.faults.len() {
            push(&|plan| {
                plan.faults.remove(fault);
            });
        }
        push(&|plan| {
            let kinds = [Kind::BadTls, Kind::HelloHoarder, Kind::Stranger];
            plan.parts.retain(|part| !kinds.contains(&part.kind));
            plan.parts.iter_mut().for_each(|part| part.endpoint = Endpoint::Plain);
            plan.faults.retain(|(_, fault)| match fault {
                Fault::Stall(peer, _) | Fault::Reset(peer) | Fault::Away(peer) => {
                    *peer < plan.parts.len()
                }
                _ => true,
            });
        });
        let few = if count < 40 { count } else { 0 };
        for part in (0..few).filter(|&part| self.parts[part].endpoint == Endpoint::Tls) {
            if matches!(self.parts[part].kind, Kind::BadTls | Kind::HelloHoarder) {
                continue;
            }
            push(&|plan| plan.parts[part].endpoint = Endpoint::Plain);
        }
        push(&|plan| plan.watchdog = None);
        if self.calm > 2 * SECOND {
            push(&|plan| plan.calm /= 2);
        }
        for odd in 0..5 {
            push(&|plan| *plan.odds.each()[odd] = 0);
        }
        plans.retain(|plan| plan.size() < self.size());
        plans
    }

    /// The size of the plan.
    fn size(&self) -> u64 {
        let mut odds = self.odds;
        let odds = odds.each().iter().filter(|odds| ***odds > 0).count();
        let tls = self.parts.iter().filter(|part| part.endpoint == Endpoint::Tls).count();
        (self.parts.len() + self.faults.len() + odds) as u64 * 1_000
            + tls as u64 * 100
            + u64::from(self.watchdog.is_some()) * 10
            + self.calm / SECOND
    }
}

/// Printed with one item a line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.settings)?;
        writeln!(f, "{:?}, {} sockets at most", self.odds, self.most_sockets)?;
        for (number, part) in self.parts.iter().enumerate() {
            writeln!(f, "peer {number}: {part:?}")?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "at {at}: {fault:?}")?;
        }
        writeln!(f, "calm at {}; twice: {}, early: {}", self.calm, self.twice, self.early)?;
        write!(f, "watchdog: {:?}", self.watchdog)
    }
}

impl Settings {
    fn new(random: &mut Random) -> Self {
        let max_packet = random.pick(&[128, 1_000, 16 << 10, 256 << 10, 256 << 10]);
        Self::for_packets(max_packet, random)
    }

    fn for_packets(max_packet: usize, random: &mut Random) -> Self {
        let least_backlog = max_packet + (64 << 10);
        let max_backlog = random.pick(&[least_backlog, least_backlog, least_backlog.max(1 << 20)]);
        let some = max_backlog.max(16 * max_packet);
        let max_memory = random.pick(&[max_backlog, 4 * max_backlog, some, 64 << 20]);
        Self {
            max_connections: 400,
            per_address: None,
            max_packet,
            max_backlog,
            max_memory,
            keepalive: random.pick(&[1, 2, 5, 30]) * SECOND,
            login_secret: random.is_one_in(4),
            notices: !random.is_one_in(4),
            pages: false,
        }
    }

    fn usual() -> Self {
        Self {
            max_connections: 400,
            per_address: None,
            max_packet: 256 << 10,
            max_backlog: 1 << 20,
            max_memory: 64 << 20,
            keepalive: 30 * SECOND,
            login_secret: false,
            notices: true,
            pages: false,
        }
    }

    /// The settings as moss's configuration.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(SECRET, "offer");
        config.limits.max_connections = self.max_connections;
        config.limits.max_connections_per_address = self.per_address;
        config.trusted_proxies = Networks::parse(PROXIES).expect("a network");
        config.limits.max_packet_bytes = self.max_packet;
        config.limits.max_backlog_bytes = self.max_backlog;
        config.limits.max_memory_bytes = self.max_memory;
        config.keepalive = Duration::from_micros(self.keepalive);
        config.login_secret = self.login_secret.then(|| Secret::new(LOGIN_SECRET));
        config.types.kick = Some("kick".to_owned());
        if self.notices {
            config.types.client_joined = Some("joined".to_owned());
            config.types.client_left = Some("left".to_owned());
            config.types.master_left = Some("master-left".to_owned());
        }
        config
    }
}

impl Odds {
    fn each(&mut self) -> [&mut usize; 5] {
        let Self { partial, interrupted, spurious, aborted, late } = self;
        [partial, interrupted, spurious, aborted, late]
    }
}

fn odds(random: &mut Random) -> Odds {
    let mut odds = Odds::default();
    if !random.is_one_in(4) {
        for each in odds.each() {
            *each = random.pick(&[0, 2, 20, 200]);
        }
        odds.interrupted = odds.interrupted.max(3);
        odds.aborted = odds.aborted.max(3);
        odds.late = odds.late.max(20);
    }
    odds
}
