//! `baton cloud-provider`, and the program `kube-vip-cloud-provider`: a cloud controller manager's flags.

use std::ffi::OsString;
use std::process::ExitCode;

use baton_config::manager::{CLOUD_FLAGS, IMAGE, cloud, cloud_manifest};
use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Parser, Subcommand};

use super::args::LogFormat;
use super::cobra::{argument, flags_of_a_table};
use super::load;
use super::manager::level;
use super::output::{FAILED, REFUSED, complain, print};

/// What was given, by name.
#[derive(Clone, Debug, Default)]
pub struct CloudFlags {
    given: Vec<(String, String)>,
}

/// Beside the daemon.
#[derive(Debug, Subcommand)]
pub enum CloudOf {
    /// Print ServiceAccount, role, binding and Deployment
    Manifest {
        /// Image of the container; without a tag, this version is its tag
        #[arg(long, value_name = "IMAGE", default_value = IMAGE)]
        image: String,
    },
}

#[derive(Debug, Parser)]
#[command(name = "kube-vip-cloud-provider", args_override_self = true)]
struct Original {
    #[command(flatten)]
    flags: CloudFlags,
}

flags_of_a_table!(CloudFlags);

impl CloudFlags {
    fn declare(mut command: Command) -> Command {
        for flag in CLOUD_FLAGS {
            let mut arg = argument(flag.name, flag.boolean).help(flag.about);
            if let Some(short) = flag.short {
                arg = arg.short(short);
            }
            command = command.arg(arg.hide(flag.about.is_empty()));
        }
        command
    }

    fn given(matches: &ArgMatches) -> CloudFlags {
        let given = CLOUD_FLAGS.iter().filter_map(|flag| {
            let last = matches.get_many::<String>(flag.name)?.next_back()?;
            Some((flag.name.to_owned(), last.clone()))
        });
        CloudFlags { given: given.collect() }
    }
}

/// As the original: its flags, its exit code for a wrong command line.
pub(super) fn original(args: Vec<OsString>) -> ExitCode {
    match Original::try_parse_from(args) {
        Ok(Original { flags }) => run(&flags),
        Err(e) if e.kind() == ErrorKind::DisplayHelp => print(&e.render().to_string()),
        Err(e) => {
            complain(&e.render().to_string());
            ExitCode::from(FAILED)
        }
    }
}

/// Prints what was asked for.
pub(super) fn of(what: &CloudOf) -> ExitCode {
    let CloudOf::Manifest { image } = what;
    let last = image.rsplit('/').next().unwrap_or_default();
    let tag = if last.contains([':', '@']) { String::new() } else { format!(":{}", crate::VERSION) };
    print(&cloud_manifest(&format!("{image}{tag}")))
}

/// Runs until a signal ends it.
pub(super) fn run(flags: &CloudFlags) -> ExitCode {
    match cloud(&flags.given, &load::environment()) {
        Ok(loaded) => {
            complain(&load::text(&loaded.warnings));
            crate::log::start(LogFormat::Human, level(loaded.settings.log));
            crate::cloud::run(loaded.settings)
        }
        Err(messages) => {
            complain(&load::text(&messages));
            ExitCode::from(REFUSED)
        }
    }
}
