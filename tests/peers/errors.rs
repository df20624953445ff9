//! The error packets: every code, and when there is none.

use serde_json::Value;

use crate::support::{Client, Moss, NOT_PACKETS, SECRET};

/// Invalid payloads of `set-master`.
const NO_CLAIMS: [&str; 10] = [
    "null",
    "\"x\"",
    "1",
    "[]",
    r#"[{},"only-the-tests-know-it"]"#,
    "{}",
    r#"{"sdp":1}"#,
    r#"{"secret":null,"sdp":1}"#,
    r#"{"secret":5,"sdp":1}"#,
    r#"{"secret":["only-the-tests-know-it"],"sdp":1}"#,
];

fn claim(secret: &str, sdp: &str) -> String {
    format!(r#"{{"type":"set-master","payload":{{"secret":"{secret}","sdp":{sdp}}}}}"#)
}

/// Sends packets that are answered by errors: as a guest, as a client without a master, and as a
/// master. Runs `check` after each, with the expected code.
fn provoke_all(moss: &Moss, kind: &str, mut check: impl FnMut(&mut Client, &str)) {
    let mut peer = moss.guest();
    peer.send(&format!(r#"{{"type":"{kind}"}}"#));
    check(&mut peer, "not-logged-in");
    peer.send(r#"{"type":"login"}"#);
    peer.send(&format!(r#"{{"type":"{kind}"}}"#));
    check(&mut peer, "no-master");
    let mut master = moss.master("1");
    master.send(&format!(r#"{{"type":"{kind}"}}"#));
    check(&mut master, "missing-id");
    master.send(&format!(r#"{{"type":"{kind}","id":"1"}}"#));
    check(&mut master, "unknown-client");
    master.send(&format!(r#"{{"type":"{kind}","id":1}}"#));
    check(&mut master, "invalid-packet");
}

#[test]
fn error_has_a_code_and_a_message_for_people() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    guest.send("x");
    let packet = guest.json();
    let keys: Vec<_> = packet.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["payload", "type"]);
    let payload = packet["payload"].as_object().expect("an object");
    assert_eq!(payload.keys().collect::<Vec<_>>(), ["code", "message"]);
    assert!(payload["message"].as_str().is_some_and(|message| !message.is_empty()));
}

#[test]
fn message_that_is_no_packet_is_an_invalid_packet() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    for text in NOT_PACKETS {
        guest.send(text);
        let packet = guest.json();
        assert_eq!(packet["payload"]["code"], "invalid-packet", "{text:?}: {packet}");
    }
    guest.expect_nothing();
}

#[test]
fn invalid_packet_of_a_client_is_not_passed_on() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    for text in NOT_PACKETS {
        client.send(text);
        client.expect_error("invalid-packet");
    }
    client.introduce(&mut master);
}

#[test]
fn invalid_packet_of_the_master_is_not_passed_on() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    for text in [
        format!(r#"{{"type":1,"id":"{id}"}}"#),
        format!(r#"{{"type":"x","id":"{id}","id":"{id}"}}"#),
        format!(r#"{{"type":"x","id":["{id}"]}}"#),
        format!(r#"{{"type":"x","id":{{"{id}":"{id}"}}}}"#),
        format!(r#"{{"type":"x","id":{id}}}"#),
        r#"{"type":"x","id":true}"#.to_owned(),
    ] {
        master.send(&text);
        master.expect_error("invalid-packet");
    }
    client.expect_nothing();
    client.introduce(&mut master);
}

#[test]
fn set_master_without_a_secret_is_invalid() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    for payload in NO_CLAIMS {
        guest.send(&format!(r#"{{"type":"set-master","payload":{payload}}}"#));
        guest.expect_error("invalid-set-master");
    }
    guest.send(r#"{"type":"set-master"}"#);
    guest.expect_error("invalid-set-master");
    guest.expect_nothing();
}

#[test]
fn invalid_set_master_changes_nothing() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    for payload in NO_CLAIMS {
        for peer in [&mut master, &mut client] {
            peer.send(&format!(r#"{{"type":"set-master","payload":{payload}}}"#));
            peer.expect_error("invalid-set-master");
        }
    }
    assert_eq!(client.introduce(&mut master), id);
    let (_later, _) = moss.client_of(&mut master);
}

#[test]
fn wrong_secret_makes_no_master() {
    let moss = Moss::start();
    let mut client = moss.client();
    let mut guest = moss.guest();
    for secret in ["", "x", &SECRET[1..], &SECRET.to_uppercase()] {
        guest.send(&claim(secret, "1"));
        guest.expect_error("wrong-secret");
    }
    client.expect_nothing();
    guest.send(r#"{"type":"x"}"#);
    guest.expect_error("not-logged-in");
}

#[test]
fn secret_with_more_after_it_is_wrong() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    for more in [" ", "\\n", "\\u0000", "x"] {
        guest.send(&claim(&format!("{SECRET}{more}"), "1"));
        guest.expect_error("wrong-secret");
    }
}

#[test]
fn wrong_secret_changes_nothing_for_master_and_client() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    for peer in [&mut master, &mut client] {
        peer.send(&claim("wrong", "2"));
        peer.expect_error("wrong-secret");
    }
    assert_eq!(client.introduce(&mut master), id);
    let mut later = moss.guest();
    later.send(r#"{"type":"login"}"#);
    later.expect(r#"{"type":"connection-offer","payload":1}"#);
}

#[test]
fn right_secret_after_four_wrong_ones_makes_the_master() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    for _ in 0..4 {
        guest.send(&claim("wrong", "1"));
        guest.expect_error("wrong-secret");
    }
    guest.set_master("1");
}

#[test]
fn five_wrong_secrets_close_the_connection() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    for _ in 0..5 {
        guest.send(&claim("wrong", "1"));
        guest.expect_error("wrong-secret");
    }
    guest.expect_close(1008);
}

#[test]
fn wrong_secrets_count_for_each_connection() {
    let moss = Moss::start();
    let mut guests: Vec<_> = (0..6).map(|_| moss.guest()).collect();
    for guest in &mut guests {
        guest.send(&claim("wrong", "1"));
        guest.expect_error("wrong-secret");
    }
    for guest in &mut guests {
        guest.expect_nothing();
    }
}

#[test]
fn master_closed_for_wrong_secrets_is_no_longer_master() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    for _ in 0..5 {
        master.send(&claim("wrong", "1"));
        master.expect_error("wrong-secret");
    }
    master.expect_close(1008);
    client.send(r#"{"type":"x"}"#);
    client.expect_error("no-master");
}

#[test]
fn packet_of_a_guest_is_not_passed_on() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let mut guest = moss.guest();
    for kind in ["x", "pong", "master-confirmation", "connection-offer", "Login", ""] {
        guest.send(&format!(r#"{{"type":"{kind}"}}"#));
        guest.expect_error("not-logged-in");
    }
    master.expect_nothing();
}

#[test]
fn packet_of_a_client_without_a_master_is_refused() {
    let moss = Moss::start();
    let mut client = moss.client();
    client.send(r#"{"type":"x"}"#);
    client.expect_error("no-master");
    let master = moss.master("1");
    client.expect(r#"{"type":"connection-offer","payload":1}"#);
    master.close();
    client.send(r#"{"type":"x"}"#);
    client.expect_error("no-master");
}

#[test]
fn packet_of_the_master_needs_an_id() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    for packet in [r#"{"type":"x"}"#, r#"{"type":"x","id":null}"#] {
        master.send(packet);
        let payload = master.expect_error("missing-id");
        assert_eq!(payload.get("id"), None);
    }
    client.expect_nothing();
}

#[test]
fn unknown_id_is_named_in_the_error() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    for id in ["", "1", "nobody", "a\"b\\", "é😀", "-1", "99999999999999999999999"] {
        let json = Value::from(id).to_string();
        master.send(&format!(r#"{{"type":"x","id":{json}}}"#));
        let payload = master.expect_error("unknown-client");
        assert_eq!(payload["id"], id);
    }
}

#[test]
fn id_of_a_guest_is_an_unknown_client() {
    let moss = Moss::start();
    let mut old = moss.master("1");
    let (mut peer, id) = moss.client_of(&mut old);
    // A client that became master and was replaced is a guest whose id is known.
    peer.set_master("2");
    let mut master = moss.master("3");
    peer.expect_error("replaced");
    master.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    master.expect_error("unknown-client");
    peer.expect_nothing();
}

#[test]
fn id_matches_only_as_moss_writes_it() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let (first, rest) = id.split_at(1);
    for other in [
        format!("0{id}"),
        format!("+{id}"),
        format!("-{id}"),
        format!(" {id}"),
        format!("{id} "),
        format!("{id}.0"),
        format!("{id}e0"),
        format!("{id}\\u0000"),
        format!("\\u003{first}{rest}"),
        format!("{:#x}", id.parse::<u64>().expect("a number")),
    ] {
        master.send(&format!(r#"{{"type":"x","id":"{other}"}}"#));
        master.expect_error("unknown-client");
    }
    client.expect_nothing();
}

#[test]
fn client_that_left_is_unknown() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (closed, first) = moss.client_of(&mut master);
    let (hung_up, second) = moss.client_of(&mut master);
    closed.close();
    hung_up.hang_up();
    for id in [first, second] {
        master.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
        assert_eq!(master.expect_error("unknown-client")["id"], *id);
    }
}

#[test]
fn master_cannot_log_in() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    master.send(r#"{"type":"login"}"#);
    master.expect_error("master-cannot-login");
    let (_client, _) = moss.client_of(&mut master);
}

#[test]
fn replaced_master_is_told() {
    let moss = Moss::start();
    let mut old = moss.master("1");
    let _new = moss.master("2");
    old.expect_error("replaced");
}

#[test]
fn configured_type_carries_the_errors() {
    let moss = Moss::with(&[("MOSS_ERROR_TYPE", "oops")]);
    let mut guest = moss.guest();
    // Under another name, `moss-error` is a type like any other.
    for text in ["x", r#"{"type":"moss-error"}"#] {
        guest.send(text);
        assert_eq!(guest.json()["type"], "oops");
    }
}

#[test]
fn no_errors_are_sent_when_they_are_off() {
    let moss = Moss::with(&[("MOSS_ERROR_TYPE", "off")]);
    provoke_all(&moss, "x", |peer, _| peer.expect_nothing());
    let mut old = moss.master("1");
    old.send("x");
    old.send(r#"{"type":"login"}"#);
    old.send(r#"{"type":"set-master"}"#);
    old.send(&claim("wrong", "1"));
    old.expect_nothing();
    let _new = moss.master("2");
    old.expect_nothing();
}

#[test]
fn five_wrong_secrets_close_the_connection_when_errors_are_off_too() {
    let moss = Moss::with(&[("MOSS_ERROR_TYPE", "off")]);
    let mut guest = moss.guest();
    for _ in 0..5 {
        guest.send(&claim("wrong", "1"));
    }
    guest.expect_close(1008);
}

#[test]
fn off_is_an_ordinary_packet_type() {
    let moss = Moss::with(&[("MOSS_ERROR_TYPE", "off")]);
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    client.send(r#"{"type":"off"}"#);
    master.expect(&format!(r#"{{"type":"off","payload":"","id":"{id}"}}"#));
}

#[test]
fn each_failure_is_answered_by_its_error() {
    let moss = Moss::start();
    provoke_all(&moss, "x", |peer, code| {
        peer.expect_error(code);
    });
}

#[test]
fn error_is_never_answered_by_an_error() {
    let moss = Moss::start();
    provoke_all(&moss, "moss-error", |peer, _| peer.expect_nothing());
    for spelling in ["oops", "\\u006fops"] {
        // A new moss each time: the previous one may not have noticed yet that its master left.
        let moss = Moss::with(&[("MOSS_ERROR_TYPE", "oops")]);
        provoke_all(&moss, spelling, |peer, _| peer.expect_nothing());
    }
}

#[test]
fn error_packet_of_a_peer_is_passed_on() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    client.send(r#"{"type":"moss-error","payload":1}"#);
    master.expect(&format!(r#"{{"type":"moss-error","payload":1,"id":"{id}"}}"#));
    master.send(&format!(r#"{{"type":"moss-error","payload":1,"id":"{id}"}}"#));
    client.expect(r#"{"type":"moss-error","payload":1}"#);
}
