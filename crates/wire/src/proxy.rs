//! The PROXY protocol, versions 1 and 2: who the client of a forwarded connection is.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const LINE_MAX: usize = 107;

/// The two ends of a connection as its header tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// What bytes at the beginning of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not enough of them yet.
    Incomplete,
    /// A header of so many bytes. `None`: it says nothing about the ends (a check of a balancer).
    Header(Option<Ends>, usize),
    /// No header.
    Invalid,
}

/// Reads a header of either version.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] == SIGNATURE[..common] && common > 0 {
        return if common < SIGNATURE.len() { Parsed::Incomplete } else { binary(bytes) };
    }
    let common = bytes.len().min(6);
    if bytes[..common] == b"PROXY "[..common] { text(bytes) } else { Parsed::Invalid }
}

fn text(bytes: &[u8]) -> Parsed {
    let Some(end) = bytes.iter().take(LINE_MAX).position(|b| *b == b'\n') else {
        return if bytes.len() >= LINE_MAX { Parsed::Invalid } else { Parsed::Incomplete };
    };
    let line = bytes[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let Some(line) = line else { return Parsed::Invalid };
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Parsed::Header(None, end + 1);
    }
    let mut address = || -> Option<IpAddr> {
        let address: IpAddr = words.next()?.parse().ok()?;
        (address.is_ipv4() == (family == Some("TCP4"))).then_some(address)
    };
    let (source, destination) = (address(), address());
    let mut port = || words.next().and_then(|word| word.parse::<u16>().ok());
    let ports = (port(), port());
    match (family, source, destination, ports, words.next()) {
        (Some("TCP4" | "TCP6"), Some(source), Some(destination), (Some(from), Some(to)), None) => {
            let ends = Ends { source: (source, from).into(), destination: (destination, to).into() };
            Parsed::Header(Some(ends), end + 1)
        }
        _ => Parsed::Invalid,
    }
}

fn binary(bytes: &[u8]) -> Parsed {
    let Some([command, family, high, low]) = bytes.get(12..16) else { return Parsed::Incomplete };
    let length = 16 + usize::from(u16::from_be_bytes([*high, *low]));
    if command & 0xf0 != 0x20 || command & 0x0f > 1 {
        return Parsed::Invalid;
    }
    let Some(body) = bytes.get(16..length) else { return Parsed::Incomplete };
    if command & 0x0f == 0 {
        return Parsed::Header(None, length);
    }
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let ends = match family {
        0x11 => {
            let ip = |at: usize| Some(Ipv4Addr::from(*body.get(at..)?.first_chunk::<4>()?));
            (|| Some(Ends { source: (ip(0)?, port(8)?).into(), destination: (ip(4)?, port(10)?).into() }))()
        }
        0x21 => {
            let ip = |at: usize| Some(Ipv6Addr::from(*body.get(at..)?.first_chunk::<16>()?));
            (|| Some(Ends { source: (ip(0)?, port(32)?).into(), destination: (ip(16)?, port(34)?).into() }))()
        }
        _ => return Parsed::Header(None, length),
    };
    ends.map_or(Parsed::Invalid, |ends| Parsed::Header(Some(ends), length))
}

/// Two addresses of one family: IPv4 where both are.
fn one_family(ends: &Ends) -> (IpAddr, IpAddr) {
    let (source, destination) = (ends.source.ip().to_canonical(), ends.destination.ip().to_canonical());
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V6(d)) => (s.to_ipv6_mapped().into(), d.into()),
        (IpAddr::V6(s), IpAddr::V4(d)) => (s.into(), d.to_ipv6_mapped().into()),
        both => both,
    }
}

/// The header of version 1.
#[must_use]
pub fn emit_text(ends: &Ends) -> Vec<u8> {
    let (source, destination) = one_family(ends);
    let family = if source.is_ipv4() { 4 } else { 6 };
    let mut line = String::with_capacity(LINE_MAX);
    // Writing to a string does not fail.
    let _ =
        write!(line, "PROXY TCP{family} {source} {destination} {} {}\r\n", ends.source.port(), ends.destination.port());
    line.into_bytes()
}

/// The header of version 2.
#[must_use]
pub fn emit_binary(ends: &Ends) -> Vec<u8> {
    let (source, destination) = one_family(ends);
    let mut bytes = SIGNATURE.to_vec();
    let octets = |address: IpAddr| match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let (family, length) = if source.is_ipv4() { (0x11, 12u16) } else { (0x21, 36) };
    bytes.extend([0x21, family]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(octets(source));
    bytes.extend(octets(destination));
    bytes.extend(ends.source.port().to_be_bytes());
    bytes.extend(ends.destination.port().to_be_bytes());
    bytes
}

/// The header of a check: the balancer itself connects (version 2, command LOCAL).
#[must_use]
pub fn emit_local() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x20, 0, 0, 0]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn lines() {
        let check = |line: &str, expected: Parsed| assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        let four = ends("192.0.2.1:56324", "192.0.2.9:443");
        check("PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\nGET", Parsed::Header(Some(four), 42));
        let six = ends("[2001:db8::1]:1", "[2001:db8::2]:2");
        check("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", Parsed::Header(Some(six), 40));
        check("PROXY UNKNOWN\r\n", Parsed::Header(None, 15));
        check("PROXY UNKNOWN 1 2 3\r\n", Parsed::Header(None, 21));
        check("PROX", Parsed::Incomplete);
        check("", Parsed::Incomplete);
        check("PROXY TCP4 192.0.2.1", Parsed::Incomplete);
        check("PROXY TCP4 ::1 ::2 1 2\r\n", Parsed::Invalid);
        check("PROXY TCP4 192.0.2.1 192.0.2.9 56324\r\n", Parsed::Invalid);
        check("PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\n", Parsed::Invalid);
        check("GET / HTTP/1.1\r\n", Parsed::Invalid);
        check(&format!("PROXY TCP4 {}", "1".repeat(120)), Parsed::Invalid);
    }

    #[test]
    fn a_local_header_says_nothing() {
        assert_eq!(parse(&emit_local()), Parsed::Header(None, 16));
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(a: [u8; 4], b: [u8; 4], c: [u8; 16], p: u16, q: u16, six: bool, cut in 0usize..200) {
            let (source, destination): (IpAddr, IpAddr) = if six {
                (Ipv6Addr::from(c).into(), Ipv6Addr::from(c.map(|b| b ^ 1)).into())
            } else {
                (Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into())
            };
            let ends = Ends { source: (source, p).into(), destination: (destination, q).into() };
            let (s, d) = one_family(&ends);
            let plain = Ends { source: (s, p).into(), destination: (d, q).into() };
            for header in [emit_text(&ends), emit_binary(&ends)] {
                prop_assert_eq!(parse(&header), Parsed::Header(Some(plain), header.len()));
                if cut < header.len() {
                    prop_assert_eq!(parse(&header[..cut]), Parsed::Incomplete);
                }
            }
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), signed: bool) {
            let bytes = if signed { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            if let Parsed::Header(_, length) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
