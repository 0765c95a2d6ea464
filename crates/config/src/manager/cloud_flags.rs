//! The flags of a cloud controller manager (Kubernetes 1.36), which kube-vip's cloud provider is built from.

/// What a flag is to Baton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Works,
    /// Accepted with a warning.
    Idle(&'static str),
}

/// One flag.
#[derive(Debug)]
pub struct CloudFlag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its one-letter name.
    pub short: Option<char>,
    /// It may stand without a value, which then is `true`.
    pub boolean: bool,
    /// What it does; empty: nothing.
    pub about: &'static str,
    pub(crate) meaning: Meaning,
}

const fn works(name: &'static str, about: &'static str) -> CloudFlag {
    CloudFlag { name, short: None, boolean: false, about, meaning: Meaning::Works }
}

const fn switch(name: &'static str, about: &'static str) -> CloudFlag {
    CloudFlag { name, short: None, boolean: true, about, meaning: Meaning::Works }
}

const fn idle(name: &'static str, why: &'static str) -> CloudFlag {
    CloudFlag { name, short: None, boolean: false, about: "", meaning: Meaning::Idle(why) }
}

const fn idle_switch(name: &'static str, why: &'static str) -> CloudFlag {
    CloudFlag { name, short: None, boolean: true, about: "", meaning: Meaning::Idle(why) }
}

const ONE: &str = "there is one controller, that of Services";
const NODES: &str = "nodes and routes are not looked after";
const SERVER: &str = "no server with TLS is started; --port serves /healthz and /metrics";
const CLIENT: &str = "the client of the API is Baton's own";
const LOGS: &str = "logs go to standard error";
const CLOUD: &str = "the cloud is kubevip";

/// Every flag.
pub const CLOUD_FLAGS: &[CloudFlag] = &[
    works("kubeconfig", "Path of a kubeconfig (default: the pod's ServiceAccount)"),
    switch("OutSideCluster", "Use $HOME/.kube/config"),
    works("cluster-name", "Name of the cluster [default: kubernetes]"),
    switch("leader-elect", "Elect, and let only the leader allocate [default: true]"),
    works("leader-elect-resource-name", "The Lease [default: kube-vip-cloud-controller]"),
    works("leader-elect-resource-namespace", "Its namespace [default: kube-system]"),
    works("leader-elect-resource-lock", "leases"),
    works("leader-elect-lease-duration", "How long it lasts [default: 15s]"),
    works("leader-elect-renew-deadline", "How long a leader tries to renew [default: 10s]"),
    works("leader-elect-retry-period", "Time between tries [default: 2s]"),
    works("port", "Port of /healthz and /metrics, over HTTP; 0: not served [default: 0]"),
    works("address", "Where that port is [default: every address]"),
    CloudFlag {
        name: "v",
        short: Some('v'),
        boolean: false,
        about: "Log level: 4 debug, 6 trace",
        meaning: Meaning::Works,
    },
    idle("master", "the API server is the kubeconfig's, or that of the pod"),
    idle("concurrent-service-syncs", "one Service after the other gets its address; writes go side by side"),
    idle("cloud-provider", CLOUD),
    idle("cloud-config", CLOUD),
    idle("external-cloud-volume-plugin", CLOUD),
    idle_switch("allow-untagged-cloud", CLOUD),
    idle("controllers", ONE),
    idle("controller-start-interval", ONE),
    idle("min-resync-period", ONE),
    idle_switch("use-service-account-credentials", ONE),
    idle("feature-gates", ONE),
    idle_switch("enable-leader-migration", ONE),
    idle("leader-migration-config", ONE),
    idle_switch("allocate-node-cidrs", NODES),
    idle("cidr-allocator-type", NODES),
    idle("cluster-cidr", NODES),
    idle_switch("configure-cloud-routes", NODES),
    idle("node-monitor-period", NODES),
    idle("node-status-update-frequency", NODES),
    idle("concurrent-node-syncs", NODES),
    idle("route-reconciliation-period", NODES),
    idle("node-sync-period", NODES),
    idle("kube-api-qps", CLIENT),
    idle("kube-api-burst", CLIENT),
    idle("kube-api-content-type", CLIENT),
    idle_switch("profiling", SERVER),
    idle_switch("contention-profiling", SERVER),
    idle("bind-address", SERVER),
    idle("secure-port", SERVER),
    idle("cert-dir", SERVER),
    idle_switch("disable-http2-serving", SERVER),
    idle("http2-max-streams-per-connection", SERVER),
    idle_switch("permit-address-sharing", SERVER),
    idle_switch("permit-port-sharing", SERVER),
    idle("tls-cert-file", SERVER),
    idle("tls-private-key-file", SERVER),
    idle("tls-cipher-suites", SERVER),
    idle("tls-min-version", SERVER),
    idle("tls-sni-cert-key", SERVER),
    idle("webhooks", SERVER),
    idle("webhook-bind-address", SERVER),
    idle("webhook-cert-dir", SERVER),
    idle("webhook-secure-port", SERVER),
    idle("webhook-tls-cert-file", SERVER),
    idle("webhook-tls-private-key-file", SERVER),
    idle("authentication-kubeconfig", SERVER),
    idle_switch("authentication-skip-lookup", SERVER),
    idle("authentication-token-webhook-cache-ttl", SERVER),
    idle_switch("authentication-tolerate-lookup-failure", SERVER),
    idle("authorization-always-allow-paths", SERVER),
    idle("authorization-kubeconfig", SERVER),
    idle("authorization-webhook-cache-authorized-ttl", SERVER),
    idle("authorization-webhook-cache-unauthorized-ttl", SERVER),
    idle("client-ca-file", SERVER),
    idle("requestheader-allowed-names", SERVER),
    idle("requestheader-client-ca-file", SERVER),
    idle("requestheader-extra-headers-prefix", SERVER),
    idle("requestheader-group-headers", SERVER),
    idle("requestheader-uid-headers", SERVER),
    idle("requestheader-username-headers", SERVER),
    idle_switch("show-hidden-metrics-for-version", SERVER),
    idle("log-flush-frequency", LOGS),
    idle("logging-format", LOGS),
    idle("vmodule", LOGS),
    idle_switch("logtostderr", LOGS),
    idle_switch("alsologtostderr", LOGS),
    idle("stderrthreshold", LOGS),
    idle("log-dir", LOGS),
    idle("log_dir", LOGS),
    idle("log-file", LOGS),
];
