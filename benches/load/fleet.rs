//! The load generator's connections: one thread, one epoll instance, frames
//! encoded beforehand. It has to cost less than the server that it loads.
//!
//! Over TCP or over TLS. Pings are answered here; all other packets go to the caller.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::{frame, tls};

const RECEIVE_BUFFER_BYTES: usize = 512 * 1024;
/// Of ciphertext at a time: what it decrypts to fits behind the start of a frame.
const WIRE_BUFFER_BYTES: usize = RECEIVE_BUFFER_BYTES / 2;
/// Ports of one source address, well below what the kernel hands out.
const PORTS_OF_AN_ADDRESS: usize = 8_192;
/// A server that says nothing for so long has lost something.
const SILENCE: Duration = Duration::from_secs(20);
/// The WebSocket key stands last, where the bare relay looks for it.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) enum Heard<'a> {
    Upgraded,
    Text(&'a [u8]),
}

struct Peer {
    socket: OwnedFd,
    tls: Option<Box<tls::Connection>>,
    upgraded: bool,
    partial: Vec<u8>,
    /// Without TLS, which keeps its own.
    unsent: Vec<u8>,
}

impl Peer {
    /// Sends at once what the socket takes, and the rest when it takes more.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            return tls.send(&self.socket, bytes);
        }
        let sent = if self.unsent.is_empty() { send(&self.socket, bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    fn send_rest(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            return tls.flush(&self.socket);
        }
        if !self.unsent.is_empty() {
            let sent = send(&self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// Takes what the socket holds into `space`, by way of `wire` if it is encrypted.
    fn receive(&mut self, space: &mut [u8], wire: &mut [u8]) -> io::Result<Received> {
        let buffer = if self.tls.is_some() { &mut *wire } else { &mut *space };
        let taken = match net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((taken, _)) => taken,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        let drained = taken < buffer.len();
        let bytes = match &mut self.tls {
            Some(tls) => tls.receive(&self.socket, &wire[..taken], space)?,
            None => taken,
        };
        Ok(Received { bytes, drained })
    }
}

struct Received {
    bytes: usize,
    /// The socket held no more.
    drained: bool,
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
    /// Pings answered so far.
    pub(crate) pings: u64,
}

impl Fleet {
    /// Of peers that speak TLS if there is a client for it.
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
            pings: 0,
        })
    }

    /// From now on peers resume the TLS sessions of earlier ones.
    pub(crate) fn resume(&self) {
        if let Some(tls) = &self.tls {
            tls.resume();
        }
    }

    /// Connects one more peer, asks for the upgrade, and returns its number.
    pub(crate) fn connect(&mut self) -> io::Result<usize> {
        let number = self.peers.len();
        let socket =
            net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::bind(&socket, &self.source(number))?;
        net::connect(&socket, &self.server)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        epoll::add(
            &self.epoll,
            &socket,
            epoll::EventData::new_u64(number as u64),
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET,
        )?;
        let tls = self.tls.as_ref().map(tls::Client::connection).transpose()?;
        self.peers.push(Some(Peer {
            socket,
            tls: tls.map(Box::new),
            upgraded: false,
            partial: Vec::new(),
            unsent: Vec::new(),
        }));
        self.send(number, UPGRADE)?;
        Ok(number)
    }

    /// One address has some 28,000 ports, and each rests for a minute after a
    /// peer has left: so each server is visited from addresses of its own.
    fn source(&self, number: usize) -> SocketAddrV4 {
        let host = usize::from(self.server.port()) + number / PORTS_OF_AN_ADDRESS;
        SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2 + (host % 250) as u8), 0)
    }

    /// Sends at once what the socket takes, and the rest when it takes more.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        self.peers[number].as_mut().ok_or(io::ErrorKind::NotConnected)?.send(bytes)
    }

    /// The peer goes as a program does that ends: no Close, only TCP's end.
    pub(crate) fn leave(&mut self, number: usize) {
        self.peers[number] = None;
    }

    /// Waits for the server and hands over what it said. An error if it says
    /// nothing for long or ends a connection.
    pub(crate) fn turn(&mut self, heard: impl FnMut(usize, Heard<'_>)) -> io::Result<()> {
        if self.turn_within(SILENCE, heard)? {
            Ok(())
        } else {
            Err(io::Error::other("the server is silent"))
        }
    }

    /// The same, but silence is no error: false says that there was nothing.
    pub(crate) fn turn_within(
        &mut self,
        patience: Duration,
        mut heard: impl FnMut(usize, Heard<'_>),
    ) -> io::Result<bool> {
        let patience =
            Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
        let mut events = mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = event.data.u64() as usize;
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT)
                && let Some(peer) = &mut self.peers[number]
            {
                peer.send_rest()?;
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
            let received = peer.receive(&mut self.received[kept..], &mut self.wire)?;
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
                        peer.send(&self.pong)?;
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
    /// Resets what is still connected: thousands of ports would otherwise
    /// rest for a minute, and the next round would find none.
    fn drop(&mut self) {
        for peer in self.peers.iter().flatten() {
            // At worst the port rests.
            let _ = sockopt::set_socket_linger(&peer.socket, Some(Duration::ZERO));
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    match net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
