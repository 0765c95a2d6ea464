//! What the virtual routers have to say to people: log lines and counters as values.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::settings::Name;
use super::status::State;
use crate::keeper::{Level, Mac};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A router's state changed.
    Entered {
        /// The router.
        router: Name,
        /// From.
        from: State,
        /// To.
        to: State,
        /// Why.
        why: Why,
    },
    /// The kernel lets this node answer: what a master needs besides adverts.
    Gained {
        /// The router.
        router: Name,
        /// Time since it became master.
        took: Duration,
    },
    /// The effective priority changed.
    Priority {
        /// The router.
        router: Name,
        /// From.
        from: u8,
        /// To.
        to: u8,
    },
    /// A packet was not counted as an advert; said once per router, source and reason.
    Rejected {
        /// The router.
        router: Name,
        /// Its source.
        source: IpAddr,
        /// Why.
        why: Reject,
    },
    /// The list of addresses differs from ours, although some are shared: accepted; said once per router and source.
    ListDiffers {
        /// The router.
        router: Name,
        /// The other node.
        source: IpAddr,
    },
    /// An advert of a lower priority was heard by a master: it was answered and the addresses were announced again.
    LowerPriority {
        /// The router.
        router: Name,
        /// The other node.
        source: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// Another node calls itself the owner (255), as this one does.
    TwoOwners {
        /// The router.
        router: Name,
        /// The other node.
        source: IpAddr,
    },
    /// An advert could not be sent.
    SendFailed {
        /// The router.
        router: Name,
    },
    /// The kernel refused to open gates.
    GateRefused {
        /// The router.
        router: Name,
    },
    /// A tracker's state changed.
    Tracked {
        /// The tracker.
        tracker: Name,
        /// Well, not failed.
        well: bool,
    },
    /// An address left behind by another program was found and removed or taken over.
    Leftover {
        /// The address.
        address: IpAddr,
        /// Where.
        interface: String,
    },
    /// An address that somebody else removed was put back.
    Healed {
        /// The address.
        address: IpAddr,
    },
    /// A host answers for an address that this node holds.
    Stranger {
        /// The address.
        address: IpAddr,
        /// The host.
        mac: Mac,
    },
    /// The configuration was changed.
    Configured,
}

/// Why a router's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The program started.
    Start,
    /// No master was heard for the master-down interval.
    MasterDown,
    /// The master gave up with priority 0.
    Released,
    /// An advert of a higher priority, or of the same one from a higher address.
    HigherPriority,
    /// A member of its sync group moved.
    SyncGroup,
    /// A watched thing failed.
    Tracker,
    /// An interface is down or not there.
    Interface,
    /// There is no source address for adverts.
    NoSource,
    /// The kernel refuses the gates.
    KernelRefused,
    /// What made it unfit is over.
    Fit,
    /// The process did not run, or could not send, for so long that a backup may have taken over.
    Starved,
    /// The configuration changed.
    Reconfigured,
    /// The program stops.
    Stopping,
}

/// Why a packet is no advert of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reject {
    /// Its length does not fit its count of addresses.
    Length,
    /// TTL or hop limit: it came through a router.
    Ttl,
    /// Another version than ours.
    Version,
    /// No advertisement.
    Type,
    /// An unknown authentication type.
    AuthType,
    /// Another authentication type than ours.
    AuthMismatch,
    /// Another password.
    AuthFailure,
    /// Another interval (version 2).
    Interval,
    /// A wrong checksum.
    Checksum,
    /// Multicast, and ours is unicast, or the other way round.
    Kind,
    /// A unicast source that is no peer.
    Source,
    /// None of its addresses is ours: another group uses this VRID on this network.
    Foreign,
}

impl Note {
    /// How much it matters.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Note::Stranger { .. } | Note::GateRefused { .. } => Level::Error,
            Note::Rejected { .. }
            | Note::ListDiffers { .. }
            | Note::LowerPriority { .. }
            | Note::TwoOwners { .. }
            | Note::SendFailed { .. }
            | Note::Leftover { .. }
            | Note::Healed { .. }
            | Note::Tracked { well: false, .. }
            | Note::Entered { to: State::Fault, .. }
            | Note::Entered { why: Why::Starved, .. } => Level::Warn,
            _ => Level::Info,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Start => "start",
            Why::MasterDown => "no master was heard",
            Why::Released => "the master gave up",
            Why::HigherPriority => "a node with a higher priority is master",
            Why::SyncGroup => "its sync group moved",
            Why::Tracker => "a tracked check failed",
            Why::Interface => "an interface is down or missing",
            Why::NoSource => "its interface has no address to send adverts from",
            Why::KernelRefused => "the kernel refuses the gates",
            Why::Fit => "nothing is wrong any more",
            Why::Starved => "no advert left for so long that another node may have taken over",
            Why::Reconfigured => "the configuration changed",
            Why::Stopping => "stopping",
        })
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reject::Length => "its length does not fit its number of addresses",
            Reject::Ttl => "its TTL is wrong: it came through a router",
            Reject::Version => "it speaks another version: compare `version` and `vrrp_version`",
            Reject::Type => "it is no advertisement",
            Reject::AuthType => "its authentication type is unknown",
            Reject::AuthMismatch => "its authentication type differs: compare `auth_type`",
            Reject::AuthFailure => "its password differs: compare `auth_pass` (8 characters count)",
            Reject::Interval => "its interval differs: compare `advert_int`",
            Reject::Checksum => "its checksum is wrong",
            Reject::Kind => "one of the two nodes uses multicast, the other one unicast: compare `unicast_peer`",
            Reject::Source => "its source is no `unicast_peer`",
            Reject::Foreign => {
                "none of its addresses is ours: another group uses this virtual_router_id on this network; choose another one"
            }
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Entered { router, from, to, why } => write!(f, "({router}) {from} → {to}: {why}"),
            Note::Gained { router, took } => {
                write!(
                    f,
                    "({router}) answers for its addresses, {:.1} ms after it became master",
                    took.as_secs_f64() * 1e3
                )
            }
            Note::Priority { router, from, to } => write!(f, "({router}) priority {from} → {to}"),
            Note::Rejected { router, source, why } => write!(f, "({router}) ignored an advert from {source}: {why}"),
            Note::ListDiffers { router, source } => write!(
                f,
                "({router}) {source} advertises another list of addresses: accepted, but keepalived before 2.3.3 \
                 ignores lists that differ; make them equal"
            ),
            Note::LowerPriority { router, source, priority } => {
                write!(f, "({router}) {source} was master too, with priority {priority}: answered and announced again")
            }
            Note::TwoOwners { router, source } => {
                write!(f, "({router}) {source} has priority 255, too: only one node may own the addresses")
            }
            Note::SendFailed { router } => write!(f, "({router}) an advert could not be sent"),
            Note::GateRefused { router } => {
                write!(f, "({router}) the kernel refused to open the gates: trying again")
            }
            Note::Tracked { tracker, well: true } => write!(f, "{tracker} succeeds"),
            Note::Tracked { tracker, well: false } => write!(f, "{tracker} fails"),
            Note::Leftover { address, interface } => {
                write!(f, "{address} was left on {interface} by another program: removed")
            }
            Note::Healed { address } => write!(f, "{address} was removed by somebody else: put back"),
            Note::Stranger { address, mac } => write!(
                f,
                "another host ({}) answers for {address}, which this node holds",
                crate::keeper::note::mac_text(mac)
            ),
            Note::Configured => f.write_str("the new configuration is in effect"),
        }
    }
}
