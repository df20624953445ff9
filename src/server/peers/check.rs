//! In debug builds, checks the sums and lists against all peers, so that every test over sockets
//! checks them, too.

use std::collections::HashSet;

use super::Peers;
use crate::connection::session::Phase;
use crate::server::memory::Memory;
use crate::server::schedule::Place;
use crate::server::world::World;

impl<W: World> Peers<W> {
    /// Panics if a sum is wrong, or a peer is not on a list on which it should be.
    pub(super) fn check(&self) {
        let mut memory = Memory::default();
        let (mut open, mut kept, mut paused, mut going_on) = (0, 0, 0, 0);
        let mut counted = Vec::new();
        let to_flush: HashSet<u64> = self.lists.to_flush.iter().copied().collect();
        let (ready, waiting) = self.schedule.listed();
        for (id, peer) in self.table.iter() {
            memory.add(peer.snapshot());
            counted.extend(peer.counts.then_some(peer.address));
            open += usize::from(peer.session.phase() == Phase::Open);
            kept += usize::from(peer.session.is_kept());
            paused += usize::from(peer.standing.place == Place::Waiting);
            going_on += u64::from(peer.session.phase() != Phase::Ending);
            assert!(
                !peer.has_body_to_send() || peer.to_send_body,
                "{id}, {peer}: sent no more of a page"
            );
            assert!(!peer.session.is_idle() || peer.in_line, "{id}, {peer}: idle, and not in line");
            assert!(
                !peer.to_send_body || self.lists.bodies.contains(&id),
                "{id}, {peer}: not to be sent more of a page"
            );
            assert!(!peer.has_output() || peer.to_flush, "{id}, {peer}: nobody flushes it");
            assert!(!peer.to_flush || to_flush.contains(&id), "{id}, {peer}: not to be flushed");
            match peer.standing.place {
                Place::Idle => assert!(!peer.has_input(), "{id}, {peer}: nobody serves it"),
                Place::Ready => assert!(ready.contains(&id), "{id}, {peer}: not ready"),
                Place::Waiting => assert!(waiting.contains(&id), "{id}, {peer}: waits nowhere"),
                Place::Served => panic!("{id}, {peer}: served between two turns' jobs"),
            }
        }
        self.addresses.check(counted);
        assert_eq!(memory, self.memory, "what all peers hold");
        assert_eq!(open, self.sums.open, "open WebSockets");
        for id in self.proxied.keys() {
            let peer = self.table.get(*id);
            assert!(
                peer.is_some_and(|peer| peer.session.phase() != Phase::Open),
                "{id} is at no proxy's"
            );
        }
        assert_eq!(kept, self.sums.kept, "connections kept open");
        assert_eq!(paused, self.sums.paused, "clients that wait");
        let counters = &self.counters;
        assert_eq!(counters.accepted, going_on + counters.all_closed(), "connections that came");
    }
}
