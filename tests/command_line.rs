//! The commands of moss, and what it says as it starts.

mod support;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::Output;

use support::{Moss, Setup, skipped};

/// Without a single variable, so that nothing but the arguments counts.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    texts(Setup::empty().run(arguments))
}

fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// `moss health` for a moss that listens on this host and port.
fn health(host: &str, port: u16) -> (Option<i32>, String, String) {
    let setup = Setup::new().set("MOSS_HOSTNAME", host).set("MOSS_PORT", port.to_string());
    texts(setup.run(&["health"]))
}

#[test]
fn help_is_printed() {
    for argument in ["--help", "-h"] {
        let (code, stdout, stderr) = run(&[argument]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        for word in ["usage", "moss health", "--version", "MOSS_CONNECTION_SECRET"] {
            assert!(stdout.contains(word), "{stdout}");
        }
    }
}

#[test]
fn version_is_printed() {
    for argument in ["--version", "-V"] {
        let version = concat!("moss ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(run(&[argument]), (Some(0), version.to_owned(), String::new()));
    }
}

#[test]
fn anything_else_is_answered_by_the_usage() {
    for arguments in [
        &["serve"][..],
        &["--port", "80"],
        &["--port=80"],
        &["-x"],
        &[""],
        &["health", "health"],
        &["health", "--now"],
        &["--help", "x"],
        &["--version=1"],
        &["Health"],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.starts_with("moss: "), "{arguments:?}: {stderr}");
        assert!(stderr.contains("usage: moss"), "{arguments:?}: {stderr}");
    }
}

/// Whatever scripts and systemd go by must not depend on who reads the error.
#[test]
fn exit_status_is_the_same_where_nothing_can_be_printed() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let full = || File::options().write(true).open("/dev/full").expect("a device");
    for (port, arguments, status) in [
        ("80800", &[][..], 2),
        ("80800", &["health"], 1),
        ("0", &["--nonsense"], 2),
        ("0", &["--help"], 0),
        (&port.to_string(), &[], 1),
    ] {
        let setup = Setup::new().set("MOSS_PORT", port);
        let mut command = setup.command(arguments);
        let ended = command.stdout(full()).stderr(full()).status().expect("moss can be run");
        assert_eq!(ended.code(), Some(status), "{port} {arguments:?}");
    }
}

#[test]
fn start_tells_version_address_url_and_limits() {
    let moss = Moss::start();
    moss.wait_for_log("limits: ");
    let log = moss.log();
    for part in [
        concat!("moss ", env!("CARGO_PKG_VERSION"), "\n"),
        &format!("listening on {}\n", moss.address()),
        &format!(" ws://{}/", moss.address()),
        "262144 bytes a packet",
        "1048576 of backlog",
        "67108864 in all",
        "keepalive 30 s",
    ] {
        assert!(log.contains(part), "{part:?} is not in\n{log}");
    }
    assert_eq!(moss.stderr(), "");
}

#[test]
fn url_is_one_that_others_can_use() {
    let moss = Moss::with(&[("MOSS_HOSTNAME", "0.0.0.0")]);
    let line = moss.wait_for_log(" ws://");
    let (_, url) = line.split_once(" ws://").expect("the part");
    let address: std::net::SocketAddr =
        url.trim_end_matches('/').parse().unwrap_or_else(|error| panic!("{url}: {error}"));
    assert!(!address.ip().is_unspecified(), "{line}");
    assert_eq!(address.port(), moss.address().port());
    // This machine is one of those who can.
    support::Client::open(support::Stream::connect(address)).expect_nothing();
}

#[test]
fn health_of_a_moss_that_serves() {
    let moss = Moss::start();
    let (code, stdout, stderr) = health("127.0.0.1", moss.address().port());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
}

#[test]
fn health_asks_this_machine_when_any_address_is_listened_on() {
    let moss = Moss::with(&[("MOSS_HOSTNAME", "0.0.0.0")]);
    assert_eq!(health("0.0.0.0", moss.address().port()).0, Some(0));
}

#[test]
fn health_asks_this_machine_by_version_6_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skipped("health_asks_this_machine_by_version_6_too", "no IPv6");
    }
    let moss = Moss::with(&[("MOSS_HOSTNAME", "::")]);
    assert_eq!(health("::", moss.address().port()).0, Some(0));
}

#[test]
fn health_of_a_full_house_is_good() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1")]);
    let _guest = moss.guest();
    let (code, stdout, _) = health("127.0.0.1", moss.address().port());
    assert_eq!(code, Some(0), "{stdout}");
}

/// A port that is taken and on which nobody listens.
fn bound_port() -> (OwnedFd, u16) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = getsockname(&socket).expect("an address");
    let address = SocketAddrV4::try_from(address).expect("of version 4");
    (socket, address.port())
}

#[test]
fn health_of_nobody_is_bad() {
    let (_bound, port) = bound_port();
    let (code, stdout, _) = health("127.0.0.1", port);
    assert_eq!(code, Some(1));
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
}

#[test]
fn health_of_a_moss_that_hangs_is_bad() {
    let moss = Moss::start();
    moss.signal(rustix::process::Signal::STOP);
    let (code, stdout, _) = health("127.0.0.1", moss.address().port());
    assert_eq!(code, Some(1));
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
}

#[test]
fn health_of_something_else_is_bad() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("an address").port();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = other.accept().expect("the question");
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            std::io::Write::write_all(&mut stream, answer).expect("it reads");
            // It ends when it has heard enough.
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        });
        assert_eq!(health("127.0.0.1", port).0, Some(1));
    });
}

#[test]
fn health_without_a_configuration_is_bad() {
    let (code, stdout, stderr) = run(&["health"]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!((stdout + &stderr).contains("MOSS_CONNECTION_SECRET"));
}
