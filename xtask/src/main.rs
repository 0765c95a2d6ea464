//! The developer's commands. `test` and `ci` never write to the tree, `fix` does; `.ci/run` is `cargo xtask test`.

mod bench;
mod ci;
mod debian;
mod dist;
#[cfg(test)]
mod documents;
mod kubernetes;
mod process;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for those who work on Baton.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what the tests need, then run every test
    Test {
        /// Arguments for `cargo test`, such as `-p baton-core` or a test's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Formatting, lints, documentation, every test, licences: all that a change has to pass
    Ci,
    /// Write what can be put right by a program: formatting, lints, generated documentation
    Fix,
    /// Measure against the originals and write docs/benchmarks.md
    Bench(bench::Args),
    /// The static binary and the image archives, in target/dist
    Dist(dist::Args),
    /// Property tests with new random cases: `cargo xtask properties --cases 20000`
    Properties {
        /// Of each property
        #[arg(long, default_value_t = 20_000)]
        cases: u32,
    },
    /// Simulated clusters: `cargo xtask sim --seeds 10000`
    Sim {
        /// Arguments for the simulator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test { args } => ci::test(&args),
        Command::Ci => ci::all(),
        Command::Fix => ci::fix(),
        Command::Bench(args) => bench::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Properties { cases } => ci::properties(cases),
        Command::Sim { args } => ci::sim(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
