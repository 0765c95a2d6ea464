//! Every schedule of three nodes with one address, within bounds.

use std::time::Duration;

use baton_sim::Mistake;
use baton_sim::explore::{Limits, explore, trio};

const LEASE: Duration = Duration::from_millis(100);
/// One departure anywhere within 60 steps, and two within 12.
const LIMITS: [Limits; 2] =
    [Limits { steps: 60, departures: 1, states: 1_000_000 }, Limits { steps: 12, departures: 2, states: 1_000_000 }];

#[test]
fn nothing_breaks_from_the_start_or_from_rest() {
    for limits in LIMITS {
        for calm in [Duration::ZERO, Duration::from_secs(7)] {
            let found = explore(&trio(LEASE), calm, limits, None);
            println!("{limits:?} from {calm:?}: {} states on {} branches", found.states, found.branches);
            assert_eq!(found.violation, None);
            assert!(!found.cut && found.states > 10_000, "{} states, cut: {}", found.states, found.cut);
        }
    }
}

#[test]
fn a_mistake_is_found() {
    let found = explore(&trio(LEASE), Duration::from_secs(7), LIMITS[0], Some(Mistake::NoEnd));
    assert!(found.violation.is_some(), "{} states without a violation", found.states);
}
