//! One address on this host: its gates, the address itself, announcements and strangers.
//!
//! A hold goes `None → Opening → Held → (Shutting → Draining →) None`. Every arrow into `Held` passes a gate that the
//! kernel confirmed; every arrow out of it shuts the gate first, or the gate has ended by itself. Until when it may last is
//! decided elsewhere (by peers in [`super::group`], by Leases in [`super::leased`]); what happened is told as a [`Turn`].

use std::time::Duration;

use super::address::{self, Op};
use super::announce::Announcer;
use super::conflict::Conflict;
use super::context::Context;
use super::event::{Effect, GateDone, GateOp, Holding, HostAddress};
use super::note::{Note, Reason};
use crate::settings::Vip;
use crate::time::Time;

/// A gate that the kernel refused for no reason of time is tried again so soon.
const GATE_RETRY: Duration = Duration::from_millis(20);
/// An address operation that the kernel did not confirm is tried again so soon.
const ADDRESS_RETRY: Duration = Duration::from_millis(100);

/// An address that outlives its Lease is kept for so long at most.
const PRESERVED: Duration = Duration::from_secs(3600);

/// How far the hold has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Not held.
    None,
    /// It was granted; the gate was asked for.
    Opening { end: Time, began: Time },
    /// The kernel lets this node answer until `end`.
    Held { end: Time, since: Time },
    /// `answer` is being shut; nothing is renewed any more.
    Shutting { end: Time, since: Time, reason: Reason, accept_end: Time },
    /// Given up; packets of open connections are still accepted.
    Draining { accept_end: Time },
}

/// What a step led to that whoever decides has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Nothing,
    /// The gate is open.
    Gained,
    /// It is over, not in good order.
    Lost,
    /// The kernel confirmed that this node answers no more, as was asked: `answer` is shut, or, without a fence, the address
    /// is gone.
    Shut(Reason),
}

/// One address on this host.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) vip: Vip,
    pub(crate) hold: Hold,
    /// Since when nothing is held: when it came, or the last hold was over.
    idle_since: Time,
    pub(crate) conflict: Conflict,
    pub(crate) announcer: Announcer,
    /// No longer configured: goes as soon as nothing is held.
    pub(crate) removed: bool,
    /// Its new interface or prefix, taken when the old one is given up.
    pub(crate) successor_vip: Option<Vip>,
    pub(crate) actual: Vec<HostAddress>,
    pub(crate) gains: u64,
    pub(crate) losses: u64,
    /// Gate operations whose results are still to come.
    pub(crate) pending: u32,
    gate_retry: Time,
    kernel_refused: bool,
    /// A predecessor's gate is open until then: the first renewal takes it over.
    pub(crate) inherited: Time,
    /// Why the next gain will happen.
    pub(crate) cause: Reason,
    /// It drains because it is to stay until another holder is seen.
    pub(crate) preserved: bool,
    put_at: Option<Time>,
    /// A put was asked for that the kernel has not shown yet: the address may be there.
    put_unseen: bool,
    remove_at: Option<Time>,
}

impl Place {
    pub(crate) fn new(vip: Vip, now: Time, inherited: Time) -> Place {
        Place {
            vip,
            hold: Hold::None,
            idle_since: now,
            conflict: Conflict::new(now),
            announcer: Announcer::default(),
            removed: false,
            successor_vip: None,
            actual: Vec::new(),
            gains: 0,
            losses: 0,
            pending: 0,
            gate_retry: Time::ZERO,
            kernel_refused: false,
            inherited,
            cause: if inherited > now { Reason::Resumed } else { Reason::Start },
            preserved: false,
            put_at: None,
            put_unseen: false,
            remove_at: None,
        }
    }

    pub(crate) fn held(&self) -> bool {
        matches!(self.hold, Hold::Held { .. })
    }

    /// This node may answer for it, or may come to: a gate is open, being opened, or not yet confirmed to be shut.
    pub(crate) fn may_answer(&self) -> bool {
        match self.hold {
            Hold::Opening { .. } | Hold::Held { .. } | Hold::Shutting { .. } => true,
            Hold::Draining { .. } => false,
            Hold::None => self.pending > 0,
        }
    }

    /// A moved address appears at its new place only when it is gone from the old one. True when it moved.
    pub(crate) fn settle_move(&mut self, now: Time) -> bool {
        if !self.left() {
            return false;
        }
        let Some(vip) = self.successor_vip.take() else { return false };
        self.vip = vip;
        self.idle_since = now;
        self.conflict = Conflict::new(now);
        true
    }

    /// Whether this node may take the address now, as far as this host is concerned.
    pub(crate) fn eligible(&self, cx: &Context<'_>) -> bool {
        self.may_be_here(cx) && (cx.settings.force || self.conflict.stranger(cx.now).is_none())
    }

    /// The same whoever else answers for it.
    pub(crate) fn may_be_here(&self, cx: &Context<'_>) -> bool {
        !cx.settings.witness
            && !cx.stopping
            && !self.removed
            && self.successor_vip.is_none()
            && cx.link_up(&self.vip.interface)
    }

    pub(crate) fn gate(&mut self, cx: &mut Context<'_>, op: GateOp) {
        self.pending += 1;
        cx.out.push(Effect::Gate { vip: self.vip.clone(), op });
    }

    /// What was held ends when its time is over, whatever else happens. `lapsed`: why it was not renewed.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>, lapsed: Reason) -> Turn {
        match self.hold {
            Hold::Opening { end, .. } if cx.now >= end => {
                self.hold = Hold::None;
                self.gate(cx, GateOp::Shut);
                Turn::Nothing
            }
            Hold::Held { end, since } if cx.now >= end => {
                let reason = if self.kernel_refused { Reason::KernelRefused } else { lapsed };
                self.lose(cx, reason, since)
            }
            Hold::Shutting { end, since, reason, .. } if cx.now >= end => self.lose(cx, reason, since),
            _ => Turn::Nothing,
        }
    }

    /// Everything goes at once.
    pub(crate) fn lose(&mut self, cx: &mut Context<'_>, reason: Reason, since: Time) -> Turn {
        self.gate(cx, GateOp::Shut);
        self.hold = Hold::None;
        self.idle_since = cx.now;
        self.kernel_refused = false;
        self.losses += 1;
        self.cause = Reason::Expired;
        self.announcer.stop();
        cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Gone });
        cx.out.push(Effect::Note(Note::Lost { vip: self.vip.address, reason, held: cx.now.since(since) }));
        Turn::Lost
    }

    /// Whether the gate may be asked for, if it is granted until then.
    pub(crate) fn may_open(&self, cx: &Context<'_>, until: Time) -> bool {
        self.hold == Hold::None && self.pending == 0 && cx.now >= self.gate_retry && until > cx.now + cx.tick * 3
    }

    /// It was granted: ask the kernel for the gate. `began`: since when it is tried; it may have been asked for by a Lease long
    /// before there was this address.
    pub(crate) fn open(&mut self, cx: &mut Context<'_>, until: Time, began: Time) {
        let began = began.max(self.idle_since);
        self.hold = Hold::Opening { end: until, began };
        let op = if cx.now < self.inherited { GateOp::Renew { end: until } } else { GateOp::Open { end: until } };
        self.gate(cx, op);
    }

    /// It was granted for longer: the gate follows.
    pub(crate) fn renew(&mut self, cx: &mut Context<'_>, until: Time) {
        if let Hold::Held { end, .. } = self.hold
            && until > end
            && self.pending == 0
            && cx.now >= self.gate_retry
        {
            self.gate(cx, GateOp::Renew { end: until });
        }
    }

    /// It is given up in good order: `answer` shuts now, `accept` after `drain`.
    pub(crate) fn shut(&mut self, cx: &mut Context<'_>, reason: Reason, drain: Duration) {
        let Hold::Held { end, since } = self.hold else { return };
        // Without a fence nothing but the removal of the address silences this host, so nothing drains.
        let drain = if cx.settings.fence { drain } else { Duration::ZERO };
        let accept_end = cx.now + drain;
        let op = if drain.is_zero() { GateOp::Shut } else { GateOp::Drain { accept_end } };
        self.announcer.stop();
        self.hold = Hold::Shutting { end, since, reason, accept_end };
        self.gate(cx, op);
    }

    /// Its time ran out and nobody else is known to have it: this node answers no more, but the address stays and packets
    /// are accepted.
    pub(crate) fn preserve(&mut self, cx: &mut Context<'_>, reason: Reason) {
        let Hold::Held { since, .. } = self.hold else { return };
        let accept_end = cx.now + PRESERVED;
        self.announcer.stop();
        self.kernel_refused = false;
        self.gate(cx, GateOp::Keep { accept_end });
        self.is_shut(cx, since, reason, accept_end);
        self.preserved = true;
    }

    /// What was preserved is taken up again, or is not wanted any more.
    pub(crate) fn end_preserved(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.preserved) && matches!(self.hold, Hold::Draining { .. }) {
            self.hold = Hold::None;
            self.gate(cx, GateOp::Shut);
            cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Gone });
        }
    }

    /// The result of the oldest gate operation that is still open.
    pub(crate) fn gate_done(&mut self, cx: &mut Context<'_>, done: GateDone) -> Turn {
        self.pending = self.pending.saturating_sub(1);
        match (self.hold, done) {
            (Hold::Opening { began, .. }, GateDone::Open { end }) => return self.opened(cx, began, end),
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
            (Hold::Held { since, .. }, GateDone::Lost) => return self.lose(cx, Reason::Late, since),
            (Hold::Held { .. }, GateDone::Failed) => {
                self.kernel_refused = true;
                self.gate_retry = cx.now + GATE_RETRY;
            }
            (
                Hold::Shutting { since, reason, accept_end, .. },
                GateDone::AnswerShut | GateDone::Shut | GateDone::Lost,
            ) if self.pending == 0 && self.silent(cx) => {
                let accept_end = if done == GateDone::AnswerShut { accept_end } else { cx.now };
                return self.is_shut(cx, since, reason, accept_end);
            }
            // A refusal while shutting: the gate ends by itself, and `expire` waits for that. Everything else is the
            // confirmation of a shut gate that nobody waits for.
            _ => {}
        }
        Turn::Nothing
    }

    fn opened(&mut self, cx: &mut Context<'_>, began: Time, end: Time) -> Turn {
        self.hold = Hold::Held { end, since: cx.now };
        self.inherited = Time::ZERO;
        self.gains += 1;
        self.kernel_refused = false;
        let reason = if cx.alone { Reason::Alone } else { self.cause };
        self.keep_address(cx);
        self.announcer.burst(cx.now);
        cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Held });
        cx.out.push(Effect::Note(Note::Gained { vip: self.vip.address, reason, took: cx.now.since(began) }));
        Turn::Gained
    }

    /// A shut gate silences this host, or without a fence the removal of the address.
    fn silent(&self, cx: &Context<'_>) -> bool {
        cx.settings.fence || self.actual.is_empty() && !self.put_unseen
    }

    fn is_shut(&mut self, cx: &mut Context<'_>, since: Time, reason: Reason, accept_end: Time) -> Turn {
        self.losses += 1;
        self.cause = Reason::Expired;
        cx.out.push(Effect::Note(Note::Lost { vip: self.vip.address, reason, held: cx.now.since(since) }));
        cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Draining });
        self.hold = Hold::Draining { accept_end };
        Turn::Shut(reason)
    }

    /// Ends the drain.
    pub(crate) fn drain(&mut self, cx: &mut Context<'_>) {
        if let Hold::Draining { accept_end } = self.hold
            && cx.now >= accept_end
        {
            self.hold = Hold::None;
            self.idle_since = cx.now;
            self.preserved = false;
            self.gate(cx, GateOp::Shut);
            cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Gone });
        }
    }

    /// Another host answers for it. True when that is a stranger.
    pub(crate) fn claimed(&mut self, cx: &mut Context<'_>, mac: [u8; 6]) -> bool {
        if cx.own_mac(&mac) {
            return false;
        }
        let holding = self.held();
        if cx.peer_mac(&mac) {
            // A peer that has given the address up may still be heard, or may have been heard by others.
            if holding {
                self.announcer.burst(cx.now);
            }
            return false;
        }
        let news = self.conflict.heard(cx.now, mac);
        let defend = holding && self.conflict.defend(cx.now);
        if defend {
            self.announcer.burst(cx.now);
        }
        if news || defend {
            cx.out.push(Effect::Note(Note::Stranger { vip: self.vip.address, mac, holding }));
        }
        true
    }

    /// A round of announcements when one is due.
    pub(crate) fn announce(&mut self, cx: &mut Context<'_>) {
        if self.held() && self.announcer.due(cx.now, cx.settings.refresh) {
            cx.out.push(Effect::Announce { vip: self.vip.clone() });
        }
    }

    /// The kernel's addresses follow the hold.
    pub(crate) fn keep_address(&mut self, cx: &mut Context<'_>) {
        let wanted = match self.hold {
            Hold::Held { .. } => true,
            Hold::Shutting { .. } | Hold::Draining { .. } => cx.settings.fence,
            Hold::None | Hold::Opening { .. } => false,
        };
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
        // While shutting one waits for what the kernel says of the put.
        if !wanted && !matches!(self.hold, Hold::Shutting { .. }) && std::mem::take(&mut self.put_unseen) {
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

    /// The kernel has it no longer.
    pub(crate) fn address_gone(&mut self, cx: &mut Context<'_>, interface: &str) -> Turn {
        let before = self.actual.len();
        self.actual.retain(|x| x.interface != interface);
        let held = self.held() && interface == self.vip.interface;
        if held && before > self.actual.len() && self.remove_at.is_none() {
            self.put_at = None;
            self.announcer.burst(cx.now);
            cx.out.push(Effect::Note(Note::Healed { what: "the address", vip: self.vip.address }));
        }
        match self.hold {
            Hold::Shutting { since, reason, .. } if !cx.settings.fence && self.pending == 0 && self.silent(cx) => {
                self.is_shut(cx, since, reason, cx.now)
            }
            _ => Turn::Nothing,
        }
    }

    /// The earliest time at which something is due by itself.
    pub(crate) fn wake(&self, cx: &Context<'_>) -> Option<Time> {
        let mut wake = None;
        let mut at = |t: Time| wake = Some(wake.map_or(t, |w: Time| w.min(t)).max(cx.now));
        match self.hold {
            Hold::None => {
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
            Hold::Draining { accept_end } => at(accept_end),
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
        wake
    }

    /// Nothing of it is left on this host.
    pub(crate) fn left(&self) -> bool {
        self.hold == Hold::None && self.pending == 0 && self.actual.is_empty()
    }
}
