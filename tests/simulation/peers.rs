//! The peers, honest and hostile.
//!
//! Each is a small program on its side of a connection. It runs when its kernel has something
//! for it, or at a time that it chose. Then it reads as much as its kind may, acts by its kind,
//! and sends as much as its kernel takes. It tells the judge what it sends, and knows of moss
//! only what it has received.

mod visitors;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use moss::server::world::Endpoint;

use crate::judge::{Facts, Judge, offer};
use crate::network::{Event, Line, MILLISECOND, Network, SECOND};
use crate::plan::{Kind, LOGIN_SECRET, PROXY, Part, SECRET, Settings};
use crate::random::Random;
use crate::sealed::{self, Clients, Manners, Sealed, TRICKS, Trick};
use crate::wire::{self, Said, push_frame, push_header};

/// Messages that moss has sent on a connection, with their ends.
pub(crate) type Mail = VecDeque<(u64, Said)>;

/// What peers act on.
pub(crate) struct World<'w> {
    pub(crate) network: &'w mut Network,
    pub(crate) judge: &'w mut Judge,
    pub(crate) mail: &'w mut Vec<Mail>,
    /// The TLS of the links that have it, and what they share.
    pub(crate) sealed: &'w mut BTreeMap<usize, Sealed>,
    pub(crate) clients: &'w Clients,
    /// Hostile behaviour has ended.
    pub(crate) calm: bool,
}

/// The most bytes that one flooder sends.
const FLOOD_BYTES: u64 = 16 << 20;

/// A peer.
pub(crate) struct Peer {
    number: usize,
    kind: Kind,
    random: Random,
    settings: Settings,
    endpoint: Endpoint,
    line: Line,
    address: IpAddr,
    padding: usize,
    /// The time between two of its packets.
    period: u64,
    pub(crate) link: Option<usize>,
    stage: Stage,
    /// Bytes that its kernel has not taken yet; how many it took before; and the ends of messages
    /// among all of them.
    out: Vec<u8>,
    taken: u64,
    ends: Vec<u64>,
    next: u64,
    wakes_at: u64,
    leaves_at: u64,
    reconnects: bool,
    /// How much it may still read.
    allowance: u64,
    /// How often it has acted, and how many packets of a flood are left.
    done: u64,
    flood: u64,
    /// The number of answers that it waits for.
    owed: u64,
    /// The last claim of a master; for a client that floods for its share, 1 while there is a
    /// master.
    claim: u64,
    /// Clients that it was told of as master, with their ids.
    known: BTreeMap<usize, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Away,
    Connecting,
    Head,
    Open,
    /// It has sent or received a Close.
    Leaving,
}

impl Peer {
    pub(crate) fn new(number: usize, part: Part, settings: Settings) -> Self {
        let mut random = Random::new(part.seed);
        let most = settings.max_packet - 100;
        let padding = match part.kind {
            Kind::Flooder | Kind::Share => random.pick(&[0, 100, 3_000, most]),
            Kind::Master | Kind::Usurper => random.pick(&[0, 100, 1_000]),
            _ => random.pick(&[0, 20, 100, 200]),
        };
        let mut peer = Self {
            number,
            kind: part.kind,
            endpoint: part.endpoint,
            line: line(part.kind, &mut random),
            address: address(number, settings),
            padding: padding.min(most),
            period: random.between(200, 2_000) * MILLISECOND,
            settings,
            link: None,
            stage: Stage::Away,
            out: Vec::new(),
            taken: 0,
            ends: Vec::new(),
            next: 0,
            wakes_at: part.at,
            leaves_at: u64::MAX,
            reconnects: !matches!(part.kind, Kind::Inspector | Kind::SlowMaster)
                && random.is_one_in(2),
            allowance: 0,
            done: 0,
            flood: part.much,
            owed: 0,
            claim: 0,
            known: BTreeMap::new(),
            random,
        };
        if part.kind == Kind::Flooder {
            peer.flood = part.much.min(FLOOD_BYTES / (100 + peer.padding as u64));
        }
        if part.kind == Kind::Stalled {
            peer.flood = 20_000;
        }
        if part.kind == Kind::Usurper {
            peer.period = peer.random.between(50, 500) * MILLISECOND;
        }
        peer
    }

    /// A client with a packet a second.
    pub(crate) fn steady(mut self) -> Self {
        self.period = SECOND;
        self.flood = u64::MAX;
        self.reconnects = false;
        self.leaves_at = u64::MAX;
        self
    }

    /// When it runs for the first time.
    pub(crate) fn begins_at(&self) -> u64 {
        self.wakes_at
    }

    /// The time that it chose has come.
    pub(crate) fn wakes(&mut self, world: &mut World<'_>) {
        let now = world.network.now;
        if now < self.wakes_at {
            return;
        }
        self.wakes_at = u64::MAX;
        if self.link.is_none() {
            if !world.calm || self.kind == Kind::Inspector {
                self.connect(world);
            }
            return;
        }
        self.runs(world);
    }

    /// Runs it: its kernel has something for it, or its time has come.
    pub(crate) fn runs(&mut self, world: &mut World<'_>) {
        let Some(link) = self.link else { return };
        if self.stage == Stage::Connecting {
            self.stage = Stage::Head;
        }
        self.reads(link, world);
        if self.link.is_some() && world.network.has_ended(link) {
            self.ends(link, world);
        }
        if self.link.is_none() {
            return;
        }
        if self.stage != Stage::Leaving {
            if world.network.now >= self.leaves_at {
                self.leaves(link, world);
            } else if self.stage == Stage::Open {
                self.acts(link, world);
            } else if self.stage == Stage::Head {
                self.visits(link, world);
            }
        }
        if self.link.is_none() {
            return;
        }
        if matches!(self.kind, Kind::Dripper | Kind::BadTls | Kind::HelloHoarder)
            && self.stage == Stage::Head
            && !world.calm
        {
            if world.network.now >= self.next {
                self.next = world.network.now + SECOND / 2;
                match world.sealed.get_mut(&link) {
                    Some(sealed) if self.kind != Kind::Dripper => sealed.drips(),
                    _ => self.out.push(b'x'),
                }
            }
            self.wake_at(self.next, world);
        }
        self.flushes(link, world);
    }

    /// Ends hostile behaviour: peers that did not read go on reading, or leave.
    pub(crate) fn calms(&mut self, world: &mut World<'_>) {
        let Some(link) = self.link else { return };
        self.leaves_at = u64::MAX;
        match self.kind {
            Kind::Hoarder
            | Kind::Dripper
            | Kind::Clinger
            | Kind::BadVisitor
            | Kind::BadTls
            | Kind::HelloHoarder
            | Kind::Stranger => self.tears(link, world),
            Kind::Breaker if self.stage != Stage::Open => self.tears(link, world),
            Kind::Mute => {}
            Kind::Share => world.judge.rests(),
            _ => self.runs(world),
        }
    }

    /// Its host vanishes.
    pub(crate) fn vanishes(&mut self, world: &mut World<'_>) {
        if let Some(link) = self.link.take() {
            world.judge.tears(link);
            world.network.links[link].away = true;
            self.stage = Stage::Away;
            self.reconnects_later(world);
        }
    }

    /// It resets its connection.
    pub(crate) fn tears(&mut self, link: usize, world: &mut World<'_>) {
        world.judge.tears(link);
        world.network.reset(link);
        self.gone(world);
    }

    fn connect(&mut self, world: &mut World<'_>) {
        let address = if self.is_proxied() { PROXY } else { self.address };
        let link = world.network.connect(self.line, address, self.endpoint);
        world.network.links[link].named = self.is_proxied().then_some(self.address);
        world.judge.connects(link, self.facts());
        self.link = Some(link);
        self.stage = Stage::Connecting;
        self.next = 0;
        self.done = 0;
        self.allowance = 0;
        self.known.clear();
        self.claim = 0;
        self.taken = 0;
        self.ends.clear();
        let stays = self.random.between(1, 20) * SECOND;
        self.leaves_at = if self.reconnects { world.network.now + stays } else { u64::MAX };
        self.out = match self.kind {
            Kind::Visitor => {
                let path = self.random.pick(&["/health", "/health?x", "/", "/nowhere"]);
                format!("GET {path} HTTP/1.1\r\nHost: box\r\n\r\n").into_bytes()
            }
            Kind::Inspector => b"GET /health HTTP/1.0\r\n\r\n".to_vec(),
            Kind::BadVisitor => self.bad_request(),
            Kind::Dripper => b"GET / HTTP/1.1\r\nX: ".to_vec(),
            Kind::Stranger => self.for_the_other_port(world.clients),
            _ if self.is_proxied() => {
                let named = format!("\r\nX-Forwarded-For: {}, {}\r\n\r\n", PROXY, self.address);
                wire::UPGRADE.replace("\r\n\r\n", &named).into_bytes()
            }
            _ => wire::UPGRADE.as_bytes().to_vec(),
        };
        if self.settings.pages {
            self.asks_first(link, world);
        } else if self.is_proxied() || self.out == wire::UPGRADE.as_bytes() {
            self.ends.push(self.out.len() as u64);
        }
        if self.endpoint == Endpoint::Tls {
            self.takes_up_tls(link, world);
        }
        // Most peers wait for the answer, though none has to.
        let often = if self.kind == Kind::Share { 2 } else { 4 };
        if self.random.is_one_in(often) && matches!(self.kind, Kind::Client | Kind::Share) {
            self.logs_in(link, world);
            self.done = 1;
            self.claim = 1;
            while self.kind == Kind::Share && self.out.len() < 128 << 10 {
                self.sends(link, world);
            }
        }
    }

    /// Whether it comes through a trusted proxy. Visitors of pages, and bad visitors, do not.
    fn is_proxied(&self) -> bool {
        let is_plain = !matches!(
            self.kind,
            Kind::Visitor
                | Kind::Inspector
                | Kind::BadVisitor
                | Kind::Dripper
                | Kind::Stranger
                | Kind::BadTls
                | Kind::HelloHoarder
        );
        let is_some = self.settings.per_address.is_some() && self.number % 4 == 3;
        is_some && is_plain && !self.settings.pages
    }

    fn bad_request(&mut self) -> Vec<u8> {
        let lines = "X: y\r\n".repeat(70);
        let long = format!("X: {}\r\n", "y".repeat(9_000));
        match self.random.below(6) {
            0 => b"BREW / HTTP/1.1\r\n\r\n".to_vec(),
            1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            2 => format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes(),
            3 => format!("GET / HTTP/1.1\r\n{long}\r\n").into_bytes(),
            4 => wire::UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short").into_bytes(),
            _ => wire::UPGRADE.replace("Version: 13", "Version: 12").into_bytes(),
        }
    }

    /// The first bytes of a peer at the wrong port: TLS for the plain port, plain HTTP for the TLS
    /// port.
    fn for_the_other_port(&mut self, clients: &Clients) -> Vec<u8> {
        if self.endpoint == Endpoint::Plain {
            let mut hello = sealed::hello(clients);
            hello.truncate(1 + self.random.below(hello.len()));
            return hello;
        }
        match self.random.below(6) {
            0 => b"GET /nowhere HTTP/1.1\r\nHost: box\r\n\r\n".to_vec(),
            1 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            2 => b"BREW / HTTP/1.1\r\nHost: box\r\n\r\n".to_vec(),
            3 => b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            4 => b"GET /health HTTP/1.1\r\n".to_vec(),
            _ => wire::UPGRADE.as_bytes().to_vec(),
        }
    }

    fn takes_up_tls(&mut self, link: usize, world: &mut World<'_>) {
        if self.kind == Kind::Stranger {
            // moss expects TLS until it sees that it is something else.
            world.network.links[link].can_be_told_at = 1;
            return;
        }
        let trick = match self.kind {
            Kind::BadTls => self.random.pick(&TRICKS),
            Kind::HelloHoarder => Trick::HalfHello,
            _ => Trick::None,
        };
        let much = matches!(
            self.kind,
            Kind::Master
                | Kind::Flooder
                | Kind::Share
                | Kind::SlowMaster
                | Kind::DeadMaster
                | Kind::Pinger
                | Kind::Returner
                | Kind::Usurper
                | Kind::Stalled
                | Kind::Trickler
                | Kind::Hoarder
                | Kind::Rubbish
                | Kind::Stopper
        ) || self.padding > 1_000
            || self.settings.max_packet > 20_000;
        let random = Random::new(self.random.next());
        let (network, judge) = (&mut *world.network, &mut *world.judge);
        let manners = Manners { trick, much, long: self.settings.max_memory >= 1 << 20 };
        let sealed = Sealed::new(link, world.clients, manners, random, network, judge);
        world.sealed.insert(link, sealed);
    }

    /// Its facts: for which reasons moss may end it, and whether it must.
    fn facts(&self) -> Facts {
        let mut may_end: Vec<&str> = match self.kind {
            Kind::Client | Kind::Guest | Kind::Master | Kind::Inspector => vec![],
            Kind::Visitor => vec!["not_found", "no_upgrade"],
            Kind::Browser => vec!["not_found", "method", "range", "bad_request"],
            Kind::Dawdler | Kind::Stopper => vec![],
            // Without a master each packet is answered by an error.
            Kind::Flooder | Kind::Share => vec!["memory", "slow_reader"],
            Kind::SlowMaster => vec![],
            Kind::DeadMaster => vec!["slow_master", "slow_reader", "memory", "silent"],
            Kind::Pinger | Kind::Returner | Kind::Rubbish => vec!["slow_reader", "memory"],
            Kind::Usurper => vec!["slow_reader", "slow_master", "memory"],
            Kind::Stalled | Kind::Trickler => vec!["slow_reader", "memory", "silent"],
            Kind::Hoarder => vec!["memory", "silent"],
            Kind::Guesser => vec!["wrong_secrets"],
            Kind::Breaker => vec!["protocol_error", "not_utf8", "too_long", "memory"],
            Kind::BadVisitor => {
                vec!["method", "bad_request", "head_too_large", "no_upgrade", "tls_on_plain"]
            }
            Kind::BadTls => vec!["tls", "timeout", "memory"],
            Kind::HelloHoarder => vec!["tls", "memory"],
            Kind::Stranger => vec!["plain_http", "redirected", "tls_on_plain", "timeout"],
            Kind::Dripper => vec!["timeout", "memory"],
            Kind::Mute => vec!["silent"],
            Kind::Clinger => vec!["protocol_error", "silent"],
            Kind::Nuisance => vec!["kicked"],
        };
        if self.settings.max_connections < 100 {
            may_end.extend(["full", "not_master", "displaced"]);
        }
        if self.settings.per_address.is_some() {
            may_end.extend(["per_address", "dropped"]);
        }
        let must_end = matches!(
            self.kind,
            Kind::Guesser
                | Kind::Breaker
                | Kind::BadVisitor
                | Kind::BadTls
                | Kind::HelloHoarder
                | Kind::Stranger
                | Kind::Dripper
                | Kind::Mute
        );
        Facts {
            kind: self.kind,
            may_end,
            must_end,
            reads: !matches!(
                self.kind,
                Kind::Stalled
                    | Kind::Trickler
                    | Kind::DeadMaster
                    | Kind::SlowMaster
                    | Kind::Hoarder
                    | Kind::Dawdler
                    | Kind::Stopper
            ),
            padding: self.padding,
        }
    }

    fn reads(&mut self, link: usize, world: &mut World<'_>) {
        let arrived = world.network.arrived(link) as u64;
        let most = match self.kind {
            _ if world.calm => arrived,
            Kind::Stalled | Kind::DeadMaster if self.stage == Stage::Open => 0,
            Kind::Trickler | Kind::SlowMaster if self.stage == Stage::Open => {
                arrived.min(self.allowance)
            }
            Kind::Dawdler | Kind::Stopper => arrived.min(self.allowance),
            _ => arrived,
        };
        self.allowance -= most.min(self.allowance);
        world.network.read(link, most as usize);
        let read = world.network.links[link].read;
        while let Some(&(end, _)) = world.mail[link].front()
            && end <= read
            && let Some((_, said)) = world.mail[link].pop_front()
        {
            self.hears(link, &said, world);
            if self.link.is_none() {
                return;
            }
        }
    }

    fn hears(&mut self, link: usize, said: &Said, world: &mut World<'_>) {
        match said {
            Said::Http { status: 101, .. } => {
                if self.stage == Stage::Head {
                    self.stage = Stage::Open;
                }
                self.opens(link, world);
            }
            Said::Http { ends, .. } => self.is_answered(*ends, world),
            Said::Head { .. } | Said::Page(_) => {}
            Said::Ping => {
                if !matches!(self.kind, Kind::Mute | Kind::Hoarder) && self.stage == Stage::Open {
                    self.push_control(wire::PONG, b"");
                }
            }
            Said::Pong => {}
            Said::Close { code, .. } => {
                if self.stage == Stage::Open && self.kind != Kind::Clinger {
                    let code = if *code == 1005 { 1000 } else { *code };
                    push_frame(&mut self.out, 0x80 | wire::CLOSE, &code.to_be_bytes());
                }
                self.stage = Stage::Leaving;
            }
            Said::Text(text) => self.receives(text, world),
        }
    }

    /// Its upgrade was answered.
    fn opens(&mut self, link: usize, world: &mut World<'_>) {
        self.next = world.network.now + self.random.between(0, self.period);
        if self.kind == Kind::SlowMaster {
            self.next = 0;
        }
        match self.kind {
            Kind::Client | Kind::Share | Kind::Flooder | Kind::Returner | Kind::Nuisance => {
                if self.done == 0 {
                    self.logs_in(link, world);
                }
                self.done = 1;
            }
            Kind::Master | Kind::SlowMaster | Kind::DeadMaster => self.claims(link, world),
            Kind::Stalled | Kind::Trickler | Kind::Hoarder | Kind::Mute
                if self.random.is_one_in(2) =>
            {
                self.logs_in(link, world);
            }
            Kind::Breaker => self.breaks(),
            Kind::Clinger if self.random.is_one_in(2) => {
                push_frame(&mut self.out, 0xf1, b"reserved bits");
            }
            _ => {}
        }
    }

    /// What its kind does each time that it runs.
    fn acts(&mut self, link: usize, world: &mut World<'_>) {
        let now = world.network.now;
        if world.calm {
            return;
        }
        match self.kind {
            // A flood that only causes errors would be useless.
            Kind::Share if self.claim == 0 => {}
            Kind::Flooder | Kind::Share => {
                while self.out.len() < 32 << 10 && self.flood > 0 {
                    self.flood -= 1;
                    self.sends(link, world);
                }
            }
            Kind::Pinger => {
                while self.out.len() < 8 << 10 && self.flood > 0 {
                    self.flood -= 1;
                    self.pings(link, world);
                }
            }
            Kind::Trickler | Kind::SlowMaster => {
                if now >= self.next {
                    let rate = if self.kind == Kind::Trickler { 2_000 } else { 2 << 20 };
                    self.allowance = (self.allowance + rate / 100).min(rate / 20);
                    self.next = now + 10 * MILLISECOND;
                }
                if self.kind == Kind::Trickler && self.out.is_empty() && self.flood > 0 {
                    self.flood -= 1;
                    self.pings(link, world);
                }
                self.wake_at(self.next, world);
            }
            Kind::Stalled => {
                while self.out.len() < 8 << 10 && self.flood > 0 {
                    self.flood -= 1;
                    world.judge.pings(link);
                    self.push_control(wire::PING, &[b'?'; 125]);
                }
            }
            Kind::Hoarder => self.hoards(link, world),
            _ if now < self.next => self.wake_at(self.next, world),
            kind => {
                self.next = now + self.period / 2 + self.random.between(0, self.period);
                self.wake_at(self.next, world);
                match kind {
                    Kind::Client | Kind::Nuisance => self.sends(link, world),
                    Kind::Guest | Kind::Browser | Kind::Clinger | Kind::BadTls => {
                        self.pings(link, world)
                    }
                    Kind::Master => self.masters(link, world),
                    Kind::Usurper => self.claims(link, world),
                    Kind::Returner => {
                        for _ in 0..50 {
                            self.logs_in(link, world);
                        }
                    }
                    Kind::Guesser => self.guesses(),
                    Kind::Rubbish => self.talks_rubbish(),
                    _ => {}
                }
            }
        }
    }

    fn logs_in(&mut self, link: usize, world: &mut World<'_>) {
        world.judge.logs_in(link);
        let payload = format!("{{\"secret\":\"{LOGIN_SECRET}\"}}");
        self.says(&format!("{{\"type\":\"login\",\"payload\":{payload}}}"));
    }

    fn claims(&mut self, link: usize, world: &mut World<'_>) {
        self.claim = world.judge.claims(link);
        let offer = offer(self.claim, self.padding);
        self.says(&format!(
            "{{\"type\":\"set-master\",\"payload\":{{\"sdp\":{offer},\"secret\":\"{SECRET}\"}}}}"
        ));
    }

    fn sends(&mut self, link: usize, world: &mut World<'_>) {
        let payload = world.judge.sends(link);
        let mut text = format!("{{\"type\":\"p\",\"payload\":{payload}}}");
        let most = self.settings.max_packet;
        // In pieces of a few bytes a large packet takes long to simulate, and with little memory
        // there is no room for two.
        let quick = most < 20_000 || self.line.piece >= 1_000;
        let ample = most < 20_000 || self.settings.max_memory >= 64 * most;
        let often = if quick && ample && self.kind != Kind::Flooder { 20 } else { 2_000 };
        if self.kind != Kind::Share && self.random.is_one_in(often) {
            // The longest packet.
            text.extend(std::iter::repeat_n(' ', most - text.len()));
        }
        self.says(&text);
    }

    fn pings(&mut self, link: usize, world: &mut World<'_>) {
        world.judge.pings(link);
        match self.random.below(3) {
            0 => self.push_control(wire::PING, b""),
            1 => self.push_control(wire::PING, b"are you there?"),
            _ => self.says("{\"type\":\"ping\"}"),
        }
    }

    fn push_control(&mut self, opcode: u8, payload: &[u8]) {
        push_frame(&mut self.out, 0x80 | opcode, payload);
        self.ends.push(self.taken + self.out.len() as u64);
    }

    /// Sends a message, sometimes in fragments with a pong in between.
    fn says(&mut self, text: &str) {
        let text = text.as_bytes();
        if !self.random.is_one_in(16) || text.len() < 2 {
            push_frame(&mut self.out, 0x80 | wire::TEXT, text);
            return self.ends.push(self.taken + self.out.len() as u64);
        }
        let (head, tail) = text.split_at(1 + self.random.below(text.len() - 1));
        let kind = if self.random.is_one_in(4) { wire::BINARY } else { wire::TEXT };
        push_frame(&mut self.out, kind, head);
        if self.random.is_one_in(2) {
            push_frame(&mut self.out, 0x80 | wire::PONG, b"unasked");
        }
        push_frame(&mut self.out, 0x80 | wire::CONTINUATION, tail);
        self.ends.push(self.taken + self.out.len() as u64);
    }

    /// A master sometimes renews its offer, or sends a packet to a client.
    fn masters(&mut self, link: usize, world: &mut World<'_>) {
        if self.claim == 0 || self.random.is_one_in(8) {
            return self.claims(link, world);
        }
        if !self.known.is_empty() {
            let at = self.random.below(self.known.len());
            if let Some((&client, id)) = self.known.iter().nth(at) {
                let id = id.clone();
                self.addresses(client, &id, world);
            }
        }
    }

    fn addresses(&mut self, client: usize, id: &str, world: &mut World<'_>) {
        let payload = world.judge.addresses(self.claim, client);
        self.says(&format!("{{\"type\":\"q\",\"id\":\"{id}\",\"payload\":{payload}}}"));
    }

    /// A master answers a packet; a client that floods notes whether there is a master.
    fn receives(&mut self, text: &str, world: &mut World<'_>) {
        if self.kind == Kind::Share {
            self.claim = text.starts_with("{\"type\":\"offer\"").into();
        }
        if !matches!(self.kind, Kind::Master | Kind::SlowMaster) {
            return;
        }
        if text.contains("\"code\":\"replaced\"") {
            // It stops, or reconnects much later, as after a restart.
            self.claim = 0;
            self.known.clear();
            self.next = world.network.now + 3 * self.period;
            self.leaves_at = self.leaves_at.min(world.network.now + 4 * SECOND);
            return;
        }
        if self.claim == 0 {
            return;
        }
        let id = text.rsplit("\"id\":\"").next().and_then(|rest| rest.split('"').next());
        let Some(id) = id.map(str::to_owned) else { return };
        if text.starts_with("{\"type\":\"left\"") {
            self.known.retain(|_, known| *known != id);
        } else if text.starts_with("{\"type\":\"p\"") {
            let digits = text.split("\"c\":").nth(1).and_then(|rest| rest.split(',').next());
            let Some(client) = digits.and_then(|digits| digits.parse().ok()) else { return };
            match world.judge.kind(client) {
                Kind::Nuisance => {
                    self.says(&format!("{{\"type\":\"kick\",\"id\":\"{id}\",\"payload\":\"go\"}}"));
                    self.known.remove(&client);
                    return;
                }
                Kind::Client if self.random.is_one_in(2) => self.addresses(client, &id, world),
                Kind::Flooder if self.random.is_one_in(32) => self.addresses(client, &id, world),
                _ => {}
            }
            self.known.insert(client, id);
        }
    }

    fn guesses(&mut self) {
        let guess = self.random.next();
        self.says(&format!(
            "{{\"type\":\"set-master\",\"payload\":{{\"secret\":\"{guess}\",\"sdp\":1}}}}"
        ));
        if self.settings.login_secret {
            self.says("{\"type\":\"login\",\"payload\":{\"secret\":\"0815\"}}");
        }
    }

    fn talks_rubbish(&mut self) {
        let text = self.random.pick(&["", "{", "[]", "{\"type\":1}", "{\"type\":\"x\"}", "null"]);
        for _ in 0..100 {
            self.says(text);
        }
    }

    /// Violates a rule of RFC 6455, for which moss must end it.
    fn breaks(&mut self) {
        let out = &mut self.out;
        match self.random.below(10) {
            0 => push_frame(out, 0xc1, b"a reserved bit"),
            1 => push_frame(out, 0x83, b"a reserved opcode"),
            2 => push_frame(out, 0x81, b"no UTF-8: \xff"),
            3 => push_frame(out, 0x80, b"a continuation of nothing"),
            4 => push_frame(out, 0x09, b"a ping in fragments"),
            5 => push_frame(out, 0x89, &[b'x'; 126]),
            6 => push_header(out, 0x81, self.settings.max_packet as u64 + 1),
            7 => out.extend_from_slice(b"\x81\x05no mask"),
            8 => {
                let half = vec![b' '; self.settings.max_packet / 2 + 1];
                push_frame(out, 0x01, &half);
                push_frame(out, 0x80, &half);
            }
            _ => {
                push_frame(out, 0x01, b"a text that ");
                push_frame(out, 0x81, b"does not go on");
            }
        }
    }

    /// Sends a part of a packet, and then a byte at a time, or nothing.
    fn hoards(&mut self, link: usize, world: &mut World<'_>) {
        let most = self.settings.max_packet as u64;
        let now = world.network.now;
        if self.done == 0 {
            self.done = 1;
            let held = self.random.between(1, most) as usize;
            if let Some(sealed) = world.sealed.get_mut(&link)
                && self.random.is_one_in(2)
            {
                sealed.keeps_back(self.out.len() + held);
            }
            if self.random.is_one_in(3) {
                push_frame(&mut self.out, wire::TEXT, &vec![b' '; held]);
            } else {
                push_header(&mut self.out, 0x80 | wire::TEXT, most);
                self.out.extend(std::iter::repeat_n(0, held));
                self.allowance = if self.random.is_one_in(2) { most - held as u64 } else { 0 };
            }
        } else if self.allowance > 1 && now >= self.next {
            // A byte as a sign of life, as long as there is one left.
            self.allowance -= 1;
            self.next = now + SECOND / 2;
            self.out.push(0);
            if let Some(sealed) = world.sealed.get_mut(&link) {
                sealed.drips();
            }
        }
        self.wake_at(now + SECOND / 2, world);
    }

    /// Leaves by itself.
    fn leaves(&mut self, link: usize, world: &mut World<'_>) {
        if self.stage == Stage::Open
            && self.kind != Kind::Hoarder
            && world.sealed.contains_key(&link)
            && self.random.is_one_in(2)
        {
            return self.leaves_tls(link, world);
        }
        match self.random.below(4) {
            0 => return self.tears(link, world),
            1 => {
                // Unsent bytes are given up, also within a frame.
                self.out.clear();
                world.judge.tears(link);
                world.network.end(link);
            }
            _ if self.kind == Kind::Hoarder || self.stage != Stage::Open => {
                return self.tears(link, world);
            }
            _ => {
                world.judge.leaves(link);
                push_frame(&mut self.out, 0x80 | wire::CLOSE, &1_001u16.to_be_bytes());
            }
        }
        self.stage = Stage::Leaving;
    }

    /// Leaves only by `close_notify`, right after its last packet.
    fn leaves_tls(&mut self, link: usize, world: &mut World<'_>) {
        if matches!(self.kind, Kind::Client | Kind::Nuisance) {
            for _ in 0..3 {
                self.sends(link, world);
            }
        }
        world.judge.leaves(link);
        if let Some(sealed) = world.sealed.get_mut(&link) {
            sealed.leaves();
        }
        self.stage = Stage::Leaving;
    }

    /// It has read the end.
    fn ends(&mut self, link: usize, world: &mut World<'_>) {
        let clings = self.kind == Kind::Clinger
            || (self.kind == Kind::BadTls && self.number.is_multiple_of(2));
        if clings && !world.calm && !world.network.links[link].broken {
            // It does not close.
            return;
        }
        if world.network.links[link].broken {
            world.judge.tears(link);
        } else {
            world.judge.leaves(link);
        }
        if let Some(sealed) = world.sealed.get_mut(&link)
            && self.random.is_one_in(2)
        {
            // It sends `close_notify`. The other half of the peers never does.
            sealed.leaves();
            self.flushes(link, world);
        }
        world.network.close(link);
        self.gone(world);
    }

    fn gone(&mut self, world: &mut World<'_>) {
        self.link = None;
        self.stage = Stage::Away;
        self.reconnects_later(world);
    }

    fn reconnects_later(&mut self, world: &mut World<'_>) {
        self.out.clear();
        self.wakes_at = u64::MAX;
        let honest = matches!(
            self.kind,
            Kind::Client
                | Kind::Master
                | Kind::SlowMaster
                | Kind::Visitor
                | Kind::Guest
                | Kind::Browser
        );
        if self.reconnects || honest {
            let pause = self.random.between(100, 3_000) * MILLISECOND;
            self.wake_at(world.network.now + pause, world);
        }
    }

    fn flushes(&mut self, link: usize, world: &mut World<'_>) {
        let count = match world.sealed.get_mut(&link) {
            Some(sealed) => sealed.flush(link, &self.out, world.network, world.judge),
            None => {
                let count = world.network.room(link).min(self.out.len());
                if count > 0 {
                    world.network.write(link, &self.out[..count]);
                }
                count
            }
        };
        self.out.drain(..count);
        self.taken += count as u64;
        world.network.links[link].messages.extend(self.ends.drain(..));
        if self.stage == Stage::Open && self.leaves_at != u64::MAX {
            self.wake_at(self.leaves_at, world);
        }
    }

    fn wake_at(&mut self, time: u64, world: &mut World<'_>) {
        if time < self.wakes_at {
            self.wakes_at = time;
            world.network.at(time, Event::Wake(self.number));
        }
    }
}

/// If addresses are limited, all peers share a few of them.
fn address(number: usize, settings: Settings) -> IpAddr {
    let few = if settings.per_address.is_some() { 6 } else { 97 };
    let shared = number % few;
    let v4 = Ipv4Addr::from(0x0a00_0000 + shared as u32);
    match shared % 3 {
        0 => v4.into(),
        1 if number.is_multiple_of(4) => v4.to_ipv6_mapped().into(),
        1 => v4.into(),
        _ => Ipv6Addr::from(0x2001_0db8 << 96 | (shared as u128) << 64 | number as u128).into(),
    }
}

/// An honest peer's connection is good enough for what it is sent.
fn line(kind: Kind, random: &mut Random) -> Line {
    let buffer = random.pick(&[64 << 10, 128 << 10, 256 << 10]);
    let piece = random.pick(&[1, 7, 200, 1_460, 64 << 10, 64 << 10]);
    let delay = random.pick(&[0, 100, 1_000, 10_000]);
    match kind {
        Kind::Share => Line { delay: 0, bandwidth: 1 << 26, piece: 64 << 10, buffer: 256 << 10 },
        Kind::Master | Kind::SlowMaster | Kind::Pinger => {
            Line { delay, bandwidth: 1 << 28, piece: 64 << 10, buffer: 256 << 10 }
        }
        Kind::Flooder => Line { delay, bandwidth: 1 << 27, piece: piece.max(1_460), buffer },
        // Byte by byte, much data would take too long.
        Kind::Returner
        | Kind::Rubbish
        | Kind::Hoarder
        | Kind::Stalled
        | Kind::Trickler
        | Kind::DeadMaster
        | Kind::Browser
        | Kind::Dawdler
        | Kind::Stopper
        | Kind::BadVisitor => Line { delay, bandwidth: 1 << 24, piece: piece.max(200), buffer },
        _ => Line { delay, bandwidth: 1 << 24, piece, buffer },
    }
}
