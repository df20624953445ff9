//! Who is served next, and how much: turns, rounds and shares.
//!
//! Ids and numbers only. A *turn* of the loop has a limit, so that accepting, signals,
//! deadlines and flushes are not delayed, however many peers are ready. A *round* is as many
//! turns as it takes to serve each ready peer once. The more peers are ready, the smaller is
//! the *share* of each, down to one packet. A peer that becomes ready during a round is
//! served before those that already had their share of it.
//!
//! A peer that spent more than its share (its last packet was large) gets less in the next
//! rounds, so shares are fair in bytes. What a peer does not use of its share is lost, unless
//! it is a client that had to stop for the master: it goes on with the rest.

#[cfg(debug_assertions)]
use std::collections::HashSet;
use std::collections::VecDeque;

/// For all ready peers in one turn: some ten milliseconds of tiny frames.
const TURN: Budget = Budget { frames: 4096, bytes: 4 << 20 };

/// For the request heads of new connections in one turn, which are served first.
const ARRIVALS: Budget = Budget { frames: 1024, bytes: 1 << 20 };

/// For all ready peers in one round: about a tenth of a second.
const ROUND: Budget = Budget { frames: 32 << 10, bytes: 32 << 20 };

/// The largest share of one peer in a round.
const LARGEST_SHARE: Budget = Budget { frames: 1024, bytes: 1 << 20 };

/// The smallest receive, in bytes, however many peers are ready: a packet of ordinary length.
pub(crate) const LEAST_RECEIVE: usize = 512;

/// An amount of work: `frames` counts frames that are handled and calls that receive; `bytes`
/// counts bytes that are received, and bytes that are queued because of them. Below zero more
/// was spent than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) frames: i64,
    pub(crate) bytes: i64,
}

/// What each ready peer may spend in this round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) budget: Budget,
    /// The largest receive, in bytes. What is left of it when a share is spent waits in memory, so
    /// it must be smaller the more peers are ready.
    pub(crate) receive: usize,
}

/// The state of a peer in the schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) place: Place,
    /// The round in which it was served last.
    round: u32,
    /// In bytes: what was left when it had to stop for the master or, below zero, what it spent
    /// too much.
    credit: i32,
}

/// Whether a peer is on a list, and on which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On none: everything that it sent is handled.
    Idle,
    /// To be served.
    Ready,
    /// Being served.
    Served,
    /// A client that waits for the master.
    Waiting,
}

/// The lists of peers with something to handle. Ids on them may be outdated.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Connections whose request head is not complete.
    arrivals: VecDeque<u64>,
    /// Ready peers that were not served in this round yet.
    ready: VecDeque<u64>,
    /// Ready peers that had their share of this round.
    served: VecDeque<u64>,
    /// Clients that wait for the master, the longest wait first.
    waiting: VecDeque<u64>,
    round: u32,
    /// How many received bytes all ready peers together may leave unhandled.
    read_ahead: usize,
    /// The largest receive.
    largest_receive: usize,
}

impl Budget {
    /// For the ready peers in one turn.
    pub(crate) fn turn() -> Self {
        TURN
    }

    /// For the arrivals in one turn.
    pub(crate) fn arrivals() -> Self {
        ARRIVALS
    }

    /// Spends frames and bytes.
    pub(crate) fn spend(&mut self, frames: i64, bytes: u64) {
        self.frames -= frames;
        self.bytes -= bytes as i64;
    }

    /// Whether nothing is left of one of the two.
    pub(crate) fn is_spent(&self) -> bool {
        self.frames <= 0 || self.bytes <= 0
    }
}

impl Standing {
    /// For a new connection.
    pub(crate) fn new(schedule: &Schedule) -> Self {
        Self { place: Place::Idle, round: schedule.round.wrapping_sub(1), credit: 0 }
    }

    /// The peer was served, with this much `left` of its budget.
    pub(crate) fn finish(&mut self, left: Budget) {
        self.place = Place::Idle;
        self.credit = credit(left.bytes.min(0));
    }
}

impl Schedule {
    /// An empty schedule. Ready peers may leave a sixteenth of the `memory` limit unhandled; one
    /// call receives at most `largest_receive` bytes.
    pub(crate) fn new(memory: usize, largest_receive: usize) -> Self {
        Self {
            arrivals: VecDeque::new(),
            ready: VecDeque::new(),
            served: VecDeque::new(),
            waiting: VecDeque::new(),
            round: 0,
            read_ahead: memory / 16,
            largest_receive,
        }
    }

    /// Whether any peer has to be served.
    pub(crate) fn has_work(&self) -> bool {
        !self.arrivals.is_empty() || self.has_ready()
    }

    /// Whether any peer is ready, in this round or the next.
    pub(crate) fn has_ready(&self) -> bool {
        !(self.ready.is_empty() && self.served.is_empty())
    }

    /// Puts a peer on the right list; `arrival`: its request head is not complete.
    pub(crate) fn ready(&mut self, id: u64, standing: &mut Standing, arrival: bool) {
        standing.place = Place::Ready;
        if arrival {
            self.arrivals.push_back(id);
        } else if standing.round == self.round {
            self.served.push_back(id);
        } else {
            self.ready.push_back(id);
        }
    }

    /// The next connection whose request head has to be read.
    pub(crate) fn next_arrival(&mut self) -> Option<u64> {
        self.arrivals.pop_front()
    }

    /// The next peer of this round. `None` if the round is over; then the next one begins.
    pub(crate) fn next_ready(&mut self) -> Option<u64> {
        let next = self.ready.pop_front();
        if next.is_none() {
            std::mem::swap(&mut self.ready, &mut self.served);
            self.round = self.round.wrapping_add(1);
        }
        next
    }

    /// The share of each peer that is ready now.
    pub(crate) fn share(&self) -> Share {
        let peers = (self.ready.len() + self.served.len()).max(1);
        let part = |round: i64, largest: i64| (round / peers as i64).clamp(1, largest);
        Share {
            budget: Budget {
                frames: part(ROUND.frames, LARGEST_SHARE.frames),
                bytes: part(ROUND.bytes, LARGEST_SHARE.bytes),
            },
            receive: (self.read_ahead / peers).clamp(LEAST_RECEIVE, self.largest_receive),
        }
    }

    /// Begins to serve a peer, and returns its budget. `None` if it has spent its share of this
    /// round in advance; then it is skipped.
    pub(crate) fn begin(
        &mut self,
        id: u64,
        standing: &mut Standing,
        share: Budget,
    ) -> Option<Budget> {
        if standing.credit <= 0 {
            standing.credit = credit(i64::from(standing.credit) + share.bytes);
        }
        standing.round = self.round;
        if standing.credit <= 0 {
            self.ready(id, standing, false);
            return None;
        }
        standing.place = Place::Served;
        Some(Budget { bytes: share.bytes.min(standing.credit.into()), ..share })
    }

    /// Stops serving a client that has to wait for the master; it will go on with the budget that
    /// is `left`.
    pub(crate) fn interrupt(&mut self, id: u64, standing: &mut Standing, left: Budget) {
        standing.credit = credit(left.bytes);
        self.wait(id, standing);
    }

    /// Makes a client wait for the master.
    pub(crate) fn wait(&mut self, id: u64, standing: &mut Standing) {
        standing.place = Place::Waiting;
        self.waiting.push_back(id);
    }

    /// The ready and the waiting peers.
    #[cfg(debug_assertions)]
    pub(crate) fn listed(&self) -> (HashSet<u64>, HashSet<u64>) {
        let ready = [&self.arrivals, &self.ready, &self.served];
        (ready.into_iter().flatten().copied().collect(), self.waiting.iter().copied().collect())
    }

    /// Takes the list of waiting clients, the longest wait first.
    pub(crate) fn take_waiting(&mut self) -> VecDeque<u64> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts clients that waited before all others, in their order.
    pub(crate) fn resume(&mut self, mut waited: VecDeque<u64>) {
        waited.append(&mut self.ready);
        self.ready = waited;
    }
}

/// Limits it to what `Standing::credit` can hold; debts above two gigabytes are forgiven.
fn credit(bytes: i64) -> i32 {
    bytes.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peers that always have more to send, each with packets of its own length, and a master that
    /// takes `room` bytes at a time.
    struct Flood {
        schedule: Schedule,
        peers: Vec<(Standing, u64)>,
        /// The packets that were passed on, in order: peer and bytes.
        passed: Vec<(usize, u64)>,
    }

    impl Flood {
        fn new(lens: &[u64]) -> Self {
            let mut schedule = Schedule::new(64 << 20, 64 << 10);
            let mut peers: Vec<_> =
                lens.iter().map(|&len| (Standing::new(&schedule), len)).collect();
            for (id, (standing, _)) in peers.iter_mut().enumerate() {
                schedule.ready(id as u64, standing, false);
            }
            Self { schedule, peers, passed: Vec::new() }
        }

        /// One release of the clients: serves until the master has no more room, then all wait.
        fn serve(&mut self, room: u64, share: Budget) {
            let mut room = room as i64;
            loop {
                let Some(id) = self.schedule.next_ready() else {
                    if self.schedule.ready.is_empty() {
                        break;
                    }
                    continue;
                };
                let (standing, len) = &mut self.peers[id as usize];
                if room <= 0 {
                    self.schedule.wait(id, standing);
                    continue;
                }
                let Some(mut left) = self.schedule.begin(id, standing, share) else { continue };
                while room > 0 && !left.is_spent() {
                    left.spend(1, *len);
                    room -= *len as i64;
                    self.passed.push((id as usize, *len));
                }
                if room <= 0 && left.bytes > 0 {
                    self.schedule.interrupt(id, standing, left);
                } else {
                    standing.finish(left);
                    self.schedule.ready(id, standing, false);
                }
            }
            let waited = self.schedule.take_waiting();
            waited.iter().for_each(|&id| self.peers[id as usize].0.place = Place::Ready);
            self.schedule.resume(waited);
        }

        /// The smallest part of its fair share that any peer got in any span of this many bytes;
        /// its largest packet is added to what it got.
        fn least_part(&self, span: u64) -> f64 {
            let fair = span as f64 / self.peers.len() as f64;
            let mut least = f64::MAX;
            let (mut end, mut bytes) = (0, 0);
            let mut of = vec![0; self.peers.len()];
            for &(first, len) in &self.passed {
                while bytes < span {
                    let Some(&(id, len)) = self.passed.get(end) else { return least };
                    of[id] += len;
                    bytes += len;
                    end += 1;
                }
                for (id, (_, packet)) in self.peers.iter().enumerate() {
                    least = least.min((of[id] + packet) as f64 / fair);
                }
                of[first] -= len;
                bytes -= len;
            }
            least
        }
    }

    const PACKET: u64 = 256 << 10;

    #[test]
    fn peers_get_their_part_in_bytes_however_little_the_master_takes() {
        let share = Budget { frames: i64::MAX, bytes: PACKET as i64 };
        for lens in [&[1_000; 6][..], &[250_000, 1_000, 1_000, 200, 3_000, 100_000], &[PACKET; 9]] {
            for room in [1, 5_000, 32 << 10, 160 << 10, 512 << 10, 10 << 20] {
                let mut flood = Flood::new(lens);
                while flood.passed.iter().map(|(_, len)| len).sum::<u64>() < 20 * PACKET {
                    flood.serve(room, share);
                }
                let part = flood.least_part(PACKET * lens.len() as u64);
                assert!(part >= 0.5, "{part} of a fair share; {lens:?}, {room} at a time");
            }
        }
    }

    #[test]
    fn share_smaller_than_a_packet_is_fair_in_bytes_too() {
        let share = Budget { frames: i64::MAX, bytes: 20_000 };
        let mut flood = Flood::new(&[PACKET, 1_000, 1_000, 1_000]);
        while flood.passed.iter().map(|(_, len)| len).sum::<u64>() < 40 * PACKET {
            flood.serve(64 << 10, share);
        }
        let part = flood.least_part(16 * PACKET);
        assert!(part >= 0.5, "{part} of a fair share");
    }

    #[test]
    fn more_peers_have_smaller_shares_down_to_one_packet() {
        let mut schedule = Schedule::new(64 << 20, 64 << 10);
        assert_eq!(schedule.share().budget, LARGEST_SHARE);
        assert_eq!(schedule.share().receive, 64 << 10);
        for id in 0..100_000 {
            let mut standing = Standing::new(&schedule);
            schedule.ready(id, &mut standing, false);
        }
        let share = schedule.share();
        assert_eq!(share.budget.frames, 1);
        assert_eq!(share.budget.bytes, ROUND.bytes / 100_000);
        assert_eq!(share.receive, LEAST_RECEIVE);
    }

    #[test]
    fn who_was_not_served_in_this_round_comes_first() {
        let mut schedule = Schedule::new(64 << 20, 64 << 10);
        let mut standings = [Standing::new(&schedule); 3];
        let [first, second, late] = &mut standings;
        schedule.ready(1, first, false);
        schedule.ready(2, second, false);
        assert_eq!(schedule.next_ready(), Some(1));
        let left = schedule.begin(1, first, LARGEST_SHARE).expect("a share");
        first.finish(left);
        schedule.ready(1, first, false);
        schedule.ready(3, late, false);
        let order: Vec<_> = std::iter::from_fn(|| schedule.next_ready()).collect();
        assert_eq!(order, [2, 3]);
        assert_eq!(schedule.next_ready(), Some(1));
    }

    #[test]
    fn what_is_left_of_a_share_is_lost() {
        let mut schedule = Schedule::new(64 << 20, 64 << 10);
        let mut standing = Standing::new(&schedule);
        let share = Budget { frames: 10, bytes: 1_000 };
        for _ in 0..3 {
            let left = schedule.begin(1, &mut standing, share).expect("a share");
            assert_eq!(left, share);
            standing.finish(left);
            assert_eq!(schedule.next_ready(), None);
        }
    }
}
