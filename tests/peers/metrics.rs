//! `/metrics`: what is counted, and that the sums match.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::thread;
use std::time::Instant;

use crate::support::{Client, Moss, PATIENCE, TEXT, frame};

/// All values of one scrape, by name and labels.
struct Figures(BTreeMap<String, f64>);

impl Figures {
    #[track_caller]
    fn of(moss: &Moss) -> Self {
        let answer = ask(moss, "GET /metrics HTTP/1.1\r\nHost: box\r\n\r\n");
        let (head, text) = answer.split_once("\r\n\r\n").expect("an end of the head");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"),
            "{head}"
        );
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let figures = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        let figures = Self(figures.collect());
        let roles = figures.sum("moss_connections{");
        let closed = figures.sum("moss_connections_closed_total{");
        assert_eq!(figures.of_name("moss_connections_accepted_total"), roles + closed);
        for (name, rejected) in figures.family("moss_connections_rejected_total{") {
            let closed = name.replace("rejected", "closed");
            assert_eq!(figures.of_name(&closed), rejected, "{name}");
        }
        figures
    }

    #[track_caller]
    fn of_name(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn family<'f>(&'f self, start: &str) -> impl Iterator<Item = (&'f str, f64)> {
        let of_family = move |(name, _): &(&String, &f64)| name.starts_with(start);
        self.0.iter().filter(of_family).map(|(name, value)| (name.as_str(), *value))
    }

    fn sum(&self, start: &str) -> f64 {
        self.family(start).map(|(_, value)| value).sum()
    }

    fn closed(&self, reason: &str) -> f64 {
        self.of_name(&format!("moss_connections_closed_total{{reason=\"{reason}\"}}"))
    }

    fn role(&self, role: &str) -> f64 {
        self.of_name(&format!("moss_connections{{role=\"{role}\"}}"))
    }

    fn relayed(&self, what: &str, direction: &str) -> f64 {
        self.of_name(&format!("moss_{what}_total{{direction=\"{direction}\"}}"))
    }
}

#[track_caller]
fn ask(moss: &Moss, request: &str) -> String {
    let mut stream = moss.connect();
    stream.write_all(request.as_bytes()).expect("moss reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    answer
}

fn watched() -> Moss {
    Moss::with(&[("MOSS_METRICS", "on")])
}

/// Scrapes repeatedly until the condition holds.
#[track_caller]
fn wait_for(moss: &Moss, are_right: impl Fn(&Figures) -> bool) -> Figures {
    let end = Instant::now() + PATIENCE;
    loop {
        let figures = Figures::of(moss);
        if are_right(&figures) {
            return figures;
        }
        assert!(Instant::now() < end, "the condition never holds: {:?}", figures.0);
        thread::yield_now();
    }
}

#[test]
fn without_the_setting_metrics_are_not_found() {
    for moss in [Moss::start(), Moss::with(&[("MOSS_METRICS", "off")])] {
        for method in ["GET", "HEAD", "POST"] {
            let answer = ask(&moss, &format!("{method} /metrics HTTP/1.1\r\nHost: box\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        }
    }
}

#[test]
fn other_methods_are_refused_and_head_has_no_body() {
    let moss = watched();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(&moss, &format!("{method} /metrics HTTP/1.1\r\nHost: box\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    }
    let answer = ask(&moss, "HEAD /metrics?any HTTP/1.1\r\nHost: box\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn each_label_is_present_from_the_start() {
    let figures = Figures::of(&watched());
    for (family, labels) in [
        ("moss_connections", 4),
        ("moss_connections_closed_total", 30),
        ("moss_connections_rejected_total", 15),
        ("moss_packets_relayed_total", 2),
        ("moss_relayed_bytes_total", 2),
        ("moss_errors_sent_total", 9),
        ("moss_turn_seconds_bucket", 10),
    ] {
        assert_eq!(figures.family(&format!("{family}{{")).count(), labels, "{family}");
    }
    let counters = figures.0.iter().filter(|(name, _)| name.contains("_total"));
    let others = counters.filter(|(name, _)| {
        // The scraping connection, its handshake, and CPU time.
        ![
            "moss_connections_accepted_total",
            "moss_tls_handshakes_total",
            "process_cpu_seconds_total",
        ]
        .iter()
        .any(|other| name.starts_with(other))
    });
    others.for_each(|(name, &value)| assert_eq!(value, 0.0, "{name}"));
}

#[test]
fn roles_are_counted() {
    let moss = watched();
    let roles =
        |figures: &Figures| ["http", "guest", "client", "master"].map(|role| figures.role(role));
    // The scraping connection is a visitor.
    assert_eq!(roles(&Figures::of(&moss)), [1.0, 0.0, 0.0, 0.0]);
    let mut master = moss.master("1");
    let (client, _) = moss.client_of(&mut master);
    let _guest = moss.guest();
    let _visitor = moss.connect();
    let figures = wait_for(&moss, |figures| roles(figures) == [2.0, 1.0, 1.0, 1.0]);
    assert_eq!(figures.of_name("moss_logins_total"), 1.0);
    assert_eq!(figures.of_name("moss_master_changes_total"), 1.0);

    let mut second = moss.master("2");
    client.close();
    // The last scrape may still be a visitor, as a new request is answered first.
    let figures = wait_for(&moss, |figures| roles(figures) == [2.0, 2.0, 0.0, 1.0]);
    assert_eq!(figures.of_name("moss_master_changes_total"), 2.0);
    // Renewing an offer is no change of the master.
    second.set_master("3");
    assert_eq!(Figures::of(&moss).of_name("moss_master_changes_total"), 2.0);
}

#[test]
fn each_end_has_one_reason() {
    let moss = Moss::with(&[("MOSS_METRICS", "on"), ("MOSS_MAX_CONNECTIONS", "3")]);
    let _master = moss.master("1");
    for (first, payload, reason) in [
        (0xf1, &b"x"[..], "protocol_error"),
        (TEXT, &b"\xff"[..], "not_utf8"),
        (TEXT, &[b'x'; 262_145][..], "too_long"),
    ] {
        let mut guest = moss.guest();
        guest.sender().send_frame(first, payload);
        assert_eq!(wait_for(&moss, |figures| figures.closed(reason) > 0.0).closed(reason), 1.0);
    }
    moss.guest().close();
    wait_for(&moss, |figures| figures.closed("left") == 1.0);
    // Each scrape adds one. When a scrape is the only visitor, all earlier ones have ended.
    let scrapes = Cell::new(0.0);
    let is_alone = |figures: &Figures| {
        scrapes.set(scrapes.get() + 1.0);
        figures.role("http") == 1.0
    };
    let answered = wait_for(&moss, is_alone).closed("answered");
    scrapes.set(0.0);
    assert_eq!(wait_for(&moss, is_alone).closed("answered"), answered + scrapes.get());

    let _others = [moss.guest(), moss.guest()];
    assert!(Client::try_open(moss.connect()).is_err(), "the server is full");
    let figures = Figures::of(&moss);
    assert_eq!(figures.closed("full"), 1.0);
    assert_eq!(figures.of_name("moss_connections_rejected_total{reason=\"full\"}"), 1.0);
    assert_eq!(figures.of_name("moss_connections_limit"), 3.0);
}

#[test]
fn only_packets_between_peers_count_as_relayed() {
    let moss = watched();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let before = Figures::of(&moss);
    let (to_master, to_client) = (
        format!(r#"{{"type":"a","payload":[1, 2],"id":"{id}"}}"#),
        r#"{"type":"b","payload":"c"}"#,
    );
    client.send(r#"{"type":"a","payload":[1, 2]}"#);
    master.expect(&to_master);
    master.send(&format!(r#"{{"type":"b","payload":"c","id":"{id}"}}"#));
    client.expect(to_client);
    // Not passed on: moss's own answers, and packets that cause errors.
    client.send(r#"{"type":"ping"}"#);
    client.expect(r#"{"type":"pong","payload":""}"#);
    master.send(r#"{"type":"b","id":"1"}"#);
    master.expect_error("unknown-client");
    let after = Figures::of(&moss);
    for (direction, text) in [("to_master", to_master.as_str()), ("to_client", to_client)] {
        let grown = |what| after.relayed(what, direction) - before.relayed(what, direction);
        assert_eq!(grown("packets_relayed"), 1.0, "{direction}");
        assert_eq!(grown("relayed_bytes"), text.len() as f64, "{direction}");
    }
    assert_eq!(after.of_name("moss_errors_sent_total{code=\"unknown-client\"}"), 1.0);
    assert_eq!(after.sum("moss_errors_sent_total"), 1.0);
}

#[test]
fn each_wrong_secret_is_counted() {
    let moss = watched();
    let mut guest = moss.guest();
    for _ in 0..5 {
        guest.send(r#"{"type":"set-master","payload":{"secret":"a guess"}}"#);
        guest.expect_error("wrong-secret");
    }
    guest.expect_close(1008);
    let figures = Figures::of(&moss);
    assert_eq!(figures.of_name("moss_wrong_secrets_total"), 5.0);
    assert_eq!(figures.of_name("moss_errors_sent_total{code=\"wrong-secret\"}"), 5.0);
    assert_eq!(figures.closed("wrong_secrets"), 1.0);
}

#[test]
fn clients_that_wait_for_the_master_are_counted() {
    let moss = Moss::with(&[("MOSS_METRICS", "on"), ("MOSS_KICK_TYPE", "kick")]);
    let mut master = moss.master("1");
    let (mut other, _) = moss.client_of(&mut master);
    let (client, id) = moss.client_of(&mut master);
    let mut sender = client.second_sender();
    // The thread ends when moss closes the connection.
    let flood = thread::spawn(move || {
        let packet = format!(r#"{{"type":"a","payload":"{}"}}"#, "x".repeat(100_000));
        let frame = frame(TEXT, packet.as_bytes());
        while sender.try_send_raw(&frame).is_ok() {}
    });
    let paused =
        |count: f64| wait_for(&moss, |figures| figures.of_name("moss_paused_clients") == count);
    let figures = paused(1.0);
    let limit = figures.of_name("moss_unsent_bytes_limit");
    assert!(figures.of_name("moss_unsent_bytes") > limit / 2.0, "{:?}", figures.0);
    assert!(figures.of_name("moss_held_bytes") >= figures.of_name("moss_unsent_bytes"));
    let seconds = |figures: &Figures| figures.of_name("moss_back_pressure_seconds_total");
    wait_for(&moss, |figures| seconds(figures) > 0.0);

    // The client is kicked while it waits, and then another one waits.
    master.send(&format!(r#"{{"type":"kick","id":"{id}"}}"#));
    paused(0.0);
    other.send(r#"{"type":"a"}"#);
    paused(1.0);
    master.reset();
    let total = seconds(&paused(0.0));
    other.close();
    assert_eq!(seconds(&wait_for(&moss, |figures| figures.role("client") == 0.0)), total);
    drop(client);
    flood.join().expect("no panic");
}

#[test]
fn turns_are_counted_in_cumulative_buckets() {
    let moss = watched();
    let before = Figures::of(&moss).of_name("moss_turn_seconds_count");
    let figures = Figures::of(&moss);
    let count = figures.of_name("moss_turn_seconds_count");
    assert!(count > before, "{count}");
    assert_eq!(figures.of_name("moss_turn_seconds_bucket{le=\"+Inf\"}"), count);
    let mut last = 0.0;
    for bound in ["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "+Inf"] {
        let bucket = figures.of_name(&format!("moss_turn_seconds_bucket{{le=\"{bound}\"}}"));
        assert!(bucket >= last, "{bound}");
        last = bucket;
    }
    assert!(figures.of_name("moss_turn_seconds_sum") > 0.0);
}

#[test]
fn kernel_is_asked_once_a_second_at_most() {
    let moss = watched();
    let cpu = || Figures::of(&moss).of_name("process_cpu_seconds_total");
    // Each scrape takes CPU time, which the kernel measures in nanoseconds.
    assert!((0..50).any(|_| cpu() == cpu()));
}
