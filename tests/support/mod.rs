//! What the black-box tests share: starting a moss, and a blocking WebSocket client. The
//! program and the sockets are real. In test programs that run [over TLS](OVER_TLS), all
//! connections use TLS.
//!
//! Each wait has a time limit: it panics after [`PATIENCE`]. No test needs to sleep: since moss
//! keeps the order of what it sends to a peer, a test shows that a packet does *not* come by the
//! answer to a later one (see [`Client::expect_nothing`]).
//!
//! Nothing orders what moss reads from two connections: the end of one may reach it after what
//! another sends later. [`Client::close`] and [`Client::hang_up`] return when moss knows; a test
//! that drops a connection waits for what shows it (see [`process::wait_for_descriptors`]).

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test program uses a part of this"
)]

mod cgroup;
mod client;
mod machine;
mod not_packets;
pub mod process;
mod stream;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use cgroup::Cgroup;
pub use client::{Client, Frame, Sender, TEXT, frame};
pub use machine::{Crowd, crowd, skipped};
pub(crate) use not_packets::NOT_PACKETS;
pub use stream::{
    CERTIFICATES, OVER_TLS, Stream, connect_tcp, tls_config, tls_config_of, with_time_outs,
};

/// Time limit of each wait. Only a hang takes this long. It is less than the minute after which
/// moss drops a silent peer, so that this does not hide a leak.
pub const PATIENCE: Duration = Duration::from_secs(50);

/// The secret of masters, unless a test sets another one.
pub const SECRET: &str = "only-the-tests-know-it";

/// The type of offers, unless a test sets another one.
pub const OFFER: &str = "connection-offer";

/// The text in the log before the address without TLS.
const LISTENING: &str = "listening on ";

/// A moss that is not started yet. It will run in an empty folder, with only these variables
/// in its environment.
pub struct Setup {
    folder: Folder,
    variables: Vec<(OsString, OsString)>,
    prefix: Vec<String>,
}

/// A running moss. It is killed when it is dropped.
pub struct Moss {
    child: Child,
    stdout: Arc<Text>,
    stderr: Arc<Text>,
    address: SocketAddr,
    folder: Folder,
}

/// The output of a program so far.
#[derive(Default)]
struct Text {
    state: Mutex<(String, bool)>,
    grown: Condvar,
}

/// A new folder, which is removed with its content when it is dropped.
struct Folder(PathBuf);

impl Setup {
    /// A moss on a free loopback port, with the two required variables.
    pub fn new() -> Self {
        let setup = Self::empty()
            .set("MOSS_CONNECTION_SECRET", SECRET)
            .set("MOSS_CONNECTION_OFFER_TYPE", OFFER)
            .set("MOSS_HOSTNAME", "127.0.0.1")
            .set("MOSS_PORT", "0");
        if !OVER_TLS {
            return setup;
        }
        setup
            .set("MOSS_TLS_CERTIFICATE_FILE", format!("{CERTIFICATES}/chain.pem"))
            .set("MOSS_TLS_KEY_FILE", format!("{CERTIFICATES}/key.pem"))
            .set("MOSS_TLS_HOSTNAME", "127.0.0.1")
            .set("MOSS_TLS_PORT", "0")
    }

    /// A moss without any variable.
    pub fn empty() -> Self {
        Self { folder: Folder::fresh(), variables: Vec::new(), prefix: Vec::new() }
    }

    /// Sets a variable.
    pub fn set(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self = self.unset(name);
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Removes a variable.
    pub fn unset(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// Sets the host at which moss listens for peers.
    pub fn listen_on(self, host: &str) -> Self {
        self.set(if OVER_TLS { "MOSS_TLS_HOSTNAME" } else { "MOSS_HOSTNAME" }, host)
    }

    /// Writes a file, such as `.env`, into the working directory.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.0.join(name), text).expect("a file in the test's folder");
        self
    }

    /// A shell command, such as `ulimit -n 64`, that runs in moss's process before moss.
    pub fn before(self, command: &str) -> Self {
        self.within(&["/bin/sh", "-c", &format!("{command} && exec \"$0\" \"$@\"")])
    }

    /// A command, such as `unshare`, that runs moss as its arguments.
    pub fn within(mut self, words: &[&str]) -> Self {
        self.prefix = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The working directory.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The command, for tests that the methods below don't fit.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let moss = env!("CARGO_BIN_EXE_moss");
        let mut command = match self.prefix.split_first() {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(moss);
                command
            }
            None => Command::new(moss),
        };
        command
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts moss and waits until it listens.
    pub fn start(self) -> Moss {
        let mut command = self.command(&[]);
        self.start_command(&mut command)
    }

    /// Starts moss by this command, whose stdout must be moss's.
    pub fn start_command(self, command: &mut Command) -> Moss {
        let mut child = command.spawn().expect("moss can be run");
        let stdout = Text::read(child.stdout.take().expect("a pipe"));
        let stderr = Text::read(child.stderr.take().expect("a pipe"));
        let listening = if OVER_TLS { "listening for TLS on " } else { LISTENING };
        let Some(line) = stdout.wait_for(listening) else {
            let _ = child.kill();
            let _ = child.wait();
            stderr.wait_for_end();
            panic!("moss does not listen:\n{}{}", stdout.get(), stderr.get());
        };
        let address = last_word(&line);
        Moss { child, stdout, stderr, address, folder: self.folder }
    }

    /// Runs moss to its end: a command, or a start that fails.
    pub fn run(self, arguments: &[&str]) -> Output {
        let mut child = self.command(arguments).spawn().expect("moss can be run");
        let stdout = Text::read(child.stdout.take().expect("a pipe"));
        let stderr = Text::read(child.stderr.take().expect("a pipe"));
        if !(stdout.wait_for_end() && stderr.wait_for_end()) {
            let _ = child.kill();
        }
        let status = child.wait().expect("a child to wait for");
        Output { status, stdout: stdout.get().into_bytes(), stderr: stderr.get().into_bytes() }
    }

    /// Moss must not start, but end with this exit status and one line on stderr, which is
    /// returned.
    #[track_caller]
    pub fn refusal(self, status: i32) -> String {
        let output = self.run(&[]);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert!(stderr.starts_with("moss: ") && stderr.ends_with('\n'), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    }

    /// The log of a moss that is stopped after `visit`. Its address comes from the kernel, as the
    /// log may lack it.
    pub fn log_of(self, visit: impl FnOnce(SocketAddr)) -> String {
        let mut child = self.command(&[]).spawn().expect("moss can be run");
        let log = Text::read(child.stdout.take().expect("a pipe"));
        visit(listening_address(child.id()));
        kill_process(Pid::from_child(&child), Signal::TERM).expect("a process");
        assert!(log.wait_for_end(), "moss does not stop:\n{}", log.get());
        assert!(child.wait().expect("a child to wait for").success());
        log.get()
    }
}

impl Moss {
    /// Starts a moss with only the required variables.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Starts a moss with these variables and the required ones.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        variables.iter().fold(Setup::new(), |setup, (name, value)| setup.set(name, value)).start()
    }

    /// The address for its peers, with TLS if the test program uses TLS.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address without TLS.
    pub fn plain_address(&self) -> SocketAddr {
        last_word(&self.wait_for_log(LISTENING))
    }

    /// The working directory.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.stdout.get()
    }

    /// Its stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.get()
    }

    /// Waits for a line of the log with `part` in it, and returns the line.
    pub fn wait_for_log(&self, part: &str) -> String {
        let line = self.stdout.wait_for(part);
        line.unwrap_or_else(|| panic!("{part:?} is not in the log:\n{}", self.log()))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("moss is there");
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        assert!(self.stdout.wait_for_end(), "moss does not stop:\n{}", self.log());
        self.child.wait().expect("a child to wait for")
    }

    /// A connection with time-outs, on which nothing was sent yet.
    pub fn connect(&self) -> Stream {
        Stream::connect(self.address)
    }

    /// A WebSocket that has not logged in.
    pub fn guest(&self) -> Client {
        Client::open(self.connect())
    }

    /// A WebSocket that has logged in, without a master.
    pub fn client(&self) -> Client {
        let mut client = self.guest();
        client.send(r#"{"type":"login"}"#);
        client.expect_nothing();
        client
    }

    /// A WebSocket that has logged in with this master, and its id.
    pub fn client_of(&self, master: &mut Client) -> (Client, String) {
        let mut client = self.guest();
        client.send(r#"{"type":"login"}"#);
        assert_eq!(client.json()["type"], OFFER);
        let id = client.introduce(master);
        (client, id)
    }

    /// The master, with this JSON as its offer.
    pub fn master(&self, offer: &str) -> Client {
        let mut master = self.guest();
        master.set_master(offer);
        master
    }
}

/// A line must say what is wrong and then, after a semicolon, what would be right.
#[track_caller]
pub fn assert_remedy(line: &str) {
    assert!(line.split_once("; ").is_some_and(|(_, remedy)| remedy.len() > 5), "{line}");
}

/// The address at the end of a line of the log.
fn last_word(line: &str) -> SocketAddr {
    let address = line.rsplit(' ').next().and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address in {line:?}"))
}

/// The address at which a process listens, from the kernel.
pub fn listening_address(pid: u32) -> SocketAddr {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(address) = listener_of(pid) {
            return address;
        }
        assert!(Instant::now() < deadline, "{pid} does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The first listening IPv4 socket (state 0A) among the process's descriptors.
fn listener_of(pid: u32) -> Option<SocketAddr> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    let sockets: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .collect();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let socket = PathBuf::from(format!("socket:[{}]", fields[9]));
        if fields[3] != "0A" || !sockets.contains(&socket) {
            return None;
        }
        let (ip, port) = fields[1].split_once(':')?;
        let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
        Some((ip, u16::from_str_radix(port, 16).ok()?).into())
    })
}

impl Drop for Moss {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Text {
    /// Reads in a thread until the end, so that the writer never blocks.
    fn read(source: impl Read + Send + 'static) -> Arc<Self> {
        let text = Arc::new(Self::default());
        let written = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                written.add(&String::from_utf8_lossy(&line), false);
                line.clear();
            }
            written.add("", true);
        });
        text
    }

    fn add(&self, line: &str, ended: bool) {
        let mut state = self.state.lock().expect("no reader panics");
        state.0.push_str(line);
        state.1 |= ended;
        self.grown.notify_all();
    }

    fn get(&self) -> String {
        self.state.lock().expect("no reader panics").0.clone()
    }

    /// The first line with `part` in it; `None` if the output ends, or after the time limit.
    fn wait_for(&self, part: &str) -> Option<String> {
        let line = |text: &str| text.lines().find(|line| line.contains(part)).map(str::to_owned);
        let state = self.state.lock().expect("no reader panics");
        let goes_on = |state: &mut (String, bool)| !state.1 && line(&state.0).is_none();
        let (state, _) =
            self.grown.wait_timeout_while(state, PATIENCE, goes_on).expect("no reader panics");
        line(&state.0)
    }

    /// Whether the writer ends within the time limit.
    fn wait_for_end(&self) -> bool {
        let state = self.state.lock().expect("no reader panics");
        let wait = self.grown.wait_timeout_while(state, PATIENCE, |state| !state.1);
        wait.expect("no reader panics").0.1
    }
}

impl Folder {
    fn fresh() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
