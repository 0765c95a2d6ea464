//! Another program's candidate, after client-go's `tools/leaderelection`: it polls, trusts its process to stop in time, and
//! knows no fence. When it is late it releases what its own memory says is its own, whoever has it by now.

use std::time::Duration;

use baton_core::Time;
use baton_core::lease::{LeaseName, LeaseOp, LeaseRecord, LeaseReply};

use super::store::Store;
use crate::clock::{Clock, Moment};

/// A candidate.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// Its `holderIdentity`.
    pub identity: String,
    /// Its clock.
    pub clock: Clock,
    name: LeaseName,
    duration: Duration,
    observed: Option<(LeaseRecord, Time)>,
    /// It leads until then, unless it renews.
    deadline: Option<Time>,
}

impl Follower {
    /// One that has just started.
    #[must_use]
    pub(super) fn new(identity: String, clock: Clock, name: LeaseName, duration: Duration) -> Follower {
        Follower { identity, clock, name, duration, observed: None, deadline: None }
    }

    /// client-go's `RetryPeriod`.
    #[must_use]
    pub(super) fn retry(&self) -> Duration {
        self.duration.mul_f64(0.12)
    }

    /// It acts as the leader.
    #[must_use]
    pub(super) fn leads(&self, at: Moment) -> bool {
        self.deadline.is_some_and(|deadline| self.clock.at(at) < deadline)
    }

    /// The process is gone, and with it what it knew.
    pub(super) fn forget(&mut self) {
        self.observed = None;
        self.deadline = None;
    }

    /// `tryAcquireOrRenew`, at the store. True when it was written; [`Follower::succeeded`] is to follow when it knows.
    pub(super) fn attempt(&mut self, at: Moment, store: &mut Store) -> bool {
        let now = self.clock.at(at);
        let seconds = i32::try_from(self.duration.as_secs()).unwrap_or(1);
        let holder = self.identity.clone();
        let mut record = LeaseRecord { holder, duration_seconds: seconds, ..LeaseRecord::default() };
        let Some((old, version)) = store.state(&self.name) else {
            return store.perform(&self.name, LeaseOp::Create(record), now.0).1;
        };
        if self.observed.as_ref().is_none_or(|(known, _)| *known != old) {
            self.observed = Some((old.clone(), now));
        }
        let since = self.observed.as_ref().map_or(now, |(_, since)| *since);
        let ends = since + Duration::from_secs(u64::try_from(old.duration_seconds).unwrap_or(0));
        let own = old.holder == self.identity;
        if !old.holder.is_empty() && !own && now < ends {
            return false;
        }
        record.transitions = if own { old.transitions } else { old.transitions + 1 };
        if own {
            record.acquire_time.clone_from(&old.acquire_time);
        }
        let written = store.perform(&self.name, LeaseOp::Replace { record, version }, now.0);
        if let (LeaseReply::Stored { record, .. }, true) = &written {
            self.observed = Some((record.clone(), now));
        }
        written.1
    }

    /// The answer to an attempt that succeeded has come. It goes on for client-go's `RenewDeadline` and one `RetryPeriod`.
    pub(super) fn succeeded(&mut self, at: Moment) {
        self.deadline = Some(self.clock.at(at) + self.duration.mul_f64(0.6) + self.retry());
    }

    /// `release`: reads the newest version, and empties the record if its memory says that it leads.
    pub(super) fn release(&mut self, at: Moment, store: &mut Store) -> bool {
        self.deadline = None;
        let Some((known, _)) = self.observed.take().filter(|(known, _)| known.holder == self.identity) else {
            return false;
        };
        let Some((_, version)) = store.state(&self.name) else { return false };
        let record = LeaseRecord { duration_seconds: 1, transitions: known.transitions, ..LeaseRecord::default() };
        store.perform(&self.name, LeaseOp::Replace { record, version }, self.clock.at(at).0).1
    }
}
