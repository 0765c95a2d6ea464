//! A Kubernetes Lease (`coordination.k8s.io/v1`) as election sees it: names, settings, records, requests and replies.
//!
//! Times in a record are opaque: they are kept and shown, never compared with a clock. Knows no API client.

use std::fmt;
use std::time::Duration;

/// Which Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How this node campaigns for a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Which one.
    pub name: LeaseName,
    /// `holderIdentity`: this node's name. A record that carries it is this node's own, also after a restart.
    pub identity: String,
    /// `leaseDurationSeconds`, in whole seconds; at least one.
    pub duration: Duration,
    /// client-go's deadline of a renewal. What ends a hold here is the kernel's gate; whoever sends requests gives each of
    /// them a fraction of this time.
    pub renew_deadline: Duration,
    /// Time between tries that fail.
    pub retry: Duration,
    /// An IPv4 address stays on its interface, unanswered, when the Lease is lost, until another holder is seen.
    pub preserve: bool,
}

/// `spec` of a Lease. What is absent there is empty or 0 here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// `holderIdentity`; empty when it was released.
    pub holder: String,
    /// `leaseDurationSeconds`.
    pub duration_seconds: i32,
    /// `leaseTransitions`.
    pub transitions: i32,
    /// `acquireTime`. Empty in a request: whoever sends it writes the present time.
    pub acquire_time: String,
    /// `renewTime`. In a request whoever sends it writes the present time.
    pub renew_time: String,
    /// The holder that the last record by a Baton named (an annotation, which other programs leave as it is); empty when
    /// that one was released in good order, `None` when no Baton ever wrote this Lease. A holder that another program
    /// erases without having been it, as client-go does when its release comes late, is recognised by it.
    pub author: Option<String>,
}

/// A request about one Lease. There is one under way at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOp {
    /// Read it.
    Get,
    /// Make it.
    Create(LeaseRecord),
    /// Replace what has this `resourceVersion`, and nothing else.
    Replace {
        /// The new record.
        record: LeaseRecord,
        /// The version that it replaces.
        version: String,
    },
}

/// A request on its way to whoever sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Which Lease.
    pub name: LeaseName,
    /// Its number, to be repeated in the answer.
    pub request: u64,
    /// What to ask.
    pub op: LeaseOp,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseReply {
    /// The record as the store has it now.
    Stored {
        /// The record.
        record: LeaseRecord,
        /// Its `resourceVersion`.
        version: String,
    },
    /// There is none (404).
    Absent,
    /// It has another version (409): somebody else wrote.
    Conflict,
    /// It cannot be made, for there is one (409 `AlreadyExists`).
    Exists,
    /// The server said no: nothing was changed.
    Refused(String),
    /// No answer, or too late: it may have been performed.
    Unknown(String),
}
