//! True time, which nobody in the cluster sees, and the clock of one machine, which is all that it sees.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use baton_core::Time;

/// Nanoseconds of true time since the simulation began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, d: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 / 1000 % 1_000_000)
    }
}

/// A machine's clock: it never stops and never jumps, but starts anywhere and runs fast or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// What it shows when the simulation begins, in nanoseconds.
    pub origin: u64,
    /// Its nanoseconds per millisecond of true time: 1,000,000 is exact.
    pub rate: u32,
}

impl Clock {
    /// What it shows at a moment.
    #[must_use]
    pub fn at(&self, moment: Moment) -> Time {
        let gone = u128::from(moment.0) * u128::from(self.rate) / 1_000_000;
        Time(self.origin.saturating_add(u64::try_from(gone).unwrap_or(u64::MAX)))
    }

    /// The first moment at which it shows `time` or later.
    #[must_use]
    pub fn when(&self, time: Time) -> Moment {
        let gone = u128::from(time.0.saturating_sub(self.origin)) * 1_000_000;
        Moment(u64::try_from(gone.div_ceil(u128::from(self.rate.max(1)))).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_inverse_of_at() {
        for rate in [900_000, 999_999, 1_000_000, 1_100_000] {
            let clock = Clock { origin: 77, rate };
            for moment in [0, 1, 999_999, 123_456_789_012] {
                let shown = clock.at(Moment(moment));
                let back = clock.when(shown);
                assert!(back <= Moment(moment), "{rate} {moment}");
                assert!(clock.at(back) >= shown, "{rate} {moment}");
            }
        }
    }
}
