//! Many seeds, each twice where it matters, and seeds that once failed.

use baton_sim::{Plan, run, swarm};

/// Seeds of every test run.
const SEEDS: u64 = 500;
/// Share of the time in which somebody must answer while faults happen, over all seeds.
const SERVED_UNDER_FAULTS: f64 = 0.45;

#[test]
fn no_invariant_breaks_in_any_seed() {
    let all = swarm::swarm(0..SEEDS, 5, |seed| run(Plan::new(seed), None, false));
    let failed: Vec<String> =
        all.failed.iter().filter_map(|r| r.violation.as_ref().map(|v| format!("seed {}: {v}", r.seed))).collect();
    assert!(failed.is_empty(), "{}\n(see one: cargo run -p baton-sim -- --seed SEED --trace)", failed.join("\n"));
    assert_eq!(all.runs, SEEDS);
    assert!(all.under_faults.ratio() > SERVED_UNDER_FAULTS, "served {:.3} under faults", all.under_faults.ratio());
    assert!(all.rough <= SEEDS / 50, "{} runs with a rough hand-over", all.rough);
    assert!(all.at_rest.ratio() > 0.999, "served {:.4} at rest", all.at_rest.ratio());
}

#[test]
fn a_seed_means_the_same_every_time() {
    for seed in [3, 14, 159, 2653] {
        let (one, other) = (run(Plan::new(seed), None, false), run(Plan::new(seed), None, true));
        assert_eq!((one.hash, one.steps), (other.hash, other.steps), "seed {seed}");
        assert!(one.steps > 100, "seed {seed} does something");
    }
}

/// Seeds that once failed, beyond those of every run.
#[test]
fn what_once_failed_stays_mended() {
    for seed in [958, 1_141, 10_193, 11_281] {
        assert_eq!(run(Plan::new(seed), None, false).violation, None, "seed {seed}");
    }
}
