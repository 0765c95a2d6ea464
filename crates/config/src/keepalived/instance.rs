//! `vrrp_instance` as it is written: what it means is found when everything was read.

use std::net::IpAddr;
use std::time::Duration;

use super::authentication::{self, AuthType};
use super::finding::{Findings, Kind};
use super::general::{extra_if, repeat, unless_zero};
use super::keywords::Block;
use super::model::{Address, At, Checksum, Command, Family, Notify, Route, Rule, State, UnicastPeer, Version};
use super::read::Reader;
use super::track::{Lists, name};
use super::tree::Item;
use super::value::is_link_name;

/// What a file says about one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) interface: Option<String>,
    pub(super) vrid: Option<u8>,
    pub(super) priority: Option<u8>,
    pub(super) state: Option<State>,
    pub(super) family: Option<Family>,
    pub(super) version: Option<Version>,
    pub(super) advert_interval: Option<Duration>,
    pub(super) down_timer_adverts: Option<u32>,
    pub(super) auth_type: Option<AuthType>,
    pub(super) auth_pass: Option<(Vec<u8>, At)>,
    pub(super) checksum: Option<Checksum>,
    pub(super) source: Option<IpAddr>,
    pub(super) track_source: bool,
    pub(super) group: Option<IpAddr>,
    pub(super) peers: Vec<UnicastPeer>,
    pub(super) fault_without_peers: bool,
    /// Something was said that only unicast has.
    pub(super) unicast: bool,
    pub(super) unicast_ttl: Option<(u8, At)>,
    pub(super) check_unicast_source: bool,
    pub(super) nopreempt: Option<At>,
    pub(super) preempt_delay: Option<(Duration, At)>,
    pub(super) strict: Option<bool>,
    pub(super) accept: Option<bool>,
    pub(super) vmac: Option<(Option<String>, Option<[u8; 6]>)>,
    pub(super) xmit_base: Option<At>,
    pub(super) vmac_addresses: bool,
    pub(super) dont_track_primary: bool,
    pub(super) skip_check_adv_addr: Option<bool>,
    pub(super) lower_prio_no_advert: Option<bool>,
    pub(super) higher_prio_send_advert: Option<bool>,
    pub(super) promote_secondaries: bool,
    pub(super) garp: DraftGarp,
    pub(super) lists: Lists,
    pub(super) addresses: Vec<Address>,
    pub(super) excluded: Vec<Address>,
    pub(super) routes: Vec<Route>,
    pub(super) rules: Vec<Rule>,
    pub(super) notify: Notify,
    pub(super) priority_changes: Option<bool>,
}

/// `garp_*`: outer `None`: not written.
#[derive(Clone, Debug, Default)]
pub(super) struct DraftGarp {
    pub(super) master_delay: Option<Option<Duration>>,
    pub(super) master_repeat: Option<u32>,
    pub(super) lower_delay: Option<Option<Duration>>,
    pub(super) lower_repeat: Option<u32>,
    pub(super) refresh: Option<Option<Duration>>,
    pub(super) refresh_repeat: Option<u32>,
    pub(super) extra_if: Option<Option<(Duration, bool)>>,
}

/// Reads one.
pub(super) fn read(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(name) = name(reader, item).map(str::to_owned) else { return };
    if reader.drafts.iter().any(|draft| draft.name == name) {
        item.bad(1, &mut reader.findings, "is the second instance of that name and is passed over", "another name");
        return;
    }
    let mut draft = Draft { name, at: item.at.clone(), ..Draft::default() };
    reader.each(Block::Instance, item.inside(), |reader, item| {
        if !(draft.lists.take(item)
            || lists(reader, item, &mut draft)
            || identity(reader, item, &mut draft)
            || source(reader, item, &mut draft)
            || notify(&mut reader.findings, item, &mut draft.notify)
            || garp(&mut reader.findings, item, &mut draft.garp))
        {
            switches(&mut reader.findings, item, &mut draft);
        }
    });
    reader.drafts.push(draft);
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// Lists of addresses, routes and peers, and the password.
fn lists(reader: &mut Reader<'_, '_>, item: &Item, draft: &mut Draft) -> bool {
    match item.key() {
        "virtual_ipaddress" => reader.entries(item, |reader, entry| {
            let Some(address) = reader.virtual_address(entry) else { return };
            if *draft.family.get_or_insert(family(address.address)) == family(address.address) {
                draft.addresses.push(address);
            } else {
                let what = "is of another family than the router; the line is passed over";
                entry.bad(0, &mut reader.findings, what, "virtual_ipaddress_excluded for the other family");
            }
        }),
        "virtual_ipaddress_excluded" => reader.entries(item, |reader, entry| {
            let address = reader.virtual_address(entry);
            draft.excluded.extend(address);
        }),
        "virtual_routes" => reader.entries(item, |reader, entry| {
            let route = super::address::route(entry, false, &mut reader.findings);
            if route
                .as_ref()
                .is_some_and(|route| !route.no_track && route.hops.iter().all(|hop| hop.interface.is_none()))
            {
                let what = "names no interface: when another removes the route, nobody notices";
                entry.bad(0, &mut reader.findings, what, "dev, or no_track");
            }
            draft.routes.extend(route);
        }),
        "virtual_rules" => reader.entries(item, |reader, entry| {
            draft.rules.extend(super::address::rule(entry, false, &mut reader.findings));
        }),
        "unicast_peer" => reader.entries(item, |reader, entry| peer(&mut reader.findings, entry, draft)),
        "authentication" => authentication::read(reader, item, draft),
        _ => return false,
    }
    true
}

fn peer(findings: &mut Findings, entry: &Item, draft: &mut Draft) {
    let Ok(address) = entry.key().parse::<IpAddr>() else {
        entry.bad(0, findings, "is no IP address; the line is passed over", "");
        return;
    };
    if *draft.family.get_or_insert(family(address)) != family(address) {
        entry.bad(0, findings, "is of another family than the router; the line is passed over", "");
        return;
    }
    let mut peer = UnicastPeer { address, min_ttl: None, max_ttl: None };
    let mut index = 1;
    while let Some(word) = entry.word(index) {
        let Some(ttl) = entry.whole(index + 1, 0..=255, findings).and_then(|ttl| u8::try_from(ttl).ok()) else { break };
        match word {
            "min_ttl" => peer.min_ttl = Some(ttl),
            "max_ttl" => peer.max_ttl = Some(ttl),
            _ => entry.bad(index, findings, "is not known beside a peer and is ignored", "min_ttl or max_ttl"),
        }
        draft.check_unicast_source = true;
        index += 2;
    }
    if peer.min_ttl.unwrap_or(0) > peer.max_ttl.unwrap_or(255) {
        entry.bad(0, findings, "has a min_ttl above its max_ttl: all its adverts are refused", "");
    }
    draft.peers.push(peer);
}

/// Who it is.
fn identity(reader: &mut Reader<'_, '_>, item: &Item, draft: &mut Draft) -> bool {
    let findings = &mut reader.findings;
    let small = |number: Option<u32>| number.and_then(|number| u8::try_from(number).ok());
    match item.key() {
        "state" => match item.need(1, findings) {
            Some("MASTER") => draft.state = Some(State::Master),
            Some("BACKUP") if draft.state == Some(State::Master) => {
                item.bad(1, findings, "comes after state MASTER and is ignored", "one of the two");
            }
            Some("BACKUP") => draft.state = Some(State::Backup),
            Some(_) => {
                item.bad(1, findings, "is not known and is taken as BACKUP", "MASTER or BACKUP");
                draft.state = Some(State::Backup);
            }
            None => {}
        },
        "interface" => {
            let Some(name) = item.need(1, findings) else { return true };
            if !is_link_name(name) {
                item.bad(1, findings, "cannot be the name of an interface and is ignored", "");
            } else if name == "lo" {
                item.bad(1, findings, "is a loopback interface and is ignored", "an interface with neighbours");
            } else {
                draft.interface = Some(name.to_owned());
                if !reader.has_interface(name) {
                    let what = "is no interface of this host";
                    reader.findings.put(Kind::Fatal, &item.at_word(1), "interface", what, name, "one that is there");
                }
            }
        }
        "virtual_router_id" => {
            reader.marks.push((draft.name.clone(), item.key().to_owned(), item.at.clone()));
            draft.vrid = small(item.whole(1, 1..=255, findings)).or(draft.vrid);
        }
        "priority" => {
            draft.priority = small(item.whole(1, 1..=255, findings)).or(Some(100));
        }
        "advert_int" => {
            let range = Duration::from_millis(10)..=Duration::from_secs(255);
            draft.advert_interval = item.seconds(1, range, findings).or(draft.advert_interval);
        }
        "version" => {
            let version = match item.whole(1, 2..=3, findings) {
                Some(2) => Version::V2,
                Some(_) => Version::V3,
                None => return true,
            };
            let conflict = draft.version.is_some_and(|known| known != version)
                || version == Version::V2 && draft.family == Some(Family::V6);
            if conflict {
                item.bad(1, findings, "does not fit what was said before and is ignored", "");
            } else {
                draft.version = Some(version);
            }
        }
        "native_ipv6" if draft.family == Some(Family::V4) => {
            item.bad(0, findings, "does not fit IPv4 addresses and is ignored", "");
        }
        "native_ipv6" => {
            draft.family = Some(Family::V6);
            draft.version = Some(Version::V3);
        }
        _ => return false,
    }
    true
}

/// Where adverts come from and go to.
fn source(reader: &mut Reader<'_, '_>, item: &Item, draft: &mut Draft) -> bool {
    let findings = &mut reader.findings;
    draft.unicast |= matches!(item.key(), "unicast_src_ip" | "unicast_peer" | "check_unicast_src");
    match item.key() {
        "mcast_src_ip" | "unicast_src_ip" => {
            let Some(address) = item.address(1, findings) else { return true };
            if *draft.family.get_or_insert(family(address)) == family(address) {
                draft.source = Some(address);
            } else {
                item.bad(1, findings, "is of another family than the router and is ignored", "");
            }
        }
        "track_src_ip" => draft.track_source = true,
        "mcast_dst_ip" => match item.address(1, findings) {
            Some(group) if group.is_multicast() => draft.group = Some(group),
            Some(_) => item.bad(1, findings, "is no multicast group and is ignored", ""),
            None => {}
        },
        "unicast_fault_no_peer" => draft.fault_without_peers = true,
        "unicast_ttl" => {
            let ttl = item.whole(1, 0..=255, findings).and_then(|ttl| u8::try_from(ttl).ok());
            draft.unicast_ttl = ttl.map(|ttl| (ttl, item.at.clone())).or(draft.unicast_ttl.take());
        }
        "check_unicast_src" => draft.check_unicast_source = true,
        "old_unicast_checksum" => match item.word(1) {
            None => draft.checksum = Some(Checksum::OldUnicast),
            Some("never") => draft.checksum = Some(Checksum::Pseudo),
            Some(_) => item.bad(1, findings, "is not known and is ignored", "never"),
        },
        "v3_checksum_as_v2" => {
            let plain = item.switch(findings);
            draft.checksum = plain.map(|plain| if plain { Checksum::Plain } else { Checksum::Pseudo });
        }
        "use_vmac" => super::vmac::read(reader, item, draft),
        "vmac_xmit_base" => draft.xmit_base = Some(item.at.clone()),
        "use_vmac_addr" => draft.vmac_addresses = true,
        _ => return false,
    }
    true
}

/// `notify*`; whether it is one.
pub(super) fn notify(findings: &mut Findings, item: &Item, out: &mut Notify) -> bool {
    let slot = match item.key() {
        "notify_master" => &mut out.master,
        "notify_backup" => &mut out.backup,
        "notify_fault" => &mut out.fault,
        "notify_stop" => &mut out.stop,
        "notify" => &mut out.any,
        "notify_master_rx_lower_pri" => &mut out.master_rx_lower_pri,
        "notify_deleted" if out.tell_deleted => {
            item.bad(0, findings, "is written twice; the first one counts", "");
            return true;
        }
        "notify_deleted" => {
            out.tell_deleted = true;
            if item.word(1).is_none() {
                return true;
            }
            &mut out.deleted
        }
        _ => return false,
    };
    once(findings, item, slot);
    true
}

fn once(findings: &mut Findings, item: &Item, slot: &mut Option<Command>) {
    if slot.is_some() {
        item.bad(1, findings, "is the second script for that and is ignored", "one");
        return;
    }
    *slot = item.command(findings);
}

fn garp(findings: &mut Findings, item: &Item, out: &mut DraftGarp) -> bool {
    let mut delay = |most| item.whole(1, 0..=most, findings).map(unless_zero);
    match item.key() {
        "garp_master_delay" => out.master_delay = delay(4294).or(out.master_delay),
        "garp_lower_prio_delay" => out.lower_delay = delay(4294).or(out.lower_delay),
        "garp_master_refresh" => out.refresh = delay(u32::MAX).or(out.refresh),
        "garp_master_repeat" => {
            let mut frames = 0;
            repeat(item, findings, &mut frames);
            out.master_repeat = (frames > 0).then_some(frames).or(out.master_repeat);
        }
        "garp_master_refresh_repeat" => {
            let mut frames = 0;
            repeat(item, findings, &mut frames);
            out.refresh_repeat = (frames > 0).then_some(frames).or(out.refresh_repeat);
        }
        "garp_lower_prio_repeat" => {
            out.lower_repeat = item.whole(1, 0..=i32::MAX as u32, findings).or(out.lower_repeat);
        }
        "garp_extra_if" | "vmac_garp_intvl" => out.extra_if = Some(extra_if(item, findings)),
        _ => return false,
    }
    true
}

/// What is on or off.
fn switches(findings: &mut Findings, item: &Item, draft: &mut Draft) {
    match item.key() {
        "nopreempt" => draft.nopreempt = Some(item.at.clone()),
        "preempt" => draft.nopreempt = None,
        "preempt_delay" => {
            let range = Duration::ZERO..=Duration::from_secs(1000);
            draft.preempt_delay = item.seconds(1, range, findings).map(|time| (time, item.at.clone()));
        }
        "accept" => draft.accept = Some(true),
        "no_accept" => draft.accept = Some(false),
        "dont_track_primary" => draft.dont_track_primary = true,
        "promote_secondaries" => draft.promote_secondaries = true,
        "strict_mode" => draft.strict = item.switch(findings).or(draft.strict),
        "skip_check_adv_addr" => draft.skip_check_adv_addr = item.switch(findings).or(draft.skip_check_adv_addr),
        "lower_prio_no_advert" => draft.lower_prio_no_advert = item.switch(findings).or(draft.lower_prio_no_advert),
        "higher_prio_send_advert" => {
            draft.higher_prio_send_advert = item.switch(findings).or(draft.higher_prio_send_advert);
        }
        "notify_priority_changes" => draft.priority_changes = item.switch(findings).or(draft.priority_changes),
        "down_timer_adverts" => {
            draft.down_timer_adverts = item.whole(1, 1..=100, findings).or(draft.down_timer_adverts);
        }
        _ => {}
    }
}
