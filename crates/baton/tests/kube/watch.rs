//! Watches lose nothing: pages, broken streams, histories that are gone, servers that stop or fall silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use baton::kube::watch::{Change, watch};
use baton::kube::{Error, SERVICES, Selection};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::server::{Ask, Authority, Server, client, next, status, until};
use super::store::Store;

/// A Service, as small as it gets.
#[derive(Debug, Deserialize, PartialEq)]
struct Service {
    metadata: Metadata,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Metadata {
    name: String,
    #[serde(default)]
    uid: u32,
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/default/services/{name}")
}

fn service(name: &str, uid: u32) -> Service {
    Service { metadata: Metadata { name: name.to_owned(), uid } }
}

fn put(store: &Store, name: &str, uid: u32) {
    store.put(&path(name), json!({"metadata": {"name": name, "uid": uid}}));
}

async fn serving(authority: &Authority, store: &Store) -> Server {
    let store = store.clone();
    Server::start(authority, move |ask| store.answer(ask)).await
}

fn lists(ask: &Ask) -> bool {
    ask.path == "/api/v1/services" && !ask.is_watch()
}

async fn restarted(changes: &mut mpsc::Receiver<Change<Service>>) -> Vec<Service> {
    match next(changes).await {
        Change::Restarted(all) => all,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pages_and_then_changes() {
    let (authority, store) = (Authority::new(), Store::default());
    for n in 0..600 {
        put(&store, &format!("s{n:03}"), n);
    }
    let server = serving(&authority, &store).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    let all = restarted(&mut changes).await;
    assert_eq!((all.len(), all[599].metadata.uid, server.count(lists)), (600, 599, 3));
    put(&store, "s000", 1000);
    store.delete(&path("s001"));
    assert_eq!(next(&mut changes).await, Change::Applied(service("s000", 1000)));
    assert_eq!(next(&mut changes).await, Change::Deleted(service("s001", 1)));
    drop(changes);
    until("the watch ends with its reader", || store.watches() == 0).await;
}

#[tokio::test]
async fn a_stream_that_breaks_or_ends_loses_nothing_and_needs_no_new_list() {
    let (authority, store) = (Authority::new(), Store::default());
    let server = serving(&authority, &store).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    restarted(&mut changes).await;
    for round in 0..6 {
        until("a watch", || store.watches() == 1).await;
        put(&store, "a", round);
        store.cut(round % 2 == 0);
        put(&store, "b", round);
        assert_eq!(next(&mut changes).await, Change::Applied(service("a", round)));
        assert_eq!(next(&mut changes).await, Change::Applied(service("b", round)));
    }
    assert_eq!(server.count(lists), 1);
}

#[tokio::test]
async fn a_history_that_is_gone_is_a_new_beginning() {
    let (authority, store) = (Authority::new(), Store::default());
    put(&store, "a", 1);
    let server = serving(&authority, &store).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    assert_eq!(restarted(&mut changes).await, vec![service("a", 1)]);
    until("a watch", || store.watches() == 1).await;
    store.cut(false);
    put(&store, "b", 2);
    store.delete(&path("a"));
    store.compact();
    // Depending on who is faster the stream began again before: then the changes come one by one.
    let mut now = vec![service("a", 1)];
    while now != vec![service("b", 2)] {
        match next(&mut changes).await {
            Change::Restarted(all) => now = all,
            Change::Applied(one) => now.push(one),
            Change::Deleted(one) => now.retain(|other| *other != one),
            Change::Refused(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_bookmark_keeps_the_place() {
    let (authority, store) = (Authority::new(), Store::default());
    let server = serving(&authority, &store).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut changes = watch::<Service>(client, Selection::namespaced(SERVICES, "default"));
    restarted(&mut changes).await;
    until("a watch", || store.watches() == 1).await;
    // Elsewhere much happens, which this watch does not see but is told of.
    store.put("/api/v1/namespaces/other/services/x", json!({"metadata": {"name": "x"}}));
    store.bookmark();
    store.compact();
    store.cut(false);
    until("a watch", || store.watches() == 1).await;
    put(&store, "a", 1);
    assert_eq!(next(&mut changes).await, Change::Applied(service("a", 1)));
    assert_eq!(server.count(|ask| ask.path.ends_with("/default/services") && !ask.is_watch()), 1);
}

#[tokio::test]
async fn another_server_goes_on_where_one_stopped() {
    let (authority, store) = (Authority::new(), Store::default());
    let [one, two] = [serving(&authority, &store).await, serving(&authority, &store).await];
    let (client, _access, _node) = client(&authority, &[&one, &two]);
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    restarted(&mut changes).await;
    until("a watch", || store.watches() == 1).await;
    one.stop();
    put(&store, "a", 1);
    assert_eq!(next(&mut changes).await, Change::Applied(service("a", 1)));
    assert_eq!((one.count(lists), two.count(lists)), (1, 0));
}

#[tokio::test]
async fn what_is_forbidden_is_told_once_and_tried_again() {
    let (authority, store) = (Authority::new(), Store::default());
    let allowed = Arc::new(AtomicBool::new(false));
    let (is_allowed, objects) = (allowed.clone(), store.clone());
    let server = Server::start(&authority, move |ask| {
        if is_allowed.load(SeqCst) { objects.answer(ask) } else { status(403, "Forbidden", "services is forbidden") }
    })
    .await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    assert_eq!(next(&mut changes).await, Change::Refused(Error::Forbidden("services is forbidden".into())));
    until("asked again", || server.count(lists) >= 2).await;
    allowed.store(true, SeqCst);
    assert!(restarted(&mut changes).await.is_empty());
}

#[tokio::test]
async fn without_the_right_to_watch_the_list_is_asked_for_again() {
    let (authority, store) = (Authority::new(), Store::default());
    let objects = store.clone();
    let server = Server::start(&authority, move |ask| {
        if ask.is_watch() { status(403, "Forbidden", "no watch") } else { objects.answer(ask) }
    })
    .await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    assert!(restarted(&mut changes).await.is_empty());
    assert_eq!(next(&mut changes).await, Change::Refused(Error::Forbidden("no watch".into())));
    put(&store, "a", 1);
    assert_eq!(restarted(&mut changes).await, vec![service("a", 1)]);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_hides_no_other() {
    let (authority, store) = (Authority::new(), Store::default());
    put(&store, "a", 1);
    store.put(&path("b"), json!({"metadata": {"name": "b", "uid": "not a number"}}));
    let server = serving(&authority, &store).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    assert_eq!(restarted(&mut changes).await, vec![service("a", 1)]);
    store.put(&path("b"), json!({"metadata": {"name": "b", "uid": "neither"}}));
    put(&store, "c", 3);
    assert_eq!(next(&mut changes).await, Change::Applied(service("c", 3)));
}

/// The kernel of a machine answers for it whatever its programs do: only pings tell that a server hangs.
#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let (authority, store) = (Authority::new(), Store::default());
    let (stall, stalled) = std::sync::mpsc::channel::<()>();
    let (sender, receiver) = std::sync::mpsc::channel();
    let (pem, objects) = (Arc::new(authority), store.clone());
    let own = pem.clone();
    // A runtime of its own, which can be stopped in the middle of everything.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(&own, move |ask| objects.answer(ask)).await;
            sender.send(server.address).unwrap();
            while stalled.try_recv().is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            // Holds its only thread, until the test is over.
            stalled.recv().ok();
        });
    });
    let silent = receiver.recv().unwrap();
    let other = serving(&pem, &store).await;
    let node = super::server::Node::with_admin(&pem, silent.port());
    let access = node.access();
    access.remember(vec![other.address]);
    let client = baton::kube::Client::new(&access, super::server::times());
    let mut changes = watch::<Service>(client, Selection::all(SERVICES));
    restarted(&mut changes).await;
    until("a watch", || store.watches() == 1).await;
    stall.send(()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    put(&store, "a", 1);
    assert_eq!(next(&mut changes).await, Change::Applied(service("a", 1)));
    assert!(other.count(Ask::is_watch) > 0);
    drop(stall);
    thread.join().unwrap();
}
