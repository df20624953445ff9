//! The question of `moss health`: does the moss of this environment answer?
//!
//! A real WebSocket connection and a real `ping` packet, answered by the relay itself,
//! since a scratch image has no curl to ask with. Blocking, in a process of its own.
//!
//! The few bytes of it are written by hand. tungstenite's client would do, but it brings
//! a URL parser, a header map and a random generator along: 95 kB of a static moss.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Response, Status};

/// How long the whole question may take.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// `{"type":"ping"}` as a client's text frame. The mask, RFC 6455's protection of proxies
/// from scripts, is zero: there is neither here.
const PING: &[u8] = b"\x81\x8f\0\0\0\0{\"type\":\"ping\"}";

/// moss's pong, to the byte.
const PONG: &[u8] = b"\x81\x1c{\"type\":\"pong\",\"payload\":\"\"}";

/// What `/health` says of the master, to the byte.
const MASTER: &[u8] = b"\"master\":true";
const NO_MASTER: &[u8] = b"\"master\":false";

/// A normal closure, as a client's frame.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

/// Longer than anything that moss says to this question.
const LONGEST_ANSWER: usize = 16 << 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether moss is well. Without a master it is.
    Well,
    /// Whether it is, and has a master.
    Master,
}

/// Asks the moss that listens on `listen`; an unspecified address means this machine.
/// The answer is one line for people.
///
/// # Errors
/// A line that says why moss is not well, or that it has no master, if it is to have one.
pub fn ask(listen: SocketAddr, question: Question) -> Result<String, String> {
    let address = reachable(listen);
    let deadline = Instant::now() + TIMEOUT;
    let silent = |error| format!("moss at {address} does not answer: {error}");
    let mut talk = Talk::begin(address, deadline)?;
    let status = talk.upgrade().and_then(|status| talk.ping(status)).map_err(silent)?;
    let well = match status {
        101 => "is well",
        503 => "is well, and full",
        429 => "is well, and has enough from this address",
        _ => return Err(format!("moss at {address} does not answer: HTTP status {status}")),
    };
    if question == Question::Well {
        return Ok(format!("moss at {address} {well}"));
    }
    // Another connection, or there may be none for this one.
    drop(talk);
    let has_master = Talk::begin(address, deadline)?.has_master().map_err(silent)?;
    let line = |master| format!("moss at {address} {well}, and {master}");
    if has_master { Ok(line("has a master")) } else { Err(line("has NO master")) }
}

fn reachable(listen: SocketAddr) -> SocketAddr {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(host, listen.port())
}

/// A stream whose every wait ends at one deadline, however the answer drips, with all
/// that came from it.
struct Talk {
    address: SocketAddr,
    stream: TcpStream,
    deadline: Instant,
    received: Vec<u8>,
}

impl Talk {
    fn begin(address: SocketAddr, deadline: Instant) -> Result<Self, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)))
            .map_err(|error| format!("no moss at {address}: {error}"))?;
        Ok(Self { address, stream, deadline, received: Vec::new() })
    }

    /// Asks for a WebSocket; the status of the answer.
    fn upgrade(&mut self) -> io::Result<u16> {
        self.get(
            "/",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bW9zcyBoZWFsdGggcGluZw==\r\n",
        )
    }

    /// Asks for `/health`, and there for the master.
    fn has_master(&mut self) -> io::Result<bool> {
        let status = self.get("/health", "Connection: close\r\n")?;
        if status != 200 {
            return Err(io::Error::other(format!("HTTP status {status} for /health")));
        }
        loop {
            for (answer, has_master) in [(MASTER, true), (NO_MASTER, false)] {
                if self.received.windows(answer.len()).any(|window| window == answer) {
                    return Ok(has_master);
                }
            }
            self.receive()?;
        }
    }

    /// Sends a request; the status of the answer once its head is there.
    fn get(&mut self, path: &str, headers: &str) -> io::Result<u16> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        self.send(request.as_bytes())?;
        loop {
            self.receive()?;
            let mut headers = [EMPTY_HEADER; 32];
            let mut response = Response::new(&mut headers);
            let parsed = response.parse(&self.received).map_err(io::Error::other)?;
            if let (Status::Complete(_), Some(status)) = (parsed, response.code) {
                return Ok(status);
            }
        }
    }

    /// Where the upgrade succeeded, waits for a pong too.
    fn ping(&mut self, status: u16) -> io::Result<u16> {
        if status == 101 {
            self.send(PING)?;
            while !self.received.windows(PONG.len()).any(|window| window == PONG) {
                self.receive()?;
            }
            // Polite, no more: moss is well by now.
            let _ = self.send(CLOSE);
        }
        Ok(status)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes).map_err(timed_out)
    }

    fn receive(&mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        let mut piece = [0; 1 << 10];
        let length = self.stream.read(&mut piece).map_err(timed_out)?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed"));
        }
        self.received.extend_from_slice(&piece[..length]);
        if self.received.len() > LONGEST_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not moss"));
        }
        Ok(())
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "timed out"));
        }
        Ok(left)
    }
}

/// A socket's time-out reads as "would block", which says nothing to people.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "timed out"),
        _ => error,
    }
}
