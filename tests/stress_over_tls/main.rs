//! What moss promises under stress, through TLS: the tests of `stress` once more. `support`
//! connects through TLS because of this program's name.
//!
//! Left out are `conformance`, which has no sockets, `journal`, which is about the log, and
//! `control_group`, which takes long.

#[path = "../support/mod.rs"]
mod support;

#[path = "../stress/back_pressure.rs"]
mod back_pressure;
#[path = "../stress/crowd.rs"]
mod crowd;
#[path = "../stress/cut_off.rs"]
mod cut_off;
#[path = "../stress/deadlines.rs"]
mod deadlines;
#[path = "../stress/departures.rs"]
mod departures;
#[path = "../stress/fairness.rs"]
mod fairness;
#[path = "../stress/flood.rs"]
mod flood;
#[path = "../stress/full_server.rs"]
mod full_server;
#[path = "../stress/memory.rs"]
mod memory;
#[path = "../stress/rounds.rs"]
mod rounds;
#[path = "../stress/secrets.rs"]
mod secrets;
#[path = "../stress/slow_clients.rs"]
mod slow_clients;
#[path = "../stress/sockets.rs"]
mod sockets;
#[path = "../stress/takeover.rs"]
mod takeover;
#[path = "../stress/victims.rs"]
mod victims;
