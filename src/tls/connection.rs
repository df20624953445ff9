//! One TLS connection, without its socket.
//!
//! Received bytes go through [`Tls::receive`], bytes to send through [`Tls::seal`]; what TLS
//! sends by itself is in [`Tls::unsent`], too. The caller owns every large buffer: an idle
//! connection holds its keys and nothing else.
//!
//! Received bytes are decrypted in the buffer into which they were received. The beginning of
//! an incomplete record or handshake message is kept here and passed to rustls again in each
//! call, else rustls would panic. That is also why rustls is not called again after an error.
//!
//! After an error nothing is received or sealed any more; the alert is among the unsent bytes.

use std::fmt;
use std::mem;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, InvalidMessage, ServerConfig};

/// The most plain text in one record (RFC 8446, section 5.1).
const MOST_PLAIN_BYTES: usize = 1 << 14;

/// The longest record, in bytes (RFC 5246, section 6.2.3).
const MOST_RECORD_BYTES: usize = 5 + MOST_PLAIN_BYTES + 2048;

/// Bytes of a record beyond its plain text: header, nonce or content type, and tag, rounded up
/// (RFC 5246, section 6.2.3.3; RFC 8446, section 5.2).
const RECORD_BYTES: usize = 64;

/// The most bytes that are held of an incomplete record or handshake message. rustls needs all
/// records of a message at once, and each may carry only one byte of it.
const MOST_PARTIAL_BYTES: usize = 64 << 10;

/// The buffer for it may be this much larger than its contents, in bytes.
const SLACK_BYTES: usize = 4 << 10;

/// The length of an empty record, the shortest, in bytes (RFC 8446, section 5.2).
const LEAST_RECORD_BYTES: usize = 22;

/// Fatal alerts, not encrypted (RFC 8446, section 6): a message that could not be decoded, and
/// a record that is too long.
const DECODE_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, 50];
const RECORD_OVERFLOW: &[u8] = &[21, 3, 3, 0, 2, 2, 22];

/// What a handshake costs, in frames: its public-key operations take as long as passing on
/// about a hundred packets.
const HANDSHAKE_COST: i64 = 128;

/// A TLS connection, server side.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// The start of an incomplete record or handshake message.
    partial: Vec<u8>,
    /// Records to send: TLS's own, or one with bytes of the session.
    sealed: Vec<u8>,
    /// How many bytes of them were sent.
    sent: usize,
    state: State,
    closed: bool,
    /// Why it failed, if known.
    failure: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Handshaking,
    Open,
    /// The peer sent close_notify.
    Ended,
    Failed,
}

impl Tls {
    /// A connection that was just accepted.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            connection,
            partial: Vec::new(),
            sealed: Vec::new(),
            sent: 0,
            state: State::New,
            closed: false,
            failure: None,
        })
    }

    /// Whether nothing has been received yet.
    pub fn is_new(&self) -> bool {
        self.state == State::New
    }

    /// Whether the handshake is not complete, so that nothing can be sealed yet.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::New | State::Handshaking)
    }

    /// Whether the handshake resumed an earlier session by a ticket; `None` until it is complete.
    pub fn has_resumed(&self) -> Option<bool> {
        let kind = self.connection.handshake_kind()?;
        (!self.is_handshaking()).then_some(kind == HandshakeKind::Resumed)
    }

    /// Whether nothing more can be received: the peer sent close_notify, or TLS has failed.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    /// Whether the handshake failed, or the peer broke the protocol.
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Why it failed, in rustls's words.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Decrypts received bytes and appends the plain text to `plain`. Returns what that cost,
    /// in frames: about one for each record, and far more for a handshake.
    pub fn receive(&mut self, received: &mut [u8], plain: &mut Vec<u8>) -> i64 {
        // After moss's own close_notify only the end of the stream matters.
        if self.has_ended() || self.closed {
            return 0;
        }
        let mut cost = 0;
        if self.state == State::New {
            self.state = State::Handshaking;
            cost = HANDSHAKE_COST;
        }
        let (before, len) = (plain.len(), received.len());
        let taken = if self.partial.is_empty() {
            let taken = self.process(received, plain);
            self.partial = received[taken..].to_vec();
            taken
        } else {
            let mut partial = mem::take(&mut self.partial);
            make_room(&mut partial, received.len());
            partial.extend_from_slice(received);
            let taken = self.process(&mut partial, plain);
            partial.drain(..taken);
            // An idle connection owns no buffer, and any other little more than it needs: the
            // whole receive has gone through this one.
            if partial.is_empty() || partial.capacity() > 2 * partial.len() + SLACK_BYTES {
                partial.shrink_to_fit();
            }
            self.partial = partial;
            taken
        };
        let mut opened = taken;
        if self.partial.len() > MOST_RECORD_BYTES {
            // Several records of one message: decrypted, but not consumed yet.
            opened += len;
        }
        if self.partial.len() > MOST_PARTIAL_BYTES {
            self.failure = Some("a handshake message is too long".into());
            self.state = State::Failed;
            self.partial = Vec::new();
        }
        let more_than_said = opened.saturating_sub(plain.len() - before);
        cost + (more_than_said / LEAST_RECORD_BYTES) as i64
    }

    /// Handles the complete records, and returns how many bytes they have.
    fn process(&mut self, received: &mut [u8], plain: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        loop {
            let rest = &mut received[taken..];
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let mut goes_on = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.sealed),
                // It is in `sealed`, and sent before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.state = State::Open;
                    goes_on = false;
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.state = State::Ended;
                    return received.len();
                }
                // More bytes are needed. Early data is never accepted.
                Ok(_) => goes_on = false,
                Err(error) => {
                    self.fail(&error, rest);
                    return received.len();
                }
            }
            taken += discard;
            if !goes_on {
                return taken;
            }
        }
    }

    /// After an error: gets the alert, for which rustls has to be called once more with the same
    /// bytes. If it has no alert that call would only fail again.
    #[cold]
    fn fail(&mut self, error: &Error, received: &mut [u8]) {
        // Nothing was sent yet, and an alert would not be encrypted.
        let is_first =
            self.connection.negotiated_cipher_suite().is_none() && self.sealed.is_empty();
        let is_too_long = matches!(error, Error::InvalidMessage(InvalidMessage::MessageTooLarge));
        if is_first && is_too_long {
            // rustls would send decode_error instead.
            self.sealed.extend_from_slice(RECORD_OVERFLOW);
        } else {
            while self.connection.wants_write()
                && let UnbufferedStatus {
                    state: Ok(ConnectionState::EncodeTlsData(mut data)), ..
                } = self.connection.process_tls_records(received)
            {
                encode(&mut data, &mut self.sealed);
            }
            if is_first && self.sealed.is_empty() {
                // rustls has no alert for some errors, such as too long a handshake message.
                self.sealed.extend_from_slice(DECODE_ERROR);
            }
        }
        self.failure = Some(error.to_string().into());
        self.state = State::Failed;
    }

    /// Encrypts as much as fits into one record, appends it to the unsent bytes, and returns how
    /// much that was. Only after the handshake.
    pub fn seal(&mut self, plain: &[u8]) -> usize {
        if self.has_failed() || self.closed {
            // It could not be decrypted any more. Nor may rustls be called again: it would look
            // for a handshake message in bytes that are gone, and panic.
            return plain.len();
        }
        let len = plain.len().min(MOST_PLAIN_BYTES);
        self.write(len + RECORD_BYTES, |traffic, out| traffic.encrypt(&plain[..len], out));
        len
    }

    /// Sends close_notify (RFC 8446, section 6.1), once, if the handshake is complete and TLS has
    /// not failed.
    pub fn close(&mut self) {
        if !self.closed && matches!(self.state, State::Open | State::Ended) {
            self.closed = true;
            self.write(RECORD_BYTES, |traffic, out| traffic.queue_close_notify(out));
            self.partial = Vec::new();
        }
    }

    /// Appends what `write` writes to the unsent bytes; `most` is the expected length.
    fn write(
        &mut self,
        most: usize,
        write: impl Fn(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) {
        loop {
            match self.connection.process_tls_records(&mut self.partial).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let start = self.sealed.len();
                    self.sealed.resize(start + most, 0);
                    let mut written = write(&mut traffic, &mut self.sealed[start..]);
                    if let Err(EncryptError::InsufficientSize(error)) = &written {
                        // TLS has a record of its own to send first.
                        self.sealed.resize(start + error.required_size, 0);
                        written = write(&mut traffic, &mut self.sealed[start..]);
                    }
                    self.sealed.truncate(start + written.as_ref().unwrap_or(&0));
                    if written.is_err() {
                        // After 2^24 records of TLS 1.2 (RFC 8446, section 5.5); TLS 1.3 renews
                        // its keys by itself.
                        self.fail(&Error::General("the keys are used up".into()), &mut []);
                    }
                    return;
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.sealed),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                // Noted when it was received; writing is still allowed.
                Ok(ConnectionState::PeerClosed) => {}
                _ => {
                    self.state = State::Failed;
                    return;
                }
            }
        }
    }

    /// The bytes to send to the peer next.
    pub fn unsent(&self) -> &[u8] {
        &self.sealed[self.sent..]
    }

    /// `count` of the unsent bytes were sent.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.sealed.len() {
            self.sealed = Vec::new();
            self.sent = 0;
        }
    }

    /// Drops the unsent bytes, for a socket that takes nothing any more. Received bytes are
    /// still decrypted.
    pub fn discard_unsent(&mut self) {
        self.sealed = Vec::new();
        self.sent = 0;
    }

    /// Heap bytes of received and sealed bytes; those of rustls itself are not known.
    pub fn held(&self) -> usize {
        self.partial.capacity() + self.sealed.capacity()
    }

    /// Heap bytes of what is not sent yet.
    pub fn unsent_held(&self) -> usize {
        self.sealed.capacity()
    }

    /// Bytes of an incomplete record or handshake message.
    pub fn half(&self) -> usize {
        self.partial.len()
    }
}

/// Makes room for this many bytes after an incomplete record. The buffer grows to the end of
/// that record at once, and not beyond: doubled, a record would take twice its length.
fn make_room(partial: &mut Vec<u8>, more: usize) {
    let Some(&[_, _, _, high, low]) = partial.first_chunk() else { return };
    let record = 5 + usize::from(u16::from_be_bytes([high, low]));
    let needed = partial.len() + more;
    if partial.capacity() < needed && needed <= record {
        partial.reserve_exact(record - partial.len());
    }
}

/// Appends what TLS sends by itself.
fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, sealed: &mut Vec<u8>) {
    let start = sealed.len();
    if let Err(EncodeError::InsufficientSize(error)) = data.encode(&mut []) {
        sealed.resize(start + error.required_size, 0);
        let _ = data.encode(&mut sealed[start..]);
    }
}

/// Shows nothing that is secret.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::path::PathBuf;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

    use super::*;
    use crate::tls::{Credentials, Files};

    fn file(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
    }

    fn credentials() -> Credentials {
        let files = Files { certificate: file("chain.pem"), key: file("key.pem") };
        Credentials::load(&files).unwrap()
    }

    fn client_config() -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
        let provider = rustls::crypto::ring::default_provider().into();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// A client and moss's side, which exchange bytes in pieces.
    struct Pair {
        client: ClientConnection,
        tls: Tls,
        /// The plain text that the client has sent, and received.
        plain: Vec<u8>,
        told: Vec<u8>,
        piece: usize,
    }

    impl Pair {
        fn new(credentials: &Credentials, config: &Arc<ClientConfig>, piece: usize) -> Self {
            let name = "localhost".try_into().unwrap();
            let client = ClientConnection::new(Arc::clone(config), name).unwrap();
            Self {
                client,
                tls: credentials.accept().unwrap(),
                plain: Vec::new(),
                told: Vec::new(),
                piece,
            }
        }

        /// Passes bytes both ways until no side has any.
        fn carry(&mut self) {
            while self.client.wants_write() || !self.tls.unsent().is_empty() {
                let mut bytes = Vec::new();
                while self.client.wants_write() {
                    self.client.write_tls(&mut bytes).unwrap();
                }
                for piece in bytes.chunks_mut(self.piece) {
                    self.tls.receive(piece, &mut self.plain);
                }
                while !self.tls.unsent().is_empty() {
                    let len = self.tls.unsent().len().min(self.piece);
                    let read = self.client.read_tls(&mut &self.tls.unsent()[..len]).unwrap();
                    self.tls.advance(read);
                    self.client.process_new_packets().unwrap();
                    let mut told = [0; 4096];
                    while let Ok(count @ 1..) = self.client.reader().read(&mut told) {
                        self.told.extend_from_slice(&told[..count]);
                    }
                }
            }
        }

        /// A pair whose handshake is over.
        fn open(credentials: &Credentials, config: &Arc<ClientConfig>, piece: usize) -> Self {
            let mut pair = Self::new(credentials, config, piece);
            pair.carry();
            assert!(!pair.client.is_handshaking() && !pair.tls.is_handshaking());
            pair
        }

        fn seal(&mut self, mut plain: &[u8]) {
            while !plain.is_empty() {
                plain = &plain[self.tls.seal(plain)..];
                self.carry();
            }
        }
    }

    #[test]
    fn bytes_arrive_both_ways_in_whatever_pieces() {
        let long: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
        for piece in [1, 2, 7, 512, 64 << 10] {
            let mut pair = Pair::open(&credentials(), &client_config(), piece);
            pair.client.writer().write_all(&long).unwrap();
            pair.carry();
            assert!(pair.plain == long, "{} bytes", pair.plain.len());
            pair.plain.clear();
            pair.seal(&long);
            assert!(pair.told == long, "{} bytes", pair.told.len());
            assert_eq!((pair.tls.held(), pair.tls.half()), (0, 0), "at rest it owns no buffer");
        }
    }

    #[test]
    fn one_record_takes_no_more_than_fits() {
        let mut pair = Pair::open(&credentials(), &client_config(), 64 << 10);
        assert_eq!(pair.tls.seal(&[7; 100_000]), 16 << 10);
        assert!(pair.tls.held() <= (16 << 10) + RECORD_BYTES, "{}", pair.tls.held());
    }

    #[test]
    fn half_a_record_is_held_and_counts() {
        let mut pair = Pair::open(&credentials(), &client_config(), 64 << 10);
        pair.client.writer().write_all(&[7; 5_000]).unwrap();
        let mut record = Vec::new();
        pair.client.write_tls(&mut record).unwrap();
        let (start, rest) = record.split_at_mut(4_000);
        assert_eq!(pair.tls.receive(start, &mut pair.plain), 0);
        assert_eq!((pair.plain.len(), pair.tls.half()), (0, 4_000));
        assert_eq!(pair.tls.receive(&mut rest[..10], &mut pair.plain), 0);
        let rest = &mut rest[10..];
        assert_eq!((pair.tls.half(), pair.tls.held()), (4_010, 5_022), "room for the record");
        assert_eq!(pair.tls.receive(rest, &mut pair.plain), 1);
        assert_eq!((pair.plain.len(), pair.tls.half()), (5_000, 0));
    }

    #[test]
    fn each_record_costs_a_frame_and_a_handshake_far_more() {
        let mut pair = Pair::new(&credentials(), &client_config(), 64 << 10);
        let mut hello = Vec::new();
        pair.client.write_tls(&mut hello).unwrap();
        assert!(pair.tls.receive(&mut hello, &mut pair.plain) >= 100, "some hundred packets");
        pair.carry();
        let mut records = Vec::new();
        for _ in 0..100 {
            pair.client.writer().write_all(b"x").unwrap();
            pair.client.write_tls(&mut records).unwrap();
        }
        assert_eq!(pair.tls.receive(&mut records, &mut pair.plain), 100);
    }

    #[test]
    fn close_notify_ends_each_side_by_itself() {
        let mut pair = Pair::open(&credentials(), &client_config(), 64 << 10);
        pair.client.writer().write_all(b"last words").unwrap();
        pair.client.send_close_notify();
        pair.carry();
        assert_eq!(pair.plain, b"last words");
        assert!(pair.tls.has_ended() && !pair.tls.has_failed());
        pair.seal(b"well then");
        pair.tls.close();
        pair.tls.close();
        pair.carry();
        assert_eq!(pair.told, b"well then");
        assert_eq!(pair.client.reader().read(&mut [0; 9]).unwrap(), 0, "the end, and no error");
    }

    #[test]
    fn nothing_is_heard_after_the_last_word() {
        let mut pair = Pair::open(&credentials(), &client_config(), 64 << 10);
        pair.tls.close();
        pair.carry();
        let mut rubbish = *b"\x17\x03\x03\x00\x20 a record that nobody can decrypt ";
        assert_eq!(pair.tls.receive(&mut rubbish, &mut pair.plain), 0);
        assert!(pair.tls.unsent().is_empty(), "an alert behind the end");
        assert_eq!(pair.tls.seal(b"too late"), 8);
        assert!(pair.tls.unsent().is_empty());
    }

    #[test]
    fn what_came_is_heard_after_nothing_can_be_sent() {
        let mut pair = Pair::open(&credentials(), &client_config(), 64 << 10);
        pair.client.writer().write_all(b"last words").unwrap();
        let mut bytes = Vec::new();
        pair.client.write_tls(&mut bytes).unwrap();
        assert_eq!(pair.tls.seal(b"in vain"), 7);
        pair.tls.discard_unsent();
        pair.tls.receive(&mut bytes, &mut pair.plain);
        assert_eq!(pair.plain, b"last words");
        assert!(pair.tls.unsent().is_empty());
    }

    #[test]
    fn message_in_ever_so_many_records_is_not_held() {
        let mut tls = credentials().accept().unwrap();
        // The header of a ClientHello of 60,000 bytes, and a byte of it in each record.
        tls.receive(&mut b"\x16\x03\x01\x00\x05\x01\x00\xea\x60\x03".to_vec(), &mut Vec::new());
        let mut records = 0;
        while !tls.has_failed() {
            records += 1;
            tls.receive(&mut b"\x16\x03\x01\x00\x01x".to_vec(), &mut Vec::new());
            assert!(tls.half() <= MOST_PARTIAL_BYTES, "{} bytes after {records}", tls.half());
        }
        assert_eq!(tls.held(), 0);
    }

    #[test]
    fn records_of_a_message_that_is_not_whole_cost_frames() {
        let mut tls = credentials().accept().unwrap();
        let mut records = b"\x16\x03\x01\x00\x05\x01\x00\xea\x60\x03".to_vec();
        records.extend(b"\x16\x03\x01\x00\x01x".repeat(5_000));
        assert!(tls.receive(&mut records, &mut Vec::new()) >= HANDSHAKE_COST + 1_000);
    }

    #[test]
    fn rest_of_a_large_receive_is_held_alone() {
        let mut pair = Pair::open(&credentials(), &client_config(), 64 << 10);
        pair.client.writer().write_all(&[7; 50_000]).unwrap();
        let mut records = Vec::new();
        while pair.client.wants_write() {
            pair.client.write_tls(&mut records).unwrap();
        }
        let len = records.len();
        let (start, rest) = records.split_at_mut(10);
        pair.tls.receive(start, &mut pair.plain);
        pair.tls.receive(&mut rest[..len - 1_000], &mut pair.plain);
        assert!(pair.tls.held() <= 2 * pair.tls.half() + SLACK_BYTES, "{}", pair.tls.held());
    }

    #[test]
    fn ticket_spares_a_full_handshake() {
        let (credentials, config) = (credentials(), client_config());
        let files = Files { certificate: file("chain.pem"), key: file("key.pem") };
        let mut first = Pair::open(&credentials, &config, 64 << 10);
        first.carry();
        assert_eq!(first.client.handshake_kind(), Some(HandshakeKind::Full));
        let second = Pair::open(&credentials, &config, 64 << 10);
        assert_eq!(second.client.handshake_kind(), Some(HandshakeKind::Resumed));
        let reloaded = credentials.reload(&files).unwrap();
        let third = Pair::open(&reloaded, &config, 64 << 10);
        assert_eq!(third.client.handshake_kind(), Some(HandshakeKind::Resumed));
    }

    #[test]
    fn rubbish_gets_an_alert_and_is_heard_no_more() {
        let mut pair = Pair::new(&credentials(), &client_config(), 64 << 10);
        let mut rubbish = *b"\x16\x03\x01\x00\x05rubbish";
        pair.tls.receive(&mut rubbish, &mut pair.plain);
        assert!(pair.tls.has_failed() && pair.tls.has_ended());
        // A fatal alert in a record of its own (RFC 8446, section 6).
        assert_eq!(pair.tls.unsent()[..6], [21, 3, 3, 0, 2, 2]);
        assert_eq!(pair.tls.receive(&mut rubbish, &mut pair.plain), 0);
        assert!(pair.plain.is_empty());
        pair.tls.advance(pair.tls.unsent().len());
        pair.tls.close();
        assert!(pair.tls.unsent().is_empty(), "it is not understood");
    }

    #[test]
    fn nothing_is_sealed_after_a_failure() {
        let mut tls = credentials().accept().unwrap();
        // Two messages in one record: rustls remembers the position of the second.
        let mut bad = *b"\x16\x03\x01\x00\x08\x01\0\0\0\x01\0\0\0";
        tls.receive(&mut bad, &mut Vec::new());
        assert!(tls.has_failed());
        tls.advance(tls.unsent().len());
        assert_eq!(tls.seal(b"too late"), 8);
        tls.close();
        assert!(tls.unsent().is_empty());
    }

    #[test]
    fn bytes_before_an_error_are_heard() {
        let mut pair = Pair::open(&credentials(), &client_config(), 64 << 10);
        pair.client.writer().write_all(b"good").unwrap();
        let mut bytes = Vec::new();
        pair.client.write_tls(&mut bytes).unwrap();
        pair.client.writer().write_all(b"bad").unwrap();
        pair.client.write_tls(&mut bytes).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        pair.tls.receive(&mut bytes, &mut pair.plain);
        assert_eq!(pair.plain, b"good");
        assert!(pair.tls.has_failed());
        assert!(!pair.tls.unsent().is_empty(), "an alert is due");
    }

    #[test]
    fn key_update_in_pieces_is_no_trouble() {
        let mut pair = Pair::open(&credentials(), &client_config(), 1);
        pair.client.refresh_traffic_keys().unwrap();
        let mut update = Vec::new();
        pair.client.write_tls(&mut update).unwrap();
        let (start, rest) = update.split_at_mut(9);
        pair.tls.receive(start, &mut pair.plain);
        pair.seal(b"in between");
        pair.tls.receive(rest, &mut pair.plain);
        pair.client.writer().write_all(b"after").unwrap();
        pair.carry();
        pair.seal(b"too");
        assert_eq!(pair.plain, b"after");
        assert_eq!(pair.told, b"in betweentoo");
    }
}
