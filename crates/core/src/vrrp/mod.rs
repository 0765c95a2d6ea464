//! VRRP (RFC 3768, 5798, 9568, with keepalived's ways): virtual routers whose mastership ends by itself.
//!
//! [`Routers::handle`] takes an event and the time and appends effects; [`Routers::deadline`] says when to come back
//! with [`Event::Tick`]. An event steps what it touches. It must not know sockets, threads, clocks or files.
//!
//! A master may answer until the last advert that left is `down_adverts` intervals old, less a margin for clocks; no backup
//! takes over before. What VRRP cannot give, this cannot either: in a partition each side has a master.

mod configure;
mod context;
pub mod event;
mod garp;
mod hear;
mod hold;
mod host;
pub mod note;
mod router;
pub mod settings;
pub mod status;
mod sync;
mod track;

pub use event::{Effect, Event, Found, Notice, Subject};
pub use note::{Note, Reject, Why};
pub use settings::{
    Address, Garp, LinkDelay, Name, Peer, Preempt, Router, Settings, SyncGroup, Tracker, TrackerKind, Version, Watch,
};
pub use status::{Counters, GroupStatus, RouterStatus, State, Status, TrackerStatus};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::keeper::{HostAddress, Link};
use crate::time::Time;
use context::Context;
use hear::Packet;
use host::Host;
use router::Machine;
use track::{Tracked, Verdict};

/// All virtual routers of one instance, their sync groups and what they watch.
#[derive(Clone, Debug)]
pub struct Routers {
    settings: Settings,
    tick: Duration,
    machines: BTreeMap<Name, Machine>,
    /// By port, family and VRID.
    heard_by: BTreeMap<(Name, bool, u8), Vec<Name>>,
    wakes: BTreeSet<(Time, Name)>,
    trackers: BTreeMap<Name, Tracked>,
    /// What was last said of each sync group.
    groups: BTreeMap<Name, Option<Notice>>,
    host: Host,
    virtual_addresses: BTreeSet<IpAddr>,
    /// This step is a tick.
    heard_all: bool,
    stopping: bool,
    stopped: bool,
}

impl Routers {
    /// Virtual routers that have just started, and the host as it is. `tick` is the kernel's timer granularity. The first
    /// [`Event::Tick`] is due at once.
    #[must_use]
    pub fn new(
        settings: Settings,
        links: Vec<Link>,
        addresses: Vec<HostAddress>,
        tick: Duration,
        now: Time,
    ) -> Routers {
        let empty = Settings { routers: Vec::new(), groups: Vec::new(), trackers: Vec::new(), ..settings.clone() };
        let mut routers = Routers {
            settings: empty,
            tick,
            machines: BTreeMap::new(),
            heard_by: BTreeMap::new(),
            wakes: BTreeSet::new(),
            trackers: BTreeMap::new(),
            groups: BTreeMap::new(),
            host: Host::new(links, &addresses),
            virtual_addresses: BTreeSet::new(),
            heard_all: false,
            stopping: false,
            stopped: false,
        };
        // Nothing runs yet, so nothing follows from this but the first deadlines.
        routers.configure(now, settings, &mut Vec::new());
        let names: Vec<Name> = routers.machines.keys().cloned().collect();
        names.iter().for_each(|name| routers.index(name, Some(now)));
        routers
    }

    /// One step: takes an event, appends what is to be done, in order.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        if self.stopped {
            return;
        }
        self.heard_all = event == Event::Tick;
        let mut touched = self.take(now, event, out);
        let due = (now, Name::from("\u{10ffff}"));
        touched.extend(self.wakes.range(..=due).map(|(_, name)| name.clone()));
        for name in &touched {
            self.assess_fresh(now, name, out);
            self.on(now, name, out, |m, cx| m.step(cx));
        }
        touched.extend(self.sync(now, &touched, out));
        for name in &touched {
            self.finish(now, name, out);
        }
        if self.stopping && self.machines.is_empty() {
            self.stopped = true;
            out.push(Effect::Stopped);
        }
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        wake.into_iter().chain(self.host.deadline()).min().filter(|_| !self.stopped)
    }

    /// Runs `f` on one router with its surroundings.
    fn on<T>(
        &mut self,
        now: Time,
        name: &Name,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut Machine, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let machine = self.machines.get_mut(name)?;
        let Settings { fence, drain, release, .. } = self.settings;
        let drain = if fence { drain } else { Duration::ZERO };
        // Only a program that stops may leave addresses behind.
        let release = release || !self.stopping;
        let heard_all = self.heard_all;
        Some(f(machine, &mut Context { now, heard_all, tick: self.tick, fence, drain, release, out }))
    }

    /// Hands the event to whom it concerns, and says who that is.
    fn take(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        match event {
            Event::Tick => {
                for link in self.host.waited(now) {
                    touched.extend(self.link_is(now, link, out));
                }
            }
            Event::Advert { interface, source, destination, ttl, bytes } => {
                let packet = Packet { source, destination, ttl, bytes: &bytes };
                if let Some(name) = self.addressee(&interface, &packet) {
                    self.on(now, &name, out, |m, cx| m.hear(cx, &packet));
                    touched.insert(name);
                }
            }
            Event::Sent { router, ok } => {
                self.on(now, &router, out, |m, cx| m.sent(cx, ok));
                touched.insert(router);
            }
            Event::Gates { router, done } => {
                self.on(now, &router, out, |m, cx| m.gates(cx, &done));
                touched.insert(router);
            }
            Event::AddressPut(_) | Event::AddressGone { .. } | Event::Addresses(_) => {
                touched = self.take_address(now, event, out);
            }
            Event::Link(_) | Event::Rerouted { .. } | Event::Claimed { .. } => {
                touched = self.take_link(now, event, out);
            }
            Event::Checked { tracker, found } => touched = self.checked(now, &tracker, found, out),
            Event::Configure(settings) => touched = self.configure(now, settings, out),
            Event::Stop => touched = self.stop(now, out),
        }
        touched
    }

    /// The router that a packet is for: of those with its VRID the one that speaks this way.
    fn addressee(&self, interface: &Name, packet: &Packet<'_>) -> Option<Name> {
        let vrid = *packet.bytes.get(1)?;
        let names = self.heard_by.get(&(interface.clone(), packet.source.is_ipv6(), vrid))?;
        let multicast = packet.destination.is_multicast();
        let speaks = |name: &&Name| {
            self.machines.get(*name).is_some_and(|m| {
                m.settings.peers.is_empty() == multicast && (multicast || m.source == Some(packet.destination))
            })
        };
        names.iter().find(speaks).or(names.first()).cloned()
    }

    fn take_address(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        // Addresses that this program put are nobody's source: of hundreds of routers one is concerned.
        let (sources, address) = match &event {
            Event::AddressPut(a) => (self.host.put(a), Some(a.address)),
            Event::AddressGone { interface, address } => (self.host.gone(interface, *address), Some(*address)),
            Event::Addresses(all) => {
                self.host.replace(all);
                (true, None)
            }
            _ => (false, None),
        };
        let mut touched = BTreeSet::new();
        let may_be = |m: &Machine| sources || address.is_some_and(|a| m.hold.keeps(a));
        let names: Vec<Name> = self.machines.iter().filter(|(_, m)| may_be(m)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let concerned = self.on(now, &name, out, |m, cx| {
                let settings = m.settings.clone();
                let on_its_interface = |i: &str| *i == *settings.interface;
                match &event {
                    Event::AddressPut(a) => {
                        m.hold.address_put(a);
                        m.hold.keeps(a.address) || on_its_interface(&a.interface)
                    }
                    Event::AddressGone { interface, address } => {
                        if m.hold.address_gone(cx, interface, *address) {
                            m.announce(cx);
                        }
                        m.hold.keeps(*address) || on_its_interface(interface)
                    }
                    Event::Addresses(all) => {
                        m.hold.addresses(all);
                        true
                    }
                    _ => false,
                }
            });
            if concerned == Some(true) {
                self.assess(now, &name, out);
                touched.insert(name);
            }
        }
        touched
    }

    fn take_link(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        let names: Vec<Name> = self.machines.keys().cloned().collect();
        match event {
            Event::Link(link) => {
                if let Some(link) = self.host.link(now, link, &self.settings.delays) {
                    return self.link_is(now, link, out);
                }
            }
            Event::Rerouted { interface } => {
                for name in &names {
                    self.on(now, name, out, |m, cx| {
                        if m.hold.answering().iter().any(|a| *a.interface == *interface) {
                            m.announce(cx);
                        }
                    });
                }
            }
            Event::Claimed { address, mac } => {
                let own = self.host.links.values().any(|l| l.mac == Some(mac));
                for name in names.iter().filter(|_| !own) {
                    self.on(now, name, out, |m, cx| m.claimed(cx, address, mac));
                }
            }
            _ => {}
        }
        names.into_iter().collect()
    }

    /// What a link is like counts.
    fn link_is(&mut self, now: Time, link: Link, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        let watched = |t: &Tracked| matches!(&t.kind, TrackerKind::Interface { interface } if **interface == link.name);
        for tracked in self.trackers.values_mut().filter(|t| watched(t)) {
            tracked.well = Some(link.up);
        }
        self.host.links.insert(link.name.clone(), link);
        let names: BTreeSet<Name> = self.machines.keys().cloned().collect();
        names.iter().for_each(|name| self.assess(now, name, out));
        names
    }

    fn checked(&mut self, now: Time, tracker: &Name, found: Found, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        let Some(tracked) = self.trackers.get_mut(tracker) else { return BTreeSet::new() };
        let before = tracked.well;
        if !tracked.found(found) {
            return BTreeSet::new();
        }
        if let Some(well) = tracked.well.filter(|_| before != tracked.well) {
            out.push(Effect::Note(Note::Tracked { tracker: tracker.clone(), well }));
        }
        let names: Vec<Name> = self.machines.keys().cloned().collect();
        names.iter().for_each(|name| self.assess(now, name, out));
        names.into_iter().collect()
    }

    fn assess_fresh(&mut self, now: Time, name: &Name, out: &mut Vec<Effect>) {
        if !self.machines.get(name).is_some_and(|m| m.fresh) {
            return;
        }
        let addresses: Vec<HostAddress> = self.host.all().cloned().collect();
        self.on(now, name, out, |m, cx| {
            m.fresh = false;
            m.hold.configure(cx, &m.settings.clone());
            m.hold.addresses(&addresses);
        });
        self.listen();
        self.assess(now, name, out);
    }

    /// Who hears what, by the settings that are in effect.
    fn listen(&mut self) {
        self.heard_by.clear();
        for (name, machine) in &self.machines {
            let s = &machine.settings;
            let key = (s.port.clone(), s.ipv6, s.vrid);
            self.heard_by.entry(key).or_default().push(name.clone());
        }
    }

    /// What follows for a router from links, addresses and what is watched.
    fn assess(&mut self, now: Time, name: &Name, out: &mut Vec<Effect>) {
        let Some(settings) = self.machines.get(name).map(|m| m.settings.clone()) else { return };
        let group = self.settings.groups.iter().find(|g| g.members.contains(name));
        let watches = settings.watches.iter().chain(group.into_iter().flat_map(|g| &g.watches));
        let verdict = Verdict::of(watches, &self.trackers);
        let weight = if group.is_none_or(|g| g.tracking_weight) { verdict.weight } else { 0 };
        let source = self.host.source(&settings, &self.virtual_addresses);
        let down = !settings.ignore_interface && !self.host.up(&settings.interface);
        self.on(now, name, out, |m, cx| {
            m.lapse(cx);
            m.waiting = verdict.waiting;
            m.source = source.or(m.source.filter(|_| down));
            m.set_priority(cx, track::priority(&settings, weight));
            let faults = [(Why::Interface, down), (Why::NoSource, source.is_none()), (Why::Tracker, verdict.fault)];
            // What begins comes before what ends: no state in between.
            faults.iter().filter(|f| f.1).for_each(|f| m.fault(cx, f.0, true));
            faults.iter().filter(|f| !f.1).for_each(|f| m.fault(cx, f.0, false));
        });
    }

    fn stop(&mut self, now: Time, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        self.stopping = true;
        let names: BTreeSet<Name> = self.machines.keys().cloned().collect();
        for name in &names {
            self.on(now, name, out, |m, cx| {
                m.stopping = true;
                m.successor = None;
                m.retire(cx, Some(Notice::Stop), Why::Stopping);
            });
        }
        for name in self.groups.keys().cloned() {
            out.push(Effect::Notify { of: Subject::Group, name, what: Notice::Stop, priority: 0 });
        }
        names
    }

    /// What is over goes; the rest is found again by its deadline.
    fn finish(&mut self, now: Time, name: &Name, out: &mut Vec<Effect>) {
        self.assess_fresh(now, name, out);
        let over = self.on(now, name, out, |m, cx| (m.removed || m.stopping) && m.successor.is_none() && m.left(cx));
        let wake = self.machines.get_mut(name).and_then(|m| {
            m.moved = false;
            if m.begins() { Some(now) } else { m.deadline() }
        });
        self.index(name, wake);
        if over == Some(true) {
            self.index(name, None);
            self.machines.remove(name);
        }
    }

    fn index(&mut self, name: &Name, wake: Option<Time>) {
        let Some(machine) = self.machines.get_mut(name) else { return };
        if machine.wake == wake {
            return;
        }
        let before = std::mem::replace(&mut machine.wake, wake);
        if let Some(at) = before {
            self.wakes.remove(&(at, name.clone()));
        }
        if let Some(at) = wake {
            self.wakes.insert((at, name.clone()));
        }
    }

    /// What is the case now.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = |told: &Option<Notice>| match told {
            Some(Notice::Master) => State::Master,
            Some(Notice::Backup) => State::Backup,
            Some(Notice::Fault) => State::Fault,
            _ => State::Init,
        };
        let tracker =
            |(name, t): (&Name, &Tracked)| TrackerStatus { name: name.clone(), well: t.well, number: t.number };
        Status {
            routers: self.machines.values().map(Machine::status).collect(),
            groups: self
                .groups
                .iter()
                .map(|(name, told)| GroupStatus { name: name.clone(), state: state(told) })
                .collect(),
            trackers: self.trackers.iter().map(tracker).collect(),
        }
    }

    /// A router that is, or will be, of these settings.
    fn machine(&mut self, name: &Name, settings: &Arc<Router>, now: Time) -> &mut Machine {
        self.machines.entry(name.clone()).or_insert_with(|| Machine::new(settings.clone(), now))
    }
}

#[cfg(test)]
mod tests;
