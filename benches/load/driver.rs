//! Keeps packets in flight between clients and their master, and checks that each arrives
//! complete, unchanged and at the right peer.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use super::crowd::{Crowd, MASTER};
use super::fleet::Heard;
use super::{frame, packets};

/// Clients that exchange packets at the same time where the load itself does not matter.
const CHUNK: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    ClientsToMaster,
    MasterToClients,
    RoundTrip,
}

#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) flow: Flow,
    /// How many clients are logged in.
    pub(crate) clients: usize,
    /// How many of them exchange packets.
    pub(crate) active: usize,
    /// Packets that each active client has in flight at any time.
    pub(crate) in_flight: usize,
    /// Bytes of a packet without an id.
    pub(crate) bytes: usize,
}

pub(crate) struct Tally {
    /// Packets that the server passed on.
    pub(crate) packets: u64,
    pub(crate) elapsed: Duration,
    /// Nanoseconds from when a packet was sent to when it arrived, or its answer did in round
    /// trips; ascending.
    latencies: Vec<u32>,
}

impl Tally {
    /// The latency that `share` of the packets did not exceed.
    pub(crate) fn latency_microseconds(&self, share: f64) -> f64 {
        let place = (self.latencies.len() - 1) as f64 * share;
        f64::from(self.latencies[place as usize]) / 1e3
    }
}

/// One active client.
struct Pair {
    peer: usize,
    /// The frame as many times as may be in flight, so that one `send` takes them all.
    up: Vec<u8>,
    down: Vec<u8>,
    expected_by_master: Vec<u8>,
    expected_by_client: Vec<u8>,
    at_master: usize,
    at_client: usize,
    sent_at: VecDeque<Instant>,
}

pub(crate) struct Driver {
    crowd: Crowd,
    load: Load,
    pairs: Vec<Pair>,
    /// The pairs for which packets arrived in this turn, and when.
    at_master: Vec<(usize, Instant)>,
    at_client: Vec<(usize, Instant)>,
    /// What the master sends in this turn.
    batch: Vec<u8>,
}

impl Driver {
    /// `crowd` has `load.clients` clients. Has each active one send a packet,
    /// from which the master learns its id.
    pub(crate) fn new(crowd: Crowd, load: Load) -> io::Result<Self> {
        let stride = load.clients / load.active;
        let pairs = (0..load.active).map(|client| {
            let text = packets::candidate(client, load.bytes);
            Pair {
                peer: MASTER + 1 + client * stride,
                up: frame::masked(frame::TEXT, &text).repeat(load.in_flight),
                down: Vec::new(),
                expected_by_master: Vec::new(),
                expected_by_client: text,
                at_master: 0,
                at_client: 0,
                sent_at: VecDeque::with_capacity(load.in_flight),
            }
        });
        let mut driver = Self {
            crowd,
            load,
            pairs: pairs.collect(),
            at_master: Vec::new(),
            at_client: Vec::new(),
            batch: Vec::new(),
        };
        driver.learn_ids()?;
        Ok(driver)
    }

    fn learn_ids(&mut self) -> io::Result<()> {
        let in_flight = self.load.in_flight;
        for chunk in chunks(self.pairs.len()) {
            for client in chunk.clone() {
                self.send_up(client, 1)?;
            }
            let pairs = &mut self.pairs;
            let mut missing = chunk.len();
            while missing > 0 {
                self.crowd.fleet.turn(|_, heard| {
                    if let Heard::Text(text) = heard
                        && let Some(client) = packets::client_of(text)
                        && let Some(pair) = pairs.get_mut(client)
                        && let Some(id) = packets::id_of(text)
                        && text == packets::with_id(&pair.expected_by_client, id)
                    {
                        pair.down = frame::masked(frame::TEXT, text).repeat(in_flight);
                        pair.expected_by_master = text.to_vec();
                        pair.sent_at.clear();
                        missing -= 1;
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Keeps the load up for `duration`, then waits until all has arrived.
    pub(crate) fn run(&mut self, duration: Duration) -> io::Result<Tally> {
        self.run_part(0..self.pairs.len(), duration)
    }

    /// For `duration`, the clients take turns to send the master a packet every `period`. Server
    /// and peers sleep in between, and have to be woken for each.
    pub(crate) fn run_one_by_one(
        &mut self,
        period: Duration,
        duration: Duration,
    ) -> io::Result<Tally> {
        let started = Instant::now();
        let (mut packets, mut latencies) = (0, Vec::new());
        let mut due = started;
        for client in (0..self.pairs.len()).cycle() {
            if started.elapsed() >= duration {
                break;
            }
            self.send_up(client, 1)?;
            while self.at_master.is_empty() {
                packets += self.turn()?;
            }
            for (client, at) in mem::take(&mut self.at_master) {
                let arrived = mem::take(&mut self.pairs[client].at_master);
                self.complete(client, arrived, at, &mut latencies);
            }
            due += period;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let elapsed = started.elapsed();
        latencies.sort_unstable();
        Ok(Tally { packets, elapsed, latencies })
    }

    /// Sends the packets of each active client once, a few clients at a time.
    pub(crate) fn exchange_once(&mut self) -> io::Result<()> {
        for chunk in chunks(self.pairs.len()) {
            self.run_part(chunk, Duration::ZERO)?;
        }
        Ok(())
    }

    fn run_part(&mut self, clients: Range<usize>, duration: Duration) -> io::Result<Tally> {
        let Load { flow, in_flight, .. } = self.load;
        let started = Instant::now();
        let mut packets = 0;
        let mut latencies = Vec::new();
        let mut on_their_way = clients.len() * in_flight;
        for client in clients {
            match flow {
                Flow::MasterToClients => self.enqueue_down(client, in_flight),
                Flow::ClientsToMaster | Flow::RoundTrip => self.send_up(client, in_flight)?,
            }
        }
        loop {
            if !self.batch.is_empty() {
                self.crowd.fleet.send(MASTER, &self.batch)?;
                self.batch.clear();
            }
            if on_their_way == 0 {
                break;
            }
            packets += self.turn()?;
            let going_on = started.elapsed() < duration;
            let mut touched = mem::take(&mut self.at_master);
            for (client, at) in touched.drain(..) {
                let arrived = mem::take(&mut self.pairs[client].at_master);
                if flow == Flow::RoundTrip {
                    self.append_down(client, arrived);
                    continue;
                }
                self.complete(client, arrived, at, &mut latencies);
                if going_on {
                    self.send_up(client, arrived)?;
                } else {
                    on_their_way -= arrived;
                }
            }
            self.at_master = touched;
            let mut touched = mem::take(&mut self.at_client);
            for (client, at) in touched.drain(..) {
                let arrived = mem::take(&mut self.pairs[client].at_client);
                self.complete(client, arrived, at, &mut latencies);
                match flow {
                    _ if !going_on => on_their_way -= arrived,
                    Flow::MasterToClients => self.enqueue_down(client, arrived),
                    Flow::ClientsToMaster | Flow::RoundTrip => self.send_up(client, arrived)?,
                }
            }
            self.at_client = touched;
        }
        let elapsed = started.elapsed();
        latencies.sort_unstable();
        Ok(Tally { packets, elapsed, latencies })
    }

    /// Receives what has arrived, and returns how many packets it was.
    fn turn(&mut self) -> io::Result<u64> {
        let stride = self.load.clients / self.load.active;
        let pairs = &mut self.pairs;
        let (at_master, at_client) = (&mut self.at_master, &mut self.at_client);
        let mut packets = 0;
        let mut wrong = 0;
        self.crowd.fleet.turn(|peer, heard| {
            let Heard::Text(text) = heard else { return };
            packets += 1;
            let client = match peer {
                MASTER => packets::client_of(text),
                _ => Some((peer - MASTER - 1) / stride),
            };
            let Some((client, pair)) =
                client.and_then(|client| Some((client, pairs.get_mut(client)?)))
            else {
                wrong += 1;
                return;
            };
            let (expected, arrived, touched) = match peer {
                MASTER => (&pair.expected_by_master, &mut pair.at_master, &mut *at_master),
                _ => (&pair.expected_by_client, &mut pair.at_client, &mut *at_client),
            };
            if text != expected {
                wrong += 1;
            }
            if *arrived == 0 {
                touched.push((client, Instant::now()));
            }
            *arrived += 1;
        })?;
        if wrong > 0 {
            return Err(io::Error::other(format!(
                "{wrong} packets arrived changed or in the wrong place"
            )));
        }
        Ok(packets)
    }

    fn complete(&mut self, client: usize, arrived: usize, at: Instant, latencies: &mut Vec<u32>) {
        for sent_at in self.pairs[client].sent_at.drain(..arrived) {
            let latency = at.saturating_duration_since(sent_at).as_nanos();
            latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
    }

    fn send_up(&mut self, client: usize, count: usize) -> io::Result<()> {
        let pair = &mut self.pairs[client];
        let bytes = pair.up.len() / self.load.in_flight * count;
        pair.sent_at.extend((0..count).map(|_| Instant::now()));
        self.crowd.fleet.send(pair.peer, &pair.up[..bytes])
    }

    /// Has the master send packets at the end of this turn; their latency counts from now.
    fn enqueue_down(&mut self, client: usize, count: usize) {
        let now = Instant::now();
        self.pairs[client].sent_at.extend((0..count).map(|_| now));
        self.append_down(client, count);
    }

    fn append_down(&mut self, client: usize, count: usize) {
        let pair = &self.pairs[client];
        let bytes = pair.down.len() / self.load.in_flight * count;
        self.batch.extend_from_slice(&pair.down[..bytes]);
    }
}

/// `clients` in portions that fit into every queue.
fn chunks(clients: usize) -> impl Iterator<Item = Range<usize>> {
    (0..clients).step_by(CHUNK).map(move |start| start..clients.min(start + CHUNK))
}
