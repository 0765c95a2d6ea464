//! When connections are to be looked at again. A connection is here at most once.

use std::collections::BTreeSet;

use super::slots::Key;

/// Milliseconds on a worker's clock.
pub(super) type Tick = u64;

/// The timers of one worker.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeSet<(Tick, Key)>,
}

impl Timers {
    /// Moves a timer from where it is, if anywhere, to where it should be.
    pub(super) fn set(&mut self, key: Key, from: Option<Tick>, to: Option<Tick>) {
        if let Some(from) = from {
            self.at.remove(&(from, key));
        }
        if let Some(to) = to {
            self.at.insert((to, key));
        }
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<Tick> {
        self.at.first().map(|(at, _)| *at)
    }

    /// One that is due.
    pub(super) fn due(&mut self, now: Tick) -> Option<Key> {
        let (at, key) = *self.at.first()?;
        (at <= now).then(|| {
            self.at.pop_first();
            key
        })
    }
}
