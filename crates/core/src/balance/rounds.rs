//! The orders in which haproxy takes turns, one round as a list.
//!
//! Its dynamic round robin places each server at multiples of (sum of weights / weight), heavier ones first; its static one
//! fills a map with whoever is most behind. Both are repeated here exactly for a set of servers that does not change.

use std::collections::BTreeMap;

/// Longest round. Finer ratios between weights than this allows are rounded.
pub(super) const ROUND_MAX: u64 = 4096;

pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A server on its way through a round.
#[derive(Clone, Copy)]
struct Place {
    index: u32,
    weight: u64,
    /// Position of its next turn.
    next: u64,
    /// What was lost by rounding so far.
    rest: u64,
}

/// One group of servers, all usable.
struct Group {
    places: Vec<Place>,
    divisor: u64,
    sum: u64,
    position: u64,
    /// Not yet in this round, heaviest first.
    waiting: Vec<usize>,
    /// In this round, by position and weight; of equals the first that came.
    placed: BTreeMap<(u64, u64, u64), usize>,
    /// For the next round.
    later: Vec<usize>,
    arrivals: u64,
}

/// Longest round that is worked out in full: a round is as long as the sum of the weights.
const DYNAMIC_MAX: u64 = 16 * 1024;

/// The order of `roundrobin`.
pub(super) fn dynamic(weights: &[(u32, u64)]) -> Vec<u32> {
    if weights.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        return weights.iter().map(|(index, _)| *index).collect();
    }
    let divisor = weights.iter().fold(0, |d, (_, w)| gcd(d, *w)).max(1);
    let whole: u64 = weights.iter().map(|(_, w)| w).sum();
    // Rounding within a round begins again with each: a shorter round is nearly the same order.
    let divisor = if whole <= DYNAMIC_MAX { 1 } else { divisor };
    let sum = whole / divisor;
    if sum > DYNAMIC_MAX {
        return super::round(weights);
    }
    let place = |(index, weight): &(u32, u64)| Place { index: *index, weight: weight / divisor, next: 0, rest: 0 };
    let places: Vec<Place> = weights.iter().map(place).collect();
    let mut waiting: Vec<usize> = (0..places.len()).collect();
    waiting.sort_by_key(|at| std::cmp::Reverse(places[*at].weight));
    let first = waiting.clone();
    let (placed, later) = (BTreeMap::new(), Vec::new());
    let mut group = Group { places, divisor, sum, position: sum, waiting, placed, later, arrivals: 0 };
    let mut turns = Vec::new();
    while (turns.len() as u64) < DYNAMIC_MAX {
        while let Some(index) = group.turn() {
            turns.push(index);
        }
        group.turn_over();
        if group.waiting == first {
            break;
        }
    }
    turns
}

impl Group {
    fn turn(&mut self) -> Option<u32> {
        let placed = self.placed.first_key_value().map(|(key, at)| (*key, *at));
        let at = match placed {
            Some((key, at)) if key.0 <= self.position || self.waiting.is_empty() => {
                self.placed.remove(&key);
                at
            }
            _ if self.waiting.is_empty() => return None,
            _ => {
                let at = self.waiting.remove(0);
                (self.places[at].next, self.places[at].rest) = (0, 0);
                at
            }
        };
        let (sum, position) = (self.sum, self.position);
        let place = &mut self.places[at];
        place.next = if place.next == 0 { position } else { place.next } + sum / place.weight;
        place.rest += sum % place.weight;
        if place.rest >= place.weight {
            place.rest -= place.weight;
            place.next += 1;
        }
        self.position += 1;
        self.queue(at);
        Some(self.places[at].index)
    }

    fn queue(&mut self, at: usize) {
        let place = self.places[at];
        if place.next >= 2 * self.sum {
            // Heaviest first; of equals the first that came.
            let behind = self.later.iter().position(|l| self.places[*l].weight < place.weight);
            self.later.insert(behind.unwrap_or(self.later.len()), at);
        } else {
            self.arrivals += 1;
            let lightness = (65_536 + place.rest * self.divisor - place.weight * self.divisor) / 16;
            self.placed.insert((place.next, lightness, self.arrivals), at);
        }
    }

    fn turn_over(&mut self) {
        self.waiting = std::mem::take(&mut self.later);
        self.position = self.sum;
    }
}

/// The map of `static-rr` and `source`.
pub(super) fn fixed(weights: &[(u32, u64)]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |d, (_, w)| gcd(d, *w)).max(1);
    let sum: u64 = weights.iter().map(|(_, w)| w / divisor).sum();
    if sum > ROUND_MAX {
        return super::round(weights);
    }
    let total = i64::try_from(sum).unwrap_or(i64::MAX);
    let shares: Vec<i64> = weights.iter().map(|(_, w)| i64::try_from(w / divisor).unwrap_or(i64::MAX)).collect();
    let mut scores = vec![0i64; weights.len()];
    (0..sum)
        .filter_map(|_| {
            let mut best: Option<(i64, usize)> = None;
            for (at, share) in shares.iter().enumerate() {
                scores[at] += share;
                let value = (scores[at] + total) / total;
                if best.is_none_or(|(most, _)| value > most) {
                    best = Some((value, at));
                }
            }
            let (_, at) = best?;
            scores[at] -= total;
            Some(weights[at].0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(of: fn(&[(u32, u64)]) -> Vec<u32>, weights: &[u64]) -> String {
        let weights: Vec<(u32, u64)> = (0u32..).zip(weights.iter().copied()).collect();
        of(&weights).iter().map(|i| char::from(b'a' + u8::try_from(*i).unwrap())).collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        for of in [dynamic, fixed] {
            assert_eq!(order(of, &[1]), "a");
            assert_eq!(order(of, &[100, 100, 100]), "abc");
            assert_eq!(order(of, &[]), "");
        }
    }

    #[test]
    fn everybody_gets_the_share_of_its_weight() {
        for weights in [vec![3, 1], vec![5, 3, 2], vec![1, 2, 3, 4], vec![256, 1], vec![7, 7, 2], vec![10, 20, 30]] {
            let text = order(fixed, &weights);
            let sum: u64 = weights.iter().sum();
            for (at, weight) in weights.iter().enumerate() {
                let letter = char::from(b'a' + u8::try_from(at).unwrap());
                let count = text.chars().filter(|c| *c == letter).count() as u64;
                assert_eq!(count * sum, weight * text.len() as u64, "{weights:?}: {text}");
            }
        }
    }

    /// What haproxy 2.6.12 did with connections one after the other.
    #[test]
    fn the_order_of_haproxy() {
        let check = |of: fn(&[(u32, u64)]) -> Vec<u32>, weights: &[u64], expected: &str| {
            let scaled: Vec<u64> = weights.iter().map(|w| w * 16).collect();
            let order: String = order(of, &scaled).chars().cycle().skip(1).take(expected.len()).collect();
            assert_eq!(order, expected, "{weights:?}");
        };
        check(dynamic, &[1, 1, 1], "bcabcabcabca");
        check(dynamic, &[3, 1], "aabaaabaaabaaabaaabaaabaaabaaabaaabaaaba");
        check(dynamic, &[2, 1], "abaabaabaabaabaabaabaabaabaabaabaabaabaaba");
        check(dynamic, &[5, 3, 2], "bacababacabacababacabacababacabacababacabacababacabacababaca");
        check(dynamic, &[1, 2, 3, 4], "cdbcdadcbdcdbcdadcbdcdbcdadcbdcdbcdadcbdcdbcdadcbdcdbcdadcbd");
        check(dynamic, &[7, 7, 2], "babababcabababacbabababcabababacbabababcabababacbabababcabab");
        check(dynamic, &[10, 20, 30], "bcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbc");
        check(dynamic, &[256, 100], "aabaabaaabaabaaabaaabaabaaabaabaaabaabaaabaabaaabaaabaabaaab");
        check(fixed, &[2, 1], "abaabaabaabaabaaba");
        check(fixed, &[5, 3, 2], "abacababcaabacababcaabacababcaabacababcaabacababcaabacababca");
        check(fixed, &[1, 2, 3, 4], "bdcdbcdcdabdcdbcdcdabdcdbcdcdabdcdbcdcdabdcdbcdcdabdcdbcdcda");
        check(fixed, &[7, 7, 2], "bababacbabababcabababacbabababcabababacbabababcababab");
        check(fixed, &[256, 100], "aabaaabaabaaabaabaaabaabaaabaaabaabaaabaabaaabaabaaabaabaaab");
    }
}
