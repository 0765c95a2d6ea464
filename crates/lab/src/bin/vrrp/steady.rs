//! Routers that nothing happens to: with busy neighbours, and many of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use baton_lab::cluster::{Cluster, Plan};
use baton_lab::dice::Dice;
use baton_lab::figures::Row;
use baton_lab::host::processor_time;
use baton_lab::subject::Subject;

use crate::Args;
use crate::faults::{SECOND, settle, subjects};

/// Busy loops beside the daemons.
const LOOPS: usize = 4;
/// The shortest interval that version 3 has.
const SHORTEST: Duration = Duration::from_millis(10);
/// Requests in a row without an answer that are a black-out: one may be lost on its way.
const SILENCE: usize = 2;
/// What many routers may take until the master has all addresses, and how long until they are as they stay.
const START: Duration = Duration::from_secs(90);
const SETTLE: Duration = Duration::from_secs(10);

/// What was seen beside the busy loops.
#[derive(Default)]
struct Busy {
    /// Another host than the master began to answer.
    failovers: usize,
    blackouts: usize,
    two: Duration,
}

pub(crate) fn busy(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let mut seen = [Busy::default(), Busy::default()];
    let rounds = args.rounds.div_ceil(3);
    for round in 0..rounds {
        for (place, subject) in subjects(args, SHORTEST)?.into_iter().enumerate() {
            let group = Cluster::start(Plan::new(subject))?;
            settle(&group)?;
            let now = one_look(&group, args.seconds);
            eprintln!("busy {round} {place}: {} failovers, {} black-outs", now.failovers, now.blackouts);
            if place == 0 && now.failovers + now.blackouts > 0 {
                eprintln!("{}\n---\n{}", group.last_words(0, 20), group.last_words(1, 20));
            }
            let all = &mut seen[place];
            (all.failovers, all.blackouts) = (all.failovers + now.failovers, all.blackouts + now.blackouts);
            all.two += now.two;
        }
    }
    let text = |seen: &Busy| {
        format!("{} / {} (n = {rounds}; two answering for {} ms)", seen.failovers, seen.blackouts, seen.two.as_millis())
    };
    let what = format!(
        "adverts 10 ms beside {LOOPS} busy loops, {} s each: false failovers / black-outs of the address",
        args.seconds
    );
    Ok(vec![Row::new(&what, "0 / 0", text(&seen[0]), text(&seen[1]))])
}

fn one_look(group: &Cluster, seconds: u64) -> Busy {
    let stop = Arc::new(AtomicBool::new(false));
    let work = |stop: Arc<AtomicBool>| {
        move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    };
    let loops: Vec<_> = (0..LOOPS).map(|_| thread::spawn(work(Arc::clone(&stop)))).collect();
    let from = Instant::now();
    thread::sleep(Duration::from_secs(seconds));
    let to = Instant::now();
    stop.store(true, Ordering::Relaxed);
    loops.into_iter().for_each(|one| drop(one.join()));
    // The last answers are filed by then.
    thread::sleep(Duration::from_millis(100));
    let samples = group.observer().samples(group.vip(), from, to);
    let silent: Vec<bool> = samples.iter().map(|sample| sample.answers.is_empty()).collect();
    let blackouts = silent.chunk_by(|a, b| a == b).filter(|run| run[0] && run.len() >= SILENCE).count();
    let number = group.nodes()[0].number;
    let other: Vec<bool> = samples.iter().map(|s| s.answers.iter().any(|answer| answer.port != number)).collect();
    let failovers = other.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
    Busy { failovers, blackouts, two: group.observer().answering(group.vip(), from, to).two }
}

/// As many routers on one interface as there are numbers.
pub(crate) fn routers(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let row = cost(args, "255 routers on one interface, adverts 1 s", 255, Subject::apart)?;
    Ok(vec![row])
}

/// Many addresses in one router.
pub(crate) fn addresses(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let row = cost(args, "200 addresses in one router, adverts 1 s", 200, |subject| subject)?;
    Ok(vec![row])
}

/// Processor time of a master and a backup of each, over the same seconds.
fn cost(args: &Args, what: &str, count: u8, subject: fn(Subject) -> Subject) -> io::Result<Row> {
    let vips: Vec<IpAddr> = (1..=count).map(|n| Ipv4Addr::new(10, 77, 1, n).into()).collect();
    let start = |subject, name| {
        let (nodes, interval) = (2, Duration::from_secs(3600));
        Cluster::start(Plan { nodes, vips: vips.clone(), interval, observed: false, ..Plan::named(name, subject) })
    };
    let [ours, theirs] = subjects(args, SECOND)?.map(subject);
    let groups = [start(ours, "b")?, start(theirs, "k")?];
    groups.iter().try_for_each(|group| all_held(group, &vips))?;
    thread::sleep(SETTLE);
    let mut rounds: Vec<[[f64; 2]; 2]> = Vec::new();
    for _ in 0..args.rounds {
        let before = groups.each_ref().map(used);
        thread::sleep(Duration::from_secs(args.seconds));
        let after = groups.each_ref().map(used);
        let share = |group: usize, node: usize| {
            (after[group][node] - before[group][node]).as_secs_f64() / Duration::from_secs(args.seconds).as_secs_f64()
        };
        rounds.push([[share(0, 0), share(0, 1)], [share(1, 0), share(1, 1)]]);
        eprintln!("{what}: {:?}", rounds.last());
    }
    let middle = |of: &dyn Fn(&[[f64; 2]; 2]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let ratio = middle(&|round| round[0].iter().sum::<f64>() / round[1].iter().sum::<f64>());
    let text = |group: usize| {
        let [master, backup] = [0, 1].map(|node| middle(&|round| round[group][node] * 100.0));
        format!("master {master:.2} %, backup {backup:.2} %")
    };
    let what = format!("{what}: processor time of master and backup, median of {} ratios", rounds.len());
    Ok(Row::new(&what, "≤ 1.0 × keepalived's", format!("{}; ratio {ratio:.2}", text(0)), text(1)))
}

/// Waits until the first host has all addresses.
fn all_held(group: &Cluster, vips: &[IpAddr]) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        let there = group.host(0).map(|host| host.run(|links| links.addresses())).transpose()?.unwrap_or_default();
        let held = there.iter().filter(|(_, address, _)| vips.contains(address)).count();
        if held == vips.len() {
            return Ok(());
        }
        if begin.elapsed() > START {
            let words = group.last_words(0, 20);
            return Err(io::Error::other(format!("the master has {held} of {} addresses:\n{words}", vips.len())));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Processor time of both hosts' processes so far.
fn used(group: &Cluster) -> [Duration; 2] {
    [0, 1].map(|place| {
        let processes = group.host(place).map(|host| host.processes()).unwrap_or_default();
        processes.into_iter().map(processor_time).sum()
    })
}
