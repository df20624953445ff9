//! Lists of addresses and networks in a setting (CIDR; RFC 4632, RFC 4291).
//!
//! An IPv4 address equals its IPv6-mapped form (`::ffff:192.0.2.1`), and so does a network of
//! such addresses. No other IPv6 network contains IPv4 addresses: `::/0` is IPv6 only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A list of networks; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// All addresses whose first `prefix` bits are those of `first`; the other bits of `first` are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    prefix: u32,
}

impl Networks {
    /// Reads a comma-separated list of addresses (`192.0.2.1`, `2001:db8::1`) and networks
    /// (`192.0.2.0/24`, `2001:db8::/32`).
    ///
    /// # Errors
    /// What is wrong with the first entry that is neither. A network with bits after its prefix
    /// (`192.0.2.1/24`) is an error: it may mean the address or the network.
    pub fn parse(list: &str) -> Result<Self, String> {
        list.split(',')
            .map(|entry| Network::parse(entry.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether an address, in either form, is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| masked(address, network.prefix) == network.first)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them contains all addresses of IPv4 or of IPv6.
    pub fn has_all(&self) -> bool {
        self.0.iter().any(|network| network.prefix == 0)
    }
}

/// As they were given, in their usual forms.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Network { first, prefix }) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            if *prefix == bits(*first) {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}/{prefix}")?;
            }
        }
        Ok(())
    }
}

impl Network {
    fn parse(entry: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{entry:?} is neither an address nor a network; \
                 give a comma-separated list such as 127.0.0.1,10.0.0.0/8,fd00::/8"
            )
        };
        let (address, prefix) = match entry.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (entry, None),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix = match prefix {
            None => bits(written),
            // Digits only: Rust's own parser would also take "+8".
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
        };
        if prefix > bits(written) {
            return Err(wrong());
        }
        let first = masked(written, prefix);
        if first != written {
            return Err(format!(
                "{entry:?} has bits after its prefix; give {first}/{prefix} or {written}"
            ));
        }
        // A network within the mapped addresses (prefix of 96 bits) is a network of IPv4.
        let canonical = first.to_canonical();
        Ok(Self { first: canonical, prefix: prefix - (bits(first) - bits(canonical)) })
    }
}

/// How many bits an address of this family has.
fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => Ipv4Addr::BITS,
        IpAddr::V6(_) => Ipv6Addr::BITS,
    }
}

/// The address with all bits after the prefix set to 0.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    let behind = bits(address).saturating_sub(prefix);
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, address: &str) -> bool {
        Networks::parse(list).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn address_is_a_network_of_one() {
        for address in ["192.0.2.1", "2001:db8::1", "::", "0.0.0.0", "255.255.255.255"] {
            assert!(contains(address, address), "{address}");
        }
        assert!(!contains("192.0.2.1", "192.0.2.0"));
        assert!(!contains("192.0.2.1", "192.0.2.3"));
        assert!(!contains("2001:db8::1", "2001:db8::"));
        assert!(!contains("0.0.0.0", "::"));
        assert!(!contains("::", "0.0.0.0"));
    }

    #[test]
    fn network_has_the_addresses_of_its_prefix_and_no_others() {
        for (network, within, without) in [
            ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
            ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.128"]),
            ("192.0.2.2/31", ["192.0.2.2", "192.0.2.3"], ["192.0.2.1", "192.0.2.4"]),
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            ("128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255", "8000::"]),
            ("fd00::/8", ["fd00::", "fdff::1"], ["fc00::", "fe00::"]),
            (
                "2001:db8::/33",
                ["2001:db8::", "2001:db8:7fff::"],
                ["2001:db8:8000::", "32.1.13.184"],
            ),
            ("::/127", ["::", "::1"], ["::2", "0.0.0.1"]),
        ] {
            assert!(within.iter().all(|address| contains(network, address)), "{network}");
            assert!(!without.iter().any(|address| contains(network, address)), "{network}");
        }
    }

    #[test]
    fn prefix_of_0_has_all_of_its_family() {
        assert!(contains("0.0.0.0/0", "255.1.2.3"));
        assert!(contains("0.0.0.0/0", "::ffff:1.2.3.4"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "ffff::1"));
        assert!(!contains("::/0", "1.2.3.4"));
        for (list, all) in [
            ("0.0.0.0/0", true),
            ("10.0.0.0/8,::/0", true),
            ("::ffff:0:0/96", true),
            ("::/1", false),
        ] {
            assert_eq!(Networks::parse(list).unwrap().has_all(), all, "{list}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        assert!(contains("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(contains("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(!contains("::ffff:10.0.0.0/104", "11.1.2.3"));
        assert!(!contains("::ffff:10.0.0.0/104", "::10.1.2.3"));
        assert_eq!(Networks::parse("::ffff:10.0.0.0/104"), Networks::parse("10.0.0.0/8"));
    }

    #[test]
    fn none_contains_nothing() {
        assert!(!Networks::default().contains([127, 0, 0, 1].into()));
    }

    #[test]
    fn list_is_shown_as_it_was_given() {
        let list =
            Networks::parse(" 127.0.0.1 ,10.0.0.0/8,\tFD00::/8,::1/128,::ffff:1.2.3.4").unwrap();
        assert_eq!(list.to_string(), "127.0.0.1,10.0.0.0/8,fd00::/8,::1,1.2.3.4");
        assert_eq!(Networks::default().to_string(), "");
    }

    #[test]
    fn what_is_neither_is_named() {
        for entry in [
            "",
            "x",
            "localhost",
            "127.0.0.1:80",
            "[::1]",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10/8",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0.0/ 8",
            "10.0.0.0/255.0.0.0",
            "010.0.0.1",
            "10.0.0.01",
            "10.0.0",
            "10.0.0.256",
            "fe80::1%eth0",
            "::ffff:10.0.0.0/129",
            "10.0.0.0/99999999999999999999",
            "/8",
            "unknown",
            "*",
        ] {
            let error = Networks::parse(&format!("127.0.0.1,{entry},::1")).unwrap_err();
            assert!(error.starts_with(&format!("{entry:?} is neither an address")), "{error}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_ambiguous() {
        for (entry, right) in [
            ("10.0.0.1/8", "10.0.0.0/8 or 10.0.0.1"),
            ("192.0.2.1/0", "0.0.0.0/0 or 192.0.2.1"),
            ("fd00::1/8", "fd00::/8 or fd00::1"),
            ("::ffff:10.0.0.1/104", "::ffff:10.0.0.0/104 or ::ffff:10.0.0.1"),
            ("::ffff:10.0.0.0/80", "::/80 or ::ffff:10.0.0.0"),
        ] {
            let error = Networks::parse(entry).unwrap_err();
            assert!(error.ends_with(&format!("give {right}")), "{error}");
        }
    }
}
