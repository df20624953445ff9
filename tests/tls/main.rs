//! TLS, against the real program: what it adds to connections, on the wire and in time.
//! What holds with and without it is in `peers_over_tls` and `stress_over_tls`.
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
