//! The envelope of packets: what is read, what is refused, what is written.

#[path = "support/not_packets.rs"]
mod not_packets;

use moss::protocol::packet::{
    Claim, EMPTY_PAYLOAD, ErrorCode, Invalid, Outgoing, Packet, parse_id,
};
use not_packets::NOT_PACKETS;

#[test]
fn payload_is_kept_byte_for_byte() {
    for payload in [
        "18446744073709551616",
        "1e400",
        "-0.0",
        "[1,  2]",
        r#""\u0041\/""#,
        r#"{"a":1,"a":2}"#,
        "{ \"b\" : null }",
        "null",
        "true",
        "\"é😀\"",
    ] {
        let text = format!(" {{ \"payload\" : {payload} , \"type\" : \"x\" }} ");
        let packet = Packet::parse(&text).expect("a packet");
        assert_eq!(packet.payload, payload);
    }
}

#[test]
fn absent_payload_is_the_empty_string() {
    assert_eq!(Packet::parse(r#"{"type":"x"}"#).unwrap().payload, EMPTY_PAYLOAD);
}

#[test]
fn other_keys_are_ignored_however_often() {
    let packet = Packet::parse(r#"{"a":1,"a":[{}],"type":"x","to":null}"#).unwrap();
    assert_eq!((packet.kind.as_ref(), packet.id), ("x", None));
}

#[test]
fn escaped_keys_and_types_are_understood() {
    let packet = Packet::parse(r#"{"\u0074ype":"log\u0069n","\u0070ayload":1}"#).unwrap();
    assert_eq!(packet.kind, "login");
    assert_eq!(packet.kind_json, r#""log\u0069n""#);
    assert_eq!(packet.payload, "1");
}

#[test]
fn quick_and_thorough_reading_agree() {
    let mut texts: Vec<String> = Vec::new();
    for value in [
        "0",
        "-0",
        "01",
        "-",
        "1.",
        ".5",
        "1.5e+3",
        "1e",
        "1E-",
        "-1e5",
        "1e5x",
        "+1",
        "0x1",
        "true",
        "tru",
        "truex",
        "false",
        "fals",
        "null",
        "nul",
        "[]",
        "[ ]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1, [2]]",
        "[1}",
        "{}",
        "{ }",
        r#"{"a"}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 , "b" : [ {} ] }"#,
        "{1:2}",
        r#""""#,
        r#""\""#,
        r#""\\""#,
        r#""\u12""#,
        r#""\u12aF""#,
        r#""\ud800""#,
        r#""\x""#,
        "\"\t\"",
        "\"\u{7f}é\"",
        "\"",
        "",
        " ",
    ] {
        for space in ["", " ", "\r\n\t", "\u{b}", "\u{a0}"] {
            texts.push(format!("{{\"type\":\"x\",\"payload\":{space}{value}{space}}}"));
            texts.push(format!("{space}{{{space}\"id\"{space}:{value},\"type\":\"x\"}}{space}"));
            texts.push(format!("{{\"type\":{value}}}"));
            texts.push(format!("{{{value}:1}}"));
        }
    }
    // At every offset in a block of 64 bytes, and across two blocks.
    for len in 0..140 {
        for end in [
            "", "\\n", "\\t", "\"", "\\", "\\\"", "\\\\", "\\\\\"", "\\\\\\\"", "\\\\\\\\", "\\x",
            "\\u12aF", "\\u12a", "\\u\"12", "\n", "\u{1f}", "\u{80}", "\u{ff}", "!", "#", "[", "]",
            " ",
        ] {
            texts.push(format!("{{\"type\":\"x\",\"payload\":\"{}{end}é\"}}", "s".repeat(len)));
            texts.push(format!("{{\"type\":\"x\",\"payload\":\"{}{end}", "s".repeat(len)));
        }
    }
    for depth in [1, 61, 62, 63, 64, 65, 200] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            texts.push(format!("{{\"type\":\"x\",\"payload\":{open}1{close}}}"));
            texts.push(format!("{{\"type\":\"x\",\"payload\":{open}1{close}]}}"));
        }
    }
    // Deeper than the quick reader supports, and not all closed.
    for depth in 55..70 {
        for outer in 0..3 {
            let (outer, open, close) = ("[".repeat(outer), "[".repeat(depth), "]".repeat(depth));
            texts.push(format!("{{\"type\":\"x\",\"payload\":{outer}{{\"a\":[{open}{close}}}"));
        }
    }
    for text in &texts {
        let (quick, thorough) = (Packet::parse(text), Packet::parse_thoroughly(text));
        assert_eq!(format!("{quick:?}"), format!("{thorough:?}"), "{text:?}");
    }
}

#[test]
fn message_that_is_no_packet_is_refused() {
    for text in NOT_PACKETS {
        assert_eq!(Packet::parse(text).err(), Some(Invalid), "{text:?}");
    }
}

#[test]
fn deep_payload_overflows_no_stack() {
    let text =
        format!(r#"{{"type":"x","payload":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Packet::parse(&text).unwrap().payload.len(), 200_000);
}

#[test]
fn outgoing_length_is_what_is_written() {
    for sender in [None, Some("0"), Some("18446744073709551615")] {
        let packet = Outgoing { kind: "\"x\"", payload: "[1, 2]", sender };
        let mut out = Vec::new();
        packet.write(&mut out);
        assert_eq!(out.len(), packet.encoded_len());
    }
}

#[test]
fn outgoing_keys_come_in_order() {
    let mut out = Vec::new();
    Outgoing { kind: "\"x\"", payload: "1", sender: Some("7") }.write(&mut out);
    assert_eq!(out, br#"{"type":"x","payload":1,"id":"7"}"#);
}

#[test]
fn id_counts_only_as_moss_writes_it() {
    assert_eq!(parse_id("\"18446744073709551615\""), Some(u64::MAX));
    assert_eq!(parse_id("\"0\""), Some(0));
    for other in [
        "7",
        "\"\"",
        "\"07\"",
        "\"+7\"",
        "\"-7\"",
        "\" 7\"",
        r#""\u0037""#,
        "\"18446744073709551616\"",
        "null",
    ] {
        assert_eq!(parse_id(other), None, "{other}");
    }
}

#[test]
fn claim_needs_an_object_with_a_secret() {
    for payload in
        ["null", "\"x\"", "[]", r#"[{},"s"]"#, "{}", r#"{"secret":1}"#, r#"{"secret":null}"#]
    {
        assert!(Claim::parse(payload).is_err(), "{payload}");
    }
    let claim = Claim::parse(r#"{"secret":"s\u0031","x":1,"sdp":null}"#).unwrap();
    assert_eq!((claim.secret.as_ref(), claim.sdp), ("s1", "null"));
    assert_eq!(Claim::parse(r#"{"secret":"s"}"#).unwrap().sdp, "{}");
}

#[test]
fn error_payloads_are_json() {
    for (at, code) in ErrorCode::ALL.into_iter().enumerate() {
        assert_eq!(code as usize, at, "counters are in this order");
        let value: serde_json::Value = serde_json::from_str(&code.payload(Some("\"7\""))).unwrap();
        assert_eq!((value["code"].as_str(), value["id"].as_str()), (Some(code.code()), Some("7")));
    }
}
