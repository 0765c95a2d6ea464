//! Listeners and backends: has the data path follow the settings and the checks, and the keeper know which addresses are
//! served well from here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use baton_core::health::Steady;
use baton_core::keeper::Event;
use baton_core::settings::{self, BalancerKind};
use baton_core::time::Time;
use baton_net::clock;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::Planner;
use crate::admin::document;
use crate::keeper::Command;
use crate::proxy::health::{Change, Checks, Known};
use crate::proxy::{BackendId, BackendView, Listening, Passive};

/// What the planner knows of the data path.
pub(super) struct Balance {
    /// What became of each listening address.
    listening: Vec<Listening>,
    /// Health of the backends.
    pub(super) checks: Checks,
    /// Whether each address is served well from this node.
    served: BTreeMap<IpAddr, Steady>,
}

impl Balance {
    /// `passive` is what clients' connections tell about backends.
    pub(super) fn new(passive: mpsc::Receiver<Passive>) -> Balance {
        Balance { listening: Vec::new(), checks: Checks::new(passive, clock::now), served: BTreeMap::new() }
    }

    /// When [`Planner::judge`] is to be asked again.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.served.values().filter_map(Steady::deadline).min()
    }
}

impl Planner {
    /// Has the data path do what the settings say.
    pub(super) fn apply_balancers(&mut self) {
        let before = std::mem::take(&mut self.balance.listening);
        let after = self.parts.proxy.apply(&self.parts.settings.balancers);
        let error = |all: &[Listening], l: &Listening| {
            let same = all.iter().find(|o| o.address == l.address && o.balancer == l.balancer);
            same.and_then(|o| o.error.as_ref().map(ToString::to_string))
        };
        for l in &after {
            match (error(&before, l), l.error.as_ref().map(ToString::to_string)) {
                (was, Some(why)) if was.as_ref() != Some(&why) => {
                    warn!(
                        event = "listener",
                        "{} does not listen on {}: {why}; tried again every second", l.balancer, l.address
                    );
                }
                (Some(_), None) => info!(event = "listener", "{} listens on {}", l.balancer, l.address),
                _ => {}
            }
        }
        self.balance.listening = after;
        self.balance.checks.apply(&self.parts.settings.balancers);
        self.judge();
    }

    /// A check, or traffic, has decided something about a backend.
    pub(super) fn backend_changed(&mut self, change: Change) {
        match change {
            Change::State { id, up, why, lasted } => {
                let lasted_ms = lasted.as_secs_f64() * 1e3;
                let before = lasted.as_secs_f64();
                if up {
                    info!(event = "backend-up", backend = %id, why, lasted_ms, "backend {id} is up: {why} (was down for {before:.1} s)");
                } else {
                    warn!(event = "backend-down", backend = %id, why, lasted_ms, "backend {id} is down: {why} (was up for {before:.1} s)");
                }
                self.parts.proxy.set_up(&id, up);
            }
            Change::Address { id, address } => {
                debug!(event = "backend-address", backend = %id, "backend {id} is at {address}");
                self.parts.proxy.set_address(&id, Some(address));
            }
        }
        self.judge();
    }

    /// Tells the keeper when an address has been served well, or badly, for a while.
    pub(super) fn judge(&mut self) {
        let now = clock::now();
        let vips: Vec<IpAddr> = self.parts.settings.ownership.vips.iter().map(|v| v.address).collect();
        self.balance.served.retain(|vip, _| vips.contains(vip));
        for vip in vips {
            let good = self.serves(vip);
            if let Some(healthy) = self.balance.served.entry(vip).or_default().handle(now, good) {
                if healthy {
                    info!(event = "served", %vip, "what is behind {vip} works from here again");
                } else {
                    warn!(event = "not-served", %vip, "nothing behind {vip} can be reached from here");
                }
                self.parts.keeper.send(Command::Event(Event::Health { vip, healthy }));
            }
        }
    }

    /// New settings of the keeper know nothing of health yet.
    pub(super) fn judge_again(&mut self) {
        for (vip, steady) in &self.balance.served {
            let health = Event::Health { vip: *vip, healthy: steady.is_good() };
            self.parts.keeper.send(Command::Event(health));
        }
    }

    /// Every listener on the address is there and has a backend that passes this node's own checks.
    fn serves(&self, vip: IpAddr) -> bool {
        let on_vip = |address: IpAddr| address == vip || address.is_unspecified();
        self.parts.settings.balancers.iter().filter(|b| b.listen.iter().any(|l| on_vip(l.ip()))).all(|b| {
            let of = |l: &&Listening| l.balancer == b.name && on_vip(l.address.ip());
            self.balance.listening.iter().filter(of).all(|l| l.error.is_none()) && self.balance.checks.any_up(b)
        })
    }

    /// Listeners that could not be made are tried again.
    pub(super) fn listen_again(&mut self) {
        if self.balance.listening.iter().any(|l| l.error.is_some()) {
            self.apply_balancers();
        }
    }

    /// For the status document.
    pub(super) fn balancers(&self) -> Vec<document::Balancer> {
        let view = self.parts.proxy.snapshot();
        let refused: BTreeMap<String, u64> = view.refused.into_iter().collect();
        let backends: BTreeMap<BackendId, BackendView> = view.backends.into_iter().map(|b| (b.id.clone(), b)).collect();
        let balancer = |b: &settings::Balancer| document::Balancer {
            name: b.name.clone(),
            kind: match b.kind {
                BalancerKind::Tcp => "tcp",
                BalancerKind::Http => "http",
            }
            .to_owned(),
            refused: refused.get(&b.name).copied().unwrap_or(0),
            listeners: self.listeners(&b.name),
            backends: b.backends.iter().map(|e| self.backend(&b.name, e, &backends)).collect(),
        };
        self.parts.settings.balancers.iter().map(balancer).collect()
    }

    fn listeners(&self, balancer: &str) -> Vec<document::Listener> {
        let of = self.balance.listening.iter().filter(|l| l.balancer == balancer);
        of.map(|l| document::Listener {
            address: l.address.to_string(),
            error: l.error.as_ref().map(ToString::to_string),
        })
        .collect()
    }

    fn backend(
        &self,
        balancer: &str,
        settings: &settings::Backend,
        views: &BTreeMap<BackendId, BackendView>,
    ) -> document::Backend {
        let id = BackendId { balancer: balancer.to_owned(), host: settings.host.clone(), port: settings.port };
        let known = self.balance.checks.known(&id);
        let counts = views.get(&id).map(|v| v.counts).unwrap_or_default();
        document::Backend {
            address: address(settings),
            state: state(known.as_ref()).to_owned(),
            why: known.as_ref().map(|k| k.why.clone()).unwrap_or_default(),
            since_ms: known.map(|k| u64::try_from(clock::now().since(k.since).as_millis()).unwrap_or(u64::MAX)),
            weight: settings.weight,
            backup: settings.backup,
            active: counts.active,
            connections: counts.connections,
            failures: counts.failures,
            bytes_in: counts.to_backend,
            bytes_out: counts.to_client,
        }
    }
}

fn state(known: Option<&Known>) -> &'static str {
    match known {
        Some(k) if !k.up => "down",
        Some(k) if !k.unchecked => "up",
        _ => "unchecked",
    }
}

/// Host and port, or URL.
fn address(settings: &settings::Backend) -> String {
    let host = if settings.host.contains(':') { format!("[{}]", settings.host) } else { settings.host.clone() };
    match &settings.url {
        None => format!("{host}:{}", settings.port),
        Some(url) => {
            let scheme = if url.tls { "https" } else { "http" };
            format!("{scheme}://{host}:{}{}", settings.port, url.prefix)
        }
    }
}
