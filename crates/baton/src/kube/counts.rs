//! How many requests were sent, by verb: for the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a request asks for, in the API server's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// One object.
    Get,
    /// A page of many.
    List,
    /// A stream of changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
}

impl Verb {
    /// All, in the order of their counters.
    pub const ALL: [Verb; 6] = [Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Update, Verb::Patch];

    /// As the API server's own metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
        }
    }
}

/// Counters that all clients of an [`super::Access`] share.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; Verb::ALL.len()]);

impl Counts {
    pub(super) fn add(&self, verb: Verb) {
        self.0[verb as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> Vec<(Verb, u64)> {
        Verb::ALL.iter().map(|verb| (*verb, self.0[*verb as usize].load(Relaxed))).collect()
    }
}
