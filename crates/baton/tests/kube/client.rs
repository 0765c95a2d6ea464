//! Requests across servers that are away, hang, fail, or speak an older protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use baton::kube::watch::{Change, watch};
use baton::kube::{Client, Error, SERVICES, Selection, Times, Verb};
use serde_json::{Value, json};

use super::server::{Answer, Ask, Authority, Node, PATIENCE, Server, client, next, status, until};
use super::store::Store;

const NODE: &str = "/api/v1/nodes/n1";

fn well(_: &Ask) -> Answer {
    Answer::Json(200, json!({"metadata": {"name": "n1"}}))
}

#[tokio::test]
async fn the_next_server_is_asked_when_the_first_is_away() {
    let authority = Authority::new();
    let [home, other] = [Server::start(&authority, well).await, Server::start(&authority, well).await];
    let (client, access, _node) = client(&authority, &[&home, &other]);
    client.get(NODE).await.unwrap();
    home.stop();
    client.get(NODE).await.unwrap();
    client.put(NODE, &json!({})).await.unwrap();
    assert_eq!((home.count(|_| true), other.count(|_| true)), (1, 2));
    let counts = access.requests();
    assert!(
        counts.contains(&(Verb::Update, 1)) && counts.iter().any(|(verb, n)| *verb == Verb::Get && *n >= 2),
        "{counts:?}"
    );
}

#[tokio::test]
async fn what_hangs_is_left_and_a_write_is_not_repeated() {
    let authority = Authority::new();
    let home = Server::start(&authority, |_| Answer::Never).await;
    let other = Server::start(&authority, well).await;
    let (client, _access, _node) = client(&authority, &[&home, &other]);
    let error = client.put(NODE, &json!({})).await.unwrap_err();
    assert!(matches!(error, Error::Unanswered(_)) && error.is_unknown(), "{error}");
    assert_eq!(other.count(|_| true), 0);
    client.put(NODE, &json!({})).await.unwrap();
    assert_eq!((home.count(|_| true), other.count(|_| true)), (1, 1));
}

#[tokio::test]
async fn a_read_is_asked_elsewhere_when_it_hangs() {
    let authority = Authority::new();
    let home = Server::start(&authority, |_| Answer::Never).await;
    let other = Server::start(&authority, well).await;
    let (client, _access, _node) = client(&authority, &[&home, &other]);
    client.get(NODE).await.unwrap();
    assert_eq!((home.count(|_| true), other.count(|_| true)), (1, 1));
}

#[tokio::test]
async fn nobody_is_there() {
    let authority = Authority::new();
    let home = Server::start(&authority, well).await;
    let (client, _access, _node) = client(&authority, &[&home]);
    home.stop();
    let error = client.post("/api/v1/nodes", &json!({})).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(text) if text.contains("refused")), "{error:?}");
    assert!(!error.is_unknown());
}

#[tokio::test]
async fn while_home_is_ill_the_others_are_asked() {
    let authority = Authority::new();
    let ready = Arc::new(AtomicBool::new(false));
    let home = Server::start(&authority, well).await;
    let is_ready = ready.clone();
    let other = Server::start(&authority, move |ask| match ask.path.as_str() {
        "/readyz" if !is_ready.load(SeqCst) => status(500, "", "not yet"),
        _ => well(ask),
    })
    .await;
    let (client, _access, _node) = client(&authority, &[&home, &other]);
    client.get(NODE).await.unwrap();
    // Both are this host's, and a node's own server is not "another one": so none is found here.
    let error = client.elsewhere().await.unwrap_err();
    assert_eq!(error, Error::Unreachable("no other API server is known".into()));
    client.avoid_home(true);
    client.get(NODE).await.unwrap();
    assert_eq!((home.count(|_| true), other.count(|ask| ask.path == NODE)), (1, 1));
    // With nobody else left, an ill server is better than none.
    other.stop();
    client.get(NODE).await.unwrap();
    assert_eq!(home.count(|_| true), 2);
}

#[tokio::test]
async fn what_is_under_way_ends_when_its_server_is_left() {
    let authority = Authority::new();
    for protocol in ["h2", "http/1.1"] {
        let home = Server::with(&authority, &["kubernetes"], &[protocol], |_| Answer::Never).await;
        let node = Node::with_admin(&authority, home.address.port());
        let hour = Duration::from_secs(3600);
        let client = Client::new(&node.access(), Times { connect: hour, attempt: hour, total: hour });
        let asking = client.clone();
        let asked = tokio::spawn(async move { asking.put(NODE, &json!({})).await });
        until("asked", || home.count(|_| true) == 1).await;
        client.avoid_home(true);
        let result = tokio::time::timeout(PATIENCE, asked).await.expect("an end").unwrap();
        assert!(matches!(result, Err(Error::Unanswered(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_server_that_fails_is_left_once_it_was_in_use() {
    let authority = Authority::new();
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let home = Server::start(&authority, move |ask| {
        if fails.load(SeqCst) { status(500, "", "etcdserver: request timed out") } else { well(ask) }
    })
    .await;
    let other = Server::start(&authority, well).await;
    let (client, _access, _node) = client(&authority, &[&home, &other]);
    client.get(NODE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    failing.store(true, SeqCst);
    let error = client.put(NODE, &json!({})).await.unwrap_err();
    assert!(matches!(&error, Error::Server(text) if text.contains("etcdserver")), "{error:?}");
    client.put(NODE, &json!({})).await.unwrap();
    assert_eq!(other.count(|_| true), 1);
}

#[tokio::test]
async fn servers_that_all_fail_are_not_asked_again_and_again() {
    let authority = Authority::new();
    let fail = |_: &Ask| status(500, "", "etcdserver: request timed out");
    let [home, other] = [Server::start(&authority, fail).await, Server::start(&authority, fail).await];
    let (client, _access, _node) = client(&authority, &[&home, &other]);
    client.get(NODE).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.get(NODE).await.unwrap_err();
    assert_eq!((home.count(|_| true), other.count(|_| true)), (2, 1));
}

#[tokio::test]
async fn servers_that_hang_do_not_hide_the_one_that_answers() {
    let authority = Authority::new();
    // They take connections, which is the kernel's doing, and say nothing.
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let home = Server::start(&authority, well).await;
    let other = Server::start(&authority, well).await;
    let node = Node::with_admin(&authority, home.address.port());
    let access = node.access();
    let mut servers: Vec<_> = silent.iter().map(|listener| listener.local_addr().unwrap()).collect();
    servers.push(other.address);
    access.remember(servers);
    home.stop();
    // Two of them in one call, at most: as the Leases' client does it.
    let (connect, total) = (Duration::from_millis(500), Duration::from_millis(1000));
    let client = Client::new(&access, Times { connect, attempt: total, total });
    let mut calls = 0;
    while client.get(NODE).await.is_err() {
        calls += 1;
        assert!(calls < 10);
    }
    assert!(other.count(|_| true) > 0);
}

#[tokio::test]
async fn http_1_1_does_where_nothing_better_is_spoken() {
    let authority = Authority::new();
    let store = Store::default();
    let objects = store.clone();
    let server = Server::with(&authority, &["kubernetes"], &["http/1.1"], move |ask| objects.answer(ask)).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let mut services = watch::<Value>(client.clone(), Selection::all(SERVICES));
    assert_eq!(next(&mut services).await, Change::Restarted(Vec::new()));
    until("a watch", || store.watches() == 1).await;
    for n in 0..20 {
        let path = format!("/api/v1/namespaces/default/services/s{n}");
        let name = format!("s{n}");
        client.post("/api/v1/namespaces/default/services", &json!({"metadata": {"name": name}})).await.unwrap();
        client.get(&path).await.unwrap();
        let Change::Applied(seen) = next(&mut services).await else { panic!("not applied") };
        assert_eq!(seen["metadata"]["name"], json!(name));
    }
}
