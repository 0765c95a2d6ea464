//! Measures failover beside keepalived and prints a section of docs/benchmarks.md. `cargo xtask bench failover` runs it.

mod faults;
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
    /// Runs of each fault
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Runs of each fault with keepalived; 0: none
    #[arg(long, default_value_t = 6)]
    rival: usize,
    /// Random faults, one upon another
    #[arg(long, default_value_t = 500)]
    swarm: usize,
    /// Seconds of each look at a cluster under load
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Rounds of the comparison with and without gates
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Only these parts: faults, restart, short, moves, heal, swarm, load, idle, gates
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Repeat the random moments of an earlier run
    #[arg(long)]
    seed: Option<u64>,
}

/// A part of the measurements.
type Part = fn(&Args, &mut Dice) -> io::Result<Vec<Row>>;

const PARTS: [(&str, Part); 9] = [
    ("faults", faults::half_second),
    ("restart", faults::restart),
    ("short", faults::tenth_of_a_second),
    ("moves", faults::moves),
    ("heal", faults::heal),
    ("swarm", faults::swarm),
    ("load", steady::load),
    ("idle", steady::idle),
    ("gates", steady::gates),
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
        "Three hosts, a client and two servers in network namespaces of one machine: {}, no real-time \
         priority. Median / maximum. \"Without\" is the longest time between two answers to a client that connects each 5 ms (200 ms time-out), less these 5 ms; faults come at random moments. \"Two answering\" are answers of \
         two hosts to one ARP request or neighbour solicitation, asked on every wire each 2 ms.\n\n{}",
        machine(),
        table(&rows, "keepalived")
    );
    ExitCode::SUCCESS
}
