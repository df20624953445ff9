//! How peers are served: from the schedule, by shares, and back to it.

use super::Peers;
use crate::connection::session::Input;
use crate::server::peer::Buffers;
use crate::server::schedule::{Budget, Place, Share};
use crate::server::world::World;

impl<W: World> Peers<W> {
    /// The share of each peer that is ready now.
    pub(crate) fn share(&self) -> Share {
        self.schedule.share()
    }

    /// The next connection whose request head is to be read.
    pub(crate) fn next_arrival(&mut self) -> Option<u64> {
        self.schedule.next_arrival()
    }

    /// The next peer that is to be served in this turn.
    pub(crate) fn next_ready(&mut self) -> Option<u64> {
        self.schedule.next_ready()
    }

    /// Whether anybody is to be served.
    pub(crate) fn has_ready(&self) -> bool {
        self.schedule.has_ready()
    }

    /// Begins to serve a peer, and says what it may spend. Nothing if it is not to be
    /// served now.
    pub(crate) fn begin(&mut self, id: u64, share: Budget) -> Option<Budget> {
        let peer = self.table.get_mut(id)?;
        (peer.standing.place == Place::Ready)
            .then(|| self.schedule.begin(id, &mut peer.standing, share))?
    }

    /// Receives at most so many bytes from a peer that is being served, or goes on with what
    /// an earlier share left: a walk over what they say, and what it cost, in frames. Nothing
    /// if there is nothing to do.
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

    /// Ends the handling of received bytes, with so much `left` of the peer's share. True
    /// if there is more to receive; else, or if it was told to `stop`, it was served.
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

    /// Stops serving a client that has to wait for the master; so much is `left` to it.
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

    /// Lets a client that is ready wait for the master.
    pub(crate) fn wait(&mut self, id: u64) {
        if let Some(peer) = self.table.get_mut(id)
            && peer.standing.place == Place::Ready
        {
            self.sums.paused += 1;
            self.schedule.wait(id, &mut peer.standing);
        }
    }

    /// Lets the clients that waited go on, the longest wait first, and before all others.
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
