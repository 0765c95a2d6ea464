//! Lines of address and route lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::finding::{Findings, Kind};
use super::model::{Address, NextHop, Route, RouteKind, Rule, Scope};
use super::tree::Item;
use super::value::{is_link_name, network};

/// A scope by name or number.
fn scope(word: &str) -> Option<Scope> {
    Some(Scope(match word {
        "global" | "universe" => 0,
        "site" => 200,
        "link" => 253,
        "host" => 254,
        "nowhere" => 255,
        number => number.parse().ok()?,
    }))
}

/// The words of a line, one after the other.
struct Cursor<'i> {
    item: &'i Item,
    next: usize,
}

impl<'i> Cursor<'i> {
    fn take(&mut self) -> Option<&'i str> {
        let word = self.item.word(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The value of the word that was taken last.
    fn value<T>(&mut self, findings: &mut Findings, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let key = self.item.word(self.next.saturating_sub(1)).unwrap_or_default();
        let value = self.item.word(self.next).and_then(parse);
        if value.is_none() {
            let what = format!("has a value of {key} that is not valid; the line is passed over");
            self.item.bad(self.next, findings, &what, "");
        }
        self.next += 1;
        value
    }
}

/// `address[/prefix] [dev …] [brd …] [label …] …`; `None` when the line cannot be used.
pub(super) fn address(item: &Item, stays: bool, findings: &mut Findings) -> Option<Address> {
    let (ip, prefix) = match (network(item.key()), item.key().split_once('/')) {
        (Some(network), _) => network,
        // As keepalived: the address counts, for one host.
        (None, Some((ip, _))) if network(ip).is_some() => {
            item.bad(0, findings, "has a prefix that there is not; the address is taken for one host", "");
            network(ip)?
        }
        _ => {
            item.bad(0, findings, "is no IP address; the line is passed over", "address/prefix, one in each line");
            return None;
        }
    };
    let mut out = Address {
        address: ip,
        prefix,
        interface: None,
        broadcast: None,
        label: None,
        scope: None,
        peer: None,
        vmac: false,
        nodad: false,
        home: false,
        mngtmpaddr: false,
        noprefixroute: false,
        autojoin: false,
        no_track: false,
        preferred: None,
        track_group: None,
        at: item.at.clone(),
    };
    let mut words = Cursor { item, next: 1 };
    while let Some(word) = words.take() {
        option(&mut out, word, &mut words, stays, findings)?;
    }
    Some(out)
}

fn option(out: &mut Address, word: &str, words: &mut Cursor<'_>, stays: bool, findings: &mut Findings) -> Option<()> {
    match word {
        "dev" => out.interface = Some(words.value(findings, link)?),
        "scope" => out.scope = Some(words.value(findings, scope)?),
        "label" => out.label = Some(words.value(findings, |label| (label.len() < 16).then(|| label.to_owned()))?),
        "brd" | "broadcast" => {
            let (ip, prefix) = (out.address, out.prefix);
            out.broadcast = Some(words.value(findings, |word| broadcast(word, ip, prefix))?);
        }
        "peer" => {
            let family = out.address.is_ipv4();
            let peer = |word: &str| network(word).filter(|(peer, _)| peer.is_ipv4() == family);
            out.peer = Some(words.value(findings, peer)?);
        }
        "preferred_lft" => {
            let life = |word: &str| match word {
                "forever" => Some(None),
                number => number.parse().ok().map(Some),
            };
            out.preferred = Some(words.value(findings, life)?);
        }
        "track_group" if stays => out.track_group = Some(words.value(findings, |word| Some(word.to_owned()))?),
        "no_track" if !stays => out.no_track = true,
        "use_vmac" if !stays => out.vmac = true,
        "home" => out.home = true,
        "-nodad" | "nodad" => out.nodad = true,
        "mngtmpaddr" => out.mngtmpaddr = true,
        "noprefixroute" => out.noprefixroute = true,
        "autojoin" => out.autojoin = true,
        _ => words.item.bad(words.next - 1, findings, "is not known beside an address and is ignored", ""),
    }
    Some(())
}

fn link(word: &str) -> Option<String> {
    is_link_name(word).then(|| word.to_owned())
}

/// An address, or `+` and `-` for all host bits set or clear.
fn broadcast(word: &str, ip: IpAddr, prefix: u8) -> Option<Ipv4Addr> {
    let IpAddr::V4(ip) = ip else { return None };
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    match word {
        "+" => Some(Ipv4Addr::from(u32::from(ip) | host)),
        "-" => Some(Ipv4Addr::from(u32::from(ip) & !host)),
        other => other.parse().ok(),
    }
}

/// A route as `ip route` would take it, and keepalived's `gw`, `or` and `src ADDRESS to`.
pub(super) fn route(item: &Item, stays: bool, findings: &mut Findings) -> Option<Route> {
    let mut out = Route {
        kind: RouteKind::Unicast,
        to: (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        source: None,
        hops: Vec::new(),
        table: None,
        metric: None,
        scope: None,
        tos: None,
        mtu: None,
        advmss: None,
        no_track: false,
        track_group: None,
        at: item.at.clone(),
    };
    let mut to = None;
    let mut first = NextHop { weight: 1, ..NextHop::default() };
    let mut six = false;
    let mut words = Cursor { item, next: 0 };
    while let Some(word) = words.take() {
        match word {
            "inet6" => six = true,
            "to" => to = Some(words.value(findings, target)?),
            "via" | "gw" => {
                if words.item.word(words.next) == Some("inet6") {
                    words.next += 1;
                }
                first.gateway = Some(words.value(findings, |word| word.parse().ok())?);
            }
            "dev" | "oif" => first.interface = Some(words.value(findings, link)?),
            "onlink" => first.onlink = true,
            "or" => {
                let gateway = words.value(findings, |word| word.parse().ok())?;
                out.hops.push(NextHop { gateway: Some(gateway), weight: 1, ..NextHop::default() });
            }
            "nexthop" => out.hops.push(hop(&mut words, findings)?),
            _ if to.is_none() && target(word).is_some() => to = target(word),
            _ => attribute(&mut out, word, &mut words, stays, findings)?,
        }
    }
    let Some(to) = to else {
        item.bad(0, findings, "has no destination; the line is passed over", "a network, or default");
        return None;
    };
    let gateway = first.gateway.or(out.hops.first().and_then(|hop| hop.gateway));
    let six = six || gateway.is_some_and(|ip| ip.is_ipv6()) || out.source.is_some_and(|ip| ip.is_ipv6());
    out.to = match to {
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) if six => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        to => to,
    };
    let plain = out.hops.is_empty();
    if plain || first.gateway.is_some() {
        let shared = first.interface.clone();
        out.hops.iter_mut().filter(|hop| hop.interface.is_none()).for_each(|hop| hop.interface.clone_from(&shared));
        out.hops.insert(0, first);
    }
    Some(out)
}

fn target(word: &str) -> Option<(IpAddr, u8)> {
    if word == "default" {
        return Some((IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
    }
    network(word)
}

/// `nexthop via … dev … weight … onlink`
fn hop(words: &mut Cursor<'_>, findings: &mut Findings) -> Option<NextHop> {
    let mut out = NextHop { weight: 1, ..NextHop::default() };
    loop {
        match words.item.word(words.next) {
            Some("via" | "gw") => {
                words.next += 1;
                out.gateway = Some(words.value(findings, |word| word.parse().ok())?);
            }
            Some("dev") => {
                words.next += 1;
                out.interface = Some(words.value(findings, link)?);
            }
            Some("weight") => {
                words.next += 1;
                out.weight = words.value(findings, |word| word.parse().ok().filter(|weight| *weight > 0))?;
            }
            Some("onlink") => {
                words.next += 1;
                out.onlink = true;
            }
            _ => return Some(out),
        }
    }
}

fn attribute(out: &mut Route, word: &str, words: &mut Cursor<'_>, stays: bool, findings: &mut Findings) -> Option<()> {
    match word {
        "unicast" => out.kind = RouteKind::Unicast,
        "blackhole" => out.kind = RouteKind::Blackhole,
        "unreachable" => out.kind = RouteKind::Unreachable,
        "prohibit" => out.kind = RouteKind::Prohibit,
        "throw" => out.kind = RouteKind::Throw,
        "src" => out.source = Some(words.value(findings, |word| network(word).map(|(ip, _)| ip))?),
        "table" => out.table = Some(words.value(findings, table)?),
        "metric" | "priority" | "preference" => out.metric = Some(words.value(findings, |word| word.parse().ok())?),
        "scope" => out.scope = Some(words.value(findings, scope)?),
        "tos" | "dsfield" => out.tos = Some(words.value(findings, byte)?),
        "mtu" => {
            let locked = words.item.word(words.next) == Some("lock");
            words.next += usize::from(locked);
            out.mtu = Some((words.value(findings, |word| word.parse().ok())?, locked));
        }
        "advmss" => out.advmss = Some(words.value(findings, |word| word.parse().ok())?),
        "track_group" if stays => out.track_group = Some(words.value(findings, |word| Some(word.to_owned()))?),
        "no_track" if !stays => out.no_track = true,
        _ => {
            not_done(words.item, words.next - 1, findings);
            return None;
        }
    }
    Some(())
}

/// What the original may know: a line without it would be another one.
fn not_done(item: &Item, index: usize, findings: &mut Findings) {
    let word = item.word(index).unwrap_or_default();
    findings.put(Kind::Refused, &item.at_word(index), word, "is not done by this version", "", "the line without it");
}

/// A rule as `ip rule` would take it.
pub(super) fn rule(item: &Item, stays: bool, findings: &mut Findings) -> Option<Rule> {
    let mut out = Rule {
        ipv6: false,
        from: None,
        to: None,
        input: None,
        output: None,
        mark: None,
        tos: None,
        table: 254,
        priority: None,
        no_track: false,
        track_group: None,
        at: item.at.clone(),
    };
    let all = |word: &str| if word == "all" { Some(None) } else { network(word).map(Some) };
    let mut words = Cursor { item, next: 0 };
    while let Some(word) = words.take() {
        match word {
            "inet6" => out.ipv6 = true,
            "from" => out.from = words.value(findings, all)?,
            "to" => out.to = words.value(findings, all)?,
            "iif" | "dev" => out.input = Some(words.value(findings, link)?),
            "oif" => out.output = Some(words.value(findings, link)?),
            "fwmark" => out.mark = Some(words.value(findings, mark)?),
            "tos" | "dsfield" => out.tos = Some(words.value(findings, byte)?),
            "table" | "lookup" => out.table = words.value(findings, table)?,
            "preference" | "pref" | "priority" | "order" => {
                out.priority = Some(words.value(findings, |word| word.parse().ok())?);
            }
            "track_group" if stays => out.track_group = Some(words.value(findings, |word| Some(word.to_owned()))?),
            "no_track" if !stays => out.no_track = true,
            _ => {
                not_done(item, words.next - 1, findings);
                return None;
            }
        }
    }
    out.ipv6 |= out.from.or(out.to).is_some_and(|(ip, _)| ip.is_ipv6());
    Some(out)
}

/// `mark` or `mark/mask`
fn mark(word: &str) -> Option<(u32, Option<u32>)> {
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    };
    match word.split_once('/') {
        Some((mark, mask)) => Some((number(mark)?, Some(number(mask)?))),
        None => number(word).map(|mark| (mark, None)),
    }
}

fn table(word: &str) -> Option<u32> {
    match word {
        "default" => Some(253),
        "main" => Some(254),
        "local" => Some(255),
        number => number.parse().ok(),
    }
}

fn byte(word: &str) -> Option<u8> {
    word.strip_prefix("0x").map_or_else(|| word.parse().ok(), |hex| u8::from_str_radix(hex, 16).ok())
}
