//! The settings of TLS: an invalid value stops moss with one line, which names the variable and
//! quotes nothing from the files.

use std::fs;

use crate::certificates::{CERTIFICATE_FILE, KEY_FILE, fixture};
use crate::support::{Moss, Setup, assert_remedy};

/// Moss must not start; its one line, which names this variable first, is returned.
#[track_caller]
fn assert_refused(setup: Setup, variable: &str) -> String {
    assert_ended(setup, variable, 2)
}

/// The same with this exit status.
#[track_caller]
fn assert_ended(setup: Setup, variable: &str, status: i32) -> String {
    let refusal = setup.refusal(status);
    let names = refusal.split(": ").nth(1).expect("names of variables");
    assert!(names.split(", ").any(|name| name == variable), "{refusal}");
    assert_remedy(&refusal);
    for secret in ["key.pem", "other-key.pem", "sec1-key.pem"] {
        let secret = fs::read_to_string(fixture(secret)).expect("a fixture");
        for line in secret.lines().filter(|line| !line.starts_with("--")) {
            assert!(!refusal.contains(&line[..16]), "{refusal}");
        }
    }
    refusal
}

#[test]
fn one_file_without_the_other_stops_moss() {
    for (missing, there) in [(KEY_FILE, CERTIFICATE_FILE), (CERTIFICATE_FILE, KEY_FILE)] {
        for setup in [Setup::new().unset(missing), Setup::new().set(missing, "")] {
            let line = assert_refused(setup, missing);
            assert!(line.contains(there), "{line}");
        }
    }
}

#[test]
fn unreadable_file_stops_moss() {
    for variable in [CERTIFICATE_FILE, KEY_FILE] {
        for name in ["no/such/file", ".", "/dev/null/x", "two\nlines"] {
            let line = assert_refused(Setup::new().set(variable, name), variable);
            assert!(line.contains(&format!("{name:?}")), "{line}");
        }
    }
}

#[test]
fn file_without_a_certificate_or_key_stops_moss() {
    let read = |name| fs::read(fixture(name)).expect("a fixture");
    let (certificate, key) = (read("chain.pem"), read("key.pem"));
    let half = |whole: &[u8]| whole[..whole.len() / 2].to_vec();
    let encrypted =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let rubbish = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (variable, content) in [
        (CERTIFICATE_FILE, vec![]),
        (CERTIFICATE_FILE, b"\n\n".to_vec()),
        (CERTIFICATE_FILE, key.clone()),
        (CERTIFICATE_FILE, certificate[..certificate.len() / 4].to_vec()),
        (CERTIFICATE_FILE, vec![0; 10_000]),
        (CERTIFICATE_FILE, rubbish.to_vec()),
        (KEY_FILE, vec![]),
        (KEY_FILE, certificate.clone()),
        (KEY_FILE, half(&key)),
        (KEY_FILE, vec![0xff; 10_000]),
        (KEY_FILE, encrypted.to_vec()),
        (
            KEY_FILE,
            [&b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"[..]].concat(),
        ),
    ] {
        let setup = Setup::new().set(variable, "file").file("file", content);
        let line = assert_refused(setup, variable);
        assert!(line.starts_with(&format!("moss: {variable}: ")), "{line}");
    }
}

#[test]
fn key_of_another_certificate_stops_moss() {
    let setup = Setup::new().set(KEY_FILE, fixture("other-key.pem"));
    assert_refused(setup, KEY_FILE);
    let setup = Setup::new().set(CERTIFICATE_FILE, fixture("other-chain.pem"));
    assert_refused(setup, KEY_FILE);
    // The CA's certificate, which has another key.
    let setup = Setup::new().set(CERTIFICATE_FILE, fixture("ca.pem"));
    assert_refused(setup, KEY_FILE);
}

#[test]
fn invalid_address_stops_moss() {
    for (variable, values) in [
        ("MOSS_TLS_PORT", &["x", "-1", "65536", " 80", "8e3"][..]),
        ("MOSS_TLS_HOSTNAME", &["300.1.2.3", "no such host", "[::1", "127.0.0.1:80"]),
    ] {
        for value in values {
            assert_refused(Setup::new().set(variable, value), variable);
        }
    }
}

#[test]
fn port_that_is_taken_stops_moss() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let setup = Setup::new().set("MOSS_TLS_PORT", port.clone());
    // Not 2: the port may be free at a later start.
    let line = assert_ended(setup, "MOSS_TLS_PORT", 1);
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
}

#[test]
fn same_port_for_both_stops_moss() {
    for (host, tls_host) in
        [("127.0.0.1", "127.0.0.1"), ("", ""), ("127.0.0.1", "0.0.0.0"), ("::", "127.0.0.1")]
    {
        let setup = Setup::new().set("MOSS_HOSTNAME", host).set("MOSS_TLS_HOSTNAME", tls_host);
        let setup = setup.set("MOSS_PORT", "8443").set("MOSS_TLS_PORT", "8443");
        assert_refused(setup, "MOSS_TLS_PORT");
    }
}

#[test]
fn same_port_at_two_addresses_is_allowed() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("an address").port().to_string();
    drop(free);
    let setup = Setup::new().set("MOSS_HOSTNAME", "127.0.0.2");
    let setup = setup.set("MOSS_PORT", port.clone()).set("MOSS_TLS_PORT", port);
    // `check` opens no port: another program may have taken it meanwhile.
    let output = setup.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn tls_address_without_a_certificate_is_warned_of() {
    let setup = Setup::new().unset(CERTIFICATE_FILE).unset(KEY_FILE).unset("MOSS_TLS_HOSTNAME");
    // `Setup::start` would wait for the TLS port, and there is none.
    let log = setup.log_of(|address| assert!(address.ip().is_loopback()));
    let line = log.lines().find(|line| line.contains("MOSS_TLS_PORT")).expect("a warning");
    assert!(line.contains("WARN"), "{line}");
    assert!(!log.contains("for TLS"), "{log}");
}

#[test]
fn known_variables_are_not_warned_of() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "https://a.example")]);
    moss.wait_for_log("limits: ");
    assert!(!moss.log().contains("WARN"), "{}", moss.log());
}

#[test]
fn settings_may_come_from_dotenv() {
    let text = format!(
        "MOSS_TLS_CERTIFICATE_FILE={}\nMOSS_TLS_KEY_FILE='key'\nMOSS_TLS_HOSTNAME=127.0.0.1\n\
         MOSS_TLS_PORT=0\n",
        fixture("chain.pem").display()
    );
    let names = [CERTIFICATE_FILE, KEY_FILE, "MOSS_TLS_HOSTNAME", "MOSS_TLS_PORT"];
    let setup = names.iter().fold(Setup::new(), |setup, name| setup.unset(name));
    let key = fs::read(fixture("key.pem")).expect("a fixture");
    // A relative path starts at the working directory.
    setup.file(".env", text).file("key", key).start().master("1").expect_nothing();
}

#[test]
fn check_reads_certificate_and_key() {
    let output = Setup::new().run(&["check"]);
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    for part in ["# the certificate expires in ", "MOSS_TLS_HOSTNAME=127.0.0.1\n"] {
        assert!(stdout.contains(part), "{part:?} is not in\n{stdout}");
    }
    let path = fixture("expired.pem");
    let output = Setup::new().set(CERTIFICATE_FILE, path.clone()).run(&["check"]);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("moss: warning: the certificate has EXPIRED"), "{stderr}");
    for (variable, file) in [(KEY_FILE, "other-key.pem"), (CERTIFICATE_FILE, "key.pem")] {
        let output = Setup::new().set(variable, fixture(file)).run(&["check"]);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("moss: {variable}: ")), "{stderr}");
    }
}
