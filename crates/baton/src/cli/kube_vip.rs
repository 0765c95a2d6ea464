//! kube-vip's own command line, 0.1's and 1.x's in one, with its exit codes. What the original does not know fails as it
//! fails there.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use super::args::{KubeadmOf, LogFormat, Manager, ManifestOf, RUN_DIR, STATE_DIR, Sample, Start};
use super::cobra::{ManagerFlags, commands_first};
use super::flags::Flags;
use super::output::{complain, fail, print};
use super::{manager, manifest, output, sample, start};

#[derive(Debug, Parser)]
#[command(
    name = "kube-vip",
    about = "This is a server for providing a Virtual IP and load-balancer for the Kubernetes control-plane",
    args_override_self = true
)]
struct KubeVip {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the virtual IP and load balancer
    #[command(args_override_self = true)]
    Start {
        #[command(flatten)]
        flags: Box<Flags>,
        /// Set the level of logging: 0-2 error, 3 warn, 4 info, 5 debug, 6 trace
        #[arg(long, value_name = "N")]
        log: Option<u32>,
    },
    /// Start the kube-vip manager
    #[command(args_override_self = true)]
    Manager(Box<Manager>),
    /// Start the Virtual IP / Load balancer as a service within a Kubernetes cluster
    #[command(args_override_self = true)]
    Service(Box<Manager>),
    /// Manifest functions
    Manifest {
        #[command(subcommand)]
        what: Option<ManifestOf>,
    },
    /// Kubeadm functions
    Kubeadm {
        #[command(subcommand)]
        what: Option<KubeadmOf>,
    },
    /// Generate a sample configuration
    Sample {
        #[command(subcommand)]
        what: Option<Sample>,
    },
    /// Generate the autocompletion script for the specified shell
    Completion { shell: clap_complete::Shell },
    /// Version and release information
    Version(Box<ManagerFlags>),
}

/// Runs it.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let parsed = match KubeVip::try_parse_from(commands_first(args)) {
        Ok(parsed) => parsed,
        Err(e) => return refuse(&e),
    };
    match parsed.command {
        None => help(&[]),
        Some(Command::Start { flags, log }) => start::run(
            Start {
                flags: *flags,
                log_format: LogFormat::Human,
                log_level: None,
                log,
                run_dir: RUN_DIR.into(),
                state_dir: STATE_DIR.into(),
            },
            true,
        ),
        Some(Command::Manager(options)) => manager::run(*options, false, true),
        Some(Command::Service(options)) => manager::run(*options, true, true),
        Some(Command::Manifest { what: None }) => help(&["manifest"]),
        Some(Command::Manifest { what: Some(what) }) => {
            let name = match &what {
                ManifestOf::Pod(_) => "pod",
                ManifestOf::Daemonset { .. } => "daemonset",
                ManifestOf::Rbac { .. } => "rbac",
            };
            manifest::of(&what, Some(&|| help(&["manifest", name])))
        }
        Some(Command::Kubeadm { what: None }) => help(&["kubeadm"]),
        Some(Command::Kubeadm { what: Some(what) }) => {
            let name = if matches!(what, KubeadmOf::Init(_)) { "init" } else { "join" };
            manifest::kubeadm(&what, Some(&|| help(&["kubeadm", name])))
        }
        Some(Command::Sample { what: None }) => help(&["sample"]),
        Some(Command::Sample { what: Some(what) }) => sample::run(&what, true),
        Some(Command::Completion { shell }) => completion(shell),
        Some(Command::Version(_)) => {
            print(&format!("Kube-VIP Release Information\nVersion:  {}\nBuild:    {}\n", crate::VERSION, crate::BUILD))
        }
    }
}

fn completion(shell: clap_complete::Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut KubeVip::command(), "kube-vip", &mut text);
    match String::from_utf8(text) {
        Ok(text) => print(&text),
        Err(e) => fail(output::FAILED, &format!("the completion script: {e}")),
    }
}

fn help(path: &[&str]) -> ExitCode {
    let mut command = KubeVip::command();
    command.build();
    let mut found = &mut command;
    for name in path {
        if found.find_subcommand(name).is_some() {
            found = found.find_subcommand_mut(name).expect("found a line above");
        }
    }
    print(&found.render_help().to_string())
}

/// cobra's words and exit code for what the original does not know; ours for what this version does not.
fn refuse(e: &clap::Error) -> ExitCode {
    let text = |kind| match e.get(kind) {
        Some(ContextValue::String(s)) => s.clone(),
        _ => String::new(),
    };
    let usage = KubeVip::command().render_usage();
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => print(&e.render().to_string()),
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand);
            complain(&format!("Error: unknown command \"{name}\" for \"kube-vip\"\nRun 'kube-vip --help' for usage."));
            ExitCode::from(1)
        }
        ErrorKind::UnknownArgument => {
            let arg = text(ContextKind::InvalidArg);
            let what = match arg.strip_prefix("--") {
                Some(_) => format!("unknown flag: {}", arg.split('=').next().unwrap_or(&arg)),
                None if arg.starts_with('-') => format!("unknown shorthand flag: {arg}"),
                None => format!("unknown command \"{arg}\" for \"kube-vip\""),
            };
            complain(&format!("Error: {what}\n{usage}"));
            ExitCode::from(1)
        }
        _ => {
            complain(&e.render().to_string());
            ExitCode::from(1)
        }
    }
}
