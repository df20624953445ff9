//! One non-blocking TCP stream, and what its readiness means.
//!
//! Readiness comes as edges: a stream is reported again only after it has been drained (or
//! filled). So what was reported is remembered here until a system call shows that it
//! is over. Neither `receive` nor `send` ever makes a call that must fail.

use std::io::{self, ErrorKind, Read, Write};

use crate::server::world::{Readiness, World};

/// What the kernel may hold of a page: enough for 10 MB/s over a path of 10 ms.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// A TCP stream with its readiness.
#[derive(Debug)]
pub struct Socket<W: World> {
    stream: W::Stream,
    readable: bool,
    writable: bool,
    /// The peer may have ended: a short read is no proof of a drained stream then.
    ending: bool,
    /// Nothing can be sent any more.
    broken: bool,
    shut_down: bool,
    has_limited_send_buffer: bool,
}

/// What [`Socket::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now; an event will tell.
    Blocked,
    /// The peer has sent its last byte.
    End,
    /// The connection is broken.
    Broken,
}

impl<W: World> Socket<W> {
    /// A stream that is registered for reading and writing. A fresh one can be written.
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

    /// Remembers what an event says. Its flags are hints: an error or an end is only
    /// believed when a read meets it, after all the bytes before it.
    pub fn note(&mut self, event: Readiness) {
        self.readable |= event.readable || event.read_closed || event.error;
        self.writable |= !self.broken && (event.writable || event.write_closed);
        self.ending |= event.read_closed || event.error;
    }

    /// Whether [`receive`](Self::receive) may find something.
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

    /// Whether moss's side of the stream has ended.
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
                    // Fewer bytes than asked for: drained, without a second call.
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

    /// Sends once, and returns how much was taken; an event tells when a stream that
    /// did not take everything can take more.
    ///
    /// # Errors
    /// The connection is broken: nothing can be sent any more. It is still to be read
    /// to its end.
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
                    // What came before the end is still there to be read, and so is the
                    // end itself; the kernel may have told of it only here.
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

    /// Has the kernel hold little of what its peer has not received, from now on. It would take
    /// megabytes of a page, and say for a minute that there is no room for more.
    #[cold]
    pub fn limit_send_buffer(&mut self) {
        if !self.has_limited_send_buffer {
            self.has_limited_send_buffer = true;
            // Where it fails the kernel goes on as it likes.
            let _ = W::limit_send_buffer(&self.stream, SEND_BUFFER_BYTES);
        }
    }

    /// Ends moss's side of the stream, once. The peer's bytes must still be read: to
    /// close with unread input would reset the connection, and the last words would be
    /// lost on their way.
    pub fn shut_down(&mut self) {
        if !self.shut_down {
            self.shut_down = true;
            // It fails only where the peer has gone first.
            let _ = W::shut_down(&self.stream);
        }
    }
}
