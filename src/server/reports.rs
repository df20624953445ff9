//! The answers to `/health`, one line of JSON, and to `/metrics`, in Prometheus's text format.
//!
//! All figures are kept or counted elsewhere; nothing goes through all connections here.
//! Figures of the kernel are read at most once a second, however many requests come.

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::Server;
use crate::connection::ending::Ending;
use crate::http::answer::{self, After, Health};
use crate::http::exposition::{Exposition, Kind, Value};
use crate::operate::journal;
use crate::operate::process::Process;
use crate::protocol::packet::ErrorCode;
use crate::server::certificate::Certificate;
use crate::server::counters::TURN_BOUNDS;
use crate::server::world::World;
use crate::tls;

/// How long figures of the kernel are used before they are read again.
const FRESH: Duration = Duration::from_secs(1);

/// The figures of the kernel, and when they were read.
#[derive(Debug, Default)]
pub(super) struct Kernel(Option<(Instant, Process)>);

impl<W: World> Server<W> {
    /// Answers `/health`.
    #[cold]
    pub(super) fn answer_health(&mut self, id: u64, is_head: bool, after: After) {
        let health = Health {
            uptime_seconds: (self.peers.now - self.started).as_secs(),
            connections: self.peers.open(),
            clients: self.relay.clients().len(),
            master: self.relay.master().is_some(),
        };
        self.reply(id, answer::health(&health, is_head, after));
    }

    /// Answers `/metrics`.
    #[cold]
    pub(super) fn answer_metrics(&mut self, id: u64, is_head: bool, after: After) {
        let mut text = Exposition::default();
        self.write_connections(&mut text);
        self.write_packets(&mut text);
        self.write_memory(&mut text);
        self.write_turns(&mut text);
        if let Some(certificate) = &self.certificate {
            self.write_tls(certificate, &mut text);
        }
        self.write_process(&mut text);
        self.reply(id, answer::metrics(text.into_text(), is_head, after));
    }

    fn write_connections(&self, text: &mut Exposition) {
        let counters = self.peers.counters();
        let closed: u64 = counters.closed.iter().sum();
        let open = self.peers.open() as u64;
        let clients = self.relay.clients().len() as u64;
        let master = u64::from(self.relay.master().is_some());

        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("tls", if tls::AVAILABLE { "yes" } else { "no" }),
        ];
        text.family(
            "moss_build_info",
            Kind::Gauge,
            "Always 1; the version, and whether it was built with TLS.",
        )
        .sample("", &labels, Value::Number(1));

        let roles = [
            ("http", counters.accepted - closed - open),
            ("guest", open - clients - master),
            ("client", clients),
            ("master", master),
        ];
        text.by_label(
            "moss_connections",
            Kind::Gauge,
            "Open connections by role; http: not, or not yet, a WebSocket.",
            "role",
            &mut roles.into_iter(),
        );
        text.number(
            "moss_connections_limit",
            Kind::Gauge,
            "MOSS_MAX_CONNECTIONS: the limit of open WebSockets.",
            self.config.limits.max_connections as u64,
        );
        text.number(
            "moss_connections_accepted_total",
            Kind::Counter,
            "Connections that were accepted.",
            counters.accepted,
        );
        let by_reason = Ending::ALL.into_iter().zip(counters.closed);
        text.by_label(
            "moss_connections_closed_total",
            Kind::Counter,
            "Connections that were closed, by the reason in the log.",
            "reason",
            &mut by_reason.clone().map(|(ending, count)| (ending.word(), count)),
        );
        let rejections = by_reason.filter(|(ending, _)| ending.is_rejection());
        text.by_label(
            "moss_connections_rejected_total",
            Kind::Counter,
            "Closed connections that moss rejected, by reason.",
            "reason",
            &mut rejections.map(|(ending, count)| (ending.word(), count)),
        );
    }

    fn write_packets(&self, text: &mut Exposition) {
        let tally = self.relay.tally();
        let directions = [("to_master", tally.to_master), ("to_client", tally.to_client)];
        text.by_label(
            "moss_packets_relayed_total",
            Kind::Counter,
            "Packets of peers that were passed on, without moss's own packets.",
            "direction",
            &mut directions.into_iter().map(|(direction, traffic)| (direction, traffic.packets)),
        );
        text.by_label(
            "moss_relayed_bytes_total",
            Kind::Counter,
            "Bytes of these packets as sent, without WebSocket frame headers.",
            "direction",
            &mut directions.into_iter().map(|(direction, traffic)| (direction, traffic.bytes)),
        );
        text.by_label(
            "moss_errors_sent_total",
            Kind::Counter,
            "Errors that were sent to peers, by code.",
            "code",
            &mut ErrorCode::ALL.into_iter().map(ErrorCode::code).zip(tally.errors),
        );
        for (name, help, count) in [
            (
                "moss_wrong_secrets_total",
                "Wrong secrets, of masters and of clients.",
                tally.wrong_secrets,
            ),
            ("moss_logins_total", "Guests that became clients.", tally.logins),
            ("moss_master_changes_total", "Connections that became the master.", tally.masters),
        ] {
            text.number(name, Kind::Counter, help, count);
        }
    }

    fn write_memory(&self, text: &mut Exposition) {
        let limits = &self.config.limits;
        for (name, help, value) in [
            (
                "moss_unsent_bytes",
                "Bytes that are not sent yet, for all peers.",
                self.peers.unsent(),
            ),
            (
                "moss_unsent_bytes_limit",
                "MOSS_MAX_BACKLOG_BYTES: unsent bytes of one peer.",
                limits.max_backlog_bytes,
            ),
            (
                "moss_held_bytes",
                "Bytes held for all peers: unsent, and received in part.",
                self.peers.held(),
            ),
            (
                "moss_held_bytes_limit",
                "MOSS_MAX_MEMORY_BYTES: bytes held for all peers.",
                limits.max_memory_bytes,
            ),
            (
                "moss_paused_clients",
                "Clients that are not read, because the master does not keep up.",
                self.peers.paused(),
            ),
        ] {
            text.number(name, Kind::Gauge, help, value as u64);
        }
        text.seconds(
            "moss_back_pressure_seconds_total",
            Kind::Counter,
            "Time in which clients were not read, because the master did not keep up.",
            self.pressure.total(self.peers.now),
        );
    }

    fn write_turns(&self, text: &mut Exposition) {
        text.family(
            "moss_turn_seconds",
            Kind::Histogram,
            "Duration of turns of the loop, without the wait for events.",
        );
        let mut count = 0;
        let bounds = TURN_BOUNDS.map(|(_, text)| text).into_iter().chain(["+Inf"]);
        for (bound, more) in bounds.zip(self.turns.counts) {
            count += more;
            text.sample("_bucket", &[("le", bound)], Value::Number(count));
        }
        text.sample("_sum", &[], Value::Seconds(self.turns.sum));
        text.sample("_count", &[], Value::Number(count));
        text.number(
            "moss_log_lines_dropped_total",
            Kind::Counter,
            "Log lines that were dropped.",
            journal::dropped_lines(),
        );
    }

    fn write_tls(&self, certificate: &Certificate, text: &mut Exposition) {
        let expiry = certificate.expiry().duration_since(UNIX_EPOCH).unwrap_or_default();
        text.number(
            "moss_tls_certificate_expiry_timestamp_seconds",
            Kind::Gauge,
            "When the certificate in use expires.",
            expiry.as_secs(),
        );
        text.family(
            "moss_tls_handshakes_total",
            Kind::Counter,
            "TLS handshakes; resumed: with a ticket of an earlier session.",
        );
        let counters = self.peers.counters();
        let [full, resumed] = counters.handshakes;
        let failed = counters.failed_handshakes;
        for (result, how, count) in
            [("ok", "no", full), ("ok", "yes", resumed), ("failed", "no", failed)]
        {
            text.sample("", &[("result", result), ("resumed", how)], Value::Number(count));
        }
    }

    fn write_process(&mut self, text: &mut Exposition) {
        let now = self.peers.now;
        let process = match self.kernel.0 {
            Some((at, process)) if now.saturating_duration_since(at) < FRESH => process,
            _ => {
                let process = self.world.process();
                self.kernel.0 = Some((now, process));
                process
            }
        };
        for (name, kind, help, time) in [
            (
                "process_start_time_seconds",
                Kind::Gauge,
                "Start time of the process, since 1970.",
                process.start,
            ),
            ("process_cpu_seconds_total", Kind::Counter, "User and system CPU time.", process.cpu),
        ] {
            if let Some(time) = time {
                text.seconds(name, kind, help, time);
            }
        }
        for (name, help, number) in [
            ("process_resident_memory_bytes", "Resident memory.", process.resident_bytes),
            ("process_open_fds", "Open descriptors.", process.open_fds),
            ("process_max_fds", "The limit of open descriptors.", process.max_fds),
        ] {
            if let Some(number) = number {
                text.number(name, Kind::Gauge, help, number);
            }
        }
    }
}
