//! `/metrics` under kube-vip's names and labels, with values that are right, and the keeper's own below them.

use std::collections::{BTreeMap, BTreeSet};

use baton_core::lease::LeaseName;
use baton_core::services::{Services, Verdict};

use super::{Local, Manager};
use crate::admin::exposition::{Histogram, Page};
use crate::cloud;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    events: BTreeMap<&'static str, u64>,
    transitions: BTreeMap<LeaseName, u64>,
    campaigns: BTreeMap<LeaseName, u64>,
    durations: BTreeMap<String, Histogram>,
}

impl Counters {
    pub(super) fn events(&mut self, kind: &'static str, count: usize) {
        *self.events.entry(kind).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// This node began or ceased to lead.
    pub(super) fn transition(&mut self, lease: &LeaseName) {
        *self.transitions.entry(lease.clone()).or_default() += 1;
    }

    pub(super) fn campaigned(&mut self, lease: &LeaseName) {
        *self.campaigns.entry(lease.clone()).or_default() += 1;
    }

    pub(super) fn reconciled(&mut self, namespace: &str, seconds: f64) {
        if !self.durations.contains_key(namespace) {
            self.durations.insert(namespace.to_owned(), Histogram::default());
        }
        if let Some(times) = self.durations.get_mut(namespace) {
            times.observe(seconds);
        }
    }

    /// What is gone needs no numbers any more.
    pub(super) fn forget(&mut self, leases: &BTreeSet<LeaseName>) {
        self.transitions.retain(|lease, _| leases.contains(lease));
        self.campaigns.retain(|lease, _| leases.contains(lease));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not lived to see")]
fn float(count: u64) -> f64 {
    count as f64
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

impl Manager {
    /// The page.
    pub(super) fn metrics(&self) -> String {
        let mut page = Page::default();
        self.instance(&mut page);
        self.leadership(&mut page);
        if let Some(serving) = &self.serving {
            self.services(&mut page, &serving.state);
        }
        self.own(&mut page);
        page.text()
    }

    fn instance(&self, page: &mut Page) {
        let node = self.parts.settings.node.as_str();
        let build = vec![("version", crate::VERSION), ("build", crate::BUILD), ("node", node)];
        page.metric(("kube_vip_build_info", "gauge"), "The program and the node; always 1", [(build, 1.0)]);
        let events = self.counters.events.iter().map(|(kind, count)| (vec![("type", *kind)], float(*count)));
        page.metric(("kube_vip_manager_all_services_events", "counter"), "Changes of Services seen, by type", events);
    }

    fn leadership(&self, page: &mut Page) {
        let node = self.parts.settings.node.as_str();
        let leads = |lease: &LeaseName| self.leading.get(lease).is_some_and(|l| l.until.is_some());
        let rows =
            self.campaigns.iter().map(|l| (vec![("node", node), ("lease_name", l.name.as_str())], flag(leads(l))));
        page.metric(("kube_vip_is_leader", "gauge"), "This node leads by the lease", rows);
        let rows = self.counters.transitions.iter();
        let rows = rows.map(|(lease, count)| (vec![("lease_name", lease.name.as_str())], float(*count)));
        let help = "Times this node began or ceased to lead";
        page.metric(("kube_vip_leader_election_transitions_total", "counter"), help, rows);
    }

    fn services(&self, page: &mut Page, state: &Services) {
        // A namespace that had some and has none any more has 0.
        let mut active: BTreeMap<&str, u64> = self.counters.durations.keys().map(|ns| (ns.as_str(), 0)).collect();
        let mut elections = Vec::new();
        for key in state.keys() {
            let Some(plan) = state.plan(key) else { continue };
            if plan.verdict == Verdict::Here {
                *active.entry(&*key.namespace).or_default() += 1;
            }
            let own = plan.addresses.first().filter(|a| a.lease != state.options().lease);
            if let Some(lease) = own.map(|a| &a.lease).filter(|lease| self.campaigns.contains(*lease)) {
                let tries = self.counters.campaigns.get(lease).copied().unwrap_or(0);
                elections.push((vec![("namespace", &*key.namespace), ("name", &*key.name)], tries));
            }
        }
        let rows = active.iter().map(|(namespace, count)| (vec![("namespace", *namespace)], float(*count)));
        page.metric(("kube_vip_active_services", "gauge"), "Services announced by this node", rows);
        let rows = elections.iter().map(|(labels, _)| (labels.clone(), 1.0));
        page.metric(("kube_vip_service_election_loops", "gauge"), "Elections of the Service that run here", rows);
        let rows = elections.iter().map(|(labels, tries)| (labels.clone(), float(*tries)));
        page.metric(("kube_vip_service_election_attempts_total", "counter"), "Elections begun for the Service", rows);
        let none = elections.iter().map(|(labels, _)| ([&labels[..], &[("reason", "no_lease")]].concat(), 0.0));
        let help = "Elections that could not begin; here none, whatever the API says";
        page.metric(("kube_vip_service_election_errors_total", "counter"), help, none);
        let rows: Vec<_> = state.errors().collect();
        let rows = rows.iter().map(|(key, reason, count)| {
            (vec![("namespace", &*key.namespace), ("name", &*key.name), ("reason", *reason)], float(*count))
        });
        let help = "Times a Service could not be announced, by reason";
        page.metric(("kube_vip_service_reconcile_errors_total", "counter"), help, rows);
        let name = "kube_vip_service_reconcile_duration_seconds";
        if !self.counters.durations.is_empty() {
            page.head(name, "histogram", "Time to decide what follows from a change");
        }
        for (namespace, times) in &self.counters.durations {
            times.write(page, name, &[("namespace", namespace)]);
        }
    }

    fn own(&self, page: &mut Page) {
        page.metric(
            ("baton_fence", "gauge"),
            "The kernel enforces the end of every hold; 0 without nftables",
            [(vec![], flag(self.parts.fence))],
        );
        let rows = self
            .kept
            .values()
            .map(|vip| (vip.address.to_string(), vip.interface.as_str(), flag(self.held.contains(&vip.address))));
        let rows: Vec<_> = rows.collect();
        let rows = rows
            .iter()
            .map(|(address, interface, held)| (vec![("address", address.as_str()), ("interface", *interface)], *held));
        page.metric(("baton_address_held", "gauge"), "This node holds the address", rows);
        page.api_requests(&self.parts.access);
        let waiting = u64::try_from(self.writer.waiting()).unwrap_or(u64::MAX);
        page.metric(("baton_api_writes_waiting", "gauge"), "Edits that are not done", [(vec![], float(waiting))]);
        let local = match &self.local {
            Local::Unknown => None,
            Local::Well => Some(true),
            Local::Ill { .. } => Some(false),
        };
        let rows = local.map(|well| (vec![], flag(well)));
        page.metric(("baton_api_server_up", "gauge"), "This node's own API server answers", rows);
        if let Some(ipam) = &self.ipam {
            cloud::metrics(page, ipam.counts());
        }
        let warnings = u64::try_from(self.parts.warnings.len()).unwrap_or(u64::MAX);
        page.metric(("baton_warnings", "gauge"), "Warnings that `baton status` shows now", [(vec![], float(warnings))]);
    }
}
