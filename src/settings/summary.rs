//! Settings → the variables and values that would say the same, for people and scripts.

use crate::settings::config::{AllowedOrigins, Config, Limits, Types};
use crate::settings::secrets::SecretFiles;
use crate::settings::variables::{
    CONNECTION_SECRET_FILE, LOGIN_SECRET_FILE, PAGES_DIRECTORY, TLS_CERTIFICATE_FILE, TLS_KEY_FILE,
};

/// In the place of a secret.
const HIDDEN: &str = "(set)";

/// Every variable of moss, in the order of `template.env`, with the value that is in force: a
/// default too. What is not there is empty, as an unset variable, and a secret is `(set)`.
pub fn in_force(config: &Config) -> Vec<(&'static str, String)> {
    // Field by field, so that none is forgotten.
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
        warnings: _,
    } = config;
    let hidden = |is_there: bool| if is_there { HIDDEN.to_owned() } else { String::new() };
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let path = |path: Option<&std::path::PathBuf>| {
        path.map_or_else(String::new, |path| path.display().to_string())
    };
    let files = tls.as_ref().map(|tls| &tls.files);
    vec![
        ("MOSS_CONNECTION_SECRET", hidden(connection.is_none())),
        ("MOSS_CONNECTION_OFFER_TYPE", offer.clone()),
        ("MOSS_HOSTNAME", listen.ip().to_string()),
        ("MOSS_PORT", listen.port().to_string()),
        (TLS_CERTIFICATE_FILE, path(files.map(|files| &files.certificate))),
        (TLS_KEY_FILE, path(files.map(|files| &files.key))),
        (
            "MOSS_TLS_HOSTNAME",
            tls.as_ref().map_or_else(String::new, |tls| tls.listen.ip().to_string()),
        ),
        (
            "MOSS_TLS_PORT",
            tls.as_ref().map_or_else(String::new, |tls| tls.listen.port().to_string()),
        ),
        (PAGES_DIRECTORY, path(pages.as_ref())),
        (CONNECTION_SECRET_FILE, path(connection.as_ref())),
        ("MOSS_LOGIN_SECRET", hidden(login_secret.is_some() && login.is_none())),
        (LOGIN_SECRET_FILE, path(login.as_ref())),
        ("MOSS_ERROR_TYPE", error.clone().unwrap_or_else(|| "off".to_owned())),
        ("MOSS_CLIENT_JOINED_TYPE", optional(client_joined)),
        ("MOSS_CLIENT_LEFT_TYPE", optional(client_left)),
        ("MOSS_MASTER_LEFT_TYPE", optional(master_left)),
        ("MOSS_KICK_TYPE", optional(kick)),
        ("MOSS_ALLOWED_ORIGINS", origins(allowed_origins)),
        ("MOSS_MAX_CONNECTIONS", max_connections.to_string()),
        (
            "MOSS_MAX_CONNECTIONS_PER_ADDRESS",
            max_connections_per_address.map_or_else(String::new, |most| most.to_string()),
        ),
        ("MOSS_TRUSTED_PROXIES", trusted_proxies.to_string()),
        ("MOSS_MAX_PACKET_BYTES", max_packet_bytes.to_string()),
        ("MOSS_MAX_BACKLOG_BYTES", max_backlog_bytes.to_string()),
        ("MOSS_MAX_MEMORY_BYTES", max_memory_bytes.to_string()),
        ("MOSS_KEEPALIVE_SECONDS", keepalive.as_secs().to_string()),
        ("MOSS_METRICS", if *metrics { "on" } else { "off" }.to_owned()),
        ("MOSS_LOG", log.as_str().to_ascii_lowercase()),
    ]
}

fn origins(allowed: &AllowedOrigins) -> String {
    match allowed {
        AllowedOrigins::Any => "*".to_owned(),
        AllowedOrigins::Only { named, own } => {
            let own = own.then_some("self");
            own.into_iter().chain(named.iter().map(String::as_str)).collect::<Vec<_>>().join(",")
        }
    }
}
