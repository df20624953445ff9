//! moss, the Many-to-One Signaling Server: WebSocket signaling for WebRTC
//! applications in which many clients talk to one *master*.
//!
//! The program is in `main.rs`, and the protocol is described in the README. This page
//! shows the house, for those who come to read or to change it.
//!
//! One thread, one poll loop, no async runtime. Bytes flow one way, through parts that
//! each know one thing:
//!
//! ```text
//!            what TCP is     what WebSocket is    what JSON is    who gets it
//!
//!  bytes ──▶   socket   ──▶      session     ──▶    packet   ──▶   relay
//!                                                                    │ deliveries
//!  bytes ◀──   socket   ◀──      backlog     ◀──    packet   ◀───────┘
//!
//!           └────────────── peers ──────────────┘
//!           └───────────────────────── server ─────────────────────────────┘
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | every setting, as a value |
//! | [`environment`] | where the settings come from: environment and `.env`, read once |
//! | `hosts` | names for the address to listen on |
//! | [`packet`] | the JSON envelope: parse, encode, reserved types, error codes |
//! | `envelope` | a quick look for an ordinary packet's parts; speed alone |
//! | [`relay`] | who is master, who is logged in, the offer; *(sender, packet) → deliveries* |
//! | [`sessions`] | the slab, its ids and tokens |
//! | [`http`] | request head → upgrade or answer |
//! | [`backlog`] | what one connection has not sent yet |
//! | `frames` | the short way for plain frames, and tungstenite's for all others |
//! | `input` | received bytes while they are parsed |
//! | [`session`] | one connection's life: bytes in, packets out, and back; deadlines |
//! | [`socket`] | one non-blocking TCP stream and its readiness |
//! | `peer` | one session with its socket |
//! | `peers` | all of them: queueing, flushing, limits on bytes |
//! | `pressure` | when clients wait for a master that does not keep up |
//! | `listener` | accepting, and resting when there is no room |
//! | [`server`] | the poll loop, signals, the clock |
//! | [`health`] | the question of `moss health` |
//!
//! Imports go one way: `config`, `packet` → `relay`; `config`, `http`, `backlog`,
//! `frames`, `input` → `session`; `relay`, `sessions`, `session`, `socket` → `peer` →
//! `peers` → `server` → `main`; `config`, `hosts` → `environment` → `main`.
//! `relay` and `session` do not know each other. Only `socket`, `listener`, `peers` and
//! `server` name mio.
//!
//! To see how a packet is treated, start at [`relay::Relay::handle`]; how a connection
//! is, at [`session::Session`]; in which order things happen, at `Server::turn`.

pub mod backlog;
pub mod config;
mod envelope;
pub mod environment;
mod frames;
pub mod health;
mod hosts;
pub mod http;
mod input;
mod listener;
pub mod packet;
mod peer;
mod peers;
mod pressure;
pub mod relay;
pub mod server;
pub mod session;
pub mod sessions;
pub mod socket;
