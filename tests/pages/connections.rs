//! What keeps a connection open, and what ends it.

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::site::{assert_same, content, site};
use crate::sockets::narrow;
use crate::support::process::{descriptors, wait_for_descriptors};
use crate::support::{Moss, OVER_TLS};
use crate::visitor::{Visitor, ask, get, request};

/// Requests of one connection at most.
const REQUESTS: usize = 1_000;

/// How long moss waits for a peer that does not close after the last answer.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

fn start() -> Moss {
    site(&[("index.html", "start"), ("a.txt", "a"), ("dir/index.html", "dir")]).start()
}

#[track_caller]
fn expect_open(visitor: &mut Visitor) {
    let answer = visitor.get("/a.txt");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"a"[..]));
}

#[test]
fn connection_stays_for_the_next_request() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    for _ in 0..100 {
        assert_eq!(visitor.get("/").body, b"start");
        assert_eq!(visitor.get("/a.txt").body, b"a");
        assert_eq!(visitor.get("/dir/").body, b"dir");
    }
}

#[test]
fn answers_without_a_page_leave_the_connection_open() {
    let moss = start();
    let tag = ask(&moss, get("/a.txt")).tag();
    let mut visitor = Visitor::of(&moss);
    for (status, request) in [
        (206, request("GET", "/a.txt", "Range: bytes=0-0\r\n")),
        (304, request("GET", "/a.txt", &format!("If-None-Match: {tag}\r\n"))),
        (308, get("/dir")),
        (404, get("/none")),
        (405, request("POST", "/a.txt", "")),
        (405, request("POST", "/a.txt", "Content-Length: 0\r\n")),
        (404, request("POST", "/none", "Content-Length: 0\r\n")),
        (200, request("GET", "/a.txt", "Content-Length: 0\r\n")),
        (416, request("GET", "/a.txt", "Range: bytes=1-\r\n")),
        (200, get("/health")),
        (405, request("PUT", "/health", "")),
    ] {
        visitor.send(&request);
        let answer = visitor.answer();
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.header("Connection"), None, "{request}");
        expect_open(&mut visitor);
    }
}

#[test]
fn connection_ends_with_the_answer_on_request() {
    let moss = start();
    for lines in [
        "Connection: close\r\n",
        "connection: Close\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: x ,close, y\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
    ] {
        for target in ["/a.txt", "/none", "/dir", "/health"] {
            let mut visitor = Visitor::of(&moss);
            let answer = visitor.get_with(target, lines);
            assert!(answer.is_last(), "{target} {lines}");
            visitor.expect_end();
        }
    }
}

#[test]
fn values_that_contain_close_do_not_end_the_connection() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    for lines in [
        "Connection: keep-alive\r\n",
        "Connection: closed\r\n",
        "Connection: not close\r\n",
        "X: close\r\n",
    ] {
        let answer = visitor.get_with("/a.txt", lines);
        assert_eq!(answer.header("Connection"), None, "{lines}");
    }
    expect_open(&mut visitor);
}

#[test]
fn large_page_is_whole_before_the_connection_ends() {
    let page = content(3, 4 << 20);
    let moss = site(&[("large", &page)]).start();
    let mut visitor = Visitor::of(&moss);
    let answer = visitor.get_with("/large", "Connection: close\r\n");
    assert_same(&answer.body, &page, "the page");
    visitor.expect_end();
}

#[test]
fn old_http_ends_with_the_answer() {
    let moss = start();
    for request in [
        "GET /a.txt HTTP/1.0\r\n\r\n",
        "GET /a.txt HTTP/1.0\r\nHost: box\r\n\r\n",
        "GET /a.txt HTTP/1.0\r\nConnection: close\r\n\r\n",
        "GET /a.txt HTTP/1.0\r\nConnection: keep-alives\r\n\r\n",
    ] {
        let mut visitor = Visitor::of(&moss);
        visitor.send(request);
        let answer = visitor.answer();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"a"[..]), "{request}");
        assert_ne!(answer.header("Connection"), Some("keep-alive"));
        visitor.expect_end();
    }
}

#[test]
fn old_http_stays_on_request() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    for lines in [
        "Connection: keep-alive\r\n",
        "connection: Keep-Alive\r\n",
        "Connection: x, keep-alive\r\nHost: box\r\n",
    ] {
        visitor.send(format!("GET /a.txt HTTP/1.0\r\n{lines}\r\n"));
        let answer = visitor.answer();
        assert_eq!(answer.body, b"a", "{lines}");
        assert_eq!(answer.header("Connection"), Some("keep-alive"), "{lines}");
    }
    // Without that header the connection ends.
    visitor.send("GET /a.txt HTTP/1.0\r\n\r\n");
    assert_eq!(visitor.answer().body, b"a");
    visitor.expect_end();
}

#[test]
fn body_that_is_announced_ends_the_connection() {
    let moss = start();
    for (target, status) in [("/a.txt", 405), ("/none", 404), ("/health", 405), ("/", 405)] {
        let mut visitor = Visitor::of(&moss);
        visitor.send(request("POST", target, "Content-Length: 5\r\n"));
        let answer = visitor.answer();
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.is_last(), "{target}");
        visitor.send("hello");
        visitor.expect_end();
    }
}

#[test]
fn thousandth_request_is_the_last() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    for count in 1..REQUESTS {
        assert!(!visitor.get("/a.txt").is_last(), "after {count} requests");
    }
    let answer = visitor.get("/a.txt");
    assert_eq!(answer.body, b"a");
    assert!(answer.is_last());
    visitor.expect_end();
}

#[test]
fn idle_connection_ends_by_itself() {
    let moss = start();
    let mut visitors: Vec<_> = (0..3).map(|_| Visitor::of(&moss)).collect();
    visitors[0].get("/a.txt");
    visitors[1].get("/none");
    visitors[2].get("/health");
    // After five seconds.
    visitors.iter_mut().for_each(Visitor::expect_end);
}

#[test]
fn connection_that_is_used_now_and_then_stays() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    expect_open(&mut visitor);
    for _ in 0..8 {
        // Each pause is shorter than five seconds, all of them together are longer, even by the
        // second within which moss looks at deadlines.
        thread::sleep(Duration::from_secs(1));
        expect_open(&mut visitor);
    }
}

#[test]
fn head_that_is_not_finished_is_answered_with_408_after_a_page_too() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    expect_open(&mut visitor);
    visitor.send("GET /a.txt HTTP/1.1\r\nHo");
    let answer = visitor.answer();
    assert_eq!(answer.status, 408);
    assert!(answer.is_last());
    visitor.expect_end();
}

#[test]
fn visitor_may_shut_down_writing_before_the_answer() {
    // As `printf … | socat` does.
    let page = content(4, 4 << 20);
    let moss = site(&[("large", &page)]).start();
    let mut visitor = Visitor::of(&moss);
    visitor.send(get("/large"));
    visitor.stream().shutdown(Shutdown::Write).expect("an open connection");
    assert_same(&visitor.answer().body, &page, "the page");
    visitor.expect_end();
}

#[test]
fn stopping_ends_idle_connections() {
    let mut moss = start();
    let mut idle = Visitor::of(&moss);
    expect_open(&mut idle);
    moss.terminate();
    idle.expect_end();
    drop(idle);
    assert_eq!(moss.wait().code(), Some(0));
}

#[test]
fn stopping_does_not_wait_for_those_who_never_read() {
    let mut moss = site(&[("large", content(5, 8 << 20))]).start();
    let mut silent = Visitor::on(narrow(moss.address()));
    silent.send(get("/large"));
    silent.head();
    moss.terminate();
    assert_eq!(moss.wait().code(), Some(0));
}

#[test]
fn ended_connections_leave_nothing() {
    let moss = start();
    let before = descriptors(&moss);
    for (request, status) in [
        (request("GET", "/a.txt", "Connection: close\r\n"), 200),
        (request("GET", "/none", "Connection: close\r\n"), 404),
        (request("POST", "/a.txt", "Content-Length: 5\r\n"), 405),
        (request("GET", "/a.txt", "Content-Length: 5\r\n"), 400),
        ("GET /a.txt HTTP/1.0\r\n\r\n".to_owned(), 200),
    ] {
        let ends_at_once = |_| {
            let mut start = Instant::now();
            for _ in 0..10 {
                let mut visitor = Visitor::of(&moss);
                expect_open(&mut visitor);
                // This one closes first.
                expect_open(&mut Visitor::of(&moss));
                start = Instant::now();
                visitor.send(&request);
                assert_eq!(visitor.answer().status, status, "{request}");
                visitor.expect_end();
            }
            wait_for_descriptors(&moss, before);
            start.elapsed() < ENDING_TIMEOUT
        };
        // The peers have closed, too, so moss need not wait for them. A busy machine may be late
        // itself, so there are several tries.
        assert!((0..5).any(ends_at_once), "moss waited after {request}");
    }
}

#[test]
fn page_connections_count_for_the_limit_of_an_address() {
    let moss = site(&[("a.txt", "a")]).set("MOSS_MAX_CONNECTIONS_PER_ADDRESS", "2").start();
    let mut visitors: Vec<_> = (0..2).map(|_| Visitor::of(&moss)).collect();
    visitors.iter_mut().for_each(expect_open);
    let mut excess = Visitor::of(&moss);
    if OVER_TLS {
        excess.stream().shake_hands().expect_err("no handshake");
    } else {
        assert_eq!(excess.answer().status, 429);
        excess.expect_end();
    }
    visitors.iter_mut().for_each(expect_open);
}
