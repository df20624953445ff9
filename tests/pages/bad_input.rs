//! Invalid requests, and request smuggling: each gets its status, and then the connection ends, or
//! stays open for the next request.

use std::net::Shutdown;

use crate::site::{content, site};
use crate::support::Moss;
use crate::visitor::{Answer, UPGRADE, Visitor, get, request};

fn start() -> Moss {
    site(&[("index.html", "start"), ("a.txt", "a"), ("smuggled.txt", "smuggled")]).start()
}

/// A request that is hidden in the body of another one.
fn smuggled() -> String {
    get("/smuggled.txt")
}

/// The answer must have this status, and be the last of the connection.
#[track_caller]
fn expect_end(moss: &Moss, request: impl AsRef<[u8]>, status: u16) -> Answer {
    let request = request.as_ref();
    let what = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    let mut visitor = Visitor::of(moss);
    visitor.send([request, smuggled().as_bytes()].concat());
    let answer = if request.starts_with(b"HEAD ") { visitor.head() } else { visitor.answer() };
    assert_eq!(answer.status, status, "{what:?}");
    assert!(answer.is_last(), "{what:?}");
    visitor.expect_end();
    // A later request of a connection gets the same answer.
    let mut visitor = Visitor::of(moss);
    visitor.send([get("/a.txt").as_bytes(), request, smuggled().as_bytes()].concat());
    assert_eq!(visitor.answer().body, b"a");
    let later = if request.starts_with(b"HEAD ") { visitor.head() } else { visitor.answer() };
    assert_eq!((later.status, later.headers), (answer.status, answer.headers.clone()), "{what:?}");
    visitor.expect_end();
    answer
}

/// The answer must have this status, and the connection must stay open for the next request.
#[track_caller]
fn expect_open(moss: &Moss, request: impl AsRef<[u8]>, status: u16) {
    let request = request.as_ref();
    let what = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    let mut visitor = Visitor::of(moss);
    visitor.send([request, get("/a.txt").as_bytes()].concat());
    let answer = visitor.answer();
    assert_eq!(answer.status, status, "{what:?}");
    assert!(!answer.is_last(), "{what:?}");
    assert_eq!(visitor.answer().body, b"a", "{what:?}");
}

#[test]
fn host_must_be_there_once() {
    let moss = start();
    for target in ["/", "/a.txt", "/none", "/health", "http://box/a.txt", "*"] {
        for lines in
            ["", "Host: box\r\nHost: box\r\n", "Host: a\r\nhost: b\r\n", "Host:\r\nHost: a\r\n"]
        {
            for method in ["GET", "HEAD", "POST"] {
                let request = format!("{method} {target} HTTP/1.1\r\n{lines}\r\n");
                expect_end(&moss, request, 400);
            }
        }
    }
}

#[test]
fn upgrade_needs_one_host_too() {
    let moss = start();
    for lines in ["", "Host: a\r\nHost: a\r\n"] {
        expect_end(&moss, UPGRADE.replace("Host: box\r\n", lines) + "\r\n", 400);
    }
}

#[test]
fn old_http_needs_no_host_but_not_two() {
    let moss = start();
    let keep = "Connection: keep-alive\r\n";
    for lines in ["", "Host: box\r\n"] {
        let mut visitor = Visitor::of(&moss);
        visitor.send(format!("GET /a.txt HTTP/1.0\r\n{keep}{lines}\r\n"));
        assert_eq!(visitor.answer().body, b"a");
    }
    expect_end(&moss, format!("GET /a.txt HTTP/1.0\r\n{keep}Host: a\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn body_of_a_get_is_refused() {
    let moss = start();
    let hidden = smuggled();
    for target in ["/a.txt", "/", "/none", "/health"] {
        for method in ["GET", "HEAD"] {
            for len in [1, 5, hidden.len(), 1 << 40] {
                let head = request(method, target, &format!("Content-Length: {len}\r\n"));
                expect_end(&moss, head, 400);
            }
        }
    }
}

#[test]
fn upgrade_with_a_body_is_refused() {
    let moss = start();
    expect_end(&moss, format!("{UPGRADE}Content-Length: 5\r\n\r\n"), 400);
    expect_end(&moss, format!("{UPGRADE}Transfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn content_length_must_be_one_number() {
    let moss = start();
    for value in [
        "",
        "x",
        "-1",
        "+1",
        "1.5",
        "0x10",
        "1e3",
        "5 5",
        "5,5",
        "5, 5",
        "5, 6",
        "0, 0",
        ",",
        "5,",
        "\"5\"",
        "18446744073709551616",
        "99999999999999999999999999999999999999",
        "٣",
    ] {
        for method in ["GET", "POST"] {
            let lines = format!("Content-Length: {value}\r\n");
            expect_end(&moss, request(method, "/a.txt", &lines), 400);
        }
    }
}

#[test]
fn content_length_may_not_be_there_twice() {
    let moss = start();
    for (one, two) in [("5", "5"), ("5", "6"), ("0", "0"), ("0", "5"), ("5", "0"), ("5", "x")] {
        for method in ["GET", "HEAD", "POST"] {
            let lines = format!("Content-Length: {one}\r\nX: y\r\ncontent-length: {two}\r\n");
            expect_end(&moss, request(method, "/a.txt", &lines), 400);
        }
    }
}

#[test]
fn content_length_of_zero_is_no_body() {
    let moss = start();
    for value in ["0", "00", "000000000000000000000000"] {
        let lines = format!("Content-Length: {value}\r\n");
        expect_open(&moss, request("GET", "/a.txt", &lines), 200);
        expect_open(&moss, request("POST", "/a.txt", &lines), 405);
        expect_open(&moss, request("DELETE", "/none", &lines), 404);
    }
}

#[test]
fn transfer_encoding_is_refused() {
    let moss = start();
    for lines in [
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: Chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        for method in ["GET", "HEAD", "POST"] {
            for target in ["/a.txt", "/none", "/health"] {
                expect_end(&moss, request(method, target, lines) + "0\r\n\r\n", 400);
            }
        }
        let old = format!("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n{lines}\r\n");
        expect_end(&moss, old, 400);
    }
}

#[test]
fn body_of_another_method_is_not_read_as_a_request() {
    let moss = start();
    let lines = format!("Content-Length: {}\r\n", smuggled().len());
    expect_end(&moss, request("POST", "/a.txt", &lines), 405);
    expect_end(&moss, request("PUT", "/none", &lines), 404);
    expect_end(
        &moss,
        request("DELETE", "/health", "Content-Length: 18446744073709551615\r\n"),
        405,
    );
}

#[test]
fn visitor_with_a_large_body_gets_the_answer() {
    let moss = start();
    let body = vec![b'x'; 16 << 20];
    let lines = format!("Content-Length: {}\r\n", body.len());
    for (method, target, status) in
        [("GET", "/a.txt", 400), ("POST", "/a.txt", 405), ("PUT", "/none", 404)]
    {
        let mut visitor = Visitor::of(&moss);
        visitor.send(request(method, target, &lines));
        // All of it before the answer is read: if moss closed with this unread, the kernel
        // would reset the connection and the answer would be lost.
        visitor.send(&body);
        assert_eq!(visitor.answer().status, status, "{method} {target}");
        visitor.expect_end();
    }
}

#[test]
fn ambiguous_header_lines_are_refused() {
    let moss = start();
    for line in [
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "X: y\r\n\tTransfer-Encoding: chunked\r\n",
        " Content-Length: 5\r\n",
        "Content Length: 5\r\n",
        "Content-Length\0: 5\r\n",
        "Content-Length: 5\0\r\n",
        "X: y\rContent-Length: 5\r\n",
        ": 5\r\n",
        "no colon\r\n",
    ] {
        expect_end(&moss, request("GET", "/a.txt", line), 400);
    }
}

#[test]
fn bytes_that_are_not_http_are_a_bad_request() {
    let moss = start();
    for bytes in [
        &b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n"[..],
        b"\0\0\0\0\r\n\r\n",
        b"{\"type\":\"ping\"}\r\n\r\n",
        b"\x81\x80\0\0\0\0\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"GET /a.txt\r\n\r\n",
        b"GET /a.txt HTTP/2.0\r\nHost: box\r\n\r\n",
        b"GET /a.txt HTTP/0.9\r\nHost: box\r\n\r\n",
        b"GET /a.txt HTTP/1.2\r\nHost: box\r\n\r\n",
        b"GET /a.txt HTTP/11\r\nHost: box\r\n\r\n",
        b"GET /a.txt http/1.1\r\nHost: box\r\n\r\n",
        b"GET /a b.txt HTTP/1.1\r\nHost: box\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: box\r\n\r\n",
        b"GET /a.txt\0 HTTP/1.1\r\nHost: box\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: box\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\nHost: box\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: box\r\n\r\n",
        b"G\xc3\x89T /a.txt HTTP/1.1\r\nHost: box\r\n\r\n",
        b"G@T /a.txt HTTP/1.1\r\nHost: box\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        expect_end(&moss, bytes, 400);
    }
}

#[test]
fn upgrade_to_http_2_is_not_taken() {
    let moss = start();
    let lines =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    expect_open(&moss, request("GET", "/a.txt", lines), 200);
    expect_open(&moss, request("GET", "/", lines), 200);
}

#[test]
fn head_of_8_kib_is_too_large() {
    let moss = start();
    for head in [
        get(&format!("/{}", "x".repeat(8 << 10))),
        get(&format!("/a.txt?{}", "x".repeat(8 << 10))),
        request("GET", "/a.txt", &format!("X: {}\r\n", "x".repeat(8 << 10))),
        format!("GET /{}", "x".repeat(100_000)),
        request("GET", "/a.txt", &"X: y\r\n".repeat(64)),
    ] {
        expect_end(&moss, head, 431);
    }
}

#[test]
fn head_of_almost_8_kib_is_read() {
    let moss = start();
    let room = (8 << 10) - get("/a.txt?").len();
    expect_open(&moss, get(&format!("/{}", "x".repeat(room))), 404);
    expect_open(&moss, get(&format!("/{}", "%41".repeat(room / 3))), 404);
    expect_open(&moss, get(&format!("/{}", "../".repeat(room / 3))), 404);
    expect_open(&moss, get(&format!("/{}", "/".repeat(room))), 404);
    expect_open(&moss, get(&format!("/a.txt?{}", "x".repeat(room))), 200);
    expect_open(&moss, request("GET", "/a.txt", &"X: y\r\n".repeat(63)), 200);
}

#[test]
fn expectation_without_a_body_changes_nothing() {
    let moss = start();
    expect_open(&moss, request("GET", "/a.txt", "Expect: 100-continue\r\n"), 200);
    expect_end(
        &moss,
        request("POST", "/a.txt", "Expect: 100-continue\r\nContent-Length: 5\r\n"),
        405,
    );
}

#[test]
fn random_bytes_do_no_harm() {
    let moss = start();
    for seed in 0..200 {
        let mut rubbish = content(seed, 2_000);
        if seed % 2 == 0 {
            // After the start of a request.
            rubbish.splice(..0, request("GET", "/a.txt", "X: ").trim_end().bytes());
        }
        // To TLS, which begins with 0x16, moss does not answer.
        rubbish[0] = if rubbish[0] == 0x16 { 0 } else { rubbish[0] };
        let mut visitor = Visitor::of(&moss);
        visitor.send(rubbish);
        visitor.stream().shutdown(Shutdown::Write).expect("an open connection");
        let rest = visitor.rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{seed}");
    }
    expect_open(&moss, get("/a.txt"), 200);
}
