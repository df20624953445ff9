//! The question of `moss health`: does the moss of this environment answer?
//!
//! A real WebSocket connection and a real `ping` packet, answered by the relay itself,
//! since a scratch image has no curl to ask with. Blocking, in a process of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::http::StatusCode;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message};

/// How long the whole question may take.
pub const TIMEOUT: Duration = Duration::from_secs(3);

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
    let stream = Timed { stream, deadline };
    // A pong and perhaps an error packet: small buffers do.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let url = format!("ws://{address}/");
    match tungstenite::client::client_with_config(url, stream, Some(config)) {
        Ok((mut socket, _)) => {
            let sick = |error: Error| format!("moss at {address} does not answer: {error}");
            socket.send(Message::text(r#"{"type":"ping"}"#)).map_err(sick)?;
            let pong = Message::text(r#"{"type":"pong","payload":""}"#);
            while socket.read().map_err(sick)? != pong {}
            let _ = socket.close(None);
            Ok(format!("moss at {address} is well"))
        }
        Err(HandshakeError::Failure(Error::Http(response)))
            if response.status() == StatusCode::SERVICE_UNAVAILABLE =>
        {
            Ok(format!("moss at {address} is well, and full"))
        }
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

/// A stream whose every wait ends at one deadline, however the answer drips.
#[derive(Debug)]
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "timed out"));
        }
        Ok(Some(left))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A socket's time-out reads as "would block", which says nothing to people, and which
/// the handshake takes for a pause.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "timed out"),
        _ => error,
    }
}
