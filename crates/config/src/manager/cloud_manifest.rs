//! `baton cloud-provider manifest`: the original's ServiceAccount, role, binding and Deployment, with no more rights
//! than are used.

use super::emit::{Yaml, map, text, texts};

const NAMESPACE: &str = "kube-system";
const ACCOUNT: &str = "kube-vip-cloud-controller";
const ROLE: &str = "system:kube-vip-cloud-controller-role";
const NAME: &str = "kube-vip-cloud-provider";
/// Of `/healthz` and `/metrics`: that of cloud controller managers.
const PORT: i64 = 10_258;

/// The text, for an image with its tag.
#[must_use]
pub fn cloud_manifest(image: &str) -> String {
    let account = map([
        ("apiVersion", text("v1")),
        ("kind", text("ServiceAccount")),
        ("metadata", map([("name", text(ACCOUNT)), ("namespace", text(NAMESPACE))])),
    ]);
    let documents = [account, role(), binding(), deployment(image)];
    documents.iter().map(Yaml::print).collect::<Vec<_>>().join("---\n")
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Yaml {
    map([("apiGroups", texts(&[group])), ("resources", texts(resources)), ("verbs", texts(verbs))])
}

fn role() -> Yaml {
    let rules = vec![
        rule("coordination.k8s.io", &["leases"], &["get", "create", "update", "list", "watch"]),
        rule("", &["configmaps"], &["get", "list", "watch", "create"]),
        rule("", &["events"], &["create", "patch"]),
        rule("", &["services"], &["get", "list", "watch", "update"]),
    ];
    map([
        ("apiVersion", text("rbac.authorization.k8s.io/v1")),
        ("kind", text("ClusterRole")),
        ("metadata", map([("name", text(ROLE))])),
        ("rules", Yaml::List(rules)),
    ])
}

fn binding() -> Yaml {
    let subject = map([("kind", text("ServiceAccount")), ("name", text(ACCOUNT)), ("namespace", text(NAMESPACE))]);
    let role =
        map([("apiGroup", text("rbac.authorization.k8s.io")), ("kind", text("ClusterRole")), ("name", text(ROLE))]);
    map([
        ("apiVersion", text("rbac.authorization.k8s.io/v1")),
        ("kind", text("ClusterRoleBinding")),
        ("metadata", map([("name", text("system:kube-vip-cloud-controller-binding"))])),
        ("roleRef", role),
        ("subjects", Yaml::List(vec![subject])),
    ])
}

fn deployment(image: &str) -> Yaml {
    let labels = || map([("app", text("kube-vip")), ("component", text(NAME))]);
    let toleration = |key: &str| map([("effect", text("NoSchedule")), ("key", text(key))]);
    let preference = |key: &str| {
        let expression = map([("key", text(key)), ("operator", text("Exists"))]);
        map([("preference", map([("matchExpressions", Yaml::List(vec![expression]))])), ("weight", Yaml::Int(10))])
    };
    let roles = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
    let preferred = Yaml::List(roles.iter().map(|role| preference(role)).collect());
    let affinity = map([("nodeAffinity", map([("preferredDuringSchedulingIgnoredDuringExecution", preferred)]))]);
    let security = map([
        ("allowPrivilegeEscalation", Yaml::Bool(false)),
        ("capabilities", map([("drop", texts(&["ALL"]))])),
        ("readOnlyRootFilesystem", Yaml::Bool(true)),
        ("runAsNonRoot", Yaml::Bool(true)),
        ("runAsUser", Yaml::Int(65_532)),
        ("seccompProfile", map([("type", text("RuntimeDefault"))])),
    ]);
    let port = format!("--port={PORT}");
    let probe = map([("path", text("/healthz")), ("port", Yaml::Int(PORT))]);
    let container = map([
        ("args", texts(&["cloud-provider", "--leader-elect-resource-name=kube-vip-cloud-controller", &port])),
        ("image", text(image)),
        ("imagePullPolicy", text("IfNotPresent")),
        ("livenessProbe", map([("httpGet", probe)])),
        ("name", text(NAME)),
        ("ports", Yaml::List(vec![map([("containerPort", Yaml::Int(PORT)), ("name", text("metrics"))])])),
        ("resources", map([])),
        ("securityContext", security),
    ]);
    let pod = map([
        ("affinity", affinity),
        ("containers", Yaml::List(vec![container])),
        ("serviceAccountName", text(ACCOUNT)),
        ("tolerations", Yaml::List(roles.iter().rev().map(|role| toleration(role)).collect())),
    ]);
    let spec = map([
        ("replicas", Yaml::Int(1)),
        ("selector", map([("matchLabels", labels())])),
        ("strategy", map([])),
        ("template", map([("metadata", map([("labels", labels())])), ("spec", pod)])),
    ]);
    map([
        ("apiVersion", text("apps/v1")),
        ("kind", text("Deployment")),
        ("metadata", map([("name", text(NAME)), ("namespace", text(NAMESPACE))])),
        ("spec", spec),
    ])
}
