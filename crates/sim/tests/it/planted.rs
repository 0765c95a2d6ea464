//! Every planted mistake is found: a simulation that misses one proves nothing about its absence. The same plans
//! without the mistake break nothing.

use baton_sim::swarm::Swarm;
use baton_sim::{Mistake, hunt, run_faults, swarm};

/// Seeds within which a mistake must show.
const SEEDS: u64 = 600;
/// Seeds that must be clean without it.
const INNOCENT: u64 = 20;

fn hunt(mistake: Mistake, planted: bool, seeds: u64) -> Swarm {
    swarm::swarm(0..seeds, 1, |seed| run_faults(hunt::plan(mistake, seed), planted.then_some(mistake), false))
}

fn found(mistake: Mistake) {
    let guilty = hunt(mistake, true, SEEDS);
    let two = guilty.failed.iter().filter_map(|r| r.violation.as_ref()).any(|v| v.rule == "never two answer");
    assert!(two, "{mistake:?} was not found in {} seeds", guilty.runs);
    let innocent = hunt(mistake, false, INNOCENT);
    let first = innocent.failed.first().map(|r| (r.seed, r.violation.clone()));
    assert_eq!(first, None, "without {mistake:?}");
}

#[test]
fn validity_counted_from_the_reply() {
    found(Mistake::ValidityFromReply);
}

#[test]
fn remaining_time_computed_before_a_pause() {
    found(Mistake::RemainingBeforePause);
}

#[test]
fn gates_without_an_end() {
    found(Mistake::NoEnd);
}

#[test]
fn margin_on_one_side_only() {
    found(Mistake::OneSidedMargin);
}

#[test]
fn no_quiet_period() {
    found(Mistake::NoQuietPeriod);
}

#[test]
fn votes_counted_across_digests() {
    found(Mistake::VotesAcrossDigests);
}

#[test]
fn stale_incarnation_accepted() {
    found(Mistake::StaleIncarnation);
}
