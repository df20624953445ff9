//! WebSockets beside pages: an upgrade at `/` works as without pages, and may follow a page.

use crate::site::{assert_same, content, site};
use crate::support::{Client, Moss, TEXT, frame};
use crate::visitor::{UPGRADE, Visitor, get};

fn start() -> Moss {
    site(&[("index.html", "start"), ("a.txt", "a"), ("sub/index.html", "sub")]).start()
}

/// A connection on which a page was requested and received.
#[track_caller]
fn after_a_page(moss: &Moss) -> Visitor {
    let mut visitor = Visitor::of(moss);
    assert_eq!(visitor.get("/a.txt").body, b"a");
    visitor
}

#[test]
fn upgrade_wins_over_the_index() {
    let moss = start();
    let mut client = moss.guest();
    client.expect_nothing();
    assert_eq!(Visitor::of(&moss).get("/").body, b"start");
    client.expect_nothing();
}

#[test]
fn upgrade_may_follow_a_page() {
    let moss = start();
    let mut master = after_a_page(&moss).upgrade();
    master.set_master("1");
    let mut client = after_a_page(&moss).upgrade();
    client.send(r#"{"type":"login"}"#);
    client.expect(r#"{"type":"connection-offer","payload":1}"#);
    let id = client.introduce(&mut master);
    master.send(&format!(r#"{{"type":"x","payload":2,"id":"{id}"}}"#));
    client.expect(r#"{"type":"x","payload":2}"#);
    let mut visitor = after_a_page(&moss);
    let health = visitor.get("/health");
    let health: serde_json::Value = serde_json::from_slice(&health.body).expect("JSON");
    assert_eq!((&health["connections"], &health["clients"]), (&2.into(), &1.into()));
    client.close();
}

#[test]
fn upgraded_connection_does_not_end_as_an_idle_one() {
    // Longer than the five seconds of an idle page connection.
    let moss = start();
    let mut client = after_a_page(&moss).upgrade();
    let mut idle = after_a_page(&moss);
    idle.expect_end();
    client.expect_nothing();
}

#[test]
fn upgrade_and_frames_may_come_together_with_an_earlier_request() {
    let moss = start();
    let mut bytes = format!("{}{UPGRADE}\r\n", get("/a.txt")).into_bytes();
    bytes.extend(frame(TEXT, br#"{"type":"login"}"#));
    bytes.extend(frame(TEXT, br#"{"type":"x"}"#));
    let last = frame(TEXT, br#"{"type":"ping"}"#);
    bytes.extend(&last[..3]);
    let mut visitor = Visitor::of(&moss);
    visitor.send(bytes);
    assert_eq!(visitor.answer().body, b"a");
    let mut client = visitor.upgraded();
    client.expect_error("no-master");
    client.sender().send_raw(&last[3..]);
    client.expect(r#"{"type":"pong","payload":""}"#);
}

#[test]
fn upgrade_after_a_large_page_waits_for_its_end() {
    let page = content(1, 4 << 20);
    let moss = site(&[("large", &page)]).start();
    let mut visitor = Visitor::of(&moss);
    visitor.send(format!("{}{UPGRADE}\r\n", get("/large")));
    assert_same(&visitor.answer().body, &page, "the page");
    visitor.upgraded().expect_nothing();
}

#[test]
fn upgrade_may_come_byte_by_byte_after_a_page() {
    let moss = start();
    let mut visitor = after_a_page(&moss);
    for byte in format!("{UPGRADE}\r\n").bytes() {
        visitor.send([byte]);
    }
    visitor.upgraded().expect_nothing();
}

#[test]
fn upgrade_may_follow_other_answers() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    assert_eq!(visitor.get("/none").status, 404);
    visitor.upgrade().expect_nothing();
    let mut visitor = Visitor::of(&moss);
    assert_eq!(visitor.get("/health").status, 200);
    visitor.upgrade().expect_nothing();
}

#[test]
fn nothing_after_an_upgrade_is_read_as_http() {
    // All that follows is read as frames, even if it looks like a request.
    let moss = start();
    let mut visitor = after_a_page(&moss);
    visitor.send(format!("{UPGRADE}\r\n{}", get("/a.txt")));
    visitor.upgraded().expect_close(1002);
}

#[test]
fn upgrade_at_another_path_gets_the_page() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    for (target, body) in [("/index.html", "start"), ("/a.txt", "a"), ("/sub/", "sub")] {
        visitor.send(format!("{UPGRADE}\r\n").replace("GET /", &format!("GET {target}")));
        let answer = visitor.answer();
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()), "{target}");
    }
    visitor.send(format!("{UPGRADE}\r\n").replace("GET /", "GET /ws"));
    assert_eq!(visitor.answer().status, 404);
}

#[test]
fn incomplete_upgrade_gets_the_index() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    for (part, other) in [
        ("Upgrade: websocket\r\n", ""),
        ("Connection: Upgrade\r\n", ""),
        ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"),
        ("Connection: Upgrade\r\n", "Connection: keep-alive\r\n"),
    ] {
        visitor.send(format!("{UPGRADE}\r\n").replace(part, other));
        assert_eq!(visitor.answer().body, b"start", "{part:?} {other:?}");
    }
    visitor.send(format!("{UPGRADE}\r\n").replace("GET", "HEAD"));
    assert_eq!(visitor.head().body_len(), 5);
    visitor.send(format!("{UPGRADE}\r\n").replace("GET", "POST"));
    assert_eq!(visitor.answer().status, 405);
}

#[test]
fn wrong_upgrade_is_refused_as_without_pages() {
    let moss = start();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (part, other, status) in [
        ("Version: 13", "Version: 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        (key, "", 400),
        (key, "Sec-WebSocket-Key: short==\r\n", 400),
        ("HTTP/1.1", "HTTP/1.0", 400),
    ] {
        let request = format!("{UPGRADE}\r\n").replace(part, other);
        for mut visitor in [Visitor::of(&moss), after_a_page(&moss)] {
            visitor.send(&request);
            let answer = visitor.answer();
            assert_eq!(answer.status, status, "{request}");
            assert!(answer.is_last());
            visitor.expect_end();
        }
    }
}

#[test]
fn origins_count_for_upgrades_and_not_for_pages() {
    let setup = site(&[("index.html", "start")]).set("MOSS_ALLOWED_ORIGINS", "https://a.example");
    let moss = setup.start();
    let mut visitor = Visitor::of(&moss);
    for origin in ["https://a.example", "https://b.example", "null", ""] {
        let answer = visitor.get_with("/", &format!("Origin: {origin}\r\n"));
        assert_eq!((answer.status, &answer.body[..]), (200, &b"start"[..]), "{origin}");
    }
    visitor.send(format!("{UPGRADE}Origin: https://b.example\r\n\r\n"));
    let answer = visitor.answer();
    assert_eq!(answer.status, 403);
    assert!(answer.is_last());
    visitor.expect_end();
    let mut visitor = Visitor::of(&moss);
    visitor.get("/");
    visitor.send(format!("{UPGRADE}Origin: https://a.example\r\n\r\n"));
    visitor.upgraded().expect_nothing();
}

#[test]
fn own_pages_may_connect() {
    let moss = site(&[("index.html", "start")]).set("MOSS_ALLOWED_ORIGINS", "self").start();
    let mut visitor = Visitor::of(&moss);
    visitor.get_with("/", "Origin: http://box\r\n");
    visitor.send(format!("{UPGRADE}Origin: http://box\r\n\r\n"));
    visitor.upgraded().expect_nothing();
}

#[test]
fn upgrade_may_have_a_query_or_the_absolute_form() {
    let moss = start();
    for target in ["/?room=1", "http://box/", "http://box"] {
        let mut visitor = after_a_page(&moss);
        visitor.send(format!("{UPGRADE}\r\n").replace("GET /", &format!("GET {target}")));
        visitor.upgraded().expect_nothing();
    }
}

#[test]
fn upgrade_may_say_that_it_has_no_body() {
    let moss = start();
    let mut visitor = after_a_page(&moss);
    visitor.send(format!("{UPGRADE}Content-Length: 0\r\n\r\n"));
    visitor.upgraded().expect_nothing();
}

#[test]
fn peers_are_served_as_without_pages() {
    let moss = start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    assert_eq!(client.introduce(&mut master), id);
    client.close();
    let error = Client::try_open(moss.connect()).err();
    assert_eq!(error, None);
}
