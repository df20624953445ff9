//! Which packets each peer gets: packets between clients and masters, offers, notices.

use std::collections::BTreeSet;

use super::payload::{field, offer, to_client, to_master};
use super::{Connection, Judge, Reign};
use crate::network::{Link, SECOND};
use crate::plan::Kind;

impl Judge {
    pub(super) fn says(&mut self, link: usize, text: &str) {
        let kind = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
        match kind.unwrap_or_else(|| panic!("{link} is sent what is no packet: {text}")) {
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
            assert!(present.contains(&link), "{master} was not told that {link} joined");
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
        assert_eq!(to, link, "{link} gets another client's packet");
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
        assert!(!client.candidate, "{link} is accepted by a full server as a client");
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
        *id.and_then(|id| self.by_id.get(id)).unwrap_or_else(|| panic!("unknown id: {text}"))
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
            // From a master that was replaced, or for a client that has left.
            "not-logged-in" | "unknown-client" if !connection.is_plain_client() => {}
            "invalid-packet" | "master-cannot-login" | "not-logged-in" if kind == Kind::Rubbish => {
            }
            other => panic!("{link}, {kind:?}, is told {other}"),
        }
    }

    /// Checks what was sent in all, after a calm time that was long enough for it.
    pub(crate) fn settles(&self, links: &[Link], now: u64) {
        let lives: Vec<usize> = (0..self.connections.len())
            .filter(|&link| self.connections[link].lives(&links[link]))
            .collect();
        // A master whose host vanished may not have been told that it was replaced.
        let reigning = lives.iter().copied().filter(|&link| self.connections[link].reign.is_some());
        let (away, masters): (Vec<usize>, Vec<usize>) =
            reigning.partition(|&link| self.connections[link].torn);
        assert!(masters.len() <= 1, "two masters: {masters:?}");
        let master = masters.first().map(|&link| &self.connections[link]);
        let claim = master.and_then(|master| {
            assert!(master.claims.is_empty(), "a claim was not answered");
            master.reign.map(|reign| self.reigns[reign].claim)
        });
        // A silent peer has twice the keepalive, counted at the latest from the start of the calm
        // ten seconds. A guesser needs a while for five guesses.
        let grace = |connection: &Connection, network: &Link| match connection.facts.kind {
            Kind::Mute => network.heard + 12 * SECOND + 2 * self.settings.keepalive,
            _ => network.accepted + 30 * SECOND,
        };
        for (link, connection) in self.connections.iter().enumerate() {
            let kind = connection.facts.kind;
            assert!(
                !connection.facts.must_end
                    || connection.ending.as_ref().is_some_and(|(word, ..)| {
                        connection.facts.may_end.contains(&word.as_str())
                    })
                    || connection.id.is_none()
                    || connection.left
                    || grace(connection, &links[link]) > now,
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
            // The login of a peer whose host vanished may never have arrived.
            let (away, clients): (BTreeSet<usize>, BTreeSet<usize>) =
                clients.partition(|&link| self.connections[link].torn);
            let known: BTreeSet<usize> = &master.present - &away;
            assert_eq!(known, clients, "the clients that the master knows");
        }
    }

    /// Checks that each packet of a client went to one master, or was answered.
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
        // Packets that a lost or stalled master has not read are lost.
        let lost = self.reigns.iter().any(|reign| {
            let ended = reign.ended.or(self.connections[reign.link].left.then_some(u64::MAX));
            !reign.replaced && ended.is_some_and(|ended| ended >= connection.opened)
        });
        if whole && !lost && connection.facts.reads {
            assert_eq!(told, sent, "{:?} {link}: packets are missing", connection.facts.kind);
        }
    }
}
