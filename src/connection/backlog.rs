//! The bytes that one connection has not sent yet.
//!
//! One queue of whole frames (after, at first, one HTTP response). Frames are encoded
//! straight into it: a server's frames carry no mask (RFC 6455, section 5.1), so a
//! header of two, four or ten bytes and the payload are all there is.
//!
//! The queue knows the start of a frame, and can find that of the first frame of which
//! nothing was sent. So all such frames can be dropped for a Close, which still reaches the
//! peer as a well-formed frame, and their memory is free at once.

use std::io;
use std::mem;

/// Sent bytes that may stay in front of unsent ones, in bytes. Removing them moves the rest,
/// so it should free more than it moves.
const MOST_SENT: usize = 64 << 10;

/// Room for a Close frame (RFC 6455, section 5.5), in bytes.
const CLOSE_BYTES: usize = 125 + 10;

/// How many empty buffers are kept for the next connections.
const MOST_SPARES: usize = 128;

/// Buffers with a larger capacity, in bytes, are not lent to every connection.
const LARGEST_SPARE: usize = 16 << 10;

/// Buffers with a larger capacity, in bytes, are always freed.
const LARGEST_MUCH: usize = 1 << 20;

/// Opcodes of the frames that moss writes (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A packet.
    Text = 0x1,
    /// moss sends none; for echo servers in tests.
    Binary = 0x2,
    /// The end, with its reason.
    Close = 0x8,
    /// Asks for a Pong, as a sign of life.
    Ping = 0x9,
}

/// Unsent bytes. Also a [`Write`](io::Write) that takes everything at once, for whole
/// frames that tungstenite encoded.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    sent: usize,
    /// The start of some frame; frames before it may be sent or not.
    frame: usize,
}

/// Empty buffers that connections take and give back: 3 MiB at most. They save one
/// allocation per receiver and turn: a twelfth of the time where each gets one packet.
#[derive(Debug, Default)]
pub struct Spares {
    buffers: Vec<Vec<u8>>,
    /// For the master, who gets a turn's packets of all clients: a small buffer would have to
    /// grow, which copies them once more.
    large: Vec<u8>,
    /// The largest capacity that it may have, in bytes.
    largest: usize,
}

impl Backlog {
    /// The bytes to send next.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Bytes that are not sent yet.
    #[inline]
    pub fn unsent_len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Heap bytes.
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for exactly this many more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes);
    }

    /// Appends bytes that are not frames: an HTTP response, before any frame.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.frame = self.bytes.len();
    }

    /// Appends the header of a final frame. The caller must append exactly `len` bytes to the
    /// returned buffer.
    pub fn push_frame(&mut self, opcode: Opcode, len: usize) -> &mut Vec<u8> {
        self.bytes.reserve(len + 10);
        self.bytes.push(0x80 | opcode as u8);
        match len {
            0..=125 => self.bytes.push(len as u8),
            126..=0xffff => {
                self.bytes.push(126);
                self.bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(127);
                self.bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        &mut self.bytes
    }

    /// Takes an empty buffer from `spares`, unless it has one; a large one if `much` data is
    /// expected.
    pub fn lend(&mut self, spares: &mut Spares, much: bool) {
        if self.bytes.capacity() == 0 {
            self.bytes = spares.give(much);
        }
    }

    /// `count` of the unsent bytes were sent. When all are sent the buffer is given back: an
    /// idle connection owns none, since there may be thousands.
    pub fn advance(&mut self, count: usize, spares: &mut Spares) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            spares.take(mem::take(self).bytes);
        } else if self.sent > MOST_SENT && self.sent > self.bytes.len() / 2 {
            self.clear_sent();
        }
    }

    /// Removes the sent bytes in front of the unsent ones, also those of a frame that is only
    /// sent in part: it may be as large as a packet.
    fn clear_sent(&mut self) {
        self.frame = self.frame_after_sent() - self.sent;
        self.bytes.drain(..self.sent);
        self.sent = 0;
    }

    /// Drops every frame of which nothing was sent. The rest moves to a new buffer with room
    /// for a Close: appending that to the old one would double its capacity, and shrinking
    /// the old one in place would leave a hole in the heap.
    pub fn cut(&mut self) {
        let end = self.frame_after_sent();
        let rest = &self.bytes[self.sent..end];
        let mut bytes = Vec::with_capacity(rest.len() + CLOSE_BYTES);
        bytes.extend_from_slice(rest);
        *self = Self { frame: bytes.len(), bytes, sent: 0 };
    }

    /// Frees memory that holds nothing unsent: `all` of it, or only if it is more than half,
    /// since moving the rest leaves a hole in the heap.
    pub fn shrink(&mut self, all: bool) {
        if all || self.sent > self.unsent_len() {
            self.clear_sent();
        }
        self.bytes.shrink_to_fit();
    }

    /// Goes from the known start of a frame to the first one that is not before `sent`. While
    /// an HTTP response is not sent completely, that is its end.
    fn frame_after_sent(&mut self) -> usize {
        while self.frame < self.sent {
            self.frame += frame_len(&self.bytes[self.frame..]);
        }
        self.frame
    }
}

impl Spares {
    /// No buffers yet. A large one is kept only if it is a small part of the `memory` bytes
    /// that all peers may hold: the peer that uses it holds all of its capacity.
    pub fn new(memory: usize) -> Self {
        Self { largest: LARGEST_MUCH.min(memory / 64), ..Self::default() }
    }

    fn give(&mut self, much: bool) -> Vec<u8> {
        if much && self.large.capacity() > 0 {
            return mem::take(&mut self.large);
        }
        self.buffers.pop().unwrap_or_default()
    }

    fn take(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() <= LARGEST_SPARE {
            if self.buffers.len() < MOST_SPARES {
                self.buffers.push(buffer);
            }
        } else if buffer.capacity() <= self.largest && buffer.capacity() > self.large.capacity() {
            self.large = buffer;
        }
    }
}

impl io::Write for Backlog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The length of the frame, written by moss, at the start of `bytes`.
fn frame_len(bytes: &[u8]) -> usize {
    match bytes[1] {
        126 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        // Written from a usize above, so the upper half of the eight bytes is what a
        // usize has there.
        127 => 10 + bytes[2..10].iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
        short => 2 + usize::from(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog_of(lens: &[usize]) -> Backlog {
        let mut backlog = Backlog::default();
        for &len in lens {
            backlog.push_frame(Opcode::Text, len).extend(std::iter::repeat_n(b'x', len));
        }
        backlog
    }

    #[test]
    fn headers_are_those_of_the_rfc() {
        assert_eq!(backlog_of(&[125]).unsent()[..2], [0x81, 125]);
        assert_eq!(backlog_of(&[126]).unsent()[..4], [0x81, 126, 0, 126]);
        assert_eq!(backlog_of(&[65_535]).unsent()[..4], [0x81, 126, 255, 255]);
        assert_eq!(backlog_of(&[65_536]).unsent()[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn cut_keeps_the_frame_that_has_begun() {
        for (sent, left) in [(0, 0), (1, 101), (102, 0), (103, 999 + 4 - 1), (1105, 0)] {
            let mut backlog = backlog_of(&[100, 999, 70_000]);
            backlog.advance(sent, &mut Spares::default());
            backlog.cut();
            assert_eq!(backlog.unsent().len(), left, "after {sent}");
        }
        // Each encoding of a length, with another frame after it.
        for (len, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10), (70_003, 10)] {
            let mut backlog = backlog_of(&[len, 9]);
            backlog.advance(1, &mut Spares::default());
            backlog.cut();
            assert_eq!(backlog.unsent().len(), header + len - 1, "{len}");
            assert_eq!(backlog.unsent_len(), header + len - 1);
        }
    }

    #[test]
    fn cut_keeps_an_http_response_whole() {
        let mut backlog = Backlog::default();
        backlog.push_raw(b"HTTP/1.1 101 X\r\n\r\n");
        backlog.push_frame(Opcode::Text, 3).extend(b"abc");
        backlog.advance(5, &mut Spares::default());
        backlog.cut();
        assert_eq!(backlog.unsent(), b"1.1 101 X\r\n\r\n");
    }

    #[test]
    fn sent_bytes_are_cleared_away_and_the_rest_stays() {
        let mut backlog = backlog_of(&[1_000; 200]);
        let all = backlog.unsent().to_vec();
        let mut sent = 0;
        for step in [70_000, 50_000, 1, 30_000, 40_000] {
            backlog.advance(step, &mut Spares::default());
            sent += step;
            assert_eq!(backlog.unsent(), &all[sent..]);
        }
        backlog.cut();
        assert!(backlog.unsent().len() < 1_004);
        backlog.advance(backlog.unsent().len(), &mut Spares::default());
        assert_eq!(backlog.held(), 0);
    }

    #[test]
    fn shrinking_gives_back_what_holds_nothing_unsent() {
        let mut backlog = backlog_of(&[1_000; 50]);
        let all = backlog.unsent().to_vec();
        backlog.advance(45_000, &mut Spares::default());
        assert!(backlog.held() >= 50_000);
        backlog.shrink(false);
        assert_eq!(backlog.unsent(), &all[45_000..]);
        assert!(backlog.held() <= 5_200, "{}", backlog.held());
        // Where frames begin is still known.
        backlog.cut();
        assert!(backlog.unsent().len() < 1_004);

        let mut backlog = Backlog::default();
        backlog.push_raw(b"HTTP/1.1 101 X\r\n\r\n");
        backlog.advance(5, &mut Spares::default());
        backlog.shrink(true);
        backlog.push_frame(Opcode::Text, 3).extend(b"abc");
        backlog.cut();
        assert_eq!(backlog.unsent(), b"1.1 101 X\r\n\r\n");
    }

    #[test]
    fn large_buffer_waits_for_whoever_expects_much() {
        let held_of_the_next = |memory, much| {
            let mut spares = Spares::new(memory);
            let mut backlog = backlog_of(&[100_000]);
            backlog.advance(backlog.unsent().len(), &mut spares);
            backlog.lend(&mut spares, much);
            backlog.held()
        };
        assert!(held_of_the_next(64 << 20, true) >= 100_000);
        assert_eq!(held_of_the_next(64 << 20, false), 0);
        // It would be too large a part of the memory limit.
        assert_eq!(held_of_the_next(1 << 20, true), 0);
    }
}
