//! The bytes that one connection has not sent yet.
//!
//! One queue of whole frames (after, at first, one HTTP response). Frames are encoded
//! straight into it: a server's frames carry no mask (RFC 6455, section 5.1), so a
//! header of two, four or ten bytes and the payload are all there is.
//!
//! The queue knows where a frame starts at or after what was sent. So what has not
//! begun to be sent can be given up for a Close that still reaches the peer as a
//! well-formed frame, and the memory is free at once.

use std::io;
use std::mem;

/// Sent bytes that may stay in front of unsent ones before they are cleared away;
/// clearing moves what is left, so it should free more than it moves.
const MOST_SENT: usize = 64 << 10;

/// What pushing a Close takes (RFC 6455, section 5.5), in bytes.
const CLOSE_BYTES: usize = 125 + 10;

/// How many empty buffers wait for the next connection.
const MOST_SPARES: usize = 128;

/// The capacity of a buffer above which it is not for everybody, in bytes.
const LARGEST_SPARE: usize = 16 << 10;

/// The capacity above which it goes back to the allocator in any case, in bytes.
const LARGEST_MUCH: usize = 1 << 20;

/// Opcodes of the frames that moss writes (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A packet.
    Text = 0x1,
    /// Never from moss itself; for those who echo.
    Binary = 0x2,
    /// The end, with its reason.
    Close = 0x8,
    /// Is anybody there?
    Ping = 0x9,
}

/// Unsent bytes. Also a [`Write`](io::Write) that takes everything at once, for whole
/// frames that somebody else encoded.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    sent: usize,
    /// Where a frame starts. Frames before it may be sent or not; none is cut by it.
    frame: usize,
}

/// Empty buffers on their way from one connection to the next: 3 MiB at most. They spare
/// an allocation for each receiver and turn, a twelfth of the time for one packet each.
#[derive(Debug, Default)]
pub struct Spares {
    buffers: Vec<Vec<u8>>,
    /// For the master, whom a turn's packets of all clients go to: to grow a small one
    /// would copy them once more.
    large: Vec<u8>,
    /// The most that its capacity may be, in bytes.
    largest: usize,
}

impl Backlog {
    /// What is to be sent next.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Bytes that are not sent yet.
    #[inline]
    pub fn unsent_len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Heap bytes in use.
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for so many bytes, and for no more.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes);
    }

    /// Appends bytes that are no frames: an HTTP response, before any frame.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.frame = self.bytes.len();
    }

    /// Appends the header of a final frame. The caller appends `len` bytes to what it
    /// is given, and nothing else.
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

    /// Takes an empty buffer to queue into, unless there is one: a large one if `much` is
    /// to be expected.
    pub fn lend(&mut self, spares: &mut Spares, much: bool) {
        if self.bytes.capacity() == 0 {
            self.bytes = spares.give(much);
        }
    }

    /// `count` of the unsent bytes were sent. Once that is all of them, the buffer is
    /// given back: at rest a connection owns none, since there may be thousands.
    pub fn advance(&mut self, count: usize, spares: &mut Spares) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            spares.take(mem::take(self).bytes);
        } else if self.sent > MOST_SENT && self.sent > self.bytes.len() / 2 {
            self.clear_sent();
        }
    }

    /// Clears away the sent bytes in front of the unsent ones, those of a frame that is sent
    /// in part too: it may be as large as a packet.
    fn clear_sent(&mut self) {
        self.frame = self.frame_after_sent() - self.sent;
        self.bytes.drain(..self.sent);
        self.sent = 0;
    }

    /// Gives up every frame that has not begun to be sent. What is left moves to a buffer that
    /// has room for a Close: to grow by that would double it, and to shrink in its place would
    /// leave a hole in the heap.
    pub fn cut(&mut self) {
        let end = self.frame_after_sent();
        let rest = &self.bytes[self.sent..end];
        let mut bytes = Vec::with_capacity(rest.len() + CLOSE_BYTES);
        bytes.extend_from_slice(rest);
        *self = Self { frame: bytes.len(), bytes, sent: 0 };
    }

    /// Gives memory back that holds nothing unsent: `all` of it, or only as far as that is
    /// much, since to move what is left leaves a hole in the heap.
    pub fn shrink(&mut self, all: bool) {
        if all || self.sent > self.unsent_len() {
            self.clear_sent();
        }
        self.bytes.shrink_to_fit();
    }

    /// Walks from the known frame start to the first one that is not before `sent`. Behind an
    /// HTTP response that is not all sent yet, that is its end.
    fn frame_after_sent(&mut self) -> usize {
        while self.frame < self.sent {
            self.frame += frame_len(&self.bytes[self.frame..]);
        }
        self.frame
    }
}

impl Spares {
    /// None yet. A large one is kept if it is a small part of the `memory` bytes that all
    /// peers may hold: whoever queues into it holds all of its capacity.
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

/// The length of the frame of moss's own at the start of `bytes`.
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
        // Each spelling of a length, with another frame behind it.
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
        // It would be a large part of all that may be held.
        assert_eq!(held_of_the_next(1 << 20, true), 0);
    }
}
