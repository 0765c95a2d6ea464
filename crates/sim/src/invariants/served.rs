//! Addresses are served at least a stated share of the time, so that "never answers" does not pass.

use std::time::Duration;

use super::{Answering, Phase};
use crate::clock::Moment;

/// How long addresses were looked at, and how long somebody answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Time looked at.
    pub of: Duration,
    /// Time in which somebody answered.
    pub answered: Duration,
    /// The longest time in which nobody did.
    pub longest_gap: Duration,
}

impl Share {
    /// Between 0 and 1.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.of.is_zero() { 1.0 } else { self.answered.as_secs_f64() / self.of.as_secs_f64() }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Share) -> Share {
        Share {
            of: self.of + other.of,
            answered: self.answered + other.answered,
            longest_gap: self.longest_gap.max(other.longest_gap),
        }
    }
}

/// Shares of each part of a run.
#[derive(Clone, Debug)]
pub struct Served {
    last: Vec<(Moment, Option<Moment>)>,
    gap: Vec<Duration>,
    shares: [Share; 5],
}

impl Served {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(vips: usize) -> Served {
        Served { last: vec![(Moment(0), None); vips], gap: vec![Duration::ZERO; vips], shares: [Share::default(); 5] }
    }

    /// The share of one part of the run.
    #[must_use]
    pub fn share(&self, phase: Phase) -> Share {
        self.shares[phase as usize]
    }

    /// The time since the last look counts as answered while the answer seen then lasted.
    pub fn look(&mut self, phase: Phase, index: usize, at: Moment, who: &[Answering]) {
        let (last, until) = self.last[index];
        let answered = until.map_or(Duration::ZERO, |until| until.min(at).since(last));
        let silent = at.since(last).saturating_sub(answered);
        let share = &mut self.shares[phase as usize];
        share.of += at.since(last);
        share.answered += answered;
        if answered > Duration::ZERO {
            self.gap[index] = Duration::ZERO;
        }
        self.gap[index] += silent;
        share.longest_gap = share.longest_gap.max(self.gap[index]);
        self.last[index] = (at, who.iter().map(|one| one.until).max());
    }
}
