//! No peer waits for those that send most. The tests count what moss handles first, not how long
//! it takes. moss is stopped while the packets are sent.

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::flood::{Arrivals, Flood, wait_until_stuck};
use crate::sockets::narrow_master;
use crate::support::process::{is_asleep, stop, wait_for_arrival};
use crate::support::{Client, Moss, OVER_TLS, PATIENCE, TEXT, frame};

/// Frames that moss handles for one peer before the next one. In bytes, sent and caused, the
/// limit is a mebibyte.
const TURN: usize = 1024;

/// Writes until the kernel takes no more, and returns the number of whole packets.
fn fill(client: &Client, packet: &[u8], most: usize) -> usize {
    let mut stream = client.stream();
    stream.set_nonblocking(true).expect("an open connection");
    let burst = packet.repeat(100);
    let mut written = 0;
    while written < most * packet.len() {
        match stream.write(&burst[written % packet.len()..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).expect("an open connection");
    written / packet.len()
}

#[test]
fn two_that_flood_do_not_delay_the_others() {
    const MOST: usize = 20_000;
    /// One share of each flood, and a little more.
    const BEFORE: usize = 2 * TURN + TURN / 4;

    let moss = Moss::start();
    let mut master = moss.master("1");
    let floods = [moss.client_of(&mut master).0, moss.client_of(&mut master).0];
    let (mut other, _) = moss.client_of(&mut master);
    let mut guest = moss.guest();

    stop(&moss);
    // Short packets, so that moss's receive buffer has many more than one share.
    let packet = frame(TEXT, br#"{"type":"f"}"#);
    let waiting: usize = floods.iter().map(|flood| fill(flood, &packet, MOST)).sum();
    assert!(waiting > 5 * BEFORE, "the kernel took {waiting} packets only");
    other.send(r#"{"type":"other"}"#);
    master.send(r#"{"type":"ping"}"#);
    guest.send(r#"{"type":"ping"}"#);
    for peer in [&other, &master, &guest] {
        wait_for_arrival(peer.address());
    }
    moss.signal(Signal::CONT);

    let (mut before, mut met) = (0, 0);
    while met < 2 {
        let packet = master.receive();
        if packet.starts_with(r#"{"type":"f""#) {
            before += 1;
        } else {
            met += 1;
        }
    }
    println!("{before} of {waiting} packets of the floods were passed on before");
    assert!(before <= BEFORE, "{before} packets of the floods came before");
    guest.expect(r#"{"type":"pong","payload":""}"#);
}

#[test]
fn clients_that_wait_for_the_master_take_turns() {
    const FLOODERS: usize = 4;
    const FLOOD: usize = 20_000;
    const OTHERS: usize = 40;
    /// Twice what was already sent to the master and one share of each flooder.
    const BEFORE: usize = 12_000;

    let moss = Moss::start();
    let mut master = narrow_master(&moss, "1");
    let flooders: Vec<_> = (0..FLOODERS).map(|_| moss.client_of(&mut master).0).collect();
    let mut others: Vec<_> = (0..OTHERS).map(|_| moss.client_of(&mut master).0).collect();
    let floods: Vec<_> =
        flooders.iter().map(|flooder| Flood::start(flooder, FLOOD, 1_000)).collect();
    wait_until_stuck(&moss, &floods);
    for other in &mut others {
        other.send(r#"{"type":"other"}"#);
    }
    let mut arrivals = Arrivals::default();
    let mut met = 0;
    while met < OTHERS {
        if !arrivals.take(&master.receive()) {
            met += 1;
        }
    }
    println!("{} packets of the flood came before", arrivals.count());
    assert!(arrivals.count() < BEFORE, "{} packets of the flood came before", arrivals.count());
}

/// A client whose send buffer is kept full. It has no thread of its own, which would not flood
/// while it gets no CPU time.
struct Fountain {
    client: Client,
    packets: Vec<u8>,
    at: usize,
}

impl Fountain {
    /// A client with packets of about `len` bytes.
    fn new(client: Client, len: usize) -> Self {
        let packet = format!(r#"{{"type":"n","payload":"{}"}}"#, "x".repeat(len - 25));
        let packet = frame(TEXT, packet.as_bytes());
        let packets = packet.repeat(1 + (64 << 10) / packet.len());
        client.stream().set_nonblocking(true).expect("an open connection");
        Self { client, packets, at: 0 }
    }

    /// Writes until the kernel takes no more. Returns whether it took any.
    fn top_up(&mut self) -> bool {
        for round in 0.. {
            match self.client.stream().write(&self.packets[self.at..]) {
                Ok(count) => self.at = (self.at + count) % self.packets.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return round > 0,
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!("the kernel takes no end of packets")
    }

    /// Fills all buffers, until no client can send any more, and moss sleeps.
    fn fill(fountains: &mut [Self], moss: &Moss) {
        let start = Instant::now();
        let mut still = 0;
        while still < 50 {
            assert!(start.elapsed() < PATIENCE, "the buffers are never full");
            let any = fountains.iter_mut().fold(false, |any, fountain| fountain.top_up() | any);
            still = if any || !is_asleep(moss) { 0 } else { still + 1 };
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Lets clients flood a slow master, each with packets of another length. Each must get at
/// least half of its fair share of the bytes, less one packet. This holds in every span in
/// which the master reads `packet` bytes (the limit) times the number of clients.
#[track_caller]
fn expect_fair_shares(variables: &[(&str, &str)], packet: usize, lens: &[usize]) {
    /// Bytes that the master reads at once, and the pause after them.
    const SIP: usize = 16 << 10;
    const PAUSE: Duration = Duration::from_millis(1);

    let moss = Moss::with(variables);
    let mut master = narrow_master(&moss, "1");
    let mut ids = HashMap::new();
    let mut fountains: Vec<_> = (lens.iter().enumerate())
        .map(|(index, &len)| {
            let (client, id) = moss.client_of(&mut master);
            ids.insert(id, index);
            Fountain::new(client, len)
        })
        .collect();
    Fountain::fill(&mut fountains, &moss);

    let span = packet * lens.len();
    // What was sent to the master before all clients flooded does not count.
    let mut skip = most_in_kernel() + (2 << 20);
    let mut left = (6 * span).max(2 << 20);
    let mut sip = 0;
    let mut arrivals = Vec::new();
    while left > 0 {
        let packet = master.receive();
        sip += packet.len();
        if sip >= SIP {
            sip = 0;
            fountains.iter_mut().for_each(|fountain| _ = fountain.top_up());
            thread::sleep(PAUSE);
        }
        if skip > 0 {
            skip = skip.saturating_sub(packet.len());
            continue;
        }
        left = left.saturating_sub(packet.len());
        let (_, id) = packet.rsplit_once(r#"","id":""#).expect("an id");
        arrivals.push((ids[id.trim_end_matches(r#""}"#)], packet.len()));
    }
    for spans in [1, 2, 4] {
        let (part, who) = least_part(&arrivals, lens.len(), spans * span);
        println!("{variables:?}: of {spans} spans at least {part:.2} of a fair share");
        assert!(part >= 0.5, "{who} of {lens:?} got {part} of its fair share");
    }
}

/// The smallest part of its fair share, plus one packet, that a client got in any span of
/// this number of bytes; and which client that was.
fn least_part(arrivals: &[(usize, usize)], clients: usize, span: usize) -> (f64, usize) {
    let mut largest = vec![0; clients];
    for &(client, len) in arrivals {
        largest[client] = len.max(largest[client]);
    }
    let fair = span as f64 / clients as f64;
    let mut least = (f64::MAX, 0);
    let (mut end, mut bytes) = (0, 0);
    let mut of = vec![0; clients];
    for &(first, len) in arrivals {
        while bytes < span {
            let Some(&(client, len)) = arrivals.get(end) else { return least };
            of[client] += len;
            bytes += len;
            end += 1;
        }
        for client in 0..clients {
            let part = (of[client] + largest[client]) as f64 / fair;
            if part < least.0 {
                least = (part, client);
            }
        }
        of[first] -= len;
        bytes -= len;
    }
    least
}

/// The most bytes that the kernel holds between sender and receiver.
fn most_in_kernel() -> usize {
    let sizes = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").expect("a setting");
    sizes.split_whitespace().last().and_then(|most| most.parse().ok()).expect("three numbers")
}

const PACKET: usize = 256 << 10;

#[test]
fn clients_of_a_slow_master_get_fair_shares_in_bytes() {
    expect_fair_shares(&[], PACKET, &[1_000; 6]);
}

#[test]
fn shares_are_fair_at_a_small_backlog() {
    expect_fair_shares(&[("MOSS_MAX_BACKLOG_BYTES", "327680")], PACKET, &[1_000; 6]);
}

#[test]
fn shares_are_fair_at_the_least_memory() {
    const CLIENTS: usize = 6;
    /// A client that waits for the master may have sent half a record, which is held.
    const HALVES: usize = if OVER_TLS { CLIENTS * (17 << 10) } else { 0 };

    let memory = (327_680 + HALVES).to_string();
    let least = [("MOSS_MAX_BACKLOG_BYTES", "327680"), ("MOSS_MAX_MEMORY_BYTES", &memory)];
    expect_fair_shares(&least, PACKET, &[1_000; CLIENTS]);
}

#[test]
fn large_packets_do_not_take_the_shares_of_small_ones() {
    let mut lens = [1_000; 20];
    lens[0] = 250_000;
    expect_fair_shares(&[], PACKET, &lens);
}

/// What these packets cause counts against their sender: a packet that it sends after them is
/// handled after one that another client sends even later.
fn expect_after_others(moss: &Moss, master: &mut Client, greedy: &mut Client, packets: &[u8]) {
    let (mut other, _) = moss.client_of(master);
    stop(moss);
    let mut bytes = packets.to_vec();
    bytes.extend(frame(TEXT, br#"{"type":"greedy"}"#));
    greedy.sender().send_raw(&bytes);
    other.send(r#"{"type":"other"}"#);
    wait_for_arrival(other.address());
    moss.signal(Signal::CONT);
    assert_eq!(master.json()["type"], "other");
    assert_eq!(master.json()["type"], "greedy");
}

#[test]
fn offers_that_logins_fetch_count_against_the_client() {
    let moss = Moss::start();
    let mut master = moss.master(&format!("\"{}\"", "o".repeat(250_000)));
    let (mut greedy, _) = moss.client_of(&mut master);
    let logins = frame(TEXT, br#"{"type":"login"}"#).repeat(6);
    expect_after_others(&moss, &mut master, &mut greedy, &logins);
}

#[test]
fn errors_for_rubbish_count_against_its_sender() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut greedy, _) = moss.client_of(&mut master);
    let rubbish = frame(TEXT, b"x").repeat(TURN);
    expect_after_others(&moss, &mut master, &mut greedy, &rubbish);
}
