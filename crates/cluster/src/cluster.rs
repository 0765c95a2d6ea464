//! A cluster: nodes with an API server each, a host with etcd and the controllers, a client, and an observer of the wire.

mod nodes;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use baton_lab::backend::Backend;
use baton_lab::enter;
use baton_lab::host::Host;
use baton_lab::lab::{INTERFACE, Port, Switch, v4, v6};
use baton_lab::observer::Observer;
use nix::unistd::Pid;
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::api::{Api, credentials};
use crate::audit::Mark;
use crate::certificates::{Authority, MASTERS, User};
use crate::components::{API_PORT, API_SERVICE, Components, audit_log, audit_policy, log};
use crate::daemon::Daemon;
use crate::pods::{self, Pod, PodSpec};
use crate::programs::Programs;

/// Number of the client's host.
const CLIENT: u8 = 10;
/// Number of the host with etcd.
const STORE: u8 = 30;
/// Port of a node's own server, which answers with the node's digit.
pub const NODE_PORT: u16 = 7000;
/// How long an API server may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes, each with an API server. The host with etcd has one, too, for the test itself and what no fault shall touch.
    pub nodes: u8,
    /// Whether the nodes carry pods and run kube-proxy.
    pub pods: bool,
    /// Addresses that are watched on the wire.
    pub watched: Vec<IpAddr>,
    /// Time between two requests of the observer.
    pub interval: Duration,
}

impl Plan {
    /// Three nodes with pods; `watched` is looked at on the wire.
    #[must_use]
    pub fn new(watched: Vec<IpAddr>) -> Plan {
        Plan { nodes: 3, pods: true, watched, interval: baton_lab::observer::INTERVAL }
    }
}

/// One node.
struct Node {
    number: u8,
    daemon: Option<Daemon>,
    powered: Option<Powered>,
}

/// What a node has while it has power.
struct Powered {
    // What lives in the host's namespace goes first.
    _server: Backend,
    pods: BTreeMap<String, Pod>,
    places: u8,
    port: Port,
    api: Option<Pid>,
    daemon: Option<Pid>,
    host: Host,
}

/// A running cluster.
pub struct Cluster {
    observer: Observer,
    nodes: Vec<Node>,
    client: Host,
    store: Host,
    store_api: Option<Pid>,
    switch: Switch,
    components: Components,
    admin: Arc<ClientConfig>,
    admin_conf: PathBuf,
    proxy_conf: PathBuf,
    plan: Plan,
}

impl Cluster {
    /// Starts everything; the daemons come later.
    pub fn start(plan: Plan, programs: Programs) -> io::Result<Cluster> {
        let switch = Switch::new()?;
        let observer = Observer::every(&plan.watched, plan.interval)?;
        let client = Host::new("client")?;
        switch.connect(&client, INTERFACE, CLIENT)?;
        let store = Host::new("store")?;
        for host in (1..=plan.nodes).map(|number| format!("n{number}")).chain(["store".to_owned()]) {
            // Factory-new disks: nothing of an earlier cluster.
            let _ = fs::remove_dir_all(Path::new(enter::DIR).join(&host));
            enter::directory(host)?;
        }
        switch.connect(&store, INTERFACE, STORE)?;
        let authority = Authority::new(enter::directory("pki")?)?;
        let api = format!("https://{}:{API_PORT}", v4(STORE));
        let user = |name, group| User { name, group };
        let admin = authority.client("lab-admin", user("lab-admin", Some(MASTERS)))?;
        let admin_conf = authority.kubeconfig("lab-admin", user("lab-admin", Some(MASTERS)), &api)?;
        let proxy_conf = authority.kubeconfig("lab-proxy", user("lab-proxy", Some(MASTERS)), &api)?;
        let controllers = authority.kubeconfig("lab-controllers", user("lab-controllers", Some(MASTERS)), &api)?;
        let admin = credentials(&authority.certificate(), Some(&admin))?;
        let server = authority.server("apiserver", server_names(&plan))?;
        let audit = enter::directory("pki")?.join("audit.yaml");
        fs::write(&audit, audit_policy())?;
        let components = Components { programs, authority, server, store: IpAddr::V4(v4(STORE)), audit };
        let numbers = 1..=plan.nodes;
        let nodes = numbers.map(|number| Node { number, daemon: None, powered: None }).collect();
        let mut cluster = Cluster {
            observer,
            nodes,
            client,
            store,
            store_api: None,
            switch,
            components,
            admin,
            admin_conf,
            proxy_conf,
            plan,
        };
        cluster.components.etcd(&cluster.store)?;
        cluster.start_store_api()?;
        if !cluster.api().wait_until_ready(PATIENCE) {
            return Err(io::Error::other(cluster.last_words(&cluster.store, "kube-apiserver")));
        }
        cluster.components.controller_manager(&cluster.store, &controllers)?;
        for place in 0..cluster.nodes.len() {
            cluster.power_on(place)?;
        }
        for place in 0..cluster.nodes.len() {
            cluster.register(place)?;
            if !cluster.node_api(place)?.wait_until_ready(PATIENCE) {
                return Err(io::Error::other(cluster.last_words(cluster.host(place), "kube-apiserver")));
            }
        }
        Ok(cluster)
    }

    /// How many nodes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// A node's name.
    #[must_use]
    pub fn name(&self, place: usize) -> String {
        format!("n{}", self.nodes[place].number)
    }

    /// The host of a node, which must have power.
    #[must_use]
    pub fn host(&self, place: usize) -> &Host {
        &self.nodes[place].powered.as_ref().expect("the node has power").host
    }

    /// The client's host.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The observer of the wire.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Who may do everything.
    #[must_use]
    pub fn admin(&self) -> &Arc<ClientConfig> {
        &self.admin
    }

    /// The administrator's kubeconfig, for the API server that no fault of a node touches.
    #[must_use]
    pub fn admin_conf(&self) -> &Path {
        &self.admin_conf
    }

    /// The cluster's authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.components.authority
    }

    /// Kubernetes' programs.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.components.programs
    }

    /// The API, as the administrator, at the API server that no fault of a node touches.
    #[must_use]
    pub fn api(&self) -> Api<'_> {
        Api::new(&self.store, &self.admin, SocketAddr::from((v4(STORE), API_PORT)))
    }

    /// The API, as the administrator, at a node's own API server.
    pub fn node_api(&self, place: usize) -> io::Result<Api<'_>> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT));
        Ok(Api::new(self.host(place), &self.admin, server))
    }

    /// Runs `kubectl` on the client's host, as the administrator; what it printed, or its complaint.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut kubectl = Command::new(self.programs().get("kubectl"));
        kubectl.env("KUBECONFIG", &self.admin_conf).args(arguments).current_dir(enter::DIR);
        let output = self.client.run(move |_| kubectl.output()).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(text) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// Runs `kubectl apply` on a manifest.
    pub fn apply(&self, manifest: &str) -> Result<String, String> {
        let file = Path::new(enter::DIR).join("manifest.yaml");
        fs::write(&file, manifest).map_err(|error| error.to_string())?;
        self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()])
    }

    /// Starts to count requests.
    #[must_use]
    pub fn count_requests(&self) -> Mark {
        let hosts = self.nodes.iter().filter_map(|node| Some(&node.powered.as_ref()?.host));
        Mark::now(hosts.chain([&self.store]).map(audit_log).collect())
    }

    /// Starts a pod on a node and tells the API server that it is ready.
    pub fn add_pod(&mut self, place: usize, spec: PodSpec<'_>) -> io::Result<()> {
        let (number, name) = (self.nodes[place].number, self.name(place));
        let powered = self.powered(place);
        powered.places += 1;
        let pod = Pod::start(&powered.host, number, powered.places, spec)?;
        let mut api = self.api();
        api.create(&format!("/api/v1/namespaces/{}/pods", spec.namespace), &pods::object(spec, &name))?;
        api.patch(&format!("{}/status", pod.path()), &pod.status(IpAddr::V4(v4(number)), true))?;
        self.powered(place).pods.insert(spec.name.to_owned(), pod);
        Ok(())
    }

    /// Says that a pod is ready, or is not.
    pub fn set_ready(&self, place: usize, name: &str, ready: bool) -> io::Result<()> {
        let pod = self.pod(place, name).ok_or(io::ErrorKind::NotFound)?;
        let status = pod.status(IpAddr::V4(v4(self.nodes[place].number)), ready);
        self.api().patch(&format!("{}/status", pod.path()), &status).map(drop)
    }

    /// A pod of a node.
    #[must_use]
    pub fn pod(&self, place: usize, name: &str) -> Option<&Pod> {
        self.nodes[place].powered.as_ref()?.pods.get(name)
    }

    /// Removes a pod and its object.
    pub fn remove_pod(&mut self, place: usize, name: &str) -> io::Result<()> {
        let Some(pod) = self.powered(place).pods.remove(name) else { return Ok(()) };
        self.api().delete(&format!("{}?gracePeriodSeconds=0", pod.path()))
    }

    /// The last lines of a log.
    #[must_use]
    pub fn last_words(&self, host: &Host, component: &str) -> String {
        let text = fs::read_to_string(log(host, component)).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        format!("--- {} {component}\n{}\n", host.name(), all[all.len().saturating_sub(40)..].join("\n"))
    }

    /// What the daemons said last.
    #[must_use]
    pub fn words(&self) -> String {
        let hosts = self.nodes.iter().filter_map(|node| Some(&node.powered.as_ref()?.host));
        hosts.map(|host| self.last_words(host, "daemon")).collect()
    }

    /// The object of a node, as a kubelet would make it.
    fn register(&self, place: usize) -> io::Result<()> {
        let (name, number) = (self.name(place), self.nodes[place].number);
        let node: Value = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name, "node-role.kubernetes.io/control-plane": "",
            }},
        });
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": v4(number)}, {"type": "InternalIP", "address": v6(number)},
                {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Lab", "message": "",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        let mut api = self.api();
        api.create("/api/v1/nodes", &node)?;
        api.patch(&format!("/api/v1/nodes/{name}/status"), &status).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for place in 0..self.nodes.len() {
            let _ = self.power_off(place);
        }
    }
}

/// Every name and address by which somebody may ask for an API server.
fn server_names(plan: &Plan) -> Vec<String> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
        "127.0.0.1",
        "::1",
        API_SERVICE,
        "fd96::1",
    ];
    let numbers = (1..=plan.nodes).chain([STORE]);
    let hosts = numbers.flat_map(|number| [v4(number).to_string(), v6(number).to_string()]);
    let watched = plan.watched.iter().map(ToString::to_string);
    names.into_iter().map(ToOwned::to_owned).chain(hosts).chain(watched).collect()
}
