//! The command line: which program is meant, which command, and what it exits with.

pub mod args;
mod check;
mod check_haproxy;
mod cleanup;
pub mod cloud;
pub mod cobra;
mod explain;
pub mod flags;
mod kube_vip;
pub mod load;
pub mod manager;
mod manifest;
pub mod output;
pub mod personality;
mod sample;
mod start;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::{Baton, Command};
use output::{REFUSED, complain, fail, print};
use personality::Personality;

/// Runs what the arguments (the program's name first) ask for.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    let (personality, args) = personality::of(args);
    match personality {
        Personality::Baton => own(args),
        Personality::KubeVip => kube_vip::main(args),
        Personality::CloudProvider => cloud::original(args),
        Personality::Keepalived => crate::keepalived::main(&args),
        Personality::Haproxy => crate::haproxy::main(&args),
        Personality::NotYet(name) => fail(
            REFUSED,
            &format!(
                "this version does not take the place of {name}; it takes the places of kube-vip, kube-vip-cloud-provider, keepalived and haproxy"
            ),
        ),
    }
}

fn own(args: Vec<OsString>) -> ExitCode {
    let parsed = match Baton::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(e) => return usage(&e),
    };
    match parsed.command {
        Command::Start(options) => start::run(*options, false),
        Command::Manager(options) => manager::run(*options, false, false),
        Command::Service(options) => manager::run(*options, true, false),
        Command::Manifest { what } => manifest::of(&what, None),
        Command::Kubeadm { what } => manifest::kubeadm(&what, None),
        Command::CloudProvider { what: Some(what), .. } => cloud::of(&what),
        Command::CloudProvider { what: None, flags } => cloud::run(&flags),
        Command::Run { files } => crate::run::run(&files),
        Command::Check(options) => check::run(&options),
        Command::Schema => print(&format!("{:#}\n", baton_config::schema())),
        Command::Sample { what } => sample::run(&what, false),
        Command::Status(options) => status::run(&options),
        Command::Explain { what } => explain::run(&what),
        Command::Cleanup(options) => cleanup::run(&options),
        Command::Demo { args } => crate::demo::run(args),
        Command::Version => print(&format!("baton {} ({})\n", crate::VERSION, crate::BUILD)),
        Command::Completion { shell } => completion(shell),
        Command::Man => man(),
    }
}

/// Help and version are answers; everything else is a refusal.
fn usage(e: &clap::Error) -> ExitCode {
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(&e.render().to_string()),
        _ => {
            complain(&e.render().to_string());
            ExitCode::from(REFUSED)
        }
    }
}

fn completion(shell: clap_complete::Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Baton::command(), "baton", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// One page for the program, and one for each command after it.
fn man() -> ExitCode {
    let mut text = Vec::new();
    let mut command = Baton::command();
    command.build();
    let mut pages = vec![command.clone()];
    pages.extend(command.get_subcommands().filter(|c| c.get_name() != "help").map(|c| {
        let name: &'static str = Box::leak(format!("baton-{}", c.get_name()).into_boxed_str());
        c.clone().name(name)
    }));
    for page in pages {
        if let Err(e) = clap_mangen::Man::new(page).render(&mut text) {
            return fail(output::FAILED, &format!("the manual page: {e}"));
        }
    }
    print(&String::from_utf8_lossy(&text))
}
