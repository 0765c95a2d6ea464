//! The control plane's address: who has it, and what becomes of it when things break.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use baton_cluster::Cluster;
use baton_cluster::probe::Probe;
use baton_lab::client::Client;
use baton_lab::harness::Skipped;
use baton_lab::lab::{Part, v4, v6};
use nix::sys::signal::Signal;

use crate::world::{
    LEASE, NOISE, PATIENCE, VIP, answering, cut_from_api, deploy, eventually, has, holder, join_to_api, lease,
    lease_holder, manager, never_two, node_client, places, shell, with,
};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "plndr-cp-lock";

/// Three daemons that keep one IPv4 address, and a client that uses it.
fn started(cluster: &mut Cluster, more: &str) -> (IpAddr, Client, usize) {
    let vip = IpAddr::V4(v4(VIP));
    deploy(cluster, &manager(&format!("--controlplane --arp --leaderElection --address {vip} {more}")));
    let client = node_client(cluster, vip);
    let place = holder(cluster, vip);
    assert!(client.wait_for_answers(20, PATIENCE), "no answers\n{}", cluster.words());
    (vip, client, place)
}

/// Waits until another node than `old` answers, and the client is served.
#[track_caller]
fn moved(cluster: &Cluster, vip: IpAddr, client: &Client, old: usize, patience: Duration) -> usize {
    eventually(cluster, patience, "another node answers", || answering(cluster, vip).is_some_and(|place| place != old));
    assert!(client.wait_for_answers(20, PATIENCE), "no answers\n{}", cluster.words());
    answering(cluster, vip).expect("somebody answers")
}

/// What the client missed since `from`, once every attempt is over.
fn outage(client: &Client, from: Instant) -> Duration {
    std::thread::sleep(baton_lab::client::TIMEOUT + Duration::from_millis(50));
    client.seen(from, Instant::now() - baton_lab::client::TIMEOUT).outage
}

pub(crate) fn the_address_is_where_the_lease_says() -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, _client, place) = started(cluster, "");
        let record = lease(cluster, NAMESPACE, NAME).expect("a Lease");
        assert_eq!(record["holderIdentity"], cluster.name(place).as_str());
        assert_eq!(record["leaseDurationSeconds"], 5);
        for time in ["acquireTime", "renewTime"] {
            assert!(record[time].as_str().is_some_and(|time| time.len() == 27 && time.ends_with('Z')), "{record}");
        }
        let addresses = shell(cluster.host(place), "ip addr show dev eth0");
        assert!(addresses.contains(&format!("inet {vip}/32 scope global deprecated")), "{addresses}");
        assert_eq!(places(cluster, vip), [place]);
        let probe = Probe::start(cluster.client(), cluster.admin(), SocketAddr::new(vip, 6443)).expect("a probe");
        assert!(probe.wait_for_answers(10, PATIENCE), "no HTTPS through the address");
    })
}

pub(crate) fn both_families_are_kept() -> Result<(), Skipped> {
    with(|cluster| {
        for order in [[IpAddr::V4(v4(VIP)), v6(VIP).into()], [IpAddr::V6(v6(VIP)), v4(VIP).into()]] {
            let list = format!("{},{}", order[0], order[1]);
            deploy(cluster, &manager(&format!("--controlplane --arp --leaderElection --address {list}")));
            let from = Instant::now();
            let place = holder(cluster, order[0]);
            assert_eq!(holder(cluster, order[1]), place);
            cluster.power_off(place).expect("a switch");
            for vip in order {
                eventually(cluster, PATIENCE, "another node answers", || {
                    answering(cluster, vip).is_some_and(|other| other != place)
                });
                never_two(cluster, vip, from);
            }
            cluster.power_on(place).expect("power");
            (0..cluster.size()).for_each(|place| cluster.undeploy(place));
        }
    })
}

pub(crate) fn sigterm_hands_over_at_once_and_leaves_nothing() -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, client, place) = started(cluster, "");
        let from = Instant::now();
        cluster.signal(place, Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(50));
        // A second one changes nothing.
        let took = cluster.terminate(place, PATIENCE).expect("it ends");
        assert!(took < Duration::from_secs(1) + NOISE, "it took {took:?}");
        assert!(!has(cluster, place, vip), "the address is still there");
        let next = moved(cluster, vip, &client, place, PATIENCE);
        assert_eq!(lease_holder(cluster, NAMESPACE, NAME), cluster.name(next));
        let gap = outage(&client, from);
        println!("SIGTERM: stopped in {took:?}, the client missed {gap:?}");
        assert!(gap < Duration::from_millis(200) + NOISE, "the client missed {gap:?}");
        never_two(cluster, vip, from);
        let tables = shell(cluster.host(place), "nft list tables");
        assert!(!tables.contains("netdev baton"), "{tables}");
    })
}

pub(crate) fn a_restart_within_the_lease_is_not_felt() -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, client, place) = started(cluster, "");
        let from = Instant::now();
        cluster.kill(place);
        cluster.start_daemon(place).expect("a daemon");
        std::thread::sleep(LEASE + NOISE);
        assert_eq!(answering(cluster, vip), Some(place), "{}", cluster.words());
        let gap = outage(&client, from);
        println!("kill -9 and restart: the client missed {gap:?}");
        assert!(gap < NOISE, "the client missed {gap:?}\n{}", cluster.words());
        never_two(cluster, vip, from);
    })
}

/// What costs a lease at most: nothing says goodbye.
fn silent(
    name: &str,
    strike: impl FnOnce(&mut Cluster, usize),
    repair: impl FnOnce(&mut Cluster, usize),
) -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, client, place) = started(cluster, "");
        let from = Instant::now();
        strike(cluster, place);
        let next = moved(cluster, vip, &client, place, LEASE + PATIENCE);
        let gap = outage(&client, from);
        println!("{name}: the client missed {gap:?}");
        assert!(gap < LEASE + Duration::from_millis(300) + NOISE, "the client missed {gap:?}\n{}", cluster.words());
        repair(cluster, place);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(answering(cluster, vip), Some(next), "{}", cluster.words());
        never_two(cluster, vip, from);
        assert_eq!(places(cluster, vip), [next], "{}", cluster.words());
    })
}

pub(crate) fn a_killed_daemon_is_silent() -> Result<(), Skipped> {
    silent("kill -9", |cluster, place| cluster.kill(place), |_, _| {})
}

pub(crate) fn a_stopped_daemon_is_silent() -> Result<(), Skipped> {
    let strike = |cluster: &mut Cluster, place| cluster.signal(place, Signal::SIGSTOP);
    silent("SIGSTOP", strike, |cluster, place| cluster.signal(place, Signal::SIGCONT))
}

pub(crate) fn a_power_failure_costs_a_lease() -> Result<(), Skipped> {
    let strike = |cluster: &mut Cluster, place| cluster.power_off(place).expect("a switch");
    silent("power off", strike, |cluster, place| cluster.power_on(place).expect("power"))
}

pub(crate) fn a_pulled_cable_costs_a_lease() -> Result<(), Skipped> {
    let strike = |cluster: &mut Cluster, place| cluster.set_cable(place, false).expect("a cable");
    silent("cable pulled", strike, |cluster, place| cluster.set_cable(place, true).expect("a cable"))
}

pub(crate) fn a_node_that_is_cut_off_costs_a_lease() -> Result<(), Skipped> {
    let strike = |cluster: &mut Cluster, place| cluster.set_part(place, Part::Island).expect("a port");
    silent("cut off", strike, |cluster, place| cluster.set_part(place, Part::Mainland).expect("a port"))
}

/// The daemon reaches no API server, its own host's neither, and the host is well otherwise.
pub(crate) fn a_daemon_without_an_api_server_gives_the_address_up() -> Result<(), Skipped> {
    let strike = |cluster: &mut Cluster, place| cut_from_api(cluster, place);
    silent("daemon cut from the API", strike, |cluster, place| join_to_api(cluster, place))
}

fn local_api_server(name: &str, signal: Signal) -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, _client, place) = started(cluster, "");
        let probe = Probe::start(cluster.client(), cluster.admin(), SocketAddr::new(vip, 6443)).expect("a probe");
        assert!(probe.wait_for_answers(10, PATIENCE), "no HTTPS through the address");
        let from = Instant::now();
        cluster.signal_api_server(place, signal);
        eventually(cluster, PATIENCE, "another node answers", || {
            answering(cluster, vip).is_some_and(|other| other != place)
        });
        assert!(probe.wait_for_answers(10, PATIENCE), "no HTTPS through the address");
        let gap = probe.outage(from, Instant::now());
        println!("{name}: no HTTPS for {gap:?}");
        assert!(gap < Duration::from_secs(5) + NOISE, "no HTTPS for {gap:?}\n{}", cluster.words());
        never_two(cluster, vip, from);
        cluster.signal_api_server(place, Signal::SIGCONT);
        cluster.start_api_servers().expect("an API server");
        assert!(cluster.node_api(place).expect("it is there").wait_until_ready(PATIENCE * 2));
    })
}

pub(crate) fn a_dead_local_api_server_moves_the_address() -> Result<(), Skipped> {
    local_api_server("local API server killed", Signal::SIGKILL)
}

pub(crate) fn a_hanging_local_api_server_moves_the_address() -> Result<(), Skipped> {
    local_api_server("local API server hangs", Signal::SIGSTOP)
}

pub(crate) fn an_outage_of_all_api_servers_is_survived() -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, client, _) = started(cluster, "");
        let processes: Vec<_> = (0..3).map(|place| cluster.daemon(place)).collect();
        let from = Instant::now();
        cluster.signal_api_servers(Signal::SIGKILL);
        std::thread::sleep(Duration::from_secs(1));
        assert!(answering(cluster, vip).is_some(), "dropped before the lease ended\n{}", cluster.words());
        std::thread::sleep(Duration::from_secs(11));
        assert_eq!(answering(cluster, vip), None, "held beyond the lease");
        cluster.start_api_servers().expect("API servers");
        eventually(cluster, PATIENCE * 3, "an API server is ready", || {
            (0..3).any(|place| {
                let ready = cluster.node_api(place).and_then(|mut api| api.ask("GET", "/readyz", None));
                matches!(ready, Ok((200, _)))
            })
        });
        let back = Instant::now();
        eventually(cluster, PATIENCE, "somebody answers again", || answering(cluster, vip).is_some());
        println!("all API servers stopped: announced {:?} after they were back", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(3) + NOISE, "it took {:?}\n{}", back.elapsed(), cluster.words());
        assert!(client.wait_for_answers(20, PATIENCE));
        never_two(cluster, vip, from);
        let after: Vec<_> = (0..3).map(|place| cluster.daemon(place)).collect();
        assert_eq!(processes, after, "a process ended");
        for place in 0..3 {
            assert!(cluster.node_api(place).expect("a node").wait_until_ready(PATIENCE * 2));
        }
    })
}

pub(crate) fn it_starts_before_the_api_server() -> Result<(), Skipped> {
    with(|cluster| {
        cluster.signal_api_servers(Signal::SIGKILL);
        let vip = IpAddr::V4(v4(VIP));
        deploy(cluster, &manager(&format!("--controlplane --arp --leaderElection --address {vip}")));
        std::thread::sleep(Duration::from_secs(3));
        assert!((0..3).all(|place| cluster.daemon(place).is_some()), "it gave up\n{}", cluster.words());
        cluster.start_api_servers().expect("API servers");
        eventually(cluster, PATIENCE * 3, "somebody answers", || answering(cluster, vip).is_some());
        for place in 0..3 {
            assert!(cluster.node_api(place).expect("a node").wait_until_ready(PATIENCE * 2));
        }
    })
}

/// As kube-vip's oldest manifests have it: no name of the node is given.
pub(crate) fn without_a_name_the_host_name_is_the_identity() -> Result<(), Skipped> {
    with(|cluster| {
        let vip = IpAddr::V4(v4(VIP));
        let daemon =
            manager(&format!("--controlplane --arp --leaderElection --address {vip}")).with("vip_nodename", "");
        deploy(cluster, &daemon);
        let place = holder(cluster, vip);
        assert_eq!(lease_holder(cluster, NAMESPACE, NAME), cluster.name(place), "{}", cluster.words());
    })
}

pub(crate) fn sigusr1_prints_the_configuration_again_and_again() -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, _client, place) = started(cluster, "");
        for times in 1..=3 {
            cluster.signal(place, Signal::SIGUSR1);
            eventually(cluster, PATIENCE, "a dump", || {
                let said = std::fs::read_to_string(baton_cluster::components::log(cluster.host(place), "daemon"));
                said.is_ok_and(|said| said.matches("KUBE-VIP CONFIGURATION DUMP").count() == times)
            });
        }
        assert_eq!(answering(cluster, vip), Some(place), "{}", cluster.words());
    })
}

/// kube-vip leaves its address on a node that is killed; an unmarked, deprecated /32.
pub(crate) fn what_kube_vip_left_is_removed() -> Result<(), Skipped> {
    with(|cluster| {
        let (vip, _client, place) = started(cluster, "");
        let standby = (place + 1) % 3;
        assert!(cluster.terminate(standby, PATIENCE).is_some());
        shell(cluster.host(standby), &format!("ip addr add {vip}/32 dev eth0 preferred_lft 0"));
        cluster.start_daemon(standby).expect("a daemon");
        eventually(cluster, PATIENCE, "the leftover is gone", || !has(cluster, standby, vip));
        let from = Instant::now();
        std::thread::sleep(Duration::from_secs(2));
        assert!(answering(cluster, vip).is_some(), "{}", cluster.words());
        never_two(cluster, vip, from);
    })
}
