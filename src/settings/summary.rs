//! Settings → the variables and values that they correspond to, for `moss check`.

use std::fmt::Display;
use std::path::PathBuf;

use crate::settings::config::{AllowedOrigins, Config, Limits, TlsSettings, Types};
use crate::settings::secrets::SecretFiles;
use crate::settings::variables::{
    CONNECTION_SECRET_FILE, LOGIN_SECRET_FILE, PAGES_DIRECTORY, TLS_CERTIFICATE_FILE, TLS_KEY_FILE,
};

/// Shown instead of a secret.
const HIDDEN: &str = "(set)";

/// Every variable of moss, in the order of `template.env`, with the value that is in force,
/// defaults included. Without a value it is empty, like an unset variable; a secret is `(set)`.
#[cold]
pub fn in_force(config: &Config) -> Vec<(&'static str, String)> {
    // All fields are named, so that the compiler asks for a new one.
    let Config {
        secret: _,
        login_secret,
        secret_files: SecretFiles { connection, login },
        types: Types { offer, error, client_joined, client_left, master_left, kick },
        listen,
        tls,
        pages,
        trusted_proxies,
        allowed_origins,
        limits:
            Limits {
                max_connections,
                max_connections_per_address,
                max_packet_bytes,
                max_backlog_bytes,
                max_memory_bytes,
            },
        keepalive,
        metrics,
        log,
        room: _,
        shares_room: _,
        warnings: _,
    } = config;
    let hidden = |is_there| if is_there { HIDDEN } else { "" };
    let (tls_host, tls_port, files) = match tls {
        Some(TlsSettings { listen, files }) => {
            (Some(listen.ip()), Some(listen.port()), Some(files))
        }
        None => (None, None, None),
    };
    // As references, with one call of `to_string`: one for each would be four kilobytes of code.
    let shown: [(&'static str, &dyn Display); 27] = [
        ("MOSS_CONNECTION_SECRET", &hidden(connection.is_none())),
        ("MOSS_CONNECTION_OFFER_TYPE", offer),
        ("MOSS_HOSTNAME", &listen.ip()),
        ("MOSS_PORT", &listen.port()),
        (TLS_CERTIFICATE_FILE, &path(files.map(|files| &files.certificate))),
        (TLS_KEY_FILE, &path(files.map(|files| &files.key))),
        ("MOSS_TLS_HOSTNAME", optional(&tls_host)),
        ("MOSS_TLS_PORT", optional(&tls_port)),
        (PAGES_DIRECTORY, &path(pages.as_ref())),
        (CONNECTION_SECRET_FILE, &path(connection.as_ref())),
        ("MOSS_LOGIN_SECRET", &hidden(login_secret.is_some() && login.is_none())),
        (LOGIN_SECRET_FILE, &path(login.as_ref())),
        ("MOSS_ERROR_TYPE", &error.as_deref().unwrap_or("off")),
        ("MOSS_CLIENT_JOINED_TYPE", optional(client_joined)),
        ("MOSS_CLIENT_LEFT_TYPE", optional(client_left)),
        ("MOSS_MASTER_LEFT_TYPE", optional(master_left)),
        ("MOSS_KICK_TYPE", optional(kick)),
        ("MOSS_ALLOWED_ORIGINS", &origins(allowed_origins)),
        ("MOSS_MAX_CONNECTIONS", max_connections),
        ("MOSS_MAX_CONNECTIONS_PER_ADDRESS", optional(max_connections_per_address)),
        ("MOSS_TRUSTED_PROXIES", trusted_proxies),
        ("MOSS_MAX_PACKET_BYTES", max_packet_bytes),
        ("MOSS_MAX_BACKLOG_BYTES", max_backlog_bytes),
        ("MOSS_MAX_MEMORY_BYTES", max_memory_bytes),
        ("MOSS_KEEPALIVE_SECONDS", &keepalive.as_secs()),
        ("MOSS_METRICS", &if *metrics { "on" } else { "off" }),
        ("MOSS_LOG", &log.as_str().to_ascii_lowercase()),
    ];
    shown.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

fn optional<T: Display>(value: &Option<T>) -> &dyn Display {
    match value {
        Some(value) => value,
        None => &"",
    }
}

/// The text of a path. It came from a variable, so it is UTF-8.
fn path(path: Option<&PathBuf>) -> &str {
    path.and_then(|path| path.to_str()).unwrap_or_default()
}

fn origins(allowed: &AllowedOrigins) -> String {
    match allowed {
        AllowedOrigins::Any => "*".to_owned(),
        AllowedOrigins::Only { named, own } => {
            let mut list = if *own { "self".to_owned() } else { String::new() };
            for origin in named {
                if !list.is_empty() {
                    list.push(',');
                }
                list += origin;
            }
            list
        }
    }
}
