//! Services and the ConfigMap as the API has them, read into values; and a change written into an untyped Service.

use std::collections::BTreeMap;

use baton_core::ipam::{Change, Family, Key, Policy, Protocol, Service, Why};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Addresses of a Service, for whoever announces them.
const ADDRESSES: &str = "kube-vip.io/loadbalancerIPs";
/// Where they are to be announced.
const INTERFACE: &str = "kube-vip.io/serviceInterface";
/// Marks Services whose addresses are looked after here.
const LABEL: (&str, &str) = ("implementation", "kube-vip");
/// What versions before the annotation used; goes when the annotation comes.
const OLD_LABEL: &str = "ipam-address";
/// Keeps a Service until its address is given back.
const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// A Service out of a watch.
#[derive(Debug, Deserialize)]
#[serde(from = "Raw")]
pub(super) struct Seen(pub(super) Service);

/// The ConfigMap out of a watch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pools {
    pub(super) metadata: PoolsMeta,
    pub(super) data: Option<BTreeMap<String, String>>,
}

/// Which ConfigMap of that name it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PoolsMeta {
    pub(super) uid: String,
}

#[derive(Deserialize)]
struct Raw {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<IgnoredAny>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    r#type: Option<String>,
    load_balancer_class: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    ip_family_policy: Option<String>,
    ip_families: Option<Vec<String>>,
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct Port {
    protocol: Option<String>,
    #[serde(default)]
    port: u16,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    load_balancer: Option<Balancer>,
}

#[derive(Deserialize)]
struct Balancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Deserialize)]
struct Ingress {
    ip: Option<String>,
}

impl From<Raw> for Seen {
    fn from(Raw { metadata: meta, spec, status }: Raw) -> Seen {
        let mut annotations = meta.annotations.unwrap_or_default();
        let mut annotation = |key: &str| annotations.remove(key).unwrap_or_default();
        let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
        Seen(Service {
            annotation: annotation(ADDRESSES),
            interface: annotation(INTERFACE),
            key: Key { namespace: meta.namespace, name: meta.name },
            uid: meta.uid,
            version: meta.resource_version,
            created: meta.creation_timestamp.unwrap_or_default(),
            balanced: spec.r#type.as_deref() == Some("LoadBalancer"),
            class: spec.load_balancer_class,
            deleting: meta.deletion_timestamp.is_some(),
            finalizer: meta.finalizers.is_some_and(|list| list.iter().any(|name| name == FINALIZER)),
            label: meta.labels.is_some_and(|labels| labels.get(LABEL.0).is_some_and(|value| value == LABEL.1)),
            spec_ip: spec.load_balancer_ip.unwrap_or_default(),
            status: ingress.into_iter().filter_map(|entry| entry.ip?.parse().ok()).collect(),
            ports: spec.ports.unwrap_or_default().iter().map(|port| (protocol(port), port.port)).collect(),
            policy: match spec.ip_family_policy.as_deref() {
                Some("PreferDualStack") => Policy::PreferDualStack,
                Some("RequireDualStack") => Policy::RequireDualStack,
                _ => Policy::SingleStack,
            },
            families: spec.ip_families.unwrap_or_default().iter().filter_map(|name| family(name)).collect(),
        })
    }
}

fn protocol(port: &Port) -> Protocol {
    match port.protocol.as_deref() {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

fn family(name: &str) -> Option<Family> {
    match name {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

/// Whether an object is of the very version that a change was made for.
pub(super) fn is_version(object: &Value, change: &Change) -> bool {
    let meta = &object["metadata"];
    meta["uid"] == change.uid.as_str() && meta["resourceVersion"] == change.version.as_str()
}

/// Makes the change. What it does not name stays as it is, known here or not.
pub(super) fn write(object: &mut Value, change: &Change) {
    let meta = &mut object["metadata"];
    let texts = [(ADDRESSES, &change.annotation), (INTERFACE, &change.interface)];
    for (key, value) in texts.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))) {
        set(meta, "annotations", key, Some(value).filter(|value| !value.is_empty()));
    }
    if let Some(label) = change.label {
        set(meta, "labels", LABEL.0, label.then_some(LABEL.1));
    }
    if change.why == Why::Adopted {
        set(meta, "labels", OLD_LABEL, None);
    }
    if let Some(wanted) = change.finalizer {
        let mut list = meta["finalizers"].as_array().cloned().unwrap_or_default();
        list.retain(|name| name != FINALIZER);
        if wanted {
            list.push(FINALIZER.into());
        }
        meta["finalizers"] = list.into();
    }
    match (&change.spec_ip, object["spec"].as_object_mut()) {
        (Some(ip), Some(spec)) if ip.is_empty() => drop(spec.remove("loadBalancerIP")),
        (Some(ip), Some(spec)) => drop(spec.insert("loadBalancerIP".to_owned(), ip.as_str().into())),
        _ => {}
    }
}

/// One entry of a map of texts, which need not be there.
fn set(meta: &mut Value, map: &str, key: &str, value: Option<&str>) {
    if !meta[map].is_object() {
        if value.is_none() {
            return;
        }
        meta[map] = Value::Object(Map::new());
    }
    if let Some(map) = meta[map].as_object_mut() {
        match value {
            Some(value) => drop(map.insert(key.to_owned(), value.into())),
            None => drop(map.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(object: &Value) -> Service {
        serde_json::from_value::<Seen>(object.clone()).expect("a Service").0
    }

    #[test]
    fn a_service_is_read() {
        let object = json!({
            "metadata": {
                "namespace": "ns", "name": "web", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "labels": { "implementation": "kube-vip" }, "finalizers": ["a", FINALIZER],
                "annotations": { ADDRESSES: "10.0.0.1,fd00::1", INTERFACE: "eth0", "other": "x" },
                "managedFields": [{ "anything": true }],
            },
            "spec": {
                "type": "LoadBalancer", "loadBalancerClass": "c", "loadBalancerIP": "10.0.0.1",
                "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"],
                "ports": [{ "port": 80 }, { "port": 53, "protocol": "UDP" }, { "port": 9, "protocol": "SCTP" }],
            },
            "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }, { "hostname": "h" }] } },
        });
        let want = Service {
            key: Key { namespace: "ns".into(), name: "web".into() },
            uid: "u".into(),
            version: "7".into(),
            created: "2026-01-01T00:00:00Z".into(),
            balanced: true,
            class: Some("c".into()),
            deleting: true,
            finalizer: true,
            label: true,
            annotation: "10.0.0.1,fd00::1".into(),
            interface: "eth0".into(),
            spec_ip: "10.0.0.1".into(),
            status: vec![[10, 0, 0, 1].into()],
            ports: vec![(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 9)],
            policy: Policy::RequireDualStack,
            families: vec![Family::V6, Family::V4],
        };
        assert_eq!(read(&object), want);
        let bare = read(&json!({ "metadata": { "name": "x", "labels": null }, "spec": {} }));
        assert!(!bare.balanced && !bare.label && bare.ports.is_empty() && bare.policy == Policy::SingleStack);
    }

    #[test]
    fn a_change_touches_nothing_else() {
        let before = json!({
            "metadata": {
                "name": "web", "uid": "u", "resourceVersion": "7", "managedFields": [1],
                "labels": { "ipam-address": "old", "app": "web" }, "finalizers": ["other"],
            },
            "spec": { "type": "LoadBalancer", "fieldOfTomorrow": { "a": [1, 2] } },
            "status": {},
        });
        let change = Change {
            key: Key { namespace: "ns".into(), name: "web".into() },
            uid: "u".into(),
            version: "7".into(),
            why: Why::Adopted,
            annotation: Some("10.0.0.1".into()),
            spec_ip: Some("10.0.0.1".into()),
            interface: Some("eth0".into()),
            label: Some(true),
            finalizer: Some(true),
        };
        assert!(is_version(&before, &change));
        let mut object = before.clone();
        write(&mut object, &change);
        let mut want = before.clone();
        want["metadata"]["annotations"] = json!({ ADDRESSES: "10.0.0.1", INTERFACE: "eth0" });
        want["metadata"]["labels"] = json!({ "app": "web", "implementation": "kube-vip" });
        want["metadata"]["finalizers"] = json!(["other", FINALIZER]);
        want["spec"]["loadBalancerIP"] = "10.0.0.1".into();
        assert_eq!(object, want);

        let none = Some(String::new());
        let back = Change {
            why: Why::Released,
            annotation: none.clone(),
            spec_ip: none.clone(),
            interface: none,
            label: Some(false),
            finalizer: Some(false),
            version: "8".into(),
            ..change
        };
        assert!(!is_version(&object, &back));
        write(&mut object, &back);
        let mut want = before;
        want["metadata"]["annotations"] = json!({});
        want["metadata"]["labels"] = json!({ "app": "web" });
        assert_eq!(object, want);
    }
}
