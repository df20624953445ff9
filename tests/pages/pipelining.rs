//! Pipelined requests: each is answered, in order, however they are cut into segments.

use std::io::{ErrorKind, Write};
use std::thread;

use crate::site::{assert_same, content, site};
use crate::sockets::narrow;
use crate::support::Moss;
use crate::support::process::{MIB, Memory, is_asleep};
use crate::visitor::{Visitor, get, request};

fn start() -> Moss {
    site(&[("a.txt", "aaa"), ("b.txt", "b"), ("dir/index.html", "dir")]).start()
}

/// Requests of every kind, with their answers.
fn mixture() -> (String, Vec<(u16, &'static str)>) {
    let requests = [
        (get("/a.txt"), (200, "aaa")),
        (get("/b.txt?x"), (200, "b")),
        (request("GET", "/a.txt", "Range: bytes=1-1\r\n"), (206, "a")),
        (request("GET", "/b.txt", "If-None-Match: *\r\n"), (304, "")),
        (get("/dir/"), (200, "dir")),
        (request("POST", "/a.txt", "Content-Length: 0\r\n"), (405, "-")),
        (get("/none"), (404, "-")),
        (get("/dir"), (308, "-")),
        (request("GET", "/a.txt", "Connection: close\r\n"), (200, "aaa")),
    ];
    let (requests, answers): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    (requests.concat(), answers)
}

#[track_caller]
fn expect_answers(visitor: &mut Visitor, answers: &[(u16, &str)]) {
    for &(status, body) in answers {
        let answer = visitor.answer();
        assert_eq!(answer.status, status);
        // The wording of moss's own answers does not matter here.
        if body != "-" {
            assert_eq!(answer.body, body.as_bytes());
        }
    }
    visitor.expect_end();
}

#[test]
fn requests_in_one_segment_are_answered_in_order() {
    let moss = start();
    let (requests, answers) = mixture();
    let mut visitor = Visitor::of(&moss);
    visitor.send(requests);
    expect_answers(&mut visitor, &answers);
}

#[test]
fn requests_may_come_byte_by_byte() {
    let moss = start();
    let (requests, answers) = mixture();
    let mut visitor = Visitor::of(&moss);
    for byte in requests.bytes() {
        visitor.send([byte]);
    }
    expect_answers(&mut visitor, &answers);
}

#[test]
fn requests_may_be_cut_anywhere() {
    let moss = start();
    let requests =
        format!("{}{}", get("/a.txt"), request("GET", "/b.txt", "Connection: close\r\n"));
    for at in 1..requests.len() {
        let mut visitor = Visitor::of(&moss);
        visitor.send(&requests[..at]);
        // Complete requests are answered before the rest has arrived.
        if at >= get("/a.txt").len() {
            assert_eq!(visitor.answer().body, b"aaa", "cut at {at}");
            visitor.send(&requests[at..]);
        } else {
            visitor.send(&requests[at..]);
            assert_eq!(visitor.answer().body, b"aaa", "cut at {at}");
        }
        assert_eq!(visitor.answer().body, b"b", "cut at {at}");
        visitor.expect_end();
    }
}

#[test]
fn many_long_heads_are_answered() {
    // The limit is for one head, not for all received bytes.
    let moss = start();
    let long = request("GET", "/b.txt", &format!("X: {}\r\n", "x".repeat(7_000)));
    let mut visitor = Visitor::of(&moss);
    visitor.send(long.repeat(10));
    for _ in 0..10 {
        assert_eq!(visitor.answer().body, b"b");
    }
    assert_eq!(visitor.get("/a.txt").body, b"aaa");
}

#[test]
fn large_pages_are_answered_in_order() {
    let (one, two) = (content(1, 3 * MIB), content(2, MIB));
    let moss = site(&[("one", &one), ("two", &two)]).start();
    let mut visitor = Visitor::of(&moss);
    visitor.send([get("/one"), get("/two"), get("/none"), get("/one")].concat());
    assert_same(&visitor.answer().body, &one, "the first");
    assert_same(&visitor.answer().body, &two, "the second");
    assert_eq!(visitor.answer().status, 404);
    assert_same(&visitor.answer().body, &one, "the first again");
}

#[test]
fn thousand_requests_before_an_answer_is_read_are_all_answered() {
    let pages: Vec<_> = (0..10).map(|page| (page.to_string(), content(page, 20_000))).collect();
    let files: Vec<_> = pages.iter().map(|(name, page)| (name.as_str(), page)).collect();
    let moss = site(&files).start();
    let mut visitor = Visitor::of(&moss);
    let requests: String = (0..1_000).map(|count| get(&format!("/{}", count % 10))).collect();
    visitor.send(requests);
    for count in 0..1_000 {
        let answer = visitor.answer();
        let what = format!("answer {count}");
        assert_eq!(answer.status, 200, "{what}");
        assert_same(&answer.body, &pages[count % 10].1, &what);
        assert_eq!(answer.is_last(), count == 999, "{what}");
    }
    visitor.expect_end();
}

#[test]
fn what_follows_the_last_request_is_not_answered() {
    let moss = start();
    let last = request("GET", "/a.txt", "Connection: close\r\n");
    for rest in [get("/b.txt"), "rubbish\r\n\r\n".to_owned(), "x".repeat(100_000)] {
        let mut visitor = Visitor::of(&moss);
        visitor.send([get("/b.txt"), last.clone(), rest].concat());
        expect_answers(&mut visitor, &[(200, "b"), (200, "aaa")]);
    }
}

#[test]
fn rubbish_after_a_request_is_answered_after_it() {
    let moss = start();
    for (rubbish, status) in [
        ("rubbish\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\n\r\n", 400),
        ("\0", 400),
        (&format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000)), 431),
    ] {
        let mut visitor = Visitor::of(&moss);
        visitor.send(get("/a.txt") + rubbish + &get("/b.txt"));
        assert_eq!(visitor.answer().body, b"aaa");
        let answer = visitor.answer();
        assert!(answer.is_last());
        assert_eq!(answer.status, status, "{rubbish}");
        visitor.expect_end();
    }
}

#[test]
fn empty_line_between_requests_is_skipped() {
    // RFC 9112, section 2.2.
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    visitor.send(["\r\n", &get("/a.txt"), "\r\n", &get("/b.txt"), "\r\n"].concat());
    assert_eq!(visitor.answer().body, b"aaa");
    assert_eq!(visitor.answer().body, b"b");
    visitor.send(get("/a.txt"));
    assert_eq!(visitor.answer().body, b"aaa");
}

/// Sends a request repeatedly on a connection that is never read, until no more is taken or
/// it was sent a thousand times, and returns the number of bytes.
fn flood(moss: &Moss, request: &str) -> (Visitor, usize) {
    let visitor = Visitor::on(narrow(moss.address()));
    visitor.stream().shake_hands().expect("an open connection");
    visitor.stream().set_nonblocking(true).expect("an open connection");
    let burst = request.repeat(1 + 4_000 / request.len());
    let mut sent = 0;
    let mut asleep = 0;
    let mut stream = visitor.stream();
    // Moss may be about to read, unless it is asleep at many moments in a row.
    while asleep < 20 && sent < 1_000 * request.len() {
        match stream.write(&burst.as_bytes()[sent % burst.len()..]) {
            Ok(count) => (sent, asleep) = (sent + count, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                asleep = if is_asleep(moss) { asleep + 1 } else { 0 };
                thread::yield_now();
            }
            Err(error) => panic!("moss ends the connection after {sent} bytes: {error}"),
        }
    }
    (visitor, sent)
}

#[test]
fn unread_answers_cost_next_to_nothing() {
    /// Memory for all of them, each with a partly read request and a partly sent answer.
    const GROWTH: usize = 2 * MIB;
    const VISITORS: usize = 5;

    let page = content(6, 8 * MIB);
    let moss = site(&[("large", &page[..]), ("small", b"x")]).start();
    for request in [
        get("/large"),
        get("/small"),
        get("/none"),
        request("HEAD", "/large", ""),
        request("GET", "/small", &format!("X: {}\r\n", "x".repeat(8_000))),
    ] {
        let memory = Memory::watch(&moss);
        let visitors: Vec<_> = (0..VISITORS).map(|_| flood(&moss, &request).0).collect();
        memory.assert_peak_below(GROWTH);
        drop(visitors);
    }
}

#[test]
fn nothing_is_read_while_a_body_waits() {
    let moss = site(&[("large", content(6, 8 * MIB))]).start();
    // moss takes as much as the kernel's buffers hold, far less than a thousand requests.
    let request = request("GET", "/large", &format!("X: {}\r\n", "x".repeat(8_000)));
    let (_visitor, sent) = flood(&moss, &request);
    assert!(sent < 6 * MIB, "{sent} bytes were taken");
}
