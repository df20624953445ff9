//! The variables as text, and how numbers, secrets and addresses among them are read. What each
//! variable means is known to [`environment`](super::environment).

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::config::Secret;
use super::{dotenv, hosts, secrets};

/// Names that other modules use in error messages, too.
pub(crate) const TLS_CERTIFICATE_FILE: &str = "MOSS_TLS_CERTIFICATE_FILE";
pub(crate) const TLS_KEY_FILE: &str = "MOSS_TLS_KEY_FILE";
pub(crate) const CONNECTION_SECRET_FILE: &str = "MOSS_CONNECTION_SECRET_FILE";
pub(crate) const LOGIN_SECRET_FILE: &str = "MOSS_LOGIN_SECRET_FILE";
pub(crate) const PAGES_DIRECTORY: &str = "MOSS_PAGES_DIRECTORY";

/// A warning at start, and when the secret has changed.
pub(crate) const SHORT_SECRET: &str =
    "the connection secret is under 16 characters: whoever guesses it is master";

/// Every variable that moss reads. moss warns of any other `MOSS_…` name.
const VARIABLES: [&str; 27] = [
    "MOSS_CONNECTION_SECRET",
    CONNECTION_SECRET_FILE,
    "MOSS_CONNECTION_OFFER_TYPE",
    "MOSS_LOGIN_SECRET",
    LOGIN_SECRET_FILE,
    "MOSS_HOSTNAME",
    "MOSS_PORT",
    TLS_CERTIFICATE_FILE,
    TLS_KEY_FILE,
    "MOSS_TLS_HOSTNAME",
    "MOSS_TLS_PORT",
    PAGES_DIRECTORY,
    "MOSS_ERROR_TYPE",
    "MOSS_CLIENT_JOINED_TYPE",
    "MOSS_CLIENT_LEFT_TYPE",
    "MOSS_MASTER_LEFT_TYPE",
    "MOSS_KICK_TYPE",
    "MOSS_ALLOWED_ORIGINS",
    "MOSS_MAX_CONNECTIONS",
    "MOSS_MAX_CONNECTIONS_PER_ADDRESS",
    "MOSS_TRUSTED_PROXIES",
    "MOSS_MAX_PACKET_BYTES",
    "MOSS_MAX_BACKLOG_BYTES",
    "MOSS_MAX_MEMORY_BYTES",
    "MOSS_KEEPALIVE_SECONDS",
    "MOSS_METRICS",
    "MOSS_LOG",
];

/// A setting that moss can't start with. Displays as one line that names the
/// variable (or the line of `.env`), what is wrong and what would be right.
#[derive(Debug)]
pub struct ConfigError {
    subject: String,
    problem: String,
    may_pass: bool,
}

/// The values; those of the environment override those of `.env`.
#[derive(Default)]
pub(super) struct Variables {
    /// A list, since there are few; a map would add five kilobytes to the program.
    values: Vec<(String, String)>,
}

impl Variables {
    /// Reads the process's environment, and `.env` in the working directory.
    pub(super) fn read() -> Result<Self, ConfigError> {
        let mut variables = Self::default();
        variables.add_text(&read_dotenv()?)?;
        variables.add_environment(std::env::vars_os())?;
        Ok(variables)
    }

    /// The names of variables that are set: those that moss knows, or those that it does not.
    pub(super) fn names(&self, known: bool) -> impl Iterator<Item = &str> {
        let names = self.values.iter().map(|(name, _)| name.as_str());
        names.filter(move |name| VARIABLES.contains(name) == known)
    }

    /// Reads only the variables with these names. If `.env` can't be read, its error is returned
    /// beside them: it may be readable for another user only.
    pub(super) fn read_some(names: &[&str]) -> Result<(Self, Option<ConfigError>), ConfigError> {
        let mut variables = Self::default();
        let unread = match read_dotenv() {
            Ok(text) => {
                variables.add_text(&text)?;
                None
            }
            Err(error) => Some(error),
        };
        let environment = std::env::vars_os();
        variables.add_environment(
            environment.filter(|(name, _)| names.iter().any(|&wanted| name == wanted)),
        )?;
        Ok((variables, unread))
    }

    /// Adds what is in the text of a `.env` file.
    fn add_text(&mut self, text: &str) -> Result<(), ConfigError> {
        let variables = dotenv::parse(text)
            .map_err(|bad| problem(&format!(".env, line {}", bad.number), bad.why))?;
        variables.into_iter().for_each(|(name, value)| self.add(name, value));
        Ok(())
    }

    fn add_environment(
        &mut self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with("MOSS_")) else {
                continue;
            };
            let Ok(value) = value.into_string() else {
                return Err(problem(name, "is not UTF-8; give it as UTF-8 text"));
            };
            self.add(name.to_owned(), value);
        }
        Ok(())
    }

    fn add(&mut self, name: String, value: String) {
        if name.starts_with("MOSS_") && !value.is_empty() {
            self.values.retain(|(known, _)| *known != name);
            self.values.push((name, value));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(
        &self,
        name: &str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        // Digits only: Rust's own parser would also accept "+8080".
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(number) if digits && range.contains(&number) => Ok(number),
            _ => Err(problem(
                name,
                format!(
                    "{value:?} can't be used; give a whole number from {} to {}",
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    /// A secret, from the variable `name` or from the file that the variable `file` names; and
    /// the path of that file.
    pub(super) fn secret(
        &self,
        name: &str,
        file: &str,
    ) -> Result<(Option<Secret>, Option<PathBuf>), ConfigError> {
        match (self.get(name), self.get(file)) {
            (Some(_), Some(_)) => {
                Err(problem(file, format!("is set and so is {name}; set one of them")))
            }
            (value, None) => Ok((value.map(Secret::new), None)),
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                let text = secrets::read(&path).map_err(|why| problem(file, why))?;
                Ok((Some(Secret::new(&text)), Some(path)))
            }
        }
    }

    /// The address from two variables, each with its default.
    pub(super) fn address(
        &self,
        (hostname, host): (&str, &str),
        (port, number): (&str, u64),
    ) -> Result<SocketAddr, ConfigError> {
        let host = self.get(hostname).unwrap_or(host);
        let port = u16::try_from(self.number(port, number, 0..=65_535)?)
            .expect("the range above fits a port");
        // "[::1]" is how people write an IPv6 address in a URL.
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, port));
        }
        let address = hosts::look_up(bare).ok_or_else(|| {
            let why = "has no address; give an IPv4 or IPv6 address, or a host name that this machine knows";
            let may_pass = hosts::may_be_known_later(bare);
            ConfigError { may_pass, ..problem(hostname, format!("{host:?} {why}")) }
        })?;
        Ok(SocketAddr::new(address, port))
    }
}

impl ConfigError {
    /// Whether another start with the same settings may succeed: a name server may answer later,
    /// when the network is up.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// The text of `.env`; empty if there is no such file.
fn read_dotenv() -> Result<String, ConfigError> {
    match std::fs::read_to_string(".env") {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(problem(".env", format!("can't be read: {error}"))),
    }
}

pub(super) fn problem(subject: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError { subject: subject.to_owned(), problem: problem.into(), may_pass: false }
}
