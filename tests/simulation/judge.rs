//! What must hold, all the time: a model of moss that is simpler than moss.
//!
//! It sees what peers send, each message that moss sends ([`Judge::said`], in the order of
//! each connection), the lines of moss's log and the ends of its sockets. It knows neither
//! turns nor buffers; it panics as soon as something can't be explained by the README.
//!
//! Packets are numbered, and their text follows from their number, so all is compared byte
//! for byte without being kept. A *reign* is the time from a `master-confirmation` to the
//! `replaced` on the same connection, or to its end: during one, each client's packets
//! arrive without a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::network::{Link, MILLISECOND, SECOND};
use crate::plan::{Kind, Settings};
use crate::wire::Said;

/// What may happen to a peer.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    /// The words of the log by which moss may end it.
    pub(crate) may_end: Vec<&'static str>,
    /// It has to be ended by one of them before all is over.
    pub(crate) must_end: bool,
    /// It reads all that comes at once, so it gets each last word of moss's.
    pub(crate) reads: bool,
    /// The longest padding of its packets.
    pub(crate) padding: usize,
}

/// All that is known of a connection.
#[derive(Debug)]
struct Connection {
    facts: Facts,
    id: Option<String>,
    /// It asked for a WebSocket, and got one.
    open: bool,
    status: Option<u16>,
    close: Option<u16>,
    /// The line of the log: word, code, time.
    ending: Option<(String, u16, u64)>,
    dropped: bool,
    /// The peer has begun to leave, by whatever way.
    left: bool,
    /// Something of it may be lost: it was reset, or its host is away.
    torn: bool,
    logged_in: bool,
    /// Packets to the master that it has sent; of them answered `no-master`.
    sent: u64,
    unanswered: u64,
    /// Of them received, by reign: the first and the next.
    runs: Vec<(usize, u64, u64)>,
    pings: u64,
    wrong_secrets: u64,
    /// Claims that were not confirmed yet.
    claims: VecDeque<u64>,
    reign: Option<usize>,
    /// The last offer that it was sent, and what came with each.
    offer: Option<u64>,
    from_master: HashMap<u64, u64>,
    /// Clients that it was told of as master.
    present: BTreeSet<usize>,
}

/// A reign.
#[derive(Debug)]
struct Reign {
    link: usize,
    /// The last claim.
    claim: u64,
    /// It ended by a takeover, and all that was due before has been sent.
    replaced: bool,
}

/// Knows what must hold.
pub(crate) struct Judge {
    settings: Settings,
    connections: Vec<Connection>,
    by_id: HashMap<String, usize>,
    reigns: Vec<Reign>,
    claims: u64,
    /// Who made each claim.
    claimants: Vec<usize>,
    /// What masters sent: by claim and client.
    to_clients: BTreeMap<(u64, usize), u64>,
    pub(crate) stopping: bool,
    /// How long moss was kept from its work at most.
    pub(crate) lateness: u64,
    /// Packets that moss passed on.
    pub(crate) passed: u64,
    shares: Shares,
}

/// What floods before a slow master got of it.
#[derive(Debug, Default)]
struct Shares {
    /// Not all of them flood any more.
    over: bool,
    skipped: u64,
    passed: Vec<(usize, u64)>,
    /// Who floods, with the length of the largest packet of each.
    clients: BTreeMap<usize, u64>,
}

/// A client's packet.
pub(crate) fn to_master(link: usize, number: u64, padding: usize) -> String {
    format!("{{\"c\":{link},\"n\":{number},\"x\":{}}}", pad(link as u64, number, padding))
}

/// A master's packet.
pub(crate) fn to_client(claim: u64, client: usize, number: u64, padding: usize) -> String {
    format!(
        "{{\"k\":{claim},\"to\":{client},\"n\":{number},\"x\":{}}}",
        pad(claim ^ (client as u64) << 32, number, padding)
    )
}

/// An offer.
pub(crate) fn offer(claim: u64, padding: usize) -> String {
    format!("{{\"k\":{claim},\"x\":{}}}", pad(claim, 0, padding))
}

/// A JSON value of a length and spelling that follow from these numbers.
fn pad(one: u64, other: u64, most: usize) -> String {
    let mixed =
        (one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ other).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = mixed ^ mixed >> 29;
    let len = if most < 8 { 0 } else { (mixed % (most as u64 - 7)) as usize };
    match mixed >> 61 {
        0 => format!("[ 2e0 ,{}]", "1".repeat(len.max(9) - 8)),
        1 => format!("\"\\u0041{}\"", "é".repeat(len / 2)),
        _ => format!("\"{}\"", "a".repeat(len)),
    }
}

impl Judge {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            connections: Vec::new(),
            by_id: HashMap::new(),
            reigns: Vec::new(),
            claims: 0,
            claimants: Vec::new(),
            to_clients: BTreeMap::new(),
            stopping: false,
            lateness: 250 * MILLISECOND,
            passed: 0,
            shares: Shares::default(),
        }
    }

    // What peers do.

    pub(crate) fn connects(&mut self, link: usize, facts: Facts) {
        assert_eq!(link, self.connections.len(), "links are numbered in order");
        self.connections.push(Connection {
            facts,
            id: None,
            open: false,
            status: None,
            close: None,
            ending: None,
            dropped: false,
            left: false,
            torn: false,
            logged_in: false,
            sent: 0,
            unanswered: 0,
            runs: Vec::new(),
            pings: 0,
            wrong_secrets: 0,
            claims: VecDeque::new(),
            reign: None,
            offer: None,
            from_master: HashMap::new(),
            present: BTreeSet::new(),
        });
    }

    pub(crate) fn leaves(&mut self, link: usize) {
        self.connections[link].left = true;
    }

    /// The peer, or its network, is gone in the middle of something.
    pub(crate) fn tears(&mut self, link: usize) {
        self.connections[link].left = true;
        self.connections[link].torn = true;
    }

    pub(crate) fn logs_in(&mut self, link: usize) {
        self.connections[link].logged_in = true;
    }

    /// A client sends its next packet, of this payload.
    pub(crate) fn sends(&mut self, link: usize) -> String {
        let connection = &mut self.connections[link];
        connection.sent += 1;
        to_master(link, connection.sent - 1, connection.facts.padding)
    }

    /// One of those who flood for their shares has had enough.
    pub(crate) fn rests(&mut self) {
        self.shares.change(&self.settings);
        self.shares.over = true;
    }

    pub(crate) fn pings(&mut self, link: usize) {
        self.connections[link].pings += 1;
    }

    /// A master claims its place: the number of the claim.
    pub(crate) fn claims(&mut self, link: usize) -> u64 {
        self.claims += 1;
        self.claimants.push(link);
        let connection = &mut self.connections[link];
        connection.claims.push_back(self.claims);
        connection.logged_in = false;
        self.claims
    }

    /// What kind of peer a link is of.
    pub(crate) fn kind(&self, link: usize) -> Kind {
        self.connections[link].facts.kind
    }

    /// A master sends a client its next packet under this claim.
    pub(crate) fn addresses(&mut self, claim: u64, client: usize) -> String {
        let padding = self.connections[self.claimants[claim as usize - 1]].facts.padding;
        let sent = self.to_clients.entry((claim, client)).or_default();
        *sent += 1;
        to_client(claim, client, *sent - 1, padding)
    }

    // What moss does.

    pub(crate) fn registers(&mut self, link: usize, token: usize) {
        let id = token.to_string();
        assert!(self.by_id.insert(id.clone(), link).is_none(), "id {id} is given twice");
        self.connections[link].id = Some(id);
    }

    /// moss sends something whole.
    pub(crate) fn said(&mut self, link: usize, said: &Said) {
        match said {
            Said::Http { status: 101, .. } => self.connections[link].open = true,
            Said::Http { status, .. } => self.connections[link].status = Some(*status),
            Said::Close { code, .. } => self.connections[link].close = Some(*code),
            Said::Ping => {}
            Said::Pong => self.answers_ping(link),
            Said::Text(text) => self.says(link, text),
        }
    }

    fn answers_ping(&mut self, link: usize) {
        let pings = &mut self.connections[link].pings;
        *pings = pings.checked_sub(1).unwrap_or_else(|| panic!("{link} gets a pong too many"));
    }

    fn says(&mut self, link: usize, text: &str) {
        let kind = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
        match kind.unwrap_or_else(|| panic!("{link} is sent no packet: {text}")) {
            "p" => self.passes_to_master(link, text),
            "q" => self.passes_to_client(link, text),
            "offer" => self.offers(link, text),
            "pong" => self.answers_ping(link),
            "master-confirmation" => self.confirms(link),
            "joined" => self.joined(link, text),
            "left" => self.has_left(link, text),
            "master-left" => self.connections[link].offer = None,
            "moss-error" => self.refuses(link, text),
            other => panic!("{link} is sent a packet of type {other}"),
        }
    }

    fn passes_to_master(&mut self, master: usize, text: &str) {
        self.passed += 1;
        let reign = self.connections[master].reign;
        let reign = reign.unwrap_or_else(|| panic!("{master} is no master and gets {text:.90}"));
        let (link, number) = (field(text, "\"c\":") as usize, field(text, "\"n\":"));
        let client = &mut self.connections[link];
        let payload = to_master(link, number, client.facts.padding);
        let id = client.id.as_deref().unwrap_or_default();
        let expected = format!("{{\"type\":\"p\",\"payload\":{payload},\"id\":\"{id}\"}}");
        assert_eq!(text, expected, "not what {link} sent");
        assert!(number < client.sent, "{link} has not sent {number} yet");
        match client.runs.iter_mut().rev().find(|run| run.0 == reign) {
            Some((_, _, next)) => {
                assert_eq!(number, *next, "{link}'s packets to master {master}");
                *next += 1;
            }
            None => client.runs.push((reign, number, number + 1)),
        }
        if self.settings.notices {
            let present = &self.connections[master].present;
            assert!(present.contains(&link), "{master} was not told that {link} is here");
        }
        if self.connections[link].facts.kind == Kind::Share {
            let largest = self.connections[link].facts.padding as u64 + 150;
            self.shares.pass(link, text.len() as u64, largest, &self.settings);
        }
    }

    fn passes_to_client(&mut self, link: usize, text: &str) {
        self.passed += 1;
        let claim = field(text, "\"k\":");
        let (to, number) = (field(text, "\"to\":") as usize, field(text, "\"n\":"));
        assert_eq!(to, link, "{link} gets what is for another");
        let master = self.claimants[claim as usize - 1];
        let payload = to_client(claim, link, number, self.connections[master].facts.padding);
        assert_eq!(text, format!("{{\"type\":\"q\",\"payload\":{payload}}}"));
        let client = &mut self.connections[link];
        assert_eq!(client.offer, Some(claim), "{link} gets a packet before its offer");
        let next = client.from_master.entry(claim).or_default();
        assert_eq!(number, *next, "master {master}'s packets to {link} under claim {claim}");
        *next += 1;
    }

    fn offers(&mut self, link: usize, text: &str) {
        let claim = field(text, "\"k\":");
        let master = self.claimants[claim as usize - 1];
        let payload = offer(claim, self.connections[master].facts.padding);
        assert_eq!(text, format!("{{\"type\":\"offer\",\"payload\":{payload}}}"));
        let client = &mut self.connections[link];
        assert!(client.logged_in, "{link} is no client and gets an offer");
        client.offer = Some(claim);
    }

    fn confirms(&mut self, link: usize) {
        let connection = &mut self.connections[link];
        let claim = connection.claims.pop_front().expect("a claim to be confirmed");
        match connection.reign {
            Some(reign) => self.reigns[reign].claim = claim,
            None => {
                connection.reign = Some(self.reigns.len());
                connection.present.clear();
                self.reigns.push(Reign { link, claim, replaced: false });
            }
        }
    }

    fn joined(&mut self, master: usize, text: &str) {
        let client = self.of_id(text);
        assert!(self.connections[master].reign.is_some(), "{master} is no master: {text}");
        let first = self.connections[master].present.insert(client);
        assert!(first, "{master} is told twice that {client} joined");
        assert!(self.connections[client].logged_in, "{client} has not logged in");
    }

    fn has_left(&mut self, master: usize, text: &str) {
        let client = self.of_id(text);
        let known = self.connections[master].present.remove(&client);
        assert!(known, "{master} is told that {client} left, and was not told that it joined");
        let connection = &self.connections[client];
        assert!(
            connection.left || connection.ending.is_some(),
            "{client} has not left, as {master} is told"
        );
    }

    fn of_id(&self, text: &str) -> usize {
        let id = text.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next());
        *id.and_then(|id| self.by_id.get(id)).unwrap_or_else(|| panic!("nobody's id: {text}"))
    }

    fn refuses(&mut self, link: usize, text: &str) {
        let code = text.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let connection = &mut self.connections[link];
        let kind = connection.facts.kind;
        match code.unwrap_or_default() {
            "no-master" => connection.unanswered += 1,
            "wrong-secret" => connection.wrong_secrets += 1,
            "replaced" => {
                let reign = connection.reign.take();
                self.reigns[reign.expect("a master that is replaced")].replaced = true;
            }
            // A master that was replaced, or whose client has left.
            "not-logged-in" | "unknown-client" if !connection.is_plain_client() => {}
            "invalid-packet" | "master-cannot-login" | "not-logged-in" if kind == Kind::Rubbish => {
            }
            other => panic!("{link}, {kind:?}, is told {other}"),
        }
    }

    /// moss writes a line to its log.
    pub(crate) fn logs(&mut self, line: &str, links: &[Link], now: u64) {
        let Some((id, rest)) = line.split_once(", ") else { return };
        let Some(&link) = self.by_id.get(id) else { return };
        let Some((_, why)) = rest.rsplit_once(": ") else { return };
        let (word, code) = match why.split_once(" (") {
            Some((word, code)) => (word, code.trim_end_matches(')').parse().expect("a code")),
            None => (why, 0),
        };
        if ["connected", "wrong-secret"].contains(&word) {
            return;
        }
        let connection = &mut self.connections[link];
        let Facts { kind, may_end, .. } = &connection.facts;
        assert!(connection.ending.is_none(), "{link} ends twice: {line}");
        let expected = match word {
            "left" => connection.left || links[link].broken || connection.torn,
            "answered" => true,
            "stopping" => self.stopping,
            // Its host is away, or its last words got lost.
            "silent" | "timeout" | "slow-reader" | "slow-master" | "memory" | "displaced"
                if connection.torn =>
            {
                true
            }
            word => may_end.contains(&word),
        };
        assert!(expected, "{kind:?} {link} is ended by moss: {line}");
        let waited = now - links[link].heard;
        match word {
            "silent" => assert!(waited >= 2 * self.settings.keepalive, "{line}: after {waited}"),
            "timeout" => assert!(now - links[link].accepted >= 10 * SECOND, "{line}"),
            "wrong-secrets" => {}
            _ => {}
        }
        connection.ending = Some((word.to_owned(), code, now));
        if connection.facts.kind == Kind::Share || connection.reign.is_some() {
            // Who is dropped for memory takes the measure along.
            self.shares.passed.clear();
            self.shares.clients.clear();
        }
    }

    /// moss closes its socket.
    pub(crate) fn drops(&mut self, link: usize, network: &Link, now: u64) {
        let connection = &mut self.connections[link];
        let kind = connection.facts.kind;
        connection.dropped = true;
        if connection.id.is_none() {
            let flood = self.settings.per_address.is_some();
            return assert!(flood, "{kind:?} {link} is dropped without an id");
        }
        let Some((word, code, since)) = &connection.ending else {
            panic!("{kind:?} {link} is dropped without a line in the log");
        };
        if let Some(reign) = connection.reign.take() {
            // What was on its way to it may be lost.
            self.reigns[reign].replaced = false;
        }
        let whole = connection.facts.reads && !connection.torn && !network.broken;
        // Where memory is full, a last word that the kernel does not take at once is given up.
        let given_up = ["memory", "displaced"].contains(&word.as_str());
        if *code > 0 && whole && !self.stopping && !given_up {
            let said = connection.close.or(connection.status);
            assert_eq!(said, Some(*code), "the last word to {kind:?} {link}, who was {word}");
        }
        if *word == "left" && whole && !connection.left && !network.broken {
            panic!("{kind:?} {link} had not left");
        }
        let waited = now - since;
        assert!(waited <= 6 * SECOND + self.lateness, "{link}, {word}, stayed for {waited}");
    }

    /// Looks for what should have happened by now.
    pub(crate) fn looks(&self, links: &[Link], now: u64) {
        let keepalive = self.settings.keepalive;
        for (link, (connection, network)) in self.connections.iter().zip(links).enumerate() {
            if !network.is_moss_s() || connection.id.is_none() {
                continue;
            }
            let kind = connection.facts.kind;
            let age = now.saturating_sub(network.accepted);
            let silent = now.saturating_sub(network.heard);
            let grain = SECOND + self.lateness;
            match &connection.ending {
                Some((word, _, since)) => assert!(
                    now - since <= 5 * SECOND + grain,
                    "{kind:?} {link} was ended ({word}) and is still here"
                ),
                None if !connection.open => {
                    assert!(age <= 10 * SECOND + grain, "{kind:?} {link} has no answer yet");
                }
                None => assert!(
                    silent <= 2 * keepalive + grain || network.has_input(),
                    "{kind:?} {link} was silent for {silent}"
                ),
            }
        }
    }

    /// All is calm, and what was owed had its time.
    pub(crate) fn settles(&self, links: &[Link], now: u64) {
        let lives: Vec<usize> = (0..self.connections.len())
            .filter(|&link| self.connections[link].lives(&links[link]))
            .collect();
        let masters: Vec<usize> =
            lives.iter().copied().filter(|&link| self.connections[link].reign.is_some()).collect();
        assert!(masters.len() <= 1, "two masters: {masters:?}");
        let master = masters.first().map(|&link| &self.connections[link]);
        let claim = master.and_then(|master| {
            assert!(master.claims.is_empty(), "a claim was not answered");
            master.reign.map(|reign| self.reigns[reign].claim)
        });
        for (link, connection) in self.connections.iter().enumerate() {
            let kind = connection.facts.kind;
            assert!(
                !connection.facts.must_end
                    || connection.ending.as_ref().is_some_and(|(word, ..)| {
                        connection.facts.may_end.contains(&word.as_str())
                    })
                    || connection.id.is_none()
                    || connection.left
                    || links[link].heard + 12 * SECOND + 2 * self.settings.keepalive > now,
                "{kind:?} {link} should have been ended, and not by {:?}",
                connection.ending
            );
            self.settles_packets(link, connection, &links[link]);
            if !connection.lives(&links[link]) || !connection.open || connection.left {
                continue;
            }
            if connection.facts.reads {
                assert_eq!(connection.pings, 0, "{kind:?} {link} misses pongs");
            }
            if connection.logged_in && connection.facts.reads && connection.reign.is_none() {
                if let Some(claim) = claim {
                    assert_eq!(connection.offer, Some(claim), "{kind:?} {link} misses the offer");
                    let sent = self.to_clients.get(&(claim, link)).copied().unwrap_or(0);
                    let received = connection.from_master.get(&claim).copied().unwrap_or(0);
                    assert_eq!(received, sent, "{kind:?} {link} misses packets of the master");
                } else if self.settings.notices {
                    assert_eq!(connection.offer, None, "{kind:?} {link} misses the master's end");
                }
            }
        }
        if let Some(master) = master.filter(|_| self.settings.notices) {
            let clients = lives.into_iter().filter(|&link| self.connections[link].logged_in);
            let clients: BTreeSet<usize> = clients.collect();
            assert_eq!(master.present, clients, "whom the master knows");
        }
    }

    /// Each packet of a client went to one master, or was answered.
    fn settles_packets(&self, link: usize, connection: &Connection, network: &Link) {
        let mut runs = connection.runs.clone();
        runs.sort_unstable_by_key(|run| run.1);
        let overlap = runs.windows(2).find(|pair| pair[0].2 > pair[1].1);
        assert!(overlap.is_none(), "{link}'s packets went to two masters: {overlap:?}");
        let passed: u64 = runs.iter().map(|(_, first, next)| next - first).sum();
        let (sent, told) = (connection.sent, passed + connection.unanswered);
        assert!(told <= sent, "{link} sent {sent} and was answered {told}");
        let forced = connection.ending.as_ref().is_some_and(|(word, ..)| word != "left");
        let whole = !forced && !connection.torn && !network.broken && connection.open;
        // What a master that is gone, or that does not read, has not read is lost with it.
        let lost = self.reigns.iter().any(|reign| {
            let master = &self.connections[reign.link];
            !reign.replaced && (master.dropped || master.left || !master.facts.reads)
        });
        if whole && !lost && connection.facts.reads {
            assert_eq!(told, sent, "{:?} {link}: packets are missing", connection.facts.kind);
        }
    }

    /// moss has stopped; all who could hear it were told, unless it had to be quick.
    pub(crate) fn stops(&self, links: &[Link], at_once: bool) {
        for (link, (connection, network)) in self.connections.iter().zip(links).enumerate() {
            let kind = connection.facts.kind;
            assert!(!network.is_moss_s(), "{kind:?} {link} is still open");
            let told = connection.ending.as_ref().is_some_and(|(word, ..)| word == "stopping");
            let whole = connection.open && connection.facts.reads && !connection.left;
            if told && whole && !at_once {
                assert_eq!(connection.close, Some(1001), "{kind:?} {link} was not told of the end");
            }
        }
    }

    /// Whether moss has nothing to hold for anybody: none of those that it has is away.
    pub(crate) fn owes_nothing(&self, links: &[Link]) -> bool {
        let mut all = self.connections.iter().zip(links);
        !all.any(|(connection, network)| network.is_moss_s() && connection.torn)
    }

    /// Open WebSockets, and clients, of those that are not ending.
    pub(crate) fn counts(&self, links: &[Link]) -> (usize, usize) {
        let lives = |&(link, connection): &(usize, &Connection)| {
            connection.open && connection.lives(&links[link])
        };
        let open = self.connections.iter().enumerate().filter(lives);
        let clients = open.clone().filter(|(_, connection)| connection.logged_in);
        (open.count(), clients.count())
    }
}

impl Connection {
    /// moss has it, and has not begun to end it.
    fn lives(&self, network: &Link) -> bool {
        network.is_moss_s() && self.ending.is_none() && self.id.is_some()
    }

    /// Whether it has logged in, and never claimed to be master.
    fn is_plain_client(&self) -> bool {
        self.claims.is_empty() && self.reign.is_none() && self.logged_in
    }
}

impl Shares {
    /// A slow master is sent so many bytes of a client.
    fn pass(&mut self, client: usize, len: u64, largest: u64, settings: &Settings) {
        // The first that a slow master takes fills buffers that were empty.
        if self.over || self.skipped < settings.max_backlog as u64 + (1 << 20) {
            self.skipped += len;
            return;
        }
        if !self.clients.contains_key(&client) {
            self.change(settings);
        }
        self.clients.insert(client, largest);
        self.passed.push((client, len));
    }

    /// Those who flood are others from now on. Each had half of its fair share at least, in
    /// bytes and less one packet, over any span of so many times the packet limit as there
    /// were clients.
    fn change(&mut self, settings: &Settings) {
        let passed = std::mem::take(&mut self.passed);
        let count = self.clients.len() as u64;
        let span = count * settings.max_packet as u64;
        let mut of: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut end, mut bytes) = (0, 0);
        for &(first, len) in &passed {
            while bytes < span {
                let Some(&(client, len)) = passed.get(end) else { return };
                *of.entry(client).or_default() += len;
                bytes += len;
                end += 1;
            }
            for (client, largest) in &self.clients {
                let got = of.get(client).copied().unwrap_or(0);
                assert!(
                    2 * (got + largest) >= bytes / count,
                    "client {client} got {got} of {bytes} bytes that {count} flood a master with"
                );
            }
            *of.get_mut(&first).expect("it was counted") -= len;
            bytes -= len;
        }
    }
}

/// The number behind a key.
fn field(text: &str, key: &str) -> u64 {
    let at = text.find(key).unwrap_or_else(|| panic!("no {key} in {text}")) + key.len();
    let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
    text[at..at + digits].parse().expect("a number")
}
