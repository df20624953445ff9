//! Answers to HTTP requests, and which requests become a WebSocket.

use std::io::{Read, Write};

use crate::support::{Client, Moss, Stream, TEXT, frame};

/// The request of RFC 6455, section 1.3, without the empty line at its end.
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A complete answer, after which the connection has ended.
struct Answer {
    status: String,
    head: String,
    body: String,
}

impl Answer {
    /// Reads to the end of the connection and checks that the head matches the body.
    #[track_caller]
    fn read(mut stream: Stream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer and the end of the connection");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("an end of the head");
        let status = head.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1")[..3].to_owned();
        let answer = Self { status, head: head.to_owned(), body: body.to_owned() };
        assert_eq!(
            answer.header("Content-Length"),
            Some(body.len().to_string().as_str()),
            "{head}"
        );
        assert_eq!(answer.header("Connection"), Some("close"), "{head}");
        answer
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends a request, and returns the answer.
#[track_caller]
fn ask(moss: &Moss, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = moss.connect();
    stream.write_all(request.as_ref()).expect("moss reads");
    Answer::read(stream)
}

/// The head of the 101 response to this request.
#[track_caller]
fn upgrade(moss: &Moss, request: &str) -> String {
    let mut stream = moss.connect();
    stream.write_all(request.as_bytes()).expect("moss reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("UTF-8");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    head
}

fn health(moss: &Moss) -> serde_json::Value {
    let answer = ask(moss, "GET /health HTTP/1.1\r\nHost: box\r\n\r\n");
    assert_eq!(answer.status, "200");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    serde_json::from_str(&answer.body).expect("JSON")
}

#[test]
fn health_has_version_and_uptime() {
    let moss = Moss::start();
    let health = health(&moss);
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_seconds"].as_u64().is_some_and(|seconds| seconds < 60));
    assert_eq!(health["connections"], 0);
    assert_eq!(health["clients"], 0);
    assert_eq!(health["master"], false);
}

#[test]
fn health_counts_present_peers() {
    let moss = Moss::start();
    let _guest = moss.guest();
    let mut master = moss.master("1");
    let (client, _) = moss.client_of(&mut master);
    let (_other, _) = moss.client_of(&mut master);
    let now = health(&moss);
    assert_eq!((&now["connections"], &now["clients"]), (&4.into(), &2.into()));
    assert_eq!(now["master"], true);
    client.close();
    master.close();
    let now = health(&moss);
    assert_eq!((&now["connections"], &now["clients"]), (&2.into(), &1.into()));
    assert_eq!(now["master"], false);
}

#[test]
fn health_ignores_a_query() {
    let moss = Moss::start();
    assert_eq!(ask(&moss, "GET /health?verbose HTTP/1.1\r\nHost: box\r\n\r\n").status, "200");
}

#[test]
fn health_is_answered_over_old_http_too() {
    let moss = Moss::start();
    assert_eq!(ask(&moss, "GET /health HTTP/1.0\r\n\r\n").status, "200");
}

#[test]
fn other_paths_are_not_found() {
    let moss = Moss::start();
    for path in ["/x", "/health/", "/healthy", "//", "/index.html?x=/", "*"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: box\r\n\r\n");
        assert_eq!(ask(&moss, request).status, "404", "{path}");
    }
}

#[test]
fn upgrade_at_another_path_is_not_found() {
    let moss = Moss::start();
    for path in ["/ws", "/health/x", "/socket?x"] {
        let request = UPGRADE.replace("GET /", &format!("GET {path}"));
        assert_eq!(ask(&moss, format!("{request}\r\n")).status, "404", "{path}");
    }
}

#[test]
fn browser_at_the_root_is_told_to_use_a_websocket() {
    let moss = Moss::start();
    let answer = ask(&moss, "GET / HTTP/1.1\r\nHost: box\r\nAccept: text/html\r\n\r\n");
    assert_eq!(answer.status, "426");
    assert_eq!(answer.header("Upgrade"), Some("websocket"));
    assert!(answer.body.contains("WebSocket"), "{}", answer.body);
}

#[test]
fn other_methods_are_not_allowed() {
    let moss = Moss::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        for path in ["/", "/health"] {
            let answer = ask(&moss, format!("{method} {path} HTTP/1.1\r\nHost: box\r\n\r\n"));
            assert_eq!(answer.status, "405", "{method} {path}");
            assert_eq!(answer.header("Allow"), Some("GET, HEAD"));
        }
    }
}

#[test]
fn answer_to_head_has_no_body() {
    let moss = Moss::start();
    let mut stream = moss.connect();
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: box\r\n\r\n").expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end of the connection");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // RFC 9110, section 9.3.2: a client would take a body for the next answer.
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn request_with_a_large_body_still_gets_its_answer() {
    let moss = Moss::start();
    let mut stream = moss.connect();
    let body = vec![b'x'; 16 << 20];
    let head = format!("POST / HTTP/1.1\r\nHost: box\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).expect("moss reads");
    // All of it before the answer is read: if moss closed with this unread, the kernel
    // would reset the connection and the answer would be lost.
    stream.write_all(&body).expect("moss reads the body");
    assert_eq!(Answer::read(stream).status, "405");
}

#[test]
fn other_websocket_versions_are_told_the_right_one() {
    let moss = Moss::start();
    for version in ["8", "0", "14", "13, 8", "x", ""] {
        let request = UPGRADE.replace("Version: 13", &format!("Version: {version}"));
        let answer = ask(&moss, format!("{request}\r\n"));
        assert_eq!(answer.status, "426", "{version:?}");
        assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn bytes_that_are_not_http_are_a_bad_request() {
    let moss = Moss::start();
    for bytes in [
        b"\x15\x03\x01\x00\x02\x02\x28".as_slice(),
        b"{\"type\":\"ping\"}\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"\x81\x80\x00\x00\x00\x00",
    ] {
        assert_eq!(ask(&moss, bytes).status, "400", "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn upgrade_needs_a_proper_key() {
    let moss = Moss::start();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for other in ["", "Sec-WebSocket-Key: \r\n", "Sec-WebSocket-Key: short==\r\n", &key.repeat(2)] {
        let request = UPGRADE.replace(key, other);
        assert_eq!(ask(&moss, format!("{request}\r\n")).status, "400", "{other:?}");
    }
}

#[test]
fn head_over_8_kib_is_too_large() {
    let moss = Moss::start();
    let head = format!("GET / HTTP/1.1\r\nHost: box\r\nX: {}", "x".repeat(8 << 10));
    assert_eq!(ask(&moss, &head).status, "431");
    assert_eq!(ask(&moss, head + "\r\n\r\n").status, "431");
}

#[test]
fn head_under_8_kib_is_read() {
    let moss = Moss::start();
    let filler = "x".repeat((8 << 10) - UPGRADE.len() - "Cookie: \r\n\r\n".len());
    upgrade(&moss, &format!("{UPGRADE}Cookie: {filler}\r\n\r\n"));
}

#[test]
fn only_the_first_request_is_answered() {
    let moss = Moss::start();
    let answer = ask(&moss, "GET /health HTTP/1.1\r\nHost: box\r\n\r\n".repeat(3));
    assert_eq!(answer.status, "200");
}

#[test]
fn upgrade_is_answered_by_its_key() {
    let moss = Moss::start();
    let head = upgrade(&moss, &format!("{UPGRADE}\r\n"));
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert!(head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nConnection: Upgrade\r\n"), "{head}");
}

#[test]
fn upgrade_ignores_a_query() {
    let moss = Moss::start();
    upgrade(&moss, &format!("{UPGRADE}\r\n").replace("GET /", "GET /?room=1&x=/health"));
}

#[test]
fn header_names_and_tokens_ignore_case() {
    let moss = Moss::start();
    let request = UPGRADE.replace("Upgrade: websocket", "UPGRADE: WebSocket");
    let request = request.replace("Connection: Upgrade", "connection:uPGRADE");
    upgrade(&moss, &format!("{request}\r\n"));
}

#[test]
fn connection_tokens_may_be_spread_over_lines() {
    let moss = Moss::start();
    for lines in [
        "Connection: keep-alive\r\nConnection: Upgrade\r\n",
        "Connection: Upgrade\r\nConnection: keep-alive\r\n",
        "Connection: keep-alive, Upgrade\r\n",
        "Connection:\r\nX: y\r\nConnection: x ,Upgrade\r\n",
    ] {
        let request = UPGRADE.replace("Connection: Upgrade\r\n", lines);
        upgrade(&moss, &format!("{request}\r\n"));
    }
}

#[test]
fn head_may_come_byte_by_byte() {
    let moss = Moss::start();
    let mut stream = moss.connect();
    for byte in format!("{UPGRADE}\r\n").bytes() {
        stream.write_all(&[byte]).expect("moss reads");
    }
    Client::upgraded(stream).expect("an upgrade").expect_nothing();
}

#[test]
fn frames_may_follow_the_head_at_once() {
    let moss = Moss::start();
    let mut bytes = format!("{UPGRADE}\r\n").into_bytes();
    bytes.extend(frame(TEXT, br#"{"type":"login"}"#));
    bytes.extend(frame(TEXT, br#"{"type":"x"}"#));
    let last = frame(TEXT, br#"{"type":"ping"}"#);
    bytes.extend(&last[..3]);
    let mut stream = moss.connect();
    stream.write_all(&bytes).expect("moss reads");
    let mut client = Client::upgraded(stream).expect("an upgrade");
    client.expect_error("no-master");
    client.sender().send_raw(&last[3..]);
    client.expect(r#"{"type":"pong","payload":""}"#);
}

#[test]
fn first_subprotocol_is_chosen() {
    let moss = Moss::start();
    let head = upgrade(
        &moss,
        &format!(
            "{UPGRADE}Sec-WebSocket-Protocol: soap, wamp\r\nSec-WebSocket-Protocol: x\r\n\r\n"
        ),
    );
    assert!(head.contains("\r\nSec-WebSocket-Protocol: soap\r\n"), "{head}");
    assert_eq!(head.matches("Sec-WebSocket-Protocol").count(), 1);
}

#[test]
fn no_subprotocol_is_chosen_that_was_not_offered() {
    let moss = Moss::start();
    let head = upgrade(&moss, &format!("{UPGRADE}\r\n"));
    assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
}

#[test]
fn extensions_are_not_taken() {
    let moss = Moss::start();
    let head =
        upgrade(&moss, &format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
}

#[test]
fn any_page_may_connect_unless_origins_are_named() {
    let moss = Moss::start();
    for origin in ["https://a.example", "null", "file://"] {
        upgrade(&moss, &format!("{UPGRADE}Origin: {origin}\r\n\r\n"));
    }
}

#[test]
fn named_origins_may_connect() {
    let origins = "https://a.example, http://box.local:3000";
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", origins)]);
    for origin in ["https://a.example", "http://box.local:3000"] {
        upgrade(&moss, &format!("{UPGRADE}Origin: {origin}\r\n\r\n"));
    }
}

#[test]
fn other_origins_are_forbidden() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "https://a.example,http://box.local:3000")]);
    for origin in [
        "null",
        "",
        "http://a.example",
        "https://a.example:443",
        "https://a.example/",
        "https://a.example.evil.example",
        "https://A.example",
        "http://box.local",
        "https://a.example,http://box.local:3000",
    ] {
        let answer = ask(&moss, format!("{UPGRADE}Origin: {origin}\r\n\r\n"));
        assert_eq!(answer.status, "403", "{origin}");
    }
}

#[test]
fn program_without_origin_may_connect() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "https://a.example")]);
    upgrade(&moss, &format!("{UPGRADE}\r\n"));
}

/// The same request for another host, from a page.
fn from_page(origin: &str, host: &str) -> String {
    let request = UPGRADE.replace("Host: box\r\n", host);
    format!("{request}Origin: {origin}\r\n\r\n")
}

#[test]
fn own_pages_may_connect() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "self")]);
    let address = moss.address();
    upgrade(&moss, &from_page(&format!("http://{address}"), &format!("Host: {address}\r\n")));
    for (origin, host) in [
        ("http://box:8080", "Host: box:8080\r\n"),
        ("https://box", "Host: BOX\r\n"),
        ("https://box", "Host: box:443\r\n"),
        ("http://box", "Host: box:80\r\n"),
        ("http://[::1]:8080", "Host: [::1]:8080\r\n"),
    ] {
        upgrade(&moss, &from_page(origin, host));
    }
}

#[test]
fn pages_from_other_hosts_are_not_own() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "self")]);
    for (origin, host) in [
        ("http://box:8080", "Host: box\r\n"),
        ("http://box", "Host: box:443\r\n"),
        ("https://box:8443", "Host: box:8080\r\n"),
        ("https://evil.example", "Host: box\r\n"),
        ("null", "Host: box\r\n"),
        ("null", "Host: null\r\n"),
        ("", "Host: \r\n"),
        ("ws://box", "Host: box\r\n"),
        ("*", "Host: *\r\n"),
    ] {
        assert_eq!(ask(&moss, from_page(origin, host)).status, "403", "{origin} {host:?}");
    }
}

#[test]
fn page_is_not_own_if_the_host_is_ambiguous() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "self")]);
    for host in ["", "Host:\r\n", "Host: box\r\nHost: box\r\n", "Host: box\r\nHost: other\r\n"] {
        assert_eq!(ask(&moss, from_page("http://box", host)).status, "403", "{host:?}");
    }
    for host in ["user@box", "box:", "box:x", "box:65536", "::1", "[::1", "b%6fx", "box/", "a,b"] {
        let request = from_page(&format!("http://{host}"), &format!("Host: {host}\r\n"));
        assert_eq!(ask(&moss, request).status, "403", "{host}");
    }
}

#[test]
fn authority_of_the_target_wins_over_the_host() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "self")]);
    let request = from_page("http://box", "Host: other\r\n");
    upgrade(&moss, &request.replace("GET /", "GET http://box/"));
    let request = from_page("http://box", "Host: box\r\n");
    assert_eq!(ask(&moss, request.replace("GET /", "GET http://other/")).status, "403");
}

#[test]
fn own_pages_and_named_ones_may_connect_together() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "https://a.example, self ,null")]);
    for origin in ["https://a.example", "null", "http://box"] {
        upgrade(&moss, &from_page(origin, "Host: box\r\n"));
    }
    // Named pages need no Host.
    upgrade(&moss, &from_page("https://a.example", ""));
    assert_eq!(ask(&moss, from_page("http://other", "Host: box\r\n")).status, "403");
}

#[test]
fn program_without_origin_may_connect_where_only_own_pages_may() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "self")]);
    upgrade(&moss, &format!("{UPGRADE}\r\n"));
    upgrade(&moss, &format!("{UPGRADE}\r\n").replace("Host: box\r\n", ""));
}

#[test]
fn own_page_is_forbidden_unless_self_is_named() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "https://a.example")]);
    assert_eq!(ask(&moss, from_page("http://box", "Host: box\r\n")).status, "403");
}

#[test]
fn full_server_says_when_to_try_again() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "3")]);
    let _master = moss.master("1");
    let mut guest = moss.guest();
    let other = moss.guest();
    let answer = ask(&moss, format!("{UPGRADE}\r\n"));
    assert_eq!(answer.status, "503");
    assert!(answer.header("Retry-After").is_some_and(|value| value.parse::<u32>().is_ok()));
    assert_eq!(health(&moss)["connections"], 3);
    guest.expect_nothing();
    other.close();
    moss.guest().expect_nothing();
}
