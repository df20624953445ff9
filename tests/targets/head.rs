//! Fuzz target: request heads. The verdict does not depend on the pieces in which a head
//! arrives; an upgrade needs what RFC 6455, section 4.2.1, requires, and an allowed origin;
//! each answer is well-formed HTTP. `pages` has the same for a moss that serves pages.

#[path = "pages.rs"]
mod pages;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use httparse::{EMPTY_HEADER, Response, Status};
use moss::http::forwarded::{Requester, read_requester};
use moss::http::head::{Head, MAX_HEAD_BYTES, read_head};
use moss::http::redirect;
use moss::settings::config::{AllowedOrigins, Config};
use moss::settings::networks::Networks;
use tungstenite::handshake::derive_accept_key;

/// Up to this size every prefix of a head is tried; of longer heads only some.
const EVERY_PREFIX: usize = 512;

/// Characters that no token contains (RFC 9110, section 5.6.2).
const DELIMITERS: &str = "\"(),/:;<=>?@[\\]{}";

const ORIGIN: &str = "https://a.example";

/// Panics if moss handles the head in `data` wrongly.
pub(crate) fn check(data: &[u8]) {
    let only = |own| AllowedOrigins::Only { named: vec![ORIGIN.to_owned()], own };
    for origins in [AllowedOrigins::Any, only(false), only(true)] {
        let config = allowing(origins.clone());
        let verdict = read_head(data, &config, None);
        check_prefixes(data, &verdict, |prefix| read_head(prefix, &config, None));
        match verdict {
            Head::Incomplete => assert!(data.len() < MAX_HEAD_BYTES),
            Head::Upgrade { len, response } => check_upgrade(&data[..len], &origins, &response),
            Head::Report { is_head, .. } => {
                let method: &[u8] = if is_head { b"HEAD " } else { b"GET " };
                assert!(request_line(data).starts_with(method));
            }
            Head::Refused { answer, .. } => check_answer(data, &origins, &answer),
            Head::Tls => assert_eq!(data[0], 0x16),
            Head::Redirect(_) | Head::Answered { .. } => panic!("only with TLS or with pages"),
        }
    }
    check_redirect(data);
    check_requester(data);
    pages::check(data);
}

/// Checks which client address moss reads from a trusted proxy's request.
fn check_requester(data: &[u8]) {
    let trusted = Networks::parse("10.0.0.0/8,fd00::/8").expect("two networks");
    let requester = read_requester(data, &trusted);
    for len in (0..data.len()).step_by(1 + data.len() / EVERY_PREFIX) {
        let early = read_requester(&data[..len], &trusted);
        assert!(early.is_none() || early == requester, "another requester after {len} bytes");
    }
    let verdict = read_head(data, &allowing(AllowedOrigins::Any), None);
    assert_eq!(requester.is_none(), verdict == Head::Incomplete);
    let entries: Vec<_> = tokens(data, "x-forwarded-for").map(known_address).collect();
    let Some(Requester::Address(address)) = requester else {
        let is_head = matches!(verdict, Head::Upgrade { .. } | Head::Report { .. });
        return assert!(!is_head || entries.last().is_none_or(Option::is_none));
    };
    assert_eq!(address, address.to_canonical());
    let is_trusted = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    };
    let found = entries.iter().rposition(|&entry| entry.is_none_or(|entry| !is_trusted(entry)));
    let expected = match found {
        None => entries[0],
        Some(at) if entries[at].is_some() => entries[at],
        Some(at) => entries[at + 1],
    };
    assert_eq!(expected, Some(address));
}

/// The address in an entry, parsed by the standard library.
fn known_address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok().filter(|text| !text.contains('%'))?;
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().map(IpAddr::V6).ok();
    let with_port = || text.parse().map(|address: SocketAddr| address.ip()).ok();
    let address = text.parse().ok().or_else(bare).or_else(with_port)?;
    Some(address.to_canonical())
}

/// The configuration of a moss with these allowed origins.
pub(super) fn allowing(origins: AllowedOrigins) -> Config {
    Config { allowed_origins: origins, ..Config::new("secret", "offer") }
}

/// The same head on the TLS port.
fn check_redirect(data: &[u8]) {
    let verdict = redirect::read_head(data);
    check_prefixes(data, &verdict, redirect::read_head);
    match verdict {
        Head::Incomplete => assert!(data.len() < MAX_HEAD_BYTES),
        Head::Refused { answer, .. } => check_answer(data, &AllowedOrigins::Any, &answer),
        Head::Redirect(answer) => {
            let mut headers = [EMPTY_HEADER; 8];
            let (code, headers) = parse(&answer, &mut headers, head_len(&answer));
            assert_eq!(code, 307);
            let location = headers.iter().find(|header| header.0 == "Location");
            let location = location.expect("a location").1;
            let target = request_line(data).split(|&byte| byte == b' ').nth(1).expect("a target");
            assert!(location.starts_with("https://"), "{location}");
            assert!(location.as_bytes().ends_with(target), "{location}");
            assert!(request_line(data).starts_with(b"GET "));
        }
        other => panic!("not on the TLS port: {other:?}"),
    }
}

fn head_len(answer: &[u8]) -> usize {
    4 + answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an end of the head")
}

/// When a prefix has a verdict, more bytes must not change it.
fn check_prefixes(data: &[u8], verdict: &Head, read: impl Fn(&[u8]) -> Head) {
    for len in (0..data.len()).step_by(1 + data.len() / EVERY_PREFIX) {
        let early = read(&data[..len]);
        if early != Head::Incomplete {
            assert!(early == *verdict, "another verdict after {len} bytes");
        }
    }
}

fn check_upgrade(head: &[u8], origins: &AllowedOrigins, response: &[u8]) {
    assert!(head.len() <= MAX_HEAD_BYTES);
    let line = request_line(head);
    assert!(line.starts_with(b"GET ") && line.ends_with(b" HTTP/1.1"));
    assert!(tokens(head, "upgrade").any(|token| token.eq_ignore_ascii_case(b"websocket")));
    assert!(tokens(head, "connection").any(|token| token.eq_ignore_ascii_case(b"upgrade")));
    assert_eq!(values(head, "sec-websocket-version").collect::<Vec<_>>(), [b"13"]);
    assert!(may_connect(head, origins), "a page that may not connect");
    let [key] = values(head, "sec-websocket-key").collect::<Vec<_>>()[..] else {
        panic!("not one key");
    };
    assert_eq!(key.len(), 24);

    let mut headers = [EMPTY_HEADER; 4];
    let (code, headers) = parse(response, &mut headers, response.len());
    assert_eq!(code, 101);
    let accept = derive_accept_key(key);
    let mut expected = vec![
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", &accept),
    ];
    if let [.., ("Sec-WebSocket-Protocol", protocol)] = headers[..] {
        assert!(tokens(head, "sec-websocket-protocol").any(|token| token == protocol.as_bytes()));
        assert!(
            !protocol.contains(|sign: char| !sign.is_ascii_graphic() || DELIMITERS.contains(sign))
        );
        expected.push(("Sec-WebSocket-Protocol", protocol));
    }
    assert_eq!(headers, expected);
}

fn check_answer(request: &[u8], origins: &AllowedOrigins, answer: &[u8]) {
    let text = str::from_utf8(answer).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an end of the head");
    let mut headers = [EMPTY_HEADER; 8];
    let (code, headers) = parse(answer, &mut headers, head.len() + 4);
    assert!([400, 403, 404, 405, 426, 431].contains(&code), "{code}");
    assert!(code != 403 || !may_connect(request, origins), "a page that may connect");
    let value = |name| headers.iter().find(|header| header.0 == name).map(|header| header.1);
    // The answer to HEAD has a length, but no body (RFC 9110, section 9.3.2).
    if !body.is_empty() || !request_line(request).starts_with(b"HEAD ") {
        assert_eq!(value("Content-Length"), Some(body.len().to_string().as_str()));
    }
    assert_eq!(value("Connection"), Some("close"));
}

/// Whether the origin in the head is allowed.
fn may_connect(head: &[u8], origins: &AllowedOrigins) -> bool {
    let AllowedOrigins::Only { own, .. } = origins else { return true };
    values(head, "origin").all(|origin| {
        origin == ORIGIN.as_bytes() || *own && is_own(origin, host(head)).unwrap_or(false)
    })
}

/// The authority of the request, empty if it is ambiguous.
fn host(head: &[u8]) -> &[u8] {
    let target = request_line(head).split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let scheme = target.windows(3).position(|window| window == b"://");
    match (scheme, &values(head, "host").collect::<Vec<_>>()[..]) {
        (Some(at), _) if !target.starts_with(b"/") => {
            target[at + 3..].split(|byte| b"/?".contains(byte)).next().unwrap_or_default()
        }
        (_, [host]) => host,
        _ => b"",
    }
}

/// Whether both are the same once default ports are added.
fn is_own(origin: &[u8], host: &[u8]) -> Option<bool> {
    let (scheme, page) = str::from_utf8(origin).ok()?.split_once("://")?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some(in_full(page, port)? == in_full(str::from_utf8(host).ok()?, port)?)
}

/// The host in lower case and the port. It is parsed from the end, while moss parses from the
/// start.
fn in_full(authority: &str, default_port: u16) -> Option<(String, u16)> {
    let rest = authority.trim_end_matches(|sign: char| sign.is_ascii_digit());
    let (host, port) = match rest.strip_suffix(':') {
        Some(host) => (host, authority[rest.len()..].parse().ok()?),
        None => (authority, default_port),
    };
    let is_host = match host.split_once(']') {
        Some((address, "")) => address.strip_prefix('[')?.parse::<Ipv6Addr>().is_ok(),
        _ => {
            host.split(['.', '-', '_']).all(|part| part.chars().all(|c| c.is_ascii_alphanumeric()))
        }
    };
    (is_host && !host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

/// The status and header lines of a response whose head is `len` bytes long.
fn parse<'b>(
    response: &'b [u8],
    headers: &mut [httparse::Header<'b>],
    len: usize,
) -> (u16, Vec<(&'b str, &'b str)>) {
    let mut parsed = Response::new(headers);
    assert_eq!(parsed.parse(response), Ok(Status::Complete(len)));
    let text =
        |header: &httparse::Header<'b>| (header.name, str::from_utf8(header.value).expect("text"));
    (parsed.code.expect("a status"), parsed.headers.iter().map(text).collect())
}

fn request_line(head: &[u8]) -> &[u8] {
    lines(head).next().unwrap_or_default()
}

/// The lines of the head, up to the empty line. Empty lines may come before the head.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
}

fn values<'h>(head: &'h [u8], name: &str) -> impl Iterator<Item = &'h [u8]> {
    lines(head).filter_map(move |line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then_some(value.trim_ascii())
    })
}

fn tokens<'h>(head: &'h [u8], name: &str) -> impl Iterator<Item = &'h [u8]> {
    values(head, name).flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}
