//! What `keepalived.conf` asks for, as the virtual routers of `core::vrrp` know it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::network;
use baton_config::keepalived::model::{self, Checksum, Config, Family, Instance, State, Track, Tracks};
use baton_core::vrrp::settings::{
    Address, Garp, LinkDelay, Name, Peer, Preempt, Router, Settings, SyncGroup, Tracker, TrackerKind, Version, Watch,
};

/// How long packets of open connections are still accepted by a master that gave up.
const DRAIN: Duration = Duration::from_millis(300);

/// What kind of thing is watched: their names may be the same, those of trackers must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Interface,
    Script,
    Process,
    File,
    Group,
}

/// The name of a tracker.
pub(super) fn tracker(kind: Kind, name: &str) -> Name {
    let kind = match kind {
        Kind::Interface => "interface",
        Kind::Script => "script",
        Kind::Process => "process",
        Kind::File => "file",
        Kind::Group => "track_group",
    };
    Arc::from(format!("{kind} {name}"))
}

/// The tracker that stands for the balancer in the same process.
pub(super) const BALANCER: &str = "the balancer";

/// The tracker that stands for the time before the first instance starts.
pub(super) const STARTUP: &str = "vrrp_startup_delay";

/// The whole of it, and with a balancer beside it what that can do. What [`super::refuse`] names has no place here.
pub(super) fn settings(config: &Config, fence: bool, balancer: bool) -> Settings {
    let mut settings = of_file(config, fence);
    let mut all_watch = |name: &str, members: &dyn Fn(&Router) -> bool| {
        let name: Name = Arc::from(name);
        settings.trackers.push(Tracker { name: name.clone(), kind: TrackerKind::Process });
        for router in settings.routers.iter_mut().filter(|router| members(router)) {
            router.watches.push(Watch { tracker: name.clone(), weight: 0, reverse: false });
        }
    };
    if balancer {
        all_watch(BALANCER, &|_| true);
    }
    if !config.global.startup_delay.is_zero() {
        all_watch(STARTUP, &|_| true);
    }
    for group in config.track_groups.iter().filter(|group| network::tracks(config, &group.name)) {
        let member = |router: &Router| group.members.iter().any(|member| **member == *router.name);
        all_watch(&tracker(Kind::Group, &group.name), &member);
    }
    settings
}

fn of_file(config: &Config, fence: bool) -> Settings {
    let mut trackers = Vec::new();
    for script in &config.scripts {
        let kind = TrackerKind::Script { rise: script.rise, fall: script.fall, init_fail: script.init_fail };
        trackers.push(Tracker { name: tracker(Kind::Script, &script.name), kind });
    }
    for process in &config.processes {
        trackers.push(Tracker { name: tracker(Kind::Process, &process.name), kind: TrackerKind::Process });
    }
    for file in &config.files {
        trackers.push(Tracker { name: tracker(Kind::File, &file.name), kind: TrackerKind::File });
    }
    let tracked = config.instances.iter().map(|i| &i.tracks).chain(config.groups.iter().map(|g| &g.tracks));
    for interface in tracked.flat_map(|tracks| &tracks.interfaces) {
        let name = tracker(Kind::Interface, &interface.name);
        if !trackers.iter().any(|tracker| tracker.name == name) {
            let kind = TrackerKind::Interface { interface: Arc::from(interface.name.as_str()) };
            trackers.push(Tracker { name, kind });
        }
    }
    Settings {
        routers: config.instances.iter().filter_map(|instance| router(config, instance)).collect(),
        groups: config.groups.iter().map(|group| sync_group(config, group)).collect(),
        trackers,
        delays: config.delays.iter().map(delay).collect(),
        fence,
        drain: DRAIN,
        release: true,
    }
}

fn delay(delay: &model::InterfaceDelay) -> LinkDelay {
    LinkDelay { interface: Arc::from(delay.name.as_str()), down: delay.down, up: delay.up }
}

/// `None` without an interface, which is refused.
fn router(config: &Config, instance: &Instance) -> Option<Router> {
    let interface: Name = Arc::from(instance.interface.as_deref()?);
    let vmac = instance.vmac.as_ref();
    let home: Name = vmac.map_or_else(|| interface.clone(), |vmac| Arc::from(vmac.name.as_str()));
    let port = if vmac.is_some_and(|vmac| vmac.xmit_base) { interface.clone() } else { home.clone() };
    let place = |address: &model::Address| Address {
        address: address.address,
        prefix: address.prefix,
        interface: address.interface.as_deref().map_or_else(|| home.clone(), Arc::from),
        label: address.label.as_deref().map(Arc::from),
        broadcast: address.broadcast.map(IpAddr::V4),
        scope: address.scope.map_or(0, |scope| scope.0),
    };
    let peer = |peer: &model::UnicastPeer| Peer {
        address: peer.address,
        ttl: match (peer.min_ttl, peer.max_ttl) {
            (None, None) => None,
            (min, max) => Some((min.unwrap_or(0), max.unwrap_or(255))),
        },
    };
    Some(Router {
        name: Arc::from(instance.name.as_str()),
        interface: interface.clone(),
        port,
        vrid: instance.vrid,
        ipv6: instance.family == Family::V6,
        version: match instance.version {
            model::Version::V2 => Version::V2,
            model::Version::V3 => Version::V3,
        },
        priority: instance.priority,
        start_master: instance.priority == 255 && instance.state == State::Master,
        interval: instance.advert_interval,
        down_adverts: u8::try_from(instance.down_timer_adverts).unwrap_or(u8::MAX),
        preempt: match (instance.preempt, instance.preempt_delay) {
            (false, _) => Preempt::No,
            (true, Duration::ZERO) => Preempt::Yes,
            (true, delay) => Preempt::After(delay),
        },
        password: instance.password.map(|password| password.0),
        plain_checksum: instance.checksum == Checksum::Plain,
        source: instance.source,
        track_source: instance.track_source,
        ttl: instance.unicast_ttl,
        group: instance.group,
        peers: instance.unicast_peers.iter().map(peer).collect(),
        check_source: instance.check_unicast_source,
        addresses: instance.addresses.iter().map(place).collect(),
        excluded: instance.excluded.iter().map(place).collect(),
        accept: instance.accept,
        answer_lower: !instance.lower_prio_no_advert,
        garp: garp(config, instance, &interface),
        watches: watches(&instance.tracks),
        ignore_interface: instance.dont_track_primary,
        notify_priority: instance.notify.priority_changes,
    })
}

fn garp(config: &Config, instance: &Instance, interface: &str) -> Garp {
    let group = config.garp_groups.iter().find(|group| group.interfaces.iter().any(|i| i == interface));
    let gaps = (config.global.garp_interval, config.global.gna_interval);
    let (arp_gap, na_gap) = group.map_or(gaps, |group| (group.garp_interval, group.gna_interval));
    let garp = &instance.garp;
    Garp {
        repeat: garp.master_repeat,
        delay: garp.master_delay.unwrap_or_default(),
        refresh: garp.refresh,
        refresh_repeat: garp.refresh_repeat,
        lower_repeat: garp.lower_prio_repeat,
        lower_delay: garp.lower_prio_delay.unwrap_or_default(),
        // Without a virtual MAC address only what was asked for on all links.
        extra: garp.extra_if.filter(|(_, all)| *all || instance.vmac.is_some()).map(|(every, _)| every),
        arp_gap,
        na_gap,
    }
}

fn sync_group(config: &Config, group: &model::SyncGroup) -> SyncGroup {
    let known = |name: &&String| config.instances.iter().any(|i| i.name == **name && i.interface.is_some());
    SyncGroup {
        name: Arc::from(group.name.as_str()),
        members: group.members.iter().filter(known).map(|name| Arc::from(name.as_str())).collect(),
        watches: watches(&group.tracks),
        tracking_weight: group.tracking_weight,
    }
}

fn watches(tracks: &Tracks) -> Vec<Watch> {
    let of = |kind: Kind, tracks: &[Track]| -> Vec<Watch> {
        let watch = |track: &Track| Watch {
            tracker: tracker(kind, &track.name),
            weight: track.weight.value,
            reverse: track.weight.reverse,
        };
        tracks.iter().map(watch).collect()
    };
    [
        of(Kind::Interface, &tracks.interfaces),
        of(Kind::Script, &tracks.scripts),
        of(Kind::Process, &tracks.processes),
        of(Kind::File, &tracks.files),
    ]
    .concat()
}
