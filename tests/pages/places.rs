//! Page connections count as connections, and are the first to be closed when there are too many.

use std::thread;
use std::time::{Duration, Instant};

use crate::site::{assert_same, content, site};
use crate::sockets::narrow;
use crate::support::{Client, Moss, PATIENCE};
use crate::visitor::{UPGRADE, Visitor, ask, get};

const LEN: usize = 8 << 20;

/// Page connections that are always allowed, even with few connections.
const LEAST: usize = 8;

/// A moss with this limit of connections.
fn start(connections: usize) -> Moss {
    site(&[("a.txt", &b"a"[..]), ("large", &content(1, LEN))])
        .set("MOSS_MAX_CONNECTIONS", connections.to_string())
        .set("MOSS_LOG", "debug")
        .start()
}

/// A page connection that is kept open.
#[track_caller]
fn idle(moss: &Moss) -> Visitor {
    let mut visitor = Visitor::of(moss);
    let answer = visitor.get("/a.txt");
    assert_eq!(answer.body, b"a");
    assert!(!answer.is_last(), "no place for another page connection");
    visitor
}

/// A download whose reader has stopped.
#[track_caller]
fn download(moss: &Moss) -> Visitor {
    let mut visitor = Visitor::on(narrow(moss.address()));
    visitor.send(get("/large"));
    assert_eq!(visitor.head().status, 200);
    visitor
}

#[track_caller]
fn expect_open(visitor: &mut Visitor) {
    assert_eq!(visitor.get("/a.txt").body, b"a");
}

/// A connection without a request is closed without an answer, with and without TLS.
#[track_caller]
fn expect_displaced(mut visitor: Visitor) {
    assert_eq!(visitor.rest().len(), 0);
}

#[track_caller]
fn expect_whole(visitor: &mut Visitor) {
    assert_same(&visitor.read(LEN), &content(1, LEN), "the download");
}

#[track_caller]
fn expect_broken_off(mut visitor: Visitor) {
    let rest = visitor.rest().len();
    assert!(rest < LEN, "the whole page came");
}

/// The answer to an upgrade that must be refused.
#[track_caller]
fn expect_full(moss: &Moss) {
    let status = Client::try_open(moss.connect()).err().expect("a full server");
    assert!(status.contains(" 503 "), "{status}");
}

/// This number of page connections is allowed, and one more takes the place of the first.
#[track_caller]
fn expect_places(moss: &Moss, count: usize) {
    let mut visitors: Vec<_> = (0..count).map(|_| idle(moss)).collect();
    visitors.iter_mut().for_each(expect_open);
    let mut another = idle(moss);
    expect_displaced(visitors.remove(0));
    visitors.iter_mut().for_each(expect_open);
    expect_open(&mut another);
}

#[test]
fn quarter_of_the_connections_may_be_page_connections() {
    expect_places(&start(48), 12);
}

#[test]
fn eight_page_connections_are_always_allowed() {
    for connections in [LEAST, 12, 31] {
        expect_places(&start(connections), LEAST);
    }
}

#[test]
fn connection_that_was_idle_for_longest_gives_way() {
    let moss = start(32);
    let mut visitors: Vec<_> = (0..LEAST).map(|_| idle(&moss)).collect();
    // The first ones send another request: now the third is idle for the longest.
    expect_open(&mut visitors[1]);
    expect_open(&mut visitors[0]);
    let mut newcomers = vec![idle(&moss)];
    expect_displaced(visitors.remove(2));
    newcomers.push(idle(&moss));
    expect_displaced(visitors.remove(2));
    visitors.iter_mut().for_each(expect_open);
    newcomers.iter_mut().for_each(expect_open);
}

#[test]
fn download_does_not_give_way_to_another_page() {
    let moss = start(32);
    let mut oldest = download(&moss);
    let mut visitors: Vec<_> = (1..LEAST).map(|_| idle(&moss)).collect();
    let mut another = idle(&moss);
    expect_displaced(visitors.remove(0));
    expect_open(&mut another);
    expect_whole(&mut oldest);
}

#[test]
fn download_is_refused_when_downloads_take_all_places() {
    let moss = start(32);
    let mut downloads: Vec<_> = (0..LEAST).map(|_| download(&moss)).collect();
    let mut visitor = Visitor::of(&moss);
    let answer = visitor.get("/large");
    assert_eq!(answer.status, 503);
    assert!(answer.is_last());
    let seconds = answer.header("Retry-After").and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some(), "{answer:?}");
    visitor.expect_end();
    // WebSockets are still accepted.
    moss.guest().expect_nothing();
    // When one has ended there is a place.
    expect_whole(&mut downloads[3]);
    expect_open(&mut downloads[3]);
    let mut another = idle(&moss);
    expect_displaced(downloads.remove(3));
    expect_open(&mut another);
    downloads.iter_mut().for_each(expect_whole);
}

#[test]
fn short_answers_are_sent_where_downloads_take_all_places() {
    // This matters most for health: after a 503 an orchestrator would restart moss.
    let moss = start(32);
    let mut downloads: Vec<_> = (0..LEAST).map(|_| download(&moss)).collect();
    for (target, status) in [("/health", 200), ("/a.txt", 200), ("/none", 404)] {
        let mut visitor = Visitor::of(&moss);
        let answer = visitor.get(target);
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.is_last(), "{target}");
        visitor.expect_end();
    }
    downloads.iter_mut().for_each(expect_whole);
}

#[test]
fn place_of_a_reader_that_gives_up_is_free_again() {
    let moss = start(32);
    let mut downloads: Vec<_> = (0..LEAST).map(|_| download(&moss)).collect();
    downloads.remove(5).stream().reset_at_end();
    let start = Instant::now();
    while Visitor::of(&moss).get("/a.txt").status != 200 {
        assert!(start.elapsed() < PATIENCE, "no place is free");
        thread::sleep(Duration::from_millis(5));
    }
    downloads.iter_mut().for_each(expect_whole);
}

#[test]
fn full_server_answers_pages_and_keeps_no_connection() {
    let moss = start(LEAST);
    let mut master = moss.master("1");
    let mut guests: Vec<_> = (1..LEAST).map(|_| moss.guest()).collect();
    for _ in 0..10 {
        for (target, status) in [("/a.txt", 200), ("/none", 404), ("/health", 200)] {
            let mut visitor = Visitor::of(&moss);
            let answer = visitor.get(target);
            assert_eq!(answer.status, status, "{target}");
            assert!(answer.is_last(), "{target}");
            visitor.expect_end();
        }
    }
    let mut visitor = Visitor::of(&moss);
    assert_same(&visitor.get("/large").body, &content(1, LEN), "a large page");
    visitor.expect_end();
    master.expect_nothing();
    guests.iter_mut().for_each(Client::expect_nothing);
    expect_full(&moss);
}

#[test]
fn page_connections_take_the_last_places_only_until_a_websocket_comes() {
    let moss = start(LEAST);
    let mut master = moss.master("1");
    let mut guests: Vec<_> = (1..LEAST - 2).map(|_| moss.guest()).collect();
    let (first, second) = (idle(&moss), idle(&moss));
    // All places are taken now: this one is answered, and then closed.
    assert!(Visitor::of(&moss).get("/a.txt").is_last());
    for displaced in [first, second] {
        guests.push(moss.guest());
        expect_displaced(displaced);
    }
    expect_full(&moss);
    master.expect_nothing();
    guests.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn websocket_displaces_the_idle_first_and_then_downloads() {
    let moss = start(LEAST);
    let _master = moss.master("1");
    let mut guests: Vec<_> = (1..LEAST - 3).map(|_| moss.guest()).collect();
    let (oldest, mut younger) = (download(&moss), download(&moss));
    // The newer one makes progress, the other one does not.
    let first = younger.read(LEN / 2);
    let idle = idle(&moss);
    guests.push(moss.guest());
    expect_displaced(idle);
    assert!(!moss.log().contains(": displaced"), "a download went:\n{}", moss.log());
    guests.push(moss.guest());
    let line = moss.wait_for_log(": displaced");
    assert!(line.contains(", visitor at 127.0.0.1: "), "{line}");
    expect_broken_off(oldest);
    let rest = younger.read(LEN - first.len());
    assert_same(&[first, rest].concat(), &content(1, LEN), "the other download");
    guests.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn websockets_displace_every_page_connection_before_the_server_is_full() {
    let moss = start(LEAST);
    let mut master = moss.master("1");
    let downloads: Vec<_> = (1..LEAST).map(|_| download(&moss)).collect();
    let mut guests: Vec<_> = (1..LEAST).map(|_| moss.guest()).collect();
    downloads.into_iter().for_each(expect_broken_off);
    expect_full(&moss);
    guests.iter_mut().for_each(Client::expect_nothing);
    master.expect_nothing();
}

#[test]
fn upgrade_of_a_page_connection_takes_its_own_place() {
    let moss = start(LEAST);
    let mut master = moss.master("1");
    let mut guests: Vec<_> = (1..LEAST - 2).map(|_| moss.guest()).collect();
    let (first, mut second) = (idle(&moss), idle(&moss));
    let mut first = first.upgrade();
    first.expect_nothing();
    // No connection was closed for it.
    expect_open(&mut second);
    master.expect_nothing();
    guests.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn upgrade_of_a_page_connection_is_refused_by_a_full_server() {
    let moss = start(LEAST);
    let mut master = moss.master("1");
    let mut guests: Vec<_> = (1..LEAST).map(|_| moss.guest()).collect();
    let mut visitor = Visitor::of(&moss);
    visitor.send(format!("{UPGRADE}\r\n"));
    let answer = visitor.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.is_last());
    visitor.expect_end();
    master.expect_nothing();
    guests.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn upgrade_makes_room_for_another_page_connection() {
    let moss = start(32);
    let mut visitors: Vec<_> = (0..LEAST).map(|_| idle(&moss)).collect();
    let mut guests: Vec<_> = visitors.drain(..3).map(Visitor::upgrade).collect();
    guests.iter_mut().for_each(Client::expect_nothing);
    visitors.extend((0..3).map(|_| idle(&moss)));
    visitors.iter_mut().for_each(expect_open);
}

#[test]
fn many_upgrades_leave_no_trace_among_page_connections() {
    // In debug builds moss checks the length of its list of idle connections.
    let moss = start(160);
    let mut guests: Vec<_> = (0..120).map(|_| idle(&moss).upgrade()).collect();
    let mut visitor = idle(&moss);
    expect_open(&mut visitor);
    guests.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn master_is_accepted_where_pages_take_all_places() {
    let moss = start(LEAST);
    let _guests: Vec<_> = (0..LEAST - 2).map(|_| moss.guest()).collect();
    let (first, mut second) = (idle(&moss), idle(&moss));
    let mut master = moss.master("1");
    master.expect_nothing();
    expect_displaced(first);
    expect_open(&mut second);
}

#[test]
fn health_counts_only_websockets() {
    let moss = start(32);
    let _visitors: Vec<_> = (0..3).map(|_| idle(&moss)).collect();
    let _guests = [moss.guest(), moss.guest()];
    let health: serde_json::Value =
        serde_json::from_slice(&ask(&moss, get("/health")).body).expect("JSON");
    assert_eq!((&health["connections"], &health["clients"]), (&2.into(), &0.into()));
}

#[test]
fn crowd_of_visitors_displaces_one_another_and_no_websocket() {
    let moss = start(16);
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let mut visitors = Vec::new();
    for _ in 0..100 {
        visitors.push(idle(&moss));
        visitors.push(Visitor::of(&moss));
    }
    assert_eq!(client.introduce(&mut master), id);
    drop(visitors);
}
