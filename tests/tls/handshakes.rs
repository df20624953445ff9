//! How a connection through TLS begins: versions, protocols, pieces, tickets, deadlines.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, ProtocolVersion};

use crate::support::{Client, Moss, PATIENCE, Stream, tls_config, tls_config_of};
use crate::wire::{
    HANDSHAKE, Hello, SERVER_HELLO, begin_handshake, client, connect, outgoing, read_record, record,
};

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn open(moss: &Moss, config: &Arc<ClientConfig>) -> Client {
    Client::open(Stream::over_tls(connect(moss), config))
}

#[test]
fn tls_1_2_and_1_3_are_supported() {
    let moss = Moss::start();
    for (version, found) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut guest = open(&moss, &tls_config_of(&[version]).into());
        guest.expect_nothing();
        assert_eq!(guest.stream().tls().protocol_version(), Some(found));
        guest.close();
    }
}

#[test]
fn best_protocol_that_moss_supports_is_chosen() {
    let moss = Moss::start();
    for version in [&TLS12, &TLS13] {
        for (offered, chosen) in [
            (["h2", "http/1.1"], "http/1.1"),
            (["http/1.0", "http/1.1"], "http/1.1"),
            (["h2", "http/1.0"], "http/1.0"),
        ] {
            let mut config = tls_config_of(&[version]);
            config.alpn_protocols = offered.map(|name| name.as_bytes().to_vec()).into();
            let guest = open(&moss, &config.into());
            assert_eq!(guest.stream().tls().alpn_protocol(), Some(chosen.as_bytes()));
        }
    }
}

#[test]
fn no_protocol_is_chosen_that_was_not_offered() {
    let moss = Moss::start();
    let mut guest = open(&moss, &tls_config().into());
    guest.expect_nothing();
    assert_eq!(guest.stream().tls().alpn_protocol(), None);
}

#[test]
fn client_with_only_http_2_gets_no_application_protocol() {
    let moss = Moss::start();
    for version in [&TLS12, &TLS13] {
        let mut config = tls_config_of(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = Stream::over_tls(connect(&moss), &config.into());
        let error = stream.shake_hands().expect_err("moss speaks HTTP/1.1");
        let error = error.downcast::<Error>().expect("TLS's own error");
        assert_eq!(error, Error::AlertReceived(AlertDescription::NoApplicationProtocol));
    }
}

#[test]
fn handshake_and_request_may_come_byte_by_byte() {
    let moss = Moss::start();
    for version in [&TLS12, &TLS13] {
        let (mut client, mut stream) = (client(tls_config_of(&[version])), connect(&moss));
        // It is sent after the handshake.
        client.writer().write_all(UPGRADE.as_bytes()).expect("room for it");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            for byte in outgoing(&mut client) {
                stream.write_all(&[byte]).expect("moss reads");
            }
            assert!(client.read_tls(&mut stream).expect("moss answers") > 0, "the end");
            client.process_new_packets().expect("a good handshake");
            let _ = client.reader().read_to_end(&mut answer);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    }
}

/// The answer to these bytes must be a ServerHello.
#[track_caller]
fn expect_server_hello(moss: &Moss, pieces: &[&[u8]]) {
    let mut stream = connect(moss);
    for piece in pieces {
        stream.write_all(piece).expect("moss reads");
    }
    let (kind, content) = read_record(&stream).expect("an answer");
    assert_eq!((kind, content[0]), (HANDSHAKE, SERVER_HELLO));
}

/// One that just fits into a record.
fn hello_of_16_kib() -> Hello {
    let rest = Hello::new().message().len();
    Hello { padding: (16 << 10) - rest, ..Hello::new() }
}

#[test]
fn hello_of_16_kib_may_come_byte_by_byte() {
    let moss = Moss::start();
    let mut other = moss.client();
    let hello = hello_of_16_kib().record();
    expect_server_hello(&moss, &hello.chunks(1).collect::<Vec<_>>());
    other.expect_nothing();
}

#[test]
fn hello_may_come_in_many_records() {
    let moss = Moss::start();
    let hello = Hello::new().message();
    let records: Vec<_> = hello.chunks(3).map(|piece| record(HANDSHAKE, piece)).collect();
    expect_server_hello(&moss, &[&records.concat()]);
    expect_server_hello(&moss, &records.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

/// A client that connects again with its ticket.
struct Returning(Arc<ClientConfig>);

impl Returning {
    fn new(mut config: ClientConfig) -> Self {
        config.resumption = Resumption::in_memory_sessions(8);
        config.enable_early_data = true;
        Self(config.into())
    }

    /// Connects and closes. Returns the kind of the handshake.
    #[track_caller]
    fn visit(&self, moss: &Moss) -> HandshakeKind {
        let mut guest = open(moss, &self.0);
        // The ticket of TLS 1.3 comes before the answer.
        guest.expect_nothing();
        let kind = guest.stream().tls().handshake_kind().expect("a handshake");
        guest.close();
        kind
    }
}

#[test]
fn ticket_resumes_a_session() {
    let moss = Moss::start();
    for version in [&TLS12, &TLS13] {
        let client = Returning::new(tls_config_of(&[version]));
        assert_eq!(client.visit(&moss), HandshakeKind::Full);
        assert_eq!(client.visit(&moss), HandshakeKind::Resumed, "{version:?}");
        // With a new ticket, or with the old one again.
        assert_eq!(client.visit(&moss), HandshakeKind::Resumed, "{version:?}");
    }
}

#[test]
fn ticket_is_valid_after_a_reload() {
    let moss = Moss::start();
    for version in [&TLS12, &TLS13] {
        let client = Returning::new(tls_config_of(&[version]));
        assert_eq!(client.visit(&moss), HandshakeKind::Full);
        moss.signal(Signal::HUP);
        moss.wait_for_log("certificate was read again");
        assert_eq!(client.visit(&moss), HandshakeKind::Resumed, "{version:?}");
    }
}

#[test]
fn ticket_of_another_start_costs_a_full_handshake_and_nothing_else() {
    for version in [&TLS12, &TLS13] {
        let client = Returning::new(tls_config_of(&[version]));
        assert_eq!(client.visit(&Moss::start()), HandshakeKind::Full);
        assert_eq!(client.visit(&Moss::start()), HandshakeKind::Full);
    }
}

#[test]
fn early_data_is_never_offered() {
    let moss = Moss::start();
    let returning = Returning::new(tls_config_of(&[&TLS13]));
    returning.visit(&moss);
    let mut connection = client(Arc::unwrap_or_clone(returning.0));
    assert!(connection.early_data().is_none(), "the ticket allows early data");
    begin_handshake(&mut connection, &mut connect(&moss));
    assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Resumed), "there was a ticket");
}

/// Less than the ten seconds for the request head: they are counted from the start of the turn in
/// which moss accepts, which a busy machine may stretch.
const DEADLINE: Duration = Duration::from_secs(6);

#[test]
fn handshake_that_is_not_over_in_ten_seconds_is_ended() {
    let moss = Moss::start();
    let mut other = moss.client();
    let hello = Hello::new().record();
    let start = Instant::now();
    // Nothing at all, half a header, half a hello, and all but the client's last message.
    let streams = [0, 3, hello.len() / 2, hello.len()].map(|count| {
        let mut stream = connect(&moss);
        stream.write_all(&hello[..count]).expect("moss reads");
        stream
    });
    for mut stream in streams {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an end without a reset");
        assert!(start.elapsed() > DEADLINE, "ended after {:?}", start.elapsed());
        assert!(!bytes.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&bytes));
    }
    other.expect_nothing();
}

#[test]
fn handshake_without_a_request_is_answered_408_after_ten_seconds() {
    let moss = Moss::start();
    let start = Instant::now();
    let mut silent = moss.connect();
    silent.shake_hands().expect("a handshake");
    let mut half = moss.connect();
    half.write_all(&UPGRADE.as_bytes()[..UPGRADE.len() / 2]).expect("moss reads");
    for stream in [&mut silent, &mut half] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer, and close_notify");
        assert!(start.elapsed() > DEADLINE, "{:?}", start.elapsed());
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

/// The metrics of handshakes, from the plain port: full, resumed, failed.
#[track_caller]
fn handshakes(moss: &Moss) -> [String; 3] {
    let mut stream = TcpStream::connect(moss.plain_address()).expect("moss listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: box\r\n\r\n").expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    [("ok", "no"), ("ok", "yes"), ("failed", "no")].map(|(result, resumed)| {
        let start =
            format!("moss_tls_handshakes_total{{result=\"{result}\",resumed=\"{resumed}\"}} ");
        let value = answer.lines().find_map(|line| line.strip_prefix(&start));
        value.expect("a figure").to_owned()
    })
}

#[test]
fn handshakes_are_counted_by_their_result() {
    let moss = Moss::with(&[("MOSS_METRICS", "on"), ("MOSS_LOG", "debug")]);
    assert_eq!(handshakes(&moss), ["0", "0", "0"]);
    for version in [&TLS12, &TLS13] {
        let client = Returning::new(tls_config_of(&[version]));
        for _ in 0..3 {
            client.visit(&moss);
        }
    }
    assert_eq!(handshakes(&moss), ["2", "4", "0"]);
    // One that leaves during the handshake, one that violates it, one that sends nothing, and
    // plain HTTP.
    let mut half = connect(&moss);
    half.write_all(&record(HANDSHAKE, &Hello::new().message())[..20]).expect("moss reads");
    drop(half);
    let mut broken = connect(&moss);
    broken.write_all(&record(HANDSHAKE, b"rubbish")).expect("moss reads");
    moss.wait_for_log(": tls");
    drop(connect(&moss));
    let mut plain = connect(&moss);
    plain.write_all(b"POST / HTTP/1.1\r\n\r\n").expect("moss reads");
    moss.wait_for_log(": plain_http");
    // Six visitors and two of these have left.
    let start = Instant::now();
    while moss.log().matches(": left").count() < 8 {
        assert!(start.elapsed() < PATIENCE, "{}", moss.log());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(handshakes(&moss), ["2", "4", "2"]);
}
