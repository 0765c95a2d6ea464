//! What is to be kept and campaigned for, as the difference to what the keeper was told.

use std::net::IpAddr;

use baton_core::keeper::Event;
use baton_core::lease::{LeaseName, LeaseSettings};
use baton_core::settings::{Source, Vip};
use tracing::info;

use super::{Manager, host};

impl Manager {
    /// An address may have to be kept, kept otherwise, or no more.
    pub(super) fn settle_address(&mut self, address: IpAddr) {
        let wanted = self.wanted(address);
        if self.kept.get(&address) == wanted.as_ref() {
            return;
        }
        match wanted {
            Some(vip) => {
                self.kept.insert(address, vip.clone());
                self.outbox.push(Event::Put(vip));
            }
            None => {
                self.kept.remove(&address);
                self.outbox.push(Event::Withdraw(address));
            }
        }
        self.tidy_soon();
    }

    /// The control plane's goes first: a Service may share it.
    fn wanted(&self, address: IpAddr) -> Option<Vip> {
        if let Some(control_plane) = &self.control_plane
            && control_plane.addresses().contains(&address)
        {
            let interface = self.parts.interface.clone();
            let length = self.parts.settings.subnet.length(address);
            let prefix = length.unwrap_or_else(|| host::prefix(&self.interfaces, &interface, address));
            let source = Source::Lease(control_plane.lease.clone());
            return Some(Vip { address, prefix, interface, priority: PRIORITY, source });
        }
        let wanted = self.serving.as_ref()?.state.wanted(address)?;
        Some(Vip {
            address,
            prefix: wanted.prefix,
            interface: wanted.interface.to_string(),
            priority: PRIORITY,
            source: Source::Lease(wanted.lease.clone()),
        })
    }

    /// A Lease may have to be campaigned for, or no more.
    pub(super) fn settle_lease(&mut self, name: &LeaseName) {
        let of_control_plane = self.control_plane.as_ref().is_some_and(|c| c.lease == *name);
        let of_ipam = self.ipam.as_ref().is_some_and(|i| i.lease == *name);
        let wanted = of_control_plane || of_ipam || self.serving.as_ref().is_some_and(|s| s.state.campaigns(name));
        if wanted == self.campaigns.contains(name) {
            return;
        }
        if wanted {
            self.campaigns.insert(name.clone());
            self.outbox.push(Event::Campaign(self.lease_settings(name.clone())));
            self.counters.campaigned(name);
        } else {
            self.campaigns.remove(name);
            self.outbox.push(Event::Resign(name.clone()));
            self.counters.forget(&self.campaigns);
            self.forget_lease(name);
        }
    }

    /// What nobody campaigns for any more, and this node does not hold, nobody tells about.
    pub(super) fn forget_lease(&mut self, name: &LeaseName) {
        let held = self.leading.get(name).is_some_and(|leading| leading.until.is_some());
        if !held && !self.campaigns.contains(name) {
            self.leading.remove(name);
        }
    }

    fn lease_settings(&self, name: LeaseName) -> LeaseSettings {
        let settings = &self.parts.settings;
        LeaseSettings {
            name,
            identity: settings.node.clone(),
            duration: settings.election.duration,
            renew_deadline: settings.election.renew_deadline,
            retry: settings.election.retry,
            preserve: settings.preserve,
        }
    }

    /// The control plane's addresses may be others: a name leads elsewhere.
    pub(super) fn settle_control_plane(&mut self) {
        let Some(control_plane) = &self.control_plane else { return };
        let now = control_plane.addresses();
        let lease = control_plane.lease.clone();
        let of_it = |vip: &&Vip| vip.source == Source::Lease(lease.clone());
        let mut all: Vec<IpAddr> = self.kept.values().filter(of_it).map(|vip| vip.address).collect();
        all.extend(now);
        for address in all {
            self.settle_address(address);
        }
    }

    /// What is known of the host's interfaces is another: prefixes and places may be.
    pub(super) fn host_changed(&mut self, interfaces: Vec<baton_core::services::Interface>) {
        if self.interfaces == interfaces && self.serving.as_ref().is_none_or(|s| s.host_known) {
            return;
        }
        self.interfaces.clone_from(&interfaces);
        self.settle_control_plane();
        if let Some(serving) = &mut self.serving {
            serving.host_known = true;
            self.change(baton_core::services::Change::Host(interfaces));
        }
    }

    /// This node's own API server fell ill, or is well again.
    pub(super) fn fit(&mut self, ill: bool) {
        let Some(control_plane) = &self.control_plane else { return };
        let lease = control_plane.lease.clone();
        if ill {
            info!("giving lease {lease} up: this node's API server does not answer, another one does");
        }
        self.outbox.push(Event::Yield { lease, ill });
    }
}

/// All nodes are equal in an election by Lease.
const PRIORITY: u16 = 100;
