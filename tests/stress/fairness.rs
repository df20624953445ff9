//! Nobody waits for those who send most. What is counted is what moss does first, not
//! how long it takes: moss is stopped while everybody's packets are put before it.

use std::io::{ErrorKind, Write};

use rustix::process::Signal;

use crate::flood::{Arrivals, Flood, wait_until_stuck};
use crate::process::stop;
use crate::sockets::narrow_master;
use crate::support::{Client, Moss, TEXT, frame};

/// Frames that moss handles for one peer before it turns to the next. In bytes, sent and
/// caused to be sent, it is a mebibyte.
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
    /// A turn of each flood, and a little.
    const BEFORE: usize = 2 * TURN + TURN / 4;

    let moss = Moss::start();
    let mut master = moss.master("1");
    let floods = [moss.client_of(&mut master).0, moss.client_of(&mut master).0];
    let (mut other, _) = moss.client_of(&mut master);
    let mut guest = moss.guest();

    stop(&moss);
    // Short, so that many more than a turn's are in moss's own receive buffer already.
    let packet = frame(TEXT, br#"{"type":"f"}"#);
    let waiting: usize = floods.iter().map(|flood| fill(flood, &packet, MOST)).sum();
    assert!(waiting > 5 * BEFORE, "the kernel took {waiting} packets only");
    other.send(r#"{"type":"other"}"#);
    master.send(r#"{"type":"ping"}"#);
    guest.send(r#"{"type":"ping"}"#);
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
    /// What had left for the master before, and one turn of each flooder, twice over.
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

/// The last packet of a greedy peer comes behind what others sent after it, if what its
/// earlier ones cause is counted.
fn expect_behind_others(moss: &Moss, master: &mut Client, greedy: &mut Client, packets: &[u8]) {
    let (mut other, _) = moss.client_of(master);
    stop(moss);
    let mut bytes = packets.to_vec();
    bytes.extend(frame(TEXT, br#"{"type":"greedy"}"#));
    greedy.sender().send_raw(&bytes);
    other.send(r#"{"type":"other"}"#);
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
    expect_behind_others(&moss, &mut master, &mut greedy, &logins);
}

#[test]
fn errors_for_rubbish_count_against_its_sender() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut greedy, _) = moss.client_of(&mut master);
    let rubbish = frame(TEXT, b"x").repeat(TURN);
    expect_behind_others(&moss, &mut master, &mut greedy, &rubbish);
}
