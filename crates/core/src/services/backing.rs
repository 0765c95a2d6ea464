//! What a Service's endpoints allow: may this node take traffic in for it?

use super::object::{Endpoint, Service, TrafficPolicy};

/// Endpoints of a Service as seen from one node, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// Ready, on this node.
    pub ready_here: u32,
    /// Serving (ready, or terminating but still answering), on this node.
    pub serving_here: u32,
    /// Ready, on other nodes or on none.
    pub ready_elsewhere: u32,
    /// Serving, on other nodes or on none.
    pub serving_elsewhere: u32,
}

impl Backing {
    /// Counts the endpoints of one slice.
    #[must_use]
    pub fn count(endpoints: &[Endpoint], node: &str) -> Backing {
        let mut found = Backing::default();
        for endpoint in endpoints {
            // Only an endpoint that does not say its node is known by its host name.
            let place = if endpoint.node.is_empty() { &endpoint.hostname } else { &endpoint.node };
            let here = place.as_ref() == node;
            let (ready, serving) = (u32::from(endpoint.ready), u32::from(endpoint.serving));
            if here {
                found.ready_here += ready;
                found.serving_here += serving;
            } else {
                found.ready_elsewhere += ready;
                found.serving_elsewhere += serving;
            }
        }
        found
    }

    /// Both together: all slices of a Service count.
    #[must_use]
    pub fn and(self, other: Backing) -> Backing {
        Backing {
            ready_here: self.ready_here.saturating_add(other.ready_here),
            serving_here: self.serving_here.saturating_add(other.serving_here),
            ready_elsewhere: self.ready_elsewhere.saturating_add(other.ready_elsewhere),
            serving_elsewhere: self.serving_elsewhere.saturating_add(other.serving_elsewhere),
        }
    }

    /// This node may announce the Service.
    ///
    /// With `Local`, a node whose endpoints all terminate stays only while no other node has a ready one: so the
    /// address has moved before the last connection that kube-proxy still accepts is over.
    #[must_use]
    pub fn allows(self, service: &Service) -> bool {
        match service.policy {
            TrafficPolicy::Cluster => self.serving() || without_endpoints(service),
            TrafficPolicy::Local => self.ready_here > 0 || (self.serving_here > 0 && self.ready_elsewhere == 0),
        }
    }

    /// Some endpoint somewhere answers.
    #[must_use]
    pub fn serving(self) -> bool {
        self.serving_here > 0 || self.serving_elsewhere > 0
    }
}

/// The Service is to be announced even if nothing is behind it (`Cluster` only).
pub(super) fn without_endpoints(service: &Service) -> bool {
    let asked = service.annotation("allow-reconcile-without-endpoints");
    service.policy == TrafficPolicy::Cluster && asked.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}
