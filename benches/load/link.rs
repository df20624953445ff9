//! One connection of the load generator, over TCP or TLS, and the wait for many.
//!
//! Only connecting and the wait block.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::tls;

/// Enough for any burst of the benches.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 512 * 1024;
/// Ciphertext received at a time: decrypted, with what is left from before, it fits into the
/// receive buffer.
pub(crate) const WIRE_BUFFER_BYTES: usize = RECEIVE_BUFFER_BYTES / 2;
/// Ports used of one source address: far fewer than the kernel has for it.
const PORTS_OF_AN_ADDRESS: usize = 8_192;

pub(crate) struct Link {
    socket: OwnedFd,
    tls: Option<Box<tls::Connection>>,
    /// Bytes that the socket has not taken. With TLS, `tls` holds them.
    unsent: Vec<u8>,
}

pub(crate) struct Received {
    pub(crate) bytes: usize,
    /// The socket has no more bytes.
    pub(crate) drained: bool,
}

impl Link {
    /// Connects the load generator's link of this number, with TLS if `tls` is given. If `narrow`,
    /// its receive buffer holds two kilobytes.
    pub(crate) fn connect(
        server: SocketAddrV4,
        number: usize,
        narrow: bool,
        tls: Option<&tls::Client>,
    ) -> io::Result<Self> {
        let socket =
            net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if narrow {
            // Before it connects, when the window is announced. The kernel raises 0 to its minimum.
            sockopt::set_socket_recv_buffer_size(&socket, 0)?;
        }
        net::bind(&socket, &source(server, number))?;
        net::connect(&socket, &server)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let tls = tls.map(tls::Client::connection).transpose()?;
        Ok(Self { socket, tls: tls.map(Box::new), unsent: Vec::new() })
    }

    /// Registers this link with `epoll`, as `number`.
    pub(crate) fn watch(
        &self,
        epoll: &OwnedFd,
        number: usize,
        events: epoll::EventFlags,
    ) -> io::Result<()> {
        let number = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(epoll, &self.socket, number, events)?)
    }

    /// Sends what the socket takes now; `flush` sends the rest when there is room.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            return tls.send(&self.socket, bytes);
        }
        let sent = if self.unsent.is_empty() { send(&self.socket, bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            return tls.flush(&self.socket);
        }
        if !self.unsent.is_empty() {
            let sent = send(&self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// Receives into `space`, through `wire` if encrypted. It is an error if the server has ended
    /// the connection.
    pub(crate) fn receive(&mut self, space: &mut [u8], wire: &mut [u8]) -> io::Result<Received> {
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

    /// Closes by a reset: the port is free at once.
    pub(crate) fn reset(self) {
        // If this fails, the port can't be used for a minute.
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

/// Waits for events, which replace those in `events`; none if `patience` ran out.
pub(crate) fn wait(
    epoll: &OwnedFd,
    events: &mut Vec<epoll::Event>,
    patience: Duration,
) -> io::Result<()> {
    let patience =
        Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    events.clear();
    match epoll::wait(epoll, spare_capacity(events), Some(&patience)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The source address of a link. An address has some 28,000 ports, and none can be used for a
/// minute after its link was closed: so the links to each server have different addresses.
fn source(server: SocketAddrV4, number: usize) -> SocketAddrV4 {
    let host = usize::from(server.port()) + number / PORTS_OF_AN_ADDRESS;
    SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2 + (host % 250) as u8), 0)
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    match net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
