//! What peers see of moss, through TLS: the tests of `peers` once more. `support` connects
//! through TLS because of this program's name.

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
