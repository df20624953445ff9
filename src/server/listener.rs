//! When to accept connections, and when to pause.
//!
//! `World` owns the listening socket. It reports waiting connections only once
//! (edge-triggered), so it is remembered here that some may be left. If there is no room or no
//! descriptor, accepting pauses until a session ends or a short time is over: no event would
//! tell when to try again.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::server::world::{Endpoint, World};

/// The longest pause of a listener without room.
const REST: Duration = Duration::from_millis(100);

/// How often the log tells of a shortage: where peers come and go, it begins anew many times a
/// second.
const HINT: Duration = Duration::from_secs(60);

/// The state of a listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) endpoint: Endpoint,
    /// Connections may be waiting.
    pending: bool,
    rests_until: Option<Instant>,
    next_hint: Option<Instant>,
}

impl Listener {
    /// For a socket without waiting connections.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, pending: false, rests_until: None, next_hint: None }
    }

    /// An event reported waiting connections.
    pub(crate) fn note(&mut self) {
        self.pending = true;
    }

    /// A session has ended: there may be room again.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.rests_until = self.rests_until.map(|until| until.min(now));
    }

    /// The time of the next try, if connections may be waiting.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Instant> {
        self.pending.then(|| self.rests_until.unwrap_or(now))
    }

    /// Whether to accept now.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        self.next_try(now).is_some_and(|at| at <= now)
    }

    /// Accepts one connection; `None` if none is waiting or the listener has to pause.
    pub(crate) fn accept<W: World>(
        &mut self,
        world: &mut W,
        now: Instant,
    ) -> Option<(W::Stream, IpAddr)> {
        loop {
            match world.accept(self.endpoint) {
                Ok((stream, address)) => {
                    self.rests_until = None;
                    return Some((stream, address.to_canonical()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pending = false;
                    return None;
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if self.next_hint.is_none_or(|at| at <= now) {
                        self.next_hint = Some(now + HINT);
                        log::warn!("no new connections for now: {error}");
                    }
                    self.rest(now);
                    return None;
                }
            }
        }
    }

    /// There is no room: pauses for a while.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.rests_until = Some(now + REST);
    }
}

/// Whether this is an error of the one connection that was about to be accepted; the next one
/// may work.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        Interrupted
            | ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
            | TimedOut
    )
}
