//! A certificate with its key: from two PEM files to new connections.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use std::{fmt, fs};

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Header, SliceReader, Tag, Tagged};
use rustix::fs::{Mode, OFlags, open};
use rustls::crypto::ring::cipher_suite::*;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{Error, ServerConfig, SupportedCipherSuite};

use crate::tls::{File, Files, Problem, Tls};

/// In order of preference: moss's order counts, and is that of browsers.
const CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The error for a certificate that can't be parsed.
const DAMAGED: &str = "is damaged; give the chain in PEM, leaf first";

/// The longest file that is read, in bytes. A longer one is neither a certificate nor a key, and
/// may be endless.
const LONGEST: u64 = 1 << 20;

/// The protocols for ALPN (RFC 7301), in order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// A certificate with its key, ready for connections.
pub struct Credentials {
    config: Arc<ServerConfig>,
    expiry: SystemTime,
}

impl Credentials {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// One of them can't be read or used, or they do not belong to each other.
    pub fn load(files: &Files) -> Result<Self, Problem> {
        let tickets = ring::Ticketer::new().map_err(|error| key(format!("fails: {error}")))?;
        // A pipe works, too, such as a shell's `<(…)`.
        Self::load_with(files, tickets, |path| fs::File::open(path))
    }

    /// Reads them again without blocking: a pipe without data is an error. Session tickets that
    /// were issued before stay valid.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn reload(&self, files: &Files) -> Result<Self, Problem> {
        Self::load_with(files, Arc::clone(&self.config.ticketer), open_at_once)
    }

    fn load_with(
        files: &Files,
        tickets: Arc<dyn ProducesTickets>,
        open: fn(&Path) -> io::Result<fs::File>,
    ) -> Result<Self, Problem> {
        let read = |path| read(path, open(path));
        let chain = read_chain(&files.certificate, &read(&files.certificate).map_err(certificate)?);
        let chain = chain.map_err(certificate)?;
        let private_key = read_key(&files.key, &read(&files.key).map_err(key)?).map_err(key)?;
        let expiry = chain.first().and_then(|leaf| expiry(leaf).ok());
        let expiry =
            expiry.ok_or_else(|| certificate(format!("{:?} {DAMAGED}", files.certificate)))?;
        let provider =
            CryptoProvider { cipher_suites: CIPHER_SUITES.to_vec(), ..ring::default_provider() };
        let mut config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| key(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private_key)
            .map_err(|error| match error {
                Error::InconsistentKeys(_) => {
                    let why = "is not the key of the first certificate; give the one that is";
                    key(format!("{:?} {why}", files.key))
                }
                Error::InvalidCertificate(_) => {
                    certificate(format!("{:?} {DAMAGED}", files.certificate))
                }
                _ => {
                    let why = "can't be used; give an ECDSA (P-256 or P-384), RSA or Ed25519 key";
                    key(format!("{:?} {why}", files.key))
                }
            })?;
        config.ignore_client_order = true;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // The state for resuming a session is in the client's ticket; moss stores nothing.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = tickets;
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), expiry })
    }

    /// When the certificate expires.
    pub fn expiry(&self) -> SystemTime {
        self.expiry
    }

    /// A connection that was just accepted; `None` if the system provides no random numbers.
    pub fn accept(&self) -> Option<Tls> {
        Tls::new(Arc::clone(&self.config)).ok()
    }
}

/// Shows no byte of the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

fn certificate(why: String) -> Problem {
    Problem { file: File::Certificate, why }
}

fn key(why: String) -> Problem {
    Problem { file: File::Key, why }
}

/// Opens a file such that neither opening nor reading waits for the other end of a pipe.
fn open_at_once(path: &Path) -> io::Result<fs::File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?.into())
}

fn read(path: &Path, file: io::Result<fs::File>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let length = file
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{path:?} can't be read ({error}); name a readable file"))?;
    if length as u64 > LONGEST {
        return Err(format!("{path:?} is longer than {LONGEST} bytes; name a file in PEM"));
    }
    Ok(bytes)
}

fn read_chain(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("{path:?} holds no certificate; give the chain in PEM, leaf first")),
        Err(_) => Err(format!("{path:?} {DAMAGED}")),
    }
}

fn read_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let right = "give it in PEM, as PKCS#8, SEC1 or PKCS#1, and without a password";
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => format!("{path:?} holds no private key; {right}"),
        _ => format!("{path:?} is damaged or has a password; {right}"),
    })
}

/// When a certificate expires (RFC 5280, section 4.1).
fn expiry(certificate: &[u8]) -> der::Result<SystemTime> {
    let mut reader = SliceReader::new(certificate)?;
    enter(&mut reader)?;
    enter(&mut reader)?;
    let mut field = AnyRef::decode(&mut reader)?;
    if field.tag().is_context_specific() {
        // The version, which the oldest certificates lack.
        field = AnyRef::decode(&mut reader)?;
    }
    let _serial_number = field;
    let _signature = AnyRef::decode(&mut reader)?;
    let _issuer = AnyRef::decode(&mut reader)?;
    enter(&mut reader)?;
    let _not_before = AnyRef::decode(&mut reader)?;
    let not_after = AnyRef::decode(&mut reader)?;
    let since_1970 = match not_after.tag() {
        Tag::UtcTime => not_after.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => not_after.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    };
    Ok(SystemTime::UNIX_EPOCH + since_1970)
}

/// Enters a sequence; what follows it is not read.
fn enter(reader: &mut SliceReader<'_>) -> der::Result<()> {
    Header::decode(reader)?.tag().assert_eq(Tag::Sequence).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    fn load(certificate: &str, key: &str) -> Result<Credentials, Problem> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        Credentials::load(&Files { certificate: folder.join(certificate), key: folder.join(key) })
    }

    #[test]
    fn expiry_is_read() {
        let now = SystemTime::now();
        assert!(load("chain.pem", "key.pem").unwrap().expiry() > now + 10 * YEAR);
        assert!(load("expired.pem", "key.pem").unwrap().expiry() < now);
    }

    /// A value in DER, of at most 127 bytes.
    fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
        [&[tag, value.len() as u8], value].concat()
    }

    #[test]
    fn expiry_after_2049_has_another_form() {
        const SEQUENCE: u8 = 0x30;
        let serial = tlv(0x02, &[7]);
        let signature_and_issuer = [tlv(SEQUENCE, &[]), tlv(SEQUENCE, &[])].concat();
        // UTCTime, then GeneralizedTime (RFC 5280, section 4.1.2.5).
        let times = [tlv(0x17, b"200101000000Z"), tlv(0x18, b"20500101000000Z")].concat();
        let body = [serial, signature_and_issuer, tlv(SEQUENCE, &times)].concat();
        let certificate = tlv(SEQUENCE, &tlv(SEQUENCE, &body));
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(2_524_608_000);
        assert_eq!(expiry(&certificate), Ok(expected));
    }

    #[test]
    fn key_may_be_pkcs8_or_sec1() {
        assert!(load("chain.pem", "sec1-key.pem").is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        for (certificate, key, file) in [
            ("nowhere", "key.pem", File::Certificate),
            ("chain.pem", "nowhere", File::Key),
            ("key.pem", "key.pem", File::Certificate),
            ("chain.pem", "chain.pem", File::Key),
            ("make", "key.pem", File::Certificate),
            ("chain.pem", "make", File::Key),
            (".", "key.pem", File::Certificate),
            ("chain.pem", "other-key.pem", File::Key),
        ] {
            let problem = load(certificate, key).unwrap_err();
            assert_eq!(problem.file, file, "{certificate}, {key}: {problem:?}");
            assert!(!problem.why.contains("BEGIN"), "{problem:?}");
        }
    }
}
