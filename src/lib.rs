//! The inside of moss, the Many-to-One Signaling Server: WebSocket signaling for WebRTC
//! applications in which many clients talk to one *master*.
//!
//! The program is in `main.rs` and `commands`; the protocol is described in docs/protocol.md.
//! ARCHITECTURE.md has the picture, the way of a packet, and the rules between these folders.
//! This page says where to look for what.
//!
//! This library is not an API: it has no stable interface, and exists so that tests, fuzzers
//! and benches can reach the parts. It changes with every release.
//!
//! Each folder uses only those above it in the table, `protocol` and `connection` do not use
//! each other, and `operate` uses none.
//!
//! | folder | module | what it does |
//! |---|---|---|
//! | [`tls`] | `connection` | one TLS connection ([`Tls`](tls::Tls)): bytes in and out, no socket |
//! | | `credentials` | a certificate and its key, from their files ([`Credentials`](tls::Credentials)) |
//! | | `without` | what is left of these types in a build without TLS |
//! | [`settings`] | [`config`](settings::config) | every setting, as a value |
//! | | [`environment`](settings::environment) | environment and `.env` → settings, once |
//! | | `variables` | the variables as text, numbers, secrets and addresses |
//! | | `dotenv` | the text of a `.env` file |
//! | | `hosts` | host names for the address to listen on |
//! | | [`networks`](settings::networks) | lists of addresses and networks |
//! | | [`room`](settings::room) | how much memory moss may use, and the limits that follow |
//! | | [`secrets`](settings::secrets) | reads a secret from a file |
//! | | [`summary`](settings::summary) | settings → variables, for `moss check` |
//! | [`protocol`] | [`packet`](protocol::packet) | the JSON envelope: parse, encode, error codes |
//! | | `envelope` | a fast reader of ordinary packets |
//! | | [`relay`](protocol::relay) | who is master, who is logged in, the offer; *(sender, packet) → deliveries* |
//! | | [`delivery`](protocol::delivery) | what the relay decides: packets to send, roles, closes |
//! | | [`tally`](protocol::tally) | counters of the relay |
//! | [`http`] | [`head`](http::head) | request head → upgrade or answer |
//! | | `request` | the header lines of a request |
//! | | [`forwarded`](http::forwarded) | `X-Forwarded-For` of a trusted proxy |
//! | | `origin` | which web pages may connect |
//! | | [`pages`](http::pages) | the files that are served, by path |
//! | | [`page`](http::page) | one file, and the answer to a request for it |
//! | | `range` | range and conditional requests |
//! | | [`folder`](http::folder) | reads a folder into pages, in steps |
//! | | [`redirect`](http::redirect) | plain HTTP on the TLS port → redirect to `https://` |
//! | | [`answer`](http::answer) | the answers, as bytes |
//! | | [`exposition`](http::exposition) | the text format of Prometheus |
//! | [`connection`] | [`session`](connection::session) | one connection without its socket: bytes in, events out; deadlines |
//! | | `input` | received bytes while they are parsed |
//! | | `frames` | WebSocket frames: a fast path for whole messages, tungstenite for all others |
//! | | [`backlog`](connection::backlog) | bytes that one connection has not sent yet |
//! | | [`ending`](connection::ending) | the reasons why connections end |
//! | [`operate`] | [`journal`](operate::journal) | the log |
//! | | `utc` | the time of a log line |
//! | | [`notify`](operate::notify) | messages to systemd |
//! | | [`probe`](operate::probe) | `moss health` |
//! | | [`process`](operate::process) | CPU time, memory and descriptors of the process |
//! | | [`cgroup`](operate::cgroup) | the memory limit of the control group |
//! | [`server`] | [`server`] itself | the loop: the list of a turn's jobs |
//! | | [`world`](server::world) | the trait for all that the server asks of the system |
//! | | [`system`](server::system) | its implementation on mio and the kernel |
//! | | [`start`](server::start) | starts a server, or says why it can't |
//! | | `signals` | stopping and reloading |
//! | | `admission` | accepts, upgrades, and refuses when the server is full |
//! | | `serving` | reads peers and passes their packets to the relay |
//! | | `schedule` | who is served next, and how much: turns, rounds, shares |
//! | | `pressure` | when clients wait for a slow master |
//! | | `peers` | all connections; the only way to change one |
//! | | `peer` | one connection: socket, TLS and session |
//! | | [`socket`](server::socket) | one non-blocking stream and its readiness |
//! | | `listener` | when to accept, and when to pause |
//! | | [`table`](server::table) | the slab of peers, ids and tokens |
//! | | `memory` | the memory of all peers, and whom to drop when it is too much |
//! | | `addresses` | connections per address |
//! | | `candidates` | the extra places for the next master |
//! | | `queue` | a queue of connections in the order in which they would be closed |
//! | | [`certificate`](server::certificate) | the certificate in use, and when it is read again |
//! | | [`site`](server::site) | the pages in use, and when they are read again |
//! | | `secrets` | reads the secrets again |
//! | | `heartbeat` | when to tell systemd's watchdog |
//! | | `counters` | counters of connections and turns |
//! | | `reports` | the answers to `/health` and `/metrics` |
//!
//! Good places to start reading: [`server::Server::turn`] for the order of events,
//! [`connection::session::Session`] for the life of a connection,
//! [`protocol::relay::Relay::handle`] for what a packet causes.

/// An array of all values of the enum in whose `impl` it stands, without their `Self::`. If one
/// is missing, it does not compile: the compiler knows only by a `match` that a list is complete.
macro_rules! all {
    ($($name:ident $(($inner:path))?),+ $(,)?) => {{
        let _ = |value| match value {
            $(Self::$name $(($inner))? => {})+
        };
        [$(Self::$name $(($inner))?),+]
    }};
}

pub mod connection;
pub mod http;
pub mod operate;
pub mod protocol;
pub mod server;
pub mod settings;
pub mod tls;
