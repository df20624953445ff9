//! The main job of a turn: reads ready peers, each up to its share, and passes their packets
//! to the relay.
//!
//! `schedule` decides how much each peer gets, `pressure` when clients have to wait for a slow
//! master. Bytes and frames are not interpreted here.

use crate::connection::ending::Ending;
use crate::connection::session::Event;
use crate::http::head::Report;
use crate::server::Server;
use crate::server::peer::Buffers;
use crate::server::pressure::Verdict;
use crate::server::schedule::{Budget, LEAST_RECEIVE, Share};
use crate::server::site::Site;
use crate::server::world::World;

/// The share of a client of a slow master is the packet limit divided by this. It has to be much
/// smaller than what a kernel delivers of a flood at once (some 64 KiB, and then nothing for a
/// moment), or clients whose kernels deliver less would fall behind.
const SLOW_PART: i64 = 16;

/// The smallest such share, in bytes: a short packet counts when received and when queued.
const LEAST_SLOW_SHARE: i64 = 64;

impl<W: World> Server<W> {
    /// Serves ready peers within the budgets of a turn: first the request heads of new
    /// connections, then all others in their order.
    pub(super) fn serve_all(&mut self, buffers: &mut Buffers) {
        let share = self.peers.share();
        let mut budget = Budget::arrivals();
        while !budget.is_spent() {
            let Some(id) = self.peers.next_arrival() else { break };
            self.serve(id, share, &mut budget, buffers);
        }
        let slow = self.pressure.is_recent(self.peers.now);
        let packet = self.config.limits.max_packet_bytes as i64;
        let small = (packet / SLOW_PART).max(LEAST_SLOW_SHARE);
        let mut budget = Budget::turn();
        let whole = budget;
        while !budget.is_spent() {
            let Some(id) = self.peers.next_ready() else {
                // In this round all ready peers had spent their share in advance: next round.
                if budget == whole && self.peers.has_ready() {
                    continue;
                }
                break;
            };
            let mut share = share;
            if slow && self.relay.is_client(id) {
                share.budget.bytes = share.budget.bytes.min(small);
            }
            self.serve(id, share, &mut budget, buffers);
        }
    }

    /// Receives from one peer and handles what it sent, up to its share.
    fn serve(&mut self, id: u64, share: Share, budget: &mut Budget, buffers: &mut Buffers) {
        // Asked again after each packet: otherwise each new client could log in and add a whole
        // receive to the backlog of a slow master.
        let mut waits = self.must_wait(id);
        if waits {
            return self.peers.wait(id);
        }
        let Some(mut whole) = self.peers.begin(id, share.budget) else { return };
        let mut left = whole;
        let is_new = self.pressure.is_recent(self.peers.now) && !self.relay.is_client(id);
        let now = self.peers.now;
        loop {
            let most = share.receive.min((left.bytes as usize).max(LEAST_RECEIVE));
            let Some((mut input, cost)) = self.peers.receive(id, buffers, most) else {
                self.peers.finish(id, left);
                break;
            };
            while !waits && !left.is_spent() && !input.is_empty() {
                let before = input.taken();
                let config = &self.config;
                let pages = self.site.as_ref().map(Site::pages);
                let next = self
                    .peers
                    .with(id, |peer, _| peer.session.next(&mut input, config, pages, now));
                let Some(Some(event)) = next else { break };
                let queued = self.peers.queued();
                self.handle(id, event);
                // Bytes count when they are handled. If they counted when received, a small share
                // would always be exceeded.
                let handled = input.taken() - before;
                left.spend(1, handled as u64 + self.peers.queued() - queued);
                waits = self.must_wait(id);
                if is_new && self.relay.is_client(id) {
                    // From now on it has the small share of a slow master's client.
                    let unused = left.bytes.max(0);
                    whole.bytes -= unused;
                    left.bytes -= unused;
                }
            }
            left.spend(cost, 0);
            if waits && left.bytes > 0 {
                self.peers.interrupt(id, input, left);
                break;
            }
            if !self.peers.put_back(id, input, left, waits || left.is_spent()) {
                break;
            }
        }
        budget.frames -= whole.frames - left.frames;
        budget.bytes -= whole.bytes - left.bytes;
    }

    fn handle(&mut self, id: u64, event: Event<'_>) {
        // The relay must not use a master or a client that is gone.
        self.tell_departures();
        match event {
            Event::Text(text) => self.relay(id, &text),
            // A message that is not UTF-8 becomes an empty text, which is not a valid packet.
            Event::Binary(payload) => self.relay(id, str::from_utf8(&payload).unwrap_or_default()),
            Event::Requester(requester) => self.peers.come_from(id, requester),
            Event::Upgrade(response) => self.upgrade(id, &response),
            Event::Report { report: Report::Health, is_head, after } => {
                self.answer_health(id, is_head, after);
            }
            Event::Report { report: Report::Metrics, is_head, after } => {
                self.answer_metrics(id, is_head, after);
            }
            Event::Answered(answer) => self.reply(id, *answer),
            Event::Handled => {}
        }
    }

    fn relay(&mut self, sender: u64, text: &str) {
        let before = self.relay.master();
        self.relay.handle(sender, text, &mut |delivery| self.peers.deliver(delivery));
        match self.relay.master() {
            master if master == before => {}
            None => {}
            Some(master) => {
                self.candidates.remove(master);
                log::info!("{master} is master now; clients: {}", self.relay.clients().len());
            }
        }
    }

    /// Whether this peer is a client and has to wait for the master.
    fn must_wait(&mut self, id: u64) -> bool {
        // A quick check: the master's backlog is at most what is held for all peers.
        if !self.pressure.is_on() && !self.pressure.begins_at(self.peers.held()) {
            return false;
        }
        if let Some((id, backlog)) = self.master_backlog()
            && self.pressure.begins_at(backlog)
        {
            // The socket may take what was queued in this turn.
            self.peers.flush(id);
        }
        let master = self.master_backlog();
        self.pressure.holds(master, self.peers.now) && self.relay.is_client(id)
    }

    fn master_backlog(&self) -> Option<(u64, usize)> {
        self.relay.master().map(|master| (master, self.peers.backlog(master)))
    }

    pub(super) fn review_pressure(&mut self) {
        match self.pressure.review(self.master_backlog(), self.peers.now) {
            Verdict::Unchanged => {}
            Verdict::Release => self.peers.release(),
            Verdict::Drop(master) => self.peers.cut(master, Ending::SlowMaster),
        }
    }
}
