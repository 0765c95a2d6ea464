//! Roles of the generated ServiceAccount: kube-vip's and one for Events; or the least that the settings need.

use super::cloud;
use super::emit::{Yaml, map, text, texts};
use super::settings::{LeaseRef, ManagerSettings};

const API_GROUP: &str = "rbac.authorization.k8s.io";
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const COORDINATION: &str = "coordination.k8s.io";

/// Which kinds of role and binding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// A Role in one namespace instead of a ClusterRole.
    pub(crate) role: bool,
    /// A RoleBinding instead of a ClusterRoleBinding; a Role has no other.
    pub(crate) rolebinding: bool,
    /// Where the ServiceAccount is.
    pub(crate) namespace: &'a str,
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Yaml {
    map([("apiGroups", texts(&[group])), ("resources", texts(resources)), ("verbs", texts(verbs))])
}

fn named_rule(group: &str, resources: &[&str], names: &[&str], verbs: &[&str]) -> Yaml {
    rule(group, resources, verbs).with("resourceNames", texts(names))
}

fn account(namespace: &str) -> Yaml {
    map([
        ("apiVersion", text("v1")),
        ("kind", text("ServiceAccount")),
        ("metadata", map([("name", text("kube-vip")), ("namespace", text(namespace))])),
    ])
}

/// A role: in a namespace, or of the cluster.
fn role(kind: &str, name: &str, namespace: Option<&str>, rules: Vec<Yaml>) -> Yaml {
    map([
        ("apiVersion", text(API_VERSION)),
        ("kind", text(kind)),
        ("metadata", metadata(name, namespace)),
        ("rules", Yaml::List(rules)),
    ])
}

fn metadata(name: &str, namespace: Option<&str>) -> Yaml {
    let named = map([("name", text(name))]);
    match namespace {
        Some(namespace) => named.with("namespace", text(namespace)),
        None => named,
    }
}

/// Who is bound to what.
struct Binding<'a> {
    kind: &'a str,
    name: &'a str,
    namespace: Option<&'a str>,
    role_kind: &'a str,
    role_name: &'a str,
    account_namespace: &'a str,
}

impl Binding<'_> {
    fn yaml(&self) -> Yaml {
        let subject = map([
            ("kind", text("ServiceAccount")),
            ("name", text("kube-vip")),
            ("namespace", text(self.account_namespace)),
        ]);
        map([
            ("apiVersion", text(API_VERSION)),
            ("kind", text(self.kind)),
            ("metadata", metadata(self.name, self.namespace)),
            (
                "roleRef",
                map([("apiGroup", text(API_GROUP)), ("kind", text(self.role_kind)), ("name", text(self.role_name))]),
            ),
            ("subjects", Yaml::List(vec![subject])),
        ])
    }
}

/// Documents of kube-vip's own generator, with `events` added, and what `--ipam` needs.
pub(crate) fn same(scope: &Scope<'_>, settings: &ManagerSettings) -> Vec<Yaml> {
    let mut rules = vec![
        rule("", &["services/status"], &["update"]),
        rule("", &["services", "endpoints"], &["list", "get", "watch", "update"]),
        rule("", &["nodes"], &["list", "get", "watch", "update", "patch"]),
        rule(COORDINATION, &["leases"], &["list", "get", "watch", "update", "create"]),
        rule("discovery.k8s.io", &["endpointslices"], &["list", "get", "watch", "update"]),
        rule("", &["pods"], &["list"]),
    ];
    if !scope.role {
        rules.push(rule("networking.k8s.io", &["servicecidrs"], &["list", "get", "watch"]));
    }
    rules.push(events());
    if allocates(settings) {
        rules.push(pools());
    }
    documents(scope, rules)
}

/// It gives out addresses, too.
fn allocates(settings: &ManagerSettings) -> bool {
    settings.services.as_ref().is_some_and(|services| services.ipam.is_some())
}

/// The pools' ConfigMap, which is created empty when it is missing.
fn pools() -> Yaml {
    rule("", &["configmaps"], &["list", "get", "watch", "create"])
}

fn events() -> Yaml {
    rule("", &["events"], &["create", "patch"])
}

fn documents(scope: &Scope<'_>, rules: Vec<Yaml>) -> Vec<Yaml> {
    let (kind, name, namespace) = match scope.role {
        true => ("Role", "kube-vip", Some(scope.namespace)),
        false => ("ClusterRole", "system:kube-vip-role", None),
    };
    let local = scope.role || scope.rolebinding;
    let binding = Binding {
        kind: if local { "RoleBinding" } else { "ClusterRoleBinding" },
        name: if local { "kube-vip" } else { "system:kube-vip-binding" },
        namespace: local.then_some(scope.namespace),
        role_kind: kind,
        role_name: name,
        account_namespace: scope.namespace,
    };
    vec![account(scope.namespace), role(kind, name, namespace, rules), binding.yaml()]
}

/// The least that these settings need. Leases are written by name; nothing is written that is only read.
pub(crate) fn least(scope: &Scope<'_>, settings: &ManagerSettings) -> Vec<Yaml> {
    let mut rules = least_rules(settings);
    let names = lease_names(settings);
    if settings.services.as_ref().is_some_and(|services| services.per_service || services.on_demand) {
        // Their names are those of Services, which nobody knows beforehand, in the Services' namespaces.
        rules.push(rule(COORDINATION, &["leases"], &["list", "get", "watch", "update", "create"]));
        return documents(scope, rules);
    }
    if scope.role {
        let here = |lease: &&LeaseRef| lease.namespace.as_deref().is_none_or(|ns| ns == scope.namespace);
        rules.extend(lease_rules(&names.iter().filter(here).collect::<Vec<_>>()));
        return documents(scope, rules);
    }
    let mut out = documents(scope, rules);
    let mut namespaces: Vec<&str> =
        names.iter().map(|lease| lease.namespace.as_deref().unwrap_or(scope.namespace)).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    for namespace in namespaces {
        let here: Vec<&LeaseRef> =
            names.iter().filter(|lease| lease.namespace.as_deref().unwrap_or(scope.namespace) == namespace).collect();
        out.push(role("Role", "kube-vip-leases", Some(namespace), lease_rules(&here)));
        let binding = Binding {
            kind: "RoleBinding",
            name: "kube-vip-leases",
            namespace: Some(namespace),
            role_kind: "Role",
            role_name: "kube-vip-leases",
            account_namespace: scope.namespace,
        };
        out.push(binding.yaml());
    }
    out
}

/// The Leases whose names are known.
fn lease_names(settings: &ManagerSettings) -> Vec<LeaseRef> {
    let cp = settings.control_plane.as_ref().map(|cp| cp.lease.clone());
    let services = settings.services.as_ref().map(|services| services.lease.clone());
    let ipam = allocates(settings).then(|| LeaseRef {
        namespace: Some(cloud::CLOUD_LEASE_NAMESPACE.to_owned()),
        name: cloud::CLOUD_LEASE.to_owned(),
    });
    let mut names: Vec<LeaseRef> = cp.into_iter().chain(services).chain(ipam).collect();
    names.dedup();
    names
}

/// Reading and creating cannot be bound to names: a list has none, and neither has what is not there yet.
fn lease_rules(leases: &[&LeaseRef]) -> Vec<Yaml> {
    let names: Vec<&str> = leases.iter().map(|lease| lease.name.as_str()).collect();
    vec![
        rule(COORDINATION, &["leases"], &["list", "watch", "create"]),
        named_rule(COORDINATION, &["leases"], &names, &["get", "update"]),
    ]
}

fn least_rules(settings: &ManagerSettings) -> Vec<Yaml> {
    let read = ["list", "get", "watch"];
    let mut rules = Vec::new();
    let endpoints = settings.services.as_ref().is_some_and(|services| services.endpoints);
    if let Some(services) = &settings.services {
        rules.push(rule("", &["services"], &["list", "get", "watch", "update"]));
        if services.write_status {
            rules.push(rule("", &["services/status"], &["update"]));
        }
    }
    if allocates(settings) {
        rules.push(pools());
    }
    // The API servers are found in the slices of the Service `kubernetes`, too.
    rules.push(rule("discovery.k8s.io", &["endpointslices"], &read));
    if endpoints {
        rules.push(rule("", &["endpoints"], &read));
    }
    let balancer = settings.control_plane.as_ref().is_some_and(|cp| cp.balancer.is_some());
    match (settings.node_labels, balancer) {
        (true, _) => rules.push(rule("", &["nodes"], &["list", "get", "watch", "update", "patch"])),
        (false, true) => rules.push(rule("", &["nodes"], &read)),
        (false, false) => {}
    }
    rules.push(events());
    rules
}
