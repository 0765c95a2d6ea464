//! `baton manager`: the control plane's addresses and those of Services, kept by Kubernetes Leases.
//!
//! One task on one thread owns everything that is known, waits in one place, and turns what it learns into events for
//! the keeper and edits for the API. What takes long runs beside it and comes back as a value. Decisions about Services
//! are `core::services`'; who holds what is the keeper's, and its Leases have a thread of their own.

mod apiserver;
mod balancer;
mod controlplane;
mod desire;
mod document;
mod face;
mod host;
mod input;
mod ipam;
mod labels;
mod leave;
mod metrics;
mod names;
pub mod objects;
mod outbox;
mod ports;
mod reports;
mod serving;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use baton_config::manager::{LoadedManager, ManagerSettings};
use baton_core::keeper::HostAddress;
use baton_core::lease::LeaseName;
use baton_core::services::{Change, Interface};
use baton_core::settings::Vip;
use baton_core::time::Time;
use baton_net::table::Instance;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::admin::socket::Socket;
use crate::keeper::{Handle, Report};
use crate::kube::events::Recorder;
use crate::kube::write::Writer;
use crate::kube::{Access, Client};

use apiserver::Opinion;
use balancer::Balancing;
use controlplane::ControlPlane;
use face::Faces;
use input::{Input, Inputs};
use ipam::Ipam;
use leave::End;
use metrics::Counters;
use names::Resolver;
use outbox::Outbox;
use serving::Serving;

pub(crate) use face::NOT_KEPT;
pub use start::run;

/// What the start sequence has made.
struct Parts {
    /// As read; its text form is what SIGUSR1 prints.
    loaded: LoadedManager,
    settings: ManagerSettings,
    /// The namespace of Leases that name none.
    namespace: String,
    /// Whose tables the kernel has for it.
    instance: Instance,
    /// Where addresses go that nothing else is said about.
    interface: String,
    /// The kernel enforces the end of every hold.
    fence: bool,
    keeper: Handle,
    reports: mpsc::Receiver<Report>,
    access: Access,
    /// The Leases' own client.
    leases: Client,
    socket: Option<Socket>,
    started: Time,
    /// Warnings that `status` goes on showing, by what they are about.
    warnings: BTreeMap<&'static str, String>,
    /// Addresses with our mark that a predecessor left.
    strays: Vec<HostAddress>,
}

/// What is known about a Lease.
#[derive(Clone, Debug, Default)]
struct Leading {
    /// Until when this node may act on it, unless renewed.
    until: Option<Time>,
    /// `holderIdentity`; empty: nobody.
    holder: Arc<str>,
}

/// How this node's own API server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Local {
    /// Nothing is known, or nothing is asked.
    #[default]
    Unknown,
    Well,
    /// And whether its addresses were given up: only while another one answers.
    Ill {
        why: String,
        given_up: bool,
    },
}

struct Manager {
    parts: Parts,
    client: Client,
    inputs: Inputs,
    outbox: Outbox,
    control_plane: Option<ControlPlane>,
    serving: Option<Serving>,
    balancing: Option<Balancing>,
    ipam: Option<Ipam>,
    resolver: Resolver,
    /// Edits of objects; started when there is something to edit.
    writer: Writer,
    recorder: Recorder,
    counters: Counters,
    /// What the keeper was told to keep.
    kept: BTreeMap<IpAddr, Vip>,
    campaigns: BTreeSet<LeaseName>,
    leading: BTreeMap<LeaseName, Leading>,
    held: BTreeSet<IpAddr>,
    interfaces: Vec<Interface>,
    local: Local,
    opinion: Opinion,
    /// What the kernel was told about ports.
    ports: baton_net::ports::Ports,
    /// When labels and ports are to follow what changed.
    tidy_at: Option<Instant>,
    labelled: Option<BTreeMap<String, String>>,
    /// Until when a hand-over may take.
    leaving: Option<Instant>,
    faces: Faces,
    /// Where the answer goes whether another API server answers.
    elsewhere: mpsc::Sender<Result<String, String>>,
    /// Seconds since the host was looked at.
    looked: u32,
}

/// The host is looked at this often, in seconds.
const HOST_EVERY: u32 = 5;

impl Manager {
    /// Until a signal ends it, or the keeper is gone.
    async fn work(&mut self) -> End {
        loop {
            if let Some(end) = self.step().await {
                return end;
            }
            self.outbox.flush(&self.parts.keeper);
        }
    }

    async fn step(&mut self) -> Option<End> {
        match self.next().await {
            Input::Report(report) => return self.report(report).then_some(End::Stopped),
            Input::KeeperLost => return Some(End::KeeperLost),
            Input::TooLong => return Some(End::TooLong),
            Input::Services(change) => self.service_seen(change),
            Input::Slices(change) => self.slice_seen(change),
            Input::Nodes(change) => self.node_seen(change),
            Input::Written(done) => self.written(&done),
            Input::Resolved((name, found)) => self.resolved(&name, found),
            Input::Local(answer) => self.local_answered(answer),
            Input::Elsewhere(found) => self.elsewhere(found),
            Input::Backend(change) => self.backend_changed(change),
            Input::Asked(question) => self.answer(question),
            Input::Stop(signal) => self.stop(signal),
            Input::Dump => self.dump(),
            Input::Hup => info!("SIGHUP: the manager has nothing to read again"),
            Input::Retry => self.again().await,
            Input::LookUp => self.look_up(),
            Input::Tidy => self.tidy().await,
            Input::Deadline => self.change(Change::Tick),
            Input::Flush => {}
        }
        None
    }

    /// Once a second: what could not be done before, and what nobody tells.
    async fn again(&mut self) {
        self.open_faces().await;
        self.look_at_host().await;
        self.ask_elsewhere();
        self.renew_ipam();
        if self.parts.warnings.contains_key("ports") {
            self.tidy_soon();
        }
        if let Some(balancing) = &mut self.balancing {
            balancing.proxy.revive_and_tell(&mut self.parts.warnings);
        }
        if self.balancing.as_ref().is_some_and(|b| b.listening.iter().any(|l| l.error.is_some())) {
            self.balance();
        }
    }

    /// Interfaces and their networks, once in a while.
    async fn look_at_host(&mut self) {
        self.looked = (self.looked + 1) % HOST_EVERY;
        if self.looked != 0 {
            return;
        }
        match tokio::task::spawn_blocking(host::interfaces).await {
            Ok(Ok(interfaces)) => self.host_changed(interfaces),
            Ok(Err(e)) => warn!("the host's interfaces cannot be read: {e}"),
            Err(e) => warn!("the host's interfaces cannot be read: {e}"),
        }
    }

    fn look_up(&mut self) {
        let of_control_plane = self.control_plane.iter().flat_map(ControlPlane::names);
        let of_services = self.serving.iter().flat_map(|s| s.state.names());
        self.resolver.look_up(of_control_plane.chain(of_services));
    }

    fn resolved(&mut self, name: &str, found: Result<Vec<IpAddr>, String>) {
        self.resolver.answered(name);
        if let Some(control_plane) = &mut self.control_plane {
            match control_plane.resolved(name, found.clone()) {
                Some(Err(why)) => warn!(event = "dns", "{name} cannot be looked up: {why}; its last addresses stay"),
                Some(Ok(())) => info!(event = "dns", "{name} can be looked up again"),
                None => {}
            }
            self.settle_control_plane();
            self.balance();
        }
        let of_services = self.serving.as_ref().is_some_and(|s| s.state.names().any(|known| known == name));
        if of_services {
            self.change(Change::Resolved { name: name.into(), addresses: found });
        }
    }

    /// Addresses with our mark that nobody keeps: left by a predecessor that died.
    fn remove_strays(&mut self) {
        let mut strays = std::mem::take(&mut self.parts.strays);
        strays.retain(|stray| !self.kept.contains_key(&stray.address));
        if strays.is_empty() {
            return;
        }
        let names: Vec<String> = strays.iter().map(|s| format!("{} on {}", s.address, s.interface)).collect();
        info!(event = "leftover", "removing what a predecessor left: {}", names.join(", "));
        tokio::task::spawn_blocking(move || {
            for why in host::remove(&strays) {
                warn!("not removed: {why}");
            }
        });
    }
}
