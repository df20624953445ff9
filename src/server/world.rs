//! What the server asks of the world around it: the seam under `server`.
//!
//! Connections and their bytes, readiness, the time, signals, who watches over moss, its own
//! process, a random number, and nothing else. [`System`](super::system::System) is the world
//! that moss runs in. A test brings one of its own, in which a seed decides what kernel, clock
//! and peers do, and meets all of the server, its loop included.
//!
//! What a world must keep is what `epoll` does. Readiness comes as edges: it is told when
//! there is something new, and maybe not again before that was used up. What uses it up is
//! a call that would block, a write that takes fewer bytes than it was given, and, unless
//! `read_closed` or `error` was told, a read of fewer than fit. An edge too many does no
//! harm; one too few is a connection that hangs.
//!
//! Dispatch is static, so that in the program the seam costs nothing.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::operate::notify::Notice;
use crate::operate::process::Process;

/// The world around a server, or a simulated one.
pub trait World {
    /// One non-blocking connection. Dropping it closes it and takes it out of the poll.
    type Stream: Read + Write + Debug;

    /// The time.
    fn now(&self) -> Instant;

    /// Waits until something is ready, a signal comes or the time-out is over; without a
    /// time-out, for ever.
    ///
    /// # Errors
    /// `Interrupted` is harmless: nothing is ready. With any other the server ends.
    fn wait(&mut self, time_out: Option<Duration>) -> io::Result<()>;

    /// Tells what the last wait found.
    fn ready(&self, note: impl FnMut(Ready));

    /// Accepts one connection that comes through this endpoint; its address is as the kernel
    /// gives it.
    ///
    /// # Errors
    /// `WouldBlock` if none waits: [`Ready::Listener`] tells of the next. All others are of
    /// this connection, or say that there is no room for now.
    fn accept(&mut self, endpoint: Endpoint) -> io::Result<(Self::Stream, IpAddr)>;

    /// Has the stream's readiness, to be read and to be written, reported by edges under
    /// this token: the caller's id, cut to a word.
    ///
    /// # Errors
    /// There is no room for it; the caller drops the stream.
    fn register(&mut self, stream: &mut Self::Stream, token: usize) -> io::Result<()>;

    /// Ends moss's side of a stream; its peer's bytes still come.
    ///
    /// # Errors
    /// The peer has gone first.
    fn shut_down(stream: &Self::Stream) -> io::Result<()>;

    /// Bounds the bytes that the kernel holds of what its peer has not received yet.
    ///
    /// # Errors
    /// The kernel does not; nothing has changed then.
    fn limit_send_buffer(stream: &Self::Stream, bytes: usize) -> io::Result<()>;

    /// From now on nobody is accepted any more.
    fn stop_listening(&mut self);

    /// The signals that came since this was asked last.
    fn signals(&mut self) -> Signals;

    /// Tells whoever started moss how it is. What can't be told at once is dropped.
    fn notify(&mut self, notice: Notice);

    /// How often, at least, it wants to be told [`Notice::Watchdog`]; never, most likely.
    fn watchdog(&self) -> Option<Duration>;

    /// A number that differs from one start to the next.
    fn random(&mut self) -> u64;

    /// What the kernel tells of the process. A simulated world has none.
    fn process(&self) -> Process {
        Process::default()
    }
}

/// Where connections come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://` and `ws://`.
    Plain,
    /// `https://` and `wss://`.
    Tls,
}

impl Endpoint {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Tls];
}

/// Signals that came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// How many ask moss to stop.
    pub stop: usize,
    /// How many ask it to read its files again.
    pub reload: usize,
}

/// What a wait found.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// Connections wait to be accepted at this endpoint.
    Listener(Endpoint),
    /// A signal came.
    Signal,
    /// Something is new with a stream.
    Stream {
        /// Under which it was registered.
        token: usize,
        /// What is new.
        readiness: Readiness,
    },
}

/// What is new with a stream. Each is a hint: only a call shows what is true.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    /// There may be bytes.
    pub readable: bool,
    /// There may be room for bytes.
    pub writable: bool,
    /// The peer may have sent its last byte.
    pub read_closed: bool,
    /// The peer may take no more.
    pub write_closed: bool,
    /// The connection may be broken.
    pub error: bool,
}
