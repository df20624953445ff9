//! TLS, against the real program: handshakes, alerts, certificates, ports, endings.
//! `peers_over_tls`, `stress_over_tls` and `pages_over_tls` have the tests that are the same
//! without TLS.
//!
//! The script beside this file has made the certificates beside it.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod certificates;
mod crowds;
mod endings;
mod handshakes;
mod ports;
mod settings;
mod wire;
