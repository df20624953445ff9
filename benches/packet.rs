//! Parse, route and encode without sockets; and, beside it, what a server does
//! that makes a tree of each packet and writes the tree out again.

#[path = "load/packets.rs"]
#[allow(dead_code, reason = "the benches with sockets use the rest")]
mod packets;

use std::env;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use moss::protocol::packet::Packet;
use moss::protocol::relay::{Delivery, Relay};
use moss::settings::config::Config;
use serde_json::Value;

const MASTER: u64 = 7 << 20;
const CLIENT: u64 = 8 << 20 | 1;
const SIZES: [usize; 3] = [200, 2_000, 20_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    if env::var_os("MOSS_BENCH").is_some_and(|mode| mode == "quick") {
        criterion = criterion
            .sample_size(10)
            .warm_up_time(Duration::from_millis(50))
            .measurement_time(Duration::from_millis(200));
    }
    packet(&mut criterion);
    criterion.final_summary();
}

fn packet(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet");
    for size in SIZES {
        let text = packets::candidate(0, size);
        let from_client = String::from_utf8(text.clone()).expect("ASCII");
        let id = CLIENT.to_string();
        let from_master = String::from_utf8(packets::with_id(&text, id.as_bytes())).expect("ASCII");
        let mut relay = relay_with_a_client();
        let mut queue = Vec::with_capacity(2 * size);
        group.throughput(Throughput::Bytes(size as u64));

        group.bench_function(BenchmarkId::new("parse", size), |bencher| {
            bencher.iter(|| Packet::parse(black_box(&from_client)).expect("a packet").kind.len());
        });
        assert_eq!(passed_on(&mut relay, CLIENT, &from_client, &mut queue), 1);
        assert_eq!(queue, from_master.as_bytes());
        group.bench_function(BenchmarkId::new("to the master", size), |bencher| {
            bencher.iter(|| passed_on(&mut relay, CLIENT, black_box(&from_client), &mut queue));
        });
        assert_eq!(passed_on(&mut relay, MASTER, &from_master, &mut queue), 1);
        assert_eq!(queue, from_client.as_bytes());
        group.bench_function(BenchmarkId::new("to a client", size), |bencher| {
            bencher.iter(|| passed_on(&mut relay, MASTER, black_box(&from_master), &mut queue));
        });
        group.bench_function(BenchmarkId::new("to the master by a tree", size), |bencher| {
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

/// Writes what the packet causes to `queue`, as the server does; returns how
/// many packets that is.
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
