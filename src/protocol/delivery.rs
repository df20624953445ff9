//! What the relay decides: packets to send, roles, and connections to close.

use crate::protocol::packet::Outgoing;

/// What a connection is to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Neither client nor master.
    Guest,
    /// Logged in.
    Client,
    /// The connection that claimed it last with the right secret.
    Master,
}

/// One decision about one connection.
#[derive(Clone, Copy, Debug)]
pub enum Delivery<'a> {
    /// The connection has this role from now on. Every connection starts as a guest.
    Role {
        /// The connection.
        id: u64,
        /// Its new role.
        role: Role,
    },
    /// A packet.
    Packet {
        /// The receiver.
        to: u64,
        /// The packet.
        packet: Outgoing<'a>,
    },
    /// One of many copies of one packet. The caller should send each copy before it takes
    /// the next: queued together they could take gigabytes.
    Broadcast {
        /// The receiver.
        to: u64,
        /// The packet that all clients get.
        packet: Outgoing<'a>,
    },
    /// The connection sent a wrong secret, to be logged. The error packet to it is another
    /// delivery.
    WrongSecret {
        /// The connection.
        id: u64,
    },
    /// The connection is to be closed. The relay has forgotten it already.
    Close {
        /// The connection.
        id: u64,
        /// Why.
        why: Expulsion<'a>,
    },
}

/// Why the relay closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expulsion<'a> {
    /// The master kicked it, for this reason.
    Kicked(&'a str),
    /// It sent [`WRONG_SECRETS`](crate::protocol::relay::WRONG_SECRETS) wrong secrets.
    WrongSecrets,
    /// It logged in on a place that is reserved for the next master, see
    /// [`Relay::restrict`](crate::protocol::relay::Relay::restrict).
    NoPlace,
}
