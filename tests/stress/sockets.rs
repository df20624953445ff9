//! TCP connections with small buffers, so that moss soon notices a peer that does not read,
//! and helpers around them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use crate::support::{Client, Moss, PATIENCE, SECRET, Stream, TEXT, with_time_outs};

/// The requested buffer size; the kernel rounds it up to its minimum.
const SMALL: usize = 4 << 10;

/// For tests that may take longer than the usual keepalive on a slow machine, with peers that
/// answer no pings, or with a master that does not read.
pub(crate) const LONG_KEEPALIVE: (&str, &str) = ("MOSS_KEEPALIVE_SECONDS", "600");

/// An upgrade request.
pub(crate) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: moss\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A connection with the smallest kernel buffers in both directions.
pub(crate) fn narrow(address: SocketAddr) -> Stream {
    connect_narrow(new_socket(), address)
}

/// The same from another address of this machine.
pub(crate) fn narrow_from(from: [u8; 4], address: SocketAddr) -> Stream {
    let socket = new_socket();
    bind(&socket, &SocketAddr::from((from, 0))).expect("an address of this machine");
    connect_narrow(socket, address)
}

/// Closed on exec: otherwise a moss that another test starts would have it, too, and hold the
/// connection open.
fn new_socket() -> OwnedFd {
    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .expect("a socket")
}

fn connect_narrow(socket: OwnedFd, address: SocketAddr) -> Stream {
    // Set before it connects, since the window scale is negotiated then.
    sockopt::set_socket_recv_buffer_size(&socket, SMALL).expect("a small buffer");
    sockopt::set_socket_send_buffer_size(&socket, SMALL).expect("a small buffer");
    connect(&socket, &address).expect("moss accepts");
    Stream::new(with_time_outs(TcpStream::from(socket)))
}

/// A guest on a narrow connection.
pub(crate) fn narrow_guest(moss: &Moss) -> Client {
    Client::open(narrow(moss.address()))
}

/// The master on a narrow connection.
pub(crate) fn narrow_master(moss: &Moss, offer: &str) -> Client {
    let mut master = narrow_guest(moss);
    master.set_master(offer);
    master
}

/// Sends set-master without waiting for the confirmation.
pub(crate) fn claim(offer: &str) -> String {
    format!(r#"{{"type":"set-master","payload":{{"secret":"{SECRET}","sdp":{offer}}}}}"#)
}

/// The answer of `/health`.
pub(crate) fn health(moss: &Moss) -> serde_json::Value {
    let mut stream = moss.connect();
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an end of the head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(body).expect("JSON")
}

/// Waits until this number of clients is logged in.
#[track_caller]
pub(crate) fn wait_for_clients(moss: &Moss, count: usize) {
    wait_for_count(moss, "clients", count);
}

/// Waits until this number of WebSockets is open.
#[track_caller]
pub(crate) fn wait_for_connections(moss: &Moss, count: usize) {
    wait_for_count(moss, "connections", count);
}

#[track_caller]
fn wait_for_count(moss: &Moss, what: &str, count: usize) {
    let start = Instant::now();
    while health(moss)[what] != count {
        assert!(start.elapsed() < PATIENCE, "{}", health(moss));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for this packet, with a time limit, and answers pings meanwhile.
#[track_caller]
pub(crate) fn wait_for_packet(client: &mut Client, packet: &str) {
    let start = Instant::now();
    loop {
        let frame = client.frame();
        match frame.first {
            0x89 => client.sender().send_frame(0x8a, &frame.payload),
            _ => assert_eq!(String::from_utf8_lossy(&frame.payload), packet),
        }
        if frame.first == TEXT {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "no {packet}");
    }
}

/// Reads all that moss still sends, and fails unless that ends with a Close of this code and
/// a normal end of the connection.
#[track_caller]
pub(crate) fn expect_last_close(client: &mut Client, code: u16) {
    while let Some(frame) = client.next_frame() {
        if frame.first == 0x88 {
            let found = frame.payload.first_chunk().map(|&bytes| u16::from_be_bytes(bytes));
            assert_eq!(found, Some(code), "{:?}", String::from_utf8_lossy(&frame.payload));
            assert_eq!(client.next_frame(), None, "a frame after the Close");
            return;
        }
    }
    panic!("the connection ended without a Close");
}
