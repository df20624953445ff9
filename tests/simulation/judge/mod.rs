//! What must hold, all the time: a model of moss that is simpler than moss.
//!
//! It sees what peers send, each message that moss sends ([`Judge::said`], in the order of
//! each connection), the lines of moss's log, the ends of its sockets and of its turns. It
//! does not see into moss, and panics as soon as something can't be explained by docs/protocol.md and docs/promises.md.
//!
//! Packets are numbered, and their text follows from their number, so all is compared byte
//! for byte without being kept. A *reign* is the time from a `master-confirmation` to the
//! `replaced` on the same connection, or to its end: during one, each client's packets
//! arrive without a gap.
//!
//! | file | |
//! |---|---|
//! | `packets` | who is told what |
//! | `endings` | why and when connections end; that all are heard |
//! | `house` | who is let in |
//! | `answers` | what visitors are answered |
//! | `shares` | who gets how much of a slow master |
//! | `payload` | the packets themselves |

mod answers;
mod endings;
mod house;
mod packets;
mod payload;
mod shares;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::network::{Link, MILLISECOND, Odds};
use crate::plan::{Kind, Settings};
use crate::wire::Said;
use answers::{Generations, Requests};
use house::neighbours;
pub(crate) use payload::offer;
use payload::{to_client, to_master};
use shares::Shares;

/// Frames that one turn handles, and receives that it makes, at most: 4,096 of all who are
/// ready and 1,024 of arrivals, and the rest of one share (1,024) each.
pub(crate) const TURN_FRAMES: usize = 4_096 + 1_024 + 2 * 1_024;

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
    /// It is known whom the proxy names that it came by.
    asked: bool,
    /// Its kernel did not take all that moss had; in which turn that was so.
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
    /// What it was sent after that, but for a Close.
    after_ending: usize,
    /// There was no handshake by then, so it could be told nothing.
    untold: bool,
    /// It has broken TLS, and whether an alert is due to it.
    breaks_tls: Option<bool>,
    /// Records that it was sent, and the one that was sealed when its end came.
    records: u64,
    sealed: Option<u64>,
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
    /// There is TLS, and memory for a few records only.
    is_scarce: bool,
    /// What its kernel does for no reason; until when it tells moss of what is not there.
    odds: Odds,
    spurious_until: u64,
    connections: Vec<Connection>,
    by_id: HashMap<String, usize>,
    reigns: Vec<Reign>,
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

    /// The peer, or its network, is gone in the middle of something.
    pub(crate) fn tears(&mut self, link: usize) {
        self.connections[link].left = true;
        self.connections[link].torn = true;
    }

    /// The peer breaks TLS, and is due an alert or not.
    pub(crate) fn breaks_tls(&mut self, link: usize, alert: bool) {
        self.connections[link].breaks_tls = Some(alert);
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

    /// The kernel does nothing without a reason any more.
    pub(crate) fn calms(&mut self, now: u64) {
        self.spurious_until = self.spurious_until.min(now);
    }

    pub(crate) fn pings(&mut self, link: usize) {
        self.connections[link].pings += 1;
    }

    /// A master claims its place: the number of the claim.
    pub(crate) fn claims(&mut self, link: usize) -> u64 {
        self.claimants.push(link);
        let claim = self.claimants.len() as u64;
        let connection = &mut self.connections[link];
        connection.claims.push_back(claim);
        connection.logged_in = false;
        claim
    }

    /// Whether a link was answered, and is no WebSocket.
    pub(crate) fn is_visitor(&self, link: usize) -> bool {
        self.connections[link].is_visitor()
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
        if links[link].named.is_none() {
            self.counts(link, links);
        }
    }

    /// It is from now on one of those of its address, and may be one too many.
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

    /// A kernel took so much of what moss had for a peer, and so much is left.
    pub(crate) fn sent(&mut self, link: usize, count: usize, left: usize) {
        let connection = &mut self.connections[link];
        if count > 0 {
            connection.requests.moves(self.turn_began);
        }
        if connection.blocked {
            connection.blocked_in = self.turn;
            connection.unblocked_in = self.turn;
        } else if connection.unblocked_in != self.turn {
            // Of TLS, one record may be taken and the next one not.
            connection.blocked_since = self.turn_began;
        }
        connection.blocked = left > 0;
        connection.unsent = left;
    }

    /// moss sends a record to its end; what it says follows.
    pub(crate) fn opens_record(&mut self, link: usize) {
        self.connections[link].records += 1;
    }

    /// moss sends something whole.
    pub(crate) fn said(&mut self, link: usize, said: &Said, links: &[Link], now: u64) {
        // What was queued in earlier turns is no work of this one.
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
            Said::Page(piece) => self.pours(link, piece),
            Said::Http { status, body, .. } => {
                self.ends_answer(link);
                if *status == 200 && self.kind(link) == Kind::Inspector {
                    self.inspects(body, links);
                }
                let connection = &mut self.connections[link];
                let expected = !connection.over || *status == 429;
                assert!(expected, "{link} is answered {status}, as one too many of its address");
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
                assert!(!early, "{link} is asked after {silent} whether it is there");
            }
            Said::Pong => self.answers_ping(link),
            Said::Text(text) => self.says(link, text),
        }
    }

    /// Who is cut off gets the frame that had begun, and a Close. What was sealed can't be
    /// taken back, and is sent before that.
    fn gives_up_the_rest(&mut self, link: usize, said: &Said) {
        let connection = &mut self.connections[link];
        let Some((word, ..)) = &connection.ending else { return };
        if ["slow_reader", "slow_master", "memory"].contains(&word.as_str())
            && !matches!(said, Said::Close { .. } | Said::Head { .. })
            // Answers are given up only with all last words.
            && !connection.is_visitor()
            && connection.sealed != Some(connection.records)
        {
            connection.after_ending += 1;
            assert!(connection.after_ending <= 1, "{link} was cut off, and gets more: {word}");
        }
    }

    /// What moss holds at least: what it did not get rid of, and records that are not whole.
    pub(crate) fn least_held(&self, links: &[Link]) -> usize {
        let holds = |&(link, connection): &(usize, &Connection)| {
            !links[link].is_over() && connection.breaks_tls.is_none()
        };
        let lives = self.lives(links).filter(holds);
        // A short record of TLS's own may be opened before the one that came with it.
        let half = |link: &Link| link.unopened().saturating_sub(64);
        // A page is not held for anybody.
        let unsent = |connection: &Connection| match connection.is_visitor() {
            true => 0,
            false => connection.unsent,
        };
        lives.map(|(link, connection)| unsent(connection) + half(&links[link])).sum()
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

    /// Whether moss has nothing to hold for anybody: none of those that it has is away.
    pub(crate) fn owes_nothing(&self, links: &[Link]) -> bool {
        let mut all = self.connections.iter().zip(links);
        !all.any(|(connection, network)| network.is_moss_s() && connection.torn)
    }
}

impl Connection {
    /// moss has it, and has not begun to end it.
    fn lives(&self, network: &Link) -> bool {
        network.is_moss_s() && self.ending.is_none() && self.id.is_some()
    }

    /// Whether it was answered, and is no WebSocket.
    fn is_visitor(&self) -> bool {
        self.requests.was_answered() && !self.open
    }

    /// Whether it has logged in, and never claimed to be master.
    fn is_plain_client(&self) -> bool {
        self.claims.is_empty() && self.reign.is_none() && self.logged_in
    }
}
