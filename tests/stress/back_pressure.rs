//! No packet is lost between a client and a live master, and nobody waits for ever.
//!
//! While a master does not read, moss does not read its clients, but serves all other peers.

use std::io::Write;
use std::net::Shutdown;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::flood::{Arrivals, Flood, wait_until_stuck};
use crate::sockets::{LONG_KEEPALIVE, REQUEST, expect_last_close, health, narrow_master};
use crate::support::process::{MIB, Memory, cpu_time};
use crate::support::{Client, Moss, PATIENCE, TEXT, frame};

/// Three times the packets that the kernel's buffers and moss's limit hold for one client.
const MANY: usize = 30_000;

/// Bytes of a flood's packets: somewhat more than an ICE candidate with its envelope.
const LEN: usize = 1_000;

/// A short keepalive. After half of it a master that does not read is dropped: long enough to
/// notice that its clients are stuck on a busy machine, too.
const KEEPALIVE: &str = "12";

/// For so long moss waits for its peers when it stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A master that does not read, and a client that has sent as much as moss takes; with its flood.
fn stall(moss: &Moss, offer: &str) -> (Client, Client, Vec<Flood>) {
    let mut master = narrow_master(moss, offer);
    let (client, _) = moss.client_of(&mut master);
    let floods = vec![Flood::start(&client, MANY, LEN)];
    wait_until_stuck(moss, &floods);
    (master, client, floods)
}

/// The next packet with this part. Others are skipped.
#[track_caller]
fn wait_for_packet(client: &mut Client, part: &str) -> String {
    let start = Instant::now();
    loop {
        let packet = client.receive();
        if packet.contains(part) {
            return packet;
        }
        assert!(start.elapsed() < PATIENCE, "no {part}");
    }
}

#[test]
fn packets_to_a_stalled_master_all_arrive_in_order() {
    const PACKETS: usize = 60_000;
    const GROWTH: usize = 8 * MIB;
    /// CPU time that a pause of one second may take. Waking up for the deadlines takes a hundredth
    /// of it; a busy loop would take all that the machine gives.
    const PAUSE_CPU: Duration = Duration::from_millis(250);

    let moss = Moss::with(&[LONG_KEEPALIVE]);
    let mut master = narrow_master(&moss, "1");
    let clients: Vec<_> = (0..4).map(|_| moss.client_of(&mut master)).collect();
    let memory = Memory::watch(&moss);
    let floods: Vec<_> =
        clients.iter().map(|(client, _)| Flood::start(client, PACKETS / 4, LEN)).collect();
    wait_until_stuck(&moss, &floods);

    // Guests, new connections, logins and health are served meanwhile.
    moss.guest().expect_nothing();
    let mut late = moss.guest();
    late.send(r#"{"type":"login"}"#);
    late.expect(r#"{"type":"connection-offer","payload":1}"#);
    let health = health(&moss);
    assert_eq!((&health["clients"], &health["master"]), (&5.into(), &true.into()), "{health}");
    // And moss sleeps: a paused client whose bytes are not read does not wake it up.
    let before = cpu_time(&moss);
    thread::sleep(Duration::from_secs(1));
    let used = cpu_time(&moss) - before;
    assert!(used < PAUSE_CPU, "{used:?} in a pause");
    let stuck = floods.iter().map(Flood::sent).sum::<usize>();
    assert!(stuck < PACKETS, "the master was never behind");

    Arrivals::default().receive(&mut master, PACKETS);
    memory.assert_peak_below(GROWTH);
    for flood in floods {
        flood.join();
    }
    master.expect_nothing();
}

#[test]
fn master_that_never_reads_is_dropped_and_the_next_is_served() {
    let moss = Moss::with(&[("MOSS_KEEPALIVE_SECONDS", KEEPALIVE)]);
    let (mut stalled, mut client, floods) = stall(&moss, "1");
    wait_for_packet(&mut client, "no-master");
    // The frame that has begun is completed, and then comes the Close.
    let reader = thread::spawn(move || expect_last_close(&mut stalled, 1013));
    // The rest of the flood is answered by errors.
    let drain = thread::spawn(move || {
        while !client.receive().contains("connection-offer") {}
        client
    });
    floods.into_iter().for_each(Flood::join);
    reader.join().expect("the stalled master is told");
    let mut next = moss.master("2");
    let mut client = drain.join().expect("the client gets the next offer");
    // Errors for the rest of the flood may come first.
    client.send(r#"{"type":"hello"}"#);
    wait_for_packet(&mut next, "hello");
}

#[test]
fn stalled_master_is_told_that_it_was_replaced() {
    let moss = Moss::with(&[LONG_KEEPALIVE]);
    let (mut stalled, _client, _floods) = stall(&moss, "1");
    let _next = moss.master("2");
    // Longer than a second, after which moss checks the limits of all peers.
    thread::sleep(Duration::from_millis(1_500));
    wait_for_packet(&mut stalled, "replaced");
}

#[test]
fn master_that_sends_but_never_reads_is_dropped() {
    let moss = Moss::with(&[
        ("MOSS_KEEPALIVE_SECONDS", KEEPALIVE),
        ("MOSS_MASTER_LEFT_TYPE", "master-left"),
    ]);
    let mut master = narrow_master(&moss, "1");
    let (flooder, _) = moss.client_of(&mut master);
    let (mut other, id) = moss.client_of(&mut master);
    let floods = [Flood::start(&flooder, MANY, LEN)];
    wait_until_stuck(&moss, &floods);
    let start = Instant::now();
    let packet = format!(r#"{{"type":"x","id":"{id}"}}"#);
    let mut heard = 0;
    loop {
        master.send(&packet);
        if other.receive().contains("master-left") {
            break;
        }
        heard += 1;
        assert!(start.elapsed() < PATIENCE, "a master that never reads is kept");
    }
    assert!(heard > 0, "the master was never heard");
}

#[test]
fn new_master_releases_paused_clients() {
    let moss = Moss::with(&[LONG_KEEPALIVE]);
    let (_stalled, mut client, floods) = stall(&moss, "1");
    let stuck = floods[0].sent();
    let mut next = moss.master("2");
    let drain = thread::spawn(move || wait_for_packet(&mut client, "connection-offer"));
    // Much earlier than a pause would end by itself.
    let mut arrivals = Arrivals::default();
    arrivals.receive(&mut next, 1);
    let left = MANY - arrivals.next();
    assert!(
        left > MANY - stuck,
        "packets that moss had taken for the old master came to the new one"
    );
    arrivals.receive(&mut next, 1 + left);
    drain.join().expect("the new offer");
}

#[test]
fn paused_clients_may_close_reset_or_stop_within_a_message() {
    let moss = Moss::with(&[LONG_KEEPALIVE, ("MOSS_CLIENT_LEFT_TYPE", "client-left")]);
    let mut master = narrow_master(&moss, "1");
    let (flooder, flooder_id) = moss.client_of(&mut master);
    let (mut closing, closing_id) = moss.client_of(&mut master);
    let (resetting, resetting_id) = moss.client_of(&mut master);
    let (mut halfway, halfway_id) = moss.client_of(&mut master);
    let floods = [Flood::start(&flooder, MANY, LEN)];
    wait_until_stuck(&moss, &floods);

    closing.sender().send_frame(0x88, &1000_u16.to_be_bytes());
    resetting.reset();
    halfway.sender().send_frame(0x01, br#"{"type":"#);

    let mut arrivals = Arrivals::default();
    let mut left = Vec::new();
    while arrivals.count() < MANY || left.len() < 2 {
        let packet = master.receive();
        if !arrivals.take(&packet) {
            assert!(packet.contains("client-left"), "{packet}");
            left.push(packet);
        }
    }
    assert_eq!(arrivals.next_of(&flooder_id), MANY);
    for id in [closing_id, resetting_id] {
        assert!(left.iter().any(|packet| packet.contains(&id)), "{left:?}");
    }
    expect_last_close(&mut closing, 1000);
    halfway.sender().send_frame(0x80, br#""whole"}"#);
    master.expect(&format!(r#"{{"type":"whole","payload":"","id":"{halfway_id}"}}"#));
}

#[test]
fn newcomers_do_not_exceed_a_stalled_masters_backlog() {
    let moss = Moss::with(&[LONG_KEEPALIVE]);
    let (mut master, _client, floods) = stall(&moss, "1");
    // Each sends request, login and packets at once, as much as one receive takes.
    const NEWCOMERS: usize = 60;
    const PACKETS: usize = 50;
    let newcomers: Vec<_> = (0..NEWCOMERS)
        .map(|_| {
            let mut bytes = REQUEST.as_bytes().to_vec();
            bytes.extend(frame(TEXT, br#"{"type":"login"}"#));
            for number in 0..PACKETS {
                let filler = "x".repeat(LEN);
                let packet = format!(r#"{{"type":"n","payload":"{number:08}{filler}"}}"#);
                bytes.extend(frame(TEXT, packet.as_bytes()));
            }
            let mut stream = moss.connect();
            stream.write_all(&bytes).expect("moss reads");
            let mut client = Client::upgraded(stream).expect("an upgrade");
            client.expect(r#"{"type":"connection-offer","payload":1}"#);
            client
        })
        .collect();
    Arrivals::default().receive(&mut master, MANY + NEWCOMERS * PACKETS);
    floods.into_iter().for_each(Flood::join);
    drop(newcomers);
}

#[test]
fn paused_client_gets_the_reason_of_its_kick() {
    let moss = Moss::with(&[LONG_KEEPALIVE, ("MOSS_KICK_TYPE", "kick")]);
    let mut master = narrow_master(&moss, "1");
    let (mut client, id) = moss.client_of(&mut master);
    let floods = [Flood::start(&client, MANY, LEN)];
    wait_until_stuck(&moss, &floods);
    let stuck = floods[0].sent();
    master.send(&format!(r#"{{"type":"kick","payload":"too much","id":"{id}"}}"#));
    // A closing session is always read: otherwise its client might never read the Close.
    floods[0].wait_for(stuck + 1_000);
    expect_last_close(&mut client, 1008);
}

#[test]
fn stopping_reaches_everybody_while_all_are_paused() {
    // On a busy machine the test may be late for moss, so there are several tries.
    assert!((0..8).any(|_| stopping_reaches_everybody()), "each time a peer was not told");
}

/// False if the test was too late to hear.
fn stopping_reaches_everybody() -> bool {
    // The least backlog, as the master reads all of it before the Close.
    let mut moss = Moss::with(&[LONG_KEEPALIVE, ("MOSS_MAX_BACKLOG_BYTES", "327680")]);
    let master = narrow_master(&moss, "1");
    let mut peers = vec![master];
    for _ in 0..4 {
        let client = moss.client_of(&mut peers[0]).0;
        peers.push(client);
    }
    let floods: Vec<_> = peers[1..].iter().map(|client| Flood::start(client, MANY, LEN)).collect();
    wait_until_stuck(&moss, &floods);
    let start = Instant::now();
    moss.terminate();
    let failures = thread::scope(|scope| {
        let hear = |peer: &mut Client| {
            expect_last_close(peer, 1001);
            peer.stream().shutdown(Shutdown::Both).expect("an open connection");
        };
        let threads: Vec<_> =
            peers.iter_mut().map(|peer| scope.spawn(move || hear(peer))).collect();
        threads.into_iter().map(ScopedJoinHandle::join).filter(Result::is_err).count()
    });
    drop(peers);
    assert!(moss.wait().success());
    let was_late = start.elapsed() >= STOP_TIMEOUT;
    assert!(failures == 0 || was_late, "a peer was not told, although moss had time");
    failures == 0
}
