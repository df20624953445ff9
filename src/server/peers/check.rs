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
                "{id}, {peer}: has more of a page to send, and is not marked for it"
            );
            assert!(
                !peer.session.is_idle() || peer.queued_as_idle,
                "{id}, {peer}: idle, and not marked as queued"
            );
            assert!(
                !peer.to_send_body || self.lists.bodies.contains(&id),
                "{id}, {peer}: marked for a page, and not on the list"
            );
            assert!(
                !peer.has_output() || peer.to_flush,
                "{id}, {peer}: has output, and is not marked for flushing"
            );
            assert!(
                !peer.to_flush || to_flush.contains(&id),
                "{id}, {peer}: marked for flushing, and not on the list"
            );
            match peer.standing.place {
                Place::Idle => {
                    assert!(!peer.has_input(), "{id}, {peer}: has input, and is not scheduled")
                }
                Place::Ready => {
                    assert!(ready.contains(&id), "{id}, {peer}: ready, and not on the list")
                }
                Place::Waiting => {
                    assert!(waiting.contains(&id), "{id}, {peer}: waiting, and not on the list")
                }
                Place::Served => panic!("{id}, {peer}: still being served after serving"),
            }
        }
        self.addresses.check(counted);
        assert_eq!(memory, self.memory, "what all peers hold");
        assert_eq!(open, self.sums.open, "open WebSockets");
        for id in self.proxied.keys() {
            let peer = self.table.get(*id);
            assert!(
                peer.is_some_and(|peer| peer.session.phase() != Phase::Open),
                "{id}: counted as proxied, and no longer"
            );
        }
        assert_eq!(kept, self.sums.kept, "connections kept open");
        assert_eq!(paused, self.sums.paused, "clients that wait");
        let counters = &self.counters;
        assert_eq!(counters.accepted, going_on + counters.all_closed(), "connections that came");
    }
}
