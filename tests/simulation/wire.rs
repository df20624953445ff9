//! HTTP/1.1 and RFC 6455 on the peers' side, without moss's own code.
//!
//! [`Reader`] also checks moss's frames: no mask, no reserved bits, no fragments, and text in
//! UTF-8. Anything else is a failure.

/// Opcodes (RFC 6455, section 5.2).
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A complete, valid upgrade request.
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A message from moss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The head of an HTTP answer.
    Head { status: u16, head: String },
    /// A piece of the page that follows it.
    Page(Vec<u8>),
    /// The end of an HTTP answer, also of a 101: its body, unless that is a page, and whether the
    /// connection ends after it.
    Http { status: u16, body: String, ends: bool },
    /// A packet.
    Text(String),
    /// A ping frame.
    Ping,
    /// A pong frame.
    Pong,
    /// A Close, or the answer to one. 1005 if it has no code.
    Close { code: u16, reason: String },
}

impl Said {
    /// Whether moss handled a frame for it: an answer to a ping or to an invalid packet, or a
    /// packet that was passed on.
    pub(crate) fn took_a_frame(&self) -> bool {
        let types = ["pong\"", "p\"", "q\"", "moss-error\",\"payload\":{\"code\":\"invalid"];
        match self {
            Self::Pong => true,
            Self::Text(text) => text
                .strip_prefix("{\"type\":\"")
                .is_some_and(|rest| types.iter().any(|kind| rest.starts_with(kind))),
            _ => false,
        }
    }
}

/// Appends a masked frame.
pub(crate) fn push_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    push_header(out, first, payload.len() as u64);
    let start = out.len();
    out.extend_from_slice(payload);
    let (words, rest) = out[start..].as_chunks_mut::<16>();
    for word in words {
        *word = (u128::from_ne_bytes(*word) ^ u128::from_ne_bytes(MASKS)).to_ne_bytes();
    }
    rest.iter_mut().zip(MASKS).for_each(|(byte, mask)| *byte ^= mask);
}

/// A mask with four different bytes, so that a wrong order of them is noticed.
const MASK: [u8; 4] = [0x5a, 0x01, 0xc3, 0x7e];

/// The mask four times: masking 16 bytes at a time is faster.
const MASKS: [u8; 16] = {
    let [a, b, c, d] = MASK;
    [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]
};

/// Appends the header of a masked frame with this length.
pub(crate) fn push_header(out: &mut Vec<u8>, first: u8, len: u64) {
    out.push(first);
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0xfe);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
}

/// Reads what moss sends on one connection, in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// After the 101.
    open: bool,
    closed: bool,
    /// An answer whose head was read, with the rest of its body to come.
    answer: Option<Answer>,
    /// The received bytes, and how many of them were read.
    partial: Vec<u8>,
    at: usize,
}

/// An answer whose head was read.
#[derive(Debug)]
struct Answer {
    status: u16,
    ends: bool,
    left: usize,
    /// It has a page, which is passed on in pieces.
    is_page: bool,
}

impl Reader {
    /// Adds received bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.partial.drain(..std::mem::take(&mut self.at));
        self.partial.extend_from_slice(bytes);
    }

    /// The next complete message; `is_head` if the next answer is for HEAD.
    pub(crate) fn next(&mut self, is_head: bool) -> Option<Said> {
        let bytes = &self.partial[self.at..];
        let (len, next) = match &mut self.answer {
            _ if self.open => next_frame(bytes)?,
            None => {
                let (len, answer, head) = next_head(bytes, is_head)?;
                let status = answer.status;
                self.answer = Some(answer);
                (len, Said::Head { status, head })
            }
            Some(answer) if answer.is_page && answer.left > 0 => {
                let len = answer.left.min(bytes.len());
                answer.left -= len;
                (len, Said::Page((len > 0).then(|| bytes[..len].to_vec())?))
            }
            Some(Answer { status, ends, left, .. }) => {
                let body = str::from_utf8(bytes.get(..*left)?).expect("a body in UTF-8");
                (*left, Said::Http { status: *status, body: body.to_owned(), ends: *ends })
            }
        };
        self.at += len;
        assert!(!self.closed, "moss sends more after its last message: {next:?}");
        if let Said::Http { status, ends, .. } = next {
            self.answer = None;
            (self.open, self.closed) = (status == 101, ends);
        }
        self.closed |= matches!(next, Said::Close { .. });
        Some(next)
    }
}

fn next_head(bytes: &[u8], is_head: bool) -> Option<(usize, Answer, String)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&bytes[..end]).expect("a head in ASCII").to_owned();
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
    let left = match is_head {
        true => 0,
        false => field(&head, "Content-Length").map_or(0, |len| len.parse().expect("a length")),
    };
    let ends = field(&head, "Connection") == Some("close");
    let is_page = field(&head, "ETag").is_some();
    Some((end, Answer { status, ends, left, is_page }, head))
}

/// The value of a header line of an answer.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn next_frame(bytes: &[u8]) -> Option<(usize, Said)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert!(first & 0xf0 == 0x80, "moss sends a fragment or a reserved bit: {first:#x}");
    assert!(second & 0x80 == 0, "moss masks a frame");
    let (len, header) = match second {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        len => (u64::from(len), 2),
    };
    let len = usize::try_from(len).expect("a length that fits memory");
    let payload = bytes.get(header..header + len)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("moss sends UTF-8");
    let said = match first & 0xf {
        TEXT => Said::Text(text(payload)),
        PING => Said::Ping,
        PONG => Said::Pong,
        CLOSE => match payload.split_first_chunk() {
            Some((code, reason)) => {
                Said::Close { code: u16::from_be_bytes(*code), reason: text(reason) }
            }
            None => Said::Close { code: 1005, reason: String::new() },
        },
        other => panic!("moss sends a frame with opcode {other}"),
    };
    assert!(len <= 125 || first & 8 == 0, "a control frame of {len} bytes");
    Some((header + len, said))
}
