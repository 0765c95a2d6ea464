//! `manifest pod|daemonset|rbac` and `kubeadm init|join`: what kube-vip's generators print, byte for byte but for its
//! mistakes.

use crate::message::{Findings, Message, Place, Severity};

use super::cloud;
use super::emit::{Yaml, map, text, texts};
use super::environment::environment;
use super::rbac::{self, Scope};
use super::settle::Settle;
use super::values::Values;

/// Our image, without a tag.
pub const IMAGE: &str = "ghcr.io/baton-vip/baton";

/// What is to be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// `manifest pod`.
    Pod,
    /// `manifest daemonset`; `taint`: on control-plane nodes, whatever their taints.
    DaemonSet {
        /// `--taint`.
        taint: bool,
    },
    /// `manifest rbac`.
    Rbac {
        /// `--role`.
        role: bool,
        /// `--rolebinding`.
        rolebinding: bool,
    },
    /// `kubeadm init` and `kubeadm join`.
    Kubeadm,
}

/// What a manifest is made of.
#[derive(Clone, Copy, Debug)]
pub struct ManifestArgs<'a> {
    /// What.
    pub what: Manifest,
    /// Flags by name, as for [`super::manager`].
    pub flags: &'a [(String, String)],
    /// Environment variables.
    pub env: &'a [(String, String)],
    /// Path and text of the file that [`super::manager_file`] names.
    pub file: Option<(&'a str, &'a str)>,
    /// `--image`: without a tag it gets the version as one.
    pub image: &'a str,
    /// This version.
    pub version: &'a str,
    /// `--inCluster`: by a ServiceAccount, not by a kubeconfig of the host.
    pub in_cluster: bool,
    /// `--minimal`: least privilege.
    pub minimal: bool,
    /// `kube-vip` was typed.
    pub kube_vip: bool,
}

/// Why there is no manifest.
#[derive(Clone, Debug)]
pub struct NoManifest {
    /// kube-vip prints its help, too.
    pub help: bool,
    /// What is wrong.
    pub messages: Vec<Message>,
}

/// The text of a manifest, with the blank line at its end that kube-vip prints, and what is to be said about it.
///
/// # Errors
/// What is wrong with the settings.
pub fn manifest(args: &ManifestArgs<'_>) -> Result<(String, Vec<Message>), NoManifest> {
    let mut found = Findings::default();
    let values = Values::read(args.flags, args.env, args.file.map(|(_, text)| text), args.kube_vip, &mut found);
    let address = !values.text("Address").is_empty() || !values.text("VIP").is_empty();
    let mut help = values.bool("EnableControlPlane") && !address && !values.bool("DDNS");
    let pools = cloud::pools(args.env, &mut found);
    let settings = Settle { values: &values, found: &mut found, service: false, manifest: true }.all("node", &pools);
    if args.what == Manifest::Kubeadm {
        for (missing, key, expected) in [
            (values.text("Interface").is_empty(), "Interface", "--interface (vip_interface)"),
            (!address && !help, "Address", "--address (address): an IP address or a DNS name"),
        ] {
            if missing {
                help = true;
                found.put(Severity::Error, &Place::Nowhere, key, "is missing", "", expected);
            }
        }
    }
    super::values::without_effect(&values, &mut found);
    let refused = found.refused();
    let mut messages = found.finish(args.file);
    if refused {
        return Err(NoManifest { help, messages });
    }
    if matches!(args.what, Manifest::Rbac { .. }) && !args.minimal {
        // kube-vip's rights are the same whatever the settings, so nobody need give any.
        messages.retain(|message| message.place != Place::Nowhere);
    }
    let namespace = values.some_text("ServiceNamespace").unwrap_or_else(|| "kube-system".to_owned());
    let text = match args.what {
        Manifest::Pod | Manifest::Kubeadm => format!("{}\n", pod(args, &values, &namespace).print()),
        Manifest::DaemonSet { taint } => format!("{}\n", daemonset(args, &values, &namespace, taint).print()),
        Manifest::Rbac { role, rolebinding } => {
            let scope = Scope { role, rolebinding, namespace: &namespace };
            let documents = if args.minimal { rbac::least(&scope, &settings) } else { rbac::same(&scope, &settings) };
            documents.iter().map(|document| format!("---\n{}\n", document.print())).collect()
        }
    };
    Ok((text, messages))
}

/// The prefix lengths that kube-vip writes for addresses when nobody gave any.
pub(super) fn subnet(values: &Values) -> String {
    let addresses = values.text("Address");
    let one = |address: &str| match address.trim().parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_ipv4() => "32",
        Ok(_) => "128",
        Err(_) => match values.text("DNSMode").as_str() {
            "ipv6" => "128",
            "dual" => "32,128",
            _ => "32",
        },
    };
    let items = addresses.split(',').filter(|address| !address.trim().is_empty());
    items.map(one).collect::<Vec<_>>().join(",")
}

/// The image with a tag.
fn image(args: &ManifestArgs<'_>) -> String {
    let last = args.image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { args.image.to_owned() } else { format!("{}:{}", args.image, args.version) }
}

fn security(args: &ManifestArgs<'_>, values: &Values) -> Yaml {
    let capabilities =
        map([("capabilities", map([("add", texts(&["NET_ADMIN", "NET_RAW"])), ("drop", texts(&["ALL"]))]))]);
    if args.minimal {
        let profile = map([("type", text("RuntimeDefault"))]);
        return capabilities.with("allowPrivilegeEscalation", Yaml::Bool(false)).with("seccompProfile", profile);
    }
    // kube-vip needs it for sysctls; Baton does not, but a manifest is the same under both.
    match values.text("LoadBalancerForwardingMethod").as_str() {
        "masquerade" => map([("privileged", Yaml::Bool(true))]),
        _ => capabilities,
    }
}

/// Where the kubeconfig is: path on the host, path inside, kind of the path.
struct Mount {
    host: String,
    inside: &'static str,
    directory: bool,
}

fn mount(args: &ManifestArgs<'_>, values: &Values) -> Option<Mount> {
    const FILE: &str = "/etc/kubernetes/admin.conf";
    if args.in_cluster {
        return None;
    }
    let host = values.text("K8sConfigFile");
    // The directory has super-admin.conf, too, which `kubeadm init` needs, and a renewed admin.conf is seen.
    if args.what == Manifest::Kubeadm && !args.kube_vip && host == FILE {
        return Some(Mount { host: "/etc/kubernetes".to_owned(), inside: "/etc/kubernetes", directory: true });
    }
    Some(Mount { host, inside: FILE, directory: false })
}

fn spec(args: &ManifestArgs<'_>, values: &Values) -> Yaml {
    // An empty variable is none, so only a flag can switch metrics off.
    let quiet = values.text("PrometheusHTTPServer").is_empty();
    let args_of: &[&str] = if quiet { &["manager", "--prometheusHTTPServer="] } else { &["manager"] };
    let mut container = map([
        ("args", texts(args_of)),
        ("env", Yaml::List(environment(values, &subnet(values)))),
        ("image", text(image(args))),
        ("imagePullPolicy", text("IfNotPresent")),
        ("name", text("kube-vip")),
        ("resources", map([])),
        ("securityContext", security(args, values)),
    ]);
    let mut spec = map([("hostNetwork", Yaml::Bool(true))]);
    match mount(args, values) {
        None => spec = spec.with("serviceAccountName", text("kube-vip")),
        Some(mount) => {
            let mut inside = map([("mountPath", text(mount.inside)), ("name", text("kubeconfig"))]);
            let mut path = map([("path", text(mount.host))]);
            if mount.directory {
                inside = inside.with("readOnly", Yaml::Bool(true));
                path = path.with("type", text("Directory"));
            }
            container = container.with("volumeMounts", Yaml::List(vec![inside]));
            spec = spec.with("volumes", Yaml::List(vec![map([("hostPath", path), ("name", text("kubeconfig"))])]));
            if !args.minimal {
                let alias = map([("hostnames", texts(&["kubernetes"])), ("ip", text("127.0.0.1"))]);
                spec = spec.with("hostAliases", Yaml::List(vec![alias]));
            }
        }
    }
    spec.with("containers", Yaml::List(vec![container]))
}

fn pod(args: &ManifestArgs<'_>, values: &Values, namespace: &str) -> Yaml {
    map([
        ("apiVersion", text("v1")),
        ("kind", text("Pod")),
        ("metadata", map([("name", text("kube-vip")), ("namespace", text(namespace))])),
        ("spec", spec(args, values)),
        ("status", map([])),
    ])
}

fn daemonset(args: &ManifestArgs<'_>, values: &Values, namespace: &str, taint: bool) -> Yaml {
    let name = || map([("app.kubernetes.io/name", text("kube-vip-ds"))]);
    let labels = || name().with("app.kubernetes.io/version", text(args.version));
    let mut spec = spec(args, values);
    if taint {
        spec = spec.with("affinity", affinity()).with("tolerations", tolerations());
    }
    let metadata = map([("labels", labels()), ("name", text("kube-vip-ds")), ("namespace", text(namespace))]);
    map([
        ("apiVersion", text("apps/v1")),
        ("kind", text("DaemonSet")),
        ("metadata", metadata),
        (
            "spec",
            map([
                ("selector", map([("matchLabels", name())])),
                ("template", map([("metadata", map([("labels", labels())])), ("spec", spec)])),
                ("updateStrategy", map([])),
            ]),
        ),
    ])
}

/// Control-plane nodes, by the label of old and by today's.
fn affinity() -> Yaml {
    let term = |key: &str| {
        let expression = map([("key", text(key)), ("operator", text("Exists"))]);
        map([("matchExpressions", Yaml::List(vec![expression]))])
    };
    let terms = vec![term("node-role.kubernetes.io/master"), term("node-role.kubernetes.io/control-plane")];
    let required = map([("nodeSelectorTerms", Yaml::List(terms))]);
    map([("nodeAffinity", map([("requiredDuringSchedulingIgnoredDuringExecution", required)]))])
}

fn tolerations() -> Yaml {
    let one = |effect: &str| map([("effect", text(effect)), ("operator", text("Exists"))]);
    Yaml::List(vec![one("NoSchedule"), one("NoExecute")])
}
