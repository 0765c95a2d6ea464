//! Ports of the addresses: only a Service's own reach its address where that is asked for, and the control plane's
//! balancer is reached although the API server has its port on all addresses.

use std::net::{IpAddr, SocketAddr};

use baton_core::services::{Protocol, Security};
use baton_net::ports::Ports;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::Manager;

impl Manager {
    /// Has the kernel know what is wanted of ports.
    pub(super) async fn apply_ports(&mut self) {
        let wanted = self.wanted_ports();
        if wanted == self.ports {
            return;
        }
        let (asked, instance) = (wanted.clone(), self.parts.instance.clone());
        let applied = spawn_blocking(move || asked.apply(&instance).map_err(|e| e.to_string())).await;
        match applied.unwrap_or_else(|e| Err(e.to_string())) {
            Ok(()) => {
                self.ports = wanted;
                if self.parts.warnings.remove("ports").is_some() {
                    info!("the rules about ports are in place");
                }
            }
            Err(why) => {
                let why = format!("the rules about ports are not in place: {why}");
                if self.parts.warnings.insert("ports", why.clone()).as_ref() != Some(&why) {
                    warn!("{why}; tried again every second");
                }
            }
        }
    }

    fn wanted_ports(&self) -> Ports {
        let mut ports = Ports::default();
        // Rules go before the address, so what is kept counts and not what is held.
        for address in self.kept.keys() {
            if let Some(serving) = &self.serving
                && let Security::Only(allowed) = serving.state.security(*address)
            {
                ports.closed.insert(*address);
                ports.allowed.extend(allowed.iter().map(|port| (*address, number(port.protocol), port.port)));
            }
        }
        if let Some(balancing) = &self.balancing
            && let Some((from, to)) = balancing.redirect()
        {
            // Only where the address is held: a standby that goes to the holder goes to the port that it asks for.
            let held = self.control_plane.iter().flat_map(|c| c.addresses()).filter(|a| self.held.contains(a));
            ports.redirected = held.map(|address: IpAddr| (SocketAddr::new(address, from), to)).collect();
        }
        ports
    }
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
