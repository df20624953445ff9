//! Received bytes while they are parsed.
//!
//! They stay in the buffer that all connections share, unless the session holds earlier
//! bytes: then they are appended to those in the session's own memory. Bytes that are not
//! consumed go back to the session.

use std::mem;

/// The buffer of a partial frame may be this much larger than its contents, in bytes.
const SLACK_BYTES: usize = 4 << 10;

/// Received bytes, and the position up to which they were consumed.
#[derive(Debug)]
pub struct Input<'b> {
    bytes: Received<'b>,
    at: usize,
}

#[derive(Debug)]
enum Received<'b> {
    Shared(&'b mut [u8]),
    Own(Vec<u8>),
}

impl<'b> Input<'b> {
    /// The bytes in `earlier`, which are moved out of it, followed by those received now.
    #[inline]
    pub(crate) fn new(received: &'b mut [u8], earlier: &mut Vec<u8>) -> Self {
        let bytes = if earlier.is_empty() {
            Received::Shared(received)
        } else {
            earlier.extend_from_slice(received);
            Received::Own(mem::take(earlier))
        };
        Self { bytes, at: 0 }
    }

    /// The bytes that were not consumed, in memory of their own.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        match self.bytes {
            Received::Shared(bytes) => bytes[self.at..].to_vec(),
            Received::Own(bytes) if self.at == bytes.len() => Vec::new(),
            Received::Own(mut bytes) => {
                bytes.drain(..self.at);
                if bytes.capacity() > 2 * bytes.len() + SLACK_BYTES {
                    bytes.shrink_to_fit();
                }
                bytes
            }
        }
    }

    /// How many bytes were consumed.
    pub(crate) fn taken(&self) -> usize {
        self.at
    }

    /// Whether all bytes were consumed.
    pub(crate) fn is_empty(&self) -> bool {
        let len = match &self.bytes {
            Received::Shared(bytes) => bytes.len(),
            Received::Own(bytes) => bytes.len(),
        };
        self.at == len
    }

    /// Discards the bytes that were not consumed.
    pub(crate) fn clear(&mut self) {
        self.at = self.bytes().len();
    }

    /// The bytes that were not consumed yet.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        let at = self.at;
        &mut self.bytes()[at..]
    }

    /// Consumes the next `len` bytes, which must be there.
    pub(crate) fn take(&mut self, len: usize) -> &mut [u8] {
        let at = self.at;
        self.at += len;
        &mut self.bytes()[at..at + len]
    }

    fn bytes(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Received::Shared(bytes) => bytes,
            Received::Own(bytes) => bytes,
        }
    }
}
