//! A blocking WebSocket client. It makes its frames itself: a test can send what no library
//! would, and sees exactly what moss sends.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use serde_json::Value;

use super::{PATIENCE, SECRET, Stream};

/// First byte of a text message in one frame; the other opcodes are written as numbers
/// where they are used (RFC 6455, section 5.2).
pub const TEXT: u8 = 0x81;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Any mask is valid; this one changes every byte.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: moss\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An open WebSocket.
pub struct Client {
    reader: BufReader<Stream>,
    sender: Sender,
}

/// The sending half, so that a test can send in one thread and receive in another.
pub struct Sender(Stream);

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: FIN, reserved bits and opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Client {
    /// Upgrades a connection.
    pub fn open(stream: Stream) -> Self {
        Self::try_open(stream).unwrap_or_else(|status| panic!("no upgrade: {status}"))
    }

    /// Upgrades a connection. If moss refuses, the error is the first line of its response.
    pub fn try_open(mut stream: Stream) -> Result<Self, String> {
        stream.write_all(REQUEST.as_bytes()).expect("moss reads");
        Self::upgraded(stream)
    }

    /// Takes over a connection on which an upgrade was requested.
    pub fn upgraded(stream: Stream) -> Result<Self, String> {
        let sender = Sender(stream.clone());
        let reader = BufReader::new(stream);
        let mut client = Self { reader, sender };
        let status = client.line();
        if !status.starts_with("HTTP/1.1 101 ") {
            return Err(status);
        }
        while !client.line().is_empty() {}
        Ok(client)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line of the response");
        line.trim_end().to_owned()
    }

    /// The address that it has connected from.
    pub fn address(&self) -> SocketAddr {
        self.stream().tcp().local_addr().expect("an address")
    }

    /// The connection beneath.
    pub fn stream(&self) -> &Stream {
        &self.sender.0
    }

    /// The sending half.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Another handle of the sending half.
    pub fn second_sender(&self) -> Sender {
        Sender(self.sender.0.clone())
    }

    /// Sends a text message.
    pub fn send(&mut self, text: &str) {
        self.sender.send(text);
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.sender.send_frame(BINARY, bytes);
    }

    /// The next frame. A test that waits for packets wants [`receive`](Self::receive).
    pub fn frame(&mut self) -> Frame {
        self.next_frame().expect("a frame, not the end of the connection")
    }

    /// The next frame, or nothing at the end of the connection.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.is_at_end() {
            return None;
        }
        let [first, second] = self.bytes();
        let len = match second {
            126 => u64::from(u16::from_be_bytes(self.bytes())),
            127 => u64::from_be_bytes(self.bytes()),
            short if short < 126 => u64::from(short),
            _ => panic!("a masked frame from a server"),
        };
        let mut payload = vec![0; usize::try_from(len).expect("a sane length")];
        self.reader.read_exact(&mut payload).expect("the frame's payload");
        Some(Frame { first, payload })
    }

    fn is_at_end(&mut self) -> bool {
        loop {
            match self.reader.fill_buf() {
                Ok(bytes) => return bytes.is_empty(),
                // Unlike other methods of `Read`, this one does not retry when it is interrupted.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing from moss: {error}"),
            }
        }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).expect("the frame's header");
        bytes
    }

    /// The text of the next packet. Pings before it are answered.
    pub fn receive(&mut self) -> String {
        let start = Instant::now();
        loop {
            let frame = self.frame();
            match frame.first {
                TEXT => return String::from_utf8(frame.payload).expect("UTF-8"),
                PING => {
                    assert!(start.elapsed() < PATIENCE, "nothing but pings");
                    self.sender.send_frame(PONG, &frame.payload);
                }
                PONG => {}
                CLOSE => panic!("closed: {:?}", reason_of(&frame.payload)),
                first => panic!("a frame that starts with {first:#x}"),
            }
        }
    }

    /// The next packet as JSON.
    pub fn json(&mut self) -> Value {
        let text = self.receive();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    /// The next packet must be this, byte for byte.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        assert_eq!(self.receive(), text);
    }

    /// The next packet must be an error of this code. Its payload is returned.
    #[track_caller]
    pub fn expect_error(&mut self, code: &str) -> Value {
        let packet = self.json();
        assert_eq!(packet["type"], "moss-error", "{packet}");
        assert_eq!(packet["payload"]["code"], code, "{packet}");
        packet["payload"].clone()
    }

    /// There must be no unread packet for this peer: the next packet is the answer to a ping.
    /// After this, moss has handled all that the peer sent.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.send(r#"{"type":"ping"}"#);
        self.expect(r#"{"type":"pong","payload":""}"#);
    }

    /// The next frame must be a Close with this code, and then the connection must end.
    /// Returns the reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let frame = self.frame();
        assert_eq!(frame.first, CLOSE, "{:?}", String::from_utf8_lossy(&frame.payload));
        let (found, reason) = reason_of(&frame.payload);
        assert_eq!(found, code, "{reason:?}");
        self.sender.send_frame(CLOSE, &frame.payload);
        assert_eq!(self.next_frame(), None, "a frame after the Close");
        reason
    }

    /// Becomes master with this JSON as its offer, and reads the confirmation.
    #[track_caller]
    pub fn set_master(&mut self, offer: &str) {
        let claim = format!(r#"{{"secret":"{SECRET}","sdp":{offer}}}"#);
        self.send(&format!(r#"{{"type":"set-master","payload":{claim}}}"#));
        self.expect(r#"{"type":"master-confirmation","payload":""}"#);
    }

    /// Sends a packet to the master, and returns the client's id from it.
    #[track_caller]
    pub fn introduce(&mut self, master: &mut Self) -> String {
        self.send(r#"{"type":"hello"}"#);
        let packet = master.json();
        assert_eq!(packet["type"], "hello", "{packet}");
        packet["id"].as_str().expect("an id").to_owned()
    }

    /// Closes as RFC 6455 says. When this returns, moss knows that the peer has left.
    pub fn close(mut self) {
        self.sender.send_frame(CLOSE, &1000_u16.to_be_bytes());
        while let Some(frame) = self.next_frame() {
            if frame.first == CLOSE {
                assert_eq!(reason_of(&frame.payload).0, 1000);
            }
        }
    }

    /// Ends the connection without a Close. When this returns, moss knows that the peer has left.
    pub fn hang_up(mut self) {
        self.stream().shutdown(Shutdown::Write).expect("an open connection");
        while self.next_frame().is_some() {}
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.stream().reset_at_end();
    }
}

impl Sender {
    /// Sends a text message.
    pub fn send(&mut self, text: &str) {
        self.send_frame(TEXT, text.as_bytes());
    }

    /// Sends one frame; `first` is FIN, reserved bits and opcode.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&frame(first, payload));
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).expect("moss reads");
    }

    /// Sends bytes to a moss that may not read them, or may end the connection meanwhile.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// A client's frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Code and reason of a Close; 1005 stands for none (RFC 6455, section 7.1.5).
fn reason_of(payload: &[u8]) -> (u16, String) {
    match payload {
        [high, low, reason @ ..] => {
            let reason = String::from_utf8(reason.to_vec()).expect("a reason in UTF-8");
            (u16::from_be_bytes([*high, *low]), reason)
        }
        _ => (1005, String::new()),
    }
}
