//! Each connection that moss ends, and each request that it refuses, has one line in the log:
//! its id, its address, and a word for the reason.

use std::io::{Read, Write};

use crate::support::{Moss, SECRET, Setup, TEXT};

/// Checks that one line has this word, with the address and this level.
#[track_caller]
fn expect_line(moss: &Moss, level: &str, ending: &str) {
    let part = format!("at 127.0.0.1: {ending}");
    let line = moss.wait_for_log(&part);
    assert!(line.contains(level), "{line}");
    let id = line.split_whitespace().find_map(|word| word.strip_suffix(',')?.parse::<u64>().ok());
    assert!(id.is_some(), "no id in {line:?}");
    let count = moss.log().lines().filter(|line| line.contains(&part)).count();
    assert_eq!(count, 1, "{}", moss.log());
}

#[track_caller]
fn expect_refusal(moss: &Moss, request: &str, status: &str) {
    let mut stream = moss.connect();
    stream.write_all(request.as_bytes()).expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: moss\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn each_violation_of_rfc_6455_leaves_its_line() {
    let moss = Moss::start();
    for (first, payload, ending) in [
        (0xf1, &b"x"[..], "protocol_error (1002)"),
        (TEXT, &b"\xff"[..], "not_utf8 (1007)"),
        (TEXT, &[b'x'; 262_145][..], "too_long (1009)"),
    ] {
        let mut guest = moss.guest();
        guest.sender().send_frame(first, payload);
        expect_line(&moss, "INFO", ending);
    }
}

#[test]
fn silent_peer_leaves_its_line() {
    let moss = Moss::with(&[("MOSS_KEEPALIVE_SECONDS", "1")]);
    let _guest = moss.guest();
    expect_line(&moss, "INFO", "silent (1011)");
}

#[test]
fn kick_leaves_its_line_without_the_masters_words() {
    let moss = Moss::with(&[("MOSS_KICK_TYPE", "kick")]);
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    master.send(&format!(r#"{{"type":"kick","payload":"for this reason","id":"{id}"}}"#));
    client.expect_close(1008);
    expect_line(&moss, "INFO", "kicked (1008)");
    assert!(!moss.log().contains("for this reason"));
}

#[test]
fn each_wrong_secret_is_warned_of() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    for _ in 0..5 {
        guest.send(r#"{"type":"set-master","payload":{"secret":"a guess"}}"#);
        guest.expect_error("wrong-secret");
    }
    guest.expect_close(1008);
    expect_line(&moss, "WARN", "wrong_secrets (1008)");
    let warnings = moss.log().lines().filter(|line| line.ends_with(": wrong-secret")).count();
    assert_eq!(warnings, 5, "{}", moss.log());
    assert!(!moss.log().contains("a guess") && !moss.log().contains(SECRET));
}

#[test]
fn full_server_is_warned_of() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1")]);
    let _master = moss.master("1");
    expect_refusal(&moss, &format!("{UPGRADE}\r\n"), "503");
    expect_line(&moss, "WARN", "full (503)");
}

#[test]
fn refusals_leave_their_lines() {
    let setup = Setup::new().set("MOSS_ALLOWED_ORIGINS", "https://a.example");
    let moss = setup.set("MOSS_LOG", "debug").start();
    for (request, status, level, ending) in [
        (format!("{UPGRADE}Origin: https://b.example\r\n\r\n"), "403", "INFO", "origin (403)"),
        ("rubbish\r\n\r\n".to_owned(), "400", "INFO", "bad_request (400)"),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000)), "431", "INFO", "head_too_large (431)"),
        ("GET /x HTTP/1.1\r\n\r\n".to_owned(), "404", "DEBUG", "not_found (404)"),
        ("PUT / HTTP/1.1\r\n\r\n".to_owned(), "405", "DEBUG", "method (405)"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "426", "DEBUG", "no_upgrade (426)"),
    ] {
        expect_refusal(&moss, &request, status);
        expect_line(&moss, level, ending);
    }
}

#[test]
fn joining_and_leaving_are_logged_at_debug() {
    let moss = Moss::with(&[("MOSS_LOG", "debug")]);
    moss.guest().close();
    expect_line(&moss, "DEBUG", "connected");
    expect_line(&moss, "DEBUG", "left");

    let moss = Moss::start();
    moss.guest().close();
    moss.guest().expect_nothing();
    assert!(!moss.log().contains("127.0.0.1: "), "{}", moss.log());
}
