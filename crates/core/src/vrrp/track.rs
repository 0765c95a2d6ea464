//! What is watched: from results to well or failed, and from there to priorities and faults.

use std::collections::BTreeMap;

use super::event::Found;
use super::settings::{Name, Router, Tracker, TrackerKind, Watch};

/// Weights beyond this make a fault of what lowers a priority (keepalived: a file's number times its weight).
const WEIGHT_MAX: i64 = 253;

/// A tracker's state.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    pub(crate) kind: TrackerKind,
    /// `None`: nothing is known yet.
    pub(crate) well: Option<bool>,
    pub(crate) number: i32,
    /// Results in a row that speak against `well`.
    against: u32,
}

impl Tracked {
    pub(crate) fn new(tracker: &Tracker) -> Tracked {
        let well = match tracker.kind {
            TrackerKind::Script { init_fail: true, .. } => Some(false),
            _ => None,
        };
        Tracked { kind: tracker.kind.clone(), well, number: 0, against: 0 }
    }

    /// The same thing, perhaps with other thresholds: what is known of it stays.
    pub(crate) fn inherit(&mut self, known: Tracked) {
        if std::mem::discriminant(&known.kind) == std::mem::discriminant(&self.kind) {
            (self.well, self.number, self.against) = (known.well, known.number, known.against);
        }
    }

    /// Takes a result. True when it changed anything that counts.
    pub(crate) fn found(&mut self, found: Found) -> bool {
        if let Found::Number(number) = found {
            let changed = self.well.is_none() || self.number != number;
            (self.well, self.number) = (Some(true), number);
            return changed;
        }
        let well = found == Found::Well;
        let needed = match (&self.kind, self.well) {
            // The first result decides alone.
            (_, None) => 1,
            (TrackerKind::Script { rise, .. }, Some(false)) => (*rise).max(1),
            (TrackerKind::Script { fall, .. }, Some(true)) => (*fall).max(1),
            (_, Some(_)) => 1,
        };
        if self.well == Some(well) {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.against < needed {
            return false;
        }
        (self.well, self.against) = (Some(well), 0);
        true
    }
}

/// What all watches of a router come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// A failure that ends eligibility.
    pub(crate) fault: bool,
    /// A watch that could end eligibility is not known yet.
    pub(crate) waiting: bool,
    /// The sum of the weights.
    pub(crate) weight: i64,
}

impl Verdict {
    /// What `watches` come to.
    pub(crate) fn of<'a>(watches: impl Iterator<Item = &'a Watch>, trackers: &BTreeMap<Name, Tracked>) -> Verdict {
        let mut verdict = Verdict::default();
        for watch in watches {
            let Some(tracked) = trackers.get(&watch.tracker) else { continue };
            verdict.add(watch, tracked);
        }
        verdict
    }

    fn add(&mut self, watch: &Watch, tracked: &Tracked) {
        let Some(well) = tracked.well else {
            self.waiting |= watch.weight == 0;
            return;
        };
        let weight = i64::from(watch.weight);
        if tracked.kind == TrackerKind::File {
            let number = i64::from(tracked.number) * if watch.reverse { -1 } else { 1 };
            if weight == 0 {
                self.fault |= number != 0;
            } else {
                self.fault |= number * weight < -WEIGHT_MAX;
                self.weight += (number * weight).clamp(-WEIGHT_MAX, WEIGHT_MAX);
            }
            return;
        }
        let well = well != watch.reverse;
        match weight {
            0 => self.fault |= !well,
            1.. if well => self.weight += weight,
            ..0 if !well => self.weight += weight,
            _ => {}
        }
    }
}

/// The effective priority: the owner's stays, all others are between 1 and 254.
pub(crate) fn priority(router: &Router, weight: i64) -> u8 {
    if router.priority == u8::MAX {
        return u8::MAX;
    }
    u8::try_from((i64::from(router.priority) + weight).clamp(1, 254)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(rise: u32, fall: u32, init_fail: bool) -> Tracked {
        Tracked::new(&Tracker { name: "chk".into(), kind: TrackerKind::Script { rise, fall, init_fail } })
    }

    fn run(tracked: &mut Tracked, results: &str) -> String {
        let mut states = String::new();
        for result in results.chars() {
            tracked.found(if result == '+' { Found::Well } else { Found::Failed });
            states.push(if tracked.well == Some(true) { '+' } else { '-' });
        }
        states
    }

    #[test]
    fn the_first_result_decides_alone_and_later_ones_in_a_row() {
        assert_eq!(run(&mut script(2, 3, false), "---++-++--+---+--"), "----+++++++++----");
        assert_eq!(run(&mut script(2, 3, false), "++--+---+-++"), "+++++++----+");
        assert_eq!(run(&mut script(1, 1, false), "+-+"), "+-+");
        assert_eq!(run(&mut script(2, 1, true), "+-++"), "---+", "init_fail: it has to rise");
        assert_eq!(run(&mut script(0, 0, false), "+-+"), "+-+", "zero is one");
    }

    fn watch(weight: i32, reverse: bool) -> Watch {
        Watch { tracker: "chk".into(), weight, reverse }
    }

    fn verdict(watch: Watch, tracked: Tracked) -> Verdict {
        Verdict::of([watch].iter(), &[("chk".into(), tracked)].into())
    }

    #[test]
    fn weights_and_faults() {
        let state = |well| Tracked { well, ..script(1, 1, false) };
        let cases = [
            (0, false, Some(true), Verdict::default()),
            (0, false, Some(false), Verdict { fault: true, ..Verdict::default() }),
            (0, true, Some(true), Verdict { fault: true, ..Verdict::default() }),
            (0, false, None, Verdict { waiting: true, ..Verdict::default() }),
            (-2, false, None, Verdict::default()),
            (-2, false, Some(true), Verdict::default()),
            (-2, false, Some(false), Verdict { weight: -2, ..Verdict::default() }),
            (-2, true, Some(true), Verdict { weight: -2, ..Verdict::default() }),
            (5, false, Some(true), Verdict { weight: 5, ..Verdict::default() }),
            (5, false, Some(false), Verdict::default()),
            (5, true, Some(false), Verdict { weight: 5, ..Verdict::default() }),
        ];
        for (weight, reverse, well, expected) in cases {
            assert_eq!(verdict(watch(weight, reverse), state(well)), expected, "{weight} {reverse} {well:?}");
        }
    }

    #[test]
    fn a_file_weighs_what_it_says() {
        let file = |number| {
            let mut tracked = Tracked::new(&Tracker { name: "chk".into(), kind: TrackerKind::File });
            tracked.found(Found::Number(number));
            tracked
        };
        let cases =
            [(0, 0, false, 0), (0, 1, true, 0), (1, -20, false, -20), (2, 10, false, 20), (1, -254, true, -253)];
        for (weight, number, fault, sum) in cases {
            let found = verdict(watch(weight, false), file(number));
            assert_eq!((found.fault, found.weight), (fault, sum), "weight {weight}, number {number}");
        }
        assert_eq!(verdict(watch(1, true), file(20)).weight, -20, "reverse");
        assert_eq!(verdict(watch(i32::MAX, false), file(i32::MIN)).weight, -253, "no overflow");
    }
}
