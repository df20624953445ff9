//! Fetches files over persistent connections from moss and, in turn, from nginx, which would
//! serve them if moss did not; and measures how long packets take meanwhile.
//!
//! Both serve the same folder to the same load over loopback, and every byte received is
//! checked. nginx has one worker, its own defaults, and no log of requests. Over TLS, both use
//! TLS 1.3, a P-256 key, X25519 and AES-128-GCM.

mod load;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use load::clients::microseconds;
use load::contest::{Contest, Scenario};
use load::crowd::Crowd;
use load::downloads::Downloads;
use load::driver::{Driver, Flow, Load};
use load::figures::{Metric, Spread, Subject};
use load::nginx::Nginx;
use load::options::Options;
use load::report::{Table, figure, median};
use load::server::{Program, Server};
use load::site::{File, Serving, Site};

/// Connections that fetch at the same time, where CPU time is measured.
const CONNECTIONS: usize = 32;
/// The same, where the latency of packets is measured.
const MANY: usize = 200;
const MEGA: f64 = 1e6;

const SMALL: [Metric; 2] =
    [Metric { name: "CPU per file", unit: "µs" }, Metric { name: "files per second", unit: "1/s" }];
const LARGE: [Metric; 2] =
    [Metric { name: "CPU per MB", unit: "µs" }, Metric { name: "speed", unit: "MB/s" }];
const BESIDE: [Metric; 3] = [
    Metric { name: "round trip: median", unit: "ms" },
    Metric { name: "round trip: worst", unit: "ms" },
    Metric { name: "speed", unit: "MB/s" },
];

fn main() -> ExitCode {
    load::main("pages", run)
}

fn run(bench: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let nginx = Nginx::find();
    let yardstick = match &nginx {
        Some(nginx) => format!("nginx is {}.", nginx.version),
        None => "nginx is not installed: only moss is measured.".into(),
    };
    let contest = options.files(nginx.as_ref());
    let site = Rc::new(Site::create()?);
    let names = ["10-kB", "10-kB-nginx-sendfile", "10-kB-tls"];
    let title = format!("A file of 10 kB, {CONNECTIONS} connections. {yardstick}");
    let small = scenarios(names, &SMALL, &site, |site| &site.small, 1.0);
    contest.run(bench, &title, &["CPU µs/file", "files/s"], small)?;
    let names = ["8-MB", "8-MB-nginx-sendfile", "8-MB-tls"];
    let title = format!("A file of 8 MB, {CONNECTIONS} connections. {yardstick}");
    let megabytes = site.large.bytes.len() as f64 / MEGA;
    let large = scenarios(names, &LARGE, &site, |site| &site.large, megabytes);
    contest.run(bench, &title, &["CPU µs/MB", "MB/s"], large)?;
    packets(bench, &options.alone(), &site)
}

/// Fetches `file` in each way. It has so many `units`: CPU time and speed are per unit.
fn scenarios(
    names: [&'static str; 3],
    metrics: &[Metric],
    site: &Rc<Site>,
    file: fn(&Site) -> &File,
    units: f64,
) -> Vec<Scenario> {
    let servings = [Serving::Plain, Serving::Sendfile, Serving::Tls];
    let scenario = |(name, serving)| {
        let site = site.clone();
        Scenario::new(name, metrics, move |program, options| {
            let (cpu, per_second) = fetch(program, &site, serving, file(&site), options)?;
            Ok(vec![cpu / units, per_second * units])
        })
    };
    names.into_iter().zip(servings).map(scenario).collect()
}

/// How long one client's packets take to the master and back, while files are fetched as
/// fast as moss and the load generator can.
fn packets(bench: &str, moss: &Contest<'_>, site: &Site) -> Result<(), Box<dyn Error>> {
    let options = moss.options;
    let many = options.crowd(MANY);
    let rows = vec![
        ("round-trip-beside-one-download", Serving::Plain, 1),
        ("round-trip-beside-downloads", Serving::Plain, many),
        ("round-trip-beside-downloads-tls", Serving::Tls, many),
    ];
    let rows = options.select(rows, |(name, ..)| name);
    let Some(longest) = rows.iter().map(|(name, ..)| name.len()).max() else { return Ok(()) };
    if moss.programs.is_empty() {
        return Ok(());
    }
    let title = format!(
        "Packets from a client to the master and back, while one connection or {many} fetch 8 MB."
    );
    let table =
        Table::new(&title, longest, &["pages", "median ms", "worst ms of all", "MB/s fetched"]);
    for (name, serving, connections) in rows {
        let (rounds, _) = moss
            .in_turn(|program| round_trips(program, site, serving, connections, options))
            .map_err(|error| format!("{name}: {error}"))?;
        let column = |place: usize| rounds.iter().map(|round| round[place]).collect::<Vec<_>>();
        for (place, metric) in BESIDE.into_iter().enumerate() {
            let subject = Subject { scenario: name, clients: Some(1), busy: Some(1), metric };
            if let Some(spread) = Spread::of(&column(place)) {
                options.figures.add(bench, &subject, "moss", spread);
            }
        }
        let worst = column(1).into_iter().reduce(f64::max);
        table.row(&[
            name.to_owned(),
            figure(median(&column(0))),
            figure(worst),
            figure(median(&column(2))),
        ]);
    }
    Ok(())
}

/// The median and the worst round trip in milliseconds, and the megabytes fetched per second.
fn round_trips(
    program: &Program,
    site: &Site,
    serving: Serving,
    connections: usize,
    options: &Options,
) -> io::Result<[f64; 3]> {
    let server = Server::start_site(program, site, serving)?;
    let mut crowd = Crowd::new(&server)?;
    crowd.join(1)?;
    let load = Load { flow: Flow::RoundTrip, clients: 1, active: 1, in_flight: 1, bytes: 200 };
    let mut driver = Driver::new(crowd, load)?;
    let (address, client) = (server.address(), server.client()?);
    let over = AtomicBool::new(false);
    let (tally, fetched) = thread::scope(|scope| {
        // In another thread, so that the load generator's packets do not wait for it.
        let fetching = scope.spawn(|| {
            let File { path, bytes } = &site.large;
            let downloads = Downloads::new(address, client, connections, path, bytes)?;
            downloads.run_while(|| !over.load(Ordering::Relaxed))
        });
        // Warms up: most handshakes are done afterwards, and buffers have reached their size.
        let warm_up = driver.run(options.duration / 5);
        let tally = warm_up.and_then(|_| driver.run(options.duration));
        over.store(true, Ordering::Relaxed);
        (tally, fetching.join().expect("it returns its errors"))
    });
    let (tally, fetched) = (tally?, fetched?);
    Ok([
        tally.latency_microseconds(0.5) / 1e3,
        tally.latency_microseconds(1.0) / 1e3,
        fetched.bytes as f64 / MEGA / fetched.elapsed.as_secs_f64(),
    ])
}

/// Microseconds of the server's CPU time for each `file` fetched, and files per second.
fn fetch(
    program: &Program,
    site: &Site,
    serving: Serving,
    file: &File,
    options: &Options,
) -> io::Result<(f64, f64)> {
    let server = Server::start_site(program, site, serving)?;
    let mut downloads =
        Downloads::new(server.address(), server.client()?, CONNECTIONS, file.path, &file.bytes)?;
    // Warms up: buffers and caches reach their size.
    downloads.run(options.duration / 5)?;
    let before = server.cpu_time()?;
    let fetched = downloads.run(options.duration)?;
    let cpu = server.cpu_time()? - before;
    let files = fetched.files as f64;
    Ok((microseconds(cpu) / files, files / fetched.elapsed.as_secs_f64()))
}
