//! Mistakes that a lease of this kind invites, planted between the keeper and the world.
//!
//! The keeper itself stays the one that ships; each mistake changes what passes between it and the world in the way
//! in which a program with that mistake would. A simulation that does not find them proves nothing.

use std::time::Duration;

/// A planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The validity is counted from the reply, not from when the request left.
    ValidityFromReply,
    /// The remaining time is computed when the decision is made, and used after a pause.
    RemainingBeforePause,
    /// Gates open without an end.
    NoEnd,
    /// The margin for clock rates is taken on one side only.
    OneSidedMargin,
    /// A node that lost its memory votes at once.
    NoQuietPeriod,
    /// Votes count between different lists of voters.
    VotesAcrossDigests,
    /// Messages to an earlier incarnation change something.
    StaleIncarnation,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 7] = [
        Mistake::ValidityFromReply,
        Mistake::RemainingBeforePause,
        Mistake::NoEnd,
        Mistake::OneSidedMargin,
        Mistake::NoQuietPeriod,
        Mistake::VotesAcrossDigests,
        Mistake::StaleIncarnation,
    ];
}

/// Largest deviation of a clock's rate that the design allows.
const EPSILON: f64 = 0.1;

/// How long a grant of `lease` is good for at the holder: the margin is taken on both sides.
#[must_use]
pub fn validity(lease: Duration) -> Duration {
    lease.mul_f64((1.0 - EPSILON) / (1.0 + EPSILON))
}

/// The same with the margin on the holder's side only.
#[must_use]
pub fn one_sided(lease: Duration) -> Duration {
    lease.mul_f64(1.0 - EPSILON)
}
