//! The forms of a packet, and that its payload is passed on byte for byte.

use crate::support::{Client, Moss};

/// JSON that a library might rewrite.
const PAYLOADS: [&str; 24] = [
    "18446744073709551616",
    "1e400",
    "-0",
    "-0.0",
    "1E+2",
    "1.10",
    "0.1e-7",
    "[1,  2]",
    "[ ]",
    "{ }",
    "{\"b\" : null,\t\"a\":\n true}",
    r#""\u0041""#,
    r#""\/ / \b\f\n\r\t \\ \"""#,
    r#""\u00e9 é 😀 \ud83d\ude00""#,
    r#""\ud800""#,
    r#""\u0000""#,
    r#"{"a":1,"a":2}"#,
    r#"{"":{"":[[[]]]}}"#,
    r#"{"type":"login","payload":1,"id":"7"}"#,
    r#"[{"id":"7"},{"id":"8"}]"#,
    "null",
    "true",
    "\"\"",
    "\"\u{2028}\u{feff}\u{7f}\"",
];

#[test]
fn payload_reaches_the_master_byte_for_byte() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    for payload in PAYLOADS {
        client.send(&format!(" {{ \"payload\" :\n {payload}\t, \"type\" : \"x\" }} "));
        master.expect(&format!(r#"{{"type":"x","payload":{payload},"id":"{id}"}}"#));
    }
}

#[test]
fn payload_reaches_the_client_byte_for_byte() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    for payload in PAYLOADS {
        master.send(&format!("{{\"id\" : \"{id}\" , \"payload\" :  {payload} ,\"type\":\"x\"}}"));
        client.expect(&format!(r#"{{"type":"x","payload":{payload}}}"#));
    }
}

#[test]
fn offer_reaches_the_client_byte_for_byte() {
    let moss = Moss::start();
    let mut waiting = moss.client();
    let mut master = moss.guest();
    for payload in PAYLOADS {
        master.set_master(payload);
        let offer = format!(r#"{{"type":"connection-offer","payload":{payload}}}"#);
        waiting.expect(&offer);
        let mut later = moss.guest();
        later.send(r#"{"type":"login"}"#);
        later.expect(&offer);
    }
}

#[test]
fn payload_of_any_depth_is_passed_on() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let payload = "[".repeat(100_000) + &"]".repeat(100_000);
    client.send(&format!(r#"{{"type":"x","payload":{payload}}}"#));
    master.expect(&format!(r#"{{"type":"x","payload":{payload},"id":"{id}"}}"#));
}

#[test]
fn payloads_around_every_frame_length_are_passed_on() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    for len in (0..150).chain(65_450..65_550) {
        let payload = "x".repeat(len);
        client.send(&format!(r#"{{"type":"x","payload":"{payload}"}}"#));
        master.expect(&format!(r#"{{"type":"x","payload":"{payload}","id":"{id}"}}"#));
        master.send(&format!(r#"{{"type":"x","payload":"{payload}","id":"{id}"}}"#));
        client.expect(&format!(r#"{{"type":"x","payload":"{payload}"}}"#));
    }
}

#[test]
fn absent_payload_is_the_empty_string() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    client.send(r#"{"type":"x"}"#);
    master.expect(&format!(r#"{{"type":"x","payload":"","id":"{id}"}}"#));
    master.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    client.expect(r#"{"type":"x","payload":""}"#);
}

#[test]
fn other_keys_are_ignored_and_not_passed_on() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    client.send(r#"{"to":1,"to":2,"type":"x","Type":"y","payload":1,"":{"type":"z"}}"#);
    master.expect(&format!(r#"{{"type":"x","payload":1,"id":"{id}"}}"#));
    master.send(&format!(r#"{{"from":[],"id":"{id}","type":"x","ID":"1","payload":1}}"#));
    client.expect(r#"{"type":"x","payload":1}"#);
}

#[test]
fn key_order_is_free() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let [kind, payload, name] =
        [r#""type":"x""#.to_owned(), r#""payload":1"#.to_owned(), format!(r#""id":"{id}""#)];
    for keys in [
        [&kind, &payload, &name],
        [&kind, &name, &payload],
        [&payload, &kind, &name],
        [&payload, &name, &kind],
        [&name, &kind, &payload],
        [&name, &payload, &kind],
    ] {
        let [a, b, c] = keys;
        master.send(&format!("{{{a},{b},{c}}}"));
        client.expect(r#"{"type":"x","payload":1}"#);
        client.send(&format!("{{{a},{b},{c}}}"));
        master.expect(&format!(r#"{{"type":"x","payload":1,"id":"{id}"}}"#));
    }
}

#[test]
fn keys_and_types_may_be_spelled_with_escapes() {
    let moss = Moss::start();
    let _master = moss.master("1");
    let mut client = moss.guest();
    client.send(r#"{"\u0074ype":"log\u0069n"}"#);
    client.expect(r#"{"type":"connection-offer","payload":1}"#);
}

#[test]
fn any_string_is_a_type() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let long = "x".repeat(10_000);
    for kind in ["", " ", "é😀", "Login", "PING", "a\"b\\c\n\u{0}", &long] {
        let json = serde_json::Value::from(kind).to_string();
        client.send(&format!(r#"{{"type":{json},"payload":1}}"#));
        assert_eq!(master.json()["type"], kind);
        master.send(&format!(r#"{{"type":{json},"payload":1,"id":"{id}"}}"#));
        assert_eq!(client.json()["type"], kind);
    }
}

#[test]
fn binary_message_is_accepted_and_answered_by_text() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    client.send_binary(r#"{"type":"x","payload":"é"}"#.as_bytes());
    master.expect(&format!(r#"{{"type":"x","payload":"é","id":"{id}"}}"#));
    master.send_binary(format!(r#"{{"type":"x","payload":1,"id":"{id}"}}"#).as_bytes());
    client.expect(r#"{"type":"x","payload":1}"#);
    client.send_binary(br#"{"type":"ping"}"#);
    client.expect(r#"{"type":"pong","payload":""}"#);
}

#[test]
fn binary_that_is_no_utf8_is_an_invalid_packet() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    guest.send_binary(b"{\"type\":\"x\",\"payload\":\"\xff\"}");
    guest.expect_error("invalid-packet");
    guest.send_binary(b"");
    guest.expect_error("invalid-packet");
    guest.expect_nothing();
}

#[test]
fn message_in_fragments_is_one_packet() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    in_fragments(&mut client, 0x1, r#"{"type":"x","payload":"é😀"}"#.as_bytes());
    master.expect(&format!(r#"{{"type":"x","payload":"é😀","id":"{id}"}}"#));
    in_fragments(&mut client, 0x2, r#"{"type":"x","payload":"é😀"}"#.as_bytes());
    master.expect(&format!(r#"{{"type":"x","payload":"é😀","id":"{id}"}}"#));
}

/// Sends each byte in a frame of its own, also within a character.
fn in_fragments(client: &mut Client, opcode: u8, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        let opcode = if at == 0 { opcode } else { 0x0 };
        let last = if at + 1 == bytes.len() { 0x80 } else { 0 };
        client.sender().send_frame(last | opcode, &[*byte]);
    }
}

#[test]
fn control_frames_may_come_between_fragments() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    guest.sender().send_frame(0x01, br#"{"type":"#);
    guest.sender().send_frame(0x89, b"there?");
    let pong = guest.frame();
    assert_eq!((pong.first, pong.payload.as_slice()), (0x8a, b"there?".as_slice()));
    guest.sender().send_frame(0x8a, b"unasked");
    guest.sender().send_frame(0x80, br#""ping"}"#);
    guest.expect(r#"{"type":"pong","payload":""}"#);
}
