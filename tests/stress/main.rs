//! What moss promises under stress, against the real program: memory, CPU time, and what
//! depends on the kernel. The simulation tests the rest, as it is faster. `stress_over_tls`
//! runs the same tests through TLS.
//!
//! A bound on memory is a constant beside its test, and is compared with the kernel's
//! high-water mark of the process. A bound on fairness is a number of packets, never a time.
//! `MOSS_KEEPALIVE_SECONDS` makes moss's deadlines short.

#[path = "../support/mod.rs"]
mod support;

mod back_pressure;
mod conformance;
mod control_group;
mod crowd;
mod cut_off;
mod deadlines;
mod departures;
mod fairness;
mod flood;
mod full_server;
mod journal;
mod memory;
mod rounds;
mod secrets;
mod slow_clients;
mod sockets;
mod takeover;
mod victims;
