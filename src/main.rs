//! The moss program: arguments and environment in, exit status out.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

use lexopt::prelude::*;
use moss::operate::notify::Notifier;
use moss::operate::{journal, probe};
use moss::server::Server;
use moss::server::system::System;
use moss::server::world::Door;
use moss::settings::environment;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const USAGE: &str = "\
moss, the Many-to-One Signaling Server for WebRTC

usage: moss            serve, as the environment and ./.env say
       moss health     ask the moss of this environment whether it is well:
                       one line, and exit status 0 or 1
       moss --help     this text
       moss --version  the version

Settings are MOSS_... environment variables; template.env explains each.
MOSS_CONNECTION_SECRET and MOSS_CONNECTION_OFFER_TYPE are required.
";

/// What the command line asks for.
enum Command {
    Serve,
    Health,
    Help,
    Version,
}

fn main() -> ExitCode {
    match command() {
        Ok(Command::Serve) => serve(),
        Ok(Command::Health) => ask_health(),
        Ok(Command::Help) => {
            say(USAGE);
            ExitCode::SUCCESS
        }
        Ok(Command::Version) => {
            say(concat!("moss ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("moss: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn command() -> Result<Command, lexopt::Error> {
    let mut arguments = lexopt::Parser::from_env();
    let mut command = None;
    while let Some(argument) = arguments.next()? {
        let next = match argument {
            Short('h') | Long("help") => Command::Help,
            Short('V') | Long("version") => Command::Version,
            Value(word) if word == "health" => Command::Health,
            other => return Err(other.unexpected()),
        };
        if command.replace(next).is_some() {
            return Err("one command at a time".into());
        }
    }
    Ok(command.unwrap_or(Command::Serve))
}

fn serve() -> ExitCode {
    let config = match environment::load(raise_descriptor_limit()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("moss: {error}");
            return ExitCode::from(2);
        }
    };
    journal::start(config.log);
    log::info!("moss {}", env!("CARGO_PKG_VERSION"));
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let limits = config.limits.clone();
    let keepalive = config.keepalive.as_secs();
    let has_pages = config.pages.is_some();
    let server = match Server::bind(config, Notifier::from_environment()) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("moss: {error}");
            return ExitCode::from(2);
        }
    };
    tell_addresses(&server, has_pages);
    let per_address = limits
        .max_connections_per_address
        .map_or_else(String::new, |most| format!(" ({most} an address)"));
    log::info!(
        "limits: {} connections{per_address}, {} bytes a packet, {} of backlog a peer, {} in all; keepalive {keepalive} s",
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

/// Says where moss listens, what to connect to, and what to open.
fn tell_addresses(server: &Server<System>, has_pages: bool) {
    for (door, listening, letter) in [(Door::Plain, "on", ""), (Door::Tls, "for TLS on", "s")] {
        // The kernel tells, and where it does not there is no such door.
        let Ok(address) = server.address(door) else { continue };
        log::info!("listening {listening} {address}");
        let address = SocketAddr::new(lan_address(address.ip()), address.port());
        log::info!("clients and the master connect to ws{letter}://{address}/");
        if has_pages {
            log::info!("pages are at http{letter}://{address}/");
        }
    }
}

fn ask_health() -> ExitCode {
    // The limit on descriptors is the server's concern, not the question's.
    let answer = environment::load(u64::MAX)
        .map_err(|error| error.to_string())
        .and_then(|config| probe::ask(config.listen));
    let (Ok(line) | Err(line)) = &answer;
    say(&format!("{line}\n"));
    if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints to stdout; a reader that has gone is no reason to panic, as `print!` would.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Raises the soft limit on open files to the hard one, and returns what is in force:
/// a connection is a descriptor, and the soft limit is often 1024 for old programs' sake.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    in_force.unwrap_or(u64::MAX)
}

/// The address under which others reach a server that listens on `ip`: for "any", that
/// of the default route. Connecting a UDP socket looks the route up and sends nothing.
fn lan_address(ip: IpAddr) -> IpAddr {
    // Addresses for documentation (RFC 5737, RFC 3849): routed like any other, and nobody's.
    let four = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from([192, 0, 2, 1]));
    let six =
        (IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
    let routes: &[(IpAddr, IpAddr)] = match ip {
        IpAddr::V4(any) if any.is_unspecified() => &[four],
        // Listening on :: takes IPv4 too, which is what most LANs route.
        IpAddr::V6(any) if any.is_unspecified() => &[four, six],
        _ => return ip,
    };
    let source = |&(any, somewhere): &(IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((somewhere, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    routes.iter().find_map(source).unwrap_or(match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}
