//! Clients that send numbered packets as fast as moss takes them.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{Pid, gettid};

use crate::support::process::is_asleep;
use crate::support::{Client, Moss, PATIENCE, TEXT, frame};

/// Senders count as stuck once they and moss were asleep at this many moments in a row. Those
/// that a busy machine does not let run are not asleep.
const MOMENTS: usize = 20;

/// A thread that sends numbered packets.
pub(crate) struct Flood {
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
    id: Pid,
}

impl Flood {
    /// Sends `count` packets of about `len` bytes, or fewer if the connection ends.
    pub(crate) fn start(client: &Client, count: usize, len: usize) -> Self {
        let mut stream = client.stream().clone();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let filler = "x".repeat(len.saturating_sub(40));
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            tell.send(gettid()).expect("a receiver");
            for number in 0..count {
                let packet = format!(r#"{{"type":"n","payload":"{number:08}{filler}"}}"#);
                if stream.write_all(&frame(TEXT, packet.as_bytes())).is_err() {
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let id = told.recv().expect("a running thread");
        Self { sent, thread, id }
    }

    /// Whether it waits until the kernel takes more.
    fn is_blocked(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", self.id));
        stat.expect("moss took all packets").contains(") S ")
    }

    /// Packets sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits for the last packet, or the end of the connection.
    pub(crate) fn join(self) {
        self.thread.join().expect("no panic");
    }

    /// Waits until this number of packets was sent.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) {
        let start = Instant::now();
        while self.sent() < count {
            assert!(start.elapsed() < PATIENCE, "{} of {count} packets were taken", self.sent());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Waits until no sender can send any more, and moss sleeps.
#[track_caller]
pub(crate) fn wait_until_stuck(moss: &Moss, floods: &[Flood]) {
    let start = Instant::now();
    let (mut moments, mut before) = (0, 0);
    while moments < MOMENTS {
        assert!(start.elapsed() < PATIENCE, "the senders are never stuck");
        let sent = floods.iter().map(Flood::sent).sum();
        let is_stuck = sent == before && is_asleep(moss) && floods.iter().all(Flood::is_blocked);
        moments = if is_stuck { moments + 1 } else { 0 };
        before = sent;
        thread::sleep(Duration::from_millis(5));
    }
}

/// Checks that each client's packets arrive whole and in order.
#[derive(Default)]
pub(crate) struct Arrivals {
    next: HashMap<String, usize>,
    count: usize,
}

impl Arrivals {
    /// Checks a packet, if it belongs to a flood.
    #[track_caller]
    pub(crate) fn take(&mut self, packet: &str) -> bool {
        let Some(rest) = packet.strip_prefix(r#"{"type":"n","payload":""#) else { return false };
        let number: usize = rest[..8].parse().expect("a number");
        let (_, id) = rest.rsplit_once(r#"","id":""#).expect("an id");
        let id = id.trim_end_matches(r#""}"#);
        let next = self.next.entry(id.to_owned()).or_insert(number);
        assert_eq!(number, *next, "a packet of {id} is lost or out of order");
        *next += 1;
        self.count += 1;
        true
    }

    /// Receives packets of floods until there are `count`. Any other packet is a failure.
    #[track_caller]
    pub(crate) fn receive(&mut self, master: &mut Client, count: usize) {
        while self.count < count {
            let packet = master.receive();
            assert!(self.take(&packet), "{packet}");
        }
    }

    /// Packets so far.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The number after this client's last one.
    pub(crate) fn next_of(&self, id: &str) -> usize {
        self.next.get(id).copied().unwrap_or(0)
    }

    /// The same, where there is one client only.
    pub(crate) fn next(&self) -> usize {
        assert_eq!(self.next.len(), 1, "one client");
        self.next.values().copied().sum()
    }
}
