//! How long to wait before trying again: a little longer each time, never the same for two nodes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::Error;

const FIRST: Duration = Duration::from_millis(100);
/// A server that is away costs it nothing to be asked, and everybody waits for it.
const AWAY_MAX: Duration = Duration::from_secs(1);
/// A server that answers with trouble is spared.
const TROUBLE_MAX: Duration = Duration::from_secs(10);
/// What we may not is asked for rarely: rights change when an administrator changes them.
const REFUSAL_MAX: Duration = Duration::from_secs(20);
/// The longest patience that a server may ask for.
const ASKED_MAX: Duration = Duration::from_secs(30);

/// Counts failures of one kind in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<Sort>,
}

/// What a failure says about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Away,
    Trouble,
    Refusal,
}

impl Backoff {
    /// It worked.
    pub(super) fn reset(&mut self) {
        *self = Backoff::default();
    }

    /// How long to wait after this failure. A server that comes back refuses and fails for a moment: how long it was away
    /// does not count then.
    pub(super) fn after(&mut self, error: &Error) -> Duration {
        let sort = match error {
            Error::Unreachable(_) | Error::Unanswered(_) => Sort::Away,
            Error::Conflict(_) | Error::Gone(_) | Error::Server(_) | Error::Busy(..) => Sort::Trouble,
            _ => Sort::Refusal,
        };
        self.failures = if self.last == Some(sort) { self.failures.saturating_add(1) } else { 0 };
        self.last = Some(sort);
        let grown = FIRST * 2u32.pow(self.failures.min(10));
        jittered(match (sort, error) {
            (_, Error::Busy(_, Some(after))) => (*after).clamp(FIRST, ASKED_MAX),
            (Sort::Away, _) => grown.min(AWAY_MAX),
            (Sort::Trouble, _) => grown.min(TROUBLE_MAX),
            (Sort::Refusal, _) => (grown * 4).min(REFUSAL_MAX),
        })
    }
}

/// Between ¾ and 5/4 of `wait`.
pub(super) fn jittered(wait: Duration) -> Duration {
    // The clock's last digits differ between nodes that saw the same thing, which is all that is asked of them.
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    let part = nanos.wrapping_mul(0x9e37_79b1) >> 16 & 0xff;
    wait * 3 / 4 + wait * part / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let mut backoff = Backoff::default();
        let away = Error::Unreachable("refused".into());
        let waits: Vec<Duration> = (0..20).map(|_| backoff.after(&away)).collect();
        assert!(waits[0] <= FIRST * 5 / 4 && waits[0] >= FIRST * 3 / 4, "{waits:?}");
        assert!(waits[19] <= AWAY_MAX * 5 / 4 && waits[19] >= AWAY_MAX * 3 / 4, "{waits:?}");
        let refusals: Vec<Duration> = (0..20).map(|_| backoff.after(&Error::Forbidden("no".into()))).collect();
        assert!(refusals[0] <= FIRST * 5 && refusals[19] >= REFUSAL_MAX * 3 / 4, "{refusals:?}");
        assert!(backoff.after(&Error::Server("no".into())) <= FIRST * 5 / 4);
        let asked = backoff.after(&Error::Busy("later".into(), Some(Duration::from_secs(2))));
        assert!(asked >= Duration::from_millis(1500) && asked <= Duration::from_millis(2500));
    }
}
