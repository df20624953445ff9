//! The trait for all that the server needs from its environment.
//!
//! Connections and their bytes, readiness, the time, signals, the service manager, figures of
//! the process, a random number, and nothing else. [`System`](super::system::System)
//! implements it on the operating system. Tests have a simulated implementation, in which a
//! seed determines what the kernel, the clock and the peers do; they run all of the server,
//! its loop included.
//!
//! An implementation must behave like `epoll`. Readiness is edge-triggered: it is reported
//! when there is something new, and possibly not again before that is used up. It is used up
//! by a call that would block, by a write that takes fewer bytes than given and, unless
//! `read_closed` or `error` was reported, by a read of fewer bytes than fit. One report too
//! many does no harm; one too few leaves a connection hanging.
//!
//! Dispatch is static, so in the program the trait costs nothing.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::operate::notify::Notice;
use crate::operate::process::Process;

/// The environment of a server, real or simulated.
pub trait World {
    /// One non-blocking connection. Dropping it closes it and removes it from the poll.
    type Stream: Read + Write + Debug;

    /// The current time.
    fn now(&self) -> Instant;

    /// Waits until something is ready, a signal comes or the time-out is over; without a
    /// time-out, for ever.
    ///
    /// # Errors
    /// `Interrupted` is harmless: nothing is ready. With any other the server ends.
    fn wait(&mut self, time_out: Option<Duration>) -> io::Result<()>;

    /// Calls `note` with everything that the last wait found.
    fn ready(&self, note: impl FnMut(Ready));

    /// Accepts one connection at this endpoint, with its address as the kernel gives it.
    ///
    /// # Errors
    /// `WouldBlock` if none is waiting: [`Ready::Listener`] reports the next. All others are
    /// errors of this connection, or mean that there is no room for now.
    fn accept(&mut self, endpoint: Endpoint) -> io::Result<(Self::Stream, IpAddr)>;

    /// Registers a stream: its readiness for reading and writing is reported, edge-triggered,
    /// with this token, which is the caller's id truncated to a `usize`.
    ///
    /// # Errors
    /// There is no room for it; the caller drops the stream.
    fn register(&mut self, stream: &mut Self::Stream, token: usize) -> io::Result<()>;

    /// Closes moss's side of a stream; the peer's bytes can still be read.
    ///
    /// # Errors
    /// The peer has closed the connection first.
    fn shut_down(stream: &Self::Stream) -> io::Result<()>;

    /// Limits the kernel's send buffer of a stream.
    ///
    /// # Errors
    /// The kernel refuses; then nothing has changed.
    fn limit_send_buffer(stream: &Self::Stream, bytes: usize) -> io::Result<()>;

    /// Stops listening: no connections are accepted any more.
    fn stop_listening(&mut self);

    /// The signals that came since the last call.
    fn signals(&mut self) -> Signals;

    /// Sends a notice to the service manager. If that would block, it is dropped.
    fn notify(&mut self, notice: Notice);

    /// How often the service manager needs [`Notice::Watchdog`], if it has a watchdog.
    fn watchdog(&self) -> Option<Duration>;

    /// A random number, which differs from one start to the next.
    fn random(&mut self) -> u64;

    /// The kernel's figures of the process. Simulated worlds have none.
    fn process(&self) -> Process {
        Process::default()
    }
}

/// The ports on which moss listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://` and `ws://`.
    Plain,
    /// `https://` and `wss://`.
    Tls,
}

impl Endpoint {
    /// Both.
    pub const ALL: [Self; 2] = all![Plain, Tls];
}

/// Signals that came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// How many to stop.
    pub stop: usize,
    /// How many to reload files.
    pub reload: usize,
}

/// What a wait found.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// Connections are waiting to be accepted at this endpoint.
    Listener(Endpoint),
    /// A signal came.
    Signal,
    /// The readiness of a stream has changed.
    Stream {
        /// The token with which it was registered.
        token: usize,
        /// Its readiness.
        readiness: Readiness,
    },
}

/// The readiness of a stream. Each flag is a hint: only a call shows the truth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    /// There may be bytes.
    pub readable: bool,
    /// There may be room for bytes.
    pub writable: bool,
    /// The peer may have closed its side.
    pub read_closed: bool,
    /// The peer may take no more.
    pub write_closed: bool,
    /// The connection may be broken.
    pub error: bool,
}
