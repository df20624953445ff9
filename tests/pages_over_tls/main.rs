//! Pages through TLS: the tests of `pages` once more, and tests of the two ports. `support`
//! connects through TLS because of this program's name.
//!
//! Tests that only read the folder are left out.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "a part of it is used")]
#[path = "../stress/sockets.rs"]
mod sockets;

#[path = "../pages/bad_input.rs"]
mod bad_input;
#[path = "../pages/connections.rs"]
mod connections;
#[path = "../pages/freshness.rs"]
mod freshness;
#[path = "../pages/journal.rs"]
mod journal;
#[path = "../pages/outside.rs"]
mod outside;
#[path = "../pages/paths.rs"]
mod paths;
#[path = "../pages/pipelining.rs"]
mod pipelining;
#[path = "../pages/places.rs"]
mod places;
mod ports;
#[path = "../pages/proxies.rs"]
mod proxies;
#[path = "../pages/ranges.rs"]
mod ranges;
#[path = "../pages/readers.rs"]
mod readers;
#[path = "../pages/reload.rs"]
mod reload;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../pages/site.rs"]
mod site;
#[path = "../pages/upgrades.rs"]
mod upgrades;
#[path = "../pages/visitor.rs"]
mod visitor;
#[path = "../pages/without.rs"]
mod without;
