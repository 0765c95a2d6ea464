//! Causes and consequences of the virtual routers: the complete list.
//!
//! As in [`crate::keeper::event`], the driver turns the world into [`Event`]s and performs [`Effect`]s in order. What an
//! effect achieved comes back as an event, handed over when all effects of the step that caused it are performed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::note::Note;
use super::settings::{Address, Name, Settings};
use crate::keeper::{GateDone, GateOp, Holding, HostAddress, Link, Mac};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline of [`super::Routers::deadline`] may have passed. Only by this a backup takes over, so that a process which
    /// stood still does not mistake its own absence for the master's silence: the driver reads the clock, hands over
    /// every packet that has come in, and ticks with that time then.
    Tick,
    /// A packet of IP protocol 112 came in.
    Advert {
        /// Where.
        interface: Name,
        /// Its source.
        source: IpAddr,
        /// Its destination.
        destination: IpAddr,
        /// Its TTL or hop limit.
        ttl: u8,
        /// What follows the IP header, unchecked.
        bytes: Vec<u8>,
    },
    /// What became of all [`Effect::Send`] of one router in one step.
    Sent {
        /// The router.
        router: Name,
        /// One of them left at least.
        ok: bool,
    },
    /// What [`Effect::Gates`] achieved, for each of its addresses.
    Gates {
        /// The router.
        router: Name,
        /// Addresses and results.
        done: Vec<(IpAddr, GateDone)>,
    },
    /// The kernel added or changed an address (by us or by others).
    AddressPut(HostAddress),
    /// The kernel removed an address (by us, by others, or because its lifetime ended).
    AddressGone {
        /// Its interface.
        interface: String,
        /// The address.
        address: IpAddr,
    },
    /// All addresses, after a lost notification.
    Addresses(Vec<HostAddress>),
    /// A link appeared or changed; one that is gone is down.
    Link(Link),
    /// A link's peers must learn our addresses again although it stayed up (a bond changed its active port).
    Rerouted {
        /// Interface name.
        interface: String,
    },
    /// Another host was heard answering or announcing one of the addresses.
    Claimed {
        /// The address.
        address: IpAddr,
        /// The other host.
        mac: Mac,
    },
    /// A tracker's state was found out.
    Checked {
        /// The tracker.
        tracker: Name,
        /// What was found.
        found: Found,
    },
    /// New settings (already checked): the difference is applied.
    Configure(Settings),
    /// Priority 0 for what is held, everything removed, then leave.
    Stop,
}

/// What was found out about a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A run of the script succeeded; the processes are there.
    Well,
    /// A run of the script failed or timed out; too few processes.
    Failed,
    /// What the file says.
    Number(i32),
}

/// Something to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a packet of protocol 112; answered by one [`Event::Sent`] for all of a router in one step.
    Send {
        /// The router.
        router: Name,
        /// Where.
        interface: Name,
        /// Source address.
        source: IpAddr,
        /// Destination: the group, or a peer.
        destination: IpAddr,
        /// TTL, or hop limit.
        ttl: u8,
        /// What follows the IP header.
        bytes: Vec<u8>,
    },
    /// Operate the gates of addresses, in as few batches as possible; answered by [`Event::Gates`].
    Gates {
        /// The router.
        router: Name,
        /// The addresses.
        addresses: Vec<Arc<Address>>,
        /// What to do.
        op: GateOp,
    },
    /// Guard these addresses, or guard them longer (elements with a timeout).
    Guard {
        /// The addresses.
        addresses: Vec<Arc<Address>>,
        /// How long they are guarded from now.
        timeout: Duration,
    },
    /// An address is kept no more and gone from the host: it needs no guard.
    Unguard {
        /// The address.
        address: Arc<Address>,
    },
    /// Add the address, or refresh its lifetime; answered by [`Event::AddressPut`].
    PutAddress {
        /// The address.
        address: Arc<Address>,
        /// `valid_lft`; `preferred_lft` is 0.
        valid: Duration,
    },
    /// Remove the address; answered by [`Event::AddressGone`].
    RemoveAddress {
        /// Interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Prefix length as the kernel has it.
        prefix: u8,
    },
    /// Announce each of the addresses so often, address after address, round after round: a gratuitous ARP request with
    /// the address as sender and target, or an unsolicited NA with the override flag.
    Announce {
        /// The addresses.
        addresses: Vec<Arc<Address>>,
        /// Rounds.
        repeat: u32,
    },
    /// Tell the balancer and the planner who may use the addresses of a router.
    Holding {
        /// The router.
        router: Name,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// Their state.
        holding: Holding,
    },
    /// Run the notify scripts and write the line to the fifos.
    Notify {
        /// Whom it is about.
        of: Subject,
        /// Its name.
        name: Name,
        /// What is said.
        what: Notice,
        /// Effective priority (0 for a group).
        priority: u8,
    },
    /// A line for the log, the history and the counters.
    Note(Note),
    /// Everything is withdrawn: the process may leave. Nothing follows.
    Stopped,
}

/// Whom a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A virtual router.
    Instance,
    /// A sync group.
    Group,
}

/// What a notification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// It is master, and its addresses are announced.
    Master,
    /// It is backup.
    Backup,
    /// It is in fault.
    Fault,
    /// The program stops, and it holds nothing.
    Stop,
    /// It is no longer configured.
    Deleted,
    /// A master heard an advert of a lower priority.
    MasterRxLowerPri,
    /// A master's priority changed.
    MasterPriority,
    /// A backup's priority changed.
    BackupPriority,
}
