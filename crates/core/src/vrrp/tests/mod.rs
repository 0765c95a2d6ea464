//! Virtual routers driven by hand: events with times, and what they lead to as words.

mod cells;
mod changes;
mod groups;
mod holding;

use std::net::IpAddr;

use baton_wire::vrrp::{Advert, Auth, Checksum, GROUP_V4, Version as Wire};

use super::*;
use crate::keeper::{GateDone, GateOp};

pub(super) const OWN: &str = "10.0.0.2";

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn address(text: &str) -> Address {
    Address {
        address: ip(text),
        prefix: if ip(text).is_ipv4() { 32 } else { 128 },
        interface: "eth0".into(),
        label: None,
        broadcast: None,
        scope: 0,
    }
}

pub(super) fn router(name: &str, vrid: u8, priority: u8, vip: &str) -> Router {
    Router {
        name: name.into(),
        interface: "eth0".into(),
        port: "eth0".into(),
        vrid,
        ipv6: false,
        version: Version::V2,
        priority,
        start_master: false,
        interval: Duration::from_secs(1),
        down_adverts: 3,
        preempt: Preempt::Yes,
        password: None,
        plain_checksum: false,
        source: None,
        track_source: false,
        ttl: 255,
        group: GROUP_V4.into(),
        peers: Vec::new(),
        check_source: true,
        addresses: vec![address(vip)],
        excluded: Vec::new(),
        accept: true,
        answer_lower: true,
        garp: Garp {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: None,
            refresh_repeat: 1,
            lower_repeat: 5,
            lower_delay: Duration::from_secs(5),
            extra: None,
            arp_gap: Duration::ZERO,
            na_gap: Duration::ZERO,
        },
        watches: Vec::new(),
        ignore_interface: false,
        notify_priority: false,
    }
}

pub(super) fn one(priority: u8) -> Router {
    router("VI_1", 51, priority, "10.0.0.100")
}

pub(super) fn settings(routers: Vec<Router>) -> Settings {
    Settings {
        routers,
        groups: Vec::new(),
        trackers: Vec::new(),
        delays: Vec::new(),
        fence: true,
        drain: Duration::from_millis(300),
        release: true,
    }
}

pub(super) fn host_address(address: &str, mine: bool) -> HostAddress {
    let (interface, prefix) = ("eth0".into(), if mine { 32 } else { 24 });
    HostAddress { interface, address: ip(address), prefix, mine, permanent: !mine, secondary: false }
}

pub(super) fn link(up: bool) -> Link {
    Link { name: "eth0".into(), up, mac: Some([2, 0, 0, 0, 0, 2]) }
}

/// What the kernel makes of gate operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Obeys,
    Refuses,
}

/// A node whose effects are performed at once.
pub(super) struct Node {
    pub(super) routers: Routers,
    pub(super) now: Time,
    pub(super) kernel: Kernel,
    pub(super) sends: bool,
    /// What was done, as words.
    pub(super) log: Vec<String>,
}

impl Node {
    pub(super) fn new(settings: Settings) -> Node {
        let addresses = vec![host_address(OWN, false)];
        let routers = Routers::new(settings, vec![link(true)], addresses, Duration::from_millis(4), Time::ZERO);
        Node { routers, now: Time::ZERO, kernel: Kernel::Obeys, sends: true, log: Vec::new() }
    }

    /// Hands over an event and whatever follows from it at once; returns what was done.
    pub(super) fn event(&mut self, event: Event) -> Vec<String> {
        let (from, mut events) = (self.log.len(), vec![event]);
        while !events.is_empty() {
            let mut out = Vec::new();
            self.routers.handle(self.now, events.remove(0), &mut out);
            let mut sent = BTreeSet::new();
            for effect in &out {
                events.extend(self.perform(effect, &mut sent));
            }
        }
        self.log[from..].to_vec()
    }

    fn perform(&mut self, effect: &Effect, sent: &mut BTreeSet<Name>) -> Option<Event> {
        self.log.extend(words(effect));
        match effect {
            Effect::Send { router, .. } if sent.insert(router.clone()) => {
                Some(Event::Sent { router: router.clone(), ok: self.sends })
            }
            Effect::Gates { router, addresses, op } => {
                let done = match op {
                    GateOp::Open { end } | GateOp::Renew { end } if self.kernel == Kernel::Obeys => {
                        GateDone::Open { end: *end }
                    }
                    GateOp::Open { .. } | GateOp::Renew { .. } => GateDone::Failed,
                    GateOp::Drain { .. } | GateOp::Keep { .. } => GateDone::AnswerShut,
                    GateOp::Shut => GateDone::Shut,
                };
                let done = addresses.iter().map(|a| (a.address, done)).collect();
                Some(Event::Gates { router: router.clone(), done })
            }
            Effect::PutAddress { address, .. } => {
                let mine = host_address(&address.address.to_string(), true);
                Some(Event::AddressPut(HostAddress { prefix: address.prefix, ..mine }))
            }
            Effect::RemoveAddress { interface, address, .. } => {
                Some(Event::AddressGone { interface: interface.clone(), address: *address })
            }
            _ => None,
        }
    }

    /// Runs until then, with a step at each deadline; returns what was done, with times in ms since the call.
    pub(super) fn run(&mut self, for_ms: u64) -> Vec<(u64, String)> {
        let (began, end) = (self.now, self.now + Duration::from_millis(for_ms));
        let mut done = Vec::new();
        for _ in 0..100_000 {
            let Some(at) = self.routers.deadline().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            let at = u64::try_from(self.now.since(began).as_millis()).unwrap();
            done.extend(self.event(Event::Tick).into_iter().map(|word| (at, word)));
        }
        self.now = end;
        done
    }

    pub(super) fn hear(&mut self, from: &str, priority: u8) -> Vec<String> {
        self.hear_list(from, priority, &["10.0.0.100"])
    }

    pub(super) fn hear_list(&mut self, from: &str, priority: u8, list: &[&str]) -> Vec<String> {
        let addresses = list.iter().map(|a| ip(a)).collect();
        let version = Wire::V2 { seconds: 1, auth: Auth::None };
        self.packet(from, &Advert { vrid: 51, priority, version, addresses })
    }

    pub(super) fn packet(&mut self, from: &str, advert: &Advert) -> Vec<String> {
        let (source, destination) = (ip(from), GROUP_V4.into());
        let bytes = advert.emit(source, destination);
        self.event(Event::Advert { interface: "eth0".into(), source, destination, ttl: 255, bytes })
    }

    /// The same node, to look ahead with.
    pub(super) fn clone_of(&self) -> Node {
        Node { routers: self.routers.clone(), log: Vec::new(), ..*self }
    }

    pub(super) fn state(&self) -> State {
        self.status().state
    }

    pub(super) fn status(&self) -> RouterStatus {
        self.routers.status().routers.into_iter().next().unwrap()
    }

    /// A node whose only router is master, past its first burst.
    pub(super) fn master(settings: Settings) -> Node {
        let mut node = Node::new(settings);
        node.run(9_000);
        assert_eq!(node.state(), State::Master);
        node.log.clear();
        node
    }

    /// A node whose only router is backup of a master with priority 200.
    pub(super) fn backup(settings: Settings) -> Node {
        let mut node = Node::new(settings);
        node.run(1_000);
        node.hear("10.0.0.9", 200);
        assert_eq!(node.state(), State::Backup);
        node.log.clear();
        node
    }
}

/// An effect in words; renewals of what is there say nothing.
pub(super) fn words(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Send { source, destination, bytes, .. } => {
            let advert = Advert::parse(bytes, *source, *destination).unwrap();
            format!("advert {}", advert.priority)
        }
        Effect::Gates { addresses, op, .. } => match op {
            GateOp::Open { .. } => format!("open {}", addresses.len()),
            GateOp::Renew { .. } => return None,
            GateOp::Drain { .. } | GateOp::Keep { .. } => format!("drain {}", addresses.len()),
            GateOp::Shut => format!("shut {}", addresses.len()),
        },
        Effect::PutAddress { address, .. } => format!("put {}", address.address),
        Effect::RemoveAddress { address, .. } => format!("remove {address}"),
        Effect::Announce { addresses, repeat } => format!("garp {}x{repeat}", addresses.len()),
        Effect::Notify { of: Subject::Instance, what, .. } => format!("notify {what:?}"),
        Effect::Notify { of: Subject::Group, name, what, .. } => format!("{name} {what:?}"),
        Effect::Stopped => "stopped".into(),
        Effect::Guard { .. } | Effect::Unguard { .. } | Effect::Holding { .. } | Effect::Note(_) => return None,
    })
}

/// Version 3 with this interval.
pub(super) fn v3(priority: u8, centiseconds: u16) -> Router {
    let interval = Duration::from_millis(u64::from(centiseconds) * 10);
    Router { version: Version::V3, interval, ..one(priority) }
}

/// An advert of version 3.
pub(super) fn advert_v3(priority: u8, centiseconds: u16) -> Advert {
    let version = Wire::V3 { centiseconds, checksum: Checksum::Pseudo };
    Advert { vrid: 51, priority, version, addresses: vec![ip("10.0.0.100")] }
}
