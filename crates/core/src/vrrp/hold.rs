//! The addresses of one virtual router on this host: their gates, and whether the kernel has them.
//!
//! `Shut → Opening → Open → (Shutting → Draining →) Shut`. Every arrow into `Open` passes a gate that the kernel confirmed;
//! every arrow out of it shuts the gate first, or the gate has ended by itself. Without a fence the addresses alone count.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::event::Effect;
use super::note::Note;
use super::settings::{Address, Name, Router};
use crate::keeper::{GateDone, GateOp, Holding, HostAddress};
use crate::time::Time;

/// A gate that was not opened is tried again so soon.
const GATE_RETRY: Duration = Duration::from_millis(20);
/// An address operation that the kernel did not confirm is tried again so soon.
const RETRY: Duration = Duration::from_millis(100);

/// How far the gate of an address has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Shut,
    /// It was asked for.
    Opening,
    /// The kernel lets this node answer until `end`.
    Open {
        end: Time,
    },
    /// `answer` is being shut.
    Shutting {
        end: Time,
        accept_end: Time,
    },
    /// Packets of open connections are still accepted.
    Draining {
        accept_end: Time,
    },
}

#[derive(Clone, Debug)]
struct Slot {
    address: Arc<Address>,
    gate: Gate,
    /// Gate operations whose results are still to come.
    pending: u32,
    actual: Vec<HostAddress>,
    guarded: Option<Time>,
    put_at: Option<Time>,
    remove_at: Option<Time>,
    /// No longer configured: goes when nothing of it is left.
    dropped: bool,
}

/// What a step led to that the router has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Nothing,
    /// These gates are open.
    Opened(Vec<Arc<Address>>),
    /// A renewal was too late.
    Lost,
    /// The kernel refused.
    Refused,
}

/// The addresses of one virtual router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold {
    slots: Vec<Slot>,
    /// Until when the addresses may be held, as far as adverts say.
    until: Option<Time>,
    /// The kernel confirmed it, or there is no fence.
    pub(crate) held: bool,
    told: Option<Holding>,
    /// Gates that were not opened are asked for again then.
    retry: Option<Time>,
}

/// `valid_lft` of a held address: the coarse second layer behind the gates.
fn lifetime(router: &Router) -> Duration {
    (router.interval * u32::from(router.down_adverts) + Duration::from_secs(2)).max(Duration::from_secs(3))
}

impl Slot {
    fn new(address: &Address) -> Slot {
        Slot {
            address: Arc::new(address.clone()),
            gate: Gate::Shut,
            pending: 0,
            actual: Vec::new(),
            guarded: None,
            put_at: None,
            remove_at: None,
            dropped: false,
        }
    }

    fn may_answer(&self) -> bool {
        matches!(self.gate, Gate::Opening | Gate::Open { .. } | Gate::Shutting { .. })
    }

    fn left(&self) -> bool {
        self.gate == Gate::Shut && self.pending == 0 && self.actual.is_empty()
    }

    fn fits(&self, a: &HostAddress) -> bool {
        a.mine && a.interface == *self.address.interface && a.prefix == self.address.prefix
    }
}

impl Hold {
    /// Follows the configuration: what stays is not touched.
    pub(crate) fn configure(&mut self, cx: &mut Context<'_>, router: &Router) {
        let wanted: Vec<&Address> = router.all_addresses().collect();
        for slot in &mut self.slots {
            let same = wanted.iter().find(|a| a.address == slot.address.address);
            slot.dropped = same.is_none();
            if let Some(same) = same.filter(|same| ***same != *slot.address) {
                if slot.gate != Gate::Shut && cx.fence {
                    slot.pending += 1;
                    let addresses = vec![slot.address.clone()];
                    cx.out.push(Effect::Gates { router: router.name.clone(), addresses, op: GateOp::Shut });
                }
                (slot.gate, slot.put_at, slot.guarded) = (Gate::Shut, None, None);
                slot.address = Arc::new((*same).clone());
            }
        }
        let new = |a: &&&Address| !self.slots.iter().any(|s| s.address.address == a.address);
        let new: Vec<Slot> = wanted.iter().filter(new).map(|a| Slot::new(a)).collect();
        self.slots.extend(new);
        let shut: Vec<usize> = self.indices(|s| s.dropped && s.gate != Gate::Shut);
        self.shut_some(cx, &router.name, &shut, Duration::ZERO);
    }

    fn indices(&self, f: impl Fn(&Slot) -> bool) -> Vec<usize> {
        (0..self.slots.len()).filter(|i| f(&self.slots[*i])).collect()
    }

    fn gates(&mut self, cx: &mut Context<'_>, router: &Name, slots: &[usize], op: GateOp) {
        if slots.is_empty() || !cx.fence {
            return;
        }
        let mut addresses = Vec::with_capacity(slots.len());
        for i in slots {
            self.slots[*i].pending += 1;
            addresses.push(self.slots[*i].address.clone());
        }
        cx.out.push(Effect::Gates { router: router.clone(), addresses, op });
    }

    /// Adverts left that keep backups quiet until then: gates are opened or follow.
    pub(crate) fn extend(&mut self, cx: &mut Context<'_>, router: &Router, until: Time) -> Turn {
        self.until = Some(self.until.map_or(until, |u| u.max(until)));
        let fresh = until > cx.now + cx.tick * 3;
        let open = self.indices(|s| !s.dropped && !matches!(s.gate, Gate::Open { .. } | Gate::Opening));
        if !cx.fence {
            open.iter().for_each(|i| self.slots[*i].gate = Gate::Open { end: until });
            for slot in &mut self.slots {
                if let Gate::Open { end } = &mut slot.gate {
                    *end = until.max(*end);
                }
            }
            return self.opened(cx, router, open);
        }
        let end = until;
        let renew = self.indices(|s| matches!(s.gate, Gate::Open { end } if until > end) && s.pending == 0);
        self.gates(cx, &router.name, &renew, GateOp::Renew { end });
        if fresh {
            self.guard(cx, router);
            let shut: Vec<usize> = open.iter().copied().filter(|i| self.slots[*i].gate != Gate::Shut).collect();
            self.gates(cx, &router.name, &shut, GateOp::Shut);
            self.gates(cx, &router.name, &open, GateOp::Open { end });
            open.iter().for_each(|i| self.slots[*i].gate = Gate::Opening);
        }
        if self.slots.iter().all(|s| s.dropped) { self.opened(cx, router, open) } else { Turn::Nothing }
    }

    /// What the kernel made of gate operations.
    pub(crate) fn gates_done(&mut self, cx: &mut Context<'_>, router: &Router, done: &[(IpAddr, GateDone)]) -> Turn {
        let (mut opened, mut lost, mut refused) = (Vec::new(), false, Vec::new());
        for (address, done) in done {
            let Some(i) = self.slots.iter().position(|s| s.address.address == *address) else { continue };
            let slot = &mut self.slots[i];
            slot.pending = slot.pending.saturating_sub(1);
            match (slot.gate, *done) {
                // Results of what was asked for before the opening do not count.
                (Gate::Opening, _) if slot.pending > 0 => {}
                (Gate::Opening, GateDone::Open { end }) => {
                    slot.gate = Gate::Open { end };
                    opened.push(i);
                }
                (Gate::Opening | Gate::Open { .. }, GateDone::Failed) => refused.push(i),
                (Gate::Opening, _) => {
                    slot.gate = Gate::Shut;
                    self.retry = Some(cx.now + GATE_RETRY);
                }
                (Gate::Open { .. }, GateDone::Open { end }) => slot.gate = Gate::Open { end },
                (Gate::Open { .. }, GateDone::Lost) => {
                    slot.gate = Gate::Shut;
                    lost = true;
                }
                (Gate::Shutting { accept_end, .. }, GateDone::AnswerShut) if slot.pending == 0 => {
                    slot.gate = Gate::Draining { accept_end };
                }
                (Gate::Shutting { .. }, GateDone::Shut | GateDone::Lost) if slot.pending == 0 => {
                    slot.gate = Gate::Shut;
                }
                _ => {}
            }
        }
        if lost {
            return Turn::Lost;
        }
        if !refused.is_empty() {
            // Whatever state the kernel left them in.
            self.retry = Some(cx.now + GATE_RETRY);
            refused.iter().for_each(|i| self.slots[*i].gate = Gate::Shut);
            self.gates(cx, &router.name, &refused, GateOp::Shut);
        }
        match self.opened(cx, router, opened) {
            Turn::Nothing if !refused.is_empty() => Turn::Refused,
            turn => turn,
        }
    }

    fn opened(&mut self, cx: &mut Context<'_>, router: &Router, slots: Vec<usize>) -> Turn {
        // A router may have no address at all.
        if slots.is_empty() && (self.held || self.slots.iter().any(|s| !s.dropped)) {
            return Turn::Nothing;
        }
        self.held = true;
        self.keep(cx, router);
        Turn::Opened(slots.into_iter().map(|i| self.slots[i].address.clone()).collect())
    }

    /// All addresses that are held.
    pub(crate) fn answering(&self) -> Vec<Arc<Address>> {
        let open = |s: &&Slot| matches!(s.gate, Gate::Open { .. });
        self.slots.iter().filter(open).map(|s| s.address.clone()).collect()
    }

    /// Given up in good order: `answer` shuts now, `accept` after `drain`.
    pub(crate) fn shut(&mut self, cx: &mut Context<'_>, router: &Name, drain: Duration) {
        (self.until, self.held, self.retry) = (None, false, None);
        let all = self.indices(|s| s.may_answer() && !matches!(s.gate, Gate::Shutting { .. }));
        self.shut_some(cx, router, &all, drain);
    }

    fn shut_some(&mut self, cx: &mut Context<'_>, router: &Name, slots: &[usize], drain: Duration) {
        let accept_end = cx.now + drain;
        for i in slots {
            let slot = &mut self.slots[*i];
            let end = if let Gate::Open { end } = slot.gate { end } else { cx.now + RETRY };
            // Without a fence nothing but the removal of the address silences this host.
            slot.gate = if cx.fence { Gate::Shutting { end, accept_end } } else { Gate::Shut };
        }
        let op = if drain.is_zero() { GateOp::Shut } else { GateOp::Drain { accept_end } };
        self.gates(cx, router, slots, op);
    }

    /// No gate is open, being opened, or not yet confirmed to be shut; without a fence, no address is there.
    pub(crate) fn silent(&self, cx: &Context<'_>) -> bool {
        let shut = |s: &Slot| !s.may_answer() && (cx.fence || s.actual.is_empty() || !cx.release);
        self.slots.iter().all(shut)
    }

    /// When the hold ends, unless adverts go on.
    pub(crate) fn until(&self) -> Option<Time> {
        self.until
    }

    /// What lapses by itself, and what follows from that. `stopping` without release leaves the addresses.
    pub(crate) fn step(&mut self, cx: &mut Context<'_>, router: &Router) {
        let mut gone = Vec::new();
        for (i, slot) in self.slots.iter_mut().enumerate() {
            match slot.gate {
                Gate::Shutting { end, .. } if cx.now >= end => {
                    slot.gate = Gate::Shut;
                    gone.push(i);
                }
                Gate::Draining { accept_end } if cx.now >= accept_end => {
                    slot.gate = Gate::Shut;
                    gone.push(i);
                }
                _ => {}
            }
        }
        self.gates(cx, &router.name, &gone, GateOp::Shut);
        if let Some(until) = self.until.filter(|_| self.retry.is_some_and(|t| cx.now >= t)) {
            self.retry = None;
            self.extend(cx, router, until);
        }
        self.keep(cx, router);
        self.tell(cx, router);
    }

    /// The balancer knows who may use the addresses.
    fn tell(&mut self, cx: &mut Context<'_>, router: &Router) {
        let draining = self.slots.iter().any(|s| matches!(s.gate, Gate::Shutting { .. } | Gate::Draining { .. }));
        let now = match (self.held, draining) {
            (true, _) => Holding::Held,
            (false, true) => Holding::Draining,
            (false, false) => Holding::Gone,
        };
        if self.told.unwrap_or(Holding::Gone) == now {
            return;
        }
        self.told = Some(now);
        let addresses = router.all_addresses().map(|a| a.address).collect();
        cx.out.push(Effect::Holding { router: router.name.clone(), addresses, holding: now });
    }

    fn guard(&mut self, cx: &mut Context<'_>, router: &Router) {
        let valid = lifetime(router);
        let mut addresses = Vec::new();
        for slot in &mut self.slots {
            let idle = slot.gate == Gate::Shut && slot.actual.is_empty() && self.until.is_none();
            if !idle && slot.guarded.is_none_or(|t| cx.now >= t) {
                slot.guarded = Some(cx.now + valid / 2);
                addresses.push(slot.address.clone());
            }
        }
        if !addresses.is_empty() && cx.fence {
            cx.out.push(Effect::Guard { addresses, timeout: valid * 2 });
        }
    }

    /// The kernel's addresses follow the gates.
    fn keep(&mut self, cx: &mut Context<'_>, router: &Router) {
        self.guard(cx, router);
        let valid = lifetime(router);
        for slot in &mut self.slots {
            let wanted = match slot.gate {
                Gate::Open { .. } => !slot.dropped,
                Gate::Shutting { .. } | Gate::Draining { .. } => cx.fence,
                // What drains, or was left by a predecessor, stays when it is about to be taken up again.
                Gate::Opening => true,
                Gate::Shut => !cx.release && !self.held && slot.actual.iter().all(|a| slot.fits(a)),
            };
            remove(cx, slot, wanted);
            let open = wanted && matches!(slot.gate, Gate::Open { .. });
            let there = slot.actual.iter().any(|a| slot.fits(a));
            let due = match slot.put_at {
                None => true,
                Some(at) if there => cx.now >= at + valid / 2,
                Some(at) => cx.now >= at + RETRY,
            };
            if open && due {
                slot.put_at = Some(cx.now);
                cx.out.push(Effect::PutAddress { address: slot.address.clone(), valid });
            }
            if !wanted && slot.put_at.take().is_some() && slot.actual.is_empty() {
                // A put may still be under way.
                let (interface, prefix) = (slot.address.interface.to_string(), slot.address.prefix);
                cx.out.push(Effect::RemoveAddress { interface, address: slot.address.address, prefix });
            }
            if slot.left() && (self.until.is_none() || slot.dropped) && slot.guarded.take().is_some() && cx.fence {
                cx.out.push(Effect::Unguard { address: slot.address.clone() });
            }
        }
        self.slots.retain(|s| !(s.dropped && s.left()));
    }

    /// The kernel has an address.
    pub(crate) fn address_put(&mut self, a: &HostAddress) {
        for slot in self.slots.iter_mut().filter(|s| s.address.address == a.address) {
            slot.actual.retain(|x| x.interface != a.interface || x.prefix != a.prefix);
            slot.actual.push(a.clone());
        }
    }

    /// The kernel has it no longer. True when somebody else removed what is held.
    pub(crate) fn address_gone(&mut self, cx: &mut Context<'_>, interface: &str, address: IpAddr) -> bool {
        let mut healed = false;
        for slot in self.slots.iter_mut().filter(|s| s.address.address == address) {
            let before = slot.actual.len();
            slot.actual.retain(|x| x.interface != interface);
            let ours = interface == &*slot.address.interface && matches!(slot.gate, Gate::Open { .. });
            if ours && before > slot.actual.len() && slot.remove_at.is_none() {
                slot.put_at = None;
                cx.out.push(Effect::Note(Note::Healed { address }));
                healed = true;
            }
        }
        healed
    }

    /// All addresses of the host, after a lost notification.
    pub(crate) fn addresses(&mut self, all: &[HostAddress]) {
        for slot in &mut self.slots {
            slot.actual = all.iter().filter(|a| a.address == slot.address.address).cloned().collect();
        }
    }

    /// Keeps this address.
    pub(crate) fn keeps(&self, address: IpAddr) -> bool {
        self.slots.iter().any(|s| s.address.address == address)
    }

    /// Addresses that the kernel has.
    pub(crate) fn present(&self) -> Vec<IpAddr> {
        self.slots.iter().filter(|s| !s.actual.is_empty()).map(|s| s.address.address).collect()
    }

    /// Nothing of it is left on this host, or nothing that is to go.
    pub(crate) fn left(&self, cx: &Context<'_>) -> bool {
        let gone = |s: &Slot| s.left() || !cx.release && s.gate == Gate::Shut && s.pending == 0;
        self.slots.iter().all(gone)
    }

    /// The earliest time at which something is due by itself.
    pub(crate) fn wake(&self, router: &Router) -> Option<Time> {
        let valid = lifetime(router);
        let slot = |s: &Slot| {
            let gate = match s.gate {
                Gate::Shutting { end, .. } => Some(end),
                Gate::Draining { accept_end } => Some(accept_end),
                _ => None,
            };
            let open = matches!(s.gate, Gate::Open { .. });
            let there = s.actual.iter().any(|a| s.fits(a));
            let put = s.put_at.filter(|_| open).map(|at| at + if there { valid / 2 } else { RETRY });
            let remove = s.remove_at.filter(|_| !s.actual.is_empty()).map(|at| at + RETRY);
            let guard = s.guarded.filter(|_| !s.left());
            [gate, put, remove, guard].into_iter().flatten().min()
        };
        self.slots.iter().filter_map(slot).chain(self.until).chain(self.retry).min()
    }
}

/// What is not wanted, or is not ours or not as it should be, goes: only so the mark and the lifetime are ours.
fn remove(cx: &mut Context<'_>, slot: &mut Slot, wanted: bool) {
    let unwanted: Vec<&HostAddress> = slot.actual.iter().filter(|a| !wanted || !slot.fits(a)).collect();
    if unwanted.is_empty() {
        slot.remove_at = None;
        return;
    }
    if slot.remove_at.is_some_and(|t| cx.now < t + RETRY) {
        return;
    }
    for a in unwanted {
        if !a.mine && slot.remove_at.is_none() {
            cx.out.push(Effect::Note(Note::Leftover { address: a.address, interface: a.interface.clone() }));
        }
        cx.out.push(Effect::RemoveAddress { interface: a.interface.clone(), address: a.address, prefix: a.prefix });
    }
    slot.remove_at = Some(cx.now);
}
