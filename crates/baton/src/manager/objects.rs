//! What the manager reads of the API's objects, as slim as its decisions need them.
//!
//! Each type is read straight from a document of a list or a watch; fields that nobody asks for are never kept, and
//! fields that are missing, null or of newer releases are no error. `into()` makes the values that `core` decides on.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use baton_core::services;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// What the kept labels of a Node begin with.
const NODE_LABELS: [&str; 3] = ["node-role.kubernetes.io/", "kube-vip.io/", services::PROVIDED];

/// `v1.Service`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawService")]
pub struct Service(services::Service);

impl From<Service> for services::Service {
    fn from(service: Service) -> services::Service {
        service.0
    }
}

/// `discovery.k8s.io/v1.EndpointSlice`, or `v1.Endpoints`, which is one slice of the Service of its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawSlice")]
pub struct Slice(services::Slice);

impl From<Slice> for services::Slice {
    fn from(slice: Slice) -> services::Slice {
        slice.0
    }
}

/// `v1.Node`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawNode")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Labels about roles, and those that Baton or kube-vip set.
    pub labels: BTreeMap<String, String>,
    /// Addresses of type `InternalIP`, in their order.
    pub internal_ips: Vec<IpAddr>,
    /// Condition `Ready` is `True`.
    pub ready: bool,
}

/// A field that is missing or null.
fn absent<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// The pairs of a map whose key is wanted, in the order of their keys; the others are not even copied.
struct Pairs(fn(&str) -> Option<&str>);

impl<'de> Visitor<'de> for Pairs {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut kept = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            match (self.0)(&key) {
                Some(key) => drop(kept.insert(key.to_owned(), map.next_value()?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(kept)
    }
}

fn annotations<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    from.deserialize_any(Pairs(|key| key.strip_prefix(services::PREFIX)))
}

fn service_name<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    from.deserialize_any(Pairs(|key| (key == SERVICE_NAME).then_some(key)))
}

fn node_labels<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    from.deserialize_any(Pairs(|key| NODE_LABELS.iter().any(|prefix| key.starts_with(prefix)).then_some(key)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct RawService {
    metadata: ServiceMeta,
    #[serde(deserialize_with = "absent")]
    spec: ServiceSpec,
    #[serde(deserialize_with = "absent")]
    status: ServiceStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceMeta {
    namespace: String,
    name: String,
    uid: String,
    #[serde(deserialize_with = "absent")]
    creation_timestamp: String,
    #[serde(deserialize_with = "annotations")]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "type")]
    kind: String,
    load_balancer_class: Option<String>,
    #[serde(rename = "loadBalancerIP", deserialize_with = "absent")]
    load_balancer_ip: String,
    #[serde(deserialize_with = "absent")]
    external_traffic_policy: String,
    #[serde(deserialize_with = "absent")]
    ip_families: Vec<String>,
    #[serde(deserialize_with = "absent")]
    ip_family_policy: String,
    #[serde(deserialize_with = "absent")]
    ports: Vec<RawPort>,
    #[serde(deserialize_with = "absent")]
    health_check_node_port: u16,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPort {
    #[serde(deserialize_with = "absent")]
    protocol: String,
    port: u16,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceStatus {
    #[serde(deserialize_with = "absent")]
    load_balancer: LoadBalancerStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoadBalancerStatus {
    #[serde(deserialize_with = "absent")]
    ingress: Vec<RawIngress>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIngress {
    #[serde(deserialize_with = "absent")]
    ip: String,
    #[serde(deserialize_with = "absent")]
    hostname: String,
    #[serde(deserialize_with = "absent")]
    ports: Vec<RawPort>,
}

impl From<RawService> for Service {
    fn from(raw: RawService) -> Service {
        let RawService { metadata, spec, status } = raw;
        let ingress = status.load_balancer.ingress.into_iter().map(|entry| services::Ingress {
            ip: entry.ip.into(),
            hostname: entry.hostname.into(),
            ports: ports(&entry.ports),
        });
        let families: Vec<&str> = spec.ip_families.iter().map(String::as_str).collect();
        Service(services::Service {
            key: services::Key::new(&metadata.namespace, &metadata.name),
            uid: metadata.uid.into(),
            created: metadata.creation_timestamp.into(),
            load_balancer: spec.kind == "LoadBalancer",
            class: spec.load_balancer_class.map(Into::into),
            load_balancer_ip: spec.load_balancer_ip.into(),
            policy: match spec.external_traffic_policy.as_str() {
                "Local" => services::TrafficPolicy::Local,
                _ => services::TrafficPolicy::Cluster,
            },
            families: match families.as_slice() {
                ["IPv4"] => services::Families::Ipv4,
                ["IPv6"] => services::Families::Ipv6,
                ["IPv4", ..] => services::Families::Ipv4First,
                ["IPv6", ..] => services::Families::Ipv6First,
                _ => services::Families::Unknown,
            },
            require_dual_stack: spec.ip_family_policy == "RequireDualStack",
            ports: ports(&spec.ports),
            health_check_node_port: spec.health_check_node_port,
            ingress: ingress.collect(),
            annotations: metadata.annotations.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        })
    }
}

fn ports(raw: &[RawPort]) -> Box<[services::Port]> {
    let port = |raw: &RawPort| services::Port {
        protocol: match raw.protocol.as_str() {
            "UDP" => services::Protocol::Udp,
            "SCTP" => services::Protocol::Sctp,
            // The API's default.
            _ => services::Protocol::Tcp,
        },
        port: raw.port,
    };
    raw.iter().map(port).collect()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawSlice {
    metadata: SliceMeta,
    #[serde(deserialize_with = "absent")]
    endpoints: Vec<RawEndpoint>,
    /// `v1.Endpoints` has these instead.
    subsets: Option<Vec<Subset>>,
    kind: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SliceMeta {
    namespace: String,
    name: String,
    #[serde(deserialize_with = "service_name")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawEndpoint {
    #[serde(deserialize_with = "absent")]
    node_name: String,
    #[serde(deserialize_with = "absent")]
    hostname: String,
    #[serde(deserialize_with = "absent")]
    conditions: Conditions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
}

/// Addresses that are not ready have a list of their own, which is not read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Subset {
    #[serde(deserialize_with = "absent")]
    addresses: Vec<RawEndpoint>,
}

impl From<RawSlice> for Slice {
    fn from(raw: RawSlice) -> Slice {
        let key = services::Key::new(&raw.metadata.namespace, &raw.metadata.name);
        // Lists leave the kind of their items out; an Endpoints object without subsets has no label either.
        let label = raw.metadata.labels.into_values().next();
        let of_name = raw.subsets.is_some() || raw.kind.as_deref() == Some("Endpoints");
        let service = if of_name { raw.metadata.name } else { label.unwrap_or_default() };
        let all =
            raw.endpoints.into_iter().chain(raw.subsets.into_iter().flatten().flat_map(|subset| subset.addresses));
        let endpoint = |raw: RawEndpoint| {
            let ready = raw.conditions.ready.unwrap_or(true);
            services::Endpoint {
                node: raw.node_name.into(),
                hostname: raw.hostname.into(),
                ready,
                serving: raw.conditions.serving.unwrap_or(ready),
            }
        };
        Slice(services::Slice { key, service: service.into(), endpoints: all.map(endpoint).collect() })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNode {
    metadata: NodeMeta,
    #[serde(deserialize_with = "absent")]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeMeta {
    name: String,
    #[serde(deserialize_with = "node_labels")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    #[serde(deserialize_with = "absent")]
    addresses: Vec<Typed>,
    #[serde(deserialize_with = "absent")]
    conditions: Vec<Typed>,
}

/// An address or a condition of a Node.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "absent")]
    address: String,
    #[serde(deserialize_with = "absent")]
    status: String,
}

impl From<RawNode> for Node {
    fn from(raw: RawNode) -> Node {
        let internal = raw.status.addresses.iter().filter(|one| one.kind == "InternalIP");
        Node {
            name: raw.metadata.name,
            labels: raw.metadata.labels,
            internal_ips: internal.filter_map(|one| one.address.parse().ok()).collect(),
            ready: raw.status.conditions.iter().any(|one| one.kind == "Ready" && one.status == "True"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(document: serde_json::Value) -> services::Service {
        serde_json::from_str::<Service>(&document.to_string()).expect("a Service").into()
    }

    fn slice(document: serde_json::Value) -> services::Slice {
        serde_json::from_str::<Slice>(&document.to_string()).expect("a slice").into()
    }

    #[test]
    fn a_service_is_read_and_the_rest_left_out() {
        let read = service(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "web", "namespace": "apps", "uid": "1-2", "creationTimestamp": "2026-01-02T03:04:05Z",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {"kube-vip.io/vipHost": "node-1", "a/b": "c", "kube-vip.io/loadbalancerIPs": "10.0.0.5"},
            },
            "spec": {
                "type": "LoadBalancer", "loadBalancerClass": "x/y", "loadBalancerIP": "10.0.0.6",
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 31234,
                "ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack",
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns", "nodePort": 30053}, {"port": 80}],
                "newerField": {"a": [1, 2]},
            },
            "status": {"loadBalancer": {"ingress": [
                {"ip": "10.0.0.5", "ipMode": "VIP", "ports": [{"port": 53, "protocol": "UDP"}]}, {"hostname": "lb.example"},
            ]}},
        }));
        assert_eq!(read.key, services::Key::new("apps", "web"));
        assert_eq!((&*read.uid, &*read.created), ("1-2", "2026-01-02T03:04:05Z"));
        assert!(read.load_balancer && read.require_dual_stack);
        assert_eq!(read.class.as_deref(), Some("x/y"));
        assert_eq!(&*read.load_balancer_ip, "10.0.0.6");
        assert_eq!((read.policy, read.families), (services::TrafficPolicy::Local, services::Families::Ipv6First));
        assert_eq!(read.health_check_node_port, 31234);
        let port = |protocol, port| services::Port { protocol, port };
        assert_eq!(*read.ports, [port(services::Protocol::Udp, 53), port(services::Protocol::Tcp, 80)]);
        assert_eq!((&*read.ingress[0].ip, &*read.ingress[1].hostname), ("10.0.0.5", "lb.example"));
        assert_eq!(*read.ingress[0].ports, [port(services::Protocol::Udp, 53)]);
        assert_eq!(read.annotations.len(), 2);
        assert_eq!(read.annotation("loadbalancerIPs"), Some("10.0.0.5"));
        assert_eq!(read.annotation("vipHost"), Some("node-1"));
    }

    #[test]
    fn nulls_and_missing_fields_are_no_errors() {
        let read = service(json!({
            "metadata": {"name": "a", "namespace": "b", "annotations": null, "creationTimestamp": null},
            "spec": {"type": "ClusterIP", "ports": null, "loadBalancerClass": null, "ipFamilies": null},
            "status": {"loadBalancer": {"ingress": null}},
        }));
        assert!(!read.load_balancer && read.ports.is_empty() && read.class.is_none());
        assert_eq!(service(json!({"metadata": {"name": "a"}, "spec": null})).key, services::Key::new("", "a"));
        assert!(
            slice(json!({"metadata": {"name": "a", "namespace": "b", "labels": null}, "endpoints": null}))
                .endpoints
                .is_empty()
        );
        let node: Node = serde_json::from_str(r#"{"metadata":{"name":"n"}}"#).expect("a Node");
        assert!(!node.ready && node.internal_ips.is_empty());
    }

    #[test]
    fn conditions_that_are_missing_are_what_the_api_says() {
        let read = slice(json!({
            "metadata": {"name": "web-abc", "namespace": "apps", "labels": {"kubernetes.io/service-name": "web", "x": "y"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.1.0.1"], "nodeName": "node-1", "conditions": {"ready": true, "serving": true}},
                {"addresses": ["10.1.0.2"], "nodeName": "node-2", "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.1.0.3"], "hostname": "node-3", "conditions": {"ready": false}},
                {"addresses": ["10.1.0.4"]},
                {"addresses": ["10.1.0.5"], "conditions": {"ready": null, "serving": null}},
            ],
        }));
        assert_eq!((&*read.service, read.key), ("web", services::Key::new("apps", "web-abc")));
        let states: Vec<(&str, &str, bool, bool)> =
            read.endpoints.iter().map(|e| (&*e.node, &*e.hostname, e.ready, e.serving)).collect();
        let expected = [
            ("node-1", "", true, true),
            ("node-2", "", false, true),
            ("", "node-3", false, false),
            ("", "", true, true),
            ("", "", true, true),
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn endpoints_are_one_slice_of_the_service_of_their_name() {
        let read = slice(json!({
            "metadata": {"name": "web", "namespace": "apps", "labels": {"a": "b"}},
            "subsets": [
                {"addresses": [{"ip": "10.1.0.1", "nodeName": "node-1", "targetRef": {"kind": "Pod"}}], "ports": [{"port": 80}]},
                {"notReadyAddresses": [{"ip": "10.1.0.2", "nodeName": "node-2"}]},
            ],
        }));
        assert_eq!((&*read.service, read.endpoints.len(), &*read.endpoints[0].node), ("web", 1, "node-1"));
        assert!(read.endpoints[0].ready && read.endpoints[0].serving);
        let none = slice(json!({"kind": "Endpoints", "metadata": {"name": "web", "namespace": "apps"}}));
        assert_eq!((&*none.service, none.endpoints.len()), ("web", 0));
    }

    #[test]
    fn a_node_keeps_roles_and_our_labels() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "node-1", "labels": {
                "kubernetes.io/hostname": "node-1", "node-role.kubernetes.io/control-plane": "",
                "kube-vip.io/has-ip": "10.0.0.100", "service-provided.kube-vip.io/web.apps": "10.0.0.5",
            }},
            "status": {
                "addresses": [{"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": "10.0.0.1"},
                    {"type": "InternalIP", "address": "fd00::1"}, {"type": "ExternalIP", "address": "192.0.2.1"}],
                "conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
            },
        }))
        .expect("a Node");
        assert_eq!((node.labels.len(), node.ready), (3, true));
        assert_eq!(node.internal_ips, [IpAddr::from([10, 0, 0, 1]), "fd00::1".parse().expect("an address")]);
    }
}
