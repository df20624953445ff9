//! A turn's main job: peers are read, each as far as its share goes, and their packets go
//! through the relay to others.
//!
//! How much each gets is up to `schedule`, when clients have to wait for a slow master up to
//! `pressure`. Neither a peer's bytes nor its frames are looked at here.

use crate::connection::ending::Ending;
use crate::connection::session::Event;
use crate::http::head::Report;
use crate::server::Server;
use crate::server::peer::Buffers;
use crate::server::pressure::Verdict;
use crate::server::schedule::{Budget, LEAST_RECEIVE, Share};
use crate::server::site::Site;
use crate::server::world::World;

/// Clients of a slow master take turns at its bytes: a share is this part of the packet
/// limit. It is far less than what the kernel shows of a flood at once (some 64 KiB, and
/// then nothing for a moment), or those whose kernel shows less would fall behind.
const SLOW_PART: i64 = 16;

/// Such a share is not smaller, in bytes: a short packet, as it comes and as it goes.
const LEAST_SLOW_SHARE: i64 = 64;

impl<W: World> Server<W> {
    /// Serves those who are ready, as far as a turn's budgets go: the request heads of new
    /// connections first, then each peer in its turn.
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
                // A round in which all who are ready still owe their share is over at once.
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

    /// Receives from one peer and handles what it says, as far as its share goes.
    fn serve(&mut self, id: u64, share: Share, budget: &mut Budget, buffers: &mut Buffers) {
        // Asked again after each packet: else each newcomer could log in and add a whole
        // receive to the backlog of a master that does not keep up.
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
                // Bytes count when they are handled: all at once when they were received, small
                // shares would never be met.
                let handled = input.taken() - before;
                left.spend(1, handled as u64 + self.peers.queued() - queued);
                waits = self.must_wait(id);
                if is_new && self.relay.is_client(id) {
                    // Its share is that of a slow master's client from now on.
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
        // Nobody must meet a master, or a client, that has gone.
        self.tell_departures();
        match event {
            Event::Text(text) => self.relay(id, &text),
            // What is no UTF-8 is no packet, and neither is an empty text.
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

    /// Whether this is a client, and clients have to wait for the master.
    fn must_wait(&mut self, id: u64) -> bool {
        // What all peers hold is a quick bound on what the master's backlog is.
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
