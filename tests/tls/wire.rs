//! TLS by hand: any ClientHello, single records, and a rustls client whose bytes the test carries.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error};

use crate::support::{Moss, connect_tcp};

pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// The first byte of a ServerHello (RFC 8446, section 4).
pub(crate) const SERVER_HELLO: u8 = 2;

pub(crate) const TLS_1_1: u16 = 0x0302;
pub(crate) const TLS_1_2: u16 = 0x0303;
pub(crate) const TLS_1_3: u16 = 0x0304;

/// AES-128-GCM, which all support; and AES-128-CBC without forward secrecy.
const GOOD_SUITES: [u16; 2] = [0x1301, 0xc02b];
pub(crate) const BAD_SUITE: u16 = 0x002f;

/// A ClientHello (RFC 8446, section 4.1.2).
pub(crate) struct Hello {
    /// The version field that older servers read.
    pub(crate) version: u16,
    /// The versions in the extension. Without any there is no extension.
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<u16>,
    /// The length of the padding extension.
    pub(crate) padding: usize,
}

impl Hello {
    /// A valid one, which gets a ServerHello.
    pub(crate) fn new() -> Self {
        let versions = vec![TLS_1_3, TLS_1_2];
        Self { version: TLS_1_2, versions, suites: GOOD_SUITES.into(), padding: 0 }
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let numbers = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        let mut extensions = vec![
            // Groups: X25519 and P-256. Signatures: ECDSA with P-256, RSA-PSS.
            extension(10, &sized(2, numbers(&[0x001d, 0x0017]))),
            extension(13, &sized(2, numbers(&[0x0403, 0x0804]))),
            // A key share for X25519: the base point.
            extension(51, &sized(2, [&[0, 0x1d, 0, 32, 9][..], &[0; 31]].concat())),
            extension(21, &vec![0; self.padding]),
        ];
        if !self.versions.is_empty() {
            extensions.push(extension(43, &sized(1, numbers(&self.versions))));
        }
        let body = [
            &self.version.to_be_bytes()[..],
            &[7; 32],
            &sized(1, vec![]),
            &sized(2, numbers(&self.suites)),
            &sized(1, vec![0]),
            &sized(2, extensions.concat()),
        ];
        [&[1][..], &sized(3, body.concat())].concat()
    }

    /// The message in a record.
    pub(crate) fn record(&self) -> Vec<u8> {
        record(HANDSHAKE, &self.message())
    }
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, content.to_vec())].concat()
}

/// These bytes after their length.
fn sized(len_of_len: usize, bytes: Vec<u8>) -> Vec<u8> {
    let len = (bytes.len() as u32).to_be_bytes();
    [&len[4 - len_of_len..], &bytes].concat()
}

/// An unencrypted TLS record.
pub(crate) fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &sized(2, content.to_vec())].concat()
}

/// A TCP connection to the TLS port.
pub(crate) fn connect(moss: &Moss) -> TcpStream {
    connect_tcp(moss.address())
}

/// The type and content of the next record. `None` at the end.
pub(crate) fn read_record(mut stream: &TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 5];
    if stream.read(&mut header[..1]).expect("a record or the end") == 0 {
        return None;
    }
    stream.read_exact(&mut header[1..]).expect("a header");
    let mut content = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut content).expect("a whole record");
    Some((header[0], content))
}

/// Sends these as the first bytes. moss must answer with only this fatal alert, and end.
#[track_caller]
pub(crate) fn expect_alert(moss: &Moss, bytes: &[u8], alert: AlertDescription) {
    let mut stream = connect(moss);
    stream.write_all(bytes).expect("moss reads");
    assert_eq!(read_record(&stream), Some((ALERT, vec![2, alert.into()])), "not {alert:?}");
    assert_eq!(read_record(&stream), None);
}

/// A client of rustls, whose bytes the test carries.
pub(crate) fn client(config: ClientConfig) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(config.into(), name).expect("a client")
}

/// The bytes that it wants to send now.
pub(crate) fn outgoing(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("room for it");
    }
    bytes
}

/// Sends a hello, and receives until the client has all that it needs to finish its handshake.
/// Its last message is not sent yet.
pub(crate) fn begin_handshake(client: &mut ClientConnection, stream: &mut TcpStream) {
    stream.write_all(&outgoing(client)).expect("moss reads");
    while client.is_handshaking() {
        assert!(client.read_tls(stream).expect("moss answers") > 0, "the end");
        client.process_new_packets().expect("a good handshake");
    }
}

/// Reads to the end of the connection, and returns the client's error.
pub(crate) fn read_to_error(client: &mut ClientConnection, stream: &mut TcpStream) -> Error {
    let mut error = None;
    while client.read_tls(stream).expect("an end without a reset") > 0 {
        if let Err(first) = client.process_new_packets() {
            error.get_or_insert(first);
        }
    }
    error.expect("an alert")
}
