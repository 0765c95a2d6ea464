//! One address that the peers decide about: its voter, its candidate, and what follows from them for its [`Place`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use baton_wire::peer::{NOBODY, Record, Refusal, State};

use super::acceptor::{Acceptor, Answer};
use super::context::{Context, To};
use super::event::{Effect, GateDone};
use super::note::{Note, Reason};
use super::place::{Hold, Place, Turn};
use super::proposer::{Phase, Proposer};
use crate::settings::{LEASE_MAX, Vip};
use crate::time::Time;

mod handover;
pub(crate) mod voting;

use handover::{Leaving, Releasing};

/// A release is repeated so often: a voter that missed it waits for the end of its grant instead.
const RELEASE_REPEATS: u8 = 3;
const RELEASE_GAP: Duration = Duration::from_millis(5);

/// One address.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) place: Place,
    pub(crate) acceptor: Acceptor,
    pub(crate) proposer: Proposer,
    /// What the others said of themselves.
    pub(crate) views: BTreeMap<SocketAddr, State>,
    pub(crate) healthy: bool,
    ill_since: Option<Time>,
    /// The last node that is known to hold it, and until when at most.
    pub(crate) holder: Option<(SocketAddr, Time)>,
    leaving: Option<Leaving>,
    leave_not_before: Time,
    /// To whom it goes while `answer` is being shut.
    successor: Option<SocketAddr>,
    releasing: Option<Releasing>,
    offers: u32,
    /// Failed attempts in a row.
    tries: u32,
    /// Since when nothing but somebody else's grant keeps this node from trying.
    able: Option<Time>,
    /// Nobody else's grant is known to end later.
    free_at: Time,
    not_before: Time,
    pub(crate) told: Option<State>,
    pub(crate) wake: Time,
}

impl Group {
    pub(crate) fn new(vip: Vip, now: Time, inherited: Time) -> Group {
        Group {
            place: Place::new(vip, now, inherited),
            acceptor: Acceptor::default(),
            proposer: Proposer::default(),
            views: BTreeMap::new(),
            healthy: true,
            ill_since: None,
            holder: None,
            leaving: None,
            leave_not_before: now,
            successor: None,
            releasing: None,
            offers: 0,
            tries: 0,
            able: None,
            free_at: Time::ZERO,
            not_before: now,
            told: None,
            wake: now,
        }
    }

    /// Does whatever is due and plans when to come back.
    pub(crate) fn step(&mut self, cx: &mut Context<'_>) {
        let lapsed = if cx.late { Reason::Late } else { Reason::NoMajority };
        let turn = self.place.expire(cx, lapsed);
        self.turned(cx, turn);
        self.place.settle_move(cx.now);
        self.lead(cx);
        self.gain(cx);
        self.place.renew(cx, self.proposer.until(cx.quorum));
        self.leave(cx);
        self.repeat_release(cx);
        self.place.drain(cx);
        self.place.keep_address(cx);
        self.place.announce(cx);
        if self.probes(cx) && self.place.conflict.due(cx.now) {
            cx.out.push(Effect::Probe { vip: self.place.vip.clone() });
        }
        self.wake = self.next_wake(cx);
    }

    fn probes(&self, cx: &Context<'_>) -> bool {
        !cx.settings.witness && self.place.hold == Hold::None && cx.link_up(&self.place.vip.interface)
    }

    /// Whether this node may take the address now.
    pub(crate) fn eligible(&self, cx: &Context<'_>) -> bool {
        self.place.eligible(cx)
    }

    /// What this node says of itself.
    pub(crate) fn state(&self, cx: &Context<'_>) -> State {
        let eligible = self.eligible(cx) && self.place.hold == Hold::None;
        let priority = self.place.vip.priority;
        let outranks = self
            .holder_now(cx)
            .filter(|h| *h != cx.me)
            .and_then(|h| self.views.get(&h))
            .is_some_and(|v| v.holding && v.priority < priority);
        State {
            holding: self.place.held(),
            eligible,
            healthy: self.healthy,
            wants: cx.settings.preempt && eligible && self.healthy && outranks && cx.voting,
            priority,
        }
    }

    /// Who holds it as far as this node knows.
    pub(crate) fn holder_now(&self, cx: &Context<'_>) -> Option<SocketAddr> {
        if self.place.held() {
            return Some(cx.me);
        }
        self.holder.filter(|(_, until)| cx.now < *until).map(|(h, _)| h)
    }

    /// What became of the place.
    fn turned(&mut self, cx: &mut Context<'_>, turn: Turn) {
        match turn {
            Turn::Nothing => {}
            Turn::Gained => {
                self.tries = 0;
                self.leave_not_before = cx.now + cx.lease * 2;
                if let Hold::Held { end, .. } = self.place.hold {
                    self.holder = Some((cx.me, end));
                }
            }
            Turn::Lost => {
                self.leaving = None;
                self.proposer.abandon();
            }
            Turn::Shut(reason) => self.hand_over(cx, reason),
        }
    }

    /// A majority granted it: ask the kernel for the gate.
    fn gain(&mut self, cx: &mut Context<'_>) {
        let until = self.proposer.until(cx.quorum);
        if !self.place.may_open(cx, until) {
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
        self.place.open(cx, until, began);
    }

    /// The result of the oldest gate operation that is still open.
    pub(crate) fn gate_done(&mut self, cx: &mut Context<'_>, done: GateDone) {
        let turn = self.place.gate_done(cx, done);
        self.turned(cx, turn);
    }

    /// The kernel has the address no longer.
    pub(crate) fn address_gone(&mut self, cx: &mut Context<'_>, interface: &str) {
        let turn = self.place.address_gone(cx, interface);
        self.turned(cx, turn);
    }

    /// What is behind the address is well on this node, or not.
    pub(crate) fn health(&mut self, now: Time, healthy: bool) {
        self.healthy = healthy;
        self.ill_since = (!healthy).then(|| self.ill_since.unwrap_or(now));
    }

    /// The earliest time at which something is due by itself.
    fn next_wake(&self, cx: &Context<'_>) -> Time {
        let probe = (self.place.hold == Hold::None && self.probes(cx)).then(|| self.place.conflict.deadline(cx.now));
        let repeat = self.releasing.as_ref().map(|r| r.at);
        let all = [self.place.wake(cx), probe, repeat, self.leave_wake(cx), self.lead_wake(cx)];
        all.into_iter().flatten().fold(cx.now + LEASE_MAX, Time::min).max(cx.now)
    }

    /// Until when this node holds by the grants it has.
    pub(crate) fn held_until(&self, quorum: usize) -> Time {
        self.proposer.until(quorum)
    }

    /// Nothing is held, nothing is left in the kernel, and no grant would be forgotten.
    pub(crate) fn finished(&self, now: Time) -> bool {
        self.place.left() && self.acceptor.grant(now).is_none()
    }
}
