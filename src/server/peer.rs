//! One connection: its socket, its session, and where it stands in the lists of
//! [`Peers`](crate::server::peers::Peers).

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use crate::connection::backlog::Spares;
use crate::connection::session::{Input, Phase, Session};
use crate::protocol::relay::Role;
use crate::server::schedule::Standing;
use crate::server::socket::{Received, Socket};
use crate::server::world::World;

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer<W: World> {
    pub(crate) socket: Socket<W>,
    pub(crate) session: Session,
    /// Whose connection it is.
    pub(crate) address: IpAddr,
    /// What it is to the protocol.
    pub(crate) role: Role,
    /// Where it stands in the schedule.
    pub(crate) standing: Standing,
    /// Its budget was spent, or it had to wait, before its received frames were handled.
    pub(crate) interrupted: bool,
    /// On the list of those to be flushed.
    pub(crate) to_flush: bool,
    /// Has been master: what moss itself had to tell it may stand above the limit, and is
    /// still owed to it when another takes over.
    pub(crate) was_master: bool,
}

/// What counts of a peer in the sums over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) role: Role,
    /// Heap bytes.
    pub(crate) held: usize,
    /// Bytes of a message that is not whole.
    pub(crate) half: usize,
}

impl<W: World> Peer<W> {
    /// A connection that was just accepted.
    pub(crate) fn new(
        socket: Socket<W>,
        session: Session,
        address: IpAddr,
        standing: Standing,
    ) -> Self {
        Self {
            socket,
            session,
            address,
            role: Role::Guest,
            standing,
            interrupted: false,
            to_flush: false,
            was_master: false,
        }
    }

    /// What counts of it now.
    #[inline]
    pub(crate) fn snapshot(&self) -> Snapshot {
        let backlog = self.session.backlog_held();
        let (partial, half) = if self.session.has_partial() { self.partial_held() } else { (0, 0) };
        Snapshot { phase: self.session.phase(), role: self.role, held: backlog + partial, half }
    }

    /// Heap bytes of what it sent of a message, or a request head, that is not whole; and how
    /// much of that counts against the bounds for it. The master's does not. Neither does what
    /// waits only because a share was spent: the schedule bounds that.
    #[cold]
    fn partial_held(&self) -> (usize, usize) {
        let fragments = self.session.fragments_held();
        let half = match (self.role, self.interrupted) {
            (Role::Master, _) => 0,
            (_, true) => fragments,
            (_, false) => fragments + self.session.unparsed(),
        };
        (self.session.partial_held(), half)
    }

    /// It is this to the protocol from now on.
    pub(crate) fn take_role(&mut self, role: Role) {
        self.role = role;
        self.was_master |= role == Role::Master;
    }

    /// Whether it is no WebSocket yet, or was told its last words and only has to hang up.
    pub(crate) fn is_on_its_way(&self) -> bool {
        match self.session.phase() {
            Phase::Head => true,
            Phase::Open => false,
            Phase::Ending => self.session.is_http() || self.session.unsent().is_empty(),
        }
    }

    /// Whether serving it would find something.
    #[inline]
    pub(crate) fn has_input(&self) -> bool {
        self.interrupted || self.socket.is_readable()
    }

    /// Whether flushing it would do something. A session that is ending is flushed even
    /// of nothing: that shuts its stream down.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        if self.session.backlog_len() == 0 {
            self.session.phase() == Phase::Ending && !self.socket.is_shut_down()
        } else {
            self.socket.is_writable() || self.socket.is_broken()
        }
    }

    /// Receives what there is, or goes on with what an earlier share left: a walk over the
    /// bytes. Nothing if there is nothing to do.
    pub(crate) fn receive<'b>(&mut self, buffer: &'b mut [u8], now: Instant) -> Option<Input<'b>> {
        let count = match self.interrupted {
            true => 0,
            false => match self.socket.receive(buffer) {
                Received::Bytes(count) => count,
                Received::Blocked => return None,
                Received::End => {
                    self.session.peer_ended(now);
                    return None;
                }
                Received::Broken => {
                    self.session.broken(now);
                    return None;
                }
            },
        };
        Some(self.session.take_in(&mut buffer[..count], now))
    }

    /// Sends as much as the socket takes, and shuts it down after the last words.
    pub(crate) fn flush(&mut self, spares: &mut Spares) {
        while !self.session.unsent().is_empty() && self.socket.is_writable() {
            // An error shows as a broken socket.
            let count = self.socket.send(self.session.unsent()).unwrap_or(0);
            self.session.advance(count, spares);
        }
        if self.socket.is_broken() {
            // It would be waited for in vain. What the peer sent is still read: the socket
            // is readable until that meets the end.
            self.session.discard_unsent();
        }
        if self.session.phase() == Phase::Ending && self.session.unsent().is_empty() {
            self.socket.shut_down();
        }
    }
}

/// As the log names it.
impl<W: World> fmt::Display for Peer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match (self.session.is_http(), self.role) {
            (true, _) => "visitor",
            (_, Role::Guest) => "guest",
            (_, Role::Client) => "client",
            (_, Role::Master) => "master",
        };
        write!(f, "{role} at {}", self.address)
    }
}
