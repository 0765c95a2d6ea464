//! How long to wait before trying again: a little longer each time, never the same for two nodes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::Error;

const FIRST: Duration = Duration::from_millis(100);
/// A server that is away costs it nothing to be asked, and everybody waits for it.
const AWAY_MAX: Duration = Duration::from_secs(1);
/// A server that answers with trouble is spared.
const TROUBLE_MAX: Duration = Duration::from_secs(10);
/// What we may not is asked for rarely: rights change when an administrator changes them.
const REFUSED: Duration = Duration::from_secs(20);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after this failure.
    pub(super) fn after(&mut self, error: &Error) -> Duration {
        let grown = FIRST * 2u32.pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let wait = match error {
            Error::Unreachable(_) | Error::Unanswered(_) => grown.min(AWAY_MAX),
            Error::Busy(_, Some(after)) => (*after).clamp(FIRST, TROUBLE_MAX * 3),
            Error::Conflict(_) | Error::Gone(_) | Error::Server(_) | Error::Busy(_, None) => grown.min(TROUBLE_MAX),
            _ => (grown * 8).min(REFUSED),
        };
        jittered(wait)
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
        assert!(backoff.after(&Error::Forbidden("no".into())) >= REFUSED * 3 / 4);
        backoff.reset();
        assert!(backoff.after(&Error::Server("no".into())) <= FIRST * 5 / 4);
        let asked = backoff.after(&Error::Busy("later".into(), Some(Duration::from_secs(2))));
        assert!(asked >= Duration::from_millis(1500) && asked <= Duration::from_millis(2500));
    }
}
