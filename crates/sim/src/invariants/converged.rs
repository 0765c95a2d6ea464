//! Once the faults are over and the time to recover has passed, exactly one node answers, without a break.
//!
//! A graceful hand-over (a node with a higher rank came back) leaves the address unanswered for one way of a message:
//! gaps up to [`HAND_OVER`] are no breaks.

use std::net::IpAddr;
use std::time::Duration;

use super::{Answering, Phase};
use crate::clock::Moment;

/// The rule.
pub const RULE: &str = "exactly one answers after recovery";
/// Longest gap of a graceful hand-over.
pub const HAND_OVER: Duration = Duration::ZERO;

/// When each address stops being answered as far as known.
#[derive(Clone, Debug)]
pub struct Converged {
    until: Vec<Option<Moment>>,
}

impl Converged {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(vips: usize) -> Converged {
        Converged { until: vec![None; vips] }
    }

    /// What is wrong, if something is.
    pub fn look(&mut self, phase: Phase, index: usize, at: Moment, vip: IpAddr, who: &[Answering]) -> Option<String> {
        let before = std::mem::replace(&mut self.until[index], who.iter().map(|one| one.until).max());
        if phase != Phase::Steady {
            return None;
        }
        if who.len() != 1 {
            return Some(format!("{vip}: {} answer", who.len()));
        }
        match before {
            Some(until) if until + HAND_OVER < at => Some(format!("{vip}: nobody answered since {until:?}")),
            _ => None,
        }
    }
}
