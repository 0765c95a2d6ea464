//! Events on their way to the keeper: its queue is short, and a cluster may change five thousand Services at once. What
//! found no room waits here, the last word about each thing only.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use baton_core::keeper::Event;
use baton_core::lease::LeaseName;

use crate::keeper::{Command, Handle};

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Address(IpAddr),
    Lease(LeaseName),
    Fitness(LeaseName),
    Health(IpAddr),
    Other,
}

/// Waiting events, in the order in which their topics came up.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    order: VecDeque<Topic>,
    events: BTreeMap<Topic, Event>,
}

impl Outbox {
    /// Takes an event; an older one about the same thing is forgotten.
    pub(super) fn push(&mut self, event: Event) {
        let topic = match &event {
            Event::Put(vip) => Topic::Address(vip.address),
            Event::Withdraw(address) => Topic::Address(*address),
            Event::Campaign(settings) => Topic::Lease(settings.name.clone()),
            Event::Resign(name) => Topic::Lease(name.clone()),
            Event::Yield { lease, .. } => Topic::Fitness(lease.clone()),
            Event::Health { vip, .. } => Topic::Health(*vip),
            _ => Topic::Other,
        };
        if self.events.insert(topic.clone(), event).is_none() {
            self.order.push_back(topic);
        }
    }

    /// Sends what there is room for. `true`: some wait.
    pub(super) fn flush(&mut self, keeper: &Handle) -> bool {
        while let Some(topic) = self.order.front() {
            let Some(event) = self.events.get(topic) else {
                self.order.pop_front();
                continue;
            };
            if !keeper.send(Command::Event(event.clone())) {
                return true;
            }
            self.events.remove(topic);
            self.order.pop_front();
        }
        false
    }

    /// Some wait.
    pub(super) fn waits(&self) -> bool {
        !self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_each_thing() {
        let mut outbox = Outbox::default();
        let lease = LeaseName { namespace: "a".into(), name: "b".into() };
        outbox.push(Event::Resign(lease.clone()));
        for end in 0..100 {
            outbox.push(Event::Withdraw([10, 0, 0, end % 2].into()));
            outbox.push(Event::Yield { lease: lease.clone(), ill: end % 2 == 0 });
        }
        assert_eq!(outbox.order.len(), 4);
        assert_eq!(outbox.events[&Topic::Fitness(lease.clone())], Event::Yield { lease, ill: false });
    }
}
