//! moss over TLS and, in turn, the usual alternative: nginx as a TLS proxy in front of a plain
//! moss.
//!
//! Both are loaded by the same peers over loopback, and use TLS 1.3, a P-256 key, X25519 and
//! AES-128-GCM. nginx's figures are sums of three processes: its master, its worker and moss.

mod load;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use load::clients;
use load::contest::{Row, Scenario};
use load::crowd::Crowd;
use load::driver::Flow::{ClientsToMaster, MasterToClients, RoundTrip};
use load::nginx::Nginx;
use load::options::Options;
use load::passing::{self, one_by_one, scenario};
use load::server::Program;

fn main() -> ExitCode {
    load::main("tls", run)
}

fn run(bench: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let nginx = Nginx::find();
    let yardstick = match &nginx {
        Some(nginx) => &format!("nginx is {}, with a plain moss behind it.", nginx.version),
        None => "nginx is not installed: only moss is measured.",
    };
    let contest = options.tls(nginx.as_ref());
    let title = format!("{yardstick} CPU is for each packet passed on.");
    passing::run(bench, &title, &contest, loads())?;
    let scenarios =
        scenarios(crowd(options)).into_iter().chain(clients::charges(crowd(options))).collect();
    clients::run(bench, "What clients cost over TLS.", &contest, scenarios)
}

fn loads() -> Vec<Scenario> {
    vec![
        scenario("clients-to-master", ClientsToMaster, 100, 1, 200),
        scenario("clients-to-master-16-in-flight", ClientsToMaster, 100, 16, 200),
        scenario("clients-to-master-4000-bytes", ClientsToMaster, 100, 1, 4_000),
        scenario("clients-to-master-4000-bytes-16-in-flight", ClientsToMaster, 100, 16, 4_000),
        one_by_one("clients-to-master-one-by-one", 100, 20),
        scenario("master-to-clients", MasterToClients, 100, 1, 200),
        scenario("master-to-clients-16-in-flight", MasterToClients, 100, 16, 200),
        scenario("master-to-clients-4000-bytes", MasterToClients, 100, 1, 4_000),
        scenario("master-to-clients-4000-bytes-16-in-flight", MasterToClients, 100, 16, 4_000),
        scenario("round-trip", RoundTrip, 100, 1, 200),
        scenario("round-trip-16-in-flight", RoundTrip, 100, 16, 200),
        scenario("round-trip-4000-bytes", RoundTrip, 100, 1, 4_000),
        scenario("round-trip-4000-bytes-16-in-flight", RoundTrip, 100, 16, 4_000),
    ]
}

fn scenarios(clients: usize) -> Vec<Scenario> {
    let cpu = |name| [Row::new(name, "µs").clients(clients)];
    vec![
        Scenario::list(
            "connect-full",
            cpu("CPU to connect by a full handshake and log in"),
            connect_full,
        ),
        Scenario::list(
            "connect-resumed",
            cpu("CPU to connect by a ticket and log in"),
            connect_resumed,
        ),
        clients::idle_client(clients),
    ]
}

fn connect_full(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    clients::cpu(program, crowd(options), Crowd::join, Crowd::join)
}

fn connect_resumed(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    clients::cpu(program, crowd(options), Crowd::resume_from, Crowd::join)
}

/// Half as many as elsewhere: nginx needs two descriptors for each client.
fn crowd(options: &Options) -> usize {
    options.crowd(2 * 5_000) / 2
}
