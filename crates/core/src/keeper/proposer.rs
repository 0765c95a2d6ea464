//! A candidate's half of the quorum lease for one address: two rounds to get it, one round to renew it.
//!
//! `prepare` asks the voters for permission to propose with a ballot; `propose` asks them for a grant. A node holds
//! until the end of the majority-th latest grant, each counted **from when the request left**, on its own clock, less
//! the clock-rate margin: however late a reply is read, it never lengthens a hold. The holder renews by proposing
//! again with its ballot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use baton_wire::peer::Ballot;

use crate::time::Time;

/// Requests remembered until their answers come: more than are renewed within the longest lease at the shortest
/// useful interval would only hold answers that are too old to count.
const REQUESTS_MAX: usize = 32;

/// Clock rates lie within ±ε of true time; ε = 1/10 (NTP may slew by 8 %). The voter's clock may be fast and ours slow:
/// T·(1−ε)/(1+ε) = 9/11 T.
const MARGIN: (u32, u32) = (9, 11);

/// The end of a grant of `duration` asked for at `sent`, on the asking node's clock: less one kernel tick, because a
/// gate may end that much late.
pub(crate) fn grant_end(sent: Time, duration: Duration, tick: Duration) -> Time {
    sent + (duration * MARGIN.0 / MARGIN.1).saturating_sub(tick)
}

/// A grant as its receiver knows it.
#[derive(Clone, Copy, Debug)]
struct Got {
    end: Time,
    /// The voter's incarnation that gave it.
    incarnation: u64,
}

/// Where a candidate stands.
#[derive(Clone, Debug, Default)]
pub(crate) enum Phase {
    /// Asks for nothing.
    #[default]
    Idle,
    /// Waits for promises.
    Preparing { since: Time, retry: Time, promised: BTreeSet<u8>, refused: BTreeSet<u8> },
    /// Has a majority of promises: proposes, then renews.
    Proposing { since: Time, next: Time, refused: BTreeSet<u8> },
}

/// A candidate for one address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proposer {
    pub(crate) phase: Phase,
    /// Of the last request.
    pub(crate) ballot: Ballot,
    /// Highest round seen anywhere.
    round: u64,
    request: u32,
    sent: VecDeque<(u32, Time, Duration)>,
    grants: BTreeMap<u8, Got>,
    /// A hold from before a change of the voter list, kept to its end.
    carried: Time,
}

impl Proposer {
    /// Begins a new ballot. Returns the request's number.
    pub(crate) fn prepare(&mut self, now: Time, me: u8, retry: Time) -> u32 {
        self.round += 1;
        self.ballot = Ballot { round: self.round, node: me };
        let since = match self.phase {
            Phase::Preparing { since, .. } => since,
            _ => now,
        };
        self.phase = Phase::Preparing { since, retry, promised: BTreeSet::new(), refused: BTreeSet::new() };
        self.request = self.request.wrapping_add(1);
        self.request
    }

    /// Asks for (or renews) the grant. Returns the request's number.
    pub(crate) fn propose(&mut self, now: Time, duration: Duration, next: Time) -> u32 {
        let since = match self.phase {
            Phase::Idle => now,
            Phase::Preparing { since, .. } | Phase::Proposing { since, .. } => since,
        };
        self.phase = Phase::Proposing { since, next, refused: BTreeSet::new() };
        self.request = self.request.wrapping_add(1);
        if self.sent.len() == REQUESTS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.request, now, duration));
        self.request
    }

    /// A voter promised. True when that makes a quorum for the first time.
    pub(crate) fn promise(&mut self, voter: u8, ballot: Ballot, request: u32, quorum: usize) -> bool {
        if ballot != self.ballot || request != self.request {
            return false;
        }
        match &mut self.phase {
            Phase::Preparing { promised, .. } => promised.insert(voter) && promised.len() == quorum,
            Phase::Idle | Phase::Proposing { .. } => false,
        }
    }

    /// A voter granted.
    pub(crate) fn accept(&mut self, voter: u8, incarnation: u64, request: u32, tick: Duration) {
        if !matches!(self.phase, Phase::Proposing { .. }) {
            return;
        }
        let Some((_, sent, duration)) = self.sent.iter().find(|(r, ..)| *r == request) else { return };
        let end = grant_end(*sent, *duration, tick);
        let got = self.grants.entry(voter).or_insert(Got { end, incarnation });
        if end >= got.end {
            *got = Got { end, incarnation };
        }
    }

    /// A voter refused. True when no quorum can answer this request with yes any more.
    pub(crate) fn refuse(&mut self, voter: u8, request: u32, promised: Ballot, voters: usize, quorum: usize) -> bool {
        self.saw(promised);
        if request != self.request {
            return false;
        }
        match &mut self.phase {
            Phase::Preparing { refused, .. } | Phase::Proposing { refused, .. } => {
                refused.insert(voter);
                voters.saturating_sub(refused.len()) < quorum
            }
            Phase::Idle => false,
        }
    }

    /// Asks again sooner.
    pub(crate) fn hasten(&mut self, at: Time) {
        if let Phase::Preparing { retry, .. } = &mut self.phase {
            *retry = at.min(*retry);
        }
    }

    /// Some ballot was seen: the next own one is higher. Bounded growth: a forged huge round is not followed.
    pub(crate) fn saw(&mut self, ballot: Ballot) {
        if ballot.round < u64::MAX / 2 {
            self.round = self.round.max(ballot.round);
        }
    }

    /// Goes on with a higher ballot without asking for promises again: grants alone decide who holds.
    pub(crate) fn raise(&mut self, me: u8) {
        if self.ballot.round < self.round {
            self.round += 1;
            self.ballot = Ballot { round: self.round, node: me };
        }
    }

    /// Until when `quorum` voters have granted it; [`Time::ZERO`] if they have not.
    pub(crate) fn until(&self, quorum: usize) -> Time {
        if matches!(self.phase, Phase::Idle | Phase::Preparing { .. }) {
            return self.carried;
        }
        let mut ends: Vec<Time> = self.grants.values().map(|g| g.end).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(quorum.saturating_sub(1)).copied().unwrap_or(Time::ZERO).max(self.carried)
    }

    /// Voters whose grants last beyond `now`.
    pub(crate) fn granted_by(&self, now: Time) -> usize {
        self.grants.values().filter(|g| now < g.end).count()
    }

    /// Whether a live grant came from another incarnation of this voter than `incarnation`.
    pub(crate) fn rests_on_predecessor(&self, now: Time, voter: u8, incarnation: u64) -> bool {
        now < self.carried || self.grants.get(&voter).is_some_and(|g| now < g.end && g.incarnation != incarnation)
    }

    /// Gives up: answers that are still on their way count for nothing.
    pub(crate) fn abandon(&mut self) {
        self.phase = Phase::Idle;
        self.sent.clear();
        self.grants.clear();
        self.carried = Time::ZERO;
    }

    /// The voter list changed: indices mean other nodes. What is held is kept to its end.
    pub(crate) fn renumber(&mut self, until: Time, me: u8) {
        let proposing = matches!(self.phase, Phase::Proposing { .. });
        self.sent.clear();
        self.grants.clear();
        self.carried = until;
        self.round += 1;
        self.ballot = Ballot { round: self.round, node: me };
        if !proposing {
            self.phase = Phase::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_millis(550);
    const TICK: Duration = Duration::from_millis(4);

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    /// A candidate with two of three grants, asked for at 0.
    fn holder() -> (Proposer, u32) {
        let mut p = Proposer::default();
        let request = p.prepare(at(0), 0, at(50));
        let ballot = p.ballot;
        assert!(!p.promise(0, ballot, request, 2));
        assert!(p.promise(1, ballot, request, 2));
        assert!(!p.promise(2, ballot, request, 2), "the quorum is reached once");
        let request = p.propose(at(0), T, at(100));
        p.accept(0, 7, request, TICK);
        p.accept(1, 7, request, TICK);
        (p, request)
    }

    #[test]
    fn a_hold_counts_from_the_request_less_the_margins() {
        let (p, _) = holder();
        assert_eq!(p.until(2), at(550 * 9 / 11 - 4));
        assert_eq!(p.until(3), Time::ZERO, "two grants are not three");
    }

    #[test]
    fn a_late_answer_to_an_old_request_does_not_lengthen_the_hold() {
        let (mut p, first) = holder();
        let second = p.propose(at(100), T, at(200));
        p.accept(1, 7, first, TICK);
        assert_eq!(p.until(2), at(446));
        p.accept(1, 7, second, TICK);
        assert_eq!(p.until(2), at(446), "one voter is no majority");
        p.accept(2, 7, second, TICK);
        assert_eq!(p.until(2), at(546));
        p.accept(2, 7, first, TICK);
        assert_eq!(p.until(2), at(546), "an older answer does not shorten it either");
    }

    #[test]
    fn answers_after_giving_up_count_for_nothing() {
        let (mut p, request) = holder();
        p.abandon();
        p.accept(0, 7, request, TICK);
        p.accept(1, 7, request, TICK);
        assert_eq!(p.until(2), Time::ZERO);
    }

    #[test]
    fn a_grant_of_a_predecessor_is_known_as_such_until_it_ends() {
        let (p, _) = holder();
        assert!(p.rests_on_predecessor(at(10), 1, 8));
        assert!(!p.rests_on_predecessor(at(10), 1, 7));
        assert!(!p.rests_on_predecessor(at(446), 1, 8));
    }

    #[test]
    fn promises_to_other_requests_do_not_count() {
        let mut p = Proposer::default();
        let old = p.prepare(at(0), 0, at(50));
        let old_ballot = p.ballot;
        let new = p.prepare(at(50), 0, at(100));
        assert!(new != old && p.ballot > old_ballot);
        assert!(!p.promise(1, old_ballot, old, 1));
        assert!(!p.promise(1, p.ballot, old, 1));
    }
}
