//! HTTP answers, each whole, as bytes.
//!
//! When which of them is given is [`head`](crate::http::head)'s and the server's.

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no request of HTTP/1.0 or 1.1, or no proper upgrade.
    BadRequest,
    /// It comes from a page that is not allowed.
    Origin,
    /// Nothing is at its path.
    NotFound,
    /// Its method is not GET.
    Method,
    /// Its head was not finished in time.
    Timeout,
    /// It came in plain HTTP to the TLS port.
    PlainHttp,
    /// It does not ask for a WebSocket of a version that moss speaks.
    NoUpgrade,
    /// Too many connections of its address are open.
    PerAddress,
    /// Its head is too large.
    HeadTooLarge,
    /// As many WebSockets as may be are open.
    Full,
}

/// What `/health` tells.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// Open WebSocket connections: guests, clients and the master.
    pub connections: usize,
    /// Those that are logged in.
    pub clients: usize,
    /// Whether there is a master.
    pub master: bool,
}

/// The answer to `GET /health`.
pub fn health(health: &Health) -> Vec<u8> {
    let body = format!(
        "{{\"status\":\"ok\",\"version\":\"{}\",\"uptime_seconds\":{},\"connections\":{},\"clients\":{},\"master\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        health.uptime_seconds,
        health.connections,
        health.clients,
        health.master
    );
    answer("200 OK", "Cache-Control: no-store\r\n", "application/json", &body)
}

impl Refusal {
    /// The word for it in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Origin => "origin",
            Self::NotFound => "not-found",
            Self::Method => "method",
            Self::Timeout => "timeout",
            Self::PlainHttp => "plain-http",
            Self::NoUpgrade => "no-upgrade",
            Self::PerAddress => "per-address",
            Self::HeadTooLarge => "head-too-large",
            Self::Full => "full",
        }
    }

    /// The status of its answer (RFC 9110, section 15.5; RFC 6585).
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::PlainHttp => 400,
            Self::Origin => 403,
            Self::NotFound => 404,
            Self::Method => 405,
            Self::Timeout => 408,
            Self::NoUpgrade => 426,
            Self::PerAddress => 429,
            Self::HeadTooLarge => 431,
            Self::Full => 503,
        }
    }

    /// The answer, with a sentence of its own.
    pub fn answer(self) -> Vec<u8> {
        self.saying(match self {
            Self::BadRequest => "This is no HTTP/1.1 request.\n",
            Self::Origin => "Pages from this origin may not connect.\n",
            Self::NotFound => "Nothing here. The WebSocket is at /.\n",
            Self::Method => "Only GET is served.\n",
            Self::Timeout => "The request head took too long.\n",
            Self::PlainHttp => "This port speaks TLS: use https:// or wss://.\n",
            Self::NoUpgrade => "This is moss, a WebRTC signaling server. It speaks WebSocket: connect to ws:// (or wss://) at this address.\n",
            Self::PerAddress => "Too many connections from this address.\n",
            Self::HeadTooLarge => "The request head is too large.\n",
            Self::Full => "moss is full: no more connections.\n",
        })
    }

    /// The answer with another sentence.
    pub(super) fn saying(self, body: &str) -> Vec<u8> {
        let (reason, headers) = match self {
            Self::BadRequest | Self::PlainHttp => ("Bad Request", ""),
            Self::Origin => ("Forbidden", ""),
            Self::NotFound => ("Not Found", ""),
            Self::Method => ("Method Not Allowed", "Allow: GET\r\n"),
            Self::Timeout => ("Request Timeout", ""),
            // The version is said to whom it may concern (RFC 6455, section 4.2.2).
            Self::NoUpgrade => {
                ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
            }
            Self::PerAddress => ("Too Many Requests", "Retry-After: 5\r\n"),
            Self::HeadTooLarge => ("Request Header Fields Too Large", ""),
            Self::Full => ("Service Unavailable", "Retry-After: 5\r\n"),
        };
        let status = format!("{} {reason}", self.status());
        answer(&status, headers, "text/plain; charset=utf-8", body)
    }
}

/// The answer to plain HTTP on the TLS port: the same in `https://`. What is right today may
/// be wrong tomorrow, so nobody is to remember it.
pub(super) fn redirect(location: &str) -> Vec<u8> {
    let headers = format!("Location: {location}\r\nCache-Control: no-store\r\n");
    let body = format!("This port speaks TLS: see {location}\n");
    answer("307 Temporary Redirect", &headers, "text/plain; charset=utf-8", &body)
}

/// The answer to HEAD is only the head of the answer (RFC 9110, section 9.3.2).
pub(super) fn drop_body(answer: &mut Vec<u8>) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    answer.truncate(end.map_or(answer.len(), |end| end + 4));
}

fn answer(status: &str, headers: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_json() {
        let bytes = health(&Health { uptime_seconds: 3, connections: 2, clients: 1, master: true });
        let text = String::from_utf8(bytes).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(value["status"], "ok");
        assert_eq!(value["clients"], 1);
        assert_eq!(value["master"], true);
    }

    #[test]
    fn those_who_find_no_place_are_asked_to_come_again() {
        for (refusal, status) in [
            (Refusal::PerAddress, "429 Too Many Requests"),
            (Refusal::Full, "503 Service Unavailable"),
        ] {
            let text = String::from_utf8(refusal.answer()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            assert!(head.contains("\r\nRetry-After: 5\r\n"), "{head}");
            assert!(body.ends_with(".\n"), "{body}");
        }
    }
}
