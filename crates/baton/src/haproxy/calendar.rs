//! Moments as log lines write them.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970, UTC.
    pub epoch: i64,
    /// Thousandths.
    pub millis: u32,
    /// Millionths.
    pub micros: u32,
    year: i64,
    month: usize,
    day: i64,
    second: i64,
    /// Seconds east of Greenwich.
    offset: i64,
}

impl Moment {
    /// In UTC.
    #[must_use]
    pub fn utc(at: SystemTime) -> Moment {
        Moment::at(at, 0)
    }

    /// In this host's time zone.
    #[must_use]
    pub fn local(at: SystemTime) -> Moment {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Moment::at(at, baton_net::process::local_offset(epoch))
    }

    fn at(at: SystemTime, offset: i64) -> Moment {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2);
        let local = epoch + offset;
        let (year, month, day) = date(local.div_euclid(86_400));
        let (millis, micros) = (since.subsec_millis(), since.subsec_micros());
        Moment { epoch, millis, micros, year, month, day, second: local.rem_euclid(86_400), offset }
    }

    fn clock(self) -> (i64, i64, i64) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }

    /// `21/Nov/2026:18:00:00.123`
    pub fn session(self, line: &mut String) {
        let (h, m, s) = self.clock();
        let month = MONTHS[self.month];
        let _ = write!(line, "{:02}/{month}/{}:{h:02}:{m:02}:{s:02}.{:03}", self.day, self.year, self.millis);
    }

    /// `21/Nov/2026:18:00:00 +0000`
    pub fn seconds(self, line: &mut String) {
        let (h, m, s) = self.clock();
        let (sign, offset) = if self.offset < 0 { ('-', -self.offset) } else { ('+', self.offset) };
        let month = MONTHS[self.month];
        let _ = write!(line, "{:02}/{month}/{}:{h:02}:{m:02}:{s:02} ", self.day, self.year);
        let _ = write!(line, "{sign}{:02}{:02}", offset / 3600, offset / 60 % 60);
    }

    /// `Nov 21 18:00:00`, as syslog has it.
    pub fn syslog(self, line: &mut String) {
        let (h, m, s) = self.clock();
        let _ = write!(line, "{} {:2} {h:02}:{m:02}:{s:02}", MONTHS[self.month], self.day);
    }

    /// `2026-11-21T18:00:00.123456+00:00`
    pub fn iso(self, line: &mut String) {
        let (h, m, s) = self.clock();
        let (sign, offset) = if self.offset < 0 { ('-', -self.offset) } else { ('+', self.offset) };
        let _ = write!(line, "{}-{:02}-{:02}T{h:02}:{m:02}:{s:02}", self.year, self.month + 1, self.day);
        let _ = write!(line, ".{:06}{sign}{:02}:{:02}", self.micros, offset / 3600, offset / 60 % 60);
    }
}

/// Year, month from zero and day of a number of days since 1970.
fn date(days: i64) -> (i64, usize, i64) {
    // Years begin in March here, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, late) = if month < 10 { (month + 2, 0) } else { (month - 10, 1) };
    (year_of_era + era * 400 + late, usize::try_from(month).unwrap_or(0), day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments() {
        let check = |epoch: u64, millis: u64, session: &str, syslog: &str| {
            let moment = Moment::utc(UNIX_EPOCH + Duration::from_secs(epoch) + Duration::from_millis(millis));
            let (mut a, mut b) = (String::new(), String::new());
            moment.session(&mut a);
            moment.syslog(&mut b);
            assert_eq!((a.as_str(), b.as_str()), (session, syslog));
        };
        check(0, 7, "01/Jan/1970:00:00:00.007", "Jan  1 00:00:00");
        check(1_709_210_096, 0, "29/Feb/2024:12:34:56.000", "Feb 29 12:34:56");
        check(1_735_689_599, 999, "31/Dec/2024:23:59:59.999", "Dec 31 23:59:59");
        check(951_868_799, 0, "29/Feb/2000:23:59:59.000", "Feb 29 23:59:59");
    }

    #[test]
    fn offsets() {
        let moment = Moment::at(UNIX_EPOCH + Duration::from_micros(1_709_210_096_000_042), -12_600);
        let (mut a, mut b) = (String::new(), String::new());
        moment.seconds(&mut a);
        moment.iso(&mut b);
        assert_eq!(a, "29/Feb/2024:09:04:56 -0330");
        assert_eq!(b, "2024-02-29T09:04:56.000042-03:30");
    }
}
