//! VRRP groups of Baton and of keepalived: many seeds, and planted mistakes.

use std::time::Duration;

use baton_sim::vrrp::{Fault, GroupMistake, GroupPlan, GroupReport, run};

/// Seeds of every test run.
const SEEDS: u64 = 600;
/// Seeds within which a mistake must show.
const HUNTED: u64 = 200;
/// Share of the time in which somebody must answer while faults happen, over all seeds.
const SERVED: f64 = 0.4;

fn all(seeds: std::ops::Range<u64>, one: impl Fn(u64) -> GroupReport + Sync) -> Vec<GroupReport> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let part = |t: u64| seeds.clone().filter(move |seed| seed % threads == t);
        let spawn = |t| {
            let (part, one) = (part(t), &one);
            scope.spawn(move || part.map(one).collect::<Vec<_>>())
        };
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    })
}

fn broken(reports: &[GroupReport]) -> Vec<String> {
    let tell = |r: &GroupReport| {
        let last = r.lines.len().saturating_sub(30);
        r.violation.as_ref().map(|v| format!("seed {}: {v}\n{}", r.seed, r.lines[last..].join("\n")))
    };
    reports.iter().filter_map(tell).collect()
}

#[test]
fn no_invariant_breaks_in_any_seed() {
    let reports = all(0..SEEDS, |seed| run(GroupPlan::new(seed)));
    let broken = broken(&reports);
    assert!(broken.is_empty(), "{} of {SEEDS}\n{}", broken.len(), broken[..broken.len().min(3)].join("\n\n"));
    let sum = |of: fn(&GroupReport) -> Duration| reports.iter().map(of).sum::<Duration>().as_secs_f64();
    let share = sum(|r| r.answered) / sum(|r| r.looked);
    assert!(share > SERVED, "served {share:.3} under faults");
}

#[test]
fn killed_and_stopped_masters_have_ended_when_a_backup_takes_over() {
    let plan = |seed| GroupPlan {
        faults: vec![Fault::Crash, Fault::Pause],
        // Whoever takes over is no better: no preemption excuses two.
        preempt: false,
        ..GroupPlan::hunting(seed, GroupMistake::NoEnd)
    };
    let broken = broken(&all(0..SEEDS, |seed| run(plan(seed))));
    assert!(broken.is_empty(), "{}\n{}", broken.len(), broken[..broken.len().min(3)].join("\n\n"));
}

#[test]
fn planted_mistakes_are_found() {
    let plan = |mistake, seed, planted| GroupPlan { mistake: planted, ..GroupPlan::hunting(seed, mistake) };
    let two = |r: &GroupReport| r.violation.as_ref().is_some_and(|v| v.starts_with("never two"));
    let finds = |mistake| all(0..HUNTED, |seed| run(plan(mistake, seed, Some(mistake)))).iter().any(two);
    let missed: Vec<GroupMistake> = GroupMistake::ALL.into_iter().filter(|mistake| !finds(*mistake)).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
    for mistake in GroupMistake::ALL {
        let innocent = broken(&all(0..HUNTED / 10, |seed| run(plan(mistake, seed, None))));
        assert!(innocent.is_empty(), "without {mistake:?}: {}", innocent[0]);
    }
}
