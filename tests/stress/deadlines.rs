//! No wait is unbounded: for a request head, for a sign of life, for the answer to a
//! Close. Each is felt by the peer, so a test waits for the peer's side of it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::descriptors;
use crate::sockets::{REQUEST, wait_for_packet};
use crate::support::{Moss, PATIENCE};

/// From accept to a finished request head.
const HEAD: Duration = Duration::from_secs(10);

/// From moss's last word to the end of the connection.
const ENDING: Duration = Duration::from_secs(5);

/// What a busy machine may add to a deadline, whose grain is a second.
const GRACE: Duration = Duration::from_secs(8);

/// Sends a byte now and then until moss ends the connection; returns what it said.
fn drip(mut stream: TcpStream, bytes: &[u8]) -> String {
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let start = Instant::now();
    for byte in bytes {
        // Moss reads on after its answer, so this does not fail before the end.
        stream.write_all(&[*byte]).expect("moss reads");
        match stream.read_to_string(&mut answer) {
            Ok(_) => return answer,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error} after {:?}", start.elapsed()),
        }
        assert!(start.elapsed() < PATIENCE, "dripped for ever");
    }
    panic!("moss waits for more");
}

#[test]
fn head_that_is_not_finished_is_ended_whatever_comes() {
    let moss = Moss::start();
    let before = descriptors(&moss);
    let start = Instant::now();
    let silent = moss.connect();
    let mut half = moss.connect();
    half.write_all(&REQUEST.as_bytes()[..REQUEST.len() - 1]).expect("moss reads");
    let dripping = moss.connect();
    let drip = thread::spawn(move || drip(dripping, REQUEST.repeat(3).as_bytes()));
    for mut stream in [silent, half] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and an end");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
        let elapsed = start.elapsed();
        assert!(
            elapsed >= HEAD - Duration::from_millis(50) && elapsed < HEAD + GRACE,
            "{elapsed:?}"
        );
    }
    let answer = drip.join().expect("an end");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    wait_for_descriptors(&moss, before);
}

#[test]
fn peer_that_gives_no_sign_of_life_is_dropped() {
    let moss =
        Moss::with(&[("MOSS_KEEPALIVE_SECONDS", "3"), ("MOSS_MASTER_LEFT_TYPE", "master-left")]);
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    // The master does not answer pings, or anything, from here on. Its client does.
    wait_for_packet(&mut client, r#"{"type":"master-left","payload":""}"#);
    assert_eq!(master.frame().first, 0x89, "a ping first");
    let close = master.frame();
    assert_eq!((close.first, &close.payload[..2]), (0x88, &1011_u16.to_be_bytes()[..]));
    assert_eq!(master.next_frame(), None);
    client.expect_nothing();
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let moss = Moss::with(&[("MOSS_KEEPALIVE_SECONDS", "2")]);
    let mut guest = moss.guest();
    // One packet in pieces that together take longer than a silence may last.
    for byte in crate::support::frame(0x81, br#"{"type":"ping"}"#) {
        guest.sender().send_raw(&[byte]);
        thread::sleep(Duration::from_millis(250));
    }
    loop {
        match guest.frame() {
            frame if frame.first == 0x89 => {}
            frame => {
                assert_eq!(frame.payload, br#"{"type":"pong","payload":""}"#);
                return;
            }
        }
    }
}

#[test]
fn close_that_is_never_answered_is_given_up() {
    let moss = Moss::with(&[("MOSS_KICK_TYPE", "kick")]);
    let mut master = moss.master("1");
    let before = descriptors(&moss);
    let (mut silent, silent_id) = moss.client_of(&mut master);
    let (mut noisy, noisy_id) = moss.client_of(&mut master);
    for id in [silent_id, noisy_id] {
        master.send(&format!(r#"{{"type":"kick","id":"{id}"}}"#));
    }
    let start = Instant::now();
    for client in [&mut silent, &mut noisy] {
        assert_eq!(client.frame().first, 0x88);
        assert_eq!(client.next_frame(), None, "moss ends its side at once");
    }
    // It goes on as if nothing had been said, and is ended all the same.
    let mut stream = noisy.stream();
    while stream.write_all(&[b'x'; 1000]).is_ok() {
        assert!(start.elapsed() < ENDING + GRACE, "kept in spite of the Close");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(start.elapsed() >= ENDING - Duration::from_millis(50), "{:?}", start.elapsed());
    wait_for_descriptors(&moss, before);
}

#[test]
fn stopping_does_not_wait_for_those_who_never_answer() {
    let mut moss = Moss::start();
    let mut master = moss.master("1");
    let (client, _) = moss.client_of(&mut master);
    let head = moss.connect();
    let start = Instant::now();
    moss.terminate();
    assert!(moss.wait().success());
    assert!(start.elapsed() < Duration::from_secs(3) + GRACE, "{:?}", start.elapsed());
    drop((master, client, head));
}

#[track_caller]
fn wait_for_descriptors(moss: &Moss, count: usize) {
    let start = Instant::now();
    while descriptors(moss) > count {
        assert!(start.elapsed() < ENDING + GRACE, "{} are left", descriptors(moss));
        thread::sleep(Duration::from_millis(20));
    }
}
