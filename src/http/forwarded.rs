//! The client address of a request that comes through a trusted proxy: `X-Forwarded-For`.
//!
//! Each proxy appends the address from which it got the request. So the lines are read as one
//! list, from right to left, as long as the entries are trusted proxies; the next entry is
//! the address that the last of these proxies saw. Entries to the left of it are ignored:
//! the client may have written them.
//!
//! `Forwarded` (RFC 7239) is not read: a proxy that does not know it passes on whatever a
//! client wrote there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use httparse::Request;

use super::head;
use super::request::values;
use crate::settings::networks::Networks;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The proxy's own, or unknown.
    Proxy,
    /// This address's, in canonical form. It may itself be a trusted proxy.
    Address(IpAddr),
}

/// Reads whose the next request from a trusted proxy is; `None` while its head is incomplete.
/// Bytes that are not a request head count as the proxy's own.
pub fn read_requester(bytes: &[u8], trusted: &Networks) -> Option<Requester> {
    match head::read(bytes, |request, _| requester(request, trusted)) {
        Ok(requester) => Some(requester),
        Err(None) => None,
        Err(Some(_)) => Some(Requester::Proxy),
    }
}

fn requester(request: &Request<'_, '_>, trusted: &Networks) -> Requester {
    let lines = values(request, "x-forwarded-for").rev();
    let mut requester = Requester::Proxy;
    for entry in lines.flat_map(|line| line.rsplit(|&byte| byte == b',')) {
        // Not an address, or empty: then the entries to the left of it are not reliable either.
        let Some(address) = address(entry.trim_ascii()) else { break };
        requester = Requester::Address(address);
        if !trusted.contains(address) {
            break;
        }
    }
    requester
}

/// An address, optionally with a port: `192.0.2.1:80`, `[2001:db8::1]:80`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let (address, port): (IpAddr, _) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else if let Ok(address) = text.parse() {
        (address, "")
    } else {
        let (address, port) = text.split_at(text.find(':')?);
        (address.parse::<Ipv4Addr>().ok()?.into(), port)
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    };
    let is_well = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_well.then(|| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: &str = "10.0.0.0/8,fd00::/8";

    fn head(lines: &[&str]) -> String {
        let lines: String =
            lines.iter().map(|line| format!("X-Forwarded-For:{line}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: box\r\n{lines}\r\n")
    }

    fn read(head: &str) -> Option<Requester> {
        read_requester(head.as_bytes(), &Networks::parse(TRUSTED).unwrap())
    }

    /// Whose a request with these lines is; `-` is the proxy's own.
    #[track_caller]
    fn assert_asker(lines: &[&str], expected: &str) {
        let expected = match expected {
            "-" => Requester::Proxy,
            address => Requester::Address(address.parse().unwrap()),
        };
        assert_eq!(read(&head(lines)), Some(expected), "{lines:?}");
    }

    #[test]
    fn right_most_address_that_is_not_trusted_is_the_askers() {
        assert_asker(&["192.0.2.1"], "192.0.2.1");
        assert_asker(&["192.0.2.9, 192.0.2.1"], "192.0.2.1");
        assert_asker(&["192.0.2.9,192.0.2.1,10.0.0.1"], "192.0.2.1");
        assert_asker(&["192.0.2.9, 192.0.2.1, 10.0.0.1, fd00::1, 10.9.9.9"], "192.0.2.1");
        assert_asker(&["2001:db8::1, 10.0.0.1"], "2001:db8::1");
    }

    #[test]
    fn all_lines_are_one_list() {
        assert_asker(&["192.0.2.9", "192.0.2.1"], "192.0.2.1");
        assert_asker(&["192.0.2.9, 192.0.2.1", "10.0.0.1", "10.0.0.2, fd00::1"], "192.0.2.1");
        let text = "GET / HTTP/1.1\r\nx-forwarded-FOR: 192.0.2.1\r\nHost: box\r\n\
            X-FORWARDED-For:10.0.0.1\r\nX-Forwarded-Fort: 192.0.2.2\r\nForwarded: for=192.0.2.3\r\n\r\n";
        assert_eq!(read(text), Some(Requester::Address([192, 0, 2, 1].into())));
    }

    #[test]
    fn without_an_entry_it_is_the_proxys_own() {
        assert_asker(&[], "-");
        assert_asker(&[""], "-");
        assert_asker(&[" \t "], "-");
    }

    #[test]
    fn where_all_are_trusted_it_is_that_of_the_first_proxy() {
        assert_asker(&["10.0.0.1"], "10.0.0.1");
        assert_asker(&["10.0.0.1, 10.0.0.2", "fd00::1"], "10.0.0.1");
    }

    #[test]
    fn what_is_left_of_the_askers_address_does_not_matter() {
        for rubbish in ["", ",", ", ,", "unknown", "\"", "10.0.0.1", "\u{e4}", "a\tb", "[", "%"] {
            assert_asker(&[&format!("{rubbish},192.0.2.1, 10.0.0.1")], "192.0.2.1");
            assert_asker(&[rubbish, "192.0.2.1, 10.0.0.1"], "192.0.2.1");
        }
    }

    #[test]
    fn where_an_entry_is_no_address_it_is_that_of_the_nearest_proxy() {
        for entry in [
            "",
            " ",
            "unknown",
            "_hidden",
            "unix:",
            "localhost",
            "\"192.0.2.1\"",
            "for=192.0.2.1",
            "010.0.0.1",
            "192.0.2.01",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.1.",
            "3221225985",
            "0xc0.0.2.1",
            "192.0.2.1/32",
            "192.0.2.1 192.0.2.2",
            "192.0.2.1;",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:+80",
            "192.0.2.1:65536",
            "192.0.2.1:80:80",
            ":80",
            "192.0.2.1 :80",
            "fe80::1%eth0",
            "[fe80::1%1]",
            "[fe80::1%1]:80",
            "2001:db8::1:x",
            "[2001:db8::1",
            "2001:db8::1]",
            "[]",
            "[]:80",
            "[192.0.2.1]",
            "[192.0.2.1]:80",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[[::1]]",
            "[2001:db8::1]:65536",
            "2001:db8::1::",
            "12345::",
            "\u{661}92.0.2.1",
            "%31",
            "\u{e4}",
        ] {
            assert_asker(&[entry], "-");
            assert_asker(&["192.0.2.9", entry], "-");
            assert_asker(&[&format!("192.0.2.9, {entry}, 10.0.0.1,10.0.0.2")], "10.0.0.1");
        }
    }

    #[test]
    fn port_may_stand_behind_an_address() {
        for port in ["0", "1", "80", "065", "65535"] {
            assert_asker(&[&format!("192.0.2.1:{port}")], "192.0.2.1");
            assert_asker(&[&format!("[2001:db8::1]:{port}")], "2001:db8::1");
            assert_asker(&[&format!("192.0.2.1, [fd00::1]:{port}, 10.0.0.1:{port}")], "192.0.2.1");
        }
        assert_asker(&["[2001:db8::1]"], "2001:db8::1");
        // Ambiguous, and read as an address without a port.
        assert_asker(&["2001:db8::1:8080"], "2001:db8::1:8080");
    }

    #[test]
    fn addresses_are_canonical() {
        assert_asker(&["::ffff:192.0.2.1"], "192.0.2.1");
        assert_asker(&["::FFFF:c000:201"], "192.0.2.1");
        assert_asker(&["[::ffff:192.0.2.1]:80"], "192.0.2.1");
        assert_asker(&["192.0.2.1, ::ffff:10.0.0.1"], "192.0.2.1");
        assert_asker(&["2001:DB8:0:0::1"], "2001:db8::1");
        assert_asker(&["::192.0.2.1"], "::c000:201");
    }

    #[test]
    fn spaces_and_tabs_around_an_entry_do_not_matter() {
        assert_asker(&["\t 192.0.2.1 \t,\t10.0.0.1\t ", " \t10.0.0.2"], "192.0.2.1");
    }

    #[test]
    fn thousands_of_entries_and_huge_ones_are_read_as_few_short_ones_are() {
        let room = head::MAX_HEAD_BYTES - head(&[""]).len();
        let many = "10.0.0.1,".repeat(room / 9 - 1);
        assert_asker(&[&format!("{many}10.0.0.2")], "10.0.0.1");
        assert_asker(&[&format!("192.0.2.1,{}10.0.0.2", &many[18..])], "192.0.2.1");
        assert_asker(&[&",".repeat(room)], "-");
        assert_asker(&[&"1".repeat(room)], "-");
        assert_asker(&[&":".repeat(room)], "-");
        assert_asker(&[&format!("{},192.0.2.1", "x".repeat(room - 10))], "192.0.2.1");
        assert_asker(&[&format!("192.0.2.1{}", " ".repeat(room - 9))], "192.0.2.1");
    }

    #[test]
    fn head_that_goes_on_has_no_asker_yet_and_a_bad_one_is_the_proxys_own() {
        let text = head(&["192.0.2.1"]);
        for len in 0..text.len() {
            assert_eq!(read(&text[..len]), None, "{len}");
        }
        let more = format!("{text}GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n");
        assert_eq!(read(&more), read(&text));
        for bad in ["\u{16}\u{3}\u{1}", "rubbish\r\n\r\n", &"x".repeat(head::MAX_HEAD_BYTES)] {
            assert_eq!(read(bad), Some(Requester::Proxy));
        }
    }
}
