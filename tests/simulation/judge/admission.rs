//! Which connections moss accepts: a full server, its places for the next master, limits per
//! address.

use std::net::IpAddr;

use super::{Connection, Judge};
use crate::network::{Link, MILLISECOND, SECOND};

/// How many more connections a full server accepts while it has no master.
const MASTER_PLACES: usize = 8;

impl Judge {
    /// A connection has become a WebSocket. A full server whose master is gone or does not answer
    /// accepts [`MASTER_PLACES`] more, which may only become the master.
    pub(super) fn enters(&mut self, link: usize, links: &[Link], now: u64) {
        let most = self.settings.max_connections;
        let open = |&(_, other): &(usize, &Connection)| other.open;
        let here: Vec<_> = self.lives(links).filter(open).collect();
        let count = here.len();
        // It may already have lost its place before its upgrade was answered.
        let stays = self.connections[link].ending.is_none();
        assert!(!stays || count < most + MASTER_PLACES, "{link} is accepted beside {count} others");
        let candidate = here.iter().filter(|(_, other)| other.resident).count() >= most;
        let resident = self.may_be_open(links).len() <= most;
        let master = here.iter().find(|(_, other)| other.reign.is_some());
        // The master has sent something, before this connection was accepted.
        let answers = master.is_some_and(|&(link, _)| {
            let heard = links[link].heard;
            heard < self.turn_began && now - heard < self.settings.keepalive
        }) && self.connections[link].blocked_in != self.turn;
        // Connections accepted while there was no master may still be within their deadline.
        let others = here.iter().filter(|(_, other)| now - other.opened > 12 * SECOND).count();
        assert!(
            !answers || others < most,
            "{link} is accepted beside a master and {others} others"
        );
        let connection = &mut self.connections[link];
        assert!(!connection.over, "{link} is accepted above the limit of its address");
        connection.open = true;
        connection.opened = now;
        connection.candidate = candidate;
        connection.resident = resident;
    }

    /// Checks at the end of a turn that there was a reason for each refusal.
    pub(crate) fn ends_turn(&mut self, links: &[Link], now: u64) {
        self.counts_visitors(links);
        let reigns = |&(_, connection): &(usize, &Connection)| connection.reign.is_some();
        if self.lives(links).any(|one| reigns(&one)) {
            self.had_master = self.turn;
        }
        let refused = std::mem::take(&mut self.refused);
        assert!(
            refused.is_empty() || self.may_be_open(links).len() >= self.settings.max_connections,
            "there was a place for {refused:?}: visitors take none"
        );
        // A claim that was not answered yet may have been received.
        let wanted = !refused.is_empty()
            && self.had_master + 1 < self.turn
            && !self.lives(links).any(|(_, connection)| !connection.claims.is_empty());
        if !wanted {
            return;
        }
        let here = self.may_be_open(links);
        let recent = |connection: &Connection| {
            // moss counts from the start of a turn.
            let age = now - connection.opened;
            !connection.open || age <= SECOND + 10 * MILLISECOND + self.lateness
        };
        // A former master keeps its place, also above the limit.
        let gives_way = |connection: &&Connection| {
            connection.candidate && connection.ending.is_none() && !recent(connection)
        };
        assert!(
            here.len() >= self.settings.max_connections + MASTER_PLACES
                && !here.iter().any(gives_way),
            "{refused:?} may be the master: only {} others are here, or one could give way",
            here.len()
        );
    }

    /// Connections that may have been open in this turn, as far as that is visible from outside.
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

    /// Checks the counts that moss reports to an inspector. A connection that began to end in this
    /// turn may have been counted before. The login of a new peer may not have arrived yet, and
    /// that of a peer whose host vanished may never arrive.
    pub(super) fn inspects(&self, body: &str, links: &[Link]) {
        let fits = |ended_by: u64| {
            let here = |&(link, connection): &(usize, &Connection)| {
                let ended = connection.ending.as_ref().map_or(u64::MAX, |(.., at)| *at);
                connection.open && links[link].is_at_moss() && ended >= ended_by
            };
            let open = self.connections.iter().enumerate().filter(here);
            let clients = open.clone().filter(|(_, connection)| connection.logged_in);
            let in_doubt = |&(_, connection): &(usize, &Connection)| {
                connection.torn || self.turn_began < connection.opened + SECOND
            };
            let in_doubt = clients.clone().filter(in_doubt).count();
            let (open, clients) = (open.count(), clients.count());
            let counts = |clients| format!("\"connections\":{open},\"clients\":{clients},");
            (clients - in_doubt..=clients).any(|clients| body.contains(&counts(clients)))
        };
        assert!(fits(u64::MAX) || fits(self.turn_began), "wrong counts: {body}");
    }
}

/// How many other connections of its address moss has: an IPv6 /64 counts as one address.
pub(super) fn neighbours(link: usize, links: &[Link], all: &[Connection]) -> usize {
    let network = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (0, address.to_bits().into()),
        IpAddr::V6(address) => (1, (address.to_bits() >> 64) as u64),
    };
    let of_link = |link: &Link| network(link.named.unwrap_or(link.address));
    let own = of_link(&links[link]);
    let mut others = links.iter().enumerate();
    let is_one = |(other, of): &(usize, &Link)| {
        let counts = of.named.is_none() || all[*other].asked;
        *other != link && of.is_at_moss() && counts && of_link(of) == own
    };
    others.by_ref().filter(is_one).count()
}
