//! `baton haproxy` beside haproxy with the same haproxy.cfg: sessions with rules, timeouts and a log.
//!
//! Both run on the loopback interface of this host with two threads, TCP checks and `maxconn`, and tell every session to the
//! same UDP socket, in turns whose order rotates.

mod death;
mod reload;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{
    CONNECTIONS, IDLE, KINDS, Round, STREAM_BYTES, Subject, bytes, connections, fronts, host, idle, latencies,
    requests, row, servers, started, turns, version,
};
use crate::process;

/// Rounds unless `--rounds N` says otherwise. From 15 on the interval has a meaning.
const ROUNDS: usize = 15;
/// Requests per cell.
const REQUESTS: usize = 40_000;
/// Requests per second, and seconds, of a look at latencies.
const RATE: u32 = 2_000;
const SECONDS: u32 = 4;
/// Lines of the log that are kept.
const LINES: usize = 1_000;

/// What is asked for on the command line.
struct Options {
    rounds: usize,
    reloads: usize,
    baton: Option<PathBuf>,
    only: Option<Vec<String>>,
}

impl Options {
    fn read(args: &[String]) -> Result<Options> {
        let mut options = Options { rounds: ROUNDS, reloads: 200, baton: None, only: None };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let Some(value) = args.next() else { bail!("{flag} needs a value") };
            match flag.as_str() {
                "--rounds" => options.rounds = value.parse().context("--rounds takes a number")?,
                "--reloads" => options.reloads = value.parse().context("--reloads takes a number")?,
                "--baton" => options.baton = Some(PathBuf::from(value)),
                "--only" => options.only = Some(value.split(',').map(str::to_owned).collect()),
                _ => bail!(
                    "this measurement takes --rounds N, --reloads N, --only cost,requests,latency,idle,reload,death \
                     and --baton PATH (instead of building it)"
                ),
            }
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == part))
    }
}

/// A program, and what it is told before haproxy's own options.
struct Program {
    name: &'static str,
    path: PathBuf,
    word: Option<&'static str>,
}

impl Program {
    fn command(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.args(self.word).arg("-f").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// Measures and returns the section.
pub(super) fn measure(args: &[String]) -> Result<String> {
    let options = Options::read(args)?;
    let path = options.baton.clone().map_or_else(build, Ok)?;
    let haproxy = process::find("haproxy").context("haproxy is not installed (Debian: haproxy)")?;
    let version = version(&haproxy)?;
    let programs = [
        Program { name: "baton", path, word: Some("haproxy") },
        Program { name: "haproxy", path: haproxy, word: None },
    ];
    let mut rows = String::new();
    if ["cost", "requests", "latency", "idle"].iter().any(|part| options.wants(part)) {
        rows += &costs(&options, &programs)?;
    }
    if options.wants("reload") {
        rows += &reload::measure(&programs, options.reloads)?;
    }
    if options.wants("death") {
        rows += &death::measure(&programs)?;
    }
    Ok(format!(
        "`baton haproxy` against haproxy {version} with the same haproxy.cfg on {}: two threads, `maxconn`, TCP checks, \
         `option tcplog` to a UDP socket, loopback, 3 servers; {} interleaved rounds. CPU is that of the balancer's own \
         process unless it says otherwise; the ratio is the median of the rounds' ratios with its 95 % interval.\n\n\
         | | Baton | haproxy | ratio |\n| --- | --- | --- | --- |\n{rows}",
        host(),
        options.rounds,
    ))
}

fn build() -> Result<PathBuf> {
    process::run(process::cargo().args(["build", "--release", "--package", "baton"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| process::root().join("target"), Into::into);
    Ok(target.join("release/baton"))
}

/// A directory for files of these measurements.
fn directory() -> Result<PathBuf> {
    let directory = process::root().join("target/bench");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Where both programs log: the last lines, each with when it came.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Instant, String)>>>);

impl Lines {
    /// Lines with `wanted` in them; of sessions, nothing is kept.
    fn listen(wanted: &'static str) -> Result<(Lines, SocketAddr)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for the log")?;
        let address = socket.local_addr()?;
        let lines = Lines::default();
        let kept = lines.clone();
        std::thread::spawn(move || {
            let mut line = [0; 2048];
            while let Ok(length) = socket.recv(&mut line) {
                let text = String::from_utf8_lossy(&line[..length]);
                if text.contains(wanted) {
                    let mut all = kept.0.lock().expect("nobody panics while holding it");
                    if all.len() < LINES {
                        all.push((Instant::now(), text.into_owned()));
                    }
                }
            }
        });
        Ok((lines, address))
    }

    /// When the first line came after `since` that has `wanted` in it.
    fn first(&self, since: Instant, wanted: &str) -> Option<Instant> {
        let all = self.0.lock().expect("nobody panics while holding it");
        all.iter().find(|(at, line)| *at >= since && line.contains(wanted)).map(|(at, _)| *at)
    }
}

/// What all files begin with.
fn head(log: SocketAddr) -> String {
    format!(
        "global\n nbthread 2\n maxconn 9500\n log {log} local0\ndefaults\n mode tcp\n log global\n option tcplog\n \
         option redispatch\n retries 1\n timeout connect 500ms\n timeout client 10m\n timeout server 10m\n \
         default-server check inter 2s fall 3 rise 2\n"
    )
}

fn section(name: &str, front: SocketAddr, servers: &[SocketAddr]) -> String {
    let mut text = format!("listen {name}\n bind {front}\n balance roundrobin\n");
    for (number, server) in servers.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, " server s{number} {server}");
    }
    text
}

/// Starts a program with all kinds of work, in a memory cgroup of its own where there can be one.
fn subject(program: &Program, behind: &[Vec<SocketAddr>; KINDS], log: SocketAddr) -> Result<Subject> {
    let fronts = fronts()?;
    let sections = fronts.iter().zip(behind).enumerate();
    let text: String = sections.map(|(n, (front, servers))| section(&format!("l{n}"), *front, servers)).collect();
    let file = directory()?.join(format!("{}.cfg", program.name));
    std::fs::write(&file, head(log) + &text)?;
    let inside = program.command(&file);
    let group = cgroup(program.name);
    let _ = std::fs::create_dir(&group);
    let mut command = Command::new("sh");
    command.arg("-c").arg("echo $$ 2>/dev/null > \"$0\"; exec \"$@\"").arg(group.join("cgroup.procs"));
    command.arg(inside.get_program()).args(inside.get_args()).arg("-db");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("starting {}", program.name))?;
    let subject = Subject { name: program.name, child: Some(child), fronts: fronts.map(|front| vec![front]) };
    started(fronts[0])?;
    Ok(subject)
}

fn cgroup(name: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup/memory/baton-bench-{name}-{}", std::process::id()))
}

/// MB of a program's cgroup, what the kernel keeps for it included; `None`: there is no such thing here.
fn charged(name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(cgroup(name).join("memory.usage_in_bytes")).ok()?;
    text.trim().parse::<f64>().ok().map(|bytes| bytes / 1e6)
}

/// Seconds in which 99 of 100 requests were answered.
fn p99(subject: &Subject) -> Result<f64> {
    let all = latencies(subject, RATE, SECONDS)?;
    all.get(all.len() * 99 / 100).copied().context("no request was answered")
}

fn costs(options: &Options, programs: &[Program; 2]) -> Result<String> {
    let (_lines, log) = Lines::listen("is DOWN")?;
    let held = Arc::new(Mutex::new(Vec::new()));
    let behind = servers(&held)?;
    let subjects = [
        subject(&programs[0], &behind, log)?,
        subject(&programs[1], &behind, log)?,
        Subject { name: "nothing", child: None, fronts: behind },
    ];
    for subject in &subjects {
        // Not counted: first pages, first connections.
        connections(subject, CONNECTIONS / 10)?;
        bytes(subject, STREAM_BYTES / 16)?;
    }
    let mut rows = String::new();
    let mut memory = String::new();
    if options.wants("idle") {
        memory = idle_rows(&subjects, &held)?;
    }
    let mut rounds: [Vec<Round>; 3] = Default::default();
    let mut late = Vec::new();
    for round in 0..options.rounds {
        if options.wants("cost") {
            rounds[0].push(turns(&subjects, round, |s| connections(s, CONNECTIONS))?);
            rounds[1].push(turns(&subjects, round, |s| bytes(s, STREAM_BYTES))?);
        }
        if options.wants("requests") {
            rounds[2].push(turns(&subjects, round, |s| requests(s, REQUESTS))?);
        }
        let ratios = rounds.each_ref().map(|all| all.last().map(|costs| costs[0].cpu / costs[1].cpu));
        eprintln!("round {:2}: ratios of CPU per connection, byte, request: {ratios:.3?}", round + 1);
        if options.wants("latency") {
            let mut pair = [0.0; 2];
            for turn in 0..2 {
                let at = (round + turn) % 2;
                pair[at] = p99(&subjects[at])? * 1e6;
            }
            eprintln!("round {:2}: p99 {pair:.0?} µs", round + 1);
            late.push(pair);
        }
    }
    let whats =
        ["10,000 connections (64 at once, one byte each way)", "GB (6 streams)", "10,000 requests (64 at once)"];
    for (what, all) in whats.iter().zip(&rounds).filter(|(_, all)| !all.is_empty()) {
        let pairs = |of: fn(&Round) -> [f64; 2]| all.iter().map(of).collect::<Vec<_>>();
        rows += &row(&format!("CPU per {what}"), "s", &pairs(|r| [r[0].cpu, r[1].cpu]));
        let whole = pairs(|r| [r[0].lab - r[2].lab, r[1].lab - r[2].lab]);
        rows += &row(&format!("CPU per {what}, everybody's minus that without a balancer"), "s", &whole);
    }
    if !late.is_empty() {
        rows += &row(&format!("99 of 100 of {RATE} requests per second, at fixed times, answered within"), "µs", &late);
    }
    Ok(rows + &memory)
}

fn idle_rows(subjects: &[Subject; 3], held: &Mutex<Vec<TcpStream>>) -> Result<String> {
    let (mut resident, mut all) = ([0.0; 2], [None; 2]);
    for (at, subject) in subjects.iter().take(2).enumerate() {
        let empty = charged(subject.name);
        resident[at] = idle(subject, held, || all[at] = charged(subject.name))?;
        eprintln!("{}: {:.1} MB resident, cgroup {:?}, empty {empty:?}", subject.name, resident[at], all[at]);
    }
    let [ours, theirs] = resident;
    let mut text = format!(
        "| resident memory with {IDLE} idle connections | {ours:.1} MB | {theirs:.1} MB | {:.3} |\n",
        ours / theirs
    );
    if let [Some(ours), Some(theirs)] = all {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| memory of the cgroup then, the kernel's for its sockets included | {ours:.1} MB | {theirs:.1} MB | {:.3} |",
            ours / theirs
        );
    }
    for subject in subjects.iter().take(2) {
        // It goes when its process has gone; the next run makes another.
        let _ = std::fs::remove_dir(cgroup(subject.name));
    }
    Ok(text)
}

/// One attempt of a client: it connects, says a byte and hears it.
fn attempt(front: SocketAddr, patience: Duration) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect_timeout(&front, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}
