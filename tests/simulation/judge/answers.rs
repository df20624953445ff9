//! The answers to visitors: in order, byte for byte, each from one version of the folder; and
//! when a connection that is kept open ends.

use std::collections::VecDeque;

use super::{Connection, Judge};
use crate::network::{Link, SECOND};
use crate::pages::{Ask, Due, MOST_REQUESTS, Part, bytes};
use crate::wire::field;

/// Page connections may take a quarter of all places, and always this number.
const LEAST_KEPT: usize = 8;

/// Places beyond MOSS_MAX_CONNECTIONS, for heads and for a master.
const MORE_PLACES: usize = 20;

/// How long moss waits for the next request, and for the rest of one.
const IDLE: u64 = 5 * SECOND;
const HEAD: u64 = 10 * SECOND;

/// How long downloads of old pages may go on.
const FAREWELL: u64 = 60 * SECOND;

/// The versions of the folder that moss has served, in order, with their start times.
#[derive(Debug)]
pub(super) struct Generations(Vec<(u64, usize)>);

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Requests that are not answered yet, each with its time and its end among the peer's bytes.
    asked: VecDeque<(Ask, u64, u64)>,
    /// Whether it has ever sent a request.
    pub(super) any: bool,
    /// The answer that is being sent.
    answer: Option<Answer>,
    answered: u64,
    /// The last answer had `Connection: close`.
    ends: bool,
    /// It was ended as `answered` without being idle: its last answer must say so.
    must_end: bool,
    /// It was idle, or may have been, when another connection needed its place.
    pub(super) crowded: bool,
    /// When moss could last send something.
    moved: u64,
}

/// An answer that is being sent.
#[derive(Debug)]
struct Answer {
    due: Due,
    /// The versions of the folder that the page may come from.
    generations: Vec<usize>,
    /// How many bytes of it were sent.
    at: usize,
}

impl Default for Generations {
    fn default() -> Self {
        Self(vec![(0, 0)])
    }
}

impl Generations {
    /// The version at a time.
    fn at(&self, time: u64) -> usize {
        self.0.partition_point(|(since, _)| *since <= time) - 1
    }
}

impl Requests {
    /// Whether it waits for an answer, or for the rest of one.
    pub(super) fn is_owed(&self) -> bool {
        self.answer.is_some() || !self.asked.is_empty()
    }

    /// Whether it was answered.
    pub(super) fn was_answered(&self) -> bool {
        self.any && (self.answered > 0 || self.answer.is_some())
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    pub(super) fn moves(&mut self, now: u64) {
        self.moved = now;
    }
}

impl Judge {
    /// A peer sends a request, which ends at this position.
    pub(crate) fn asks(&mut self, link: usize, ask: Ask, end: u64, now: u64) {
        let requests = &mut self.connections[link].requests;
        requests.any = true;
        requests.asked.push_back((ask, now, end));
    }

    /// Whether the next answer is for HEAD.
    pub(crate) fn is_head(&self, link: usize) -> bool {
        let front = self.connections[link].requests.asked.front();
        front.is_some_and(|(ask, ..)| ask.is_head)
    }

    /// From now on moss serves this version of the folder.
    pub(crate) fn reloads(&mut self, version: usize, now: u64) {
        self.generations.0.push((now, version));
    }

    /// moss begins to answer.
    pub(super) fn begins_answer(&mut self, link: usize, head: &str, status: u16, links: &[Link]) {
        if !self.connections[link].requests.any {
            return;
        }
        let is_crowded = self.is_crowded(link, links);
        let connection = &mut self.connections[link];
        let kind = connection.facts.kind;
        let requests = &mut connection.requests;
        let number = requests.answered + 1;
        let ends = field(head, "Connection") == Some("close");
        let refuses = [408, 429, 503].contains(&status);
        let Some((ask, at, end)) = requests.asked.pop_front().filter(|_| !refuses) else {
            assert!(refuses && ends, "{kind:?} {link} is answered {status} without a request");
            requests.ends = true;
            return;
        };
        assert!(links[link].plain >= end, "{kind:?} {link} is answered before its request");
        assert!(number <= MOST_REQUESTS, "{kind:?} {link} is answered {number} times");
        let is_last = ask.is_last || number == MOST_REQUESTS;
        assert!(ends || !is_last, "{kind:?} {link} gets its last answer without a notice: {head}");
        assert!(
            !ends || is_last || is_crowded,
            "{kind:?} {link} is told too early that this is its last answer: {head}"
        );
        requests.ends = ends;
        // A version that was served when the request was sent, or later.
        let first = self.generations.at(at);
        let mut answer = Answer {
            due: ask.due,
            generations: (first..self.generations.0.len()).collect(),
            at: 0,
        };
        let expected = match ask.due {
            Due::Status(status) => status,
            Due::Upgrade => 101,
            Due::Page { file, part } => {
                let told = field(head, "Content-Range");
                let len = field(head, "Content-Length").and_then(|len| len.parse().ok());
                answer.generations.retain(|generation| {
                    let all = bytes(file, self.generations.0[*generation].1).len();
                    let part = part.of(all);
                    let range = format!("bytes {}-{}/{all}", part.start, part.end.wrapping_sub(1));
                    Some(part.len()) == len && told.is_none_or(|told| told == range)
                });
                if told.is_some() { 206 } else { 200 }
            }
        };
        if let Due::Page { part, .. } = ask.due {
            assert_eq!(status == 200, part == Part::Whole, "{ask:?} is answered {head}");
        }
        if ask.is_head {
            answer.due = Due::Status(status);
        }
        assert!(!answer.generations.is_empty(), "{kind:?} {link} gets what no version has: {head}");
        assert_eq!(status, expected, "{kind:?} {link} asked for {ask:?} and is answered {head}");
        requests.answer = Some(answer);
    }

    /// moss sends a piece of a page.
    pub(super) fn sends_page(&mut self, link: usize, piece: &[u8]) {
        let connection = &mut self.connections[link];
        if !connection.requests.any {
            return;
        }
        let answer = connection.requests.answer.as_mut().expect("the head comes first");
        let Due::Page { file, part } = answer.due else {
            panic!("{link} gets a page that it did not request")
        };
        answer.generations.retain(|generation| {
            let whole = bytes(file, self.generations.0[*generation].1);
            let due = &whole[part.of(whole.len())];
            due.get(answer.at..answer.at + piece.len()) == Some(piece)
        });
        assert!(!answer.generations.is_empty(), "{link} gets wrong bytes of page {file}");
        answer.at += piece.len();
    }

    /// An answer is complete.
    pub(super) fn ends_answer(&mut self, link: usize) {
        let requests = &mut self.connections[link].requests;
        let Some(answer) = requests.answer.take() else { return };
        requests.answered += 1;
        if let Due::Page { file, part } = answer.due {
            let version = self.generations.0[answer.generations[0]].1;
            assert_eq!(answer.at, part.of(bytes(file, version).len()).len(), "of page {file}");
        }
    }

    /// Whether moss had a reason to end a visitor with this word. `None`: another check decides.
    pub(super) fn may_end_visitor(
        &self,
        link: usize,
        word: &str,
        links: &[Link],
        now: u64,
    ) -> Option<bool> {
        let connection = &self.connections[link];
        let requests = &connection.requests;
        if !requests.any || connection.open {
            // Connections that only requested a WebSocket are checked elsewhere.
            return None;
        }
        let still = self.turn_began.saturating_sub(requests.moved);
        Some(match word {
            "answered" => true,
            "full" => self.is_full(link, links),
            "busy" => self.is_crowded(link, links) && !self.could_give_way(links),
            // Only an idle visitor loses its place to another visitor.
            "displaced" => self.is_full(link, links),
            "memory" => connection.blocked || self.settings.max_memory < 64 << 20,
            "slow_reader" => {
                let current = requests.answer.iter().map(|answer| answer.generations[0]);
                // The page of an answer that has not begun may have been looked up long ago.
                let next = requests.asked.iter().map(|(_, at, _)| self.generations.at(*at));
                let latest = self.generations.0.len() - 1;
                let is_old = current.chain(next).min().is_some_and(|oldest| {
                    oldest + 1 < latest
                        || (oldest < latest && now >= self.generations.0[latest].0 + FAREWELL)
                });
                let is_stalled = connection.blocked && still >= 2 * self.settings.keepalive;
                is_old || is_stalled
            }
            _ => return None,
        })
    }

    /// moss ends a visitor as `answered`.
    pub(super) fn ends_visitor(&mut self, link: usize, links: &[Link]) {
        let is_crowded = self.is_crowded(link, links);
        let connection = &mut self.connections[link];
        let idle = self.turn_began.saturating_sub(connection.requests.moved.max(links[link].heard));
        let is_over = connection.left || links[link].is_over();
        let is_answered = connection.requests.answer.is_none() || connection.requests.ends;
        assert!(is_answered || is_over, "{link} is ended in the middle of an answer");
        connection.requests.must_end = idle < IDLE && !is_over && !is_crowded;
        connection.requests.crowded = is_crowded;
    }

    /// moss has dropped a visitor: if it was not idle, an answer must have said so.
    pub(super) fn drops_visitor(&self, link: usize, network: &Link) {
        let connection = &self.connections[link];
        let requests = &connection.requests;
        let whole = connection.facts.reads
            && !connection.torn
            && !connection.blocked
            && !network.is_broken();
        if requests.any && requests.must_end && whole && !self.stopping {
            assert!(
                requests.ends && requests.answer.is_none(),
                "{:?} {link} is ended without a reason: {requests:?}",
                connection.facts.kind
            );
        }
    }

    /// Checks the deadlines of a visitor.
    pub(super) fn checks_visitor(&self, link: usize, network: &Link, now: u64) {
        let connection = &self.connections[link];
        let (kind, requests) = (connection.facts.kind, &connection.requests);
        let grain = SECOND + self.lateness;
        let still = now - requests.moved;
        let keepalive = self.settings.keepalive;
        if connection.blocked {
            return assert!(
                still <= 2 * keepalive + grain,
                "{kind:?} {link} has taken nothing for {still}, and stays"
            );
        }
        let idle = now - requests.moved.max(network.heard).max(network.stalled_until.min(now));
        if requests.answer.is_some() {
            return assert!(idle <= grain, "{kind:?} {link} has been sent nothing for {idle}");
        }
        match requests.asked.front() {
            Some((.., end)) if network.plain >= *end => {
                assert!(idle <= grain, "{kind:?} {link} has not been answered for {idle}");
            }
            // An incomplete request has a deadline, even if more bytes arrive.
            _ if network.half() > 0 => {
                let age = now - network.half_since.max(requests.moved);
                assert!(age <= HEAD + grain, "{kind:?} {link} has half a request for {age}");
            }
            // The request is in flight.
            Some(_) => {}
            None => {
                assert!(idle <= IDLE + grain, "{kind:?} {link} has been idle for {idle}, and stays")
            }
        }
    }

    /// Whether all places of visitors may be taken, as far as that is visible from outside.
    fn is_crowded(&self, link: usize, links: &[Link]) -> bool {
        let most = (self.settings.max_connections / 4).max(LEAST_KEPT);
        self.may_be_kept(link, links) >= most || self.is_full(link, links)
    }

    /// Whether visitors may have to give up places for others.
    fn is_full(&self, link: usize, links: &[Link]) -> bool {
        let most = self.settings.max_connections;
        let open = self.connections.iter().filter(|connection| {
            let ended = connection.ending.as_ref().map_or(u64::MAX, |(.., at)| *at);
            connection.open && ended >= self.turn_began
        });
        let here = links.iter().filter(|link| link.is_at_moss()).count();
        open.count() + self.may_be_kept(link, links) >= most || here + 1 >= most + MORE_PLACES
    }

    /// Whether a visitor was already idle before this turn.
    fn could_give_way(&self, links: &[Link]) -> bool {
        self.lives(links).any(|(link, connection)| {
            let (requests, network) = (&connection.requests, &links[link]);
            connection.is_visitor()
                && !requests.is_owed()
                && !requests.ends
                && !connection.blocked
                && network.half() == 0
                && requests.moved.max(network.heard) < self.turn_began
        })
    }

    /// How many other visitors may have been here in this turn.
    fn may_be_kept(&self, link: usize, links: &[Link]) -> usize {
        let may_be_kept = |&(other, connection): &(usize, &Connection)| {
            let ended = connection.ending.as_ref().map_or(u64::MAX, |(.., at)| *at);
            other != link
                && links[other].received > 0
                && connection.opened == 0
                && ended >= self.turn_began
                && connection.id.is_some()
        };
        self.connections.iter().enumerate().filter(may_be_kept).count()
    }

    /// Checks the limits of open page connections and WebSockets.
    pub(super) fn counts_visitors(&self, links: &[Link]) {
        let most = self.settings.max_connections;
        let idle = |&(_, connection): &(usize, &Connection)| {
            let requests = &connection.requests;
            connection.is_visitor() && !requests.is_owed() && !requests.ends
        };
        let kept = self.lives(links).filter(idle).count();
        assert!(kept <= (most / 4).max(LEAST_KEPT), "{kept} visitors are kept open");
        // A visitor may have kept its place because its answer was being sent.
        let open = self.lives(links).filter(|(_, connection)| connection.open).count();
        let room = most.saturating_sub(open) + 2;
        assert!(kept <= room, "{kept} visitors are kept open beside {open} WebSockets");
    }
}
