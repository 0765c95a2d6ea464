//! The part of the status document that is about Kubernetes.

use std::collections::BTreeMap;

use baton_config::manager::DumpFacts;
use baton_core::keeper::Status;
use baton_core::lease::LeaseName;
use baton_core::services::{Verdict, Why};
use baton_core::settings::{Source, Vip};
use baton_core::time::Time;

use super::{Local, Manager};
use crate::admin::document::{Kubernetes, Lease, Service};
use crate::admin::wall;

impl Manager {
    /// What is known about Leases and Services.
    pub(super) fn kubernetes(&self) -> Kubernetes {
        Kubernetes {
            api_server: match &self.local {
                Local::Unknown => None,
                Local::Well => Some("well".to_owned()),
                Local::Ill { why, .. } => Some(format!("ill: {why}")),
            },
            leases: self.leases(),
            services: self.service_rows(),
            requests: self.parts.access.requests().into_iter().map(|(verb, n)| (verb.name().to_owned(), n)).collect(),
            writes_waiting: self.writer.waiting(),
        }
    }

    /// As far as this task was told: ends that were renewed since are the keeper's to know.
    fn leases(&self) -> Vec<Lease> {
        let row = |name: &LeaseName| {
            let leading = self.leading.get(name);
            let of = |vip: &&Vip| vip.source == Source::Lease(name.clone());
            Lease {
                name: name.to_string(),
                holder: leading.map(|l| l.holder.to_string()).unwrap_or_default(),
                here: leading.is_some_and(|l| l.until.is_some()),
                addresses: self.kept.values().filter(of).count(),
                remaining_ms: None,
                trouble: None,
            }
        };
        self.campaigns.iter().map(row).collect()
    }

    fn service_rows(&self) -> Vec<Service> {
        let Some(serving) = &self.serving else { return Vec::new() };
        let row = |key: &baton_core::services::Key| {
            let plan = serving.state.plan(key)?;
            Some(Service {
                name: key.to_string(),
                addresses: plan.addresses.iter().map(|a| a.address.to_string()).collect(),
                lease: plan.addresses.first().map(|a| a.lease.to_string()),
                announced: match plan.verdict {
                    Verdict::Here => "here".to_owned(),
                    Verdict::There(node) => format!("by {node}"),
                    Verdict::Nowhere(why) => format!("nowhere: {}", words(&why)),
                },
            })
        };
        serving.state.keys().filter_map(row).collect()
    }

    /// SIGUSR1: the effective configuration, on standard output.
    pub(super) fn dump(&self) {
        let services = self.service_rows();
        let services: Vec<String> = services
            .iter()
            .map(|s| format!("{} (Type: LoadBalancer, VIPs: {}): {}", s.name, s.addresses.join(", "), s.announced))
            .collect();
        let held = |vip: &Vip| if self.held.contains(&vip.address) { "here" } else { "not here" };
        let of = |vip: &Vip| format!("{}: {}/{} ({})", vip.interface, vip.address, vip.prefix, held(vip));
        let interfaces: Vec<String> = self.kept.values().map(of).collect();
        let of = |l: &Lease| {
            let holder = if l.holder.is_empty() { "nobody" } else { &l.holder };
            let left = l.remaining_ms.map_or_else(String::new, |ms| format!(", {ms} ms left"));
            format!("{}: held by {holder}{left}", l.name)
        };
        let leases: Vec<String> = self.leases().iter().map(of).collect();
        let (mut tables, instance) = (Vec::new(), &self.parts.instance);
        if self.parts.fence {
            tables.extend(self.kept.values().map(|vip| format!("netdev {}", instance.gates(&vip.interface))));
            tables.push(format!("arp {}", instance.table()));
        }
        if self.ports != baton_net::ports::Ports::default() {
            tables.push(format!("inet {}", instance.table()));
        }
        tables.sort();
        tables.dedup();
        let facts = DumpFacts {
            timestamp: &wall::rfc3339(wall::now()),
            pid: std::process::id(),
            interface: &self.parts.interface,
            services: &services,
            interfaces: &interfaces,
            leases: &leases,
            tables: &tables,
        };
        crate::cli::output::print(&self.parts.loaded.dump(&facts));
    }

    /// What is wrong now, in sentences.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut all: Vec<String> = self.parts.warnings.values().cloned().collect();
        if let Local::Ill { why, given_up } = &self.local {
            let then = if *given_up {
                "the control plane's addresses are left to other nodes"
            } else {
                "no other one answers, so the control plane's addresses stay"
            };
            all.push(format!("this node's API server does not answer ({why}); {then}"));
        }
        if let Some(control_plane) = &self.control_plane {
            let unresolved: &BTreeMap<String, String> = &control_plane.unresolved;
            all.extend(unresolved.iter().map(|(name, why)| format!("{name} cannot be looked up: {why}")));
        }
        if let Some(serving) = &self.serving {
            let refused = serving.refused.iter();
            all.extend(refused.map(|(what, why)| format!("the API server does not show {what}: {why}")));
        }
        all
    }
}

/// The Leases as the keeper has them.
pub(super) fn leases(status: &Status, now: Time) -> Vec<Lease> {
    let row = |lease: &baton_core::keeper::status::LeaseStatus| Lease {
        name: lease.name.to_string(),
        holder: lease.holder.clone(),
        here: lease.until.is_some(),
        addresses: lease.addresses,
        remaining_ms: lease
            .until
            .or(lease.taken_until)
            .map(|t| u64::try_from(t.left(now).as_millis()).unwrap_or(u64::MAX)),
        trouble: lease.trouble.clone(),
    };
    status.leases.iter().map(row).collect()
}

fn words(why: &Why) -> String {
    match why {
        Why::Namespace => "another namespace is watched".to_owned(),
        Why::Ignored => "annotated with kube-vip.io/ignore".to_owned(),
        Why::Class => "its class is not ours".to_owned(),
        Why::Refused(refusal) => refusal.message.clone(),
        Why::NoAddress => "no address yet".to_owned(),
        Why::Unresolved => "its name cannot be looked up (yet)".to_owned(),
        Why::Starting => "not everything was read from the API yet".to_owned(),
        Why::NoEndpoints => "no endpoint answers".to_owned(),
        Why::NoLocalEndpoints => "its endpoints are on other nodes".to_owned(),
        Why::Former(lease) => format!("another node may still hold it by {lease}"),
        Why::NoHolder => "nobody holds the lease yet".to_owned(),
        Why::Opening => "this node is taking it".to_owned(),
    }
}
