//! Every variable: a valid value, an empty one, and invalid ones.

mod support;

use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStringExt;

use support::{Client, Moss, SECRET, Setup, assert_remedy, skipped};

/// Every variable that can have an invalid value, with such values.
const WRONG: [(&str, &[&str]); 17] = [
    ("MOSS_CONNECTION_SECRET_FILE", &["secret.txt", "no/such/file", "."]),
    ("MOSS_CONNECTION_OFFER_TYPE", &RESERVED),
    ("MOSS_HOSTNAME", &["300.1.2.3", "no such host", "[::1", "127.0.0.1:80", "two\nlines"]),
    (
        "MOSS_PORT",
        &["x", "-1", "+8080", "65536", "80 80", " 80", "8e3", "99999999999999999999", "8\n0"],
    ),
    ("MOSS_ERROR_TYPE", &RESERVED),
    ("MOSS_CLIENT_JOINED_TYPE", &RESERVED),
    ("MOSS_CLIENT_LEFT_TYPE", &RESERVED),
    ("MOSS_MASTER_LEFT_TYPE", &RESERVED),
    ("MOSS_KICK_TYPE", &RESERVED),
    (
        "MOSS_ALLOWED_ORIGINS",
        &[
            "example.org",
            "https://a.example/",
            "https://a.example,",
            "*,https://a.example",
            "://x",
            "*,self",
            "self,",
            "Self",
            "self https://a.example",
        ],
    ),
    ("MOSS_MAX_CONNECTIONS", &["0", "-1", "x", "1048513", "many"]),
    ("MOSS_MAX_CONNECTIONS_PER_ADDRESS", &["0", "-1", "x", "1048513", "off", "1.5"]),
    (
        "MOSS_TRUSTED_PROXIES",
        &[
            ",",
            "127.0.0.1,",
            "localhost",
            "127.0.0.1:8080",
            "[::1]",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "127.0.0.1 ::1",
            "*",
        ],
    ),
    ("MOSS_MAX_PACKET_BYTES", &["0", "127", "-1", "x", "256k", "99999999999999999999"]),
    ("MOSS_MAX_BACKLOG_BYTES", &["0", "x", "1 MiB", "327679"]),
    ("MOSS_MAX_MEMORY_BYTES", &["0", "x", "64M", "1048575"]),
    ("MOSS_KEEPALIVE_SECONDS", &["0", "86401", "1.5", "30s", "-30"]),
];

const RESERVED: [&str; 5] = ["ping", "pong", "login", "set-master", "master-confirmation"];

/// The variables of other types than the offer's, in the order in which moss reads them.
const TYPES: [&str; 5] = [
    "MOSS_ERROR_TYPE",
    "MOSS_CLIENT_JOINED_TYPE",
    "MOSS_CLIENT_LEFT_TYPE",
    "MOSS_MASTER_LEFT_TYPE",
    "MOSS_KICK_TYPE",
];

/// Moss must not start, and its line must name this variable.
#[track_caller]
fn assert_refused(setup: Setup, variable: &str) -> String {
    let line = setup.refusal(2);
    let named = line.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    assert!(named.into_iter().any(|word| word == variable), "{line}");
    line
}

fn is_master(moss: &Moss, secret: &str) -> bool {
    let mut peer = moss.guest();
    let secret = serde_json::Value::from(secret);
    peer.send(&format!(r#"{{"type":"set-master","payload":{{"secret":{secret}}}}}"#));
    peer.json()["type"] == "master-confirmation"
}

#[test]
fn invalid_value_stops_moss() {
    for (name, values) in WRONG {
        for value in values {
            let mut setup = Setup::new();
            if name == "MOSS_CONNECTION_SECRET_FILE" {
                setup = setup.unset("MOSS_CONNECTION_SECRET");
            }
            let line = assert_refused(setup.set(name, value), name);
            assert_remedy(&line);
        }
    }
}

#[test]
fn invalid_value_in_dotenv_stops_moss() {
    for (name, values) in WRONG {
        for value in values.iter().filter(|value| !value.contains('\n')) {
            let mut setup = Setup::new().unset("MOSS_HOSTNAME").unset("MOSS_PORT");
            if name == "MOSS_CONNECTION_SECRET_FILE" {
                setup = setup.unset("MOSS_CONNECTION_SECRET");
            } else if name == "MOSS_CONNECTION_OFFER_TYPE" {
                setup = setup.unset("MOSS_CONNECTION_OFFER_TYPE");
            }
            assert_refused(setup.file(".env", format!("{name}=\"{value}\"\n")), name);
        }
    }
}

#[test]
fn value_that_is_no_utf8_stops_moss() {
    for (name, _) in WRONG {
        let value = std::ffi::OsString::from_vec(b"\xff".to_vec());
        assert_refused(Setup::new().set(name, value), name);
    }
}

/// That moss starts is most of the proof. The log shows the values in force.
#[test]
fn empty_values_count_as_unset() {
    let mut setup = Setup::new().set("MOSS_CONNECTION_SECRET_FILE", "").set("MOSS_LOG", "");
    for (name, _) in WRONG {
        if !matches!(name, "MOSS_CONNECTION_OFFER_TYPE" | "MOSS_PORT") {
            setup = setup.set(name, "");
        }
    }
    let moss = setup.start();
    assert!(moss.address().ip().is_unspecified());
    moss.wait_for_log("keepalive 30 s");
    moss.wait_for_log("262144 bytes per packet, 1048576 of backlog per peer, 67108864 in all");
    let mut guest = moss.guest();
    guest.send("x");
    guest.expect_error("invalid-packet");
    drop(guest);
    let _client = moss.client();
    moss.master("1").expect_nothing();
}

#[test]
fn empty_values_in_dotenv_count_as_unset() {
    let mut text = "MOSS_LOG=\nMOSS_CONNECTION_SECRET_FILE=\"\"\n".to_owned();
    for (name, _) in WRONG {
        if !matches!(name, "MOSS_CONNECTION_OFFER_TYPE" | "MOSS_PORT") {
            text += &format!("{name}=\n");
        }
    }
    let moss = Setup::new().unset("MOSS_HOSTNAME").file(".env", text).start();
    assert!(moss.address().ip().is_unspecified());
    moss.wait_for_log("keepalive 30 s");
}

#[test]
fn secret_is_required() {
    assert_refused(Setup::new().unset("MOSS_CONNECTION_SECRET"), "MOSS_CONNECTION_SECRET");
    assert_refused(Setup::new().set("MOSS_CONNECTION_SECRET", ""), "MOSS_CONNECTION_SECRET");
}

#[test]
fn secret_is_the_one_that_was_set() {
    for secret in ["x", "with spaces = and \"quotes\" $HOME \\ # é😀 ", "two\nlines"] {
        let moss = Setup::new().set("MOSS_CONNECTION_SECRET", secret).start();
        assert!(is_master(&moss, secret), "{secret:?}");
        assert!(!is_master(&moss, &format!("{secret}x")), "{secret:?}");
    }
}

#[test]
fn short_secret_is_warned_of() {
    let warning = "WARN  [moss] the connection secret is under 16 characters";
    let moss = Setup::new().set("MOSS_CONNECTION_SECRET", "é".repeat(15)).start();
    moss.wait_for_log(warning);
    let moss = Setup::new().set("MOSS_CONNECTION_SECRET", "é".repeat(16)).start();
    assert!(!moss.log().contains(warning));
}

#[test]
fn secret_may_be_in_a_file() {
    for (text, secret) in [
        ("in-a-file", "in-a-file"),
        ("in-a-file\n", "in-a-file"),
        ("in-a-file\n\n", "in-a-file\n"),
        (" in a\tfile ", " in a\tfile "),
        ("\nin-a-file", "\nin-a-file"),
    ] {
        let moss = Setup::new()
            .unset("MOSS_CONNECTION_SECRET")
            .set("MOSS_CONNECTION_SECRET_FILE", "the-secret")
            .file("the-secret", text)
            .start();
        assert!(is_master(&moss, secret), "{text:?}");
        assert!(!is_master(&moss, SECRET), "{text:?}");
    }
}

#[test]
fn secret_file_must_hold_a_text() {
    for text in [b"".as_slice(), b"\n", b"\xff\xff"] {
        let setup = Setup::new()
            .unset("MOSS_CONNECTION_SECRET")
            .set("MOSS_CONNECTION_SECRET_FILE", "the-secret")
            .file("the-secret", text);
        assert_refused(setup, "MOSS_CONNECTION_SECRET_FILE");
    }
}

#[test]
fn secret_and_secret_file_together_stop_moss() {
    let setup = Setup::new().set("MOSS_CONNECTION_SECRET_FILE", "file").file("file", SECRET);
    let line = assert_refused(setup, "MOSS_CONNECTION_SECRET_FILE");
    assert!(line.contains("MOSS_CONNECTION_SECRET;"), "{line}");
}

#[test]
fn equal_secrets_stop_moss() {
    let line = assert_refused(Setup::new().set("MOSS_LOGIN_SECRET", SECRET), "MOSS_LOGIN_SECRET");
    assert!(!line.contains(SECRET), "{line}");
}

#[test]
fn login_secret_and_its_file_together_stop_moss() {
    let setup = Setup::new().set("MOSS_LOGIN_SECRET", "code").set("MOSS_LOGIN_SECRET_FILE", "file");
    assert_refused(setup.file("file", "code"), "MOSS_LOGIN_SECRET_FILE");
}

#[test]
fn offer_type_is_required() {
    const NAME: &str = "MOSS_CONNECTION_OFFER_TYPE";
    assert_refused(Setup::new().unset(NAME), NAME);
    assert_refused(Setup::new().set(NAME, ""), NAME);
}

#[test]
fn configured_types_must_differ() {
    for (at, name) in TYPES.iter().enumerate() {
        assert_refused(Setup::new().set(name, "connection-offer"), name);
        for later in &TYPES[at + 1..] {
            assert_refused(Setup::new().set(name, "same").set(later, "same"), later);
        }
    }
    for name in &TYPES[1..] {
        assert_refused(Setup::new().set(name, "moss-error"), name);
    }
    assert_refused(
        Setup::new().set("MOSS_CONNECTION_OFFER_TYPE", "moss-error"),
        "MOSS_CONNECTION_OFFER_TYPE",
    );
}

#[test]
fn offer_may_have_the_default_type_of_errors_that_are_off() {
    let moss =
        Moss::with(&[("MOSS_CONNECTION_OFFER_TYPE", "moss-error"), ("MOSS_ERROR_TYPE", "off")]);
    let mut client = moss.client();
    let _master = moss.master("1");
    client.expect(r#"{"type":"moss-error","payload":1}"#);
}

#[test]
fn hostname_is_a_name_or_an_address() {
    for (name, address) in
        [("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("0.0.0.0", "0.0.0.0")]
    {
        let moss = Moss::with(&[("MOSS_HOSTNAME", name)]);
        assert_eq!(moss.address().ip().to_string(), address);
        moss.guest().expect_nothing();
    }
    let moss = Moss::with(&[("MOSS_HOSTNAME", "localhost")]);
    assert!(moss.address().ip().is_loopback());
    moss.guest().expect_nothing();
}

#[test]
fn hostname_may_be_an_ipv6_address() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skipped("hostname_may_be_an_ipv6_address", "no IPv6");
    }
    for name in ["::1", "[::1]"] {
        let moss = Moss::with(&[("MOSS_HOSTNAME", name)]);
        assert_eq!(moss.address().ip().to_string(), "::1");
        moss.guest().expect_nothing();
    }
}

#[test]
fn port_is_the_one_that_was_set() {
    // Bound at one address, so that the system gives it to no other program, and free at another.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let moss =
        Setup::new().set("MOSS_HOSTNAME", "127.0.0.3").set("MOSS_PORT", port.to_string()).start();
    assert_eq!(moss.address(), format!("127.0.0.3:{port}").parse().unwrap());
    moss.guest().expect_nothing();
}

#[test]
fn port_0_is_a_free_one() {
    let (one, other) = (Moss::start(), Moss::start());
    assert_ne!(one.address().port(), 0);
    assert_ne!(one.address(), other.address());
}

#[test]
fn port_that_is_taken_stops_moss() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    // Not 2: a later start may find the port free, so a service manager should try again.
    let line = Setup::new().set("MOSS_PORT", port.to_string()).refusal(1);
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    assert!(line.contains("MOSS_PORT"), "{line}");
}

#[test]
fn port_is_8080_unless_it_is_set() {
    // A loopback address that only this process uses: the test may run twice at once.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 128 | high, middle, low);
    for port in [None, Some("")] {
        // Bound by this test, or by another program already.
        let taken = std::net::TcpListener::bind((address, 8080));
        let mut setup = Setup::new().unset("MOSS_PORT").set("MOSS_HOSTNAME", address.to_string());
        if let Some(port) = port {
            setup = setup.set("MOSS_PORT", port);
        }
        let stderr = String::from_utf8(setup.run(&[]).stderr).expect("UTF-8");
        assert!(stderr.contains(&format!("{address}:8080")), "{stderr}");
        drop(taken);
    }
}

/// A setting that has no effect must not be ignored. (`tests/tls` tests a moss that has TLS.)
#[cfg(not(feature = "tls"))]
#[test]
fn settings_of_tls_stop_a_moss_without_tls() {
    for name in
        ["MOSS_TLS_CERTIFICATE_FILE", "MOSS_TLS_KEY_FILE", "MOSS_TLS_HOSTNAME", "MOSS_TLS_PORT"]
    {
        let line = assert_refused(Setup::new().set(name, "8443"), name);
        assert!(line.contains("without TLS"), "{line}");
        Setup::new().set(name, "").start();
    }
}

#[test]
fn allowing_any_page_is_warned_of() {
    let warning = "any web page may log in";
    for origins in ["*", " * ", ""] {
        let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", origins)]);
        assert!(moss.wait_for_log(warning).contains("WARN"));
    }
    for origins in ["https://a.example", "self", " self ,https://a.example", "self,self"] {
        let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", origins)]);
        moss.wait_for_log("limits: ");
        assert!(!moss.log().contains(warning), "{origins}");
    }
}

#[test]
fn limits_are_the_ones_that_were_set() {
    let moss = Moss::with(&[
        ("MOSS_MAX_CONNECTIONS", "7"),
        ("MOSS_MAX_PACKET_BYTES", "1000"),
        ("MOSS_MAX_BACKLOG_BYTES", "66536"),
        ("MOSS_MAX_MEMORY_BYTES", "66536"),
        ("MOSS_KEEPALIVE_SECONDS", "86400"),
    ]);
    moss.wait_for_log(
        "limits: 7 connections, 1000 bytes per packet, 66536 of backlog per peer, 66536 in all; keepalive 86400 s",
    );
}

#[test]
fn least_and_largest_limit_per_address_are_accepted() {
    // The largest value is above what this machine allows in all, which is no error.
    for most in ["1", "1048512"] {
        let moss = Moss::with(&[
            ("MOSS_MAX_CONNECTIONS", "7"),
            ("MOSS_MAX_CONNECTIONS_PER_ADDRESS", most),
        ]);
        moss.wait_for_log(&format!("limits: 7 connections ({most} per address), "));
    }
}

#[test]
fn connections_of_an_address_are_unlimited_by_default() {
    for setup in [Setup::new(), Setup::new().set("MOSS_MAX_CONNECTIONS_PER_ADDRESS", "")] {
        let moss = setup.set("MOSS_MAX_CONNECTIONS", "7").start();
        moss.wait_for_log("limits: 7 connections, ");
    }
}

#[test]
fn trusting_all_addresses_is_warned_of() {
    let warning = "MOSS_TRUSTED_PROXIES trusts everybody";
    for proxies in ["0.0.0.0/0", "10.0.0.0/8, ::/0"] {
        let moss = Moss::with(&[("MOSS_TRUSTED_PROXIES", proxies)]);
        moss.wait_for_log(warning);
    }
    for proxies in ["", "127.0.0.1, ::1/128,10.0.0.0/8\t,::ffff:192.168.0.0/112"] {
        let moss = Moss::with(&[("MOSS_TRUSTED_PROXIES", proxies)]);
        moss.guest().expect_nothing();
        assert!(!moss.log().contains("MOSS_TRUSTED_PROXIES"), "{}", moss.log());
    }
}

#[test]
fn backlog_must_hold_a_packet_and_64_kib() {
    let setup =
        Setup::new().set("MOSS_MAX_PACKET_BYTES", "1000").set("MOSS_MAX_BACKLOG_BYTES", "66535");
    assert_refused(setup, "MOSS_MAX_BACKLOG_BYTES");
}

#[test]
fn longer_packets_raise_the_other_limits() {
    let moss = Moss::with(&[("MOSS_MAX_PACKET_BYTES", "33554432")]);
    moss.wait_for_log("33554432 bytes per packet, 33619968 of backlog per peer, 134479872 in all");
}

#[test]
fn connections_must_fit_the_descriptor_limit() {
    let setup = Setup::new().before("ulimit -n 100").set("MOSS_MAX_CONNECTIONS", "100");
    let line = assert_refused(setup, "MOSS_MAX_CONNECTIONS");
    assert!(line.contains("100"), "{line}");
}

#[test]
fn connections_are_what_the_descriptor_limit_allows() {
    let moss = Setup::new().before("ulimit -n 100").start();
    let line = moss.wait_for_log("limits: ");
    let (_, line) = line.split_once("limits: ").expect("the part");
    let (count, _) = line.split_once(" connections").expect("a count");
    let count: usize = count.parse().expect("a number");
    assert!((50..100).contains(&count), "{count}");
    // That many connections are accepted, and one more gets an answer.
    let _master = moss.master("1");
    let guests: Vec<_> = (1..count).map(|_| moss.guest()).collect();
    assert!(Client::try_open(moss.connect()).is_err_and(|status| status.contains(" 503 ")));
    drop(guests);
}

#[test]
fn soft_descriptor_limit_is_raised_to_the_hard_one() {
    let moss = Setup::new()
        .before("ulimit -Sn 64 && ulimit -Hn 300")
        .set("MOSS_MAX_CONNECTIONS", "200")
        .start();
    let guests: Vec<_> = (0..200).map(|_| moss.guest()).collect();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", moss.pid())).expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    assert_eq!(line.matches("300").count(), 2, "{line}");
    drop(guests);
}

#[test]
fn level_limits_the_log() {
    for (level, lines) in [
        ("error", &[][..]),
        ("warn", &["WARN "]),
        ("info", &["WARN ", "INFO "]),
        ("debug", &["WARN ", "INFO ", "DEBUG"]),
        ("trace", &["WARN ", "INFO ", "DEBUG"]),
        ("off", &[]),
        ("INFO", &["WARN ", "INFO "]),
    ] {
        let setup = Setup::new().set("MOSS_LOG", level);
        let log = log_of_a_visit(setup);
        for word in ["ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"] {
            assert_eq!(log.contains(word), lines.contains(&word), "{level}: {log}");
        }
    }
}

/// The log of a moss to which a peer connects and leaves.
fn log_of_a_visit(setup: Setup) -> String {
    setup.log_of(|address| Client::open(support::Stream::connect(address)).close())
}

#[test]
fn unknown_level_stops_moss() {
    for level in ["loud", "1", "info,debug", "warning"] {
        assert_refused(Setup::new().set("MOSS_LOG", level), "MOSS_LOG");
    }
}

#[test]
fn unknown_variable_is_warned_of() {
    let moss = Moss::with(&[("MOSS_PROT", "80"), ("MOSSY", "x"), ("OTHER", "x")]);
    assert!(moss.wait_for_log("MOSS_PROT").contains("WARN"));
    moss.wait_for_log("limits: ");
    assert!(!moss.log().contains("MOSSY") && !moss.log().contains("OTHER"));
}

#[test]
fn known_variables_are_not_warned_of() {
    let moss = Moss::with(&[("MOSS_ALLOWED_ORIGINS", "https://a.example")]);
    moss.wait_for_log("limits: ");
    assert!(!moss.log().contains("WARN"), "{}", moss.log());
}

#[test]
fn secret_and_payloads_are_never_logged() {
    let mut moss = Moss::with(&[("MOSS_LOG", "trace"), ("MOSS_KICK_TYPE", "kick")]);
    let mut master = moss.master("\"the-offer-itself\"");
    let (mut client, id) = moss.client_of(&mut master);
    client.send(r#"{"type":"x","payload":"a-payload"}"#);
    master.json();
    client.send("a-payload that is no packet");
    client.expect_error("invalid-packet");
    client.send(r#"{"type":"set-master","payload":{"secret":"a-payload"}}"#);
    client.expect_error("wrong-secret");
    client.sender().send_frame(0x01, br#"{"type":"x","payload":"#);
    client.sender().send_frame(0x80, br#""a-payload"}"#);
    master.json();
    master.send(&format!(r#"{{"type":"kick","payload":"a-payload","id":"{id}"}}"#));
    client.expect_close(1008);
    let mut guest = moss.guest();
    guest.sender().send_frame(0x81, b"a-payload \xff");
    guest.expect_close(1007);
    drop((master, client, guest));
    moss.terminate();
    assert!(moss.wait().success());
    assert!(moss.log().contains("DEBUG"), "{}", moss.log());
    for text in [moss.log(), moss.stderr()] {
        for hidden in [SECRET, "a-payload", "the-offer-itself"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}

#[test]
fn refusal_does_not_show_the_secret() {
    for (name, values) in WRONG {
        let setup = Setup::new().set(name, values[0]);
        let line = setup.refusal(2);
        assert!(!line.contains(SECRET), "{line}");
    }
}

#[test]
fn least_and_largest_keepalive_are_accepted() {
    for seconds in ["1", "86400"] {
        let moss = Moss::with(&[("MOSS_KEEPALIVE_SECONDS", seconds)]);
        moss.wait_for_log(&format!("keepalive {seconds} s"));
    }
}
