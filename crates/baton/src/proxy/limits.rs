//! How many connections fit: descriptors are what runs out first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is not a proxied connection: sockets of the daemon, listeners, checks.
const RESERVE: usize = 256;
/// Most pipes for bulk, over all workers: 1 MB each when a receiver is slower than its sender. Others are copied.
const PIPES_MAX: usize = 128;
/// Where the limit says "any number".
const PLENTY: u64 = 1 << 20;

/// Connections of all workers, and how many there may be.
#[derive(Debug)]
pub(super) struct Limits {
    open: AtomicUsize,
    /// Most connections.
    pub(super) connections: usize,
    /// Most pipes, over all workers.
    pub(super) pipes: usize,
}

impl Limits {
    /// Raises the soft limit of descriptors to the hard one and shares them out.
    pub(super) fn from_process() -> Limits {
        let limit = getrlimit(Resource::Nofile);
        // Where it is refused, what is there is shared out.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(PLENTY).min(PLENTY);
        Limits::of(usize::try_from(descriptors).unwrap_or(usize::MAX))
    }

    pub(super) fn of(descriptors: usize) -> Limits {
        let usable = descriptors.saturating_sub(RESERVE.min(descriptors / 4));
        let pipes = PIPES_MAX.min(usable / 16);
        Limits { open: AtomicUsize::new(0), connections: (usable - 2 * pipes) / 2, pipes }
    }

    /// Whether one more fits; it counts then.
    pub(super) fn enter(&self) -> bool {
        if self.open.fetch_add(1, Relaxed) < self.connections {
            return true;
        }
        self.leave();
        false
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn now(&self) -> usize {
        self.open.load(Relaxed)
    }
}

/// What one worker has taken of it: comes back when the worker is gone, however it ended.
#[derive(Debug)]
pub(super) struct Share {
    limits: Arc<Limits>,
    open: usize,
}

impl Share {
    pub(super) fn new(limits: Arc<Limits>) -> Share {
        Share { limits, open: 0 }
    }

    /// Whether one more fits; it counts then.
    pub(super) fn enter(&mut self) -> bool {
        let fits = self.limits.enter();
        self.open += usize::from(fits);
        fits
    }

    /// Connections of all workers.
    pub(super) fn now(&self) -> usize {
        self.limits.now()
    }

    pub(super) fn leave(&mut self) {
        self.open = self.open.saturating_sub(1);
        self.limits.leave();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(self.open, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_suffice() {
        for descriptors in [64, 256, 1024, 20_000, 1 << 20] {
            let limits = Limits::of(descriptors);
            assert!(2 * limits.connections + 2 * limits.pipes <= descriptors * 3 / 4 + 1 || descriptors > 1024);
            assert!(2 * limits.connections + 2 * limits.pipes < descriptors);
            assert!(limits.connections > descriptors / 4, "{limits:?}");
        }
        assert!(Limits::of(20_000).connections >= 9_000);
    }

    #[test]
    fn the_last_one_fits_and_the_next_does_not() {
        let limits = Limits::of(64);
        assert!((0..limits.connections).all(|_| limits.enter()));
        assert!(!limits.enter());
        limits.leave();
        assert!(limits.enter());
        assert_eq!(limits.now(), limits.connections);
    }

    #[test]
    fn what_a_dead_worker_had_fits_again() {
        let limits = Arc::new(Limits::of(64));
        let mut share = Share::new(limits.clone());
        assert!(share.enter() && share.enter() && share.enter());
        share.leave();
        assert_eq!(limits.now(), 2);
        drop(share);
        assert_eq!(limits.now(), 0);
    }
}
