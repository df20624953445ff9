//! What moss promises under stress, against the real program: figures, and what the
//! kernel has a part in. What the simulation says as well is left to it, as it is quicker.
//! `stress_over_tls` runs the same tests through TLS.
//!
//! A bound on memory is a constant beside its test, and what is held against it is the
//! kernel's own high-water mark of the process. A bound on fairness is a number of
//! packets, never a time. Waits for moss's own deadlines are made short by
//! `MOSS_KEEPALIVE_SECONDS`.

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
mod full_house;
mod journal;
mod memory;
mod process;
mod rounds;
mod secrets;
mod slow_clients;
mod sockets;
mod takeover;
mod victims;
