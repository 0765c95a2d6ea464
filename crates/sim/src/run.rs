//! One run of one seed: faults, recovery, rest, farewell.

use std::time::Duration;

use baton_core::settings::LEASE_MAX;

use crate::clock::Moment;
use crate::faults::{Kind, Undo};
use crate::host::Host;
use crate::invariants::served::Share;
use crate::invariants::{Phase, Violation, handed_over, left};
use crate::mistake::Mistake;
use crate::plan::Plan;
use crate::world::{Action, World};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The first broken invariant.
    pub violation: Option<Violation>,
    /// Hash of everything that happened.
    pub hash: u64,
    /// Steps of all processes.
    pub steps: u64,
    /// Service while faults happened.
    pub under_faults: Share,
    /// Service after recovery.
    pub at_rest: Share,
    /// Service while nodes were stopped one after the other.
    pub handing_over: Share,
    /// Every hand-over was as short as messages allow.
    pub smooth: bool,
    /// The last lines of the trace, when asked for.
    pub lines: Vec<String>,
}

/// A stranger that is heard no more is believed gone after this time.
const STRANGER_FORGOTTEN: Duration = Duration::from_millis(3600);
/// A node without a list of voters hears one at least so often.
const LIST_REPEATED: Duration = Duration::from_millis(1100);
/// A higher rank takes over only from a holder that has held for a while, and tries again after this time.
const HAND_OVER_RETRY: Duration = Duration::from_secs(1);
/// The slowest clock that the design allows.
const SLOWEST: f64 = 0.9;

/// How long the cluster may take to find back: three leases and the quiet time, by the slowest clock.
fn recovery(world: &World) -> Duration {
    let plan = &world.plan;
    let lease = world.hosts.iter().map(|host| host.settings.lease).max().unwrap_or(plan.lease).max(plan.lease * 2);
    let marker = |id: usize| {
        let host = &world.hosts[id];
        host.kernel.markers.longest_lease.max(host.disk.longest_lease).unwrap_or(LEASE_MAX)
    };
    let quiet = (0..world.hosts.len()).map(marker).max().unwrap_or(LEASE_MAX).div_f64(SLOWEST);
    let strangers = plan.mix.kinds.contains(&Kind::Stranger);
    let retry = if strangers { STRANGER_FORGOTTEN } else { Duration::ZERO };
    let lone = |host: &Host| host.settings.start_as_leader && host.settings.peers.is_empty();
    let adoption = if world.hosts.iter().any(lone) { LIST_REPEATED } else { Duration::ZERO };
    let preempts = world.hosts.iter().any(|host| host.settings.preempt);
    let calm = if preempts { lease * 4 + HAND_OVER_RETRY } else { Duration::ZERO };
    (lease * 3 + quiet + retry + calm + adoption).div_f64(SLOWEST)
        + world.network.weather.delay_max * 8
        + Duration::from_millis(300)
}

/// Runs a plan.
#[must_use]
pub fn run(plan: Plan, mistake: Option<Mistake>, lines: bool) -> Report {
    let mut world = faults(plan, mistake, lines);
    let end = world.at;
    world.end_faults();
    enter(&mut world, Phase::Recovery);
    let recovered = end + recovery(&world);
    world.run_until(recovered);
    enter(&mut world, Phase::Steady);
    let rested = recovered + world.plan.steady;
    world.run_until(rested);
    let size = world.hosts.len();
    let stay = size / 2 + 1;
    enter(&mut world, Phase::HandOver);
    stop_each(&mut world, 0, stay);
    hand_over(&mut world);
    enter(&mut world, Phase::Farewell);
    stop_each(&mut world, size - stay, 1);
    kill_last(&mut world);
    report(world)
}

/// Runs the part of a plan in which faults happen: all that it takes to see two nodes answer.
#[must_use]
pub fn run_faults(plan: Plan, mistake: Option<Mistake>, lines: bool) -> Report {
    report(faults(plan, mistake, lines))
}

fn faults(plan: Plan, mistake: Option<Mistake>, lines: bool) -> World {
    let mut world = World::new(plan, mistake, lines);
    start_all(&mut world);
    let first = world.plan.mix.wait(world.plan.lease, &mut world.rng);
    world.after(first, Action::Fault);
    world.run_until(Moment(0) + world.plan.faults);
    world
}

fn enter(world: &mut World, phase: Phase) {
    if world.watch.violation.is_none() {
        world.trace.world(world.at, 0, &format!("-- {phase:?}"));
        world.watch.enter(phase, world.at, &world.hosts, world.step);
    }
}

fn start_all(world: &mut World) {
    for node in 0..world.hosts.len() {
        let wait = world.rng.between(Duration::ZERO, world.plan.lease);
        world.after(wait, Action::Undo(Undo::Start(node)));
    }
}

/// Stops one node after the other, from the `first`, until only `stay` are left.
fn stop_each(world: &mut World, first: usize, stay: usize) {
    for node in first..world.hosts.len().saturating_sub(stay) {
        world.stop(node);
        let wait = world.hosts[node].settings.drain + (world.plan.lease * 3).max(Duration::from_millis(500));
        world.run_until(world.at + wait);
    }
}

fn hand_over(world: &mut World) {
    if world.plan.plain
        && world.watch.violation.is_none()
        && let Some(seen) = handed_over::check(&world.plan, &world.network, world.watch.served.share(Phase::HandOver))
    {
        world.watch.broken(handed_over::RULE, world.step, world.at, seen);
    }
}

/// The last node is killed, and what it leaves goes by itself.
fn kill_last(world: &mut World) {
    let size = world.hosts.len();
    world.hosts[size - 1].process = None;
    let wait = left::lasts(world.plan.lease * 2);
    world.run_until(world.at + wait);
    for node in 0..size {
        if let Some(seen) = left::check(&mut world.hosts[node], world.at) {
            world.watch.broken(left::RULE, world.step, world.at, seen);
        }
    }
}

fn report(world: World) -> Report {
    Report {
        seed: world.plan.seed,
        hash: world.trace.hash(),
        smooth: !world.plan.plain
            || world.watch.served.share(Phase::HandOver).longest_gap
                <= handed_over::smooth(&world.plan, &world.network),
        steps: world.step,
        under_faults: world.watch.served.share(Phase::Faults),
        at_rest: world.watch.served.share(Phase::Steady),
        handing_over: world.watch.served.share(Phase::HandOver),
        lines: world.trace.lines().map(str::to_owned).collect(),
        violation: world.watch.violation,
    }
}
