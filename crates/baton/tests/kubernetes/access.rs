//! What a daemon may do is what its service account may do: nothing but its token, with kube-vip's published rights and with ours.

use std::net::IpAddr;
use std::process::Command;

use baton_cluster::Cluster;
use baton_cluster::daemon::{Access, Daemon};
use baton_lab::harness::Skipped;
use baton_lab::lab::v4;

use crate::services::{create, first, pod, served, service, withdrawn};
use crate::world::{PATIENCE, TIMING, VIP, eventually, holder, lease_holder, program, text, with};

/// The rights of kube-vip's published manifest: no patch on Services, no Events.
pub(crate) const PUBLISHED: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: kube-vip, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:kube-vip-role
  annotations: {rbac.authorization.kubernetes.io/autoupdate: 'true'}
rules:
- {apiGroups: [''], resources: [services/status], verbs: [update]}
- {apiGroups: [''], resources: [services, endpoints], verbs: [list, get, watch, update]}
- {apiGroups: [''], resources: [nodes], verbs: [list, get, watch, update, patch]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [list, get, watch, update, create]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, get, watch, update]}
- {apiGroups: [''], resources: [pods], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:kube-vip-binding}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:kube-vip-role}
subjects:
- {kind: ServiceAccount, name: kube-vip, namespace: kube-system}
";

/// The daemon as a pod of a DaemonSet.
pub(crate) fn in_cluster(arguments: &str) -> Daemon {
    let access = Access::ServiceAccount { namespace: "kube-system".to_owned(), name: "kube-vip".to_owned() };
    Daemon::new(program(), &format!("manager --interface eth0 {TIMING} {arguments}"), access)
}

/// Control plane and Services with the rights of `manifest`.
fn works_with(cluster: &mut Cluster, manifest: &str, more: &str) {
    cluster.apply(manifest).expect("the manifest is applied");
    let vip = IpAddr::V4(v4(VIP));
    let arguments = format!(
        "--inCluster --controlplane --services --arp --leaderElection --enableNodeLabeling --address {vip} {more}"
    );
    for place in 0..cluster.size() {
        cluster.deploy(place, in_cluster(&arguments)).expect("a daemon");
    }
    pod(cluster, 0, "alpha", "web");
    create(cluster, &service("web", "web", &first().to_string(), "Cluster"));
    let place = holder(cluster, vip);
    assert_eq!(lease_holder(cluster, "kube-system", "plndr-cp-lock"), cluster.name(place));
    served(cluster, first());
    eventually(cluster, PATIENCE, "status, vipHost and label are written", || {
        let mut api = cluster.api();
        let web = api.get("/api/v1/namespaces/default/services/web").ok().flatten().unwrap_or_default();
        let node = api.get(&format!("/api/v1/nodes/{}", cluster.name(place))).ok().flatten().unwrap_or_default();
        web["status"]["loadBalancer"]["ingress"][0]["ip"] == first().to_string()
            && !text(&web["metadata"]["annotations"]["kube-vip.io/vipHost"]).is_empty()
            && node["metadata"]["labels"]["kube-vip.io/has-ip"] == vip.to_string()
    });
    cluster.remove_pod(0, "alpha").expect("a removal");
    withdrawn(cluster, first());
    for place in 0..cluster.size() {
        assert!(cluster.terminate(place, PATIENCE).is_some(), "{}", cluster.words());
    }
}

/// Takes the rights away that `PUBLISHED` gave.
fn revoke(cluster: &Cluster) {
    for object in ["clusterrolebinding/system:kube-vip-binding", "clusterrole/system:kube-vip-role"] {
        cluster.kubectl(&["delete", object]).expect("gone");
    }
}

/// What `baton manifest …` prints.
fn manifest(line: &str) -> String {
    let output = Command::new(program()).args(line.split(' ')).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn the_published_rights_suffice() -> Result<(), Skipped> {
    with(|cluster| works_with(cluster, PUBLISHED, ""))
}

pub(crate) fn the_published_rights_suffice_with_a_lease_each() -> Result<(), Skipped> {
    with(|cluster| works_with(cluster, PUBLISHED, "--servicesElection"))
}

pub(crate) fn the_generated_rights_suffice() -> Result<(), Skipped> {
    with(|cluster| {
        revoke(cluster);
        works_with(
            cluster,
            &manifest("manifest rbac --interface eth0 --services --arp --leaderElection"),
            "--servicesElection",
        );
        // They are written beside everything else, so they may come later.
        eventually(cluster, PATIENCE, "Events on the Service", || {
            let about = "involvedObject.kind=Service,reason=AddressAssigned";
            let events =
                cluster.kubectl(&["get", "events", "--all-namespaces", "--field-selector", about, "-o", "name"]);
            events.is_ok_and(|events| !events.trim().is_empty())
        });
        revoke(cluster);
        cluster.apply(PUBLISHED).expect("rights");
    })
}

/// The least rights of `--minimal`, made for the very settings.
fn least(cluster: &mut Cluster, more: &str) {
    revoke(cluster);
    let vip = IpAddr::V4(v4(VIP));
    let settings =
        format!("--controlplane --services --arp --leaderElection --enableNodeLabeling --address {vip} {more}");
    works_with(cluster, &manifest(format!("manifest rbac --minimal {settings}").trim()), more);
    let _ = cluster.kubectl(&["-n", "kube-system", "delete", "role,rolebinding", "kube-vip-leases"]);
    revoke(cluster);
    cluster.apply(PUBLISHED).expect("rights");
}

pub(crate) fn the_least_rights_suffice() -> Result<(), Skipped> {
    with(|cluster| least(cluster, ""))
}

pub(crate) fn the_least_rights_suffice_with_a_lease_each() -> Result<(), Skipped> {
    with(|cluster| least(cluster, "--servicesElection"))
}

/// The API server takes every manifest that is generated, as it is.
pub(crate) fn generated_manifests_are_valid() -> Result<(), Skipped> {
    with(|cluster| {
        let features = "--interface eth0 --address 10.77.0.100 --controlplane --services --arp --leaderElection";
        for line in [
            "manifest pod",
            "manifest daemonset",
            "manifest daemonset --inCluster --taint",
            "manifest rbac",
            "manifest rbac --minimal",
            "manifest rbac --role",
            "manifest pod --minimal",
            "kubeadm init",
        ] {
            let text = manifest(&format!("{line} {features}"));
            let file = std::path::Path::new(baton_lab::enter::DIR).join("generated.yaml");
            std::fs::write(&file, &text).expect("a file");
            let file = file.display().to_string();
            let answer = cluster.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &file]);
            assert!(answer.is_ok(), "{line}: {answer:?}\n{text}");
        }
    })
}
