//! Services: who announces them, where, and until when. The cases are those of kube-vip's own end-to-end tests for ARP.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use baton_cluster::Cluster;
use baton_cluster::pods::PodSpec;
use baton_lab::client::{Client, INTERVAL};
use baton_lab::harness::{Skipped, need};
use baton_lab::lab::{v4, v6};
use serde_json::{Value, json};

use crate::access::in_cluster;
use crate::world::{
    LEASE, PATIENCE, SERVICES, answering, cut_from_api, deploy, eventually, has, holder, join_to_api, lease_holder,
    never_two, places, program, shell, text, with,
};

/// Where the tests' Services and pods are.
pub(crate) const NAMESPACE: &str = "default";
/// The port of a Service, and of the pods behind it.
pub(crate) const PORT: u16 = 8080;
/// kube-vip's Lease for all Services.
const GLOBAL: (&str, &str) = ("kube-system", "plndr-svcs-lock");
const ADDRESSES: &str = "kube-vip.io/loadbalancerIPs";

pub(crate) fn first() -> IpAddr {
    v4(SERVICES[0]).into()
}

pub(crate) fn second() -> IpAddr {
    v4(SERVICES[1]).into()
}

/// A Service `name` on the pods of app `app`, with an address for the annotation.
pub(crate) fn service(name: &str, app: &str, addresses: &str, policy: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "annotations": {ADDRESSES: addresses}},
        "spec": {
            "type": "LoadBalancer", "selector": {"app": app}, "externalTrafficPolicy": policy,
            "ports": [{"port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    })
}

fn list() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services")
}

pub(crate) fn create(cluster: &Cluster, service: &Value) {
    cluster.api().create(&list(), service).expect("a Service");
}

pub(crate) fn change(cluster: &Cluster, name: &str, change: &Value) {
    cluster.api().patch(&format!("{}/{name}", list()), change).expect("a change");
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.api().delete(&format!("{}/{name}", list())).expect("a removal");
}

fn read(cluster: &Cluster, name: &str) -> Value {
    cluster.api().get(&format!("{}/{name}", list())).expect("an answer").expect("a Service")
}

/// A pod of app `app`, which is its name as well.
pub(crate) fn pod(cluster: &mut Cluster, place: usize, name: &str, app: &str) {
    let spec = PodSpec { namespace: NAMESPACE, name, app, port: PORT, answer: name.as_bytes()[0] };
    cluster.add_pod(place, spec).expect("a pod");
}

fn remove_pods(cluster: &mut Cluster, pods: &[(usize, &str)]) {
    for (place, name) in pods {
        cluster.remove_pod(*place, name).expect("a removal");
    }
}

/// How long the cluster's own programs (the endpoint controller, kube-proxy) may take to find their API server again and
/// catch up after a test that cut a node off.
const CATCH_UP: Duration = Duration::from_secs(60);

/// A client of a Service that is answered.
#[track_caller]
pub(crate) fn served(cluster: &Cluster, address: IpAddr) {
    let client = Client::start(cluster.client(), SocketAddr::new(address, PORT), INTERVAL).expect("a client");
    assert!(client.wait_for_answers(20, CATCH_UP), "{address} is not served\n{}", cluster.words());
}

/// Waits until no node has the address.
#[track_caller]
pub(crate) fn withdrawn(cluster: &Cluster, address: IpAddr) {
    eventually(cluster, PATIENCE, &format!("{address} is withdrawn"), || places(cluster, address).is_empty());
}

/// Runs a test with daemons for Services on all nodes, one pod on node 1 and one on node 2.
pub(crate) fn services(more: &str, test: impl FnOnce(&mut Cluster)) -> Result<(), Skipped> {
    with(|cluster| {
        deploy(cluster, &in_cluster(&format!("--services --arp --leaderElection {more}")));
        let pods = [(0, "alpha"), (1, "beta")];
        for (place, name) in pods {
            pod(cluster, place, name, "web");
        }
        test(cluster);
        remove_pods(cluster, &pods);
    })
}

const ONE_ELECTION: &str = "";
const EACH: &str = "--servicesElection";

/// Waits until the address is on one node, and that is the one that the Lease names.
#[track_caller]
fn at_the_holder(cluster: &Cluster, address: IpAddr, lease: (&str, &str)) {
    eventually(cluster, PATIENCE, &format!("{address} is where {}/{} says", lease.0, lease.1), || {
        let name = lease_holder(cluster, lease.0, lease.1);
        let there = places(cluster, address);
        there.len() == 1 && cluster.name(there[0]) == name && answering(cluster, address) == Some(there[0])
    });
}

pub(crate) fn one_election_announces_at_the_holder_of_its_lease() -> Result<(), Skipped> {
    services(ONE_ELECTION, |cluster| {
        let from = Instant::now();
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        at_the_holder(cluster, first(), GLOBAL);
        served(cluster, first());
        let name = lease_holder(cluster, GLOBAL.0, GLOBAL.1);
        eventually(cluster, PATIENCE, "status and vipHost", || {
            let web = read(cluster, "web");
            web["status"]["loadBalancer"]["ingress"][0]["ip"] == first().to_string()
                && web["metadata"]["annotations"]["kube-vip.io/vipHost"] == name.as_str()
        });
        remove(cluster, "web");
        withdrawn(cluster, first());
        never_two(cluster, first(), from);
    })
}

pub(crate) fn one_election_and_local_traffic() -> Result<(), Skipped> {
    services(ONE_ELECTION, |cluster| {
        // kube-vip announces at the holder of the one Lease; without an endpoint there, nowhere.
        pod(cluster, 2, "gamma", "web");
        create(cluster, &service("web", "web", &first().to_string(), "Local"));
        at_the_holder(cluster, first(), GLOBAL);
        served(cluster, first());
        remove_pods(cluster, &[(2, "gamma")]);
    })
}

pub(crate) fn an_address_goes_with_its_last_service() -> Result<(), Skipped> {
    services(ONE_ELECTION, |cluster| {
        let mut other = service("other", "web", &first().to_string(), "Cluster");
        other["spec"]["ports"][0]["port"] = json!(PORT + 1);
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        create(cluster, &other);
        served(cluster, first());
        eventually(cluster, PATIENCE, "both have a status", || {
            ["web", "other"].iter().all(|name| read(cluster, name)["status"]["loadBalancer"]["ingress"].is_array())
        });
        remove(cluster, "web");
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(places(cluster, first()).len(), 1, "{}", cluster.words());
        remove(cluster, "other");
        withdrawn(cluster, first());
    })
}

fn endpoints_come_and_go(more: &str, policy: &str) -> Result<(), Skipped> {
    services(more, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), policy));
        served(cluster, first());
        for (place, name) in [(0, "alpha"), (1, "beta")] {
            cluster.set_ready(place, name, false).expect("a status");
        }
        if policy == "Local" {
            withdrawn(cluster, first());
        }
        remove_pods(cluster, &[(0, "alpha"), (1, "beta")]);
        withdrawn(cluster, first());
        pod(cluster, 1, "delta", "web");
        served(cluster, first());
        remove_pods(cluster, &[(1, "delta")]);
        withdrawn(cluster, first());
    })
}

pub(crate) fn one_election_follows_endpoints() -> Result<(), Skipped> {
    endpoints_come_and_go(ONE_ELECTION, "Cluster")
}

pub(crate) fn a_lease_each_follows_endpoints() -> Result<(), Skipped> {
    endpoints_come_and_go(EACH, "Cluster")
}

pub(crate) fn a_lease_each_follows_local_endpoints() -> Result<(), Skipped> {
    endpoints_come_and_go(EACH, "Local")
}

pub(crate) fn a_lease_each_announces_at_its_holder() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        let from = Instant::now();
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        create(cluster, &service("local", "web", &second().to_string(), "Local"));
        at_the_holder(cluster, first(), (NAMESPACE, "kubevip-web"));
        at_the_holder(cluster, second(), (NAMESPACE, "kubevip-local"));
        served(cluster, first());
        served(cluster, second());
        assert!(places(cluster, second())[0] < 2, "announced where no pod is");
        for address in [first(), second()] {
            never_two(cluster, address, from);
        }
    })
}

pub(crate) fn an_election_of_its_own_on_demand() -> Result<(), Skipped> {
    services("--perServiceElectionOnDemand", |cluster| {
        let mut own = service("own", "web", &first().to_string(), "Cluster");
        own["metadata"]["annotations"]["kube-vip.io/forcePerServiceElection"] = json!("true");
        create(cluster, &own);
        create(cluster, &service("plain", "web", &second().to_string(), "Cluster"));
        at_the_holder(cluster, first(), (NAMESPACE, "kubevip-own"));
        at_the_holder(cluster, second(), GLOBAL);
    })
}

pub(crate) fn services_that_share_a_named_lease_are_together() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        for (name, address) in [("one", first()), ("two", second())] {
            let mut service = service(name, "web", &address.to_string(), "Cluster");
            service["metadata"]["annotations"]["kube-vip.io/leaseName"] = json!("together");
            create(cluster, &service);
        }
        at_the_holder(cluster, first(), (NAMESPACE, "together"));
        at_the_holder(cluster, second(), (NAMESPACE, "together"));
        remove(cluster, "one");
        withdrawn(cluster, first());
        served(cluster, second());
    })
}

pub(crate) fn both_families_of_a_service() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        let addresses = [first(), IpAddr::V6(v6(SERVICES[0]))];
        let mut web = service("web", "web", &format!("{},{}", addresses[0], addresses[1]), "Cluster");
        web["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
        web["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
        create(cluster, &web);
        for address in addresses {
            at_the_holder(cluster, address, (NAMESPACE, "kubevip-web"));
            served(cluster, address);
        }
        eventually(cluster, PATIENCE, "a status with both", || {
            read(cluster, "web")["status"]["loadBalancer"]["ingress"].as_array().is_some_and(|list| list.len() == 2)
        });
    })
}

pub(crate) fn local_traffic_follows_its_pod() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        create(cluster, &service("moving", "moving", &first().to_string(), "Local"));
        let from = Instant::now();
        for (place, name) in [(0, "kappa"), (2, "lambda"), (1, "mu")] {
            pod(cluster, place, name, "moving");
            eventually(cluster, PATIENCE, "the address is where the pod is", || places(cluster, first()) == [place]);
            served(cluster, first());
            cluster.remove_pod(place, name).expect("a removal");
        }
        withdrawn(cluster, first());
        never_two(cluster, first(), from);
    })
}

pub(crate) fn a_service_without_address_delays_nobody() -> Result<(), Skipped> {
    services(ONE_ELECTION, |cluster| {
        let mut without = service("without", "web", "", "Cluster");
        without["metadata"]["annotations"] = json!({});
        create(cluster, &without);
        let from = Instant::now();
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        eventually(cluster, Duration::from_secs(5), "the next Service is announced", || {
            answering(cluster, first()).is_some()
        });
        println!("announced {:?} after it was made", from.elapsed());
        change(cluster, "without", &json!({"spec": {"loadBalancerIP": second().to_string()}}));
        served(cluster, second());
    })
}

pub(crate) fn changes_take_effect() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        served(cluster, first());
        change(cluster, "web", &json!({"metadata": {"annotations": {ADDRESSES: second().to_string()}}}));
        served(cluster, second());
        withdrawn(cluster, first());
        change(cluster, "web", &json!({"spec": {"externalTrafficPolicy": "Local"}}));
        eventually(cluster, PATIENCE, "announced where a pod is", || {
            places(cluster, second()).iter().all(|place| *place < 2)
        });
        served(cluster, second());
        change(cluster, "web", &json!({"metadata": {"annotations": {"kube-vip.io/ignore": "true"}}}));
        withdrawn(cluster, second());
        change(cluster, "web", &json!({"metadata": {"annotations": {"kube-vip.io/ignore": null}}}));
        served(cluster, second());
        change(cluster, "web", &json!({"spec": {"type": "ClusterIP", "externalTrafficPolicy": null}}));
        withdrawn(cluster, second());
    })
}

pub(crate) fn a_lost_or_cleared_lease_is_found_again() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        let from = Instant::now();
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        at_the_holder(cluster, first(), (NAMESPACE, "kubevip-web"));
        // A node that has not looked at the Lease when it is deleted cannot know that it was there.
        std::thread::sleep(Duration::from_secs(1));
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/kubevip-web");
        cluster.api().delete(&path).expect("a removal");
        at_the_holder(cluster, first(), (NAMESPACE, "kubevip-web"));
        cluster.api().patch(&path, &json!({"spec": {"holderIdentity": ""}})).expect("a change");
        at_the_holder(cluster, first(), (NAMESPACE, "kubevip-web"));
        served(cluster, first());
        never_two(cluster, first(), from);
    })
}

pub(crate) fn a_deleted_endpoint_slice_is_no_end() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        served(cluster, first());
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
        let found = cluster.api().get(&slices).expect("an answer").expect("a list");
        let of_web = |slice: &&Value| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "web";
        for slice in found["items"].as_array().into_iter().flatten().filter(of_web) {
            cluster.api().delete(&format!("{slices}/{}", text(&slice["metadata"]["name"]))).expect("a removal");
        }
        // The controller makes another.
        std::thread::sleep(Duration::from_secs(1));
        served(cluster, first());
        at_the_holder(cluster, first(), (NAMESPACE, "kubevip-web"));
    })
}

pub(crate) fn a_storm_of_changes_ends_where_it_should() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        let from = Instant::now();
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        served(cluster, first());
        for round in 0..15 {
            cluster.set_ready(0, "alpha", round % 2 == 0).expect("a status");
            cluster.set_ready(1, "beta", round % 3 == 0).expect("a status");
            let policy = if round % 4 == 0 { "Local" } else { "Cluster" };
            change(cluster, "web", &json!({"spec": {"externalTrafficPolicy": policy}}));
        }
        cluster.set_ready(0, "alpha", true).expect("a status");
        cluster.set_ready(1, "beta", true).expect("a status");
        change(cluster, "web", &json!({"spec": {"externalTrafficPolicy": "Cluster"}}));
        served(cluster, first());
        at_the_holder(cluster, first(), (NAMESPACE, "kubevip-web"));
        never_two(cluster, first(), from);
    })
}

fn nothing_is_left(arguments: &str, control_plane: bool) -> Result<(), Skipped> {
    with(|cluster| {
        let vip = IpAddr::V4(v4(crate::world::VIP));
        let address = if control_plane { format!("--controlplane --address {vip}") } else { String::new() };
        deploy(cluster, &in_cluster(&format!("--arp --leaderElection {address} {arguments}")));
        let mut there = if control_plane { vec![vip] } else { Vec::new() };
        if arguments.contains("--services") {
            pod(cluster, 0, "alpha", "web");
            create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
            there.push(first());
        }
        for address in &there {
            holder(cluster, *address);
        }
        for place in 0..cluster.size() {
            let took = cluster.terminate(place, PATIENCE).unwrap_or(PATIENCE);
            assert!(took < Duration::from_secs(2), "SIGTERM took {took:?}\n{}", cluster.words());
        }
        for address in &there {
            assert_eq!(places(cluster, *address), [0; 0], "{address} is still there\n{}", cluster.words());
        }
        remove_pods(cluster, &[(0, "alpha")]);
    })
}

pub(crate) fn nothing_is_left_of_the_control_plane() -> Result<(), Skipped> {
    nothing_is_left("", true)
}

pub(crate) fn nothing_is_left_of_services() -> Result<(), Skipped> {
    nothing_is_left("--services", false)
}

pub(crate) fn nothing_is_left_of_services_with_a_lease_each() -> Result<(), Skipped> {
    nothing_is_left("--services --servicesElection", false)
}

pub(crate) fn nothing_is_left_of_both() -> Result<(), Skipped> {
    nothing_is_left("--services", true)
}

pub(crate) fn nothing_is_left_of_both_with_a_lease_each() -> Result<(), Skipped> {
    nothing_is_left("--services --servicesElection", true)
}

/// kube-vip never removes the address of a Service that a killed daemon left.
pub(crate) fn what_a_crash_left_is_removed_at_the_next_start() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        let place = holder(cluster, first());
        cluster.kill(place);
        remove(cluster, "web");
        cluster.start_daemon(place).expect("a daemon");
        withdrawn(cluster, first());
    })
}

/// A killed holder comes back without the API, so that it does not know what it kept, and is stopped before its addresses
/// have ended: they would answer as soon as nothing guards them.
pub(crate) fn a_stop_before_anything_was_read_leaves_nothing() -> Result<(), Skipped> {
    services(ONE_ELECTION, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        let place = holder(cluster, first());
        let from = Instant::now();
        cluster.kill(place);
        cut_from_api(cluster, place);
        cluster.start_daemon(place).expect("a daemon");
        std::thread::sleep(Duration::from_millis(1500));
        assert!(has(cluster, place, first()), "it stays for longer than this\n{}", cluster.words());
        assert!(cluster.terminate(place, PATIENCE).is_some(), "{}", cluster.words());
        assert!(!has(cluster, place, first()), "the address is still there\n{}", cluster.words());
        join_to_api(cluster, place);
        eventually(cluster, PATIENCE, "another node answers", || {
            answering(cluster, first()).is_some_and(|other| other != place)
        });
        never_two(cluster, first(), from);
        cluster.start_daemon(place).expect("a daemon");
    })
}

/// A node that does not hold loses the API for a while, and nothing happens.
pub(crate) fn a_follower_without_api_changes_nothing() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        let place = holder(cluster, first());
        let follower = (place + 1) % 3;
        let from = Instant::now();
        cut_from_api(cluster, follower);
        // Two leases.
        std::thread::sleep(2 * LEASE);
        join_to_api(cluster, follower);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(answering(cluster, first()), Some(place), "{}", cluster.words());
        assert_eq!(cluster.observer().changes(first(), from, Instant::now()), 0);
        never_two(cluster, first(), from);
    })
}

/// The figures by which kube-vip is watched, with values that are right.
pub(crate) fn metrics_say_who_leads() -> Result<(), Skipped> {
    need(&["curl"])?;
    services(EACH, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        let place = holder(cluster, first());
        served(cluster, first());
        for other in 0..cluster.size() {
            let page = || shell(cluster.host(other), "curl -s --max-time 2 http://127.0.0.1:2112/metrics");
            let leads = |line: &str| {
                line.starts_with("kube_vip_is_leader{") && line.contains("kubevip-web") && line.ends_with(" 1")
            };
            eventually(cluster, PATIENCE, "kube_vip_is_leader is right", || {
                page().lines().any(leads) == (other == place)
            });
            let page = page();
            assert!(page.contains("kube_vip_build_info{"), "{page}");
            let active = "kube_vip_active_services{namespace=\"default\"} 1";
            assert_eq!(page.contains(active), other == place, "{page}");
        }
    })
}

/// `baton explain` says why a Service is announced here, there, or nowhere.
pub(crate) fn it_is_explained() -> Result<(), Skipped> {
    services(EACH, |cluster| {
        create(cluster, &service("web", "web", &first().to_string(), "Local"));
        let place = holder(cluster, first());
        served(cluster, first());
        let explain = |on: usize| {
            let mut command = baton_cluster::daemon::inside(cluster.host(on)).expect("a container");
            command.arg(program()).args(["explain", "svc", "default/web"]);
            let output = cluster.host(on).run(move |_| command.output()).expect("it runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let (here, nowhere) = (explain(place), explain(2));
        assert!(here.contains(&first().to_string()), "{here}");
        assert!(here.contains("kubevip-web"), "{here}");
        assert_ne!(here, nowhere);
        println!("{here}---\n{nowhere}");
    })
}
