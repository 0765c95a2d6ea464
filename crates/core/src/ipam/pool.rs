//! Address pools: text into spans of both families, and the search for a free address. Nothing is enumerated, so a /8
//! or an IPv6 /48 costs no more than the addresses that are in use.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// An IP family; `ipFamilies` of a Service names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `IPv4`.
    V4,
    /// `IPv6`.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn bits(self) -> u32 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

/// From which end of a pool addresses are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Lowest first.
    #[default]
    Ascending,
    /// Highest first.
    Descending,
}

/// How a pool is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `192.0.2.0/24,2001:db8::/64`
    Cidr,
    /// `192.0.2.10-192.0.2.20`
    Range,
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Style::Cidr => "cidr",
            Style::Range => "range",
        })
    }
}

/// First and last address, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    first: u128,
    last: u128,
}

/// A pool of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Half {
    /// What messages call it: the pool's own notation, merged and sorted.
    text: String,
    spans: Vec<Span>,
}

/// A pool as the ConfigMap gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    style: Style,
    v4: Half,
    v6: Half,
}

/// The pool that stands for "ask DHCP".
const DHCP: &str = "0.0.0.0/32";

impl Pool {
    /// Reads a comma list of CIDRs or of ranges; a `/` anywhere says which.
    ///
    /// # Errors
    /// What is wrong with which part, for people.
    pub fn parse(text: &str, skip_ends: bool) -> Result<Pool, String> {
        if text.trim().is_empty() {
            return Err("could not discover address: pool is not specified".into());
        }
        let style = if text.contains('/') { Style::Cidr } else { Style::Range };
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim) {
            let (family, span) = match style {
                Style::Cidr => cidr(part)?,
                Style::Range => range(part)?,
            };
            if family == Family::V4 { v4.push(span) } else { v6.push(span) }
        }
        let half = |family, spans| Half::new(family, style, merge(spans), skip_ends);
        Ok(Pool { style, v4: half(Family::V4, v4), v6: half(Family::V6, v6) })
    }

    /// The whole pool stands for DHCP, whatever families a Service wants.
    #[must_use]
    pub fn is_dhcp(&self) -> bool {
        self.v4.text == DHCP && self.v6.spans.is_empty()
    }

    /// Any address of the family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        !self.half(family).spans.is_empty()
    }

    /// Its part of one family, as messages name it: `cidr [192.0.2.0/24]`.
    #[must_use]
    pub fn name(&self, family: Family) -> String {
        format!("{} [{}]", self.style, self.half(family).text)
    }

    /// In one of its spans, and not one that is always left out.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let number = Family::number(address);
        let spans = &self.half(Family::of(address)).spans;
        !is_edge(address) && spans.iter().any(|span| (span.first..=span.last).contains(&number))
    }

    /// The spans of a family, in the order of the search.
    pub fn spans(&self, family: Family, order: Order) -> impl Iterator<Item = RangeInclusive<IpAddr>> {
        let spans = &self.half(family).spans;
        let at = move |i: usize| match order {
            Order::Ascending => spans[i],
            Order::Descending => spans[spans.len() - 1 - i],
        };
        (0..spans.len()).map(at).map(move |span| family.address(span.first)..=family.address(span.last))
    }

    /// The first address from the wanted end, or from `start` on, that is not used. IPv4 addresses that end in .0 or
    /// .255 are left out: they would be network and broadcast addresses of a /24.
    pub fn free(
        &self,
        family: Family,
        order: Order,
        start: Option<IpAddr>,
        used: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        if family == Family::V4 && self.v4.text == DHCP {
            return Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        let start = start.map(Family::number);
        let usable = |address: &IpAddr| !is_edge(*address) && !used(*address);
        let walk = |span: RangeInclusive<IpAddr>| {
            let (first, last) = (Family::number(*span.start()), Family::number(*span.end()));
            match order {
                Order::Ascending => (first.max(start.unwrap_or(first))..=last).map(|n| family.address(n)).find(usable),
                Order::Descending => {
                    (first..=last.min(start.unwrap_or(last))).rev().map(|n| family.address(n)).find(usable)
                }
            }
        };
        self.spans(family, order).find_map(walk)
    }

    fn half(&self, family: Family) -> &Half {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl Half {
    fn new(family: Family, style: Style, spans: Vec<Span>, skip_ends: bool) -> Half {
        let show = |n| family.address(n);
        if style == Style::Range {
            let names: Vec<String> = spans.iter().map(|s| format!("{}-{}", show(s.first), show(s.last))).collect();
            return Half { text: names.join(","), spans };
        }
        let prefixes: Vec<(Span, u32)> = spans.iter().flat_map(|span| prefixes(*span, family.bits())).collect();
        let names: Vec<String> = prefixes.iter().map(|(s, len)| format!("{}/{len}", show(s.first))).collect();
        // RFC 3021: both addresses of a /31 are hosts. IPv6 has no broadcast address.
        let trims = |len: u32| skip_ends && family == Family::V4 && len < 31;
        let spans = prefixes.iter().map(
            |(s, len)| {
                if trims(*len) { Span { first: s.first + 1, last: s.last - 1 } } else { *s }
            },
        );
        Half { text: names.join(","), spans: spans.collect() }
    }
}

/// Always left out of a search.
fn is_edge(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
}

fn cidr(part: &str) -> Result<(Family, Span), String> {
    let fail = || format!("unable to parse IP cidr [{part}]: expected ADDRESS/LENGTH");
    let (address, len) = part.split_once('/').ok_or_else(fail)?;
    let address: IpAddr = address.parse().map_err(|_| fail())?;
    let family = Family::of(address);
    let plain = !len.is_empty() && len.len() <= 3 && len.bytes().all(|b| b.is_ascii_digit());
    let len: u32 = if plain { len.parse().map_err(|_| fail())? } else { return Err(fail()) };
    if len > family.bits() {
        return Err(fail());
    }
    let hosts = ones(family.bits() - len);
    let first = Family::number(address) & !hosts;
    Ok((family, Span { first, last: first | hosts }))
}

fn range(part: &str) -> Result<(Family, Span), String> {
    let fail = |why: &str| format!("unable to parse IP range [{part}]: {why}");
    let (first, last) = part.split_once('-').ok_or_else(|| fail("expected FIRST-LAST"))?;
    let parse = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| fail("expected FIRST-LAST"));
    let (first, last) = (parse(first)?, parse(last)?);
    if Family::of(first) != Family::of(last) {
        return Err(fail("both ends must be of one IP family"));
    }
    if first > last {
        return Err(fail("the first address is above the last"));
    }
    Ok((Family::of(first), Span { first: Family::number(first), last: Family::number(last) }))
}

/// Sorted, and joined where they overlap or touch.
fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.first <= last.last.saturating_add(1) => last.last = last.last.max(span.last),
            _ => merged.push(span),
        }
    }
    merged
}

/// The fewest prefixes that cover a span: at most two for each bit.
fn prefixes(span: Span, bits: u32) -> Vec<(Span, u32)> {
    let mut found = Vec::new();
    let mut first = span.first;
    loop {
        let aligned = first.trailing_zeros().min(bits);
        let hosts = (0..=aligned).rev().find(|hosts| first | ones(*hosts) <= span.last).unwrap_or(0);
        let last = first | ones(hosts);
        found.push((Span { first, last }, bits - hosts));
        if last >= span.last {
            return found;
        }
        first = last + 1;
    }
}

fn ones(count: u32) -> u128 {
    u128::MAX.checked_shr(128 - count).unwrap_or(0)
}
