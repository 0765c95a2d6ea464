//! The Leases' thread: what the keeper asks is done once, every answer reaches it, and watches show the rest.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use baton::kube::lease::{self, Requests};
use baton_core::keeper::Event;
use baton_core::lease::{LeaseName, LeaseOp, LeaseRecord, LeaseReply};
use serde_json::json;

use super::server::{Answer, Ask, Authority, Node, Server, status, until};
use super::store::Store;

const LOCK: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock";

/// What stands in for the keeper: events as they come.
#[derive(Clone, Default)]
struct Keeper {
    events: Arc<Mutex<Vec<Event>>>,
    /// Its queue is full.
    full: Arc<AtomicBool>,
}

impl Keeper {
    fn take(&self, event: Event) -> bool {
        let room = !self.full.load(SeqCst);
        if room {
            self.events.lock().unwrap().push(event);
        }
        room
    }

    async fn reply(&self, number: u64) -> LeaseReply {
        let find = || {
            self.events.lock().unwrap().iter().find_map(|event| match event {
                Event::LeaseReplied { request, reply, .. } if *request == number => Some(reply.clone()),
                _ => None,
            })
        };
        until("a reply", || find().is_some()).await;
        find().unwrap()
    }

    /// What was shown last of a Lease.
    fn shown(&self, lease: &str) -> Option<Option<LeaseRecord>> {
        let events = self.events.lock().unwrap();
        events.iter().rev().find_map(|event| match event {
            Event::LeaseSeen { name, state } if name.name == lease => {
                Some(state.as_ref().map(|(record, _)| record.clone()))
            }
            _ => None,
        })
    }

    fn holder(&self, lease: &str) -> Option<String> {
        Some(self.shown(lease)??.holder)
    }
}

fn name(name: &str) -> LeaseName {
    LeaseName { namespace: "kube-system".to_owned(), name: name.to_owned() }
}

fn held_by(holder: &str) -> LeaseRecord {
    let author = Some(holder.to_owned());
    LeaseRecord { holder: holder.to_owned(), duration_seconds: 15, author, ..LeaseRecord::default() }
}

fn start(authority: &Authority, servers: &[&Server], deadline: Duration) -> (Requests, Keeper, Node) {
    let node = Node::with_admin(authority, servers[0].address.port());
    let access = node.access();
    access.remember(servers[1..].iter().map(|server| server.address).collect());
    let (requests, inbox) = lease::channel();
    let keeper = Keeper::default();
    let own = keeper.clone();
    inbox.start(lease::client(&access, deadline), move |event| own.take(event)).unwrap();
    (requests, keeper, node)
}

fn serves(store: &Store) -> impl Fn(&Ask) -> Answer + Send + Sync + 'static {
    let store = store.clone();
    move |ask| store.answer(ask)
}

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn made_renewed_released_and_nothing_of_others_is_lost() {
    let (authority, store) = (Authority::new(), Store::default());
    let server = Server::start(&authority, serves(&store)).await;
    let (requests, keeper, _node) = start(&authority, &[&server], DEADLINE);
    let lock = || name("plndr-cp-lock");
    requests.send(lock(), 1, LeaseOp::Get);
    assert_eq!(keeper.reply(1).await, LeaseReply::Absent);
    requests.send(lock(), 2, LeaseOp::Create(held_by("n1")));
    let LeaseReply::Stored { record, version } = keeper.reply(2).await else { panic!("not stored") };
    assert_eq!((record.holder.as_str(), record.duration_seconds), ("n1", 15));
    assert_eq!(record.acquire_time, record.renew_time);
    assert_eq!(record.renew_time.len(), "2026-01-01T00:00:00.000000Z".len());
    requests.send(lock(), 3, LeaseOp::Create(held_by("n1")));
    assert_eq!(keeper.reply(3).await, LeaseReply::Exists);
    // Somebody labels it and adds what we do not know.
    let mut object = store.get(LOCK);
    object["metadata"]["labels"] = json!({"team": "a"});
    object["spec"]["strategy"] = json!("OldestEmulationVersion");
    store.put(LOCK, object);
    let replace = |record, version| LeaseOp::Replace { record, version };
    requests.send(lock(), 4, replace(held_by("n1"), version));
    assert_eq!(keeper.reply(4).await, LeaseReply::Conflict);
    requests.send(lock(), 5, LeaseOp::Get);
    let LeaseReply::Stored { record, version } = keeper.reply(5).await else { panic!("not stored") };
    let renewed = LeaseRecord { transitions: 3, ..record.clone() };
    requests.send(lock(), 6, replace(renewed, version));
    let LeaseReply::Stored { record: now, version } = keeper.reply(6).await else { panic!("not stored") };
    assert_eq!((now.transitions, &now.acquire_time), (3, &record.acquire_time));
    assert!(now.renew_time > record.renew_time);
    assert_eq!(now.author.as_deref(), Some("n1"));
    requests.send(lock(), 7, replace(LeaseRecord { duration_seconds: 1, ..held_by("") }, version));
    assert!(matches!(keeper.reply(7).await, LeaseReply::Stored { .. }));
    let left = store.get(LOCK);
    assert_eq!(
        (&left["metadata"]["labels"]["team"], &left["spec"]["strategy"]),
        (&json!("a"), &json!("OldestEmulationVersion"))
    );
    assert_eq!(
        (left["spec"].get("holderIdentity"), &left["metadata"]["annotations"]["baton/holder"]),
        (None, &json!(""))
    );
}

#[tokio::test]
async fn what_others_write_is_seen() {
    let (authority, store) = (Authority::new(), Store::default());
    let server = Server::start(&authority, serves(&store)).await;
    let (requests, keeper, _node) = start(&authority, &[&server], DEADLINE);
    requests.send(name("plndr-cp-lock"), 1, LeaseOp::Get);
    keeper.reply(1).await;
    let put = |lease: &str, holder: &str| {
        let path = LOCK.replace("plndr-cp-lock", lease);
        store.put(&path, json!({"metadata": {"name": lease}, "spec": {"holderIdentity": holder}}));
    };
    put("plndr-cp-lock", "n2");
    put("other", "n9");
    until("n2", || keeper.holder("plndr-cp-lock").as_deref() == Some("n2")).await;
    assert_eq!(keeper.shown("other"), None);
    store.delete(LOCK);
    until("deleted", || keeper.shown("plndr-cp-lock") == Some(None)).await;
    put("plndr-cp-lock", "n3");
    until("n3", || keeper.holder("plndr-cp-lock").as_deref() == Some("n3")).await;
    // Deleted while nobody could see it.
    store.cut(true);
    store.delete(LOCK);
    store.compact();
    until("deleted again", || keeper.shown("plndr-cp-lock") == Some(None)).await;
    // A second Lease of the namespace: one watch for both.
    requests.send(name("other"), 2, LeaseOp::Get);
    until("n9", || keeper.holder("other").as_deref() == Some("n9")).await;
    until("one watch", || store.watches() == 1).await;
    requests.forget(name("other"));
    requests.forget(name("plndr-cp-lock"));
    until("no watch", || store.watches() == 0).await;
}

#[tokio::test]
async fn rights_for_single_leases_are_enough() {
    let (authority, store) = (Authority::new(), Store::default());
    let objects = store.clone();
    let server = Server::start(&authority, move |ask| {
        let collection =
            ask.path.ends_with("/leases") && ask.method == "GET" && !ask.query.contains_key("fieldSelector");
        if collection { status(403, "Forbidden", "leases is forbidden") } else { objects.answer(ask) }
    })
    .await;
    let (requests, keeper, _node) = start(&authority, &[&server], DEADLINE);
    requests.send(name("a"), 1, LeaseOp::Get);
    requests.send(name("b"), 2, LeaseOp::Get);
    until("two watches", || store.watches() == 2).await;
    for lease in ["a", "b"] {
        let path = LOCK.replace("plndr-cp-lock", lease);
        store.put(&path, json!({"metadata": {"name": lease}, "spec": {"holderIdentity": "n1"}}));
        until("seen", || keeper.holder(lease).as_deref() == Some("n1")).await;
    }
    // One is deleted while nobody can see it: the other one's watch does not report it, its own does.
    store.cut(true);
    store.delete(&LOCK.replace("plndr-cp-lock", "a"));
    store.compact();
    until("deleted", || keeper.shown("a") == Some(None)).await;
    assert_eq!(keeper.holder("b").as_deref(), Some("n1"));
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_try() {
    let (authority, store) = (Authority::new(), Store::default());
    let hangs = Arc::new(AtomicBool::new(false));
    let (is_hanging, objects) = (hangs.clone(), store.clone());
    let home =
        Server::start(&authority, move |ask| if is_hanging.load(SeqCst) { Answer::Never } else { objects.answer(ask) })
            .await;
    let other = Server::start(&authority, serves(&store)).await;
    let (requests, keeper, _node) = start(&authority, &[&home, &other], Duration::from_secs(5));
    requests.send(name("plndr-cp-lock"), 1, LeaseOp::Create(held_by("n1")));
    let LeaseReply::Stored { version, .. } = keeper.reply(1).await else { panic!("not stored") };
    hangs.store(true, SeqCst);
    let begun = Instant::now();
    requests.send(name("plndr-cp-lock"), 2, LeaseOp::Replace { record: held_by("n1"), version: version.clone() });
    assert!(matches!(keeper.reply(2).await, LeaseReply::Unknown(_)));
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    assert_eq!(other.count(|ask| ask.method == "PUT"), 0, "what may have been done is not repeated");
    requests.send(name("plndr-cp-lock"), 3, LeaseOp::Replace { record: held_by("n1"), version });
    assert!(matches!(keeper.reply(3).await, LeaseReply::Stored { .. }));
}

#[tokio::test]
async fn a_server_that_is_away_costs_nothing() {
    let (authority, store) = (Authority::new(), Store::default());
    let home = Server::start(&authority, serves(&store)).await;
    let other = Server::start(&authority, serves(&store)).await;
    let (requests, keeper, _node) = start(&authority, &[&home, &other], DEADLINE);
    home.stop();
    requests.send(name("plndr-cp-lock"), 1, LeaseOp::Create(held_by("n1")));
    assert!(matches!(keeper.reply(1).await, LeaseReply::Stored { .. }));
    other.stop();
    requests.send(name("plndr-cp-lock"), 2, LeaseOp::Get);
    let reply = keeper.reply(2).await;
    assert!(matches!(&reply, LeaseReply::Refused(text) if text.contains("refused")), "{reply:?}");
}

#[tokio::test]
async fn a_full_queue_loses_no_answer() {
    let (authority, store) = (Authority::new(), Store::default());
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, objects) = (asked.clone(), store.clone());
    let server = Server::start(&authority, move |ask| {
        count.fetch_add(usize::from(ask.method == "POST"), SeqCst);
        objects.answer(ask)
    })
    .await;
    let (requests, keeper, _node) = start(&authority, &[&server], DEADLINE);
    keeper.full.store(true, SeqCst);
    for n in 0..200 {
        requests.send(name(&format!("l{n}")), n, LeaseOp::Create(held_by("n1")));
    }
    until("all made", || asked.load(SeqCst) == 200).await;
    assert!(keeper.events.lock().unwrap().is_empty());
    keeper.full.store(false, SeqCst);
    for n in 0..200 {
        assert!(matches!(keeper.reply(n).await, LeaseReply::Stored { .. }));
    }
    until("shown", || (0..200).all(|n| keeper.holder(&format!("l{n}")).is_some())).await;
}
