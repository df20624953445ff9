//! A full server, and too few descriptors.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::sockets::{REQUEST, health, narrow_from};
use crate::support::process::{cpu_time, descriptors, is_asleep, wait_for_descriptors};
use crate::support::{Client, Moss, OVER_TLS, PATIENCE, Setup, Stream, crowd};

/// CPU time that a full server may use at 100 moments, a hundredth of a second apart: to accept ten
/// times a second takes a hundredth of it, and a busy loop takes all that the machine gives.
const IDLE_CPU: Duration = Duration::from_millis(250);

/// The answer to an upgrade.
fn answer(moss: &Moss) -> String {
    let mut stream = moss.connect();
    stream.write_all(REQUEST.as_bytes()).expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    answer
}

/// Fails if moss is busy during a second. On a busy machine a loop may get little CPU time, but
/// it never sleeps.
#[track_caller]
fn assert_idle(moss: &Moss) {
    let before = cpu_time(moss);
    let mut asleep = 0;
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(10));
        asleep += usize::from(is_asleep(moss));
    }
    let used = cpu_time(moss) - before;
    assert!(used < IDLE_CPU, "{used:?} of CPU time in a second");
    assert!(asleep > 10, "asleep at {asleep} of 100 moments");
}

#[test]
fn full_server_says_so_and_accepts_the_next_when_one_leaves() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "5")]);
    let _master = moss.master("1");
    let mut guests: Vec<_> = (0..4).map(|_| moss.guest()).collect();
    for _ in 0..20 {
        let answer = answer(&moss);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
        assert_eq!(health(&moss)["connections"], 5);
    }
    for guest in &mut guests {
        guest.expect_nothing();
    }
    guests.pop().expect("a guest").close();
    guests.push(moss.guest());
    assert!(answer(&moss).starts_with("HTTP/1.1 503 "));
}

#[test]
fn full_server_answers_beside_silent_connections() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "5")]);
    let _master = moss.master("1");
    let _guests: Vec<_> = (0..4).map(|_| moss.guest()).collect();
    // Fewer than the places for request heads.
    let _silent: Vec<_> = (0..10).map(|_| moss.connect()).collect();
    assert!(answer(&moss).starts_with("HTTP/1.1 503 "));
    assert_eq!(health(&moss)["status"], "ok");
}

#[test]
fn descriptor_limit_of_64_is_survived() {
    let crowd = crowd(200);
    let moss = Setup::new().before("ulimit -n 64").start();
    let mut guest = moss.guest();
    let silent: Vec<_> = (0..crowd.size).map(|_| moss.connect()).collect();
    guest.expect_nothing();
    assert!(descriptors(&moss) <= 64);
    assert_idle(&moss);
    guest.expect_nothing();
    drop(silent);
    moss.guest().expect_nothing();
}

#[test]
fn moss_waits_when_descriptors_run_out() {
    let crowd = crowd(200);
    let start = Instant::now();
    let moss = Moss::start();
    let mut guest = moss.guest();
    // The limit of the running moss is lowered: accept fails with EMFILE.
    let limit = 1 + descriptors(&moss) as u64 + 3;
    set_descriptor_limit(&moss, limit);
    let waiting: Vec<Stream> = (0..crowd.size).map(|_| moss.connect()).collect();
    moss.wait_for_log("no new connections");
    assert_idle(&moss);
    guest.expect_nothing();
    // Waiting connections are served once others have left.
    drop(waiting);
    moss.guest().expect_nothing();

    // And once the limit is raised.
    let kept: Vec<Stream> = (0..20).map(|_| moss.connect()).collect();
    set_descriptor_limit(&moss, 1_000);
    moss.guest().expect_nothing();
    drop(kept);
    // Descriptors ran out many times, and moss says so once a minute.
    let log = moss.log();
    let warnings = log.lines().filter(|line| line.contains("no new connections")).count();
    assert!(warnings <= 1 + start.elapsed().as_secs() as usize / 60, "{log}");
}

/// Connects again and again until moss accepts. Each answer before that must be 503.
#[track_caller]
fn first_accepted(moss: &Moss) -> Client {
    let start = Instant::now();
    loop {
        match Client::try_open(moss.connect()) {
            Ok(guest) => return guest,
            Err(answer) => assert!(answer.contains(" 503 "), "{answer}"),
        }
        assert!(start.elapsed() < PATIENCE, "never accepted");
    }
}

/// The number of places for the next master.
const PLACES: usize = 8;

/// How many more connections a full server reads.
const RESERVE: usize = 12;

#[test]
fn silent_connections_do_not_keep_the_server_full() {
    // All places are taken by connections that send nothing.
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1"), ("MOSS_LOG", "debug")]);
    let silent: Vec<_> = (0..1 + PLACES + RESERVE + 30).map(|_| moss.connect()).collect();
    moss.guest().expect_nothing();
    let log = moss.log();
    let (before, _) = log.split_once(": displaced").unwrap_or_else(|| panic!("{log}"));
    assert!(!before.contains(": timeout"), "it waited for a deadline: {log}");
    drop(silent);
}

#[test]
fn full_server_accepts_a_master() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "3")]);
    let mut clients: Vec<_> = (0..3).map(|_| moss.client()).collect();
    let mut master = moss.master("1");
    for client in &mut clients {
        client.expect(r#"{"type":"connection-offer","payload":1}"#);
        client.introduce(&mut master);
    }
    // It keeps its place, and the server is full for all others.
    assert!(answer(&moss).starts_with("HTTP/1.1 503 "));
    master.close();
    moss.master("2").expect_nothing();
}

#[test]
fn guest_in_the_masters_place_may_not_log_in() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1")]);
    let mut first = moss.guest();
    let mut candidate = moss.guest();
    candidate.expect_nothing();
    candidate.send(r#"{"type":"x"}"#);
    candidate.expect_error("not-logged-in");
    // It is closed at once, not at its deadline: moss reads no packet after the login.
    candidate.send(r#"{"type":"login"}"#);
    candidate.send(r#"{"type":"ping"}"#);
    candidate.expect_close(1013);
    first.expect_nothing();
}

#[test]
fn guest_in_the_masters_place_has_ten_seconds() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1")]);
    let mut first = moss.guest();
    let mut candidate = moss.guest();
    candidate.expect_close(1013);
    first.expect_nothing();
}

#[test]
fn silent_strangers_do_not_keep_the_master_out() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1")]);
    let _client = moss.client();
    let mut strangers: Vec<_> = (0..PLACES).map(|_| moss.guest()).collect();
    // The oldest is dropped once it is over a second old; the master tries again until then.
    let mut master = first_accepted(&moss);
    master.set_master("1");
    strangers.remove(0).expect_close(1013);
    strangers[0].expect_nothing();
}

#[test]
fn master_that_does_not_answer_leaves_its_place_to_another() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1"), ("MOSS_KEEPALIVE_SECONDS", "6")]);
    let _silent = moss.master("1");
    // It is pinged after six seconds and dropped after twelve; in between another is accepted.
    let mut next = first_accepted(&moss);
    next.set_master("2");
    assert!(!moss.log().contains(": silent"), "it was still there");
}

fn set_descriptor_limit(moss: &Moss, limit: u64) {
    let pid = Pid::from_raw(i32::try_from(moss.pid()).expect("a pid"));
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(1_000) })
        .expect("another limit");
}

#[test]
fn connections_of_an_address_are_limited() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS_PER_ADDRESS", "3")]);
    let before = descriptors(&moss);
    let mut guests: Vec<_> = (0..2).map(|_| moss.guest()).collect();
    // An incomplete request counts, too.
    let silent = moss.connect();
    let start = Instant::now();
    while descriptors(&moss) < before + 3 {
        assert!(start.elapsed() < PATIENCE, "the silent one is not accepted");
    }
    for _ in 0..20 {
        if OVER_TLS {
            // Closed before the handshake, to save its cost.
            moss.connect().shake_hands().expect_err("no handshake");
            continue;
        }
        // Answered at once, without reading its request.
        let mut stream = moss.connect();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer");
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    }
    Client::open(narrow_from([127, 0, 0, 2], moss.address())).expect_nothing();
    guests.pop().expect("a guest").close();
    // It counts until both sides have closed. One guest stays, and the silent one.
    wait_for_descriptors(&moss, before + 2);
    guests.push(moss.guest());
    guests.iter_mut().for_each(Client::expect_nothing);
    drop(silent);
}

#[test]
fn flood_of_one_address_does_not_take_the_places_of_others() {
    let moss =
        Moss::with(&[("MOSS_MAX_CONNECTIONS", "4"), ("MOSS_MAX_CONNECTIONS_PER_ADDRESS", "2")]);
    let before = descriptors(&moss);
    // Connections that never read nor close: each would hold a place until it is given up.
    let crowd = crowd(200);
    let flood: Vec<_> = (0..crowd.size).map(|_| moss.connect()).collect();
    let socket = narrow_from([127, 0, 0, 2], moss.address());
    Client::open(socket).expect_nothing();
    // Those within the limit, eight that are being answered, and the other one.
    assert!(descriptors(&moss) <= before + 2 + 8 + 1, "{}", descriptors(&moss));
    drop(flood);
}
