//! Connections from a trusted proxy: which client address counts, and how many connections an
//! address may have. The test itself is the proxy, at 127.0.0.1. Other addresses of this machine
//! are not trusted.

use crate::site::site;
use crate::sockets::{narrow, narrow_from};
use crate::support::process::{descriptors, wait_for_descriptors};
use crate::support::{Client, Moss, OVER_TLS, Setup, Stream, connect_tcp};
use crate::visitor::{UPGRADE, Visitor, request};

/// More than the kernel takes at once.
const LARGE: usize = 1 << 20;

/// A moss with pages that trusts this test, with this limit of connections for an address.
fn limited_to(limit: usize) -> Setup {
    site(&[("a.txt", b"a".to_vec()), ("large.bin", vec![0; LARGE])])
        .set("MOSS_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")
        .set("MOSS_MAX_CONNECTIONS_PER_ADDRESS", limit.to_string())
        .set("MOSS_LOG", "debug")
}

/// The header in which a proxy names the client.
fn of(requester: &str) -> String {
    format!("X-Forwarded-For: {requester}\r\n")
}

/// A WebSocket that the proxy opens with these header lines, or the status of the answer.
fn open(moss: &Moss, lines: &str) -> Result<Client, u16> {
    open_on(Visitor::of(moss), lines)
}

fn open_on(mut visitor: Visitor, lines: &str) -> Result<Client, u16> {
    visitor.send(format!("{UPGRADE}{lines}\r\n"));
    Client::upgraded(visitor.stream().clone())
        .map_err(|line| line["HTTP/1.1 ".len()..][..3].parse().expect("a status"))
}

/// Opens WebSockets for this client up to its limit. One more must be answered 429.
#[track_caller]
fn assert_room(moss: &Moss, lines: &str, expected: usize) -> Vec<Client> {
    let clients: Vec<_> = (0..expected)
        .map(|at| open(moss, lines).unwrap_or_else(|status| panic!("{lines}: {status} at {at}")))
        .collect();
    assert_eq!(open(moss, lines).err(), Some(429), "{lines}");
    clients
}

#[test]
fn connections_of_each_address_behind_a_proxy_are_limited() {
    let moss = limited_to(2).start();
    let mut clients = Vec::new();
    for requester in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "198.51.100.7:1234"] {
        clients.extend(assert_room(&moss, &of(requester), 2));
    }
    // The same addresses, spelled differently.
    for requester in [
        "::ffff:192.0.2.1",
        "192.0.2.2:80",
        "2001:db8::2",
        "[2001:db8::3]:80",
        "198.51.100.7, 10.1.2.3",
    ] {
        assert_eq!(open(&moss, &of(requester)).err(), Some(429), "{requester}");
    }
    clients.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn forged_addresses_left_of_the_proxys_do_not_help() {
    let moss = limited_to(2).start();
    let before = descriptors(&moss);
    let clients = assert_room(&moss, &of("192.0.2.1"), 2);
    for (at, made_up) in
        ["192.0.2.77", "10.0.0.1", "127.0.0.1", "unknown", "", "::1, 10.0.0.1,", "\u{e4}"]
            .iter()
            .enumerate()
    {
        for lines in [
            of(&format!("{made_up}, 192.0.2.1")),
            of(&format!("{made_up},192.0.2.1 , 10.0.0.9")),
            of(made_up) + &of("192.0.2.1"),
            format!("Forwarded: for={made_up}\r\nX-Real-IP: {made_up}\r\n") + &of("192.0.2.1"),
        ] {
            assert_eq!(open(&moss, &lines).err(), Some(429), "{at}: {lines}");
            wait_for_descriptors(&moss, before + clients.len());
        }
    }
}

#[test]
fn header_from_an_untrusted_address_is_ignored() {
    let moss = limited_to(3).start();
    let stranger = || Visitor::on(narrow_from([127, 0, 0, 2], moss.address()));
    let mut clients: Vec<_> = (1..=3)
        .map(|low| open_on(stranger(), &of(&format!("192.0.2.{low}"))).expect("an upgrade"))
        .collect();
    clients.iter_mut().for_each(Client::expect_nothing);
    // By its own address it is refused before its request, and through TLS without an answer.
    if OVER_TLS {
        stranger().stream().shake_hands().expect_err("no handshake");
    } else {
        assert_eq!(stranger().answer().status, 429);
    }
    // It used up nothing of the limits of the addresses that it named.
    assert_room(&moss, &of("192.0.2.1"), 3);
    assert!(!moss.log().contains("guest at 192.0.2.2"), "{}", moss.log());
}

#[test]
fn requests_of_the_proxy_itself_have_no_limit() {
    let moss = limited_to(1).start();
    let unknown = ["", "unknown", "unix:", "127.0.0.1", "10.1.2.3, 10.0.0.1", "192.0.2.1, _hidden"];
    let lines = unknown.map(of).into_iter().chain([String::new()]);
    let mut clients = Vec::new();
    for lines in lines.cycle().take(28) {
        clients.push(open(&moss, &lines).expect("an upgrade"));
    }
    // It does not count against direct connections.
    let stranger = narrow_from([127, 0, 0, 2], moss.address());
    clients.push(Client::open(stranger));
    assert_room(&moss, &of("192.0.2.1"), 1);
    clients.iter_mut().for_each(Client::expect_nothing);
}

#[test]
fn each_request_on_a_connection_counts_for_its_own_client() {
    let moss = limited_to(1).start();
    let _full = open(&moss, &of("192.0.2.1")).expect("an upgrade");
    let mut visitor = Visitor::of(&moss);
    for requester in ["192.0.2.2", "192.0.2.3", "unknown", "2001:db8::1", "192.0.2.2", "10.0.0.1"] {
        assert_eq!(visitor.get_with("/a.txt", &of(requester)).body, b"a", "{requester}");
    }
    let answer = visitor.get_with("/a.txt", &of("192.0.2.1"));
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("Retry-After"), Some("5"));
    visitor.expect_end();
}

#[test]
fn each_pipelined_request_counts_for_its_own_client() {
    let moss = limited_to(1).start();
    let _full = open(&moss, &of("192.0.2.1")).expect("an upgrade");
    let requesters = ["192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.2"];
    let all: String = requesters.map(|requester| request("GET", "/a.txt", &of(requester))).concat();
    let mut visitor = Visitor::of(&moss);
    visitor.send(&all);
    for status in [200, 200, 429] {
        assert_eq!(visitor.answer().status, status);
    }
    visitor.expect_end();
    // The same byte by byte.
    let mut visitor = Visitor::of(&moss);
    for byte in request("GET", "/a.txt", &of("192.0.2.1")).as_bytes() {
        visitor.send([*byte]);
    }
    assert_eq!(visitor.answer().status, 429);
}

#[test]
fn every_kind_of_request_is_limited() {
    let moss = limited_to(1).set("MOSS_METRICS", "on").start();
    let _full = open(&moss, &of("192.0.2.1")).expect("an upgrade");
    let before = descriptors(&moss);
    for (method, target) in [
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/a.txt"),
        ("GET", "/none"),
        ("POST", "/"),
        ("POST", "/health"),
        ("GET", "/%"),
        ("GET", "*"),
    ] {
        for (requester, refused) in [("192.0.2.1", true), ("192.0.2.2", false)] {
            let mut visitor = Visitor::of(&moss);
            visitor.send(request(method, target, &of(requester)));
            assert_eq!(visitor.answer().status == 429, refused, "{method} {target} of {requester}");
            drop(visitor);
            wait_for_descriptors(&moss, before);
        }
    }
}

#[test]
fn requests_without_pages_are_limited_too() {
    let moss = Setup::new()
        .set("MOSS_TRUSTED_PROXIES", "127.0.0.1")
        .set("MOSS_MAX_CONNECTIONS_PER_ADDRESS", "1")
        .start();
    let _full = open(&moss, &of("192.0.2.1")).expect("an upgrade");
    let before = descriptors(&moss);
    for (requester, [health, none]) in [("192.0.2.1", [429, 429]), ("192.0.2.2", [200, 404])] {
        for (target, status) in [("/health", health), ("/none", none)] {
            let mut visitor = Visitor::of(&moss);
            visitor.send(request("GET", target, &of(requester)));
            assert_eq!(visitor.answer().status, status, "{target} of {requester}");
            visitor.expect_end();
            drop(visitor);
            wait_for_descriptors(&moss, before);
        }
    }
    if OVER_TLS {
        for (requester, status) in [("192.0.2.1", 429), ("192.0.2.2", 307)] {
            let mut visitor = Visitor::on(Stream::plain(connect_tcp(moss.address())));
            visitor.send(request("GET", "/", &of(requester)));
            assert_eq!(visitor.answer().status, status, "{requester}");
            drop(visitor);
            wait_for_descriptors(&moss, before);
        }
    }
}

#[test]
fn upgrade_keeps_its_address() {
    let moss = limited_to(1).start();
    let before = descriptors(&moss);
    let mut visitor = Visitor::of(&moss);
    assert_eq!(visitor.get_with("/a.txt", &of("192.0.2.1")).status, 200);
    let mut client = open_on(visitor, &of("192.0.2.2")).expect("an upgrade");
    assert_eq!(open(&moss, &of("192.0.2.2")).err(), Some(429));
    // The earlier request was for another address, which has its limit back.
    let one = open(&moss, &of("192.0.2.1")).expect("an upgrade");
    client.expect_nothing();
    drop(one);
    client.close();
    // It counts until both sides have closed.
    wait_for_descriptors(&moss, before);
    open(&moss, &of("192.0.2.2")).expect("an upgrade");
}

#[test]
fn answer_that_is_being_sent_counts_and_an_idle_connection_does_not() {
    let moss = limited_to(1).start();
    let before = descriptors(&moss);
    // Idle connections, as a proxy keeps them for its next requests.
    let mut pool: Vec<_> = (0..4).map(|_| Visitor::of(&moss)).collect();
    for visitor in &mut pool {
        assert_eq!(visitor.get_with("/a.txt", &of("192.0.2.1")).status, 200);
    }
    let mut reader = Visitor::on(narrow(moss.address()));
    reader.send(request("GET", "/large.bin", &of("192.0.2.1")));
    assert_eq!(reader.head().status, 200);
    // This visitor closes at once: otherwise it would count, too.
    assert_eq!(pool.remove(0).get_with("/a.txt", &of("192.0.2.1")).status, 429);
    assert_eq!(open(&moss, &of("192.0.2.1")).err(), Some(429));
    assert_eq!(pool[0].get_with("/a.txt", &of("192.0.2.2")).status, 200);
    drop(reader);
    // The reader and those that were refused count until moss has noticed that they closed.
    wait_for_descriptors(&moss, before + pool.len());
    assert_eq!(Visitor::of(&moss).get_with("/a.txt", &of("192.0.2.1")).status, 200);
}

#[test]
fn clients_within_the_limit_stay_while_others_are_refused() {
    let moss = limited_to(1).start();
    let mut reader = Visitor::on(narrow(moss.address()));
    let again = ["/large.bin", "/a.txt", "/a.txt"];
    reader.send(again.map(|target| request("GET", target, &of("192.0.2.1"))).concat());
    assert_eq!(reader.head().status, 200);
    // Each counts until it closes, and none does.
    let refused: Vec<_> = (0..3)
        .map(|_| {
            let mut visitor = Visitor::of(&moss);
            assert_eq!(visitor.get_with("/a.txt", &of("192.0.2.1")).status, 429);
            visitor
        })
        .collect();
    reader.read(LARGE);
    for _ in 0..2 {
        assert_eq!(reader.answer().status, 200);
    }
    drop(refused);
}

#[test]
fn after_a_flood_each_address_has_its_limit_again() {
    let limit = 4;
    let moss = limited_to(limit).set("MOSS_LOG", "info").start();
    let mut requesters =
        ["192.0.2.1", "192.0.2.2", "2001:db8::1", "unknown", "10.0.0.1"].iter().cycle();
    let mut next = || of(requesters.next().expect("one of them"));
    let before = descriptors(&moss);
    let mut still_there = Vec::new();
    for round in 0..280 {
        let mut visitor = Visitor::of(&moss);
        match round % 7 {
            0 => visitor.send("GET /a.txt HTTP/1.1\r\nHost: b"),
            1 => visitor.send(request("GET", "/a.txt", &next())),
            2 => {
                visitor.send((0..3).map(|_| request("GET", "/a.txt", &next())).collect::<String>());
            }
            3 => visitor.send(format!("{UPGRADE}{}\r\n", next())),
            4 => visitor.send(request("GET", "/large.bin", &next())),
            5 => {
                visitor.send(request("GET", "/a.txt", &next()) + UPGRADE + &next() + "\r\n");
                visitor.stream().reset_at_end();
            }
            _ => visitor.send(request("GET", "/health", &next()) + "rubbish\r\n\r\n"),
        }
        still_there.push(visitor);
        if round % 3 > 0 {
            drop(still_there.swap_remove(round % still_there.len()));
        }
    }
    drop(still_there);
    // All of them are accepted before this one.
    moss.guest().close();
    wait_for_descriptors(&moss, before);
    for requester in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        assert_room(&moss, &of(requester), limit);
    }
}

#[test]
fn flood_behind_a_proxy_does_not_take_the_places_of_others() {
    let moss = limited_to(2).set("MOSS_MAX_CONNECTIONS", "4").start();
    let _full = assert_room(&moss, &of("192.0.2.1"), 2);
    let mut other = open(&moss, &of("192.0.2.2")).expect("an upgrade");
    let before = descriptors(&moss);
    // Answered or not, they stay open as long as possible.
    let flood: Vec<_> = (0..60)
        .map(|_| {
            let mut visitor = Visitor::of(&moss);
            visitor.send(format!("{UPGRADE}{}\r\n", of("192.0.2.1")));
            visitor
        })
        .collect();
    other.expect_nothing();
    let last = open(&moss, &of("192.0.2.3")).expect("a place");
    assert!(descriptors(&moss) <= before + 8 + 1, "{}", descriptors(&moss));
    moss.wait_for_log("visitor at 192.0.2.1: dropped");
    drop((flood, last));
}

#[test]
fn log_names_the_client_behind_a_proxy() {
    let moss = limited_to(1).start();
    let client = open(&moss, &of("192.0.2.9, ::ffff:192.0.2.1, 10.0.0.1")).expect("an upgrade");
    assert_eq!(open(&moss, &of("192.0.2.1")).err(), Some(429));
    moss.wait_for_log("visitor at 127.0.0.1: connected");
    moss.wait_for_log("visitor at 192.0.2.1: request through 127.0.0.1");
    assert!(moss.wait_for_log("(429)").contains("visitor at 192.0.2.1: "));
    client.close();
    moss.wait_for_log("guest at 192.0.2.1: left");
    // Between requests a line names the last client, or the proxy if none was named.
    let mut visitor = Visitor::of(&moss);
    visitor.get_with("/a.txt", &of("192.0.2.2"));
    visitor.get_with("/a.txt", &of("2001:DB8::3"));
    drop(visitor);
    moss.wait_for_log("visitor at 2001:db8::3: answered");
    for (requester, shown) in
        [("unknown", "127.0.0.1"), ("unknown, 10.0.0.2, 10.0.0.1", "10.0.0.2")]
    {
        open(&moss, &of(requester)).expect("an upgrade").close();
        moss.wait_for_log(&format!("guest at {shown}: left"));
    }
    assert!(!moss.log().contains("192.0.2.9"), "{}", moss.log());
}

#[test]
fn without_trusted_proxies_the_header_is_ignored() {
    let moss = Setup::new().set("MOSS_MAX_CONNECTIONS_PER_ADDRESS", "2").start();
    let _clients =
        [1, 2].map(|low| open(&moss, &of(&format!("192.0.2.{low}"))).expect("an upgrade"));
    Client::open(narrow_from([127, 0, 0, 2], moss.address())).expect_nothing();
    if !OVER_TLS {
        assert_eq!(Visitor::of(&moss).answer().status, 429);
    }
    assert!(!moss.log().contains("192.0.2."), "{}", moss.log());
}
