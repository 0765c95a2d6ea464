//! `baton-sim`: a swarm of seeds, one seed with its trace, or the search through a small cluster.

use std::process::ExitCode;
use std::time::Duration;

use baton_sim::explore::{Limits, explore, trio};
use baton_sim::leases::{self, LeasePlan};
use baton_sim::vrrp::{self, GroupPlan};
use baton_sim::{Mistake, Plan, Report, hunt, run, run_faults, swarm};

const USAGE: &str = "\
usage: baton-sim [--seeds N] [--from SEED] [--mistake NAME] [--hunt NAME]
       baton-sim --leases|--vrrp [--seeds N] [--from SEED] | --leases|--vrrp --seed SEED [--trace]
       baton-sim --seed SEED [--trace] [--mistake NAME] [--hunt NAME]
       baton-sim --explore DEPARTURES [--steps N] [--states N] [--mistake NAME]";

/// What was asked for.
#[derive(Debug)]
struct Args {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    trace: bool,
    /// Clusters whose addresses hang on Leases.
    leases: bool,
    /// VRRP groups.
    vrrp: bool,
    mistake: Option<Mistake>,
    hunt: Option<Mistake>,
    explore: Option<u32>,
    steps: u32,
    states: usize,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut parsed = Args {
        seeds: 1000,
        from: 0,
        seed: None,
        trace: false,
        leases: false,
        vrrp: false,
        mistake: None,
        hunt: None,
        explore: None,
        steps: 60,
        states: 3_000_000,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg}: a value is missing"));
        match arg.as_str() {
            "--seeds" => parsed.seeds = number(&arg, &value()?)?,
            "--from" => parsed.from = number(&arg, &value()?)?,
            "--seed" => parsed.seed = Some(number(&arg, &value()?)?),
            "--explore" => parsed.explore = Some(number(&arg, &value()?)?),
            "--steps" => parsed.steps = number(&arg, &value()?)?,
            "--states" => parsed.states = number(&arg, &value()?)?,
            "--mistake" => parsed.mistake = Some(mistake(&arg, &value()?)?),
            "--hunt" => parsed.hunt = Some(mistake(&arg, &value()?)?),
            "--trace" => parsed.trace = true,
            "--leases" => parsed.leases = true,
            "--vrrp" => parsed.vrrp = true,
            other => return Err(format!("{other}: unknown")),
        }
    }
    Ok(parsed)
}

fn number<N: std::str::FromStr>(key: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{key}: {value} is no number that fits"))
}

fn mistake(key: &str, name: &str) -> Result<Mistake, String> {
    let all = Mistake::ALL.map(|mistake| format!("{mistake:?}"));
    let found = Mistake::ALL.into_iter().find(|mistake| format!("{mistake:?}") == name);
    found.ok_or_else(|| format!("{key}: {name} is none of {}", all.join(", ")))
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(args) if args.leases => {
            each(&args, |seed| leases::run(LeasePlan::new(seed), None, args.trace), |r| (r.violation, r.lines))
        }
        Ok(args) if args.vrrp => each(&args, |seed| vrrp::run(GroupPlan::new(seed)), |r| (r.violation, r.lines)),
        Ok(args) => match (args.explore, args.seed) {
            (Some(departures), _) => search(departures, &args),
            (None, Some(seed)) => one(seed, &args),
            (None, None) => many(&args),
        },
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// A seed's plan: an ordinary one, or one in which a mistake would show soon.
fn plan(seed: u64, args: &Args) -> Plan {
    args.hunt.map_or_else(|| Plan::new(seed), |mistake| hunt::plan(mistake, seed))
}

/// A hunt looks for two that answer, and for nothing else.
fn simulate(seed: u64, args: &Args, lines: bool) -> Report {
    let run = if args.hunt.is_some() { run_faults } else { run };
    run(plan(seed, args), args.mistake, lines)
}

fn one(seed: u64, args: &Args) -> ExitCode {
    let report = simulate(seed, args, args.trace);
    for line in &report.lines {
        println!("{line}");
    }
    println!("seed {seed}: {} steps, hash {:016x}", report.steps, report.hash);
    println!(
        "answered {:.3} of the time under faults, {:.4} at rest",
        report.under_faults.ratio(),
        report.at_rest.ratio()
    );
    match report.violation {
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// Runs each seed and tells what broke.
fn each<R>(args: &Args, run: impl Fn(u64) -> R, look: impl Fn(R) -> (Option<String>, Vec<String>)) -> ExitCode {
    let seeds = args.seed.map_or(args.from..args.from.saturating_add(args.seeds), |seed| seed..seed + 1);
    let mut failed = false;
    for seed in seeds {
        let (violation, lines) = look(run(seed));
        lines.iter().filter(|_| args.trace).for_each(|line| println!("{line}"));
        if let Some(violation) = violation {
            println!("seed {seed}: {violation}");
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn many(args: &Args) -> ExitCode {
    let seeds = args.from..args.from.saturating_add(args.seeds);
    let all = swarm::swarm(seeds, 20, |seed| simulate(seed, args, false));
    for report in &all.failed {
        if let Some(violation) = &report.violation {
            println!("seed {}: {violation}", report.seed);
        }
    }
    println!(
        "{} seeds, {} steps, {} failed; answered {:.3} of the time under faults, {:.4} at rest; {} rough hand-overs",
        all.runs,
        all.steps,
        all.failed.len(),
        all.under_faults.ratio(),
        all.at_rest.ratio(),
        all.rough
    );
    if let Some(first) = all.failed.first() {
        println!("see one: baton-sim --seed {} --trace", first.seed);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn search(departures: u32, args: &Args) -> ExitCode {
    let limits = Limits { steps: args.steps, departures, states: args.states };
    for calm in [Duration::ZERO, Duration::from_secs(7)] {
        let found = explore(&trio(Duration::from_millis(100)), calm, limits, args.mistake);
        let end = if found.cut { "stopped at the limit of states" } else { "complete" };
        println!(
            "from {calm:?}: {} states on {} branches ({} met again), {end}",
            found.states, found.branches, found.met
        );
        if let Some((path, seen)) = found.violation {
            println!("never two answer: {seen}, after\n  {}", path.join("\n  "));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
