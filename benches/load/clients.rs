//! What clients cost: each row has one figure for each program.
//!
//! Memory is anonymous memory (heap, stack, written data), read from the page tables; with the
//! kernel's, it is what a memory cgroup is charged.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::charge::Charge;
use super::contest::{Contest, Row, Scenario};
use super::crowd::Crowd;
use super::driver::{Driver, Flow, Load};
use super::options::Options;
use super::server::{Program, Server};

/// Measures the selected `scenarios`, and prints them as the table of `bench`.
pub(crate) fn run(
    bench: &str,
    title: &str,
    contest: &Contest<'_>,
    scenarios: Vec<Scenario>,
) -> Result<(), Box<dyn Error>> {
    contest.run(bench, title, &[""], scenarios)
}

/// The server's own memory for each client: while all are idle, and after they exchanged packets.
pub(crate) fn idle_client(clients: usize) -> Scenario {
    let idle = Row::new("memory per idle client", "bytes").clients(clients);
    let after = Row::new("memory per client after 4000 bytes each way", "bytes").clients(clients);
    Scenario::list("idle-client", [idle, after], move |program, _| memory(program, clients))
}

/// Bytes for each of `clients`: idle, and after 4,000 bytes each way.
fn memory(program: &Program, clients: usize) -> io::Result<Vec<f64>> {
    let server = Server::start(program)?;
    let before = server.memory()?.anonymous;
    let growth_per_client = || -> io::Result<f64> {
        server.cpu_time()?;
        let growth = server.memory()?.anonymous.saturating_sub(before);
        Ok(growth as f64 / clients as f64)
    };
    let mut crowd = Crowd::new(&server)?;
    crowd.join(clients)?;
    let idle = growth_per_client()?;
    let load = Load { flow: Flow::RoundTrip, clients, active: clients, in_flight: 1, bytes: 4_000 };
    let mut driver = Driver::new(crowd, load)?;
    driver.exchange_once()?;
    let after_exchange = growth_per_client()?;
    Ok(vec![idle, after_exchange])
}

/// What the kernel charges for each of `clients`, and for offers that a tenth of them do not
/// read; empty without a memory cgroup.
pub(crate) fn charges(clients: usize) -> Vec<Scenario> {
    if let Err(error) = Charge::new() {
        println!("The kernel's memory is not measured: no memory cgroup ({error}).");
        return Vec::new();
    }
    let idle = move |program: &Program, _: &Options| charge(program, clients);
    let offered = move |program: &Program, _: &Options| {
        let charges = [2_000, 20_000, 60_000].map(|offer| charge_of(program, clients / 10, offer));
        charges.into_iter().collect()
    };
    vec![
        Scenario::list(
            "charge",
            [Row::new("memory with the kernel's per idle client", "bytes").clients(clients)],
            idle,
        ),
        Scenario::list(
            "charge-offers",
            [
                "more for an offer of 2 kB that waits",
                "more for an offer of 20 kB that waits",
                "more for an offer of 60 kB that waits",
            ]
            .map(|name| Row::new(name, "bytes").clients(clients / 10)),
            offered,
        ),
    ]
}

/// Bytes for each of `clients` while idle, including the kernel's for its socket.
fn charge(program: &Program, clients: usize) -> io::Result<Vec<f64>> {
    let charge = Charge::new()?;
    let server = Server::start(program)?;
    let mut crowd = Crowd::new(&server)?;
    charge.add(&server.processes())?;
    let before = charge.bytes()?;
    crowd.join(clients)?;
    server.cpu_time()?;
    Ok(vec![charge.bytes()?.saturating_sub(before) as f64 / clients as f64])
}

/// Additional bytes for each of `clients` when none reads a new master's offer of this size.
fn charge_of(program: &Program, clients: usize, offer: usize) -> io::Result<f64> {
    let charge = Charge::new()?;
    let server = Server::start(program)?;
    let mut crowd = Crowd::new(&server)?;
    charge.add(&server.processes())?;
    crowd.fleet.narrow();
    crowd.join(clients)?;
    server.cpu_time()?;
    let before = charge.bytes()?;
    let _new_master = Crowd::offering(&server, offer)?;
    server.cpu_time()?;
    Ok(charge.bytes()?.saturating_sub(before) as f64 / clients as f64)
}

/// Microseconds of CPU time for each of the `clients` that `visit`, after a tenth as many that
/// `warm_up`.
pub(crate) fn cpu(
    program: &Program,
    clients: usize,
    warm_up: fn(&mut Crowd, usize) -> io::Result<()>,
    visit: fn(&mut Crowd, usize) -> io::Result<()>,
) -> io::Result<Vec<f64>> {
    let server = Server::start(program)?;
    let mut crowd = Crowd::new(&server)?;
    // Allocators and tables reach their size.
    warm_up(&mut crowd, clients / 10)?;
    let before = server.cpu_time()?;
    visit(&mut crowd, clients)?;
    Ok(vec![microseconds(server.cpu_time()? - before) / clients as f64])
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
