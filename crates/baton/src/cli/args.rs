//! The command line as a value: names, forms and help texts, nothing that acts.
//!
//! The flags of `start` and `sample config` are kube-vip 0.1's. They stay text here, because the checks that apply to
//! them are the ones of the file's keys, and all problems are to be told at once (crate `baton-config`).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
        Started as kube-vip (through a link of that name, or with that name as first argument) it takes kube-vip 0.1's command line.",
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
    #[command(flatten)]
    /// kube-vip's own.
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
    /// Serve /metrics, /healthz, /readyz and /livez here (goes before the file's `admin`)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<String>,
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
    /// The file
    pub file: PathBuf,
    /// Do not look at this host's addresses and interfaces (the file is for another one)
    #[arg(long)]
    pub elsewhere: bool,
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

/// The flags of kube-vip 0.1's `start` and `sample config`, as text.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<String>,
    /// Do not put the virtual IP on an interface (needs --singleNode)
    #[arg(short = 'd', long = "disableVIP", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_vip: Option<String>,
    /// Interface of the virtual IP
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// The virtual IP
    #[arg(long, value_name = "ADDRESS")]
    pub vip: Option<String>,
    /// The virtual IP, as kube-vip 0.1.9 spells it
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// No peers: hold the address at once
    #[arg(long = "singleNode", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub single_node: Option<String>,
    /// Hold alone until a majority was seen once
    #[arg(long = "startAsLeader", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub start_as_leader: Option<String>,
    /// Repeat gratuitous ARP while holding
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub arp: Option<String>,
    /// This node among the peers, ID:ADDRESS:PORT
    #[arg(long = "localPeer", value_name = "PEER")]
    pub local_peer: Option<String>,
    /// The other peers, ID:ADDRESS:PORT,…
    #[arg(long = "remotePeers", value_name = "PEERS", value_delimiter = ',')]
    pub remote_peers: Vec<String>,
    /// Bind the load balancer to the virtual IP
    #[arg(long = "lbBindToVip", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub lb_bind_to_vip: Option<String>,
    /// Type of the load balancer: tcp or http
    #[arg(long = "lbType", value_name = "TYPE")]
    pub lb_type: Option<String>,
    /// Name of the load balancer
    #[arg(long = "lbName", value_name = "NAME")]
    pub lb_name: Option<String>,
    /// Port of the load balancer
    #[arg(long = "lbPort", value_name = "PORT")]
    pub lb_port: Option<String>,
    /// Port of the backends
    #[arg(long = "lbBackEndPort", value_name = "PORT")]
    pub lb_backend_port: Option<String>,
    /// Backends of the load balancer, ADDRESS:PORT,…
    #[arg(long = "lbBackends", value_name = "BACKENDS", value_delimiter = ',')]
    pub lb_backends: Vec<String>,
    /// Path of a kubeconfig (kube-vip 0.1.9; no effect)
    #[arg(long = "kubeConfig", value_name = "FILE", hide = true)]
    pub kube_config: Option<String>,
    /// kube-vip 0.1.6; no effect
    #[arg(long = "inCluster", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub in_cluster: Option<String>,
    /// kube-vip 0.1.6; no effect
    #[arg(long = "leaderElection", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub leader_election: Option<String>,
}

impl Flags {
    /// What was given, under the names it was given by.
    #[must_use]
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
        [
            ("disableVIP", self.disable_vip.clone()),
            ("interface", self.interface.clone()),
            ("vip", self.vip.clone()),
            ("address", self.address.clone()),
            ("singleNode", self.single_node.clone()),
            ("startAsLeader", self.start_as_leader.clone()),
            ("arp", self.arp.clone()),
            ("localPeer", self.local_peer.clone()),
            ("remotePeers", list(&self.remote_peers)),
            ("lbBindToVip", self.lb_bind_to_vip.clone()),
            ("lbType", self.lb_type.clone()),
            ("lbName", self.lb_name.clone()),
            ("lbPort", self.lb_port.clone()),
            ("lbBackEndPort", self.lb_backend_port.clone()),
            ("lbBackends", list(&self.lb_backends)),
            ("kubeConfig", self.kube_config.clone()),
            ("inCluster", self.in_cluster.clone()),
            ("leaderElection", self.leader_election.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}
