//! What `baton manager` is asked to do: checked, complete, plain values.
//!
//! Nothing here is "not given": a default is already in its place, and an `Option` means a choice (on or off, named or
//! found), never a gap. What this version does not do was refused before a value of these types was made.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use baton_core::services::{DnsMode, Prefix};

use super::cloud::Pools;

/// Everything that `baton manager` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerSettings {
    /// `holderIdentity` of every Lease held here, and the value of the annotation `vipHost`: `vip_nodename`, or the
    /// host's name in lower case.
    pub node: String,
    /// `instance_name`: tells several instances on one host apart; empty for the only one.
    pub instance: String,
    /// `cp_namespace`: where Leases without `namespace/` in their name are, when the process runs in no pod.
    pub namespace: String,
    /// Where the control plane's addresses go, and Services' unless they say otherwise; `None`: the interface of the
    /// default route.
    pub interface: Option<String>,
    /// Start although an interface is not up.
    pub allow_interface_not_up: bool,
    /// `vip_subnet`: prefix lengths that addresses are added with.
    pub subnet: Subnet,
    /// `vip_arpRate`: the slow repetition of announcements while holding (bursts are not configured).
    pub announce_every: Duration,
    /// IPv4 addresses stay on the interface, unanswered, after their Lease was lost.
    pub preserve: bool,
    /// The times of every Lease, and whether somebody asked for an election at all.
    pub election: Election,
    /// The control plane's address; `None`: `--controlplane` is not set.
    pub control_plane: Option<ControlPlane>,
    /// Services of type LoadBalancer; `None`: `--services` is not set.
    pub services: Option<Services>,
    /// How the API server is found.
    pub api: Api,
    /// Label nodes with what they hold (`enable_node_labeling`).
    pub node_labels: bool,
    /// Where metrics are served; `None`: nowhere. The unspecified IPv6 address means all addresses of both families.
    pub metrics: Option<SocketAddr>,
    /// Port of `/healthz` on all addresses, 1024 or above; `None`: not served.
    pub health_port: Option<u16>,
    /// What is worth a log line.
    pub log: Level,
}

/// What is worth a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Promises that cannot be kept.
    Error,
    /// What is wrong or unwise as well.
    Warn,
    /// Transitions as well (the default).
    Info,
    /// Everything that helps to find a mistake.
    Debug,
    /// Every step.
    Trace,
}

/// Prefix lengths by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// For IPv4: 32 unless asked otherwise.
    pub v4: Prefix,
    /// For IPv6: 128 unless asked otherwise.
    pub v6: Prefix,
}

impl Subnet {
    /// The prefix length for an address; `None`: that of the interface's network.
    #[must_use]
    pub fn length(&self, address: IpAddr) -> Option<u8> {
        match if address.is_ipv4() { self.v4 } else { self.v6 } {
            Prefix::Length(length) => Some(length),
            Prefix::Auto => None,
        }
    }
}

/// Times of a Lease, in kube-vip's words; `duration > renew_deadline > retry × 1.2`, as client-go wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Election {
    /// `vip_leaderelection`. In ARP mode kube-vip elects whatever this says, and so does Baton: two nodes that do not
    /// elect would both answer.
    pub asked_for: bool,
    /// `leaseDurationSeconds`.
    pub duration: Duration,
    /// How long a holder may try to renew before it gives up.
    pub renew_deadline: Duration,
    /// Between tries.
    pub retry: Duration,
}

/// A Lease by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseRef {
    /// The part before the slash; `None`: the namespace of the process's ServiceAccount, else
    /// [`ManagerSettings::namespace`].
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The control plane's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// What was written, in its order: at least one.
    pub addresses: Vec<Target>,
    /// Which addresses of a DNS name count.
    pub dns_mode: DnsMode,
    /// Port of the API server on every control-plane node.
    pub port: u16,
    /// Who holds the addresses.
    pub lease: LeaseRef,
    /// Annotations for that Lease, sorted by key.
    pub lease_annotations: Vec<(String, String)>,
    /// `lb_enable`: balance over all API servers.
    pub balancer: Option<Balancer>,
    /// When the holder gives the addresses up because its own API server is ill; `None`: never.
    pub health: Option<HealthCheck>,
}

/// An address, or a name to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An address.
    Ip(IpAddr),
    /// A host name.
    Name(String),
}

/// `lb_enable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Where the control plane's addresses listen.
    pub port: u16,
    /// `lb_fwdmethod`: what IPVS would have done.
    pub forwarding: Forwarding,
    /// Between two checks of an API server.
    pub check_every: Duration,
}

/// How IPVS would have forwarded (`lb_fwdmethod`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// `local`, the default.
    Local,
    /// `masquerade`.
    Masquerade,
    /// `tunnel`.
    Tunnel,
    /// `directroute`.
    DirectRoute,
    /// `bypass`.
    Bypass,
}

/// The check of this node's own API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for; `None`: `/livez` on 127.0.0.1 and [`ControlPlane::port`].
    pub url: Option<String>,
    /// Between the starts of two checks: 1 s unless asked otherwise.
    pub period: Duration,
    /// A check that takes longer has failed: 1 s unless asked otherwise, never more than `period`.
    pub timeout: Duration,
    /// Failures in a row that make it ill: 3 unless asked otherwise.
    pub failures: u32,
}

/// Services of type LoadBalancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// Only those of this namespace; `None`: all.
    pub namespace: Option<String>,
    /// Where their addresses go.
    pub interface: ServicesInterface,
    /// `svc_election`: one Lease for each Service instead of one for all.
    pub per_service: bool,
    /// `per_service_election_on_demand`: a Lease of its own for a Service that asks for it by annotation.
    pub on_demand: bool,
    /// The Lease for all Services.
    pub lease: LeaseRef,
    /// Which Services are ours.
    pub class: Class,
    /// `enable_service_security`: only a Service's own ports are let through to its address.
    pub security: bool,
    /// Write `status.loadBalancer` (not `disable_service_updates`).
    pub write_status: bool,
    /// Read Endpoints instead of EndpointSlices.
    pub endpoints: bool,
    /// Which addresses of a DNS name in a Service's annotation count.
    pub dns_mode: DnsMode,
    /// `enable_upnp`: not built, so a Service that asks for it is refused.
    pub upnp: bool,
    /// `mirror_dest_interface` is set: not built, so every Service is refused.
    pub mirror: bool,
    /// `--ipam`: give Services their addresses too, as the cloud provider does; `None`: somebody else does.
    pub ipam: Option<Pools>,
}

/// Where Services' addresses go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicesInterface {
    /// [`ManagerSettings::interface`].
    Same,
    /// The interface whose network contains the address; without one, as `Same`.
    Auto,
    /// This one.
    Named(String),
}

/// Which Services are ours, by `spec.loadBalancerClass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Our class; may be empty (then, without legacy handling, only Services without a class are ours).
    pub name: String,
    /// With legacy handling: Services without a class are not ours.
    pub only: bool,
    /// Services without a class are ours too, unless `only`. Otherwise the class must be equal.
    pub legacy: bool,
}

/// How the API server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Path of a kubeconfig.
    pub config_file: String,
    /// Somebody chose it: it is not just the default.
    pub config_file_chosen: bool,
    /// `kubernetes_addr`: goes before the server of the kubeconfig.
    pub address: Option<String>,
    /// `cp_detect`: ask the local server's certificate for an address that works.
    pub detect: bool,
    /// The control plane's port.
    pub port: u16,
    /// The control plane is kept here: the local server goes first.
    pub control_plane: bool,
}
