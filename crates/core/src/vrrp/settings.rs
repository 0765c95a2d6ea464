//! What the virtual routers of one instance are asked to be: checked, complete, plain values.
//!
//! A front end makes these from `keepalived.conf`; every default is already applied. A reload is a new [`Settings`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The name of a virtual router, a sync group or a tracker.
pub type Name = Arc<str>;

/// Everything that VRRP does on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The virtual routers. Names are unique; (interface, family, VRID) is unique, or the unicast sources differ.
    pub routers: Vec<Router>,
    /// Sync groups: each router is in one at most, and a member that is no router is not listed.
    pub groups: Vec<SyncGroup>,
    /// What the routers and groups watch. Names are unique.
    pub trackers: Vec<Tracker>,
    /// Links whose changes count later. Names are unique.
    pub delays: Vec<LinkDelay>,
    /// The kernel enforces the end (nftables gates). `false` gives that guarantee up.
    pub fence: bool,
    /// How long packets are still accepted after a hand-over.
    pub drain: Duration,
    /// Addresses are removed when the program stops (`--dont-release-vrrp` unsets it; only without `fence`).
    pub release: bool,
}

/// The protocol's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds.
    V2,
    /// RFC 5798 and 9568: IPv4 and IPv6, hundredths of a second.
    V3,
}

/// A virtual router: one VRID on one interface, in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its name, unique.
    pub name: Name,
    /// Whose state counts, and whose addresses adverts come from.
    pub interface: Name,
    /// Where adverts are sent and heard: `interface`, or the link with the virtual MAC address on it.
    pub port: Name,
    /// Virtual router identifier, 1..=255.
    pub vrid: u8,
    /// IPv6, not IPv4: the family of adverts and of all of `addresses`.
    pub ipv6: bool,
    /// Version spoken; another one is not understood. IPv6 needs [`Version::V3`].
    pub version: Version,
    /// Configured priority, 1..=255; 255 is the owner, which no weight changes.
    pub priority: u8,
    /// Starts as master without waiting, which the owner alone may.
    pub start_master: bool,
    /// `Advertisement_Interval`: whole seconds in version 2, whole hundredths up to 40.95 s in version 3.
    pub interval: Duration,
    /// So many intervals without an advert make a master dead (3).
    pub down_adverts: u8,
    /// When a backup takes over from a master of lower priority.
    pub preempt: Preempt,
    /// Version 2: the password in each advert, NUL padded; `None`: no authentication.
    pub password: Option<[u8; 8]>,
    /// Version 3 on IPv4: the checksum without pseudo header (RFC 9568) is sent. All forms are accepted.
    pub plain_checksum: bool,
    /// The source address of adverts; `None`: the first one of the interface (link-local for IPv6).
    pub source: Option<IpAddr>,
    /// That address must be on `interface`.
    pub track_source: bool,
    /// TTL (hop limit) of the adverts; 255 for multicast.
    pub ttl: u8,
    /// The multicast group, for routers without `peers`.
    pub group: IpAddr,
    /// Unicast peers; empty: multicast.
    pub peers: Vec<Peer>,
    /// Unicast adverts count only when they come from one of `peers`.
    pub check_source: bool,
    /// The addresses in the adverts, in the order of the file.
    pub addresses: Vec<Address>,
    /// Addresses that go with them but are not in the adverts, of either family.
    pub excluded: Vec<Address>,
    /// Packets to the addresses are accepted. `false`: they are for routing only.
    pub accept: bool,
    /// Adverts of a lower priority are answered with an advert at once.
    pub answer_lower: bool,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    pub garp: Garp,
    /// What changes the priority or ends eligibility.
    pub watches: Vec<Watch>,
    /// `interface` itself need not be up (`dont_track_primary`).
    pub ignore_interface: bool,
    /// An advert carries the priority when it changes: a notification is asked for as well.
    pub notify_priority: bool,
}

/// When a backup takes over from a master of lower priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// When the master was not heard with a priority as high as its own for the master-down interval.
    Yes,
    /// Never: only from a dead one.
    No,
    /// The same as `Yes`, but so long after it first heard of it.
    After(Duration),
}

/// A unicast peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its adverts must arrive with a TTL (hop limit) in this range, both ends included; `None`: any.
    pub ttl: Option<(u8, u8)>,
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address itself.
    pub address: IpAddr,
    /// Prefix length that it is added with.
    pub prefix: u8,
    /// Where it goes.
    pub interface: Name,
    /// `label`.
    pub label: Option<Name>,
    /// `brd`.
    pub broadcast: Option<IpAddr>,
    /// `scope`, as the kernel's number (0: global).
    pub scope: u8,
}

/// How often and when addresses are announced: gratuitous ARP requests, unsolicited neighbour advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garp {
    /// So many for each address on becoming master (`garp_master_repeat`, 5).
    pub repeat: u32,
    /// The same again so long after (`garp_master_delay`, 5 s); zero: not again.
    pub delay: Duration,
    /// Repeated so often while master (`garp_master_refresh`); `None`: not.
    pub refresh: Option<Duration>,
    /// So many then (`garp_master_refresh_repeat`, 1).
    pub refresh_repeat: u32,
    /// So many when a lower priority was heard (`garp_lower_prio_repeat`); at least one is sent.
    pub lower_repeat: u32,
    /// The same again so long after (`garp_lower_prio_delay`); zero: not again.
    pub lower_delay: Duration,
    /// One address of each other link than `Router::port` is announced so often while master (`garp_extra_if`): no adverts
    /// leave there from which switches could learn.
    pub extra: Option<Duration>,
    /// Between two gratuitous ARP messages on one interface (`garp_interval`).
    pub arp_gap: Duration,
    /// Between two unsolicited neighbour advertisements on one interface (`gna_interval`).
    pub na_gap: Duration,
}

/// A link whose changes count later (`interface_up_down_delays`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDelay {
    /// Its name.
    pub interface: Name,
    /// It is down for so long before that counts.
    pub down: Duration,
    /// It is up for so long before that counts.
    pub up: Duration,
}

/// One watched thing and what it is worth to who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The tracker.
    pub tracker: Name,
    /// 0: a failure is a fault. Above 0: added while it is well. Below 0: added while it fails. Of a file: its number
    /// times this is added.
    pub weight: i32,
    /// Success and failure change places; of a file: the sign does.
    pub reverse: bool,
}

/// Something whose state is found out outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: TrackerKind,
}

/// Kinds of trackers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerKind {
    /// A script or a check in its place: each run is reported.
    Script {
        /// Successes in a row that make it well.
        rise: u32,
        /// Failures in a row that make it fail.
        fall: u32,
        /// It has failed until it succeeds.
        init_fail: bool,
    },
    /// An interface: its link events count.
    Interface {
        /// Its name.
        interface: Name,
    },
    /// Processes: whether the quorum is there is reported.
    Process,
    /// A file with a number in it, which is reported.
    File,
}

/// Routers that move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// Its name, unique among groups.
    pub name: Name,
    /// Names of its routers.
    pub members: Vec<Name>,
    /// What all members watch.
    pub watches: Vec<Watch>,
    /// The members' own weights count (`sync_group_tracking_weight`); else faults alone do.
    pub tracking_weight: bool,
}

impl Router {
    /// All addresses that it keeps.
    pub fn all_addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter().chain(&self.excluded)
    }
}
