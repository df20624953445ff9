//! Which connections are closed when others need their places: those that are kept alive, by
//! two queues, and those whose request was not read or whose close was not answered yet.

use std::time::Duration;

use super::Peers;
use crate::connection::ending::Ending;
use crate::server::world::World;

/// How long a connection may take to send its request, or to close its side, when its place is
/// needed.
const GRACE: Duration = Duration::from_secs(1);

impl<W: World> Peers<W> {
    /// Puts a connection that is kept alive on its lists; `is_new`: it was not kept alive before.
    pub(super) fn list_kept(&mut self, id: u64, is_new: bool) {
        if is_new {
            self.sums.kept += 1;
            let belongs = |id| self.table.get(id).is_some_and(|peer| peer.session.is_kept());
            self.lists.kept.add((id, self.now), self.sums.kept, belongs);
        }
        if self.table.get(id).is_some_and(|peer| peer.session.is_proxys_own()) {
            self.return_to_proxy(id);
        }
        let Some(peer) = self.table.get_mut(id) else { return };
        if !peer.to_send_body && peer.has_body_to_send() {
            peer.to_send_body = true;
            self.lists.bodies.push_back(id);
        }
        if !peer.queued_as_idle && peer.session.is_idle() {
            peer.queued_as_idle = true;
            let since = peer.session.since();
            // Not one that has become a WebSocket since.
            let belongs = |id| {
                self.table.get(id).is_some_and(|peer| peer.queued_as_idle && peer.session.is_kept())
            };
            self.lists.idle.add((id, since), self.sums.kept, belongs);
        }
    }

    /// Drops a connection whose place is needed: an idle one, else one that has taken over a
    /// second to send its request or to close its side, else one that is sent a page. False if
    /// there is none.
    pub(crate) fn displace(&mut self) -> bool {
        if self.displace_idle() {
            return true;
        }
        let now = self.now;
        let visitors = self.table.iter().filter(|(_, peer)| peer.is_on_its_way());
        let oldest = visitors.map(|(id, peer)| (peer.session.since(), id)).min();
        match oldest {
            Some((since, id)) if now.saturating_duration_since(since) > GRACE => {
                self.drop_for_another(id, Ending::Displaced);
                true
            }
            _ => self.displace_kept(),
        }
    }

    /// Drops the connection that has been idle for longest. False if none is.
    pub(crate) fn displace_idle(&mut self) -> bool {
        while let Some((id, since)) = self.lists.idle.next() {
            let Some(peer) = self.table.get_mut(id) else { continue };
            peer.queued_as_idle = false;
            if !peer.session.is_idle() {
                continue;
            }
            if peer.session.since() == since {
                self.drop_for_another(id, Ending::Answered);
                return true;
            }
            // It has sent another request since: it goes to the end of the queue.
            self.list_kept(id, false);
        }
        false
    }

    /// Drops an idle connection, else the one that has been kept alive for longest. False if
    /// there is none.
    pub(crate) fn displace_kept(&mut self) -> bool {
        if self.displace_idle() {
            return true;
        }
        while let Some((id, _)) = self.lists.kept.next() {
            if self.is_kept(id) {
                self.drop_for_another(id, Ending::Displaced);
                return true;
            }
        }
        false
    }

    fn drop_for_another(&mut self, id: u64, ending: Ending) {
        let now = self.now;
        self.with(id, |peer, _| {
            peer.session.drop_now(ending, now);
            // No close_notify either: the place is free at once.
            peer.give_up(now);
        });
    }
}
