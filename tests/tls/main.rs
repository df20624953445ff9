//! TLS, against the real program: what it adds to connections, on the wire and in time.
//! `peers_over_tls` and `stress_over_tls` have the tests that are the same without TLS.
//!
//! The certificates beside this file were made by the script beside it.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod certificates;
mod crowds;
mod endings;
mod handshakes;
mod ports;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../stress/process.rs"]
mod process;
mod settings;
mod wire;
