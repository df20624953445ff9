//! What peers see of moss, against the real program: HTTP, packets, errors, notices, and how
//! connections and moss itself end.
//!
//! `peers_over_tls` runs the same tests through TLS.

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod endings;
mod envelope;
mod errors;
mod http;
mod lifecycle;
mod login_secret;
mod metrics;
mod notices;
mod protocol;
