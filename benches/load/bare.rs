//! The reference: a relay that does the same as moss on the wire, and as little else as
//! possible.
//!
//! It trusts its peers completely: packets are compact, in moss's order of keys and in one
//! frame each, the secret has the expected length, the WebSocket key is the last header. So
//! nothing is parsed: what it needs is at fixed offsets or found within a few bytes. There
//! are no limits and no refusals. Only what no relay can avoid is left: system calls,
//! unmasking, and one copy into the receiver's queue.
//!
//! It has all optimizations of moss, too: edge-triggered events that are registered once, one
//! shared receive buffer, a short read taken as the end of the data, one `send` per turn and
//! receiver, queues without memory when idle.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use tungstenite::handshake::derive_accept_key;

use super::{frame, packets};

/// Larger than any burst of the benches, so that one `recv` takes it whole.
const RECEIVE_BUFFER_BYTES: usize = 512 * 1024;
const LISTENER: u64 = u64::MAX;
const SLOT_BITS: u32 = 20;
const ID_KEY: &[u8] = b",\"id\":\"";
/// `,"id":"`, at most twenty digits, `"}`.
const ID_TAIL_BYTES: usize = 29;
/// Where the name of a packet's type begins.
const TYPE_AT: usize = b"{\"type\":\"".len();

struct Connection {
    socket: OwnedFd,
    upgraded: bool,
    client: bool,
    dirty: bool,
    /// The socket's send buffer is full; an event will report when there is room again.
    full: bool,
    id_tail_length: u8,
    id_tail: [u8; ID_TAIL_BYTES],
    heard: u32,
    sent: u32,
    id: u64,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

pub(crate) struct Bare {
    epoll: OwnedFd,
    listener: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    accepted: u64,
    master: Option<usize>,
    offer: Vec<u8>,
    received: Vec<u8>,
    dirty: Vec<usize>,
    /// Empty vectors with capacity, so that queues need no allocation.
    pool: Vec<Vec<u8>>,
    started: Instant,
    now: u32,
    keepalive: u32,
}

impl Bare {
    pub(crate) fn bind(address: SocketAddrV4, keepalive_seconds: u32) -> io::Result<Self> {
        let listener = net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        net::bind(&listener, &address)?;
        net::listen(&listener, 4096)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            epoll::EventData::new_u64(LISTENER),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            master: None,
            offer: Vec::new(),
            received: vec![0; RECEIVE_BUFFER_BYTES],
            dirty: Vec::new(),
            pool: Vec::new(),
            started: Instant::now(),
            now: 0,
            keepalive: keepalive_seconds,
        })
    }

    pub(crate) fn port(&self) -> io::Result<u16> {
        let address = net::getsockname(&self.listener)?;
        Ok(SocketAddrV4::try_from(address)?.port())
    }

    pub(crate) fn serve(mut self) -> io::Result<Infallible> {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut events = Vec::with_capacity(1024);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&second)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let (id, flags) = (event.data.u64(), event.flags);
                if id == LISTENER {
                    self.accept()?;
                } else {
                    self.ready(id, flags);
                }
            }
            self.keep_alive();
            self.flush_all();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.accepted += 1;
            let id = self.accepted << SLOT_BITS | slot as u64;
            epoll::add(
                &self.epoll,
                &socket,
                epoll::EventData::new_u64(id),
                epoll::EventFlags::IN
                    | epoll::EventFlags::OUT
                    | epoll::EventFlags::RDHUP
                    | epoll::EventFlags::ET,
            )?;
            let (id_tail, id_tail_length) = id_tail(id);
            self.connections[slot] = Some(Connection {
                socket,
                upgraded: false,
                client: false,
                dirty: false,
                full: false,
                id_tail_length,
                id_tail,
                heard: self.now,
                sent: 0,
                id,
                partial: Vec::new(),
                unsent: Vec::new(),
            });
        }
    }

    fn ready(&mut self, id: u64, flags: epoll::EventFlags) {
        let slot = slot_of(id);
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        if connection.id != id {
            return;
        }
        if connection.full && flags.contains(epoll::EventFlags::OUT) {
            connection.full = false;
            if !mem::replace(&mut connection.dirty, true) {
                self.dirty.push(slot);
            }
        }
        if flags.contains(epoll::EventFlags::IN) {
            let mut received = mem::take(&mut self.received);
            let ended = self.receive(slot, &mut received, flags);
            self.received = received;
            if ended {
                self.connections[slot] = None;
                self.free.push(slot);
                if self.master == Some(slot) {
                    self.master = None;
                }
            }
        }
    }

    /// Receives all that the socket has; true if the peer is gone.
    fn receive(&mut self, slot: usize, received: &mut [u8], flags: epoll::EventFlags) -> bool {
        loop {
            let Some(connection) = &mut self.connections[slot] else {
                return false;
            };
            let kept = connection.partial.len();
            if kept > 0 {
                received[..kept].copy_from_slice(&connection.partial);
                let emptied = mem::take(&mut connection.partial);
                recycle(&mut self.pool, emptied);
            }
            let space = received.len() - kept;
            let taken =
                match net::recv(&connection.socket, &mut received[kept..], RecvFlags::empty()) {
                    Ok((0, _)) => return true,
                    Ok((taken, _)) => taken,
                    Err(Errno::AGAIN) => 0,
                    Err(_) => return true,
                };
            connection.heard = self.now;
            let filled = kept + taken;
            let used = if taken == 0 { 0 } else { self.consume(slot, &mut received[..filled]) };
            if used < filled
                && let Some(connection) = &mut self.connections[slot]
            {
                connection.partial = self.pool.pop().unwrap_or_default();
                connection.partial.extend_from_slice(&received[used..filled]);
            }
            if taken == 0 || (taken < space && !flags.contains(epoll::EventFlags::RDHUP)) {
                return false;
            }
        }
    }

    /// Handles the complete frames (or the head) in `bytes`; returns how many bytes they have.
    fn consume(&mut self, slot: usize, bytes: &mut [u8]) -> usize {
        if let Some(connection) = &mut self.connections[slot]
            && !connection.upgraded
        {
            let Some(head) = bytes.strip_suffix(b"\r\n\r\n") else {
                return 0;
            };
            connection.upgraded = true;
            let accept = derive_accept_key(&head[head.len() - 24..]);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            self.queue(slot).extend_from_slice(answer.as_bytes());
            return bytes.len();
        }
        let mut used = 0;
        while let Some(head) = frame::head(&bytes[used..]) {
            let start = used + head.bytes;
            let end = start + head.payload;
            let Some(payload) = bytes.get_mut(start..end) else {
                break;
            };
            frame::mask(payload, head.mask);
            match head.opcode {
                frame::TEXT => self.packet(slot, payload),
                frame::CLOSE => frame::append(self.queue(slot), frame::CLOSE, &[payload]),
                frame::PING => frame::append(self.queue(slot), frame::PONG, &[payload]),
                _ => {}
            }
            used = end;
        }
        used
    }

    fn packet(&mut self, slot: usize, text: &[u8]) {
        let named = &text[TYPE_AT..];
        if named.starts_with(b"login\"") {
            if let Some(connection) = &mut self.connections[slot] {
                connection.client = true;
            }
            if self.master.is_some() {
                let offer = mem::take(&mut self.offer);
                self.queue(slot).extend_from_slice(&offer);
                self.offer = offer;
            }
        } else if named.starts_with(b"set-master\"") {
            self.set_master(slot, text);
        } else if named.starts_with(b"ping\"") {
            frame::append(self.queue(slot), frame::TEXT, &[packets::PONG]);
        } else if self.master == Some(slot) {
            self.pass_to_client(text);
        } else if let Some(master) = self.master
            && let Some(connection) = &self.connections[slot]
        {
            let (tail, length) = (connection.id_tail, connection.id_tail_length);
            let body = &text[..text.len() - 1];
            frame::append(self.queue(master), frame::TEXT, &[body, &tail[..length.into()]]);
        }
    }

    fn pass_to_client(&mut self, text: &[u8]) {
        let digits_end = text.len() - 2;
        let digits =
            text[..digits_end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let id = text[digits_end - digits..digits_end]
            .iter()
            .fold(0, |id, digit| id * 10 + u64::from(digit - b'0'));
        let body = &text[..digits_end - digits - ID_KEY.len()];
        let slot = slot_of(id);
        if let Some(Some(connection)) = self.connections.get(slot)
            && connection.id == id
        {
            frame::append(self.queue(slot), frame::TEXT, &[body, b"}"]);
        }
    }

    /// Each client's offer is sent from one encoded copy: queueing it would cost one more copy.
    fn set_master(&mut self, slot: usize, text: &[u8]) {
        let sdp = &text[packets::SET_MASTER_HEAD.len()..text.len() - packets::set_master_tail()];
        self.offer.clear();
        frame::append(&mut self.offer, frame::TEXT, &[packets::OFFER_HEAD, sdp, b"}"]);
        self.master = Some(slot);
        for (other, entry) in self.connections.iter_mut().enumerate() {
            let Some(connection) = entry else { continue };
            if other == slot {
                connection.client = false;
            } else if connection.client {
                let sent = if connection.unsent.is_empty() {
                    net::send(&connection.socket, &self.offer, SendFlags::NOSIGNAL).unwrap_or(0)
                } else {
                    0
                };
                if sent < self.offer.len() {
                    connection.unsent.extend_from_slice(&self.offer[sent..]);
                    connection.dirty = true;
                    self.dirty.push(other);
                }
            }
        }
        frame::append(self.queue(slot), frame::TEXT, &[packets::CONFIRMATION]);
    }

    fn queue(&mut self, slot: usize) -> &mut Vec<u8> {
        let connection = self.connections[slot].as_mut().expect("looked up by the caller");
        if !mem::replace(&mut connection.dirty, true) {
            self.dirty.push(slot);
        }
        if connection.unsent.capacity() == 0 {
            connection.unsent = self.pool.pop().unwrap_or_default();
        }
        &mut connection.unsent
    }

    fn flush_all(&mut self) {
        for slot in self.dirty.drain(..) {
            let Some(connection) = &mut self.connections[slot] else {
                continue;
            };
            connection.dirty = false;
            if connection.full {
                continue;
            }
            let left = &connection.unsent[connection.sent as usize..];
            let sent = net::send(&connection.socket, left, SendFlags::NOSIGNAL).unwrap_or(0);
            if sent == left.len() {
                connection.sent = 0;
                let emptied = mem::take(&mut connection.unsent);
                recycle(&mut self.pool, emptied);
            } else {
                connection.sent += u32::try_from(sent).expect("queues stay far below 4 GiB");
                connection.full = true;
            }
        }
    }

    /// Once a second, pings peers that have been silent for the keepalive time.
    fn keep_alive(&mut self) {
        let now = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX);
        if mem::replace(&mut self.now, now) == now {
            return;
        }
        for slot in 0..self.connections.len() {
            if let Some(connection) = &mut self.connections[slot]
                && connection.upgraded
                && now - connection.heard >= self.keepalive
            {
                connection.heard = now;
                frame::append(self.queue(slot), frame::PING, &[]);
            }
        }
    }
}

fn slot_of(id: u64) -> usize {
    (id & ((1 << SLOT_BITS) - 1)) as usize
}

fn id_tail(id: u64) -> ([u8; ID_TAIL_BYTES], u8) {
    let mut tail = [0; ID_TAIL_BYTES];
    let mut rest = &mut tail[..];
    rest.write_all(ID_KEY).and_then(|()| write!(rest, "{id}\"}}")).expect("twenty digits fit");
    let length = ID_TAIL_BYTES - rest.len();
    (tail, length as u8)
}

fn recycle(pool: &mut Vec<Vec<u8>>, mut emptied: Vec<u8>) {
    if pool.len() < 256 {
        emptied.clear();
        pool.push(emptied);
    }
}
