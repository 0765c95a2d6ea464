//! The peers' protocol: one UDP datagram with a fixed header, records, and an HMAC when a key is configured.
//!
//! ```text
//!  0        4      5      6         8            16             24           32        48       56       64
//!  +--------+------+------+---------+------------+--------------+------------+---------+--------+--------+
//!  | "BTN1" | flag | kind | lease   | sender     | receiver     | counter    | voters' | stamp  | echo   |
//!  |        |      | = 0  | ms      | incarnation| incarnation  |            | digest  | µs     | µs     |
//!  +--------+------+------+---------+------------+--------------+------------+---------+--------+--------+
//! 64       68                86
//!  +--------+-----------------+-----------+----------------+
//!  | age µs | sender's address| records … | HMAC-SHA-256   |
//!  +--------+-----------------+-----------+----------------+
//! ```
//!
//! All integers are big-endian; an address is 16 bytes (IPv4 mapped) and, where it names a voter, a port. This file
//! knows bytes only: who may say what, and when, is decided elsewhere.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ring::{digest, hmac};

/// First four bytes: protocol and version.
pub const MAGIC: [u8; 4] = *b"BTN1";
/// Length of the fixed header.
pub const HEADER_LEN: usize = 86;
/// Length of the authentication code at the end of a signed datagram.
pub const MAC_LEN: usize = 32;
/// Largest datagram that is sent or accepted: fits an Ethernet frame with IPv6.
pub const DATAGRAM_MAX: usize = 1400;
/// "No voter" where a voter's index is expected.
pub const NOBODY: u8 = 255;

/// The digest of a set of voters: votes count only between equal ones.
pub type Digest = [u8; 16];

/// What a header says in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The datagram ends with an HMAC.
    pub signed: bool,
    /// Nothing that the sender holds or may still come to hold rests on a vote of the receiver's predecessor: a voter
    /// that lost its memory and hears this from all others need not be quiet.
    pub clear: bool,
    /// Started with `startAsLeader`.
    pub start_as_leader: bool,
    /// Holds alone, without a majority (`startAsLeader`).
    pub alone: bool,
    /// Votes, never holds.
    pub witness: bool,
    /// Votes now (its quiet time is over).
    pub voting: bool,
}

/// The fixed part of every datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bits.
    pub flags: Flags,
    /// Longest lease the sender grants, in milliseconds.
    pub lease_ms: u16,
    /// Drawn at random at each start of the sender.
    pub sender: u64,
    /// The receiver's incarnation as the sender knows it; 0: not yet.
    pub receiver: u64,
    /// Grows with every datagram of an incarnation.
    pub counter: u64,
    /// Digest of the sender's voters.
    pub voters: Digest,
    /// The sender's clock in microseconds: opaque to the receiver, comes back as `echo`.
    pub stamp: u64,
    /// The last `stamp` the sender got from the receiver; 0: none.
    pub echo: u64,
    /// Microseconds between the arrival of that stamp and this datagram.
    pub echo_age: u32,
    /// The sender's address as a voter.
    pub address: SocketAddr,
}

/// Orders proposals; ties are broken by the proposer's index among the voters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Grows.
    pub round: u64,
    /// The proposer.
    pub node: u8,
}

/// Why a voter did not do as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It promised a higher ballot.
    Promised,
    /// Its grant to another node has not run out.
    Held,
    /// It lost its memory and is quiet for a while.
    Quiet,
    /// The duration is longer than it grants.
    TooLong,
}

/// What a node says about itself and one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Holds it.
    pub holding: bool,
    /// Could take it (no witness, link up, no stranger, not stopping).
    pub eligible: bool,
    /// What is behind it is well on this node.
    pub healthy: bool,
    /// Asks the holder to hand over (preemption).
    pub wants: bool,
    /// Rank: higher is preferred.
    pub priority: u16,
}

/// One statement or question, most of them about one address (`vip`). A `request` is a number of the asker's that
/// comes back with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are said once, above: vip, ballot and request mean the same everywhere")]
pub enum Record {
    /// May I propose with this ballot?
    Prepare { vip: IpAddr, ballot: Ballot, request: u32 },
    /// Yes; nobody else holds a grant from me.
    Promise { vip: IpAddr, ballot: Ballot, request: u32 },
    /// Grant me the address for so long from when you read this.
    Propose { vip: IpAddr, ballot: Ballot, request: u32, duration_us: u32 },
    /// Granted.
    Accept { vip: IpAddr, ballot: Ballot, request: u32 },
    /// Not so.
    Refuse {
        vip: IpAddr,
        ballot: Ballot,
        request: u32,
        why: Refusal,
        /// The highest ballot promised.
        promised: Ballot,
        /// Who holds a grant ([`NOBODY`] if none) …
        holder: u8,
        /// … and how long it lasts.
        remaining_us: u32,
    },
    /// I no longer answer for it: forget the grant. `successor` goes first ([`NOBODY`]: anybody).
    Release { vip: IpAddr, ballot: Ballot, successor: u8 },
    /// Will you take it over?
    Offer { vip: IpAddr, request: u32 },
    /// Yes, at once.
    Ready { vip: IpAddr, request: u32 },
    /// How things are.
    State { vip: IpAddr, state: State },
    /// The sender's voters.
    Voters(Vec<SocketAddr>),
    /// The sender's link-layer addresses.
    Macs(Vec<[u8; 6]>),
}

/// Why a datagram is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than its contents say, or too long.
    Length,
    /// Not this protocol or version.
    Magic,
    /// An unknown record, flag or value.
    Unknown,
    /// It must be signed and is not, or the other way round.
    Unsigned,
    /// The code does not fit.
    BadMac,
}

impl Error {
    /// The reason in words, for counters and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Error::Length => "wrong length",
            Error::Magic => "not Baton's protocol or another version of it",
            Error::Unknown => "unknown content",
            Error::Unsigned => "one side has a peerKey and the other has none",
            Error::BadMac => "wrong peerKey",
        }
    }
}

/// The digest of a sorted list of voters.
#[must_use]
pub fn digest(voters: &[SocketAddr]) -> Digest {
    let mut bytes = Vec::with_capacity(voters.len() * 18);
    for v in voters {
        put_voter(&mut bytes, v);
    }
    let sum = digest::digest(&digest::SHA256, &bytes);
    let mut out = [0; 16];
    out.copy_from_slice(&sum.as_ref()[..16]);
    out
}

/// Writes a datagram; `key` signs it. Records that do not fit into [`DATAGRAM_MAX`] are the caller's to split
/// (see [`Record::len`]).
#[must_use]
pub fn emit(header: &Header, records: &[Record], key: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + records.iter().map(Record::len).sum::<usize>() + MAC_LEN);
    out.extend_from_slice(&MAGIC);
    out.push(flags_byte(Flags { signed: key.is_some(), ..header.flags }));
    out.push(0);
    out.extend_from_slice(&header.lease_ms.to_be_bytes());
    out.extend_from_slice(&header.sender.to_be_bytes());
    out.extend_from_slice(&header.receiver.to_be_bytes());
    out.extend_from_slice(&header.counter.to_be_bytes());
    out.extend_from_slice(&header.voters);
    out.extend_from_slice(&header.stamp.to_be_bytes());
    out.extend_from_slice(&header.echo.to_be_bytes());
    out.extend_from_slice(&header.echo_age.to_be_bytes());
    put_voter(&mut out, &header.address);
    for r in records {
        r.emit(&mut out);
    }
    if let Some(key) = key {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &out);
        out.extend_from_slice(tag.as_ref());
    }
    out
}

/// Reads a datagram. With `keys`, it must be signed with one of them (compared in constant time); without, it must
/// not be signed.
///
/// # Errors
/// [`Error`] when it is not a whole, well-formed, authentic datagram.
pub fn parse<K: AsRef<[u8]>>(bytes: &[u8], keys: &[K]) -> Result<(Header, Vec<Record>), Error> {
    if bytes.len() < HEADER_LEN || bytes.len() > DATAGRAM_MAX {
        return Err(Error::Length);
    }
    if bytes[..4] != MAGIC || bytes[5] != 0 {
        return Err(Error::Magic);
    }
    let flags = parse_flags(bytes[4])?;
    if flags.signed == keys.is_empty() {
        return Err(Error::Unsigned);
    }
    let body = if flags.signed { verified(bytes, keys)? } else { bytes };
    let mut r = Reader(&body[6..]);
    let header = Header {
        flags,
        lease_ms: u16::from_be_bytes(r.take()?),
        sender: u64::from_be_bytes(r.take()?),
        receiver: u64::from_be_bytes(r.take()?),
        counter: u64::from_be_bytes(r.take()?),
        voters: r.take()?,
        stamp: u64::from_be_bytes(r.take()?),
        echo: u64::from_be_bytes(r.take()?),
        echo_age: u32::from_be_bytes(r.take()?),
        address: r.voter()?,
    };
    let mut records = Vec::new();
    while !r.0.is_empty() {
        records.push(Record::parse(&mut r)?);
    }
    Ok((header, records))
}

/// The part that the code covers, once it is found authentic.
fn verified<'a, K: AsRef<[u8]>>(bytes: &'a [u8], keys: &[K]) -> Result<&'a [u8], Error> {
    let split = bytes.len().checked_sub(MAC_LEN).filter(|n| *n >= HEADER_LEN).ok_or(Error::Length)?;
    let (body, tag) = bytes.split_at(split);
    let fits = |k: &K| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, k.as_ref()), body, tag).is_ok();
    if keys.iter().any(fits) { Ok(body) } else { Err(Error::BadMac) }
}

fn flags_byte(f: Flags) -> u8 {
    u8::from(f.signed)
        | u8::from(f.clear) << 1
        | u8::from(f.start_as_leader) << 2
        | u8::from(f.alone) << 3
        | u8::from(f.witness) << 4
        | u8::from(f.voting) << 5
}

fn parse_flags(b: u8) -> Result<Flags, Error> {
    if b & 0b1100_0000 != 0 {
        return Err(Error::Unknown);
    }
    Ok(Flags {
        signed: b & 1 != 0,
        clear: b & 2 != 0,
        start_as_leader: b & 4 != 0,
        alone: b & 8 != 0,
        witness: b & 16 != 0,
        voting: b & 32 != 0,
    })
}

fn put_ip(out: &mut Vec<u8>, ip: &IpAddr) {
    let v6 = match ip {
        IpAddr::V4(a) => a.to_ipv6_mapped(),
        IpAddr::V6(a) => *a,
    };
    out.extend_from_slice(&v6.octets());
}

fn put_voter(out: &mut Vec<u8>, voter: &SocketAddr) {
    put_ip(out, &voter.ip());
    out.extend_from_slice(&voter.port().to_be_bytes());
}

fn put_ballot(out: &mut Vec<u8>, b: Ballot) {
    out.extend_from_slice(&b.round.to_be_bytes());
    out.push(b.node);
}

impl Record {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        1 + match self {
            Record::Prepare { .. } | Record::Promise { .. } | Record::Accept { .. } => 29,
            Record::Propose { .. } => 33,
            Record::Refuse { .. } => 44,
            Record::Release { .. } => 26,
            Record::Offer { .. } | Record::Ready { .. } => 20,
            Record::State { .. } => 19,
            Record::Voters(v) => 1 + v.len() * 18,
            Record::Macs(m) => 1 + m.len() * 6,
        }
    }

    /// Never: every record has at least its kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, kind: u8, vip: &IpAddr| {
            out.push(kind);
            put_ip(out, vip);
        };
        let asked = |out: &mut Vec<u8>, kind: u8, vip: &IpAddr, ballot: Ballot, request: u32| {
            head(out, kind, vip);
            put_ballot(out, ballot);
            out.extend_from_slice(&request.to_be_bytes());
        };
        match self {
            Record::Prepare { vip, ballot, request } => asked(out, 1, vip, *ballot, *request),
            Record::Promise { vip, ballot, request } => asked(out, 2, vip, *ballot, *request),
            Record::Propose { vip, ballot, request, duration_us } => {
                asked(out, 3, vip, *ballot, *request);
                out.extend_from_slice(&duration_us.to_be_bytes());
            }
            Record::Accept { vip, ballot, request } => asked(out, 4, vip, *ballot, *request),
            Record::Refuse { vip, ballot, request, why, promised, holder, remaining_us } => {
                asked(out, 5, vip, *ballot, *request);
                out.push(*why as u8);
                put_ballot(out, *promised);
                out.push(*holder);
                out.extend_from_slice(&remaining_us.to_be_bytes());
            }
            Record::Release { vip, ballot, successor } => {
                head(out, 6, vip);
                put_ballot(out, *ballot);
                out.push(*successor);
            }
            Record::Offer { vip, request } | Record::Ready { vip, request } => {
                head(out, if matches!(self, Record::Offer { .. }) { 7 } else { 8 }, vip);
                out.extend_from_slice(&request.to_be_bytes());
            }
            Record::State { vip, state } => {
                head(out, 9, vip);
                out.push(
                    u8::from(state.holding)
                        | u8::from(state.eligible) << 1
                        | u8::from(state.healthy) << 2
                        | u8::from(state.wants) << 3,
                );
                out.extend_from_slice(&state.priority.to_be_bytes());
            }
            Record::Voters(voters) => {
                out.push(10);
                out.push(u8::try_from(voters.len()).unwrap_or(u8::MAX));
                voters.iter().take(usize::from(u8::MAX)).for_each(|v| put_voter(out, v));
            }
            Record::Macs(macs) => {
                out.push(11);
                out.push(u8::try_from(macs.len()).unwrap_or(u8::MAX));
                macs.iter().take(usize::from(u8::MAX)).for_each(|m| out.extend_from_slice(m));
            }
        }
    }

    fn parse(r: &mut Reader<'_>) -> Result<Record, Error> {
        let [kind] = r.take()?;
        Ok(match kind {
            1 => Record::Prepare { vip: r.ip()?, ballot: r.ballot()?, request: r.u32()? },
            2 => Record::Promise { vip: r.ip()?, ballot: r.ballot()?, request: r.u32()? },
            3 => Record::Propose { vip: r.ip()?, ballot: r.ballot()?, request: r.u32()?, duration_us: r.u32()? },
            4 => Record::Accept { vip: r.ip()?, ballot: r.ballot()?, request: r.u32()? },
            5 => Record::Refuse {
                vip: r.ip()?,
                ballot: r.ballot()?,
                request: r.u32()?,
                why: r.refusal()?,
                promised: r.ballot()?,
                holder: r.u8()?,
                remaining_us: r.u32()?,
            },
            6 => Record::Release { vip: r.ip()?, ballot: r.ballot()?, successor: r.u8()? },
            7 => Record::Offer { vip: r.ip()?, request: r.u32()? },
            8 => Record::Ready { vip: r.ip()?, request: r.u32()? },
            9 => Record::State { vip: r.ip()?, state: r.state()? },
            10 => {
                let n = r.u8()?;
                Record::Voters((0..n).map(|_| r.voter()).collect::<Result<_, _>>()?)
            }
            11 => {
                let n = r.u8()?;
                Record::Macs((0..n).map(|_| r.take()).collect::<Result<_, _>>()?)
            }
            _ => return Err(Error::Unknown),
        })
    }
}

/// Takes fields off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Error::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.take::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn ip(&mut self) -> Result<IpAddr, Error> {
        let v6 = Ipv6Addr::from(self.take::<16>()?);
        Ok(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
    }

    fn voter(&mut self) -> Result<SocketAddr, Error> {
        Ok(SocketAddr::new(self.ip()?, u16::from_be_bytes(self.take()?)))
    }

    fn ballot(&mut self) -> Result<Ballot, Error> {
        Ok(Ballot { round: u64::from_be_bytes(self.take()?), node: self.u8()? })
    }

    fn refusal(&mut self) -> Result<Refusal, Error> {
        Ok(match self.u8()? {
            0 => Refusal::Promised,
            1 => Refusal::Held,
            2 => Refusal::Quiet,
            3 => Refusal::TooLong,
            _ => return Err(Error::Unknown),
        })
    }

    fn state(&mut self) -> Result<State, Error> {
        let bits = self.u8()?;
        if bits > 15 {
            return Err(Error::Unknown);
        }
        let priority = u16::from_be_bytes(self.take()?);
        let bit = |n: u8| bits & (1 << n) != 0;
        Ok(State { holding: bit(0), eligible: bit(1), healthy: bit(2), wants: bit(3), priority })
    }
}

#[cfg(test)]
mod tests;
