//! A peer whose host vanishes: no Close, no FIN, no RST, and nothing answers. Two network
//! namespaces, one for moss and one for the peer, and a cable that is pulled.
//!
//! It needs root and iproute2, and is skipped without them. The simulation tests vanished hosts,
//! too.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sockets::{wait_for_clients, wait_for_packet};
use crate::support::{Client, Setup, Stream, skipped};

/// The addresses of moss and of the peer (RFC 5737: addresses for documentation).
const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

/// Two hosts and the cable between them; gone when it is dropped.
struct Hosts {
    here: String,
    there: String,
}

impl Hosts {
    fn new() -> Option<Self> {
        let id = std::process::id();
        let hosts = Self { here: format!("moss-here-{id}"), there: format!("moss-there-{id}") };
        let Self { here, there } = &hosts;
        if !ip(&format!("netns add {here}")) {
            return None;
        }
        let made = [
            format!("netns add {there}"),
            format!("-n {here} link add cable type veth peer name cable netns {there}"),
            format!("-n {here} address add {HERE}/24 dev cable"),
            format!("-n {there} address add {THERE}/24 dev cable"),
            format!("-n {here} link set lo up"),
            format!("-n {here} link set cable up"),
            format!("-n {there} link set cable up"),
        ]
        .iter()
        .all(|command| ip(command));
        made.then_some(hosts)
    }

    /// Cuts the connection, and neither side is told.
    fn pull_the_cable(&self) {
        assert!(ip(&format!("-n {} link set cable down", self.there)), "the cable holds");
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        ip(&format!("netns delete {}", self.here));
        ip(&format!("netns delete {}", self.there));
    }
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a function on a host. Sockets and processes that it makes belong to that host.
fn on<T: Send>(host: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(format!("/run/netns/{host}")).expect("a host");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("its network namespace");
            work()
        });
        thread.join().expect("no failure on the host")
    })
}

#[test]
fn peers_whose_host_is_cut_off_are_dropped() {
    let Some(hosts) = Hosts::new() else {
        let why = "no network namespaces: not root, or no iproute2";
        return skipped("peers_whose_host_is_cut_off_are_dropped", why);
    };
    let setup = Setup::new()
        .listen_on("0.0.0.0")
        // Short, but long enough for the near peer to answer.
        .set("MOSS_KEEPALIVE_SECONDS", "4")
        .set("MOSS_MASTER_LEFT_TYPE", "master-left")
        .set("MOSS_CLIENT_LEFT_TYPE", "client-left");
    let moss = on(&hosts.here, || setup.start());
    let far = SocketAddr::new(HERE.parse().expect("an address"), moss.address().port());
    let (mut far_master, mut far_client) = on(&hosts.there, || {
        (Client::open(Stream::connect(far)), Client::open(Stream::connect(far)))
    });
    far_master.set_master("1");
    far_client.send(r#"{"type":"login"}"#);
    far_client.expect(r#"{"type":"connection-offer","payload":1}"#);
    let mut near = on(&hosts.here, || moss.client_of(&mut far_master)).0;

    hosts.pull_the_cable();
    // Even with packets in flight, which the kernel repeats.
    near.send(r#"{"type":"lost"}"#);
    wait_for_packet(&mut near, r#"{"type":"master-left","payload":""}"#);
    on(&hosts.here, || {
        wait_for_clients(&moss, 1);
        let mut next = moss.master("2");
        near.expect(r#"{"type":"connection-offer","payload":2}"#);
        near.introduce(&mut next);
    });
    drop((far_master, far_client));
}
