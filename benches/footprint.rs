//! What clients cost while they come, stay and go: memory, CPU per client, and
//! whether a packet's price grows with the number of clients.
//!
//! Memory is what no file backs (heap, stack, written data), as the page
//! tables have it; only "resident at start" counts the program's own pages.

mod load;

use std::error::Error;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use load::clients::{self, microseconds};
use load::contest::Scenario;
use load::crowd::{Crowd, MASTER};
use load::driver::{Driver, Flow, Load};
use load::options::Options;
use load::server::{self, Program, Server};

const KIBI: f64 = 1024.0;

fn main() -> ExitCode {
    load::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut scenarios = vec![
        Scenario::new("start", start).rows(&["resident at start, KiB", "of which anonymous, KiB"]),
        Scenario::new("idle-client", idle_client).rows(&[
            "memory per idle client of 10,000, bytes",
            "the same after 4,000 bytes each way",
        ]),
        Scenario::new("connect-login", connect_login).rows(&["CPU, connect + log in, µs"]),
        Scenario::new("connect-login-packet-leave", connect_login_packet_leave)
            .rows(&["CPU, connect + log in + packet + leave, µs"]),
        Scenario::new("takeover", takeover).rows(&["CPU per client, offer to 10,000, µs"]),
        Scenario::new("scale", scale).rows(&[
            "CPU per packet, 100 clients, µs",
            "100 of 1,000 clients busy",
            "100 of 5,000 clients busy",
            "100 of 15,000 clients busy",
            "all of 1,000 clients busy",
            "all of 5,000 clients busy",
            "all of 15,000 clients busy",
        ]),
    ];
    scenarios.extend(clients::charges(options.crowd(10_000)));
    if options.long {
        scenarios.push(
            Scenario::new("keepalive", keepalive)
                .rows(&["15,000 idle clients, % of a core", "CPU per ping and pong, µs"]),
        );
    }
    let moss = options.moss();
    let bytes = fs::metadata(moss)?.len();
    let title = format!("{} has {} KiB.", moss.display(), bytes / 1024);
    clients::run("footprint", &title, &options.plain(), scenarios)
}

fn start(program: &Program, _: &Options) -> io::Result<Vec<f64>> {
    let server = Server::start(program)?;
    server.cpu_time()?;
    let memory = server.memory()?;
    Ok(vec![memory.resident as f64 / KIBI, memory.anonymous as f64 / KIBI])
}

fn idle_client(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    clients::memory(program, options.crowd(10_000))
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

fn scale(program: &Program, options: &Options) -> io::Result<Vec<f64>> {
    let crowds = [1_000, 5_000, 15_000].map(|clients| options.crowd(clients));
    let few_busy = crowds.map(|clients| (clients, 100));
    let all_busy = crowds.map(|clients| (clients, clients));
    [(100, 100)]
        .into_iter()
        .chain(few_busy)
        .chain(all_busy)
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

/// Each client is pinged three times while it is watched.
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
