//! Beside another program that campaigns for the same Lease: client-go's own elector, as kube-vip uses it. While a node's image
//! is exchanged both are there, and never both may answer.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use baton_cluster::Cluster;
use baton_cluster::certificates::{MASTERS, User};
use baton_cluster::components::{log, start};
use baton_lab::harness::{Skipped, need};
use baton_lab::host::gone;
use baton_lab::lab::v4;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{
    LEASE, PATIENCE, VIP, answering, cut_from_api, eventually, holder, join_to_api, manager, never_two, places, with,
};

/// The elector on a node: it has the address while it thinks that it leads, and asks the node's own API server.
fn elector(cluster: &Cluster, place: usize) -> Pid {
    let (name, vip) = (cluster.name(place), v4(VIP));
    let user = User { name: &format!("elector-{name}"), group: Some(MASTERS) };
    let conf =
        cluster.authority().kubeconfig(&format!("elector-{name}"), user, "https://127.0.0.1:6443").expect("a file");
    let mut command = Command::new(cluster.programs().elector());
    command.arg("--kubeconfig").arg(conf).args(["--identity", &name, "--again"]);
    command.args(["--duration", "5s", "--renew", "3s", "--retry", "1s"]);
    command.arg("--up").arg(format!("ip addr replace {vip}/32 dev eth0; arping -q -c 2 -U -I eth0 {vip}"));
    command.arg("--down").arg(format!("ip addr del {vip}/32 dev eth0"));
    start(cluster.host(place), "elector", command).expect("the elector")
}

fn end(cluster: &Cluster, elector: Pid) {
    let _ = kill(elector, Signal::SIGTERM);
    eventually(cluster, PATIENCE, "the elector ends", || gone(elector));
}

fn control_plane() -> baton_cluster::daemon::Daemon {
    manager(&format!("--controlplane --arp --leaderElection --address {}", v4(VIP)))
}

/// The address with an elector on every node, then node by node Baton in its place, then back.
pub(crate) fn node_by_node_and_back() -> Result<(), Skipped> {
    need(&["arping"])?;
    with(|cluster| {
        let vip = IpAddr::V4(v4(VIP));
        let mut electors: Vec<Pid> = (0..3).map(|place| elector(cluster, place)).collect();
        holder(cluster, vip);
        let from = Instant::now();
        for (place, old) in electors.iter().enumerate() {
            end(cluster, *old);
            cluster.deploy(place, control_plane()).expect("a daemon");
            std::thread::sleep(Duration::from_secs(1));
            holder(cluster, vip);
        }
        for (place, new) in electors.iter_mut().enumerate() {
            cluster.undeploy(place);
            *new = elector(cluster, place);
            std::thread::sleep(Duration::from_secs(1));
            holder(cluster, vip);
        }
        never_two(cluster, vip, from);
        electors.into_iter().for_each(|elector| end(cluster, elector));
    })
}

/// An elector that was cut off erases its successor's record when it comes back: its way of releasing.
pub(crate) fn a_late_release_by_another_program_makes_no_two() -> Result<(), Skipped> {
    need(&["arping"])?;
    with(|cluster| {
        let vip = IpAddr::V4(v4(VIP));
        let elector = elector(cluster, 0);
        assert_eq!(holder(cluster, vip), 0);
        for place in 1..3 {
            cluster.deploy(place, control_plane()).expect("a daemon");
        }
        std::thread::sleep(Duration::from_secs(3));
        // The elector gives up 3 s after its last renewal, and then tries for 3 s more to release.
        cut_from_api(cluster, 0);
        eventually(cluster, LEASE + PATIENCE, "a Baton answers, too", || {
            let (seen, now) = (cluster.observer(), Instant::now());
            let samples = seen.samples(vip, now.checked_sub(Duration::from_millis(50)).unwrap_or(now), now);
            samples.iter().any(|sample| sample.has(2) || sample.has(3))
        });
        // The elector itself keeps its address until its release is over: no protocol can prevent that. From its end on there is one.
        join_to_api(cluster, 0);
        eventually(cluster, PATIENCE, "the elector gives the address up", || {
            let stopped =
                std::fs::read_to_string(log(cluster.host(0), "elector")).unwrap_or_default().contains("stopped");
            // It says so, and then removes the address.
            stopped && !places(cluster, vip).contains(&0)
        });
        let from = Instant::now() + Duration::from_millis(50);
        std::thread::sleep(LEASE);
        assert!(answering(cluster, vip).is_some(), "{}", cluster.words());
        never_two(cluster, vip, from);
        end(cluster, elector);
    })
}
