//! Many faults, one upon another, at random moments: on the wire never more than one host may answer.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Report};
use crate::dice::Dice;
use crate::fault::Fault;

/// Longest time between two faults.
const PAUSE: Duration = Duration::from_millis(800);
/// Longest time until a fault is repaired.
const LASTING: Duration = Duration::from_millis(1500);
/// How long a cluster may take to be well again when everything is repaired.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers in a row that make a client well again.
const WELL: usize = 20;

/// A fault that was struck and is to be repaired.
#[derive(Clone, Copy, Debug)]
struct Open {
    fault: Fault,
    place: usize,
    until: Instant,
}

/// A fault of a swarm.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    /// When.
    pub at: Instant,
    /// What.
    pub fault: Fault,
    /// Which node.
    pub place: usize,
    /// It held the address.
    pub holder: bool,
}

/// What a swarm brought.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Every fault, in order.
    pub faults: Vec<Struck>,
    /// From the first fault to the end.
    pub report: Report,
    /// When everything was repaired, one host answered and the client was served in time.
    pub converged: bool,
}

impl Swarm {
    /// The faults as text, times from the first one, and when two answered.
    #[must_use]
    pub fn story(&self, cluster: &Cluster) -> String {
        let Some(first) = self.faults.first() else { return String::new() };
        let line = |struck: &Struck| {
            let role = if struck.holder { " (holder)" } else { "" };
            let at = (struck.at - first.at).as_secs_f64();
            format!("{at:8.3} s {}{role}: {}\n", cluster.name(struck.place), struck.fault.title())
        };
        let mut story: String = self.faults.iter().map(line).collect();
        for vip in cluster.vips() {
            for conflict in cluster.observer().conflicts(*vip, first.at, Instant::now()) {
                let at = (conflict.at - first.at).as_secs_f64();
                story += &format!("{at:8.3} s {vip}: two answered, {:?}\n", conflict.answers);
            }
        }
        story
    }
}

/// Strikes `count` faults, the holder more often than others; no node suffers two at once, and one node is always whole.
pub fn run(cluster: &mut Cluster, count: usize, dice: &mut Dice) -> io::Result<Swarm> {
    let from = Instant::now();
    let mut open: Vec<Open> = Vec::new();
    let mut faults = Vec::new();
    while faults.len() < count {
        thread::sleep(dice.time(PAUSE));
        repair(cluster, &mut open, Instant::now())?;
        let holder = cluster.holder();
        let nodes = cluster.nodes().len();
        let place = match holder {
            Some(holder) if dice.below(3) > 0 => holder,
            _ => dice.below(nodes),
        };
        if open.len() + 1 >= nodes || open.iter().any(|open| open.place == place) {
            continue;
        }
        let fault = Fault::ALL[dice.below(Fault::ALL.len())];
        faults.push(Struck { at: Instant::now(), fault, place, holder: holder == Some(place) });
        fault.strike(cluster, place)?;
        open.push(Open { fault, place, until: Instant::now() + dice.time(LASTING) });
    }
    let longest = Instant::now() + LASTING;
    repair(cluster, &mut open, longest)?;
    let ready = (0..cluster.nodes().len()).all(|place| cluster.wait_until_ready(place, PATIENCE));
    let converged =
        ready && cluster.client().wait_for_answers(WELL, PATIENCE) && cluster.wait_for_holder(PATIENCE).is_some();
    Ok(Swarm { faults, report: cluster.report(from, Instant::now()), converged })
}

/// Repairs what is due by `now`.
fn repair(cluster: &mut Cluster, open: &mut Vec<Open>, now: Instant) -> io::Result<()> {
    let (due, rest) = open.iter().partition(|open| open.until <= now);
    *open = rest;
    let due: Vec<Open> = due;
    due.into_iter().try_for_each(|open| open.fault.repair(cluster, open.place))
}
