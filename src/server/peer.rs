//! One connection: its socket, its session, and where it stands in
//! [`Peers`](crate::server::peers::Peers)' lists and sums.

use std::io;

use crate::connection::backlog::Spares;
use crate::connection::session::{Phase, Session};
use crate::server::socket::Socket;

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) socket: Socket,
    pub(crate) session: Session,
    /// The budget ended, or the client had to wait, before the frames did.
    pub(crate) interrupted: bool,
    // On which lists it stands, so that it stands there once.
    pub(crate) on_ready: bool,
    pub(crate) on_waiting: bool,
    pub(crate) on_unflushed: bool,
    /// Has been master: what moss itself had to tell it may stand above the limit, and is
    /// still owed to it when another takes over.
    pub(crate) was_master: bool,
    /// Counts among the open WebSockets.
    pub(crate) counted_open: bool,
    /// What counts of it in the sum of all that is held.
    pub(crate) counted_held: usize,
}

impl Peer {
    /// A connection that was just accepted.
    pub(crate) fn new(socket: Socket, session: Session) -> Self {
        Self {
            socket,
            session,
            interrupted: false,
            on_ready: false,
            on_waiting: false,
            on_unflushed: false,
            was_master: false,
            counted_open: false,
            counted_held: 0,
        }
    }

    /// Sends as much as the socket takes, and shuts it down after the last words.
    ///
    /// # Errors
    /// Nothing can be sent any more.
    pub(crate) fn flush(&mut self, spares: &mut Spares) -> io::Result<()> {
        if self.socket.is_broken() {
            // Queued since the send that failed: it would be waited for in vain.
            self.session.discard_unsent();
        }
        while !self.session.unsent().is_empty() && self.socket.is_writable() {
            let count = self.socket.send(self.session.unsent())?;
            self.session.advance(count, spares);
        }
        if self.session.phase() == Phase::Ending && self.session.unsent().is_empty() {
            self.socket.shut_down();
        }
        Ok(())
    }

    /// Brings the sum of what all sessions hold up to date.
    pub(crate) fn recount(&mut self, sum: &mut usize) {
        let held = self.session.held();
        *sum = *sum - self.counted_held + held;
        self.counted_held = held;
    }
}
