//! The cluster of the tests: one for all, cleaned in between.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use baton_cluster::cluster::NODE_PORT;
use baton_cluster::daemon::{Access, Daemon};
use baton_cluster::programs::Programs;
use baton_cluster::{Cluster, Plan};
use baton_lab::client::Client;
use baton_lab::harness::{Skipped, need, promised};
use baton_lab::host::Host;
use baton_lab::lab::{Part, v4, v6};
use serde_json::Value;

use crate::access::PUBLISHED;

/// How long something may take that has no time of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The lease of these tests: duration, deadline, retry. kube-vip's own tests have the same.
pub(crate) const TIMING: &str = "--leaseDuration 5 --leaseRenewDuration 3 --leaseRetry 1";
/// The same as a duration.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// What a busy machine may add to a time.
pub(crate) const NOISE: Duration = Duration::from_secs(1);

/// An answer within this time says who answers.
const LATELY: Duration = Duration::from_millis(100);

/// The control plane's address.
pub(crate) const VIP: u8 = 100;
/// Addresses for Services.
pub(crate) const SERVICES: [u8; 2] = [101, 102];

static RUNNING: Mutex<Option<Cluster>> = Mutex::new(None);

/// Runs a test on a cluster without daemons, Leases and Services. A test that fails takes its cluster along.
pub(crate) fn with(test: impl FnOnce(&mut Cluster)) -> Result<(), Skipped> {
    let programs = Programs::find().map_err(Skipped)?;
    need(&["ip", "nft", "unshare"])?;
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut cluster = running.unwrap_or_else(|| start(programs));
    test(&mut cluster);
    clean(&mut cluster);
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    Ok(())
}

fn start(programs: Programs) -> Cluster {
    let began = Instant::now();
    let watched =
        vec![v4(VIP).into(), v6(VIP).into(), v4(SERVICES[0]).into(), v4(SERVICES[1]).into(), v6(SERVICES[0]).into()];
    let cluster = Cluster::start(Plan { interval: Duration::from_millis(4), ..Plan::new(watched) }, programs);
    let cluster = cluster.expect("a cluster");
    cluster.apply(PUBLISHED).expect("rights");
    println!("a cluster came up in {:.1} s", began.elapsed().as_secs_f64());
    cluster
}

/// Whatever a test left behind.
fn clean(cluster: &mut Cluster) {
    for place in 0..cluster.size() {
        cluster.power_on(place).expect("power");
        cluster.set_cable(place, true).expect("a cable");
        cluster.set_part(place, Part::Mainland).expect("a port");
        cluster.undeploy(place);
    }
    let mut api = cluster.api();
    for group in ["/api/v1/services", "/apis/coordination.k8s.io/v1/leases", "/api/v1/pods"] {
        let list = api.get(group).expect("a list").expect("a list");
        for object in list["items"].as_array().into_iter().flatten() {
            let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
            // The API servers' own.
            if name == "kubernetes" || name.starts_with("apiserver-") {
                continue;
            }
            let (prefix, plural) = group.rsplit_once('/').expect("a path");
            api.delete(&format!("{prefix}/namespaces/{namespace}/{plural}/{name}?gracePeriodSeconds=0")).expect("gone");
        }
    }
    // Whoever asks who answers looks back this far.
    std::thread::sleep(LATELY);
}

/// A value as text.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The executable under test; `BATON_PROGRAM` names another one, such as a release build.
pub(crate) fn program() -> PathBuf {
    let given = std::env::var_os("BATON_PROGRAM").map(PathBuf::from);
    given.or_else(|| option_env!("CARGO_BIN_EXE_baton").map(PathBuf::from)).expect("a program to test")
}

/// The daemon under test as a static pod, with the arguments of `manager`.
pub(crate) fn manager(arguments: &str) -> Daemon {
    Daemon::new(program(), &format!("manager --interface eth0 {TIMING} {arguments}"), Access::AdminConf)
}

/// The same on every node.
pub(crate) fn deploy(cluster: &mut Cluster, daemon: &Daemon) {
    for place in 0..cluster.size() {
        cluster.deploy(place, daemon.clone()).expect("a daemon");
    }
}

/// Waits until `what` is true; otherwise says so, with what the daemons said.
#[track_caller]
pub(crate) fn eventually(cluster: &Cluster, patience: Duration, what: &str, mut check: impl FnMut() -> bool) {
    let from = Instant::now();
    while !check() {
        assert!(from.elapsed() < patience, "not within {patience:?}: {what}\n{}", cluster.words());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a shell command on a host; its output.
pub(crate) fn shell(host: &Host, command: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null());
    let output = host.run(move |_| shell.output()).expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Nothing on a node reaches any API server any more, its own neither.
pub(crate) fn cut_from_api(cluster: &Cluster, place: usize) {
    shell(
        cluster.host(place),
        "nft 'add table inet cut; add chain inet cut out { type filter hook output priority 0; }; \
         add rule inet cut out tcp dport 6443 drop'",
    );
}

/// It does again.
pub(crate) fn join_to_api(cluster: &Cluster, place: usize) {
    shell(cluster.host(place), "nft delete table inet cut");
}

/// Whether an address is configured on a node.
pub(crate) fn has(cluster: &Cluster, place: usize, address: IpAddr) -> bool {
    shell(cluster.host(place), "ip -j addr").contains(&format!("\"local\":\"{address}\""))
}

/// The nodes on which an address is configured.
pub(crate) fn places(cluster: &Cluster, address: IpAddr) -> Vec<usize> {
    (0..cluster.size()).filter(|place| has(cluster, *place, address)).collect()
}

/// Which node answers for an address, by the wire.
pub(crate) fn answering(cluster: &Cluster, address: IpAddr) -> Option<usize> {
    cluster.observer().holder(address, LATELY).map(|number| usize::from(number) - 1)
}

/// Waits until some node answers for an address.
#[track_caller]
pub(crate) fn holder(cluster: &Cluster, address: IpAddr) -> usize {
    eventually(cluster, PATIENCE, &format!("somebody answers for {address}"), || answering(cluster, address).is_some());
    answering(cluster, address).expect("somebody answers")
}

/// Nobody but one node ever answered for an address since `from`.
#[track_caller]
pub(crate) fn never_two(cluster: &Cluster, address: IpAddr, from: Instant) {
    let seen = cluster.observer().answering(address, from, Instant::now());
    assert!(seen.requests > 0, "nobody looked at {address}");
    let conflicts = cluster.observer().conflicts(address, from, Instant::now());
    let first = conflicts.first().map(|sample| sample.at.duration_since(from));
    let story = || format!("two answered for {address}: {seen:?}, first after {first:?}\n{}", cluster.words());
    promised(seen.most <= 1, story);
}

/// The record of a Lease, if there is one.
pub(crate) fn lease(cluster: &Cluster, namespace: &str, name: &str) -> Option<Value> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}");
    Some(cluster.api().get(&path).ok()??["spec"].clone())
}

/// Who holds a Lease, by its record; empty if nobody does.
pub(crate) fn lease_holder(cluster: &Cluster, namespace: &str, name: &str) -> String {
    lease(cluster, namespace, name).map(|spec| text(&spec["holderIdentity"])).unwrap_or_default()
}

/// A client of the nodes' own servers through an address.
pub(crate) fn node_client(cluster: &Cluster, address: IpAddr) -> Client {
    let target = SocketAddr::new(address, NODE_PORT);
    Client::start(cluster.client(), target, baton_lab::client::INTERVAL).expect("a client")
}
