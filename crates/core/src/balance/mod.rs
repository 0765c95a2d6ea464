//! Which backend gets the next connection or request: smooth weighted round robin, as a value.
//!
//! The order of one round is worked out once per change of the backends; a turn is then an index into it, so any number
//! of cores share one order through one counter. Nothing here knows addresses, sockets or counters.

mod ring;
mod rounds;
mod table;

use rounds::{ROUND_MAX, gcd};
pub use table::{Ask, Load, Pick, Table};

/// A backend as far as choosing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Share of new connections; 0 gets none.
    pub weight: u16,
    /// Used only when no other is up.
    pub backup: bool,
    /// May get traffic.
    pub up: bool,
    /// Its number, for a place on a ring.
    pub number: u32,
}

/// One round of turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    turns: Vec<u32>,
    spares: Vec<u32>,
}

impl Order {
    /// The order among those that are up: primaries, or backups when no primary is left.
    #[must_use]
    pub fn new(candidates: &[Candidate]) -> Order {
        let pick = |backup: bool| -> Vec<(u32, u64)> {
            let usable = |c: &&Candidate| c.up && c.weight > 0 && c.backup == backup;
            let numbered = (0u32..).zip(candidates);
            numbered.filter(|(_, c)| usable(c)).map(|(i, c)| (i, u64::from(c.weight))).collect()
        };
        let (primaries, backups) = (round(&pick(false)), round(&pick(true)));
        if primaries.is_empty() {
            Order { turns: backups, spares: Vec::new() }
        } else {
            Order { turns: primaries, spares: backups }
        }
    }

    /// An order worked out elsewhere.
    fn of(turns: Vec<u32>) -> Order {
        Order { turns, spares: Vec::new() }
    }

    /// The backend whose turn it is; `None`: nobody is up, refuse.
    #[must_use]
    pub fn at(&self, turn: usize) -> Option<usize> {
        let len = self.turns.len();
        if len == 0 { None } else { Some(self.turns[turn % len] as usize) }
    }

    /// The first from `turn` on that `tried` does not name; then a backup, if primaries were on turn. `None`: all were
    /// tried.
    #[must_use]
    pub fn after(&self, turn: usize, tried: impl Fn(usize) -> bool) -> Option<usize> {
        let len = self.turns.len();
        let around = (0..len).map(|i| self.turns[turn.wrapping_add(i) % len]);
        around.chain(self.spares.iter().copied()).map(|i| i as usize).find(|i| !tried(*i))
    }
}

/// Spreads the turns of each evenly over a round: the k-th of `w` belongs at (k + ½) / w of it.
fn round(weights: &[(u32, u64)]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |d, (_, w)| gcd(d, *w)).max(1);
    let sum: u64 = weights.iter().map(|(_, w)| w / divisor).sum();
    let scaled = |w: u64| if sum <= ROUND_MAX { w / divisor } else { (w / divisor * ROUND_MAX / sum).max(1) };
    let mut turns: Vec<(u64, u64, u32)> = Vec::new();
    for (index, weight) in weights {
        let weight = scaled(*weight);
        turns.extend((0..weight).map(|k| (2 * k + 1, 2 * weight, *index)));
    }
    turns.sort_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)).then(a.2.cmp(&b.2)));
    turns.into_iter().map(|(_, _, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(weights: &[(u16, bool, bool)], want: &[usize]) {
        let candidates: Vec<Candidate> =
            weights.iter().map(|&(weight, backup, up)| Candidate { weight, backup, up, number: 0 }).collect();
        let order = Order::new(&candidates);
        let got: Vec<usize> = (0..want.len()).filter_map(|t| order.at(t)).collect();
        assert_eq!(got, want, "{weights:?}");
    }

    #[test]
    fn rounds() {
        check(&[(1, false, true), (1, false, true), (1, false, true)], &[0, 1, 2, 0, 1, 2]);
        check(&[(100, false, true), (100, false, true)], &[0, 1, 0, 1]);
        check(&[(3, false, true), (1, false, true)], &[0, 0, 1, 0, 0, 0, 1, 0]);
        check(&[(1, false, true), (1, true, true)], &[0, 0, 0]);
        check(&[(1, false, false), (1, true, true)], &[1, 1]);
        check(&[(0, false, true), (1, false, true)], &[1, 1]);
        check(&[(1, false, false), (1, true, false)], &[]);
        check(&[], &[]);
    }

    #[test]
    fn the_next_was_not_tried() {
        let up = |backup| Candidate { weight: 1, backup, up: true, number: 0 };
        let order = Order::new(&[up(false), up(false), up(true)]);
        assert_eq!(order.after(1, |i| i == 1), Some(0));
        assert_eq!(order.after(0, |i| i < 2), Some(2), "a backup, when all primaries were tried");
        assert_eq!(order.after(0, |_| true), None);
        assert_eq!(Order::default().after(5, |_| false), None);
        assert_eq!(order.after(usize::MAX, |i| i == 0), Some(1), "the counter may wrap");
    }

    proptest! {
        #[test]
        fn shares_are_the_weights(weights in prop::collection::vec(1u16..=256, 1..12)) {
            let candidates: Vec<Candidate> =
                weights.iter().map(|&weight| Candidate { weight, backup: false, up: true, number: 0 }).collect();
            let sum: usize = weights.iter().map(|w| usize::from(*w)).sum();
            let order = Order::new(&candidates);
            let mut counts = vec![0usize; weights.len()];
            for turn in 0..sum {
                counts[order.at(turn).expect("somebody is up")] += 1;
            }
            prop_assert_eq!(counts, weights.iter().map(|w| usize::from(*w)).collect::<Vec<_>>());
        }

        #[test]
        fn a_round_is_bounded(weights in prop::collection::vec(0u16..=u16::MAX, 0..40)) {
            let candidates: Vec<Candidate> =
                weights.iter().map(|&weight| Candidate { weight, backup: false, up: true, number: 0 }).collect();
            let order = Order::new(&candidates);
            prop_assert!(order.turns.len() as u64 <= ROUND_MAX + weights.len() as u64);
            for (i, w) in weights.iter().enumerate() {
                prop_assert_eq!(order.turns.contains(&u32::try_from(i).unwrap()), *w > 0);
            }
        }
    }
}
