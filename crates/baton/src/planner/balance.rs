//! Listeners and backends: has the data path follow the settings, and tells what it says about itself.

use std::collections::BTreeMap;

use baton_core::settings::{self, BalancerKind};
use tracing::{info, warn};

use super::Planner;
use crate::admin::document;
use crate::proxy::{BackendId, BackendView, Listening};

/// What the planner knows of the data path.
#[derive(Default)]
pub(super) struct Balance {
    /// What became of each listening address.
    listening: Vec<Listening>,
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
            backends: b.backends.iter().map(|e| backend(e, backends.get(&id(&b.name, e)))).collect(),
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
}

/// The data path's name for a backend.
fn id(balancer: &str, backend: &settings::Backend) -> BackendId {
    BackendId { balancer: balancer.to_owned(), host: backend.host.clone(), port: backend.port }
}

fn backend(settings: &settings::Backend, view: Option<&BackendView>) -> document::Backend {
    let counts = view.map(|v| v.counts).unwrap_or_default();
    let host = if settings.host.contains(':') { format!("[{}]", settings.host) } else { settings.host.clone() };
    let address = match &settings.url {
        None => format!("{host}:{}", settings.port),
        Some(url) => {
            let scheme = if url.tls { "https" } else { "http" };
            format!("{scheme}://{host}:{}{}", settings.port, url.prefix)
        }
    };
    document::Backend {
        address,
        state: "unchecked".to_owned(),
        why: String::new(),
        since_ms: None,
        weight: settings.weight,
        backup: settings.backup,
        active: counts.active,
        connections: counts.connections,
        failures: counts.failures,
        bytes_in: counts.to_backend,
        bytes_out: counts.to_client,
    }
}
