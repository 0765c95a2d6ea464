//! When to announce: a burst after every gain and whenever somebody may have a wrong idea, then a slow refresh.

use std::time::Duration;

use crate::time::Time;

/// Offsets of a burst: at once, then ever slower, since each frame may be lost.
const BURST_MS: [u64; 6] = [0, 50, 200, 500, 1000, 2000];

/// Shortest time between the beginnings of two bursts: bounds what a chatty neighbour can make us send.
const BURST_GAP: Duration = Duration::from_millis(40);

/// The schedule of one held address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcer {
    began: Option<Time>,
    sent: usize,
    next: Option<Time>,
}

impl Announcer {
    /// Begins a burst (a gain, a heal, a link that came back, a foreign answer); at most one per [`BURST_GAP`].
    pub(crate) fn burst(&mut self, now: Time) {
        if self.began.is_some_and(|b| now.since(b) < BURST_GAP && b <= now) && self.next.is_some() {
            return;
        }
        *self = Announcer { began: Some(now), sent: 0, next: Some(now) };
    }

    /// Nothing more is announced.
    pub(crate) fn stop(&mut self) {
        *self = Announcer::default();
    }

    /// True when a round is due; plans the next one.
    pub(crate) fn due(&mut self, now: Time, refresh: Option<Duration>) -> bool {
        let (Some(began), Some(next)) = (self.began, self.next) else { return false };
        if now < next {
            return false;
        }
        self.sent += 1;
        self.next = match BURST_MS.get(self.sent) {
            Some(ms) => Some((began + Duration::from_millis(*ms)).max(now + Duration::from_millis(1))),
            None => refresh.map(|r| now + r),
        };
        true
    }

    /// When the next round is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(mut a: Announcer, refresh: Option<Duration>, until_ms: u64) -> Vec<u64> {
        (0..until_ms).filter(|ms| a.due(Time(ms * 1_000_000), refresh)).collect()
    }

    #[test]
    fn a_gain_is_announced_at_once_then_slower_then_refreshed() {
        let mut a = Announcer::default();
        a.burst(Time::ZERO);
        assert_eq!(
            rounds(a.clone(), Some(Duration::from_secs(5)), 13_000),
            [0, 50, 200, 500, 1000, 2000, 7000, 12_000]
        );
        assert_eq!(rounds(a, None, 13_000), [0, 50, 200, 500, 1000, 2000]);
    }

    #[test]
    fn bursts_are_bounded_and_stop() {
        let mut a = Announcer::default();
        let mut sent = 0;
        for ms in 0..1000 {
            let now = Time(ms * 1_000_000);
            a.burst(now);
            sent += u32::from(a.due(now, None));
        }
        assert!(sent <= 1000 / 40 + 1, "{sent} rounds in a second");
        a.stop();
        assert_eq!(a.deadline(), None);
    }
}
