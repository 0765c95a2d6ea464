//! `virtual_server`, `virtual_server_group` and `real_server`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::check::{self, Timers};
use super::finding::Findings;
use super::general::TIME_MAX;
use super::keywords::Block;
use super::model::lvs::{Method, Protocol, RealServer, Scheduler, ServerGroup, Service, Sorry, Tunnel, VirtualServer};
use super::model::{Command, Family};
use super::read::Reader;
use super::tree::Item;
use super::value::mask;

/// Longest persistence that IPVS takes: 31 days.
const PERSISTENCE_MAX: u32 = 31 * 86_400;
/// What `persistence_timeout` means without a number.
const PERSISTENCE: Duration = Duration::from_secs(360);
/// Largest weight.
const WEIGHT_MAX: u32 = 65_535;

/// What servers take from their service.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) timers: Timers,
    pub(super) inhibit: bool,
    weight: Option<u32>,
}

/// `virtual_server ADDRESS [PORT]`, `fwmark N`, `group NAME`
pub(super) fn virtual_server(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(service) = service(item, &mut reader.findings) else { return };
    let mut out = VirtualServer {
        at: item.at.clone(),
        service,
        protocol: Protocol::Udp,
        scheduler: Scheduler::WeightedLeastConnections,
        flags: Vec::new(),
        method: Method::Nat,
        persistence: None,
        granularity: None,
        virtualhost: None,
        family: None,
        alpha: false,
        omega: false,
        ha_suspend: false,
        quorum: 1,
        hysteresis: 0,
        quorum_up: None,
        quorum_down: None,
        sorry: None,
        real: Vec::new(),
    };
    let mut said = Said::default();
    let mut defaults = Defaults::default();
    reader.each(Block::Virtual, item.inside(), |reader, item| {
        if !(balance(&mut reader.findings, item, &mut out, &mut said)
            || defaults.timers.take(&mut reader.findings, item)
            || quorum(&mut reader.findings, item, &mut out))
        {
            rest(&mut reader.findings, item, &mut out, &mut defaults);
        }
    });
    // Servers take their defaults from keywords that may stand below them.
    for real in item.inside().iter().filter(|item| item.key() == "real_server") {
        real_server(reader, real, &mut out, &defaults);
    }
    finish(&mut reader.findings, item, &mut out, &said);
    reader.config.servers.push(out);
}

/// What was written at all.
#[derive(Default)]
struct Said {
    protocol: bool,
    scheduler: bool,
    method: bool,
}

fn service(item: &Item, findings: &mut Findings) -> Option<Service> {
    match item.need(1, findings)? {
        "group" => Some(Service::Group(item.need(2, findings)?.to_owned())),
        "fwmark" => item.whole(2, 1..=u32::MAX, findings).map(Service::Fwmark),
        _ => {
            let address = item.address(1, findings)?;
            Some(Service::Address(address, port(item, 2, findings)?))
        }
    }
}

/// A port by number, 0 when it is not written.
fn port(item: &Item, index: usize, findings: &mut Findings) -> Option<u16> {
    match item.word(index) {
        None => Some(0),
        Some(_) => item.whole(index, 1..=65_535, findings).and_then(|port| u16::try_from(port).ok()),
    }
}

fn scheduler(word: &str) -> Option<Scheduler> {
    Some(match word {
        "rr" => Scheduler::RoundRobin,
        "wrr" => Scheduler::WeightedRoundRobin,
        "lc" => Scheduler::LeastConnections,
        "wlc" => Scheduler::WeightedLeastConnections,
        "lblc" => Scheduler::LocalityLeastConnections,
        "lblcr" => Scheduler::LocalityLeastConnectionsReplicated,
        "sh" => Scheduler::SourceHash,
        "mh" => Scheduler::MaglevHash,
        "dh" => Scheduler::DestinationHash,
        "fo" => Scheduler::WeightedFailover,
        "ovf" => Scheduler::WeightedOverflow,
        "sed" => Scheduler::ShortestDelay,
        "nq" => Scheduler::NeverQueue,
        "twos" => Scheduler::PowerOfTwo,
        _ => return None,
    })
}

fn balance(findings: &mut Findings, item: &Item, out: &mut VirtualServer, said: &mut Said) -> bool {
    match item.key() {
        "lb_algo" | "lvs_sched" => match item.need(1, findings).map(scheduler) {
            Some(Some(scheduler)) => {
                out.scheduler = scheduler;
                said.scheduler = true;
            }
            Some(None) => item.bad(1, findings, "is no scheduler and is ignored", "rr, wrr, lc, wlc, sh, mh …"),
            None => {}
        },
        "lb_kind" | "lvs_method" => {
            if let Some(method) = method(item, findings) {
                out.method = method;
                said.method = true;
            }
        }
        "protocol" => {
            let Some(word) = item.need(1, findings) else { return true };
            match word.to_ascii_uppercase().as_str() {
                "TCP" => out.protocol = Protocol::Tcp,
                "UDP" => out.protocol = Protocol::Udp,
                "SCTP" => out.protocol = Protocol::Sctp,
                _ => {
                    item.bad(1, findings, "is no protocol and is ignored", "TCP, UDP or SCTP");
                    return true;
                }
            }
            said.protocol = true;
        }
        "persistence_timeout" if item.word(1).is_none() => out.persistence = Some(PERSISTENCE),
        "persistence_timeout" => {
            if let Some(seconds) = item.whole(1, 1..=PERSISTENCE_MAX, findings) {
                out.persistence = Some(Duration::from_secs(u64::from(seconds)));
            }
        }
        "persistence_granularity" => {
            let Some(word) = item.need(1, findings) else { return true };
            match mask(word).or_else(|| word.parse().ok().filter(|bits| (1..=128).contains(bits))) {
                Some(bits) => {
                    out.granularity = Some(bits);
                    out.persistence.get_or_insert(PERSISTENCE);
                }
                None => item.bad(1, findings, "is no mask and is ignored", "255.255.255.0, or 64 for IPv6"),
            }
        }
        "persistence_engine" => {
            if item.need(1, findings).is_some_and(|engine| engine != "sip") {
                item.bad(1, findings, "is no engine that there is; it is ignored", "sip");
            } else {
                out.flags.push(String::from("sip"));
            }
        }
        _ => return false,
    }
    true
}

/// `NAT`, `DR`, `TUN [type ipip|gue|gre] [port N] [csum]`
fn method(item: &Item, findings: &mut Findings) -> Option<Method> {
    let tunnel = match item.need(1, findings)? {
        "NAT" => return Some(Method::Nat),
        "DR" => return Some(Method::Direct),
        "TUN" => true,
        _ => false,
    };
    if !tunnel {
        item.bad(1, findings, "is no way to a server and is ignored", "NAT, DR or TUN");
        return None;
    }
    let (mut kind, mut port, mut index) = ("ipip", None, 2);
    while let Some(word) = item.word(index) {
        index += 1;
        match word {
            "type" => {
                kind = item.word(index).filter(|kind| matches!(*kind, "ipip" | "gue" | "gre")).or_else(|| {
                    item.bad(index, findings, "is no tunnel; the line is passed over", "ipip, gue or gre");
                    None
                })?;
                index += 1;
            }
            "port" => {
                port = Some(u16::try_from(item.whole(index, 1..=65_535, findings)?).ok()?);
                index += 1;
            }
            "nocsum" | "csum" | "remcsum" => {}
            _ => {
                item.bad(index - 1, findings, "is not known beside a tunnel; the line is passed over", "");
                return None;
            }
        }
    }
    let tunnel = match (kind, port) {
        ("gue", Some(port)) => Tunnel::Gue(port),
        ("gre", None) => Tunnel::Gre,
        ("ipip", None) => Tunnel::Ipip,
        _ => {
            item.bad(1, findings, "takes a port with type gue only; the line is passed over", "");
            return None;
        }
    };
    Some(Method::Tunnel(tunnel))
}

fn quorum(findings: &mut Findings, item: &Item, out: &mut VirtualServer) -> bool {
    match item.key() {
        "quorum" => out.quorum = item.whole(1, 1..=u32::MAX, findings).unwrap_or(1),
        "hysteresis" => out.hysteresis = item.whole(1, 0..=u32::MAX, findings).unwrap_or(out.hysteresis),
        "quorum_up" => once(findings, item, &mut out.quorum_up),
        "quorum_down" => once(findings, item, &mut out.quorum_down),
        "sorry_server" => {
            let address = item.address(1, findings);
            let port = port(item, 2, findings);
            if let Some((address, port)) = address.zip(port) {
                out.sorry = Some(Sorry { address, port, method: out.method, inhibit: false });
            }
        }
        "sorry_server_inhibit" | "sorry_server_lvs_method" => match &mut out.sorry {
            None => item.bad(0, findings, "comes without or before a sorry_server and is ignored", ""),
            Some(sorry) if item.key() == "sorry_server_inhibit" => sorry.inhibit = true,
            Some(sorry) => sorry.method = method(item, findings).unwrap_or(sorry.method),
        },
        "alpha" => out.alpha = true,
        "omega" => out.omega = true,
        "ha_suspend" => out.ha_suspend = true,
        _ => return false,
    }
    true
}

fn once(findings: &mut Findings, item: &Item, slot: &mut Option<Command>) {
    if slot.is_some() {
        item.bad(1, findings, "is the second script for that and is ignored", "one");
        return;
    }
    *slot = item.command(findings);
}

fn rest(findings: &mut Findings, item: &Item, out: &mut VirtualServer, defaults: &mut Defaults) {
    match item.key() {
        "virtualhost" => match item.word(1) {
            Some(host) => out.virtualhost = Some(host.to_owned()),
            None => item.bad(0, findings, "has no value and is ignored", "a host"),
        },
        "ip_family" => match item.need(1, findings) {
            Some("inet") => out.family = Some(Family::V4),
            Some("inet6") => out.family = Some(Family::V6),
            Some(_) => item.bad(1, findings, "is no family and is ignored", "inet or inet6"),
            None => {}
        },
        "inhibit_on_failure" => defaults.inhibit = true,
        "weight" => defaults.weight = item.whole(1, 1..=WEIGHT_MAX, findings),
        flag @ ("sh-port" | "sh-fallback") if out.scheduler != Scheduler::SourceHash => {
            let what = format!("is for the scheduler sh; {flag} is ignored");
            item.bad(0, findings, &what, "lvs_sched sh above it");
        }
        flag @ ("mh-port" | "mh-fallback") if out.scheduler != Scheduler::MaglevHash => {
            let what = format!("is for the scheduler mh; {flag} is ignored");
            item.bad(0, findings, &what, "lvs_sched mh above it");
        }
        flag @ ("ops" | "flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback") => {
            out.flags.push(flag.to_owned());
        }
        // `hashed` does nothing in keepalived; servers come later.
        _ => {}
    }
}

fn real_server(reader: &mut Reader<'_, '_>, item: &Item, service: &mut VirtualServer, defaults: &Defaults) {
    let Some(address) = item.address(1, &mut reader.findings) else { return };
    let Some(port) = port(item, 2, &mut reader.findings) else { return };
    let mut out = RealServer {
        at: item.at.clone(),
        address,
        port,
        weight: defaults.weight.unwrap_or(1),
        method: service.method,
        inhibit: defaults.inhibit,
        upper: 0,
        lower: 0,
        virtualhost: service.virtualhost.clone(),
        notify_up: None,
        notify_down: None,
        checks: Vec::new(),
    };
    let mut timers = defaults.timers.clone();
    timers.alpha = timers.alpha.or(service.alpha.then_some(true));
    reader.each(Block::Real, item.inside(), |reader, item| {
        if !timers.take(&mut reader.findings, item) {
            server_keyword(&mut reader.findings, item, &mut out);
        }
    });
    for check in item.inside().iter().filter(|item| item.items.is_some()) {
        let kind = check.key();
        if kind.ends_with("_CHECK") || kind.ends_with("_GET") {
            check::read(reader, check, &mut out, service, &timers);
        }
    }
    let family = match service.service {
        Service::Address(address, _) => Some(address.is_ipv4()),
        _ => None,
    };
    if family.is_some_and(|four| four != address.is_ipv4()) && !matches!(out.method, Method::Tunnel(_)) {
        item.bad(1, &mut reader.findings, "is of another family than its service; it is passed over", "");
        return;
    }
    if service.real.iter().any(|known| (known.address, known.port) == (out.address, out.port)) {
        item.bad(1, &mut reader.findings, "is a server of this service already; it is passed over", "");
        return;
    }
    service.real.push(out);
}

fn server_keyword(findings: &mut Findings, item: &Item, out: &mut RealServer) {
    match item.key() {
        "weight" => out.weight = item.whole(1, 0..=WEIGHT_MAX, findings).unwrap_or(out.weight),
        "lvs_method" | "lb_kind" => out.method = method(item, findings).unwrap_or(out.method),
        "uthreshold" => out.upper = item.whole(1, 0..=u32::MAX, findings).unwrap_or(out.upper),
        "lthreshold" => out.lower = item.whole(1, 0..=u32::MAX, findings).unwrap_or(out.lower),
        "inhibit_on_failure" => out.inhibit = item.switch(findings).unwrap_or(out.inhibit),
        "notify_up" => once(findings, item, &mut out.notify_up),
        "notify_down" => once(findings, item, &mut out.notify_down),
        "virtualhost" => match item.word(1) {
            Some(host) => out.virtualhost = Some(host.to_owned()),
            None => item.bad(0, findings, "has no value and is ignored", "a host"),
        },
        // Checks come later.
        _ => {}
    }
}

/// What keepalived takes when nothing is written.
fn finish(findings: &mut Findings, item: &Item, out: &mut VirtualServer, said: &Said) {
    let mut say = |what: &str, expected: &str| findings.warn(&item.at_word(1), "virtual_server", what, "", expected);
    if !said.protocol && !matches!(out.service, Service::Fwmark(_)) {
        say("has no protocol: UDP is taken", "protocol TCP, if that is meant");
    }
    if said.protocol && matches!(out.service, Service::Fwmark(_)) {
        say("is for a mark, which has no protocol; it is ignored", "no protocol");
    }
    if !said.scheduler {
        say("has no scheduler: wlc is taken", "lvs_sched");
    }
    if !said.method && out.real.iter().any(|real| real.method == Method::Nat) {
        say("has no method: NAT is taken", "lvs_method");
    }
    if out.real.is_empty() {
        say("has no real_server and is passed over", "one at least");
    }
    if matches!(out.service, Service::Address(_, 0)) && out.persistence.is_none() {
        say("has no port and no persistence, which do not go together", "a port, or persistence_timeout");
    }
}

/// `virtual_server_group NAME`
pub(super) fn server_group(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(name) = item.need(1, &mut reader.findings).map(str::to_owned) else { return };
    let mut out = ServerGroup { name, at: item.at.clone(), ranges: Vec::new(), fwmarks: Vec::new() };
    for entry in item.inside() {
        let findings = &mut reader.findings;
        if entry.key() == "fwmark" {
            out.fwmarks.extend(entry.whole(1, 1..=u32::MAX, findings));
        } else if let Some((first, last)) = range(entry.key()) {
            if let Some(port) = port(entry, 1, findings) {
                out.ranges.push((first, last, port));
            }
        } else {
            entry.bad(0, findings, "is no address and no range; the line is passed over", "192.0.2.1-9, or with /28");
        }
    }
    if out.ranges.is_empty() && out.fwmarks.is_empty() {
        item.bad(1, &mut reader.findings, "has no entries and is passed over", "addresses or marks");
        return;
    }
    reader.config.server_groups.push(out);
}

/// `a`, `a-b`, `192.0.2.1-9`, `a/bits`
fn range(word: &str) -> Option<(IpAddr, IpAddr)> {
    if let Ok(address) = word.parse() {
        return Some((address, address));
    }
    if let Some((first, bits)) = word.split_once('/') {
        let first: IpAddr = first.parse().ok()?;
        let bits: u32 = bits.parse().ok()?;
        return match first {
            IpAddr::V4(ip) if bits <= 32 => {
                let host = u32::MAX.checked_shr(bits).unwrap_or(0);
                Some((first, IpAddr::V4(Ipv4Addr::from(u32::from(ip) | host))))
            }
            IpAddr::V6(ip) if bits <= 128 => {
                let host = u128::MAX.checked_shr(bits).unwrap_or(0);
                Some((first, IpAddr::V6(Ipv6Addr::from(u128::from(ip) | host))))
            }
            _ => None,
        };
    }
    let (first, last) = word.split_once('-')?;
    let first: IpAddr = first.parse().ok()?;
    if let Ok(last) = last.parse::<IpAddr>() {
        return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last));
    }
    let last = match first {
        IpAddr::V4(ip) => {
            let mut octets = ip.octets();
            octets[3] = last.parse().ok().filter(|last| *last >= octets[3])?;
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        IpAddr::V6(ip) => {
            let mut parts = ip.segments();
            parts[7] = u16::from_str_radix(last, 16).ok().filter(|last| *last >= parts[7])?;
            IpAddr::V6(Ipv6Addr::from(parts))
        }
    };
    Some((first, last))
}

/// Longest time of a check.
pub(super) const CHECK_MAX: Duration = TIME_MAX;
