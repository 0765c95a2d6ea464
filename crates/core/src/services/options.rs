//! What the manager's configuration says about Services.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::lease::LeaseName;

/// What the manager's configuration says about Services. Checked, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// This node's name: identity in Leases, and what endpoints are compared with.
    pub node: Arc<str>,
    /// Where addresses go that nothing else is said about (`interface`, or what was found for it).
    pub interface: Arc<str>,
    /// `serviceInterface`; [`Placement::Default`] is `interface`.
    pub placement: Placement,
    /// Prefix length of IPv4 addresses.
    pub prefix4: Prefix,
    /// Prefix length of IPv6 addresses.
    pub prefix6: Prefix,
    /// Only Services of this namespace; `None`: of all.
    pub namespace: Option<Arc<str>>,
    /// `lb_class_name`; empty: only Services without a class (when `class_legacy` is off).
    pub class_name: Box<str>,
    /// `lb_class_only`: no Services without a class.
    pub class_only: bool,
    /// `lb_class_legacy_handling`: Services without a class are taken, too.
    pub class_legacy: bool,
    /// `svc_election`: a Lease per Service.
    pub per_service: bool,
    /// `per_service_election_on_demand`: a Lease of their own for Services that ask for one.
    pub on_demand: bool,
    /// The Lease that governs all Services without one of their own.
    pub lease: LeaseName,
    /// How long a Lease lasts: after that time nobody holds an address by a Lease that he cannot renew.
    pub lease_duration: Duration,
    /// Addresses of the control plane and the Lease that governs them: a Service may share one.
    pub control_plane: Vec<IpAddr>,
    /// That Lease.
    pub control_plane_lease: Option<LeaseName>,
    /// Which addresses of a DNS name are taken when the Service does not say.
    pub dns: DnsMode,
    /// `disable_service_updates`: status and `vipHost` are left alone.
    pub disable_updates: bool,
    /// `enable_service_security`: only a Service's ports reach its address.
    pub security: bool,
    /// `enable_node_labeling`.
    pub labels: bool,
    /// `enable_upnp`: Services that ask for it are refused, since it is not built.
    pub upnp: bool,
    /// `mirror_dest_interface` is set: Services are refused, since it is not built.
    pub mirror: bool,
}

/// Where the address of a Service goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// To the interface of the control plane.
    Default,
    /// To the interface whose subnet has the address.
    Auto,
    /// To this one.
    Named(Arc<str>),
}

/// Prefix length of an address on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// This one.
    Length(u8),
    /// That of the interface's subnet that has the address.
    Auto,
}

/// Which addresses of a DNS name are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsMode {
    /// The first one.
    First,
    /// The first IPv4 address.
    Ipv4,
    /// The first IPv6 address.
    Ipv6,
    /// The first of each family that has one.
    Dual,
}
