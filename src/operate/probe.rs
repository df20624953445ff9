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

/// A normal closure, as a client's frame.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

/// Longer than anything that moss says to this question.
const LONGEST_ANSWER: usize = 16 << 10;

/// Asks the moss that listens on `listen`; an unspecified address means this machine.
/// The answer is one line for people.
///
/// # Errors
/// A line that says why moss is not well.
pub fn ask(listen: SocketAddr) -> Result<String, String> {
    let address = reachable(listen);
    let deadline = Instant::now() + TIMEOUT;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .map_err(|error| format!("no moss at {address}: {error}"))?;
    let mut talk = Talk { stream, deadline, received: Vec::new() };
    match talk.upgrade(address).and_then(|status| talk.ping(status)) {
        Ok(101) => Ok(format!("moss at {address} is well")),
        Ok(503) => Ok(format!("moss at {address} is well, and full")),
        Ok(429) => Ok(format!("moss at {address} is well, and has enough from this address")),
        Ok(status) => Err(format!("moss at {address} does not answer: HTTP status {status}")),
        Err(error) => Err(format!("moss at {address} does not answer: {error}")),
    }
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
    stream: TcpStream,
    deadline: Instant,
    received: Vec<u8>,
}

impl Talk {
    /// Asks for a WebSocket; the status of the answer.
    fn upgrade(&mut self, address: SocketAddr) -> io::Result<u16> {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bW9zcyBoZWFsdGggcGluZw==\r\n\r\n"
        );
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
