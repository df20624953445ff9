//! A connection to moss: TCP, or TLS over TCP. The name of a test program decides whether it
//! uses TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::PATIENCE;

/// Whether connections go through TLS: in `peers_over_tls`, `stress_over_tls` and `tls`.
pub const OVER_TLS: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), [.., b't', b'l', b's']);

/// The folder with the certificates, which a script in it has made.
pub const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");

/// The largest content of a record (RFC 8446, section 5.1).
const RECORD: usize = 1 << 14;

/// A connection. Its clones are handles of the same connection and descriptor: one thread may
/// read while another writes.
///
/// With TLS, the handshake takes place when the first byte is written or read.
#[derive(Clone)]
pub struct Stream {
    tcp: Arc<Tcp>,
    tls: Option<Arc<Tls>>,
}

/// A TCP connection that ends when this is dropped.
struct Tcp(TcpStream);

/// The TLS of a connection. `connection` is never locked while waiting for the network.
struct Tls {
    connection: Mutex<ClientConnection>,
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Vec<u8>>,
}

/// Received bytes that are not decrypted yet.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// The peer has sent `close_notify`: only the end may follow.
    closed: bool,
}

impl Stream {
    /// A connection with time limits.
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(connect_tcp(address))
    }

    /// The same on an existing TCP connection.
    pub fn new(tcp: TcpStream) -> Self {
        if OVER_TLS { Self::over_tls(tcp, &CONFIG) } else { Self::plain(tcp) }
    }

    /// A connection without TLS, in every test program.
    pub fn plain(tcp: TcpStream) -> Self {
        Self { tcp: Arc::new(Tcp(tcp)), tls: None }
    }

    /// A connection through TLS with this configuration.
    pub fn over_tls(tcp: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        // The writer has a limit of its own.
        connection.set_buffer_limit(None);
        let tls = Tls {
            connection: Mutex::new(connection),
            incoming: Mutex::default(),
            outgoing: Mutex::default(),
        };
        Self { tcp: Arc::new(Tcp(tcp)), tls: Some(Arc::new(tls)) }
    }

    /// The TCP connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The TLS connection, mainly for the result of the handshake.
    pub fn tls(&self) -> MutexGuard<'_, ClientConnection> {
        lock(&self.tls.as_ref().expect("a connection through TLS").connection)
    }

    /// Does the handshake now, if there is TLS and it is not done yet.
    pub fn shake_hands(&self) -> io::Result<()> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.shake_hands(&self.tcp))
    }

    /// Sends bytes to a stopped moss. With TLS they are only queued, as it can't do the
    /// handshake: they are sent when the answer is read.
    pub fn write_ahead(&self, bytes: &[u8]) {
        match &self.tls {
            None => (&**self.tcp).write_all(bytes),
            Some(tls) => tls.write_ahead(bytes, &self.tcp),
        }
        .expect("the kernel takes it");
    }

    /// Sets whether calls that would block fail instead.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.tcp.set_nonblocking(nonblocking)
    }

    /// Shuts down this direction, or both; with TLS it sends `close_notify` before.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.send_close_notify();
        }
        self.tcp.shutdown(how)
    }

    /// Sends `close_notify`, unless another thread is blocked within a record.
    pub fn send_close_notify(&self) {
        let Some(tls) = &self.tls else { return };
        if let Ok(mut outgoing) = tls.outgoing.try_lock() {
            lock(&tls.connection).send_close_notify();
            // The connection may already be closed.
            let _ = tls.encrypt(&[], &mut outgoing).and_then(|()| send(&mut outgoing, &self.tcp));
        }
    }

    /// Ends with a reset once the last handle is dropped.
    pub fn reset_at_end(&self) {
        rustix::net::sockopt::set_socket_linger(&**self.tcp, Some(Duration::ZERO))
            .expect("a TCP socket");
    }
}

impl Deref for Tcp {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

/// To close is not enough: a child that another thread starts at this moment has a copy of the
/// descriptor until it runs its program, and the kernel sends no FIN before.
impl Drop for Tcp {
    fn drop(&mut self) {
        // See `reset_at_end`: a FIN must not come before the reset.
        if matches!(rustix::net::sockopt::socket_linger(&self.0), Ok(None)) {
            let _ = self.0.shutdown(Shutdown::Both);
        }
    }
}

impl Read for &Stream {
    /// With TLS, an end without `close_notify` is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => (&**self.tcp).read(buffer),
            Some(tls) => tls.read(buffer, &self.tcp),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => (&**self.tcp).write(bytes),
            Some(tls) => tls.write(bytes, &self.tcp),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls {
    fn read(&self, buffer: &mut [u8], tcp: &TcpStream) -> io::Result<usize> {
        self.shake_hands(tcp)?;
        let mut incoming = lock(&self.incoming);
        loop {
            match lock(&self.connection).reader().read(buffer) {
                Ok(0) if !buffer.is_empty() => incoming.closed = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if incoming.receive(tcp)? == 0 && incoming.closed {
                return Ok(0);
            }
            let result = incoming.decrypt(&self.connection);
            // Mostly an alert. A thread that is writing sends it, too.
            if lock(&self.connection).wants_write()
                && let Ok(mut outgoing) = self.outgoing.try_lock()
            {
                self.encrypt(&[], &mut outgoing)?;
                let _ = send(&mut outgoing, tcp);
            }
            result?;
        }
    }

    /// Accepts as much as the kernel takes, and one record more, whose rest the next call sends.
    fn write(&self, bytes: &[u8], tcp: &TcpStream) -> io::Result<usize> {
        self.shake_hands(tcp)?;
        let mut outgoing = lock(&self.outgoing);
        let mut records = bytes.chunks(RECORD);
        let mut taken = 0;
        loop {
            match send(&mut outgoing, tcp) {
                Err(error) if taken > 0 && error.kind() == ErrorKind::WouldBlock => break,
                result => result?,
            }
            let Some(record) = records.next() else { break };
            self.encrypt(record, &mut outgoing)?;
            taken += record.len();
        }
        Ok(taken)
    }

    fn write_ahead(&self, bytes: &[u8], tcp: &TcpStream) -> io::Result<()> {
        let mut outgoing = lock(&self.outgoing);
        self.encrypt(bytes, &mut outgoing)?;
        send(&mut outgoing, tcp)
    }

    fn shake_hands(&self, tcp: &TcpStream) -> io::Result<()> {
        if !lock(&self.connection).is_handshaking() {
            return Ok(());
        }
        let mut incoming = lock(&self.incoming);
        let mut outgoing = lock(&self.outgoing);
        loop {
            self.encrypt(&[], &mut outgoing)?;
            send(&mut outgoing, tcp)?;
            if !lock(&self.connection).is_handshaking() {
                return Ok(());
            }
            if incoming.receive(tcp)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let result = incoming.decrypt(&self.connection);
            if result.is_err() {
                self.encrypt(&[], &mut outgoing)?;
                // Best effort: the peer may be gone.
                let _ = send(&mut outgoing, tcp);
            }
            result?;
        }
    }

    /// Encrypts these bytes into `outgoing`, together with TLS's own messages.
    fn encrypt(&self, bytes: &[u8], outgoing: &mut Vec<u8>) -> io::Result<()> {
        let mut connection = lock(&self.connection);
        connection.writer().write_all(bytes)?;
        while connection.wants_write() {
            connection.write_tls(outgoing)?;
        }
        Ok(())
    }
}

impl Incoming {
    /// Waits for received bytes, unless there are some: their number, 0 at the end.
    fn receive(&mut self, mut tcp: &TcpStream) -> io::Result<usize> {
        if self.bytes.is_empty() {
            self.bytes.resize(RECORD, 0);
            let result = tcp.read(&mut self.bytes);
            self.bytes.truncate(*result.as_ref().unwrap_or(&0));
            result?;
        }
        Ok(self.bytes.len())
    }

    /// Passes to rustls as much as it takes before its plain text is read.
    fn decrypt(&mut self, connection: &Mutex<ClientConnection>) -> io::Result<()> {
        if self.closed {
            return Err(io::Error::new(ErrorKind::InvalidData, "bytes after close_notify"));
        }
        let mut connection = lock(connection);
        let count = connection.read_tls(&mut &*self.bytes)?;
        self.bytes.drain(..count);
        // A waiting connection keeps no buffer, as crowds have many connections.
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        connection
            .process_new_packets()
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(())
    }
}

/// A TCP connection with time limits.
pub fn connect_tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("moss accepts");
    with_time_outs(stream)
}

/// Sets the time limits of a TCP connection.
pub fn with_time_outs(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// A client configuration that trusts the tests' CA and never resumes a session.
pub fn tls_config() -> ClientConfig {
    tls_config_of(rustls::ALL_VERSIONS)
}

/// The same with these versions only.
pub fn tls_config_of(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let authority = format!("{CERTIFICATES}/ca.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("a root");
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(versions)
        .expect("versions of the provider")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| tls_config().into());

/// Sends all of it, or as much as the kernel takes.
fn send(outgoing: &mut Vec<u8>, mut tcp: &TcpStream) -> io::Result<()> {
    let mut sent = 0;
    let mut result = Ok(());
    while sent < outgoing.len() && result.is_ok() {
        match tcp.write(&outgoing[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => result = Err(error),
        }
    }
    outgoing.drain(..sent);
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}
