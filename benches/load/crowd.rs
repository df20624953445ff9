//! A master and its logged-in clients, as peers of one fleet.

use std::io;

use super::fleet::{Fleet, Heard};
use super::server::Server;
use super::{frame, packets};

/// The master's number in the fleet; client `n` is peer `n + 1`.
pub(crate) const MASTER: usize = 0;
/// Connections that are opened at the same time: enough to keep a server busy, and far fewer
/// than its accept queue holds.
const WINDOW: usize = 64;
/// Bytes of the session description that every client is offered.
const DESCRIPTION_BYTES: usize = 2_000;
/// Bytes of a visitor's only packet.
const PACKET_BYTES: usize = 200;

pub(crate) struct Crowd {
    pub(crate) fleet: Fleet,
    offer: Vec<u8>,
    login: Vec<u8>,
    claim: Vec<u8>,
}

impl Crowd {
    /// A master without clients.
    pub(crate) fn new(server: &Server) -> io::Result<Self> {
        Self::offering(server, DESCRIPTION_BYTES)
    }

    /// A master without clients, whose offer has this many bytes.
    pub(crate) fn offering(server: &Server, description: usize) -> io::Result<Self> {
        let description = packets::description(description);
        let mut crowd = Self {
            fleet: Fleet::new(server.address(), server.client()?)?,
            offer: packets::offer(&description),
            login: frame::masked(frame::TEXT, packets::LOGIN),
            claim: frame::masked(frame::TEXT, &packets::set_master(&description)),
        };
        let master = crowd.connect()?;
        crowd.take_over(master, 0)?;
        Ok(crowd)
    }

    /// Lets `clients` more join, or as many as it takes to get enough TLS tickets, so that later
    /// peers resume a session.
    pub(crate) fn resume_from(&mut self, clients: usize) -> io::Result<()> {
        self.join(clients.max(WINDOW))?;
        self.fleet.resume();
        Ok(())
    }

    /// Connects one peer that does not log in.
    pub(crate) fn connect(&mut self) -> io::Result<usize> {
        let peer = self.fleet.connect()?;
        let mut upgraded = false;
        while !upgraded {
            self.fleet.turn(|_, heard| upgraded |= matches!(heard, Heard::Upgraded))?;
        }
        Ok(peer)
    }

    /// Makes `master` the master and waits until it and `clients` know.
    pub(crate) fn take_over(&mut self, master: usize, clients: usize) -> io::Result<()> {
        self.fleet.send(master, &self.claim)?;
        let (mut confirmed, mut offered) = (false, 0);
        let offer = &self.offer;
        while !confirmed || offered < clients {
            self.fleet.turn(|_, heard| match heard {
                Heard::Text(text) if text == offer => offered += 1,
                Heard::Text(text) if text == packets::CONFIRMATION => confirmed = true,
                // The replaced master is told so.
                _ => {}
            })?;
        }
        Ok(())
    }

    /// Connects and logs in `clients` more; a client has joined once it has the offer.
    pub(crate) fn join(&mut self, clients: usize) -> io::Result<()> {
        let mut started = 0;
        let mut joined = 0;
        while joined < clients {
            while started < clients.min(joined + WINDOW) {
                self.fleet.connect()?;
                started += 1;
            }
            let steps = self.turn()?;
            joined += steps.offered.len();
        }
        Ok(())
    }

    /// Connects and logs in `clients` more; each sends a packet, and leaves when the master has
    /// received it.
    pub(crate) fn pass_through(&mut self, clients: usize) -> io::Result<()> {
        let mut started = 0;
        let mut left = 0;
        while left < clients {
            while started < clients.min(left + WINDOW) {
                self.fleet.connect()?;
                started += 1;
            }
            let steps = self.turn()?;
            for peer in steps.offered {
                let packet = packets::candidate(peer, PACKET_BYTES);
                self.fleet.send(peer, &frame::masked(frame::TEXT, &packet))?;
            }
            for peer in steps.passed_on {
                self.fleet.leave(peer);
                left += 1;
            }
        }
        Ok(())
    }

    /// Handles one turn of new peers: those that have connected log in.
    fn turn(&mut self) -> io::Result<Steps> {
        let mut steps = Steps::default();
        let mut upgraded = Vec::new();
        let mut strange = false;
        let offer = &self.offer;
        self.fleet.turn(|peer, heard| match heard {
            Heard::Upgraded => upgraded.push(peer),
            Heard::Text(text) if text == offer => steps.offered.push(peer),
            Heard::Text(text) => match packets::client_of(text) {
                Some(client) if peer == MASTER => steps.passed_on.push(client),
                _ => strange = true,
            },
        })?;
        if strange {
            return Err(io::Error::other("a login was not answered by the offer"));
        }
        for peer in upgraded {
            self.fleet.send(peer, &self.login)?;
        }
        Ok(steps)
    }
}

/// The peers that made progress in a turn.
#[derive(Default)]
struct Steps {
    offered: Vec<usize>,
    passed_on: Vec<usize>,
}
