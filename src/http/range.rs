//! Range requests and conditional requests (RFC 9110, sections 13 and 14).

use std::ops::Range;

use httparse::Request;

use super::request::{only, tokens, values};

/// What is to be sent of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Some of its bytes, at least one.
    Bytes(Range<usize>),
    /// Nothing: the range begins after the end.
    Unsatisfiable,
}

/// Whether the requester already has the page with this ETag.
pub(super) fn is_known(request: &Request<'_, '_>, tag: &str) -> bool {
    // Weak comparison (section 13.1.2): a cache may have made the ETag weak.
    tokens(request, "if-none-match")
        .any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes())
}

/// Which part of a page with `len` bytes and this ETag is asked for. Anything but a single
/// range of bytes is ignored, as section 14.2 allows.
pub(super) fn part(request: &Request<'_, '_>, tag: &str, len: usize) -> Part {
    // A date never matches, since pages have no date.
    let is_for_this = values(request, "if-range").all(|condition| condition == tag.as_bytes());
    match only(values(request, "range")) {
        Some(range) if is_for_this && len > 0 => parse(range, len).unwrap_or(Part::Whole),
        _ => Part::Whole,
    }
}

fn parse(value: &[u8], len: usize) -> Option<Part> {
    let value = str::from_utf8(value).ok()?;
    let (unit, range) = value.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let bytes = match (first, last) {
        ("", suffix) => len.saturating_sub(number(suffix)?)..len,
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(len)
        }
    };
    Some(if bytes.start < len { Part::Bytes(bytes) } else { Part::Unsatisfiable })
}

/// Digits only: Rust's own parser would also accept a sign. A number too large for `usize` is
/// beyond the end of any page.
fn number(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of ten bytes that these header lines ask for.
    fn asked(lines: &str) -> Part {
        let text = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut request = Request::new(&mut headers);
        request.parse(text.as_bytes()).unwrap();
        part(&request, "\"tag\"", 10)
    }

    #[test]
    fn one_range_of_bytes_is_served() {
        for (range, bytes) in [
            ("0-0", 0..1),
            ("0-", 0..10),
            ("9-", 9..10),
            ("2-5", 2..6),
            ("2-99", 2..10),
            ("2-99999999999999999999999", 2..10),
            ("-1", 9..10),
            ("-10", 0..10),
            ("-99", 0..10),
        ] {
            assert_eq!(asked(&format!("Range: bytes={range}")), Part::Bytes(bytes), "{range}");
        }
        assert_eq!(asked("RANGE: BYTES=1-1"), Part::Bytes(1..2));
    }

    #[test]
    fn range_behind_the_end_is_unsatisfiable() {
        for range in ["10-", "10-10", "99-", "-0", "99999999999999999999999-"] {
            assert_eq!(asked(&format!("Range: bytes={range}")), Part::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn all_else_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=0-1,2-3",
            "bytes=0-1, ",
            "bytes = 0-1",
            "lines=0-1",
            "bytes=1 - 2",
            "bytes=--1",
            "bytes=1-2-3",
        ] {
            assert_eq!(asked(&format!("Range: {range}")), Part::Whole, "{range}");
        }
        assert_eq!(asked("Range: bytes=0-1\r\nRange: bytes=0-1"), Part::Whole);
    }

    #[test]
    fn condition_must_be_the_page_s_own_tag() {
        assert_eq!(asked("Range: bytes=0-0\r\nIf-Range: \"tag\""), Part::Bytes(0..1));
        for condition in ["\"other\"", "W/\"tag\"", "*", "", "Thu, 26 Nov 2026 12:00:00 GMT"] {
            let lines = format!("Range: bytes=0-0\r\nIf-Range: {condition}");
            assert_eq!(asked(&lines), Part::Whole, "{condition}");
        }
    }
}
