//! Does a stranger answer for the address? (After RFC 5227, with timing of our own.)
//!
//! Probes go out when the node starts and slowly while it stands by. Whoever answers with a MAC that belongs neither
//! to this host nor to a peer is a stranger; while one is heard, the address is not taken.

use std::time::Duration;

use super::event::Mac;
use crate::time::Time;

/// Probes at the start.
const PROBES: u32 = 3;
/// Time between them, and after the last one.
const PROBE_GAP: Duration = Duration::from_millis(50);
/// Time between probes while a stranger is there.
const RETRY: Duration = Duration::from_secs(1);
/// A stranger that was not heard for so long has gone.
const FORGET: Duration = Duration::from_millis(2500);
/// Time between probes of a standby that hears nobody.
const STANDBY: Duration = Duration::from_secs(5);
/// A held address is defended at most so often (RFC 5227, DEFEND_INTERVAL).
pub(crate) const DEFEND: Duration = Duration::from_secs(10);

/// What is known of strangers for one address.
#[derive(Clone, Debug)]
pub(crate) struct Conflict {
    sent: u32,
    next: Time,
    stranger: Option<(Mac, Time)>,
    defended: Option<Time>,
}

impl Conflict {
    /// Probing begins now.
    pub(crate) fn new(now: Time) -> Conflict {
        Conflict { sent: 0, next: now, stranger: None, defended: None }
    }

    /// The first probes were sent and had time to be answered.
    pub(crate) fn probed(&self, now: Time) -> bool {
        self.sent > PROBES || self.sent == PROBES && now >= self.next
    }

    /// Somebody who is neither this host nor a peer answered. True when it is news.
    pub(crate) fn heard(&mut self, now: Time, mac: Mac) -> bool {
        let news = self.stranger.is_none_or(|(m, _)| m != mac);
        self.stranger = Some((mac, now));
        news
    }

    /// True once per [`DEFEND`]: answer a conflict with an announcement.
    pub(crate) fn defend(&mut self, now: Time) -> bool {
        if self.defended.is_some_and(|t| now.since(t) < DEFEND) {
            return false;
        }
        self.defended = Some(now);
        true
    }

    /// The stranger, if one was heard lately.
    pub(crate) fn stranger(&self, now: Time) -> Option<Mac> {
        self.stranger.filter(|(_, at)| now.since(*at) < FORGET).map(|(m, _)| m)
    }

    /// A MAC turned out to be a peer's.
    pub(crate) fn acquit(&mut self, mac: &Mac) {
        if self.stranger.is_some_and(|(m, _)| m == *mac) {
            self.stranger = None;
        }
    }

    /// True when a probe is due (only asked while standing by); plans the next one.
    pub(crate) fn due(&mut self, now: Time) -> bool {
        if now < self.next {
            return false;
        }
        if self.sent < PROBES {
            self.sent += 1;
            self.next = now + PROBE_GAP;
            return true;
        }
        self.sent = PROBES + 1;
        self.next = now + if self.stranger(now).is_some() { RETRY } else { STANDBY };
        true
    }

    /// When the next probe is due, or the stranger forgotten.
    pub(crate) fn deadline(&self, now: Time) -> Time {
        match self.stranger {
            Some((_, at)) if at + FORGET > now => self.next.min(at + FORGET),
            _ => self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn three_probes_then_slowly() {
        let mut c = Conflict::new(at(0));
        let sent: Vec<u64> = (0..11_000).filter(|ms| c.due(at(*ms))).collect();
        assert_eq!(sent, [0, 50, 100, 150, 5150, 10_150]);
    }

    #[test]
    fn the_address_is_not_taken_before_the_probes_had_time() {
        let mut c = Conflict::new(at(0));
        for ms in [0, 50, 100] {
            assert!(!c.probed(at(ms)));
            assert!(c.due(at(ms)));
        }
        assert!(!c.probed(at(149)));
        assert!(c.probed(at(150)));
    }

    #[test]
    fn a_stranger_is_probed_every_second_and_forgotten() {
        let mut c = Conflict::new(at(0));
        for ms in [0, 50, 100, 150] {
            c.due(at(ms));
        }
        assert!(c.heard(at(5000), [1; 6]));
        assert!(!c.heard(at(5001), [1; 6]), "it is no news twice");
        assert!(c.due(at(5150)));
        assert!(c.due(at(6150)));
        assert_eq!(c.stranger(at(7500)), Some([1; 6]));
        assert_eq!(c.stranger(at(7501)), None);
        c.heard(at(8000), [2; 6]);
        c.acquit(&[2; 6]);
        assert_eq!(c.stranger(at(8000)), None);
    }

    #[test]
    fn a_held_address_is_defended_once_per_interval() {
        let mut c = Conflict::new(at(0));
        assert!(c.defend(at(0)));
        assert!(!c.defend(at(9_999)));
        assert!(c.defend(at(10_000)));
    }
}
