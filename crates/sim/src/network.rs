//! The network between the machines: which messages arrive, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rng::Rng;

/// What the network does to messages.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Shortest way.
    pub delay_min: Duration,
    /// Longest way on a normal day; messages overtake each other.
    pub delay_max: Duration,
    /// Lost, per million.
    pub loss: u32,
    /// Delivered twice, per million.
    pub twice: u32,
    /// Very late, per million.
    pub late: u32,
    /// How late.
    pub late_max: Duration,
}

impl Weather {
    /// The same network without faults: nothing is lost, and a way takes no more than `longest`.
    #[must_use]
    pub fn calm(&self, longest: Duration) -> Weather {
        Weather { loss: 0, twice: 0, late: 0, delay_max: self.delay_max.min(longest), ..self.clone() }
    }
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it does to messages.
    pub weather: Weather,
    /// Ways that are cut, in one direction each.
    pub cuts: BTreeSet<(usize, usize)>,
}

impl Network {
    /// Whether anything gets from one machine to another.
    #[must_use]
    pub fn passes(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// The delays of a message's copies: none when it is lost.
    pub fn carry(&self, from: usize, to: usize, rng: &mut Rng) -> Vec<Duration> {
        if !self.passes(from, to) || rng.chance(self.weather.loss) {
            return Vec::new();
        }
        let copies = if rng.chance(self.weather.twice) { 2 } else { 1 };
        (0..copies).map(|_| self.delay(rng)).collect()
    }

    fn delay(&self, rng: &mut Rng) -> Duration {
        if rng.chance(self.weather.late) {
            rng.between(self.weather.delay_max, self.weather.late_max)
        } else {
            rng.between(self.weather.delay_min, self.weather.delay_max)
        }
    }
}
