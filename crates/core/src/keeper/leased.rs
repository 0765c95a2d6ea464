//! Addresses that hang on Kubernetes Leases: many addresses, many Leases, and an event costs what it touches.
//!
//! Who holds a Lease holds all its addresses. Each Lease and each address has its own time to come back, in one index; an
//! event steps what it names and what is due, and an address follows its Lease when that one's leadership changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::context::Context;
use super::dispute::Dispute;
use super::elector::{Elector, Wish};
use super::event::{Effect, GateDone, GateOp, HostAddress, Mac};
use super::note::Reason;
use super::place::{Hold, Place, Turn};
use crate::lease::{LeaseName, LeaseRecord, LeaseReply, LeaseSettings};
use crate::settings::{Source, Vip};
use crate::time::Time;

mod campaign;
mod tenant;

pub(crate) use campaign::{Campaign, Lead};
pub(crate) use tenant::Tenant;

/// A stop waits so much longer than the drain for the answer to a release, and for each Lease beside: an API server takes some
/// hundreds of writes a second, and a Lease that is not released keeps its addresses from everybody until it has run out.
const RELEASE_WAIT: Duration = Duration::from_secs(1);
const RELEASE_EACH: Duration = Duration::from_millis(5);

/// What a time to come back belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Lease(LeaseName),
    Place(IpAddr),
}

/// How far a stop has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    /// It does not wait for the API beyond this time.
    Until(Time),
    /// It waited long enough.
    Over,
}

/// All Leases and their addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leased {
    pub(crate) campaigns: BTreeMap<LeaseName, Campaign>,
    pub(crate) places: BTreeMap<IpAddr, Tenant>,
    due: BTreeSet<(Time, Subject)>,
    /// What the present event touches.
    leases_touched: BTreeSet<LeaseName>,
    places_touched: BTreeSet<IpAddr>,
    /// Gates of a predecessor that are being shut although nobody has named their addresses, and when they end.
    silencing: BTreeMap<IpAddr, Time>,
    stop: Stop,
    /// By how much the last renewal was late.
    pub(crate) lag: Option<Duration>,
    /// How many Leases and addresses were stepped so far.
    pub(crate) steps: u64,
}

impl Leased {
    /// An address is kept from now on, or otherwise than before. `found`: what the host has of it.
    pub(crate) fn put(&mut self, now: Time, vip: Vip, inherited: Time, found: Vec<HostAddress>) {
        let Source::Lease(lease) = vip.source.clone() else { return };
        self.places_touched.insert(vip.address);
        if let Some(t) = self.places.get_mut(&vip.address) {
            t.place.removed = false;
            let moved = t.place.vip != vip;
            t.place.successor_vip = moved.then_some(vip);
            return;
        }
        let address = vip.address;
        let mut place = Place::new(vip, now, inherited);
        found.into_iter().for_each(|a| place.address_put(a));
        self.campaigns.entry(lease.clone()).or_default().members.insert(address);
        self.places.insert(address, Tenant { place, lease, dispute: Dispute::None, wake: None });
    }

    /// An address is kept no more.
    pub(crate) fn withdraw(&mut self, address: IpAddr) {
        if let Some(t) = self.places.get_mut(&address) {
            t.place.removed = true;
            self.places_touched.insert(address);
        }
    }

    pub(crate) fn campaign(&mut self, now: Time, settings: LeaseSettings) {
        let c = self.campaigns.entry(settings.name.clone()).or_default();
        c.resigning = false;
        self.leases_touched.insert(settings.name.clone());
        match &mut c.elector {
            Some(e) => e.settings = settings,
            None => c.elector = Some(Elector::new(settings, now)),
        }
    }

    pub(crate) fn resign(&mut self, name: LeaseName) {
        if let Some(c) = self.campaigns.get_mut(&name) {
            c.resigning = true;
            self.leases_touched.insert(name);
        }
    }

    pub(crate) fn yields(&mut self, name: LeaseName, ill: bool) {
        self.campaigns.entry(name.clone()).or_default().ill = ill;
        self.leases_touched.insert(name);
    }

    pub(crate) fn seen(&mut self, now: Time, name: LeaseName, state: Option<(LeaseRecord, String)>) {
        if let Some(e) = self.campaigns.get_mut(&name).and_then(|c| c.elector.as_mut()) {
            e.shown(now, state);
            self.leases_touched.insert(name);
        }
    }

    pub(crate) fn replied(&mut self, now: Time, name: LeaseName, request: u64, reply: LeaseReply, tick: Duration) {
        if let Some(e) = self.campaigns.get_mut(&name).and_then(|c| c.elector.as_mut())
            && e.replied(now, request, reply, tick)
        {
            self.leases_touched.insert(name);
        }
    }

    /// All links or the intention to stay have changed.
    pub(crate) fn touch_all(&mut self) {
        self.leases_touched.extend(self.campaigns.keys().cloned());
        self.places_touched.extend(self.places.keys());
    }

    /// Somebody may have a wrong idea of where the held addresses are.
    pub(crate) fn announce_on(&mut self, now: Time, on: impl Fn(&Place) -> bool) {
        for (address, t) in self.places.iter_mut().filter(|(_, t)| on(&t.place) && t.place.held()) {
            t.place.announcer.burst(now);
            self.places_touched.insert(*address);
        }
    }

    /// An address that has come between two steps.
    pub(crate) fn due_now(&mut self, address: IpAddr, now: Time) {
        self.schedule_place(address, Some(now));
    }

    pub(crate) fn gate_done(&mut self, cx: &mut Context<'_>, vip: IpAddr, done: GateDone) {
        if matches!(done, GateDone::Shut | GateDone::Lost) && self.silencing.remove(&vip).is_some() {
            self.leases_touched.extend(self.campaigns.keys().cloned());
        }
        let Some(t) = self.places.get_mut(&vip) else { return };
        cx.lease = self.campaigns.get(&t.lease).map_or(cx.lease, |c| c.lead.duration);
        if t.place.gate_done(cx, done) == Turn::Gained {
            t.dispute = Dispute::gained(cx.now);
        }
        self.places_touched.insert(vip);
    }

    pub(crate) fn claimed(&mut self, cx: &mut Context<'_>, vip: IpAddr, mac: Mac) {
        let Some(t) = self.places.get_mut(&vip) else { return };
        // Of a standby it is expected that somebody else answers.
        if !t.place.held() && !t.dispute.open() {
            return;
        }
        self.places_touched.insert(vip);
        if t.place.claimed(cx, mac)
            && !cx.settings.force
            && t.dispute.heard(cx.now)
            && let Hold::Held { since, .. } = t.place.hold
        {
            t.place.lose(cx, Reason::Conflict, since);
        }
    }

    pub(crate) fn address_put(&mut self, a: &HostAddress) -> bool {
        let Some(t) = self.places.get_mut(&a.address) else { return false };
        t.place.address_put(a.clone());
        self.places_touched.insert(a.address);
        true
    }

    pub(crate) fn address_gone(&mut self, cx: &mut Context<'_>, address: IpAddr, interface: &str) -> bool {
        let Some(t) = self.places.get_mut(&address) else { return false };
        // That it answers no more is seen from its place when the step goes on.
        let _ = t.place.address_gone(cx, interface);
        self.places_touched.insert(address);
        true
    }

    /// Does whatever is due or touched.
    pub(crate) fn step(&mut self, cx: &mut Context<'_>) {
        match self.stop {
            Stop::No if cx.stopping => {
                let held = |c: &&Campaign| c.elector.as_ref().is_some_and(|e| e.until(cx.now).is_some());
                let held = self.campaigns.values().filter(held).count();
                let each = RELEASE_EACH * u32::try_from(held).unwrap_or(u32::MAX);
                self.stop = Stop::Until(cx.now + cx.settings.drain + RELEASE_WAIT + each);
                self.touch_all();
            }
            Stop::Until(end) if cx.now >= end => self.stop = Stop::Over,
            _ => {}
        }
        self.lag = None;
        while let Some((_, subject)) = self.due.first().filter(|(t, _)| *t <= cx.now).cloned() {
            match &subject {
                Subject::Lease(name) => self.schedule_lease(name, None),
                Subject::Place(address) => self.schedule_place(*address, None),
            }
            match subject {
                Subject::Lease(name) => self.leases_touched.insert(name),
                Subject::Place(address) => self.places_touched.insert(address),
            };
        }
        let leases = std::mem::take(&mut self.leases_touched);
        for name in &leases {
            self.step_lease(cx, name);
        }
        let mut leaving = leases;
        for address in std::mem::take(&mut self.places_touched) {
            if let Some(lease) = self.step_place(cx, address) {
                leaving.insert(lease);
            }
        }
        for name in &leaving {
            self.let_go(cx, name);
        }
        self.leases_touched.clear();
    }

    /// The election itself, and what it means for the addresses: they are touched when that changed.
    fn step_lease(&mut self, cx: &mut Context<'_>, name: &LeaseName) {
        let Some(c) = self.campaigns.get_mut(name) else { return };
        self.steps += 1;
        let leave = c.reason_to_leave(cx, &self.places);
        let lead = c.lead_now(cx, leave);
        if lead.leave.is_none() {
            self.lag = self.lag.max(c.ask(cx, name, Wish::Hold));
        }
        c.tell(cx, name, &lead);
        if c.lead != lead {
            self.places_touched.extend(&c.members);
            c.lead = lead;
        }
        let wake = c.wake_at(cx);
        self.schedule_lease(name, wake);
    }

    /// Releases the Lease when nothing answers by it any more, and forgets it when nobody wants it.
    fn let_go(&mut self, cx: &mut Context<'_>, name: &LeaseName) {
        let holds = |c: &Campaign| c.elector.as_ref().is_some_and(|e| e.until(cx.now).is_some());
        let leaves = self.campaigns.get(name).filter(|c| c.lead.leave.is_some()).map(holds);
        let unnamed = if leaves == Some(true) { self.silence_unnamed(cx) } else { None };
        let Some(c) = self.campaigns.get_mut(name).filter(|_| leaves.is_some()) else { return };
        let answers = |address: &IpAddr| self.places.get(address).is_some_and(|t| t.place.may_answer());
        let shut = unnamed.is_none() && !c.members.iter().any(answers);
        c.ask(cx, name, Wish::Leave { shut });
        let wake = c.elector.as_ref().and_then(|e| e.wake(cx.now, Wish::Leave { shut }));
        let over = shut && c.elector.as_ref().is_none_or(|e| e.until(cx.now).is_none() && !e.asks());
        if over && c.resigning {
            c.elector = None;
            c.resigning = false;
            // Should it be campaigned for again, its holder is news.
            c.told = None;
            cx.out.push(Effect::Forget { name: name.clone() });
            let wake = c.wake_at(cx);
            let empty = c.members.is_empty();
            self.schedule_lease(name, wake);
            if empty {
                self.campaigns.remove(name);
            }
            return;
        }
        let end = c.elector.as_ref().and_then(|e| e.until(cx.now));
        self.schedule_lease(name, [wake, end, unnamed].into_iter().flatten().min());
    }

    /// Before a Lease is given up: addresses that nobody has named since this process started may hang on it, and a
    /// predecessor may have left their gates open. Gives when the last of them ends, if they are not known to be shut.
    fn silence_unnamed(&mut self, cx: &mut Context<'_>) -> Option<Time> {
        for (address, end) in std::mem::take(cx.inherited) {
            for HostAddress { interface, prefix, .. } in cx.strays.get(&address).into_iter().flatten().cloned() {
                let vip = Vip { address, prefix, interface, priority: 0, source: Source::Peers };
                cx.out.push(Effect::Gate { vip, op: GateOp::Shut });
                self.silencing.insert(address, end);
            }
        }
        self.silencing.retain(|_, end| cx.now < *end);
        self.silencing.values().max().copied()
    }

    /// Steps one address. Gives its Lease when that one is being given up.
    fn step_place(&mut self, cx: &mut Context<'_>, address: IpAddr) -> Option<LeaseName> {
        let t = self.places.get_mut(&address)?;
        self.steps += 1;
        let mut lead = self.campaigns.get(&t.lease).map(|c| c.lead).unwrap_or_default();
        cx.lease = lead.duration;
        t.expire(cx, lead);
        if t.place.settle_move(cx.now) {
            let Source::Lease(lease) = t.place.vip.source.clone() else { return None };
            if let Some(c) = self.campaigns.get_mut(&t.lease) {
                c.members.remove(&address);
            }
            let c = self.campaigns.entry(lease.clone()).or_default();
            c.members.insert(address);
            lead = c.lead;
            cx.lease = lead.duration;
            t.lease = lease;
        }
        t.follow(cx, lead);
        t.place.drain(cx);
        t.place.keep_address(cx);
        t.place.announce(cx);
        let wake = [t.place.wake(cx), t.dispute.wake()].into_iter().flatten().min();
        let lease = t.lease.clone();
        if t.place.removed && t.place.left() {
            cx.out.push(Effect::Unguard { vip: t.place.vip.clone() });
            self.schedule_place(address, None);
            self.places.remove(&address);
            self.forget_member(&lease, address);
        } else {
            self.schedule_place(address, wake);
        }
        lead.leave.map(|_| lease)
    }

    fn forget_member(&mut self, lease: &LeaseName, address: IpAddr) {
        let Some(c) = self.campaigns.get_mut(lease) else { return };
        c.members.remove(&address);
        if c.members.is_empty() && c.elector.is_none() && !c.ill {
            self.campaigns.remove(lease);
        }
    }

    fn schedule_lease(&mut self, name: &LeaseName, wake: Option<Time>) {
        let Some(c) = self.campaigns.get_mut(name) else { return };
        if c.wake == wake {
            return;
        }
        if let Some(old) = std::mem::replace(&mut c.wake, wake) {
            self.due.remove(&(old, Subject::Lease(name.clone())));
        }
        self.due.extend(wake.map(|t| (t, Subject::Lease(name.clone()))));
    }

    fn schedule_place(&mut self, address: IpAddr, wake: Option<Time>) {
        let Some(t) = self.places.get_mut(&address) else { return };
        if t.wake == wake {
            return;
        }
        if let Some(old) = std::mem::replace(&mut t.wake, wake) {
            self.due.remove(&(old, Subject::Place(address)));
        }
        self.due.extend(wake.map(|t| (t, Subject::Place(address))));
    }

    /// The next time at which something is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let stop = if let Stop::Until(end) = self.stop { Some(end) } else { None };
        self.due.first().map(|(t, _)| *t).into_iter().chain(stop).min()
    }

    /// After a stop: nothing is left on this host, and every Lease is released or not worth waiting for.
    pub(crate) fn left(&self, now: Time) -> bool {
        let over = |c: &Campaign| c.elector.as_ref().is_none_or(|e| e.until(now).is_none() && !e.asks());
        self.places.values().all(|t| t.place.left()) && (self.stop == Stop::Over || self.campaigns.values().all(over))
    }
}

#[cfg(test)]
mod tests;
