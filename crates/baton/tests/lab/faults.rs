//! What faults cost the client, and that never two hosts answer. The bounds are those of a busy machine; `cargo xtask bench`
//! measures the real ones.

use std::time::{Duration, Instant};

use baton_lab::cluster::{Cluster, Plan, Report};
use baton_lab::dice::Dice;
use baton_lab::fault::Fault;
use baton_lab::harness::{Skipped, promised};
use baton_lab::swarm;
use baton_lab::trial::{self, Limits, Trial};

use crate::world::{PATIENCE, baton, cluster, dice, words};

/// How much longer than on an idle machine things may take.
const BUSY: Duration = Duration::from_millis(600);
/// Runs that are given to a machine that had no time for us.
const RUNS: u32 = 3;

/// Strikes `fault`. Never may two answer, and all must be well again; the client may be without for at most `most`, but a machine
/// that starved the observer too is measured again.
fn strike(cluster: &mut Cluster, fault: Fault, victim: Option<usize>, most: Duration, dice: &mut Dice) -> Trial {
    for run in 1.. {
        let trial = trial::run(cluster, fault, victim, Limits::DEFAULT, dice).expect("a trial");
        let (outage, healed) = (trial.fault.client.outage, trial.repair.client.outage);
        let starved = starved(&trial.fault) || starved(&trial.repair);
        let what =
            format!("{}: {} ms without, {} ms after the repair", fault.title(), outage.as_millis(), healed.as_millis());
        println!("{what}{}", if starved { ", on a starved machine" } else { "" });
        let answered = trial.most_answering();
        promised(answered <= 1, || format!("{what}: {answered} answered\n{}", words(cluster)));
        assert!(trial.recovered, "{what}: not well again\n{}", words(cluster));
        assert!(starved || outage <= most && healed <= BUSY, "{what}\n{}", words(cluster));
        // What a starved machine shows is no measure of time; that nobody else answered and all is well again holds.
        if !starved || run == RUNS {
            return trial;
        }
    }
    unreachable!("the last run returns or fails")
}

/// The observer itself had to wait for its turn.
fn starved(report: &Report) -> bool {
    report.answering.blind > Duration::from_millis(50)
}

pub(crate) fn every_fault_of_the_holder_costs_at_most_its_lease() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::new(baton("")));
    let mut dice = dice();
    for fault in Fault::ALL {
        let trial = strike(&mut cluster, fault, None, Duration::from_millis(500) + BUSY, &mut dice);
        let moves = !matches!(fault, Fault::KillAndRestart | Fault::FlushRuleset | Fault::RemoveAddress);
        assert!(!moves || trial.during != Some(trial.before), "{}: nobody took over", fault.title());
    }
    Ok(())
}

/// With a lease of three seconds even a starved machine starts the process in time.
pub(crate) fn a_killed_holder_that_is_started_again_goes_on() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::new(baton("lease: 3s\n")));
    let limits = Limits { lasting: Duration::from_secs(4), ..Limits::DEFAULT };
    let trial = trial::run(&mut cluster, Fault::KillAndRestart, None, limits, &mut dice()).expect("a trial");
    promised(trial.most_answering() <= 1, || format!("{trial:?}\n{}", words(&cluster)));
    assert!(trial.recovered, "{trial:?}\n{}", words(&cluster));
    // The address is asked for again and again, since a starved machine's observer may have missed it for a while.
    assert_eq!(cluster.wait_for_holder(PATIENCE), Some(trial.before), "{}", words(&cluster));
    let said = cluster.last_words(trial.before, 20);
    assert!(said.contains("own lease taken up again after a restart"), "{said}");
    Ok(())
}

pub(crate) fn a_shorter_lease_is_a_shorter_outage() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::new(baton("lease: 100ms\n")));
    let mut dice = dice();
    for fault in [Fault::PowerOff, Fault::Kill, Fault::Partition] {
        strike(&mut cluster, fault, None, Duration::from_millis(100) + BUSY, &mut dice);
    }
    Ok(())
}

pub(crate) fn faults_of_a_standby_cost_nothing() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::new(baton("")));
    let mut dice = dice();
    for fault in [Fault::PowerOff, Fault::Kill, Fault::Stop, Fault::CablePull, Fault::Partition, Fault::Terminate] {
        let holder = cluster.holder().expect("somebody holds");
        let victim = (holder + 1) % cluster.nodes().len();
        let trial = strike(&mut cluster, fault, Some(victim), Duration::from_millis(250), &mut dice);
        assert_eq!(trial.during, Some(holder), "{}: the address moved", fault.title());
    }
    Ok(())
}

pub(crate) fn both_families_move_without_two_answering() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::dual_stack(baton("")));
    let mut dice = dice();
    for fault in [Fault::PowerOff, Fault::Kill, Fault::Stop, Fault::Terminate, Fault::Partition] {
        strike(&mut cluster, fault, None, Duration::from_millis(500) + BUSY, &mut dice);
        for vip in cluster.vips() {
            let holder = cluster.observer().holder(*vip, Duration::from_millis(100));
            assert!(holder.is_some(), "{}: nobody answers for {vip}\n{}", fault.title(), words(&cluster));
        }
    }
    Ok(())
}

pub(crate) fn sixty_random_faults_and_never_two_answer() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::dual_stack(baton("")));
    let swarm = swarm::run(&mut cluster, 60, &mut dice()).expect("a swarm");
    let answering = swarm.report.answering;
    println!("{} requests, {:?} nobody, {:?} two", answering.requests, answering.nobody, answering.two);
    promised(answering.most <= 1, || format!("{answering:?}\n{}\n{}", swarm.story(&cluster), words(&cluster)));
    assert!(swarm.converged, "not well again\n{}\n{}", swarm.story(&cluster), words(&cluster));
    assert!(answering.requests > 1000, "the observer slept: {answering:?}");
    Ok(())
}

pub(crate) fn a_rolling_restart_loses_hardly_a_connection() -> Result<(), Skipped> {
    let plan = Plan { interval: Duration::from_millis(2), ..Plan::new(baton("")) };
    let mut cluster = cluster(plan);
    for run in 1.. {
        let from = Instant::now();
        for place in 0..cluster.nodes().len() {
            assert!(cluster.terminate(place, PATIENCE), "{}", words(&cluster));
            cluster.start_daemon(place).expect("it starts");
            assert!(cluster.wait_until_ready(place, PATIENCE), "{}", words(&cluster));
        }
        let report = cluster.report(from, Instant::now());
        println!("{report:?}");
        promised(report.answering.most <= 1, || format!("{report:?}"));
        let smooth = report.client.outage <= Duration::from_millis(60) && report.client.failed <= 6;
        assert!(smooth || starved(&report), "{report:?}\n{}", words(&cluster));
        if smooth || run == RUNS {
            break;
        }
    }
    Ok(())
}

pub(crate) fn a_dead_server_is_left_out() -> Result<(), Skipped> {
    let mut cluster = cluster(Plan::new(baton("")));
    let from = Instant::now();
    cluster.stop_backend(0);
    std::thread::sleep(Duration::from_secs(1));
    let report = cluster.report(from, Instant::now());
    assert!(report.client.failed <= 3 || starved(&report), "{report:?}");
    assert!(report.client.outage < Duration::from_millis(250) || starved(&report), "{report:?}");
    cluster.stop_backend(1);
    std::thread::sleep(Duration::from_millis(300));
    cluster.start_backend(0).expect("it starts");
    assert!(cluster.client().wait_for_answers(20, PATIENCE), "{}", words(&cluster));
    Ok(())
}
