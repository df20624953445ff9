//! How moss stops, and that it keeps nothing of ended connections.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::process::{descriptors, wait_for_descriptors};
use crate::support::{Client, Moss, PATIENCE, Setup, TEXT, frame, skipped};

/// Peers of each kind are closed when moss stops. They close at once, so moss need not wait.
fn assert_stops(moss: &mut Moss, signal: impl FnOnce(&Moss)) {
    let mut guest = moss.guest();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    signal(moss);
    for peer in [&mut guest, &mut client, &mut master] {
        peer.expect_close(1001);
    }
    drop((guest, client, master));
    assert_eq!(moss.wait().code(), Some(0));
    assert_eq!(moss.stderr(), "");
}

#[test]
fn sigterm_closes_everyone_with_1001_and_exits_0() {
    assert_stops(&mut Moss::start(), Moss::terminate);
}

#[test]
fn sigint_closes_everyone_with_1001_and_exits_0() {
    assert_stops(&mut Moss::start(), |moss| moss.signal(Signal::INT));
}

#[test]
fn sigterm_stops_moss_as_pid_1_too() {
    // --kill-child: moss is killed if this test dies.
    let unshare = ["unshare", "--pid", "--fork", "--kill-child"];
    let allowed = std::process::Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        return skipped("sigterm_stops_moss_as_pid_1_too", "nobody here may be PID 1");
    }
    let mut moss = Setup::new().within(&unshare).start();
    let parent = moss.pid();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let child = children.expect("the children of unshare").trim().parse().expect("one child");
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).expect("moss is there");
    let inner = status.lines().find(|line| line.starts_with("NSpid:")).expect("a line of ids");
    assert!(inner.ends_with("\t1"), "{inner}");
    let pid = Pid::from_raw(child).expect("a process id");
    assert_stops(&mut moss, |_| kill_process(pid, Signal::TERM).expect("moss is there"));
}

#[test]
fn moss_without_peers_stops_at_once() {
    let mut moss = Moss::start();
    moss.terminate();
    assert_eq!(moss.wait().code(), Some(0));
}

#[test]
fn no_connection_is_accepted_while_moss_stops() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    moss.terminate();
    guest.expect_close(1001);
    let refused = TcpStream::connect_timeout(&moss.address(), PATIENCE).map(|_| "connected");
    assert_eq!(refused.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionRefused));
}

/// How long moss waits for its peers after the first signal.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// These two signals must end moss before its wait for a guest is over. A busy machine may be late
/// itself, so there are several tries.
#[track_caller]
fn assert_exits_at_once(send_both: impl Fn(&Moss)) {
    let exits_at_once = |_| {
        let mut moss = Moss::start();
        let _guest = moss.guest();
        let start = Instant::now();
        send_both(&moss);
        moss.wait();
        start.elapsed() < STOP_TIMEOUT
    };
    assert!((0..5).any(exits_at_once), "moss waited for the guest each time");
}

#[test]
fn second_signal_exits_at_once() {
    assert_exits_at_once(|moss| {
        moss.terminate();
        moss.wait_for_log("stopping");
        moss.signal(Signal::INT);
    });
}

#[test]
fn two_signals_at_the_same_time_both_count() {
    assert_exits_at_once(|moss| {
        moss.signal(Signal::STOP);
        moss.signal(Signal::TERM);
        moss.signal(Signal::INT);
        moss.signal(Signal::CONT);
    });
}

/// Opens 300 connections, a third of them clients, ends each, and checks that none is left.
fn assert_nothing_is_left(end: impl Fn(Client)) {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let base = descriptors(&moss);
    let mut peers: Vec<_> = (0..200).map(|_| moss.guest()).collect();
    peers.extend((0..100).map(|_| moss.client_of(&mut master).0));
    assert_eq!(descriptors(&moss), base + 300);
    peers.into_iter().for_each(end);
    wait_for_descriptors(&moss, base);
    let (_client, _) = moss.client_of(&mut master);
}

#[test]
fn three_hundred_closed_connections_leave_nothing_behind() {
    assert_nothing_is_left(Client::close);
}

#[test]
fn three_hundred_connections_that_hang_up_leave_nothing_behind() {
    assert_nothing_is_left(Client::hang_up);
}

#[test]
fn three_hundred_reset_connections_leave_nothing_behind() {
    assert_nothing_is_left(Client::reset);
}

#[test]
fn three_hundred_connections_cut_in_mid_frame_leave_nothing_behind() {
    let packet = frame(TEXT, br#"{"type":"x","payload":"half of it"}"#);
    assert_nothing_is_left(|mut client| client.sender().send_raw(&packet[..20]));
}

#[test]
fn three_hundred_connections_reset_in_mid_frame_leave_nothing_behind() {
    let packet = frame(0x01, br#"{"type":"x","payload":"half of it"}"#);
    assert_nothing_is_left(|mut client| {
        // A fragment and half of the next one.
        client.sender().send_raw(&[&packet[..], &packet[..20]].concat());
        client.reset();
    });
}

#[test]
fn three_hundred_connections_without_a_head_leave_nothing_behind() {
    let moss = Moss::start();
    let base = descriptors(&moss);
    let streams: Vec<_> = (0..300).map(|_| moss.connect()).collect();
    drop(streams);
    moss.guest().close();
    wait_for_descriptors(&moss, base);
}
