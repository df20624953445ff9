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
use std::net::IpAddr;

use crate::network::{Link, MILLISECOND, SECOND};
use crate::plan::{Kind, LOGIN_SECRET, SECRET, Settings};
use crate::wire::Said;

/// Frames that one turn handles at most: 4,096 of all who are ready and 1,024 of arrivals,
/// and the rest of one share each.
const TURN_FRAMES: usize = 4_096 + 1_024 + 2 * 1_024;

/// Connections that a full house has room for while it has no master.
const MASTER_PLACES: usize = 8;

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
    /// It asked for a WebSocket, and got one; when.
    open: bool,
    opened: u64,
    /// It was let in where there was room for it, or into a full house, to become master or
    /// nothing. Neither if that can't be told from outside.
    resident: bool,
    candidate: bool,
    /// Its address had too many connections when it came.
    over: bool,
    /// Its kernel did not take all that moss had; in which turn that was so.
    blocked: bool,
    blocked_in: u64,
    blocked_since: u64,
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
    began: u64,
    /// When it was over.
    ended: Option<u64>,
    /// The last claim.
    claim: u64,
    /// It ended by a takeover, and all that was due before has been sent.
    replaced: bool,
}

/// Knows what must hold.
pub(crate) struct Judge {
    settings: Settings,
    /// moss is told of what is not there.
    spurious: bool,
    connections: Vec<Connection>,
    by_id: HashMap<String, usize>,
    reigns: Vec<Reign>,
    claims: u64,
    /// Who made each claim.
    claimants: Vec<usize>,
    /// What masters sent: by claim and client.
    to_clients: BTreeMap<(u64, usize), u64>,
    pub(crate) stopping: bool,
    /// The last turn that ended with a master.
    had_master: u64,
    turn: u64,
    turn_began: u64,
    /// Frames of this turn that peers were answered, or that were passed on.
    frames: usize,
    /// Who was told in this turn that the house is full.
    refused: Vec<usize>,
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
    pub(crate) fn new(settings: Settings, spurious: bool) -> Self {
        Self {
            settings,
            spurious,
            connections: Vec::new(),
            by_id: HashMap::new(),
            reigns: Vec::new(),
            claims: 0,
            claimants: Vec::new(),
            to_clients: BTreeMap::new(),
            stopping: false,
            had_master: 0,
            turn: 0,
            turn_began: 0,
            frames: 0,
            refused: Vec::new(),
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
            opened: 0,
            resident: false,
            candidate: false,
            over: false,
            blocked: false,
            blocked_in: 0,
            blocked_since: 0,
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

    /// Nobody floods for a share any more.
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

    /// moss has to end it by one of the ways that it may.
    pub(crate) fn must_end(&mut self, link: usize) {
        self.connections[link].facts.must_end = true;
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

    pub(crate) fn registers(&mut self, link: usize, token: usize, links: &[Link]) {
        let id = token.to_string();
        assert!(self.by_id.insert(id.clone(), link).is_none(), "id {id} is given twice");
        self.connections[link].id = Some(id);
        let neighbours = neighbours(link, links);
        self.connections[link].over =
            self.settings.per_address.is_some_and(|limit| neighbours >= limit);
    }

    /// A turn begins.
    pub(crate) fn begins_turn(&mut self, now: u64) {
        self.turn += 1;
        self.turn_began = now;
        self.frames = 0;
    }

    /// A kernel took all that moss had for a peer, or not.
    pub(crate) fn sent(&mut self, link: usize, all: bool) {
        let connection = &mut self.connections[link];
        if connection.blocked {
            connection.blocked_in = self.turn;
        } else {
            connection.blocked_since = self.turn_began;
        }
        connection.blocked = !all;
    }

    /// moss sends something whole.
    pub(crate) fn said(&mut self, link: usize, said: &Said, links: &[Link], now: u64) {
        // What was queued in earlier turns is no work of this one.
        if said.is_one_frames() && self.connections[link].blocked_in != self.turn {
            self.frames += 1;
            assert!(self.frames <= TURN_FRAMES, "{} frames in a turn", self.frames);
        }
        match said {
            Said::Http { status: 101, .. } => self.enters(link, links, now),
            Said::Http { status, body } => {
                if *status == 200 && self.kind(link) == Kind::Inspector {
                    self.inspects(body, links);
                }
                let connection = &mut self.connections[link];
                let expected = !connection.over || *status == 429;
                assert!(expected, "{link} is answered {status}, as one too many of its address");
                connection.status = Some(*status);
            }
            Said::Close { code, .. } => self.connections[link].close = Some(*code),
            Said::Ping => {
                let silent = now - links[link].heard;
                let queued = self.connections[link].blocked_in == self.turn;
                let early = silent < self.settings.keepalive && !queued;
                assert!(!early, "{link} is asked after {silent} whether it is there");
            }
            Said::Pong => self.answers_ping(link),
            Said::Text(text) => self.says(link, text),
        }
    }

    /// It is a WebSocket from now on. In a full house only a master is wanted: while there
    /// is none that answers, so many more may come to be it, and nothing else.
    fn enters(&mut self, link: usize, links: &[Link], now: u64) {
        let most = self.settings.max_connections;
        let open = |&(_, other): &(usize, &Connection)| other.open;
        let here: Vec<_> = self.lives(links).filter(open).collect();
        let count = here.len();
        assert!(count < most + MASTER_PLACES, "{link} is let in beside {count}");
        let candidate = here.iter().filter(|(_, other)| other.resident).count() >= most;
        let resident = self.may_be_open(links).len() <= most;
        let master = here.iter().find(|(_, other)| other.reign.is_some());
        // It was heard, and was so before somebody was let in.
        let answers = master.is_some_and(|&(link, _)| {
            let heard = links[link].heard;
            heard < self.turn_began && now - heard < self.settings.keepalive
        }) && self.connections[link].blocked_in != self.turn;
        // Who came while there was none may still wait for its time.
        let others = here.iter().filter(|(_, other)| now - other.opened > 12 * SECOND).count();
        assert!(!answers || others < most, "{link} is let in beside a master and {others}");
        let connection = &mut self.connections[link];
        assert!(!connection.over, "{link} is one too many of its address, and is let in");
        connection.open = true;
        connection.opened = now;
        connection.candidate = candidate;
        connection.resident = resident;
    }

    /// Whoever was refused was refused for a reason, and the master is known.
    pub(crate) fn ends_turn(&mut self, links: &[Link], now: u64) {
        let reigns = |&(_, connection): &(usize, &Connection)| connection.reign.is_some();
        if self.lives(links).any(|one| reigns(&one)) {
            self.had_master = self.turn;
        }
        let refused = std::mem::take(&mut self.refused);
        // A claim that was not answered yet may have been heard.
        let wanted = !refused.is_empty()
            && self.had_master + 1 < self.turn
            && !self.lives(links).any(|(_, connection)| !connection.claims.is_empty());
        if !wanted {
            return;
        }
        let here = self.may_be_open(links);
        let recent = |connection: &Connection| {
            !connection.open || now - connection.opened <= SECOND + self.lateness
        };
        let recent = here.iter().filter(|connection| recent(connection)).count();
        let most = self.settings.max_connections;
        assert!(
            here.len() >= most + MASTER_PLACES && recent >= MASTER_PLACES,
            "{refused:?} may be the master, and only {} are here, {recent} of them just now",
            here.len()
        );
    }

    /// Those that may have been open in this turn, as far as can be told from outside.
    fn may_be_open(&self, links: &[Link]) -> Vec<&Connection> {
        let may = |(link, connection): &(usize, &Connection)| {
            let upgrades = connection.open
                || (connection.status.is_none() && links[*link].received > 0 && !connection.over);
            let ended = connection.ending.as_ref().map_or(u64::MAX, |(.., at)| *at);
            upgrades && connection.id.is_some() && ended >= self.turn_began
        };
        let all = self.connections.iter().enumerate();
        all.filter(may).map(|(_, connection)| connection).collect()
    }

    /// Those that moss has and has not begun to end.
    fn lives<'j>(&'j self, links: &'j [Link]) -> impl Iterator<Item = (usize, &'j Connection)> {
        let all = self.connections.iter().enumerate();
        all.filter(|(link, connection)| connection.lives(&links[*link]))
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
        let floods = &self.connections[link];
        if floods.facts.kind == Kind::Share && floods.ending.is_none() {
            let largest = floods.facts.padding as u64 + 150;
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
        assert!(!client.candidate, "{link} is let into a full house as a client");
        client.offer = Some(claim);
    }

    fn confirms(&mut self, link: usize) {
        let connection = &mut self.connections[link];
        let claim = connection.claims.pop_front().expect("a claim to be confirmed");
        connection.candidate = false;
        connection.resident = true;
        match connection.reign {
            Some(reign) => self.reigns[reign].claim = claim,
            None => {
                connection.reign = Some(self.reigns.len());
                connection.present.clear();
                let began = self.turn_began;
                self.reigns.push(Reign { link, began, ended: None, claim, replaced: false });
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
                let reign = connection.reign.take().expect("a master that is replaced");
                self.reigns[reign].replaced = true;
                self.reigns[reign].ended = Some(self.turn_began);
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
        let secrets = [SECRET, LOGIN_SECRET, "\"x\":", "\"n\":"];
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "in the log: {line}");
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
        let was_replaced = self.was_replaced(link, links);
        let halves = word == "memory" && links[link].half() > 0 && self.may_drop_halves(links);
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
            "memory" if halves => true,
            // It is a guest now, and has much from the time when it was none.
            "memory" if connection.blocked && was_replaced => true,
            word => may_end.contains(&word),
        };
        assert!(expected, "{kind:?} {link} is ended by moss: {line}");
        let waited = now - links[link].heard;
        match word {
            "silent" => assert!(waited >= 2 * self.settings.keepalive, "{line}: after {waited}"),
            "timeout" => assert!(now - links[link].accepted >= 10 * SECOND, "{line}"),
            "slow-master" => {
                let behind = self.turn_began - connection.blocked_since;
                assert!(connection.blocked, "{line}: and it is not behind");
                assert!(behind >= self.settings.keepalive / 2, "{line}: after {behind}");
            }
            "per-address" => assert!(connection.over, "{line}: and it is not over"),
            "full" if code == 503 => self.refused.push(link),
            "full" if !connection.logged_in => {
                let age = now - connection.opened;
                assert!(age >= SECOND, "{line}: after {age} as a candidate");
            }
            "displaced" => {
                let age = now - links[link].accepted;
                assert!(age >= SECOND, "{line}: after {age}");
            }
            _ => {}
        }
        connection.ending = Some((word.to_owned(), code, now));
        if connection.facts.kind == Kind::Share || connection.reign.is_some() {
            // Who is dropped for memory takes the measure along.
            self.shares.passed.clear();
            self.shares.clients.clear();
        }
    }

    /// Whether it was master, and is none any more; it may not have been told yet.
    fn was_replaced(&self, link: usize, links: &[Link]) -> bool {
        let own = self.reigns.iter().rposition(|reign| reign.link == link);
        let mut others = self.lives(links).filter(|(other, _)| *other != link);
        own.is_some_and(|own| {
            self.reigns[own].replaced
                || others.any(|(_, other)| !other.claims.is_empty() || other.reign > Some(own))
        })
    }

    /// Whether clients' packets that are not whole may be too much: of all memory, with what
    /// guests did not read, they may be one packet, and else a quarter. One in fragments
    /// counts for up to four times its length.
    fn may_drop_halves(&self, links: &[Link]) -> bool {
        let halves: u64 = self.lives(links).map(|(link, _)| 4 * links[link].half()).sum();
        let stalls = |connection: &Connection| {
            connection.blocked && !connection.logged_in && connection.reign.is_none()
        };
        let guests = self.lives(links).any(|(_, connection)| stalls(connection));
        let packet = if guests { self.settings.max_packet as u64 + (64 << 10) } else { 0 };
        halves > packet.max(self.settings.max_memory as u64 / 4)
    }

    /// moss closes its socket.
    pub(crate) fn drops(&mut self, link: usize, links: &[Link], now: u64) {
        let network = &links[link];
        let connection = &mut self.connections[link];
        let kind = connection.facts.kind;
        connection.dropped = true;
        if connection.id.is_none() {
            let flood = self.settings.per_address.is_some_and(|limit| {
                // Eight over the limit are answered.
                neighbours(link, links) >= limit + 8
            });
            return assert!(flood, "{kind:?} {link} is dropped without an id");
        }
        let Some((word, code, since)) = &connection.ending else {
            panic!("{kind:?} {link} is dropped without a line in the log");
        };
        if let Some(reign) = connection.reign.take() {
            // What was on its way to it may be lost.
            self.reigns[reign].replaced = false;
            self.reigns[reign].ended = Some(now);
        }
        let whole = connection.facts.reads && !connection.torn && !network.broken;
        // Where memory is full, a last word that the kernel does not take at once is given up.
        let given_up = connection.blocked || ["memory", "displaced"].contains(&word.as_str());
        if *code > 0 && whole && !self.stopping && !given_up {
            let said = connection.close.or(connection.status);
            assert_eq!(said, Some(*code), "the last word to {kind:?} {link}, who was {word}");
        }
        if *word == "left" && whole && !connection.left && !network.broken {
            panic!("{kind:?} {link} had not left");
        }
        let waited = now - since;
        assert!(waited <= 6 * SECOND + self.lateness, "{link}, {word}, stayed for {waited}");
        if !network.is_over() && !self.stopping && !given_up {
            // In a full house others want its place.
            let least = if self.settings.max_connections < 100 { 1 } else { 5 } * SECOND;
            // It counts from when its turn began.
            let waited = waited + 10 * MILLISECOND;
            assert!(waited >= least, "{kind:?} {link}, {word}, had {waited} to hang up");
        }
    }

    /// Looks for what should have happened by now.
    pub(crate) fn looks(&self, links: &[Link], now: u64) {
        let keepalive = self.settings.keepalive;
        let heard_since = self.clients_are_heard_since(links, now);
        for (link, (connection, network)) in self.connections.iter().zip(links).enumerate() {
            if !network.is_moss_s() || connection.id.is_none() {
                continue;
            }
            let kind = connection.facts.kind;
            let age = now.saturating_sub(network.accepted);
            // What was received may have had to wait for the master, but not for ever. Nor is
            // somebody silent whose kernel says that there is something.
            let since = if connection.logged_in { heard_since } else { 0 };
            let excused = if self.spurious { now } else { since };
            let excused = excused.min(network.heard + keepalive + SECOND);
            let silent = now.saturating_sub(network.heard.max(excused));
            let grain = SECOND + self.lateness;
            match &connection.ending {
                Some((word, _, since)) => assert!(
                    now - since <= 5 * SECOND + grain,
                    "{kind:?} {link} was ended ({word}) and is still here"
                ),
                None if connection.candidate => {
                    let age = now - connection.opened;
                    assert!(age <= 10 * SECOND + grain, "{kind:?} {link} keeps the master's place");
                }
                None if !connection.open => {
                    assert!(age <= 10 * SECOND + grain, "{kind:?} {link} has no answer yet");
                }
                None => assert!(
                    silent <= 2 * keepalive + grain || network.has_input(),
                    "{kind:?} {link} was silent for {silent}"
                ),
            }
            let waits_since = network.waits_since.max(network.accepted);
            let waits = now.saturating_sub(waits_since.max(since));
            assert!(waits <= grain, "{kind:?} {link} is not heard for {waits}");
            let waits = now.saturating_sub(waits_since);
            assert!(waits <= keepalive / 2 + 2 * grain, "{kind:?} {link} waits for {waits}");
        }
    }

    /// Since when no client has to wait for the master: it reads, or there is none.
    fn clients_are_heard_since(&self, links: &[Link], now: u64) -> u64 {
        let ended = self.reigns.iter().map(|reign| match reign.ended {
            Some(ended) => ended,
            None => {
                let (master, link) = (&self.connections[reign.link], &links[reign.link]);
                let reads = master.lives(link) && master.facts.reads && !master.torn;
                if reads { reign.began.max(link.stalled_until) } else { now }
            }
        });
        ended.max().unwrap_or(0)
    }

    /// All is calm, and what was owed had its time.
    pub(crate) fn settles(&self, links: &[Link], now: u64) {
        let lives: Vec<usize> = (0..self.connections.len())
            .filter(|&link| self.connections[link].lives(&links[link]))
            .collect();
        // One that is away may not have been told that it is replaced.
        let reigning = lives.iter().copied().filter(|&link| self.connections[link].reign.is_some());
        let (away, masters): (Vec<usize>, Vec<usize>) =
            reigning.partition(|&link| self.connections[link].torn);
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
                } else if self.settings.notices && away.is_empty() {
                    assert_eq!(connection.offer, None, "{kind:?} {link} misses the master's end");
                }
            }
        }
        if let Some(master) = master.filter(|_| self.settings.notices) {
            let clients = lives.into_iter().filter(|&link| self.connections[link].logged_in);
            // The login of one that is away may never have arrived.
            let (away, clients): (BTreeSet<usize>, BTreeSet<usize>) =
                clients.partition(|&link| self.connections[link].torn);
            let known: BTreeSet<usize> = &master.present - &away;
            assert_eq!(known, clients, "whom the master knows");
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
            let ended = reign.ended.or(self.connections[reign.link].left.then_some(u64::MAX));
            !reign.replaced && ended.is_some_and(|ended| ended >= connection.opened)
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

    /// moss tells an inspector how many are here: those that are not ending, or have begun to
    /// end after they were counted. The login of one that is away may never have arrived.
    fn inspects(&self, body: &str, links: &[Link]) {
        let fits = |ended_by: u64| {
            let here = |&(link, connection): &(usize, &Connection)| {
                let ended = connection.ending.as_ref().map_or(u64::MAX, |(.., at)| *at);
                connection.open && links[link].is_moss_s() && ended >= ended_by
            };
            let open = self.connections.iter().enumerate().filter(here);
            let clients = open.clone().filter(|(_, connection)| connection.logged_in);
            let away = clients.clone().filter(|(_, connection)| connection.torn).count();
            let (open, clients) = (open.count(), clients.count());
            let counts = |clients| format!("\"connections\":{open},\"clients\":{clients},");
            (clients - away..=clients).any(|clients| body.contains(&counts(clients)))
        };
        assert!(fits(u64::MAX) || fits(self.turn_began), "not who is here: {body}");
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
            // What ends the span may be a whole packet of one of them.
            let fair = bytes.saturating_sub(settings.max_packet as u64) / count;
            for (client, largest) in &self.clients {
                let got = of.get(client).copied().unwrap_or(0);
                assert!(
                    2 * (got + largest) >= fair,
                    "client {client} got {got} of {bytes} bytes that {count} flood a master with"
                );
            }
            *of.get_mut(&first).expect("it was counted") -= len;
            bytes -= len;
        }
    }
}

/// How many connections of its address moss has beside it: an IPv6 /64 is one.
fn neighbours(link: usize, links: &[Link]) -> usize {
    let network = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (0, address.to_bits().into()),
        IpAddr::V6(address) => (1, (address.to_bits() >> 64) as u64),
    };
    let own = network(links[link].address);
    let mut others = links.iter().enumerate();
    let is_one = |(other, of): &(usize, &Link)| {
        *other != link && of.is_moss_s() && network(of.address) == own
    };
    others.by_ref().filter(is_one).count()
}

/// The number behind a key.
fn field(text: &str, key: &str) -> u64 {
    let at = text.find(key).unwrap_or_else(|| panic!("no {key} in {text}")) + key.len();
    let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
    text[at..at + digits].parse().expect("a number")
}
