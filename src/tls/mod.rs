//! TLS, as a value between socket and session: bytes in and out, no socket of its own.
//!
//! Only this folder uses rustls. Without the feature `tls` the same types exist but have no
//! values, so that the rest of moss need not know how it was built.

#[cfg(feature = "tls")]
mod connection;
#[cfg(feature = "tls")]
mod credentials;
#[cfg(not(feature = "tls"))]
mod without;

use std::path::PathBuf;

#[cfg(feature = "tls")]
pub use connection::Tls;
#[cfg(feature = "tls")]
pub use credentials::Credentials;
#[cfg(not(feature = "tls"))]
pub use without::{Credentials, Tls};

/// Whether moss was built with TLS.
pub const AVAILABLE: bool = cfg!(feature = "tls");

/// The first byte of a TLS connection: a handshake record's type (RFC 8446, section 5.1).
pub const FIRST_BYTE: u8 = 0x16;

/// The files that a certificate and its key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// PEM: the chain, leaf first.
    pub certificate: PathBuf,
    /// PEM: the key, as PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
}

/// Why credentials can't be used. It quotes nothing from the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of the two files is wrong.
    pub file: File,
    /// What is wrong with it.
    pub why: String,
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The certificate's.
    Certificate,
    /// The key's.
    Key,
}
