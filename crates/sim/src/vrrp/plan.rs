//! What one seed means for a VRRP group.

use std::time::Duration;

use super::GroupMistake;
use crate::clock::Clock;
use crate::rng::Rng;

/// What runs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Baton.
    Baton,
    /// A model of keepalived 2.2.7.
    Keepalived,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`; started again after a while.
    Crash,
    /// A graceful stop; started again after a while.
    Stop,
    /// The process stands still.
    Pause,
    /// Packets between two halves are lost.
    Partition,
    /// Packets from one node to another one are lost.
    OneWay,
    /// Some of all packets are lost.
    Loss,
    /// A node cannot send, and knows it.
    Mute,
    /// The link goes down.
    LinkDown,
    /// Kernel operations fail.
    Refuse,
    /// Somebody deletes the address.
    Delete,
}

const ALL: [Fault; 10] = [
    Fault::Crash,
    Fault::Stop,
    Fault::Pause,
    Fault::Partition,
    Fault::OneWay,
    Fault::Loss,
    Fault::Mute,
    Fault::LinkDown,
    Fault::Refuse,
    Fault::Delete,
];

/// What one seed means.
#[derive(Clone, Debug)]
pub struct GroupPlan {
    /// The seed.
    pub seed: u64,
    /// What runs where, with which priority and clock.
    pub nodes: Vec<(Kind, u8, Clock)>,
    /// Whole seconds in version 2.
    pub interval: Duration,
    /// Version 3, not 2.
    pub v3: bool,
    /// Backups replace a master of lower priority.
    pub preempt: bool,
    /// Longest way of a packet.
    pub delay: Duration,
    /// Faults that happen.
    pub faults: Vec<Fault>,
    /// Time between two faults, in intervals.
    pub every: (f64, f64),
    /// How long one lasts, in intervals.
    pub lasts: (f64, f64),
    /// Chance of a pause before an effect, per million.
    pub between: u32,
    /// A planted mistake.
    pub mistake: Option<GroupMistake>,
}

impl GroupPlan {
    /// What a seed means.
    #[must_use]
    pub fn new(seed: u64) -> GroupPlan {
        let mut rng = Rng::new(seed);
        let mixed = rng.chance(400_000);
        let count = 2 + rng.below(3);
        let mut nodes = Vec::new();
        for i in 0..count {
            let kind = if mixed && i > 0 && rng.chance(500_000) { Kind::Keepalived } else { Kind::Baton };
            let priority = if rng.chance(250_000) { 100 } else { u8::try_from(1 + rng.below(254)).unwrap_or(1) };
            let rate = 900_000 + u32::try_from(rng.below(200_000)).unwrap_or(0);
            nodes.push((kind, priority, Clock { origin: rng.bits() % 1_000_000_000_000, rate }));
        }
        let v3 = rng.chance(600_000);
        let interval = Duration::from_millis(if v3 { rng.pick(&[50, 100, 1000]) } else { 1000 });
        let faults = (0..1 + rng.below(4)).map(|_| rng.pick(&ALL)).collect();
        GroupPlan {
            seed,
            nodes,
            interval,
            v3,
            preempt: rng.chance(700_000),
            delay: Duration::from_micros(200 + rng.bits() % 3_000),
            faults,
            every: (1.0, 8.0),
            lasts: (0.5, 8.0),
            between: rng.pick(&[0, 0, 2_000, 20_000]),
            mistake: None,
        }
    }

    /// Two nodes of Baton and faults in which a mistake shows.
    #[must_use]
    pub fn hunting(seed: u64, mistake: GroupMistake) -> GroupPlan {
        let faults: &[Fault] = match mistake {
            GroupMistake::NoEnd => &[Fault::Crash, Fault::Pause],
            GroupMistake::NoMargin => &[Fault::Crash],
            GroupMistake::TimersFirst => &[Fault::Pause],
            GroupMistake::SentAnyway => &[Fault::Mute],
        };
        let plan = GroupPlan::new(seed);
        let mut nodes = plan.nodes;
        nodes.truncate(2);
        nodes.iter_mut().for_each(|n| n.0 = Kind::Baton);
        if mistake == GroupMistake::NoMargin {
            (nodes[0].2.rate, nodes[1].2.rate) = (900_000, 1_100_000);
            (nodes[0].1, nodes[1].1) = (250, 250);
        }
        let lasts = if mistake == GroupMistake::NoMargin { (6.0, 8.0) } else { (1.0, 6.0) };
        GroupPlan { nodes, faults: faults.to_vec(), between: 0, every: (6.0, 12.0), lasts, ..plan }
    }
}
