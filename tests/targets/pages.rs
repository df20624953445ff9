//! The expected answer to a request where pages are served, derived from its lines as plainly as
//! possible. moss's answer must have the same status, header lines and bytes.

use std::collections::BTreeMap;

use httparse::EMPTY_HEADER;
use moss::http::answer::{After, Answer};
use moss::http::head::{Head, MAX_HEAD_BYTES, Report, read_head};
use moss::http::pages::Pages;
use moss::settings::config::AllowedOrigins;

use super::{
    DELIMITERS, ORIGIN, allowing, check_answer, check_prefixes, check_upgrade, head_len, lines,
    parse, request_line, tokens, values,
};

/// Paths, types and bytes of files. The first one is missing in one of the two folders.
const FILES: [(&[u8], &str, &[u8]); 9] = [
    (b"/index.html", "text/html; charset=utf-8", b"<!doctype html>\n"),
    (PAGE, "application/octet-stream", b"abcdefghijklmnopqrstuvwxyz"),
    (b"/empty.css", "text/css; charset=utf-8", b""),
    (b"/a b/index.html", "text/html; charset=utf-8", b"a folder with a space"),
    (b"/a b/c:d/index.html", "text/html; charset=utf-8", b"a folder with a colon"),
    (b"/%41", "application/octet-stream", b"this is not /A"),
    (b"/\xff\0", "application/octet-stream", b"a name that is no text"),
    (b"/a/../b.js", "text/javascript; charset=utf-8", b"only a name"),
    (b"//", "application/octet-stream", b"never found: it stands for an index"),
];

/// Where an input says `"tag"`, it means the tag of this page.
const PAGE: &[u8] = b"/page";
const TAG: &[u8] = b"\"tag\"";

/// Characters that a header line may have.
const GRAPHIC: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// The most header lines of a head.
const MAX_LINES: usize = 64;

type Lines = Vec<(&'static str, String)>;

/// A file with its tag.
struct File {
    content_type: &'static str,
    bytes: &'static [u8],
    tag: String,
}

struct Site {
    pages: Pages,
    files: BTreeMap<&'static [u8], File>,
}

thread_local! {
    static SITES: [Site; 2] = [Site::new(&FILES), Site::new(&FILES[1..])];
}

/// The answer that a request must get.
#[derive(Debug)]
enum Due {
    /// A WebSocket, or the refusal.
    Upgrade,
    /// The health report.
    Health { is_head: bool, after: After },
    /// This answer, and the end of the connection.
    Refusal(u16),
    /// This answer, after which the connection stays open.
    Answer(Expected),
}

#[derive(Debug)]
struct Expected {
    status: u16,
    after: After,
    /// All header lines but `Connection` and those of a text.
    headers: BTreeMap<&'static str, String>,
    /// `None` stands for a text with any wording. HEAD gets no body at all.
    body: Option<&'static [u8]>,
    is_head: bool,
}

/// Panics if one of the pipelined requests in `data` gets a wrong answer.
pub(super) fn check(data: &[u8]) {
    let origins = AllowedOrigins::Only { named: vec![ORIGIN.to_owned()], own: true };
    SITES.with(|sites| {
        for site in sites {
            let data = site.with_tag(data);
            let config = allowing(origins.clone());
            let read = |bytes: &[u8]| read_head(bytes, &config, Some(&site.pages));
            check_prefixes(&data, &read(&data), read);
            let mut rest = &data[..];
            while let Some(len) = site.check(rest, &origins) {
                assert_eq!(
                    read(&rest[..len]),
                    read(rest),
                    "another answer than to the request alone"
                );
                rest = &rest[len..];
            }
        }
    });
}

impl Site {
    fn new(files: &[(&'static [u8], &'static str, &'static [u8])]) -> Self {
        let pages = Pages::from_files(files.iter().map(|(path, _, bytes)| (path, bytes.to_vec())));
        let with_tag = |&(path, content_type, bytes): &(&'static [u8], _, _)| {
            (path, File { content_type, bytes, tag: tag_of(path, &pages) })
        };
        let files: BTreeMap<_, _> = files[..files.len() - 1].iter().map(with_tag).collect();
        Self { files, pages }
    }

    fn with_tag(&self, data: &[u8]) -> Vec<u8> {
        let mut spelled = Vec::new();
        let mut rest = data;
        while let Some(at) = rest.windows(TAG.len()).position(|window| window == TAG) {
            spelled.extend_from_slice(&rest[..at]);
            spelled.extend_from_slice(self.files[PAGE].tag.as_bytes());
            rest = &rest[at + TAG.len()..];
        }
        spelled.extend_from_slice(rest);
        spelled
    }

    /// Checks the first request. Returns the length of its head, if another may follow.
    fn check(&self, data: &[u8], origins: &AllowedOrigins) -> Option<usize> {
        let verdict = read_head(data, &allowing(origins.clone()), Some(&self.pages));
        let Some(len) = whole_head(data) else {
            // It may already be invalid.
            match verdict {
                Head::Incomplete => assert!(data.len() < MAX_HEAD_BYTES),
                Head::Refused { answer, .. } => check_answer(data, origins, &answer),
                Head::Tls => assert_eq!(data[0], 0x16),
                other => panic!("half a head gets {other:?}"),
            }
            return None;
        };
        let head = &data[..len];
        let is_plain = is_plain(head);
        let due = self.due(head);
        match (verdict, due) {
            (Head::Tls, _) if !is_plain => assert_eq!(data[0], 0x16),
            (Head::Refused { refusal, answer }, _)
                if !is_plain && [400, 431].contains(&refusal.status()) =>
            {
                check_answer(head, origins, &answer);
            }
            (Head::Refused { refusal, answer }, Due::Refusal(status)) => {
                assert_eq!(refusal.status(), status);
                check_answer(head, origins, &answer);
            }
            (Head::Refused { refusal, answer }, Due::Upgrade) => {
                let statuses: &[u16] = if wants_upgrade(head) { &[400, 403, 426] } else { &[426] };
                assert!(statuses.contains(&refusal.status()), "{refusal:?}");
                check_answer(head, origins, &answer);
            }
            (Head::Upgrade { len: read, response }, Due::Upgrade) => {
                assert_eq!(read, len);
                check_upgrade(head, origins, &response);
            }
            (
                Head::Report { report: Report::Health, len: read, is_head, after },
                Due::Health { is_head: due, after: then },
            ) => {
                assert_eq!((read, is_head, after), (len, due, then));
                return (after != After::Close).then_some(len);
            }
            (Head::Answered { len: read, answer }, Due::Answer(expected)) => {
                let after = expected.after;
                assert_eq!((read, answer.after()), (len, after));
                expected.check(answer);
                return (after != After::Close).then_some(len);
            }
            (verdict, due) => panic!("{due:?} is due, and not {verdict:?}"),
        }
        None
    }

    fn due(&self, head: &[u8]) -> Due {
        let mut parts = request_line(head).split(|&byte| byte == b' ');
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is_newer = request_line(head).ends_with(b"1.1");
        let (is_get, is_head) = (method == b"GET", method == b"HEAD");
        let hosts = values(head, "host").count();
        if hosts > 1 || (hosts == 0 && is_newer) {
            return Due::Refusal(400);
        }
        let has_body = match announced(head) {
            Some(length) => length > 0,
            None => return Due::Refusal(400),
        };
        if has_body && (is_get || is_head) {
            return Due::Refusal(400);
        }
        let says = |option: &str| {
            tokens(head, "connection").any(|token| token.eq_ignore_ascii_case(option.as_bytes()))
        };
        let after = match is_newer {
            _ if has_body || says("close") => After::Close,
            true => After::Stay,
            false if says("keep-alive") => After::StayOld,
            false => After::Close,
        };
        let mut cut = target.splitn(2, |&byte| byte == b'?');
        let (encoded, query) = (path_of(target), cut.nth(1));
        let answer = |status, headers: &[(&'static str, String)], body| {
            let headers = headers.iter().cloned().collect();
            Due::Answer(Expected { status, after, headers, body, is_head })
        };
        // In all spellings a path begins with a slash.
        if !encoded.starts_with(b"/") {
            return answer(404, &[], None);
        }
        let Some(path) = decoded(encoded) else { return Due::Refusal(400) };
        let not_allowed = || answer(405, &[("Allow", "GET, HEAD".to_owned())], None);
        if path == b"/health" {
            return if is_get || is_head { Due::Health { is_head, after } } else { not_allowed() };
        }
        let file = |path: &[u8]| match path.ends_with(b"/") {
            true => self.files.get(&[path, b"index.html"].concat()[..]),
            false => self.files.get(path),
        };
        if path == b"/" && (file(b"/").is_none() || (is_get && wants_upgrade(head))) {
            return match method {
                b"GET" => Due::Upgrade,
                b"HEAD" => Due::Refusal(426),
                _ => not_allowed(),
            };
        }
        let folder = [&path[..], b"/"].concat();
        match (file(&path), file(&folder)) {
            (None, Some(_)) if is_get || is_head => {
                let name = encoded.rsplit(|&byte| byte == b'/').next().and_then(decoded);
                let name = spelled(&name.unwrap_or_default(), "-._~");
                let query = match query {
                    Some(query) => format!("?{}", spelled(query, GRAPHIC)),
                    None => String::new(),
                };
                answer(308, &[("Location", format!("{name}/{query}"))], None)
            }
            (None, _) => answer(404, &[], None),
            (Some(_), _) if !is_get && !is_head => not_allowed(),
            (Some(file), _) => {
                let (status, headers, body) = file.due(head, is_get);
                answer(status, &headers, body)
            }
        }
    }
}

impl File {
    fn due(&self, head: &[u8], is_get: bool) -> (u16, Lines, Option<&'static [u8]>) {
        let mut headers =
            vec![("ETag", self.tag.clone()), ("Cache-Control", "no-cache".to_owned())];
        let tag = self.tag.as_bytes();
        if tokens(head, "if-none-match")
            .any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag)
        {
            return (304, headers, Some(b""));
        }
        let len = self.bytes.len() as u64;
        let ranges: Vec<&[u8]> = values(head, "range").collect();
        let asked = match ranges[..] {
            [range] if is_get && len > 0 && values(head, "if-range").all(|value| value == tag) => {
                asked(range, len)
            }
            _ => None,
        };
        let body = match asked {
            Some((first, _)) if first >= len => {
                return (416, vec![("Content-Range", format!("bytes */{len}"))], None);
            }
            Some((first, last)) => {
                let last = last.min(len - 1);
                headers.push(("Content-Range", format!("bytes {first}-{last}/{len}")));
                &self.bytes[first as usize..=last as usize]
            }
            None => self.bytes,
        };
        headers.extend([
            ("Content-Type", self.content_type.to_owned()),
            ("Content-Length", body.len().to_string()),
            ("Accept-Ranges", "bytes".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ]);
        (if asked.is_some() { 206 } else { 200 }, headers, Some(body))
    }
}

impl Expected {
    fn check(mut self, answer: Answer) {
        let (bytes, body) = answer.into_parts();
        let len = head_len(&bytes);
        let (head, text) = bytes.split_at(len);
        let mut headers = [EMPTY_HEADER; 12];
        let (status, headers) = parse(head, &mut headers, len);
        let body = body.as_ref().map_or(text, |body| {
            assert!(text.is_empty(), "a text and a page");
            body.rest()
        });
        assert_eq!(status, self.status);
        let lines = headers.len();
        let headers: BTreeMap<&str, &str> = headers.into_iter().collect();
        assert_eq!(headers.len(), lines, "a line comes twice");
        match self.after {
            After::Close => _ = self.headers.insert("Connection", "close".to_owned()),
            After::StayOld => _ = self.headers.insert("Connection", "keep-alive".to_owned()),
            After::Stay => {}
        }
        if self.body.is_none() {
            let length = headers["Content-Length"];
            assert!(self.is_head || length == body.len().to_string(), "{length}");
            self.headers.insert("Content-Type", "text/plain; charset=utf-8".to_owned());
            self.headers.insert("Content-Length", length.to_owned());
        }
        match self.body {
            _ if self.is_head => assert_eq!(body, b"", "a body for HEAD"),
            Some(expected) => assert_eq!(body, expected),
            None => assert!(body.ends_with(b"\n"), "no text"),
        }
        let expected = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(headers, expected.collect());
    }
}

fn tag_of(path: &[u8], pages: &Pages) -> String {
    let encoded: String = path[1..].iter().map(|byte| format!("%{byte:02x}")).collect();
    let head = format!("GET /{encoded} HTTP/1.0\r\n\r\n");
    let verdict = read_head(head.as_bytes(), &allowing(AllowedOrigins::Any), Some(pages));
    let Head::Answered { answer, .. } = verdict else { panic!("{verdict:?}") };
    let (bytes, _) = answer.into_parts();
    let mut headers = [EMPTY_HEADER; 12];
    let (_, headers) = parse(&bytes, &mut headers, head_len(&bytes));
    let tag = headers.iter().find(|(name, _)| *name == "ETag");
    tag.map(|(_, tag)| (*tag).to_owned()).unwrap_or_default()
}

/// The length of the head at the start, its empty line included; empty lines before it count.
fn whole_head(data: &[u8]) -> Option<usize> {
    let (mut len, mut has_begun) = (0, false);
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        len += line.len();
        let is_empty = line == b"\n" || line == b"\r\n";
        if has_begun && is_empty {
            return (len <= MAX_HEAD_BYTES).then_some(len);
        }
        has_begun |= !is_empty;
    }
    None
}

/// Whether the head is well-formed, so that the answer depends only on its content.
fn is_plain(head: &[u8]) -> bool {
    let is_token = |bytes: &[u8]| {
        !bytes.is_empty()
            && bytes
                .iter()
                .all(|&byte| byte.is_ascii_graphic() && !DELIMITERS.contains(char::from(byte)))
    };
    let mut lines = lines(head);
    let line: Vec<&[u8]> = lines.next().unwrap_or_default().split(|&byte| byte == b' ').collect();
    let [method, target, version] = line[..] else { return false };
    let is_field = |line: &[u8]| {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return false };
        let is_text = |&byte: &u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
        is_token(&line[..colon]) && line[colon + 1..].iter().all(is_text)
    };
    let fields: Vec<&[u8]> = lines.collect();
    is_token(method)
        && !target.is_empty()
        && target.iter().all(|&byte| byte.is_ascii_graphic() && !b"\"#<>".contains(&byte))
        && [&b"HTTP/1.0"[..], b"HTTP/1.1"].contains(&version)
        && fields.len() <= MAX_LINES
        && fields.iter().all(|line| is_field(line))
}

fn wants_upgrade(head: &[u8]) -> bool {
    let has =
        |name, token: &[u8]| tokens(head, name).any(|found| found.eq_ignore_ascii_case(token));
    has("upgrade", b"websocket") && has("connection", b"upgrade")
}

/// The length of the body that the head announces; `None` if that is ambiguous.
fn announced(head: &[u8]) -> Option<u64> {
    if values(head, "transfer-encoding").next().is_some() {
        return None;
    }
    let lengths: Vec<&[u8]> = values(head, "content-length").collect();
    match lengths[..] {
        [] => Some(0),
        [length] if !length.is_empty() => length.iter().try_fold(0_u64, |sum, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            sum.checked_mul(10)?.checked_add(digit.into())
        }),
        _ => None,
    }
}

/// The path of a target in any form, not decoded.
fn path_of(target: &[u8]) -> &[u8] {
    let scheme = target.windows(3).position(|window| window == b"://");
    let from = match scheme {
        Some(at) if target[0] != b'/' => {
            let authority = &target[at + 3..];
            let len = authority.iter().position(|byte| b"/?".contains(byte));
            at + 3 + len.unwrap_or(authority.len())
        }
        _ => 0,
    };
    let path = target[from..].split(|&byte| byte == b'?').next().unwrap_or_default();
    if path.is_empty() { b"/" } else { path }
}

fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts = path.split(|&byte| byte == b'%');
    let mut decoded = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(rest);
    }
    Some(decoded)
}

/// Percent-encodes all but letters, digits and these signs, so that no part of a name looks like
/// a scheme, a query or a slash.
fn spelled(bytes: &[u8], signs: &str) -> String {
    let spell = |&byte: &u8| match char::from(byte) {
        sign if sign.is_ascii_alphanumeric() || signs.contains(sign) => sign.to_string(),
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(spell).collect()
}

/// The first and the last byte of a byte range; `None` if it is malformed.
fn asked(range: &[u8], len: u64) -> Option<(u64, u64)> {
    let (unit, rest) = range.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut ends = rest.trim_ascii().splitn(2, |&byte| byte == b'-');
    let (first, last) = (ends.next()?, ends.next()?);
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u64, |sum, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            Some(sum.saturating_mul(10).saturating_add(digit.into()))
        })
    };
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some((len - number(last)?.min(len), len - 1)),
        (false, true) => Some((number(first)?, u64::MAX)),
        (false, false) => {
            Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
        }
    }
}
