//! The fronts: listeners whose connections are sessions, and where their rules lead.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use baton_core::pool::{self, Front, Pool};
use baton_core::settings::BalancerKind;

use super::Proxy;
use super::conn::Entry;
use super::face::{Face, Plan};
use super::listen::Place;
use super::route::Route;
use super::view::{FrontView, Listening};
use crate::haproxy::lines::Lines;
use crate::haproxy::requests::Requests;

/// A front, and where its log lines go.
#[derive(Clone, Debug)]
pub struct Fronted {
    /// The front.
    pub front: Front,
    /// Its log.
    pub lines: Option<Arc<Lines>>,
    /// In mode http: what becomes of requests.
    pub requests: Option<Arc<Requests>>,
}

impl From<&pool::Listen> for Place {
    fn from(listen: &pool::Listen) -> Place {
        Place { address: listen.address, interface: listen.interface.clone(), six_only: listen.six_only }
    }
}

impl Proxy {
    /// Makes fronts and pools what is asked for, changing only what differs. Errors leave the rest in effect.
    pub fn arrange(&mut self, fronts: &[Fronted], pools: &[Pool]) -> Vec<Listening> {
        self.pool(pools);
        let mut before = std::mem::take(&mut self.faces);
        for fronted in fronts {
            let plan = self.plan(fronted);
            let name = &fronted.front.name;
            let face = match before.iter().position(|(known, _)| known == name) {
                Some(at) => {
                    let (_, face) = before.swap_remove(at);
                    face.plan.store(Arc::new(plan));
                    face
                }
                None => Arc::new(Face::new(plan)),
            };
            self.faces.push((name.clone(), face));
        }
        before.iter().for_each(|(_, face)| face.close());
        let wanted: Vec<(Place, BalancerKind)> =
            fronts.iter().flat_map(|f| f.front.listen.iter().map(move |l| (Place::from(l), f.front.kind))).collect();
        self.close_unwanted(&wanted);
        let mut listening = Vec::new();
        for (at, fronted) in fronts.iter().enumerate() {
            for listen in &fronted.front.listen {
                let entry = Entry::Session(self.faces[at].1.clone(), listen.proxy_header);
                listening.push(self.listen(&Place::from(listen), &fronted.front.name, fronted.front.kind, entry));
            }
        }
        listening
    }

    fn plan(&self, fronted: &Fronted) -> Plan {
        let front = &fronted.front;
        let route = |name: &str| -> Option<Arc<Route>> {
            self.groups.iter().find(|g| g.settings.name == name).map(|g| g.route.clone())
        };
        Plan {
            reads: front.reads() || self.picks_read(front),
            switches: front.switches.iter().filter_map(|s| Some((s.when.clone(), route(&s.pool)?))).collect(),
            otherwise: front.pool.as_deref().and_then(route),
            lines: fronted.lines.clone(),
            pools: fronted.requests.iter().flat_map(|_| self.groups.iter().map(|g| g.route.clone())).collect(),
            requests: fronted.requests.clone(),
            settings: front.clone(),
        }
    }

    /// Whether a pool that sessions of a front may come to looks at their first bytes for a server.
    fn picks_read(&self, front: &Front) -> bool {
        let goes = |name: &String| front.pool.as_ref() == Some(name) || front.switches.iter().any(|s| s.pool == *name);
        let pools = self.groups.iter().map(|group| &group.settings).filter(|pool| goes(&pool.name));
        pools.flat_map(|pool| &pool.picks).any(|pick| pick.when.reads())
    }

    pub(super) fn front_views(&self) -> Vec<FrontView> {
        let view = |(name, face): &(String, Arc<Face>)| FrontView {
            name: name.clone(),
            sessions: [face.sessions.load(Relaxed), face.open.load(Relaxed), face.open_max.load(Relaxed)],
            denied: [face.denied_connections.load(Relaxed), face.denied_sessions.load(Relaxed)],
            errors: face.request_errors.load(Relaxed),
            bytes: [face.from_clients.load(Relaxed), face.to_clients.load(Relaxed)],
            requests: face.requests.load(Relaxed),
            answers: face.answers.now(),
        };
        self.faces.iter().map(view).collect()
    }
}
