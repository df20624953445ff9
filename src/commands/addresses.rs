//! What a start says of addresses: where moss listens, what to connect to, and what to open.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use moss::server::Server;
use moss::server::system::System;
use moss::server::world::Door;

/// Says it in the log.
pub(crate) fn tell(server: &Server<System>, has_pages: bool) {
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
