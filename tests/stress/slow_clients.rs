//! A slow client never slows the master or the other clients.

use std::thread;

use crate::sockets::{expect_last_close, narrow_guest};
use crate::support::process::{MIB, Memory};
use crate::support::{Client, Moss};

const PACKETS: usize = 20_000;
const LEN: usize = 4_000;

/// The master's side of a round trip; other packets are collected.
fn round_trip(master: &mut Client, other: &mut Client, id: &str, told: &mut Vec<String>) {
    master.send(&format!(r#"{{"type":"there","id":"{id}"}}"#));
    other.expect(r#"{"type":"there","payload":""}"#);
    other.send(r#"{"type":"back"}"#);
    let back = format!(r#"{{"type":"back","payload":"","id":"{id}"}}"#);
    loop {
        let packet = master.receive();
        if packet == back {
            return;
        }
        told.push(packet);
    }
}

#[test]
fn client_that_does_not_read_is_dropped_and_nobody_waits() {
    const GROWTH: usize = 4 * MIB;
    const BURST: usize = 250;

    let moss = Moss::with(&[("MOSS_CLIENT_LEFT_TYPE", "client-left")]);
    let mut master = moss.master("1");
    let mut slow = narrow_guest(&moss);
    slow.send(r#"{"type":"login"}"#);
    slow.expect(r#"{"type":"connection-offer","payload":1}"#);
    let slow_id = slow.introduce(&mut master);
    let (mut other, id) = moss.client_of(&mut master);

    let memory = Memory::watch(&moss);
    let packet = format!(r#"{{"type":"x","payload":"{}","id":"{slow_id}"}}"#, "x".repeat(LEN - 60));
    let mut told = Vec::new();
    let mut slow = Some(slow);
    let mut end = None;
    for _ in 0..PACKETS / BURST {
        for _ in 0..BURST {
            master.send(&packet);
        }
        // The others are served as if the slow one did not exist.
        round_trip(&mut master, &mut other, &id, &mut told);
        // When it reads at last, it gets whole packets, and the reason.
        if let Some(mut slow) = slow.take_if(|_| !told.is_empty()) {
            end = Some(thread::spawn(move || expect_last_close(&mut slow, 1013)));
        }
    }
    memory.assert_peak_below(GROWTH);

    let left = format!(r#"{{"type":"client-left","payload":{{"id":"{slow_id}"}}}}"#);
    assert_eq!(told.iter().filter(|packet| **packet == left).count(), 1);
    assert_eq!(told[0], left, "the master is told at once");
    let about = format!(r#""id":"{slow_id}""#);
    let unknown = |packet: &&String| packet.contains("unknown-client") && packet.contains(&about);
    assert_eq!(told.iter().filter(unknown).count(), told.len() - 1);
    assert!(told.len() > PACKETS / 2, "moss kept most of the packets for a client that was gone");
    end.expect("it was dropped").join().expect("it is told");
}
