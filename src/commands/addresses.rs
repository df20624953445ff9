//! What moss logs about addresses at its start: where it listens, and the URLs to use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use moss::server::Server;
use moss::server::system::System;
use moss::server::world::Endpoint;
use moss::settings::config::Config;

const ANY_4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Addresses reserved for documentation (RFC 5737, RFC 3849): routed like any other, but used by
/// nobody.
const SOMEWHERE_4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SOMEWHERE_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Warns if other machines can't reach the address on which moss is going to listen.
pub(crate) fn warn(config: &Config) {
    // With TLS the plain port is for this machine only.
    let (variable, listen) = match &config.tls {
        Some(tls) => ("MOSS_TLS_HOSTNAME", tls.listen),
        None => ("MOSS_HOSTNAME", config.listen),
    };
    if listen.ip() == ANY_4 && !has_ipv4() && source(ANY_6, SOMEWHERE_6).is_some() {
        log::warn!(
            "this machine has only IPv6, and moss listens on IPv4: set {variable} to :: so that others can reach it"
        );
    }
}

/// Whether this machine has an IPv4 address besides loopback: a default route, or at least one to
/// its own network.
fn has_ipv4() -> bool {
    source(ANY_4, SOMEWHERE_4).is_some()
        || std::fs::read_to_string("/proc/self/net/route")
            .is_ok_and(|routes| routes.lines().skip(1).any(|route| !route.starts_with("lo\t")))
}

/// Logs the addresses.
pub(crate) fn tell(server: &Server<System>, has_pages: bool) {
    for (endpoint, listening, letter) in
        [(Endpoint::Plain, "on", ""), (Endpoint::Tls, "for TLS on", "s")]
    {
        // Fails only if there is no such endpoint.
        let Ok(address) = server.address(endpoint) else { continue };
        log::info!("listening {listening} {address}");
        let address = SocketAddr::new(lan_address(address.ip()), address.port());
        log::info!("clients and the master connect to ws{letter}://{address}/");
        if has_pages {
            log::info!("pages are at http{letter}://{address}/");
        }
    }
}

/// The address under which other machines reach a server that listens on `ip`: for an
/// unspecified address, that of the default route.
fn lan_address(ip: IpAddr) -> IpAddr {
    let route = match ip {
        IpAddr::V4(any) if any.is_unspecified() => source(ANY_4, SOMEWHERE_4),
        // `::` includes IPv4, which is what most LANs use.
        IpAddr::V6(any) if any.is_unspecified() => {
            source(ANY_4, SOMEWHERE_4).or_else(|| source(ANY_6, SOMEWHERE_6))
        }
        _ => return ip,
    };
    route.unwrap_or(match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}

/// This machine's own address on the route to `somewhere`, if there is a route. Connecting a UDP
/// socket looks it up and sends nothing.
fn source(any: IpAddr, somewhere: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((somewhere, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
