//! Giving an address up in good order: the successor says it is ready, `answer` shuts, the kernel confirms, the lease
//! is released, the successor opens; `accept` stays for the drain.

use super::voting::From;
use super::{BTreeSet, Context, Duration, Group, Hold, RELEASE_GAP, RELEASE_REPEATS};
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

/// A release that is repeated.
#[derive(Clone, Debug)]
pub(crate) struct Releasing {
    successor: Option<SocketAddr>,
    pub(super) at: Time,
    left: u8,
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
        if self.place.removed || self.place.successor_vip.is_some() || cx.settings.witness {
            return Some(Reason::Reconfigured);
        }
        if !cx.link_up(&self.place.vip.interface) {
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
            Reason::Preempted => v.eligible && v.healthy && v.wants && v.priority > self.place.vip.priority,
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
        if !self.place.held() {
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
        let retry = self.leave_not_before > cx.now && self.place.held();
        let ill = self.ill_since.map(|t| t + ILL_WAIT).filter(|t| *t > cx.now);
        self.leaving.as_ref().map(|l| l.until).or(retry.then_some(self.leave_not_before)).into_iter().chain(ill).min()
    }

    fn offer(&mut self, cx: &mut Context<'_>, reason: Reason, mut tried: BTreeSet<SocketAddr>) {
        if let Some(to) = self.candidate(cx, reason, &tried) {
            tried.insert(to);
            self.offers = self.offers.wrapping_add(1);
            let request = self.offers;
            cx.post.push((To::One(to), Record::Offer { vip: self.place.vip.address, request }));
            self.leaving = Some(Leaving { reason, to, request, until: cx.now + cx.patience(OFFER_WAIT), tried });
        } else if goes_anyway(reason) {
            self.begin_shutting(cx, reason, None);
        } else {
            self.leave_not_before = cx.now + LEAVE_RETRY;
        }
    }

    /// The holder asks whether this node would take it.
    pub(super) fn offered(&mut self, cx: &mut Context<'_>, from: From, request: u32) {
        if self.place.hold == Hold::None && self.eligible(cx) {
            cx.post.push((To::One(from.address), Record::Ready { vip: self.place.vip.address, request }));
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
        if !self.place.held() {
            return;
        }
        self.leaving = None;
        self.successor = successor;
        let drain = if successor.is_some() { cx.settings.drain } else { Duration::ZERO };
        self.place.shut(cx, reason, drain);
    }

    /// The kernel confirmed that this node answers no more: release.
    pub(super) fn hand_over(&mut self, cx: &mut Context<'_>, reason: Reason) {
        let successor = self.successor.take();
        self.holder = Some((cx.me, cx.now));
        self.not_before = cx.now + if goes_anyway(reason) { cx.stagger() * 4 } else { cx.lease };
        self.release(cx, successor);
        self.releasing = Some(Releasing { successor, at: cx.now + RELEASE_GAP, left: RELEASE_REPEATS });
    }

    /// Repeats the release while the address drains.
    pub(super) fn repeat_release(&mut self, cx: &mut Context<'_>) {
        let draining = matches!(self.place.hold, Hold::Draining { .. });
        let Some(r) = self.releasing.take_if(|r| !draining || cx.now >= r.at) else { return };
        if !draining {
            return;
        }
        let successor = r.successor.and_then(|s| cx.voters.index(s)).unwrap_or(super::NOBODY);
        let (vip, ballot) = (self.place.vip.address, self.proposer.ballot);
        cx.post.push((To::All, Record::Release { vip, ballot, successor }));
        let left = r.left - 1;
        self.releasing = (left > 0).then_some(Releasing { at: cx.now + RELEASE_GAP * 2, left, ..r });
    }
}
