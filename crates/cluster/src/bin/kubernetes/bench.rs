//! Measures a daemon on three nodes with real API servers, and prints a section of docs/benchmarks.md.

mod control;
mod figures;
mod services;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use figures::{Row, table};

/// What is measured, and how often.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The executable of Baton (a release build)
    #[arg(long)]
    pub(crate) baton: PathBuf,
    /// Runs of each fault
    #[arg(long, default_value_t = 10)]
    pub(crate) runs: u32,
    /// Services in the larger measurements
    #[arg(long, default_value_t = 500)]
    pub(crate) services: u16,
    /// Services in the largest one
    #[arg(long, default_value_t = 5000)]
    pub(crate) many: u16,
    /// Seconds for which requests are counted
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u32,
    /// Only these parts: moves, short, long, api, outage, idle, one, each, many
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Only these faults in `short` and `long`: power, cable, cut, kill, stop, api
    #[arg(long, value_delimiter = ',')]
    pub(crate) faults: Vec<String>,
}

/// A part of the measurements.
type Part = fn(&Args) -> io::Result<Vec<Row>>;

const PARTS: [(&str, Part); 9] = [
    ("moves", control::moves),
    ("short", control::short),
    ("long", control::long),
    ("api", control::local_api_server),
    ("outage", control::outage),
    ("idle", services::idle),
    ("one", services::one_election),
    ("each", services::a_lease_each),
    ("many", services::many),
];

pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    let parts = PARTS.map(|(name, _)| name);
    let faults = control::FAULTS.each_ref().map(|fault| fault.name);
    for (names, given) in [(&parts[..], &args.only), (&faults[..], &args.faults)] {
        if let Some(unknown) = given.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(format!("{unknown:?} is none of {}", names.join(", ")));
        }
    }
    let (mut rows, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for (name, part) in PARTS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        // What one part cannot measure is no reason to lose the others.
        match part(args) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("{name}: {error}");
                rows.push(Row::new(name, "–", "not measured, see the messages".to_owned(), "–"));
                code = ExitCode::FAILURE;
            }
        }
    }
    println!("{}", table(&rows));
    Ok(code)
}
