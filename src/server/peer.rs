//! One connection: its socket, its session, and where it stands in the lists of
//! [`Peers`](crate::server::peers::Peers).

use crate::connection::backlog::Spares;
use crate::connection::session::{Phase, Session};
use crate::server::schedule::Standing;
use crate::server::socket::Socket;

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) socket: Socket,
    pub(crate) session: Session,
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
    /// Heap bytes.
    pub(crate) held: usize,
}

impl Peer {
    /// A connection that was just accepted.
    pub(crate) fn new(socket: Socket, session: Session, standing: Standing) -> Self {
        Self { socket, session, standing, interrupted: false, to_flush: false, was_master: false }
    }

    /// What counts of it now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { phase: self.session.phase(), held: self.session.held() }
    }

    /// Whether serving it would find something.
    pub(crate) fn has_input(&self) -> bool {
        self.interrupted || self.socket.is_readable()
    }

    /// Whether flushing it would do something. A session that is ending is flushed even
    /// of nothing: that shuts its stream down.
    pub(crate) fn has_output(&self) -> bool {
        if self.session.unsent().is_empty() {
            self.session.phase() == Phase::Ending && !self.socket.is_shut_down()
        } else {
            self.socket.is_writable() || self.socket.is_broken()
        }
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
