//! What it costs to pass packets on, and how long it takes: a row for each load.

use std::error::Error;
use std::io;

use super::crowd::Crowd;
use super::driver::{Driver, Flow, Load};
use super::options::{Contest, Options};
use super::report::{self, Series, Table, figure, median};
use super::server::{Program, Server};

pub(crate) struct Scenario {
    name: &'static str,
    load: Load,
}

impl Scenario {
    /// `clients`, each of which has `in_flight` packets of `bytes` on their way at any time.
    pub(crate) fn new(
        name: &'static str,
        flow: Flow,
        clients: usize,
        in_flight: usize,
        bytes: usize,
    ) -> Self {
        Self { name, load: Load { flow, clients, active: clients, in_flight, bytes } }
    }
}

/// One round of one program.
struct Sample {
    cpu_microseconds: f64,
    packets_per_second: f64,
    median_microseconds: f64,
    p99_microseconds: f64,
}

/// Prints the table of `bench`: those of `scenarios` that are asked for.
pub(crate) fn run(
    bench: &str,
    title: &str,
    contest: &Contest<'_>,
    scenarios: Vec<Scenario>,
) -> Result<(), Box<dyn Error>> {
    let options = contest.options;
    let scenarios = options.select(scenarios, |scenario| scenario.name);
    if scenarios.is_empty() || contest.programs.is_empty() {
        return Ok(());
    }
    let yardstick = contest.yardstick;
    let longest = scenarios.iter().map(|scenario| scenario.name.len()).max();
    let table = Table::new(
        title,
        longest.unwrap_or(0),
        &[
            bench,
            "moss CPU µs",
            &format!("{yardstick} CPU µs"),
            &format!("moss / {yardstick} (spread)"),
            "moss packets/s",
            "median µs",
            "p99 µs",
            &format!("{yardstick} packets/s"),
            "median µs",
            "p99 µs",
        ],
    );
    for Scenario { name, load } in scenarios {
        let (moss, yardstick) = report::in_turn(&contest.programs, options.rounds, |program| {
            measure(program, load, options)
        })
        .map_err(|error| format!("{name}: {error}"))?;
        let column = |samples: &[Sample], field: fn(&Sample) -> f64| -> Vec<f64> {
            samples.iter().map(field).collect()
        };
        let cpu = Series {
            moss: column(&moss, |sample| sample.cpu_microseconds),
            yardstick: column(&yardstick, |sample| sample.cpu_microseconds),
        };
        let mut cells = vec![
            name.to_owned(),
            figure(median(&cpu.moss)),
            figure(median(&cpu.yardstick)),
            cpu.ratio_text(),
        ];
        for samples in [&moss, &yardstick] {
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
