//! The start: what may be refused comes before anything that changes the host; the API may come later.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use baton_config::manager::{Api, LeaseRef, LoadedManager, ManagerSettings, ServicesInterface};
use baton_core::keeper::{HostAddress, Keeper};
use baton_core::lease::LeaseName;
use baton_core::settings::Ownership;
use baton_net::gate::Gates;
use baton_net::packet::Packet;
use baton_net::rtnl::Rtnl;
use baton_net::table::{self, Instance};
use baton_net::{clock, process};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::apiserver::{self, Opinion, Probe};
use super::balancer::Balancing;
use super::controlplane::ControlPlane;
use super::face::{self, Faces, QUESTIONS};
use super::input::{Inputs, Signals, every, retry};
use super::ipam::Ipam;
use super::names::{self, Resolver};
use super::outbox::Outbox;
use super::serving::{self, Serving};
use super::{Leading, Local, Manager, Parts};
use crate::admin::socket::{self, Socket};
use crate::cli::output::{FAILED, fail};
use crate::keeper::{self, World};
use crate::kernel::Sockets;
use crate::kube::events::Recorder;
use crate::kube::watch::watch;
use crate::kube::write::Writer;
use crate::kube::{self, Access, AccessSettings, Client, Files, Selection, Times, lease, servers};
use crate::settled;

/// Where a pod learns its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The path of a kubeconfig that is not the user's choice.
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// How often a host without a default route is asked for one.
const ROUTE: Duration = Duration::from_secs(1);
/// Of the peers' lease, which nothing here hangs on.
const LEASE: Duration = Duration::from_millis(500);
/// How long connections may go on after a hand-over.
const DRAIN: Duration = Duration::from_millis(300);

/// Runs until a signal ends it.
#[must_use]
pub fn run(loaded: LoadedManager, run_dir: &Path) -> ExitCode {
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(FAILED, &format!("the event loop: {e}")),
    };
    match prepare(loaded, run_dir) {
        Ok(parts) => {
            runtime.spawn(settled::give_back());
            runtime.block_on(launch(parts))
        }
        Err(why) => fail(FAILED, &why),
    }
}

/// Sockets, tables, threads.
fn prepare(loaded: LoadedManager, run_dir: &Path) -> Result<Parts, String> {
    let settings = loaded.settings.clone();
    let started = clock::now();
    let mut warnings = BTreeMap::new();
    let interface = match &settings.interface {
        Some(interface) => interface.clone(),
        None => default_interface(),
    };
    let namespace = namespace(&settings);
    let instance = instance(&settings, &namespace);
    let (gates, fence) = fence(&instance, &mut warnings)?;
    let mut world = open(&settings, &interface, gates).map_err(|e| format!("the kernel: {e}"))?;
    let memory = world.memory().map_err(|e| format!("reading links and addresses: {e}"))?;
    if !settings.allow_interface_not_up && !memory.links.iter().any(|link| link.name == interface && link.up) {
        warn!("interface {interface} is not up: its addresses wait for it");
    }
    let others = if fence { table::guarded_by_others(&instance).map_err(|e| e.to_string())? } else { BTreeSet::new() };
    let stray = |a: &&HostAddress| a.mine && !others.contains(&a.address);
    let strays: Vec<HostAddress> = memory.addresses.iter().filter(stray).cloned().collect();
    let socket = control_socket(run_dir, &settings.instance, &instance, &mut warnings);
    // Before any thread exists, so that all of them are without.
    if let Err(e) = process::drop_capabilities() {
        debug!("capabilities are kept: {e}");
    }
    let access = Access::find(access(&settings.api));
    let leases = lease::client(&access, settings.election.renew_deadline);
    let mut seed = [0; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
        .map_err(|e| format!("no random numbers: {e}"))?;
    let seed = u64::from_ne_bytes(seed);
    let machine = Keeper::new(ownership(&settings, fence), memory, seed, clock::tick(), clock::now());
    let (requests, inbox) = lease::channel();
    let world = World { leases: Some(requests), ..world };
    let (keeper, reports) = keeper::spawn(machine, world).map_err(|e| format!("the keeper's thread: {e}"))?;
    let deliver = keeper.clone();
    inbox
        .start(leases.clone(), move |event| deliver.send(keeper::Command::Event(event)))
        .map_err(|e| format!("the Leases' thread: {e}"))?;
    greet(&settings, &interface, fence);
    Ok(Parts {
        loaded,
        settings,
        namespace,
        instance,
        interface,
        fence,
        keeper,
        reports,
        access,
        leases,
        socket,
        started,
        warnings,
        strays,
    })
}

/// That of the default route; a host that has none yet is waited for.
fn default_interface() -> String {
    let mut told = false;
    loop {
        let found = Rtnl::open().and_then(|mut rtnl| rtnl.default_link());
        match found {
            Ok(Some(interface)) => return interface,
            Ok(None) if told => {}
            Ok(None) => warn!("no interface is configured and the host has no default route: waiting for one"),
            Err(e) if told => debug!("the default route: {e}"),
            Err(e) => warn!("the default route cannot be read: {e}; trying again"),
        }
        told = true;
        std::thread::sleep(ROUTE);
    }
}

/// Without nftables the manager does what kube-vip does: it goes on, and nothing but itself ends a hold.
fn fence(instance: &Instance, warnings: &mut BTreeMap<&'static str, String>) -> Result<(Gates, bool), String> {
    let why = match Gates::open_for(instance.clone(), true) {
        Ok(gates) => return Ok((gates, true)),
        Err(e) => format!(
            "{e}. Without nftables the kernel does not end what this process no longer can: a node that hangs may go on \
             answering for its addresses"
        ),
    };
    warn!("{why}");
    warnings.insert("fence", why);
    Ok((Gates::open(false).map_err(|e| e.to_string())?, false))
}

fn open(settings: &ManagerSettings, interface: &str, mut gates: Gates) -> Result<World, String> {
    let mut wanted = BTreeSet::from([interface.to_owned()]);
    if let Some(services) = &settings.services
        && let ServicesInterface::Named(name) = &services.interface
    {
        wanted.insert(name.clone());
    }
    let mut packets = BTreeMap::new();
    for name in wanted {
        match Packet::open(&name) {
            Ok(packet) => drop(packets.insert(name, packet)),
            // It may come: the keeper hears of it.
            Err(e) => warn!("interface {name}: {e}; waiting for it"),
        }
    }
    gates.install(&[]).map_err(|e| e.to_string())?;
    let sockets = Sockets::open(gates, packets).map_err(|e| e.to_string())?;
    Ok(World { udp: None, sockets, vips: Vec::new(), leases: None })
}

/// No peers and no addresses: those come one by one, with their Leases.
fn ownership(settings: &ManagerSettings, fence: bool) -> Ownership {
    Ownership {
        node: settings.node.clone(),
        local: None,
        peers: Vec::new(),
        vips: Vec::new(),
        lease: LEASE,
        renewal: LEASE / 4,
        keys: Vec::new(),
        start_as_leader: false,
        witness: false,
        preempt: false,
        drain: DRAIN,
        refresh: Some(settings.announce_every),
        fence,
        force: false,
    }
}

fn access(api: &Api) -> AccessSettings {
    let chosen = api.config_file_chosen && api.config_file != ADMIN;
    AccessSettings {
        kubeconfig: chosen.then(|| api.config_file.clone().into()),
        server: api.address.clone(),
        control_plane: api.control_plane,
        port: api.port,
        detect: api.detect,
        files: Files::of_this_host(),
    }
}

/// What no other manager of this host may do: the control plane and Services may each have one, and Services several that
/// look at different ones. Two of them would not disturb each other in the kernel, but in their Leases.
fn instance(settings: &ManagerSettings, namespace: &str) -> Instance {
    let claim = |lease: &LeaseRef, more: &[&str]| {
        let lease = lease_name(lease, namespace).to_string();
        let parts = [lease.as_str()].into_iter().chain(more.iter().copied()).chain([settings.instance.as_str()]);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    };
    let control_plane = settings.control_plane.as_ref().map(|c| claim(&c.lease, &[]));
    let services = settings.services.as_ref().map(|s| {
        let class = if s.class.only { s.class.name.as_str() } else { "" };
        claim(&s.lease, &[s.namespace.as_deref().unwrap_or_default(), class])
    });
    Instance::of(control_plane.into_iter().chain(services).collect::<BTreeSet<_>>())
}

/// A daemon without its control socket is still a daemon. Where another one of this network namespace answers, its name
/// says what it does.
fn control_socket(
    run_dir: &Path,
    name: &str,
    instance: &Instance,
    warnings: &mut BTreeMap<&'static str, String>,
) -> Option<Socket> {
    let path = |name| socket::manager_path(run_dir, process::netns_inode(), name);
    let (first, second) = (path(name), path(instance.name()));
    let (path, listening) = match Socket::listen(&first) {
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => (second.clone(), Socket::listen(&second)),
        other => (first, other),
    };
    match listening {
        Ok(socket) => Some(socket),
        Err(e) => {
            let at = path.display();
            let why = format!("no control socket, so `baton status` does not find this instance: {at}: {e}");
            warn!("{why}");
            warnings.insert("socket", why);
            None
        }
    }
}

/// In a pod its own, else what was configured.
fn namespace(settings: &ManagerSettings) -> String {
    let of_pod = fs::read_to_string(NAMESPACE).ok().map(|text| text.trim().to_owned());
    of_pod.filter(|name| !name.is_empty()).unwrap_or_else(|| settings.namespace.clone())
}

fn lease_name(lease: &LeaseRef, namespace: &str) -> LeaseName {
    LeaseName { namespace: lease.namespace.clone().unwrap_or_else(|| namespace.to_owned()), name: lease.name.clone() }
}

fn greet(settings: &ManagerSettings, interface: &str, fence: bool) {
    let mut what = Vec::new();
    if settings.control_plane.is_some() {
        what.push("the control plane");
    }
    if settings.services.is_some() {
        what.push("Services");
    }
    info!(
        "baton {} as {}: addresses of {} on {interface}, lease {} s{}",
        crate::VERSION,
        settings.node,
        what.join(" and "),
        settings.election.duration.as_secs(),
        if fence { "" } else { ", without nftables" }
    );
}

async fn launch(parts: Parts) -> ExitCode {
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            error!("signals cannot be received: {e}");
            return ExitCode::from(FAILED);
        }
    };
    let mut manager = assemble(parts, signals);
    manager.begin().await;
    let end = manager.work().await;
    manager.leave(end).await
}

fn assemble(mut parts: Parts, signals: Signals) -> Manager {
    let client = Client::new(&parts.access, Times::default());
    servers::follow(parts.access.clone(), client.clone());
    let settings = &parts.settings;
    let control_plane =
        settings.control_plane.clone().map(|c| ControlPlane::new(c.clone(), lease_name(&c.lease, &parts.namespace)));
    let serving = settings.services.as_ref().map(|s| {
        let lease = lease_name(&s.lease, &parts.namespace);
        Serving::new(serving::options(settings, s, &parts.interface, lease, control_plane.as_ref()))
    });
    let balancing = balancing(settings, &mut parts.warnings);
    let (resolver, resolved) = Resolver::new();
    let (local, opinion) = probe(&parts.settings);
    let (writer, written) = Writer::start(client.clone());
    let recorder = Recorder::start(client.clone(), "kube-vip", &settings.node);
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let (elsewhere, heard) = mpsc::channel(1);
    let faces = Faces::new(questions.clone(), settings.metrics, settings.health_port);
    open_socket(&mut parts, questions);
    let services = parts.settings.services.as_ref();
    let selection = |kind| match services.and_then(|s| s.namespace.as_ref()) {
        Some(namespace) => Selection::namespaced(kind, namespace),
        None => Selection::all(kind),
    };
    let ipam = services.and_then(|s| s.ipam.clone());
    let ipam = ipam.map(|pools| Ipam::start(client.clone(), pools, &parts.settings.node));
    let endpoints = if services.is_some_and(|s| s.endpoints) { kube::ENDPOINTS } else { kube::ENDPOINT_SLICES };
    let inputs = Inputs {
        services: services.map(|_| watch(client.clone(), selection(kube::SERVICES))),
        slices: services.map(|_| watch(client.clone(), selection(endpoints))),
        nodes: balancing.as_ref().map(|_| watch(client.clone(), Selection::all(kube::NODES))),
        written,
        resolved,
        local,
        elsewhere: heard,
        asked,
        signals,
        retry: retry(),
        look_up: every(names::PERIOD),
    };
    Manager {
        parts,
        client,
        inputs,
        outbox: Outbox::default(),
        control_plane,
        serving,
        balancing,
        ipam,
        resolver,
        writer,
        recorder,
        counters: super::metrics::Counters::default(),
        kept: BTreeMap::new(),
        campaigns: BTreeSet::new(),
        leading: BTreeMap::<LeaseName, Leading>::new(),
        held: BTreeSet::new(),
        interfaces: Vec::new(),
        local: Local::default(),
        opinion,
        ports: baton_net::ports::Ports::default(),
        tidy_at: None,
        labelled: None,
        leaving: None,
        faces,
        elsewhere,
        looked: 0,
    }
}

fn balancing(settings: &ManagerSettings, warnings: &mut BTreeMap<&'static str, String>) -> Option<Balancing> {
    let control_plane = settings.control_plane.as_ref()?;
    match Balancing::start(control_plane.balancer?, control_plane.port) {
        Ok(balancing) => Some(balancing),
        Err(e) => {
            let why = format!("no balancer, so the addresses lead to the holder's own API server: {e}");
            warn!("{why}");
            warnings.insert("balancer", why);
            None
        }
    }
}

/// Asks this node's API server, and what to think of its answers.
fn probe(settings: &ManagerSettings) -> (Option<mpsc::Receiver<apiserver::Answer>>, Opinion) {
    let control_plane = settings.control_plane.as_ref();
    let Some((port, health)) = control_plane.and_then(|c| Some((c.port, c.health.as_ref()?))) else {
        return (None, Opinion::new(1));
    };
    let opinion = Opinion::new(health.failures);
    match Probe::new(health, port) {
        Ok(probe) => {
            let (tell, answers) = mpsc::channel(4);
            tokio::spawn(apiserver::watch(probe, tell));
            (Some(answers), opinion)
        }
        Err(why) => {
            warn!("this node's API server is not asked how it is: {why}");
            (None, opinion)
        }
    }
}

fn open_socket(parts: &mut Parts, questions: mpsc::Sender<face::Question>) {
    let Some(socket) = &parts.socket else { return };
    match socket.listener().and_then(UnixListener::from_std) {
        Ok(listener) => drop(tokio::spawn(face::socket(listener, questions))),
        Err(e) => {
            warn!("the control socket cannot be used: {e}");
            parts.warnings.insert("socket", format!("the control socket cannot be used: {e}"));
        }
    }
}

impl Manager {
    /// What does not wait for the API.
    async fn begin(&mut self) {
        match tokio::task::spawn_blocking(super::host::interfaces).await {
            Ok(Ok(interfaces)) => self.host_changed(interfaces),
            Ok(Err(e)) => warn!("the host's interfaces cannot be read: {e}"),
            Err(e) => warn!("the host's interfaces cannot be read: {e}"),
        }
        self.settle_control_plane();
        if let Some(lease) = self.control_plane.as_ref().map(|c| c.lease.clone()) {
            self.settle_lease(&lease);
        }
        if let Some(lease) = self.ipam.as_ref().map(|i| i.lease.clone()) {
            self.settle_lease(&lease);
        }
        self.balance();
        self.look_up();
        if self.serving.is_none() {
            self.remove_strays();
        }
        self.outbox.flush(&self.parts.keeper);
        self.open_faces().await;
    }
}
