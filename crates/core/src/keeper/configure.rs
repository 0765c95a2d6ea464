//! A new configuration: the difference is applied, nothing else moves. And the snapshot for people.

use super::group::{Group, Hold};
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
        self.guard_at = None;
        out.push(Effect::Note(Note::Configured { voters_changed }));
    }

    fn configure_vips(&mut self, now: Time) {
        for (address, g) in &mut self.groups {
            g.removed = !self.settings.vips.iter().any(|v| v.address == *address);
        }
        for vip in &self.settings.vips {
            let g = self.groups.entry(vip.address).or_insert_with(|| Group::new(vip.clone(), now, Time::ZERO));
            g.vip.priority = vip.priority;
            let moved = g.vip.interface != vip.interface || g.vip.prefix != vip.prefix;
            g.successor_vip = moved.then(|| vip.clone());
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
            vips: self
                .groups
                .values()
                .filter(|g| !g.removed || g.hold != Hold::None)
                .map(|g| self.vip(now, g))
                .collect(),
            peers: self.voters.list().iter().filter_map(|v| self.peer(v)).collect(),
            transitions: self.transitions.iter().cloned().collect(),
            dropped: self.dropped.clone(),
            renewal_lag: self.lag,
            renewal_lag_max: self.lag_max,
        }
    }

    fn vip(&self, now: Time, g: &Group) -> VipStatus {
        let role = match g.hold {
            Hold::Held { .. } | Hold::Shutting { .. } => Role::Holder,
            Hold::Draining { .. } => Role::Draining,
            Hold::None | Hold::Opening { .. } if self.may_hold(now, g) => Role::Standby,
            Hold::None | Hold::Opening { .. } => Role::Ineligible,
        };
        let (holder, until) = match g.hold {
            Hold::Held { end, .. } | Hold::Shutting { end, .. } => (Some(self.me), Some(end)),
            _ => {
                let known = g.holder.filter(|(h, until)| now < *until && *h != self.me);
                (known.map(|(h, _)| h), known.map(|(_, until)| until))
            }
        };
        VipStatus {
            address: g.vip.address,
            interface: g.vip.interface.clone(),
            role,
            holder: holder.filter(|h| h.port() != 0 || self.voters.len() > 1),
            until,
            guarantee: self.guarantee(),
            healthy: g.healthy,
            stranger: g.conflict.stranger(now),
            gains: g.gains,
            losses: g.losses,
        }
    }

    fn may_hold(&self, now: Time, g: &Group) -> bool {
        let link = self.links.get(&g.vip.interface).is_some_and(|l| l.up);
        let stranger = g.conflict.stranger(now).is_some() && !self.settings.force;
        !self.settings.witness && !self.stopping && link && !stranger && !g.removed
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
