//! A new configuration: the difference is applied, nothing else moves. And the snapshot for people.

use super::group::Group;
use super::place::{Hold, Place};
use super::status::{Guarantee, PeerStatus, Role, Status, VipStatus};
use super::{Effect, Keeper, Note, Ownership, Time};
use std::net::SocketAddr;

impl Keeper {
    /// Applies new settings. Grants that this node gave stay: they name addresses, so that a changed voter list
    /// forgets nothing; what it holds by the old list it holds to its end.
    pub(super) fn configure(&mut self, now: Time, new: Ownership, out: &mut Vec<Effect>) {
        let keeps_adopted = self.adopted && new.peers.is_empty() && new.local == self.settings.local;
        let mut new = new;
        if keeps_adopted {
            new.peers.clone_from(&self.settings.peers);
        }
        let voters_changed = new.peers.iter().map(|p| p.address).ne(self.settings.peers.iter().map(|p| p.address))
            || new.local != self.settings.local;
        self.adopted = keeps_adopted;
        self.settings = new;
        if voters_changed {
            self.me = self.settings.local.unwrap_or(self.me);
            self.renumber();
        }
        for p in &self.settings.peers {
            if let Some(s) = self.sessions.get_mut(&p.address) {
                s.id.clone_from(&p.id);
            }
        }
        self.configure_vips(now);
        self.guard_for(self.settings.lease);
        self.guard_at = None;
        out.push(Effect::Note(Note::Configured { voters_changed }));
    }

    fn configure_vips(&mut self, now: Time) {
        for (address, g) in &mut self.groups {
            g.place.removed = !self.settings.vips.iter().any(|v| v.address == *address);
        }
        for vip in &self.settings.vips {
            let g = self.groups.entry(vip.address).or_insert_with(|| {
                let inherited = self.inherited.remove(&vip.address).unwrap_or(Time::ZERO);
                let mut group = Group::new(vip.clone(), now, inherited);
                let found = self.strays.remove(&vip.address).unwrap_or_default();
                found.into_iter().for_each(|a| group.place.address_put(a));
                group
            });
            g.place.vip.priority = vip.priority;
            let moved = g.place.vip.interface != vip.interface || g.place.vip.prefix != vip.prefix;
            g.place.successor_vip = moved.then(|| vip.clone());
        }
    }

    /// A snapshot for people.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let majority = self.voters.majority();
        let reachable = self.voters.list().iter().filter(|v| self.sessions.get(v).is_some_and(|s| s.reachable));
        let in_contact = reachable.count() + 1 >= majority;
        Status {
            node: self.settings.node.clone(),
            local: self.settings.local,
            witness: self.settings.witness,
            voting: self.voting,
            quiet_until: (!self.voting).then_some(self.quiet_until),
            ready: self.voting && in_contact && !self.stopping,
            stopping: self.stopping,
            voters: self.voters.len(),
            lease: self.lease(),
            vips: self.vips(now),
            leases: self.leased.campaigns.iter().map(|(name, c)| c.status(now, name)).collect(),
            peers: self.voters.list().iter().filter_map(|v| self.peer(v)).collect(),
            transitions: self.transitions.iter().cloned().collect(),
            dropped: self.dropped.clone(),
            renewal_lag: self.lag,
            renewal_lag_max: self.lag_max,
            steps: self.leased.steps,
        }
    }

    fn vips(&self, now: Time) -> Vec<VipStatus> {
        let shown = |p: &Place| !p.removed || p.hold != Hold::None;
        let groups = self.groups.values().filter(|g| shown(&g.place)).map(|g| {
            let known = g.holder.filter(|(h, until)| now < *until && *h != self.me);
            VipStatus { healthy: g.healthy, ..self.vip(now, &g.place, known) }
        });
        let leased = self.leased.places.values().filter(|t| shown(&t.place)).map(|t| VipStatus {
            lease: Some(t.lease.clone()),
            guarantee: if self.settings.fence { Guarantee::LeaseFenced } else { Guarantee::LeaseUnfenced },
            ..self.vip(now, &t.place, None)
        });
        groups.chain(leased).collect()
    }

    fn vip(&self, now: Time, p: &Place, known: Option<(SocketAddr, Time)>) -> VipStatus {
        let role = match p.hold {
            Hold::Held { .. } | Hold::Shutting { .. } => Role::Holder,
            Hold::Draining { .. } => Role::Draining,
            Hold::None | Hold::Opening { .. } if self.may_hold(now, p) => Role::Standby,
            Hold::None | Hold::Opening { .. } => Role::Ineligible,
        };
        let (holder, until) = match p.hold {
            Hold::Held { end, .. } | Hold::Shutting { end, .. } => (Some(self.me), Some(end)),
            _ => (known.map(|(h, _)| h), known.map(|(_, until)| until)),
        };
        VipStatus {
            address: p.vip.address,
            interface: p.vip.interface.clone(),
            lease: None,
            role,
            holder: holder.filter(|h| h.port() != 0 || self.voters.len() > 1),
            until,
            guarantee: self.guarantee(),
            healthy: true,
            stranger: p.conflict.stranger(now),
            gains: p.gains,
            losses: p.losses,
        }
    }

    fn may_hold(&self, now: Time, p: &Place) -> bool {
        let link = self.links.get(&p.vip.interface).is_some_and(|l| l.up);
        let stranger = p.conflict.stranger(now).is_some() && !self.settings.force;
        !self.settings.witness && !self.stopping && link && !stranger && !p.removed
    }

    fn guarantee(&self) -> Guarantee {
        match (self.alone, self.voters.len() == 1, self.settings.fence) {
            (true, ..) => Guarantee::Alone,
            (false, true, _) => Guarantee::SingleNode,
            (false, false, true) => Guarantee::QuorumFenced,
            (false, false, false) => Guarantee::QuorumUnfenced,
        }
    }

    fn peer(&self, address: &SocketAddr) -> Option<PeerStatus> {
        let s = self.sessions.get(address)?;
        Some(PeerStatus {
            id: s.id.clone(),
            address: s.address,
            last_heard: s.heard,
            reachable: s.reachable,
            round_trip: s.round_trip,
            same_voters: s.same_voters,
            voting: s.flags.voting,
            witness: s.flags.witness,
        })
    }
}
