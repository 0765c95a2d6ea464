//! `lb_enable`: the control plane's addresses lead to all API servers that answer, not just to this node's.
//!
//! The API server usually listens on all addresses at the very port, so nothing else can listen on the virtual one: the
//! balancer then has a port of its own, and the kernel leads the connections there.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_config::manager as config;
use baton_core::settings::{Backend, Balancer, BalancerKind, Check, CheckKind};
use baton_net::clock;
use tracing::{info, warn};

use super::{Manager, objects};
use crate::admin::document;
use crate::kube::watch::Change;
use crate::proxy::health::{self, Checks};
use crate::proxy::{BackendView, Listening, Proxy};

/// How far away from the asked port the balancer listens where that port is taken.
const ASIDE: u16 = 10_000;
/// Its name, for people and metrics.
const NAME: &str = "control-plane";
/// Labels of nodes with an API server.
const ROLES: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// A check that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Checks that make a server up, and down.
const RISE: u32 = 1;
const FALL: u32 = 2;

/// The balancer of the control plane.
pub(super) struct Balancing {
    pub(super) proxy: Proxy,
    pub(super) checks: Checks,
    settings: config::Balancer,
    /// Port of the API servers.
    port: u16,
    /// Nodes with an API server.
    nodes: BTreeMap<String, Vec<IpAddr>>,
    pub(super) listening: Vec<Listening>,
    pub(super) applied: Vec<Balancer>,
}

impl Balancing {
    pub(super) fn start(settings: config::Balancer, port: u16) -> io::Result<Balancing> {
        let mut proxy = Proxy::start(std::thread::available_parallelism().map_or(1, usize::from))?;
        let passive = proxy.passive().ok_or_else(|| io::Error::other("the data path tells nothing"))?;
        let checks = Checks::new(passive, clock::now);
        let (nodes, listening, applied) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Balancing { proxy, checks, settings, port, nodes, listening, applied })
    }

    /// Where it listens.
    pub(super) fn listens_on(&self) -> u16 {
        if self.settings.port != self.port {
            return self.settings.port;
        }
        self.port.checked_add(ASIDE).unwrap_or_else(|| self.port.saturating_sub(ASIDE))
    }

    /// From which port to which connections are to be led.
    pub(super) fn redirect(&self) -> Option<(u16, u16)> {
        let to = self.listens_on();
        (to != self.settings.port).then_some((self.settings.port, to))
    }

    fn seen(&mut self, change: Change<objects::Node>) -> Result<(), String> {
        match change {
            Change::Restarted(all) => {
                self.nodes.clear();
                all.into_iter().for_each(|node| self.put(node));
            }
            Change::Applied(node) => self.put(node),
            Change::Deleted(node) => drop(self.nodes.remove(&node.name)),
            Change::Refused(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    fn put(&mut self, node: objects::Node) {
        if ROLES.iter().any(|role| node.labels.contains_key(*role)) {
            self.nodes.insert(node.name, node.internal_ips);
        } else {
            self.nodes.remove(&node.name);
        }
    }

    /// Has the data path follow.
    fn apply(&mut self, addresses: &[IpAddr]) {
        let v6_only = !addresses.is_empty() && addresses.iter().all(IpAddr::is_ipv6);
        let backend = |(_, ips): (&String, &Vec<IpAddr>)| {
            let ip = ips.iter().find(|ip| ip.is_ipv6() == v6_only).or(ips.first())?;
            Some(Backend {
                host: ip.to_string(),
                port: self.port,
                url: None,
                weight: 1,
                backup: false,
                check: Some(self.check()),
            })
        };
        let balancer = Balancer {
            name: NAME.to_owned(),
            kind: BalancerKind::Tcp,
            listen: addresses.iter().map(|address| SocketAddr::new(*address, self.listens_on())).collect(),
            bind_to_vip: true,
            backends: self.nodes.iter().filter_map(backend).collect(),
            cut_on_down: true,
        };
        let wanted = vec![balancer];
        let failed = self.listening.iter().any(|l| l.error.is_some());
        if wanted == self.applied && !failed {
            return;
        }
        let before: Vec<String> = self.listening.iter().filter_map(trouble).collect();
        self.listening = self.proxy.apply(&wanted);
        for trouble in self.listening.iter().filter_map(trouble).filter(|t| !before.contains(t)) {
            warn!(event = "listener", "the control plane's balancer {trouble}; tried again every second");
        }
        self.checks.apply(&wanted);
        self.applied = wanted;
    }

    /// For the status document.
    pub(super) fn shown(&self) -> document::Balancer {
        let view = self.proxy.snapshot();
        let listener = |l: &Listening| document::Listener {
            address: l.address.to_string(),
            error: l.error.as_ref().map(ToString::to_string),
        };
        document::Balancer {
            name: NAME.to_owned(),
            kind: "tcp".to_owned(),
            refused: view.refused.first().map_or(0, |(_, n)| *n),
            listeners: self.listening.iter().map(listener).collect(),
            backends: view.backends.iter().map(|b| self.backend(b)).collect(),
        }
    }

    fn backend(&self, view: &BackendView) -> document::Backend {
        let known = self.checks.known(&view.id);
        document::Backend {
            address: SocketAddr::new(view.id.host.parse().unwrap_or(IpAddr::from([0; 4])), view.id.port).to_string(),
            state: match &known {
                Some(k) if !k.up => "down",
                Some(k) if !k.unchecked => "up",
                _ => "unchecked",
            }
            .to_owned(),
            why: known.as_ref().map(|k| k.why.clone()).unwrap_or_default(),
            since_ms: known.map(|k| u64::try_from(clock::now().since(k.since).as_millis()).unwrap_or(u64::MAX)),
            weight: 1,
            backup: false,
            active: view.counts.active,
            connections: view.counts.connections,
            failures: view.counts.failures,
            bytes_in: view.counts.to_backend,
            bytes_out: view.counts.to_client,
        }
    }

    fn check(&self) -> Check {
        // Without credentials: a server that answers "who are you?" is there.
        let expect = vec![(200, 299), (401, 401), (403, 403)];
        let kind = CheckKind::Http { tls: true, path: "/readyz".to_owned(), expect };
        let interval = self.settings.check_every;
        Check { kind, interval, timeout: TIMEOUT.min(interval), rise: RISE, fall: FALL }
    }
}

fn trouble(listening: &Listening) -> Option<String> {
    let error = listening.error.as_ref()?;
    Some(format!("does not listen on {}: {error}", listening.address))
}

impl Manager {
    /// A node was watched.
    pub(super) fn node_seen(&mut self, change: Change<objects::Node>) {
        let Some(balancing) = &mut self.balancing else { return };
        match balancing.seen(change) {
            Ok(()) => {
                self.parts.warnings.remove("nodes");
                self.balance();
            }
            Err(why) => {
                warn!("the API server does not show nodes: {why}");
                self.parts.warnings.insert("nodes", format!("the balancer knows no API servers: {why}"));
            }
        }
    }

    /// Addresses, nodes or listeners may be others.
    pub(super) fn balance(&mut self) {
        let addresses = self.control_plane.as_ref().map(|c| c.addresses()).unwrap_or_default();
        if let Some(balancing) = &mut self.balancing {
            balancing.apply(&addresses);
        }
    }

    /// A check, or traffic, has decided something about an API server.
    pub(super) fn backend_changed(&mut self, change: health::Change) {
        let Some(balancing) = &mut self.balancing else { return };
        match change {
            health::Change::State { id, up, why, .. } => {
                if up {
                    info!(event = "backend-up", backend = %id, why, "API server {id} is up: {why}");
                } else {
                    warn!(event = "backend-down", backend = %id, why, "API server {id} is down: {why}");
                }
                balancing.proxy.set_up(&id, up);
            }
            health::Change::Address { id, address } => balancing.proxy.set_address(&id, Some(address)),
        }
    }
}
