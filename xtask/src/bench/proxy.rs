//! The proxy's cost, paired with haproxy: CPU per connection and per byte, memory per idle connection.
//!
//! Both run on the loopback interface of this host with two threads, checks on, no log, in turns whose order rotates.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};

use super::load::{
    CONNECTIONS, IDLE, KINDS, Round, STREAM_BYTES, Subject, bytes, connections, fronts, host, idle, list, row, servers,
    started, turns, version,
};
use crate::process;

/// Rounds unless `--rounds N` says otherwise. From 15 on the interval has a meaning.
const ROUNDS: usize = 15;

/// Measures and returns the section.
pub(super) fn measure(args: &[String]) -> Result<String> {
    let (mut rounds, mut program) = (ROUNDS, None);
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        match (flag.as_str(), args.next()) {
            ("--rounds", Some(n)) => rounds = n.parse().context("--rounds takes a number")?,
            ("--program", Some(path)) => program = Some(PathBuf::from(path)),
            _ => bail!("this measurement takes --rounds N and --program PATH (instead of building the example)"),
        }
    }
    let program = program.map_or_else(build, Ok)?;
    let haproxy = process::find("haproxy").context("haproxy is not installed (Debian: haproxy)")?;
    let held = Arc::new(Mutex::new(Vec::new()));
    let behind = servers(&held)?;
    let subjects = [
        baton(&program, &behind)?,
        other(&haproxy, &behind)?,
        Subject { name: "nothing", child: None, fronts: behind },
    ];
    for subject in &subjects {
        // Not counted: first pages, first connections.
        connections(subject, CONNECTIONS / 10)?;
        bytes(subject, STREAM_BYTES / 16)?;
    }
    let memory = [idle(&subjects[0], &held, || ())?, idle(&subjects[1], &held, || ())?];
    let (mut per_connection, mut per_byte) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        per_connection.push(turns(&subjects, round, |s| connections(s, CONNECTIONS))?);
        per_byte.push(turns(&subjects, round, |s| bytes(s, STREAM_BYTES))?);
        let [a, b, _] = per_connection[round].map(|c| c.cpu);
        let [c, d, _] = per_byte[round].map(|c| c.cpu);
        eprintln!(
            "round {:2}: 10,000 connections {a:.3} against {b:.3} s ({:.3}); GB {c:.3} against {d:.3} s ({:.3})",
            round + 1,
            a / b,
            c / d
        );
    }
    Ok(section(&version(&haproxy)?, &per_connection, &per_byte, memory))
}

fn build() -> Result<PathBuf> {
    process::run(process::cargo().args(["build", "--release", "--package", "baton", "--example", "proxy"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| process::root().join("target"), Into::into);
    Ok(target.join("release/examples/proxy"))
}

fn baton(program: &Path, behind: &[Vec<SocketAddr>; KINDS]) -> Result<Subject> {
    let fronts = fronts()?;
    let balancers = fronts.iter().zip(behind).map(|(front, backends)| format!("{front}={}", list(backends)));
    let mut child =
        Command::new(program).arg("2").args(balancers).stdout(Stdio::piped()).spawn().context("starting the proxy")?;
    let mut line = String::new();
    let out = child.stdout.take().context("its output")?;
    BufReader::new(out).read_line(&mut line)?;
    let subject = Subject { name: "baton", child: Some(child), fronts: fronts.map(|front| vec![front]) };
    ensure!(line == "ready\n", "the proxy did not start");
    Ok(subject)
}

fn other(program: &Path, behind: &[Vec<SocketAddr>; KINDS]) -> Result<Subject> {
    let fronts = fronts()?;
    let mut text = String::from(
        "global\n nbthread 2\n maxconn 9500\ndefaults\n mode tcp\n timeout connect 500ms\n timeout client 10m\n \
         timeout server 10m\n default-server check inter 2s fall 3 rise 2\n",
    );
    for (front, backends) in fronts.iter().zip(behind) {
        writeln!(text, "listen {}\n bind {front}\n balance roundrobin", front.port())?;
        for (number, backend) in backends.iter().enumerate() {
            writeln!(text, " server s{number} {backend}")?;
        }
    }
    let directory = process::root().join("target/bench");
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text)?;
    let child = Command::new(program).arg("-db").arg("-f").arg(&file).spawn().context("starting haproxy")?;
    let subject = Subject { name: "haproxy", child: Some(child), fronts: fronts.map(|front| vec![front]) };
    started(fronts[0])?;
    Ok(subject)
}

fn section(version: &str, per_connection: &[Round], per_byte: &[Round], memory: [f64; 2]) -> String {
    let rows = |what: &str, rounds: &[Round]| {
        let pairs = |of: fn(&Round) -> [f64; 2]| rounds.iter().map(of).collect::<Vec<_>>();
        row(&format!("CPU per {what}"), "s", &pairs(|r| [r[0].cpu, r[1].cpu]))
            + &row(
                &format!("CPU per {what}, everybody's minus that without a proxy"),
                "s",
                &pairs(|r| [r[0].lab - r[2].lab, r[1].lab - r[2].lab]),
            )
            + &row(&format!("time per {what}"), "s", &pairs(|r| [r[0].wall, r[1].wall]))
    };
    let [ours, theirs] = memory;
    format!(
        "Against haproxy {version} on {}: two threads each, TCP checks on, no log, loopback, 3 backends, {} interleaved rounds. \
         CPU is that of the proxy's own process unless it says otherwise; the ratio is the median of the rounds' ratios \
         with its 95 % interval.\n\n\
         | | Baton | haproxy | ratio |\n| --- | --- | --- | --- |\n{}{}\
         | resident memory with {IDLE} idle connections | {ours:.1} MB | {theirs:.1} MB | {:.3} |\n",
        host(),
        per_connection.len(),
        rows("10,000 connections (64 at once, one byte each way)", per_connection),
        rows("GB (6 streams)", per_byte),
        ours / theirs
    )
}
