//! Sessions per second, from looking at the counters once per second.

use std::collections::BTreeMap;

use crate::proxy::{BackendId, View};

/// One rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The counter at the last look.
    pub last: u64,
    /// In the last second.
    pub now: u64,
    /// At most.
    pub most: u64,
}

/// All rates.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    fronts: BTreeMap<String, Rate>,
    pools: BTreeMap<String, Rate>,
    servers: BTreeMap<BackendId, Rate>,
    requests: BTreeMap<String, Rate>,
}

impl Rates {
    /// A second has passed.
    pub fn tick(&mut self, view: &View) {
        let fronts = view.fronts.iter().map(|f| (f.name.clone(), f.sessions[0]));
        turn(&mut self.fronts, fronts.collect());
        turn(&mut self.requests, view.fronts.iter().map(|f| (f.name.clone(), f.requests)).collect());
        turn(&mut self.pools, view.pools.iter().map(|p| (p.name.clone(), p.sessions[0])).collect());
        turn(&mut self.servers, view.backends.iter().map(|b| (b.id.clone(), b.counts.connections)).collect());
    }

    /// Of a front.
    #[must_use]
    pub fn front(&self, name: &str) -> Rate {
        self.fronts.get(name).copied().unwrap_or_default()
    }

    /// Of a front's requests.
    #[must_use]
    pub fn requests(&self, name: &str) -> Rate {
        self.requests.get(name).copied().unwrap_or_default()
    }

    /// Of a pool.
    #[must_use]
    pub fn pool(&self, name: &str) -> Rate {
        self.pools.get(name).copied().unwrap_or_default()
    }

    /// Of a server.
    #[must_use]
    pub fn server(&self, id: &BackendId) -> Rate {
        self.servers.get(id).copied().unwrap_or_default()
    }

    /// Of the whole process: now, and the most that fronts had.
    #[must_use]
    pub fn all(&self) -> (u64, u64) {
        let all = || self.fronts.values();
        (all().map(|r| r.now).sum(), all().map(|r| r.most).sum())
    }

    /// Forgets what was the most.
    pub fn forget(&mut self) {
        let all = self.fronts.values_mut().chain(self.pools.values_mut()).chain(self.servers.values_mut());
        let all = all.chain(self.requests.values_mut());
        all.for_each(|rate| rate.most = rate.now);
    }
}

fn turn<K: Ord>(rates: &mut BTreeMap<K, Rate>, counters: BTreeMap<K, u64>) {
    let mut before = std::mem::take(rates);
    for (key, count) in counters {
        let mut rate = before.remove(&key).unwrap_or(Rate { last: count, now: 0, most: 0 });
        rate.now = count.saturating_sub(rate.last);
        rate.most = rate.most.max(rate.now);
        rate.last = count;
        rates.insert(key, rate);
    }
}
