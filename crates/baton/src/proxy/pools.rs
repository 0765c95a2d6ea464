//! The pools: which servers there are, which of them may get traffic, and what a change of the configuration leaves alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use baton_core::balance::{Candidate, Table};
use baton_core::pool::{Pool, Server};
use baton_core::stick::{Shape, Table as Stuck};
use baton_net::clock;

use super::route::{Choice, Route, Snapshot, StuckTable};
use super::target::{BackendId, Target};
use super::view::{BackendView, PoolView, StuckView};
use super::worker::Command;
use super::{Proxy, http};

pub(super) struct Member {
    pub(super) target: Arc<Target>,
    settings: Server,
    /// Its share now.
    weight: u16,
    address: Option<SocketAddr>,
    up: bool,
}

pub(super) struct Group {
    pub(super) settings: Pool,
    pub(super) route: Arc<Route>,
    pub(super) members: Vec<Member>,
    /// The table that its clients are kept by: its own, or another pool's.
    stuck: Option<StuckTable>,
}

/// Backends no longer configured whose counters are kept.
const FORMER_MAX: usize = 1024;

/// The name of a server for as long as the process lives.
#[must_use]
pub fn id(pool: &Pool, server: &Server) -> BackendId {
    BackendId { balancer: pool.name.clone(), host: server.name.clone(), port: server.port }
}

impl Proxy {
    /// Makes the pools what is asked for; what stays goes on as it is.
    pub(super) fn pool(&mut self, pools: &[Pool]) {
        let mut before: Vec<Group> = self.groups.drain(..).collect();
        for settings in pools {
            let old = before.iter().position(|g| g.settings.name == settings.name).map(|at| before.swap_remove(at));
            let group = self.group(settings, old);
            self.groups.push(group);
        }
        for group in &mut self.groups {
            let table = group.settings.sticking.as_ref().map(|sticking| sticking.table.as_str());
            group.stuck = table.and_then(|name| Some(self.tables.get(name)?.clone()));
            group.publish();
        }
        for group in before {
            group.members.into_iter().for_each(|m| self.retire(m.target));
        }
    }

    fn group(&mut self, settings: &Pool, before: Option<Group>) -> Group {
        let (route, mut old) = match before {
            Some(group) => (group.route, group.members),
            None => (Arc::new(Route::new(&settings.name)), Vec::new()),
        };
        let mut members = Vec::new();
        for server in &settings.servers {
            let id = id(settings, server);
            if members.iter().any(|m: &Member| m.target.id == id) {
                continue;
            }
            let member = match old.iter().position(|m| m.target.id == id) {
                Some(at) => old.swap_remove(at).become_(server),
                None => {
                    let workers = self.mailboxes.len() + 1;
                    let new = || Arc::new(Target::new(id.clone(), workers));
                    Member {
                        address: server.host.parse().ok().map(|ip| SocketAddr::new(ip, server.port)),
                        target: self.former.remove(&id).unwrap_or_else(new),
                        weight: server.weight,
                        settings: server.clone(),
                        up: !server.disabled,
                    }
                }
            };
            members.push(member);
        }
        old.into_iter().for_each(|m| self.retire(m.target));
        Group { settings: settings.clone(), route, members, stuck: None }
    }

    /// Makes the tables of who had which server what is asked for, before the pools; what fits stays known.
    pub fn shape_tables(&mut self, shapes: &[(String, Shape)]) {
        self.tables.retain(|name, _| shapes.iter().any(|(wanted, _)| wanted == name));
        for (name, shape) in shapes {
            match self.tables.get(name) {
                Some(table) => table.lock().expect("nobody panics while holding it").reshape(*shape),
                None => drop(self.tables.insert(name.clone(), Arc::new(Mutex::new(Stuck::new(*shape))))),
            }
        }
    }

    /// The tables: name, shape, and what is in them.
    #[must_use]
    pub fn stuck(&self) -> Vec<StuckView> {
        let view = |(name, table): (&String, &StuckTable)| {
            let mut table = table.lock().expect("nobody panics while holding it");
            let shape = table.shape();
            let entries =
                table.entries(clock::now()).map(|(key, server, left)| (key, server.to_string(), left)).collect();
            StuckView { name: name.clone(), shape, entries }
        };
        self.tables.iter().map(view).collect()
    }

    /// Forgets one entry of a table, or all of them.
    pub fn unstick(&self, table: &str, key: Option<IpAddr>) {
        let Some(table) = self.tables.get(table) else { return };
        let mut table = table.lock().expect("nobody panics while holding it");
        match key {
            Some(key) => _ = table.remove(key),
            None => table.clear(),
        }
    }

    fn retire(&mut self, target: Arc<Target>) {
        if self.former.len() < FORMER_MAX {
            self.former.insert(target.id.clone(), target);
        }
    }

    /// A backend may get traffic from now on, or not. Down cuts its connections where the balancer asks for that.
    pub fn set_up(&mut self, id: &BackendId, up: bool) {
        let Some((group, at)) = self.find(id) else { return };
        let member = &mut group.members[at];
        if member.up == up {
            return;
        }
        member.up = up;
        let cut = !up && member.settings.cut_on_down;
        group.publish();
        if cut {
            self.cut(id, b'D');
        }
    }

    /// Ends the connections of a backend: `D` because it is down, `K` because somebody wants it.
    pub fn cut(&mut self, id: &BackendId, why: u8) {
        let Some((group, at)) = self.find(id) else { return };
        let target = group.members[at].target.clone();
        self.tell(|| Command::Cut(target.clone(), why));
        self.tell_http(http::Command::Cut(target));
    }

    /// The share of a backend from now on. Connections go on.
    pub fn set_weight(&mut self, id: &BackendId, weight: u16) {
        let Some((group, at)) = self.find(id) else { return };
        if group.members[at].weight != weight {
            group.members[at].weight = weight;
            group.publish();
        }
    }

    /// The most connections of a backend from now on; 0: any number.
    pub fn set_connections_max(&mut self, id: &BackendId, most: u32) {
        let Some((group, at)) = self.find(id) else { return };
        if group.members[at].settings.connections_max != most {
            group.members[at].settings.connections_max = most;
            group.publish();
        }
    }

    /// The name of a backend leads there now (`None`: nowhere). Connections go on.
    pub fn set_address(&mut self, id: &BackendId, address: Option<IpAddr>) {
        let Some((group, at)) = self.find(id) else { return };
        let address = address.map(|ip| SocketAddr::new(ip, id.port));
        if group.members[at].address != address {
            group.members[at].address = address;
            group.publish();
        }
    }

    fn find(&mut self, id: &BackendId) -> Option<(&mut Group, usize)> {
        let group = self.groups.iter_mut().find(|g| g.settings.name == id.balancer)?;
        let at = group.members.iter().position(|m| m.target.id == *id)?;
        Some((group, at))
    }
}

impl Member {
    /// New settings; what was learned stays.
    fn become_(self, server: &Server) -> Member {
        let moved = self.settings.host != server.host;
        let address =
            if moved { server.host.parse().ok().map(|ip| SocketAddr::new(ip, server.port)) } else { self.address };
        let weight = if self.settings.weight == server.weight { self.weight } else { server.weight };
        Member { settings: server.clone(), address, weight, ..self }
    }

    pub(super) fn view(&self) -> BackendView {
        BackendView {
            id: self.target.id.clone(),
            up: self.up,
            weight: self.weight,
            address: self.address,
            counts: self.target.counts(),
        }
    }
}

impl Group {
    /// Puts a new snapshot where workers find it.
    fn publish(&self) {
        let candidate = |m: &Member| Candidate {
            weight: m.weight,
            backup: m.settings.backup,
            up: m.up && m.address.is_some(),
            number: m.settings.number,
        };
        let choice = |m: &Member| Choice {
            target: m.target.clone(),
            address: m.address,
            url: m.settings.url.clone(),
            connections_max: m.settings.connections_max.into(),
            connections_min: m.settings.connections_min.into(),
            queue_max: m.settings.queue_max.into(),
            proxy_header: m.settings.proxy_header,
            up: m.up && m.address.is_some(),
            source: m.settings.source.clone().map(Arc::new),
            strange: m.settings.strange,
        };
        let candidates: Vec<Candidate> = self.members.iter().map(candidate).collect();
        let choices = self.members.iter().map(choice).collect();
        let count = |backup: bool| candidates.iter().filter(|c| c.up && c.weight > 0 && c.backup == backup).count();
        let usable = match (count(false), count(true)) {
            (0, backups) if !self.settings.all_backups => backups.min(1),
            (0, backups) => backups,
            (active, _) => active,
        };
        let table = Table::new(self.settings.balance, &candidates, self.settings.all_backups);
        let dealings = self.settings.dealings.clone().map(Arc::new);
        let at = |name: &str| self.members.iter().position(|m| m.settings.name == name);
        let picks = self.settings.picks.iter().filter_map(|pick| Some((pick.when.clone(), at(&pick.server)?)));
        let rules = self.settings.sticking.as_ref().map(|sticking| sticking.rules.clone());
        let snapshot = Snapshot {
            choices,
            table,
            dealings,
            full: self.settings.full,
            picks: picks.collect(),
            sticking: rules.zip(self.stuck.clone()),
            usable,
        };
        self.route.snapshot.store(Arc::new(snapshot));
        self.route.wake_all();
    }

    pub(super) fn view(&self) -> PoolView {
        let route = &self.route;
        PoolView {
            name: self.settings.name.clone(),
            sessions: [route.sessions.load(Relaxed), route.open.load(Relaxed), route.open_max.load(Relaxed)],
            queued: [route.waiting_any.load(Relaxed), route.waiting_max.load(Relaxed)],
            refused: route.refused.load(Relaxed),
            took: route.times.took(),
            answers: route.answers.now(),
        }
    }
}
