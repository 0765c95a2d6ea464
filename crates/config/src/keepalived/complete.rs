//! What a file means when everything was read: defaults, what does not fit together, and what keepalived makes of it.

use std::net::IpAddr;
use std::time::Duration;

use super::authentication::password;
use super::finding::{Findings, Kind};
use super::general::Defaults;
use super::instance::Draft;
use super::model::{Checksum, Family, Garp, Instance, State, SyncGroup, Track, Tracks, UnicastPeer, Version};
use super::read::Reader;
use super::track::{self, Lists};
use super::tree::Item;
use super::vmac::vmac;

/// Priority of the owner of the addresses.
const OWNER: u8 = 255;
/// Addresses that fit into an advert: the field that counts them has eight bits.
const ADDRESSES_MAX: usize = 255;
/// TTL of adverts.
const TTL: u8 = 255;

/// Everything.
pub(super) fn all(reader: &mut Reader<'_, '_>, items: &[Item]) {
    track::look(reader);
    let drafts = std::mem::take(&mut reader.drafts);
    for draft in &drafts {
        minimum(&mut reader.findings, draft);
    }
    let mut lists: Vec<Lists> = Vec::new();
    for draft in drafts {
        let (instance, list) = one(reader, draft);
        reader.config.instances.push(instance);
        lists.push(list);
    }
    conflicts(reader);
    groups(reader, items);
    for (index, list) in lists.iter().enumerate() {
        let own = reader.config.instances[index].interface.clone();
        let tracks = track::resolve(reader, list, own.as_deref());
        let instance = &mut reader.config.instances[index];
        instance.tracks = tracks;
        let group = reader.config.groups.iter().find(|group| group.members.contains(&instance.name));
        weights(&mut reader.findings, instance, group);
    }
    members(reader);
    unused(reader);
    let global = &mut reader.config.global;
    for fifo in [&mut global.notify_fifo, &mut global.vrrp_notify_fifo] {
        if fifo.as_ref().is_some_and(|fifo| fifo.path.is_empty()) {
            *fifo = None;
        }
    }
}

/// Without these keepalived does not start.
fn minimum(findings: &mut Findings, draft: &Draft) {
    let mut fatal = |what: &str, expected: &str| findings.put(Kind::Fatal, &draft.at, &draft.name, what, "", expected);
    if draft.vrid.is_none() {
        fatal("has no virtual_router_id", "virtual_router_id 1 to 255, the same on all nodes");
    }
    if draft.interface.is_none() && (draft.peers.is_empty() || draft.source.is_none()) {
        fatal("has no interface", "interface, or unicast_src_ip and unicast_peer");
    }
}

fn one(reader: &mut Reader<'_, '_>, mut draft: Draft) -> (Instance, Lists) {
    let defaults = reader.defaults.clone();
    let findings = &mut reader.findings;
    let strict = draft.strict.unwrap_or(defaults.strict);
    let family = draft.family.unwrap_or(Family::V4);
    let version = version(findings, &draft, &defaults, family, strict);
    let priority = draft.priority.unwrap_or(if draft.state == Some(State::Master) { OWNER } else { 100 });
    if priority == OWNER && draft.priority.is_none() {
        reader.owners_by_default.push(draft.name.clone());
    }
    let state = state(findings, &draft, priority, strict);
    let password = password(findings, &mut draft, version, strict);
    addresses(findings, &mut draft, version, strict);
    let (preempt, preempt_delay) = preempt(findings, &draft, priority, state, strict);
    let vmac = vmac(findings, &draft, &defaults, family, strict, &reader.config.instances);
    let unicast_ttl = ttl(findings, &draft);
    super::vmac::place(&mut draft, vmac.as_ref(), family);
    let accept = accept(findings, &draft, version, priority == OWNER, strict);
    let garp = garp(findings, &draft, &defaults, strict);
    let mut notify = std::mem::take(&mut draft.notify);
    notify.priority_changes = draft.priority_changes.unwrap_or(defaults.priority_changes);
    let group = match (draft.group, family) {
        (Some(group), _) => group,
        (None, Family::V4) => IpAddr::V4(defaults.group4),
        (None, Family::V6) => IpAddr::V6(defaults.group6),
    };
    let plain = if defaults.checksum_plain { Checksum::Plain } else { Checksum::Pseudo };
    let instance = Instance {
        advert_interval: interval(findings, &draft, version),
        lower_prio_no_advert: answer(findings, &draft, &defaults, strict),
        higher_prio_send_advert: last_advert(findings, &draft, &defaults, strict),
        name: draft.name,
        at: draft.at,
        interface: draft.interface,
        vrid: draft.vrid.unwrap_or(0),
        priority,
        state,
        family,
        version,
        down_timer_adverts: draft.down_timer_adverts.unwrap_or(defaults.down_timer_adverts),
        password,
        checksum: draft.checksum.unwrap_or(plain),
        source: draft.source,
        track_source: draft.track_source && draft.source.is_some(),
        group,
        check_unicast_source: draft.check_unicast_source || defaults.check_unicast_source,
        unicast_peers: draft.peers,
        fault_without_peers: draft.fault_without_peers,
        unicast_ttl,
        preempt,
        preempt_delay,
        strict,
        accept,
        vmac,
        dont_track_primary: draft.dont_track_primary,
        skip_check_adv_addr: draft.skip_check_adv_addr.unwrap_or(defaults.skip_check_adv_addr),
        promote_secondaries: draft.promote_secondaries,
        garp,
        tracks: Tracks::default(),
        addresses: draft.addresses,
        excluded: draft.excluded,
        routes: draft.routes,
        rules: draft.rules,
        notify,
    };
    (instance, draft.lists)
}

/// Whether packets to addresses that are not our own are accepted.
fn accept(findings: &mut Findings, draft: &Draft, version: Version, owner: bool, strict: bool) -> bool {
    match draft.accept {
        Some(true) if strict && !owner && version == Version::V2 => {
            warn(findings, draft, "has accept, which version 2 does not have in strict mode; it is ignored");
            false
        }
        accept => accept.unwrap_or(owner || !strict),
    }
}

/// A warning about an instance.
pub(super) fn warn(findings: &mut Findings, draft: &Draft, what: &str) {
    findings.warn(&draft.at, &draft.name, what, "", "");
}

fn version(findings: &mut Findings, draft: &Draft, defaults: &Defaults, family: Family, strict: bool) -> Version {
    match (draft.version, family) {
        (Some(Version::V2), Family::V6) => {
            if strict {
                warn(findings, draft, "has IPv6 addresses, which version 2 does not have; version 3 is taken");
            }
            Version::V3
        }
        (Some(version), _) => version,
        (None, Family::V6) => Version::V3,
        (None, Family::V4) => defaults.version,
    }
}

fn state(findings: &mut Findings, draft: &Draft, priority: u8, strict: bool) -> State {
    let owner = if priority == OWNER { State::Master } else { State::Backup };
    match draft.state {
        None => owner,
        Some(state) if strict && state != owner => {
            warn(findings, draft, "is in strict mode, where state MASTER and priority 255 go together");
            owner
        }
        Some(state) => state,
    }
}

fn addresses(findings: &mut Findings, draft: &mut Draft, version: Version, strict: bool) {
    let first = draft.addresses.first().map(|address| address.address);
    match first {
        None if version == Version::V3 || strict => {
            let what = "has no virtual_ipaddress";
            findings.put(Kind::Fatal, &draft.at, &draft.name, what, "", "at least one");
        }
        None => warn(findings, draft, "has no virtual_ipaddress"),
        Some(IpAddr::V6(first)) if strict && draft.peers.is_empty() && !first.is_unicast_link_local() => {
            warn(findings, draft, "is in strict mode, where the first IPv6 address must be link-local");
        }
        Some(_) => {}
    }
    if draft.addresses.len() > ADDRESSES_MAX {
        warn(findings, draft, "has more addresses than fit into an advert: the others are not advertised");
        let more = draft.addresses.split_off(ADDRESSES_MAX);
        draft.excluded.extend(more);
    }
    if strict && !draft.peers.is_empty() {
        let what = "is in strict mode, where there are no unicast peers";
        findings.put(Kind::Fatal, &draft.at, &draft.name, what, "", "no strict mode");
    }
}

fn preempt(findings: &mut Findings, draft: &Draft, priority: u8, state: State, strict: bool) -> (bool, Duration) {
    let mut no = draft.nopreempt.is_some();
    let (mut delay, delay_at) = draft.preempt_delay.clone().unwrap_or_default();
    let mut say = |at, what: &str| findings.warn(at, &draft.name, what, "", "");
    if let Some(at) = &draft.nopreempt {
        if priority == OWNER {
            say(at, "has nopreempt, which an owner (priority 255) cannot have; it is ignored");
            no = false;
        } else if state == State::Master {
            say(at, "has nopreempt, which does nothing with state MASTER; it is ignored");
            no = false;
        }
    }
    if !delay.is_zero() {
        let what = if state == State::Master {
            "has preempt_delay, which does nothing with state MASTER; it is ignored"
        } else if strict {
            "has preempt_delay, which strict mode does not have; it is ignored"
        } else if no {
            "has preempt_delay and nopreempt, which do not go together; the delay is ignored"
        } else {
            return (true, delay);
        };
        say(&delay_at, what);
        delay = Duration::ZERO;
    }
    (!no, delay)
}

fn ttl(findings: &mut Findings, draft: &Draft) -> u8 {
    if draft.peers.is_empty() && draft.unicast && !draft.fault_without_peers {
        warn(findings, draft, "speaks of unicast and has no unicast_peer: adverts go to the multicast group");
    }
    match &draft.unicast_ttl {
        Some((_, at)) if draft.peers.is_empty() => {
            findings.warn(at, &draft.name, "has unicast_ttl without unicast peers; it is ignored", "", "");
            TTL
        }
        Some((ttl, _)) => *ttl,
        None => TTL,
    }
}

fn garp(findings: &mut Findings, draft: &Draft, defaults: &Defaults, strict: bool) -> Garp {
    let (from, all) = (&draft.garp, &defaults.garp);
    let mut lower_repeat = from.lower_repeat;
    let mut lower_delay = from.lower_delay;
    if strict && lower_repeat.is_some_and(|repeat| repeat > 0) {
        warn(findings, draft, "has garp_lower_prio_repeat, which strict mode does not have; it is ignored");
        lower_repeat = None;
    }
    if strict && lower_delay.is_some_and(|delay| delay.is_some()) {
        warn(findings, draft, "has garp_lower_prio_delay, which strict mode does not have; it is ignored");
        lower_delay = None;
    }
    let default_delay = defaults.lower_delay.map_or(all.master_delay, |delay| (!delay.is_zero()).then_some(delay));
    Garp {
        master_delay: from.master_delay.unwrap_or(all.master_delay),
        master_repeat: from.master_repeat.unwrap_or(all.master_repeat),
        lower_prio_delay: lower_delay.unwrap_or(if strict { None } else { default_delay }),
        lower_prio_repeat: lower_repeat.unwrap_or(if strict {
            0
        } else {
            defaults.lower_repeat.unwrap_or(all.master_repeat)
        }),
        refresh: from.refresh.unwrap_or(all.refresh),
        refresh_repeat: from.refresh_repeat.unwrap_or(all.refresh_repeat),
        extra_if: from.extra_if.unwrap_or(all.extra_if),
    }
}

fn answer(findings: &mut Findings, draft: &Draft, defaults: &Defaults, strict: bool) -> bool {
    if strict && draft.lower_prio_no_advert == Some(false) {
        warn(findings, draft, "answers lower adverts, which strict mode does not; it is ignored");
    }
    strict || draft.lower_prio_no_advert.unwrap_or(defaults.lower_prio_no_advert)
}

fn last_advert(findings: &mut Findings, draft: &Draft, defaults: &Defaults, strict: bool) -> bool {
    if strict && draft.higher_prio_send_advert == Some(true) {
        warn(findings, draft, "has higher_prio_send_advert, which strict mode does not have; it is ignored");
    }
    !strict && draft.higher_prio_send_advert.unwrap_or(defaults.higher_prio_send_advert)
}

/// Whole seconds in version 2, hundredths in version 3.
fn interval(findings: &mut Findings, draft: &Draft, version: Version) -> Duration {
    let asked = draft.advert_interval.unwrap_or(Duration::from_secs(1));
    let (step, most) = match version {
        Version::V2 => (Duration::from_secs(1), Duration::from_secs(255)),
        Version::V3 => (Duration::from_millis(10), Duration::from_millis(40_950)),
    };
    let steps = (asked.as_nanos() + step.as_nanos() / 2) / step.as_nanos();
    let steps = u32::try_from(steps.max(1)).unwrap_or(u32::MAX);
    let taken = (step * steps).min(most);
    if taken != asked {
        let what = format!(
            "has an advert_int that version {} does not have; {} s is taken",
            if version == Version::V2 { 2 } else { 3 },
            taken.as_secs_f64()
        );
        warn(findings, draft, &what);
    }
    taken
}

/// Two routers that would answer each other.
fn conflicts(reader: &mut Reader<'_, '_>) {
    let all = &reader.config.instances;
    for (index, second) in all.iter().enumerate() {
        for first in &all[..index] {
            let same = first.vrid == second.vrid && first.family == second.family && second.vrid > 0;
            let unicast = !first.unicast_peers.is_empty();
            if !same || unicast == second.unicast_peers.is_empty() || first.interface != second.interface {
                continue;
            }
            let clash = if unicast {
                first.source.is_some()
                    && first.source == second.source
                    && meet(&first.unicast_peers, &second.unicast_peers)
            } else {
                first.group == second.group
            };
            if clash {
                let what = format!("has the virtual_router_id of {} on the same interface", first.name);
                let vrid = second.vrid.to_string();
                reader.findings.put(Kind::Fatal, &second.at, &second.name, &what, &vrid, "another one");
            }
        }
    }
}

fn meet(a: &[UnicastPeer], b: &[UnicastPeer]) -> bool {
    a.iter().any(|one| b.iter().any(|other| one.address == other.address))
}

/// Groups whose members are all there, and what they track.
fn groups(reader: &mut Reader<'_, '_>, items: &[Item]) {
    for index in 0..reader.config.groups.len() {
        let (name, at) = (reader.config.groups[index].name.clone(), reader.config.groups[index].at.clone());
        let item = items.iter().find(|item| item.key() == "vrrp_sync_group" && item.word(1) == Some(&name));
        let mut lists = Lists::default();
        for item in item.map(Item::inside).unwrap_or_default() {
            lists.take(item);
        }
        let tracks = track::resolve(reader, &lists, None);
        let known: Vec<String> = reader.config.instances.iter().map(|instance| instance.name.clone()).collect();
        let taken: Vec<String> = reader.config.groups[..index].iter().flat_map(|group| group.members.clone()).collect();
        let group = &mut reader.config.groups[index];
        group.tracks = tracks;
        let mut seen = Vec::new();
        for member in std::mem::take(&mut group.members) {
            let what = if !known.contains(&member) {
                "has a member that is no vrrp_instance; it is left out"
            } else if taken.contains(&member) || seen.contains(&member) {
                "has a member that is in a group already; it is left out"
            } else {
                seen.push(member);
                continue;
            };
            reader.findings.warn(&at, &name, what, &member, "");
        }
        group.members = seen;
        match group.members.len() {
            0 => reader.findings.warn(&at, &name, "has no members and is passed over", "", "group { … }"),
            1 => reader.findings.warn(&at, &name, "has one member, which is no group", "", "two or more"),
            _ => {}
        }
    }
    reader.config.groups.retain(|group| !group.members.is_empty());
}

/// Weights that do not count: of the members of a group, and of an owner.
fn weights(findings: &mut Findings, instance: &mut Instance, group: Option<&SyncGroup>) {
    let grouped = group.is_some_and(|group| !group.tracking_weight);
    let owner = instance.priority == OWNER;
    if !grouped && !owner {
        return;
    }
    let why = if grouped { "in a group without sync_group_tracking_weight" } else { "with priority 255" };
    let name = instance.name.clone();
    let mut clear = |track: &Track, what: &str| {
        let what = format!("tracks something with a weight {why}; {what}");
        findings.warn(&track.at, &name, &what, &track.name, "no weight");
    };
    let tracks = &mut instance.tracks;
    for track in tracks.interfaces.iter_mut().filter(|track| track.weight.value != 0) {
        clear(track, "the weight is ignored");
        track.weight.value = 0;
    }
    tracks.scripts.retain(|track| {
        let counts = track.weight.value == 0;
        if !counts {
            clear(track, "it is not tracked");
        }
        counts
    });
    for track in tracks.files.iter_mut().chain(&mut tracks.processes).filter(|track| track.weight.value != 0) {
        clear(track, "the weight is ignored");
        track.weight.value = 0;
    }
}

/// Groups with an owner among their members cannot weigh either.
fn members(reader: &mut Reader<'_, '_>) {
    let owners: Vec<&str> = reader
        .config
        .instances
        .iter()
        .filter(|instance| instance.priority == OWNER)
        .map(|instance| instance.name.as_str())
        .collect();
    for group in &mut reader.config.groups {
        if !group.members.iter().any(|member| owners.contains(&member.as_str())) {
            continue;
        }
        let tracks = &mut group.tracks;
        let all = tracks.interfaces.iter_mut().chain(&mut tracks.scripts);
        for track in all.chain(&mut tracks.files).chain(&mut tracks.processes) {
            if track.weight.value != 0 {
                let what = "tracks something with a weight, and a member has priority 255; the weight is ignored";
                reader.findings.warn(&track.at, &group.name, what, &track.name, "no weight");
                track.weight.value = 0;
            }
        }
    }
}

/// Scripts that nothing tracks do not run.
fn unused(reader: &mut Reader<'_, '_>) {
    let config = &reader.config;
    let tracked = |name: &str| {
        let in_instances = config.instances.iter().flat_map(|instance| &instance.tracks.scripts);
        let in_groups = config.groups.iter().flat_map(|group| &group.tracks.scripts);
        in_instances.chain(in_groups).any(|track| track.name == name)
    };
    let (used, idle): (Vec<_>, Vec<_>) = config.scripts.iter().cloned().partition(|script| tracked(&script.name));
    for script in idle {
        let what = "is tracked by nothing and does not run";
        reader.findings.put(Kind::Ignored, &script.at, &script.name, what, "", "track_script");
    }
    reader.config.scripts = used;
}
