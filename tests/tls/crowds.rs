//! Many connections at once: handshakes delay no other peer, and incomplete data is bounded.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::process::{MIB, Memory, stop};
use crate::support::{Moss, PATIENCE, Stream, crowd};
use crate::wire::{APPLICATION_DATA, HANDSHAKE, Hello, SERVER_HELLO, connect, read_record, record};

/// The limit of handshakes in a round of 32,768 frames, where a handshake counts for 128; and a
/// third more, for what moss does until the test has stopped it.
const ROUND: usize = (32 << 10) / 128 * 4 / 3;

/// How many of these have received something.
fn answered(streams: &[TcpStream]) -> usize {
    let is_answered = |stream: &TcpStream| {
        stream.set_nonblocking(true).expect("a connection");
        let result = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("a connection");
        match result {
            Ok(count) => count > 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    };
    streams.iter().filter(|stream| is_answered(stream)).count()
}

#[test]
fn packet_does_not_wait_for_a_thousand_handshakes() {
    /// On a busy machine moss may do many more handshakes before the test has counted. If packets
    /// waited, they would be too many each time.
    const TRIES: usize = 20;

    let crowd = crowd(1_000);
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let hello = Hello::new().record();
    let there = format!(r#"{{"type":"there","payload":"","id":"{id}"}}"#);
    let waits_for_few = |_| {
        let mut newcomers: Vec<_> = (0..crowd.size).map(|_| connect(&moss)).collect();
        moss.guest().close();
        stop(&moss);
        for stream in &mut newcomers {
            stream.write_all(&hello).expect("the kernel takes it");
        }
        client.send(r#"{"type":"there"}"#);
        let before = handshakes_before(&moss, &newcomers, || master.expect(&there));
        master.send(&format!(r#"{{"type":"back","id":"{id}"}}"#));
        let answer = || client.expect(r#"{"type":"back","payload":""}"#);
        let more = handshakes_before(&moss, &newcomers, answer) - before;
        println!(
            "a packet waited for {before} of {} handshakes, its answer for {more}",
            crowd.size
        );
        moss.signal(Signal::CONT);
        // None of them is forgotten.
        for stream in &newcomers {
            let (kind, content) = read_record(stream).expect("an answer");
            assert_eq!((kind, content[0]), (HANDSHAKE, SERVER_HELLO));
        }
        before <= ROUND && more <= ROUND
    };
    assert!((0..TRIES).any(waits_for_few), "packets wait for more than {ROUND} handshakes");
}

/// Lets moss go on until the packet arrives, and returns how many handshakes were answered so far.
fn handshakes_before(moss: &Moss, newcomers: &[TcpStream], arrives: impl FnOnce()) -> usize {
    moss.signal(Signal::CONT);
    arrives();
    stop(moss);
    answered(newcomers)
}

/// Connections that send only these bytes each. Together they must hold no more than the limit
/// for incomplete data of guests, an eighth of the memory.
fn expect_bounded(bytes: &[u8], open: impl Fn(&Moss) -> Stream) {
    const LIMIT: usize = 16 * MIB;
    /// Growing buffers cause fragmentation.
    const GROWTH: usize = 2 * LIMIT / 8;

    let crowd = crowd(600);
    assert!(
        crowd.size * bytes.len() > 2 * GROWTH || crowd.size < 600,
        "too few bytes to exceed the limit"
    );
    let moss = Moss::with(&[("MOSS_MAX_MEMORY_BYTES", &LIMIT.to_string())]);
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let streams: Vec<_> = (0..crowd.size).map(|_| open(&moss)).collect();
    let memory = Memory::watch(&moss);
    for stream in &streams {
        // It may have been dropped meanwhile.
        let _ = stream.tcp().write_all(bytes);
    }
    moss.guest().expect_nothing();
    memory.assert_peak_below(GROWTH);
    // A peer that holds little is not affected.
    assert_eq!(client.introduce(&mut master), id);
    // Dropped connections were dropped for memory, and got no bytes that are not TLS.
    moss.wait_for_log("memory (1013)");
    drop(streams);
}

#[test]
fn half_records_of_many_guests_stay_below_the_limit_of_all() {
    // All but the last bytes of the longest record (RFC 8446, section 5.2).
    let record = [&[APPLICATION_DATA, 3, 3, 0x40, 0x11][..], &[0; 16 << 10]].concat();
    expect_bounded(&record, |moss| {
        let guest = moss.guest();
        guest.stream().clone()
    });
}

#[test]
fn half_hellos_of_many_strangers_stay_below_the_limit_of_all() {
    // All but the last bytes of one that fills many records.
    let hello = Hello { padding: 60 << 10, ..Hello::new() }.message();
    let records: Vec<_> = hello.chunks(16 << 10).map(|piece| record(HANDSHAKE, piece)).collect();
    let records = records.concat();
    let half = &records[..records.len() - 100];
    expect_bounded(half, Moss::connect);
}

#[test]
fn others_connect_beside_a_crowd_with_half_a_handshake_each() {
    let crowd = crowd(500);
    let moss = Moss::start();
    let hello = Hello::new().record();
    let streams: Vec<_> = (0..crowd.size)
        .map(|number| {
            let mut stream = connect(&moss);
            stream.write_all(&hello[..number % hello.len()]).expect("moss reads");
            stream
        })
        .collect();
    let start = Instant::now();
    moss.guest().expect_nothing();
    assert!(start.elapsed() < PATIENCE);
    drop(streams);
}

/// Reads all that is there now, and returns its length.
fn drain(mut stream: &Stream) -> usize {
    let mut buffer = [0; 4096];
    let mut sum = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        sum += count;
    }
    sum
}

#[test]
fn records_of_one_byte_do_not_keep_others_waiting() {
    /// The most pings that the flooder sends at a time, each byte in a record of its own.
    const PINGS: usize = 10_000;
    const PING_LEN: usize = 6;
    const PONG_LEN: usize = 2;
    /// The largest share of one peer in a round, in frames.
    const SHARE: usize = 1_024;
    /// On a busy machine moss may handle more before the test has counted. If others waited, it
    /// would be too much each time.
    const TRIES: usize = 20;

    let moss = Moss::start();
    let mut flooder = moss.guest();
    let mut other = moss.guest();
    // The kernel takes more for a connection that has sent much: here a whole flood.
    let long = format!(r#"{{"type":"ping","payload":"{}"}}"#, "x".repeat(200_000));
    (0..40).for_each(|_| flooder.send(&long));
    (0..40).for_each(|_| flooder.expect(r#"{"type":"pong","payload":""}"#));
    let mut stream = flooder.stream();
    stream.set_nonblocking(true).expect("an open connection");
    let ping = crate::support::frame(0x89, b"");
    let (mut sent, mut heard) = (0, 0);
    let waits_for_a_share = |_| {
        stop(&moss);
        let most = sent + PINGS * PING_LEN;
        while sent < most {
            let at = sent % PING_LEN;
            match stream.write(&ping[at..=at]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let waiting = sent / PING_LEN - heard / PONG_LEN;
        assert!(waiting > 4 * SHARE, "the kernel took {waiting} pings only");
        other.send(r#"{"type":"ping"}"#);
        moss.signal(Signal::CONT);
        other.expect(r#"{"type":"pong","payload":""}"#);
        stop(&moss);
        let before = heard;
        heard += drain(stream);
        moss.signal(Signal::CONT);
        let handled = (heard - before) / PONG_LEN;
        println!("{handled} of {waiting} pings were handled before another peer's");
        handled <= 2 * SHARE
    };
    assert!((0..TRIES).any(waits_for_a_share), "others wait for a flood");
}
