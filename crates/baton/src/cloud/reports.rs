//! What is told about a Service's addresses: Events as the upstream service controllers write them, and log lines; and
//! about the pools.

use std::collections::BTreeMap;

use baton_config::manager::Pools;
use baton_core::ipam::{Change, Key, Why};
use tracing::{info, warn};

use crate::kube::Client;
use crate::kube::events::{Involved, Recorder, Severity};

/// What upstream's controllers call themselves in Events.
const CONTROLLER: &str = "service-controller";
/// That of Services with a class.
const CLASS_CONTROLLER: &str = "service-lbc-controller";

/// A recorder that speaks as the upstream controller for these Services does.
pub fn recorder(client: Client, pools: &Pools, host: &str) -> Recorder {
    Recorder::start(client, if pools.class.is_some() { CLASS_CONTROLLER } else { CONTROLLER }, host)
}

/// Who tells, and what was told last.
pub(super) struct Reports {
    recorder: Recorder,
    /// Services have a class: another controller upstream, with its own words.
    with_class: bool,
    /// The reason that was told, by Service and UID.
    refused: BTreeMap<Key, (String, String)>,
}

impl Reports {
    pub(super) fn new(recorder: Recorder, with_class: bool) -> Reports {
        Reports { recorder, with_class, refused: BTreeMap::new() }
    }

    /// A change is about to be written.
    pub(super) fn begun(&self, change: &Change) {
        match change.why {
            Why::Allocated | Why::Adopted | Why::Marked | Why::Moved | Why::Families => {
                self.normal(change, "EnsuringLoadBalancer", "Ensuring load balancer");
            }
            Why::Deleted | Why::Released if !self.with_class => {
                self.normal(change, "DeletingLoadBalancer", "Deleting load balancer");
            }
            Why::Deleted | Why::Released => {}
        }
    }

    /// It is written.
    pub(super) fn written(&mut self, change: &Change) {
        let (key, addresses) = (&change.key, change.annotation.as_deref().unwrap_or_default());
        self.refused.remove(key);
        match change.why {
            Why::Allocated => info!("service {key} gets {addresses}"),
            Why::Adopted => info!("service {key} asks for {addresses} in spec.loadBalancerIP: annotated"),
            Why::Marked => info!("service {key} has its addresses: marked"),
            Why::Moved => info!("service {key} moves to {addresses}: its ports collide on the address it shared"),
            Why::Families => info!("service {key} has {addresses} now: its IP families have changed"),
            Why::Released => info!("service {key} is no load balancer any more: its addresses are free"),
            Why::Deleted => info!("service {key} is being deleted: its addresses are given back"),
        }
        match change.why {
            Why::Allocated | Why::Adopted | Why::Marked | Why::Moved | Why::Families => {
                self.normal(change, "EnsuredLoadBalancer", "Ensured load balancer");
            }
            Why::Deleted | Why::Released => {
                let reason = if self.with_class { "LoadBalancerDeleted" } else { "DeletedLoadBalancer" };
                self.normal(change, reason, "Deleted load balancer");
            }
        }
    }

    /// A Service gets no address, or cannot be written. Told once for each reason.
    pub(super) fn refused(&mut self, key: &Key, uid: &str, why: &str) {
        let said = (uid.to_owned(), why.to_owned());
        if self.refused.get(key) == Some(&said) {
            return;
        }
        self.refused.insert(key.clone(), said);
        warn!("service {key}: {why}");
        let (reason, message) = if self.with_class {
            ("syncLoadBalancer", format!("Error syncing load balancer: {why}"))
        } else {
            ("SyncLoadBalancerFailed", format!("Error syncing load balancer: failed to ensure load balancer: {why}"))
        };
        self.recorder.record(involved(key, uid), Severity::Warning, reason, &message);
    }

    /// The pools, first or changed, with what is wrong in them.
    pub(super) fn pools(&self, pools: &Pools, uid: &str, changed: bool, complaints: &[String]) {
        let involved = || Involved {
            api_version: "v1".to_owned(),
            kind: "ConfigMap",
            namespace: Some(pools.namespace.clone()),
            name: pools.config_map.clone(),
            uid: uid.to_owned(),
        };
        if changed {
            info!("the pools in ConfigMap {}/{} have changed", pools.namespace, pools.config_map);
            let message = "Addresses are given out by these pools now; whoever has one keeps it";
            self.recorder.record(involved(), Severity::Normal, "PoolsChanged", message);
        }
        for complaint in complaints {
            warn!("ConfigMap {}/{}: {complaint}", pools.namespace, pools.config_map);
            self.recorder.record(involved(), Severity::Warning, "PoolsInvalid", complaint);
        }
    }

    /// Nothing is remembered of a Service that is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.refused.remove(key);
    }

    fn normal(&self, change: &Change, reason: &'static str, message: &str) {
        self.recorder.record(involved(&change.key, &change.uid), Severity::Normal, reason, message);
    }
}

fn involved(key: &Key, uid: &str) -> Involved {
    Involved {
        api_version: "v1".to_owned(),
        kind: "Service",
        namespace: Some(key.namespace.clone()),
        name: key.name.clone(),
        uid: uid.to_owned(),
    }
}
