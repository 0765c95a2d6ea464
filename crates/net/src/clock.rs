//! This node's own clock: it goes on through suspend, and nobody can set it.

use std::time::Duration;

use baton_core::Time;
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// The time on `CLOCK_BOOTTIME`.
#[must_use]
pub fn now() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    // Neither field is ever negative on this clock.
    Time(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
}

/// The kernel's timer tick (a jiffy), the granularity of element timeouts in nftables.
#[must_use]
pub fn tick() -> Duration {
    let resolution = clock_getres(ClockId::RealtimeCoarse);
    Duration::new(resolution.tv_sec.unsigned_abs(), u32::try_from(resolution.tv_nsec).unwrap_or(10_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_a_tick_is_one_to_ten_milliseconds() {
        let before = now();
        std::thread::sleep(Duration::from_millis(2));
        let passed = now().since(before);
        assert!(passed >= Duration::from_millis(2) && passed < Duration::from_secs(5), "{passed:?}");
        assert!((Duration::from_millis(1)..=Duration::from_millis(10)).contains(&tick()), "{:?}", tick());
    }
}
