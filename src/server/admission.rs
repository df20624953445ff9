//! Accepts and upgrades connections, and refuses them if the server is full.

use super::Server;
use crate::connection::ending::Ending;
use crate::connection::session::SHORT_BYTES;
use crate::http::answer::{After, Answer, Refusal};
use crate::server::world::{Endpoint, World};
use crate::settings::config::{HEAD_RESERVE, MASTER_PLACES};

/// The most connections accepted in one turn at each endpoint.
const TURN_ACCEPTS: usize = 128;

/// Connections that are kept alive for pages may be one in this many of all.
const KEPT_PART: usize = 4;

/// They may always be this many: a browser opens six.
const LEAST_KEPT: usize = 8;

impl<W: World> Server<W> {
    /// Accepts waiting connections, as far as the turn's limit and the places allow.
    #[cold]
    pub(super) fn accept(&mut self) {
        let now = self.peers.now;
        let places = self.config.limits.max_connections + MASTER_PLACES + HEAD_RESERVE;
        for listener in self.listeners.iter_mut().filter(|listener| listener.is_ready(now)) {
            for _ in 0..TURN_ACCEPTS {
                if self.peers.len() >= places && !self.peers.displace() {
                    listener.rest(now);
                    break;
                }
                let Some((stream, address)) = listener.accept(&mut self.world, now) else { break };
                let Some(arrival) = self.peers.enter(address, listener.endpoint) else { continue };
                let mut tls = None;
                if listener.endpoint == Endpoint::Tls {
                    tls = self.certificate.as_mut().and_then(|certificate| {
                        certificate.look(now);
                        certificate.accept()
                    });
                    if tls.is_none() {
                        log::warn!("connection dropped, no random numbers for TLS");
                        self.peers.turn_away(&arrival);
                        continue;
                    }
                }
                self.peers.accept(stream, arrival, tls, &mut self.world);
            }
        }
    }

    /// Opens a WebSocket, or refuses it if the server is full; but a full server must admit a
    /// master.
    #[cold]
    pub(super) fn upgrade(&mut self, id: u64, response: &[u8]) {
        let now = self.peers.now;
        let limit = self.config.limits.max_connections;
        let open = self.peers.open();
        if open - self.candidates.len() >= limit {
            let has_room = self.wants_master()
                && (open - limit < MASTER_PLACES
                    || self.candidates.displace(now).is_some_and(|displaced| {
                        self.peers.close(displaced, Ending::NotMaster);
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
        if self.peers.open() + self.peers.kept() > limit {
            // A browser can ask for a page again.
            self.peers.displace_kept();
        }
    }

    /// Answers a request. Connections that are kept alive, or are sent a long page, have a limit
    /// of their own, and a full server keeps none alive.
    #[cold]
    pub(super) fn reply(&mut self, id: u64, mut answer: Answer) {
        let is_long = answer.body_len() > SHORT_BYTES;
        if (is_long || answer.after() != After::Close) && !self.peers.is_kept(id) {
            let limit = self.config.limits.max_connections;
            let now = self.peers.now;
            let most = (limit / KEPT_PART).max(LEAST_KEPT);
            let has_place = self.peers.kept() < most || self.peers.displace_idle();
            if is_long && !has_place {
                self.peers.with(id, |peer, _| peer.session.refuse(Refusal::Busy, now));
                return;
            }
            if !has_place || self.peers.open() + self.peers.kept() >= limit {
                answer.close();
            }
        }
        self.peers.reply(id, answer);
    }

    /// Whether there is no master, or one that does not answer: its machine may have lost power.
    fn wants_master(&self) -> bool {
        self.relay.master().is_none_or(|master| self.peers.is_unanswered(master))
    }

    /// Lets the listeners try again if a connection has ended, since there is room now.
    pub(super) fn wake_listeners(&mut self) {
        if self.peers.take_ended() > 0 {
            let now = self.peers.now;
            self.listeners.iter_mut().for_each(|listener| listener.wake(now));
        }
    }
}
