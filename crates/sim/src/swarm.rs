//! Many seeds, on as many threads as there are processors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use crate::invariants::served::Share;
use crate::run::Report;

/// What came of many runs.
#[derive(Clone, Debug, Default)]
pub struct Swarm {
    /// Runs.
    pub runs: u64,
    /// Steps of all processes.
    pub steps: u64,
    /// Runs with a broken invariant, by seed.
    pub failed: Vec<Report>,
    /// Runs in which a hand-over took longer than messages need.
    pub rough: u64,
    /// Service while faults happened.
    pub under_faults: Share,
    /// Service after recovery.
    pub at_rest: Share,
}

/// Runs `one` for every seed; stops early after `enough` failures.
#[must_use]
pub fn swarm(seeds: std::ops::Range<u64>, enough: usize, one: impl Fn(u64) -> Report + Sync) -> Swarm {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = Swarm::default();
    std::thread::scope(|scope| {
        let (sender, reports) = mpsc::sync_channel::<Report>(64);
        for _ in 0..threads {
            let (next, one, sender, end) = (&next, &one, sender.clone(), seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send(one(seed)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for report in reports {
            all.runs += 1;
            all.steps += report.steps;
            all.rough += u64::from(!report.smooth);
            all.under_faults = all.under_faults.and(report.under_faults);
            all.at_rest = all.at_rest.and(report.at_rest);
            if report.violation.is_some() {
                all.failed.push(report);
            }
            if all.failed.len() >= enough {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    });
    all.failed.sort_by_key(|report| report.seed);
    all
}
