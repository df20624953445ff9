//! A server under test: a child process, on a loopback port of its choice.
//!
//! Both servers are started through the bench's own binary, which asks the
//! kernel to end it with its parent before it becomes the server: no way of
//! ending a bench leaves a server behind.

use std::convert::Infallible;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::bare::Bare;
use super::packets;
use super::process::{self, Memory};

/// The first argument that makes the bench's binary a server.
const ROLE: &str = "--become-server";
const KEEPALIVE: &str = "MOSS_KEEPALIVE_SECONDS";

/// For a server to end by itself.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// A moss binary.
    Moss(PathBuf),
    /// The bare relay inside the bench's own binary.
    Bare,
}

impl Program {
    /// Whether moss is measured beside it.
    pub(crate) fn is_yardstick(&self) -> bool {
        matches!(self, Self::Bare)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Moss(_) => "moss",
            Self::Bare => "bare",
        })
    }
}

pub(crate) struct Server {
    child: Child,
    address: SocketAddrV4,
}

impl Server {
    pub(crate) fn start(program: &Program) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(ROLE);
        if let Program::Moss(path) = program {
            command.arg(path);
        }
        let child = command
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .env("MOSS_CONNECTION_SECRET", packets::SECRET)
            .env("MOSS_CONNECTION_OFFER_TYPE", packets::OFFER_TYPE)
            .env("MOSS_HOSTNAME", Ipv4Addr::LOCALHOST.to_string())
            .env("MOSS_PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut server = Self { child, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0) };
        server.address = server.listening()?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        process::cpu_time(self.child.id())
    }

    pub(crate) fn memory(&self) -> io::Result<Memory> {
        process::memory(self.child.id())
    }

    /// Waits for the log line that names the address, then keeps reading: a
    /// server must not stall on a log that nobody reads.
    fn listening(&mut self) -> io::Result<SocketAddrV4> {
        let stdout = self.child.stdout.take().expect("piped at the start");
        let (announce, announced) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line) {
                    // Only the first is waited for.
                    let _ = announce.send(address);
                }
            }
        });
        announced
            .recv_timeout(Duration::from_secs(60))
            .map_err(|_| io::Error::other("the server never said where it listens"))
    }
}

impl Drop for Server {
    /// Asks first: a profiler that the server runs under writes its results then.
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// If this process was started to be a server: becomes it, and returns only
/// when it is over.
pub(crate) fn role() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != ROLE {
        return None;
    }
    let Err(error) = serve(arguments.next().as_deref());
    eprintln!("the server cannot run: {error}");
    Some(ExitCode::FAILURE)
}

fn serve(moss: Option<&OsStr>) -> io::Result<Infallible> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    raise_descriptor_limit()?;
    if let Some(moss) = moss {
        return Err(Command::new(Path::new(moss)).exec());
    }
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let bare = Bare::bind(address, keepalive().as_secs() as u32)?;
    println!("listening on {}:{}", Ipv4Addr::LOCALHOST, bare.port()?);
    bare.serve()
}

/// The servers' keepalive: moss's default, unless the environment says otherwise, which
/// both inherit.
pub(crate) fn keepalive() -> Duration {
    let seconds = env::var(KEEPALIVE).ok().and_then(|text| text.parse::<u32>().ok());
    Duration::from_secs(seconds.unwrap_or(30).into())
}

/// Raises the soft limit to the hard one and returns it.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// The one place that knows how a server's log names its address.
fn address_in(line: &str) -> Option<SocketAddrV4> {
    let start = line.find("127.0.0.1:")?;
    let rest = &line[start..];
    let end = rest
        .find(|character: char| !(character.is_ascii_digit() || ".:".contains(character)))
        .unwrap_or(rest.len());
    rest[..end].trim_end_matches(['.', ':']).parse().ok()
}
