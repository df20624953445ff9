//! Visitors of pages, some of which then request a WebSocket.

use super::{Peer, Stage, World};
use crate::network::{MILLISECOND, SECOND};
use crate::pages::Ask;
use crate::plan::Kind;
use crate::wire;

/// The least that a reader reads before it stops: enough for a TLS handshake.
const LEAST_READ: u64 = 10_000;

/// How many bytes a slow reader reads each time.
const SLOW_BYTES: u64 = 4_000;

impl Peer {
    /// It has connected, and puts a request, or half of one, into `out`.
    pub(super) fn asks_first(&mut self, link: usize, world: &mut World<'_>) {
        let own = std::mem::take(&mut self.out);
        self.owed = 0;
        let is_upgrade = own == wire::UPGRADE.as_bytes();
        match self.kind {
            Kind::Browser => {
                self.flood = self.random.between(1, 20);
                self.asks_more(link, world);
            }
            Kind::Dawdler => {
                self.allowance = LEAST_READ;
                for _ in 0..3 {
                    let ask = Ask::large(&mut self.random);
                    self.asks(link, ask, world);
                }
            }
            Kind::Stopper => {
                self.allowance = LEAST_READ + self.random.pick(&[0, 0, 100_000, 500_000]);
                let small = self.random.is_one_in(2);
                for _ in 0..if small { 1_200 } else { 3 } {
                    let ask = match small {
                        true => Ask::small(&mut self.random),
                        false => Ask::large(&mut self.random),
                    };
                    self.asks(link, ask, world);
                }
            }
            Kind::Visitor => {
                let text = String::from_utf8_lossy(&own);
                let path = text.split(' ').nth(1).expect("a path");
                self.asks(link, Ask::plain(path), world);
            }
            Kind::Client | Kind::Guest | Kind::Master | Kind::Flooder
                // Byte by byte the answers would take so long that it counts as silent.
                if self.line.piece >= 200 && self.random.is_one_in(4) =>
            {
                for _ in 0..self.random.between(1, 5) {
                    let ask = Ask::small(&mut self.random);
                    self.asks(link, ask, world);
                }
                self.asks(link, Ask::upgrade(), world);
            }
            Kind::Dripper if self.random.is_one_in(2) => {
                let ask = Ask::small(&mut self.random);
                self.asks(link, ask, world);
                self.out.extend(own);
            }
            _ => {
                self.out = own;
                if is_upgrade {
                    self.ends.push(self.out.len() as u64);
                }
            }
        }
    }

    fn asks(&mut self, link: usize, ask: Ask, world: &mut World<'_>) {
        self.out.extend_from_slice(ask.text.as_bytes());
        let end = self.taken + self.out.len() as u64;
        self.ends.push(end);
        self.owed += 1;
        world.judge.asks(link, ask, end, world.network.now);
    }

    /// An answer is complete; it may be the last one.
    pub(super) fn is_answered(&mut self, ends: bool, world: &mut World<'_>) {
        let was_asked = self.owed > 0;
        self.owed = self.owed.saturating_sub(1);
        if ends || !was_asked {
            self.stage = Stage::Leaving;
        }
        let pauses = [0, 0, 0, 100 * MILLISECOND, 2 * SECOND, 4 * SECOND];
        if self.owed == 0 && self.kind == Kind::Browser {
            self.next = world.network.now + self.random.pick(&pauses);
        }
    }

    /// What a visitor does each time that it runs.
    pub(super) fn visits(&mut self, link: usize, world: &mut World<'_>) {
        let now = world.network.now;
        match self.kind {
            _ if world.calm => {}
            Kind::Browser if self.owed > 0 => {}
            Kind::Browser if now < self.next => self.wake_at(self.next, world),
            Kind::Browser if self.flood > 0 => self.asks_more(link, world),
            // It has all answers, or waits until moss ends it.
            Kind::Browser if self.done == 0 => {
                self.done = 1;
                match self.random.below(3) {
                    0 => self.asks(link, Ask::upgrade(), world),
                    1 => {
                        world.judge.leaves(link);
                        world.network.close(link);
                        self.gone(world);
                    }
                    _ => {}
                }
            }
            Kind::Dawdler if now >= self.next => {
                self.allowance = (self.allowance + SLOW_BYTES).min(5 * SLOW_BYTES);
                self.next = now + 50 * MILLISECOND;
                self.wake_at(self.next, world);
            }
            _ => {}
        }
    }

    /// The next requests of a browser, one or several at once.
    fn asks_more(&mut self, link: usize, world: &mut World<'_>) {
        let count = self.random.pick(&[1, 1, 1, 3, 6]).min(self.flood);
        self.flood -= count;
        for _ in 0..count {
            let ask = Ask::any(&mut self.random);
            let is_last = ask.is_last;
            self.asks(link, ask, world);
            if is_last {
                self.flood = 0;
                break;
            }
        }
    }
}
