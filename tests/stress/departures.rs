//! A peer that has left is gone for all others, even if they send in the same turn of the loop.
//! moss is stopped meanwhile, so that it reads all in one turn, in order.

use rustix::process::Signal;

use crate::support::process::{stop, wait_for_arrival};
use crate::support::{Client, Moss};

/// Ends a connection. When this returns, moss's socket has ended, too.
fn leave(peer: Client) {
    let address = peer.address();
    drop(peer);
    wait_for_arrival(address);
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
