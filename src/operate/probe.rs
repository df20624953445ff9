//! The probe of `moss health`: does the moss with these settings answer?
//!
//! It opens a WebSocket and sends a `ping` packet, which the relay answers. A scratch image
//! has no curl that could do that. Blocking, in a process of its own.
//!
//! The few bytes are written by hand. tungstenite's client would do, but needs a URL parser, a
//! header map and a random number generator: 95 kB of a static program.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Response, Status};

/// The time limit for the whole probe.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// `{"type":"ping"}` as a client's text frame. The mask is zero: masks protect proxies from
/// scripts in browsers (RFC 6455, section 10.3), and there is neither here.
const PING: &[u8] = b"\x81\x8f\0\0\0\0{\"type\":\"ping\"}";

/// The exact bytes of moss's pong.
const PONG: &[u8] = b"\x81\x1c{\"type\":\"pong\",\"payload\":\"\"}";

/// The exact bytes of `/health` about the master.
const MASTER: &[u8] = b"\"master\":true";
const NO_MASTER: &[u8] = b"\"master\":false";

/// A normal closure, as a client's frame.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

/// Longer than any answer of moss, in bytes.
const LONGEST_ANSWER: usize = 16 << 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether moss is healthy. It may be without a master.
    Well,
    /// Whether it is healthy and has a master.
    Master,
}

/// Asks the moss that listens on `listen`; an unspecified address means this machine.
/// The answer is one line for people.
///
/// # Errors
/// A line that says why moss is not healthy, or that it has no master, if that was asked.
pub fn ask(listen: SocketAddr, question: Question) -> Result<String, String> {
    let address = reachable(listen);
    let deadline = Instant::now() + TIMEOUT;
    let silent = |error| format!("moss at {address} does not answer: {error}");
    let mut talk = Talk::begin(address, deadline)?;
    let status = talk.upgrade().and_then(|status| talk.ping(status)).map_err(silent)?;
    let well = match status {
        101 => "is well",
        503 => "is well, and full",
        429 => "is well, and refuses more connections from this address",
        _ => return Err(format!("moss at {address} does not answer: HTTP status {status}")),
    };
    if question == Question::Well {
        return Ok(format!("moss at {address} {well}"));
    }
    // Closed first: there may be no place for a second connection.
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

/// A connection with one deadline for all its waits, and the bytes received so far.
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

    /// Requests an upgrade; returns the status of the answer.
    fn upgrade(&mut self) -> io::Result<u16> {
        self.get(
            "/",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bW9zcyBoZWFsdGggcGluZw==\r\n",
        )
    }

    /// Requests `/health`; returns whether there is a master.
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

    /// Sends a request; returns the status of the answer once its head is complete.
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

    /// If the upgrade succeeded, sends a ping and waits for the pong.
    fn ping(&mut self, status: u16) -> io::Result<u16> {
        if status == 101 {
            self.send(PING)?;
            while !self.received.windows(PONG.len()).any(|window| window == PONG) {
                self.receive()?;
            }
            // Failures do not matter any more: moss is healthy.
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

/// A time-out of a socket is reported as "would block", which people would not understand.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "timed out"),
        _ => error,
    }
}
