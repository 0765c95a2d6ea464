//! Edits: on what the server has now, under its version, until they are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use baton::kube::write::{Changed, Writer};
use baton::kube::{Error, ObjectRef, SERVICES};
use serde_json::{Value, json};

use super::server::{Answer, Ask, Authority, Server, client, next, status, until};
use super::store::Store;

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/default/services/{name}")
}

fn object(name: &str) -> ObjectRef {
    ObjectRef::new(SERVICES, "default", name)
}

/// Sets an annotation.
fn annotate(value: &'static str) -> impl FnMut(&mut Value) -> Changed + Send + 'static {
    move |object| {
        if object["metadata"]["annotations"]["host"] == json!(value) {
            return Changed::No;
        }
        object["metadata"]["annotations"]["host"] = json!(value);
        Changed::Yes
    }
}

async fn serving(
    authority: &Authority,
    answer: impl Fn(&Ask) -> Answer + Send + Sync + 'static,
) -> (Writer, tokio::sync::mpsc::Receiver<baton::kube::write::Written>, Server, super::server::Node) {
    let server = Server::start(authority, answer).await;
    let (client, _, node) = client(authority, &[&server]);
    let (writer, results) = Writer::start(client);
    (writer, results, server, node)
}

#[tokio::test]
async fn what_is_not_meant_stays_as_it_is() {
    let store = Store::default();
    store.put(&path("a"), json!({"metadata": {"name": "a"}, "spec": {"newer": {"than": ["us"]}}}));
    let objects = store.clone();
    let (writer, mut results, server, _node) = serving(&Authority::new(), move |ask| objects.answer(ask)).await;
    writer.edit(object("a"), None, "host", annotate("n1"));
    assert_eq!(next(&mut results).await.result, Ok(Changed::Yes));
    let written = store.get(&path("a"));
    assert_eq!(written["spec"], json!({"newer": {"than": ["us"]}}));
    assert_eq!(written["metadata"]["annotations"]["host"], json!("n1"));
    writer.edit(object("a"), None, "host", annotate("n1"));
    assert_eq!(next(&mut results).await.result, Ok(Changed::No));
    assert_eq!(server.count(|ask| ask.method == "PUT"), 1);
    writer.edit(object("a"), Some("status"), "status", annotate("n2"));
    let status = next(&mut results).await;
    assert_eq!((status.subresource, status.result), (Some("status"), Ok(Changed::Yes)));
    assert_eq!(server.count(|ask| ask.method == "PUT" && ask.path.ends_with("/status")), 1);
    writer.edit(object("gone"), None, "host", annotate("n1"));
    assert!(matches!(next(&mut results).await.result, Err(Error::Absent(_))));
    assert_eq!(writer.waiting(), 0);
}

#[tokio::test]
async fn somebody_else_writes_in_between() {
    let store = Store::default();
    store.put(&path("a"), json!({"metadata": {"name": "a"}}));
    let (objects, times) = (store.clone(), AtomicUsize::new(0));
    let (writer, mut results, _server, _node) = serving(&Authority::new(), move |ask| {
        if ask.method == "PUT" && times.fetch_add(1, SeqCst) < 8 {
            let mut object = objects.get(&path("a"));
            object["spec"] = json!({"times": times.load(SeqCst)});
            objects.put(&path("a"), object);
        }
        objects.answer(ask)
    })
    .await;
    writer.edit(object("a"), None, "host", annotate("n1"));
    assert_eq!(next(&mut results).await.result, Ok(Changed::Yes));
    let written = store.get(&path("a"));
    assert_eq!((&written["spec"]["times"], &written["metadata"]["annotations"]["host"]), (&json!(8), &json!("n1")));
}

#[tokio::test]
async fn a_write_that_was_done_without_an_answer_is_found_done() {
    let store = Store::default();
    store.put(&path("a"), json!({"metadata": {"name": "a"}}));
    let (objects, first) = (store.clone(), AtomicBool::new(true));
    let (writer, mut results, server, _node) = serving(&Authority::new(), move |ask| {
        let answer = objects.answer(ask);
        if ask.method == "PUT" && first.swap(false, SeqCst) { Answer::Never } else { answer }
    })
    .await;
    writer.edit(object("a"), None, "host", annotate("n1"));
    assert_eq!(next(&mut results).await.result, Ok(Changed::No));
    assert_eq!(server.count(|ask| ask.method == "PUT"), 1);
}

#[tokio::test]
async fn a_busy_object_does_not_starve_the_others_and_only_its_last_edit_counts() {
    let store = Store::default();
    for n in 0..50 {
        store.put(&path(&format!("s{n}")), json!({"metadata": {"name": format!("s{n}")}}));
    }
    store.put(&path("busy"), json!({"metadata": {"name": "busy"}}));
    let objects = store.clone();
    let (writer, mut results, server, _node) = serving(&Authority::new(), move |ask| objects.answer(ask)).await;
    let last = Arc::new(AtomicUsize::new(0));
    for n in 0..1000 {
        let seen = last.clone();
        writer.edit(object("busy"), None, "count", move |object| {
            seen.fetch_max(n, SeqCst);
            object["spec"] = json!({ "n": n });
            Changed::Yes
        });
    }
    writer.edit(object("busy"), None, "host", annotate("n1"));
    for n in 0..50 {
        writer.edit(object(&format!("s{n}")), None, "host", annotate("n1"));
    }
    for _ in 0..51 {
        assert_eq!(next(&mut results).await.result, Ok(Changed::Yes));
    }
    assert_eq!(store.get(&path("busy"))["spec"]["n"], json!(999));
    assert_eq!(store.get(&path("busy"))["metadata"]["annotations"]["host"], json!("n1"));
    assert_eq!((last.load(SeqCst), server.count(|ask| ask.method == "PUT")), (999, 51));
}

#[tokio::test]
async fn an_object_and_its_status_are_read_once_and_a_cache_is_not_believed() {
    let store = Store::default();
    store.put(&path("a"), json!({"metadata": {"name": "a"}}));
    let objects = store.clone();
    let (writer, mut results, server, _node) = serving(&Authority::new(), move |ask| {
        // A memory that is behind: it shows the wish as fulfilled.
        if ask.method == "GET" && ask.query.contains_key("resourceVersion") && ask.path == path("behind") {
            let old = json!({"metadata": {"name": "behind", "annotations": {"host": "n1"}, "resourceVersion": "1"}});
            return Answer::Json(200, old);
        }
        objects.answer(ask)
    })
    .await;
    writer.edit(object("a"), Some("status"), "ingress", annotate("n2"));
    writer.edit(object("a"), None, "host", annotate("n1"));
    assert_eq!(next(&mut results).await.result, Ok(Changed::Yes));
    let methods = |path: &str| server.count(|ask| ask.method == "GET" && ask.path == path);
    assert_eq!((methods(&path("a")), server.count(|ask| ask.method == "PUT")), (1, 2));
    store.put(&path("behind"), json!({"metadata": {"name": "behind"}}));
    writer.edit(object("behind"), None, "host", annotate("n1"));
    assert_eq!(next(&mut results).await.result, Ok(Changed::Yes));
    assert_eq!(store.get(&path("behind"))["metadata"]["annotations"]["host"], json!("n1"));
}

#[tokio::test]
async fn what_is_forgotten_before_it_began_is_not_written() {
    let store = Store::default();
    for n in 0..50 {
        store.put(&path(&format!("s{n}")), json!({"metadata": {"name": format!("s{n}")}}));
    }
    let objects = store.clone();
    let (writer, mut results, server, _node) = serving(&Authority::new(), move |ask| objects.answer(ask)).await;
    for n in 0..50 {
        writer.edit(object(&format!("s{n}")), None, "host", annotate("n1"));
    }
    writer.forget();
    assert_eq!(writer.waiting(), 0);
    writer.edit(object("s7"), None, "host", annotate("n2"));
    assert_eq!(next(&mut results).await.result, Ok(Changed::Yes));
    assert_eq!((writer.waiting(), server.count(|ask| ask.method == "PUT")), (0, 1));
}

#[tokio::test]
async fn what_may_not_be_written_is_told_once_and_tried_until_it_may() {
    let store = Store::default();
    for name in ["a", "b", "c"] {
        store.put(&path(name), json!({"metadata": {"name": name}}));
    }
    let may = Arc::new(AtomicBool::new(false));
    let (objects, allowed) = (store.clone(), may.clone());
    let (writer, mut results, server, _node) = serving(&Authority::new(), move |ask| {
        let refused = ask.path.ends_with("/status") && !allowed.load(SeqCst);
        if refused { status(403, "Forbidden", "services/status is forbidden") } else { objects.answer(ask) }
    })
    .await;
    for name in ["a", "b", "c"] {
        writer.edit(object(name), Some("status"), "ingress", annotate("n1"));
    }
    for _ in 0..3 {
        assert!(matches!(next(&mut results).await.result, Err(Error::Forbidden(_))));
    }
    // One that has changed is tried at once, and that it is refused again is no news.
    writer.edit(object("b"), Some("status"), "ingress", annotate("n2"));
    until("a try", || server.count(|ask| ask.method == "PUT") >= 4 && writer.waiting() == 0).await;
    may.store(true, SeqCst);
    for _ in 0..3 {
        assert_eq!(next(&mut results).await.result, Ok(Changed::Yes));
    }
    assert_eq!(store.get(&path("b"))["metadata"]["annotations"]["host"], json!("n2"));
    assert_eq!(writer.waiting(), 0);
}
