//! HTTP answers: those that end a connection, as bytes; and those after which it may stay
//! open, as an [`Answer`].
//!
//! Which of them is sent when is decided by [`head`](crate::http::head) and the server.

use crate::http::exposition::CONTENT_TYPE;
use crate::http::page::Body;

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not a valid request of HTTP/1.0 or 1.1, or not a valid upgrade.
    BadRequest,
    /// It comes from a page that is not allowed.
    Origin,
    /// Nothing is at its path.
    NotFound,
    /// Its method is neither GET nor HEAD.
    Method,
    /// Its head was not complete in time.
    Timeout,
    /// It came in plain HTTP to the TLS port.
    PlainHttp,
    /// It does not ask for a WebSocket of a version that moss speaks.
    NoUpgrade,
    /// The range that it asks for begins after the end of the page.
    Range,
    /// Too many connections of its address are open.
    PerAddress,
    /// Its head is too large.
    HeadTooLarge,
    /// The limit of open WebSockets is reached.
    Full,
    /// The limit of pages that are being sent is reached.
    Busy,
}

/// What happens to a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It ends.
    Close,
    /// It stays open for the next request.
    Stay,
    /// The same for HTTP/1.0, where the answer has to say so.
    StayOld,
}

/// An answer after which the connection may stay open.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status line and the header lines, except `Connection`.
    head: String,
    /// The body, if it is a short text.
    text: String,
    /// The body, if it is (a part of) a page.
    pub(super) body: Option<Body>,
    after: After,
    refusal: Option<Refusal>,
}

/// The figures in the answer to `/health`.
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

/// The answer to `/health`, for HEAD without its body.
pub fn health(health: &Health, is_head: bool, after: After) -> Answer {
    let body = format!(
        "{{\"status\":\"ok\",\"version\":\"{}\",\"uptime_seconds\":{},\"connections\":{},\"clients\":{},\"master\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        health.uptime_seconds,
        health.connections,
        health.clients,
        health.master
    );
    let headers = "Cache-Control: no-store\r\nContent-Type: application/json\r\n";
    Answer::with_text("200 OK", headers, body, is_head, after)
}

/// The answer to `/metrics`, for HEAD without its body.
pub fn metrics(text: String, is_head: bool, after: After) -> Answer {
    let headers = format!("Cache-Control: no-store\r\nContent-Type: {CONTENT_TYPE}\r\n");
    Answer::with_text("200 OK", &headers, text, is_head, after)
}

impl Answer {
    /// Without a body; `headers` are whole lines.
    pub(super) fn empty(status: &str, headers: &str, after: After) -> Self {
        let head = format!("HTTP/1.1 {status}\r\n{headers}");
        Self { head, text: String::new(), body: None, after, refusal: None }
    }

    /// With a text, which is left out for HEAD (RFC 9110, section 9.3.2).
    fn with_text(status: &str, headers: &str, text: String, is_head: bool, after: After) -> Self {
        let headers = format!("{headers}Content-Length: {}\r\n", text.len());
        let mut answer = Self::empty(status, &headers, after);
        if !is_head {
            answer.text = text;
        }
        answer
    }

    /// The answer to a refused request, after which the connection may stay open.
    pub(super) fn refusing(refusal: Refusal, headers: &str, is_head: bool, after: After) -> Self {
        let headers = format!("{}{headers}{TEXT}", refusal.headers());
        let text = refusal.sentence().to_owned();
        let status = refusal.status_line();
        let answer = Self::with_text(&status, &headers, text, is_head, after);
        Self { refusal: Some(refusal), ..answer }
    }

    /// A permanent redirect.
    pub(super) fn moved(location: &str, is_head: bool, after: After) -> Self {
        let headers = format!("Location: {location}\r\n{TEXT}");
        let text = format!("See {location}\n");
        Self::with_text("308 Permanent Redirect", &headers, text, is_head, after)
    }

    /// What happens to the connection after it.
    pub fn after(&self) -> After {
        self.after
    }

    /// Ends the connection after it, even if its request asked to keep it open.
    pub fn close(&mut self) {
        self.after = After::Close;
    }

    /// Why the request is refused, if it is.
    pub fn refused(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Bytes of the page that follow.
    pub fn body_len(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.rest().len())
    }

    /// The bytes to send, and the part of a page that follows them.
    pub fn into_parts(self) -> (Vec<u8>, Option<Body>) {
        let connection = match self.after {
            After::Close => "Connection: close\r\n",
            After::Stay => "",
            After::StayOld => "Connection: keep-alive\r\n",
        };
        let bytes = [&self.head, connection, "\r\n", &self.text].concat().into_bytes();
        (bytes, self.body)
    }
}

impl Refusal {
    /// The word for it in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Origin => "origin",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Range => "range",
            Self::Timeout => "timeout",
            Self::PlainHttp => "plain_http",
            Self::NoUpgrade => "no_upgrade",
            Self::PerAddress => "per_address",
            Self::HeadTooLarge => "head_too_large",
            Self::Full => "full",
            Self::Busy => "busy",
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
            Self::Range => 416,
            Self::NoUpgrade => 426,
            Self::PerAddress => 429,
            Self::HeadTooLarge => 431,
            Self::Full | Self::Busy => 503,
        }
    }

    /// The whole answer with the usual text, after which the connection ends.
    pub fn answer(self) -> Vec<u8> {
        self.saying(self.sentence())
    }

    /// The same with another text.
    pub(super) fn saying(self, text: &str) -> Vec<u8> {
        answer(&self.status_line(), self.headers(), text)
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest => "This is not a valid HTTP/1.1 request.\n",
            Self::Origin => "Pages from this origin may not connect.\n",
            Self::NotFound => "Nothing here. The WebSocket is at /.\n",
            Self::Method => "Only GET and HEAD are served.\n",
            Self::Timeout => "The request head took too long.\n",
            Self::PlainHttp => "This port speaks TLS: use https:// or wss://.\n",
            Self::Range => "The page ends before this range.\n",
            Self::NoUpgrade => {
                "This is moss, a WebRTC signaling server. It speaks WebSocket: connect to ws:// (or wss://) at this address.\n"
            }
            Self::PerAddress => "Too many connections from this address.\n",
            Self::HeadTooLarge => "The request head is too large.\n",
            Self::Full => "moss is full: no more connections.\n",
            Self::Busy => "Too many pages are being sent. Try again.\n",
        }
    }

    fn headers(self) -> &'static str {
        match self {
            Self::Method => "Allow: GET, HEAD\r\n",
            // The supported version has to be named (RFC 6455, section 4.2.2).
            Self::NoUpgrade => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            Self::PerAddress | Self::Full | Self::Busy => "Retry-After: 5\r\n",
            _ => "",
        }
    }

    fn status_line(self) -> String {
        let reason = match self {
            Self::BadRequest | Self::PlainHttp => "Bad Request",
            Self::Origin => "Forbidden",
            Self::NotFound => "Not Found",
            Self::Method => "Method Not Allowed",
            Self::Timeout => "Request Timeout",
            Self::Range => "Range Not Satisfiable",
            Self::NoUpgrade => "Upgrade Required",
            Self::PerAddress => "Too Many Requests",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::Full | Self::Busy => "Service Unavailable",
        };
        format!("{} {reason}", self.status())
    }
}

/// The answer to plain HTTP on the TLS port: a redirect to the same URL with `https://`. Not to
/// be cached, since the configuration may change.
pub(super) fn redirect(location: &str) -> Vec<u8> {
    let headers = format!("Location: {location}\r\nCache-Control: no-store\r\n");
    let text = format!("This port speaks TLS: see {location}\n");
    answer("307 Temporary Redirect", &headers, &text)
}

/// Removes the body: the answer to HEAD has none (RFC 9110, section 9.3.2).
pub(super) fn drop_body(answer: &mut Vec<u8>) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    answer.truncate(end.map_or(answer.len(), |end| end + 4));
}

fn answer(status: &str, headers: &str, text: &str) -> Vec<u8> {
    let headers = format!("{headers}{TEXT}");
    Answer::with_text(status, &headers, text.to_owned(), false, After::Close).into_parts().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_json() {
        let told = Health { uptime_seconds: 3, connections: 2, clients: 1, master: true };
        let (bytes, _) = health(&told, false, After::Close).into_parts();
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
