//! VRRP adverts: version 2 (RFC 3768, with the authentication field of RFC 2338) and version 3 (RFC 5798, RFC 9568).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |version| type 1|     VRID      |   priority    | address count |
//! +-------+-------+---------------+---------------+---------------+
//! | v2: auth type |   v2: seconds |                               |
//! | v3: 4 bits 0, 12 bits 1/100 s |           checksum            |
//! +-------------------------------+-------------------------------+
//! |            addresses (4 or 16 bytes each)                     |
//! +---------------------------------------------------------------+
//! |            v2: authentication data (8 bytes, always)          |
//! +---------------------------------------------------------------+
//! ```
//!
//! It knows no IP header: source and destination, which some checksums cover, are arguments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// IP protocol number.
pub const PROTOCOL: u8 = 112;
/// The group to which adverts are sent.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The group to which adverts are sent.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// TTL or hop limit of an advert that came through no router.
pub const TTL: u8 = 255;
/// Most addresses in an advert.
pub const ADDRESSES_MAX: usize = 255;

const HEADER: usize = 8;
const AUTH_DATA: usize = 8;
const ADVERTISEMENT: u8 = 1;
const AUTH_NONE: u8 = 0;
const AUTH_PASS: u8 = 1;
const CENTISECOND: Duration = Duration::from_millis(10);

/// An advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority; 0: the master gives up.
    pub priority: u8,
    /// What differs between the versions.
    pub version: Version,
    /// The addresses, all of the family of the source.
    pub addresses: Vec<IpAddr>,
}

/// What differs between the versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 2, over IPv4.
    V2 {
        /// Interval in seconds.
        seconds: u8,
        /// Authentication type and data.
        auth: Auth,
    },
    /// Version 3.
    V3 {
        /// Interval in hundredths of a second, at most 4095.
        centiseconds: u16,
        /// What the checksum covers. Over IPv6 always [`Checksum::Pseudo`].
        checksum: Checksum,
    },
}

/// Authentication of version 2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// None.
    None,
    /// A password in clear, NUL padded.
    Password([u8; 8]),
    /// A type that is not spoken (2: the IP authentication header).
    Other(u8),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Auth::None => f.write_str("None"),
            Auth::Password(_) => f.write_str("Password(…)"),
            Auth::Other(kind) => write!(f, "Other({kind})"),
        }
    }
}

/// What the checksum of version 3 over IPv4 covers. Senders differ; readers accept all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The packet and a pseudo header with the real destination: keepalived, FRR.
    Pseudo,
    /// The packet alone: RFC 9568, most routers.
    Plain,
    /// A pseudo header with the multicast group in a unicast packet: keepalived before 1.3.7.
    PseudoGroup,
}

/// Why bytes are no advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter or longer than its count of addresses asks for.
    Length,
    /// Neither version 2 over IPv4 nor version 3.
    Version,
    /// No advertisement.
    Type,
    /// Wrong checksum.
    Checksum,
    /// Source and destination are of different families.
    Family,
}

impl Advert {
    /// The version number.
    #[must_use]
    pub fn number(&self) -> u8 {
        match self.version {
            Version::V2 { .. } => 2,
            Version::V3 { .. } => 3,
        }
    }

    /// The interval at which its sender sends.
    #[must_use]
    pub fn interval(&self) -> Duration {
        match self.version {
            Version::V2 { seconds, .. } => Duration::from_secs(seconds.into()),
            Version::V3 { centiseconds, .. } => CENTISECOND * u32::from(centiseconds),
        }
    }

    /// Reads what follows the IP header.
    pub fn parse(bytes: &[u8], source: IpAddr, destination: IpAddr) -> Result<Advert, Error> {
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(Error::Family);
        }
        let header = bytes.first_chunk::<HEADER>().ok_or(Error::Length)?;
        let (two, each) = match (header[0] >> 4, source) {
            (2, IpAddr::V4(_)) => (true, 4),
            (3, IpAddr::V4(_)) => (false, 4),
            (3, IpAddr::V6(_)) => (false, 16),
            _ => return Err(Error::Version),
        };
        if header[0] & 0x0f != ADVERTISEMENT {
            return Err(Error::Type);
        }
        let count = usize::from(header[3]);
        let auth_at = HEADER + count * each;
        if bytes.len() != auth_at + if two { AUTH_DATA } else { 0 } {
            return Err(Error::Length);
        }
        let version = if two {
            if sum([0, 0], bytes) != 0 {
                return Err(Error::Checksum);
            }
            let data = bytes[auth_at..].first_chunk::<AUTH_DATA>().ok_or(Error::Length)?;
            let auth = match header[4] {
                AUTH_NONE => Auth::None,
                AUTH_PASS => Auth::Password(*data),
                other => Auth::Other(other),
            };
            Version::V2 { seconds: header[5], auth }
        } else {
            let checksum = covered(bytes, source, destination).ok_or(Error::Checksum)?;
            Version::V3 { centiseconds: u16::from_be_bytes([header[4] & 0x0f, header[5]]), checksum }
        };
        let addresses = bytes[HEADER..auth_at].chunks_exact(each).map(address).collect();
        Ok(Advert { vrid: header[1], priority: header[2], version, addresses })
    }

    /// What follows the IP header. Addresses of the other family and those above [`ADDRESSES_MAX`] are left out.
    #[must_use]
    pub fn emit(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let fits = |a: &&IpAddr| a.is_ipv4() == source.is_ipv4();
        let addresses = || self.addresses.iter().filter(fits).take(ADDRESSES_MAX);
        let count = u8::try_from(addresses().count()).unwrap_or(u8::MAX);
        let (two, five) = match self.version {
            Version::V2 { seconds, auth } => (auth.kind(), seconds),
            Version::V3 { centiseconds, .. } => {
                let [high, low] = centiseconds.min(0x0fff).to_be_bytes();
                (high, low)
            }
        };
        let mut out = vec![self.number() << 4 | ADVERTISEMENT, self.vrid, self.priority, count, two, five, 0, 0];
        addresses().for_each(|a| match a {
            IpAddr::V4(a) => out.extend(a.octets()),
            IpAddr::V6(a) => out.extend(a.octets()),
        });
        let sum = match self.version {
            Version::V2 { auth, .. } => {
                out.extend(auth.data());
                sum([0, 0], &out)
            }
            Version::V3 { checksum, .. } => sum(pseudo(checksum, source, destination, out.len()), &out),
        };
        out[6..8].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

impl Auth {
    fn kind(self) -> u8 {
        match self {
            Auth::None => AUTH_NONE,
            Auth::Password(_) => AUTH_PASS,
            Auth::Other(kind) => kind,
        }
    }

    fn data(self) -> [u8; AUTH_DATA] {
        match self {
            Auth::Password(password) => password,
            Auth::None | Auth::Other(_) => [0; AUTH_DATA],
        }
    }
}

/// The form of checksum that fits; `None`: none does.
fn covered(bytes: &[u8], source: IpAddr, destination: IpAddr) -> Option<Checksum> {
    let forms = [Checksum::Pseudo, Checksum::Plain, Checksum::PseudoGroup];
    let known = if source.is_ipv4() { &forms[..] } else { &forms[..1] };
    known.iter().copied().find(|form| sum(pseudo(*form, source, destination, bytes.len()), bytes) == 0)
}

/// The sum of the pseudo header (RFC 793 section 3.1, RFC 8200 section 8.1) as two 16-bit words.
fn pseudo(form: Checksum, source: IpAddr, destination: IpAddr, length: usize) -> [u32; 2] {
    let words =
        |octets: &[u8]| octets.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum::<u32>();
    let of = |address: IpAddr| match address {
        IpAddr::V4(a) => words(&a.octets()),
        IpAddr::V6(a) => words(&a.octets()),
    };
    let destination = if form == Checksum::PseudoGroup { IpAddr::V4(GROUP_V4) } else { destination };
    let length = u32::try_from(length).unwrap_or(u32::MAX) & 0xffff;
    match (form, source) {
        (Checksum::Plain, IpAddr::V4(_)) => [0, 0],
        _ => [of(source) + of(destination), u32::from(PROTOCOL) + length],
    }
}

/// RFC 1071: the internet checksum; 0 over a packet whose checksum is right.
fn sum(pseudo: [u32; 2], bytes: &[u8]) -> u16 {
    let word = |w: &[u8]| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]));
    let mut total = pseudo[0] + pseudo[1] + bytes.chunks(2).map(word).sum::<u32>();
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    !u16::try_from(total).unwrap_or(u16::MAX)
}

fn address(bytes: &[u8]) -> IpAddr {
    if let Some(octets) = bytes.first_chunk::<16>() {
        return Ipv6Addr::from(*octets).into();
    }
    bytes.first_chunk::<4>().map_or(Ipv4Addr::UNSPECIFIED, |octets| Ipv4Addr::from(*octets)).into()
}

#[cfg(test)]
mod tests;
