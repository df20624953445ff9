//! HTTP without `MOSS_PAGES_DIRECTORY`.

use std::io::Write;

use crate::support::{Client, Moss};
use crate::visitor::{Answer, UPGRADE, Visitor, get, request};

/// The answer must have this status, and then the connection must end.
#[track_caller]
fn expect_last(moss: &Moss, request: &str, status: u16) -> Answer {
    let mut visitor = Visitor::of(moss);
    visitor.send(request);
    let answer = if request.starts_with("HEAD ") { visitor.head() } else { visitor.answer() };
    assert_eq!(answer.status, status, "{request}");
    assert!(answer.is_last(), "{request}");
    visitor.expect_end();
    answer
}

#[test]
fn each_answer_is_the_last() {
    let moss = Moss::start();
    for (request, status) in [
        (get("/health"), 200),
        (request("GET", "/health", "Connection: keep-alive\r\n"), 200),
        ("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), 200),
        (get("/"), 426),
        (get("/none"), 404),
        (get("/index.html"), 404),
        (request("POST", "/health", ""), 405),
        (request("POST", "/none", ""), 404),
        (get("/health").repeat(3), 200),
    ] {
        expect_last(&moss, &request, status);
    }
}

#[test]
fn hosts_are_ignored() {
    let moss = Moss::start();
    for lines in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n"] {
        expect_last(&moss, &format!("GET /health HTTP/1.1\r\n{lines}\r\n"), 200);
        let mut stream = moss.connect();
        let request = format!("{UPGRADE}\r\n").replace("Host: box\r\n", lines);
        stream.write_all(request.as_bytes()).expect("moss reads");
        Client::upgraded(stream).expect("an upgrade").expect_nothing();
    }
}

#[test]
fn bodies_are_ignored() {
    let moss = Moss::start();
    for lines in
        ["Content-Length: 5\r\n", "Content-Length: x\r\n", "Transfer-Encoding: chunked\r\n"]
    {
        expect_last(&moss, &request("GET", "/health", lines), 200);
        expect_last(&moss, &request("POST", "/health", lines), 405);
    }
}

#[test]
fn escapes_are_not_decoded() {
    let moss = Moss::start();
    for target in ["/%68ealth", "/%zz", "/%2f", "/%"] {
        expect_last(&moss, &get(target), 404);
    }
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let moss = Moss::start();
    for (target, status) in [("/health", 200), ("/", 426), ("/none", 404)] {
        let head = expect_last(&moss, &request("HEAD", target, ""), status);
        let get = expect_last(&moss, &get(target), status);
        assert_eq!(head.headers, get.headers, "{target}");
        assert!(!get.body.is_empty(), "{target}");
    }
}

#[test]
fn head_does_not_upgrade() {
    let moss = Moss::start();
    expect_last(&moss, &format!("{UPGRADE}\r\n").replace("GET", "HEAD"), 426);
}

#[test]
fn answer_to_another_method_names_the_allowed_ones() {
    let moss = Moss::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "head"] {
        for target in ["/", "/health"] {
            let answer = expect_last(&moss, &request(method, target, ""), 405);
            assert_eq!(answer.header("Allow"), Some("GET, HEAD"), "{method} {target}");
        }
    }
}

#[test]
fn visitors_take_no_places_of_websockets() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "2")]);
    let mut guests = [moss.guest(), moss.guest()];
    for _ in 0..20 {
        expect_last(&moss, &get("/health"), 200);
    }
    guests.iter_mut().for_each(Client::expect_nothing);
}
