//! Measures virtual routers beside keepalived, with the same files, and prints a section of docs/benchmarks.md.
//! `cargo xtask bench vrrp` runs it.

mod faults;
mod guide;
mod steady;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use baton_lab::dice::Dice;
use baton_lab::enter::{Side, enter};
use baton_lab::figures::{Row, machine, table};
use clap::Parser;

/// What is measured, and how often.
#[derive(Parser, Debug)]
struct Args {
    /// The executable of Baton (a release build)
    #[arg(long)]
    baton: PathBuf,
    /// Runs of each fault, with both programs
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Runs of what takes keepalived half a minute
    #[arg(long, default_value_t = 3)]
    slow: usize,
    /// Seconds of each look at busy routers
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Rounds of the comparisons of processor time, and of busy routers
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only these parts: second, tenth, heal, dead, busy, reload, routers, addresses, guide, healthz
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Repeat the random moments of an earlier run
    #[arg(long)]
    seed: Option<u64>,
}

/// A part of the measurements.
type Part = fn(&Args, &mut Dice) -> io::Result<Vec<Row>>;

const PARTS: [(&str, Part); 10] = [
    ("second", faults::second),
    ("tenth", faults::tenth),
    ("heal", faults::heal),
    ("dead", faults::dead),
    ("busy", steady::busy),
    ("reload", faults::reload),
    ("routers", steady::routers),
    ("addresses", steady::addresses),
    ("guide", guide::check_fails),
    ("healthz", guide::health_fails),
];

fn main() -> ExitCode {
    let args = Args::parse();
    match enter() {
        Ok(Side::Outside(code)) => return code,
        Ok(Side::Inside) => {}
        Err(refused) => {
            eprintln!("{refused}");
            return ExitCode::FAILURE;
        }
    }
    if let Some(unknown) = args.only.iter().find(|only| PARTS.iter().all(|(name, _)| name != only)) {
        eprintln!("there is no part {unknown}");
        return ExitCode::FAILURE;
    }
    let seed = args.seed.unwrap_or_else(Dice::fresh_seed);
    eprintln!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut rows = Vec::new();
    for (name, part) in PARTS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        match part(&args, &mut dice) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "`baton keepalived` and keepalived with the same files, in turns, in network namespaces of one machine: {}, no \
         real-time priority. Median / maximum. \"Without\" is the longest time between two answers to a client that connects \
         each 5 ms (200 ms time-out), less these 5 ms; faults come at random moments. \"Two answering\" are answers of two \
         hosts to one ARP request, asked on every wire each 2 ms.\n\n{}",
        machine(),
        table(&rows, "keepalived")
    );
    ExitCode::SUCCESS
}
