//! Wall-clock times as people write them. Nothing decides by them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the epoch.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time since the epoch in RFC 3339 form, UTC, with milliseconds.
#[must_use]
pub fn rfc3339(since_epoch: Duration) -> String {
    format!("{}.{:03}Z", date_time(since_epoch), since_epoch.subsec_millis())
}

/// The same in whole seconds (Kubernetes' `Time`).
#[must_use]
pub fn seconds(since_epoch: Duration) -> String {
    format!("{}Z", date_time(since_epoch))
}

/// The same with microseconds (Kubernetes' `MicroTime`).
#[must_use]
pub fn micros(since_epoch: Duration) -> String {
    format!("{}.{:06}Z", date_time(since_epoch), since_epoch.subsec_micros())
}

fn date_time(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", second % 60)
}

/// Year, month and day of a number of days since 1970-01-01: whole cycles of 400 years, then years that begin in March,
/// so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        let check = |s: u64, expected: &str| assert_eq!(rfc3339(Duration::from_millis(s)), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_709_164_800_000, "2024-02-29T00:00:00.000Z");
        check(1_795_262_399_001, "2026-11-21T11:59:59.001Z");
        let at = Duration::from_micros(1_795_262_399_000_012);
        assert_eq!(
            (micros(at).as_str(), seconds(at).as_str()),
            ("2026-11-21T11:59:59.000012Z", "2026-11-21T11:59:59Z")
        );
    }
}
