//! Counters of the protocol since the start.

use crate::protocol::packet::ErrorCode;

/// Counted by the relay, as it decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Clients' packets that were passed on to the master.
    pub to_master: Traffic,
    /// The master's packets that were passed on to clients.
    pub to_client: Traffic,
    /// Errors that were sent, in the order of [`ErrorCode::ALL`].
    pub errors: [u64; ErrorCode::ALL.len()],
    /// Wrong secrets, of masters and of clients.
    pub wrong_secrets: u64,
    /// Guests that became clients.
    pub logins: u64,
    /// Connections that became master.
    pub masters: u64,
}

/// Packets of peers that were passed on; moss's own packets are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub packets: u64,
    /// Their bytes, as they were sent: JSON text, without the frames around it.
    pub bytes: u64,
}

impl Traffic {
    #[inline]
    pub(super) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}
