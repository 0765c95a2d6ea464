//! What one step of one router may look at, and where it puts what it decides.

use std::time::Duration;

use super::event::Effect;
use crate::time::Time;

/// The surroundings of one step.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    /// Everything that had come in by now was handed over: silence means something.
    pub(crate) heard_all: bool,
    /// The kernel's timer granularity.
    pub(crate) tick: Duration,
    pub(crate) fence: bool,
    pub(crate) drain: Duration,
    pub(crate) release: bool,
    pub(crate) out: &'a mut Vec<Effect>,
}

/// How long an advert keeps backups quiet at least, seen from a clock that may be a tenth slow while theirs is a tenth
/// fast, and one tick earlier: until then nobody else answers.
pub(crate) fn lasts(interval: Duration, down_adverts: u8, tick: Duration) -> Duration {
    (interval * u32::from(down_adverts) * 9 / 11).saturating_sub(tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_ends_before_a_backup_takes_over() {
        let ms = Duration::from_millis;
        assert_eq!(lasts(ms(1000), 3, ms(4)), Duration::from_nanos(2_454_545_454) - ms(4));
        assert_eq!(lasts(ms(10), 3, ms(4)), Duration::from_nanos(24_545_454) - ms(4));
        assert_eq!(lasts(ms(10), 1, ms(10)), Duration::ZERO, "too short for this kernel: never open");
        for interval in [10, 100, 1000, 255_000] {
            let slow_and_fast = ms(interval) * 3 * 9 / 11;
            assert!(lasts(ms(interval), 3, ms(4)) < slow_and_fast);
        }
    }
}
