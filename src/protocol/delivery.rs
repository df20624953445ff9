//! What the relay decides: what has to reach whom, and who is what from now on.

use crate::protocol::packet::Outgoing;

/// What a connection is to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Neither of the two.
    Guest,
    /// Logged in.
    Client,
    /// The one that proved to be it last.
    Master,
}

/// Something that has to reach a connection, or to be known of it.
#[derive(Clone, Copy, Debug)]
pub enum Delivery<'a> {
    /// The connection is this from now on. It was a guest at first.
    Role {
        /// Whose role.
        id: u64,
        /// Its new one.
        role: Role,
    },
    /// A packet.
    Packet {
        /// The receiver.
        to: u64,
        /// What it is sent.
        packet: Outgoing<'a>,
    },
    /// One of many copies of one packet. The caller should send each before it takes the
    /// next: queued together they could be gigabytes.
    Broadcast {
        /// The receiver.
        to: u64,
        /// What it, like all clients, is sent.
        packet: Outgoing<'a>,
    },
    /// The connection sent a wrong secret. It is told so by a packet of its own.
    WrongSecret {
        /// Whose connection.
        id: u64,
    },
    /// The connection is to be closed. The relay has forgotten it already.
    Close {
        /// Whose connection.
        id: u64,
        /// Why.
        why: Expulsion<'a>,
    },
}

/// Why the relay has a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expulsion<'a> {
    /// The master wants it, for this reason.
    Kicked(&'a str),
    /// It sent [`WRONG_SECRETS`](crate::protocol::relay::WRONG_SECRETS) wrong secrets.
    WrongSecrets,
    /// It logged in where only the next master may be, see [`Relay::restrict`](crate::protocol::relay::Relay::restrict).
    NoPlace,
}
