//! `baton demo`: three hosts in namespaces keep an address, a client uses it, and everything is broken in turn.
//!
//! The hosts run this very executable with a plain configuration file of kube-vip 0.1; what is printed was measured
//! from the client and on the wire, never asked of the daemons.

mod live;
mod tour;

use std::ffi::OsString;
use std::process::ExitCode;

use baton_lab::enter::{Side, enter};
use clap::Parser;

/// What `baton demo` can be told.
#[derive(Parser, Debug)]
#[command(name = "baton demo", about = "Show three hosts keep an address, and what every fault costs a client")]
struct Args {
    /// Keep the hosts running, with a live view and keys to break them
    #[arg(long)]
    interactive: bool,
    /// Duration of the quorum lease: how soon a dead holder is replaced
    #[arg(long, value_name = "DURATION", default_value = "500ms")]
    lease: String,
    /// Do not run keepalived beside it, even if it is installed
    #[arg(long)]
    alone: bool,
    /// Repeat the random moments of an earlier run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Runs the demo. To be called while the process has one thread.
#[must_use]
pub fn run(args: Vec<OsString>) -> ExitCode {
    let name = std::iter::once(OsString::from("baton demo"));
    let args = match Args::try_parse_from(name.chain(args)) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match enter() {
        Ok(Side::Outside(code)) => return code,
        Ok(Side::Inside) => {}
        Err(refused) => {
            eprintln!("baton demo: {refused}");
            return ExitCode::FAILURE;
        }
    }
    let result = if args.interactive { live::run(&args) } else { tour::run(&args) };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("baton demo: {error}");
            ExitCode::FAILURE
        }
    }
}
