//! Request head → WebSocket upgrade or HTTP answer (RFC 9112, RFC 6455 section 4.2).
//!
//! A request becomes a WebSocket, or it is answered. Without pages the connection ends after
//! every answer. With pages it may stay open for the next request, so the checks of where a
//! request ends are stricter. Bytes in, bytes out: the peer, the transport and the figures of
//! `/health` and `/metrics` are the caller's.
//!
//! tungstenite's own server handshake is not used: it sends nothing on a bad request,
//! rejects frames that directly follow the head, and reads only one `Connection` line.
//! `httparse` reads the head, and tungstenite computes `Sec-WebSocket-Accept`.

use std::fmt::Write as _;

use httparse::{Request, Status};
use tungstenite::handshake::derive_accept_key;

use crate::http::answer::{self, After, Answer, Refusal};
use crate::http::origin;
use crate::http::pages::Pages;
use crate::http::request::{
    after, announces_body, has_one_host, has_token, only, percent_decoded, split_target, tokens,
    values,
};
use crate::settings::config::{AllowedOrigins, Config};
use crate::tls;

/// The longest request head that is read, in bytes; a longer one is answered 431.
pub const MAX_HEAD_BYTES: usize = 8 << 10;

/// The most header lines in a request head.
const MAX_HEADERS: usize = 64;

/// The verdict on the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// The head is incomplete.
    Incomplete,
    /// A valid upgrade: send `response`; frames follow the `len` bytes of the head.
    Upgrade {
        /// Bytes of the head.
        len: usize,
        /// The complete 101 response.
        response: Vec<u8>,
    },
    /// A request for `/health` or `/metrics`: the server knows the answer.
    Report {
        /// Which of the two.
        report: Report,
        /// Bytes of the head.
        len: usize,
        /// Whether the method is HEAD.
        is_head: bool,
        /// Whether the connection is to stay open.
        after: After,
    },
    /// Another request, where pages are served: send this answer. After the `len` bytes of the
    /// head another request may follow, unless the connection ends.
    Answered {
        /// Bytes of the head.
        len: usize,
        /// The answer.
        answer: Answer,
    },
    /// TLS on the plain port.
    Tls,
    /// Plain HTTP on the TLS port: send this complete answer, and end.
    Redirect(Vec<u8>),
    /// Anything else: send this complete answer, and end.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The answer.
        answer: Vec<u8>,
    },
}

/// What moss reports about itself, each at a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// `/health`.
    Health,
    /// `/metrics`, where `MOSS_METRICS` is on.
    Metrics,
}

impl Report {
    /// The report at this path, if there is one.
    fn at(path: &[u8], config: &Config) -> Option<Self> {
        match path {
            b"/health" => Some(Self::Health),
            b"/metrics" if config.metrics => Some(Self::Metrics),
            _ => None,
        }
    }
}

/// Reads a request head: the first bytes of a connection, or those after an earlier request;
/// `pages`, if any are served.
pub fn read_head(bytes: &[u8], config: &Config, pages: Option<&Pages>) -> Head {
    match parse(bytes, |request, len| judge(request, len, config, pages)) {
        Head::Refused { refusal: Refusal::BadRequest, .. } if bytes[0] == tls::FIRST_BYTE => {
            Head::Tls
        }
        head => head,
    }
}

/// Reads a request head. `judge` gets the complete head and its length, and returns the verdict,
/// or a refusal with its answer.
pub(super) fn parse(
    bytes: &[u8],
    judge: impl FnOnce(&Request<'_, '_>, usize) -> Result<Head, (Refusal, Vec<u8>)>,
) -> Head {
    let head = read(bytes, |request, len| {
        judge(request, len).unwrap_or_else(|(refusal, mut answer)| {
            if request.method == Some("HEAD") {
                answer::drop_body(&mut answer);
            }
            Head::Refused { refusal, answer }
        })
    });
    match head {
        Ok(head) => head,
        Err(None) => Head::Incomplete,
        Err(Some(refusal)) => refusal.into(),
    }
}

/// Calls `look` with a complete request head and its length. `Err` is a refusal, or `None` if
/// the head is incomplete.
pub(super) fn read<T>(
    bytes: &[u8],
    look: impl FnOnce(&Request<'_, '_>, usize) -> T,
) -> Result<T, Option<Refusal>> {
    // Bytes beyond the limit are not looked at: the verdict must not depend on how many of
    // them have come already.
    let bytes = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(len)) => Ok(look(&request, len)),
        Ok(Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Err(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Err(Some(Refusal::HeadTooLarge))
        }
        Err(_) => Err(Some(Refusal::BadRequest)),
    }
}

impl From<Refusal> for Head {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, answer: refusal.answer() }
    }
}

/// The verdict on a complete head; `Err` is a refusal with its answer.
fn judge(
    request: &Request<'_, '_>,
    len: usize,
    config: &Config,
    pages: Option<&Pages>,
) -> Result<Head, (Refusal, Vec<u8>)> {
    match pages {
        None => judge_without_pages(request, len, config),
        Some(pages) => judge_with_pages(request, len, config, pages),
    }
}

fn refuse<T>(refusal: Refusal) -> Result<T, (Refusal, Vec<u8>)> {
    Err((refusal, refusal.answer()))
}

fn refuse_saying<T>(refusal: Refusal, why: &str) -> Result<T, (Refusal, Vec<u8>)> {
    Err((refusal, refusal.saying(why)))
}

/// The verdict on a request after which the connection ends, unless it becomes a WebSocket.
fn judge_without_pages(
    request: &Request<'_, '_>,
    len: usize,
    config: &Config,
) -> Result<Head, (Refusal, Vec<u8>)> {
    let (_, path) = split_target(request.path.unwrap_or_default());
    let report = Report::at(path.as_bytes(), config);
    let is_head = request.method == Some("HEAD");
    match (request.method, report) {
        (_, None) if path != "/" => refuse(Refusal::NotFound),
        (Some("GET" | "HEAD"), Some(report)) => {
            Ok(Head::Report { report, len, is_head, after: After::Close })
        }
        (Some("GET"), None) => upgrade(request, len, &config.allowed_origins),
        (Some("HEAD"), None) => refuse(Refusal::NoUpgrade),
        _ => refuse(Refusal::Method),
    }
}

/// The verdict on a request that other requests may follow.
fn judge_with_pages(
    request: &Request<'_, '_>,
    len: usize,
    config: &Config,
    pages: &Pages,
) -> Result<Head, (Refusal, Vec<u8>)> {
    if !has_one_host(request) {
        return refuse_saying(Refusal::BadRequest, "A request needs exactly one Host.\n");
    }
    let is_get = request.method == Some("GET");
    let is_head = request.method == Some("HEAD");
    // Bodies are not read, so bytes after one must not be taken for a request.
    let after = match announces_body(request) {
        None => {
            return refuse_saying(Refusal::BadRequest, "It is unclear where this request ends.\n");
        }
        Some(true) if is_get || is_head => {
            return refuse_saying(Refusal::BadRequest, "GET and HEAD have no body here.\n");
        }
        Some(true) => After::Close,
        Some(false) => after(request),
    };
    let target = request.path.unwrap_or_default();
    let (_, path) = split_target(target);
    if !path.starts_with('/') {
        // Neither origin form nor absolute form (RFC 9112, section 3.2): not a page.
        let answer = Answer::refusing(Refusal::NotFound, "", is_head, after);
        return Ok(Head::Answered { len, answer });
    }
    let Some(path) = percent_decoded(path) else {
        return refuse_saying(
            Refusal::BadRequest,
            "A % in the path needs two hexadecimal digits.\n",
        );
    };
    if let Some(report) = Report::at(&path, config) {
        return Ok(if is_get || is_head {
            Head::Report { report, len, is_head, after }
        } else {
            Head::Answered { len, answer: Answer::refusing(Refusal::Method, "", false, after) }
        });
    }
    if path == b"/" && (is_get && wants_upgrade(request) || !pages.has_index()) {
        return match request.method {
            Some("GET") => upgrade(request, len, &config.allowed_origins),
            Some("HEAD") => refuse(Refusal::NoUpgrade),
            _ => {
                let answer = Answer::refusing(Refusal::Method, "", false, after);
                Ok(Head::Answered { len, answer })
            }
        };
    }
    Ok(Head::Answered { len, answer: pages.answer(request, &path, target, after) })
}

fn wants_upgrade(request: &Request<'_, '_>) -> bool {
    has_token(request, "upgrade", "websocket") && has_token(request, "connection", "upgrade")
}

/// The verdict on a GET that has to be a valid upgrade.
fn upgrade(
    request: &Request<'_, '_>,
    len: usize,
    origins: &AllowedOrigins,
) -> Result<Head, (Refusal, Vec<u8>)> {
    if !wants_upgrade(request) {
        return refuse(Refusal::NoUpgrade);
    }
    if request.version != Some(1) {
        return refuse_saying(Refusal::BadRequest, "A WebSocket needs HTTP/1.1.\n");
    }
    if !values(request, "sec-websocket-version").eq([b"13".as_slice()]) {
        let why = "Only version 13 of the WebSocket protocol is spoken here.\n";
        return refuse_saying(Refusal::NoUpgrade, why);
    }
    let Some(key) = only(values(request, "sec-websocket-key")).filter(|key| is_nonce(key)) else {
        let why = "Sec-WebSocket-Key must be 16 bytes in base64.\n";
        return refuse_saying(Refusal::BadRequest, why);
    };
    // A target in absolute form overrides Host (RFC 9112, section 3.2.2). A web page can't make
    // use of that: browsers send this form to proxies only.
    let (authority, _) = split_target(request.path.unwrap_or_default());
    let host = authority.map(str::as_bytes).or_else(|| only(values(request, "host")));
    if !values(request, "origin").all(|origin| origin::may_connect(origin, host, origins)) {
        return refuse(Refusal::Origin);
    }
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        derive_accept_key(key)
    );
    // A browser that offers subprotocols fails unless one of them is chosen.
    if let Some(protocol) = tokens(request, "sec-websocket-protocol").find_map(token_str) {
        let _ = write!(response, "Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    response.push_str("\r\n");
    Ok(Head::Upgrade { len, response: response.into_bytes() })
}

/// A token as text, if it is one (RFC 9110, section 5.6.2).
fn token_str(bytes: &[u8]) -> Option<&str> {
    let is_token = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!bytes.is_empty() && bytes.iter().all(is_token))
        .then(|| std::str::from_utf8(bytes).ok())
        .flatten()
}

/// Sixteen bytes in base64: 22 digits and two `=`.
fn is_nonce(key: &[u8]) -> bool {
    let digit = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn allowing(origins: AllowedOrigins) -> Config {
        Config { allowed_origins: origins, ..Config::new("secret", "offer") }
    }

    fn head(text: &str) -> Head {
        read_head(text.as_bytes(), &allowing(AllowedOrigins::Any), None)
    }

    fn status(text: &str) -> String {
        match head(text) {
            Head::Refused { refusal, answer: bytes } => {
                let text = String::from_utf8(bytes).unwrap();
                assert!(text.starts_with(&format!("HTTP/1.1 {} ", refusal.status())));
                let (head, body) = text.split_once("\r\n\r\n").expect("an end of the head");
                assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
                assert!(head.contains("\r\nConnection: close"), "{head}");
                text["HTTP/1.1 ".len()..][..3].to_owned()
            }
            other => panic!("no answer: {other:?}"),
        }
    }

    fn response(text: &str) -> String {
        match head(text) {
            Head::Upgrade { len, response } => {
                assert_eq!(len, text.len());
                String::from_utf8(response).unwrap()
            }
            other => panic!("no upgrade: {other:?}"),
        }
    }

    #[test]
    fn upgrade_is_answered_by_the_key_of_the_rfc() {
        let response = response(&format!("{UPGRADE}\r\n"));
        assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(response.ends_with("\r\n\r\n"));
    }

    #[test]
    fn query_and_absolute_form_are_the_same_path() {
        for target in ["/?room=1", "http://box/", "http://box", "http://box:80?x=/health"] {
            assert!(matches!(
                head(&format!("{UPGRADE}\r\n").replacen("GET /", &format!("GET {target}"), 1)),
                Head::Upgrade { .. }
            ));
        }
        let health = head("GET /health?x HTTP/1.1\r\n\r\n");
        assert!(matches!(
            health,
            Head::Report { report: Report::Health, is_head: false, after: After::Close, .. }
        ));
    }

    #[test]
    fn connection_tokens_may_be_spread_over_lines() {
        let text = UPGRADE.replace(
            "Connection: Upgrade\r\n",
            "Connection: keep-alive\r\nCONNECTION: x , uPgrade\r\n",
        );
        response(&format!("{text}\r\n"));
    }

    #[test]
    fn first_subprotocol_is_chosen() {
        let response =
            response(&format!("{UPGRADE}Sec-WebSocket-Protocol: ,b@d, chat, json\r\n\r\n"));
        assert!(response.contains("\r\nSec-WebSocket-Protocol: chat\r\n"));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let text = format!("{UPGRADE}\r\n");
        for len in 0..text.len() {
            assert_eq!(head(&text[..len]), Head::Incomplete, "{len}");
        }
    }

    #[test]
    fn bytes_behind_the_limit_change_nothing() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        assert_eq!(status(&long), "431");
        assert_eq!(status(&format!("{long}\r\n\0\r\n\r\n")), "431");
    }

    #[test]
    fn frames_after_the_head_are_not_part_of_it() {
        let mut bytes = format!("{UPGRADE}\r\n").into_bytes();
        let end = bytes.len();
        bytes.extend([0x81, 0x80, 0, 0, 0, 0]);
        let verdict = read_head(&bytes, &allowing(AllowedOrigins::Any), None);
        assert!(matches!(verdict, Head::Upgrade { len, .. } if len == end));
    }

    #[test]
    fn each_refusal_has_its_status() {
        let upgrade = format!("{UPGRADE}\r\n");
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "426");
        assert_eq!(status("GET /other HTTP/1.1\r\n\r\n"), "404");
        assert_eq!(status(&upgrade.replace("GET / ", "GET /chat ")), "404");
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(status("GET / HTTP/2.0\r\n\r\n"), "400");
        assert_eq!(status(&upgrade.replace("HTTP/1.1", "HTTP/1.0")), "400");
        assert_eq!(status(&upgrade.replace("Version: 13", "Version: 8")), "426");
        assert_eq!(status(&upgrade.replace("bXBs", "")), "400");
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES))), "431");
        assert_eq!(
            status(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1))),
            "431"
        );
    }

    #[test]
    fn tls_is_known_by_its_first_byte() {
        assert_eq!(head("\u{16}"), Head::Tls);
        assert_eq!(head("\u{16}\u{3}\u{1}\u{2}"), Head::Tls);
        assert_eq!(status("\u{15}\u{3}\u{1}"), "400");
    }

    #[test]
    fn wrong_version_is_told_the_right_one() {
        let Head::Refused { answer: bytes, .. } =
            head(&format!("{UPGRADE}\r\n").replace("Version: 13", "Version: 25"))
        else {
            panic!("no answer");
        };
        assert!(String::from_utf8(bytes).unwrap().contains("\r\nSec-WebSocket-Version: 13\r\n"));
    }

    #[test]
    fn origin_must_be_on_the_list() {
        let named = vec!["https://a.example".to_owned()];
        let only = allowing(AllowedOrigins::Only { named, own: false });
        let verdict =
            |lines: &str| read_head(format!("{UPGRADE}{lines}\r\n").as_bytes(), &only, None);
        assert!(matches!(verdict(""), Head::Upgrade { .. }));
        assert!(matches!(verdict("Origin: https://a.example\r\n"), Head::Upgrade { .. }));
        for lines in [
            "Origin: https://b.example\r\n",
            "Origin: null\r\n",
            "Origin: https://a.example:444\r\n",
            "Origin: \r\n",
            "Origin: https://a.example\r\nOrigin: https://b.example\r\n",
        ] {
            assert!(
                matches!(verdict(lines), Head::Refused { refusal: Refusal::Origin, .. }),
                "{lines}"
            );
        }
    }

    /// Whether `self` allows a page of `http://box`.
    fn is_own(text: &str) -> bool {
        let own = allowing(AllowedOrigins::Only { named: Vec::new(), own: true });
        let text = format!("{text}Origin: http://box\r\n\r\n");
        match read_head(text.as_bytes(), &own, None) {
            Head::Upgrade { .. } => true,
            Head::Refused { refusal: Refusal::Origin, .. } => false,
            other => panic!("neither let in nor forbidden: {other:?}"),
        }
    }

    #[test]
    fn own_page_needs_exactly_one_host() {
        assert!(is_own(UPGRADE));
        for lines in ["", "Host:\r\n", "Host: box\r\nhost: box\r\n", "Host: box\r\nHost: other\r\n"]
        {
            assert!(!is_own(&UPGRADE.replace("Host: box\r\n", lines)), "{lines:?}");
        }
    }

    #[test]
    fn authority_of_the_target_overrides_the_host() {
        let with = |target: &str, host: &str| {
            let text = UPGRADE.replacen("GET /", &format!("GET {target}"), 1);
            is_own(&text.replace("Host: box\r\n", host))
        };
        for target in ["http://box/", "http://BOX:80?x", "http://box"] {
            for host in ["Host: box\r\n", "Host: other\r\n", "", "Host: a\r\nHost: b\r\n"] {
                assert!(with(target, host), "{target} {host:?}");
            }
        }
        for target in ["http://other/", "http:///", "http://user@box/", "http://box:x/"] {
            assert!(!with(target, "Host: box\r\n"), "{target}");
        }
        // A URL in the query is not an authority.
        assert!(!with("/?x=http://box/", "Host: other\r\n"));
    }
}
