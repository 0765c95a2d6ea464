//! The Kubernetes objects as decisions see them: a Service, a slice of its endpoints, the host's interfaces.
//!
//! Only what decides anything is kept; the edge (`baton::manager::objects`) reads them out of the API's documents.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What all annotations of kube-vip begin with.
pub const PREFIX: &str = "kube-vip.io/";

/// Name of a Service (or of an EndpointSlice). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// A key of its own strings.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// `v1.Service`, as far as it decides anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: Key,
    /// `metadata.uid`: another one means another Service of the same name.
    pub uid: Box<str>,
    /// `metadata.creationTimestamp` as it stands there (RFC 3339 in UTC: its order is the order of time).
    pub created: Arc<str>,
    /// `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<Box<str>>,
    /// `spec.loadBalancerIP`, empty when not set.
    pub load_balancer_ip: Box<str>,
    /// `spec.externalTrafficPolicy`.
    pub policy: TrafficPolicy,
    /// `spec.ipFamilies`, in their order.
    pub families: Families,
    /// `spec.ipFamilyPolicy` is `RequireDualStack`.
    pub require_dual_stack: bool,
    /// `spec.ports`, in their order.
    pub ports: Box<[Port]>,
    /// `spec.healthCheckNodePort`; 0: none.
    pub health_check_node_port: u16,
    /// `status.loadBalancer.ingress`, in its order.
    pub ingress: Box<[Ingress]>,
    /// Annotations that begin with [`PREFIX`], without it, sorted by name.
    pub annotations: Box<[(Box<str>, Box<str>)]>,
}

impl Service {
    /// The value of an annotation (named without [`PREFIX`]).
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let found = self.annotations.binary_search_by(|(key, _)| key.as_ref().cmp(name)).ok()?;
        self.annotations.get(found).map(|(_, value)| value.as_ref())
    }

    /// The annotation is exactly `true`, as kube-vip compares.
    #[must_use]
    pub fn annotated(&self, name: &str) -> bool {
        self.annotation(name) == Some("true")
    }
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Every node may take traffic in.
    #[default]
    Cluster,
    /// Only nodes with endpoints of their own.
    Local,
}

/// `spec.ipFamilies`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// Not said.
    #[default]
    Unknown,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both, IPv4 first.
    Ipv4First,
    /// Both, IPv6 first.
    Ipv6First,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }
}

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub port: u16,
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// `ip`, empty when not set.
    pub ip: Box<str>,
    /// `hostname`, empty when not set.
    pub hostname: Box<str>,
    /// `ports`.
    pub ports: Box<[Port]>,
}

/// One EndpointSlice (or the whole `Endpoints` object of a Service).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Its own namespace and name.
    pub key: Key,
    /// The Service that it belongs to (label `kubernetes.io/service-name`), in the same namespace; empty: none.
    pub service: Box<str>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of a slice. Conditions that the API left out are filled in as it says: unknown `ready` is ready,
/// unknown `serving` is `ready`, unknown `terminating` is false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it runs; empty when not said.
    pub node: Box<str>,
    /// Its host name; counts only when `node` is empty.
    pub hostname: Box<str>,
    /// Takes new connections.
    pub ready: bool,
    /// Answers, although it may be terminating.
    pub serving: bool,
}

/// An interface of this host, in the kernel's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: Arc<str>,
    /// Its addresses with prefix lengths, without those that Baton put there.
    pub addresses: Vec<(IpAddr, u8)>,
}
