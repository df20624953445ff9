//! Serves peers: takes them from the schedule, receives, and puts them back.

use super::Peers;
use crate::connection::session::Input;
use crate::server::peer::Buffers;
use crate::server::schedule::{Budget, Place, Share};
use crate::server::world::World;

impl<W: World> Peers<W> {
    /// The share of each ready peer.
    pub(crate) fn share(&self) -> Share {
        self.schedule.share()
    }

    /// The next connection whose request head has to be read.
    pub(crate) fn next_arrival(&mut self) -> Option<u64> {
        self.schedule.next_arrival()
    }

    /// The next peer to serve in this turn.
    pub(crate) fn next_ready(&mut self) -> Option<u64> {
        self.schedule.next_ready()
    }

    /// Whether any peer is ready.
    pub(crate) fn has_ready(&self) -> bool {
        self.schedule.has_ready()
    }

    /// Begins to serve a peer, and returns its budget. `None` if it is not to be served now.
    pub(crate) fn begin(&mut self, id: u64, share: Budget) -> Option<Budget> {
        let peer = self.table.get_mut(id)?;
        (peer.standing.place == Place::Ready)
            .then(|| self.schedule.begin(id, &mut peer.standing, share))?
    }

    /// Receives from a peer that is being served; see [`Peer::receive`].
    ///
    /// [`Peer::receive`]: crate::server::peer::Peer::receive
    pub(crate) fn receive<'b>(
        &mut self,
        id: u64,
        buffers: &'b mut Buffers,
        most: usize,
    ) -> Option<(Input<'b>, i64)> {
        let now = self.now;
        let (received, resumed) = self.with(id, |peer, _| {
            let was_over = peer.has_resumed().is_some();
            let received = peer.receive(buffers, most, now);
            (received, peer.has_resumed().filter(|_| !was_over))
        })?;
        if let Some(resumed) = resumed {
            self.counters.handshakes[usize::from(resumed)] += 1;
        }
        received
    }

    /// Ends the handling of received bytes, with this much `left` of the peer's budget. True if
    /// there is more to receive; otherwise, or if `stop` is set, serving it ends.
    pub(crate) fn put_back(&mut self, id: u64, input: Input<'_>, left: Budget, stop: bool) -> bool {
        let more = self.with(id, |peer, _| {
            peer.session.put_back(input);
            peer.interrupted = (stop || peer.session.is_busy()) && peer.session.unparsed() > 0;
            let more = !stop && peer.has_input();
            if !more {
                peer.standing.finish(left);
            }
            more
        });
        more.unwrap_or(false)
    }

    /// Ends the serving of a peer from which nothing was received.
    pub(crate) fn finish(&mut self, id: u64, left: Budget) {
        self.with(id, |peer, _| peer.standing.finish(left));
    }

    /// Stops serving a client that has to wait for the master, with this much `left` of its
    /// budget.
    pub(crate) fn interrupt(&mut self, id: u64, input: Input<'_>, left: Budget) {
        self.with(id, |peer, _| {
            peer.session.put_back(input);
            peer.interrupted = peer.session.unparsed() > 0;
        });
        if let Some(peer) = self.table.get_mut(id) {
            self.sums.paused += 1;
            self.schedule.interrupt(id, &mut peer.standing, left);
        }
    }

    /// Makes a ready client wait for the master.
    pub(crate) fn wait(&mut self, id: u64) {
        if let Some(peer) = self.table.get_mut(id)
            && peer.standing.place == Place::Ready
        {
            self.sums.paused += 1;
            self.schedule.wait(id, &mut peer.standing);
        }
    }

    /// Lets the waiting clients go on, in the order in which they began to wait, and before all
    /// others.
    pub(crate) fn release(&mut self) {
        self.sums.paused = 0;
        let mut waited = self.schedule.take_waiting();
        waited.retain(|&id| {
            let Some(peer) = self.table.get_mut(id) else { return false };
            let waits = peer.standing.place == Place::Waiting;
            if waits {
                peer.standing.place = Place::Ready;
            }
            waits
        });
        self.schedule.resume(waited);
    }
}
