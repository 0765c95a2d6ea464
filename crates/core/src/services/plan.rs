//! What follows for one Service: where it is announced and why, and what is to be written about it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::ask::{self, Refusal};
use super::backing::without_endpoints;
use super::object::{Ingress, Key, Port, Service, TrafficPolicy};
use super::place::Place;
use super::state::{Entry, Services};
use crate::lease::LeaseName;

/// What follows for one Service on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it is announced, or why not.
    pub verdict: Verdict,
    /// Its addresses, in order. Empty when it is not ours or has none.
    pub addresses: Vec<Planned>,
    /// Annotation `kube-vip.io/vipHost` is to be set to this; `None`: leave it.
    pub vip_host: Option<Arc<str>>,
    /// `status.loadBalancer.ingress` is to be set to this; `None`: leave it.
    pub ingress: Option<Vec<Ingress>>,
}

/// One address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The address.
    pub address: IpAddr,
    /// The Lease that governs it.
    pub lease: LeaseName,
    /// Who holds that Lease, as far as it is known.
    pub holder: Option<Arc<str>>,
    /// Where it goes on this node.
    pub place: Result<Place, Refusal>,
    /// This node is to hold it as soon as it holds the Lease.
    pub wanted: bool,
    /// This node holds it.
    pub held: bool,
    /// How many other Services have it, too.
    pub shared_with: usize,
}

/// Where a Service is announced, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By this node.
    Here,
    /// By another node, as far as its Lease says.
    There(Arc<str>),
    /// Not by this node, and as far as it knows by no other.
    Nowhere(Why),
}

/// Why a Service is not announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another namespace is watched.
    Namespace,
    /// Annotation `kube-vip.io/ignore`.
    Ignored,
    /// The class is not ours.
    Class,
    /// It cannot be announced as it stands.
    Refused(Refusal),
    /// It has no address yet.
    NoAddress,
    /// Its DNS name has no usable address (yet).
    Unresolved,
    /// Not everything was read from the API yet.
    Starting,
    /// No endpoint answers.
    NoEndpoints,
    /// Traffic policy Local, and all endpoints are on other nodes.
    NoLocalEndpoints,
    /// Another node may still hold the address by the Lease that governed it before.
    Former(LeaseName),
    /// Nobody holds the Lease yet.
    NoHolder,
    /// This node holds the Lease, and the address is not up yet.
    Opening,
}

/// Which packets to an address are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// All.
    Open,
    /// Those to these ports.
    Only(BTreeSet<Port>),
}

impl Services {
    /// What follows for a Service; `None`: there is no such Service of type `LoadBalancer`.
    #[must_use]
    pub fn plan(&self, key: &Key) -> Option<Plan> {
        let entry = self.services.get(key)?;
        let addresses: Vec<Planned> = entry.claims.iter().filter_map(|address| self.planned(*address)).collect();
        let verdict = self.verdict(entry, &addresses);
        let writes = self.writes(&addresses);
        let host = entry.service.annotation("vipHost");
        let ingress = entry.claims.iter().map(|address| Ingress {
            ip: address.to_string().into(),
            hostname: "".into(),
            ports: entry.service.ports.clone(),
        });
        let ingress: Vec<Ingress> = ingress.collect();
        Some(Plan {
            verdict,
            addresses,
            vip_host: (writes && host != Some(&*self.options.node)).then(|| self.options.node.clone()),
            ingress: (writes && *entry.service.ingress != *ingress).then_some(ingress),
        })
    }

    /// The holder of the first address writes about a Service: one writer, whoever holds the others.
    fn writes(&self, addresses: &[Planned]) -> bool {
        !self.options.disable_updates && addresses.first().is_some_and(|first| first.held)
    }

    fn planned(&self, address: IpAddr) -> Option<Planned> {
        let known = self.addresses.get(&address)?;
        let lease = known.lease.clone()?;
        Some(Planned {
            address,
            holder: self.holders.get(&lease).cloned(),
            lease,
            place: self.place(address)?,
            wanted: known.wanted.is_some(),
            held: self.held.contains(&address),
            shared_with: known.claimants.len().saturating_sub(1),
        })
    }

    /// Why a Service cannot be announced on this node; `None`: it can.
    pub(super) fn refusal(&self, service: &Service) -> Option<Refusal> {
        let asked = ask::addresses(service);
        let ours = self.is_meant_for_us(service) && !asked.is_empty();
        if !ours {
            return None;
        }
        ask::refusal(service, &self.options, &asked).or_else(|| {
            let claims = &self.services.get(&service.key)?.claims;
            let places = claims.iter().filter_map(|address| self.place(*address));
            places.filter(|_| self.ready()).find_map(Result::err)
        })
    }

    fn verdict(&self, entry: &Entry, addresses: &[Planned]) -> Verdict {
        if let Some(why) = self.excluded(&entry.service) {
            return Verdict::Nowhere(why);
        }
        if addresses.iter().any(|planned| planned.held) {
            return Verdict::Here;
        }
        let Some(first) = addresses.first() else {
            let names = !ask::addresses(&entry.service).names.is_empty();
            return Verdict::Nowhere(if names { Why::Unresolved } else { Why::NoAddress });
        };
        let backing = self.backing(&entry.service.key);
        let backed = backing.serving() || without_endpoints(&entry.service);
        let elsewhere = first.holder.as_ref().filter(|holder| **holder != self.options.node);
        Verdict::Nowhere(if !self.ready() {
            Why::Starting
        } else if !backed {
            Why::NoEndpoints
        } else if let Some(holder) = elsewhere {
            return Verdict::There(holder.clone());
        } else if let Some(former) = self.waits_for(first.address) {
            Why::Former(former.clone())
        } else if let Err(refusal) = &first.place {
            Why::Refused(refusal.clone())
        } else if !backing.allows(&entry.service) {
            Why::NoLocalEndpoints
        } else if first.holder.is_none() {
            Why::NoHolder
        } else {
            Why::Opening
        })
    }

    /// Why a Service is announced on no node, whatever its endpoints.
    fn excluded(&self, service: &Service) -> Option<Why> {
        let asked = ask::addresses(service);
        if !ask::namespace_is_ours(service, &self.options) {
            Some(Why::Namespace)
        } else if service.annotated("ignore") {
            Some(Why::Ignored)
        } else if !ask::class_is_ours(service, &self.options) {
            Some(Why::Class)
        } else if asked.is_empty() {
            Some(Why::NoAddress)
        } else {
            ask::refusal(service, &self.options, &asked).map(Why::Refused)
        }
    }

    /// Which packets to an address are let in: with `enable_service_security` those to the ports of the Services that
    /// have it, unless one of them asks to be left out.
    #[must_use]
    pub fn security(&self, address: IpAddr) -> Security {
        let Some(known) = self.addresses.get(&address).filter(|_| self.options.security) else { return Security::Open };
        let mut ports = BTreeSet::new();
        for (_, key) in &known.claimants {
            let Some(service) = self.service(key) else { continue };
            if service.annotated("ignore-service-security") {
                return Security::Open;
            }
            ports.extend(service.ports.iter().copied());
        }
        // The control plane's own traffic on a shared address is not ours to refuse.
        if self.options.control_plane.contains(&address) { Security::Open } else { Security::Only(ports) }
    }

    /// Things about a Service that do not keep it from being announced and yet should be known.
    pub(super) fn remarks(&self, service: &Service) -> Vec<String> {
        let mut remarks = Vec::new();
        let own = ask::own_lease(service, &self.options);
        if service.annotated("forcePerServiceElection") && !own {
            remarks.push(
                "forcePerServiceElection has no effect: per_service_election_on_demand is off in the manager".into(),
            );
        }
        if service.annotation("leaseName").is_some_and(|name| !name.trim().is_empty()) && !own {
            remarks.push("leaseName has no effect: one Lease governs all Services (svc_election is off)".into());
        }
        if service.annotated("forwardUPNP") && !self.options.upnp {
            remarks.push("forwardUPNP has no effect: enable_upnp is off in the manager".into());
        }
        if service.annotated("flush-conntrack") {
            remarks.push("flush-conntrack is not supported: connections that exist are left alone".into());
        }
        if service.policy == TrafficPolicy::Local && service.health_check_node_port != 0 {
            let port = service.health_check_node_port;
            remarks.push(format!("healthCheckNodePort {port} is answered by kube-proxy on the nodes' own addresses"));
        }
        remarks
    }
}
