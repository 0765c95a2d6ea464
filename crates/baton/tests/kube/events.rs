//! Events: written, counted when they repeat, given up when they are forbidden.

use baton::kube::events::{Involved, Recorder, Severity};
use serde_json::json;

use super::server::{Authority, Server, client, status, until};
use super::store::Store;

fn web() -> Involved {
    Involved {
        api_version: "v1".to_owned(),
        kind: "Service",
        namespace: Some("default".to_owned()),
        name: "web".to_owned(),
        uid: "u1".to_owned(),
    }
}

#[tokio::test]
async fn the_same_again_is_counted() {
    let (authority, store) = (Authority::new(), Store::default());
    let server = Server::start(&authority, move |ask| store.answer(ask)).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let recorder = Recorder::start(client, "baton", "n1");
    recorder.record(web(), Severity::Normal, "Assigned", "10.0.0.1");
    recorder.record(web(), Severity::Normal, "Assigned", "10.0.0.1");
    recorder.record(web(), Severity::Warning, "Refused", &"ä".repeat(2000));
    until("three requests", || server.count(|_| true) == 3).await;
    let asked = server.asked.lock().unwrap().clone();
    let methods: Vec<&str> = asked.iter().map(|ask| ask.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST"]);
    assert_eq!(asked[0].path, "/api/v1/namespaces/default/events");
    let event = &asked[0].body;
    assert_eq!((&event["involvedObject"]["uid"], &event["source"]["host"]), (&json!("u1"), &json!("n1")));
    assert_eq!(
        (&event["type"], &event["reason"], &event["message"]),
        (&json!("Normal"), &json!("Assigned"), &json!("10.0.0.1"))
    );
    assert_eq!(asked[1].body["count"], json!(2));
    assert_eq!(asked[2].body["message"].as_str().unwrap().len(), 1024);
}

#[tokio::test]
async fn forbidden_once_is_enough() {
    let authority = Authority::new();
    let server = Server::start(&authority, |_| status(403, "Forbidden", "events is forbidden")).await;
    let (client, _access, _node) = client(&authority, &[&server]);
    let recorder = Recorder::start(client, "baton", "n1");
    for reason in ["A", "B", "C"] {
        recorder.record(web(), Severity::Normal, reason, "");
    }
    until("a request", || server.count(|_| true) == 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(server.count(|_| true), 1);
}
