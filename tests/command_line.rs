//! The commands of moss, and what it logs at its start.

mod support;

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Output;

use support::{Moss, Setup, skipped};

/// Runs moss without any variable, only with these arguments.
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
        for word in [
            "usage",
            "moss check",
            "moss health",
            "--master",
            "--version",
            "MOSS_CONNECTION_SECRET",
        ] {
            assert!(stdout.contains(word), "{stdout}");
        }
    }
}

/// `cargo run` gives the program the variables that `build.rs` sets for the compiler, as
/// `cargo test` gives them to this test. moss would warn of an unknown setting.
#[test]
fn build_sets_no_variable_that_looks_like_a_setting() {
    let version = env!("CARGO_PKG_VERSION");
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut settings = variables.filter(|(name, _)| name.starts_with("MOSS_"));
    assert_eq!(settings.find(|(_, value)| value.starts_with(version)), None);
}

#[test]
fn version_is_printed() {
    for argument in ["--version", "-V"] {
        let (code, stdout, stderr) = run(&[argument]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let rest = stdout.strip_prefix(concat!("moss ", env!("CARGO_PKG_VERSION")));
        let rest = rest.and_then(|rest| rest.strip_suffix('\n')).expect("the version");
        // A release has its commit here; tests/package checks which.
        assert!(rest.is_empty() || rest.starts_with(" (") && rest.ends_with(')'), "{stdout}");
    }
}

#[test]
fn wrong_arguments_are_answered_by_the_usage() {
    for arguments in [
        &["serve"][..],
        &["--port", "80"],
        &["--port=80"],
        &["-x"],
        &[""],
        &["health", "health"],
        &["health", "--now"],
        &["--master"],
        &["--master", "health"],
        &["health", "--master", "--master"],
        &["check", "--master"],
        &["check", "health"],
        &["check", ".env"],
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

/// Scripts and systemd rely on the status, so it must not depend on a working stdout or stderr.
#[test]
fn exit_status_is_the_same_where_nothing_can_be_printed() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let full = || File::options().write(true).open("/dev/full").expect("a device");
    for (port, arguments, status) in [
        ("80800", &[][..], 2),
        ("80800", &["check"], 2),
        ("80800", &["health"], 1),
        ("0", &["check"], 0),
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
        concat!("moss ", env!("CARGO_PKG_VERSION")),
        &format!("listening on {}\n", moss.address()),
        &format!(" ws://{}/", moss.address()),
        "262144 bytes per packet",
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
    // This machine can use the URL, too.
    support::Client::open(support::Stream::connect(address)).expect_nothing();
}

#[test]
fn health_of_a_serving_moss_is_good() {
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
fn health_asks_this_machine_over_ipv6_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skipped("health_asks_this_machine_over_ipv6_too", "no IPv6");
    }
    let moss = Moss::with(&[("MOSS_HOSTNAME", "::")]);
    assert_eq!(health("::", moss.address().port()).0, Some(0));
}

#[test]
fn health_of_a_full_server_is_good() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1")]);
    let _guest = moss.guest();
    let (code, stdout, _) = health("127.0.0.1", moss.address().port());
    assert_eq!(code, Some(0), "{stdout}");
}

/// A port that is bound, but does not listen.
fn bound_port() -> (OwnedFd, u16) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .expect("a socket");
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = getsockname(&socket).expect("an address");
    let address = SocketAddrV4::try_from(address).expect("of version 4");
    (socket, address.port())
}

#[test]
fn health_without_a_server_is_bad() {
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
fn health_of_another_server_is_bad() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("an address").port();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = other.accept().expect("the question");
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            std::io::Write::write_all(&mut stream, answer).expect("it reads");
            // It ends the connection when it has read enough.
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        });
        assert_eq!(health("127.0.0.1", port).0, Some(1));
    });
}

/// A monitoring program may run as another user, who can't read the secrets.
#[test]
fn health_needs_only_the_port() {
    let moss = Moss::start();
    let port = moss.address().port().to_string();
    for (name, value) in [
        ("OTHER", &b""[..]),
        ("MOSS_CONNECTION_SECRET_FILE", b"not/there"),
        ("MOSS_TLS_KEY_FILE", b"not/there"),
        ("MOSS_MAX_CONNECTIONS", b"many"),
        ("MOSS_LOG", b"\xff"),
    ] {
        let value = OsStr::from_bytes(value);
        let setup = Setup::empty().set("MOSS_PORT", port.clone()).set(name, value);
        let (code, stdout, stderr) = texts(setup.run(&["health"]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    }
    let setup = Setup::empty().file(".env", format!("MOSS_PORT={port}\nMOSS_LOG=loud\n"));
    assert_eq!(texts(setup.run(&["health"])).0, Some(0));
}

/// A folder in place of the file can't be read, even by root.
#[test]
fn health_reports_an_unreadable_dotenv() {
    let moss = Moss::start();
    let setup = Setup::empty().set("MOSS_PORT", moss.address().port().to_string());
    std::fs::create_dir(setup.folder().join(".env")).expect("a folder");
    let (code, stdout, stderr) = texts(setup.run(&["health"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert!(stdout.contains(".env: can't be read") && stdout.contains("MOSS_PORT"), "{stdout}");
    // moss itself does not start without it.
    let setup = Setup::new();
    std::fs::create_dir(setup.folder().join(".env")).expect("a folder");
    assert_eq!(texts(setup.run(&[])).0, Some(2));
}

#[test]
fn health_of_an_invalid_address_is_bad() {
    for (name, value) in [("MOSS_PORT", "x"), ("MOSS_PORT", "0"), ("MOSS_HOSTNAME", "300.1.2.3")] {
        let (code, stdout, stderr) = texts(Setup::empty().set(name, value).run(&["health"]));
        assert_eq!((code, stderr.as_str()), (Some(1), ""), "{stdout}");
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        assert!(stdout.starts_with(name), "{stdout}");
    }
    let setup = Setup::empty().file(".env", "MOSS_PORT\n");
    let (code, stdout, _) = texts(setup.run(&["health"]));
    assert_eq!(code, Some(1));
    assert!(stdout.contains(".env, line 1"), "{stdout}");
}

#[test]
fn health_with_master_is_bad_without_a_master() {
    let moss = Moss::with(&[("MOSS_MAX_CONNECTIONS", "1")]);
    let ask = || {
        let setup = Setup::empty().set("MOSS_PORT", moss.address().port().to_string());
        let (code, stdout, stderr) = texts(setup.run(&["health", "--master"]));
        assert_eq!((stdout.lines().count(), stderr.as_str()), (1, ""), "{stdout}");
        (code, stdout)
    };
    let (code, line) = ask();
    assert_eq!(code, Some(1));
    assert!(line.contains("no master") || line.contains("NO master"), "{line}");
    let master = moss.master("1");
    // The server is full now: health is still answered.
    let (code, line) = ask();
    assert_eq!(code, Some(0), "{line}");
    assert!(line.contains("full") && line.contains("has a master"), "{line}");
    drop(master);
    moss.wait_for_log("the master has left");
    assert_eq!(ask().0, Some(1));
    moss.signal(rustix::process::Signal::STOP);
    let (code, line) = ask();
    assert_eq!(code, Some(1));
    assert!(line.contains("does not answer"), "{line}");
}

/// The names and values that `moss check` prints.
fn in_force(stdout: &str) -> Vec<(&str, &str)> {
    let lines = stdout.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line:?}"))).collect()
}

#[test]
fn check_prints_each_variable_in_force() {
    let (code, stdout, stderr) = texts(Setup::new().run(&["check"]));
    assert_eq!(code, Some(0), "{stderr}");
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/template.env"));
    let template = template.expect("the template");
    let assigned = template.lines().map(|line| line.trim_start_matches('#'));
    let mut named: Vec<_> = assigned
        .filter_map(|line| Some(line.split_once('=')?.0))
        .filter(|name| name.starts_with("MOSS_"))
        .collect();
    let told = in_force(&stdout);
    let mut names: Vec<_> = told.iter().map(|(name, _)| *name).collect();
    named.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, named);
    for part in [
        ("MOSS_CONNECTION_SECRET", "(set)"),
        ("MOSS_CONNECTION_SECRET_FILE", ""),
        ("MOSS_CONNECTION_OFFER_TYPE", support::OFFER),
        ("MOSS_HOSTNAME", "127.0.0.1"),
        ("MOSS_PORT", "0"),
        ("MOSS_LOGIN_SECRET", ""),
        ("MOSS_ERROR_TYPE", "moss-error"),
        ("MOSS_KICK_TYPE", ""),
        ("MOSS_ALLOWED_ORIGINS", "*"),
        ("MOSS_MAX_CONNECTIONS_PER_ADDRESS", ""),
        ("MOSS_MAX_PACKET_BYTES", "262144"),
        ("MOSS_MAX_BACKLOG_BYTES", "1048576"),
        ("MOSS_KEEPALIVE_SECONDS", "30"),
        ("MOSS_LOG", "info"),
    ] {
        assert!(told.contains(&part), "{part:?} is not in\n{stdout}");
    }
    // It warns as a start does.
    assert!(stderr.contains("moss: warning: any web page may log in here"), "{stderr}");
}

#[test]
fn check_hides_secrets_and_shows_their_files() {
    let setup = Setup::new()
        .set("MOSS_LOGIN_SECRET_FILE", "code")
        .file("code", "only the file knows it")
        .set("MOSS_ALLOWED_ORIGINS", "https://a.example, self")
        .set("MOSS_KICK_TYPE", "out\nMOSS_PORT=80")
        .set("MOSS_PROT", "80");
    let (code, stdout, stderr) = texts(setup.run(&["check"]));
    assert_eq!(code, Some(0), "{stderr}");
    let told = in_force(&stdout);
    for part in [
        ("MOSS_LOGIN_SECRET", ""),
        ("MOSS_LOGIN_SECRET_FILE", "code"),
        ("MOSS_ALLOWED_ORIGINS", "self,https://a.example"),
        ("MOSS_KICK_TYPE", "\"out\\nMOSS_PORT=80\""),
    ] {
        assert!(told.contains(&part), "{part:?} is not in\n{stdout}");
    }
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("moss: warning: MOSS_PROT is not a variable of moss"), "{stderr}");
    for secret in [support::SECRET, "only the file"] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}{stderr}");
    }
}

#[test]
fn check_of_an_invalid_setting_fails_in_one_line() {
    for setup in [
        Setup::empty(),
        Setup::new().set("MOSS_PORT", "80800"),
        Setup::new().set("MOSS_LOG", "loud"),
        Setup::new().set("MOSS_LOGIN_SECRET_FILE", "not/there"),
        Setup::new().set("MOSS_LOGIN_SECRET", support::SECRET),
        Setup::new().set("MOSS_PAGES_DIRECTORY", "not/there"),
        Setup::new().file(".env", "MOSS_LOG\n"),
    ] {
        let (code, stdout, stderr) = texts(setup.run(&["check"]));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        let errors: Vec<_> =
            stderr.lines().filter(|line| !line.starts_with("moss: warning: ")).collect();
        assert_eq!(errors.len(), 1, "{stderr}");
    }
}

#[test]
fn check_opens_no_port_and_reads_the_pages() {
    let moss = Moss::start();
    let setup = Setup::new().set("MOSS_PORT", moss.address().port().to_string());
    let setup = setup.set("MOSS_PAGES_DIRECTORY", ".").file("index.html", "a page");
    let (code, stdout, stderr) = texts(setup.run(&["check"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("# pages: 1 files, 6 bytes"), "{stdout}");
}

/// The words of a command that runs moss in a network namespace with these addresses.
fn network(addresses: &[&str]) -> Vec<String> {
    let mut script =
        "ip link add lan type veth peer name far && ip link set far up && ip link set lan up"
            .to_owned();
    for address in addresses {
        script += &format!(" && ip address add {address} dev lan");
    }
    let words = ["unshare", "--net", "/bin/sh", "-c"].map(str::to_owned);
    words.into_iter().chain([format!("{script} && exec \"$0\" \"$@\"")]).collect()
}

/// The network may not be up yet, so a later start may succeed: status 1, not 2.
#[test]
fn unknown_hostname_ends_a_start_with_1_and_a_check_with_2() {
    let isolated = |setup: Setup| setup.within(&["unshare", "--net"]);
    if !isolated(Setup::empty()).run(&["--version"]).status.success() {
        return skipped("unknown_hostname_ends_a_start_with_1_and_a_check_with_2", "no root");
    }
    for (arguments, status) in [(&[][..], 1), (&["check"], 2)] {
        let setup = Setup::new().set("MOSS_HOSTNAME", "nowhere.invalid");
        let (code, stdout, stderr) = texts(isolated(setup).run(arguments));
        assert_eq!((code, stdout.as_str()), (Some(status), ""), "{stderr}");
        assert!(stderr.starts_with("moss: MOSS_HOSTNAME: \"nowhere.invalid\""), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn host_with_only_ipv6_is_warned_of() {
    const SIX: &str = "2001:db8::5/64 nodad";
    let warnings = |hostname: &str, addresses: &[&str], program: Option<&str>| {
        let words = network(addresses);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let setup = Setup::new().set("MOSS_HOSTNAME", hostname).within(&words);
        if let Some(program) = program {
            let mut command = std::process::Command::new(words[0]);
            let ended = command.args(&words[1..]).arg(program).output();
            return ended.is_ok_and(|output| output.status.success());
        }
        let (code, _, stderr) = texts(setup.run(&["check"]));
        assert_eq!(code, Some(0), "{stderr}");
        stderr.contains("MOSS_HOSTNAME to ::")
    };
    if !warnings("", &[SIX], Some("true")) {
        return skipped("host_with_only_ipv6_is_warned_of", "no root, no iproute2 or no IPv6");
    }
    for hostname in ["", "0.0.0.0"] {
        assert!(warnings(hostname, &[SIX], None));
        // An IPv4 address counts, even without a route to other networks.
        assert!(!warnings(hostname, &[SIX, "192.168.7.5/24"], None));
        assert!(!warnings(hostname, &[], None));
    }
    for hostname in ["::", "2001:db8::5", "127.0.0.1"] {
        assert!(!warnings(hostname, &[SIX], None));
    }
}
