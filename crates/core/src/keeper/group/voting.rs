//! The lease of one address on the wire: when to ask, how to answer, what answers mean.

use super::{Answer, BTreeSet, Context, Duration, Group, Hold, LEASE_MAX, NOBODY, Note, Phase, Record, Refusal};
use super::{Effect, Reason, SocketAddr, Time, To};

/// A candidate whose lease is expected to end waits so much longer: the voters' clocks are not quite ours.
const GRACE: Duration = Duration::from_millis(1);

/// A successor asks so often before it thinks that the hand-over went wrong.
const HANDED_OVER_TRIES: u32 = 5;

/// Who sent a record.
#[derive(Clone, Copy)]
pub(crate) struct From {
    pub(crate) address: SocketAddr,
    pub(crate) index: u8,
    pub(crate) incarnation: u64,
    /// It holds alone, without a majority.
    pub(crate) alone: bool,
}

impl Group {
    /// Asks for the lease, or renews it, when that is due.
    pub(super) fn lead(&mut self, cx: &mut Context<'_>) {
        self.able = self.may_try(cx).then(|| self.able.unwrap_or(cx.now));
        match self.proposer.phase {
            Phase::Idle => {
                if self.attempt_at(cx).is_some_and(|t| cx.now >= t) {
                    self.prepare(cx);
                }
            }
            Phase::Preparing { retry, .. } => {
                if !self.may_try(cx) {
                    self.proposer.abandon();
                } else if cx.now >= retry {
                    self.again_or_back_off(cx);
                }
            }
            Phase::Proposing { since, next, .. } => {
                let renewing = matches!(self.place.hold, Hold::Held { .. } | Hold::Opening { .. });
                if self.place.hold == Hold::None && cx.now >= since + cx.patience(cx.lease / 4) {
                    self.back_off(cx);
                } else if cx.now >= next && (renewing || self.place.hold == Hold::None) {
                    self.propose(cx);
                }
            }
        }
    }

    /// When [`Group::lead`] has something to do next.
    pub(super) fn lead_wake(&self, cx: &Context<'_>) -> Option<Time> {
        match self.proposer.phase {
            Phase::Idle => self.attempt_at(cx),
            Phase::Preparing { retry, .. } => Some(retry),
            Phase::Proposing { next, since, .. } => match self.place.hold {
                Hold::Held { .. } | Hold::Opening { .. } => Some(next),
                Hold::None => Some(next.min(since + cx.patience(cx.lease / 4))),
                Hold::Shutting { .. } | Hold::Draining { .. } => None,
            },
        }
    }

    /// Renewal is late by so much.
    pub(crate) fn renewal_lag(&self, now: Time) -> Option<Duration> {
        match (&self.proposer.phase, self.place.hold) {
            (Phase::Proposing { next, .. }, Hold::Held { .. }) if now >= *next => Some(now.since(*next)),
            _ => None,
        }
    }

    fn may_try(&self, cx: &Context<'_>) -> bool {
        self.place.hold == Hold::None
            && cx.contact.is_some()
            && self.eligible(cx)
            && (self.place.conflict.probed(cx.now) || cx.settings.force || cx.now < self.place.inherited)
    }

    /// When to try next, if at all: after every grant that is known, the better candidates first.
    fn attempt_at(&self, cx: &Context<'_>) -> Option<Time> {
        let able = self.able.filter(|_| self.may_try(cx))?;
        if cx.now < self.place.inherited {
            return Some(self.not_before);
        }
        let known = self.acceptor.last().filter(|g| g.owner != cx.me).map_or(Time::ZERO, |g| g.ends);
        let free = known.max(self.free_at) + GRACE;
        Some((free.max(able) + cx.stagger() * u32::from(self.rank(cx))).max(self.not_before))
    }

    /// How many reachable candidates are better than this node. The last holder goes last: it is the one that failed.
    fn rank(&self, cx: &Context<'_>) -> u8 {
        let last = self.holder.map(|(h, _)| h);
        let mine = (last == Some(cx.me), !self.healthy, std::cmp::Reverse(self.place.vip.priority), cx.voters.me());
        let better = self.views.iter().filter(|(peer, v)| {
            let index = cx.voters.index(**peer);
            let theirs = (last == Some(**peer), !v.healthy, std::cmp::Reverse(v.priority), index.unwrap_or(NOBODY));
            v.eligible && index.is_some() && cx.reachable(**peer) && theirs < mine
        });
        u8::try_from(better.count()).unwrap_or(u8::MAX)
    }

    /// How long promises may take.
    fn wait(&self, cx: &Context<'_>) -> Duration {
        cx.patience((cx.lease / 10).clamp(Duration::from_millis(10), Duration::from_millis(100)))
    }

    fn prepare(&mut self, cx: &mut Context<'_>) {
        let wait = self.wait(cx);
        self.proposer.saw(self.acceptor.promised());
        let request = self.proposer.prepare(cx.now, cx.voters.me(), cx.now + wait);
        let ballot = self.proposer.ballot;
        cx.post.push((To::All, Record::Prepare { vip: self.place.vip.address, ballot, request }));
        let own = cx.voting && self.acceptor.prepare(cx.now, cx.me, ballot) == Answer::Yes;
        if own && self.proposer.promise(cx.voters.me(), ballot, request, cx.quorum) {
            self.propose(cx);
        }
    }

    fn propose(&mut self, cx: &mut Context<'_>) {
        let request = self.proposer.propose(cx.now, cx.lease, cx.now + cx.renewal);
        let ballot = self.proposer.ballot;
        let duration_us = u32::try_from(cx.lease.as_micros()).unwrap_or(u32::MAX);
        cx.post.push((To::All, Record::Propose { vip: self.place.vip.address, ballot, request, duration_us }));
        if cx.voting && self.acceptor.propose(cx.now, cx.me, ballot, cx.lease) == Answer::Yes {
            self.proposer.accept(cx.voters.me(), cx.incarnation, request, cx.tick);
        }
    }

    /// Another try later, at a random time, later after each failure: so two candidates do not meet again. What voters
    /// granted meanwhile is released (the gate was never opened).
    fn back_off(&mut self, cx: &mut Context<'_>) {
        match self.proposer.phase {
            // Unless a gate is still to be confirmed shut.
            Phase::Proposing { .. } if self.place.pending == 0 => self.release(cx, None),
            _ => self.proposer.abandon(),
        }
        let window = (cx.stagger() * 2 * (1 << self.tries.min(4))).min(cx.lease / 2);
        self.tries = self.tries.saturating_add(1);
        self.not_before = cx.now + cx.stagger() / 2 + cx.jitter(window);
    }

    /// The release of the last holder may reach some voters after this successor's question: ask those again at once.
    fn again_or_back_off(&mut self, cx: &mut Context<'_>) {
        if self.place.cause == Reason::HandedOver && self.tries < HANDED_OVER_TRIES {
            self.tries += 1;
            self.prepare(cx);
        } else {
            self.back_off(cx);
        }
    }

    /// Tells all voters to forget the grant. Only ever with the gate shut: not while a predecessor's may be open.
    pub(super) fn release(&mut self, cx: &mut Context<'_>, successor: Option<SocketAddr>) {
        if cx.now < self.place.inherited {
            self.proposer.abandon();
            return;
        }
        let ballot = self.proposer.ballot;
        let successor = successor.and_then(|s| cx.voters.index(s)).unwrap_or(NOBODY);
        self.acceptor.release(cx.me, ballot);
        self.proposer.abandon();
        cx.post.push((To::All, Record::Release { vip: self.place.vip.address, ballot, successor }));
    }

    /// A record about this address from a voter with the same list.
    pub(crate) fn record(&mut self, cx: &mut Context<'_>, from: From, record: &Record) {
        let vip = self.place.vip.address;
        match *record {
            Record::Prepare { ballot, request, .. } => {
                self.proposer.saw(ballot);
                let answer = self.vote(cx, |a, cx| a.prepare(cx.now, from.address, ballot));
                let yes = Record::Promise { vip, ballot, request };
                cx.post.push((To::One(from.address), answered(cx, answer, yes)));
            }
            Record::Propose { ballot, request, duration_us, .. } => {
                self.proposer.saw(ballot);
                let duration = Duration::from_micros(u64::from(duration_us));
                let answer = self.grant(cx, from.address, ballot, duration);
                let yes = Record::Accept { vip, ballot, request };
                cx.post.push((To::One(from.address), answered(cx, answer, yes)));
            }
            Record::Promise { ballot, request, .. } => {
                if self.proposer.promise(from.index, ballot, request, cx.quorum) {
                    self.propose(cx);
                }
            }
            Record::Accept { request, .. } => self.proposer.accept(from.index, from.incarnation, request, cx.tick),
            Record::Refuse { request, why, promised, holder, remaining_us, .. } => {
                let remaining = Duration::from_micros(u64::from(remaining_us)).min(LEASE_MAX);
                self.refused(cx, from, request, why, promised, cx.voters.address(holder), remaining);
            }
            Record::Release { ballot, successor, .. } => {
                self.proposer.saw(ballot);
                self.released(cx, from, ballot, cx.voters.address(successor));
            }
            Record::Offer { request, .. } => self.offered(cx, from, request),
            Record::Ready { request, .. } => self.answered_offer(cx, from, request),
            Record::State { state, .. } => {
                self.views.insert(from.address, state);
                if state.holding {
                    self.held_by(cx, from.address, cx.now + cx.lease);
                }
                if state.holding && from.alone && !cx.alone {
                    // It will ask this node first; to propose meanwhile would only make a second holder.
                    self.free_at = self.free_at.max(cx.now + cx.lease);
                }
            }
            Record::Voters(_) | Record::Macs(_) => {}
        }
    }

    /// Asks this node's own voter, unless it is quiet.
    fn vote(&mut self, cx: &Context<'_>, ask: impl FnOnce(&mut super::Acceptor, &Context<'_>) -> Answer) -> Answer {
        if cx.voting {
            return ask(&mut self.acceptor, cx);
        }
        let promised = self.acceptor.promised();
        Answer::No { why: Refusal::Quiet, promised, holder: None, remaining: Duration::ZERO }
    }

    fn grant(
        &mut self,
        cx: &mut Context<'_>,
        from: SocketAddr,
        ballot: baton_wire::peer::Ballot,
        d: Duration,
    ) -> Answer {
        if d > cx.settings.lease {
            let promised = self.acceptor.promised();
            return Answer::No { why: Refusal::TooLong, promised, holder: None, remaining: Duration::ZERO };
        }
        let answer = self.vote(cx, |a, cx| a.propose(cx.now, from, ballot, d));
        if answer == Answer::Yes {
            self.held_by(cx, from, cx.now + d);
        }
        answer
    }

    fn held_by(&mut self, cx: &mut Context<'_>, peer: SocketAddr, until: Time) {
        if matches!(self.place.hold, Hold::Held { .. } | Hold::Opening { .. }) {
            return;
        }
        if self.holder.is_none_or(|(h, _)| h != peer) {
            cx.out.push(Effect::Note(Note::HeldBy { vip: self.place.vip.address, peer }));
        }
        self.holder = Some((peer, until));
        self.place.cause = Reason::Expired;
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one refusal")]
    fn refused(
        &mut self,
        cx: &mut Context<'_>,
        from: From,
        request: u32,
        why: Refusal,
        promised: baton_wire::peer::Ballot,
        holder: Option<SocketAddr>,
        remaining: Duration,
    ) {
        let hopeless = self.proposer.refuse(from.index, request, promised, cx.voters.len(), cx.quorum);
        let releasing = self.place.cause == Reason::HandedOver && holder == self.holder.map(|(h, _)| h);
        if why == Refusal::Held && self.place.hold == Hold::None && releasing && self.tries < HANDED_OVER_TRIES {
            self.proposer.hasten(cx.now + cx.patience(super::RELEASE_GAP));
            return;
        }
        if why == Refusal::Held && self.place.hold == Hold::None {
            self.free_at = self.free_at.max(cx.now + remaining);
            if let Some(h) = holder.filter(|h| *h != cx.me) {
                self.held_by(cx, h, cx.now + remaining);
            }
        }
        if let (true, Refusal::Held, Hold::Held { since, .. }) = (cx.alone, why, self.place.hold) {
            // Others have a majority: a node that holds without one yields at once.
            let turn = self.place.lose(cx, Reason::NoMajority, since);
            self.turned(cx, turn);
        } else if why == Refusal::Promised && matches!(self.proposer.phase, Phase::Proposing { .. }) {
            self.proposer.raise(cx.voters.me());
            if self.place.hold == Hold::None && hopeless && self.tries < HANDED_OVER_TRIES {
                self.tries += 1;
                self.propose(cx);
            }
        } else if hopeless && self.place.hold == Hold::None {
            self.back_off(cx);
        }
    }

    fn released(
        &mut self,
        cx: &mut Context<'_>,
        from: From,
        ballot: baton_wire::peer::Ballot,
        successor: Option<SocketAddr>,
    ) {
        self.acceptor.release(from.address, ballot);
        let Some((holder, _)) = self.holder.filter(|(h, _)| *h == from.address && self.place.hold == Hold::None) else {
            return;
        };
        self.holder = Some((holder, cx.now));
        self.place.cause = Reason::HandedOver;
        let wait = if successor.is_none_or(|s| s == cx.me) { Duration::ZERO } else { cx.stagger() * 2 + self.wait(cx) };
        // The named successor has the field to itself for as long as it may need.
        self.free_at = cx.now + wait;
        self.tries = 0;
        if successor == Some(cx.me) {
            self.not_before = cx.now;
            if self.may_try(cx) {
                self.prepare(cx);
            }
        }
    }

    /// The voter list changed.
    pub(crate) fn renumber(&mut self, until: Time, me: u8, voters: &BTreeSet<SocketAddr>) {
        self.acceptor.renumber();
        self.proposer.renumber(until, me);
        self.views.retain(|peer, _| voters.contains(peer));
    }
}

/// The record that carries an answer.
fn answered(cx: &Context<'_>, answer: Answer, yes: Record) -> Record {
    let (vip, ballot, request) = match yes {
        Record::Promise { vip, ballot, request } | Record::Accept { vip, ballot, request } => (vip, ballot, request),
        other => return other,
    };
    match answer {
        Answer::Yes => yes,
        Answer::No { why, promised, holder, remaining } => Record::Refuse {
            vip,
            ballot,
            request,
            why,
            promised,
            holder: holder.and_then(|h| cx.voters.index(h)).unwrap_or(NOBODY),
            remaining_us: u32::try_from(remaining.as_micros()).unwrap_or(u32::MAX),
        },
    }
}
