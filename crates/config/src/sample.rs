//! Samples to begin with: a configuration file and a static pod, as `kube-vip sample` printed them in 0.1.

mod run;

use crate::message::Place;
use crate::message::{Findings, Message};
use crate::outside;
use crate::start::StartArgs;
use crate::tree::{Item, Value, of};

pub use run::{RunArgs, pod as run_pod, unit as run_unit};

/// The values that kube-vip 0.1 printed when nothing was asked for; addresses are changed by flags and environment.
const DEFAULTS: &[(&str, &str)] = &[
    ("interface", "eth0"),
    ("vip", "192.168.0.1"),
    ("singleNode", "false"),
    ("startAsLeader", "false"),
    ("arp", "false"),
    ("addPeersToLB", "false"),
    ("localPeer", "server1:192.168.0.1:10000"),
    ("remotePeers", "server2:192.168.0.2:10000,server3:192.168.0.3:10000"),
    ("lbBindToVip", "false"),
    ("lbType", "tcp"),
    ("lbName", "Example Load Balancer"),
    ("lbPort", "8080"),
    ("lbBackends", "192.168.0.1:8080,192.168.0.2:8080"),
];

/// What Baton prints instead: a sample that its own reader accepts (in kube-vip's, the VIP is server1's address).
const OURS: &[(&str, &str)] = &[
    ("vip", "192.168.0.75"),
    ("arp", "true"),
    ("lbBindToVip", "true"),
    ("lbName", "Kubernetes Control Plane"),
    ("lbPort", "6443"),
    ("lbBackends", "192.168.0.1:6444,192.168.0.2:6444,192.168.0.3:6444"),
];

/// A configuration file with the given flags and environment in it.
///
/// # Errors
/// What is wrong with a flag or a variable.
pub fn config(args: &StartArgs, env: &[(String, String)], kube_vip: bool) -> Result<String, Vec<Message>> {
    let mut found = Findings::default();
    let mut root = Item::new(Place::Nowhere, String::new(), Value::Map(Vec::new()));
    let ours = if kube_vip { &[] } else { OURS };
    let defaults = DEFAULTS.iter().chain(ours).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    outside::flags(&mut root, &defaults.collect::<Vec<_>>(), &mut found);
    outside::flags(&mut root, &args.flags, &mut found);
    outside::environment(&mut root, env, &mut found);
    if found.refused() {
        return Err(found.finish(None));
    }
    Ok(if kube_vip { as_kube_vip(&root) } else { as_baton(&root) })
}

/// A value as YAML. Quoted when it could mean something else.
fn yaml(item: Option<&Item>) -> String {
    match item.map(|item| &item.value) {
        Some(Value::Text(text)) => quoted(text),
        Some(Value::Bool(bool)) => bool.to_string(),
        Some(Value::Int(int)) => int.to_string(),
        Some(Value::Ip(ip)) => quoted(&ip.to_string()),
        _ => "\"\"".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | '/' | '-');
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let number = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    let word = words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if begins && !number && !word && text.chars().all(safe) && text.trim() == text {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn int(item: Option<&Item>) -> u64 {
    of(item, Item::int).unwrap_or(0)
}

fn first_balancer(root: &Item) -> Option<&Item> {
    root.get("loadBalancers").and_then(|list| list.list().first())
}

/// Keys as up to 0.1.4, in its order; what both generations of kube-vip 0.1 and Baton read.
fn as_baton(root: &Item) -> String {
    let peer = |item: &Item, indent: &str| {
        let (id, address) = (yaml(item.get("id")), yaml(item.get("address")));
        format!("id: {id}\n{indent}address: {address}\n{indent}port: {}\n", int(item.get("port")))
    };
    let mut out = String::new();
    if let Some(local) = root.get("localPeer") {
        out.push_str(&format!("localPeer:\n  {}", peer(local, "  ")));
    }
    out.push_str("remotePeers:\n");
    for item in root.get("remotePeers").map(Item::list).unwrap_or_default() {
        out.push_str(&format!("- {}", peer(item, "  ")));
    }
    for key in ["addPeersAsBackends", "vip", "gratuitousARP", "singleNode", "startAsLeader", "interface"] {
        // An address given as `address` is the vip; the sample has one name for it.
        let item = if key == "vip" { root.get("address").or_else(|| root.get("vip")) } else { root.get(key) };
        out.push_str(&format!("{key}: {}\n", yaml(item)));
    }
    let Some(balancer) = first_balancer(root) else { return out };
    out.push_str("loadBalancers:\n");
    for (i, key) in ["name", "type", "port", "bindToVip"].iter().enumerate() {
        let dash = if i == 0 { "-" } else { " " };
        out.push_str(&format!("{dash} {key}: {}\n", yaml(balancer.get(key))));
    }
    if let Some(port) = balancer.get("backendPort") {
        out.push_str(&format!("  backendPort: {}\n", int(Some(port))));
    }
    out.push_str("  backends:\n");
    for backend in balancer.get("backends").map(Item::list).unwrap_or_default() {
        out.push_str(&format!(
            "  - port: {}\n    address: {}\n",
            int(backend.get("port")),
            yaml(backend.get("address"))
        ));
    }
    out
}

/// Byte for byte what 0.1.5 printed: Go names, sorted.
fn as_kube_vip(root: &Item) -> String {
    let value = |key: &str| yaml(root.get(key));
    let mut out = format!("AddPeersAsBackends: {}\n", value("addPeersAsBackends"));
    out.push_str(&format!(
        "GratuitousARP: {}\nInterface: {}\nLoadBalancers:\n",
        value("gratuitousARP"),
        value("interface")
    ));
    if let Some(balancer) = first_balancer(root) {
        out.push_str(&format!("- BackendPort: {}\n  Backends:\n", int(balancer.get("backendPort"))));
        for backend in balancer.get("backends").map(Item::list).unwrap_or_default() {
            let (address, port) = (yaml(backend.get("address")), int(backend.get("port")));
            out.push_str(&format!("  - Address: {address}\n    ParsedURL: null\n    Port: {port}\n    RawURL: \"\"\n"));
        }
        let own = |key: &str| yaml(balancer.get(key));
        out.push_str(&format!("  BindToVip: {}\n  Name: {}\n", own("bindToVip"), own("name")));
        out.push_str(&format!("  Port: {}\n  Type: {}\n", int(balancer.get("port")), own("type")));
    }
    let peer = |item: &Item| {
        let (address, id) = (yaml(item.get("address")), yaml(item.get("id")));
        format!("Address: {address}\n  ID: {id}\n  Port: {}\n", int(item.get("port")))
    };
    if let Some(local) = root.get("localPeer") {
        out.push_str(&format!("LocalPeer:\n  {}", peer(local)));
    }
    out.push_str("RemotePeers:\n");
    for item in root.get("remotePeers").map(Item::list).unwrap_or_default() {
        out.push_str(&format!("- {}", peer(item)));
    }
    let vip = yaml(root.get("address").or_else(|| root.get("vip")));
    out.push_str(&format!(
        "SingleNode: {}\nStartAsLeader: {}\nVIP: {vip}\n",
        value("singleNode"),
        value("startAsLeader")
    ));
    out
}

/// What a manifest needs to know.
#[derive(Clone, Debug)]
pub struct ManifestArgs<'a> {
    /// The image, with its tag.
    pub image: &'a str,
    /// Name of the pod and its container: `baton`, or `kube-vip` under that name.
    pub name: &'a str,
    /// The program in the image, when the image has no entry point that takes `start`.
    pub command: Option<&'a str>,
}

/// A static pod that runs `start -c /etc/kube-vip/config.yaml` on the host's network.
///
/// Under the name `kube-vip` the pod of 0.1.5 with NET_RAW added, which announcing needs. Under any other name also what
/// lets the keeper be on time (SYS_NICE, IPC_LOCK), and the directories that `status` and a restart look into.
#[must_use]
pub fn manifest(args: &ManifestArgs<'_>) -> String {
    let own = args.name != "kube-vip";
    let command = args.command.map(|command| format!("    command:\n    - {}\n", quoted(command))).unwrap_or_default();
    let capabilities: &[&str] =
        if own { &["IPC_LOCK", "NET_ADMIN", "NET_RAW", "SYS_NICE"] } else { &["NET_ADMIN", "NET_RAW", "SYS_TIME"] };
    let mounts: &[(&str, &str)] = if own { &[("/run/baton", "run"), ("/var/lib/baton", "state")] } else { &[] };
    let added: String = capabilities.iter().map(|name| format!("        - {name}\n")).collect();
    let inside: String =
        mounts.iter().map(|(path, name)| format!("    - mountPath: {path}\n      name: {name}\n")).collect();
    let outside: String = mounts
        .iter()
        .map(|(path, name)| {
            format!("  - hostPath:\n      path: {path}\n      type: DirectoryOrCreate\n    name: {name}\n")
        })
        .collect();
    format!(
        "\
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  name: {name}
  namespace: kube-system
spec:
  containers:
  - args:
    - start
    - -c
    - /etc/kube-vip/config.yaml
{command}    image: {image}
    name: {name}
    resources: {{}}
    securityContext:
      capabilities:
        add:
{added}    volumeMounts:
    - mountPath: /etc/kube-vip/
      name: config
{inside}  hostNetwork: true
  volumes:
  - hostPath:
      path: /etc/kube-vip/
    name: config
{outside}status: {{}}
",
        name = quoted(args.name),
        image = image(args.image),
    )
}

/// An image name as YAML: its colons are harmless, because no blank follows them.
fn image(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | ':' | '@');
    if !name.is_empty()
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !name.ends_with(':')
    {
        name.to_owned()
    } else {
        quoted(name)
    }
}
