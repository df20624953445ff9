//! A peer that has left is gone for all others, even if they send in the same turn of the loop.
//! moss is stopped meanwhile, so that it reads all in one turn, in order.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::process::stop;
use crate::support::{Client, Moss, PATIENCE};

/// Ends a connection. When this returns, moss's socket has ended, too.
fn leave(peer: Client) {
    let address = peer.stream().tcp().local_addr().expect("a connection");
    drop(peer);
    let port = format!(":{:04X}", address.port());
    let is_open = || {
        let sockets = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        sockets.lines().any(|line| {
            // The columns are: number, local address, remote address, state (01: established).
            let columns: Vec<_> = line.split_whitespace().collect();
            columns[2].ends_with(&port) && columns[3] == "01"
        })
    };
    let start = Instant::now();
    while is_open() {
        assert!(start.elapsed() < PATIENCE, "{address} is still open");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn login_after_the_end_of_the_master_gets_no_offer() {
    let moss = Moss::start();
    let master = moss.master("1");
    let mut guest = moss.guest();
    guest.expect_nothing();
    stop(&moss);
    leave(master);
    guest.send(r#"{"type":"login"}"#);
    moss.signal(Signal::CONT);
    guest.expect_nothing();
}

#[test]
fn packet_after_the_end_of_the_master_is_answered() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    stop(&moss);
    leave(master);
    client.send(r#"{"type":"x"}"#);
    moss.signal(Signal::CONT);
    client.expect_error("no-master");
}

#[test]
fn packet_after_the_end_of_its_addressee_is_answered() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (client, id) = moss.client_of(&mut master);
    stop(&moss);
    leave(client);
    master.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    moss.signal(Signal::CONT);
    master.expect_error("unknown-client");
}
