//! Which peers are dropped when all together hold too much: guests before clients, clients
//! before the master, and first the one that has held an incomplete packet for longest.

use std::io::{Read, Write};
use std::time::Instant;

use crate::crowd::guests;
use crate::flood::{Arrivals, Flood, wait_until_stuck};
use crate::sockets::{LONG_KEEPALIVE, health, narrow_guest, narrow_master};
use crate::support::process::MIB;
use crate::support::{Client, Moss, PATIENCE, Stream, TEXT, frame};

/// The least memory that may be configured for packets of the default length.
const LEAST: &[(&str, &str)] =
    &[("MOSS_MAX_BACKLOG_BYTES", "327680"), ("MOSS_MAX_MEMORY_BYTES", "327680")];

/// The least memory that may be configured at all.
const LEAST_OF_ALL: &[(&str, &str)] = &[
    ("MOSS_MAX_PACKET_BYTES", "128"),
    ("MOSS_MAX_BACKLOG_BYTES", "65664"),
    ("MOSS_MAX_MEMORY_BYTES", "65664"),
];

/// A peer that sends a packet of `len` bytes without its last ones. It may be dropped meanwhile.
fn send_half(mut peer: &Stream, len: usize) {
    peer.set_nonblocking(false).expect("a connection");
    let packet = frame(TEXT, &vec![b' '; len]);
    let _ = peer.write_all(&packet[..packet.len() - len / 25 - 1]);
}

/// The code of the Close, which must be all that the peer was sent.
fn close_code(mut peer: &Stream) -> Option<u16> {
    let mut bytes = [0; 4];
    peer.set_nonblocking(true).expect("a connection");
    peer.read_exact(&mut bytes).ok()?;
    assert_eq!(bytes[0], 0x88, "{bytes:?}");
    Some(u16::from_be_bytes([bytes[2], bytes[3]]))
}

/// How many of these were dropped. The reason must be memory.
#[track_caller]
fn dropped(peers: &[Stream]) -> usize {
    let codes: Vec<_> = peers.iter().filter_map(close_code).collect();
    assert!(codes.iter().all(|&code| code == 1013), "{codes:?}");
    codes.len()
}

/// Guests with half a packet each, beside a slow master and clients that flood it. At least
/// `least` of the guests must be dropped.
fn expect_guests_to_pay(
    variables: &[(&str, &str)],
    (strangers, half, least): (usize, usize, usize),
    (packets, len): (usize, usize),
) {
    let moss = Moss::with(&[variables, &[LONG_KEEPALIVE]].concat());
    let mut master = narrow_master(&moss, "1");
    let mut clients: Vec<_> = (0..2).map(|_| moss.client_of(&mut master).0).collect();
    let strangers = guests(&moss, strangers);
    let floods: Vec<_> = clients.iter().map(|client| Flood::start(client, packets, len)).collect();
    wait_until_stuck(&moss, &floods);
    strangers.iter().for_each(|stranger| send_half(stranger, half));
    Arrivals::default().receive(&mut master, packets * clients.len());
    floods.into_iter().for_each(Flood::join);
    for client in &mut clients {
        client.introduce(&mut master);
    }
    let dropped = dropped(&strangers);
    println!("{dropped} of {} guests were dropped", strangers.len());
    assert!(dropped >= least, "{dropped} guests were dropped");
}

#[test]
fn half_packets_of_guests_cost_others_nothing() {
    // Thirty-four of them fit into an eighth of 64 MiB.
    expect_guests_to_pay(&[], (250, 250_000, 250 - 35), (30_000, 1_000));
}

#[test]
fn half_packets_of_guests_cost_others_nothing_at_the_least_memory() {
    expect_guests_to_pay(LEAST, (20, 250_000, 18), (30_000, 1_000));
    expect_guests_to_pay(LEAST_OF_ALL, (400, 126, 100), (150_000, 100));
}

/// Clients with an incomplete packet of `half` bytes each, beside one that sends whole packets.
fn expect_hoarders_to_pay(
    variables: &[(&str, &str)],
    (hoarders, half, least): (usize, usize, usize),
) {
    /// Bytes of a large packet that are sent at a time.
    const PIECE: usize = 25_000;

    let moss = Moss::with(&[variables, &[LONG_KEEPALIVE]].concat());
    let mut master = moss.master("1");
    let (mut honest, id) = moss.client_of(&mut master);
    let mut hoarders = guests(&moss, hoarders);
    let offer = [&[TEXT, 41][..], br#"{"type":"connection-offer","payload":1}"#].concat();
    for hoarder in &mut hoarders {
        hoarder.set_nonblocking(false).expect("a connection");
        hoarder.write_all(&frame(TEXT, br#"{"type":"login"}"#)).expect("moss reads");
        hoarder.read_exact(&mut vec![0; offer.len()]).expect("an offer");
    }
    for hoarder in &hoarders {
        send_half(hoarder, half);
        // Wait until moss has received it, so that the next one's packet begins later.
        honest.expect_nothing();
    }
    let large = format!(r#"{{"type":"x","payload":"{}"}}"#, "x".repeat(250_000));
    for piece in frame(TEXT, large.as_bytes()).chunks(PIECE) {
        honest.sender().send_raw(piece);
    }
    let payload = &large[..large.len() - 1];
    master.expect(&format!(r#"{payload},"id":"{id}"}}"#));
    honest.introduce(&mut master);

    let gone: Vec<_> = hoarders.iter().map(|hoarder| close_code(hoarder).is_some()).collect();
    let count = gone.iter().filter(|gone| **gone).count();
    println!("{count} of {} were dropped", gone.len());
    assert!(count >= least, "{count} were dropped");
    assert!(gone[..count].iter().all(|gone| *gone), "not those that held it for longest");
}

#[test]
fn client_that_held_half_a_packet_for_longest_goes() {
    // Sixty-nine of them fit into a quarter of 64 MiB.
    expect_hoarders_to_pay(&[], (90, 250_000, 90 - 70));
}

#[test]
fn client_that_held_half_a_packet_for_longest_goes_at_the_least_memory() {
    expect_hoarders_to_pay(LEAST, (4, 250_000, 3));
}

#[test]
fn client_that_held_half_a_packet_for_longest_goes_even_if_it_holds_less() {
    let variables = [("MOSS_MAX_BACKLOG_BYTES", "327680"), ("MOSS_MAX_MEMORY_BYTES", "1310720")];
    expect_hoarders_to_pay(&variables, (2, 120_000, 1));
}

#[test]
fn large_packet_in_fragments_fits_the_least_memory() {
    const PACKET: usize = 1 << 20;

    let moss = Moss::with(&[
        ("MOSS_MAX_PACKET_BYTES", &PACKET.to_string()),
        ("MOSS_MAX_BACKLOG_BYTES", &(PACKET + (64 << 10)).to_string()),
        ("MOSS_MAX_MEMORY_BYTES", &(PACKET + (64 << 10)).to_string()),
    ]);
    let mut client = moss.client();
    let text = " ".repeat(PACKET);
    let (head, tail) = text.split_at(PACKET - 10);
    client.sender().send_raw(&frame(TEXT & 0x0f, head.as_bytes()));
    client.sender().send_raw(&frame(0x80, tail.as_bytes()));
    client.expect_error("invalid-packet");
    client.expect_nothing();
}

/// A slow client: packets to it fill the kernel's buffers, and moss's memory.
struct Slow {
    client: Client,
    id: String,
}

/// Bytes of a packet to a slow client.
const LEN: usize = 4_000;

/// Packets that are sent to it at a time.
const STEP: usize = 2;

impl Slow {
    fn new(moss: &Moss, master: &mut Client) -> Self {
        let mut client = narrow_guest(moss);
        client.send(r#"{"type":"login"}"#);
        client.expect(r#"{"type":"connection-offer","payload":1}"#);
        let id = client.introduce(master);
        Self { client, id }
    }

    /// Sends it some packets, and returns whether it was dropped for that. In small steps, so
    /// that the kernel takes the same part for all.
    fn fill(&self, master: &mut Client) -> bool {
        let filler = "x".repeat(LEN - 60);
        let packet = format!(r#"{{"type":"n","payload":"{filler}","id":"{}"}}"#, self.id);
        let packet = frame(TEXT, packet.as_bytes());
        (0..STEP).for_each(|_| master.sender().send_raw(&packet));
        master.send(r#"{"type":"ping"}"#);
        let mut dropped = false;
        loop {
            let packet = master.receive();
            if packet.contains("pong") {
                return dropped;
            }
            dropped |= packet.contains("client-left");
        }
    }

    /// Clients with this number of unsent bytes, and the packets for each.
    fn filled(
        moss: &Moss,
        master: &mut Client,
        count: usize,
        bytes: usize,
        backlog: usize,
    ) -> (Vec<Self>, usize) {
        let first = Self::new(moss, master);
        let most = (0..).take_while(|_| !first.fill(master)).count();
        let steps = most - (backlog - bytes) / (STEP * LEN);
        let slow: Vec<_> = (0..count).map(|_| Self::new(moss, master)).collect();
        for slow in &slow {
            (0..steps).for_each(|_| assert!(!slow.fill(master), "dropped for its own backlog"));
        }
        (slow, steps * STEP)
    }

    /// Receives this number of packets.
    fn receive(&mut self, packets: usize) {
        for _ in 0..packets {
            assert!(self.client.receive().starts_with(r#"{"type":"n","#));
        }
    }
}

/// Clients and guests that do not read: this number of each.
fn expect_guests_before_clients(memory: usize, backlog: usize, clients: usize, strangers: usize) {
    /// Each is answered by an error.
    const RUBBISH: usize = 500;

    let moss = Moss::with(&[
        ("MOSS_MAX_MEMORY_BYTES", &memory.to_string()),
        ("MOSS_MAX_BACKLOG_BYTES", &backlog.to_string()),
        ("MOSS_CLIENT_LEFT_TYPE", "client-left"),
        LONG_KEEPALIVE,
    ]);
    let mut master = moss.master("1");
    let (mut slow, packets) = Slow::filled(&moss, &mut master, clients, backlog / 2, backlog);
    let mut strangers: Vec<_> = (0..strangers).map(|_| narrow_guest(&moss)).collect();
    let rubbish = frame(TEXT, b"x").repeat(RUBBISH);
    let start = Instant::now();
    // They fill up evenly: all together exceed their limit before one exceeds its own.
    while health(&moss)["connections"] == 1 + clients + strangers.len() {
        for stranger in &mut strangers {
            let _ = stranger.stream().write_all(&rubbish);
        }
        assert!(start.elapsed() < PATIENCE, "nobody was dropped");
    }
    let health = health(&moss);
    assert_eq!((&health["clients"], &health["master"]), (&clients.into(), &true.into()));
    slow.iter_mut().for_each(|slow| slow.receive(packets));
    master.expect_nothing();
}

#[test]
fn guests_that_do_not_read_go_before_clients_that_do_not() {
    expect_guests_before_clients(4 * MIB, MIB, 2, 10);
}

#[test]
fn guests_that_do_not_read_go_first_at_the_least_memory() {
    expect_guests_before_clients(327_680, 327_680, 1, 4);
}

#[test]
fn unread_bytes_of_guests_cost_no_client_its_half_packet() {
    /// Each is answered by an error.
    const RUBBISH: usize = 500;

    let moss = Moss::with(LEAST);
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let large = format!(r#"{{"type":"x","payload":"{}"}}"#, "x".repeat(200_000));
    let packet = frame(TEXT, large.as_bytes());
    // More than the quarter of memory that incomplete packets may have when it is full.
    let (half, rest) = packet.split_at(150_000);
    client.sender().send_raw(half);
    let mut strangers: Vec<_> = (0..4).map(|_| narrow_guest(&moss)).collect();
    let rubbish = frame(TEXT, b"x").repeat(RUBBISH);
    let start = Instant::now();
    while health(&moss)["connections"] == 2 + strangers.len() {
        for stranger in &mut strangers {
            let _ = stranger.stream().write_all(&rubbish);
        }
        assert!(start.elapsed() < PATIENCE, "nobody was dropped");
    }
    client.sender().send_raw(rest);
    client.expect_nothing();
    let payload = &large[..large.len() - 1];
    master.expect(&format!(r#"{payload},"id":"{id}"}}"#));
}

/// Clients with this number of `unsent` bytes each, beside a master that does not read either.
fn expect_clients_before_master(memory: usize, backlog: usize, clients: usize, unsent: usize) {
    const FLOOD: usize = 30_000;

    let moss = Moss::with(&[
        ("MOSS_MAX_MEMORY_BYTES", &memory.to_string()),
        ("MOSS_MAX_BACKLOG_BYTES", &backlog.to_string()),
        ("MOSS_CLIENT_LEFT_TYPE", "client-left"),
        LONG_KEEPALIVE,
    ]);
    let mut master = narrow_master(&moss, "1");
    let (client, _) = moss.client_of(&mut master);
    let (_slow, _) = Slow::filled(&moss, &mut master, clients, unsent, backlog);
    let floods = [Flood::start(&client, FLOOD, 1_000)];
    wait_until_stuck(&moss, &floods);
    let mut arrivals = Arrivals::default();
    let mut left = 0;
    while arrivals.count() < FLOOD {
        let packet = master.receive();
        if !arrivals.take(&packet) {
            assert!(packet.contains("client-left"), "{packet}");
            left += 1;
        }
    }
    println!("{left} of {clients} slow clients were dropped");
    assert!(left > 0, "nobody was dropped");
    master.expect_nothing();
}

#[test]
fn clients_that_do_not_read_go_before_a_master_that_does_not() {
    expect_clients_before_master(2 * MIB, MIB, 2, MIB / 4 * 3);
}

#[test]
fn clients_go_before_the_master_at_the_least_memory() {
    expect_clients_before_master(327_680, 327_680, 1, 327_680 - (16 << 10));
}
