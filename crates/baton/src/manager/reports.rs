//! What the keeper tells: who holds what, and who leads which Lease.

use std::sync::Arc;

use baton_core::keeper::{Event, Holding, Note};
use baton_core::lease::LeaseName;
use baton_core::services::Change;
use baton_core::time::Time;
use tracing::{info, warn};

use super::apiserver::{self, Condition};
use super::{Leading, Local, Manager};
use crate::keeper::Report;
use crate::planner::notes;

impl Manager {
    /// `true`: everything is withdrawn.
    pub(super) fn report(&mut self, report: Report) -> bool {
        match report {
            // Nobody votes about Leases.
            Report::Note(Note::Voting { .. }) => {}
            Report::Note(note) => notes::log(&note),
            Report::Log(level, text) => notes::line(level, "keeper", &text),
            Report::Holding(address, holding) => self.holding(address, holding),
            Report::Leading { name, until, holder } => self.leading(name, until, holder),
            // Nothing votes here.
            Report::Remember(_) => {}
            Report::Stopped => return true,
        }
        false
    }

    fn holding(&mut self, address: std::net::IpAddr, holding: Holding) {
        if let Some(balancing) = &mut self.balancing {
            balancing.proxy.holding(address, holding);
        }
        let held = holding == Holding::Held;
        let changed = if held { self.held.insert(address) } else { self.held.remove(&address) };
        if changed {
            self.tidy_soon();
            self.change(Change::Held { address, held });
        }
    }

    fn leading(&mut self, name: LeaseName, until: Option<Time>, holder: String) {
        if let Some(ipam) = self.ipam.as_ref().filter(|ipam| ipam.lease == name) {
            ipam.leading(until);
        }
        let holder: Arc<str> = holder.into();
        let before = self.leading.insert(name.clone(), Leading { until, holder: holder.clone() });
        let before = before.unwrap_or_default();
        if before.holder == holder && before.until.is_some() == until.is_some() {
            return;
        }
        if before.until.is_some() != until.is_some() {
            self.counters.transition(&name);
        }
        if until.is_some() {
            self.annotate_lease(&name);
        }
        self.forget_lease(&name);
        self.change(Change::Lease { name, holder });
    }

    /// This node's own API server answered, or did not.
    pub(super) fn local_answered(&mut self, answer: apiserver::Answer) {
        let given_up = matches!(self.local, Local::Ill { given_up: true, .. });
        let Some(condition) = self.opinion.heard(answer, given_up) else { return };
        match condition {
            Condition::Well => {
                if let Local::Ill { .. } = &self.local {
                    info!(event = "api-server-up", "this node's API server answers again");
                    if given_up {
                        self.fit(false);
                        self.avoid_local(false);
                    }
                }
                self.local = Local::Well;
            }
            Condition::Ill(why) => {
                warn!(event = "api-server-down", why, "this node's API server does not answer: {why}");
                self.local = Local::Ill { why, given_up: false };
                self.ask_elsewhere();
            }
        }
    }

    /// Whether another API server answers. If none does, nobody could take the addresses over.
    pub(super) fn elsewhere(&mut self, found: Result<String, String>) {
        let Local::Ill { given_up, .. } = &mut self.local else { return };
        match found {
            Ok(server) if !*given_up => {
                *given_up = true;
                info!(event = "api-server-elsewhere", "{server} answers: this node goes by it");
                self.avoid_local(true);
                self.fit(true);
            }
            // Asked again with the next tick.
            _ => {}
        }
    }

    /// Has the other API servers asked, while it is worth knowing.
    pub(super) fn ask_elsewhere(&self) {
        if !matches!(self.local, Local::Ill { given_up: false, .. }) {
            return;
        }
        let (client, tell) = (self.client.clone(), self.elsewhere.clone());
        tokio::spawn(async move {
            let found = client.elsewhere().await.map_err(|e| e.to_string());
            let _ = tell.send(found).await;
        });
    }

    fn avoid_local(&self, avoid: bool) {
        self.client.avoid_home(avoid);
        self.parts.leases.avoid_home(avoid);
    }

    /// A last word from this node about its addresses: hand over what is held, then leave. The second time it changes
    /// nothing.
    pub(super) fn stop(&mut self, name: &str) {
        if self.leaving.is_some() {
            return info!("{name} again: the hand-over goes on");
        }
        info!("{name}: handing over and leaving");
        self.leaving = Some(tokio::time::Instant::now() + self.hand_over());
        // What was to be said of addresses is their next holder's to say, and would delay the Leases' release.
        self.writer.forget();
        self.outbox.push(Event::Stop);
    }
}
