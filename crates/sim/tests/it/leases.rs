//! Clusters whose addresses hang on Leases: many seeds, and planted mistakes.

use std::time::Duration;

use baton_sim::leases::plan::Fault;
use baton_sim::leases::{LeaseMistake, LeasePlan, LeaseReport, run, run_faults};

/// Seeds of every test run.
const SEEDS: u64 = 300;
/// Seeds within which a mistake must show.
const HUNTED: u64 = 300;
/// Seeds that must be clean without it.
const INNOCENT: u64 = 20;
/// Share of the time in which somebody must answer while faults happen, over all seeds.
const SERVED: f64 = 0.4;
/// The invariant that most mistakes break.
const TWO: &str = "never two";

fn both(seeds: std::ops::Range<u64>, one: impl Fn(u64) -> LeaseReport + Sync) -> Vec<LeaseReport> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let part = |t: u64| seeds.clone().filter(move |seed| seed % threads == t);
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                scope.spawn({
                    let one = &one;
                    let part = part(t);
                    move || part.map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    })
}

#[test]
fn no_invariant_breaks_in_any_seed() {
    let all = both(0..SEEDS, |seed| run(LeasePlan::new(seed), None, false));
    let failed: Vec<String> =
        all.iter().filter_map(|r| r.violation.as_ref().map(|v| format!("seed {}: {v}", r.seed))).collect();
    assert!(failed.is_empty(), "{} of {}\n{}", failed.len(), all.len(), failed[..failed.len().min(5)].join("\n"));
    let sum = |of: fn(&LeaseReport) -> Duration| all.iter().map(of).sum::<Duration>().as_secs_f64();
    let share = sum(|r| r.answered) / sum(|r| r.looked);
    assert!(share > SERVED, "served {share:.3} under faults");
}

#[test]
fn a_seed_means_the_same_every_time() {
    for seed in [3, 14, 159] {
        let (one, other) = (run(LeasePlan::new(seed), None, false), run(LeasePlan::new(seed), None, true));
        assert_eq!(one.hash, other.hash, "seed {seed}");
    }
}

fn found(mistake: LeaseMistake, rule: &str, faults: &[Fault], lasts: (f64, f64)) {
    let hunt = |seeds, planted: Option<LeaseMistake>| {
        let all = both(0..seeds, |seed| run_faults(LeasePlan::hunting(seed, faults, lasts), planted, false));
        all.into_iter().filter_map(|r| r.violation.map(|v| (r.seed, v))).collect::<Vec<_>>()
    };
    let guilty = hunt(HUNTED, Some(mistake));
    assert!(guilty.iter().any(|(_, v)| v.starts_with(rule)), "{mistake:?} was not found: {guilty:?}");
    assert_eq!(hunt(INNOCENT, None), [], "without {mistake:?}");
}

#[test]
fn a_hold_counted_from_the_reply() {
    found(LeaseMistake::UntilFromReply, TWO, &[Fault::Crash, Fault::Pause, Fault::Cut], (1.0, 3.0));
}

#[test]
fn a_release_after_the_end_of_whatever_is_there() {
    found(LeaseMistake::LateRelease, TWO, &[Fault::Stop, Fault::Ill, Fault::Stale], (0.2, 2.0));
}

#[test]
fn a_take_over_by_the_wall_clock() {
    found(LeaseMistake::WallClock, TWO, &[Fault::Touch, Fault::Crash], (0.1, 1.0));
}

#[test]
fn a_guard_that_ends_before_the_address_does() {
    found(LeaseMistake::ShortGuard, "guarded", &[Fault::Crash], (0.5, 2.0));
}

/// Whoever starts just then and never saw the Lease may make it; everybody else leaves it to its holder.
#[test]
fn a_deleted_lease_is_no_free_one() {
    let faults = [Fault::Remove, Fault::Remove, Fault::Cut, Fault::Pause, Fault::Ill];
    let all = both(0..HUNTED, |seed| run_faults(LeasePlan::hunting(seed, &faults, (0.1, 1.0)), None, false));
    let broken: Vec<_> = all.into_iter().filter_map(|r| r.violation.map(|v| (r.seed, v))).collect();
    assert_eq!(broken, []);
}
