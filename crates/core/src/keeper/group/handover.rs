//! Giving an address up in good order: the successor says it is ready, `answer` shuts, the kernel confirms, the lease
//! is released, the successor opens; `accept` stays for the drain.

use super::voting::From;
use super::{BTreeSet, Context, Duration, Effect, GateOp, Group, Hold, Holding, Note, RELEASE_GAP, RELEASE_REPEATS};
use super::{Reason, Record, SocketAddr, Time, To};

/// How long a candidate has to say that it is ready.
const OFFER_WAIT: Duration = Duration::from_millis(50);
/// A hand-over that found nobody is tried again so much later.
const LEAVE_RETRY: Duration = Duration::from_secs(1);

/// A holder that is ill waits so long before it gives up: when a backend dies for all nodes, they do not notice at
/// the same moment.
const ILL_WAIT: Duration = Duration::from_millis(1500);

/// A hand-over that waits for a successor's word.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    reason: Reason,
    to: SocketAddr,
    request: u32,
    until: Time,
    tried: BTreeSet<SocketAddr>,
}

/// Whether the address goes even if nobody takes it.
fn goes_anyway(reason: Reason) -> bool {
    matches!(reason, Reason::Stopping | Reason::LinkDown | Reason::Reconfigured)
}

impl Group {
    /// Why a holder should give the address up, if it should.
    fn reason_to_leave(&self, cx: &Context<'_>) -> Option<Reason> {
        if cx.stopping {
            return Some(Reason::Stopping);
        }
        if self.removed || self.successor_vip.is_some() || cx.settings.witness {
            return Some(Reason::Reconfigured);
        }
        if !cx.link_up(&self.vip.interface) {
            return Some(Reason::LinkDown);
        }
        if cx.now < self.leave_not_before {
            return None;
        }
        let ill = self.ill_since.is_some_and(|t| cx.now >= t + ILL_WAIT);
        if ill && self.candidate(cx, Reason::Unhealthy, &BTreeSet::new()).is_some() {
            return Some(Reason::Unhealthy);
        }
        self.candidate(cx, Reason::Preempted, &BTreeSet::new()).map(|_| Reason::Preempted)
    }

    /// The best node to hand over to.
    fn candidate(&self, cx: &Context<'_>, reason: Reason, tried: &BTreeSet<SocketAddr>) -> Option<SocketAddr> {
        let fits = |peer: &SocketAddr, v: &baton_wire::peer::State| match reason {
            Reason::Unhealthy => v.eligible && v.healthy,
            Reason::Preempted => v.eligible && v.healthy && v.wants && v.priority > self.vip.priority,
            _ => v.eligible && !tried.contains(peer),
        };
        let open = |peer: &SocketAddr| !tried.contains(peer) && cx.reachable(*peer) && cx.voters.index(*peer).is_some();
        self.views
            .iter()
            .filter(|(peer, v)| open(peer) && fits(peer, v))
            .min_by_key(|(peer, v)| (!v.healthy, std::cmp::Reverse(v.priority), **peer))
            .map(|(peer, _)| *peer)
    }

    /// Begins, continues or gives up a hand-over.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.hold, Hold::Held { .. }) {
            return;
        }
        match self.leaving.take() {
            Some(l) if cx.now < l.until => self.leaving = Some(l),
            Some(Leaving { reason, tried, .. }) => self.offer(cx, reason, tried),
            None => {
                if let Some(reason) = self.reason_to_leave(cx) {
                    self.offer(cx, reason, BTreeSet::new());
                }
            }
        }
    }

    pub(super) fn leave_wake(&self, cx: &Context<'_>) -> Option<Time> {
        let retry = self.leave_not_before > cx.now && matches!(self.hold, Hold::Held { .. });
        let ill = self.ill_since.map(|t| t + ILL_WAIT).filter(|t| *t > cx.now);
        self.leaving.as_ref().map(|l| l.until).or(retry.then_some(self.leave_not_before)).into_iter().chain(ill).min()
    }

    fn offer(&mut self, cx: &mut Context<'_>, reason: Reason, mut tried: BTreeSet<SocketAddr>) {
        if let Some(to) = self.candidate(cx, reason, &tried) {
            tried.insert(to);
            self.offers = self.offers.wrapping_add(1);
            let request = self.offers;
            cx.post.push((To::One(to), Record::Offer { vip: self.vip.address, request }));
            self.leaving = Some(Leaving { reason, to, request, until: cx.now + cx.patience(OFFER_WAIT), tried });
        } else if goes_anyway(reason) {
            self.begin_shutting(cx, reason, None);
        } else {
            self.leave_not_before = cx.now + LEAVE_RETRY;
        }
    }

    /// The holder asks whether this node would take it.
    pub(super) fn offered(&mut self, cx: &mut Context<'_>, from: From, request: u32) {
        if self.hold == Hold::None && self.eligible(cx) {
            cx.post.push((To::One(from.address), Record::Ready { vip: self.vip.address, request }));
        }
    }

    /// The candidate is ready.
    pub(super) fn answered_offer(&mut self, cx: &mut Context<'_>, from: From, request: u32) {
        let fits = self.leaving.as_ref().is_some_and(|l| l.to == from.address && l.request == request);
        if let Some(l) = self.leaving.take_if(|_| fits) {
            self.begin_shutting(cx, l.reason, Some(from.address));
        }
    }

    fn begin_shutting(&mut self, cx: &mut Context<'_>, reason: Reason, successor: Option<SocketAddr>) {
        let Hold::Held { end, since } = self.hold else { return };
        let accept_end = cx.now + cx.settings.drain;
        let op = if successor.is_some() { GateOp::Drain { accept_end } } else { GateOp::Shut };
        self.announcer.stop();
        self.leaving = None;
        self.hold = Hold::Shutting { end, since, reason, successor, accept_end };
        self.gate(cx, op);
    }

    /// The kernel confirmed that this node answers no more: release.
    pub(super) fn shut(&mut self, cx: &mut Context<'_>) {
        let Hold::Shutting { since, reason, successor, accept_end, .. } = self.hold else { return };
        self.losses += 1;
        self.cause = Reason::Expired;
        self.holder = Some((cx.me, cx.now));
        self.not_before = cx.now + if goes_anyway(reason) { cx.stagger() * 4 } else { cx.lease };
        self.release(cx, successor);
        cx.out.push(Effect::Note(Note::Lost { vip: self.vip.address, reason, held: cx.now.since(since) }));
        let accept_end = if successor.is_some() { accept_end } else { cx.now };
        cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Draining });
        self.hold = Hold::Draining { accept_end, successor, repeat: cx.now + RELEASE_GAP, repeats: RELEASE_REPEATS };
    }

    /// Repeats the release, and ends the drain.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>) {
        let Hold::Draining { accept_end, successor, repeat, repeats } = self.hold else { return };
        if repeats > 0 && cx.now >= repeat {
            let repeat = cx.now + RELEASE_GAP * 2;
            let successor_index = successor.and_then(|s| cx.voters.index(s)).unwrap_or(super::NOBODY);
            let (vip, ballot) = (self.vip.address, self.proposer.ballot);
            cx.post.push((To::All, Record::Release { vip, ballot, successor: successor_index }));
            self.hold = Hold::Draining { accept_end, successor, repeat, repeats: repeats - 1 };
        }
        if cx.now >= accept_end {
            self.hold = Hold::None;
            self.gate(cx, GateOp::Shut);
            cx.out.push(Effect::Holding { vip: self.vip.address, holding: Holding::Gone });
        }
    }
}
