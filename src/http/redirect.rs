//! Redirects plain HTTP on the TLS port to `https://`.
//!
//! Somebody typed or configured `http://`. A GET is redirected to the host, port and path in
//! the request itself: moss may not know under which port it is reached (Docker maps ports).

use httparse::Request;

use super::answer::{self, Refusal};
use super::head::{self, Head};
use super::request::{has_token, only, values};

/// Reads a request head from the first bytes of a connection that came without TLS to the
/// TLS port. It is never an upgrade.
pub fn read_head(bytes: &[u8]) -> Head {
    match head::parse(bytes, |request, _| judge(request)) {
        Head::Incomplete => Head::Incomplete,
        Head::Redirect(answer) => Head::Redirect(answer),
        Head::Refused { refusal: Refusal::PlainHttp, answer } => {
            Head::Refused { refusal: Refusal::PlainHttp, answer }
        }
        _ => Refusal::PlainHttp.into(),
    }
}

fn judge(request: &Request<'_, '_>) -> Result<Head, (Refusal, Vec<u8>)> {
    match location(request) {
        Some(location) => Ok(Head::Redirect(answer::redirect(&location))),
        None => Err((Refusal::PlainHttp, Refusal::PlainHttp.answer())),
    }
}

/// The URL that a request is redirected to, if it is.
fn location(request: &Request<'_, '_>) -> Option<String> {
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(byte);
    let host = only(values(request, "host")).filter(|host| !host.is_empty())?;
    let path = request.path.filter(|path| path.starts_with('/'))?;
    let is_plain_get =
        request.method == Some("GET") && !has_token(request, "connection", "upgrade");
    let is_printable = host.iter().all(is_host) && path.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain_get && is_printable)
        .then(|| format!("https://{}{path}", String::from_utf8_lossy(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status and Location of the answer.
    fn answer(text: &str) -> (String, Option<String>) {
        let answer = match read_head(text.as_bytes()) {
            Head::Redirect(answer) => answer,
            Head::Refused { refusal: Refusal::PlainHttp, answer } => answer,
            other => panic!("no answer: {other:?}"),
        };
        let text = String::from_utf8(answer).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").expect("an end of the head");
        let location = head.lines().find_map(|line| line.strip_prefix("Location: "));
        assert_eq!(location.is_some(), head.contains("\r\nCache-Control: no-store"), "{head}");
        (head["HTTP/1.1 ".len()..][..3].to_owned(), location.map(str::to_owned))
    }

    #[test]
    fn get_is_sent_to_the_same_in_https() {
        for (target, host) in [
            ("/", "box"),
            ("/a?b=c&d", "box.local:8443"),
            ("/", "[::1]:8443"),
            ("/%20", "10.0.0.7"),
        ] {
            let (status, location) =
                answer(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(status, "307");
            assert_eq!(location, Some(format!("https://{host}{target}")));
        }
        assert_eq!(answer("GET / HTTP/1.0\r\nHost: box\r\n\r\n").0, "307");
    }

    #[test]
    fn all_else_gets_a_sentence() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "\0\x01\x02\x03",
            "rubbish\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            assert_eq!(answer(text), ("400".to_owned(), None), "{text:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(head::MAX_HEAD_BYTES));
        assert_eq!(answer(&long).0, "400");
    }

    #[test]
    fn half_a_head_is_waited_for() {
        assert_eq!(read_head(b"GET / HTTP/1.1\r\nHost: a\r\n"), Head::Incomplete);
    }
}
