//! Starts a server: listens, and loads the certificate and the pages.

use std::error::Error;
use std::net::SocketAddr;
use std::{fmt, io};

use super::Server;
use crate::http::folder;
use crate::operate::notify::Notifier;
use crate::server::certificate::Certificate;
use crate::server::site::Site;
use crate::server::system::System;
use crate::server::world::Endpoint;
use crate::settings::config::Config;
use crate::settings::variables::{PAGES_DIRECTORY, TLS_CERTIFICATE_FILE, TLS_KEY_FILE};
use crate::tls::{File, Problem};

/// Why a server can't start. Displays as one line that names the variable, what is wrong and
/// what would be right.
#[derive(Debug)]
pub enum StartError {
    /// The certificate or its key can't be used.
    Certificate(Problem),
    /// The folder of pages can't be served.
    Pages(folder::Problem),
    /// An address can't be listened on.
    Listen(Endpoint, SocketAddr, io::Error),
    /// No poll or no signal handlers could be created.
    System(io::Error),
}

impl Server<System> {
    /// Listens, and catches SIGTERM, SIGINT and SIGHUP from now on.
    ///
    /// # Errors
    /// A certificate, a folder or an address can't be used, or no poll or no signal handlers could
    /// be created.
    pub fn bind(mut config: Config, notifier: Notifier) -> Result<Self, StartError> {
        let mut system =
            System::new(notifier, config.room.socket_buffer()).map_err(StartError::System)?;
        let (certificate, site) = load(&mut config)?;
        if let Some(tls) = &config.tls {
            listen(&mut system, Endpoint::Tls, tls.listen)?;
        }
        listen(&mut system, Endpoint::Plain, config.listen)?;
        Ok(Self::new(config, certificate, site, system))
    }

    /// Where moss listens.
    ///
    /// # Errors
    /// There is no such endpoint, moss is stopping, or the kernel fails.
    pub fn address(&self, endpoint: Endpoint) -> io::Result<SocketAddr> {
        self.world.address(endpoint)
    }
}

/// Loads the certificate and the pages, and logs about them. Unless the memory limit is set, it
/// becomes a share of what the pages leave.
///
/// # Errors
/// The certificate or the folder of pages can't be used.
pub fn load(config: &mut Config) -> Result<(Option<Certificate>, Option<Site>), StartError> {
    let certificate = config.tls.as_ref().map(|tls| Certificate::load(tls.files.clone()));
    let certificate = certificate.transpose().map_err(StartError::Certificate)?;
    let site = config.pages.clone().map(|directory| Site::load(directory, config.room));
    let site = site.transpose().map_err(StartError::Pages)?;
    config.make_room_for_pages(site.as_ref().map_or(0, Site::bytes));
    if let Some(room) = config.shared_room() {
        let bytes = config.limits.max_memory_bytes;
        let less = if site.is_some() { ", less pages" } else { "" };
        log::info!("peers may hold {bytes} bytes in all: a quarter of {room}{less}");
    }
    Ok((certificate, site))
}

fn listen(system: &mut System, endpoint: Endpoint, address: SocketAddr) -> Result<(), StartError> {
    system.listen(endpoint, address).map_err(|error| StartError::Listen(endpoint, address, error))
}

impl StartError {
    /// Whether another start with the same settings may succeed: an address may become available
    /// or free.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Listen(..) | Self::System(_))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(Problem { file, why }) => write!(f, "{}: {why}", variable(*file)),
            Self::Pages(problem) => write!(f, "{PAGES_DIRECTORY}: {problem}"),
            Self::Listen(endpoint, address, error) => {
                let variables = match endpoint {
                    Endpoint::Plain => "MOSS_HOSTNAME, MOSS_PORT",
                    Endpoint::Tls => "MOSS_TLS_HOSTNAME, MOSS_TLS_PORT",
                };
                let right = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "give a port of 1024 or more, or allow moss a lower one"
                    }
                    _ => "give an address of this machine and a free port",
                };
                write!(f, "{variables}: can't listen on {address} ({error}); {right}")
            }
            Self::System(error) => write!(f, "can't create a poll or catch signals: {error}"),
        }
    }
}

impl Error for StartError {}

/// The variable that names a file.
pub(super) fn variable(file: File) -> &'static str {
    match file {
        File::Certificate => TLS_CERTIFICATE_FILE,
        File::Key => TLS_KEY_FILE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_port_gets_its_own_advice() {
        let error = |kind: io::ErrorKind| {
            let address = SocketAddr::from(([0, 0, 0, 0], 80));
            StartError::Listen(Endpoint::Plain, address, kind.into()).to_string()
        };
        assert!(error(io::ErrorKind::PermissionDenied).ends_with("or allow moss a lower one"));
        assert!(error(io::ErrorKind::AddrInUse).ends_with("and a free port"));
    }
}
