//! The load generator's side of TLS.
//!
//! Peers offer only TLS 1.3 with one suite and one group, so that all programs under test do the
//! same work. Each handshake is checked: it must have negotiated these, and be full or resumed
//! as the scenario says.

use std::io::{self, IoSlice, Read as _, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion,
    RootCertStore,
};

/// The certificate's name.
const NAME: &str = "localhost";
const APPLICATION: &[u8] = b"http/1.1";
/// How many tickets are kept. A crowd gets more.
const MOST_TICKETS: usize = 1_024;

/// The certificate of the servers under test, with its issuer's. Its key is on P-256.
pub(crate) fn certificate() -> PathBuf {
    fixture("chain.pem")
}

pub(crate) fn key() -> PathBuf {
    fixture("key.pem")
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// The TLS configuration and the tickets that a fleet's peers share.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    tickets: Arc<Tickets>,
}

impl Client {
    pub(crate) fn new() -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let issuer = CertificateDer::from_pem_file(fixture("ca.pem")).map_err(io::Error::other)?;
        roots.add(issuer).map_err(io::Error::other)?;
        let provider = CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tickets = Arc::new(Tickets::default());
        config.alpn_protocols = vec![APPLICATION.to_vec()];
        config.resumption = Resumption::store(tickets.clone());
        Ok(Self { config: Arc::new(config), tickets })
    }

    /// From now on, each new peer resumes a session with a ticket of an earlier peer.
    pub(crate) fn resume(&self) {
        self.tickets.shown.store(true, Ordering::Relaxed);
    }

    /// TLS for one more peer. Nothing has been sent yet.
    pub(crate) fn connection(&self) -> io::Result<Connection> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        tls.set_buffer_limit(None);
        let expected = match self.tickets.shown.load(Ordering::Relaxed) {
            true => HandshakeKind::Resumed,
            false => HandshakeKind::Full,
        };
        Ok(Connection { tls, expected: Some(expected) })
    }
}

/// The tickets of a fleet, each used once.
///
/// They are accepted even while none is used, as by a browser that connects for the first time.
#[derive(Debug, Default)]
struct Tickets {
    shown: AtomicBool,
    kept: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Tickets {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut kept = self.kept.lock().expect("no holder panics");
        if kept.len() < MOST_TICKETS {
            kept.push(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let shown = self.shown.load(Ordering::Relaxed);
        shown.then(|| self.kept.lock().expect("no holder panics").pop()).flatten()
    }

    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}

/// One peer's TLS. It holds what the socket has not taken yet.
pub(crate) struct Connection {
    tls: ClientConnection,
    /// The expected kind of handshake, until it has been checked.
    expected: Option<HandshakeKind>,
}

impl Connection {
    /// Encrypts `bytes` in as few records as possible, and sends what `socket` takes.
    pub(crate) fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        self.flush(socket)
    }

    pub(crate) fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Decrypts `wire` into `space`, which must be at least as large, and sends what the handshake
    /// needs. Returns the number of bytes in `space`.
    pub(crate) fn receive(
        &mut self,
        socket: &OwnedFd,
        mut wire: &[u8],
        space: &mut [u8],
    ) -> io::Result<usize> {
        let mut filled = 0;
        while !wire.is_empty() {
            self.tls.read_tls(&mut wire)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let end = filled + state.plaintext_bytes_to_read();
            if filled < end {
                self.tls.reader().read_exact(&mut space[filled..end])?;
                filled = end;
            }
        }
        if !self.tls.is_handshaking()
            && let Some(expected) = self.expected.take()
        {
            self.check(expected)?;
        }
        self.flush(socket)?;
        Ok(filled)
    }

    fn check(&self, expected: HandshakeKind) -> io::Result<()> {
        let suite = self.tls.negotiated_cipher_suite().map(|suite| suite.suite());
        let group = self.tls.negotiated_key_exchange_group().map(|group| group.name());
        let (kind, version) = (self.tls.handshake_kind(), self.tls.protocol_version());
        let application = self.tls.alpn_protocol();
        if kind == Some(expected)
            && version == Some(ProtocolVersion::TLSv1_3)
            && suite == Some(CipherSuite::TLS13_AES_128_GCM_SHA256)
            && group == Some(NamedGroup::X25519)
            && application == Some(APPLICATION)
        {
            return Ok(());
        }
        let application = application.map(String::from_utf8_lossy);
        Err(io::Error::other(format!(
            "a handshake was {kind:?} instead of {expected:?}, with {version:?}, {suite:?}, \
             {group:?} and {application:?}"
        )))
    }
}

/// Lets rustls write all its records in one system call.
struct Socket<'a>(&'a OwnedFd);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match rustix::io::writev(self.0, slices) {
                Err(Errno::INTR) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
