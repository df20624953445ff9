//! Resolves host names for the address to listen on.
//!
//! The C library's resolver does that, except in static glibc programs: there it would be a
//! tenth of the whole program, and need shared libraries at run time, so that a name would be
//! found on one machine and not on another. Those programs read only the hosts file, which
//! has the names of the machine or, in a container, of the container.

use std::net::IpAddr;

/// The first address of a name.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub(crate) fn look_up(name: &str) -> Option<IpAddr> {
    use std::net::ToSocketAddrs;
    Some((name, 0).to_socket_addrs().ok()?.next()?.ip())
}

/// The first address of a name. `localhost` needs no file (RFC 6761, section 6.3): an
/// empty image has none.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub(crate) fn look_up(name: &str) -> Option<IpAddr> {
    let file = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let localhost = name.eq_ignore_ascii_case("localhost").then_some([127, 0, 0, 1].into());
    find(&file, name).or(localhost)
}

/// Whether a later look-up of this name may succeed: only where name servers are asked, and not
/// if it is not a name at all, such as a mistyped address.
pub(crate) fn may_be_known_later(name: &str) -> bool {
    const IS_ASKED: bool = !cfg!(all(target_env = "gnu", target_feature = "crt-static"));
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    IS_ASKED
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The first address of a name in a hosts file.
#[cfg(any(test, all(target_env = "gnu", target_feature = "crt-static")))]
fn find(file: &str, name: &str) -> Option<IpAddr> {
    file.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# 10.0.0.1 commented
127.0.0.1\tlocalhost
::1 localhost ip6-localhost # 10.0.0.2
fe80::1%eth0 box
192.0.2.7   box.example.org  box
192.0.2.8 box
";

    #[test]
    fn first_address_of_a_name_is_taken() {
        assert_eq!(find(FILE, "localhost"), Some([127, 0, 0, 1].into()));
        assert_eq!(find(FILE, "ip6-localhost"), Some(std::net::Ipv6Addr::LOCALHOST.into()));
        assert_eq!(find(FILE, "box"), Some([192, 0, 2, 7].into()));
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(find(FILE, "Box.Example.ORG"), Some([192, 0, 2, 7].into()));
    }

    #[test]
    fn comments_and_parts_of_names_are_not_names() {
        for name in ["commented", "10.0.0.2", "box.example", "", "127.0.0.1"] {
            assert_eq!(find(FILE, name), None, "{name:?}");
        }
    }

    #[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
    #[test]
    fn name_may_be_known_later_and_what_is_none_may_not() {
        for name in ["box", "box.local", "box-2.example.org.", "a1"] {
            assert!(may_be_known_later(name), "{name:?}");
        }
        for text in ["", ".", "300.1.2.3", "127.0.0.1:80", "no such host", "[::1", "two\nlines"] {
            assert!(!may_be_known_later(text), "{text:?}");
        }
    }

    #[test]
    fn localhost_is_known_in_any_case() {
        assert!(look_up("localhost").is_some_and(|address| address.is_loopback()));
    }
}
