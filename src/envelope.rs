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
        let key = scan.plain_string()?;
        scan.space();
        scan.expect(b':')?;
        scan.space();
        let (place, value) = match key {
            "\"type\"" => (&mut found.kind, scan.plain_string()?),
            "\"payload\"" => (&mut found.payload, scan.value()?),
            "\"id\"" => (&mut found.id, scan.value()?),
            _ => return None,
        };
        if place.replace(value).is_some() {
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
    (scan.at == scan.bytes.len()).then_some(found)
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

    /// A string without escapes, quotes included.
    fn plain_string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.expect(b'"')?;
        self.plain_characters();
        self.expect(b'"')?;
        self.text.get(start..self.at)
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
                b't' => self.literal(b"rue")?,
                b'f' => self.literal(b"alse")?,
                b'n' => self.literal(b"ull")?,
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

    /// The rest of a string after its opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.plain_characters();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// Goes to the next quote, backslash or control character: eight bytes a step.
    fn plain_characters(&mut self) {
        const ONES: u64 = u64::MAX / 255;
        const HIGHS: u64 = ONES << 7;
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            // The lowest set high bit of each marks the first such byte; a borrow can
            // only mark bytes after it.
            let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
            let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
            let slashes = below(word ^ (ONES * u64::from(b'\\')), 1);
            let marks = (quotes | slashes | below(word, 0x20)) & HIGHS;
            if marks != 0 {
                self.at += (marks.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while let Some(byte) = self.peek() {
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                return;
            }
            self.at += 1;
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

    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.at..)?.starts_with(rest);
        self.at += rest.len();
        found.then_some(())
    }
}
