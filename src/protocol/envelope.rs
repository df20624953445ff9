//! A fast reader for the envelope of ordinary packets.
//!
//! Most packets are an object whose keys are `type`, `payload` and `id`, spelled without
//! escapes. For those the parts are found by one pass over the text, which checks every
//! byte against the grammar of RFC 8259 as it goes. All others, invalid ones included, are
//! left to serde_json: [`find`] returns `None` and never an error.
//!
//! It is for speed alone: it reads a packet of 200 bytes in half the time that serde_json
//! takes, which at full load saves a sixth of all that a packet costs. Without the call in
//! [`Packet::parse`](crate::protocol::packet::Packet::parse) everything still works. A fuzz
//! target compares the two.
//!
//! The ends of strings are found with bit masks, a block of text at a time, as simdjson does
//! it; the bytes between strings are read one by one.

use std::hint::black_box;

use wide::u8x32;

/// The parts of an envelope, verbatim.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Envelope<'a> {
    /// A JSON string without escapes, quotes included.
    pub(crate) kind: Option<&'a str>,
    /// Any JSON value.
    pub(crate) payload: Option<&'a str>,
    /// Any JSON value.
    pub(crate) id: Option<&'a str>,
}

/// Finds the parts of an ordinary packet. `None` if it is not one, for any reason.
pub(crate) fn find(text: &str) -> Option<Envelope<'_>> {
    let bytes = text.as_bytes();
    let mut quotes = Quotes::new();
    let mut found = Envelope::default();
    let mut at = expect(b'{', bytes, 0)?;
    loop {
        let key = expect(b'"', bytes, at)?;
        at = quotes.close(bytes)?;
        let place = match bytes.get(key..at - 1)? {
            b"type" => &mut found.kind,
            b"payload" => &mut found.payload,
            b"id" => &mut found.id,
            _ => return None,
        };
        at = expect(b':', bytes, at)?;
        let (first, next) = token(bytes, at)?;
        at = value(first, bytes, next, &mut quotes)?;
        if place.replace(text.get(next - 1..at)?).is_some() {
            return None;
        }
        let end;
        (end, at) = token(bytes, at)?;
        match end {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    let kind = found.kind?;
    let plain_type = kind.starts_with('"') && !kind.bytes().any(|byte| byte == b'\\');
    (plain_type && token(bytes, at).is_none()).then_some(found)
}

/// The next byte that is not a space, and the position after it. Other white space consists
/// of control characters, which no ordinary packet has.
fn token(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        if byte != b' ' {
            return Some((byte, at));
        }
    }
}

/// The position after this token, if it comes next.
fn expect(expected: u8, bytes: &[u8], at: usize) -> Option<usize> {
    token(bytes, at).filter(|&(byte, _)| byte == expected).map(|(_, next)| next)
}

/// The position after a value whose first byte is `first`; `at` is the position after that
/// byte. A loop and no recursion, since a peer chooses how deep containers are nested.
fn value(mut first: u8, bytes: &[u8], mut at: usize, quotes: &mut Quotes) -> Option<usize> {
    // One bit per open container, the innermost last: 1 for an object, 0 for an array. The
    // highest 1 is a sentinel.
    const NONE: u64 = 0b10;
    let mut open = NONE;
    loop {
        if open & 1 == 1 {
            if first != b'"' {
                return None;
            }
            at = expect(b':', bytes, quotes.close(bytes)?)?;
            (first, at) = token(bytes, at)?;
        }
        match first {
            b'"' => at = quotes.close(bytes)?,
            b'{' | b'[' => {
                let is_object = first == b'{';
                let close = first + 2;
                (first, at) = token(bytes, at)?;
                // Not empty. (In ASCII, ']' and '}' come two after '[' and '{'.)
                if first != close {
                    if open.leading_zeros() == 0 {
                        return None;
                    }
                    open = open << 1 | u64::from(is_object);
                    continue;
                }
            }
            b'-' | b'0'..=b'9' => at = number(bytes, at - 1)?,
            b't' => at = literal(b"true", bytes, at - 1)?,
            b'f' => at = literal(b"false", bytes, at - 1)?,
            b'n' => at = literal(b"null", bytes, at - 1)?,
            _ => return None,
        }
        // The value has ended: close containers that end with it, up to the next value.
        loop {
            if open == NONE {
                return Some(at);
            }
            let end;
            (end, at) = token(bytes, at)?;
            match (end, open & 1 == 1) {
                (b',', _) => {
                    (first, at) = token(bytes, at)?;
                    break;
                }
                (b'}', true) | (b']', false) => open >>= 1,
                _ => return None,
            }
        }
    }
}

/// The position after `true`, `false` or `null`.
fn literal(expected: &[u8], bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.starts_with(expected).then_some(at + expected.len())
}

/// The position after a number.
fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    let peek = |at: usize| bytes.get(at).copied();
    let digits = |mut at: usize| {
        while let Some(b'0'..=b'9') = peek(at) {
            at += 1;
        }
        at
    };
    let some_digits = |at| Some(digits(at)).filter(|&end| end > at);
    if peek(at) == Some(b'-') {
        at += 1;
    }
    at = if peek(at) == Some(b'0') { at + 1 } else { some_digits(at)? };
    if peek(at) == Some(b'.') {
        at = some_digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = peek(at) {
        at += 1;
        if let Some(b'+' | b'-') = peek(at) {
            at += 1;
        }
        at = some_digits(at)?;
    }
    Some(at)
}

/// The quotes that open and close strings, in order. A whole block of text is searched at
/// once: packets consist of many short strings, and a session description is a long string
/// full of escapes.
struct Quotes {
    /// One bit per quote of the block that was not taken yet.
    left: u64,
    /// Where this block and the next one start.
    block: usize,
    next_block: usize,
}

/// Bytes that are searched at once: as many as a mask has bits, in two vectors.
type Block = [[u8; 32]; 2];

const BLOCK: usize = size_of::<Block>();

impl Quotes {
    fn new() -> Self {
        Self { left: 0, block: 0, next_block: 0 }
    }

    /// The position after the string whose opening quote comes next.
    fn close(&mut self, bytes: &[u8]) -> Option<usize> {
        self.take(bytes)?;
        self.take(bytes)
    }

    /// The position after the next quote.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.left == 0 {
            *self = Self::look(bytes, self.next_block)?;
        }
        let quote = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(self.block + quote + 1)
    }

    /// Searches the next blocks up to one with a quote. `None` if there is none, or if the
    /// blocks have a control character or an invalid escape anywhere.
    #[inline(never)]
    fn look(bytes: &[u8], mut block: usize) -> Option<Self> {
        let mut padded = [[b' '; 32]; 2];
        loop {
            let rest = bytes.get(block..).filter(|rest| !rest.is_empty())?;
            let chunk = rest.as_chunks().0.first_chunk().unwrap_or_else(|| {
                padded.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
                &padded
            });
            let (quotes, slashes) = marks(chunk)?;
            let mut left = quotes;
            let mut next_block = block + BLOCK;
            if slashes != 0 {
                let escapes = escapes(slashes);
                left &= !(escapes << 1);
                // An escape that begins with the last byte is left to the next block.
                next_block -= (escapes >> (BLOCK - 1)) as usize;
                let mut longer = escapes << 1 & !(quotes | slashes | line_ends(chunk));
                while longer != 0 {
                    let escape = longer.trailing_zeros() as usize;
                    longer &= longer - 1;
                    is_escape(rest.get(escape..)?).then_some(())?;
                }
            }
            if left != 0 {
                return Some(Self { left, block, next_block });
            }
            block = next_block;
        }
    }
}

/// Whether these bytes, after a backslash, are a valid escape.
fn is_escape(bytes: &[u8]) -> bool {
    match bytes {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => true,
        [b'u', a, b, c, d, ..] => [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit),
        _ => false,
    }
}

/// Which backslashes begin an escape: all but those that are the second byte of one. As
/// simdjson does it: in a run of backslashes the first begins one, and so does every second
/// after it.
fn escapes(slashes: u64) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    ((slashes << 1 | ODD).wrapping_sub(slashes) ^ ODD) & slashes
}

/// The bytes `r` and `n` of a block: the most frequent escapes.
fn line_ends(block: &Block) -> u64 {
    let [low, high] = block.map(u8x32::new);
    let mask = |half: u8x32| half.simd_eq(u8x32::splat(b'r')) | half.simd_eq(u8x32::splat(b'n'));
    bits(mask(low), mask(high))
}

/// The quotes and the backslashes of a block. `None` if it has a control character.
fn marks(block: &Block) -> Option<(u64, u64)> {
    let [low, high] = block.map(u8x32::new);
    let equal = |byte| {
        let byte = u8x32::splat(byte);
        bits(low.simd_eq(byte), high.simd_eq(byte))
    };
    let space = u8x32::splat(b' ');
    let controls = !low.min(high).min(space).simd_eq(space).all();
    (!controls).then(|| (equal(b'"'), equal(b'\\')))
}

/// One bit per byte. Hidden from LLVM, which would otherwise compute the bits one by one where
/// they are combined with others.
#[inline]
fn bits(low: u8x32, high: u8x32) -> u64 {
    black_box(u64::from(high.to_bitmask()) << 32 | u64::from(low.to_bitmask()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<[Option<&str>; 3]> {
        find(text).map(|found| [found.kind, found.payload, found.id])
    }

    #[test]
    fn ordinary_packets_are_found_without_serde_json() {
        let sdp = format!("{{\"sdp\":\"{}\"}}", "a=sendrecv\\r\\n\\\\\\\"\\u00e4\\/".repeat(50));
        for payload in ["\"\"", "{}", "[ ]", "-1.5e+3", "[true, {\"a\": null}]", &sdp] {
            let found = Some([Some("\"x\""), Some(payload), Some("\"7\"")]);
            let javascript = format!("{{\"type\":\"x\",\"payload\":{payload},\"id\":\"7\"}}");
            assert_eq!(parts(&javascript), found);
            let python = format!("{{\"id\": \"7\", \"payload\": {payload}, \"type\": \"x\"}}");
            assert_eq!(parts(&python), found);
        }
    }

    #[test]
    fn others_are_left_to_serde_json() {
        for text in [r#"{"type":"\u0078"}"#, r#"{"t\u0079pe":"x"}"#, "{\"type\":\n\"x\"}", "[]", ""]
        {
            assert_eq!(parts(text), None);
        }
    }
}
