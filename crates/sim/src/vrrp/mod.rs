//! Simulated VRRP groups: Baton's virtual routers as they ship, and a model of keepalived as a neighbour.
//!
//! What VRRP with gates promises, and what a run is judged by:
//!
//! - Two nodes of Baton never both answer, unless an advert from one of them to the other was lost within a master-down
//!   interval (a partition has two masters: that is VRRP's nature), or the one with the higher priority has just
//!   preempted the other one, or both took over within half an interval and the time that adverts travel: then for as
//!   long as adverts travel, or, if one of them stopped running at that very moment, until its hold ends. So after `kill -9` or SIGSTOP
//!   of a master nothing answers when a backup takes over.
//! - Once all faults are over there is one master within two master-down intervals, and clients know where it is.

mod keepalived;
mod node;
pub mod plan;
mod world;

use std::time::Duration;

pub use plan::{Fault, GroupPlan, Kind};
pub use world::run;

/// A mistake that an election by adverts invites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupMistake {
    /// Gates open without an end.
    NoEnd,
    /// No margin for clocks.
    NoMargin,
    /// A resumed process looks at its timers before it listens.
    TimersFirst,
    /// An advert that could not be sent counts as sent.
    SentAnyway,
}

impl GroupMistake {
    /// All of them.
    pub const ALL: [GroupMistake; 4] =
        [GroupMistake::NoEnd, GroupMistake::NoMargin, GroupMistake::TimersFirst, GroupMistake::SentAnyway];
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// The seed.
    pub seed: u64,
    /// The first broken invariant.
    pub violation: Option<String>,
    /// How long somebody answered while faults happened.
    pub answered: Duration,
    /// And of how long.
    pub looked: Duration,
    /// The last lines of the trace.
    pub lines: Vec<String>,
}
