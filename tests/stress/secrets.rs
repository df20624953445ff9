//! No secret, no wrong secret and no payload is ever logged.

use std::io::Write;

use crate::sockets::expect_last_close;
use crate::support::{OFFER, Setup, TEXT, frame};

/// Texts that occur nowhere else.
const CANARY: &str = "qzcanaryzq";

#[test]
fn log_at_trace_has_neither_secret_nor_guess_nor_payload() {
    let secret = format!("{CANARY}-the-secret-itself");
    let setup = Setup::new()
        .unset("MOSS_CONNECTION_SECRET")
        .set("MOSS_CONNECTION_SECRET_FILE", "secret")
        .file("secret", format!("{secret}\n"))
        .set("MOSS_LOGIN_SECRET", format!("{CANARY}-code"))
        .set("MOSS_LOG", "trace")
        .set("MOSS_KICK_TYPE", "kick")
        .set("MOSS_CLIENT_JOINED_TYPE", "client-joined")
        .set("MOSS_CLIENT_LEFT_TYPE", "client-left");
    let mut moss = setup.start();

    let mut master = moss.guest();
    let claim = |secret: &str| {
        format!(r#"{{"type":"set-master","payload":{{"secret":"{secret}","sdp":"{CANARY}-sdp"}}}}"#)
    };
    master.send(&claim(&secret));
    master.expect(r#"{"type":"master-confirmation","payload":""}"#);
    let mut client = moss.guest();
    client.send(&format!(r#"{{"type":"login","payload":{{"secret":"{CANARY}-guess"}}}}"#));
    client.expect_error("wrong-secret");
    client.send(&format!(r#"{{"type":"login","payload":{{"secret":"{CANARY}-code"}}}}"#));
    client.expect(&format!(r#"{{"type":"{OFFER}","payload":"{CANARY}-sdp"}}"#));
    let joined = master.json();
    let id = joined["payload"]["id"].as_str().expect("an id").to_owned();

    // Payloads in both directions, whole, binary and in fragments; and invalid packets.
    client.send(&format!(r#"{{"type":"{CANARY}-type","payload":"{CANARY}-up"}}"#));
    master.receive();
    client.send_binary(format!(r#"{{"type":"x","payload":"{CANARY}-binary"}}"#).as_bytes());
    master.receive();
    client.sender().send_frame(0x01, br#"{"type":"x","payload":"#);
    client.sender().send_frame(0x89, format!("{CANARY}-ping").as_bytes());
    client.sender().send_frame(0x80, format!(r#""{CANARY}-fragment"}}"#).as_bytes());
    master.receive();
    assert_eq!(client.frame().first, 0x8a);
    master.send(&format!(r#"{{"type":"x","payload":"{CANARY}-down","id":"{id}"}}"#));
    client.receive();
    client.send(&format!(r#"{{"type":"x","payload":"{CANARY}-broken"#));
    client.expect_error("invalid-packet");
    client.send_binary(&[CANARY.as_bytes(), &[0xff]].concat());
    client.expect_error("invalid-packet");
    master.send(&format!(r#"{{"type":"x","id":"{CANARY}-nobody"}}"#));
    master.expect_error("unknown-client");
    master.send(&format!(r#"{{"type":"kick","payload":"{CANARY}-reason","id":"{id}"}}"#));
    expect_last_close(&mut client, 1008);

    // Wrong secrets, up to the one that closes the connection; and invalid claims.
    let mut stranger = moss.guest();
    stranger.send(&format!(r#"{{"type":"set-master","payload":"{CANARY}"}}"#));
    stranger.expect_error("invalid-set-master");
    for number in 0..5 {
        stranger.send(&claim(&format!("{CANARY}-guess-{number}")));
        stranger.expect_error("wrong-secret");
    }
    expect_last_close(&mut stranger, 1008);
    // Violations with a payload, and a Close with a reason.
    for (first, payload) in [
        (0xf1, format!("{CANARY}-reserved-bits")),
        (TEXT, format!("{CANARY}\u{0}")),
        (0x80, format!("{CANARY}-continuation")),
    ] {
        moss.guest().sender().send_frame(first, payload.as_bytes());
    }
    let mut reason = 1000_u16.to_be_bytes().to_vec();
    reason.extend(format!("{CANARY}-farewell").bytes());
    let mut leaving = moss.guest();
    leaving.sender().send_frame(0x88, &reason);
    expect_last_close(&mut leaving, 1000);
    let mut http = moss.connect();
    http.write_all(format!("GET /{CANARY} HTTP/1.1\r\n\r\n").as_bytes()).expect("moss reads");
    let mut late = moss.connect();
    late.write_all(&frame(TEXT, CANARY.as_bytes())).expect("moss reads");
    moss.guest().expect_nothing();

    // The whole log, as a late line could be the wrong one.
    moss.terminate();
    assert!(moss.wait().success());
    let log = moss.log() + &moss.stderr();
    assert!(log.contains("DEBUG") && !log.contains("were dropped"), "a whole log: {log}");
    assert!(!log.contains(CANARY), "{log}");
}
