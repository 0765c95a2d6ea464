//! Services: from Service, EndpointSlices and host to the addresses that this node is to announce, and by which Lease.
//!
//! [`Services::handle`] takes one change and says what it touched: addresses to put or withdraw
//! ([`Services::wanted`]), Leases to campaign for ([`Services::campaigns`]), Services whose [`Plan`] may be another
//! ([`Services::plan`]), and what is worth an Event. One changed endpoint costs one Service.
//!
//! An address that several Services share is governed by exactly one Lease: that of the Service that was created
//! first (then by namespace and name). Nodes learn of a change at different times, so an address whose Lease changes
//! stays with the former Lease's holder, or waits until that Lease is free or must have run out.
//!
//! It decides; it neither holds addresses nor talks to the API: who holds what is the keeper's.

mod ask;
mod backing;
mod explain;
mod govern;
mod happening;
mod labels;
mod object;
mod options;
mod place;
mod plan;
mod state;
#[cfg(test)]
mod tests;

pub use ask::{ADDRESSES_MAX, Refusal, Source, pick};
pub use backing::Backing;
pub use explain::{Condition, Explanation};
pub use happening::{Happening, Kind};
pub use labels::{HAS_IP, PROVIDED, control_plane_labels};
pub use object::{Endpoint, Families, Ingress, Interface, Key, PREFIX, Port, Protocol, Service, Slice, TrafficPolicy};
pub use options::{DnsMode, Options, Placement, Prefix};
pub use place::{Place, subnet};
pub use plan::{Plan, Planned, Security, Verdict, Why};
pub use state::Services;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::lease::LeaseName;

/// Something was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A Service (of any type) was added or changed.
    Service(Service),
    /// A Service was deleted.
    ServiceGone(Key),
    /// All Services that there are, after a list.
    Services(Vec<Service>),
    /// A slice was added or changed.
    Slice(Slice),
    /// A slice was deleted.
    SliceGone(Key),
    /// All slices that there are, after a list.
    Slices(Vec<Slice>),
    /// The interfaces of this host.
    Host(Vec<Interface>),
    /// What a name of [`Services::names`] resolves to; an error leaves what was known.
    Resolved {
        /// The name.
        name: Box<str>,
        /// Its addresses, in the resolver's order; or why there are none.
        addresses: Result<Vec<IpAddr>, String>,
    },
    /// Who holds a Lease now; empty: nobody.
    Lease {
        /// The Lease.
        name: LeaseName,
        /// Its holder.
        holder: Arc<str>,
    },
    /// This node began or ceased to hold an address.
    Held {
        /// The address.
        address: IpAddr,
        /// It is held.
        held: bool,
    },
    /// The deadline of [`Services::deadline`] may have passed.
    Tick,
}

/// What a change touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose plan may be another: look at [`Services::plan`].
    pub services: BTreeSet<Key>,
    /// Addresses to put or to withdraw: look at [`Services::wanted`].
    pub addresses: BTreeSet<IpAddr>,
    /// Leases to campaign for or to resign from: look at [`Services::campaigns`].
    pub leases: BTreeSet<LeaseName>,
    /// [`Services::names`] is another.
    pub names: bool,
    /// What is worth an Event on its Service.
    pub happenings: Vec<Happening>,
}

/// An address that this node is to hold as soon as it holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Interface.
    pub interface: Arc<str>,
    /// The one Lease that governs it.
    pub lease: LeaseName,
}
