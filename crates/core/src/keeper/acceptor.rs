//! A voter's half of the quorum lease (PaxosLease, arXiv 1209.4187, section 3) for one address.
//!
//! Diskless: a grant ends by itself. Safety rests on one sentence: **a voter never has unexpired grants to two
//! nodes**; any two majorities share a voter, so two nodes never hold together. Ballots only decide who goes on
//! when several try at once. Unlike the paper, a voter whose grant has not run out refuses `prepare` by others
//! without raising its promise: a node that nobody hears cannot disturb the holder.

use std::net::SocketAddr;
use std::time::Duration;

use baton_wire::peer::{Ballot, Refusal};

use crate::time::Time;

/// A grant: this voter gives the address to nobody else until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// To whom. By address, not by index or incarnation: it outlives a change of the voter list, and the same host's
    /// next process has the same kernel gates.
    pub(crate) owner: SocketAddr,
    pub(crate) ballot: Ballot,
    /// On this voter's clock, counted from when it accepted: the whole duration.
    pub(crate) ends: Time,
}

/// What a voter remembers of one address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acceptor {
    promised: Ballot,
    grant: Option<Grant>,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No { why: Refusal, promised: Ballot, holder: Option<SocketAddr>, remaining: Duration },
}

impl Acceptor {
    /// The grant that has not run out.
    pub(crate) fn grant(&self, now: Time) -> Option<Grant> {
        self.grant.filter(|g| now < g.ends)
    }

    /// The last grant that was not released, whether it has run out or not.
    pub(crate) fn last(&self) -> Option<Grant> {
        self.grant
    }

    /// The highest ballot promised.
    pub(crate) fn promised(&self) -> Ballot {
        self.promised
    }

    /// "May `from` propose with `ballot`?"
    pub(crate) fn prepare(&mut self, now: Time, from: SocketAddr, ballot: Ballot) -> Answer {
        if let Some(no) = self.held_by_another(now, from) {
            return no;
        }
        if ballot < self.promised {
            return self.no(Refusal::Promised);
        }
        self.promised = ballot;
        Answer::Yes
    }

    /// "Grant it to `from` for `duration` from now."
    pub(crate) fn propose(&mut self, now: Time, from: SocketAddr, ballot: Ballot, duration: Duration) -> Answer {
        if let Some(no) = self.held_by_another(now, from) {
            return no;
        }
        if ballot < self.promised {
            return self.no(Refusal::Promised);
        }
        self.promised = ballot;
        // A shorter grant to the same owner must not take back what a longer one gave.
        let ends = self.grant(now).map_or(Time::ZERO, |g| g.ends).max(now + duration);
        self.grant = Some(Grant { owner: from, ballot, ends });
        Answer::Yes
    }

    /// "`from` no longer answers for it." True when there was something to forget.
    pub(crate) fn release(&mut self, from: SocketAddr, ballot: Ballot) -> bool {
        if self.grant.is_some_and(|g| g.owner != from || g.ballot > ballot) {
            return false;
        }
        // Its proposals of this ballot that are still on their way are void from now on.
        self.promised = self.promised.max(Ballot { round: ballot.round.saturating_add(1), node: 0 });
        self.grant.take().is_some()
    }

    /// The voter list changed: indices in ballots mean other nodes. Grants stay (they name addresses).
    pub(crate) fn renumber(&mut self) {
        self.promised = Ballot { round: self.promised.round + 1, node: 0 };
    }

    fn held_by_another(&self, now: Time, from: SocketAddr) -> Option<Answer> {
        let g = self.grant(now).filter(|g| g.owner != from)?;
        Some(Answer::No {
            why: Refusal::Held,
            promised: self.promised,
            holder: Some(g.owner),
            remaining: g.ends.left(now),
        })
    }

    fn no(&self, why: Refusal) -> Answer {
        Answer::No { why, promised: self.promised, holder: None, remaining: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn node(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 10000))
    }

    fn ballot(round: u64, node: u8) -> Ballot {
        Ballot { round, node }
    }

    fn why(a: Answer) -> Option<Refusal> {
        match a {
            Answer::Yes => None,
            Answer::No { why, .. } => Some(why),
        }
    }

    /// Every pair of (state of the voter, request).
    #[test]
    fn all_cells() {
        let free = Acceptor::default();
        let mut promised = Acceptor::default();
        assert_eq!(promised.prepare(at(0), node(1), ballot(5, 1)), Answer::Yes);
        let mut granted = promised.clone();
        assert_eq!(granted.propose(at(0), node(1), ballot(5, 1), T), Answer::Yes);

        // (voter, at ms, from, ballot, prepare gives, propose gives)
        let cells = [
            (&free, 0, 1, ballot(1, 1), None, None),
            (&promised, 1, 1, ballot(5, 1), None, None),
            (&promised, 1, 2, ballot(4, 2), Some(Refusal::Promised), Some(Refusal::Promised)),
            (&promised, 1, 2, ballot(5, 2), None, None),
            (&granted, 499, 1, ballot(5, 1), None, None),
            (&granted, 499, 1, ballot(4, 1), Some(Refusal::Promised), Some(Refusal::Promised)),
            (&granted, 499, 2, ballot(9, 2), Some(Refusal::Held), Some(Refusal::Held)),
            (&granted, 500, 2, ballot(9, 2), None, None),
            (&granted, 500, 2, ballot(4, 2), Some(Refusal::Promised), Some(Refusal::Promised)),
        ];
        for (i, (voter, ms, from, b, prepare, propose)) in cells.into_iter().enumerate() {
            assert_eq!(why(voter.clone().prepare(at(ms), node(from), b)), prepare, "prepare, cell {i}");
            assert_eq!(why(voter.clone().propose(at(ms), node(from), b, T)), propose, "propose, cell {i}");
        }
    }

    #[test]
    fn a_release_makes_late_proposals_void() {
        let mut a = Acceptor::default();
        assert_eq!(a.propose(at(0), node(1), ballot(5, 1), T), Answer::Yes);
        assert!(!a.release(node(2), ballot(9, 2)), "only the owner releases");
        assert!(a.release(node(1), ballot(5, 1)));
        assert_eq!(why(a.propose(at(1), node(1), ballot(5, 1), T)), Some(Refusal::Promised));
        assert_eq!(a.prepare(at(1), node(2), ballot(6, 2)), Answer::Yes);
    }

    #[test]
    fn a_shorter_renewal_does_not_cut_a_grant() {
        let mut a = Acceptor::default();
        a.propose(at(0), node(1), ballot(1, 1), T);
        a.propose(at(10), node(1), ballot(1, 1), Duration::from_millis(50));
        assert_eq!(a.grant(at(0)).map(|g| g.ends), Some(at(500)));
    }
}
