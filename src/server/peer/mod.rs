//! One connection: its socket, its session, TLS between the two if there is TLS, and its place
//! in the lists of [`Peers`](crate::server::peers::Peers). `transport` moves bytes between
//! socket and session.

mod transport;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) use transport::Buffers;

use crate::connection::backlog::Spares;
use crate::connection::ending::Ending;
use crate::connection::session::{HEAD_TIMEOUT, Phase, Session};
use crate::protocol::relay::Role;
use crate::server::peers::Arrival;
use crate::server::schedule::{Place, Standing};
use crate::server::socket::Socket;
use crate::server::world::World;
use crate::tls::Tls;

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer<W: World> {
    pub(crate) socket: Socket<W>,
    tls: Option<Box<Tls>>,
    pub(crate) session: Session,
    /// The peer's address; behind a trusted proxy, that of the last request's client.
    pub(crate) address: IpAddr,
    /// Whether it is counted among the connections of that address.
    pub(crate) counts: bool,
    /// Its role in the protocol.
    pub(crate) role: Role,
    /// Its place in the schedule.
    pub(crate) standing: Standing,
    /// Received frames are left, because its budget was spent or it has to wait.
    pub(crate) interrupted: bool,
    /// On the list of peers to flush.
    pub(crate) to_flush: bool,
    /// On the list of peers that are sent a page.
    pub(crate) to_send_body: bool,
    /// In the queue of idle connections.
    pub(crate) queued_as_idle: bool,
    /// It is or was master: moss's own packets to it may exceed the backlog limit, and are still
    /// sent when another connection takes over.
    pub(crate) was_master: bool,
}

/// What a peer contributes to the sums over all peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) role: Role,
    /// Heap bytes.
    pub(crate) held: usize,
    /// Bytes of an incomplete message.
    pub(crate) half: usize,
    /// Bytes that are not sent yet.
    pub(crate) unsent: usize,
}

impl Snapshot {
    /// The same for a peer that holds nothing.
    pub(crate) fn without_bytes(self) -> Self {
        Self { held: 0, half: 0, unsent: 0, ..self }
    }
}

impl<W: World> Peer<W> {
    /// A connection that was just accepted.
    pub(crate) fn new(
        socket: Socket<W>,
        tls: Option<Tls>,
        session: Session,
        arrival: &Arrival,
        standing: Standing,
    ) -> Self {
        Self {
            socket,
            tls: tls.map(Box::new),
            session,
            address: arrival.address,
            counts: !arrival.by_proxy,
            role: Role::Guest,
            standing,
            interrupted: false,
            to_flush: false,
            to_send_body: false,
            queued_as_idle: false,
            was_master: false,
        }
    }

    /// What it contributes to the sums now.
    #[inline]
    pub(crate) fn snapshot(&self) -> Snapshot {
        let backlog = self.session.backlog_held();
        let (partial, half) = if self.session.has_partial() { self.partial_held() } else { (0, 0) };
        let mut snapshot = Snapshot {
            phase: self.session.phase(),
            role: self.role,
            held: backlog + partial,
            half,
            unsent: self.session.backlog_len(),
        };
        if let Some(tls) = &self.tls {
            snapshot.held += tls.held();
            snapshot.unsent += tls.unsent().len();
            // A client is not to blame for an incomplete record if moss itself has not received
            // the rest: the client may have to wait for the master.
            let counts = match self.role {
                Role::Guest => true,
                Role::Client => !self.interrupted && !self.socket.is_readable(),
                Role::Master => false,
            };
            if counts && snapshot.phase != Phase::Ending {
                snapshot.half += tls.half();
            }
        }
        snapshot
    }

    /// Heap bytes of what is not sent yet.
    pub(crate) fn unsent_held(&self) -> usize {
        self.session.backlog_held() + self.tls.as_ref().map_or(0, |tls| tls.unsent_held())
    }

    /// Heap bytes of its session and of TLS.
    pub(crate) fn held(&self) -> usize {
        self.snapshot().held
    }

    /// Heap bytes of an incomplete message or request head, and how many of them count as a half
    /// (see `memory`). The master's do not, nor do whole frames that wait because a share was
    /// spent: the schedule limits those.
    #[cold]
    fn partial_held(&self) -> (usize, usize) {
        let fragments = self.session.fragments_held();
        // A request that waits until its peer has read earlier answers is not scheduled.
        let is_scheduled = self.interrupted && !self.session.is_busy();
        let half = match (self.role, is_scheduled) {
            (Role::Master, _) => 0,
            (_, true) => fragments,
            (_, false) => fragments + self.session.unparsed(),
        };
        (self.session.partial_held(), half)
    }

    /// Sets its role in the protocol.
    pub(crate) fn take_role(&mut self, role: Role) {
        self.role = role;
        self.was_master |= role == Role::Master;
    }

    /// Whether it is not a WebSocket yet, or was sent everything and only has to close its side.
    pub(crate) fn is_on_its_way(&self) -> bool {
        match self.session.phase() {
            Phase::Head | Phase::Kept => true,
            Phase::Open => false,
            Phase::Ending => self.session.is_http() || self.session.unsent().is_empty(),
        }
    }

    /// Whether more of a page can be sent to it.
    pub(crate) fn has_body_to_send(&self) -> bool {
        self.session.wants_body() && self.socket.is_writable()
    }

    /// Sends up to this many bytes of a page, as far as the socket takes them.
    pub(crate) fn send_body(&mut self, bytes: usize, spares: &mut Spares, now: Instant) {
        self.socket.limit_send_buffer();
        self.session.allow(bytes);
        self.flush(spares, now);
        self.session.allow(0);
    }

    /// Whether serving it would find something to do.
    #[inline]
    pub(crate) fn has_input(&self) -> bool {
        if self.session.is_busy() {
            return false;
        }
        self.interrupted || self.socket.is_readable() || self.has_untold_end()
    }

    /// Whether TLS has ended, and the session does not know it yet.
    fn has_untold_end(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_ended()) && !self.session.has_peer_ended()
    }

    /// Whether its session can't be sent to yet.
    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether flushing it would do something. An ending session is flushed even if nothing is
    /// queued: that shuts its stream down.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        let unsent = match &self.tls {
            None => self.session.backlog_len() > 0,
            Some(tls) if tls.is_handshaking() && self.session.backlog_len() > 0 => {
                // The session's bytes have to wait for the handshake.
                return (!tls.unsent().is_empty() && self.socket.is_writable())
                    || self.socket.is_broken();
            }
            Some(tls) => self.session.backlog_len() > 0 || !tls.unsent().is_empty(),
        };
        if unsent {
            self.socket.is_writable() || self.socket.is_broken()
        } else {
            self.session.phase() == Phase::Ending && !self.socket.is_shut_down()
        }
    }

    /// Whether TLS resumed an earlier session; `None` before the handshake is complete, or without
    /// TLS.
    pub(crate) fn has_resumed(&self) -> Option<bool> {
        self.tls.as_ref()?.has_resumed()
    }

    /// Whether it ends before a handshake that had begun is complete.
    pub(crate) fn breaks_handshake(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| {
            !tls.is_new()
                && (tls.is_handshaking() || (tls.has_failed() && tls.has_resumed().is_none()))
        })
    }

    /// If the session ends during the handshake, nothing of it can be sent: there is nothing left
    /// to wait for.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.session.phase() == Phase::Ending && self.is_handshaking() {
            self.session.broken(now);
        }
    }

    /// Whether TLS stands between socket and session.
    #[inline]
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Why TLS has failed, in rustls's words, or that the handshake is not complete.
    pub(crate) fn tls_failure(&self) -> &str {
        let failure = self.tls.as_ref().and_then(|tls| tls.failure());
        failure.unwrap_or("handshake not finished")
    }

    /// Whether nothing is left to do or to wait for. TLS may have to send close_notify; and if it
    /// has failed, received bytes are read before the connection is closed: closing it with
    /// unread bytes would reset it, and the alert could be lost.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let sent_all = |tls: &Tls| {
            self.socket.is_broken()
                || (self.socket.is_shut_down() && !(tls.has_failed() && self.socket.is_readable()))
        };
        self.session.is_over(now)
            && (self.session.is_overdue(now) || self.tls.as_ref().is_none_or(|tls| sent_all(tls)))
    }

    /// Checks its deadlines; see [`Session::tick`].
    pub(crate) fn tick(&mut self, keepalive: Duration, now: Instant) {
        if self.standing.place != Place::Idle {
            // It has sent something that is only not handled yet.
            self.session.heard(now);
        }
        if self.is_handshaking() && now >= self.session.since() + HEAD_TIMEOUT {
            self.session.drop_now(Ending::Tls, now);
        } else {
            self.session.tick(keepalive, now);
        }
    }
}

/// Its name in the log.
impl<W: World> fmt::Display for Peer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match (self.session.is_http(), self.role) {
            (true, Role::Guest) => "visitor",
            (_, Role::Guest) => "guest",
            (_, Role::Client) => "client",
            (_, Role::Master) => "master",
        };
        write!(f, "{role} at {}", self.address)
    }
}
