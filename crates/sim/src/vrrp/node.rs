//! One node: a process that may be paused, killed and started, and a kernel that stays.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use baton_core::Time;
use baton_core::keeper::{GateDone, GateOp, HostAddress, Link};
use baton_core::vrrp::{Address, Effect, Event, Garp, Preempt, Router, Routers, Settings, Version};
use baton_wire::vrrp::GROUP_V4;

use super::GroupMistake;
use super::keepalived::Keepalived;
use super::plan::{GroupPlan, Kind};
use crate::clock::{Clock, Moment};

/// The kernel's timer granularity.
const TICK: Duration = Duration::from_millis(4);

/// What runs.
#[derive(Clone, Debug)]
pub(super) enum Process {
    None,
    Baton(Box<Routers>),
    Keepalived(Keepalived),
}

/// What the kernel has.
#[derive(Clone, Debug, Default)]
struct Kernel {
    /// The address, until then; without a lifetime for ever.
    address: Option<Time>,
    guarded: Option<Time>,
    gate: Option<Time>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) priority: u8,
    pub(super) clock: Clock,
    pub(super) own: IpAddr,
    pub(super) process: Process,
    pub(super) paused: bool,
    pub(super) link: bool,
    pub(super) mute: bool,
    pub(super) failures: u32,
    /// Results and notifications, then packets.
    pub(super) results: VecDeque<Event>,
    pub(super) inbox: VecDeque<Event>,
    /// What was decided and not done yet, and when that was decided.
    pub(super) backlog: VecDeque<(Effect, Time)>,
    kernel: Kernel,
    /// When it began to answer.
    pub(super) answers_since: Option<Moment>,
    /// It did not run, or was not there, at that moment.
    pub(super) absent: Option<Moment>,
}

/// The address that the group keeps.
pub(super) fn vip() -> IpAddr {
    [10, 0, 0, 100].into()
}

fn settings(plan: &GroupPlan, priority: u8) -> Settings {
    let garp = Garp {
        repeat: 5,
        delay: Duration::from_secs(5),
        refresh: None,
        refresh_repeat: 1,
        lower_repeat: 5,
        lower_delay: Duration::from_secs(5),
        extra: None,
        arp_gap: Duration::ZERO,
        na_gap: Duration::ZERO,
    };
    let address =
        Address { address: vip(), prefix: 32, interface: "eth0".into(), label: None, broadcast: None, scope: 0 };
    let router = Router {
        name: "VI_1".into(),
        interface: "eth0".into(),
        port: "eth0".into(),
        vrid: 51,
        ipv6: false,
        version: if plan.v3 { Version::V3 } else { Version::V2 },
        priority,
        start_master: false,
        interval: plan.interval,
        down_adverts: 3,
        preempt: if plan.preempt { Preempt::Yes } else { Preempt::No },
        password: None,
        plain_checksum: false,
        source: None,
        track_source: false,
        ttl: 255,
        group: GROUP_V4.into(),
        peers: Vec::new(),
        check_source: true,
        addresses: vec![address],
        excluded: Vec::new(),
        accept: true,
        answer_lower: true,
        garp,
        watches: Vec::new(),
        ignore_interface: false,
        notify_priority: false,
    };
    Settings {
        routers: vec![router],
        groups: Vec::new(),
        trackers: Vec::new(),
        delays: Vec::new(),
        fence: true,
        drain: Duration::from_millis(300),
        release: true,
    }
}

impl Node {
    pub(super) fn new(id: usize, kind: Kind, priority: u8, clock: Clock) -> Node {
        Node {
            kind,
            priority,
            clock,
            own: [10, 0, 0, 1 + u8::try_from(id).unwrap_or(0)].into(),
            process: Process::None,
            paused: false,
            link: true,
            mute: false,
            failures: 0,
            results: VecDeque::new(),
            inbox: VecDeque::new(),
            backlog: VecDeque::new(),
            kernel: Kernel::default(),
            answers_since: None,
            absent: None,
        }
    }

    pub(super) fn now(&self, at: Moment) -> Time {
        self.clock.at(at)
    }

    pub(super) fn start(&mut self, plan: &GroupPlan, at: Moment) {
        let now = self.now(at);
        self.process = match self.kind {
            Kind::Baton => {
                let (settings, links) = (settings(plan, self.priority), vec![self.link_event()]);
                Process::Baton(Box::new(Routers::new(settings, links, self.addresses(now), TICK, now)))
            }
            Kind::Keepalived => {
                self.kernel.address = None;
                Process::Keepalived(Keepalived::new(plan, self.priority, self.own, vip(), now))
            }
        };
    }

    pub(super) fn kill(&mut self) {
        self.process = Process::None;
        self.paused = false;
        self.results.clear();
        self.inbox.clear();
        self.backlog.clear();
    }

    pub(super) fn link_event(&self) -> Link {
        Link { name: "eth0".into(), up: self.link, mac: None }
    }

    fn addresses(&self, now: Time) -> Vec<HostAddress> {
        let entry = |address, prefix, mine| HostAddress {
            interface: "eth0".into(),
            address,
            prefix,
            mine,
            permanent: !mine,
            secondary: false,
        };
        let mut all = vec![entry(self.own, 24, false)];
        if self.present(now) {
            all.push(entry(vip(), 32, true));
        }
        all
    }

    fn present(&self, now: Time) -> bool {
        self.kernel.address.is_some_and(|end| now < end)
    }

    /// A frame that asks for the address is answered.
    pub(super) fn answers(&self, at: Moment) -> bool {
        let now = self.now(at);
        let open = |end: Option<Time>| end.is_some_and(|end| now < end);
        self.link && self.present(now) && (!open(self.kernel.guarded) || open(self.kernel.gate))
    }

    /// When it ceases to answer by itself.
    pub(super) fn lapses(&self) -> Option<Moment> {
        [self.kernel.address, self.kernel.guarded, self.kernel.gate]
            .into_iter()
            .flatten()
            .map(|end| self.clock.when(end))
            .min()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let at = match &self.process {
            Process::None => None,
            Process::Baton(routers) => routers.deadline(),
            Process::Keepalived(k) => Some(k.due),
        };
        at.filter(|_| !self.paused).map(|at| self.clock.when(at))
    }

    pub(super) fn set_address(&mut self, present: bool) {
        self.kernel.address = present.then_some(Time(u64::MAX));
    }

    /// The kernel's part of an effect; what comes back waits in `results`.
    pub(super) fn perform(&mut self, effect: &Effect, decided: Time, at: Moment, mistake: Option<GroupMistake>) {
        let now = self.now(at);
        match effect {
            Effect::Gates { router, op, .. } => {
                let op = planted(*op, decided, mistake);
                let done = vec![(vip(), self.gate(op, now))];
                self.results.push_back(Event::Gates { router: router.clone(), done });
            }
            Effect::Guard { timeout, .. } => self.kernel.guarded = Some(now + *timeout),
            Effect::Unguard { .. } => self.kernel.guarded = None,
            Effect::PutAddress { valid, .. } => {
                self.kernel.address = Some(now + *valid);
                let put = self.addresses(now).pop();
                self.results.extend(put.map(Event::AddressPut));
            }
            Effect::RemoveAddress { interface, address, .. } => {
                self.kernel.address = None;
                self.results.push_back(Event::AddressGone { interface: interface.clone(), address: *address });
            }
            _ => {}
        }
    }

    /// Somebody else removes the address. (What keepalived does about it is not in the model.)
    pub(super) fn delete(&mut self) {
        if matches!(self.process, Process::Baton(_)) {
            self.kernel.address = None;
            self.results.push_back(Event::AddressGone { interface: "eth0".into(), address: vip() });
        }
    }

    fn gate(&mut self, op: GateOp, now: Time) -> GateDone {
        if self.failures > 0 {
            self.failures -= 1;
            self.kernel.gate = None;
            return GateDone::Failed;
        }
        let open = self.kernel.gate.is_some_and(|end| now < end);
        match op {
            GateOp::Open { end } | GateOp::Renew { end } if now >= end => {
                self.kernel.gate = None;
                GateDone::Lost
            }
            GateOp::Renew { .. } if !open => GateDone::Lost,
            GateOp::Open { end } | GateOp::Renew { end } => {
                self.kernel.gate = Some(end);
                GateDone::Open { end }
            }
            GateOp::Drain { .. } | GateOp::Keep { .. } => {
                self.kernel.gate = None;
                GateDone::AnswerShut
            }
            GateOp::Shut => {
                self.kernel.gate = None;
                GateDone::Shut
            }
        }
    }
}

/// A gate operation as a program with that mistake would do it.
fn planted(op: GateOp, decided: Time, mistake: Option<GroupMistake>) -> GateOp {
    let changed = |end: Time| match mistake {
        Some(GroupMistake::NoEnd) => end + Duration::from_secs(3600),
        Some(GroupMistake::NoMargin) => decided + end.since(decided) * 11 / 9,
        _ => end,
    };
    match op {
        GateOp::Open { end } => GateOp::Open { end: changed(end) },
        GateOp::Renew { end } => GateOp::Renew { end: changed(end) },
        other => other,
    }
}
