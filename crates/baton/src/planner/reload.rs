//! SIGHUP: the configuration is read again and the difference applied. One that is refused changes nothing.
//!
//! Order: what can fail first (the new socket, the marker, the tables for old and new addresses), then the balancer, then
//! the keeper; tables of addresses that are no longer asked for go when their hand-over is over.

use std::net::UdpSocket;
use std::time::Duration;

use baton_core::settings::{Settings, Vip};
use baton_net::udp;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Planner;
use crate::cli::load;
use crate::keeper::Command;

/// The longest that making tables may take: it waits for every commit of the host.
const TABLES: Duration = Duration::from_secs(10);
/// Beyond the drain time, before tables of former addresses go.
const TIDY: Duration = Duration::from_secs(2);

impl Planner {
    pub(super) async fn reload(&mut self) {
        if self.leaving.is_some() {
            return warn!("SIGHUP while leaving: nothing is read again");
        }
        match self.prepare().await {
            Ok(None) => info!("SIGHUP: the configuration is the same"),
            Ok(Some((settings, udp))) => self.apply(settings, udp).await,
            Err(refused) => {
                for line in refused.lines() {
                    error!("SIGHUP: {line}");
                }
                error!("SIGHUP: the new configuration is refused; the old one stays in effect");
                self.parts.warnings.insert("reload", format!("the configuration on disk is refused: {refused}"));
                return;
            }
        }
        self.parts.warnings.remove("reload");
    }

    /// Everything that may be refused. `None`: nothing differs.
    async fn prepare(&mut self) -> Result<Option<(Settings, Option<UdpSocket>)>, String> {
        let (options, as_kube_vip) = (self.parts.options.flags.clone(), self.parts.as_kube_vip);
        let old = self.parts.settings.clone();
        let loaded = spawn_blocking(move || load::load(&options, as_kube_vip))
            .await
            .map_err(|e| e.to_string())?
            .map_err(|messages| load::text(&messages))?;
        for warning in &loaded.warnings {
            warn!("{}", warning.unlabelled());
        }
        let mut settings = loaded.settings;
        if settings.ownership.fence != old.ownership.fence {
            warn!("SIGHUP: a changed `fence` takes effect with the next start");
            settings.ownership.fence = old.ownership.fence;
        }
        if settings == old {
            return Ok(None);
        }
        let udp = match settings.ownership.local {
            Some(local) if settings.ownership.local != old.ownership.local => {
                Some(udp::bind(local).map_err(|e| format!("the peers' UDP port {local}: {e}"))?)
            }
            _ => None,
        };
        self.announce_to_kernel(&old, &settings).await?;
        Ok(Some((settings, udp)))
    }

    /// The marker before any grant of the new length, and tables for old and new addresses together.
    async fn announce_to_kernel(&mut self, old: &Settings, new: &Settings) -> Result<(), String> {
        self.raise(new.ownership.lease).await?;
        if old.ownership.vips == new.ownership.vips {
            return Ok(());
        }
        self.tables(union(&old.ownership.vips, &new.ownership.vips)).await
    }

    /// Has the keeper's thread, which owns the tables, make them fit.
    async fn tables(&self, vips: Vec<Vip>) -> Result<(), String> {
        let (sender, made) = oneshot::channel();
        self.parts.keeper.send(Command::Tables(vips, sender));
        match tokio::time::timeout(TABLES, made).await {
            Ok(Ok(made)) => made,
            _ => Err("the keeper does not answer".to_owned()),
        }
    }

    async fn apply(&mut self, settings: Settings, udp: Option<UdpSocket>) {
        info!("SIGHUP: the new configuration takes effect");
        let former = self.parts.settings.ownership.vips != settings.ownership.vips;
        let ownership = Box::new(settings.ownership.clone());
        let drain = self.parts.settings.ownership.drain;
        self.parts.settings = settings;
        self.apply_balancers();
        if !self.parts.keeper.send(Command::Configure(ownership, udp)) {
            // Its queue holds hundreds: it hangs, and livez says so.
            error!("the keeper does not take the new configuration");
        }
        self.judge_again();
        if former {
            self.tidy = Some(Instant::now() + drain + TIDY);
        }
        self.open_admin().await;
    }

    /// Removes the tables of addresses that are no longer configured.
    pub(super) async fn tidy(&mut self) {
        self.tidy = None;
        if let Err(e) = self.tables(self.parts.settings.ownership.vips.clone()).await {
            warn!("tables of former addresses stay: {e}");
        }
    }
}

/// Old and new addresses; where both have one on the same interface, the new one's settings.
fn union(old: &[Vip], new: &[Vip]) -> Vec<Vip> {
    let mut all = new.to_vec();
    let there = |v: &Vip| new.iter().any(|n| n.address == v.address && n.interface == v.interface);
    all.extend(old.iter().filter(|v| !there(v)).cloned());
    all
}
