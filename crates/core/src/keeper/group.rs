//! One address: its voter, its candidate, its hold, and what follows from them for gates, address and announcements.
//!
//! A hold goes `None → Opening → Held → (Shutting → Draining →) None`. Every arrow into `Held` passes a gate that the
//! kernel confirmed; every arrow out of it shuts the gate first, or the gate has ended by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use baton_wire::peer::{NOBODY, Record, Refusal, State};

use super::acceptor::{Acceptor, Answer};
use super::address::{self, Op};
use super::announce::Announcer;
use super::conflict::Conflict;
use super::context::{Context, To};
use super::event::{Effect, GateDone, GateOp, Holding, HostAddress};
use super::note::{Note, Reason};
use super::proposer::{Phase, Proposer};
use crate::settings::{LEASE_MAX, Vip};
use crate::time::Time;

mod handover;
pub(crate) mod voting;

use handover::Leaving;

/// A gate that the kernel refused for no reason of time is tried again so soon.
const GATE_RETRY: Duration = Duration::from_millis(20);
/// An address operation that the kernel did not confirm is tried again so soon.
const ADDRESS_RETRY: Duration = Duration::from_millis(100);
/// A release is repeated so often: a voter that missed it waits for the end of its grant instead.
const RELEASE_REPEATS: u8 = 3;
const RELEASE_GAP: Duration = Duration::from_millis(5);

/// How far the hold has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Not held.
    None,
    /// A majority granted it; the gate was asked for.
    Opening { end: Time, began: Time },
    /// The kernel lets this node answer until `end`.
    Held { end: Time, since: Time },
    /// `answer` is being shut; nothing is renewed any more.
    Shutting { end: Time, since: Time, reason: Reason, successor: Option<SocketAddr>, accept_end: Time },
    /// Released; packets of open connections are still accepted.
    Draining { accept_end: Time, successor: Option<SocketAddr>, repeat: Time, repeats: u8 },
}

/// One address.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) vip: Vip,
    pub(crate) acceptor: Acceptor,
    pub(crate) proposer: Proposer,
    pub(crate) hold: Hold,
    pub(crate) conflict: Conflict,
    pub(crate) announcer: Announcer,
    /// What the others said of themselves.
    pub(crate) views: BTreeMap<SocketAddr, State>,
    pub(crate) healthy: bool,
    ill_since: Option<Time>,
    /// No longer configured: goes as soon as nothing is held and no grant is remembered.
    pub(crate) removed: bool,
    /// Its new interface or prefix, taken when the old one is given up.
    pub(crate) successor_vip: Option<Vip>,
    pub(crate) actual: Vec<HostAddress>,
    pub(crate) gains: u64,
    pub(crate) losses: u64,
    /// The last node that is known to hold it, and until when at most.
    pub(crate) holder: Option<(SocketAddr, Time)>,
    /// Gate operations whose results are still to come.
    pending: u32,
    gate_retry: Time,
    kernel_refused: bool,
    /// A predecessor's gate is open until then: the first renewal takes it over.
    inherited: Time,
    /// Why the next gain will happen.
    cause: Reason,
    leaving: Option<Leaving>,
    leave_not_before: Time,
    offers: u32,
    /// Failed attempts in a row.
    tries: u32,
    /// Since when nothing but somebody else's grant keeps this node from trying.
    able: Option<Time>,
    /// Nobody else's grant is known to end later.
    free_at: Time,
    not_before: Time,
    put_at: Option<Time>,
    /// A put was asked for that the kernel has not shown yet: the address may be there.
    put_unseen: bool,
    remove_at: Option<Time>,
    pub(crate) told: Option<State>,
    pub(crate) wake: Time,
}

impl Group {
    pub(crate) fn new(vip: Vip, now: Time, inherited: Time) -> Group {
        Group {
            vip,
            acceptor: Acceptor::default(),
            proposer: Proposer::default(),
            hold: Hold::None,
            conflict: Conflict::new(now),
            announcer: Announcer::default(),
            views: BTreeMap::new(),
            healthy: true,
            ill_since: None,
            removed: false,
            successor_vip: None,
            actual: Vec::new(),
            gains: 0,
            losses: 0,
            holder: None,
            pending: 0,
            gate_retry: Time::ZERO,
            kernel_refused: false,
            inherited,
            cause: if inherited > now { Reason::Resumed } else { Reason::Start },
            leaving: None,
            leave_not_before: now,
            offers: 0,
            tries: 0,
            able: None,
            free_at: Time::ZERO,
            not_before: now,
            put_at: None,
            put_unseen: false,
            remove_at: None,
            told: None,
            wake: now,
        }
    }

    /// Does whatever is due and plans when to come back.
    pub(crate) fn step(&mut self, cx: &mut Context<'_>) {
        self.expire(cx);
        if self.left()
            && let Some(vip) = self.successor_vip.take()
        {
            // A moved address appears at its new place only when it is gone from the old one.
            self.vip = vip;
            self.conflict = Conflict::new(cx.now);
        }
        self.lead(cx);
        self.gain(cx);
        self.renew_gate(cx);
        self.leave(cx);
        self.drain(cx);
        self.keep_address(cx);
        if matches!(self.hold, Hold::Held { .. }) && self.announcer.due(cx.now, cx.settings.refresh) {
            cx.out.push(Effect::Announce { vip: self.vip.clone() });
        }
        if self.probes(cx) && self.conflict.due(cx.now) {
            cx.out.push(Effect::Probe { vip: self.vip.clone() });
        }
        self.wake = self.next_wake(cx);
    }

    fn probes(&self, cx: &Context<'_>) -> bool {
        !cx.settings.witness && self.hold == Hold::None && cx.link_up(&self.vip.interface)
    }

    /// Whether this node may take the address now.
    pub(crate) fn eligible(&self, cx: &Context<'_>) -> bool {
        !cx.settings.witness
            && !cx.stopping
            && !self.removed
            && self.successor_vip.is_none()
            && cx.link_up(&self.vip.interface)
            && (cx.settings.force || self.conflict.stranger(cx.now).is_none())
    }

    /// What this node says of itself.
    pub(crate) fn state(&self, cx: &Context<'_>) -> State {
        let eligible = self.eligible(cx) && self.hold == Hold::None;
        let priority = self.vip.priority;
        let outranks = self
            .holder_now(cx)
            .filter(|h| *h != cx.me)
            .and_then(|h| self.views.get(&h))
            .is_some_and(|v| v.holding && v.priority < priority);
        State {
            holding: matches!(self.hold, Hold::Held { .. }),
            eligible,
            healthy: self.healthy,
            wants: cx.settings.preempt && eligible && self.healthy && outranks && cx.voting,
            priority,
        }
    }

    /// Who holds it as far as this node knows.
    pub(crate) fn holder_now(&self, cx: &Context<'_>) -> Option<SocketAddr> {
        if matches!(self.hold, Hold::Held { .. }) {
            return Some(cx.me);
        }
        self.holder.filter(|(_, until)| cx.now < *until).map(|(h, _)| h)
    }

    fn gate(&mut self, cx: &mut Context<'_>, op: GateOp) {
        self.pending += 1;
        cx.out.push(Effect::Gate { vip: self.vip.clone(), op });
    }

    /// What was held ends when its time is over, whatever else happens.
    fn expire(&mut self, cx: &mut Context<'_>) {
        match self.hold {
            Hold::Opening { end, .. } if cx.now >= end => {
                self.hold = Hold::None;
                self.gate(cx, GateOp::Shut);
            }
            Hold::Held { end, since } if cx.now >= end => {
                let reason = match (self.kernel_refused, cx.late) {
                    (true, _) => Reason::KernelRefused,
                    (false, true) => Reason::Late,
                    (false, false) => Reason::NoMajority,
                };
                self.lose(cx, reason, since);
            }
            Hold::Shutting { end, since, reason, .. } if cx.now >= end => self.lose(cx, reason, since),
            _ => {}
        }
    }

    /// Everything goes at once.
    pub(crate) fn lose(&mut self, cx: &mut Context<'_>, reason: Reason, since: Time) {
        self.gate(cx, GateOp::Shut);
        self.hold = Hold::None;
        self.leaving = None;
        self.kernel_refused = false;
        self.losses += 1;
        self.cause = Reason::Expired;
        self.announcer.stop();
        self.proposer.abandon();
        cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Gone });
        cx.out.push(Effect::Note(Note::Lost { vip: self.vip.address, reason, held: cx.now.since(since) }));
    }

    /// A majority granted it: ask the kernel for the gate.
    fn gain(&mut self, cx: &mut Context<'_>) {
        let until = self.proposer.until(cx.quorum);
        if self.hold != Hold::None || self.pending > 0 || cx.now < self.gate_retry || until <= cx.now + cx.tick * 3 {
            return;
        }
        if !self.eligible(cx) {
            self.release(cx, None);
            return;
        }
        let began = match self.proposer.phase {
            Phase::Proposing { since, .. } | Phase::Preparing { since, .. } => since,
            Phase::Idle => cx.now,
        };
        self.hold = Hold::Opening { end: until, began };
        let op = if cx.now < self.inherited { GateOp::Renew { end: until } } else { GateOp::Open { end: until } };
        self.gate(cx, op);
    }

    /// More grants came in: the gate follows.
    fn renew_gate(&mut self, cx: &mut Context<'_>) {
        let until = self.proposer.until(cx.quorum);
        if let Hold::Held { end, .. } = self.hold
            && until > end
            && self.pending == 0
            && cx.now >= self.gate_retry
        {
            self.gate(cx, GateOp::Renew { end: until });
        }
    }

    /// The result of the oldest gate operation that is still open.
    pub(crate) fn gate_done(&mut self, cx: &mut Context<'_>, done: GateDone) {
        self.pending = self.pending.saturating_sub(1);
        match (self.hold, done) {
            (Hold::Opening { began, .. }, GateDone::Open { end }) => self.opened(cx, began, end),
            (Hold::Opening { .. }, GateDone::Lost) => {
                // What a predecessor left had run out, or this process was late: try again with a gain.
                self.inherited = Time::ZERO;
                self.hold = Hold::None;
            }
            (Hold::Opening { .. }, GateDone::Failed) => {
                self.hold = Hold::None;
                self.gate_retry = cx.now + GATE_RETRY;
                self.gate(cx, GateOp::Shut);
            }
            (Hold::Held { since, .. }, GateDone::Open { end }) => {
                self.kernel_refused = false;
                self.hold = Hold::Held { end, since };
            }
            (Hold::Held { since, .. }, GateDone::Lost) => self.lose(cx, Reason::Late, since),
            (Hold::Held { .. }, GateDone::Failed) => {
                self.kernel_refused = true;
                self.gate_retry = cx.now + GATE_RETRY;
            }
            (Hold::Shutting { .. }, GateDone::AnswerShut | GateDone::Shut | GateDone::Lost) if self.pending == 0 => {
                self.shut(cx)
            }
            // A refusal while shutting: the gate ends by itself, and `expire` waits for that. Everything else is the
            // confirmation of a shut gate that nobody waits for.
            _ => {}
        }
    }

    fn opened(&mut self, cx: &mut Context<'_>, began: Time, end: Time) {
        self.hold = Hold::Held { end, since: cx.now };
        self.inherited = Time::ZERO;
        self.gains += 1;
        self.tries = 0;
        self.kernel_refused = false;
        self.holder = Some((cx.me, end));
        let reason = if cx.alone { Reason::Alone } else { self.cause };
        self.leave_not_before = cx.now + cx.lease * 2;
        self.keep_address(cx);
        self.announcer.burst(cx.now);
        cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Held });
        cx.out.push(Effect::Note(Note::Gained { vip: self.vip.address, reason, took: cx.now.since(began) }));
    }

    /// What is behind the address is well on this node, or not.
    pub(crate) fn health(&mut self, now: Time, healthy: bool) {
        self.healthy = healthy;
        self.ill_since = (!healthy).then(|| self.ill_since.unwrap_or(now));
    }

    /// Another host answers for it.
    pub(crate) fn claimed(&mut self, cx: &mut Context<'_>, mac: [u8; 6]) {
        if cx.own_mac(&mac) {
            return;
        }
        let holding = matches!(self.hold, Hold::Held { .. });
        if cx.peer_mac(&mac) {
            // A peer that has given the address up may still be heard, or may have been heard by others.
            if holding {
                self.announcer.burst(cx.now);
            }
            return;
        }
        let news = self.conflict.heard(cx.now, mac);
        let defend = holding && self.conflict.defend(cx.now);
        if defend {
            self.announcer.burst(cx.now);
        }
        if news || defend {
            cx.out.push(Effect::Note(Note::Stranger { vip: self.vip.address, mac, holding }));
        }
    }

    /// The kernel's addresses follow the hold.
    fn keep_address(&mut self, cx: &mut Context<'_>) {
        let wanted = matches!(self.hold, Hold::Held { .. } | Hold::Shutting { .. } | Hold::Draining { .. });
        // What a predecessor left with an open gate may be taken up again: it stays until that is decided.
        let inherited = cx.now < self.inherited || matches!(self.hold, Hold::Opening { .. });
        let mut ops = address::diff(&self.vip, wanted || inherited, &self.actual);
        if !wanted {
            ops.retain(|op| matches!(op, Op::Remove(_)));
        }
        let valid = address::lifetime(cx.lease);
        let refresh = wanted && self.put_at.is_none_or(|t| cx.now >= t + valid / 2);
        let removes = ops.iter().any(|op| matches!(op, Op::Remove(_)));
        let now = cx.now;
        let retry = |at: Option<Time>| at.is_none_or(|t| now >= t + ADDRESS_RETRY);
        if removes && retry(self.remove_at) {
            self.remove_at = Some(cx.now);
            for op in &ops {
                if let Op::Remove(a) = op {
                    self.remove_address(cx, a);
                }
            }
        }
        let put = ops.contains(&Op::Put) || refresh;
        if put && (refresh || retry(self.put_at)) {
            self.put_at = Some(cx.now);
            self.put_unseen |= !refresh || self.actual.is_empty();
            cx.out.push(Effect::PutAddress { vip: self.vip.clone(), valid });
        }
        if !wanted && std::mem::take(&mut self.put_unseen) {
            let Vip { interface, address, prefix, .. } = self.vip.clone();
            cx.out.push(Effect::RemoveAddress { interface, address, prefix });
        }
        if !wanted {
            self.put_at = None;
        }
        if !removes {
            self.remove_at = None;
        }
    }

    fn remove_address(&self, cx: &mut Context<'_>, a: &HostAddress) {
        if !a.mine {
            let note = Note::Leftover { vip: a.address, interface: a.interface.clone() };
            cx.out.push(Effect::Note(note));
        }
        cx.out.push(Effect::RemoveAddress { interface: a.interface.clone(), address: a.address, prefix: a.prefix });
    }

    /// The kernel has an address.
    pub(crate) fn address_put(&mut self, a: HostAddress) {
        self.put_unseen &= a.interface != self.vip.interface || !a.mine;
        self.actual.retain(|x| x.interface != a.interface || x.prefix != a.prefix);
        self.actual.push(a);
    }

    /// The kernel has it no longer. Returns whether that is somebody else's doing.
    pub(crate) fn address_gone(&mut self, cx: &mut Context<'_>, interface: &str) {
        let before = self.actual.len();
        self.actual.retain(|x| x.interface != interface);
        let held = matches!(self.hold, Hold::Held { .. }) && interface == self.vip.interface;
        if held && before > self.actual.len() && self.remove_at.is_none() {
            self.put_at = None;
            self.announcer.burst(cx.now);
            cx.out.push(Effect::Note(Note::Healed { what: "the address", vip: self.vip.address }));
        }
    }

    /// The earliest time at which something is due by itself.
    fn next_wake(&self, cx: &Context<'_>) -> Time {
        let far = cx.now + LEASE_MAX;
        let mut wake = far;
        let mut at = |t: Time| wake = wake.min(t.max(cx.now));
        match self.hold {
            Hold::None => {
                if self.probes(cx) {
                    at(self.conflict.deadline(cx.now));
                }
                if self.inherited > cx.now {
                    at(self.inherited);
                }
            }
            Hold::Opening { end, .. } | Hold::Shutting { end, .. } => at(end),
            Hold::Held { end, .. } => {
                at(end);
                if self.kernel_refused {
                    at(self.gate_retry);
                }
                if let Some(t) = self.announcer.deadline() {
                    at(t);
                }
            }
            Hold::Draining { accept_end, repeat, repeats, .. } => {
                at(accept_end);
                if repeats > 0 {
                    at(repeat);
                }
            }
        }
        if let Some(t) = self.put_at {
            at(t + address::lifetime(cx.lease) / 2);
        }
        if let Some(t) = self.remove_at.filter(|_| !self.actual.is_empty()) {
            at(t + ADDRESS_RETRY);
        }
        if self.gate_retry > cx.now {
            at(self.gate_retry);
        }
        if let Some(t) = self.leave_wake(cx) {
            at(t);
        }
        if let Some(t) = self.lead_wake(cx) {
            at(t);
        }
        wake
    }

    /// Until when this node holds by the grants it has.
    pub(crate) fn held_until(&self, quorum: usize) -> Time {
        self.proposer.until(quorum)
    }

    /// Nothing of it is left on this host.
    pub(crate) fn left(&self) -> bool {
        self.hold == Hold::None && self.pending == 0 && self.actual.is_empty()
    }

    /// Nothing is held, nothing is left in the kernel, and no grant would be forgotten.
    pub(crate) fn finished(&self, now: Time) -> bool {
        self.left() && self.acceptor.grant(now).is_none()
    }
}
