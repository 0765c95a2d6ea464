//! Who serves the next connection, by any of the algorithms. Loads and room are asked for; nothing is remembered here.

use std::net::IpAddr;

use super::ring::{self, Ring};
use super::{Candidate, Order, rounds};
use crate::pool::Algorithm;

/// Units of weight: haproxy's.
const SCALE: u64 = 16 * 256;

/// What is the case with a candidate now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections that it serves or that wait for it.
    pub serving: u64,
    /// It may get another one.
    pub room: bool,
    /// And no more may wait for it.
    pub crowded: bool,
    /// When it last got or lost one, as a number that grows.
    pub stamp: u64,
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Whose turn it is.
    pub turn: usize,
    /// The client.
    pub source: Option<IpAddr>,
    /// A random number.
    pub draw: u64,
    /// The one that it should be, if that is up.
    pub wanted: Option<usize>,
    /// Another one will do when too many wait for that.
    pub yields: bool,
    /// Those to be avoided.
    pub tried: &'a dyn Fn(usize) -> bool,
    /// What is the case with one.
    pub load: &'a dyn Fn(usize) -> Load,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one.
    Now(usize),
    /// This one and no other, when it has room.
    Later(usize),
    /// Whoever has room first.
    Anybody,
    /// The one that it has to be has no room, and too many wait for it.
    Full,
    /// Nobody is up.
    Nobody,
}

/// The candidates of a moment, made ready for questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    algorithm: Algorithm,
    order: Order,
    /// Usable ones in the order of the configuration, with their weights.
    usable: Vec<(u32, u64)>,
    ring: Ring,
    /// Who may be asked for by name: those that are up, whatever their weight.
    up: Vec<bool>,
}

impl Table {
    /// Makes the table: primaries, or backups (the first, or all) when no primary is usable.
    #[must_use]
    pub fn new(algorithm: Algorithm, candidates: &[Candidate], all_backups: bool) -> Table {
        if algorithm == Algorithm::Turns {
            return Table { algorithm, order: Order::new(candidates), ..Table::default() };
        }
        let pick = |backup: bool| -> Vec<(u32, u64)> {
            let usable = |c: &&Candidate| c.up && c.weight > 0 && c.backup == backup;
            let numbered = (0u32..).zip(candidates);
            numbered.filter(|(_, c)| usable(c)).map(|(i, c)| (i, u64::from(c.weight))).collect()
        };
        let mut usable = pick(false);
        if usable.is_empty() {
            usable = pick(true);
            if !all_backups {
                usable.truncate(1);
            }
        }
        let order = match algorithm {
            Algorithm::StaticRoundRobin | Algorithm::Source | Algorithm::SourceMixed => {
                Order::of(rounds::fixed(&usable))
            }
            _ => Order::of(rounds::dynamic(&usable)),
        };
        let ring = match algorithm {
            Algorithm::SourceRing { .. } => {
                Ring::new(usable.iter().map(|(i, weight)| (candidates[*i as usize].number, *i, *weight)))
            }
            _ => Ring::default(),
        };
        Table { algorithm, order, usable, ring, up: candidates.iter().map(|c| c.up).collect() }
    }

    /// The order of turns, where the algorithm has one.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// One may be asked for by name.
    #[must_use]
    pub fn is_up(&self, index: usize) -> bool {
        self.up.get(index) == Some(&true)
    }

    /// Nobody is up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.usable.is_empty() && self.order.at(0).is_none()
    }

    /// Who serves.
    #[must_use]
    pub fn pick(&self, ask: &Ask<'_>) -> Pick {
        let wanted = ask.wanted.filter(|i| self.is_up(*i) && !(ask.tried)(*i));
        if let Some(pick) = wanted.map(|i| bound(i, ask)).filter(|pick| !(ask.yields && *pick == Pick::Full)) {
            return pick;
        }
        if self.is_empty() {
            return Pick::Nobody;
        }
        if self.by_hash() {
            return self.by_source(ask);
        }
        // Those tried are taken only when nobody else is there.
        self.choose(ask, true).or_else(|| self.choose(ask, false)).map_or(Pick::Anybody, Pick::Now)
    }

    fn choose(&self, ask: &Ask<'_>, avoid: bool) -> Option<usize> {
        let good = |i: usize| (ask.load)(i).room && !(avoid && (ask.tried)(i));
        let usable = || self.usable.iter().map(|(i, w)| (*i as usize, *w)).filter(|(i, _)| good(*i));
        match self.algorithm {
            Algorithm::Turns | Algorithm::RoundRobin | Algorithm::StaticRoundRobin => {
                self.order.after(ask.turn, |i| !good(i))
            }
            // Asked in another way.
            Algorithm::Source | Algorithm::SourceMixed | Algorithm::SourceRing { .. } => None,
            Algorithm::LeastConnections => usable().min_by_key(|(i, w)| rank(*w, (ask.load)(*i))).map(|(i, _)| i),
            Algorithm::First => usable().next().map(|(i, _)| i),
            Algorithm::Random(draws) => {
                let all: Vec<(usize, u64)> = usable().collect();
                let mut draw = ask.draw;
                let drawn = (0..draws.max(1)).filter_map(|_| {
                    draw = scramble(draw);
                    drawn(&all, draw)
                });
                drawn.min_by_key(|(i, w)| rank(*w, (ask.load)(*i)).0).map(|(i, _)| i)
            }
        }
    }

    fn by_hash(&self) -> bool {
        matches!(self.algorithm, Algorithm::Source | Algorithm::SourceMixed | Algorithm::SourceRing { .. })
    }

    /// The hash of an address leads to one server; another one is asked only when that was tried.
    fn by_source(&self, ask: &Ask<'_>) -> Pick {
        let hash = ask.source.map_or(0, hash);
        let around = |hash: u32| {
            let hash = hash as usize;
            self.order.after(hash, |i| (ask.tried)(i)).or_else(|| self.order.at(hash))
        };
        let index = match self.algorithm {
            Algorithm::SourceRing { mixed } => {
                let hash = if mixed { ring::mix(hash) } else { hash };
                self.ring.nearest(hash, |i| (ask.tried)(i)).or_else(|| self.ring.nearest(hash, |_| false))
            }
            Algorithm::SourceMixed => around(ring::mix(hash)),
            _ => around(hash),
        };
        index.map_or(Pick::Nobody, |index| bound(index, ask))
    }
}

/// What becomes of a wish for this one and no other.
fn bound(index: usize, ask: &Ask<'_>) -> Pick {
    let load = (ask.load)(index);
    match (load.room, load.crowded) {
        (true, _) => Pick::Now(index),
        (false, false) => Pick::Later(index),
        (false, true) => Pick::Full,
    }
}

/// The less, the sooner; of equals the one that has waited longest.
fn rank(weight: u64, load: Load) -> (u64, u64) {
    let serving = if load.serving == 0 { 0 } else { (load.serving + 1) * SCALE / weight.max(1) };
    (serving, load.stamp)
}

/// One of `all`, by weight.
fn drawn(all: &[(usize, u64)], draw: u64) -> Option<(usize, u64)> {
    let sum: u64 = all.iter().map(|(_, w)| w).sum();
    let mut left = draw.checked_rem(sum)?;
    all.iter().copied().find(|(_, weight)| {
        let found = left < *weight;
        left = left.saturating_sub(*weight);
        found
    })
}

/// The next of a sequence without pattern (splitmix64).
fn scramble(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// haproxy's: the address's words, folded.
fn hash(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(a) => a.to_bits(),
        IpAddr::V6(a) => a.octets().chunks(4).fold(0, |h, w| h ^ w.iter().fold(0u32, |n, b| n << 8 | u32::from(*b))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `weights`: 0 is down, negative a backup. `loads`: connections now, and the most. What `times` questions answer.
    fn check(algorithm: Algorithm, weights: &[i32], maxima: &[u64], times: usize, expected: &str) {
        let candidate =
            |w: &i32| Candidate { weight: u16::try_from(w.abs()).unwrap(), backup: *w < 0, up: *w != 0, number: 0 };
        let candidates: Vec<Candidate> = weights.iter().map(candidate).collect();
        let table = Table::new(algorithm, &candidates, false);
        let mut serving = vec![0u64; weights.len()];
        let mut stamps: Vec<u64> = (0..weights.len() as u64).collect();
        let mut text = String::new();
        for turn in 0..times {
            let load = |i: usize| Load {
                serving: serving[i],
                room: maxima.get(i).is_none_or(|m| serving[i] < *m),
                crowded: false,
                stamp: stamps[i],
            };
            let source = Some(IpAddr::from([192, 0, 2, 7]));
            match table.pick(&Ask {
                turn,
                source,
                draw: turn as u64,
                wanted: None,
                yields: false,
                tried: &|_| false,
                load: &load,
            }) {
                Pick::Now(i) => {
                    serving[i] += 1;
                    stamps[i] = 100 + turn as u64;
                    text.push(char::from(b'a' + u8::try_from(i).unwrap()));
                }
                Pick::Later(i) => text.push(char::from(b'A' + u8::try_from(i).unwrap())),
                Pick::Anybody => text.push('?'),
                Pick::Full => text.push('!'),
                Pick::Nobody => text.push('-'),
            }
        }
        assert_eq!(text, expected, "{algorithm:?} {weights:?} {maxima:?}");
    }

    #[test]
    fn algorithms() {
        check(Algorithm::RoundRobin, &[1, 1, 1], &[], 6, "abcabc");
        check(Algorithm::RoundRobin, &[1, 1, 1], &[2, 2, 1], 6, "abcab?");
        check(Algorithm::RoundRobin, &[0, 0], &[], 2, "--");
        check(Algorithm::RoundRobin, &[0, -1, -1], &[], 3, "bbb");
        check(Algorithm::LeastConnections, &[1, 1, 1], &[], 6, "abcabc");
        check(Algorithm::LeastConnections, &[2, 1], &[], 6, "abaaba");
        check(Algorithm::First, &[1, 1], &[2, 1], 4, "aab?");
        check(Algorithm::StaticRoundRobin, &[2, 1], &[], 6, "aabaab");
        // 192.0.2.7 is 3221225991: modulo 3 it is 2, ((1 + ...)).
        let index = usize::try_from(u32::from_be_bytes([192, 0, 2, 7]) % 3).unwrap();
        let letter = char::from(b'a' + u8::try_from(index).unwrap());
        check(Algorithm::Source, &[1, 1, 1], &[], 3, &letter.to_string().repeat(3));
        let full: String = [letter, letter.to_ascii_uppercase()].iter().collect();
        check(Algorithm::Source, &[1, 1, 1], &[1, 1, 1], 2, &full);
    }

    #[test]
    fn drawn_by_weight_and_load() {
        let candidates = [(1, true), (3, true), (0, true), (5, false)].map(|(weight, up)| Candidate {
            weight,
            backup: false,
            up,
            number: 0,
        });
        let table = Table::new(Algorithm::Random(1), &candidates, false);
        let mut counts = [0; 4];
        for draw in 0..4000 {
            let load = |_| Load { room: true, ..Load::default() };
            match table.pick(&Ask {
                turn: 0,
                source: None,
                draw,
                wanted: None,
                yields: false,
                tried: &|_| false,
                load: &load,
            }) {
                Pick::Now(i) => counts[i] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(counts[0] > 800 && counts[1] > 2700 && counts[2] + counts[3] == 0, "{counts:?}");
    }

    #[test]
    fn those_tried_are_avoided_while_there_are_others() {
        let candidates = [true, true].map(|up| Candidate { weight: 1, backup: false, up, number: 0 });
        for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::First, Algorithm::Source] {
            let table = Table::new(algorithm, &candidates, false);
            for turn in 0..4 {
                let load = |_| Load { room: true, ..Load::default() };
                let ask = |tried: &dyn Fn(usize) -> bool| {
                    let source = Some(IpAddr::from([10, 0, 0, 1]));
                    table.pick(&Ask { turn, source, draw: 1, wanted: None, yields: false, tried, load: &load })
                };
                assert_eq!(ask(&|i| i == 0), Pick::Now(1), "{algorithm:?}");
                assert!(matches!(ask(&|_| true), Pick::Now(_)), "{algorithm:?}");
            }
        }
    }

    #[test]
    fn the_one_that_it_should_be() {
        let candidate = |weight, up| Candidate { weight, backup: false, up, number: 0 };
        // The second one is down, the third one gets nobody new.
        let candidates = [candidate(1, true), candidate(1, false), candidate(0, true)];
        let table = Table::new(Algorithm::RoundRobin, &candidates, false);
        let check = |wanted, yields, (room, crowded), tried: &dyn Fn(usize) -> bool, expected| {
            let load = |i: usize| Load { room: room || i == 0, crowded, ..Load::default() };
            let ask = Ask { turn: 0, source: None, draw: 0, wanted: Some(wanted), yields, tried, load: &load };
            assert_eq!(table.pick(&ask), expected, "{wanted} {yields} {room} {crowded}");
        };
        check(2, false, (true, false), &|_| false, Pick::Now(2));
        check(2, false, (false, false), &|_| false, Pick::Later(2));
        check(2, false, (false, true), &|_| false, Pick::Full);
        check(2, true, (false, true), &|_| false, Pick::Now(0));
        check(2, false, (true, false), &|i| i == 2, Pick::Now(0));
        check(1, false, (true, false), &|_| false, Pick::Now(0));
        check(9, false, (true, false), &|_| false, Pick::Now(0));
    }
}
