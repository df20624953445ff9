//! The log of page connections: each end has a line, at level debug.

use crate::site::{content, site};
use crate::sockets::narrow;
use crate::support::{Moss, Setup};
use crate::visitor::{Visitor, get, request};

fn start() -> Moss {
    pages().set("MOSS_LOG", "debug").start()
}

fn pages() -> Setup {
    site(&[("a.txt", &b"a"[..]), ("large", &content(1, 8 << 20))])
}

/// The log lines about visitors that end with this word.
fn lines(moss: &Moss, ending: &str) -> Vec<String> {
    let part = format!(", visitor at 127.0.0.1: {ending}");
    moss.wait_for_log(&part);
    moss.log().lines().filter(|line| line.contains(&part)).map(str::to_owned).collect()
}

#[track_caller]
fn expect_one_line(moss: &Moss, ending: &str) {
    let lines = lines(moss, ending);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("DEBUG"), "{lines:?}");
}

#[test]
fn connection_that_was_answered_leaves_one_line() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    visitor.get("/a.txt");
    visitor.get("/a.txt");
    visitor.get_with("/a.txt", "Connection: close\r\n");
    visitor.expect_end();
    expect_one_line(&moss, "answered (200)");
}

#[test]
fn connection_that_is_idle_leaves_the_same_line() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    visitor.get("/a.txt");
    visitor.expect_end();
    expect_one_line(&moss, "answered (200)");
}

#[test]
fn reader_that_gives_up_leaves_a_line() {
    let moss = start();
    let mut visitor = Visitor::on(narrow(moss.address()));
    visitor.send(get("/large"));
    visitor.head();
    visitor.stream().reset_at_end();
    drop(visitor);
    expect_one_line(&moss, "left");
}

#[test]
fn pages_leave_no_line_at_info() {
    let moss = pages().start();
    let mut visitor = Visitor::of(&moss);
    visitor.get("/a.txt");
    visitor.get("/none");
    visitor.get_with("/a.txt", "Connection: close\r\n");
    visitor.expect_end();
    moss.guest().expect_nothing();
    assert!(!moss.log().contains("127.0.0.1: "), "{}", moss.log());
}

#[test]
fn bad_request_after_a_page_leaves_its_line() {
    let moss = pages().start();
    let mut visitor = Visitor::of(&moss);
    visitor.get("/a.txt");
    visitor.send(request("GET", "/a.txt", "Content-Length: 5\r\n"));
    visitor.answer();
    visitor.expect_end();
    let line = moss.wait_for_log("bad_request (400)");
    assert!(line.contains("INFO") && line.contains("at 127.0.0.1: "), "{line}");
}

#[test]
fn content_of_requests_is_not_logged() {
    let moss = pages().set("MOSS_LOG", "trace").start();
    let mut visitor = Visitor::of(&moss);
    visitor.get("/a.txt?token=abracadabra");
    visitor.get_with("/hocuspocus", "Cookie: simsalabim\r\n");
    visitor.send(get("/%_abracadabra"));
    visitor.answer();
    visitor.expect_end();
    moss.wait_for_log("bad_request (400)");
    for word in ["abracadabra", "hocuspocus", "simsalabim"] {
        assert!(!moss.log().contains(word), "{}", moss.log());
    }
}
