//! Simulated clusters whose addresses hang on Kubernetes Leases: the same keeper and kernel as for peers, and a store with
//! compare-and-swap between them, lost answers, stale watches, outages, and candidates of other programs.

mod follower;
pub mod plan;
mod run;
mod store;
mod world;

use std::time::Duration;

pub use plan::LeasePlan;
pub use run::{run, run_faults};

/// A mistake that an election by Leases invites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseMistake {
    /// The hold is counted from the reply, not from when the request left.
    UntilFromReply,
    /// A release arrives after the hold's end and replaces whatever is there.
    LateRelease,
    /// The age of a record is judged by the wall clock.
    WallClock,
    /// An address is guarded for a fixed time, however long its Lease lets it stay.
    ShortGuard,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct LeaseReport {
    /// The seed.
    pub seed: u64,
    /// The first broken invariant.
    pub violation: Option<String>,
    /// Hash of everything that happened.
    pub hash: u64,
    /// How long addresses were answered for while faults happened.
    pub answered: Duration,
    /// And of how long.
    pub looked: Duration,
    /// The last lines of the trace, when asked for.
    pub lines: Vec<String>,
}
