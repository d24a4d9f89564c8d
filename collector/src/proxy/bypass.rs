//! NO_PROXY: which hosts are asked without a proxy, by the rules of Go's httpproxy.
//!
//! In: the list's text. Out: whether a host and port are in it. Rules, separated by commas: `*`, an address, a network such as
//! `10.0.0.0/8`, a domain with its subdomains (`example.com`), only the subdomains (`.example.com`, `*.example.com`); all but
//! networks also with a port. Anything else matches nothing.

use std::net::IpAddr;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bypass {
    rules: Vec<Rule>,
    loopback: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Everything,
    Network {
        address: u128,
        bits: u32,
    },
    Address {
        address: u128,
        port: Option<u16>,
    },
    /// `suffix` begins with a dot.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Bypass {
    /// `loopback`: localhost and loopback addresses are in it, whatever the text says.
    pub(super) fn parse(list: &str, loopback: bool) -> Self {
        Self {
            rules: list.split(',').filter_map(|rule| Rule::parse(&rule.trim().to_ascii_lowercase())).collect(),
            loopback,
        }
    }

    /// `host` as in a URL: an IPv6 address in brackets.
    pub(super) fn contains(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        if self.loopback && (host == "localhost" || address.is_some_and(|address| address.is_loopback())) {
            return true;
        }
        self.rules.iter().any(|rule| rule.matches(&host, address.map(bits), port))
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, length)) = text.split_once('/') {
            let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
            let length = if address.is_ipv4() { length.checked_add(96)? } else { length };
            return (length <= 128).then(|| Self::Network { address: bits(address), bits: length });
        }
        let (host, port) = host_and_port(text);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address { address: bits(address), port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host.strip_prefix('.') {
            Some("") => None,
            Some(_) => Some(Self::Domain { suffix: host.to_owned(), itself: false, port }),
            None if host.is_empty() => None,
            None => Some(Self::Domain { suffix: format!(".{host}"), itself: true, port }),
        }
    }

    fn matches(&self, host: &str, asked: Option<u128>, port: u16) -> bool {
        let is_port = |rule: &Option<u16>| rule.is_none_or(|rule| rule == port);
        match self {
            Self::Everything => true,
            Self::Network { address, bits } => asked.is_some_and(|asked| shared_bits(asked, *address) >= *bits),
            Self::Address { address, port } => asked == Some(*address) && is_port(port),
            Self::Domain { suffix, itself, port } => {
                (host.ends_with(suffix.as_str()) || *itself && host == &suffix[1..]) && is_port(port)
            }
        }
    }
}

/// `host:port`, `[v6]:port`, `[v6]`, or a host alone, which may be a bare IPv6 address.
fn host_and_port(text: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

/// One number for both families: IPv4 as mapped into IPv6.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .to_bits()
}

fn shared_bits(one: u128, other: u128) -> u32 {
    (one ^ other).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of Go's own test (golang.org/x/net/http/httpproxy, proxy_test.go), and those of issues.
    #[test]
    fn a_list_is_read_as_go_reads_it() {
        let list = "foobar.com, .barbaz.net, *.wild.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                    2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64, loki:3100";
        let bypass = Bypass::parse(list, true);
        for (host, port, expected) in [
            ("localhost", 80, true),
            ("127.0.0.2", 80, true),
            ("[::1]", 80, true),
            ("www.foobar.com", 80, true),
            ("foobar.com", 80, true),
            ("FooBar.Com", 443, true),
            ("fooofoobar.com", 80, false),
            ("barbaz.net", 80, false),
            ("www.barbaz.net", 80, true),
            ("wild.io", 80, false),
            ("a.b.wild.io", 80, true),
            ("192.168.1.1", 8080, true),
            ("192.168.1.2", 80, false),
            ("192.168.1.2", 81, true),
            ("192.168.1.3", 80, true),
            ("192.168.1.4", 80, false),
            ("10.0.0.2", 80, true),
            ("10.0.0.4", 80, false),
            ("[2001:db8::52:0:1]", 80, true),
            ("[2001:db8::52:0:2]", 80, false),
            ("[2001:db8::52:0:2]", 443, true),
            ("[2001:db8::52:0:3]", 80, true),
            ("[2002:db8:a::123]", 80, true),
            ("[fe80::424b:c8be:1643:a1b6]", 80, false),
            ("loki", 3100, true),
            ("loki", 80, false),
            ("a.loki", 3100, true),
        ] {
            assert_eq!(bypass.contains(host, port), expected, "{host} {port}");
        }
    }

    #[test]
    fn a_star_is_everything_and_rubbish_is_nothing() {
        assert!(Bypass::parse("x, *", false).contains("example.com", 80));
        for list in ["", ",", ".", "*.", "10.0.0.0/33", "10.0.0/8", ":80", "host:port"] {
            assert!(!Bypass::parse(list, false).contains("example.com", 80), "{list}");
            assert!(!Bypass::parse(list, false).contains("10.0.0.1", 80), "{list}");
        }
        assert!(!Bypass::parse("", false).contains("localhost", 80));
        assert_eq!(shared_bits(u128::MAX, u128::MAX), 128);
    }
}
