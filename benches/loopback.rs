//! The real server on a loopback port, loaded through real sockets, and the
//! bare relay under the same load, in turn.
//!
//! The figure to trust is the server's own CPU time for a packet passed on:
//! a noisy machine distorts it least. Latencies contain the load generator's
//! own work; those of a hundred clients are mostly a queue's.

mod load;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use load::crowd::Crowd;
use load::driver::{Driver, Flow, Load};
use load::options::Options;
use load::report::{self, Series, Table, figure, median};
use load::server::{Program, Server};

struct Scenario {
    name: &'static str,
    load: Load,
}

/// One round of one program.
struct Sample {
    cpu_microseconds: f64,
    packets_per_second: f64,
    median_microseconds: f64,
    p99_microseconds: f64,
}

fn main() -> ExitCode {
    load::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let scenarios = options.select(scenarios(options), |scenario| scenario.name);
    if scenarios.is_empty() {
        return Ok(());
    }
    let table = Table::new(
        "CPU is the server's own, for each packet passed on; latencies are medians of the rounds.",
        33,
        &[
            "loopback",
            "moss CPU µs",
            "bare CPU µs",
            "moss / bare (spread)",
            "moss packets/s",
            "median µs",
            "p99 µs",
            "bare packets/s",
            "median µs",
            "p99 µs",
        ],
    );
    for Scenario { name, load } in scenarios {
        let (moss, bare) = report::in_turn(&options.programs, options.rounds, |program| {
            measure(program, load, options)
        })
        .map_err(|error| format!("{name}: {error}"))?;
        let column = |samples: &[Sample], field: fn(&Sample) -> f64| -> Vec<f64> {
            samples.iter().map(field).collect()
        };
        let cpu = Series {
            moss: column(&moss, |sample| sample.cpu_microseconds),
            bare: column(&bare, |sample| sample.cpu_microseconds),
        };
        let mut cells = vec![
            name.to_owned(),
            figure(median(&cpu.moss)),
            figure(median(&cpu.bare)),
            cpu.ratio_text(),
        ];
        for samples in [&moss, &bare] {
            let fields: [fn(&Sample) -> f64; 3] = [
                |sample| sample.packets_per_second,
                |sample| sample.median_microseconds,
                |sample| sample.p99_microseconds,
            ];
            cells.extend(fields.map(|field| figure(median(&column(samples, field)))));
        }
        table.row(&cells);
    }
    Ok(())
}

fn scenarios(options: &Options) -> Vec<Scenario> {
    use Flow::{ClientsToMaster, MasterToClients, RoundTrip};

    let scenario = |name, flow, clients, in_flight, bytes| Scenario {
        name,
        load: Load { flow, clients, active: clients, in_flight, bytes },
    };
    let many = options.crowd(5_000);
    vec![
        scenario("clients-to-master", ClientsToMaster, 100, 1, 200),
        scenario("clients-to-master-16-in-flight", ClientsToMaster, 100, 16, 200),
        scenario("clients-to-master-4000-bytes", ClientsToMaster, 100, 1, 4_000),
        scenario("master-to-clients", MasterToClients, 100, 1, 200),
        scenario("master-to-clients-16-in-flight", MasterToClients, 100, 16, 200),
        scenario("master-to-clients-4000-bytes", MasterToClients, 100, 1, 4_000),
        scenario("round-trip", RoundTrip, 100, 1, 200),
        scenario("round-trip-5000-clients", RoundTrip, many, 1, 200),
        scenario("round-trip-one-client", RoundTrip, 1, 1, 200),
    ]
}

fn measure(program: &Program, load: Load, options: &Options) -> io::Result<Sample> {
    let server = Server::start(program)?;
    let mut crowd = Crowd::new(&server)?;
    crowd.join(load.clients)?;
    let mut driver = Driver::new(crowd, load)?;
    // Buffers and caches find their size.
    driver.run(options.duration / 5)?;
    let before = server.cpu_time()?;
    let tally = driver.run(options.duration)?;
    let cpu = server.cpu_time()? - before;
    let packets = tally.packets as f64;
    Ok(Sample {
        cpu_microseconds: cpu.as_secs_f64() * 1e6 / packets,
        packets_per_second: packets / tally.elapsed.as_secs_f64(),
        median_microseconds: tally.latency_microseconds(0.5),
        p99_microseconds: tally.latency_microseconds(0.99),
    })
}
