//! A Service as far as its addresses are concerned.

use std::fmt;
use std::net::IpAddr;

use super::pool::Family;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Of a Service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Also what a port without a protocol means.
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// `spec.ipFamilyPolicy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One family; also what no policy means.
    #[default]
    SingleStack,
    /// Two where the pools have them.
    PreferDualStack,
    /// Two, or none.
    RequireDualStack,
}

/// What of a Service its addresses depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: Key,
    /// `metadata.uid`: another one is another Service of the same name.
    pub uid: String,
    /// `metadata.resourceVersion`
    pub version: String,
    /// `metadata.creationTimestamp`: older ones come first.
    pub created: String,
    /// `spec.type` is `LoadBalancer`.
    pub balanced: bool,
    /// `spec.loadBalancerClass`
    pub class: Option<String>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Carries `service.kubernetes.io/load-balancer-cleanup`.
    pub finalizer: bool,
    /// Carries the label `implementation: kube-vip`.
    pub label: bool,
    /// Annotation `kube-vip.io/loadbalancerIPs`, empty when there is none.
    pub annotation: String,
    /// Annotation `kube-vip.io/serviceInterface`, empty when there is none.
    pub interface: String,
    /// `spec.loadBalancerIP`, empty when there is none.
    pub spec_ip: String,
    /// Addresses in `status.loadBalancer.ingress`.
    pub status: Vec<IpAddr>,
    /// `spec.ports`
    pub ports: Vec<(Protocol, u16)>,
    /// `spec.ipFamilyPolicy`
    pub policy: Policy,
    /// `spec.ipFamilies`
    pub families: Vec<Family>,
}

impl Service {
    /// The addresses that it asks for or was given; names and the DHCP placeholder are none.
    #[must_use]
    pub fn carried(&self) -> Vec<IpAddr> {
        if !self.balanced && !self.label {
            return Vec::new();
        }
        let text = if self.annotation.is_empty() { &self.spec_ip } else { &self.annotation };
        let parsed = text.split(',').filter_map(|part| part.trim().parse::<IpAddr>().ok());
        parsed.filter(|address| !address.is_unspecified()).collect()
    }

    /// Its addresses came from a pool: the label, the annotation and `spec.loadBalancerIP` as they are written then. A
    /// Service whose owner chose the address has the label or the field, not both.
    #[must_use]
    pub fn given(&self) -> bool {
        self.label && !self.annotation.is_empty() && self.annotation.split(',').next() == Some(&self.spec_ip)
    }

    /// A port that both want; `Some(None)`: one of them lists no ports and so has the whole address.
    #[must_use]
    pub fn overlap(&self, other: &Service) -> Option<Option<(Protocol, u16)>> {
        if self.ports.is_empty() || other.ports.is_empty() {
            return Some(None);
        }
        self.ports.iter().find(|port| other.ports.contains(port)).map(|port| Some(*port))
    }
}
