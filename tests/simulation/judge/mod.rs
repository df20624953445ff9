//! What must hold at all times: a model of moss that is simpler than moss.
//!
//! It sees what peers send, each message that moss sends ([`Judge::said`], in the order of
//! each connection), moss's log lines, and the ends of its sockets and turns. It does not look
//! into moss, and panics as soon as something contradicts docs/protocol.md or
//! docs/promises.md.
//!
//! Packets are numbered, and their text follows from the number, so they are compared byte for
//! byte without being kept. A *reign* is the time of one master: from a `master-confirmation` to
//! the `replaced` on the same connection, or to its end. During a reign each client's packets
//! arrive without a gap.
//!
//! | file | |
//! |---|---|
//! | `packets` | which packets each peer gets |
//! | `endings` | why and when connections end; that moss reads all |
//! | `admission` | which connections are accepted |
//! | `answers` | the answers to visitors |
//! | `shares` | each client's share of a slow master |
//! | `payload` | the packets themselves |

mod admission;
mod answers;
mod endings;
mod packets;
mod payload;
mod shares;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::network::{Link, MILLISECOND, Odds};
use crate::plan::{Kind, Settings};
use crate::wire::Said;
use admission::neighbours;
use answers::{Generations, Requests};
pub(crate) use payload::offer;
use payload::{to_client, to_master};
use shares::Shares;

/// The limit of frames and of receives in a turn: 4,096 for all ready peers and 1,024 for new
/// connections, and the rest of one share (1,024) for each of both.
pub(crate) const TURN_FRAMES: usize = 4_096 + 1_024 + 2 * 1_024;

/// What may happen to a peer.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    /// The log's words for reasons with which moss may end it.
    pub(crate) may_end: Vec<&'static str>,
    /// It must be ended with one of them before the simulation ends.
    pub(crate) must_end: bool,
    /// It reads all at once, so it gets the Close.
    pub(crate) reads: bool,
    /// The longest padding of its packets.
    pub(crate) padding: usize,
}

/// All that is known about a connection.
#[derive(Debug)]
struct Connection {
    facts: Facts,
    id: Option<String>,
    /// It became a WebSocket; and when.
    open: bool,
    opened: u64,
    /// It was accepted normally (`resident`), or by a full server only to become the master
    /// (`candidate`). Neither if that is not visible from outside.
    resident: bool,
    candidate: bool,
    /// Its address had too many connections when it came.
    over: bool,
    /// The client address that its proxy names is known.
    asked: bool,
    /// The kernel did not take all that moss had for it; and in which turn.
    blocked: bool,
    blocked_in: u64,
    blocked_since: u64,
    unsent: usize,
    unblocked_in: u64,
    status: Option<u16>,
    close: Option<u16>,
    requests: Requests,
    /// The line of the log: word, code, time.
    ending: Option<(String, u16, u64)>,
    /// How many messages it was sent after that, except a Close.
    after_ending: usize,
    /// Its handshake was not finished when it was ended, so nothing could be sent to it.
    untold: bool,
    /// It has violated TLS, and whether it must get an alert.
    breaks_tls: Option<bool>,
    /// Records that it was sent, and the one that was encrypted when it was ended.
    records: u64,
    sealed: Option<u64>,
    /// The peer has begun to leave, in any way.
    left: bool,
    /// Some of its bytes may be lost: it was reset, or its host has vanished.
    torn: bool,
    logged_in: bool,
    /// How many packets to the master it has sent, and how many were answered `no-master`.
    sent: u64,
    unanswered: u64,
    /// The received ones, by reign: the first number and the next one.
    runs: Vec<(usize, u64, u64)>,
    pings: u64,
    wrong_secrets: u64,
    /// Claims that are not confirmed yet.
    claims: VecDeque<u64>,
    reign: Option<usize>,
    /// The last offer that it got, and how many packets came after each offer.
    offer: Option<u64>,
    from_master: HashMap<u64, u64>,
    /// Clients that it was told of while it was master.
    present: BTreeSet<usize>,
}

/// A reign.
#[derive(Debug)]
struct Reign {
    link: usize,
    began: u64,
    /// When it ended.
    ended: Option<u64>,
    /// The last claim.
    claim: u64,
    /// It ended by a takeover, and all earlier packets have been sent.
    replaced: bool,
}

/// Checks what must hold.
pub(crate) struct Judge {
    settings: Settings,
    /// There is TLS, and memory for only a few records.
    is_scarce: bool,
    /// The random faults of the simulated kernel; until when it reports false events.
    odds: Odds,
    spurious_until: u64,
    connections: Vec<Connection>,
    by_id: HashMap<String, usize>,
    reigns: Vec<Reign>,
    /// Who made each claim.
    claimants: Vec<usize>,
    /// How many packets masters have sent: by claim and client.
    to_clients: BTreeMap<(u64, usize), u64>,
    pub(crate) stopping: bool,
    /// The last turn that ended with a master.
    had_master: u64,
    turn: u64,
    turn_began: u64,
    /// Frames that were answered or passed on in this turn.
    frames: usize,
    /// Connections that were refused in this turn because the server is full.
    refused: Vec<usize>,
    /// The longest time for which moss got no processor.
    pub(crate) lateness: u64,
    /// Packets that moss passed on.
    pub(crate) passed: u64,
    shares: Shares,
    generations: Generations,
}

impl Judge {
    pub(crate) fn new(settings: Settings, odds: Odds, has_tls: bool) -> Self {
        Self {
            settings,
            is_scarce: has_tls && settings.max_memory < 1 << 20,
            odds,
            spurious_until: if odds.spurious > 0 { u64::MAX } else { 0 },
            connections: Vec::new(),
            by_id: HashMap::new(),
            reigns: Vec::new(),
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
            generations: Generations::default(),
        }
    }

    // Actions of peers.

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
            asked: false,
            blocked: false,
            blocked_in: 0,
            blocked_since: 0,
            unsent: 0,
            unblocked_in: 0,
            status: None,
            close: None,
            requests: Requests::default(),
            ending: None,
            after_ending: 0,
            untold: false,
            breaks_tls: None,
            records: 0,
            sealed: None,
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

    /// The peer, or its network, is gone without an orderly end.
    pub(crate) fn tears(&mut self, link: usize) {
        self.connections[link].left = true;
        self.connections[link].torn = true;
    }

    /// The peer violates TLS, and must get an alert or not.
    pub(crate) fn breaks_tls(&mut self, link: usize, alert: bool) {
        self.connections[link].breaks_tls = Some(alert);
    }

    pub(crate) fn logs_in(&mut self, link: usize) {
        self.connections[link].logged_in = true;
    }

    /// A client sends its next packet, with this payload.
    pub(crate) fn sends(&mut self, link: usize) -> String {
        let connection = &mut self.connections[link];
        connection.sent += 1;
        to_master(link, connection.sent - 1, connection.facts.padding)
    }

    /// No client floods for its share any more.
    pub(crate) fn rests(&mut self) {
        self.shares.change(&self.settings);
        self.shares.over = true;
    }

    /// The simulated kernel makes no random faults any more.
    pub(crate) fn calms(&mut self, now: u64) {
        self.spurious_until = self.spurious_until.min(now);
    }

    pub(crate) fn pings(&mut self, link: usize) {
        self.connections[link].pings += 1;
    }

    /// A master sends set-master. Returns the number of this claim.
    pub(crate) fn claims(&mut self, link: usize) -> u64 {
        self.claimants.push(link);
        let claim = self.claimants.len() as u64;
        let connection = &mut self.connections[link];
        connection.claims.push_back(claim);
        connection.logged_in = false;
        claim
    }

    /// Whether a link was answered and is no WebSocket.
    pub(crate) fn is_visitor(&self, link: usize) -> bool {
        self.connections[link].is_visitor()
    }

    /// The kind of a link's peer.
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

    // Actions of moss.

    pub(crate) fn registers(&mut self, link: usize, token: usize, links: &[Link]) {
        let id = token.to_string();
        assert!(self.by_id.insert(id.clone(), link).is_none(), "id {id} is given twice");
        self.connections[link].id = Some(id);
        if links[link].named.is_none() {
            self.counts(link, links);
        }
    }

    /// Counts a connection for its address, whose limit it may exceed.
    fn counts(&mut self, link: usize, links: &[Link]) {
        let neighbours = neighbours(link, links, &self.connections);
        self.connections[link].over =
            self.settings.per_address.is_some_and(|limit| neighbours >= limit);
    }

    /// A turn begins.
    pub(crate) fn begins_turn(&mut self, now: u64) {
        self.turn += 1;
        self.turn_began = now;
        self.frames = 0;
    }

    /// The kernel took this much of what moss had for a peer, and this much is left.
    pub(crate) fn sent(&mut self, link: usize, count: usize, left: usize) {
        let connection = &mut self.connections[link];
        if count > 0 {
            connection.requests.moves(self.turn_began);
        }
        if connection.blocked {
            connection.blocked_in = self.turn;
            connection.unblocked_in = self.turn;
        } else if connection.unblocked_in != self.turn {
            // With TLS, one record may be taken and the next one not.
            connection.blocked_since = self.turn_began;
        }
        connection.blocked = left > 0;
        connection.unsent = left;
    }

    /// moss has sent a complete record; its content follows.
    pub(crate) fn opens_record(&mut self, link: usize) {
        self.connections[link].records += 1;
    }

    /// moss has sent a complete message.
    pub(crate) fn said(&mut self, link: usize, said: &Said, links: &[Link], now: u64) {
        // What was queued in earlier turns does not count for this one.
        if said.took_a_frame() && self.connections[link].blocked_in != self.turn {
            self.frames += 1;
            assert!(self.frames <= TURN_FRAMES, "{} frames in a turn", self.frames);
        }
        self.gives_up_the_rest(link, said);
        match said {
            Said::Http { status: 101, .. } => {
                self.ends_answer(link);
                self.enters(link, links, now);
            }
            Said::Head { status, head } => self.begins_answer(link, head, *status, links),
            Said::Page(piece) => self.sends_page(link, piece),
            Said::Http { status, body, .. } => {
                self.ends_answer(link);
                if *status == 200 && self.kind(link) == Kind::Inspector {
                    self.inspects(body, links);
                }
                let connection = &mut self.connections[link];
                let expected = !connection.over || *status == 429;
                assert!(
                    expected,
                    "{link} is answered {status}, though it exceeds the limit of its address"
                );
                connection.status = Some(*status);
            }
            Said::Close { code, reason } => {
                let connection = &mut self.connections[link];
                connection.close = Some(*code);
                let kicked = connection.ending.as_ref().is_some_and(|(word, ..)| word == "kicked");
                assert!(!kicked || reason == "go", "{link} was kicked for {reason}");
            }
            Said::Ping => {
                let silent = now - links[link].heard;
                let queued = self.connections[link].blocked_in == self.turn;
                let early = silent < self.settings.keepalive && !queued;
                assert!(!early, "{link} is pinged after only {silent}");
            }
            Said::Pong => self.answers_ping(link),
            Said::Text(text) => self.says(link, text),
        }
    }

    /// A peer that is dropped gets the frame that had begun, and a Close. Encrypted records can't
    /// be taken back, and are sent before that.
    fn gives_up_the_rest(&mut self, link: usize, said: &Said) {
        let connection = &mut self.connections[link];
        let Some((word, ..)) = &connection.ending else { return };
        if ["slow_reader", "slow_master", "memory"].contains(&word.as_str())
            && !matches!(said, Said::Close { .. } | Said::Head { .. })
            // Answers are given up only when the Close is, too.
            && !connection.is_visitor()
            && connection.sealed != Some(connection.records)
        {
            connection.after_ending += 1;
            assert!(connection.after_ending <= 1, "{link} was cut off, and gets more: {word}");
        }
    }

    /// The least that moss holds: unsent bytes, and incomplete records.
    pub(crate) fn least_held(&self, links: &[Link]) -> usize {
        let holds = |&(link, connection): &(usize, &Connection)| {
            !links[link].is_over() && connection.breaks_tls.is_none()
        };
        let lives = self.lives(links).filter(holds);
        // A short record of TLS itself may be decrypted before the one that came with it.
        let half = |link: &Link| link.unopened().saturating_sub(64);
        // Pages are shared, not held for a connection.
        let unsent = |connection: &Connection| match connection.is_visitor() {
            true => 0,
            false => connection.unsent,
        };
        lives.map(|(link, connection)| unsent(connection) + half(&links[link])).sum()
    }

    /// Connections that moss has and has not begun to end.
    fn lives<'j>(&'j self, links: &'j [Link]) -> impl Iterator<Item = (usize, &'j Connection)> {
        let all = self.connections.iter().enumerate();
        all.filter(|(link, connection)| connection.lives(&links[*link]))
    }

    fn answers_ping(&mut self, link: usize) {
        let pings = &mut self.connections[link].pings;
        *pings = pings.checked_sub(1).unwrap_or_else(|| panic!("{link} gets a pong too many"));
    }

    /// Whether moss holds nothing for any peer: none waits for an answer (behind it, moss may hold
    /// the next request), none was reset, and no host has vanished.
    pub(crate) fn owes_nothing(&self, links: &[Link]) -> bool {
        let mut all = self.connections.iter().zip(links);
        !all.any(|(connection, network)| {
            network.is_at_moss() && (connection.torn || connection.requests.is_owed())
        })
    }
}

impl Connection {
    /// Whether moss has it, and has not begun to end it.
    fn lives(&self, network: &Link) -> bool {
        network.is_at_moss() && self.ending.is_none() && self.id.is_some()
    }

    /// Whether it was answered and is no WebSocket.
    fn is_visitor(&self) -> bool {
        self.requests.was_answered() && !self.open
    }

    /// Whether it has logged in, and never claimed to be master.
    fn is_plain_client(&self) -> bool {
        self.claims.is_empty() && self.reign.is_none() && self.logged_in
    }
}
