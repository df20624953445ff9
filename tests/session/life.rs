//! The life of a session: deadlines, the Close, and the end.

use super::*;
use moss::connection::backlog::Spares;

#[test]
fn close_reason_is_cut_on_a_character_boundary() {
    let mut served = Served::open();
    // 41 characters of three bytes are just 123; one more byte in front cuts the last.
    served.session.kick(&format!("x{}", "€".repeat(50)), served.now);
    let sent = served.sent();
    assert_eq!(&sent[4..], format!("x{}", "€".repeat(40)).as_bytes());
    assert_eq!(usize::from(sent[1]), 2 + 121);
}

#[test]
fn close_comes_after_what_was_queued_and_only_once() {
    let mut served = Served::open();
    served.session.queue(Opcode::Text, 2).extend(b"{}");
    served.session.close(Ending::Stopping, served.now);
    served.session.close(Ending::WrongSecrets, served.now);
    assert_eq!(served.sent(), b"\x81\x02{}\x88\x12\x03\xe9moss is stopping");
    assert_eq!(served.session.ending(), Some(Ending::Stopping));
}

#[test]
fn cut_keeps_the_frame_that_has_begun() {
    let mut served = Served::open();
    for payload in [b"one", b"two"] {
        served.session.queue(Opcode::Text, 3).extend(payload);
    }
    served.session.advance(1, &mut Spares::default(), served.now);
    served.session.cut(Ending::SlowReader, served.now);
    assert_eq!(served.sent(), b"\x03one\x88\x12\x03\xf5reads too slowly");
}

#[test]
fn silent_peer_is_pinged_once_and_then_dropped() {
    let mut served = Served::open();
    let keepalive = served.config.keepalive;
    served.wait(keepalive - Duration::from_secs(1));
    assert_eq!(served.sent(), b"");
    served.wait(Duration::from_secs(1));
    assert_eq!(served.sent(), unmasked(FIN | PING, b""));
    served.wait(keepalive - Duration::from_secs(1));
    assert_eq!(served.sent(), b"");
    assert_eq!(served.session.phase(), Phase::Open);
    served.wait(Duration::from_secs(1));
    assert_eq!(served.close_code(), 1011);
}

#[test]
fn moss_that_was_frozen_pings_before_it_drops() {
    let mut served = Served::open();
    let keepalive = served.config.keepalive;
    served.wait(5 * keepalive);
    assert_eq!(served.sent(), unmasked(FIN | PING, b""));
    served.wait(keepalive);
    assert_eq!(served.close_code(), 1011);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut served = Served::open();
    let keepalive = served.config.keepalive;
    for byte in frame(FIN | TEXT, b"{}") {
        served.wait(keepalive);
        assert_eq!(served.sent(), unmasked(FIN | PING, b""));
        served.wait(keepalive - Duration::from_secs(1));
        served.receive(&[byte]);
    }
    assert_eq!(served.session.phase(), Phase::Open);
}

#[test]
fn bytes_that_wait_unread_are_a_sign_of_life() {
    let mut served = Served::open();
    let keepalive = served.config.keepalive;
    for _ in 0..3 {
        served.now += 3 * keepalive;
        served.session.heard(served.now);
        served.wait(Duration::ZERO);
        assert_eq!(served.sent(), b"");
    }
    served.wait(keepalive);
    assert_eq!(served.sent(), unmasked(FIN | PING, b""));
    served.wait(keepalive);
    assert_eq!(served.close_code(), 1011);
}

#[test]
fn request_head_has_ten_seconds_in_any_pieces() {
    let mut served = Served::new();
    for byte in &UPGRADE[..9] {
        assert_eq!(served.receive(&[*byte]), []);
        served.wait(Duration::from_secs(1));
        assert_eq!(served.sent(), b"");
    }
    served.wait(HEAD_TIMEOUT - Duration::from_secs(9));
    assert!(served.sent().starts_with(b"HTTP/1.1 408 "));
    assert_eq!(served.receive(&UPGRADE[9..]), []);
    assert_eq!(served.session.phase(), Phase::Ending);
}

#[test]
fn ending_waits_five_seconds_for_the_peer() {
    let mut served = Served::open();
    served.session.close(Ending::Stopping, served.now);
    served.sent();
    assert!(!served.session.is_over(served.now + ENDING_TIMEOUT - Duration::from_millis(1)));
    assert!(served.session.is_over(served.now + ENDING_TIMEOUT));
}

#[test]
fn nothing_prolongs_an_ending() {
    let mut served = Served::open();
    served.session.close(Ending::Stopping, served.now);
    served.sent();
    for _ in 0..5 {
        served.wait(Duration::from_secs(1));
        assert_eq!(served.receive(&frame(FIN | PING, b"")), []);
        served.session.close(Ending::WrongSecrets, served.now);
    }
    assert_eq!(served.sent(), b"");
    assert!(served.session.is_over(served.now));
}

#[test]
fn peer_that_shut_down_writing_is_still_sent_what_is_queued() {
    let mut served = Served::open();
    served.session.queue(Opcode::Text, 2).extend(b"{}");
    served.session.peer_ended(served.now);
    assert!(!served.session.is_over(served.now));
    assert_eq!(served.sent(), b"\x81\x02{}");
    assert!(served.session.is_over(served.now));
}

#[test]
fn broken_connection_is_over_at_once() {
    let mut served = Served::open();
    served.session.queue(Opcode::Text, 2).extend(b"{}");
    served.session.broken(served.now);
    assert!(served.session.is_over(served.now));
    assert_eq!(served.session.held(), 0);
}

#[test]
fn http_answer_ends_a_connection_that_is_no_websocket() {
    let mut served = Served::new();
    let said = served.receive(b"GET /nowhere HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(said, [Event::Handled]);
    let sent = String::from_utf8(served.sent()).unwrap();
    assert!(sent.starts_with("HTTP/1.1 404 ") && sent.matches("HTTP/1.1").count() == 1, "{sent}");
    assert_eq!((served.session.phase(), served.session.held()), (Phase::Ending, 0));
}

#[test]
fn connection_without_a_websocket_gets_no_close_frame() {
    let mut served = Served::new();
    served.receive(&UPGRADE[..20]);
    served.session.close(Ending::Stopping, served.now);
    assert_eq!(served.sent(), b"");
    assert_eq!(served.session.phase(), Phase::Ending);
}

#[test]
fn connection_is_http_until_it_is_a_websocket() {
    let mut served = Served::new();
    assert!(served.session.is_http());
    served.session.refuse(Refusal::Full, served.now);
    assert!(served.session.is_http());
    let mut served = Served::open();
    assert!(!served.session.is_http());
    served.session.close(Ending::Stopping, served.now);
    assert!(!served.session.is_http());
}

#[test]
fn first_reason_for_an_ending_counts() {
    let mut served = Served::open();
    assert_eq!(served.session.ending(), None);
    served.session.close(Ending::Silent, served.now);
    served.session.peer_ended(served.now);
    assert_eq!(served.session.ending(), Some(Ending::Silent));
}
