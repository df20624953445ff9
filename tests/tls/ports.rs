//! The two ports, plain and TLS, and the answers to peers at the wrong port.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::support::{Client, Moss, Setup, connect_tcp};
use crate::wire::{Hello, connect};

/// The complete answer to a plain HTTP request on the TLS port.
fn ask_plainly(moss: &Moss, request: impl AsRef<[u8]>) -> String {
    let mut stream = connect(moss);
    stream.write_all(request.as_ref()).expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end of the connection");
    answer
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n").expect("an end of the head");
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[test]
fn plain_get_is_redirected_to_https_with_its_host_port_and_path() {
    let moss = Moss::start();
    let own = moss.address().to_string();
    for (host, path) in [
        (own.as_str(), "/"),
        ("box", "/"),
        ("box.local:8443", "/client.html"),
        ("[::1]:18443", "/a/b?c=d&e=%20f"),
        ("10.0.0.7:443", "/health"),
        ("BOX-1.example", "//"),
    ] {
        let answer = ask_plainly(&moss, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
        assert_eq!(header(&answer, "Location"), Some(&*format!("https://{host}{path}")));
        assert_eq!(header(&answer, "Cache-Control"), Some("no-store"));
        assert_eq!(header(&answer, "Connection"), Some("close"));
    }
}

#[test]
fn plain_request_that_is_not_get_is_answered_400() {
    let moss = Moss::start();
    let upgrade = "GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for request in [
        upgrade,
        "POST / HTTP/1.1\r\nHost: box\r\nContent-Length: 0\r\n\r\n",
        "PUT /x HTTP/1.1\r\nHost: box\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: box\r\n\r\n",
    ] {
        let answer = ask_plainly(&moss, request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
        assert!(answer.contains("https://"), "without a hint at https: {answer}");
        assert_eq!(header(&answer, "Location"), None);
    }
}

#[test]
fn plain_get_without_a_valid_host_is_not_redirected() {
    let moss = Moss::start();
    for host in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: user@box\r\n",
        "Host: box/path\r\n",
        "Host: a, b\r\n",
        "Host: b%6fx\r\n",
        "Host: b\u{f6}x\r\n",
        "Host: box\"><script>\r\n",
        "Host: box\tbox\r\n",
        "Host: box_1\r\n",
    ] {
        let answer = ask_plainly(&moss, format!("GET / HTTP/1.1\r\n{host}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host:?}: {answer}");
        assert_eq!(header(&answer, "Location"), None, "{host:?}");
    }
}

#[test]
fn bytes_that_are_neither_tls_nor_http_are_answered_400() {
    let moss = Moss::start();
    for bytes in
        [&b"SSH-2.0-x\r\n\r\n"[..], b"\x81\x80\0\0\0\0", b"\0\0\0\0", b"\x15\x03\x01\0\x02\x02\x28"]
    {
        let answer = ask_plainly(&moss, bytes);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    }
}

#[test]
fn plain_get_may_come_byte_by_byte() {
    let moss = Moss::start();
    let mut stream = connect(&moss);
    for byte in b"GET / HTTP/1.1\r\nHost: box\r\n\r\n" {
        stream.write_all(&[*byte]).expect("moss reads");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end of the connection");
    assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
}

#[test]
fn tls_on_the_plain_port_is_closed_and_logged() {
    let moss = Moss::start();
    for _ in 0..3 {
        let mut stream = connect_tcp(moss.plain_address());
        stream.write_all(&Hello::new().record()).expect("moss reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an end without a reset");
        assert_eq!(String::from_utf8_lossy(&answer), "");
    }
    moss.wait_for_log("a peer spoke TLS to the plain port");
    moss.guest().expect_nothing();
    // It is logged once in a while, not each time.
    assert_eq!(moss.log().matches("spoke TLS").count(), 1, "{}", moss.log());
}

/// A connection to the plain port that requests an upgrade, as a master on the same machine does.
fn plain_guest(moss: &Moss) -> std::net::TcpStream {
    let mut stream = connect_tcp(moss.plain_address());
    let request = "GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("moss reads");
    stream
}

#[test]
fn master_without_tls_has_clients_with_it() {
    let moss = Moss::start();
    let stream = crate::support::Stream::plain(plain_guest(&moss));
    let mut master = Client::upgraded(stream).expect("an upgrade");
    master.set_master("1");
    let (mut client, id) = moss.client_of(&mut master);
    master.send(&format!(r#"{{"type":"x","payload":2,"id":"{id}"}}"#));
    client.expect(r#"{"type":"x","payload":2}"#);
    assert_eq!(client.introduce(&mut master), id);
}

#[test]
fn plain_port_is_local_beside_tls_unless_a_hostname_is_set() {
    for hostname in [None, Some("")] {
        let mut setup = Setup::new().unset("MOSS_HOSTNAME");
        if let Some(hostname) = hostname {
            setup = setup.set("MOSS_HOSTNAME", hostname);
        }
        let moss = setup.set("MOSS_ALLOWED_ORIGINS", "self").start();
        assert_eq!(moss.plain_address().ip().to_string(), "127.0.0.1");
        moss.wait_for_log("limits: ");
        assert!(!moss.log().contains("WARN"), "{}", moss.log());
    }
    let moss = Moss::with(&[("MOSS_HOSTNAME", "0.0.0.0")]);
    let line = moss.wait_for_log("MOSS_HOSTNAME");
    assert!(line.contains("WARN"), "{line}");
    assert!(moss.plain_address().ip().is_unspecified());
}

#[test]
fn both_addresses_are_logged_plain_first() {
    let moss = Moss::start();
    moss.wait_for_log("limits: ");
    let log = moss.log();
    let plain = log.find(&format!("listening on {}\n", moss.plain_address()));
    let tls = log.find(&format!("listening for TLS on {}\n", moss.address()));
    assert!(plain.is_some() && plain < tls, "{log}");
    assert!(log.contains(&format!("wss://{}/", moss.address())), "{log}");
}

#[test]
fn health_over_https_has_the_same_fields() {
    let moss = Moss::start();
    let mut stream = moss.connect();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: box\r\n\r\n").expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and close_notify");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an end of the head");
    let health: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let keys: Vec<_> = health.as_object().expect("an object").keys().collect();
    let known = ["clients", "connections", "master", "status", "uptime_seconds", "version"];
    assert_eq!(keys, known);
}

#[test]
fn moss_health_asks_the_plain_port_beside_tls() {
    let moss = Moss::start();
    let port = moss.plain_address().port().to_string();
    for hostname in ["127.0.0.1", ""] {
        // In the same environment as the server, with its certificate.
        let setup = Setup::new().set("MOSS_HOSTNAME", hostname).set("MOSS_PORT", port.clone());
        let output = setup.run(&["health"]);
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{stdout}");
    }
}

#[test]
fn stopping_closes_both_ports() {
    let moss = Moss::start();
    let ports: [SocketAddr; 2] = [moss.plain_address(), moss.address()];
    let mut guest = moss.guest();
    moss.terminate();
    guest.expect_close(1001);
    for port in ports {
        let error = std::net::TcpStream::connect(port).expect_err("no connection is accepted");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
