//! How a WebSocket ends: the close codes of RFC 6455, section 7.4.1, and silent peers.

use crate::support::{Moss, TEXT};

/// A guest that sends these bytes must be closed with this code, and another peer must stay.
fn assert_closes(bytes: &[u8], code: u16) {
    let moss = Moss::start();
    let mut other = moss.client();
    let mut guest = moss.guest();
    guest.sender().send_raw(bytes);
    guest.expect_close(code);
    other.expect_nothing();
}

#[test]
fn close_is_answered_with_its_code() {
    let moss = Moss::start();
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut guest = moss.guest();
        guest.sender().send_frame(0x88, &code.to_be_bytes());
        guest.expect_close(code);
    }
}

#[test]
fn close_without_a_code_is_answered() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    guest.sender().send_frame(0x88, b"");
    let answer = guest.frame();
    assert_eq!(answer.first, 0x88);
    assert_eq!(guest.next_frame(), None);
}

#[test]
fn packets_after_a_close_are_not_read() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    let sender = client.sender();
    sender.send_frame(0x88, &1000_u16.to_be_bytes());
    sender.send_frame(TEXT, br#"{"type":"x"}"#);
    client.expect_close(1000);
    master.expect_nothing();
}

#[test]
fn unmasked_frame_is_a_protocol_error() {
    assert_closes(b"\x81\x02{}", 1002);
}

#[test]
fn reserved_bits_are_a_protocol_error() {
    for first in [0xc1, 0xa1, 0x91] {
        assert_closes(&[first, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002);
    }
}

#[test]
fn reserved_opcode_is_a_protocol_error() {
    for first in [0x83, 0x87, 0x8b, 0x8f] {
        assert_closes(&[first, 0x80, 0, 0, 0, 0], 1002);
    }
}

#[test]
fn control_frame_in_fragments_is_a_protocol_error() {
    assert_closes(&[0x09, 0x80, 0, 0, 0, 0], 1002);
}

#[test]
fn long_control_frame_is_a_protocol_error() {
    let mut ping = vec![0x89, 0x80 | 126, 0, 126, 0, 0, 0, 0];
    ping.extend([b'x'; 126]);
    assert_closes(&ping, 1002);
}

#[test]
fn continuation_of_nothing_is_a_protocol_error() {
    assert_closes(&[0x80, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002);
}

#[test]
fn message_within_a_fragmented_one_is_a_protocol_error() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    guest.sender().send_frame(0x01, br#"{"type":"#);
    guest.sender().send_frame(TEXT, br#"{"type":"ping"}"#);
    guest.expect_close(1002);
}

#[test]
fn close_with_one_byte_is_a_protocol_error() {
    assert_closes(&[0x88, 0x81, 0, 0, 0, 0, 3], 1002);
}

#[test]
fn text_that_is_no_utf8_is_closed_with_1007() {
    let moss = Moss::start();
    for text in [b"\xff".as_slice(), b"{\"type\":\"\xc3\"}", b"\xed\xa0\x80", b"\xc0\x80"] {
        let mut guest = moss.guest();
        guest.sender().send_frame(TEXT, text);
        guest.expect_close(1007);
    }
}

#[test]
fn text_in_fragments_that_is_no_utf8_is_closed_with_1007() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    guest.sender().send_frame(0x01, b"{\"type\":\"\xc3");
    guest.sender().send_frame(0x80, b"\"}");
    guest.expect_close(1007);
}

/// A ping packet of exactly this length.
fn ping_of(len: usize) -> String {
    let frame = r#"{"type":"ping","payload":""}"#.len();
    format!(r#"{{"type":"ping","payload":"{}"}}"#, "x".repeat(len - frame))
}

#[test]
fn packet_of_the_longest_length_is_accepted() {
    let moss = Moss::with(&[("MOSS_MAX_PACKET_BYTES", "1000")]);
    let mut guest = moss.guest();
    guest.send(&ping_of(1000));
    guest.expect(r#"{"type":"pong","payload":""}"#);
}

#[test]
fn longer_packet_is_closed_with_1009() {
    let moss = Moss::with(&[("MOSS_MAX_PACKET_BYTES", "1000")]);
    let mut guest = moss.guest();
    guest.send(&ping_of(1001));
    guest.expect_close(1009);
}

#[test]
fn longer_packet_is_refused_at_its_header() {
    let moss = Moss::start();
    for len in [262_145, 1 << 40, u64::MAX >> 1] {
        let mut guest = moss.guest();
        let mut header = vec![TEXT, 0x80 | 127];
        header.extend(len.to_be_bytes());
        header.extend([0; 4]);
        guest.sender().send_raw(&header);
        guest.expect_close(1009);
    }
}

#[test]
fn longer_packet_in_fragments_is_closed_with_1009() {
    let moss = Moss::with(&[("MOSS_MAX_PACKET_BYTES", "1000")]);
    let mut guest = moss.guest();
    guest.sender().send_frame(0x01, &[b' '; 600]);
    guest.sender().send_frame(0x80, &[b' '; 600]);
    guest.expect_close(1009);
}

#[test]
fn close_is_sent_while_the_peer_goes_on_sending() {
    let moss = Moss::with(&[("MOSS_MAX_PACKET_BYTES", "1000")]);
    let mut guest = moss.guest();
    // Far more than the kernel's buffers hold: moss must read on.
    guest.send(&ping_of(8 << 20));
    guest.expect_close(1009);
}

#[test]
fn silent_peer_is_pinged_and_then_dropped() {
    let moss = Moss::with(&[("MOSS_KEEPALIVE_SECONDS", "1")]);
    let mut guest = moss.guest();
    let ping = guest.frame();
    assert_eq!((ping.first, ping.payload.len()), (0x89, 0));
    guest.expect_close(1011);
}

#[test]
fn dropped_master_is_no_longer_master() {
    let moss = Moss::with(&[("MOSS_KEEPALIVE_SECONDS", "4")]);
    let mut master = moss.master("1");
    assert_eq!(master.frame().first, 0x89);
    master.expect_close(1011);
    let mut client = moss.guest();
    client.send(r#"{"type":"login"}"#);
    client.expect_nothing();
}

#[test]
fn client_that_does_not_read_is_closed_with_1013() {
    let moss = Moss::with(&[
        ("MOSS_MAX_PACKET_BYTES", "65536"),
        ("MOSS_MAX_BACKLOG_BYTES", "131072"),
        ("MOSS_ERROR_TYPE", "gone"),
    ]);
    let mut master = moss.master("1");
    let (mut slow, id) = moss.client_of(&mut master);
    let packet = format!(r#"{{"type":"x","payload":"{}","id":"{id}"}}"#, "x".repeat(60_000));
    // How much the kernel's buffers hold is not known.
    loop {
        master.send(&packet);
        master.send(r#"{"type":"ping"}"#);
        if master.json()["type"] == "gone" {
            break;
        }
    }
    let close = loop {
        let frame = slow.frame();
        if frame.first != TEXT {
            break frame;
        }
    };
    assert_eq!((close.first, &close.payload[..2]), (0x88, &1013_u16.to_be_bytes()[..]));
    assert_eq!(slow.next_frame(), None);
}
