//! The scripted tour: every fault once, one line each, and at the end the same beside keepalived.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use baton_lab::cluster::{Cluster, Plan, Report};
use baton_lab::dice::Dice;
use baton_lab::enter::THIS_PROGRAM;
use baton_lab::fault::Fault;
use baton_lab::observer;
use baton_lab::subject::Subject;
use baton_lab::trial::{self, Limits, Trial};

use super::Args;

/// Time until the first answer, at most.
const START: Duration = Duration::from_secs(10);
/// What keepalived is asked to do: the faults in which the two differ most.
const COMPARED: [Fault; 4] = [Fault::PowerOff, Fault::Kill, Fault::Partition, Fault::Terminate];
/// keepalived's default time between adverts.
const ADVERT: Duration = Duration::from_secs(1);
/// keepalived's standbys need three to four adverts to notice a fault, and only then may two answer.
const KEEPALIVED: Limits = Limits {
    phase: Duration::from_secs(1),
    patience: Duration::from_secs(5),
    lasting: Duration::from_millis(4500),
    after: Duration::from_millis(500),
};

/// A trial of keepalived: the fault, and what came of it if the lab itself worked.
type Compared = Vec<(Fault, Option<Trial>)>;

/// One step, for people.
struct Line {
    title: String,
    report: Report,
    note: String,
    kept: bool,
}

/// Runs the tour. True when every promise was kept.
pub(super) fn run(args: &Args) -> io::Result<bool> {
    let seed = args.seed.unwrap_or_else(Dice::fresh_seed);
    let mut dice = Dice::new(seed);
    say(&format!(
        "Three hosts keep {} alive with a lease of {}; a client connects through it to two servers, 200 times a second.\n\
         \"without\" is the longest time between two answers, \"answering\" how many hosts answered ARP requests for the\n\
         address at one moment, asked on every wire each {} ms. Moments are random (seed {seed}).\n",
        baton_lab::lab::v4(baton_lab::cluster::VIP),
        args.lease,
        observer::INTERVAL.as_millis(),
    ));
    let rival = if args.alone { None } else { rival(seed)? };
    let lines = tour(args, &mut dice)?;
    let compared = rival.map(|rival| rival.join().unwrap_or_default());
    let kept = lines.iter().all(|line| line.kept);
    say(&closing(&lines, compared.as_ref()));
    say(if kept { "Every promise was kept." } else { "A PROMISE WAS BROKEN: see the lines marked with !" });
    Ok(kept)
}

fn say(text: &str) {
    // Nobody reads any more: the exit code still says how it went.
    let _ = writeln!(io::stdout(), "{text}");
}

/// keepalived in a lab of its own, at the same time; `None` where it is not installed.
fn rival(seed: u64) -> io::Result<Option<JoinHandle<Compared>>> {
    let Some(subject) = Subject::keepalived(ADVERT) else { return Ok(None) };
    let work = move || {
        let mut dice = Dice::new(seed.wrapping_add(1));
        let Ok(mut cluster) = Cluster::start(Plan::named("k", subject)) else { return Vec::new() };
        let _ = cluster.client().wait_for_answers(20, START);
        let trial = |fault| (fault, trial::run(&mut cluster, fault, None, KEEPALIVED, &mut dice).ok());
        COMPARED.into_iter().map(trial).collect()
    };
    thread::Builder::new().name("keepalived".to_owned()).spawn(work).map(Some)
}

fn tour(args: &Args, dice: &mut Dice) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let began = Instant::now();
    let mut cluster = Cluster::start(Plan::new(subject(args)))?;
    lines.push(show(&cluster, start(&cluster, began)));
    if !lines[0].kept {
        return Ok(lines);
    }
    for fault in [Fault::PowerOff, Fault::Kill, Fault::Stop, Fault::CablePull, Fault::Partition] {
        let line = one(&mut cluster, fault, dice)?;
        lines.push(show(&cluster, line));
    }
    let line = rolling_restart(&mut cluster)?;
    lines.push(show(&cluster, line));
    let line = backend_death(&mut cluster)?;
    lines.push(show(&cluster, line));
    Ok(lines)
}

/// Baton as this executable, with the lease of the command line.
pub(super) fn subject(args: &Args) -> Subject {
    Subject::Baton { program: THIS_PROGRAM.into(), extra: format!("lease: {}\n", args.lease) }
}

/// Prints a line; after a broken promise also what the daemons had to say.
fn show(cluster: &Cluster, line: Line) -> Line {
    let mark = if line.kept { ' ' } else { '!' };
    let seen = line.report;
    say(&format!(
        "{mark} {:<30} without {:>5} ms   answering {:<18} {}",
        line.title,
        seen.client.outage.as_millis(),
        answering(seen.answering.most, seen.answering.two),
        line.note
    ));
    if !line.kept {
        for place in 0..cluster.nodes().len() {
            say(&format!("--- {} said last:\n{}", cluster.name(place), cluster.last_words(place, 12)));
        }
    }
    line
}

fn answering(most: u32, two: Duration) -> String {
    if most <= 1 { format!("at most {most}") } else { format!("{most}, for {} ms", two.as_millis()) }
}

fn start(cluster: &Cluster, began: Instant) -> Line {
    let served = cluster.client().wait_for_answers(20, START);
    let first = cluster.client().attempts(began, Instant::now());
    let first = first.iter().find(|attempt| matches!(attempt.outcome, baton_lab::client::Outcome::Answered(_)));
    let note = match (first, cluster.holder()) {
        (Some(first), Some(holder)) => {
            format!("{} holds, first answer after {} ms", cluster.name(holder), (first.ended - began).as_millis())
        }
        _ => "nobody holds the address".to_owned(),
    };
    let ready = (0..cluster.nodes().len()).all(|place| cluster.wait_until_ready(place, START));
    let mut report = cluster.report(began, Instant::now());
    // Nobody was without anything before the first answer.
    report.client = cluster.client().seen(first.map_or(began, |first| first.ended), Instant::now());
    Line { title: "start of all three".to_owned(), kept: served && ready && report.answering.most <= 1, report, note }
}

fn one(cluster: &mut Cluster, fault: Fault, dice: &mut Dice) -> io::Result<Line> {
    let trial = trial::run(cluster, fault, None, Limits::DEFAULT, dice)?;
    let mut report = trial.fault;
    report.answering.most = trial.most_answering();
    report.answering.two = trial.two_answering();
    let after = trial.repair.client.outage.as_millis();
    let note = match trial.during {
        _ if !trial.recovered => "not served again in time".to_owned(),
        Some(during) => {
            format!("{} takes over; {} comes back: {after} ms", cluster.name(during), cluster.name(trial.before))
        }
        None => "nobody takes over".to_owned(),
    };
    Ok(Line { title: format!("{}: {}", cluster.name(trial.before), fault.title()), report, note, kept: trial.kept() })
}

/// Every node in turn is ended and started again, each when the last one is ready.
fn rolling_restart(cluster: &mut Cluster) -> io::Result<Line> {
    let from = Instant::now();
    let mut kept = true;
    for place in 0..cluster.nodes().len() {
        kept &= cluster.terminate(place, Limits::DEFAULT.patience);
        cluster.start_daemon(place)?;
        kept &= cluster.wait_until_ready(place, Limits::DEFAULT.patience);
    }
    kept &= cluster.client().wait_for_answers(20, Limits::DEFAULT.patience);
    let report = cluster.report(from, Instant::now());
    kept &= report.answering.most <= 1;
    let seen = report.client;
    let note = format!("{} of {} connections failed", seen.failed, seen.failed + seen.answered);
    Ok(Line { title: "rolling restart, SIGTERM each".to_owned(), report, note, kept })
}

/// One of the two servers behind the address dies.
fn backend_death(cluster: &mut Cluster) -> io::Result<Line> {
    let from = Instant::now();
    cluster.stop_backend(0);
    thread::sleep(Limits::DEFAULT.lasting);
    let served = cluster.client().wait_for_answers(20, Limits::DEFAULT.patience);
    let report = cluster.report(from, Instant::now());
    cluster.start_backend(0)?;
    let seen = report.client;
    let note = format!("{} of {} connections failed", seen.failed, seen.failed + seen.answered);
    Ok(Line { title: "one of two servers dies".to_owned(), kept: served && report.answering.most <= 1, report, note })
}

/// The closing table.
fn closing(lines: &[Line], compared: Option<&Compared>) -> String {
    let Some(compared) = compared.filter(|compared| !compared.is_empty()) else {
        return "\n(Install keepalived to see its figures beside these; --alone goes without.)\n".to_owned();
    };
    let mut text = format!("\n  {:<24} {:<34} keepalived, adverts each second\n", "the same for both", "Baton");
    for (fault, trial) in compared {
        let ours = lines.iter().find(|line| {
            line.title.ends_with(fault.title()) || line.title.contains("SIGTERM") && *fault == Fault::Terminate
        });
        let Some(ours) = ours else { continue };
        let seen = |report: &Report, most, two| {
            format!("{:>5} ms, answering {}", report.client.outage.as_millis(), answering(most, two))
        };
        let theirs = trial
            .as_ref()
            .map_or("–".to_owned(), |trial| seen(&trial.fault, trial.most_answering(), trial.two_answering()));
        let ours = seen(&ours.report, ours.report.answering.most, ours.report.answering.two);
        text += &format!("  {:<24} {ours:<34} {theirs}\n", fault.title());
    }
    text + "\n  (After kill -9 keepalived's address stays on the dead host for ever: it answers until somebody removes it.)\n"
}
