//! Which certificate a new connection gets: formats of the files, reloads, invalid files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::{CERTIFICATES, Moss, Setup, Stream};

pub(crate) const CERTIFICATE_FILE: &str = "MOSS_TLS_CERTIFICATE_FILE";
pub(crate) const KEY_FILE: &str = "MOSS_TLS_KEY_FILE";

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(CERTIFICATES).join(name)
}

/// A moss with a copy of a certificate, which the test may change.
fn with_copies(certificate: &str, key: &str) -> Setup {
    let copy = |name| fs::read(fixture(name)).expect("a fixture");
    Setup::new()
        .set(CERTIFICATE_FILE, "certificate")
        .set(KEY_FILE, "key")
        .file("certificate", copy(certificate))
        .file("key", copy(key))
}

/// Replaces a file atomically, as a renewal does.
fn replace(moss: &Moss, name: &str, content: &[u8]) {
    let fresh = moss.folder().join("fresh");
    fs::write(&fresh, content).expect("a file in the test's folder");
    fs::rename(fresh, moss.folder().join(name)).expect("the same folder");
}

fn replace_by(moss: &Moss, name: &str, fixture_name: &str) {
    replace(moss, name, &fs::read(fixture(fixture_name)).expect("a fixture"));
}

/// Whether a new connection gets the first certificate of this file.
fn shows(moss: &Moss, name: &str) -> bool {
    let mut guest = moss.guest();
    guest.expect_nothing();
    let expected = CertificateDer::from_pem_file(fixture(name)).expect("a certificate");
    guest.stream().tls().peer_certificates().expect("a certificate")[0] == expected
}

#[test]
fn key_may_have_any_common_format() {
    // PKCS#8, SEC1, and PKCS#1 with RSA.
    for (certificate, key) in [
        ("chain.pem", "key.pem"),
        ("chain.pem", "sec1-key.pem"),
        ("other-chain.pem", "other-key.pem"),
    ] {
        let setup = Setup::new().set(CERTIFICATE_FILE, fixture(certificate));
        let moss = setup.set(KEY_FILE, fixture(key)).start();
        assert!(shows(&moss, certificate), "{key}");
    }
}

#[test]
fn whole_chain_is_sent() {
    let moss = Moss::start();
    let guest = moss.guest();
    let chain = CertificateDer::pem_file_iter(fixture("chain.pem")).expect("a file");
    let chain: Vec<_> = chain.map(|certificate| certificate.expect("a certificate")).collect();
    assert_eq!(chain.len(), 2);
    assert_eq!(guest.stream().tls().peer_certificates(), Some(&chain[..]));
}

#[test]
fn sighup_takes_the_new_certificate_for_new_connections() {
    let moss = with_copies("chain.pem", "key.pem").start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    replace_by(&moss, "certificate", "other-chain.pem");
    replace_by(&moss, "key", "other-key.pem");
    assert!(shows(&moss, "chain.pem"), "before the signal");
    moss.signal(Signal::HUP);
    moss.wait_for_log("certificate was read again");
    assert!(shows(&moss, "other-chain.pem"));
    // Present connections are not affected.
    assert_eq!(client.introduce(&mut master), id);
    master.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    client.expect(r#"{"type":"x","payload":""}"#);
}

#[test]
fn old_certificate_stays_if_the_new_one_is_invalid() {
    let key = fs::read(fixture("key.pem")).expect("a fixture");
    let certificate = fs::read(fixture("chain.pem")).expect("a fixture");
    for (name, content, variable) in [
        ("certificate", &b""[..], CERTIFICATE_FILE),
        ("certificate", b"rubbish", CERTIFICATE_FILE),
        ("certificate", &certificate[..certificate.len() / 4], CERTIFICATE_FILE),
        ("certificate", &key, CERTIFICATE_FILE),
        ("key", b"", KEY_FILE),
        ("key", &key[..key.len() / 2], KEY_FILE),
        ("key", &certificate, KEY_FILE),
    ] {
        let moss = with_copies("chain.pem", "key.pem").start();
        let mut guest = moss.guest();
        replace(&moss, name, content);
        moss.signal(Signal::HUP);
        let line = moss.wait_for_log("the old certificate stays");
        assert!(line.contains("WARN") && line.contains(variable), "{line}");
        assert!(shows(&moss, "chain.pem"), "{line}");
        guest.expect_nothing();
    }
}

#[test]
fn old_certificate_stays_if_the_files_are_gone() {
    let moss = with_copies("chain.pem", "key.pem").start();
    for (name, variable) in [("key", KEY_FILE), ("certificate", CERTIFICATE_FILE)] {
        fs::remove_file(moss.folder().join(name)).expect("a file");
        moss.signal(Signal::HUP);
        moss.wait_for_log(&format!("the old certificate stays: {variable}: "));
        assert!(shows(&moss, "chain.pem"));
    }
}

#[test]
fn endless_file_is_refused_and_delays_nobody() {
    let moss = with_copies("chain.pem", "key.pem").start();
    let mut guest = moss.guest();
    for (name, variable) in [("key", KEY_FILE), ("certificate", CERTIFICATE_FILE)] {
        let file = moss.folder().join(name);
        fs::remove_file(&file).expect("a file");
        mknodat(CWD, &file, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        moss.signal(Signal::HUP);
        moss.wait_for_log(&format!("stays: {variable}: {name:?} holds no"));
        guest.expect_nothing();
        fs::remove_file(&file).expect("the pipe");
        symlink("/dev/zero", &file).expect("a link");
        moss.signal(Signal::HUP);
        moss.wait_for_log(&format!("stays: {variable}: {name:?} is longer than"));
        guest.expect_nothing();
    }
    assert!(shows(&moss, "chain.pem"));
}

#[test]
fn old_certificate_stays_until_both_files_are_new() {
    let moss = with_copies("chain.pem", "key.pem").start();
    replace_by(&moss, "certificate", "other-chain.pem");
    moss.signal(Signal::HUP);
    let line = moss.wait_for_log("the old certificate stays");
    assert!(line.contains("WARN") && line.contains(KEY_FILE), "{line}");
    assert!(shows(&moss, "chain.pem"));
    replace_by(&moss, "key", "other-key.pem");
    moss.signal(Signal::HUP);
    moss.wait_for_log("certificate was read again");
    assert!(shows(&moss, "other-chain.pem"));
}

#[test]
fn many_sighups_do_no_harm() {
    let mut moss = with_copies("chain.pem", "key.pem").start();
    let mut guest = moss.guest();
    for _ in 0..100 {
        moss.signal(Signal::HUP);
        guest.expect_nothing();
    }
    moss.guest().expect_nothing();
    moss.terminate();
    guest.expect_close(1001);
    drop(guest);
    assert_eq!(moss.wait().code(), Some(0));
}

#[test]
fn expired_certificate_is_warned_of_and_served() {
    let moss = Setup::new().set(CERTIFICATE_FILE, fixture("expired.pem")).start();
    assert!(moss.wait_for_log("EXPIRED").contains("WARN"));
    // The client refuses it, as browsers do, so moss has sent it.
    let stream = Stream::connect(moss.address());
    let error = stream.shake_hands().expect_err("the certificate has expired").to_string();
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn expiry_of_a_good_certificate_is_logged_without_a_warning() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "self")]);
    assert!(moss.wait_for_log("certificate expires in ").contains("INFO"));
    moss.wait_for_log("limits: ");
    assert!(!moss.log().contains("WARN"), "{}", moss.log());
}

#[test]
fn reload_that_brings_an_expired_certificate_warns_of_it() {
    let moss = with_copies("chain.pem", "key.pem").start();
    replace_by(&moss, "certificate", "expired.pem");
    moss.signal(Signal::HUP);
    assert!(moss.wait_for_log("EXPIRED").contains("WARN"));
}

#[test]
fn nothing_of_the_key_reaches_the_log() {
    let moss = with_copies("chain.pem", "key.pem").set("MOSS_LOG", "trace").start();
    moss.guest().expect_nothing();
    let key = fs::read_to_string(fixture("key.pem")).expect("a fixture");
    for content in [&key[..], &key[..100], &format!("{key}{key}")] {
        for name in ["certificate", "key"] {
            replace(&moss, name, content.as_bytes());
            moss.signal(Signal::HUP);
            moss.guest().expect_nothing();
        }
    }
    let log = moss.log() + &moss.stderr();
    for line in key.lines().filter(|line| !line.starts_with("--")) {
        assert!(!log.contains(&line[..16]), "{log}");
    }
}

#[test]
#[ignore = "waits for more than a minute, the time between two looks at the files"]
fn change_of_the_files_is_noticed_without_a_signal() {
    let moss = with_copies("chain.pem", "key.pem").start();
    replace_by(&moss, "certificate", "other-chain.pem");
    replace_by(&moss, "key", "other-key.pem");
    assert!(shows(&moss, "chain.pem"));
    thread::sleep(Duration::from_secs(61));
    assert!(shows(&moss, "other-chain.pem"));
    moss.wait_for_log("certificate was read again");
}
