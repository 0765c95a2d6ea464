//! What a daemon leaves behind, as the host's own tools see it.

use std::time::{Duration, Instant};

use baton_lab::cluster::Plan;
use baton_lab::harness::{Skipped, need, promised};
use baton_lab::host::gone;
use nix::sys::signal::Signal;

use crate::world::{PATIENCE, baton, cluster, has, host, shell, tables, words};

/// The longest that an address may outlive a dead daemon: its own lifetime, and the kernel's pace of removing it.
const LIFETIME: Duration = Duration::from_secs(5);

pub(crate) fn sigterm_leaves_only_the_markers() -> Result<(), Skipped> {
    need(&["ip", "nft"])?;
    let mut cluster = cluster(Plan::dual_stack(baton("")));
    let holder = cluster.holder().expect("somebody holds");
    for place in [holder, (holder + 1) % 3] {
        assert!(cluster.terminate(place, PATIENCE), "{}", words(&cluster));
        assert!(!has(&cluster, place), "the address is still there");
        let tables = tables(host(&cluster, place));
        assert_eq!(tables, ["inet baton-marks"], "{}", words(&cluster));
        let run = shell(host(&cluster, place), &format!("ls -A {}/run", host(&cluster, place).directory().display()));
        assert_eq!(run, "", "files in the run directory");
    }
    Ok(())
}

pub(crate) fn a_second_signal_ends_the_drain_and_leaves_nothing() -> Result<(), Skipped> {
    need(&["ip", "nft"])?;
    let mut cluster = cluster(Plan::new(baton("drain: 5s\n")));
    let holder = cluster.holder().expect("somebody holds");
    let daemon = cluster.daemon(holder).expect("it runs");
    cluster.signal(holder, Signal::SIGTERM);
    let from = Instant::now();
    while cluster.holder() == Some(holder) || cluster.holder().is_none() {
        assert!(from.elapsed() < PATIENCE, "nobody takes it\n{}", words(&cluster));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!gone(daemon) && has(&cluster, holder), "connections drain\n{}", words(&cluster));
    // The second one.
    assert!(cluster.terminate(holder, PATIENCE), "{}", words(&cluster));
    assert!(cluster.last_words(holder, 10).contains("SIGTERM again: leaving at once"), "{}", words(&cluster));
    assert!(!has(&cluster, holder), "the address is still there");
    assert_eq!(tables(host(&cluster, holder)), ["inet baton-marks"], "{}", words(&cluster));
    Ok(())
}

pub(crate) fn kill_leaves_nothing_for_long() -> Result<(), Skipped> {
    need(&["ip"])?;
    let mut cluster = cluster(Plan::new(baton("")));
    let holder = cluster.holder().expect("somebody holds");
    let from = Instant::now();
    cluster.kill(holder);
    while has(&cluster, holder) {
        assert!(from.elapsed() < LIFETIME, "the address outlives its daemon");
        std::thread::sleep(Duration::from_millis(50));
    }
    let report = cluster.report(from, Instant::now());
    promised(report.answering.most <= 1, || format!("{report:?}"));
    Ok(())
}

pub(crate) fn a_restart_after_kill_leaves_nothing() -> Result<(), Skipped> {
    need(&["ip", "nft"])?;
    let mut cluster = cluster(Plan::new(baton("")));
    let holder = cluster.holder().expect("somebody holds");
    cluster.kill(holder);
    std::thread::sleep(Duration::from_secs(1));
    cluster.start_daemon(holder).expect("it starts");
    assert!(cluster.wait_until_ready(holder, PATIENCE), "{}", words(&cluster));
    assert_ne!(cluster.holder(), Some(holder), "the other one goes on holding");
    assert!(!has(&cluster, holder), "the old address is still there\n{}", words(&cluster));
    assert!(cluster.terminate(holder, PATIENCE));
    assert_eq!(tables(host(&cluster, holder)), ["inet baton-marks"]);
    Ok(())
}

/// kube-vip 0.1 and keepalived leave the address on the host for ever when they are killed.
pub(crate) fn an_address_left_by_another_program_is_taken_over() -> Result<(), Skipped> {
    need(&["ip", "nft"])?;
    let mut cluster = cluster(Plan::new(baton("")));
    let standby = (cluster.holder().expect("somebody holds") + 1) % 3;
    assert!(cluster.terminate(standby, PATIENCE));
    // Unmarked and permanent. It answers until the daemon comes, which nobody can prevent.
    shell(host(&cluster, standby), &format!("ip addr add {}/32 dev eth0", cluster.vip()));
    cluster.start_daemon(standby).expect("it starts");
    assert!(cluster.wait_until_ready(standby, PATIENCE), "{}", words(&cluster));
    std::thread::sleep(Duration::from_millis(200));
    let from = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let report = cluster.report(from, Instant::now());
    promised(report.answering.most <= 1, || format!("{report:?}\n{}", words(&cluster)));
    assert!(report.answering.most == 1, "{report:?}\n{}", words(&cluster));
    assert!(cluster.terminate(standby, PATIENCE));
    assert!(!has(&cluster, standby), "the leftover is still there\n{}", words(&cluster));
    Ok(())
}
