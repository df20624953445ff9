//! How connections through TLS end: a Close, then `close_notify`, then the end of the connection. A
//! peer may leave out any of them.

use std::io::{Read, Write};
use std::net::Shutdown;

use rustls::version::{TLS12, TLS13};

use crate::support::{Client, Moss, Stream, frame, tls_config_of};
use crate::wire::connect;

const LEFT: &str = "client-left";

fn moss() -> Moss {
    Moss::with(&[("MOSS_CLIENT_LEFT_TYPE", LEFT), ("MOSS_LOG", "debug")])
}

/// Moss must send a Close of this code, `close_notify` and the end, in this order, without an
/// answer from the peer. An end without `close_notify` is an error.
#[track_caller]
fn expect_endings(mut stream: &Stream, code: u16) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("close_notify, and then the end");
    let [first, len, high, low, ..] = bytes[..] else { panic!("no Close: {bytes:?}") };
    assert_eq!((first, u16::from_be_bytes([high, low])), (0x88, code));
    assert_eq!(bytes.len(), 2 + usize::from(len), "{bytes:?}");
}

/// Clients that the master knows, one for each version of TLS.
fn clients(moss: &Moss, master: &mut Client) -> [(Client, String); 2] {
    [&TLS12, &TLS13].map(|version| {
        let stream = Stream::over_tls(connect(moss), &tls_config_of(&[version]).into());
        let mut client = Client::open(stream);
        client.send(r#"{"type":"login"}"#);
        client.expect(r#"{"type":"connection-offer","payload":1}"#);
        let id = client.introduce(master);
        (client, id)
    })
}

#[track_caller]
fn expect_left(master: &mut Client, id: &str) {
    master.expect(&format!(r#"{{"type":"{LEFT}","payload":{{"id":"{id}"}}}}"#));
}

#[test]
fn close_is_answered_by_close_then_close_notify_then_the_end() {
    let moss = moss();
    let mut master = moss.master("1");
    for (mut client, id) in clients(&moss, &mut master) {
        client.sender().send_frame(0x88, &1000_u16.to_be_bytes());
        expect_endings(client.stream(), 1000);
        expect_left(&mut master, &id);
    }
}

#[test]
fn stopping_sends_close_then_close_notify_then_the_end() {
    let mut moss = moss();
    let mut master = moss.master("1");
    let clients = clients(&moss, &mut master);
    moss.terminate();
    for (client, _) in &clients {
        expect_endings(client.stream(), 1001);
    }
    master.expect_close(1001);
    drop((clients, master));
    assert_eq!(moss.wait().code(), Some(0));
}

#[test]
fn close_notify_of_the_peer_may_be_missing_after_its_close() {
    let moss = moss();
    let mut master = moss.master("1");
    for (mut client, id) in clients(&moss, &mut master) {
        client.sender().send_frame(0x88, &1000_u16.to_be_bytes());
        client.stream().tcp().shutdown(Shutdown::Write).expect("an open connection");
        expect_endings(client.stream(), 1000);
        expect_left(&mut master, &id);
    }
    assert!(!moss.log().contains(": tls"), "{}", moss.log());
}

#[test]
fn peer_that_ends_without_close_and_close_notify_has_left() {
    let moss = moss();
    let mut master = moss.master("1");
    for (mut client, id) in clients(&moss, &mut master) {
        client.stream().tcp().shutdown(Shutdown::Write).expect("an open connection");
        expect_left(&mut master, &id);
        assert_eq!(client.next_frame(), None);
    }
    assert!(!moss.log().contains(": tls"), "{}", moss.log());
}

#[test]
fn peer_that_sends_only_close_notify_has_left() {
    let moss = moss();
    let mut master = moss.master("1");
    for (mut client, id) in clients(&moss, &mut master) {
        // TCP stays open: `close_notify` alone ends the connection.
        client.stream().send_close_notify();
        expect_left(&mut master, &id);
        assert_eq!(client.next_frame(), None);
    }
}

#[test]
fn packets_before_close_notify_arrive_and_bytes_after_it_do_not() {
    let moss = moss();
    let mut master = moss.master("1");
    for (mut client, id) in clients(&moss, &mut master) {
        for number in 0..100 {
            client.send(&format!(r#"{{"type":"x","payload":{number}}}"#));
        }
        client.stream().send_close_notify();
        // Bytes after `close_notify` must be ignored.
        let late = frame(0x81, br#"{"type":"late"}"#);
        let _ = client.stream().tcp().write_all(&late);
        for number in 0..100 {
            master.expect(&format!(r#"{{"type":"x","payload":{number},"id":"{id}"}}"#));
        }
        expect_left(&mut master, &id);
    }
    master.expect_nothing();
}

#[test]
fn peer_that_resets_has_left() {
    let moss = moss();
    let mut master = moss.master("1");
    for (client, id) in clients(&moss, &mut master) {
        client.reset();
        expect_left(&mut master, &id);
    }
}
