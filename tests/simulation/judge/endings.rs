//! Why and when connections end, and that moss reads what peers send.

use moss::server::world::Endpoint;

use super::admission::neighbours;
use super::{Connection, Facts, Judge};
use crate::network::{Link, MILLISECOND, SECOND};
use crate::plan::{Kind, LOGIN_SECRET, SECRET, Settings};
use crate::sealed::Sealed;

impl Judge {
    /// moss writes a line to its log.
    pub(crate) fn logs(&mut self, line: &str, links: &[Link], now: u64) {
        let secrets = [SECRET, LOGIN_SECRET, "\"x\":", "\"n\":"];
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "in the log: {line}");
        let Some((id, rest)) = line.split_once(", ") else { return };
        let Some(&link) = self.by_id.get(id) else { return };
        let Some((_, why)) = rest.split_once(": ") else { return };
        let (word, code) = match why.split_once(" (") {
            // The reason comes from rustls.
            Some((word @ "tls", _)) => (word, 0),
            Some((word, code)) => (word, code.trim_end_matches(')').parse().expect("a code")),
            None => (why, 0),
        };
        if ["connected", "wrong-secret"].contains(&word) {
            return;
        }
        if why.starts_with("request through ") {
            self.connections[link].asked = true;
            return self.counts(link, links);
        }
        let was_replaced = self.was_replaced(link, links);
        let was_client = rest.starts_with("client");
        let half = word == "memory" && self.may_drop_for_half(link, was_client, links);
        let visitor = self.may_end_visitor(link, word, links, now);
        if word == "answered" {
            self.ends_visitor(link, links);
        }
        let connection = &mut self.connections[link];
        let Facts { kind, may_end, .. } = &connection.facts;
        assert!(connection.ending.is_none(), "{link} ends twice: {line}");
        let expected = match word {
            "left" => connection.left || links[link].broken || connection.torn,
            "answered" => true,
            "stopping" => self.stopping,
            // Its host has vanished, or its last bytes were lost.
            "silent" | "timeout" | "tls" | "slow_reader" | "slow_master" | "memory"
            | "displaced"
                if connection.torn =>
            {
                true
            }
            _ if visitor.is_some() => visitor == Some(true),
            "memory" if half => true,
            // Each waiting client may hold an incomplete record, and guests are dropped before
            // clients.
            "memory" if self.is_scarce && !was_client && connection.reign.is_none() => true,
            // It is a guest now, but holds much from the time before.
            "memory" if connection.blocked && was_replaced => true,
            // The simulated kernel takes only a part at random, as if the peer did not read.
            "memory"
                if connection.blocked && self.odds.partial > 0 && connection.reign.is_none() =>
            {
                true
            }
            word => may_end.contains(&word),
        };
        assert!(expected, "{kind:?} {link} is ended by moss: {line}");
        let waited = now - links[link].heard;
        match word {
            "silent" => assert!(waited >= 2 * self.settings.keepalive, "{line}: after {waited}"),
            "timeout" => {
                assert!(now - links[link].accepted >= 10 * SECOND, "{line}");
                assert!(links[link].can_be_told(), "{line}: during its handshake");
            }
            "tls" => {
                let is_late = now - links[link].accepted >= 10 * SECOND;
                let is_late = is_late && !links[link].can_be_told();
                assert!(connection.breaks_tls.is_some() || is_late, "{line}: without a reason");
            }
            "slow_master" => {
                let behind = self.turn_began - connection.blocked_since;
                assert!(connection.blocked, "{line}: it is not behind");
                assert!(behind >= self.settings.keepalive / 2, "{line}: after {behind}");
            }
            "per_address" | "dropped" => assert!(connection.over, "{line}: it is within the limit"),
            "full" => self.refused.push(link),
            "displaced" if connection.requests.any => {}
            // The answer to its upgrade may have been in flight for a while.
            "not_master" | "displaced" if !connection.logged_in => {
                let age = now - links[link].accepted;
                assert!(age >= SECOND, "{line}: after {age}");
            }
            _ => {}
        }
        connection.ending = Some((word.to_owned(), code, now));
        connection.untold = !links[link].can_be_told();
        connection.sealed = connection.blocked.then_some(connection.records + 1);
        if connection.facts.kind == Kind::Share || connection.reign.is_some() {
            // Measurements so far do not count.
            self.shares.begin_anew();
        }
    }

    /// Whether it was a master that was replaced, or that may have been without being told yet.
    fn was_replaced(&self, link: usize, links: &[Link]) -> bool {
        let own = self.reigns.iter().rposition(|reign| reign.link == link);
        let mut others = self.lives(links).filter(|(other, _)| *other != link);
        own.is_some_and(|own| {
            self.reigns[own].replaced
                || others.any(|(_, other)| !other.claims.is_empty() || other.reign > Some(own))
        })
    }

    /// Whether moss may have dropped it for an incomplete packet.
    fn may_drop_for_half(&self, link: usize, is_client: bool, links: &[Link]) -> bool {
        // What was received in this turn may have been incomplete in between.
        let counted = |link: &Link| match link.half() {
            0 if link.heard < self.turn_began => 0,
            half => half + half / 8 + (2 << 10),
        };
        let all: Vec<_> = self.lives(links).filter(|&(other, _)| links[other].half() > 0).collect();
        let (count, own) = (all.len() as u64, &links[link]);
        let least: u64 = all.iter().map(|&(other, _)| links[other].half()).sum();
        let most: u64 = all.iter().map(|&(other, _)| counted(&links[other])).sum();
        let is_guest =
            |connection: &Connection| !connection.logged_in && connection.reign.is_none();
        let stalls = |connection: &Connection| connection.blocked && is_guest(connection);
        let guests = self.lives(links).any(|(_, connection)| stalls(connection));
        let packet = if guests { self.settings.max_packet as u64 + (64 << 10) } else { 0 };
        // A client is not dropped for a packet that waits for the master.
        let clients_wait = self.lives(links).any(|(_, connection)| {
            connection.blocked && (connection.reign.is_some() || !connection.claims.is_empty())
        });
        let is_older = |&(other, connection): &(usize, &Connection)| {
            let other = &links[other];
            (is_guest(connection) || (is_client && !clients_wait))
                && connection.open
                && other.half_since + SECOND < own.half_since
                && 8 * other.half() * count >= most
        };
        // All incomplete packets together exceed their limit; its own is not far below the average;
        // and no older one goes first: no guest's and, if it is a client, no client's.
        most > packet.max(self.settings.max_memory as u64 / 4)
            && 16 * counted(own) * count >= least
            && !all.iter().any(is_older)
    }

    /// moss closes its socket.
    pub(crate) fn drops(&mut self, link: usize, links: &[Link], now: u64) {
        let network = &links[link];
        self.drops_visitor(link, network);
        let kind = self.connections[link].facts.kind;
        if self.connections[link].id.is_none() {
            let flood = self.settings.per_address.is_some_and(|limit| {
                // Eight connections above the limit are answered, if that takes no handshake.
                let answered = if network.endpoint == Endpoint::Tls { 0 } else { 8 };
                neighbours(link, links, &self.connections) >= limit + answered
            });
            return assert!(flood, "{kind:?} {link} is dropped without an id");
        }
        let connection = &mut self.connections[link];
        let Some((word, code, since)) = &connection.ending else {
            panic!("{kind:?} {link} is dropped without a line in the log");
        };
        if let Some(reign) = connection.reign.take() {
            // What was in flight to it may be lost.
            self.reigns[reign].ended = Some(now);
        }
        let whole = connection.facts.reads && !connection.torn && !network.broken;
        let at_once =
            ["tls", "tls_on_plain", "dropped"].contains(&word.as_str()) || connection.untold;
        if connection.breaks_tls.is_some() {
            // Nothing more can be sent to it, whatever the earlier reason.
            return;
        }
        if at_once {
            let waited = now - since;
            let is_kept = connection.blocked || waited <= SECOND + self.lateness;
            assert!(is_kept, "{kind:?} {link}, {word}, was kept for {waited}");
            // Closing with unread input causes a reset, which would discard the alert.
            let overtakes = connection.breaks_tls == Some(true)
                && network.has_input()
                && self.odds.partial == 0
                && waited < 5 * SECOND;
            assert!(
                !overtakes,
                "{kind:?} {link}, {word}, loses its alert, as its input was not read"
            );
            return;
        }
        // When memory is full, a Close that the kernel does not take at once is given up.
        let ample = self.settings.max_memory >= 64 << 20;
        let given_up = ["memory", "displaced"].contains(&word.as_str())
            || (connection.is_visitor() && (word == "slow_reader" || connection.requests.crowded));
        // Its line in the log has 200, whatever the status of its last answer.
        let many = connection.is_visitor() && word == "answered";
        let tells = network.can_be_told();
        let owed = *code > 0 && !self.stopping && !given_up && !connection.blocked && !many;
        if owed && whole && tells {
            let said = connection.close.or(connection.status);
            assert_eq!(said, Some(*code), "the Close of {kind:?} {link}, ended as {word}");
        }
        let waited = now - since;
        assert!(waited <= 6 * SECOND + self.lateness, "{link}, {word}, stayed for {waited}");
        let keeps = ample || !(connection.blocked || connection.untold);
        if !network.is_over() && !self.stopping && !given_up && keeps {
            // On a full server another connection may take its place.
            let least = if self.settings.max_connections < 100 { 1 } else { 5 } * SECOND;
            // Counted from the start of the turn.
            let waited = waited + 10 * MILLISECOND;
            assert!(waited >= least, "{kind:?} {link}, {word}, had only {waited} to close");
        }
    }

    /// moss ends its side of a connection with TLS.
    pub(crate) fn shuts_down(&self, link: usize, sealed: &Sealed, network: &Link) {
        let connection = &self.connections[link];
        let kind = connection.facts.kind;
        let word = match &connection.ending {
            Some((word, ..)) => word,
            // It ends with its last answer, and the log line comes after that.
            None if connection.is_visitor() => "answered",
            None => panic!("{kind:?} {link} is shut down without a line in the log"),
        };
        if network.is_broken() || ["memory", "displaced"].contains(&word) {
            return;
        }
        // When memory is full, unsent bytes are given up.
        let ample = self.settings.max_memory >= 64 << 20;
        if !ample && connection.blocked {
            return;
        }
        assert!(sealed.is_whole(), "{kind:?} {link}, {word}: the last record is incomplete");
        match connection.breaks_tls {
            Some(alert) if word == "tls" => {
                assert!(sealed.alerted || !alert, "{kind:?} {link} gets no alert");
            }
            _ => {
                let says_so = sealed.closed || connection.untold || !network.can_be_told();
                assert!(says_so, "{kind:?} {link}, {word}: the end comes without close_notify");
            }
        }
    }

    /// Checks all deadlines.
    pub(crate) fn checks_deadlines(&self, links: &[Link], now: u64) {
        let keepalive = self.settings.keepalive;
        let heard_since = self.clients_are_heard_since(links, now);
        self.bounds_halves(links, heard_since + SECOND < now);
        for (link, (connection, network)) in self.connections.iter().zip(links).enumerate() {
            if !network.is_at_moss() || connection.id.is_none() {
                continue;
            }
            let kind = connection.facts.kind;
            let age = now.saturating_sub(network.accepted);
            // Received packets may have to wait for the master, but not for ever. A peer with
            // bytes that moss has not read is not silent.
            let since = if connection.logged_in { heard_since } else { 0 };
            let excused = since.max(self.spurious_until.min(now));
            let excused = match self.spurious_until > 0 && connection.logged_in {
                // While it waits, the simulated kernel may repeat its events.
                true => excused,
                false => excused.min(network.heard + keepalive + SECOND),
            };
            let silent = now.saturating_sub(network.heard.max(excused));
            let grain = SECOND + self.lateness;
            let guesses = connection.wrong_secrets < 5 || connection.ending.is_some();
            assert!(guesses, "{kind:?} {link} stays after five wrong secrets");
            match &connection.ending {
                Some((word, _, since)) => assert!(
                    now - since <= 5 * SECOND + grain,
                    "{kind:?} {link} was ended ({word}), and is still here"
                ),
                None if connection.candidate => {
                    let age = now - connection.opened;
                    assert!(age <= 10 * SECOND + grain, "{kind:?} {link} keeps the master's place");
                }
                None if connection.is_visitor() => {
                    self.checks_visitor(link, network, now);
                }
                None if !connection.open => {
                    assert!(age <= 10 * SECOND + grain, "{kind:?} {link} has no answer yet");
                }
                None => assert!(
                    silent <= 2 * keepalive + grain || network.has_input(),
                    "{kind:?} {link} was silent for {silent}"
                ),
            }
            // Unsent bytes are given up, and received bytes are still read.
            if kind == Kind::Stalled && connection.ending.is_none() && !network.broken {
                // It sends mostly pings of 131 bytes; each is answered by 127 bytes.
                let owed = (network.plain / 131 * 127).saturating_sub(network.sent);
                let most = self.settings.max_backlog as u64 + (64 << 10);
                assert!(owed <= most, "{kind:?} {link} is owed {owed} bytes");
            }
            let is_visitor = connection.is_visitor();
            if is_visitor && connection.requests.is_owed() {
                // Its next request waits until the present answer is sent.
                continue;
            }
            let moved = if is_visitor { connection.requests.moved() } else { 0 };
            let waits_since = network.waits_since.max(network.accepted).max(moved);
            let waits = now.saturating_sub(waits_since.max(since));
            assert!(waits <= grain, "{kind:?} {link} has not been heard for {waits}");
            let waits = now.saturating_sub(waits_since);
            assert!(
                waits <= keepalive / 2 + 2 * grain,
                "{kind:?} {link} has been waiting for {waits}"
            );
        }
    }

    /// Checks the limits of incomplete messages. Only those of hoarders are counted, which send
    /// little else, and of clients only while none waits for the master.
    fn bounds_halves(&self, links: &[Link], clients_are_heard: bool) {
        let (mut guests, mut all) = (0, 0);
        for (link, connection) in self.lives(links) {
            let kind = connection.facts.kind;
            if kind == Kind::HelloHoarder || (kind == Kind::Hoarder && connection.open) {
                let half = links[link].half();
                all += half;
                guests += if connection.logged_in { 0 } else { half };
            }
        }
        let Settings { max_packet, max_memory, .. } = self.settings;
        let packet = max_packet + max_packet / 4 + (64 << 10);
        assert!(
            guests <= packet.max(max_memory / 8) as u64,
            "incomplete messages of guests hold {guests} bytes"
        );
        let most = packet.max(max_memory / 4) as u64;
        assert!(all <= most || !clients_are_heard, "incomplete messages hold {all} bytes");
    }

    /// Since when no client had to wait for the master: it reads, or there is none.
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

    /// moss has stopped: each peer that could receive it got a Close, unless moss had to stop at
    /// once.
    pub(crate) fn stops(&self, links: &[Link], at_once: bool) {
        for (link, (connection, network)) in self.connections.iter().zip(links).enumerate() {
            let kind = connection.facts.kind;
            assert!(!network.is_at_moss(), "{kind:?} {link} is still open");
            let told = connection.ending.as_ref().is_some_and(|(word, ..)| word == "stopping");
            let whole = connection.open && connection.facts.reads && !connection.left;
            if told && whole && !at_once {
                assert_eq!(connection.close, Some(1001), "{kind:?} {link} was not told of the end");
            }
        }
    }
}
