//! Options that change what an address does: the balancer behind it, the ports that it has, the name that it goes by, and what stays
//! of it when its Lease is lost.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use baton_cluster::Cluster;
use baton_cluster::cluster::NODE_PORT;
use baton_cluster::probe::Probe;
use baton_lab::harness::{Skipped, need};
use baton_lab::lab::v4;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::services::{first, served, service, services};
use crate::world::{
    LEASE, NOISE, PATIENCE, SERVICES, VIP, answering, cut_from_api, deploy, eventually, has, holder, join_to_api,
    manager, never_two, places, with,
};

/// Where the balancer listens: at a port of its own, and at the API server's own, which takes the kernel's help.
fn balanced(port: u16) -> Result<(), Skipped> {
    with(|cluster| {
        let vip = IpAddr::V4(v4(VIP));
        let daemon = manager(&format!(
            "--controlplane --arp --leaderElection --address {vip} --enableLoadBalancer --lbPort {port} \
             --controlPlaneHealthCheckFailureThreshold 0"
        ));
        deploy(cluster, &daemon.with("backend_health_check_interval", "1"));
        let place = holder(cluster, vip);
        let probe = Probe::start(cluster.client(), cluster.admin(), SocketAddr::new(vip, port)).expect("a probe");
        assert!(probe.wait_for_answers(10, PATIENCE), "no HTTPS through the balancer\n{}", cluster.words());
        // The address stays, and requests go on to the others' API servers.
        let from = Instant::now();
        cluster.signal_api_server(place, Signal::SIGKILL);
        std::thread::sleep(Duration::from_secs(1));
        assert!(probe.wait_for_answers(20, PATIENCE), "no HTTPS through the balancer\n{}", cluster.words());
        let gap = probe.outage(from, Instant::now());
        println!("balancer at {port}: the holder's API server killed, no HTTPS for {gap:?}");
        assert!(gap < Duration::from_secs(2) + NOISE, "no HTTPS for {gap:?}\n{}", cluster.words());
        assert_eq!(answering(cluster, vip), Some(place), "{}", cluster.words());
        never_two(cluster, vip, from);
        cluster.start_api_servers().expect("an API server");
        assert!(cluster.node_api(place).expect("it is there").wait_until_ready(PATIENCE * 2));
    })
}

pub(crate) fn a_balancer_leads_to_the_api_servers_that_answer() -> Result<(), Skipped> {
    balanced(8443)
}

pub(crate) fn a_balancer_at_the_api_servers_own_port() -> Result<(), Skipped> {
    balanced(6443)
}

/// Whether a client can connect to what every node serves on all its addresses.
fn lets_in(cluster: &Cluster, address: IpAddr) -> bool {
    let target = SocketAddr::new(address, NODE_PORT);
    let patience = Duration::from_millis(500);
    cluster.client().run(move |_| TcpStream::connect_timeout(&target, patience)).is_ok()
}

pub(crate) fn only_a_services_own_ports_are_let_in() -> Result<(), Skipped> {
    services("--onlyAllowTrafficServicePorts", |cluster| {
        crate::services::create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
        served(cluster, first());
        eventually(cluster, PATIENCE, "no other port is let in", || !lets_in(cluster, first()));
        served(cluster, first());
        let ignore = json!({"metadata": {"annotations": {"kube-vip.io/ignore-service-security": "true"}}});
        crate::services::change(cluster, "web", &ignore);
        eventually(cluster, PATIENCE, "every port is let in", || lets_in(cluster, first()));
    })
}

/// Tells every node where a name leads.
fn name(cluster: &Cluster, name: &str, address: IpAddr) {
    for place in 0..cluster.size() {
        let file = cluster.host(place).directory().join("hosts");
        std::fs::write(file, format!("{address} {name}\n")).expect("a file");
    }
}

pub(crate) fn the_address_of_a_name_is_followed() -> Result<(), Skipped> {
    with(|cluster| {
        let (old, new) = (IpAddr::V4(v4(VIP)), IpAddr::V4(v4(SERVICES[0])));
        name(cluster, "api.example", old);
        deploy(cluster, &manager("--controlplane --arp --leaderElection --address api.example"));
        let place = holder(cluster, old);
        let from = Instant::now();
        name(cluster, "api.example", new);
        eventually(cluster, PATIENCE, "the new address is answered for, and the old one gone", || {
            answering(cluster, new) == Some(place) && places(cluster, old).is_empty()
        });
        never_two(cluster, old, from);
        never_two(cluster, new, from);
        for place in 0..cluster.size() {
            std::fs::remove_file(cluster.host(place).directory().join("hosts")).expect("it was there");
        }
    })
}

/// The address stays on the interface of a node that lost the Lease, but is not answered for; a new leader ends that, too.
pub(crate) fn a_preserved_address_is_silent() -> Result<(), Skipped> {
    need(&["nft"])?;
    with(|cluster| {
        let vip = IpAddr::V4(v4(VIP));
        let arguments = format!("--controlplane --arp --leaderElection --preserveVipOnLeadershipLoss --address {vip}");
        deploy(cluster, &manager(&arguments));
        let place = holder(cluster, vip);
        let from = Instant::now();
        cut_from_api(cluster, place);
        eventually(cluster, LEASE + PATIENCE, "another node answers", || {
            answering(cluster, vip).is_some_and(|other| other != place)
        });
        assert!(has(cluster, place, vip), "it is not preserved\n{}", cluster.words());
        join_to_api(cluster, place);
        eventually(cluster, PATIENCE, "the address is where it is answered for", || {
            places(cluster, vip).len() == 1 && !has(cluster, place, vip)
        });
        never_two(cluster, vip, from);
    })
}
