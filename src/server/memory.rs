//! The memory that is held for all peers, and which of them are dropped when it is too much.
//!
//! A *half* is the received part of an incomplete message. All halves together have a limit
//! of their own, except the master's, and those of guests half of that. Above it, of the
//! peers with large halves, the one that has held its half for longest is dropped. Everything
//! together (halves, unsent bytes, received frames that wait for their turn) has the memory
//! limit. Above that, guests are dropped before clients, and the master last. So a
//! stranger's bytes cost neither the master nor a client its place.

use std::cmp::Reverse;

use crate::protocol::relay::Role;
use crate::server::peer::{Peer, Snapshot};
use crate::server::table::Table;
use crate::server::world::World;
use crate::settings::config::Limits;

/// Heap bytes of all peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    held: usize,
    /// Bytes that are not sent yet.
    unsent: usize,
    /// Of the bytes held, those of incomplete messages of guests and of clients.
    guests_halves: usize,
    clients_halves: usize,
}

/// The limits.
#[derive(Debug)]
pub(crate) struct Bounds {
    held: usize,
    /// Room for the largest packet of one guest or client, however low the limit is. In fragments
    /// it takes up to an eighth more; the other eighth is for small halves, which are spared.
    packet: usize,
    /// Room for one TLS record when nothing else is left: the peer that sends it can do nothing
    /// but send the rest.
    record: usize,
}

/// The longest record of TLS, in bytes (RFC 5246, section 6.2.3).
const RECORD_BYTES: usize = 5 + (16 << 10) + 2048;

/// Whose halves exceed their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Those of guests.
    GuestsHalves,
    /// Those of guests and clients together.
    Halves,
}

impl Memory {
    /// Heap bytes of all peers.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Bytes that are not sent yet, for all peers.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Replaces what was counted of a peer by what it holds now.
    #[inline]
    pub(crate) fn replace(&mut self, before: Snapshot, after: Snapshot) {
        self.held = self.held - before.held + after.held;
        self.unsent = self.unsent - before.unsent + after.unsent;
        if before.half | after.half > 0 {
            *self.halves_of(before.role) -= before.half;
            *self.halves_of(after.role) += after.half;
        }
    }

    /// Counts a new peer.
    #[cfg(debug_assertions)]
    pub(crate) fn add(&mut self, first: Snapshot) {
        self.replace(first.without_bytes(), first);
    }

    /// Removes a peer from the sums.
    pub(crate) fn remove(&mut self, last: Snapshot) {
        self.replace(last, last.without_bytes());
    }

    fn halves_of(&mut self, role: Role) -> &mut usize {
        match role {
            Role::Guest => &mut self.guests_halves,
            Role::Client | Role::Master => &mut self.clients_halves,
        }
    }
}

impl Bounds {
    /// The bounds that follow from these limits; `tls`: peers may use TLS.
    pub(crate) fn new(limits: &Limits, tls: bool) -> Self {
        let packet = limits.max_packet_bytes;
        Self {
            held: limits.max_memory_bytes,
            packet: packet + packet / 4 + (64 << 10),
            record: if tls { RECORD_BYTES } else { 0 },
        }
    }

    /// Whether no limit is exceeded, for sure: a quick check that is true for nearly every packet.
    #[inline]
    pub(crate) fn are_kept(&self, memory: &Memory) -> bool {
        memory.held <= self.held && memory.guests_halves + memory.clients_halves <= self.packet
    }

    /// Whether the memory limit is exceeded.
    pub(crate) fn are_exceeded(&self, memory: &Memory) -> bool {
        memory.held > self.held
    }

    /// Whose halves are too much, if any: those of guests may be an eighth of the memory limit,
    /// those of guests and clients a quarter. While the memory limit is not exceeded, each of
    /// the two may be one packet, however low the limit is.
    pub(crate) fn excess(&self, memory: &Memory) -> Option<Excess> {
        let packet = if self.are_exceeded(memory) { self.record } else { self.packet };
        if memory.guests_halves > packet.max(self.held / 8) {
            Some(Excess::GuestsHalves)
        } else if memory.guests_halves + memory.clients_halves > packet.max(self.held / 4) {
            Some(Excess::Halves)
        } else {
            None
        }
    }
}

/// Halves that are this many times smaller than the average are spared: a peer with a few bytes
/// is not the cause, even if its bytes came first. While memory is left, the others hold more
/// than one packet together, so a single peer in the middle of a packet is not dropped for it.
const SPARED: u64 = 16;

/// The peer that is dropped for its half: of those that are not spared a guest, if there is
/// one, else a client unless `only_guests` are meant; among several, the one that has held its
/// half for longest.
pub(crate) fn oldest_half<W: World>(table: &Table<Peer<W>>, only_guests: bool) -> Option<u64> {
    let halves = table.iter().filter_map(|(id, peer)| {
        let Snapshot { role, half, .. } = peer.snapshot();
        let counts = half > 0 && (role == Role::Guest || !only_guests);
        counts.then(|| (role, peer.session.since(), Reverse(half), id))
    });
    let halves: Vec<_> = halves.collect();
    let sum: u64 = halves.iter().map(|(_, _, Reverse(half), _)| *half as u64).sum();
    let is_large = |half: usize| half as u64 * halves.len() as u64 * SPARED >= sum;
    let large = halves.iter().filter(|(_, _, Reverse(half), _)| is_large(*half));
    large.min().map(|&(.., id)| id)
}

/// The peers for which `is_asked` holds, sorted by what they hold, most first.
pub(crate) fn largest_first<W: World>(
    table: &Table<Peer<W>>,
    is_asked: impl Fn(&Peer<W>) -> bool,
) -> Vec<u64> {
    let peers = table.iter().filter(|(_, peer)| is_asked(peer));
    let mut peers: Vec<_> = peers.map(|(id, peer)| (Reverse(peer.held()), id)).collect();
    peers.sort_unstable();
    peers.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::session::Phase;

    const KIB: usize = 1 << 10;

    fn peer(role: Role, held: usize, half: usize) -> Snapshot {
        Snapshot { phase: Phase::Open, role, held, half, unsent: held / 2 }
    }

    /// The sums over these peers.
    fn memory(peers: &[Snapshot]) -> Memory {
        let mut memory = Memory::default();
        for &peer in peers {
            memory.replace(peer.without_bytes(), peer);
        }
        memory
    }

    /// Bounds of 8 MiB: one mebibyte for the halves of guests, two for all halves.
    fn bounds() -> Bounds {
        Bounds { held: 8192 * KIB, packet: 128 * KIB, record: 0 }
    }

    #[test]
    fn each_is_counted_as_it_is_now() {
        let mut sums = memory(&[peer(Role::Guest, 30, 10), peer(Role::Client, 7, 5)]);
        assert_eq!(sums, Memory { held: 37, unsent: 18, guests_halves: 10, clients_halves: 5 });
        assert_eq!(sums.held(), 37);
        // A guest with half a packet logs in, and sends more.
        sums.replace(peer(Role::Guest, 30, 10), peer(Role::Client, 40, 12));
        assert_eq!(sums, Memory { held: 47, unsent: 23, guests_halves: 0, clients_halves: 17 });
        sums.replace(peer(Role::Client, 40, 12), peer(Role::Client, 4, 0));
        sums.remove(peer(Role::Client, 7, 5));
        assert_eq!(sums, Memory { held: 4, unsent: 2, guests_halves: 0, clients_halves: 0 });
    }

    #[test]
    fn guests_halves_have_an_eighth_and_all_a_quarter() {
        let excess = |guests: usize, clients: usize| {
            let peers = [
                peer(Role::Guest, guests * KIB, guests * KIB),
                peer(Role::Client, clients * KIB, clients * KIB),
            ];
            let (bounds, memory) = (bounds(), memory(&peers));
            let excess = bounds.excess(&memory);
            // The quick check never hides an excess.
            assert!(excess.is_none() || !bounds.are_kept(&memory));
            excess
        };
        assert_eq!(excess(1024, 1024), None);
        assert_eq!(excess(1025, 0), Some(Excess::GuestsHalves));
        assert_eq!(excess(1024, 1025), Some(Excess::Halves));
        assert_eq!(excess(0, 2048), None);
        assert_eq!(excess(0, 2049), Some(Excess::Halves));
    }

    #[test]
    fn unsent_bytes_are_no_halves() {
        let unsent = peer(Role::Master, 8192 * KIB, 0);
        assert!(!bounds().are_exceeded(&memory(&[unsent])));
        assert!(bounds().are_kept(&memory(&[unsent])));
        let more = [unsent, peer(Role::Client, 1, 0)];
        assert_eq!(bounds().excess(&memory(&more)), None);
        assert!(bounds().are_exceeded(&memory(&more)));
        assert!(!bounds().are_kept(&memory(&more)));
    }

    #[test]
    fn one_packet_fits_as_long_as_memory_is_left() {
        let bounds = Bounds { held: 200 * KIB, packet: 128 * KIB, record: 0 };
        let half = peer(Role::Guest, 128 * KIB, 128 * KIB);
        assert_eq!(bounds.excess(&memory(&[half])), None);
        assert!(bounds.are_kept(&memory(&[half])));
        let full = [half, peer(Role::Master, 73 * KIB, 0)];
        assert_eq!(bounds.excess(&memory(&full)), Some(Excess::GuestsHalves));
        let longer = peer(Role::Client, 129 * KIB, 129 * KIB);
        assert_eq!(bounds.excess(&memory(&[longer])), Some(Excess::Halves));
    }

    #[test]
    fn one_record_fits_even_if_no_memory_is_left() {
        let half = peer(Role::Guest, 17 * KIB, 17 * KIB);
        let full = memory(&[half, peer(Role::Client, 90 * KIB, 0)]);
        let excess = |record| {
            let bounds = Bounds { held: 100 * KIB, packet: 90 * KIB, record };
            assert!(bounds.are_exceeded(&full));
            bounds.excess(&full)
        };
        assert_eq!(excess(0), Some(Excess::GuestsHalves));
        assert_eq!(excess(RECORD_BYTES), None);
    }
}
