//! Loads moss and the bare relay in turn, each through real sockets on loopback.
//!
//! The most reliable figure is the server's own CPU time for a packet passed on: a noisy
//! machine distorts it least. Latencies include the load generator's own work; with a hundred
//! clients, they are mostly time spent in a queue.

mod load;

use std::error::Error;
use std::process::ExitCode;

use load::contest::Scenario;
use load::driver::Flow::{ClientsToMaster, MasterToClients, RoundTrip};
use load::options::Options;
use load::passing::{self, one_by_one, scenario};

fn main() -> ExitCode {
    load::main("loopback", run)
}

fn run(bench: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    passing::run(
        bench,
        "CPU is the server's own, for each packet passed on; latencies are medians of the rounds.",
        &options.plain(),
        scenarios(options),
    )
}

fn scenarios(options: &Options) -> Vec<Scenario> {
    let many = options.crowd(5_000);
    vec![
        scenario("clients-to-master", ClientsToMaster, 100, 1, 200),
        scenario("clients-to-master-16-in-flight", ClientsToMaster, 100, 16, 200),
        scenario("clients-to-master-4000-bytes", ClientsToMaster, 100, 1, 4_000),
        one_by_one("clients-to-master-one-by-one", 100, 20),
        scenario("master-to-clients", MasterToClients, 100, 1, 200),
        scenario("master-to-clients-16-in-flight", MasterToClients, 100, 16, 200),
        scenario("master-to-clients-4000-bytes", MasterToClients, 100, 1, 4_000),
        scenario("round-trip", RoundTrip, 100, 1, 200),
        scenario("round-trip-5000-clients", RoundTrip, many, 1, 200),
        scenario("round-trip-one-client", RoundTrip, 1, 1, 200),
    ]
}
