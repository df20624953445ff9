//! The pages of `MOSS_PAGES_DIRECTORY`, against the real program: which files are served, how
//! requests are answered, how long connections stay open, and what readers cost others.
//!
//! Bodies are compared byte for byte. `pages_over_tls` runs the same tests through TLS.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "a part of it is used")]
#[path = "../stress/sockets.rs"]
mod sockets;

mod bad_input;
mod connections;
mod folder;
mod freshness;
mod journal;
mod outside;
mod paths;
mod pipelining;
mod places;
mod proxies;
mod ranges;
mod readers;
mod reload;
mod setting;
mod site;
mod types;
mod upgrades;
mod visitor;
mod without;
