//! Parses, routes and encodes packets without sockets; for comparison, also parses each into a
//! tree and serializes it, as a simpler server would.

#[path = "load/figures.rs"]
mod figures;
#[path = "load/machine.rs"]
mod machine;
#[path = "load/packets.rs"]
#[allow(dead_code, reason = "the benches with sockets use the rest")]
mod packets;
#[path = "load/report.rs"]
#[allow(dead_code, reason = "criterion prints the figures")]
mod report;

use std::env;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, SystemTime};

use criterion::{BenchmarkId, Criterion, Throughput};
use moss::protocol::packet::Packet;
use moss::protocol::relay::{Delivery, Relay};
use moss::settings::config::Config;
use serde::Deserialize;
use serde_json::Value;

use figures::{Figures, Metric, Spread, Subject};

const MASTER: u64 = 7 << 20;
const CLIENT: u64 = 8 << 20 | 1;
const SIZES: [usize; 3] = [200, 2_000, 20_000];
const GROUP: &str = "packet";
const PARSE: &str = "parse";
const TO_MASTER: &str = "to the master";
const TO_CLIENT: &str = "to a client";
const BY_A_TREE: &str = "to the master by a tree";

fn main() -> Result<(), Box<dyn Error>> {
    let (figures, started) = (Figures::new(), SystemTime::now());
    let folder = Figures::folder().with_file_name("criterion");
    let mut criterion = Criterion::default().output_directory(&folder).configure_from_args();
    // criterion knows this option, too, and then measures less.
    let quick = env::var_os("MOSS_BENCH").is_some_and(|mode| mode == "quick")
        || env::args().any(|argument| argument == "--quick");
    if quick {
        criterion = criterion
            .sample_size(10)
            .warm_up_time(Duration::from_millis(50))
            .measurement_time(Duration::from_millis(200));
    }
    packet(&mut criterion);
    criterion.final_summary();
    for name in [PARSE, TO_MASTER, TO_CLIENT, BY_A_TREE] {
        for size in SIZES {
            let sample = folder.join(GROUP).join(name).join(size.to_string());
            if let Some(spread) = spread(&sample.join("new/sample.json"), started)? {
                keep(&figures, &format!("{name} {size}"), spread);
            }
        }
    }
    let caveat = quick.then(|| ("caveat", "Quick: these figures mean nothing.".to_owned()));
    Ok(figures.write(GROUP, caveat.as_slice())?)
}

/// The result that criterion has written to a file since `since`: nanoseconds per iteration.
fn spread(file: &Path, since: SystemTime) -> Result<Option<Spread>, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Sample {
        iters: Vec<f64>,
        times: Vec<f64>,
    }
    // The file is missing or of an earlier run: this run did not measure it.
    if !fs::metadata(file).and_then(|it| it.modified()).is_ok_and(|written| written >= since) {
        return Ok(None);
    }
    let Sample { iters, times } = serde_json::from_slice(&fs::read(file)?)?;
    let each = times.iter().zip(&iters).map(|(time, times)| time / times);
    Ok(Spread::of(&each.collect::<Vec<_>>()))
}

fn keep(figures: &Figures, scenario: &str, spread: Spread) {
    let metric = Metric { name: "time per packet", unit: "ns" };
    let subject = Subject { scenario, clients: None, busy: None, metric };
    figures.add(GROUP, &subject, "moss", spread);
}

fn packet(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(GROUP);
    for size in SIZES {
        let text = packets::candidate(0, size);
        let from_client = String::from_utf8(text.clone()).expect("ASCII");
        let id = CLIENT.to_string();
        let from_master = String::from_utf8(packets::with_id(&text, id.as_bytes())).expect("ASCII");
        let mut relay = relay_with_a_client();
        let mut queue = Vec::with_capacity(2 * size);
        group.throughput(Throughput::Bytes(size as u64));

        group.bench_function(BenchmarkId::new(PARSE, size), |bencher| {
            bencher.iter(|| Packet::parse(black_box(&from_client)).expect("a packet").kind.len());
        });
        assert_eq!(passed_on(&mut relay, CLIENT, &from_client, &mut queue), 1);
        assert_eq!(queue, from_master.as_bytes());
        group.bench_function(BenchmarkId::new(TO_MASTER, size), |bencher| {
            bencher.iter(|| passed_on(&mut relay, CLIENT, black_box(&from_client), &mut queue));
        });
        assert_eq!(passed_on(&mut relay, MASTER, &from_master, &mut queue), 1);
        assert_eq!(queue, from_client.as_bytes());
        group.bench_function(BenchmarkId::new(TO_CLIENT, size), |bencher| {
            bencher.iter(|| passed_on(&mut relay, MASTER, black_box(&from_master), &mut queue));
        });
        group.bench_function(BenchmarkId::new(BY_A_TREE, size), |bencher| {
            bencher.iter(|| passed_on_by_a_tree(black_box(&from_client), &id).len());
        });
    }
    group.finish();
}

fn relay_with_a_client() -> Relay {
    let mut relay = Relay::new(&Config::new(packets::SECRET, packets::OFFER_TYPE));
    let claim = String::from_utf8(packets::set_master(b"{}")).expect("ASCII");
    let login = String::from_utf8(packets::LOGIN.to_vec()).expect("ASCII");
    relay.handle(MASTER, &claim, &mut |_| {});
    relay.handle(CLIENT, &login, &mut |_| {});
    relay
}

/// Writes the packets that this one causes to `queue`, as the server does; returns how many.
fn passed_on(relay: &mut Relay, sender: u64, text: &str, queue: &mut Vec<u8>) -> usize {
    queue.clear();
    let mut packets = 0;
    relay.handle(sender, text, &mut |delivery| {
        if let Delivery::Packet { packet, .. } = delivery {
            packet.write(queue);
            packets += 1;
        }
    });
    packets
}

fn passed_on_by_a_tree(text: &str, id: &str) -> String {
    let mut packet: Value = serde_json::from_str(text).expect("JSON");
    packet["id"] = Value::from(id);
    packet.to_string()
}
