//! Environment and `.env` → [`Config`], once, at start.
//!
//! Settings come from the environment; a `.env` file in the working directory (and only there)
//! provides what the environment leaves unset. An empty value counts as unset in both, so that
//! a line of a copied template can be emptied without deleting it.
//!
//! No other module reads settings from the environment. A value that can't be used prevents
//! the start, with one line that names the variable, what is wrong and what would be right.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::LevelFilter;

use crate::settings::config::{
    AllowedOrigins, Config, DESCRIPTOR_RESERVE, Limits, RESERVED_TYPES, TlsSettings, Types,
};
use crate::settings::networks::Networks;
use crate::settings::room::Room;
use crate::settings::secrets::SecretFiles;
pub use crate::settings::variables::ConfigError;
use crate::settings::variables::{
    CONNECTION_SECRET_FILE, LOGIN_SECRET_FILE, PAGES_DIRECTORY, SHORT_SECRET, TLS_CERTIFICATE_FILE,
    TLS_KEY_FILE, Variables, problem,
};
use crate::tls::{self, Files};

/// The slab's index has 20 bits; the highest slots are reserved for moss's own tokens.
const MOST_CONNECTIONS: u64 = (1 << 20) - 64;

/// With TLS, the smallest memory limit without a warning, in bytes. A record of TLS is handled
/// as a whole, and half of the next may have come with it: with less memory, a hundred peers
/// that wait for a slow master could hold all of it.
const LEAST_WITH_TLS: usize = 4 << 20;

const HOSTNAME: &str = "MOSS_HOSTNAME";
const PORT: &str = "MOSS_PORT";
const TLS_PORT: &str = "MOSS_TLS_PORT";

const MAX_MEMORY_BYTES: &str = "MOSS_MAX_MEMORY_BYTES";

const DEFAULT_PORT: u64 = 8080;

/// Reads the process's environment and `.env` in the working directory.
///
/// `descriptors` is the number of file descriptors that the process may open; it
/// bounds [`Limits::max_connections`]. `room` is its memory, from which defaults follow.
///
/// # Errors
/// The first setting that can't be used.
#[inline(never)]
pub fn load(descriptors: u64, room: Room) -> Result<Config, ConfigError> {
    Variables::read()?.into_config(descriptors, room)
}

/// The address on which a moss with this environment listens without TLS, for `moss health`; no
/// other setting is read. A `.env` that can't be read is no failure, since it may be readable
/// for moss's own user only: its error is returned beside the address.
///
/// # Errors
/// The host or the port can't be used, or a line of `.env` can't be read.
pub fn plain_address() -> Result<(SocketAddr, Option<ConfigError>), ConfigError> {
    let (variables, unread) = Variables::read_some(&[HOSTNAME, PORT])?;
    // Both defaults of moss include this machine.
    let address = variables.address((HOSTNAME, "127.0.0.1"), (PORT, DEFAULT_PORT))?;
    if address.port() == 0 {
        let why = "0 picked a free port; give the port that moss has logged";
        return Err(problem(PORT, why));
    }
    Ok((address, unread))
}

impl Variables {
    fn into_config(self, descriptors: u64, room: Room) -> Result<Config, ConfigError> {
        let mut warnings: Vec<String> = self
            .names(false)
            .map(|name| format!("{name} is not a variable of moss: a typing mistake?"))
            .collect();
        const SECRET: &str = "MOSS_CONNECTION_SECRET";
        const LOGIN_SECRET: &str = "MOSS_LOGIN_SECRET";
        let (secret, connection) = self.secret(SECRET, CONNECTION_SECRET_FILE)?;
        let secret = secret.ok_or_else(|| {
            let right =
                "give a long random text (or a file with it, by MOSS_CONNECTION_SECRET_FILE)";
            problem(SECRET, format!("is not set; {right}"))
        })?;
        let (login_secret, login) = self.secret(LOGIN_SECRET, LOGIN_SECRET_FILE)?;
        if login_secret.as_ref() == Some(&secret) {
            let why = "is the connection secret, so every client could be master; give another";
            return Err(problem(LOGIN_SECRET, why));
        }
        if secret.is_short() {
            warnings.push(SHORT_SECRET.to_owned());
        }
        let types = self.types()?;
        let limits = self.limits(descriptors, room)?;
        let shares_room = self.get(MAX_MEMORY_BYTES).is_none();
        warnings.extend(room.memory_warning(limits.max_memory_bytes, shares_room));
        // The longest `client-joined` packet; a new master gets one for each client.
        let notice = types.client_joined.as_ref().map_or(0, |name| name.len() + 64);
        let roster = limits.max_connections.saturating_mul(notice);
        if roster > limits.max_backlog_bytes.saturating_mul(2) {
            warnings.push(format!(
                "a new master can't be told of {} clients at once: \
                 MOSS_MAX_BACKLOG_BYTES would have to be {}",
                limits.max_connections,
                roster.div_ceil(2)
            ));
        }
        let tls = self.tls(&mut warnings)?;
        // With TLS, the default for the plain port is this machine only.
        let host = if tls.is_some() { "127.0.0.1" } else { "0.0.0.0" };
        let listen = self.address((HOSTNAME, host), (PORT, DEFAULT_PORT))?;
        if let Some(tls) = &tls
            && overlap(tls.listen, listen)
        {
            let why = format!("\"{}\" is MOSS_PORT too; give another port", listen.port());
            return Err(problem(TLS_PORT, why));
        }
        if tls.is_some() && !listen.ip().to_canonical().is_loopback() {
            warnings.push(
                "MOSS_HOSTNAME opens the plain port to the network beside TLS: \
                 unset it to keep that port to this machine"
                    .to_owned(),
            );
        }
        if tls.is_some() && limits.max_memory_bytes < LEAST_WITH_TLS {
            warnings.push(format!(
                "MOSS_MAX_MEMORY_BYTES is low for TLS, which may hold 34 KB for each waiting peer: \
                 give {LEAST_WITH_TLS} or more"
            ));
        }
        let allowed_origins = self.allowed_origins()?;
        if allowed_origins == AllowedOrigins::Any {
            warnings.push(
                "any web page may log in here: name yours in MOSS_ALLOWED_ORIGINS to keep others out"
                    .to_owned(),
            );
        }
        Ok(Config {
            secret,
            login_secret,
            secret_files: SecretFiles { connection, login },
            types,
            listen,
            tls,
            pages: self.get(PAGES_DIRECTORY).map(Into::into),
            metrics: self.metrics()?,
            trusted_proxies: self.trusted_proxies(&mut warnings)?,
            allowed_origins,
            limits,
            room,
            shares_room,
            keepalive: Duration::from_secs(self.number(
                "MOSS_KEEPALIVE_SECONDS",
                30,
                1..=86_400,
            )?),
            log: self.log()?,
            warnings,
        })
    }

    fn types(&self) -> Result<Types, ConfigError> {
        const OFFER: &str = "MOSS_CONNECTION_OFFER_TYPE";
        let optional = |name: &str| self.get(name).map(str::to_owned);
        let Some(offer) = optional(OFFER) else {
            return Err(problem(
                OFFER,
                "is not set; give the packet type that carries the offer, such as master-offer",
            ));
        };
        let types = Types {
            offer,
            error: match self.get("MOSS_ERROR_TYPE").unwrap_or("moss-error") {
                "off" => None,
                name => Some(name.to_owned()),
            },
            client_joined: optional("MOSS_CLIENT_JOINED_TYPE"),
            client_left: optional("MOSS_CLIENT_LEFT_TYPE"),
            master_left: optional("MOSS_MASTER_LEFT_TYPE"),
            kick: optional("MOSS_KICK_TYPE"),
        };
        let named = [
            (OFFER, Some(&types.offer)),
            ("MOSS_ERROR_TYPE", types.error.as_ref()),
            ("MOSS_CLIENT_JOINED_TYPE", types.client_joined.as_ref()),
            ("MOSS_CLIENT_LEFT_TYPE", types.client_left.as_ref()),
            ("MOSS_MASTER_LEFT_TYPE", types.master_left.as_ref()),
            ("MOSS_KICK_TYPE", types.kick.as_ref()),
        ];
        for (at, (name, value)) in named.iter().enumerate() {
            let Some(value) = value else { continue };
            if RESERVED_TYPES.contains(&value.as_str()) {
                return Err(problem(
                    name,
                    format!("{value:?} is reserved by the protocol; choose another packet type"),
                ));
            }
            if let Some((twin, _)) = named[..at].iter().find(|(_, other)| *other == Some(*value)) {
                return Err(problem(
                    name,
                    format!("{value:?} is the value of {twin} too; choose another packet type"),
                ));
            }
        }
        Ok(types)
    }

    /// The settings of TLS, if it is configured.
    fn tls(&self, warnings: &mut Vec<String>) -> Result<Option<TlsSettings>, ConfigError> {
        const CERTIFICATE: &str = TLS_CERTIFICATE_FILE;
        const KEY: &str = TLS_KEY_FILE;
        let name = self.names(true).find(|name| name.starts_with("MOSS_TLS_"));
        if !tls::AVAILABLE {
            let why = "this moss was built without TLS; unset it, or build with the feature tls";
            return name.map_or(Ok(None), |name| Err(problem(name, why)));
        }
        let (certificate, key) = match (self.get(CERTIFICATE), self.get(KEY)) {
            (Some(certificate), Some(key)) => (certificate.into(), key.into()),
            (Some(_), None) => {
                let why = format!("is not set, and {CERTIFICATE} is; name the file with its key");
                return Err(problem(KEY, why));
            }
            (None, Some(_)) => {
                let why = format!("is not set, and {KEY} is; name the file with its certificate");
                return Err(problem(CERTIFICATE, why));
            }
            (None, None) => {
                // With an address alone one could believe that moss speaks TLS.
                warnings.extend(
                    name.map(|name| format!("{name} does nothing without {CERTIFICATE} and {KEY}")),
                );
                return Ok(None);
            }
        };
        let listen = self.address(("MOSS_TLS_HOSTNAME", "0.0.0.0"), (TLS_PORT, 8443))?;
        Ok(Some(TlsSettings { listen, files: Files { certificate, key } }))
    }

    fn allowed_origins(&self) -> Result<AllowedOrigins, ConfigError> {
        const NAME: &str = "MOSS_ALLOWED_ORIGINS";
        let list = self.get(NAME).unwrap_or("*");
        if list.trim() == "*" {
            return Ok(AllowedOrigins::Any);
        }
        let (own, named): (Vec<_>, Vec<_>) =
            list.split(',').map(str::trim).partition(|&origin| origin == "self");
        // A browser's Origin is "scheme://host[:port]": anything else never matches.
        let matchable = |origin: &str| {
            origin == "null"
                || origin.split_once("://").is_some_and(|(scheme, host)| {
                    !scheme.is_empty()
                        && !host.is_empty()
                        && !host.contains('/')
                        && !origin.contains(char::is_whitespace)
                })
        };
        if let Some(origin) = named.iter().find(|origin| !matchable(origin)) {
            return Err(problem(
                NAME,
                format!(
                    "{origin:?} is not an origin; give * alone, or a comma-separated list such as \
                     self,https://example.org,http://box.local:3000 (no path, no final slash)"
                ),
            ));
        }
        Ok(AllowedOrigins::Only {
            named: named.into_iter().map(str::to_owned).collect(),
            own: !own.is_empty(),
        })
    }

    fn trusted_proxies(&self, warnings: &mut Vec<String>) -> Result<Networks, ConfigError> {
        const NAME: &str = "MOSS_TRUSTED_PROXIES";
        let Some(list) = self.get(NAME) else { return Ok(Networks::default()) };
        let trusted = Networks::parse(list).map_err(|why| problem(NAME, why))?;
        if trusted.has_all() {
            warnings.push(format!("{NAME} trusts everybody: any peer may give a false address"));
        }
        Ok(trusted)
    }

    fn limits(&self, descriptors: u64, room: Room) -> Result<Limits, ConfigError> {
        const CONNECTIONS: &str = "MOSS_MAX_CONNECTIONS";
        const PER_ADDRESS: &str = "MOSS_MAX_CONNECTIONS_PER_ADDRESS";
        const LARGEST: u64 = 1 << 30;
        const HEADROOM: u64 = 64 << 10;
        let spare =
            descriptors.saturating_sub(DESCRIPTOR_RESERVE as u64).clamp(1, MOST_CONNECTIONS);
        let usual = room.connections().unwrap_or(u64::MAX).clamp(1, 16_384);
        let max_connections = self.number(CONNECTIONS, usual.min(spare), 1..=MOST_CONNECTIONS)?;
        if max_connections > spare {
            return Err(problem(
                CONNECTIONS,
                format!(
                    "\"{max_connections}\" is more than the limit of {descriptors} open files allows; \
                     give at most {spare}, or raise that limit"
                ),
            ));
        }
        // More than the limit for all is valid: it has no effect.
        let per_address = match self.get(PER_ADDRESS) {
            Some(_) => Some(self.number(PER_ADDRESS, 1, 1..=MOST_CONNECTIONS)?),
            None => None,
        };
        // A control frame may have 125 bytes (RFC 6455, section 5.5) and is under this
        // limit too.
        let packet = self.number("MOSS_MAX_PACKET_BYTES", 262_144, 128..=LARGEST - HEADROOM)?;
        // The other defaults grow with the packet limit: only values that are set explicitly can
        // be too small for it.
        let least_backlog = packet + HEADROOM;
        // Where there is little memory, it is enough for the backlogs of four peers.
        let usual = room.share(0).map_or(1 << 20, |share| (share / 4).min(1 << 20));
        let backlog = self.number(
            "MOSS_MAX_BACKLOG_BYTES",
            least_backlog.max(usual),
            least_backlog..=LARGEST,
        )?;
        let memory =
            self.number(MAX_MEMORY_BYTES, room.memory_limit(backlog, 0), backlog..=8 * LARGEST)?;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Limits {
            max_connections: size(max_connections),
            max_connections_per_address: per_address.map(size),
            max_packet_bytes: size(packet),
            max_backlog_bytes: size(backlog),
            max_memory_bytes: size(memory),
        })
    }

    fn metrics(&self) -> Result<bool, ConfigError> {
        const NAME: &str = "MOSS_METRICS";
        match self.get(NAME) {
            None | Some("off") => Ok(false),
            Some("on") => Ok(true),
            Some(value) => Err(problem(NAME, format!("{value:?} can't be used; give on or off"))),
        }
    }

    fn log(&self) -> Result<LevelFilter, ConfigError> {
        const NAME: &str = "MOSS_LOG";
        let level = self.get(NAME).unwrap_or("info");
        level.parse().map_err(|_| {
            problem(
                NAME,
                format!("{level:?} is not a level; give off, error, warn, info, debug or trace"),
            )
        })
    }
}

/// Whether it is impossible to listen on both: `::` includes the addresses of IPv4.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: IpAddr, ip: IpAddr| {
        wide == ip || wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4())
    };
    let (a, b) = (one.ip(), other.ip());
    one.port() != 0 && one.port() == other.port() && (covers(a, b) || covers(b, a))
}
