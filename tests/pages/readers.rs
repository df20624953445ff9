//! Readers of large pages, mainly slow ones: what they cost moss and other connections.

use std::io::{ErrorKind, Read};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::site::{assert_same, content, site};
use crate::sockets::narrow;
use crate::support::process::{
    MIB, Memory, descriptors, stop, wait_for_descriptors, wait_until_idle,
};
use crate::support::{Client, Moss, OVER_TLS, PATIENCE, Setup, Stream};
use crate::visitor::{Visitor, get};

/// Bytes of the large page.
const LEN: usize = 8 * MIB;

fn page() -> Vec<u8> {
    content(1, LEN)
}

fn pages() -> Setup {
    site(&[("large", &page()[..]), ("small", b"small")])
}

/// A reader that reads the head and the first bytes of the large page, and then stops.
fn silent_reader(moss: &Moss) -> (Visitor, Vec<u8>) {
    let mut reader = Visitor::on(narrow(moss.address()));
    reader.send(get("/large"));
    assert_eq!(reader.head().body_len(), LEN);
    let first = reader.read(1_000);
    (reader, first)
}

#[test]
fn sixty_slow_readers_cost_next_to_nothing() {
    const READERS: usize = 60;
    /// Memory for all of them, while 480 MiB are being sent. Through TLS each holds a record
    /// that the socket has taken only in part.
    const GROWTH: usize = if OVER_TLS { 4 * MIB } else { 2 * MIB };

    // A quarter of the connections may be page connections.
    let moss = pages().set("MOSS_MAX_CONNECTIONS", (4 * READERS + 40).to_string()).start();
    // A first reader, for what is allocated only once.
    assert_eq!(Visitor::of(&moss).get("/large").body.len(), LEN);
    let memory = Memory::watch(&moss);
    let readers: Vec<_> = (0..READERS).map(|_| silent_reader(&moss)).collect();
    wait_until_idle(&moss);
    assert_eq!(Visitor::of(&moss).get("/small").body, b"small");
    memory.assert_peak_below(GROWTH);
    // All read pieces in turn, and then some of them read to the end.
    let page = page();
    let mut readers = readers;
    for _ in 0..10 {
        for (reader, found) in &mut readers {
            found.extend(reader.read(30_000));
        }
    }
    for (reader, found) in readers.iter_mut().step_by(READERS / 3) {
        found.extend(reader.read(LEN - found.len()));
        assert_same(found, &page, "the page");
    }
    for (_, found) in &readers {
        assert_same(found, &page[..found.len()], "what was read so far");
    }
    memory.assert_peak_below(GROWTH);
}

#[test]
fn many_fast_readers_get_every_byte() {
    const READERS: usize = 20;

    let moss = pages().start();
    let page = page();
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut visitor = Visitor::of(&moss);
                for _ in 0..2 {
                    assert_same(&visitor.get("/large").body, &page, "the page");
                    assert_eq!(visitor.get("/small").body, b"small");
                }
            });
        }
    });
}

#[test]
fn reader_that_stops_in_the_middle_is_dropped_and_nobody_waits() {
    // Long enough for the master to answer in time on a busy machine.
    let setup = pages().set("MOSS_KEEPALIVE_SECONDS", "4").set("MOSS_LOG", "debug");
    let moss = setup.start();
    let (mut reader, mut found) = silent_reader(&moss);
    let mut master = moss.master("1");
    let mut visitor = Visitor::of(&moss);
    let start = Instant::now();
    while !moss.log().contains("slow_reader") {
        assert_eq!(visitor.get("/small").body, b"small");
        master.expect_nothing();
        assert!(start.elapsed() < PATIENCE, "still there:\n{}", moss.log());
        // Slowly: a connection has at most a thousand requests.
        thread::sleep(Duration::from_millis(50));
    }
    let line = moss.wait_for_log(": slow_reader");
    assert!(line.contains(", visitor at 127.0.0.1: "), "{line}");
    // After that only bytes arrive that the kernel already had.
    found.extend(reader.rest());
    assert!(found.len() < LEN, "the whole page came");
    assert_same(&found, &page()[..found.len()], "the received part of the page");
}

#[test]
fn reader_that_stops_between_small_answers_is_dropped() {
    // Many small answers. None is sent before the kernel has room for it.
    let moss = site(&[("a.txt", content(2, 15_000))])
        .set("MOSS_KEEPALIVE_SECONDS", "1")
        .set("MOSS_LOG", "debug")
        .start();
    let mut reader = Visitor::on(narrow(moss.address()));
    // The lengths differ, so that no buffer is filled exactly.
    reader.send(get("/a.txt").repeat(900));
    moss.wait_for_log(": slow_reader");
}

#[test]
fn reader_may_be_slow_as_long_as_it_reads() {
    // A reader that reads nothing is dropped after eight to nine seconds; this takes longer.
    let moss = pages().set("MOSS_KEEPALIVE_SECONDS", "4").start();
    let (mut reader, mut found) = silent_reader(&moss);
    for _ in 0..110 {
        thread::sleep(Duration::from_millis(100));
        found.extend(reader.read(20_000));
    }
    found.extend(reader.read(LEN - found.len()));
    assert_same(&found, &page(), "the page");
    assert_eq!(reader.get("/small").body, b"small");
}

#[test]
#[ignore = "takes more than the minute after which a reader that takes nothing is dropped"]
fn reader_on_a_very_slow_line_is_not_dropped() {
    // 4 kB a second, with the usual keepalive.
    let moss = pages().set("MOSS_LOG", "debug").start();
    let (mut reader, mut found) = silent_reader(&moss);
    for _ in 0..150 {
        thread::sleep(Duration::from_millis(500));
        found.extend(reader.read(2_000));
    }
    assert!(!moss.log().contains("slow_reader"), "{}", moss.log());
    found.extend(reader.read(LEN - found.len()));
    assert_same(&found, &page(), "the page");
}

#[test]
fn stopped_reader_does_not_count_as_an_idle_connection() {
    // A stopped reader is not an idle connection.
    let moss = pages().start();
    let (mut reader, mut found) = silent_reader(&moss);
    let mut idle = Visitor::of(&moss);
    idle.get("/small");
    idle.expect_end();
    found.extend(reader.read(LEN - found.len()));
    assert_same(&found, &page(), "the page");
}

#[test]
fn readers_that_give_up_leave_nothing() {
    const READERS: usize = 8;
    const LEFT: usize = MIB;

    let moss = pages().start();
    let before = descriptors(&moss);
    assert_eq!(Visitor::of(&moss).get("/large").body.len(), LEN);
    let memory = Memory::watch(&moss);
    for round in 0..5 {
        for _ in 0..READERS {
            let (reader, _) = silent_reader(&moss);
            if round % 2 == 0 {
                reader.stream().reset_at_end();
            }
        }
        // Their places are free again: as many new ones are accepted.
        wait_for_descriptors(&moss, before);
    }
    assert!(memory.rise() < LEFT, "{} bytes are left", memory.rise());
}

/// Reads all that is there now, and returns its length.
fn drain(mut stream: &Stream) -> usize {
    let mut buffer = vec![0; 64 << 10];
    let mut drained = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the download has ended"),
            Ok(count) => drained += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return drained,
            Err(error) => panic!("{error}"),
        }
    }
}

/// How many bytes of pages moss sends before the second of a client's two packets arrives, and how
/// many more the kernel takes after that.
fn waiting(moss: &Moss, client: &mut Client, master: &mut Client) -> (usize, usize) {
    const READERS: usize = 60;

    let connect = |_| {
        let mut reader = Visitor::of(moss);
        assert_eq!(reader.get("/small").body, b"small");
        reader
    };
    let readers: Vec<_> = (0..READERS).map(connect).collect();
    stop(moss);
    for reader in &readers {
        reader.stream().write_ahead(get("/large").as_bytes());
        reader.stream().set_nonblocking(true).expect("an open connection");
    }
    client.send(r#"{"type":"one"}"#);
    moss.signal(Signal::CONT);
    assert!(master.receive().contains("one"));
    client.send(r#"{"type":"two"}"#);
    assert!(master.receive().contains("two"));
    stop(moss);
    let before = sent(&readers);
    moss.signal(Signal::CONT);
    wait_until_idle(moss);
    stop(moss);
    let most = sent(&readers);
    moss.signal(Signal::CONT);
    (before, most)
}

#[test]
fn packets_and_newcomers_do_not_wait_for_downloads() {
    let moss = pages().set("MOSS_MAX_CONNECTIONS", "400").start();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    // On a busy machine moss may send much before this test can look, so it tries often. If
    // packets waited, the kernel's buffers would be full each time.
    let is_short = |_| {
        let (before, most) = waiting(&moss, &mut client, &mut master);
        println!("packets came after {before} bytes, where {most} could be sent");
        assert_eq!(Visitor::of(&moss).get("/small").body, b"small");
        moss.guest().expect_nothing();
        before < most / 4
    };
    assert!((0..40).any(is_short), "packets wait for downloads");
}

/// Bytes that moss has sent and that were not read yet, while moss is stopped.
fn sent(readers: &[Visitor]) -> usize {
    let mut sum = 0;
    loop {
        let count: usize = readers.iter().map(|reader| drain(reader.stream())).sum();
        sum += count;
        if count == 0 {
            return sum;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
