//! The request target and the header lines, beyond what `httparse` checks.

use std::fmt::Write as _;

use httparse::Request;

use super::answer::After;

/// The authority of a request target, if it has the absolute form that proxies use (RFC 9112,
/// section 3.2.2), and the path without the query.
pub(super) fn split_target(target: &str) -> (Option<&str>, &str) {
    let (authority, rest) = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(authority), rest)
        }
        _ => (None, target),
    };
    match rest.split('?').next() {
        Some("") | None => (authority, "/"),
        Some(path) => (authority, path),
    }
}

/// The query of a request target, with its question mark; empty if there is none. Bytes that
/// a header line must not have are percent-encoded.
pub(super) fn query(target: &str) -> String {
    let query = target.find('?').map_or("", |at| &target[at..]);
    encoded(query.as_bytes(), |byte| byte.is_ascii_graphic())
}

/// Decodes the percent-encoding of a path, once (RFC 3986, section 2.1); `None` if a `%` is not
/// followed by two hexadecimal digits.
pub(super) fn percent_decoded(path: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    Some(decoded)
}

/// Encodes a segment of a path: all but unreserved characters (RFC 3986, section 2.3).
pub(super) fn percent_encoded(segment: &[u8]) -> String {
    encoded(segment, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn encoded(bytes: &[u8], stays: impl Fn(u8) -> bool) -> String {
    let mut text = String::new();
    for &byte in bytes {
        if stays(byte) {
            text.push(byte.into());
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The values of all lines of a header, in order.
pub(super) fn values<'r>(
    request: &'r Request<'_, '_>,
    name: &str,
) -> impl DoubleEndedIterator<Item = &'r [u8]> {
    request
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// The value of a header that must occur exactly once.
pub(super) fn only<T>(mut values: impl Iterator<Item = T>) -> Option<T> {
    values.next().filter(|_| values.next().is_none())
}

/// The elements of a comma-separated header, over all its lines (RFC 9110, section 5.3).
pub(super) fn tokens<'r>(
    request: &'r Request<'_, '_>,
    name: &str,
) -> impl Iterator<Item = &'r [u8]> {
    values(request, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

pub(super) fn has_token(request: &Request<'_, '_>, name: &str, token: &str) -> bool {
    tokens(request, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether there is exactly one Host, or, in HTTP/1.0, at most one (RFC 9112, section 3.2).
pub(super) fn has_one_host(request: &Request<'_, '_>) -> bool {
    match values(request, "host").count() {
        0 => request.version == Some(0),
        count => count == 1,
    }
}

/// Whether a body is announced; `None` if its end is ambiguous. Two programs that see the end
/// at different places disagree about where the next request begins: request smuggling
/// (RFC 9112, section 11.2).
pub(super) fn announces_body(request: &Request<'_, '_>) -> Option<bool> {
    if values(request, "transfer-encoding").next().is_some() {
        return None;
    }
    let mut lengths = values(request, "content-length");
    let Some(length) = lengths.next() else { return Some(false) };
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    if !is_number || lengths.next().is_some() {
        return None;
    }
    let length: u64 = str::from_utf8(length).ok()?.parse().ok()?;
    Some(length > 0)
}

/// Whether the request asks to keep its connection open (RFC 9112, section 9.3).
pub(super) fn after(request: &Request<'_, '_>) -> After {
    match request.version {
        _ if has_token(request, "connection", "close") => After::Close,
        Some(1) => After::Stay,
        _ if has_token(request, "connection", "keep-alive") => After::StayOld,
        _ => After::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_decoded_once() {
        for (path, decoded) in [
            ("/", Some(b"/".as_slice())),
            ("/a%20b", Some(b"/a b")),
            ("/%2541", Some(b"/%41")),
            ("/%ff%C3%a9", Some(b"/\xff\xc3\xa9")),
            ("/%00", Some(b"/\0")),
            ("/%", None),
            ("/%4", None),
            ("/%g1", None),
            ("/%+1", None),
        ] {
            assert_eq!(percent_decoded(path).as_deref(), decoded, "{path}");
        }
    }

    #[test]
    fn encoded_segment_is_decoded_to_itself() {
        let all: Vec<u8> = (0..=255).collect();
        let encoded = percent_encoded(&all);
        assert!(encoded.is_ascii() && !encoded.contains(['/', ':', '?', '#']));
        assert_eq!(percent_decoded(&encoded), Some(all));
    }

    #[test]
    fn query_is_what_stands_behind_the_first_question_mark() {
        assert_eq!(query("/a"), "");
        assert_eq!(query("/a?b?c"), "?b?c");
        assert_eq!(query("http://box/a?"), "?");
    }
}
