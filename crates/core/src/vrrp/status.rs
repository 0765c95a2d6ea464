//! What is the case, for people, dumps and metrics.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::settings::Name;
use crate::time::Time;

/// States of a virtual router (RFC 9568 section 6.4, and FAULT after keepalived).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not started yet.
    Init,
    /// Watches the master.
    Backup,
    /// Sends adverts; answers while its gates are open.
    Master,
    /// Not fit: takes no part.
    Fault,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Init => "INIT",
            State::Backup => "BACKUP",
            State::Master => "MASTER",
            State::Fault => "FAULT",
        })
    }
}

/// What happened so often since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Adverts received.
    pub received: u64,
    /// Adverts sent.
    pub sent: u64,
    /// Became master.
    pub became_master: u64,
    /// Ceased to be master.
    pub released_master: u64,
    /// Wrong length.
    pub length: u64,
    /// Wrong TTL.
    pub ttl: u64,
    /// No advertisement.
    pub kind: u64,
    /// Another version.
    pub version: u64,
    /// Another interval.
    pub interval: u64,
    /// A list of addresses that differs; rejected only when nothing is shared.
    pub address_list: u64,
    /// Wrong checksum.
    pub checksum: u64,
    /// Unknown authentication type.
    pub auth_type: u64,
    /// Another authentication type.
    pub auth_mismatch: u64,
    /// Another password.
    pub auth_failure: u64,
    /// Multicast where unicast is spoken, or an unknown source.
    pub source: u64,
    /// Priority 0 received.
    pub zero_received: u64,
    /// Priority 0 sent.
    pub zero_sent: u64,
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterStatus {
    /// Its name.
    pub name: Name,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// Effective priority.
    pub priority: u8,
    /// Source of its adverts; `None`: there is none.
    pub source: Option<IpAddr>,
    /// The master as last heard, with its priority; `None`: this node, or none was heard.
    pub master: Option<(IpAddr, u8)>,
    /// The interval that counts for the master-down timer.
    pub master_interval: Duration,
    /// The master-down interval now.
    pub master_down: Duration,
    /// When the kernel ends what is held, unless renewed; `None`: nothing is held.
    pub until: Option<Time>,
    /// Addresses that the kernel has.
    pub present: Vec<IpAddr>,
    /// Counters.
    pub counters: Counters,
}

/// One sync group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its name.
    pub name: Name,
    /// Its state.
    pub state: State,
}

/// One tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Its name.
    pub name: Name,
    /// `None`: not known yet.
    pub well: Option<bool>,
    /// What a file says.
    pub number: i32,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The routers, by name.
    pub routers: Vec<RouterStatus>,
    /// The groups, by name.
    pub groups: Vec<GroupStatus>,
    /// The trackers, by name.
    pub trackers: Vec<TrackerStatus>,
}
