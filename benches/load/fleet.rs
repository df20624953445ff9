//! The load generator's connections, over TCP or TLS: one thread, one epoll instance, frames
//! encoded in advance, since it must take less CPU time than the server that it loads.
//!
//! Pings are answered here; all other packets go to the caller.

use std::io;
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll;

use super::link::{self, Link, RECEIVE_BUFFER_BYTES, WIRE_BUFFER_BYTES};
use super::{frame, tls};

/// A server that sends nothing for this long has lost something.
const SILENCE: Duration = Duration::from_secs(20);
/// The WebSocket key is last, where the bare relay expects it.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) enum Heard<'a> {
    Upgraded,
    Text(&'a [u8]),
}

struct Peer {
    link: Link,
    upgraded: bool,
    partial: Vec<u8>,
}

pub(crate) struct Fleet {
    server: SocketAddrV4,
    tls: Option<tls::Client>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    peers: Vec<Option<Peer>>,
    received: Vec<u8>,
    wire: Vec<u8>,
    pong: Vec<u8>,
    narrow: bool,
    /// Pings answered so far.
    pub(crate) pings: u64,
}

impl Fleet {
    /// A fleet without peers. They use TLS if `tls` is given.
    pub(crate) fn new(server: SocketAddrV4, tls: Option<tls::Client>) -> io::Result<Self> {
        let wire = if tls.is_some() { vec![0; WIRE_BUFFER_BYTES] } else { Vec::new() };
        Ok(Self {
            server,
            tls,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
            peers: Vec::new(),
            received: vec![0; RECEIVE_BUFFER_BYTES],
            wire,
            pong: frame::masked(frame::PONG, b""),
            narrow: false,
            pings: 0,
        })
    }

    /// From now on peers resume the TLS sessions of earlier ones.
    pub(crate) fn resume(&self) {
        if let Some(tls) = &self.tls {
            tls.resume();
        }
    }

    /// From now on, a peer's receive buffer holds only two kilobytes: the rest of what it does not
    /// read stays in the server.
    pub(crate) fn narrow(&mut self) {
        self.narrow = true;
    }

    /// Connects one more peer, requests the upgrade, and returns its number.
    pub(crate) fn connect(&mut self) -> io::Result<usize> {
        let number = self.peers.len();
        let link = Link::connect(self.server, number, self.narrow, self.tls.as_ref())?;
        let events = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        link.watch(&self.epoll, number, events)?;
        self.peers.push(Some(Peer { link, upgraded: false, partial: Vec::new() }));
        self.send(number, UPGRADE)?;
        Ok(number)
    }

    /// Sends what the socket takes now, and the rest when there is room.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        self.peers[number].as_mut().ok_or(io::ErrorKind::NotConnected)?.link.send(bytes)
    }

    /// Disconnects a peer as if its program exited: TCP ends without a Close frame.
    pub(crate) fn leave(&mut self, number: usize) {
        self.peers[number] = None;
    }

    /// Waits for the server, and passes on what it sent. It is an error if it sends nothing for
    /// long, or ends a connection.
    pub(crate) fn turn(&mut self, heard: impl FnMut(usize, Heard<'_>)) -> io::Result<()> {
        if self.turn_within(SILENCE, heard)? {
            Ok(())
        } else {
            Err(io::Error::other("the server is silent"))
        }
    }

    /// The same, but returns false if the server sent nothing for as long as `patience`.
    pub(crate) fn turn_within(
        &mut self,
        patience: Duration,
        mut heard: impl FnMut(usize, Heard<'_>),
    ) -> io::Result<bool> {
        let mut events = mem::take(&mut self.events);
        link::wait(&self.epoll, &mut events, patience)?;
        for event in &events {
            let number = event.data.u64() as usize;
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT)
                && let Some(peer) = &mut self.peers[number]
            {
                peer.link.flush()?;
            }
            if flags.contains(epoll::EventFlags::IN) {
                self.receive(number, &mut heard)?;
            }
        }
        self.events = events;
        Ok(!self.events.is_empty())
    }

    fn receive(
        &mut self,
        number: usize,
        heard: &mut impl FnMut(usize, Heard<'_>),
    ) -> io::Result<()> {
        while let Some(peer) = &mut self.peers[number] {
            let kept = peer.partial.len();
            self.received[..kept].copy_from_slice(&peer.partial);
            let received = peer.link.receive(&mut self.received[kept..], &mut self.wire)?;
            let filled = &self.received[..kept + received.bytes];
            let mut used = 0;
            if !peer.upgraded && filled.ends_with(b"\r\n\r\n") {
                if !filled.starts_with(b"HTTP/1.1 101 ") {
                    return Err(io::Error::other("the server refused the upgrade"));
                }
                peer.upgraded = true;
                used = filled.len();
                heard(number, Heard::Upgraded);
            }
            while peer.upgraded
                && let Some(head) = frame::head(&filled[used..])
                && let Some(payload) = filled[used + head.bytes..].get(..head.payload)
            {
                used += head.bytes + head.payload;
                match head.opcode {
                    frame::TEXT => heard(number, Heard::Text(payload)),
                    frame::PING => {
                        self.pings += 1;
                        peer.link.send(&self.pong)?;
                    }
                    _ => return Err(io::Error::other("the server closes a connection")),
                }
            }
            peer.partial.clear();
            peer.partial.extend_from_slice(&filled[used..]);
            if received.drained {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Drop for Fleet {
    /// Resets the connections: otherwise their ports could not be used for a minute, and the next
    /// round would find none free.
    fn drop(&mut self) {
        self.peers.drain(..).flatten().for_each(|peer| peer.link.reset());
    }
}
