//! When to accept: that connections wait, and when the listening socket rests.
//!
//! The socket itself is the world's. It says by an edge, once, that connections wait, so
//! what was not accepted is remembered. When there is no room or no descriptor it rests,
//! without spinning, and is tried again when a session ends or after a short while: it
//! would not be reported by itself.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::server::world::{Endpoint, World};

/// How long a listener without room rests at most.
const REST: Duration = Duration::from_millis(100);

/// What is known of the listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) endpoint: Endpoint,
    /// Connections may wait.
    pending: bool,
    rests_until: Option<Instant>,
}

impl Listener {
    /// Of a socket at which nobody waits yet.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, pending: false, rests_until: None }
    }

    /// An event said that connections wait.
    pub(crate) fn note(&mut self) {
        self.pending = true;
    }

    /// A session has ended: there may be room again.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.rests_until = self.rests_until.map(|until| until.min(now));
    }

    /// The time of the next try, if connections may wait.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Instant> {
        self.pending.then(|| self.rests_until.unwrap_or(now))
    }

    /// Whether to accept now.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        self.next_try(now).is_some_and(|at| at <= now)
    }

    /// Accepts one connection; nothing if none waits or the listener has to rest.
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
                    if self.rests_until.is_none() {
                        log::warn!("no new connections for now: {error}");
                    }
                    self.rest(now);
                    return None;
                }
            }
        }
    }

    /// There is no room: rests for a while.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.rests_until = Some(now + REST);
    }
}

/// Errors of the one connection that was about to be accepted; the next may be fine.
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
