//! A takeover among thousands of clients delays nobody, and each client gets the new master's
//! offer before any other packet from it.

use std::io::{Read, Write};
use std::time::Instant;

use rustix::process::Signal;

use crate::crowd::{drain, guests};
use crate::sockets::{LONG_KEEPALIVE, claim, wait_for_clients};
use crate::support::process::stop;
use crate::support::{Client, Crowd, Moss, Stream, TEXT, crowd, frame};

/// The number of clients that get the offer last.
const LAST: usize = 100;

/// A master, and a crowd of clients, in the order of their ids.
struct House {
    moss: Moss,
    /// The present master.
    master: Client,
    clients: Vec<Stream>,
    /// The ids of the last clients.
    last: Vec<String>,
    /// Keeps other crowds from starting.
    _crowd: Crowd,
}

impl House {
    fn open(variables: &[(&str, &str)], wanted: usize) -> Self {
        let crowd = crowd(wanted);
        let moss = Moss::with(&[variables, &[LONG_KEEPALIVE]].concat());
        let mut master = moss.master("0");
        let mut clients = guests(&moss, crowd.size);
        for client in &mut clients {
            client.write_all(&frame(TEXT, br#"{"type":"login"}"#)).expect("moss reads");
        }
        wait_for_clients(&moss, clients.len());
        let last = clients.len() - LAST..;
        let last = clients[last].iter_mut().map(|client| {
            client.write_all(&frame(TEXT, br#"{"type":"hello"}"#)).expect("moss reads");
            master.json()["id"].as_str().expect("an id").to_owned()
        });
        let last = last.collect();
        let offer = packet("connection-offer", "0");
        for client in &mut clients {
            client.set_nonblocking(false).expect("an open connection");
            expect(client, &offer);
        }
        Self { moss, master, clients, last, _crowd: crowd }
    }
}

/// A packet without an id as moss sends it, in its frame.
fn packet(kind: &str, payload: &str) -> Vec<u8> {
    let text = format!(r#"{{"type":"{kind}","payload":{payload}}}"#);
    let mut bytes = match text.len() {
        len @ 0..=125 => vec![TEXT, len as u8],
        len => vec![TEXT, 126, (len >> 8) as u8, len as u8],
    };
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Checks the next bytes of a stream.
#[track_caller]
fn expect(client: &mut Stream, bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    client.read_exact(&mut found).expect("as many bytes");
    assert!(found == bytes, "{:?}", String::from_utf8_lossy(&found));
}

fn offer() -> String {
    format!("\"{}\"", "o".repeat(2_000))
}

/// A new master sends its claim together with packets to the clients that get the offer last.
fn expect_offer_first(variables: &[(&str, &str)], wanted: usize) {
    let House { moss, mut clients, last, _crowd, .. } = House::open(variables, wanted);
    let mut next = moss.guest();
    let mut bytes = frame(TEXT, claim(&offer()).as_bytes());
    for id in last.iter().rev() {
        bytes.extend(frame(TEXT, format!(r#"{{"type":"x","payload":1,"id":"{id}"}}"#).as_bytes()));
    }
    next.sender().send_raw(&bytes);
    next.expect(r#"{"type":"master-confirmation","payload":""}"#);
    let (offer, packet) = (packet("connection-offer", &offer()), packet("x", "1"));
    let others = clients.len() - LAST;
    for (index, client) in clients.iter_mut().enumerate() {
        expect(client, &offer);
        if index >= others {
            expect(client, &packet);
        }
    }
    next.expect_nothing();
    for client in &clients {
        client.set_nonblocking(true).expect("an open connection");
        assert_eq!(drain(client), 0, "each gets it once");
    }
}

#[test]
fn offer_comes_before_the_first_packet_of_a_new_master() {
    expect_offer_first(&[], 10_000);
}

#[test]
fn offer_comes_first_at_the_least_memory_too() {
    let least = [("MOSS_MAX_BACKLOG_BYTES", "327680"), ("MOSS_MAX_MEMORY_BYTES", "327680")];
    expect_offer_first(&least, 2_000);
}

#[test]
fn others_are_served_while_a_new_master_is_announced() {
    /// moss may finish before the test has stopped it, so the test tries several times.
    const TRIES: usize = 20;

    let House { moss, mut master, mut clients, _crowd, .. } = House::open(&[], 10_000);
    let mut guest = moss.guest();
    let bytes = packet("connection-offer", &offer());
    let mut between = false;
    for _ in 0..TRIES {
        let mut visitor = moss.connect();
        visitor.shake_hands().expect("moss answers");
        stop(&moss);
        master.send(&claim(&offer()));
        guest.send(r#"{"type":"ping"}"#);
        visitor.write_all(b"GET /health HTTP/1.1\r\n\r\n").expect("the kernel takes it");
        let start = Instant::now();
        moss.signal(Signal::CONT);
        guest.expect(r#"{"type":"pong","payload":""}"#);
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).expect("a whole answer");
        let time = start.elapsed();
        stop(&moss);
        let told = |client: &mut Stream| {
            client.set_nonblocking(true).expect("an open connection");
            let told = drain(client) == bytes.len();
            client.set_nonblocking(false).expect("an open connection");
            told
        };
        let told: Vec<_> = clients.iter_mut().map(told).collect();
        moss.signal(Signal::CONT);
        for (client, _) in clients.iter_mut().zip(&told).filter(|(_, told)| !**told) {
            expect(client, &bytes);
        }
        println!("all are told after {:?}", start.elapsed());
        let count = told.iter().filter(|told| **told).count();
        println!("{count} were told when others were answered, after {time:?}");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        master.expect(r#"{"type":"master-confirmation","payload":""}"#);
        between = count < clients.len();
        if between {
            break;
        }
    }
    assert!(between, "all were told before anybody else was answered");
}
