//! kube-vip 0.1's own command line: `start`, `sample`, `version`, with its exit codes. What this version does not take
//! over is refused by name; what the original does not know either fails as it fails there.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use super::args::{LogFormat, RUN_DIR, STATE_DIR, Sample, Start};
use super::flags::Flags;
use super::output::{REFUSED, complain, fail, print};
use super::{sample, start};

#[derive(Debug, Parser)]
#[command(
    name = "kube-vip",
    about = "This is a server for providing a Virtual IP and load-balancer for the Kubernetes control-plane",
    args_override_self = true
)]
struct KubeVip {
    #[command(subcommand)]
    command: Option<Command>,
    /// Set the level of logging: 0-2 error, 3 warn, 4 info, 5 debug, 6 trace
    #[arg(long, global = true, value_name = "N")]
    log: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the virtual IP and load balancer
    #[command(args_override_self = true)]
    Start(Box<Flags>),
    /// Generate a sample configuration
    Sample {
        #[command(subcommand)]
        what: Option<Sample>,
    },
    /// Version and release information
    Version,
}

/// Commands that some kube-vip has and this version has not.
const NOT_YET: [&str; 4] = ["manager", "manifest", "kubeadm", "service"];

/// Runs it.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let parsed = match KubeVip::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(e) => return refuse(&e),
    };
    match parsed.command {
        None => help(&[]),
        Some(Command::Start(flags)) => start::run(
            Start {
                flags: *flags,
                log_format: LogFormat::Human,
                log_level: None,
                log: parsed.log,
                run_dir: RUN_DIR.into(),
                state_dir: STATE_DIR.into(),
            },
            true,
        ),
        Some(Command::Sample { what: None }) => help(&["sample"]),
        Some(Command::Sample { what: Some(what) }) => sample::run(&what, true),
        Some(Command::Version) => {
            print(&format!("Kube-VIP Release Information\nVersion:  {}\nBuild:    {}\n", crate::VERSION, crate::BUILD))
        }
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
            if NOT_YET.contains(&name.as_str()) {
                return fail(
                    REFUSED,
                    &format!("this version has no `kube-vip {name}`; it has start, sample and version"),
                );
            }
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
