//! moss works without a reader of its log, and bounds the number of lines.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Client, Moss, PATIENCE, Setup, Stream};

/// The limit of lines a second; see docs/operating.md.
const LINES_A_SECOND: usize = 100;

/// A moss whose stdout is the test's; killed when it is dropped.
struct Quiet(Child);

impl Quiet {
    fn start(setup: &Setup, stdout: impl Into<std::process::Stdio>) -> Self {
        let mut command: Command = setup.command(&[]);
        Self(command.stdout(stdout).spawn().expect("moss can be run"))
    }

    /// The address at which it listens, from the kernel.
    fn address(&self) -> SocketAddr {
        let start = Instant::now();
        loop {
            if let Some(address) = listening(self.0.id()) {
                return address;
            }
            assert!(start.elapsed() < PATIENCE, "moss does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// It must serve many connections, and then stop normally.
    #[track_caller]
    fn assert_serves(mut self) {
        let address = self.address();
        for _ in 0..100 {
            let mut guest = Client::open(Stream::connect(address));
            guest.expect_nothing();
        }
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("moss is there");
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(start.elapsed() < PATIENCE, "moss does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address of the one listening socket of a process.
fn listening(pid: u32) -> Option<SocketAddr> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    // Columns: number, local address, remote address, state, ..., inode at the tenth.
    fs::read_to_string("/proc/net/tcp").ok()?.lines().find_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let listens = columns.get(3) == Some(&"0A");
        let ours = columns.get(9).is_some_and(|inode| sockets.iter().any(|own| own == inode));
        let (_, port) = columns.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (listens && ours).then(|| SocketAddr::from(([127, 0, 0, 1], port)))
    })
}

/// Fills a pipe to its last byte. It must stay a blocking one, as moss's stdout is.
fn fill(pipe: &mut PipeWriter) {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        let mut fds = [PollFd::new(pipe, PollFlags::OUT)];
        if poll(&mut fds, Some(&at_once)).expect("a poll") == 0 {
            return;
        }
        // As much as poll says can be written without blocking.
        pipe.write_all(&[b'\n'; 4096]).expect("a pipe");
    }
}

fn talkative() -> Setup {
    Setup::new().set("MOSS_LOG", "trace")
}

#[test]
fn reader_of_the_log_may_leave() {
    let (reader, writer) = pipe().expect("a pipe");
    let moss = Quiet::start(&talkative(), writer);
    let mut reader = BufReader::new(reader);
    wait_for_line(&mut reader, "listening on");
    drop(reader);
    moss.assert_serves();
}

#[test]
fn log_may_have_no_reader() {
    let (reader, mut writer) = pipe().expect("a pipe");
    fill(&mut writer);
    let moss = Quiet::start(&talkative(), writer);
    let address = moss.address();
    for _ in 0..20 {
        Client::open(Stream::connect(address)).expect_nothing();
    }
    // Once it is read, the log says how many lines were dropped.
    let mut reader = BufReader::new(reader);
    let mut filler = [0; 4096];
    reader.read_exact(&mut filler).expect("a pipe");
    Client::open(Stream::connect(address)).expect_nothing();
    wait_for_line(&mut reader, "lines of the log were dropped");
    moss.assert_serves();
}

#[test]
fn log_may_be_a_full_disk() {
    let full = File::options().write(true).open("/dev/full").expect("a device");
    Quiet::start(&talkative(), full).assert_serves();
}

#[test]
fn flood_of_bad_packets_and_visitors_writes_few_lines() {
    const VISITORS: usize = 400;

    let mut moss = Moss::with(&[("MOSS_LOG", "trace")]);
    let start = Instant::now();
    for _ in 0..VISITORS {
        let mut guest = moss.guest();
        for _ in 0..20 {
            guest.send("x");
            guest.expect_error("invalid-packet");
        }
        guest.close();
    }
    let seconds = start.elapsed().as_secs() as usize + 2;
    moss.terminate();
    assert!(moss.wait().success());
    let lines = moss.log().lines().count();
    println!("{lines} lines in {seconds} s");
    assert!(lines <= seconds * (LINES_A_SECOND + 1) + 20, "{lines} lines in {seconds} s");
}

#[track_caller]
fn wait_for_line(reader: &mut BufReader<PipeReader>, part: &str) {
    let mut line = String::new();
    while !line.contains(part) {
        line.clear();
        assert!(reader.read_line(&mut line).expect("a pipe") > 0, "no {part:?}");
    }
}
