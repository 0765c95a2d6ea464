//! The loop of a leader: watches feed the allocator, its plans are written, results come back.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_config::manager::Pools;
use baton_core::ipam::{Key, Ledger, Plan, Rules};
use baton_core::time::Time;
use baton_net::clock;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::objects::{self, Seen};
use super::reports::Reports;
use super::write::{Outcome, write};
use crate::kube::events::Recorder;
use crate::kube::watch::{Change, watch as watch_api};
use crate::kube::{CONFIG_MAPS, Client, Error, ObjectRef, SERVICES, Selection};

/// Writes under way at once.
const PARALLEL: usize = 8;
/// First and last wait before a write that failed is tried again; doubled in between.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What an allocator knows; nothing while it does not lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// This process gives out addresses now.
    pub leads: bool,
    /// Services, balancers or not.
    pub services: usize,
    /// Addresses in use.
    pub addresses: usize,
    /// Services that wait for an address.
    pub waiting: usize,
}

/// Gives out addresses whenever and as long as `until` lies ahead. Ends with its sender.
pub async fn serve(
    client: Client,
    recorder: Recorder,
    pools: Pools,
    mut until: watch::Receiver<Option<Time>>,
    counts: watch::Sender<Counts>,
) {
    loop {
        counts.send_replace(Counts::default());
        let term = until.clone();
        if until.wait_for(|until| left(*until) > Duration::ZERO).await.is_err() {
            return;
        }
        tokio::select! {
            // What is under way stops with it: dropped requests are not sent.
            gone = over(&mut until) => if gone { return },
            () = Allocator::new(&client, &recorder, &pools, term).run(&counts) => {}
        }
    }
}

fn left(until: Option<Time>) -> Duration {
    until.map_or(Duration::ZERO, |until| until.left(clock::now()))
}

/// Waits for the end of the term. True: nobody will ever begin another.
async fn over(until: &mut watch::Receiver<Option<Time>>) -> bool {
    loop {
        let left = left(*until.borrow_and_update());
        if left.is_zero() {
            return false;
        }
        tokio::select! {
            () = sleep(left) => {}
            changed = until.changed() => if changed.is_err() { return true },
        }
    }
}

struct Allocator<'a> {
    client: &'a Client,
    pools: &'a Pools,
    until: watch::Receiver<Option<Time>>,
    ledger: Ledger,
    reports: Reports,
    writes: JoinSet<(baton_core::ipam::Change, Outcome)>,
    /// Writes that failed: when they are tried again, and how often they failed.
    later: BTreeMap<Key, (Option<Instant>, u32)>,
    /// What the ConfigMap said; `None`: not seen yet.
    rules: Option<Rules>,
}

impl Allocator<'_> {
    fn new<'a>(
        client: &'a Client,
        recorder: &Recorder,
        pools: &'a Pools,
        until: watch::Receiver<Option<Time>>,
    ) -> Allocator<'a> {
        Allocator {
            client,
            pools,
            until,
            ledger: Ledger::new(pools.class.clone()),
            reports: Reports::new(recorder.clone(), pools.class.is_some()),
            writes: JoinSet::new(),
            later: BTreeMap::new(),
            rules: None,
        }
    }

    async fn run(mut self, counts: &watch::Sender<Counts>) {
        let map = ObjectRef::new(CONFIG_MAPS, &self.pools.namespace, &self.pools.config_map);
        info!("giving out addresses by ConfigMap {}/{}", self.pools.namespace, self.pools.config_map);
        let mut services: mpsc::Receiver<Change<Seen>> = watch_api(self.client.clone(), Selection::all(SERVICES));
        let mut maps: mpsc::Receiver<Change<objects::Pools>> = watch_api(self.client.clone(), Selection::one(&map));
        loop {
            self.begin();
            let known = self.ledger.counts();
            counts.send_replace(Counts { leads: true, services: known.0, addresses: known.1, waiting: known.2 });
            let again = self.later.values().filter_map(|(at, _)| *at).min();
            let rest = async {
                match again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(change) = services.recv() => self.service(change),
                Some(change) = maps.recv() => self.map(change, &map).await,
                Some(done) = self.writes.join_next() => if let Ok((change, outcome)) = done { self.done(&change, outcome) },
                () = rest => self.retry(),
                else => return,
            }
        }
    }

    /// Plans, as many as may be under way.
    fn begin(&mut self) {
        while self.writes.len() < PARALLEL {
            let Some((key, plan)) = self.ledger.next_plan() else { return };
            match plan {
                Plan::Refused { uid, why } => self.reports.refused(&key, &uid, &why),
                Plan::Write(change) => {
                    self.reports.begun(&change);
                    self.writes.spawn(write(self.client.clone(), change, self.until.clone()));
                }
            }
        }
    }

    fn service(&mut self, change: Change<Seen>) {
        match change {
            Change::Restarted(all) => self.ledger.replace(all.into_iter().map(|Seen(service)| service).collect()),
            Change::Applied(Seen(service)) => self.ledger.observe(service),
            Change::Deleted(Seen(service)) => {
                self.ledger.forget(&service.key);
                self.reports.forget(&service.key);
                self.later.remove(&service.key);
            }
            Change::Refused(_) => {}
        }
    }

    async fn map(&mut self, change: Change<objects::Pools>, object: &ObjectRef) {
        let data = match change {
            Change::Restarted(maps) => maps.into_iter().next(),
            Change::Applied(map) => Some(map),
            Change::Deleted(_) => None,
            Change::Refused(_) => return,
        };
        if data.is_none() && self.rules.is_none() {
            self.create(object).await;
        }
        let map = data.unwrap_or_default();
        let rules = Rules::read(map.data.unwrap_or_default());
        let before = self.rules.replace(rules.clone());
        if before.as_ref() == Some(&rules) {
            return;
        }
        self.reports.pools(self.pools, &map.metadata.uid, before.is_some(), &rules.complaints());
        self.ledger.configure(rules);
    }

    /// An empty one, to be filled in by somebody.
    async fn create(&self, object: &ObjectRef) {
        let empty = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": self.pools.config_map, "namespace": self.pools.namespace },
        });
        match self.client.post(&object.collection(), &empty).await {
            Ok(_) => warn!("{object} was not there: created without any pool"),
            Err(Error::Exists(_)) => {}
            Err(error) => warn!("{object} is not there and cannot be created: {error}"),
        }
    }

    fn done(&mut self, change: &baton_core::ipam::Change, outcome: Outcome) {
        let key = &change.key;
        match outcome {
            Outcome::Written => self.reports.written(change),
            Outcome::Overtaken => {}
            Outcome::Failed(error) => {
                let failures = self.later.get(key).map_or(0, |(_, failures)| *failures);
                let wait = RETRY.0.saturating_mul(1 << failures.min(10)).min(RETRY.1);
                self.later.insert(key.clone(), (Some(Instant::now() + wait), failures + 1));
                if error.is_passing() {
                    warn!("service {key} could not be updated: {error}; trying again in {} s", wait.as_secs());
                } else {
                    self.reports.refused(key, &change.uid, &format!("the Service could not be updated: {error}"));
                }
                return;
            }
        }
        self.later.remove(key);
    }

    fn retry(&mut self) {
        let now = Instant::now();
        for (key, (at, _)) in self.later.iter_mut().filter(|(_, (at, _))| at.is_some_and(|at| at <= now)) {
            *at = None;
            self.ledger.again(key);
        }
    }
}
