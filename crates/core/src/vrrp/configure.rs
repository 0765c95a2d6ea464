//! New settings: the difference is applied, and what stays goes on as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Routers;
use super::event::{Effect, Notice};
use super::note::{Note, Why};
use super::settings::{Name, Router, Settings, TrackerKind};
use super::track::Tracked;
use crate::time::Time;

/// The same virtual router, perhaps with other parameters.
fn same(a: &Router, b: &Router) -> bool {
    let key = |r: &Router| {
        (r.interface.clone(), r.port.clone(), r.ipv6, r.vrid, r.version, r.peers.is_empty(), r.source, r.group)
    };
    key(a) == key(b)
}

impl Routers {
    pub(super) fn configure(&mut self, now: Time, settings: Settings, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        let first = self.machines.is_empty() && self.settings.routers.is_empty();
        self.settings = settings;
        self.virtual_addresses =
            self.settings.routers.iter().flat_map(|r| r.all_addresses().map(|a| a.address)).collect();
        self.retrack();
        let names: BTreeSet<Name> = self.settings.routers.iter().map(|r| r.name.clone()).collect();
        let old: Vec<Name> = self.machines.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in &old {
            self.on(now, name, out, |m, cx| {
                m.successor = None;
                if !std::mem::replace(&mut m.removed, true) {
                    m.retire(cx, Some(Notice::Deleted), Why::Reconfigured);
                }
            });
        }
        let routers: Vec<Arc<Router>> = self.settings.routers.iter().cloned().map(Arc::new).collect();
        for router in &routers {
            self.reconfigure(now, router, out);
        }
        self.regroup();
        self.listen();
        let touched: BTreeSet<Name> = self.machines.keys().cloned().collect();
        if !first {
            for name in touched.iter().filter(|name| names.contains(*name)) {
                self.assess(now, name, out);
            }
            out.push(Effect::Note(Note::Configured));
        }
        touched
    }

    fn reconfigure(&mut self, now: Time, router: &Arc<Router>, out: &mut Vec<Effect>) {
        let name = &router.name;
        let machine = self.machine(name, router, now);
        let stays = same(&machine.settings, router);
        let (fresh, unchanged, removed) = (machine.fresh, machine.settings == *router, machine.removed);
        if fresh || (unchanged && !removed && machine.successor.is_none()) {
            return;
        }
        self.on(now, name, out, |m, cx| {
            m.removed = false;
            if stays && !removed && m.successor.is_none() {
                return m.configure(cx, router.clone());
            }
            if m.successor.replace(router.clone()).is_none() && !removed {
                m.retire(cx, None, Why::Reconfigured);
            }
        });
    }

    fn retrack(&mut self) {
        let mut old = std::mem::take(&mut self.trackers);
        for tracker in &self.settings.trackers {
            let mut tracked = Tracked::new(tracker);
            if let Some(known) = old.remove(&tracker.name) {
                tracked.inherit(known);
            }
            if let TrackerKind::Interface { interface } = &tracked.kind {
                tracked.well = Some(self.host.up(interface));
            }
            self.trackers.insert(tracker.name.clone(), tracked);
        }
    }

    fn regroup(&mut self) {
        let old = std::mem::take(&mut self.groups);
        let kept = |name: &Name| old.get(name).copied().flatten();
        self.groups = self.settings.groups.iter().map(|g| (g.name.clone(), kept(&g.name))).collect::<BTreeMap<_, _>>();
    }
}
