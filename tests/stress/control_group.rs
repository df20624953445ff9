//! Floods of a moss with default settings, in a control group with little memory. The kernel
//! kills a process above the limit, so the tests show that the defaults fit.
//!
//! A control group of version 2 also counts the kernel's buffers of sockets. With version 1
//! these tests check only moss's own memory.

use std::io::Write;

use crate::flood::{Flood, wait_until_stuck};
use crate::sockets::{LONG_KEEPALIVE, REQUEST, narrow, narrow_guest, narrow_master};
use crate::support::process::{MIB, wait_until_idle};
use crate::support::{Cgroup, Moss, Setup, Stream, TEXT, crowd, frame};

const LOGIN: &str = r#"{"type":"login"}"#;

#[test]
fn lives_through_floods_with_16_mb() {
    floods("lives_through_floods_with_16_mb", 16 * MIB);
}

#[test]
fn lives_through_floods_with_32_mb() {
    floods("lives_through_floods_with_32_mb", 32 * MIB);
}

#[test]
fn lives_through_floods_with_64_mb() {
    floods("lives_through_floods_with_64_mb", 64 * MIB);
}

#[test]
fn kernel_holds_little_where_that_counts() {
    let test = "kernel_holds_little_where_that_counts";
    let Some(group) = Cgroup::of(test, 64 * MIB) else { return };
    let moss = Setup::new().before(&group.enter()).start();
    // The buffers of master and client take little: the rest is in moss and in moss's buffers.
    let mut master = narrow_master(&moss, "1");
    let mut client = narrow_guest(&moss);
    client.send(LOGIN);
    client.receive();
    client.introduce(&mut master);
    let floods = [Flood::start(&client, 100_000, 1_000)];
    wait_until_stuck(&moss, &floods);
    // A backlog, and little more. With its default buffers the kernel would take 3 MB.
    let taken = floods[0].sent() * 1_000;
    assert!(taken < MIB + MIB / 2, "{taken} bytes were taken");
}

/// Starts all floods one after the other, without ending the earlier ones.
fn floods(test: &str, limit: usize) {
    // As many connections as moss allows with 16 MB.
    let crowd = crowd(420);
    let Some(group) = Cgroup::of(test, limit) else { return };
    let (name, value) = LONG_KEEPALIVE;
    let mut setup = Setup::new().before(&group.enter()).set(name, value);
    if limit < 32 * MIB {
        // As in moss.service and the image: otherwise fragmentation may take it over the limit.
        setup = setup.set("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072");
    }
    let moss = setup.start();
    moss.wait_for_log(&format!(" {} in all; keepalive", limit / 4));
    let lives = |flood: &str| {
        // A newcomer's head waits behind those of a flood, and that may time out.
        wait_until_idle(&moss);
        // moss has handled all of it.
        moss.guest().expect_nothing();
        let peak = group.peak().unwrap_or(0) >> 10;
        println!("{flood}: {peak} KiB at most");
        assert_eq!(group.kills(), 0, "killed by {flood}; {peak} KiB");
    };
    let offer = format!("\"{}\"", "o".repeat(200_000));
    let mut master = moss.master(&offer);
    let (mut reader, id) = moss.client_of(&mut master);

    let offers = frame(TEXT, LOGIN.as_bytes()).repeat(20);
    let offers = silent(&moss, crowd.size * 10 / 21, &offers);
    lives("offers that nobody reads");

    let half = &frame(TEXT, &vec![b' '; 250_000])[..240_000];
    let halves = silent(&moss, crowd.size * 5 / 21, half);
    lives("half packets");

    let pings = frame(TEXT, br#"{"type":"ping"}"#).repeat(5_000);
    let pings = silent(&moss, crowd.size * 5 / 21, &pings);
    lives("pongs that nobody reads");

    // Peers that read are still connected, and their packets arrive.
    reader.expect_nothing();
    assert_eq!(reader.introduce(&mut master), id);

    let clients: Vec<_> = (0..20).map(|_| moss.client_of(&mut master).0).collect();
    let flood = |client| Flood::start(client, 100_000, 1_000);
    let floods: Vec<_> = clients.iter().map(flood).collect();
    wait_until_stuck(&moss, &floods);
    lives("packets to a master that does not read");
    drop((offers, halves, pings));
}

/// Opens connections that send this and never read. Every second one has small kernel buffers,
/// and some may be dropped meanwhile.
fn silent(moss: &Moss, count: usize, bytes: &[u8]) -> Vec<Stream> {
    let request = [REQUEST.as_bytes(), bytes].concat();
    let connect = |number| {
        let mut stream = if number % 2 == 0 { narrow(moss.address()) } else { moss.connect() };
        let _ = stream.write_all(&request);
        stream
    };
    (0..count).map(connect).collect()
}
