//! The command line as a value: names, forms and help texts, nothing that acts.
//!
//! The flags that `start` and `sample config` share with kube-vip 0.1 are in [`super::flags`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
