//! Fuzz target: TLS. Bytes in pieces have the same result as whole, and no bytes cause a panic.
//! After the handshake of a real client, each side receives exactly what the other sent, up to
//! the first damaged byte.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use moss::tls::{Credentials, Files, Tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Bytes for an incomplete handshake message or record, and for one record to be sent.
const MAX_HELD_BYTES: usize = 192 << 10;

/// A connection fails if its peer updates its keys more often.
const MOST_UPDATES: usize = 16;

static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| {
    let files = Files { certificate: file("chain.pem"), key: file("key.pem") };
    Credentials::load(&files).expect("the tests' certificate")
});

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(file("ca.pem")).expect("the tests' CA");
    roots.add(ca).expect("a CA");
    let provider = rustls::crypto::ring::default_provider().into();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
});

fn file(name: &str) -> PathBuf {
    // The fuzzer's package is one folder below.
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("tests/tls"), here.join("../tests/tls")];
    folders.into_iter().find(|folder| folder.exists()).expect("certificates").join(name)
}

/// Panics if TLS handles the bytes in `data` wrongly. The first byte says how to cut them, and
/// whether they are the first bytes of a connection, or the actions of a client after its
/// handshake.
pub(crate) fn check(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else { return };
    let piece = usize::from(mode >> 1) + 1;
    if mode & 1 == 0 {
        assert_eq!(end_of(data, piece), end_of(data, data.len().max(1)));
    } else {
        talk(data, piece);
    }
}

/// The result of a handshake, as far as it does not depend on random numbers.
#[derive(Debug, PartialEq, Eq)]
struct End {
    failed: bool,
    ended: bool,
    silent: bool,
    plain: Vec<u8>,
}

fn end_of(data: &[u8], piece: usize) -> End {
    let mut tls = CREDENTIALS.accept().expect("randomness");
    let mut plain = Vec::new();
    for piece in data.to_vec().chunks_mut(piece) {
        let cost = tls.receive(piece, &mut plain);
        assert!((0..100_000).contains(&cost), "{cost}");
        assert!(tls.held() <= MAX_HELD_BYTES, "{} bytes are held", tls.held());
    }
    let silent = tls.unsent().is_empty();
    if !tls.is_handshaking() {
        // Whether it failed or not.
        assert_eq!(tls.seal(b"last words"), 10);
        tls.close();
    }
    End { failed: tls.has_failed(), ended: tls.has_ended(), silent, plain }
}

/// A client and moss's side.
struct Pair {
    client: ClientConnection,
    tls: Tls,
    piece: usize,
    /// The position of a damaged byte in the client's next records.
    damage: Option<usize>,
    /// What moss, and the client, have received.
    heard: Vec<u8>,
    told: Vec<u8>,
}

fn talk(doings: &[u8], piece: usize) {
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(Arc::clone(&CLIENT), name).expect("a client");
    let tls = CREDENTIALS.accept().expect("randomness");
    let (heard, told) = (Vec::new(), Vec::new());
    let mut pair = Pair { client, tls, piece, damage: None, heard, told };
    pair.carry();
    assert!(!pair.tls.is_handshaking() && !pair.client.is_handshaking());
    let mut updates = 0;
    let (mut said, mut sealed) = (Vec::new(), Vec::<u8>::new());
    for doing in doings.chunks_exact(2).take(64) {
        let len = 1 + 97 * usize::from(doing[1]);
        let bytes: Vec<u8> = (0..len).map(|at| (at ^ len) as u8).collect();
        match doing[0] % 6 {
            0 => {
                pair.client.writer().write_all(&bytes).expect("room");
                said.extend_from_slice(&bytes);
            }
            1 => {
                let mut rest = &bytes[..];
                while !rest.is_empty() && !pair.tls.has_failed() {
                    rest = &rest[pair.tls.seal(rest)..];
                    pair.carry();
                }
                sealed.extend(&bytes[..len - rest.len()]);
            }
            2 if updates < MOST_UPDATES => {
                updates += 1;
                pair.client.refresh_traffic_keys().expect("TLS 1.3");
            }
            2 => {}
            3 => pair.client.send_close_notify(),
            4 => pair.tls.close(),
            _ => pair.damage = Some(len),
        }
        let whole = pair.damage.is_none();
        pair.carry();
        if !whole && pair.damage.is_none() {
            // It has failed, or waits for the rest of a record whose length was damaged.
            assert!(
                said.starts_with(&pair.heard),
                "moss received other bytes than the client sent"
            );
            return;
        }
        assert!(!pair.tls.has_failed(), "it failed without damage");
        assert!(pair.heard == said, "moss received {} of {} bytes", pair.heard.len(), said.len());
        assert!(
            pair.told == sealed,
            "the client received {} of {} bytes",
            pair.told.len(),
            sealed.len()
        );
        assert_eq!((pair.tls.held(), pair.tls.half()), (0, 0));
        if pair.tls.has_ended() || doing[0] % 6 == 4 {
            // No later bytes are received, damaged or not.
            let mut late = bytes;
            pair.tls.receive(&mut late, &mut pair.heard);
            assert!(pair.heard == said && pair.tls.unsent().is_empty());
            return;
        }
    }
}

impl Pair {
    /// Carries bytes in both directions until there are none.
    fn carry(&mut self) {
        loop {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).expect("memory");
            }
            if bytes.is_empty() && self.tls.unsent().is_empty() {
                return;
            }
            if let Some(at) = self.damage.take_if(|_| !bytes.is_empty()) {
                let at = at % bytes.len();
                bytes[at] ^= 0x40;
            }
            for piece in bytes.chunks_mut(self.piece) {
                self.tls.receive(piece, &mut self.heard);
            }
            while !self.tls.unsent().is_empty() {
                let unsent = self.tls.unsent();
                let mut piece = &unsent[..unsent.len().min(self.piece)];
                let read = self.client.read_tls(&mut piece).expect("memory");
                self.tls.advance(read);
                if self.client.process_new_packets().is_err() {
                    assert!(self.tls.has_failed(), "the client does not understand moss");
                    return;
                }
                let mut told = [0; 4096];
                while let Ok(count @ 1..) = self.client.reader().read(&mut told) {
                    self.told.extend_from_slice(&told[..count]);
                }
                if read == 0 {
                    return;
                }
            }
        }
    }
}
