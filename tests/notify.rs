//! What moss tells the system that started it: messages to a service manager through the socket
//! in `NOTIFY_SOCKET`, and log lines in the form of the journal.

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

use support::{Client, Moss, PATIENCE, Setup, Stream, listening_address};

/// A fake service manager.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    /// At a path in the folder of this moss.
    fn at_a_path(setup: &Setup) -> Self {
        let path = setup.folder().join("notify");
        Self::new(UnixDatagram::bind(&path), path.to_str().expect("a path of text"))
    }

    /// At a name in the abstract namespace.
    fn at_a_name(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        Self::new(UnixDatagram::bind_addr(&address), &format!("@{name}"))
    }

    fn new(socket: std::io::Result<UnixDatagram>, name: &str) -> Self {
        let socket = socket.expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self { socket, name: name.to_owned() }
    }

    /// The next message.
    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = loop {
            match self.socket.recv(&mut bytes) {
                // With a time-out it is not repeated by itself.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.expect("a notice"),
            }
        };
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    }

    /// The first line of the next message.
    fn notice(&self) -> String {
        self.next().lines().next().unwrap_or_default().to_owned()
    }

    /// Takes all messages so far, and returns their number.
    fn drain(&self) -> usize {
        self.socket.set_nonblocking(true).expect("a socket");
        let count = std::iter::from_fn(|| self.socket.recv(&mut [0; 4096]).ok()).count();
        self.socket.set_nonblocking(false).expect("a socket");
        count
    }
}

/// A moss with a fake manager, which has already received that it is ready.
fn managed(setup: Setup) -> (Moss, Manager) {
    let manager = Manager::at_a_path(&setup);
    let moss = setup.set("NOTIFY_SOCKET", &manager.name).start();
    assert_eq!(manager.notice(), "READY=1");
    (moss, manager)
}

/// A moss that was not started by `support`; killed when it is dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn monotonic_micros() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn ready_is_told_by_a_moss_that_listens() {
    for is_abstract in [false, true] {
        let setup = Setup::new();
        let manager =
            if is_abstract { Manager::at_a_name("moss") } else { Manager::at_a_path(&setup) };
        let moss = setup.set("NOTIFY_SOCKET", &manager.name).start();
        assert_eq!(manager.next(), "READY=1\nSTATUS=serving");
        moss.guest().expect_nothing();
        assert_eq!(manager.drain(), 0);
    }
}

#[test]
fn refused_start_is_never_ready() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for (name, value, code) in
        [("MOSS_PORT", &*port, 1), ("MOSS_PAGES_DIRECTORY", "/nowhere", 2), ("MOSS_PORT", "x", 2)]
    {
        let setup = Setup::new().set(name, value);
        let manager = Manager::at_a_path(&setup);
        let setup = setup.set("NOTIFY_SOCKET", &manager.name);
        let mut moss = Started(setup.command(&[]).spawn().expect("moss can be run"));
        assert_eq!(moss.0.wait().expect("a child to wait for").code(), Some(code));
        assert_eq!(manager.drain(), 0, "{name}={value}");
    }
}

#[test]
fn reload_is_told_and_its_end_once_pages_are_read() {
    let setup = Setup::new();
    let pages = setup.folder().join("pages");
    std::fs::create_dir(&pages).expect("a folder");
    let page = pages.join("page.txt");
    std::fs::write(&page, "old").expect("a page");
    // Enough for many turns of reading.
    let large = File::create(pages.join("large")).expect("a page");
    large.set_len(40 << 20).expect("a page");
    let (moss, manager) = managed(setup.set("MOSS_PAGES_DIRECTORY", pages.into_os_string()));
    assert!(answer(&moss).ends_with("\r\n\r\nold"));

    std::fs::write(&page, "new").expect("a page");
    let before = monotonic_micros();
    moss.signal(Signal::HUP);
    let reloading = manager.next();
    let after = monotonic_micros();
    let lines: Vec<_> = reloading.lines().collect();
    assert_eq!(lines[0], "RELOADING=1", "{reloading}");
    let micros = lines[1].strip_prefix("MONOTONIC_USEC=").expect("a time");
    assert!((before..=after).contains(&micros.parse().expect("a number")), "{reloading}");
    assert_eq!(manager.notice(), "READY=1");
    assert!(answer(&moss).ends_with("\r\n\r\nnew"));
}

/// The content of the page as it is served.
fn answer(moss: &Moss) -> String {
    let mut stream = moss.connect();
    let request = "GET /page.txt HTTP/1.1\r\nHost: moss\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    answer
}

#[test]
fn reload_ends_at_once_when_there_is_nothing_to_read() {
    let (moss, manager) = managed(Setup::new());
    for _ in 0..2 {
        moss.signal(Signal::HUP);
        assert_eq!([manager.notice(), manager.notice()], ["RELOADING=1", "READY=1"]);
    }
}

#[test]
fn stop_is_told_and_nothing_after_it() {
    let (mut moss, manager) = managed(Setup::new());
    // It does not answer the Close, so moss waits for it.
    let silent = moss.guest();
    moss.terminate();
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=stopping");
    moss.signal(Signal::HUP);
    moss.wait_for_log("there are no files to read again");
    moss.terminate();
    assert!(moss.wait().success());
    assert_eq!(manager.drain(), 0);
    drop(silent);
}

#[test]
fn idle_moss_notifies_the_watchdog_at_half_of_its_time() {
    let start = Instant::now();
    let (moss, manager) = managed(Setup::new().set("WATCHDOG_USEC", "200000"));
    for _ in 0..5 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    assert!(start.elapsed() >= Duration::from_millis(5 * 100), "too often");
    moss.guest().expect_nothing();
}

#[test]
fn frozen_moss_does_not_notify_the_watchdog() {
    // $$ is the process that becomes moss.
    let setup = Setup::new().before("export WATCHDOG_PID=$$").set("WATCHDOG_USEC", "100000");
    let (moss, manager) = managed(setup);
    assert_eq!(manager.next(), "WATCHDOG=1");
    moss.signal(Signal::STOP);
    let start = Instant::now();
    while !state_of(moss.pid()).contains("(stopped)") {
        assert!(start.elapsed() < PATIENCE, "moss does not stop");
        std::thread::yield_now();
    }
    manager.drain();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(manager.drain(), 0);
    moss.signal(Signal::CONT);
    assert_eq!(manager.next(), "WATCHDOG=1");
}

fn state_of(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    status.lines().find(|line| line.starts_with("State:")).expect("a state").to_owned()
}

#[test]
fn watchdog_of_another_process_is_not_notified() {
    let setup = Setup::new().set("WATCHDOG_USEC", "2").set("WATCHDOG_PID", "1");
    let (moss, manager) = managed(setup);
    // Long enough for many messages.
    std::thread::sleep(Duration::from_millis(50));
    moss.guest().expect_nothing();
    assert_eq!(manager.drain(), 0);
    assert!(!moss.log().contains("WATCHDOG"), "{}", moss.log());
}

#[test]
fn watchdog_that_is_no_number_is_warned_of() {
    for (name, value) in [
        ("WATCHDOG_USEC", "abc"),
        ("WATCHDOG_USEC", "0"),
        ("WATCHDOG_USEC", "-1"),
        ("WATCHDOG_USEC", "99999999999999999999999999"),
        ("WATCHDOG_PID", "abc"),
    ] {
        let setup = Setup::new().set("WATCHDOG_USEC", "2").set(name, value);
        let (moss, manager) = managed(setup);
        let line = moss.wait_for_log(name);
        assert!(line.contains("WARN") && line.contains("not a number"), "{line}");
        std::thread::sleep(Duration::from_millis(20));
        moss.guest().expect_nothing();
        assert_eq!(manager.drain(), 0, "{name}={value}");
    }
}

/// The longest and the shortest interval of a watchdog.
#[test]
fn watchdog_may_have_any_time() {
    let (moss, manager) = managed(Setup::new().set("WATCHDOG_USEC", "18446744073709551615"));
    moss.guest().expect_nothing();
    assert_eq!(manager.drain(), 0);
    let (moss, manager) = managed(Setup::new().set("WATCHDOG_USEC", "1"));
    assert_eq!(manager.next(), "WATCHDOG=1");
    moss.guest().expect_nothing();
}

/// moss must serve, reload and stop as without a manager, with one warning.
#[track_caller]
fn assert_serves(setup: Setup, name: &str) {
    let setup = setup.set("NOTIFY_SOCKET", name).set("WATCHDOG_USEC", "2000");
    let mut moss = setup.start();
    let line = moss.wait_for_log("NOTIFY_SOCKET");
    assert!(line.contains("WARN"), "{line}");
    moss.signal(Signal::HUP);
    moss.wait_for_log("there are no files to read again");
    moss.guest().expect_nothing();
    moss.terminate();
    assert!(moss.wait().success());
    assert_eq!(moss.log().matches("NOTIFY_SOCKET").count(), 1, "{name}: {}", moss.log());
    assert_eq!(moss.stderr(), "");
}

#[test]
fn manager_that_does_not_read_stops_nothing() {
    let setup = Setup::new();
    let manager = Manager::at_a_path(&setup);
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.set_nonblocking(true).expect("a socket");
    while filler.send_to(b"x", &manager.name).is_ok() {}
    assert_serves(setup, &manager.name);
}

#[test]
fn manager_that_goes_stops_nothing() {
    let (mut moss, manager) = managed(Setup::new().set("WATCHDOG_USEC", "2000"));
    drop(manager);
    moss.wait_for_log("NOTIFY_SOCKET does not take ");
    moss.guest().expect_nothing();
    moss.terminate();
    assert!(moss.wait().success());
}

#[test]
fn hostile_socket_stops_nothing() {
    let setup = Setup::new().file("file", "a file");
    let file = setup.folder().join("file");
    let name = file.to_str().expect("a path of text").to_owned();
    assert_serves(setup, &name);
    let nobody = format!("@{}", "x".repeat(107));
    let (long_path, long_name) = (format!("/{}", "x".repeat(108)), format!("@{}", "x".repeat(108)));
    for name in
        ["/nowhere/notify", "/", "notify", "vsock:2:1234", "@", &nobody, &long_path, &long_name]
    {
        assert_serves(Setup::new(), name);
    }
}

#[test]
fn empty_variable_is_no_manager() {
    let moss = Moss::with(&[("NOTIFY_SOCKET", ""), ("WATCHDOG_USEC", "")]);
    moss.guest().expect_nothing();
    moss.wait_for_log("limits: ");
    assert!(!moss.log().contains("NOTIFY") && !moss.log().contains("WATCHDOG"), "{}", moss.log());
}

/// A process that wakes up makes a system call.
#[test]
fn moss_without_connections_does_not_wake_up() {
    let (moss, manager) = managed(Setup::new());
    moss.guest().close();
    let switches = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", moss.pid())).expect("a process");
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // For a second after a connection ended it may still have work, and on a busy machine longer.
    let start = Instant::now();
    loop {
        let before = switches();
        assert_eq!(before.len(), 2, "{before:?}");
        // More than a second: a wake-up each second would show.
        std::thread::sleep(Duration::from_millis(1_500));
        if switches() == before {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it never sleeps");
    }
    assert_eq!(manager.drain(), 0);
}

/// Starts moss with a stdout like that of a service: a stream socket, with its name in
/// JOURNAL_STREAM. Returns the first lines that moss writes to it.
fn lines_in_journal(is_named: bool) -> Vec<String> {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    ours.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let stat = rustix::fs::fstat(&theirs).expect("a socket");
    let inode = stat.st_ino + u64::from(!is_named);
    let setup = Setup::new()
        .set("JOURNAL_STREAM", format!("{}:{inode}", stat.st_dev))
        .set("MOSS_LOG", "debug")
        .set("MOSS_PROT", "1");
    let mut command = setup.command(&[]);
    let mut moss = Started(command.stdout(OwnedFd::from(theirs)).spawn().expect("moss can be run"));
    drop(command);
    Client::open(Stream::connect(listening_address(moss.0.id()))).close();
    kill_process(Pid::from_child(&moss.0), Signal::TERM).expect("moss is there");
    assert!(moss.0.wait().expect("a child to wait for").success());
    BufReader::new(ours).lines().map(|line| line.expect("a line")).collect()
}

#[track_caller]
fn expect_line(lines: &[String], start: &str, part: &str) {
    let found = lines.iter().any(|line| line.starts_with(start) && line.contains(part));
    assert!(found, "no {start:?} with {part:?} in {lines:#?}");
}

#[test]
fn lines_in_the_journal_have_a_priority_and_no_time() {
    let lines = lines_in_journal(true);
    expect_line(&lines, "<4>MOSS_PROT", "");
    expect_line(&lines, "<6>listening on ", "");
    expect_line(&lines, "<6>stopped", "");
    expect_line(&lines, "<7>", ": connected");
    for line in &lines {
        let bytes = line.as_bytes();
        assert!(bytes[0] == b'<' && bytes[1].is_ascii_digit() && bytes[2] == b'>', "{line}");
        assert!(!line.contains("INFO") && !line.contains("[moss]"), "{line}");
    }
}

#[test]
fn lines_outside_the_journal_have_a_time_and_a_level() {
    let date = |seconds| std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(std::time::SystemTime::now() > date(1_700_000_000), "a clock that is set");
    let lines = lines_in_journal(false);
    for line in &lines {
        // 2026-11-26T18:04:12.347Z INFO  [moss] …
        let (time, rest) = line.split_once(' ').expect("a time");
        let shape: String =
            time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{line}");
        assert!(rest[5..].starts_with(" [moss] "), "{line}");
    }
    expect_line(&lines, "2", "WARN  [moss] MOSS_PROT");
}
