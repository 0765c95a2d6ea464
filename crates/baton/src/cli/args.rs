//! The command line as a value: names, forms and help texts, nothing that acts.
//!
//! The flags that `start` and `sample config` share with kube-vip 0.1 are in [`super::flags`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::cloud::{CloudFlags, CloudOf};
use super::cobra::{ManagerFlags, boolean};
use super::flags::Flags;

/// Where a daemon puts its sockets unless told otherwise.
pub const RUN_DIR: &str = "/run/baton";
/// Where a daemon remembers what must outlive it unless told otherwise.
pub const STATE_DIR: &str = "/var/lib/baton";

/// `baton …`
#[derive(Debug, Parser)]
#[command(
    name = "baton",
    version = crate::VERSION,
    about = "Keeps virtual IP addresses alive and balances the traffic behind them",
    after_help = "Exit codes: 0 done, 1 failed at run time, 2 refused (configuration or usage).\n\
        Started as kube-vip, keepalived, haproxy or kube-vip-cloud-provider (through a link of that name, or with that name as \
        first argument) it takes that program's command line.",
    args_override_self = true,
    max_term_width = 110
)]
pub struct Baton {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep the addresses of a configuration and balance behind them
    #[command(args_override_self = true)]
    Start(Box<Start>),
    /// Keep the control plane's address and those of Services in a Kubernetes cluster, in kube-vip's place
    #[command(args_override_self = true)]
    Manager(Box<Manager>),
    /// The same, as kube-vip's older releases called it
    #[command(args_override_self = true, hide = true)]
    Service(Box<Manager>),
    /// Print a manifest that runs `manager` in a cluster
    Manifest {
        /// Of what kind.
        #[command(subcommand)]
        what: ManifestOf,
    },
    /// Print a static pod that runs `manager` on kubeadm's nodes
    Kubeadm {
        /// On which.
        #[command(subcommand)]
        what: KubeadmOf,
    },
    /// Give Services of type LoadBalancer their addresses, in kube-vip-cloud-provider's place
    #[command(args_override_self = true, args_conflicts_with_subcommands = true)]
    CloudProvider {
        /// Beside the daemon.
        #[command(subcommand)]
        what: Option<CloudOf>,
        /// The original's.
        #[command(flatten)]
        flags: CloudFlags,
    },
    /// Run a keepalived.conf and a haproxy.cfg in one process: a node that can serve nobody gives its addresses up
    Run {
        /// One keepalived.conf and at least one haproxy.cfg, in any order.
        #[arg(required = true, num_args = 1.., value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say what `start` would say about a file, and what is legal but unwise in it; changes nothing
    Check(Check),
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Print an example to start from
    Sample {
        /// Of what.
        #[command(subcommand)]
        what: Sample,
    },
    /// Show who holds what until when, as the daemon in this network namespace knows it
    Status(Status),
    /// Say why something is as it is, as the manager in this network namespace knows it
    Explain {
        /// What.
        #[command(subcommand)]
        what: Explain,
    },
    /// Remove whatever a dead instance left in this network namespace: tables and addresses
    Cleanup(Cleanup),
    /// Show three hosts keep an address in namespaces of their own, and what every fault costs a client
    Demo {
        /// For the demo itself; `baton demo --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        args: Vec<std::ffi::OsString>,
    },
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (troff)
    Man,
}

/// Options of `start`.
#[derive(Debug, Args)]
pub struct Start {
    /// kube-vip's own.
    #[command(flatten)]
    pub flags: Flags,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// What is worth a log line
    #[arg(long, value_enum)]
    pub log_level: Option<LogLevel>,
    /// kube-vip's log level as a number: 0-2 error, 3 warn, 4 info, 5 debug, 6 trace
    #[arg(long, value_name = "N")]
    pub log: Option<u32>,
    /// Directory of the control socket
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    pub run_dir: PathBuf,
    /// Directory of what must outlive the process (two markers)
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,
}

/// Options of `manager`.
#[derive(Debug, Args)]
pub struct Manager {
    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// What is worth a log line; goes before --log
    #[arg(long, value_enum)]
    pub log_level: Option<LogLevel>,
    /// Directory of the control socket
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    pub run_dir: PathBuf,
    /// kube-vip's own.
    #[command(flatten)]
    pub flags: ManagerFlags,
}

/// Options of every manifest.
#[derive(Debug, Args)]
pub struct Generated {
    /// Image of the container; without a tag, this version is its tag
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Run by a ServiceAccount, not by a kubeconfig of the host
    #[arg(long = "inCluster", default_value = "false", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    pub in_cluster: bool,
    /// Least privilege: no more rights than these settings need
    #[arg(long)]
    pub minimal: bool,
    /// kube-vip's own.
    #[command(flatten)]
    pub flags: ManagerFlags,
}

/// What `manifest` prints.
#[derive(Debug, Subcommand)]
pub enum ManifestOf {
    /// A pod
    #[command(args_override_self = true)]
    Pod(Box<Generated>),
    /// A DaemonSet
    #[command(args_override_self = true)]
    Daemonset {
        /// On control-plane nodes only, whatever their taints
        #[arg(long, default_value = "false", value_name = "BOOL")]
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
        taint: bool,
        /// Of every manifest.
        #[command(flatten)]
        generated: Box<Generated>,
    },
    /// ServiceAccount, role and binding
    #[command(args_override_self = true)]
    Rbac {
        /// A Role in one namespace (svc_namespace, else kube-system) instead of a ClusterRole
        #[arg(long, default_value = "false", value_name = "BOOL")]
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
        role: bool,
        /// A RoleBinding instead of a ClusterRoleBinding
        #[arg(long, default_value = "false", value_name = "BOOL")]
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
        rolebinding: bool,
        /// Of every manifest.
        #[command(flatten)]
        generated: Box<Generated>,
    },
}

/// Where `kubeadm`'s pod runs.
#[derive(Debug, Subcommand)]
pub enum KubeadmOf {
    /// The first control-plane node
    #[command(args_override_self = true)]
    Init(Box<Generated>),
    /// A further control-plane node
    #[command(args_override_self = true)]
    Join {
        /// The kubeconfig that must be there
        #[arg(long, value_name = "FILE", default_value = "/etc/kubernetes/admin.conf")]
        config: String,
        /// Of every manifest.
        #[command(flatten)]
        generated: Box<Generated>,
    },
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// What is worth a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Promises that cannot be kept.
    Error,
    /// What is wrong or unwise as well.
    Warn,
    /// Transitions as well (the default).
    Info,
    /// Everything that helps to find a mistake.
    Debug,
    /// Every step.
    Trace,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The file; several, of the nodes of one group, are also held against each other
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Do not look at this host's addresses and interfaces (the file is for another one; implied by several files)
    #[arg(long)]
    pub elsewhere: bool,
    /// Write the file that its author meant: checks that really run, connections that do not hang (haproxy.cfg, keepalived.conf)
    #[arg(long)]
    pub fix: bool,
}

/// What `sample` prints.
#[derive(Debug, Subcommand)]
pub enum Sample {
    /// A configuration file
    #[command(args_override_self = true)]
    Config(Box<Flags>),
    /// A static pod manifest
    Manifest {
        /// Image of the container
        #[arg(long, value_name = "IMAGE")]
        image: Option<String>,
    },
    /// A static pod of `run`, in the place of keepalived's and haproxy's
    RunPod {
        /// Image of the container
        #[arg(long, value_name = "IMAGE")]
        image: Option<String>,
        /// Which files.
        #[command(flatten)]
        files: Pair,
    },
    /// A unit of systemd of `run`, in the place of keepalived's and haproxy's
    RunUnit {
        /// Which files.
        #[command(flatten)]
        files: Pair,
    },
}

/// The files of `run`, as whole paths.
#[derive(Debug, Args)]
pub struct Pair {
    /// The keepalived.conf
    #[arg(long, value_name = "FILE", default_value = "/etc/keepalived/keepalived.conf", value_parser = whole_path)]
    pub keepalived: String,
    /// The haproxy.cfg
    #[arg(long, value_name = "FILE", default_value = "/etc/haproxy/haproxy.cfg", value_parser = whole_path)]
    pub haproxy: String,
}

/// Pods and units have no directory that a path could begin at.
fn whole_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a path that begins with / is expected".to_owned()) }
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Print the daemon's own document (docs/status.md)
    #[arg(long)]
    pub json: bool,
    /// Print again every second, until interrupted
    #[arg(long)]
    pub watch: bool,
    /// Directory of the control socket
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    pub run_dir: PathBuf,
}

/// What `explain` explains.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Why a Service is announced by this node, by another or by none
    #[command(alias = "service")]
    Svc {
        /// The Service: NAMESPACE/NAME
        name: String,
        /// Directory of the control socket
        #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
        run_dir: PathBuf,
    },
}

/// Options of `cleanup`.
#[derive(Debug, Args)]
pub struct Cleanup {
    /// Forget what must outlive the process too. Only for a host that leaves its cluster for good
    #[arg(long)]
    pub markers: bool,
    /// Directory of the control socket
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    pub run_dir: PathBuf,
    /// Directory of the markers
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,
}
