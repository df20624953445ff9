//! `World` on the operating system: mio's poll, TCP sockets, signals and the system's clock.
//!
//! Only this file uses mio. Nothing is decided here: each method is one system call or little
//! more, so that tests with a simulated world leave out no more than this file.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::num::NonZero;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::net::sockopt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0 as signal_hook_mio;

use crate::operate::notify::{Notice, Notifier};
use crate::operate::process::Process;
use crate::server::table::FIRST_FREE_TOKEN;
use crate::server::world::{Endpoint, Readiness, Ready, Signals, World};

/// The queue of connections that the kernel completes before they are accepted: enough for many
/// clients that reconnect at once (the kernel limits it to `net.core.somaxconn`).
const QUEUE: i32 = 4096;

/// The most events of one wait; the rest comes with the next.
const EVENTS: usize = 1024;

const PLAIN: Token = Token(FIRST_FREE_TOKEN);
const TLS: Token = Token(FIRST_FREE_TOKEN + 1);
const SIGNALS: Token = Token(FIRST_FREE_TOKEN + 2);

/// The operating system, as far as a server needs it.
pub struct System {
    poll: Poll,
    events: Events,
    signals: signal_hook_mio::Signals,
    /// `None` once moss has stopped listening.
    plain: Option<TcpListener>,
    /// Only if moss has a certificate.
    tls: Option<TcpListener>,
    notifier: Notifier,
    start: SystemTime,
    /// The size of the kernel's buffer for each connection and direction.
    buffer: Option<NonZero<u32>>,
}

/// A TCP connection.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    /// The size of its buffers in the kernel, and of the largest single write.
    buffer: Option<NonZero<u32>>,
}

impl System {
    /// Creates a poll, and catches SIGTERM, SIGINT and SIGHUP from now on. `buffer` is the size of
    /// the kernel's buffer for each connection and direction; its default is megabytes for a
    /// peer that does not read.
    ///
    /// # Errors
    /// No poll or no signal handlers could be created.
    pub fn new(notifier: Notifier, buffer: Option<NonZero<u32>>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = signal_hook_mio::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let events = Events::with_capacity(EVENTS);
        let start = SystemTime::now();
        Ok(Self { poll, events, signals, plain: None, tls: None, notifier, start, buffer })
    }

    /// Listens at an endpoint. Accepted connections inherit the listener's options: no delay of
    /// small packets, and the buffer sizes.
    ///
    /// # Errors
    /// The address can't be listened on.
    #[cold]
    pub fn listen(&mut self, endpoint: Endpoint, address: SocketAddr) -> io::Result<()> {
        let mut listener = TcpListener::bind(address)?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        if let Some(buffer) = self.buffer {
            sockopt::set_socket_send_buffer_size(&listener, buffer.get() as usize)?;
            sockopt::set_socket_recv_buffer_size(&listener, buffer.get() as usize)?;
        }
        // A second call only makes the queue longer.
        rustix::net::listen(&listener, QUEUE)?;
        let (slot, token) = match endpoint {
            Endpoint::Plain => (&mut self.plain, PLAIN),
            Endpoint::Tls => (&mut self.tls, TLS),
        };
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        *slot = Some(listener);
        Ok(())
    }

    /// Where moss listens.
    ///
    /// # Errors
    /// moss does not listen at this endpoint, or the kernel fails.
    pub fn address(&self, endpoint: Endpoint) -> io::Result<SocketAddr> {
        self.listener(endpoint)?.local_addr()
    }

    fn listener(&self, endpoint: Endpoint) -> io::Result<&TcpListener> {
        let listener = match endpoint {
            Endpoint::Plain => &self.plain,
            Endpoint::Tls => &self.tls,
        };
        listener.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl World for System {
    type Stream = Stream;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, time_out: Option<Duration>) -> io::Result<()> {
        // The kernel counts milliseconds, and mio rounds up: never too early.
        self.poll.poll(&mut self.events, time_out)
    }

    fn ready(&self, mut note: impl FnMut(Ready)) {
        for event in &self.events {
            note(match event.token() {
                PLAIN => Ready::Listener(Endpoint::Plain),
                TLS => Ready::Listener(Endpoint::Tls),
                SIGNALS => Ready::Signal,
                Token(token) => Ready::Stream { token, readiness: event.into() },
            });
        }
    }

    fn accept(&mut self, endpoint: Endpoint) -> io::Result<(Stream, IpAddr)> {
        let (tcp, address) = self.listener(endpoint)?.accept()?;
        Ok((Stream { tcp, buffer: self.buffer }, address.ip()))
    }

    fn register(&mut self, stream: &mut Stream, token: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream.tcp, Token(token), interest)
    }

    fn shut_down(stream: &Stream) -> io::Result<()> {
        stream.tcp.shutdown(Shutdown::Write)
    }

    fn limit_send_buffer(stream: &Stream, bytes: usize) -> io::Result<()> {
        let bytes = stream.buffer.map_or(bytes, |most| bytes.min(most.get() as usize));
        Ok(sockopt::set_socket_send_buffer_size(&stream.tcp, bytes)?)
    }

    fn stop_listening(&mut self) {
        self.plain = None;
        self.tls = None;
    }

    fn signals(&mut self) -> Signals {
        let mut came = Signals::default();
        for signal in self.signals.pending() {
            match signal {
                SIGHUP => came.reload += 1,
                _ => came.stop += 1,
            }
        }
        came
    }

    fn notify(&mut self, notice: Notice) {
        self.notifier.notify(notice);
    }

    fn watchdog(&self) -> Option<Duration> {
        self.notifier.watchdog()
    }

    fn random(&mut self) -> u64 {
        random()
    }

    fn process(&self) -> Process {
        Process::now(self.start)
    }
}

/// A connection that was accepted elsewhere, with the kernel's default buffers.
impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp, buffer: None }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.tcp.read(bytes)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.buffer {
            Some(most) if bytes.len() > most.get() as usize => {
                self.write_in_pieces(bytes, most.get() as usize)
            }
            _ => self.tcp.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// Writes pieces of at most the buffer's size. Over loopback, where segments may be large, the
    /// whole buffer would be one segment. The peer acknowledges every second segment at once, but
    /// a single one only after 40 ms; until then there would be no room for more. Each write makes
    /// a segment.
    #[cold]
    fn write_in_pieces(&mut self, bytes: &[u8], most: usize) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let piece = &rest[..rest.len().min(most)];
            match self.tcp.write(piece) {
                Ok(count) if count == piece.len() => taken += count,
                Ok(count) => return Ok(taken + count),
                Err(error) if taken == 0 => return Err(error),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // No room, or an error, which an event will report.
                Err(_) => return Ok(taken),
            }
        }
        Ok(taken)
    }
}

/// Not derived, since the signals have no `Debug`. Types that hold a stream need it.
impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("System");
        f.field("plain", &self.plain).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        Self {
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
        }
    }
}

/// The standard library seeds its hash maps with random numbers: enough for a number that
/// differs from the last start, without a dependency.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_starts_give_different_numbers() {
        assert_ne!(random(), random());
    }
}
