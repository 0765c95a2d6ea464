//! The lab's own promises: what it calls a cluster is one.

use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use baton_cluster::certificates::{MASTERS, User};
use baton_cluster::components::{log, start};
use baton_cluster::pods::PodSpec;
use baton_cluster::programs::Programs;
use baton_cluster::{Cluster, Plan};
use baton_lab::client::{Client, INTERVAL};
use baton_lab::harness::{self, Skipped};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    harness::main(&[("a_cluster_is_one", a_cluster_is_one)])
}

/// One start for everything, for it takes its time.
fn a_cluster_is_one() -> Result<(), Skipped> {
    let began = Instant::now();
    let mut cluster = Cluster::start(Plan::new(Vec::new()), Programs::find().map_err(Skipped)?).expect("a cluster");
    println!("up in {:.1} s", began.elapsed().as_secs_f64());
    pods_are_reached_through_a_service(&mut cluster);
    requests_are_counted_by_who_asks(&cluster);
    the_elector_elects(&mut cluster);
    Ok(())
}

fn pods_are_reached_through_a_service(cluster: &mut Cluster) {
    for (place, name) in [(0, "alpha"), (1, "beta")] {
        let spec = PodSpec { namespace: "default", name, app: "web", port: 8080, answer: name.as_bytes()[0] };
        cluster.add_pod(place, spec).expect("a pod");
    }
    cluster.kubectl(&["create", "service", "clusterip", "web", "--tcp=80:8080"]).expect("a Service");
    let change = json!({"spec": {"selector": {"app": "web"}}});
    let service = cluster.api().patch("/api/v1/namespaces/default/services/web", &change).expect("a Service");
    let address = service["spec"]["clusterIP"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    // From a node without a pod: its kube-proxy knows the way to both.
    let client = Client::start(cluster.host(2), SocketAddr::new(address, 80), INTERVAL).expect("a client");
    assert!(client.wait_for_answers(50, PATIENCE), "{}", cluster.last_words(cluster.host(2), "kube-proxy"));
    for (place, name) in [(0, "alpha"), (1, "beta")] {
        assert!(cluster.pod(place, name).expect("it runs").answered() > 0, "{name} was never asked");
    }
    cluster.set_ready(0, "alpha", false).expect("a status");
    std::thread::sleep(Duration::from_secs(2));
    let before = cluster.pod(0, "alpha").expect("it runs").answered();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(cluster.pod(0, "alpha").expect("it runs").answered(), before, "it is not ready and asked all the same");
}

fn requests_are_counted_by_who_asks(cluster: &Cluster) {
    let mark = cluster.count_requests();
    let user = User { name: "somebody", group: Some(MASTERS) };
    let conf = cluster.authority().kubeconfig("somebody", user, "https://127.0.0.1:6443").expect("a file");
    let mut kubectl = Command::new(cluster.programs().get("kubectl"));
    kubectl.arg("--kubeconfig").arg(conf).args(["get", "--raw", "/api/v1/nodes"]);
    assert!(cluster.host(1).run(move |_| kubectl.output()).expect("kubectl").status.success());
    let asked = ("somebody".to_owned(), "list".to_owned(), "nodes".to_owned());
    let from = Instant::now();
    while mark.requests().expect("logs").get(&asked) != Some(&1) {
        assert!(from.elapsed() < PATIENCE, "{:?}", mark.requests());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn the_elector_elects(cluster: &mut Cluster) {
    let user = User { name: "elector", group: Some(MASTERS) };
    let conf = cluster.authority().kubeconfig("elector", user, "https://127.0.0.1:6443").expect("a file");
    for place in 0..2 {
        let mut elector = Command::new(cluster.programs().elector());
        elector.arg("--kubeconfig").arg(&conf).args(["--identity", &cluster.name(place), "--lease", "test"]);
        elector.args(["--duration", "3s", "--renew", "2s", "--retry", "500ms"]);
        start(cluster.host(place), "elector", elector).expect("the elector");
        wait_for(cluster, place, "leader n1");
    }
    cluster.power_off(0).expect("a switch");
    wait_for(cluster, 1, "leading");
}

fn wait_for(cluster: &Cluster, place: usize, words: &str) {
    let from = Instant::now();
    let said = || std::fs::read_to_string(log(cluster.host(place), "elector")).unwrap_or_default();
    while !said().contains(words) {
        assert!(from.elapsed() < PATIENCE, "the elector does not say {words:?}: {}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
}
