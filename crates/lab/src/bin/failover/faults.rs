//! Faults and moves, as the client and the wire see them.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use baton_lab::cluster::{Cluster, Plan};
use baton_lab::dice::Dice;
use baton_lab::fault::Fault;
use baton_lab::figures::{Figures, Row};
use baton_lab::lab::Part;
use baton_lab::subject::Subject;
use baton_lab::swarm as swarms;
use baton_lab::trial::{self, Limits};

use crate::Args;

const PATIENCE: Duration = Duration::from_secs(10);
/// A gap in a hand-over that one wants to know more about.
const UNUSUAL: Duration = Duration::from_millis(25);
/// How long a client is watched after a heal.
const WINDOW: Duration = Duration::from_secs(10);

pub(crate) fn baton(args: &Args, extra: &str) -> Subject {
    Subject::Baton { program: args.baton.clone(), extra: extra.to_owned() }
}

/// A cluster at work.
pub(crate) fn cluster(plan: Plan) -> io::Result<Cluster> {
    let cluster = Cluster::start(plan)?;
    let ready = (0..cluster.nodes().len()).all(|place| cluster.wait_until_ready(place, PATIENCE));
    if ready && cluster.client().wait_for_answers(20, PATIENCE) {
        return Ok(cluster);
    }
    Err(io::Error::other(format!("the cluster does not come up:\n{}", cluster.last_words(0, 20))))
}

/// Outages of one fault, `runs` times; and the longest time for which two hosts answered.
fn outages(
    cluster: &mut Cluster,
    fault: Fault,
    runs: usize,
    limits: Limits,
    dice: &mut Dice,
) -> io::Result<(Figures, Duration)> {
    let (mut figures, mut two) = (Figures::default(), Duration::ZERO);
    for _ in 0..runs {
        let trial = trial::run(cluster, fault, None, limits, dice)?;
        figures.add(trial.fault.client.outage);
        two = two.max(trial.two_answering());
    }
    Ok((figures, two))
}

fn with_two(figures: &Figures, two: Duration) -> String {
    let two = if two.is_zero() { String::new() } else { format!("; two answering for {:.3} s", two.as_secs_f64()) };
    format!("{}{two}", figures.text())
}

/// The four faults of the holder that only time can tell.
const SUDDEN: [Fault; 4] = [Fault::PowerOff, Fault::CablePull, Fault::Partition, Fault::Kill];

pub(crate) fn half_second(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let limits = Limits { lasting: Duration::from_millis(800), ..Limits::DEFAULT };
    let rival = Limits { phase: Duration::from_secs(1), lasting: Duration::from_millis(4500), ..Limits::DEFAULT };
    sudden(args, dice, "", limits, "≤ 480 / ≤ 620 ms", (Duration::from_secs(1), rival))
}

/// A supervisor starts the holder again as soon as it is dead.
pub(crate) fn restart(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let limits = Limits { lasting: Duration::from_millis(800), ..Limits::DEFAULT };
    let mut cluster = cluster(Plan::new(baton(args, "")))?;
    let (mut figures, mut two, mut moved) = (Figures::default(), Duration::ZERO, 0);
    for _ in 0..args.runs {
        let trial = trial::run(&mut cluster, Fault::KillAndRestart, None, limits, dice)?;
        if trial.during != Some(trial.before) {
            moved += 1;
            tell(&cluster, &format!("unusual: {trial:?}"));
        }
        figures.add(trial.fault.client.outage);
        two = two.max(trial.two_answering());
    }
    let text = format!("{}; another host took it in {moved} runs", with_two(&figures, two));
    let what = "`kill -9` of the holder, restarted at once: client without";
    Ok(vec![Row::new(what, "≤ 500 ms", text, "–".to_owned())])
}

pub(crate) fn tenth_of_a_second(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let limits = Limits {
        phase: Duration::from_millis(200),
        lasting: Duration::from_millis(400),
        after: Duration::from_millis(300),
        ..Limits::DEFAULT
    };
    let rival = Limits { lasting: Duration::from_millis(800), ..limits };
    sudden(args, dice, "lease: 100ms\n", limits, "≤ 110 / ≤ 180 ms", (Duration::from_millis(100), rival))
}

fn sudden(
    args: &Args,
    dice: &mut Dice,
    extra: &str,
    limits: Limits,
    must: &str,
    rival: (Duration, Limits),
) -> io::Result<Vec<Row>> {
    let mut ours = cluster(Plan::new(baton(args, extra)))?;
    let theirs = if args.rival == 0 { None } else { Subject::keepalived(rival.0) };
    let mut theirs = theirs.map(|subject| cluster(Plan::named("k", subject))).transpose()?;
    let lease = if extra.is_empty() { "lease 500 ms" } else { extra.trim() };
    let mut rows = Vec::new();
    for fault in SUDDEN {
        let (figures, two) = outages(&mut ours, fault, args.runs, limits, dice)?;
        let other = match &mut theirs {
            None => "–".to_owned(),
            Some(cluster) => {
                let (figures, two) = outages(cluster, fault, args.rival, rival.1, dice)?;
                format!("{}, adverts {} s", with_two(&figures, two), rival.0.as_secs_f64())
            }
        };
        let what = format!("holder: {}, {lease}: client without", fault.title());
        rows.push(Row::new(&what, must, with_two(&figures, two), other));
    }
    Ok(rows)
}

/// SIGTERM of the holder, and rolling restarts, with 500 connections each second.
pub(crate) fn moves(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut cluster = cluster(Plan { interval: Duration::from_millis(2), ..Plan::new(baton(args, "")) })?;
    let (mut gaps, mut failed, mut two) = (Figures::default(), Vec::new(), Duration::ZERO);
    for _ in 0..args.runs {
        let from = Instant::now();
        let holder = cluster.wait_for_holder(PATIENCE).ok_or_else(|| io::Error::other("nobody holds"))?;
        if !cluster.terminate(holder, PATIENCE) {
            return Err(io::Error::other("SIGTERM does not end it"));
        }
        cluster.start_daemon(holder)?;
        if !cluster.wait_until_ready(holder, PATIENCE) {
            return Err(io::Error::other(format!("not ready again:\n{}", cluster.last_words(holder, 20))));
        }
        let report = cluster.report(from, Instant::now());
        if report.client.outage > UNUSUAL || report.client.failed > 2 {
            tell(&cluster, &format!("unusual: {report:?}"));
        }
        gaps.add(report.client.outage);
        failed.push(report.client.failed);
        two = two.max(report.answering.two);
    }
    let most = failed.iter().max().copied().unwrap_or_default();
    let mean = f64::from(u32::try_from(failed.iter().sum::<usize>()).unwrap_or(u32::MAX))
        / f64::from(u32::try_from(failed.len().max(1)).unwrap_or(1));
    let text = format!("{}; failed {mean:.1} on average, {most} at most", with_two(&gaps, two));
    let rival = rival_sigterm(args)?;
    let what =
        "SIGTERM of the holder and restart, each when the last is ready, 500 connections/s: gap, failed per move";
    Ok(vec![Row::new(what, "≤ 25 ms, ≤ 2 failed", text, rival)])
}

fn rival_sigterm(args: &Args) -> io::Result<String> {
    let subject = if args.rival == 0 { None } else { Subject::keepalived(Duration::from_secs(1)) };
    let Some(subject) = subject else { return Ok("–".to_owned()) };
    let mut cluster = cluster(Plan { name: "k", interval: Duration::from_millis(2), ..Plan::new(subject) })?;
    let limits = Limits { lasting: Duration::from_secs(1), after: Duration::from_secs(4), ..Limits::DEFAULT };
    let (figures, two) = outages(&mut cluster, Fault::Terminate, args.rival, limits, &mut Dice::new(1))?;
    Ok(format!("{}, adverts 1 s", with_two(&figures, two)))
}

/// Something that one wants to know more about: what the daemons said goes to standard error.
fn tell(cluster: &Cluster, what: &str) {
    eprintln!("{what}");
    for place in 0..cluster.nodes().len() {
        eprintln!("--- {}\n{}", cluster.name(place), cluster.last_words(place, 12));
    }
}

/// The client is cut off together with the holder, and must find the new one when the network heals.
pub(crate) fn heal(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut ours = cluster(Plan::new(baton(args, "")))?;
    let text = heals(&mut ours, args.runs, Duration::from_millis(1200), dice)?;
    let rival = match Subject::keepalived(Duration::from_secs(1)).filter(|_| args.rival > 0) {
        None => "–".to_owned(),
        Some(subject) => {
            let mut theirs = cluster(Plan::named("k", subject))?;
            thread::sleep(Duration::from_secs(4));
            heals(&mut theirs, args.rival, Duration::from_secs(5), dice)?
        }
    };
    Ok(vec![Row::new(
        "client cut off together with the holder, then healed: without after the heal",
        "≤ 100 ms",
        text,
        rival,
    )])
}

fn heals(cluster: &mut Cluster, runs: usize, lasting: Duration, dice: &mut Dice) -> io::Result<String> {
    let (mut figures, mut never) = (Figures::default(), 0);
    for _ in 0..runs {
        let holder = cluster.wait_for_holder(PATIENCE).ok_or_else(|| io::Error::other("nobody holds"))?;
        let _ = cluster.client().wait_for_answers(20, WINDOW);
        cluster.set_part(holder, Part::Island)?;
        cluster.set_client_part(Part::Island)?;
        thread::sleep(lasting + dice.time(Duration::from_millis(500)));
        cluster.set_client_part(Part::Mainland)?;
        cluster.set_part(holder, Part::Mainland)?;
        // Plugging takes the kernel's routing lock, which whoever else works on this machine may hold: only then it is healed.
        let healed = Instant::now();
        // Well again: answers in a row, so that a last answer of the old holder does not count.
        let well = cluster.client().wait_for_answers(20, WINDOW);
        match cluster.client().settled(healed, 20) {
            Some(time) if well => {
                if time > Duration::from_millis(100) {
                    tell(cluster, &format!("unusual: healed, and {} ms without", time.as_millis()));
                }
                figures.add(time);
            }
            _ => never += 1,
        }
        thread::sleep(Duration::from_millis(500));
    }
    let never = if never == 0 { String::new() } else { format!("; not within {} s in {never} runs", WINDOW.as_secs()) };
    Ok(format!("{}{never}", figures.text()))
}

pub(crate) fn swarm(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut left = args.swarm;
    let (mut two, mut requests, mut stuck) = (Duration::ZERO, 0, 0);
    while left > 0 {
        let count = left.min(100);
        left -= count;
        let mut cluster = cluster(Plan::dual_stack(baton(args, "")))?;
        let swarm = swarms::run(&mut cluster, count, dice)?;
        two += swarm.report.answering.two;
        requests += swarm.report.answering.requests;
        stuck += u32::from(!swarm.converged);
        if swarm.report.answering.most > 1 || !swarm.converged {
            tell(&cluster, &format!("unusual: well again: {}\n{}", swarm.converged, swarm.story(&cluster)));
        }
        eprintln!("{count} faults: {:?}", swarm.report.answering);
    }
    let what = format!("time with two answering, over {} random faults one upon another, IPv4 and IPv6", args.swarm);
    let stuck = if stuck == 0 { "well again every time".to_owned() } else { format!("NOT WELL AGAIN {stuck} times") };
    let text = format!("{} ms ({requests} requests; {stuck})", two.as_millis());
    Ok(vec![Row::new(&what, "0", text, "without end after `kill -9`".to_owned())])
}
