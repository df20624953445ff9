//! Frames (RFC 6455, section 5): a fast path for a frame that is one whole message, and
//! tungstenite for all others.
//!
//! A tungstenite context checks control frames, and the order, flags and masks of fragments;
//! it gets fragments without their payloads, whose length and UTF-8 are checked here. It
//! gets whole frames only, one by one, so its buffers are empty between them. It exists while
//! a fragmented message is incomplete, or for one control frame, and writes its answers
//! straight into the backlog. Any error is final: the context would go on after one, and
//! would even return the frame that it refused.

use std::io::{self, Cursor, Read, Write};
use std::mem;

use tungstenite::error::CapacityError;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::connection::backlog::Backlog;

/// Read buffer of a tungstenite context; it lives in memory, so small steps cost little.
const CONTEXT_BUFFER_BYTES: usize = 1 << 10;

/// A tungstenite context, and a fragmented message that is not complete.
///
/// The context gets fragments without their payloads: it would hold each byte up to three
/// times. The message is kept here.
#[derive(Debug)]
pub(crate) struct Fragments {
    context: WebSocketContext,
    message: Vec<u8>,
    is_text: bool,
    /// Bytes of a text that were found to be UTF-8 so far.
    valid: usize,
    max_bytes: usize,
}

/// The result of a frame.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It completed this text message.
    Text(String),
    /// It completed this binary message.
    Binary(Vec<u8>),
    /// The message goes on.
    Fragment,
    /// It was a control frame; its answer is in the backlog.
    Control,
    /// It was a Close; its answer is in the backlog.
    Closed,
}

/// What tungstenite says about a frame.
#[derive(Debug)]
enum Verdict {
    /// It completes a message.
    Ended,
    /// A message goes on.
    Fragment,
    /// It was a control frame, and is answered.
    Control,
    /// It was a Close, and is answered.
    Closed,
}

impl Fragments {
    pub(crate) fn new(max_bytes: usize) -> Box<Self> {
        let config =
            WebSocketConfig::default().read_buffer_size(CONTEXT_BUFFER_BYTES).write_buffer_size(0);
        let context = WebSocketContext::new(Role::Server, Some(config));
        Box::new(Self { context, message: Vec::new(), is_text: false, valid: 0, max_bytes })
    }

    /// Heap bytes, roughly.
    pub(crate) fn held(&self) -> usize {
        size_of::<Self>() + CONTEXT_BUFFER_BYTES + self.message.capacity()
    }

    /// Bytes of the message so far.
    pub(crate) fn len(&self) -> usize {
        self.message.len()
    }

    /// Reads one whole frame, whose header has this length.
    ///
    /// # Errors
    /// The frame breaks a rule; nothing more may be read after it.
    pub(crate) fn read(
        &mut self,
        frame: &mut [u8],
        header_len: usize,
        backlog: &mut Backlog,
    ) -> Result<Progress, Error> {
        let (header, payload) = frame.split_at_mut(header_len);
        let first = header[0];
        let has_mask = header[1] & 0x80;
        let mask = header.last_chunk().copied().filter(|_| has_mask != 0).unwrap_or_default();
        let verdict = if is_control(first) {
            self.consult(frame, backlog)?
        } else {
            let mut empty = [first, has_mask, 0, 0, 0, 0];
            empty[2..].copy_from_slice(&mask);
            let empty = if has_mask == 0 { &empty[..2] } else { &empty[..] };
            let verdict = self.consult(empty, backlog)?;
            self.is_text |= first & 0x0f == 0x01;
            unmask(payload, mask);
            self.append(payload)?;
            verdict
        };
        match verdict {
            Verdict::Ended if self.is_text => {
                let text = String::from_utf8(mem::take(&mut self.message));
                text.map(Progress::Text).map_err(|_| not_utf8())
            }
            Verdict::Ended => Ok(Progress::Binary(mem::take(&mut self.message))),
            Verdict::Fragment => Ok(Progress::Fragment),
            Verdict::Control => Ok(Progress::Control),
            Verdict::Closed => Ok(Progress::Closed),
        }
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        let size = self.message.len() + payload.len();
        if size > self.max_bytes {
            let max_size = self.max_bytes;
            return Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size }));
        }
        if self.message.capacity() < size {
            // Not doubled: together with the frame that is being received it must fit the
            // smallest memory limit that can be configured.
            self.message.reserve_exact(payload.len() + size / 8);
        }
        self.message.extend_from_slice(payload);
        if self.is_text {
            // A character that is cut at the end is continued by the next fragment.
            match str::from_utf8(&self.message[self.valid..]) {
                Ok(_) => self.valid = size,
                Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(not_utf8()),
            }
        }
        Ok(())
    }

    /// Passes a frame to tungstenite.
    fn consult(&mut self, frame: &[u8], backlog: &mut Backlog) -> Result<Verdict, Error> {
        let mut stream = FrameStream { input: frame, output: backlog };
        let read = self.context.read(&mut stream);
        // The answer to a ping or a Close is only written by the next call, which fails
        // after a Close.
        let flushed = self.context.flush(&mut stream);
        match read {
            Ok(Message::Text(_) | Message::Binary(_)) => Ok(Verdict::Ended),
            Ok(_) if flushed.is_err() => Ok(Verdict::Closed),
            Ok(_) => Ok(Verdict::Control),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Verdict::Fragment)
            }
            Err(error) => Err(error),
        }
    }

    /// Frees unused memory.
    pub(crate) fn shrink(&mut self) {
        self.message.shrink_to_fit();
    }
}

/// Whether a frame that begins with this byte is a control frame (RFC 6455, section 5.5).
pub(crate) fn is_control(first: u8) -> bool {
    first & 0x08 != 0
}

fn not_utf8() -> Error {
    Error::Utf8(String::new())
}

/// The stream of a tungstenite context while it reads one frame.
struct FrameStream<'s> {
    input: &'s [u8],
    output: &'s mut Backlog,
}

impl Read for FrameStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for FrameStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame's header.
#[derive(Debug)]
pub(crate) struct Header {
    /// Its own length.
    pub(crate) len: usize,
    pub(crate) payload_len: u64,
    /// The kind and mask, if the frame is a whole message and its header breaks no rule.
    pub(crate) whole: Option<(Data, [u8; 4])>,
}

impl Header {
    /// Reads a header; `None` if it is incomplete.
    ///
    /// # Errors
    /// It breaks a rule.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        if let Some(header) = Self::parse_ordinary(bytes) {
            return Ok(Some(header));
        }
        Self::parse_any(bytes)
    }

    fn parse_any(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let mut cursor = Cursor::new(bytes);
        Ok(FrameHeader::parse(&mut cursor)?.map(|(header, payload_len)| Self {
            len: cursor.position() as usize,
            payload_len,
            whole: whole_message(&header),
        }))
    }

    /// Reads the header of nearly every packet: of a final, masked frame below 64 KiB. This
    /// costs a quarter of what tungstenite's parser does, and saves a thirtieth of moss's own
    /// instructions for a packet of 200 bytes.
    #[inline]
    fn parse_ordinary(bytes: &[u8]) -> Option<Self> {
        let data = match bytes.first()? {
            0x81 => Data::Text,
            0x82 => Data::Binary,
            _ => return None,
        };
        let (payload_len, rest) = match bytes.get(1..)? {
            [0xfe, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]).into(), rest),
            [len @ 0x80..0xfe, rest @ ..] => (u64::from(len & 0x7f), rest),
            _ => return None,
        };
        let &mask = rest.first_chunk()?;
        let len = bytes.len() - rest.len() + mask.len();
        Some(Self { len, payload_len, whole: Some((data, mask)) })
    }
}

/// The kind and mask of a frame that is a whole message and breaks no rule.
fn whole_message(header: &FrameHeader) -> Option<(Data, [u8; 4])> {
    let plain = header.is_final && !header.rsv1 && !header.rsv2 && !header.rsv3;
    match header.opcode {
        OpCode::Data(data @ (Data::Text | Data::Binary)) if plain => Some((data, header.mask?)),
        _ => None,
    }
}

/// Unmasks a payload (RFC 6455, section 5.3), eight bytes at a time, which the compiler
/// vectorizes further.
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let half = u32::from_ne_bytes(mask);
    let wide = u64::from(half) << 32 | u64::from(half);
    let (chunks, tail) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    let (chunks, tail) = tail.as_chunks_mut::<4>();
    for chunk in chunks {
        *chunk = (u32::from_ne_bytes(*chunk) ^ half).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_headers_are_read_as_tungstenite_reads_them() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let header = [first, second, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
                for len in 0..=header.len() {
                    let bytes = &header[..len];
                    let Some(ordinary) = Header::parse_ordinary(bytes) else { continue };
                    let mut cursor = Cursor::new(bytes);
                    let (header, payload_len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
                    assert_eq!(ordinary.len as u64, cursor.position());
                    assert_eq!(ordinary.payload_len, payload_len);
                    assert_eq!(ordinary.whole, whole_message(&header));
                }
            }
        }
    }

    #[test]
    fn every_length_is_unmasked() {
        for len in 0..40 {
            let mut payload = vec![0; len];
            unmask(&mut payload, [1, 2, 3, 4]);
            let expected: Vec<u8> = [1, 2, 3, 4].into_iter().cycle().take(len).collect();
            assert_eq!(payload, expected);
        }
    }
}
