//! Which web pages may connect, by the `Origin` that their browser sends (RFC 6454,
//! section 7; RFC 6455, section 10.2).
//!
//! A named origin is compared byte by byte: browsers have one spelling for each. `self`
//! compares the Origin's host and port with those of the request. Its scheme is not
//! compared: moss can't know whether a proxy before it does the TLS. It only tells the
//! port that goes unsaid.
//!
//! What can't be read for certain is nobody's own: the page is refused, not guessed at.

use std::net::Ipv6Addr;

use crate::settings::config::AllowedOrigins;

/// Whether a page of this origin may connect. `host` is what the request says that it is
/// for: the value of `Host`, or nothing if that is not certain.
pub(super) fn may_connect(origin: &[u8], host: Option<&[u8]>, allowed: &AllowedOrigins) -> bool {
    match allowed {
        AllowedOrigins::Any => true,
        AllowedOrigins::Only { named, own } => {
            named.iter().any(|named| named.as_bytes() == origin)
                || *own && host.is_some_and(|host| is_own(origin, host))
        }
    }
}

fn is_own(origin: &[u8], host: &[u8]) -> bool {
    let (page, default_port) = if let Some(page) = origin.strip_prefix(b"http://") {
        (page, 80)
    } else if let Some(page) = origin.strip_prefix(b"https://") {
        (page, 443)
    } else {
        return false;
    };
    // The Origin's default for both: behind a proxy that does the TLS, only the page
    // knows that it came by https.
    match (host_and_port(page, default_port), host_and_port(host, default_port)) {
        (Some((page, page_port)), Some((host, port))) => {
            page.eq_ignore_ascii_case(host) && page_port == port
        }
        _ => false,
    }
}

/// Splits `host[:port]` (RFC 3986, section 3.2); nothing if it is anything else. User
/// names, escapes and other alphabets are refused: no browser sends them here.
fn host_and_port(authority: &[u8], default_port: u16) -> Option<(&str, u16)> {
    let is_usual = |&byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !authority.iter().all(is_usual) {
        return None;
    }
    let authority = str::from_utf8(authority).ok()?;
    // The colons of an IPv6 address stand in brackets, the port's behind them.
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if port.is_empty() => default_port,
        None => return None,
    };
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(origin: &str, host: &str) -> bool {
        let allowed = AllowedOrigins::Only { named: Vec::new(), own: true };
        may_connect(origin.as_bytes(), Some(host.as_bytes()), &allowed)
    }

    #[test]
    fn page_from_the_same_host_and_port_is_own() {
        for (origin, host) in [
            ("http://box:8080", "box:8080"),
            ("http://192.168.1.5:8080", "192.168.1.5:8080"),
            ("https://my-box.local", "my-box.local"),
            ("https://a_b.example:65535", "a_b.example:65535"),
        ] {
            assert!(own(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn host_has_no_case() {
        assert!(own("http://box.local", "Box.LOCAL"));
        assert!(own("http://[fe80::a]", "[FE80::A]"));
    }

    #[test]
    fn port_that_goes_unsaid_is_that_of_the_origins_scheme() {
        for (origin, host) in [
            ("https://box", "box"),
            ("https://box", "box:443"),
            ("https://box:443", "box"),
            ("http://box", "box:80"),
            ("http://box:80", "box"),
        ] {
            assert!(own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://box", "box:80"),
            ("http://box", "box:443"),
            ("https://box:80", "box"),
            ("http://box:443", "box"),
        ] {
            assert!(!own(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn other_host_or_port_is_not_own() {
        for (origin, host) in [
            ("http://box:8080", "box"),
            ("http://box", "box:8080"),
            ("http://box:8080", "box:8081"),
            ("http://box", "box.example"),
            ("http://box.example", "box"),
            ("http://evil.box", "box"),
            ("http://[::1]", "[::2]"),
            ("http://127.0.0.1", "localhost"),
        ] {
            assert!(!own(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn ipv6_stands_in_brackets() {
        assert!(own("http://[::1]", "[::1]"));
        assert!(own("http://[::1]:8080", "[::1]:8080"));
        assert!(own("https://[2001:db8::7]", "[2001:db8::7]:443"));
        for host in ["::1", "::1:80", "[::1", "::1]", "[::1]80", "[::1]x:80", "[]", "[box]"] {
            assert!(!own("http://[::1]", host), "{host}");
            assert!(!own(&format!("http://{host}"), host), "{host}");
        }
    }

    #[test]
    fn only_http_and_https_pages_are_own() {
        for origin in [
            "null",
            "",
            "box",
            "//box",
            "ws://box",
            "file://box",
            "chrome-extension://box",
            "xhttp://box",
            "http:box",
            "http:/box",
        ] {
            assert!(!own(origin, "box"), "{origin}");
        }
        assert!(!own("null", "null"));
    }

    /// Not even of a page whose Origin is just as strange.
    #[test]
    fn strange_host_has_no_own_page() {
        for host in [
            "",
            ":80",
            "box:",
            "box:x",
            "box:-1",
            "box:+80",
            "box:65536",
            "box:80:80",
            "box,box",
            "box box",
            "user@box",
            "box/",
            "box?",
            "b%6fx",
            "böx",
            "b]x",
            "b[x",
            "*",
        ] {
            assert!(!own(&format!("http://{host}"), host), "{host}");
            assert!(!own("http://box", host), "{host}");
        }
        assert!(!own("http://box", "box\0"));
    }

    #[test]
    fn without_a_certain_host_no_page_is_own() {
        let allowed = AllowedOrigins::Only { named: vec!["https://a.example".into()], own: true };
        assert!(!may_connect(b"http://box", None, &allowed));
        assert!(may_connect(b"https://a.example", None, &allowed));
    }

    #[test]
    fn own_pages_are_let_in_only_if_that_was_set() {
        let allowed = AllowedOrigins::Only { named: vec!["https://a.example".into()], own: false };
        assert!(!may_connect(b"http://box", Some(b"box"), &allowed));
    }
}
