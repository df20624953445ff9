//! The cost and the latency of passing on packets: a row for each load.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::clients::microseconds;
use super::contest::{Contest, Scenario};
use super::crowd::Crowd;
use super::driver::{Driver, Flow, Load, Tally};
use super::figures::Metric;
use super::options::Options;
use super::server::{Program, Server};

/// What `measure` returns.
const METRICS: [Metric; 4] = [
    Metric { name: "CPU per packet", unit: "µs" },
    Metric { name: "packets per second", unit: "1/s" },
    Metric { name: "latency: median", unit: "µs" },
    Metric { name: "latency: 99 %", unit: "µs" },
];

/// A load of `clients`, each with `in_flight` packets of `bytes` in flight at any time.
pub(crate) fn scenario(
    name: &'static str,
    flow: Flow,
    clients: usize,
    in_flight: usize,
    bytes: usize,
) -> Scenario {
    let load = Load { flow, clients, active: clients, in_flight, bytes };
    let measured = move |program: &Program, options: &Options| {
        measure(program, load, options, |driver, duration| driver.run(duration))
    };
    Scenario::new(name, &METRICS, measured).all_busy(clients)
}

/// Like phones at a party: each of `clients` sends the master `rate` packets of 200 bytes a
/// second, and they arrive one by one.
pub(crate) fn one_by_one(name: &'static str, clients: usize, rate: usize) -> Scenario {
    let load =
        Load { flow: Flow::ClientsToMaster, clients, active: clients, in_flight: 1, bytes: 200 };
    let period = Duration::from_secs(1) / (clients * rate) as u32;
    let measured = move |program: &Program, options: &Options| {
        measure(program, load, options, |driver, duration| driver.run_one_by_one(period, duration))
    };
    Scenario::new(name, &METRICS, measured).all_busy(clients)
}

/// Measures the selected `scenarios`, and prints them as the table of `bench`.
pub(crate) fn run(
    bench: &str,
    title: &str,
    contest: &Contest<'_>,
    scenarios: Vec<Scenario>,
) -> Result<(), Box<dyn Error>> {
    contest.run(bench, title, &["CPU µs", "packets/s", "median µs", "p99 µs"], scenarios)
}

fn measure(
    program: &Program,
    load: Load,
    options: &Options,
    run: impl Fn(&mut Driver, Duration) -> io::Result<Tally>,
) -> io::Result<Vec<f64>> {
    let server = Server::start(program)?;
    let mut crowd = Crowd::new(&server)?;
    crowd.join(load.clients)?;
    let mut driver = Driver::new(crowd, load)?;
    // Warms up: buffers and caches reach their size.
    run(&mut driver, options.duration / 5)?;
    let before = server.cpu_time()?;
    let tally = run(&mut driver, options.duration)?;
    let cpu = server.cpu_time()? - before;
    let packets = tally.packets as f64;
    Ok(vec![
        microseconds(cpu) / packets,
        packets / tally.elapsed.as_secs_f64(),
        tally.latency_microseconds(0.5),
        tally.latency_microseconds(0.99),
    ])
}
