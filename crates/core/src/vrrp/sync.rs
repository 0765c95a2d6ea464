//! Sync groups: routers that move together.

use std::collections::BTreeSet;

use super::Routers;
use super::event::{Effect, Notice, Subject};
use super::note::Why;
use super::settings::{Name, SyncGroup};
use super::status::State;
use crate::time::Time;

impl Routers {
    /// Members follow the ones that moved. Says whom that touched.
    pub(super) fn sync(&mut self, now: Time, touched: &BTreeSet<Name>, out: &mut Vec<Effect>) -> BTreeSet<Name> {
        let mut followed = BTreeSet::new();
        let concerned = |g: &&SyncGroup| g.members.iter().any(|m| touched.contains(m));
        let groups: Vec<SyncGroup> = self.settings.groups.iter().filter(concerned).cloned().collect();
        for group in &groups {
            self.sync_faults(now, group, out);
            self.sync_states(now, group, out);
            for name in &group.members {
                self.on(now, name, out, |m, cx| {
                    m.moved = false;
                    m.step(cx);
                });
                followed.insert(name.clone());
            }
            self.tell_group(group, out);
        }
        followed
    }

    /// One member's fault is a fault of all others.
    fn sync_faults(&mut self, now: Time, group: &SyncGroup, out: &mut Vec<Effect>) {
        let own = |m: &super::Machine| m.faults.iter().any(|why| *why != Why::SyncGroup);
        let ill: BTreeSet<Name> =
            group.members.iter().filter(|n| self.machines.get(*n).is_some_and(own)).cloned().collect();
        for name in &group.members {
            let others = ill.iter().any(|i| i != name);
            self.on(now, name, out, |m, cx| m.fault(cx, Why::SyncGroup, others));
        }
        let unready = |s: State| matches!(s, State::Init | State::Fault);
        let blocked = group.members.iter().filter_map(|n| self.machines.get(n)).any(|m| unready(m.state));
        for name in &group.members {
            self.on(now, name, out, |m, _| m.blocked = blocked);
        }
    }

    /// Who ceased to be master takes the others along; else who became master does.
    fn sync_states(&mut self, now: Time, group: &SyncGroup, out: &mut Vec<Effect>) {
        let members = || group.members.iter().filter_map(|n| self.machines.get(n));
        let moved_to = |state: State| members().any(|m| m.moved && m.state == state);
        let (to_backup, to_master) = (moved_to(State::Backup), moved_to(State::Master));
        for name in &group.members {
            self.on(now, name, out, |m, cx| match m.state {
                State::Master if to_backup => m.yield_to_group(cx),
                State::Backup if to_master && !to_backup && !m.blocked => m.become_master(cx, Why::SyncGroup),
                _ => {}
            });
        }
    }

    /// A group is what all of its members are.
    fn tell_group(&mut self, group: &SyncGroup, out: &mut Vec<Effect>) {
        let mut states = group.members.iter().filter_map(|n| self.machines.get(n)).map(|m| m.told);
        let Some(Some(first)) = states.next() else { return };
        let Some(told) = self.groups.get_mut(&group.name) else { return };
        if *told == Some(first) || !states.all(|s| s == Some(first)) {
            return;
        }
        *told = Some(first);
        if matches!(first, Notice::Master | Notice::Backup | Notice::Fault) {
            let name = group.name.clone();
            out.push(Effect::Notify { of: Subject::Group, name, what: first, priority: 0 });
        }
    }
}
