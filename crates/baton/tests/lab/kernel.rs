//! The gates among other things that a host does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_lab::client::{Client, INTERVAL};
use baton_lab::cluster::{Cluster, PORT, Plan};
use baton_lab::fault::Fault;
use baton_lab::harness::{Skipped, need, promised};
use baton_lab::host::Host;
use baton_lab::lab::mac;
use baton_lab::trial::{self, Limits};

use crate::world::{PATIENCE, baton, cluster, dice, has, host, shell, tables, words};

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn mac_text(number: u8) -> String {
    mac(number).map(|byte| format!("{byte:02x}")).join(":")
}

/// kube-proxy translates a Service's address before any socket or input hook sees it, on every node.
pub(crate) fn a_stopped_holder_is_silent_even_with_dnat_rules() -> Result<(), Skipped> {
    need(&["nft", "ip"])?;
    let mut cluster = cluster(Plan::new(baton("")));
    let old = cluster.holder().expect("somebody holds");
    let number = cluster.nodes()[old].number;
    let rules = format!(
        "echo 1 > /proc/sys/net/ipv4/ip_forward; nft add table ip proxy; \
         nft 'add chain ip proxy pre {{ type nat hook prerouting priority dstnat; }}'; \
         nft 'add chain ip proxy post {{ type nat hook postrouting priority srcnat; }}'; \
         nft add rule ip proxy pre ip daddr {} tcp dport {PORT} dnat to 10.77.0.20:{PORT}; \
         nft add rule ip proxy post masquerade",
        cluster.vip()
    );
    shell(host(&cluster, old), &rules);
    // One who will never hear of a new holder.
    let stranger = Host::new("stranger").expect("a host");
    cluster.switch().connect(&stranger, "eth0", 40).expect("a cable");
    shell(&stranger, &format!("ip neigh replace {} lladdr {} dev eth0 nud permanent", cluster.vip(), mac_text(number)));
    let client = Client::start(&stranger, SocketAddr::from((cluster.vip(), PORT)), INTERVAL).expect("a client");
    assert!(client.wait_for_answers(20, PATIENCE), "the rules work while it holds\n{}", words(&cluster));

    let from = Instant::now();
    Fault::Stop.strike(&mut cluster, old).expect("a signal");
    pause(1500);
    let late = client.seen(from + Duration::from_millis(700), Instant::now());
    assert_eq!(late.answered, 0, "an expired holder served on: {late:?}");
    assert_ne!(cluster.holder(), Some(old));
    assert!(cluster.client().wait_for_answers(20, PATIENCE), "the others go on\n{}", words(&cluster));
    Fault::Stop.repair(&mut cluster, old).expect("a signal");
    pause(500);
    let report = cluster.report(from, Instant::now());
    promised(report.answering.most <= 1, || format!("{report:?}"));
    Ok(())
}

/// A gate in prerouting without its interface would cut them off.
pub(crate) fn pods_behind_a_standby_reach_the_address() -> Result<(), Skipped> {
    need(&["ip"])?;
    let cluster = cluster(Plan::new(baton("")));
    let holder = cluster.holder().expect("somebody holds");
    let standby = (holder + 1) % cluster.nodes().len();
    let pod = pod_on(&cluster, standby);
    for place in (0..cluster.nodes().len()).filter(|place| *place != standby) {
        let number = cluster.nodes()[standby].number;
        shell(host(&cluster, place), &format!("ip route add 10.88.0.0/24 via 10.77.0.{number}"));
    }
    let client = Client::start(&pod, SocketAddr::from((cluster.vip(), PORT)), INTERVAL).expect("a client");
    assert!(
        client.wait_for_answers(50, PATIENCE),
        "{:?}\n{}",
        client.attempts(Instant::now(), Instant::now()),
        words(&cluster)
    );
    Ok(())
}

/// A namespace that has nothing but a cable to its node, which forwards.
fn pod_on(cluster: &Cluster, place: usize) -> Host {
    let pod = Host::new("pod").expect("a host");
    let node = host(cluster, place);
    let namespace = pod.namespace().try_clone_to_owned().expect("a descriptor");
    let cable = move |links: &mut baton_lab::link::Links| {
        links.add_veth("pod0", "eth0", None, std::os::fd::AsFd::as_fd(&namespace))
    };
    node.run(cable).expect("a cable");
    shell(node, "ip addr add 10.88.0.1/24 dev pod0; ip link set pod0 up; echo 1 > /proc/sys/net/ipv4/ip_forward");
    shell(&pod, "ip addr add 10.88.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.88.0.1");
    pod
}

/// A host answers ARP for all of its addresses on all of its interfaces, unless something prevents it.
pub(crate) fn a_second_interface_does_not_answer() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::dual_stack(baton("")));
    for place in 0..cluster.nodes().len() {
        let number = cluster.nodes()[place].number;
        let port = cluster.switch().connect(host(&cluster, place), "eth1", number + 50).expect("a cable");
        cluster.observer().watch(cluster.switch(), &port, number + 10).expect("a socket");
    }
    let from = Instant::now();
    pause(500);
    let trial = trial::run(&mut cluster, Fault::Terminate, None, Limits::DEFAULT, &mut dice()).expect("a trial");
    let report = cluster.report(from, Instant::now());
    promised(report.answering.most <= 1, || format!("{report:?}\n{}", words(&cluster)));
    assert!(trial.recovered, "{report:?}\n{}", words(&cluster));
    for vip in cluster.vips() {
        let samples = cluster.observer().samples(*vip, from, Instant::now());
        assert!(samples.iter().any(|sample| !sample.answers.is_empty()), "nobody answers for {vip}");
        assert!(
            samples.iter().all(|sample| sample.answers.iter().all(|answer| answer.port < 10)),
            "{vip} was answered on a second interface"
        );
    }
    Ok(())
}

/// Somebody restarts his firewall: whatever that takes away of ours is back before the hold could end unguarded.
pub(crate) fn a_flushed_ruleset_heals() -> Result<(), Skipped> {
    need(&["nft"])?;
    let mut cluster = cluster(Plan::new(baton("")));
    let from = Instant::now();
    for place in 0..cluster.nodes().len() {
        let gates = |cluster: &Cluster| {
            let all = tables(host(cluster, place));
            // The markers are in the state directory as well.
            all.into_iter().filter(|table| table != "inet baton-marks").collect::<Vec<_>>()
        };
        let before = gates(&cluster);
        assert!(before.iter().any(|table| table.starts_with("netdev baton")), "{before:?}");
        shell(host(&cluster, place), "nft flush ruleset");
        pause(1000);
        let after = gates(&cluster);
        assert_eq!(before, after, "{}", words(&cluster));
    }
    assert!(cluster.client().wait_for_answers(20, PATIENCE));
    // The gates still end what a stopped holder holds.
    let holder = cluster.holder().expect("somebody holds");
    Fault::Stop.strike(&mut cluster, holder).expect("a signal");
    pause(1200);
    assert_ne!(cluster.holder(), Some(holder));
    Fault::Stop.repair(&mut cluster, holder).expect("a signal");
    pause(300);
    let report = cluster.report(from, Instant::now());
    promised(report.answering.most <= 1, || format!("{report:?}\n{}", words(&cluster)));
    Ok(())
}

pub(crate) fn a_deleted_address_heals() -> Result<(), Skipped> {
    need(&["ip"])?;
    let cluster = cluster(Plan::new(baton("")));
    let holder = cluster.holder().expect("somebody holds");
    let from = Instant::now();
    shell(host(&cluster, holder), &format!("ip addr del {}/32 dev eth0", cluster.vip()));
    pause(300);
    assert!(has(&cluster, holder), "{}", words(&cluster));
    let report = cluster.report(from, Instant::now());
    promised(report.answering.most <= 1, || format!("{report:?}"));
    assert!(report.client.outage < Duration::from_millis(250), "{report:?}");
    assert_eq!(cluster.holder(), Some(holder));
    Ok(())
}
