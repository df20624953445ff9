//! What peers meet at moss, through TLS: the tests of `peers` once more. `support` knows by
//! this program's name how to connect.

#[path = "../support/mod.rs"]
mod support;

#[path = "../peers/closing.rs"]
mod closing;
#[path = "../peers/endings.rs"]
mod endings;
#[path = "../peers/envelope.rs"]
mod envelope;
#[path = "../peers/errors.rs"]
mod errors;
#[path = "../peers/http.rs"]
mod http;
#[path = "../peers/lifecycle.rs"]
mod lifecycle;
#[path = "../peers/login_secret.rs"]
mod login_secret;
#[path = "../peers/metrics.rs"]
mod metrics;
#[path = "../peers/notices.rs"]
mod notices;
#[path = "../peers/protocol.rs"]
mod protocol;
