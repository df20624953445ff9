//! A quick look for the envelope of an ordinary packet.
//!
//! Most packets are an object whose keys are `type`, `payload` and `id`, spelled without
//! escapes. For those the parts are found by one pass over the text, which checks every
//! byte against the grammar of RFC 8259 as it goes. All others, wrong ones included, are
//! left to serde_json: [`find`] says nothing rather than "no".
//!
//! It buys speed alone: a packet of 200 bytes is read in a fifth of the time that
//! serde_json takes, which at full load is a third of all that moss does for it. Take it
//! out of [`Packet::parse`](crate::packet::Packet::parse), and everything still holds. A
//! fuzzer compares the two.

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

/// Nesting that is followed here, in containers: one bit of a word each.
const MAX_DEPTH: u32 = 64;

/// Finds the parts of an ordinary packet; nothing if it is not one, for whatever reason.
pub(crate) fn find(text: &str) -> Option<Envelope<'_>> {
    let mut scan = Scan { text, bytes: text.as_bytes(), at: 0 };
    let mut found = Envelope::default();
    scan.space();
    scan.expect(b'{')?;
    loop {
        scan.space();
        let place = if scan.eat(b"\"type\"") {
            &mut found.kind
        } else if scan.eat(b"\"payload\"") {
            &mut found.payload
        } else if scan.eat(b"\"id\"") {
            &mut found.id
        } else {
            return None;
        };
        scan.space();
        scan.expect(b':')?;
        scan.space();
        if place.replace(scan.value()?).is_some() {
            return None;
        }
        scan.space();
        match scan.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    scan.space();
    let plain_type = found.kind?.starts_with('"') && !found.kind?.contains('\\');
    (plain_type && scan.at == scan.bytes.len()).then_some(found)
}

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes this text if it comes next.
    fn eat(&mut self, expected: &[u8]) -> bool {
        let eaten = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(expected));
        if eaten {
            self.at += expected.len();
        }
        eaten
    }

    /// Any value. Containers are followed by a loop, one bit a level (set for an
    /// object), since a peer chooses how deep they go.
    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        let mut objects: u64 = 0;
        let mut depth = 0;
        loop {
            match self.next()? {
                b'"' => self.string()?,
                b'-' => self.number()?,
                b'0'..=b'9' => {
                    self.at -= 1;
                    self.number()?;
                }
                open @ (b'{' | b'[') => {
                    if depth == MAX_DEPTH {
                        return None;
                    }
                    let is_object = open == b'{';
                    self.space();
                    if self.peek()? == open + 2 {
                        // Empty: ']' and '}' are two after their openings in ASCII.
                        self.at += 1;
                    } else {
                        depth += 1;
                        objects = objects << 1 | u64::from(is_object);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' if self.eat(b"rue") => {}
                b'f' if self.eat(b"alse") => {}
                b'n' if self.eat(b"ull") => {}
                _ => return None,
            }
            // A value has ended: close what ends with it, up to the next member.
            loop {
                if depth == 0 {
                    return self.text.get(start..self.at);
                }
                let is_object = objects & 1 == 1;
                self.space();
                match (self.next()?, is_object) {
                    (b',', true) => {
                        self.space();
                        self.key()?;
                        break;
                    }
                    (b',', false) => {
                        self.space();
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        depth -= 1;
                        objects >>= 1;
                    }
                    _ => return None,
                }
            }
        }
    }

    /// A member's key with its colon, and the space up to its value.
    fn key(&mut self) -> Option<()> {
        self.expect(b'"')?;
        self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Some(())
    }

    /// The rest of a string after its opening quote. One look at a block tells of all
    /// its quotes, backslashes and control characters: session descriptions are long
    /// strings full of escapes, and to look again after each of them takes longest.
    fn string(&mut self) -> Option<()> {
        while self.at < self.bytes.len() && self.bytes.len() >= BLOCK {
            // At the end of the text the block reaches back.
            let start = self.at.min(self.bytes.len() - BLOCK);
            let block = self.bytes[start..].first_chunk()?;
            let mut marks = special_bytes(block) & (u32::MAX << (self.at - start));
            self.at = start + BLOCK;
            while marks != 0 {
                let mark = marks.trailing_zeros() as usize;
                match block[mark] {
                    b'\\' if block.get(mark + 1).copied().is_some_and(is_escape) => {
                        marks &= !(0b11 << mark);
                    }
                    b'"' => {
                        self.at = start + mark + 1;
                        return Some(());
                    }
                    b'\\' => {
                        let end = mark + 1 + self.escape_len(start + mark + 1)?;
                        if end >= BLOCK {
                            self.at = start + end;
                            break;
                        }
                        marks &= u32::MAX << end;
                    }
                    _ => return None,
                }
            }
        }
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.at += self.escape_len(self.at)?,
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    /// The length of an escape after its backslash.
    fn escape_len(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at)? {
            &byte if is_escape(byte) => Some(1),
            b'u' => {
                let digits = self.bytes.get(at + 1..at + 5)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(5)
            }
            _ => None,
        }
    }

    /// A number after its sign.
    fn number(&mut self) -> Option<()> {
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Some(())
    }

    fn some_digits(&mut self) -> Option<()> {
        self.next().filter(u8::is_ascii_digit)?;
        self.digits();
        Some(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }
}

/// Whether this byte after a backslash is an escape of one byte.
fn is_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')
}

/// Bytes of a string that are looked at at once: as many as a mask has bits.
const BLOCK: usize = 32;

/// A bit for each byte that does not simply belong to a string: quotes, backslashes and
/// control characters.
fn special_bytes(block: &[u8; BLOCK]) -> u32 {
    let bytes = u8x32::new(*block);
    let quotes = bytes.simd_eq(u8x32::splat(b'"'));
    let slashes = bytes.simd_eq(u8x32::splat(b'\\'));
    let controls = bytes.min(u8x32::splat(0x1f)).simd_eq(bytes);
    (quotes | slashes | controls).to_bitmask()
}
