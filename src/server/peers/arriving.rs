//! New connections: for which address each counts, and what happens if that address has too
//! many.
//!
//! A direct connection counts for its own address, always. One from a trusted proxy counts
//! for nobody (proxies have no limit) until a request names its client; then it counts for
//! that address until the answer is sent, or for good if it becomes a WebSocket. Between two
//! requests it counts for nobody again, since the last client can't close it.

use std::io;
use std::net::IpAddr;

use super::Peers;
use crate::connection::ending::Ending;
use crate::connection::session::Session;
use crate::http::answer::Refusal;
use crate::http::forwarded::Requester;
use crate::server::addresses::{Entered, are_one};
use crate::server::peer::Peer;
use crate::server::schedule::Standing;
use crate::server::socket::Socket;
use crate::server::world::{Endpoint, World};
use crate::tls::Tls;

/// A connection that was accepted and is not added yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) address: IpAddr,
    /// From a trusted proxy.
    pub(crate) by_proxy: bool,
    /// It only gets the answer that its address has too many connections.
    pub(super) is_excess: bool,
}

impl<W: World> Peers<W> {
    /// Counts a connection that was just accepted. `None` if it is dropped: its address has far
    /// too many, or too many at the TLS endpoint, where only a handshake could tell it so.
    pub(crate) fn enter(&mut self, address: IpAddr, endpoint: Endpoint) -> Option<Arrival> {
        if self.addresses.is_trusted(address) {
            return Some(Arrival { address, by_proxy: true, is_excess: false });
        }
        let entered = self.addresses.enter(address);
        let is_excess = entered == Entered::Over;
        if entered == Entered::FarOver || (is_excess && endpoint == Endpoint::Tls) {
            log::debug!("visitor at {address}: dropped, its address has too many connections");
            self.turn_away(&Arrival { address, by_proxy: false, is_excess });
            return None;
        }
        Some(Arrival { address, by_proxy: false, is_excess })
    }

    /// Adds a connection that was just accepted; refuses it if its address has too many. One
    /// that can't be registered is closed by dropping it.
    pub(crate) fn accept(
        &mut self,
        mut stream: W::Stream,
        arrival: Arrival,
        tls: Option<Tls>,
        world: &mut W,
    ) {
        let mut session = Session::new(self.now);
        if arrival.by_proxy {
            session.came_by_proxy();
        }
        let standing = Standing::new(&self.schedule);
        let added = self.table.insert_with(|id| {
            world.register(&mut stream, id as usize)?;
            io::Result::Ok(Peer::new(Socket::new(stream), tls, session, &arrival, standing))
        });
        match added {
            Ok(id) => {
                self.counters.accepted += 1;
                if arrival.by_proxy {
                    self.proxied.insert(id, arrival.address);
                }
                log::debug!("{id}, visitor at {}: connected", arrival.address);
                if arrival.is_excess {
                    let now = self.now;
                    self.with(id, |peer, _| peer.session.refuse(Refusal::PerAddress, now));
                }
            }
            Err(error) => {
                self.turn_away(&arrival);
                log::warn!("connection dropped, it can't be polled: {error}");
            }
        }
    }

    /// Counts a connection that is dropped at once.
    pub(crate) fn turn_away(&mut self, arrival: &Arrival) {
        self.counters.accepted += 1;
        self.counters.close(Ending::Dropped);
        if !arrival.by_proxy {
            self.addresses.leave(arrival.address);
        }
    }

    /// A request has come from a trusted proxy; it is refused if its client has too many
    /// connections.
    #[cold]
    pub(crate) fn come_from(&mut self, id: u64, requester: Requester) {
        let now = self.now;
        match self.count_for(id, requester) {
            Entered::Within => {}
            Entered::Over => {
                self.with(id, |peer, _| peer.session.refuse(Refusal::PerAddress, now));
            }
            Entered::FarOver => {
                self.with(id, |peer, _| {
                    peer.session.drop_now(Ending::Dropped, now);
                    peer.give_up(now);
                });
            }
        }
    }

    /// Counts the connection for this client from now on.
    fn count_for(&mut self, id: u64, requester: Requester) -> Entered {
        let Some(peer) = self.table.get_mut(id) else { return Entered::Within };
        let Some(&proxy) = self.proxied.get(&id) else { return Entered::Within };
        let address = match requester {
            Requester::Proxy => proxy,
            Requester::Address(address) => address,
        };
        let before = std::mem::replace(&mut peer.address, address);
        log::debug!("{id}, {peer}: request through {proxy}");
        if peer.counts && are_one(before, address) {
            return Entered::Within;
        }
        let counted = std::mem::replace(&mut peer.counts, !self.addresses.is_trusted(address));
        if counted {
            self.addresses.leave(before);
        }
        if peer.counts { self.addresses.enter(address) } else { Entered::Within }
    }

    /// Counts a connection of a proxy for nobody, between two requests. The log still names the
    /// client of the last request.
    pub(super) fn return_to_proxy(&mut self, id: u64) {
        if let Some(peer) = self.table.get_mut(id)
            && self.proxied.contains_key(&id)
            && std::mem::take(&mut peer.counts)
        {
            self.addresses.leave(peer.address);
        }
    }
}
