//! moss, the Many-to-One Signaling Server: WebSocket signaling for WebRTC
//! applications in which many clients talk to one *master*.
//!
//! The program is in `main.rs` and `commands`, and the protocol is described in docs/protocol.md.
//! This page shows the house, for those who come to read or to change it.
//!
//! One thread, one poll loop, no async runtime. Bytes flow one way, through parts that
//! each know one thing:
//!
//! ```text
//!            what TCP is     what WebSocket is    what JSON is    who gets it
//!
//!  bytes ──▶ socket ─▶ tls ─▶    session     ──▶    packet   ──▶   relay
//!                                                                    │ deliveries
//!  bytes ◀── socket ◀─ tls ◀─    backlog     ◀──    packet   ◀───────┘
//!
//!           └────────────── peers ──────────────┘
//!           └───────────────────────── server ─────────────────────────────┘
//!  ═══════════════════════════════ world ═══════════════════════════════════
//!      bytes, new connections, what is ready, signals, the time: asked of
//!     system (mio)  in the program  │  a simulated network  in a test
//! ```
//!
//! Each folder is a room, and knows only those above it:
//!
//! | room | module | owns |
//! |---|---|---|
//! | `tls` | [`Tls`](tls::Tls) | one TLS connection as a value: bytes in and out. Without the feature `tls`, nothing |
//! | | [`Credentials`](tls::Credentials) | a certificate with its key, from their files |
//! | `settings` | [`config`](settings::config) | every setting, as a value |
//! | | [`environment`](settings::environment) | environment and `.env` → settings, once |
//! | | [`room`](settings::room) | how much memory moss may take, and who of it |
//! | | [`summary`](settings::summary) | settings → variables, for `moss check` |
//! | | `variables` | what is found there, as text, numbers, secrets and addresses |
//! | | `dotenv` | the text of a `.env` file |
//! | | [`secrets`](settings::secrets) | a secret in a file |
//! | | `hosts` | names for the address to listen on |
//! | | [`networks`](settings::networks) | addresses and networks of them, as a setting names them |
//! | `protocol` | [`packet`](protocol::packet) | the JSON envelope: parse, encode, error codes |
//! | | `envelope` | a quick look for an ordinary packet's parts; speed alone |
//! | | [`relay`](protocol::relay) | who is master, who is logged in, the offer; *(sender, packet) → deliveries* |
//! | | [`delivery`](protocol::delivery) | what it decides |
//! | | [`tally`](protocol::tally) | what it has done, in numbers |
//! | `http` | [`head`](http::head) | request head → upgrade or answer |
//! | | `request` | what the lines of a request head say |
//! | | [`forwarded`](http::forwarded) | for whom a trusted proxy passes a request on |
//! | | `origin` | which web pages may connect |
//! | | [`pages`](http::pages) | the files that are served, by path |
//! | | [`page`](http::page) | one of them, and the answer to a request for it |
//! | | `range` | which part of it is asked for |
//! | | [`folder`](http::folder) | a folder → pages, in steps |
//! | | [`redirect`](http::redirect) | plain HTTP on the TLS port → the way to `https://` |
//! | | [`answer`](http::answer) | the answers, as bytes |
//! | | [`exposition`](http::exposition) | figures as Prometheus's text |
//! | `connection` | [`ending`](connection::ending) | why connections end, in one word each |
//! | | [`session`](connection::session) | one connection's life: bytes in, packets out, and back; deadlines |
//! | | `input` | received bytes while they are parsed |
//! | | `frames` | the short way for plain frames, and tungstenite's for all others |
//! | | [`backlog`](connection::backlog) | what one connection has not sent yet |
//! | `operate` | [`cgroup`](operate::cgroup) | how much memory moss may take |
//! | | [`journal`](operate::journal) | the log |
//! | | `utc` | the time of a line, as text |
//! | | [`notify`](operate::notify) | what the service manager is told |
//! | | [`probe`](operate::probe) | the question of `moss health` |
//! | | [`process`](operate::process) | what the kernel tells of moss's own process |
//! | `server` | [`world`](server::world) | the seam: what the server asks of the world around it, as a trait |
//! | | [`system`](server::system) | the world that moss runs in: poll, sockets, signals, clock |
//! | | [`start`](server::start) | how a server comes to be, and why it may not |
//! | | [`server`] | the loop: the list of a turn's jobs, and stopping |
//! | | `entrance` | who may come in: accepting, upgrading, and what a full house does |
//! | | `serving` | who is read in a turn, and how their packets go through the relay to others |
//! | | [`certificate`](server::certificate) | the certificate in use: when it is read again, and when it expires |
//! | | [`site`](server::site) | the pages in use, and when they are read again |
//! | | `heartbeat` | when the watchdog is to hear of the loop |
//! | | `secrets` | the secrets in use, when they are read again |
//! | | `counters` | what has become of connections, in numbers, and how long turns took |
//! | | `reports` | what `/health` and `/metrics` tell |
//! | | `signals` | what they ask for: to stop, or to read files again |
//! | | `addresses` | how many connections each address has |
//! | | `candidates` | the places that a full house keeps for the next master |
//! | | `line` | in which order connections give way |
//! | | `listener` | when to accept, and the rest when there is no room |
//! | | [`socket`](server::socket) | one non-blocking stream and its readiness |
//! | | [`table`](server::table) | the slab, its ids and tokens |
//! | | `peer` | one session with its socket, perhaps TLS between them, and the way of bytes |
//! | | `peers` | all of them, behind one door; how they are served, and sent to |
//! | | `schedule` | who is served next, and how much: turns, rounds, shares |
//! | | `memory` | what all hold, and who has to go when it is too much |
//! | | `pressure` | when clients wait for a master that does not keep up |
//!
//! `protocol` and `connection` do not know each other, and `operate` knows none of the rooms.
//! Only [`server::system`] names mio, and only [`tls`] names rustls.
//!
//! To see how a packet is treated, start at [`protocol::relay::Relay::handle`]; how a
//! connection is, at [`connection::session::Session`]; in which order things happen, at
//! [`server::Server::turn`].

pub mod connection;
pub mod http;
pub mod operate;
pub mod protocol;
pub mod server;
pub mod settings;
pub mod tls;
