//! Every setting of moss, as a value. [`environment`](crate::settings::environment) reads them.
//!
//! A [`Config`] from there is valid: limits fit each other, packet types are distinct, the
//! address is resolved. Callers rely on that and check nothing again.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use subtle::ConstantTimeEq;

use crate::settings::networks::Networks;
use crate::settings::room::Room;
use crate::settings::secrets::SecretFiles;
use crate::tls::Files;

/// Descriptors that moss needs beside those of its connections: standard streams, poll,
/// listeners, signal pipe, and [`HEAD_RESERVE`] and [`MASTER_PLACES`] sockets.
pub const DESCRIPTOR_RESERVE: usize = 32;

/// Connections beyond [`Limits::max_connections`] that are accepted while there is no master, or
/// none that answers, so that one of them can become master.
pub const MASTER_PLACES: usize = 8;

/// Connections beyond these whose request head is still read, so that a full server answers
/// 503 and `/health` instead of not answering at all.
pub const HEAD_RESERVE: usize = 12;

/// Packet types with a fixed meaning; no configured type may be one of them.
pub const RESERVED_TYPES: [&str; 5] =
    ["ping", "pong", "login", "set-master", "master-confirmation"];

/// The whole configuration of one moss.
#[derive(Clone, Debug)]
pub struct Config {
    /// The connection secret, which makes a connection the master.
    pub secret: Secret,
    /// The login secret, if clients need one to log in.
    pub login_secret: Option<Secret>,
    /// The files of these secrets, if they come from files.
    pub secret_files: SecretFiles,
    /// The configurable packet types.
    pub types: Types,
    /// Where to listen for `http://` and `ws://`. Port 0 picks a free port.
    pub listen: SocketAddr,
    /// `https://` and `wss://`, if they are served.
    pub tls: Option<TlsSettings>,
    /// The folder whose files are served, if any are.
    pub pages: Option<PathBuf>,
    /// Whether `/metrics` is served.
    pub metrics: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
    /// Which web pages may connect.
    pub allowed_origins: AllowedOrigins,
    /// Limits of each peer, and of all together.
    pub limits: Limits,
    /// How much memory moss may use.
    pub room: Room,
    /// Whether [`Limits::max_memory_bytes`] is not set, so that it is a share of the room.
    pub shares_room: bool,
    /// A peer that is silent for this long is pinged; for twice as long, dropped.
    pub keepalive: Duration,
    /// The level of the log.
    pub log: LevelFilter,
    /// Settings that look wrong but do not prevent a start; logged then, one line each.
    pub warnings: Vec<String>,
}

/// Configurable packet types. A type that is `None` does not exist.
#[derive(Clone, Debug)]
pub struct Types {
    /// Carries the master's offer to a client.
    pub offer: String,
    /// Carries moss's errors.
    pub error: Option<String>,
    /// Tells the master that a client logged in.
    pub client_joined: Option<String>,
    /// Tells the master that a client's connection ended.
    pub client_left: Option<String>,
    /// Tells the clients that the master's connection ended.
    pub master_left: Option<String>,
    /// Lets the master close a client's connection.
    pub kick: Option<String>,
}

/// How `https://` and `wss://` are served.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Where to listen for them. Port 0 picks a free port.
    pub listen: SocketAddr,
    /// The certificate and its key.
    pub files: Files,
}

/// Limits on connections and bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// WebSocket connections at a time.
    pub max_connections: usize,
    /// Open connections, in any phase, of one IPv4 address or one IPv6 /64.
    pub max_connections_per_address: Option<usize>,
    /// Bytes of one packet; a longer one closes its connection with 1009.
    pub max_packet_bytes: usize,
    /// Unsent bytes held for one peer.
    pub max_backlog_bytes: usize,
    /// Bytes of all backlogs and partial packets together.
    pub max_memory_bytes: usize,
}

/// Which `Origin` headers are accepted. A request without one does not come from a web page
/// and is always accepted (RFC 6455, section 10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Any page.
    Any,
    /// These only.
    Only {
        /// Origins, compared exactly.
        named: Vec<String>,
        /// `self`: also pages whose Origin has the host and port of the request.
        own: bool,
    },
}

/// The connection secret or the login secret. Its `Debug` shows no byte of it.
#[derive(Clone)]
pub struct Secret(String);

impl Config {
    /// A configuration with every default, listening on a free loopback port.
    pub fn new(secret: &str, offer_type: &str) -> Self {
        Self {
            secret: Secret::new(secret),
            login_secret: None,
            secret_files: SecretFiles::default(),
            types: Types {
                offer: offer_type.to_owned(),
                error: Some("moss-error".to_owned()),
                client_joined: None,
                client_left: None,
                master_left: None,
                kick: None,
            },
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            pages: None,
            metrics: false,
            trusted_proxies: Networks::default(),
            allowed_origins: AllowedOrigins::Any,
            limits: Limits {
                max_connections: 16_384,
                max_connections_per_address: None,
                max_packet_bytes: 262_144,
                max_backlog_bytes: 1_048_576,
                max_memory_bytes: 67_108_864,
            },
            room: Room::default(),
            shares_room: false,
            keepalive: Duration::from_secs(30),
            log: LevelFilter::Info,
            warnings: Vec::new(),
        }
    }

    /// The room, if the memory limit is a quarter of it.
    pub fn shared_room(&self) -> Option<Room> {
        let Limits { max_memory_bytes: limit, max_backlog_bytes: backlog, .. } = self.limits;
        let decides = self.shares_room && Room::decides(limit as u64, backlog as u64);
        decides.then_some(self.room)
    }

    /// Lowers the memory limit by the share of the pages, unless it is set explicitly.
    pub fn make_room_for_pages(&mut self, bytes: usize) {
        if self.shares_room {
            let backlog = self.limits.max_backlog_bytes as u64;
            let limit = self.room.memory_limit(backlog, bytes);
            self.limits.max_memory_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
        }
    }
}

impl Secret {
    /// A secret.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether `guess` is the secret; compared in constant time.
    pub fn is(&self, guess: &str) -> bool {
        guess.as_bytes().ct_eq(self.0.as_bytes()).into()
    }

    /// Whether it is short enough to be guessed.
    pub(crate) fn is_short(&self) -> bool {
        self.0.chars().count() < 16
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
