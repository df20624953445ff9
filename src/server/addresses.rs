//! How many connections each address has, for `MOSS_MAX_CONNECTIONS_PER_ADDRESS`.
//!
//! Each IPv4 address counts by itself. IPv6 addresses count by their /64: that is what one
//! subscriber, often one device, gets, and it may use any address in it. An IPv4 address
//! that a dual-stack socket shows as `::ffff:a.b.c.d` counts as that IPv4 address.
//!
//! A trusted proxy's own connections are not counted; the connections that it passes on are
//! counted for the address that it names (see `http::forwarded`).
//!
//! The caller keeps one invariant: for each [`Addresses::enter`] there is one
//! [`Addresses::leave`] of the same address, whatever the former returned. So there are
//! never more entries than connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};

use crate::settings::networks::Networks;

/// How many connections over the limit of one address are answered at a time. More than that
/// is a flood, which must not take the places of others.
const MOST_ANSWERED: usize = 8;

/// Whether a connection is within the limit of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It is within the limit.
    Within,
    /// It is over the limit, and gets an answer that says so.
    Over,
    /// It is so far over the limit that it is dropped without an answer.
    FarOver,
}

/// The open connections of each address.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Without a limit nothing is counted.
    limit: Option<usize>,
    /// With the standard library's hasher: peers can choose their IPv6 addresses, and must not
    /// be able to choose colliding ones.
    open: HashMap<IpAddr, usize>,
    /// Trusted proxies.
    trusted: Networks,
}

impl Addresses {
    /// No connections yet, and at most `limit` of one address that is not `trusted`.
    pub(crate) fn new(limit: Option<usize>, trusted: Networks) -> Self {
        Self { limit, open: HashMap::new(), trusted }
    }

    /// Whether this is a trusted proxy, whose own connections must not enter.
    pub(crate) fn is_trusted(&self, ip: IpAddr) -> bool {
        self.trusted.contains(ip)
    }

    /// Counts a connection, and says whether it is within the limit of its address.
    ///
    /// A connection over the limit counts, too, until it leaves: it takes a place while it is
    /// answered, and nobody has to remember which ones were counted.
    pub(crate) fn enter(&mut self, ip: IpAddr) -> Entered {
        let Some(limit) = self.limit else { return Entered::Within };
        let open = self.open.entry(key(ip)).or_default();
        *open += 1;
        match *open {
            open if open <= limit => Entered::Within,
            open if open <= limit + MOST_ANSWERED => Entered::Over,
            _ => Entered::FarOver,
        }
    }

    /// A connection that had entered has ended.
    pub(crate) fn leave(&mut self, ip: IpAddr) {
        if self.limit.is_none() {
            return;
        }
        // Removed with its last connection, or the map would grow for ever.
        if let Entry::Occupied(mut open) = self.open.entry(key(ip)) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(debug_assertions)]
impl Addresses {
    /// Panics if the counts are not those of these addresses.
    pub(crate) fn check(&self, counted: Vec<IpAddr>) {
        let mut own = Self::new(self.limit, Networks::default());
        counted.into_iter().for_each(|ip| {
            own.enter(ip);
        });
        assert_eq!(own.open, self.open, "open connections of each address");
    }
}

/// Whether connections of both count together.
pub(crate) fn are_one(one: IpAddr, other: IpAddr) -> bool {
    key(one) == key(other)
}

/// The key under which an address is counted.
fn key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limited_to(limit: Option<usize>) -> Addresses {
        Addresses::new(limit, Networks::default())
    }

    /// Whether connections of these addresses count together.
    fn count_together(one: &str, other: &str) -> bool {
        let mut addresses = limited_to(Some(1));
        assert_eq!(addresses.enter(ip(one)), Entered::Within);
        let together = addresses.enter(ip(other)) == Entered::Over;
        assert_eq!(together, are_one(ip(one), ip(other)));
        together
    }

    #[test]
    fn as_many_as_the_limit_are_within_it() {
        for limit in [1, 2, 7] {
            let mut addresses = limited_to(Some(limit));
            for _ in 0..limit {
                assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
            }
            assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Over);
            assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Over);
        }
    }

    #[test]
    fn so_many_over_the_limit_are_told_and_no_more() {
        let mut addresses = limited_to(Some(2));
        let entered: Vec<_> = (0..12).map(|_| addresses.enter(ip("192.0.2.1"))).collect();
        assert_eq!(entered[..2], [Entered::Within; 2]);
        assert_eq!(entered[2..10], [Entered::Over; MOST_ANSWERED]);
        assert_eq!(entered[10..], [Entered::FarOver; 2]);
    }

    #[test]
    fn who_leaves_makes_room() {
        let mut addresses = limited_to(Some(2));
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
        addresses.leave(ip("192.0.2.1"));
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Over);
    }

    #[test]
    fn one_over_the_limit_counts_until_it_leaves() {
        let mut addresses = limited_to(Some(1));
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Over);
        // The first one leaves, and the one that is refused is still there.
        addresses.leave(ip("192.0.2.1"));
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Over);
        addresses.leave(ip("192.0.2.1"));
        addresses.leave(ip("192.0.2.1"));
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
    }

    #[test]
    fn addresses_do_not_share_a_limit() {
        assert!(!count_together("192.0.2.1", "192.0.2.2"));
        assert!(!count_together("192.0.2.1", "::1"));
        // The same bits in another family.
        assert!(!count_together("192.0.2.1", "c000:201::"));
        let mut addresses = limited_to(Some(1));
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
        addresses.leave(ip("192.0.2.2"));
        assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Over);
    }

    #[test]
    fn ipv6_counts_by_its_64_bits_of_network() {
        assert!(count_together("2001:db8:1:2::1", "2001:db8:1:2::2"));
        assert!(count_together("2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(!count_together("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!count_together("2001:db8:1:2::1", "3001:db8:1:2::1"));
        let mut addresses = limited_to(Some(1));
        assert_eq!(addresses.enter(ip("2001:db8::1")), Entered::Within);
        addresses.leave(ip("2001:db8::2"));
        assert_eq!(addresses.enter(ip("2001:db8::3")), Entered::Within);
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        assert!(count_together("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(count_together("192.0.2.1", "::ffff:192.0.2.1"));
        // All of them have one /64.
        assert!(!count_together("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
        assert!(!count_together("::ffff:192.0.2.1", "::1"));
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let mut addresses = limited_to(Some(1));
        for low in 0..=255 {
            addresses.enter([192, 0, 2, low].into());
            addresses.enter([192, 0, 2, low].into());
        }
        assert_eq!(addresses.open.len(), 256);
        for low in 0..=255 {
            addresses.leave([192, 0, 2, low].into());
            addresses.leave([192, 0, 2, low].into());
        }
        assert!(addresses.open.is_empty());
    }

    #[test]
    fn nothing_is_counted_without_a_limit() {
        let mut addresses = limited_to(None);
        for _ in 0..1000 {
            assert_eq!(addresses.enter(ip("192.0.2.1")), Entered::Within);
        }
        assert_eq!(addresses.open.capacity(), 0);
        addresses.leave(ip("192.0.2.1"));
        assert_eq!(addresses.open.capacity(), 0);
    }
}
