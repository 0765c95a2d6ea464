//! The cloud provider: Services get addresses from the ConfigMap, and the manager announces them.

use std::process::Command;

use baton_cluster::Cluster;
use baton_cluster::daemon::{Access, Daemon};
use baton_lab::harness::Skipped;
use serde_json::{Value, json};

use crate::access::in_cluster;
use crate::services::{NAMESPACE, PORT, create, pod, served};
use crate::world::{PATIENCE, eventually, program, text, with};

const ADDRESSES: &str = "/metadata/annotations/kube-vip.io~1loadbalancerIPs";

fn wish(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": PORT, "protocol": "TCP"}]},
    })
}

fn address(cluster: &Cluster, name: &str) -> String {
    let service = cluster.api().get(&format!("/api/v1/namespaces/{NAMESPACE}/services/{name}")).ok().flatten();
    service.and_then(|service| Some(text(service.pointer(ADDRESSES)?))).unwrap_or_default()
}

/// The provider as its Deployment runs it, on the last node, and managers on the others.
pub(crate) fn services_get_addresses_from_the_pool() -> Result<(), Skipped> {
    with(|cluster| {
        let output = Command::new(program()).args(["cloud-provider", "manifest"]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let applied = cluster.apply(&String::from_utf8_lossy(&output.stdout));
        assert!(applied.is_ok(), "{applied:?}");
        let pool = [
            "create",
            "configmap",
            "-n",
            "kube-system",
            "kubevip",
            "--from-literal",
            "range-global=10.77.0.101-10.77.0.102",
        ];
        cluster.kubectl(&pool).expect("a pool");
        let access = Access::ServiceAccount {
            namespace: "kube-system".to_owned(),
            name: "kube-vip-cloud-controller".to_owned(),
        };
        cluster.deploy(2, Daemon::new(program(), "cloud-provider", access)).expect("a provider");
        for place in 0..2 {
            cluster.deploy(place, in_cluster("--services --arp --leaderElection")).expect("a daemon");
        }
        pod(cluster, 0, "alpha", "web");
        for name in ["one", "two", "three"] {
            create(cluster, &wish(name));
        }
        let given = |cluster: &Cluster| {
            let mut given: Vec<String> = ["one", "two", "three"].map(|name| address(cluster, name)).to_vec();
            given.retain(|address| !address.is_empty());
            given.sort();
            given
        };
        eventually(cluster, PATIENCE, "two of three have an address", || {
            given(cluster) == ["10.77.0.101", "10.77.0.102"]
        });
        served(cluster, "10.77.0.101".parse().expect("an address"));
        // Who has one gives it back; the third gets it.
        let lucky =
            ["one", "two", "three"].into_iter().find(|name| !address(cluster, name).is_empty()).expect("somebody");
        cluster.kubectl(&["delete", "service", lucky]).expect("gone");
        eventually(cluster, PATIENCE, "the address is given to the third", || given(cluster).len() == 2);
        // A restart changes nothing.
        let before = given(cluster);
        cluster.kill(2);
        cluster.start_daemon(2).expect("a provider");
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert_eq!(given(cluster), before);
        cluster.kubectl(&["delete", "configmap", "-n", "kube-system", "kubevip"]).expect("gone");
        cluster.remove_pod(0, "alpha").expect("a removal");
    })
}
