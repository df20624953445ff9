//! Received bytes while they are parsed.
//!
//! They stay where they were received, in the buffer that all connections share, unless
//! the session holds earlier ones: then they follow those in the session's own memory.
//! What is not taken goes back to the session.

use std::mem;

/// A partial frame's buffer may be this much larger than what it holds.
const SLACK_BYTES: usize = 4 << 10;

/// A walk over received bytes.
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
    /// Bytes that were received just now, behind those in `earlier`, which it takes.
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

    /// What was not taken, in memory of its own.
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

    /// How many bytes were taken.
    pub(crate) fn taken(&self) -> usize {
        self.at
    }

    /// Whether all was taken.
    pub(crate) fn is_empty(&self) -> bool {
        let len = match &self.bytes {
            Received::Shared(bytes) => bytes.len(),
            Received::Own(bytes) => bytes.len(),
        };
        self.at == len
    }

    /// Forgets what was not taken.
    pub(crate) fn clear(&mut self) {
        self.at = self.bytes().len();
    }

    /// What was not taken yet.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        let at = self.at;
        &mut self.bytes()[at..]
    }

    /// Takes the next `len` bytes, which must be there.
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
