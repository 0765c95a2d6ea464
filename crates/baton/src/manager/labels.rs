//! Labels of this node that say what it holds, and the annotations of the control plane's Lease. Also what is done
//! about ports when the time has come: both follow what is held, a moment later.

use std::collections::BTreeMap;
use std::net::IpAddr;

use baton_core::lease::LeaseName;
use baton_core::services::{HAS_IP, PROVIDED, control_plane_labels};
use serde_json::{Map, Value};

use super::Manager;
use crate::kube::write::Changed;
use crate::kube::{LEASES, NODES, ObjectRef};

impl Manager {
    /// What follows what is held, a moment later.
    pub(super) async fn tidy(&mut self) {
        self.tidy_at = None;
        self.label();
        self.apply_ports().await;
    }

    /// Has the labels of this node say what it holds.
    fn label(&mut self) {
        if !self.parts.settings.node_labels {
            return;
        }
        let labels = if self.leaving.is_some() { BTreeMap::new() } else { self.labels() };
        if self.labelled.as_ref() == Some(&labels) {
            return;
        }
        self.labelled = Some(labels.clone());
        let node = ObjectRef::of_cluster(NODES, &self.parts.settings.node);
        self.writer.edit(node, None, "labels", move |node| relabel(node, &labels));
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.serving.as_ref().map(|s| s.state.labels()).unwrap_or_default();
        if let Some(control_plane) = &self.control_plane {
            let held = control_plane.addresses().into_iter().filter(|a| self.held.contains(a));
            labels.extend(control_plane_labels(&held.collect::<Vec<IpAddr>>()));
        }
        labels
    }

    /// `vip_leaseannotations`, as soon as the Lease is this node's.
    pub(super) fn annotate_lease(&mut self, name: &LeaseName) {
        let Some(control_plane) = self.control_plane.as_ref().filter(|c| c.lease == *name) else { return };
        let wanted = control_plane.settings.lease_annotations.clone();
        if wanted.is_empty() {
            return;
        }
        let lease = ObjectRef::new(LEASES, &name.namespace, &name.name);
        self.writer.edit(lease, None, "annotations", move |lease| {
            let wanted = wanted.iter().map(|(key, value)| (key.as_str(), Some(value.as_str())));
            put(&mut lease["metadata"]["annotations"], wanted)
        });
    }
}

/// Ours as wanted, everybody else's untouched.
fn relabel(node: &mut Value, wanted: &BTreeMap<String, String>) -> Changed {
    let labels = &mut node["metadata"]["labels"];
    let ours = |key: &str| key.starts_with(HAS_IP) || key.starts_with(PROVIDED);
    let there = labels.as_object().into_iter().flat_map(Map::keys);
    let gone: Vec<String> = there.filter(|key| ours(key) && !wanted.contains_key(*key)).cloned().collect();
    let changes = gone.iter().map(|key| (key.as_str(), None));
    let changes = changes.chain(wanted.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))));
    put(labels, changes)
}

/// Sets and removes entries of a map that may not be there.
fn put<'a>(map: &mut Value, changes: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Changed {
    let mut changed = Changed::No;
    for (key, value) in changes {
        if map.get(key).and_then(Value::as_str) == value {
            continue;
        }
        changed = Changed::Yes;
        if !map.is_object() {
            *map = Value::Object(Map::new());
        }
        match (map.as_object_mut(), value) {
            (Some(map), Some(value)) => drop(map.insert(key.to_owned(), Value::from(value))),
            (Some(map), None) => drop(map.remove(key)),
            (None, _) => {}
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_our_labels_change() {
        let mut node = json!({"metadata": {"labels": {"a": "b", "kube-vip.io/has-ip": "10.0.0.1",
            "service-provided.kube-vip.io/x.y": "10.0.0.2"}}});
        let wanted = BTreeMap::from([("kube-vip.io/has-ip".to_owned(), "10.0.0.3".to_owned())]);
        assert_eq!(relabel(&mut node, &wanted), Changed::Yes);
        assert_eq!(node, json!({"metadata": {"labels": {"a": "b", "kube-vip.io/has-ip": "10.0.0.3"}}}));
        assert_eq!(relabel(&mut node, &wanted), Changed::No);
        let mut bare = json!({"metadata": {}});
        assert_eq!(relabel(&mut bare, &BTreeMap::new()), Changed::No);
        assert_eq!(relabel(&mut bare, &wanted), Changed::Yes);
        assert_eq!(bare["metadata"]["labels"]["kube-vip.io/has-ip"], "10.0.0.3");
    }
}
