//! Who may come in: accepting, upgrading, and what a full house does.

use super::Server;
use crate::connection::ending::Ending;
use crate::http::answer::Refusal;
use crate::server::world::World;
use crate::settings::config::{HEAD_RESERVE, MASTER_PLACES};

/// Connections accepted in one turn.
const TURN_ACCEPTS: usize = 256;

impl<W: World> Server<W> {
    /// Accepts those who wait, as far as a turn's budget and the places go.
    pub(super) fn accept(&mut self) {
        let now = self.peers.now;
        let Some(listener) = self.listener.as_mut().filter(|listener| listener.is_ready(now))
        else {
            return;
        };
        let places = self.config.limits.max_connections + MASTER_PLACES + HEAD_RESERVE;
        for _ in 0..TURN_ACCEPTS {
            if self.peers.len() >= places && !self.peers.displace() {
                return listener.rest(now);
            }
            match listener.accept(&mut self.world, now) {
                Some((stream, address)) => self.peers.accept(stream, address, &mut self.world),
                None => return,
            }
        }
    }

    /// Lets a WebSocket in, or refuses it in a full house. A full house must let a master in.
    #[cold]
    pub(super) fn upgrade(&mut self, id: u64, response: &[u8]) {
        let now = self.peers.now;
        let limit = self.config.limits.max_connections;
        let open = self.peers.open();
        if open - self.candidates.len() >= limit {
            let has_room = self.wants_master()
                && (open - limit < MASTER_PLACES
                    || self.candidates.displace(now).is_some_and(|displaced| {
                        self.peers.close(displaced, Ending::Full);
                        true
                    }));
            if !has_room {
                self.peers.with(id, |peer, _| peer.session.refuse(Refusal::Full, now));
                return;
            }
            self.candidates.add(id, now);
            self.relay.restrict(id);
        }
        self.peers.with(id, |peer, _| peer.session.open(response));
    }

    /// Whether there is no master, or none that answers: its box may have lost power.
    fn wants_master(&self) -> bool {
        self.relay.master().is_none_or(|master| self.peers.is_unanswered(master))
    }

    /// Where a connection has ended there is room for another.
    pub(super) fn wake_listener(&mut self) {
        if self.peers.take_ended() > 0
            && let Some(listener) = &mut self.listener
        {
            listener.wake(self.peers.now);
        }
    }
}
