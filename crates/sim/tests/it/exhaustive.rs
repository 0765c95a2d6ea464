//! Every schedule of three nodes with one address, within bounds.

use std::time::Duration;

use baton_sim::Mistake;
use baton_sim::explore::{Limits, explore, trio};

const LEASE: Duration = Duration::from_millis(100);
const LIMITS: Limits = Limits { steps: 30, departures: 2, states: 60_000 };

#[test]
fn nothing_breaks_from_the_start_or_from_rest() {
    for calm in [Duration::ZERO, Duration::from_secs(7)] {
        let found = explore(&trio(LEASE), calm, LIMITS, None);
        println!("from {calm:?}: {} states, {} steps, cut: {}", found.states, found.steps, found.cut);
        assert_eq!(found.violation, None);
        assert!(found.states > 1_000, "only {} states", found.states);
    }
}

#[test]
fn a_mistake_is_found() {
    let found = explore(&trio(LEASE), Duration::from_secs(7), LIMITS, Some(Mistake::NoEnd));
    assert!(found.violation.is_some(), "{} states without a violation", found.states);
}
