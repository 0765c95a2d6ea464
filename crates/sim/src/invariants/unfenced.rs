//! Without a fence (`fence: off`, or tables that somebody removed) two answer at most until the lifetime of an address ends
//! it: that is all that is left when a process is killed or stands still. While both processes run, hardly at all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Answering, ms};
use crate::clock::Moment;
use crate::host::Host;
use crate::plan::Plan;

/// The rule.
pub const RULE: &str = "without a fence two answer no longer than a lifetime";
/// Address operations that the kernel refuses are tried again.
const SLACK: Duration = Duration::from_millis(500);
/// What processes that run may need to notice the end and to have the address removed.
const RUNNING: Duration = Duration::from_millis(120);

/// Since when two answer for each address.
#[derive(Clone, Debug)]
pub struct Unfenced {
    since: Vec<BTreeMap<(usize, usize), Moment>>,
    /// When each machine was last seen without a process that runs, or with a kernel that refuses.
    impaired: Vec<Moment>,
    running: Duration,
    allowed: Duration,
}

impl Unfenced {
    /// Nothing seen yet. A reload may double the lease.
    #[must_use]
    pub fn new(plan: &Plan) -> Unfenced {
        let lifetime = (plan.lease * 2 + Duration::from_secs(2)).max(Duration::from_secs(3));
        let allowed = lifetime.div_f64(0.9) + plan.latency * 4 + SLACK;
        Unfenced {
            since: vec![BTreeMap::new(); plan.vips.len()],
            impaired: vec![Moment(0); plan.machines.len()],
            running: RUNNING + plan.latency * 8,
            allowed,
        }
    }

    /// What is wrong, if something is.
    pub fn look(&mut self, index: usize, at: Moment, vip: IpAddr, who: &[Answering], hosts: &[Host]) -> Option<String> {
        for host in hosts.iter().filter(|host| !host.runs() || host.failures > 0) {
            self.impaired[host.id] = at;
        }
        let pairs: Vec<(&Answering, &Answering)> = who
            .iter()
            .enumerate()
            .flat_map(|(place, one)| who[place + 1..].iter().map(move |other| (one, other)))
            .collect();
        let counts = |one: &Answering, other: &Answering| !(one.alone || other.alone || one.fenced && other.fenced);
        let before = std::mem::take(&mut self.since[index]);
        for (one, other) in pairs.into_iter().filter(|(one, other)| counts(one, other)) {
            let pair = (one.node, other.node);
            let since = before.get(&pair).copied().unwrap_or(at);
            let running = at.since(since.max(self.impaired[pair.0]).max(self.impaired[pair.1]));
            if at.since(since) > self.allowed || running > self.running {
                let (both, allowed) =
                    (ms(at.since(since)), ms(if running > self.running { self.running } else { self.allowed }));
                return Some(format!("{vip}: n{} and n{} for {both}, {allowed} allowed", pair.0, pair.1));
            }
            self.since[index].insert(pair, since);
        }
        None
    }
}
