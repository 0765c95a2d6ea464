//! Causes and consequences of the keeper: the complete list of what may happen to it and of what it asks for.
//!
//! Drivers (the binary's keeper thread, the simulation) turn the world into [`Event`]s and perform [`Effect`]s in
//! order. Nothing is assumed to have worked: what an effect achieved comes back as an event, handed over when all
//! effects of the step that caused it are performed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::note::Note;
use crate::lease::{LeaseName, LeaseOp, LeaseRecord, LeaseReply, LeaseSettings};
use crate::settings::{Ownership, Vip};
use crate::time::Time;

/// A link-layer address.
pub type Mac = [u8; 6];

/// What outlives the process (nft table of markers, state directory) and the host facts read at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The longest lease that any configuration of this node allowed; `None`: unknown, so the protocol's bound.
    pub longest_lease: Option<Duration>,
    /// A majority was seen once: `startAsLeader` has no effect any more.
    pub majority_seen: bool,
    /// Addresses whose `answer` or `accept` gate a predecessor left open, with the time it has left.
    pub open_gates: Vec<(IpAddr, Duration)>,
    /// The longest time for which an address is still guarded: a predecessor put it for no longer than that.
    pub guarded: Duration,
    /// All addresses of the host.
    pub addresses: Vec<HostAddress>,
    /// All links of the host.
    pub links: Vec<Link>,
}

/// An address as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// Its interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Carries Baton's mark (`IFA_PROTO`).
    pub mine: bool,
    /// Without a lifetime (`IFA_F_PERMANENT`).
    pub permanent: bool,
    /// `IFA_F_SECONDARY`.
    pub secondary: bool,
}

/// A link as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface name.
    pub name: String,
    /// Up, with carrier.
    pub up: bool,
    /// Its link-layer address, when it has one.
    pub mac: Option<Mac>,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline of [`super::Keeper::deadline`] may have passed.
    Tick,
    /// A datagram came in on the peers' port.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its payload, unchecked.
        bytes: Vec<u8>,
    },
    /// What [`Effect::Gate`] achieved.
    Gate {
        /// The address.
        vip: IpAddr,
        /// The result.
        done: GateDone,
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
    /// A link appeared or changed.
    Link(Link),
    /// A link's peers must learn our addresses again although it stayed up (a bond changed its active port).
    Rerouted {
        /// Interface name.
        interface: String,
    },
    /// Another host was heard answering or announcing one of our VIPs on its link.
    Claimed {
        /// The address.
        vip: IpAddr,
        /// The other host.
        mac: Mac,
    },
    /// The planner's view of the listeners and backends behind an address (with hysteresis already applied).
    Health {
        /// The address.
        vip: IpAddr,
        /// Every listener is there and has a backend that passes this node's own checks.
        healthy: bool,
    },
    /// What [`Effect::Gates`] achieved, for each of its addresses.
    Gates {
        /// Addresses and results.
        done: Vec<(IpAddr, GateDone)>,
    },
    /// New settings (already checked). Addresses that hang on Leases are not among them: they come and go one by one.
    Configure(Ownership),
    /// An address is to be kept from now on, or kept otherwise than before.
    Put(Vip),
    /// An address is not to be kept any more: it is given up, drained and removed.
    Withdraw(IpAddr),
    /// Campaign for a Lease from now on, or with other settings than before.
    Campaign(LeaseSettings),
    /// Give a Lease up in good order, and campaign for it no more.
    Resign(LeaseName),
    /// This node is not fit to hold a Lease, or is again (the API server next to it is down while another one answers,
    /// say): while it is not, it gives it up in good order and does not campaign.
    Yield {
        /// The Lease.
        lease: LeaseName,
        /// Not fit.
        ill: bool,
    },
    /// A watch or a list showed a Lease.
    LeaseSeen {
        /// Which one.
        name: LeaseName,
        /// Its record and `resourceVersion`; `None`: there is none.
        state: Option<(LeaseRecord, String)>,
    },
    /// What came of [`Effect::Lease`].
    LeaseReplied {
        /// Which Lease.
        name: LeaseName,
        /// The number of the request.
        request: u64,
        /// The reply.
        reply: LeaseReply,
    },
    /// Hand over what is held, then leave.
    Stop,
}

/// What a gate operation achieved, as far as the kernel and the clock (read again after the call) say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateDone {
    /// Both gates are open until then.
    Open {
        /// The end.
        end: Time,
    },
    /// `answer` is shut; `accept` ends as asked.
    AnswerShut,
    /// Both are shut.
    Shut,
    /// A renewal came too late: the element had run out, or the clock was past the end after the call. Both are shut.
    Lost,
    /// The kernel refused for another reason (the table is gone, say); the state of the gates is shut or unknown.
    Failed,
}

/// What to do with the two gates of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateOp {
    /// Gain: add elements of two ticks, then renew both to `end`.
    Open {
        /// Absolute end, carried to the system call.
        end: Time,
    },
    /// Renew both: one batch `delete` + `add`, which fails as a whole on an element that has run out.
    Renew {
        /// Absolute end.
        end: Time,
    },
    /// Shut `answer` now, let `accept` stay until `accept_end`.
    Drain {
        /// Absolute end of `accept`.
        accept_end: Time,
    },
    /// Shut `answer` now, if it has not ended, and open `accept` until `accept_end`, whether or not it has ended.
    Keep {
        /// Absolute end of `accept`.
        accept_end: Time,
    },
    /// Shut both now.
    Shut,
}

/// Who may see packets of an address, as the balancer must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Held: the address is here.
    Held,
    /// Handed over; connections may go on for the drain time.
    Draining,
    /// Gone: connections on it are reset.
    Gone,
}

/// A marker that outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The longest lease that was allowed here.
    LongestLease(Duration),
    /// A majority was seen.
    MajoritySeen,
}

/// Something to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a datagram from the peers' port.
    Send {
        /// Destination.
        to: SocketAddr,
        /// Payload.
        bytes: Vec<u8>,
    },
    /// Operate the gates of an address; answered by [`Event::Gate`].
    Gate {
        /// The address and its interface.
        vip: Vip,
        /// What to do.
        op: GateOp,
    },
    /// Operate the gates of several addresses, in as few batches as possible; answered by [`Event::Gates`].
    Gates {
        /// The addresses and their interfaces.
        vips: Vec<Vip>,
        /// What to do.
        op: GateOp,
    },
    /// Guard these addresses, or guard them longer (elements with a timeout).
    Guard {
        /// The addresses.
        vips: Vec<Vip>,
        /// How long they are guarded from now.
        timeout: Duration,
    },
    /// An address is kept no more and gone from the host: it needs no guard.
    Unguard {
        /// The address.
        vip: Vip,
    },
    /// Add the address, or refresh its lifetime; answered by [`Event::AddressPut`].
    PutAddress {
        /// Address, prefix, interface.
        vip: Vip,
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
    /// Send one round of gratuitous ARP (request and reply) or an unsolicited NA.
    Announce {
        /// The address.
        vip: Vip,
    },
    /// Send one ARP probe or neighbour solicitation for the address.
    Probe {
        /// The address.
        vip: Vip,
    },
    /// Tell the balancer and the planner who may use the address.
    Holding {
        /// The address.
        vip: IpAddr,
        /// Its state.
        holding: Holding,
    },
    /// Send a request about a Lease; answered by [`Event::LeaseReplied`]. The first one about a Lease is always
    /// [`LeaseOp::Get`]: from then on it is to be watched.
    Lease {
        /// Which one.
        name: LeaseName,
        /// Its number, to be repeated in the answer.
        request: u64,
        /// What to ask.
        op: LeaseOp,
    },
    /// Nothing is asked about a Lease any more: it need not be watched.
    Forget {
        /// Which one.
        name: LeaseName,
    },
    /// Who holds a Lease has changed, as far as this node knows.
    Leading {
        /// Which one.
        name: LeaseName,
        /// Until when this node may act on it, unless renewed; `None`: it may not.
        until: Option<Time>,
        /// `holderIdentity`; empty: nobody.
        holder: String,
    },
    /// Write a marker, soon: nothing waits for it. The driver writes [`Marker::LongestLease`] on its own account, too,
    /// before it makes a keeper (the longer of the old marker and the settings; the protocol's bound when there was
    /// none) and before it hands over [`Event::Configure`] (the longer of the two); when the keeper asks for it, it is
    /// set to what the keeper says, shorter or not.
    Remember(Marker),
    /// A line for the log, the history and the counters.
    Note(Note),
    /// Everything is withdrawn: the process may leave. Nothing follows.
    Stopped,
}
