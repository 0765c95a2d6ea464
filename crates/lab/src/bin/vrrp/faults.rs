//! Faults of the master, as the client and the wire see them.

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use baton_lab::cluster::{Cluster, Plan, VIP};
use baton_lab::dice::Dice;
use baton_lab::fault::Fault;
use baton_lab::figures::{Figures, Row, time};
use baton_lab::lab::{Part, v4};
use baton_lab::subject::Subject;
use baton_lab::trial::{self, Limits};

use crate::Args;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const TENTH: Duration = Duration::from_millis(100);
/// What a group may take until it is as it is to be.
const PATIENCE: Duration = Duration::from_secs(20);
/// Skew of the first backup, in adverts: (256 - 150) / 256.
const SKEW: f64 = 106.0 / 256.0;
/// How long a client is watched after a heal.
const WINDOW: Duration = Duration::from_secs(10);

/// Baton and keepalived, with a file that differs in nothing.
pub(crate) fn subjects(args: &Args, advert: Duration) -> io::Result<[Subject; 2]> {
    let rival = Subject::keepalived(advert).ok_or_else(|| io::Error::other("keepalived is not installed"))?;
    Ok([Subject::in_its_place(&args.baton, advert), rival])
}

/// A group of each, at work.
fn both(args: &Args, advert: Duration) -> io::Result<[Cluster; 2]> {
    let [ours, theirs] = subjects(args, advert)?;
    let groups = [Cluster::start(Plan::named("b", ours))?, Cluster::start(Plan::named("k", theirs))?];
    groups.iter().try_for_each(settle)?;
    Ok(groups)
}

/// Waits until the first host is master and the client is served.
pub(crate) fn settle(group: &Cluster) -> io::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if group.holder() == Some(0) && group.client().wait_for_answers(20, SECOND) && group.holder() == Some(0) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let words: Vec<String> = (0..group.nodes().len()).map(|place| group.last_words(place, 12)).collect();
    Err(io::Error::other(format!("the first host does not become master:\n{}", words.join("\n---\n"))))
}

fn limits(advert: Duration) -> Limits {
    Limits {
        phase: advert,
        patience: PATIENCE,
        lasting: advert * 4 + Duration::from_millis(300),
        after: advert + Duration::from_millis(200),
    }
}

/// Each run of each fault, first with one program and then with the other.
fn sudden(args: &Args, advert: Duration, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut groups = both(args, advert)?;
    let mut rows = Vec::new();
    let most = advert.mul_f64(3.0 + SKEW) + Duration::from_millis(50);
    for fault in [Fault::PowerOff, Fault::Terminate] {
        let mut figures = [Figures::default(), Figures::default()];
        for run in 0..args.runs {
            for (group, figures) in groups.iter_mut().zip(&mut figures) {
                settle(group)?;
                let trial = trial::run(group, fault, None, limits(advert), dice)?;
                figures.add(trial.fault.client.outage);
            }
            eprintln!("{} {run}: {} against {}", fault.title(), figures[0].text(), figures[1].text());
        }
        let what = format!("master: {}, adverts {} s: client without", fault.title(), advert.as_secs_f64());
        let must = format!("median ≤ keepalived's + 20 ms, maximum ≤ {}", time(most));
        rows.push(Row::new(&what, &must, figures[0].text(), figures[1].text()));
    }
    Ok(rows)
}

pub(crate) fn second(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    sudden(args, SECOND, dice)
}

pub(crate) fn tenth(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    sudden(args, TENTH, dice)
}

/// The master alone is cut off until another has taken over; then the client must find it again.
pub(crate) fn heal(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for advert in [SECOND, TENTH] {
        let mut groups = both(args, advert)?;
        let mut figures = [Figures::default(), Figures::default()];
        for run in 0..args.runs {
            for (group, figures) in groups.iter_mut().zip(&mut figures) {
                settle(group)?;
                if let Some(time) = healed(group, advert, dice)? {
                    figures.add(time);
                }
            }
            eprintln!("heal {run}: {} against {}", figures[0].text(), figures[1].text());
        }
        let text = |figures: &Figures| {
            let never = args.runs - figures.count();
            if never == 0 {
                return figures.text();
            }
            format!("{}; not within {} s in {never} of {} runs", figures.text(), WINDOW.as_secs(), args.runs)
        };
        let what =
            format!("master cut off and healed, adverts {} s: client without after the heal", advert.as_secs_f64());
        let must = format!("≤ {} in every run", time(advert + Duration::from_millis(50)));
        rows.push(Row::new(&what, &must, text(&figures[0]), text(&figures[1])));
    }
    Ok(rows)
}

/// How long after the heal until the client is served without a gap; `None`: not while it was watched.
fn healed(group: &mut Cluster, advert: Duration, dice: &mut Dice) -> io::Result<Option<Duration>> {
    group.set_part(0, Part::Island)?;
    let cut = Instant::now();
    let served = group.client().wait_for_answers(20, PATIENCE);
    if !served {
        return Err(io::Error::other("nobody takes over from a master that is cut off"));
    }
    // Every phase of both masters' adverts.
    thread::sleep((advert * 4).saturating_sub(cut.elapsed()) + dice.time(advert));
    group.set_part(0, Part::Mainland)?;
    let from = Instant::now();
    // A gap that has not begun yet must not be overlooked.
    thread::sleep(advert * 2 + Duration::from_millis(250));
    let well = group.client().wait_for_answers(20, WINDOW);
    let last_failure = group.client().attempts(from, Instant::now());
    let last_failure = last_failure.iter().filter(|attempt| !attempt.answered()).map(|attempt| attempt.started).max();
    Ok(well.then(|| last_failure.map_or(Duration::ZERO, |at| at - from)))
}

/// `kill -9` and SIGSTOP: for how long two hosts answer.
pub(crate) fn dead(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (advert, runs) in [(TENTH, args.runs), (SECOND, args.runs.div_ceil(4))] {
        let mut groups = both(args, advert)?;
        let limits = Limits { lasting: advert * 4 + SECOND, ..limits(advert) };
        for fault in [Fault::Kill, Fault::Stop] {
            let mut texts = Vec::new();
            for group in &mut groups {
                let (mut two, mut watched) = (Duration::ZERO, Duration::ZERO);
                for _ in 0..runs {
                    settle(group)?;
                    let struck = Instant::now();
                    let trial = trial::run(group, fault, None, limits, dice)?;
                    watched += struck.elapsed();
                    two += trial.two_answering();
                    if !trial.recovered {
                        return Err(io::Error::other(format!("{}: not well again: {trial:?}", fault.title())));
                    }
                }
                texts.push(match two {
                    Duration::ZERO => format!("never (n = {runs})"),
                    two => format!("{} of {} watched, until somebody ends it (n = {runs})", time(two), time(watched)),
                });
            }
            let what = format!("master: {}, adverts {} s: two hosts answering", fault.title(), advert.as_secs_f64());
            let theirs = texts.pop().unwrap_or_default();
            rows.push(Row::new(&what, "never", texts.pop().unwrap_or_default(), theirs));
        }
    }
    Ok(rows)
}

/// An address more, on the master alone.
pub(crate) fn reload(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut groups = both(args, TENTH)?;
    let (one, two) = (IpAddr::V4(v4(VIP)), IpAddr::V4(v4(VIP + 1)));
    let mut texts = Vec::new();
    for group in &mut groups {
        let from = Instant::now();
        group.reload(0, &[one, two])?;
        thread::sleep(SECOND * 3);
        let to = Instant::now();
        let report = group.report(from, to);
        let changes = group.observer().changes(one, from, to);
        texts.push(match (report.answering.two, changes) {
            (Duration::ZERO, 0) => "none".to_owned(),
            (two, _) => format!("second master; two answering for {} of {}", time(two), time(to - from)),
        });
    }
    let theirs = texts.pop().unwrap_or_default();
    let what = "an address more by a reload of the master alone: a second master";
    Ok(vec![Row::new(what, "none", texts.pop().unwrap_or_default(), theirs)])
}
