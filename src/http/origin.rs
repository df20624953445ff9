//! Which web pages may connect, by the `Origin` that their browser sends (RFC 6454,
//! section 7; RFC 6455, section 10.2).
//!
//! Listed origins are compared byte by byte: browsers have one spelling for each. `self`
//! compares the Origin's host and port with those of the request. The scheme is not
//! compared: moss can't know whether a proxy in front of it terminates TLS. The scheme only
//! determines the default port.
//!
//! An Origin or a Host that can't be parsed for certain never matches: the page is refused.

use std::net::Ipv6Addr;

use crate::settings::config::AllowedOrigins;

/// Whether a page of this origin may connect. `host` is the host and port that the request is
/// for; `None` if that is not certain.
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
    // The default port of the Origin's scheme counts for both: behind a proxy that terminates
    // TLS, only the Origin shows that the page was loaded by https.
    match (host_and_port(page, default_port), host_and_port(host, default_port)) {
        (Some((page, page_port)), Some((host, port))) => {
            page.eq_ignore_ascii_case(host) && page_port == port
        }
        _ => false,
    }
}

/// Splits `host[:port]` (RFC 3986, section 3.2); `None` if it is anything else. User names,
/// escapes and characters beyond ASCII are refused: no browser sends them here.
fn host_and_port(authority: &[u8], default_port: u16) -> Option<(&str, u16)> {
    let is_usual = |&byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !authority.iter().all(is_usual) {
        return None;
    }
    let authority = str::from_utf8(authority).ok()?;
    // An IPv6 address is in brackets; the port's colon comes after them.
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

    /// Not even for a page whose Origin is just as invalid.
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
