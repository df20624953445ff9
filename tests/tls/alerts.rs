//! A peer that violates TLS is closed with the right alert, and no other is affected.

use std::io::Write;
use std::time::{Duration, Instant};

use rustls::{AlertDescription, ClientConfig, Error, RootCertStore};

use crate::support::process::{descriptors, wait_for_descriptors};
use crate::support::{Moss, Setup, Stream, tls_config};
use crate::wire::{
    APPLICATION_DATA, BAD_SUITE, HANDSHAKE, Hello, TLS_1_1, TLS_1_2, begin_handshake, client,
    connect, expect_alert, outgoing, read_record, read_to_error, record,
};

/// How long moss waits for a peer to close after its handshake.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn no_common_version_gets_protocol_version() {
    let moss = Moss::start();
    let mut other = moss.client();
    let old = Hello { version: TLS_1_1, versions: vec![], ..Hello::new() };
    expect_alert(&moss, &old.record(), AlertDescription::ProtocolVersion);
    let old = Hello { versions: vec![TLS_1_1], ..Hello::new() };
    expect_alert(&moss, &old.record(), AlertDescription::ProtocolVersion);
    other.expect_nothing();
}

#[test]
fn no_common_cipher_suite_gets_handshake_failure() {
    let moss = Moss::start();
    for versions in [Hello::new().versions, vec![TLS_1_2]] {
        let hello = Hello { versions, suites: vec![BAD_SUITE], ..Hello::new() };
        expect_alert(&moss, &hello.record(), AlertDescription::HandshakeFailure);
    }
}

#[test]
fn record_that_is_too_long_gets_record_overflow() {
    let moss = Moss::start();
    // At its header, without waiting for its content.
    expect_alert(&moss, &[HANDSHAKE, 3, 1, 0xff, 0xff], AlertDescription::RecordOverflow);
}

#[test]
fn handshake_message_that_is_too_long_gets_decode_error() {
    let moss = Moss::start();
    let hello = record(HANDSHAKE, &[1, 0xff, 0xff, 0xff, 3, 3]);
    expect_alert(&moss, &hello, AlertDescription::DecodeError);
}

#[test]
fn malformed_hello_gets_decode_error() {
    let moss = Moss::start();
    let hello = record(HANDSHAKE, &[1, 0, 0, 4, 3, 3, 0, 0]);
    expect_alert(&moss, &hello, AlertDescription::DecodeError);
}

#[test]
fn first_message_that_is_no_hello_gets_unexpected_message() {
    let moss = Moss::start();
    // Finished.
    let finished = record(HANDSHAKE, &[&[20, 0, 0, 12][..], &[0; 12]].concat());
    expect_alert(&moss, &finished, AlertDescription::UnexpectedMessage);
}

#[test]
fn rubbish_after_a_hello_gets_an_alert() {
    let moss = Moss::start();
    let (mut client, mut stream) = (client(tls_config()), connect(&moss));
    begin_handshake(&mut client, &mut stream);
    stream.write_all(b"rubbish, and no record").expect("moss reads");
    let error = read_to_error(&mut client, &mut stream);
    assert_eq!(error, Error::AlertReceived(AlertDescription::DecodeError));
}

#[test]
fn record_that_cannot_be_decrypted_gets_bad_record_mac() {
    let moss = Moss::start();
    let mut other = moss.client();
    for finish in [false, true] {
        let (mut client, mut stream) = (client(tls_config()), connect(&moss));
        begin_handshake(&mut client, &mut stream);
        if finish {
            stream.write_all(&outgoing(&mut client)).expect("moss reads");
        }
        stream.write_all(&record(APPLICATION_DATA, &[0; 64])).expect("moss reads");
        let error = read_to_error(&mut client, &mut stream);
        assert_eq!(error, Error::AlertReceived(AlertDescription::BadRecordMac), "{finish}");
    }
    other.expect_nothing();
}

#[test]
fn client_that_does_not_trust_the_certificate_harms_no_other() {
    let moss = Moss::start();
    let mut other = moss.client();
    let config =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions of the provider")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
    let stream = Stream::over_tls(connect(&moss), &config.into());
    stream.shake_hands().expect_err("the client refuses the certificate");
    // The client has sent an alert, and moss closes, too.
    assert_ends(stream);
    moss.wait_for_log("at 127.0.0.1: tls");
    other.expect_nothing();
}

/// Moss must end the connection within the time limit, with or without a reset.
#[track_caller]
fn assert_ends(stream: Stream) {
    let mut tcp = stream.tcp();
    while std::io::Read::read(&mut tcp, &mut [0; 4096]).is_ok_and(|count| count > 0) {}
}

#[test]
fn failed_handshake_is_closed_at_once_after_its_alert() {
    let moss = Moss::start();
    let base = descriptors(&moss);
    let is_closed_at_once = |_| {
        let mut stream = connect(&moss);
        let hello = Hello { suites: vec![BAD_SUITE], ..Hello::new() };
        let start = Instant::now();
        stream.write_all(&hello.record()).expect("moss reads");
        // The peer does not close its direction, and moss does not wait for that.
        assert!(read_record(&stream).is_some() && read_record(&stream).is_none());
        wait_for_descriptors(&moss, base);
        start.elapsed() < ENDING_TIMEOUT
    };
    // A busy machine may be late itself, so there are several tries.
    assert!((0..5).any(is_closed_at_once), "moss waited for the peer each time");
}

#[test]
fn failed_handshake_leaves_one_line_without_its_bytes() {
    let moss = Setup::new().set("MOSS_LOG", "trace").start();
    expect_alert(&moss, &record(HANDSHAKE, b"canary"), AlertDescription::DecodeError);
    let line = moss.wait_for_log(": tls");
    assert!(line.contains("visitor at 127.0.0.1"), "{line}");
    moss.guest().expect_nothing();
    let log = moss.log();
    assert_eq!(log.lines().filter(|line| line.contains(": tls (")).count(), 1, "{log}");
    assert!(!log.contains("canary"), "{log}");
}
