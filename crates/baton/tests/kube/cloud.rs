//! Addresses for Services: what is written, over what, and when not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use baton::cloud;
use baton::kube::events::Recorder;
use baton_config::manager::Pools;
use baton_core::time::Time;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::server::{Answer, Ask, Authority, Node, Server, client, status, until};
use super::store::Store;

const MAP: &str = "/api/v1/namespaces/kube-system/configmaps/kubevip";
const EVENTS: &str = "/api/v1/namespaces/ns/events";

/// A provider in front of a store, and what may be said to both.
struct Provider {
    store: Store,
    server: Server,
    term: watch::Sender<Option<Time>>,
    task: JoinHandle<()>,
    _node: Node,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/ns/services/{name}")
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "ns", "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "fieldOfTomorrow": [1, 2]},
    })
}

fn pool(text: &str) -> Value {
    json!({"metadata": {"namespace": "kube-system", "name": "kubevip"}, "data": {"range-global": text}})
}

impl Provider {
    async fn start(answer: impl Fn(&Store, &Ask) -> Answer + Send + Sync + 'static) -> Provider {
        Provider::of(None, answer).await
    }

    async fn of(class: Option<&str>, answer: impl Fn(&Store, &Ask) -> Answer + Send + Sync + 'static) -> Provider {
        let (authority, store) = (Authority::new(), Store::default());
        let behind = store.clone();
        let server = Server::start(&authority, move |ask| answer(&behind, ask)).await;
        let (client, _, node) = client(&authority, &[&server]);
        let recorder = Recorder::start(client.clone(), "service-controller", "host");
        let pools =
            Pools { namespace: "kube-system".into(), config_map: "kubevip".into(), class: class.map(str::to_owned) };
        let (term, until) = watch::channel(None);
        let (counts, _) = watch::channel(cloud::Counts::default());
        let task = tokio::spawn(cloud::serve(client, recorder, pools, until, counts));
        Provider { store, server, term, task, _node: node }
    }

    fn lead(&self) {
        self.term.send(Some(Time(u64::MAX))).unwrap();
    }

    fn address(&self, name: &str) -> String {
        let service = self.store.get(&path(name));
        service["metadata"]["annotations"]["kube-vip.io/loadbalancerIPs"].as_str().unwrap_or_default().to_owned()
    }

    async fn given(&self, name: &str, address: &str) {
        until(&format!("{name} has {address}"), || self.address(name) == address).await;
    }

    fn puts(&self) -> usize {
        self.server.count(|ask| ask.method == "PUT")
    }

    fn reasons(&self) -> BTreeSet<String> {
        let asked = self.server.asked.lock().unwrap();
        let events = asked.iter().filter(|ask| ask.method == "POST" && ask.path == EVENTS);
        events
            .map(|ask| format!("{} {}", ask.body["reason"].as_str().unwrap(), ask.body["message"].as_str().unwrap()))
            .collect()
    }
}

/// What is at a port of this host.
fn page(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A running program, which does not outlive its test.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask_of(ask: &Ask, method: &str) -> bool {
    ask.method == method && ask.path.contains("/services/")
}

#[tokio::test]
async fn one_write_gives_an_address_and_changes_nothing_else() {
    let provider = Provider::start(Store::answer).await;
    provider.store.put(MAP, pool("10.0.0.1-10.0.0.9"));
    provider.store.put(&path("web"), service("web"));
    provider.lead();
    provider.given("web", "10.0.0.1").await;
    let mut want = service("web");
    want["metadata"]["annotations"] = json!({"kube-vip.io/loadbalancerIPs": "10.0.0.1"});
    want["metadata"]["labels"] = json!({"implementation": "kube-vip"});
    want["metadata"]["finalizers"] = json!(["service.kubernetes.io/load-balancer-cleanup"]);
    want["spec"]["loadBalancerIP"] = json!("10.0.0.1");
    let mut found = provider.store.get(&path("web"));
    found["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(found, want);
    let ensured = ["EnsuredLoadBalancer Ensured load balancer", "EnsuringLoadBalancer Ensuring load balancer"];
    until("Events", || provider.reasons() == ensured.map(String::from).into()).await;
    assert_eq!(provider.puts(), 1);

    let mut going = provider.store.get(&path("web"));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    provider.store.put(&path("web"), going);
    until("no finalizer", || provider.store.get(&path("web"))["metadata"]["finalizers"] == json!([])).await;
    until("an Event", || provider.reasons().contains("DeletedLoadBalancer Deleted load balancer")).await;
    provider.store.delete(&path("web"));
    provider.store.put(&path("next"), service("next"));
    provider.given("next", "10.0.0.1").await;
}

#[tokio::test]
async fn a_missing_config_map_is_made_and_a_filled_one_noticed() {
    let provider = Provider::start(Store::answer).await;
    provider.store.put(&path("web"), service("web"));
    provider.lead();
    until("a ConfigMap", || provider.store.get(MAP).is_object()).await;
    let failed = "SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: no address pools \
                  could be found";
    until("a refusal", || provider.reasons() == [failed.to_owned()].into()).await;
    assert_eq!(provider.puts(), 0);
    provider.store.put(MAP, pool("10.0.0.1-10.0.0.1"));
    provider.given("web", "10.0.0.1").await;
    provider.store.put(&path("more"), service("more"));
    let full = "SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: no addresses \
                available in [ns] range [10.0.0.1-10.0.0.1]";
    until("a refusal", || provider.reasons().contains(full)).await;
    provider.store.put(MAP, pool("10.0.0.1-10.0.0.2"));
    provider.given("more", "10.0.0.2").await;
    let told = |reason: &str| {
        let asked = provider.server.asked.lock().unwrap();
        let of_map = |ask: &&Ask| ask.method == "POST" && ask.path == "/api/v1/namespaces/kube-system/events";
        let mut events = asked.iter().filter(of_map).map(|ask| &ask.body);
        events.any(|event| event["reason"] == reason && event["involvedObject"]["kind"] == "ConfigMap")
    };
    until("an Event on the ConfigMap", || told("PoolsChanged")).await;
    provider.store.put(MAP, pool("10.0.0.9-10.0.0.1"));
    until("a Warning on the ConfigMap", || told("PoolsInvalid")).await;
}

#[tokio::test]
async fn what_changes_under_a_write_is_planned_anew() {
    let meddled = Arc::new(AtomicBool::new(false));
    let provider = Provider::start(move |store, ask| {
        if ask_of(ask, "PUT") && !meddled.swap(true, SeqCst) {
            // Between reading and writing, its owner makes it an internal one.
            let mut changed = store.get(&ask.path);
            changed["spec"]["type"] = json!("ClusterIP");
            store.put(&ask.path, changed);
        }
        store.answer(ask)
    })
    .await;
    provider.store.put(MAP, pool("10.0.0.1-10.0.0.1"));
    provider.store.put(&path("a"), service("a"));
    provider.lead();
    until("an attempt", || provider.puts() == 1).await;
    provider.store.put(&path("b"), service("b"));
    provider.given("b", "10.0.0.1").await;
    assert_eq!(provider.address("a"), "");
}

#[tokio::test]
async fn an_answer_that_is_lost_gives_nothing_twice() {
    let lost = Arc::new(AtomicBool::new(false));
    let provider = Provider::start(move |store, ask| {
        let answer = store.answer(ask);
        if ask_of(ask, "PUT") && !lost.swap(true, SeqCst) { status(500, "", "etcd is slow") } else { answer }
    })
    .await;
    provider.store.put(MAP, pool("10.0.0.1-10.0.0.2"));
    for name in ["a", "b"] {
        provider.store.put(&path(name), service(name));
    }
    provider.lead();
    provider.given("a", "10.0.0.1").await;
    provider.given("b", "10.0.0.2").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((provider.address("a"), provider.address("b")), ("10.0.0.1".into(), "10.0.0.2".into()));
    assert_eq!(provider.puts(), 2, "what was done is not done again");
}

#[tokio::test]
async fn who_does_not_lead_writes_nothing_and_who_comes_to_lead_looks_first() {
    let provider = Provider::start(Store::answer).await;
    provider.store.put(MAP, pool("10.0.0.1-10.0.0.9"));
    provider.store.put(&path("a"), service("a"));
    provider.lead();
    provider.given("a", "10.0.0.1").await;
    provider.term.send(None).unwrap();
    until("its watches are gone", || provider.store.watches() == 0).await;
    // Meanwhile another one leads.
    let mut theirs = service("b");
    theirs["metadata"]["annotations"] = json!({"kube-vip.io/loadbalancerIPs": "10.0.0.2"});
    provider.store.put(&path("b"), theirs);
    provider.store.put(&path("c"), service("c"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((provider.puts(), provider.address("c").as_str()), (1, ""));
    provider.lead();
    provider.given("c", "10.0.0.3").await;
    // A term that is as good as over.
    provider.term.send(None).unwrap();
    until("its watches are gone", || provider.store.watches() == 0).await;
    let before = provider.puts();
    let soon = baton_net::clock::now() + Duration::from_millis(600);
    provider.term.send(Some(soon)).unwrap();
    provider.store.put(&path("d"), service("d"));
    until("its watches are gone", || baton_net::clock::now() > soon && provider.store.watches() == 0).await;
    assert_eq!(provider.puts(), before, "too little is left for a write");
}

#[tokio::test]
async fn a_broken_watch_and_a_compacted_history_lose_nothing() {
    let provider = Provider::start(Store::answer).await;
    provider.store.put(MAP, pool("10.0.0.1-10.0.3.254"));
    provider.lead();
    for i in 0..300 {
        provider.store.put(&path(&format!("s{i:03}")), service(&format!("s{i:03}")));
        if i % 50 == 49 {
            provider.store.compact();
            provider.store.cut(i % 100 == 49);
        }
    }
    let all = || (0..300).map(|i| provider.address(&format!("s{i:03}"))).filter(|a| !a.is_empty());
    until("all have one", || all().count() == 300).await;
    assert_eq!(all().collect::<BTreeSet<_>>().len(), 300, "and each its own");
}

#[tokio::test]
async fn with_a_class_only_its_services_and_the_other_controllers_words() {
    let provider = Provider::of(Some("kube-vip.io/kube-vip-class"), Store::answer).await;
    provider.store.put(MAP, pool("10.0.0.1-10.0.0.1"));
    for (name, class) in [("a", None), ("b", Some("another")), ("c", Some("kube-vip.io/kube-vip-class"))] {
        let mut service = service(name);
        service["spec"]["loadBalancerClass"] = json!(class);
        provider.store.put(&path(name), service);
    }
    provider.lead();
    provider.given("c", "10.0.0.1").await;
    let mut fourth = service("d");
    fourth["spec"]["loadBalancerClass"] = json!("kube-vip.io/kube-vip-class");
    provider.store.put(&path("d"), fourth);
    let full = "syncLoadBalancer Error syncing load balancer: no addresses available in [ns] range [10.0.0.1-10.0.0.1]";
    until("a refusal", || provider.reasons().contains(full)).await;
    let mut going = provider.store.get(&path("c"));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    provider.store.put(&path("c"), going);
    until("an Event", || provider.reasons().contains("LoadBalancerDeleted Deleted load balancer")).await;
    assert_eq!((provider.address("a"), provider.address("b")), (String::new(), String::new()));
}

/// The program itself: what it may do is renewed with its Lease, and given back at the end.
#[tokio::test]
async fn it_goes_on_as_long_as_its_lease_is_renewed() {
    let (authority, store) = (Authority::new(), Store::default());
    let behind = store.clone();
    let server = Server::start(&authority, move |ask| behind.answer(ask)).await;
    store.put(MAP, pool("10.0.0.1-10.0.0.9"));
    let node = Node::bare(server.address.port());
    let kubeconfig = authority.kubeconfig(&format!("https://{}", server.address), "provider");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut program = Program(
        std::process::Command::new(env!("CARGO_BIN_EXE_baton"))
            .args(["cloud-provider", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s"])
            .args(["--leader-elect-retry-period=1s", "--leader-elect-resource-name=kube-vip-cloud-controller"])
            .args(["--address=127.0.0.1", &format!("--port={port}")])
            .arg("--kubeconfig")
            .arg(node.write("provider.conf", &kubeconfig))
            .spawn()
            .unwrap(),
    );
    let address = |name: &str| {
        let service = store.get(&path(name));
        service["metadata"]["annotations"]["kube-vip.io/loadbalancerIPs"].as_str().unwrap_or_default().to_owned()
    };
    store.put(&path("first"), service("first"));
    until("an address", || address("first") == "10.0.0.1").await;
    // Longer than what the first record allowed.
    tokio::time::sleep(Duration::from_secs(4)).await;
    store.put(&path("second"), service("second"));
    until("another one", || address("second") == "10.0.0.2").await;
    assert!(page(port, "/healthz").starts_with("HTTP/1.1 200 "));
    let shown = |line: &str| page(port, "/metrics").lines().any(|shown| shown == line);
    for line in ["baton_ipam_is_leader 1", "baton_ipam_addresses 2", "baton_ipam_services_waiting 0"] {
        until(line, || shown(line)).await;
    }
    let pid = rustix::process::Pid::from_raw(program.0.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut ended = None;
    for _ in 0..600 {
        ended = ended.or(program.0.try_wait().unwrap());
        tokio::time::sleep(Duration::from_millis(if ended.is_none() { 50 } else { 0 })).await;
    }
    assert!(ended.expect("an end").success());
    let lease = store.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-vip-cloud-controller");
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "", "{lease}");
}
