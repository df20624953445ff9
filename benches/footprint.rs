//! What clients cost when they connect, stay and leave: memory, CPU time per client, and
//! whether a packet takes more CPU time the more clients there are.
//!
//! Memory is anonymous memory (heap, stack, written data), read from the page tables; only
//! "resident at start" includes the program's own pages.

mod load;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use load::clients::{self, microseconds};
use load::contest::{Row, Scenario};
use load::crowd::{Crowd, MASTER};
use load::driver::{Driver, Flow, Load};
use load::options::Options;
use load::server::{self, Program, Server};

const KIBI: f64 = 1024.0;

type Measure = fn(&Program, &Options) -> io::Result<Vec<f64>>;

fn main() -> ExitCode {
    load::main("footprint", run)
}

fn run(bench: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let one = |name, metric, clients, measure: Measure| {
        Scenario::list(name, [Row::new(metric, "µs").clients(options.crowd(clients))], measure)
    };
    let scale_rows = scale_crowds(options).into_iter();
    let mut scenarios = vec![
        Scenario::list(
            "start",
            [Row::new("resident at start", "KiB"), Row::new("anonymous at start", "KiB")],
            start,
        ),
        clients::idle_client(options.crowd(10_000)),
        one("connect-login", "CPU to connect and log in", 5_000, connect_login),
        one(
            "connect-login-packet-leave",
            "CPU to connect and log in and send a packet and leave",
            5_000,
            connect_login_packet_leave,
        ),
        one("takeover", "CPU per client for a new master's offer", 10_000, takeover),
        Scenario::list(
            "scale",
            scale_rows.map(|(all, busy)| Row::new("CPU per packet", "µs").clients(all).busy(busy)),
            scale,
        ),
    ];
    scenarios.extend(clients::charges(options.crowd(10_000)));
    if options.long {
        let clients = options.crowd(15_000);
        scenarios.push(Scenario::list(
            "keepalive",
            [
                Row::new("CPU for idle clients", "% of a core").clients(clients),
                Row::new("CPU per ping and pong", "µs").clients(clients),
            ],
            keepalive,
        ));
    }
    let moss = options.moss();
    let title = format!("{} has {}.", moss.display(), options.size());
    clients::run(bench, &title, &options.plain(), scenarios)
}

fn start(program: &Program, _: &Options) -> io::Result<Vec<f64>> {
    let server = Server::start(program)?;
    server.cpu_time()?;
    let memory = server.memory()?;
    Ok(vec![memory.resident as f64 / KIBI, memory.anonymous as f64 / KIBI])
}

fn connect_login(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    clients::cpu(program, options.crowd(5_000), Crowd::join, Crowd::join)
}

fn connect_login_packet_leave(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    clients::cpu(program, options.crowd(5_000), Crowd::pass_through, Crowd::pass_through)
}

fn takeover(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    let clients = options.crowd(10_000);
    let server = Server::start(program)?;
    let mut crowd = Crowd::new(&server)?;
    crowd.join(clients)?;
    let masters = [crowd.connect()?, MASTER];
    for master in masters {
        crowd.take_over(master, clients)?;
    }
    let before = server.cpu_time()?;
    let started = Instant::now();
    let mut offers = 0;
    while started.elapsed() < options.duration {
        for master in masters {
            crowd.take_over(master, clients)?;
            offers += clients;
        }
    }
    let cpu = server.cpu_time()? - before;
    Ok(vec![microseconds(cpu) / offers as f64])
}

/// How many clients are logged in, and how many of them exchange packets.
fn scale_crowds(options: &Options) -> Vec<(usize, usize)> {
    let crowds = [1_000, 5_000, 15_000].map(|clients| options.crowd(clients));
    let few_busy = crowds.map(|clients| (clients, 100.min(clients)));
    let all_busy = crowds.map(|clients| (clients, clients));
    [(100, 100)].into_iter().chain(few_busy).chain(all_busy).collect()
}

fn scale(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    scale_crowds(options)
        .into_iter()
        .map(|(clients, active)| {
            let server = Server::start(program)?;
            let mut crowd = Crowd::new(&server)?;
            crowd.join(clients)?;
            let load = Load { flow: Flow::RoundTrip, clients, active, in_flight: 1, bytes: 200 };
            let mut driver = Driver::new(crowd, load)?;
            driver.run(options.duration / 5)?;
            let before = server.cpu_time()?;
            let tally = driver.run(options.duration)?;
            Ok(microseconds(server.cpu_time()? - before) / tally.packets as f64)
        })
        .collect()
}

/// Measures for three keepalive times: each client is pinged three times.
fn keepalive(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    let watched = 3 * server::keepalive();
    let clients = options.crowd(15_000);
    let server = Server::start(program)?;
    let mut crowd = Crowd::new(&server)?;
    crowd.join(clients)?;
    let before = server.cpu_time()?;
    let pings_before = crowd.fleet.pings;
    let started = Instant::now();
    while let Some(left) = watched.checked_sub(started.elapsed()) {
        crowd.fleet.turn_within(left, |_, _| {})?;
    }
    let watched = started.elapsed();
    let cpu = server.cpu_time()? - before;
    let pings = crowd.fleet.pings - pings_before;
    Ok(vec![100.0 * cpu.as_secs_f64() / watched.as_secs_f64(), microseconds(cpu) / pings as f64])
}
