//! Command lines of Kubernetes' programs, as a lab needs them.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use baton_lab::host::Host;
use nix::unistd::Pid;

use crate::certificates::{Authority, Pair};
use crate::programs::Programs;

/// Port of the API servers, and of etcd.
pub const API_PORT: u16 = 6443;
const ETCD_PORT: u16 = 2379;
/// Addresses of Services inside of the cluster.
pub const SERVICE_RANGES: &str = "10.96.0.0/16,fd96::/112";
/// The API servers, as pods see them.
pub const API_SERVICE: &str = "10.96.0.1";
/// Addresses of pods.
pub const POD_RANGES: &str = "10.244.0.0/16,fd78::/48";

/// Everything that the API servers of a cluster have in common.
pub struct Components {
    /// Kubernetes' programs.
    pub programs: Programs,
    /// The cluster's authority.
    pub authority: Authority,
    /// The API servers' certificate.
    pub server: Pair,
    /// Where etcd is.
    pub store: IpAddr,
    /// The policy that says what is written to the audit log.
    pub audit: PathBuf,
}

/// Where an API server writes who asked for what.
#[must_use]
pub fn audit_log(host: &Host) -> PathBuf {
    host.directory().join("audit.log")
}

/// Where a component writes its messages.
#[must_use]
pub fn log(host: &Host, component: &str) -> PathBuf {
    host.directory().join(format!("{component}.log"))
}

/// Starts a program on a host; its messages go to a file.
pub fn start(host: &Host, name: &str, mut command: Command) -> io::Result<Pid> {
    let log = fs::File::options().create(true).append(true).open(log(host, name))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    host.spawn(command)
}

impl Components {
    /// etcd, on the host that has it. It forgets everything when the lab ends, so nothing waits for a disk.
    pub fn etcd(&self, host: &Host) -> io::Result<Pid> {
        let url = format!("http://{}:{ETCD_PORT}", self.store);
        let peers = "http://127.0.0.1:2380";
        let mut command = Command::new(self.programs.get("etcd"));
        command.arg("--data-dir").arg(host.directory().join("etcd")).arg("--unsafe-no-fsync");
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]);
        command.args(["--initial-cluster", &format!("default={peers}"), "--log-level", "warn"]);
        start(host, "etcd", command)
    }

    /// An API server. One that is not `listed` serves, but is not among the endpoints of the Service `kubernetes`.
    pub fn api_server(&self, host: &Host, address: IpAddr, listed: bool) -> io::Result<Pid> {
        let key = self.authority.service_account_key();
        let mut command = Command::new(self.programs.get("kube-apiserver"));
        let mut set = |name: &str, value: &Path| {
            command.arg(format!("--{name}={}", value.display()));
        };
        set("client-ca-file", &self.authority.certificate());
        set("tls-cert-file", &self.server.certificate);
        set("tls-private-key-file", &self.server.key);
        set("service-account-key-file", &self.authority.service_account_public_key());
        set("service-account-signing-key-file", &key);
        set("audit-policy-file", &self.audit);
        set("audit-log-path", &audit_log(host));
        set("cert-dir", &host.directory().join("certificates"));
        command.arg(format!("--etcd-servers=http://{}:{ETCD_PORT}", self.store));
        command.arg(format!("--secure-port={API_PORT}")).arg(format!("--advertise-address={address}"));
        command.arg(format!("--service-cluster-ip-range={SERVICE_RANGES}"));
        command.arg(format!("--endpoint-reconciler-type={}", if listed { "lease" } else { "none" }));
        command.args([
            "--bind-address=::",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--profiling=false",
            "--shutdown-delay-duration=0s",
            "--allow-privileged=true",
        ]);
        start(host, "kube-apiserver", command)
    }

    /// The controllers that make EndpointSlices, service accounts and the like. Not those that judge nodes: there are no kubelets.
    pub fn controller_manager(&self, host: &Host, kubeconfig: &Path) -> io::Result<Pid> {
        let mut command = Command::new(self.programs.get("kube-controller-manager"));
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--leader-elect=false", "--use-service-account-credentials=false"]);
        command.arg("--root-ca-file").arg(self.authority.certificate());
        command.arg("--service-account-private-key-file").arg(self.authority.service_account_key());
        command.arg(
            "--controllers=endpointslice-controller,endpoints-controller,serviceaccount-controller,\
             root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller",
        );
        command.args(["--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-service-endpoint-syncs=10"]);
        command.arg("--cert-dir").arg(host.directory().join("certificates"));
        start(host, "kube-controller-manager", command)
    }

    /// What brings packets for Services to pods, on one node.
    pub fn proxy(&self, host: &Host, node: &str, kubeconfig: &Path) -> io::Result<Pid> {
        let mut command = Command::new(self.programs.get("kube-proxy"));
        command.arg("--kubeconfig").arg(kubeconfig).arg("--proxy-mode=nftables");
        command.arg(format!("--hostname-override={node}")).arg(format!("--cluster-cidr={POD_RANGES}"));
        command.args(["--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s"]);
        command.args(["--conntrack-tcp-timeout-close-wait=0s", "--nodeport-addresses=127.0.0.0/8"]);
        command.args(["--metrics-bind-address=127.0.0.1:10249", "--healthz-bind-address=127.0.0.1:10256"]);
        start(host, "kube-proxy", command)
    }
}

/// Requests of these are not counted: they are the lab's own.
pub const UNCOUNTED: [&str; 4] = ["lab-admin", "lab-controllers", "lab-proxy", "system:apiserver"];

/// The audit policy: who asked for what, once for each request.
#[must_use]
pub fn audit_policy() -> String {
    format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
         - level: None\n  users: [\"{}\"]\n- level: Metadata\n",
        UNCOUNTED.join("\", \"")
    )
}
