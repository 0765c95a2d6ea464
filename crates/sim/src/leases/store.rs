//! The API server as far as Leases go: records with versions, compare-and-swap, and what watches are to be told.

use std::collections::BTreeMap;

use baton_core::lease::{LeaseName, LeaseOp, LeaseRecord, LeaseReply};

/// All Leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    records: BTreeMap<LeaseName, (LeaseRecord, u64)>,
    version: u64,
}

impl Store {
    /// A Lease as watches and lists show it.
    #[must_use]
    pub(super) fn state(&self, name: &LeaseName) -> Option<(LeaseRecord, String)> {
        self.records.get(name).map(|(record, version)| (record.clone(), version.to_string()))
    }

    /// Performs a request that arrives at `stamp` (what the sender's wall clock showed). True when something was written.
    pub(super) fn perform(&mut self, name: &LeaseName, op: LeaseOp, stamp: u64) -> (LeaseReply, bool) {
        let known = self.records.get(name).map(|(_, version)| version.to_string());
        let reply = match (op, known) {
            (LeaseOp::Get | LeaseOp::Replace { .. }, None) => LeaseReply::Absent,
            (LeaseOp::Get, Some(_)) => match self.state(name) {
                Some((record, version)) => LeaseReply::Stored { record, version },
                None => LeaseReply::Absent,
            },
            (LeaseOp::Create(_), Some(_)) => LeaseReply::Exists,
            (LeaseOp::Create(record), None) => return (self.write(name, record, stamp), true),
            (LeaseOp::Replace { record, version }, Some(known)) if known == version => {
                return (self.write(name, record, stamp), true);
            }
            (LeaseOp::Replace { .. }, Some(_)) => LeaseReply::Conflict,
        };
        (reply, false)
    }

    /// Writes a record whatever was there.
    pub(super) fn write(&mut self, name: &LeaseName, mut record: LeaseRecord, stamp: u64) -> LeaseReply {
        self.version += 1;
        if record.acquire_time.is_empty() {
            record.acquire_time = format!("{stamp}/{}", self.version);
        }
        record.renew_time = stamp.to_string();
        // An annotation that the writer says nothing about stays.
        record.author = record.author.or_else(|| self.records.get(name).and_then(|(known, _)| known.author.clone()));
        self.records.insert(name.clone(), (record.clone(), self.version));
        LeaseReply::Stored { record, version: self.version.to_string() }
    }

    /// Somebody deletes one. True when there was one.
    pub(super) fn remove(&mut self, name: &LeaseName) -> bool {
        self.version += 1;
        self.records.remove(name).is_some()
    }

    /// Somebody changes something that is no business of the election (a label): the version moves, the record stays.
    pub(super) fn touch(&mut self, name: &LeaseName) -> bool {
        self.version += 1;
        let version = self.version;
        self.records.get_mut(name).map(|entry| entry.1 = version).is_some()
    }
}
