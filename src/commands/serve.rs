//! `moss`: serves.

use std::process::ExitCode;

use moss::operate::journal;
use moss::operate::notify::Notifier;
use moss::server::Server;
use moss::settings::environment;

use super::{VERSION, WRONG_SETTINGS, addresses, give_up, raise_descriptor_limit, room};

/// Serves until a signal ends it.
pub(crate) fn run() -> ExitCode {
    let config = match environment::load(raise_descriptor_limit(), room()) {
        Ok(config) => config,
        Err(error) => return give_up(status(error.may_pass()), &error),
    };
    journal::start(config.log);
    log::info!("moss {VERSION}");
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let keepalive = config.keepalive.as_secs();
    let has_pages = config.pages.is_some();
    addresses::warn(&config);
    let server = match Server::bind(config, Notifier::from_environment()) {
        Ok(server) => server,
        Err(error) => return give_up(status(error.may_pass()), &error),
    };
    addresses::tell(&server, has_pages);
    let limits = server.limits();
    let per_address = limits
        .max_connections_per_address
        .map_or_else(String::new, |most| format!(" ({most} per address)"));
    log::info!(
        "limits: {} connections{per_address}, {} bytes per packet, {} of backlog per peer, {} in all; keepalive {keepalive} s",
        limits.max_connections,
        limits.max_packet_bytes,
        limits.max_backlog_bytes,
        limits.max_memory_bytes,
    );
    match server.run() {
        Ok(()) => {
            log::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("the poll failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The exit status: service managers try again if another start may succeed.
fn status(may_pass: bool) -> u8 {
    if may_pass { 1 } else { WRONG_SETTINGS }
}
