//! What is going to happen in a simulated world, in order, and when its processes run next.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::host::Host;
use crate::rng::Rng;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Entry<A> {
    /// A process is scheduled, unless it was planned otherwise since.
    Wake(usize),
    /// A kernel's timers.
    Expire(usize),
    /// What is this world's own.
    Do(A),
}

/// What is going to happen. What is planned for one moment happens in the order in which it was planned.
#[derive(Clone, Debug)]
pub struct Agenda<A> {
    queue: BTreeMap<(Moment, u64), Entry<A>>,
    queued: u64,
    /// When each process is scheduled next.
    wake: Vec<Option<Moment>>,
}

impl<A> Agenda<A> {
    /// Nothing is planned for so many machines.
    #[must_use]
    pub fn new(machines: usize) -> Agenda<A> {
        Agenda { queue: BTreeMap::new(), queued: 0, wake: vec![None; machines] }
    }

    fn put(&mut self, when: Moment, entry: Entry<A>) {
        self.queued += 1;
        self.queue.insert((when, self.queued), entry);
    }

    /// Something happens then.
    pub fn plan(&mut self, when: Moment, action: A) {
        self.put(when, Entry::Do(action));
    }

    /// What comes next, and when, if it comes by `until`.
    pub fn next(&mut self, until: Moment) -> Option<(Moment, Entry<A>)> {
        let next = self.queue.first_entry().filter(|entry| entry.key().0 <= until)?;
        let ((at, _), entry) = next.remove_entry();
        Some((at, entry))
    }

    /// Forgets what is not to happen; processes and kernels go on.
    pub fn retain(&mut self, mut keep: impl FnMut(Moment, &A) -> bool) {
        self.queue.retain(|(at, _), entry| if let Entry::Do(action) = entry { keep(*at, action) } else { true });
    }

    /// Schedules a process then, unless it is scheduled earlier.
    pub fn wake_at(&mut self, now: Moment, node: usize, when: Moment) {
        if self.wake[node].is_none_or(|planned| when < planned || planned < now) {
            self.wake[node] = Some(when);
            self.put(when, Entry::Wake(node));
        }
    }

    /// Whether this is the moment for which a process is scheduled.
    pub fn wakes(&mut self, node: usize, now: Moment) -> bool {
        self.wake[node].take_if(|planned| *planned == now).is_some()
    }

    /// Plans when a machine goes on by itself: its process up to `latency` late, its kernel in time.
    pub fn rest(&mut self, now: Moment, host: &Host, latency: Duration, rng: &mut Rng) {
        if host.runs()
            && let Some(due) = host.deadline()
        {
            let late = rng.between(Duration::ZERO, latency);
            self.wake_at(now, host.id, due.max(now) + late);
        }
        let expiry = host.kernel.next_expiry().map(|time| host.clock.when(time));
        if let Some(expiry) = expiry.filter(|expiry| *expiry > now) {
            self.put(expiry, Entry::Expire(host.id));
        }
    }
}
