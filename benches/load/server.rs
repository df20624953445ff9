//! A server under test: a child process on a free loopback port, or nginx and one behind it.
//!
//! Each is started through the bench's own binary, which asks the kernel to kill it when its
//! parent ends, and then executes the server: however a bench ends, no server keeps running.

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::bare::Bare;
use super::nginx::{Front, Job, Nginx};
use super::process::{self, Memory};
use super::site::{Serving, Site};
use super::{packets, tls};

/// The first argument that makes the bench's binary a server.
const ROLE: &str = "--become-server";
/// The first argument that makes it nginx, which needs time to end its worker.
const PROXY_ROLE: &str = "--become-proxy";
/// The text in moss's log before the address on which it listens for TLS.
const TLS_LINE: &str = "listening for TLS on ";
const KEEPALIVE: &str = "MOSS_KEEPALIVE_SECONDS";

/// How long a server may take to end when asked.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// A moss binary.
    Moss(PathBuf),
    /// The bare relay inside the bench's own binary.
    Bare,
    /// A moss binary, over TLS.
    Tls(PathBuf),
    /// nginx, over TLS, and a moss binary behind it.
    Nginx(Nginx, PathBuf),
}

impl Program {
    /// Whether moss is compared with it.
    pub(crate) fn is_yardstick(&self) -> bool {
        matches!(self, Self::Bare | Self::Nginx(..))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Moss(_) | Self::Tls(_) => "moss",
            Self::Bare => "bare",
            Self::Nginx(..) => "nginx",
        })
    }
}

pub(crate) struct Server {
    /// moss or the bare relay; `None` if nginx is the whole server.
    child: Option<Child>,
    address: SocketAddrV4,
    tls: bool,
    front: Option<Front>,
}

impl Server {
    /// Starts a server that passes packets on.
    pub(crate) fn start(program: &Program) -> io::Result<Self> {
        let mut server = Self::relay(program, matches!(program, Program::Tls(_)), None)?;
        if let Program::Nginx(nginx, _) = program {
            let front = nginx.start(Job::Proxy { upstream: server.address })?;
            server.address = front.address;
            server.tls = true;
            server.front = Some(front);
        }
        Ok(server)
    }

    /// Starts a server of `site`: moss, or nginx alone.
    pub(crate) fn start_site(program: &Program, site: &Site, serving: Serving) -> io::Result<Self> {
        let tls = serving == Serving::Tls;
        if let Program::Nginx(nginx, _) = program {
            let front = nginx.start(Job::Files { folder: site.folder(), serving })?;
            return Ok(Self { child: None, address: front.address, tls, front: Some(front) });
        }
        Self::relay(program, tls, Some(site))
    }

    /// Starts moss or the bare relay.
    fn relay(program: &Program, tls: bool, site: Option<&Site>) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(ROLE);
        if let Program::Moss(path) | Program::Tls(path) | Program::Nginx(_, path) = program {
            command.arg(path);
        }
        if let Some(site) = site {
            command.env("MOSS_PAGES_DIRECTORY", site.folder());
        }
        if tls {
            command
                .env("MOSS_TLS_CERTIFICATE_FILE", tls::certificate())
                .env("MOSS_TLS_KEY_FILE", tls::key())
                .env("MOSS_TLS_HOSTNAME", Ipv4Addr::LOCALHOST.to_string())
                .env("MOSS_TLS_PORT", "0");
        }
        let mut child = command
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .env("MOSS_CONNECTION_SECRET", packets::SECRET)
            .env("MOSS_CONNECTION_OFFER_TYPE", packets::OFFER_TYPE)
            .env("MOSS_HOSTNAME", Ipv4Addr::LOCALHOST.to_string())
            .env("MOSS_PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().expect("piped above");
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        // From here on, dropping it stops the child.
        let mut server = Self { child: Some(child), address, tls, front: None };
        server.address = listening(stdout, tls)?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// What its peers need if they have to use TLS.
    pub(crate) fn client(&self) -> io::Result<Option<tls::Client>> {
        self.tls.then(tls::Client::new).transpose()
    }

    /// The CPU time of all its processes.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        process::cpu_time(&self.processes())
    }

    pub(crate) fn memory(&self) -> io::Result<Memory> {
        self.processes().into_iter().map(process::memory).sum()
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.front
            .iter()
            .flat_map(Front::processes)
            .chain(self.child.as_ref().map(Child::id))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.front = None;
        self.child.as_mut().map(stop);
    }
}

/// Waits for the log line that names the address, and keeps reading the log: a full pipe would
/// stall the server.
fn listening(log: ChildStdout, tls: bool) -> io::Result<SocketAddrV4> {
    let (announce, announced) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if (!tls || line.contains(TLS_LINE))
                && let Some(address) = address_in(&line)
            {
                // Nobody receives any but the first.
                let _ = announce.send(address);
            }
        }
    });
    announced
        .recv_timeout(Duration::from_secs(60))
        .map_err(|_| io::Error::other("the server has not logged its address"))
}

/// Ends a child: asks first, so that a profiler writes its results, and then kills it. Returns
/// true if asking was enough.
pub(crate) fn stop(child: &mut Child) -> bool {
    // Errors mean that it has ended already.
    let _ = rustix::process::kill_process(Pid::from_child(child), Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(2));
    }
    let ended = !matches!(child.try_wait(), Ok(None));
    let _ = child.kill();
    let _ = child.wait();
    ended
}

/// A command that executes `proxy` with the arguments that the caller adds.
pub(crate) fn become_proxy(proxy: &Path) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(PROXY_ROLE).arg(proxy);
    Ok(command)
}

/// Becomes a server if this process was started to be one, and then returns only if that fails.
pub(crate) fn role() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let role = arguments.next()?;
    let Err(error) = if role == ROLE {
        serve(arguments.next().as_deref())
    } else if role == PROXY_ROLE {
        proxy(arguments)
    } else {
        return None;
    };
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

fn proxy(mut arguments: impl Iterator<Item = OsString>) -> io::Result<Infallible> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    raise_descriptor_limit()?;
    let program = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
    Err(Command::new(program).args(arguments).exec())
}

/// The keepalive time of moss and of the bare relay: moss's default, unless the environment sets
/// another.
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

/// The address in a line of a server's log.
fn address_in(line: &str) -> Option<SocketAddrV4> {
    let start = line.find("127.0.0.1:")?;
    let rest = &line[start..];
    let end = rest
        .find(|character: char| !(character.is_ascii_digit() || ".:".contains(character)))
        .unwrap_or(rest.len());
    rest[..end].trim_end_matches(['.', ':']).parse().ok()
}
