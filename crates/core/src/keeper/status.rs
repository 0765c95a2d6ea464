//! A snapshot of the keeper for people and programs (`baton status`, metrics, readiness).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::note::Reason;
use crate::lease::LeaseName;
use crate::time::Time;

/// What the keeper knows at one instant.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// This node's name.
    pub node: String,
    /// This node's address on the peers' network.
    pub local: Option<SocketAddr>,
    /// Never holds.
    pub witness: bool,
    /// Votes: its quiet time is over.
    pub voting: bool,
    /// Until when it is quiet, when it is.
    pub quiet_until: Option<Time>,
    /// Voting and in contact with a majority: what rolling restarts wait for.
    pub ready: bool,
    /// Handing over and leaving.
    pub stopping: bool,
    /// Number of voters.
    pub voters: usize,
    /// The duration of a grant now (the smallest of all voters' settings).
    pub lease: Duration,
    /// One entry per address.
    pub vips: Vec<VipStatus>,
    /// One entry per other voter.
    pub peers: Vec<PeerStatus>,
    /// One entry per Lease.
    pub leases: Vec<LeaseStatus>,
    /// The last ten transitions, oldest first.
    pub transitions: Vec<Transition>,
    /// Datagrams dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Latest and largest lag of a renewal behind its deadline.
    pub renewal_lag: Duration,
    /// Largest lag so far.
    pub renewal_lag_max: Duration,
    /// How often a Lease or an address that hangs on one was looked at: what events cost.
    pub steps: u64,
}

/// An address.
#[derive(Clone, Debug)]
pub struct VipStatus {
    /// The address.
    pub address: IpAddr,
    /// Its interface.
    pub interface: String,
    /// The Lease that decides about it; `None`: the peers.
    pub lease: Option<LeaseName>,
    /// What this node is for it.
    pub role: Role,
    /// Who holds it as far as this node knows: its own or a peer's address on the peers' network.
    pub holder: Option<SocketAddr>,
    /// When this node's hold (or the grant to the holder) ends unless renewed.
    pub until: Option<Time>,
    /// Which promise applies while it is held here.
    pub guarantee: Guarantee,
    /// Health of what is behind it, as the planner said.
    pub healthy: bool,
    /// A stranger that answers for it.
    pub stranger: Option<super::event::Mac>,
    /// How often this node gained it.
    pub gains: u64,
    /// How often this node lost it.
    pub losses: u64,
}

/// A Kubernetes Lease.
#[derive(Clone, Debug)]
pub struct LeaseStatus {
    /// Which one.
    pub name: LeaseName,
    /// This node campaigns for it, or holds it.
    pub campaigns: bool,
    /// `holderIdentity` as seen last; empty: nobody.
    pub holder: String,
    /// Until when this node holds it, unless renewed.
    pub until: Option<Time>,
    /// Until when another holder's record keeps this node from taking it, unless renewed.
    pub taken_until: Option<Time>,
    /// What the API server said when it last failed.
    pub trouble: Option<String>,
    /// Addresses that hang on it.
    pub addresses: usize,
}

/// What a node is for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds it.
    Holder,
    /// Would take it.
    Standby,
    /// Handed it over and drains.
    Draining,
    /// Never takes it, or not now (link down, a stranger answers, stopping).
    Ineligible,
}

/// Which promise applies to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// A majority granted it and the kernel ends it.
    QuorumFenced,
    /// The API server stored the Lease, and the kernel ends it.
    LeaseFenced,
    /// The API server stored the Lease; without nftables only this process ends it.
    LeaseUnfenced,
    /// A majority granted it; `fence: off`, so only this process ends it.
    QuorumUnfenced,
    /// `startAsLeader` before any majority was seen: nobody else was asked.
    Alone,
    /// The only voter (`singleNode`): nobody else is to be asked.
    SingleNode,
}

/// Another voter.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its name.
    pub id: String,
    /// Its address.
    pub address: SocketAddr,
    /// When a valid message of its present incarnation came last.
    pub last_heard: Option<Time>,
    /// Heard recently.
    pub reachable: bool,
    /// Round trip of the last answered message.
    pub round_trip: Option<Duration>,
    /// It has the same list of voters.
    pub same_voters: bool,
    /// It votes.
    pub voting: bool,
    /// It never holds.
    pub witness: bool,
}

/// A change of who holds an address, as this node saw it.
#[derive(Clone, Debug)]
pub struct Transition {
    /// When.
    pub at: Time,
    /// The address.
    pub vip: IpAddr,
    /// Gained (true) or lost.
    pub gained: bool,
    /// Why.
    pub reason: Reason,
    /// Gain: how long it took. Loss: how long it was held.
    pub duration: Duration,
}
