//! Floods of a moss at its default settings, whose control group may take little memory. Who is
//! over its limit is killed: that moss lives says that its defaults fit.
//!
//! A control group of version 2 counts what the kernel holds for sockets as well, which is what
//! bounds a connection's buffers here. Of version 1, this shows no more than moss's own memory.

use std::io::Write;

use crate::flood::{Flood, wait_until_stuck};
use crate::process::MIB;
use crate::sockets::{REQUEST, narrow, narrow_guest, narrow_master};
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
    // Neither the master's kernel nor the client's takes much: all else is in moss and in its own.
    let mut master = narrow_master(&moss, "1");
    let mut client = narrow_guest(&moss);
    client.send(LOGIN);
    client.receive();
    client.introduce(&mut master);
    let floods = [Flood::start(&client, 100_000, 1_000)];
    wait_until_stuck(&moss, &floods);
    // A backlog, and little more. By itself the kernel would take 3 MB.
    let taken = floods[0].sent() * 1_000;
    assert!(taken < MIB + MIB / 2, "{taken} bytes were taken");
}

/// All floods one after the other, while those before go on.
fn floods(test: &str, limit: usize) {
    // Through TLS each of them takes its time.
    // What there is room for at 16 MB.
    let crowd = crowd(420);
    let Some(group) = Cgroup::of(test, limit) else { return };
    let mut setup = Setup::new().before(&group.enter());
    if limit < 32 * MIB {
        // As in moss.service and the image: without it, holes in the heap may be too much.
        setup = setup.set("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072");
    }
    let moss = setup.start();
    moss.wait_for_log(&format!(" {} in all; keepalive", limit / 4));
    let lives = |flood: &str| {
        // It has met all of it.
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

    // Who reads is still there, and what it sends arrives.
    reader.expect_nothing();
    assert_eq!(reader.introduce(&mut master), id);

    let clients: Vec<_> = (0..20).map(|_| moss.client_of(&mut master).0).collect();
    let flood = |client| Flood::start(client, 100_000, 1_000);
    let floods: Vec<_> = clients.iter().map(flood).collect();
    wait_until_stuck(&moss, &floods);
    lives("packets to a master that does not read");
    drop((offers, halves, pings));
}

/// Connections that send this and never read. The kernel takes next to nothing for every second
/// one of them. One that was dropped meanwhile may be gone already.
fn silent(moss: &Moss, count: usize, bytes: &[u8]) -> Vec<Stream> {
    let request = [REQUEST.as_bytes(), bytes].concat();
    let connect = |number| {
        let mut stream = if number % 2 == 0 { narrow(moss.address()) } else { moss.connect() };
        let _ = stream.write_all(&request);
        stream
    };
    (0..count).map(connect).collect()
}
