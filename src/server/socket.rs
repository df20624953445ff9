//! One non-blocking TCP stream and its readiness.
//!
//! Readiness is edge-triggered: a stream is reported again only after it has been drained (or
//! filled). So it is remembered here until a system call shows that it is over. Neither
//! `receive` nor `send` makes a system call that is known to fail.

use std::io::{self, ErrorKind, Read, Write};

use crate::server::world::{Readiness, World};

/// The kernel's send buffer while a page is sent: enough for 10 MB/s at a round trip of 10 ms.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// A TCP stream with its readiness.
#[derive(Debug)]
pub struct Socket<W: World> {
    stream: W::Stream,
    readable: bool,
    writable: bool,
    /// The peer may have closed its side: then a short read does not mean that all is read.
    ending: bool,
    /// Nothing can be sent any more.
    broken: bool,
    shut_down: bool,
    has_limited_send_buffer: bool,
}

/// The result of [`Socket::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now; an event will report more.
    Blocked,
    /// The peer has closed its side.
    End,
    /// The connection is broken.
    Broken,
}

impl<W: World> Socket<W> {
    /// A stream that is registered for reading and writing. A new one is writable.
    pub fn new(stream: W::Stream) -> Self {
        Self {
            stream,
            readable: false,
            writable: true,
            ending: false,
            broken: false,
            shut_down: false,
            has_limited_send_buffer: false,
        }
    }

    /// Notes the readiness of an event. Its flags are hints: an error or an end counts only when
    /// a read finds it, after all bytes before it.
    pub fn note(&mut self, event: Readiness) {
        self.readable |= event.readable || event.read_closed || event.error;
        self.writable |= !self.broken && (event.writable || event.write_closed);
        self.ending |= event.read_closed || event.error;
    }

    /// Whether [`receive`](Self::receive) may return something.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether [`send`](Self::send) may take something.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether nothing can be sent any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether moss has closed its side of the stream.
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Receives once.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Received {
        while self.readable {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    return Received::End;
                }
                Ok(count) => {
                    // Fewer bytes than asked for: all is read, and no second call is needed.
                    self.readable = count == buffer.len() || self.ending;
                    return Received::Bytes(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.readable = false;
                    return Received::Broken;
                }
            }
        }
        Received::Blocked
    }

    /// Sends once, and returns how much was taken. If it was not everything, an event reports
    /// when the stream can take more.
    ///
    /// # Errors
    /// The connection is broken: nothing can be sent any more. It still has to be read to its
    /// end.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.writable {
            match self.stream.write(bytes) {
                Ok(count) => {
                    self.writable = count == bytes.len();
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Bytes before the end, and the end itself, still have to be read; there may
                    // be no event for them.
                    self.writable = false;
                    self.broken = true;
                    self.readable = true;
                    self.ending = true;
                    return Err(error);
                }
            }
        }
        Ok(0)
    }

    /// Limits the kernel's send buffer from now on. Otherwise the kernel would take megabytes of
    /// a page, and then report for a minute that there is no room for more.
    #[cold]
    pub fn limit_send_buffer(&mut self) {
        if !self.has_limited_send_buffer {
            self.has_limited_send_buffer = true;
            // If it fails, the kernel's default stays.
            let _ = W::limit_send_buffer(&self.stream, SEND_BUFFER_BYTES);
        }
    }

    /// Closes moss's side of the stream, once. The peer's bytes must still be read: closing the
    /// stream with unread input would reset the connection, and bytes sent last could be lost.
    pub fn shut_down(&mut self) {
        if !self.shut_down {
            self.shut_down = true;
            // It fails only if the peer has closed the connection first.
            let _ = W::shut_down(&self.stream);
        }
    }
}
