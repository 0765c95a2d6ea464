//! Reloads under load: new connections all the while, and others that stay open.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::load::{fronts, servers, started};
use super::{Lines, Program, attempt, directory, head, section};
use crate::process;

/// Connections that stay open.
const OPEN: usize = 500;
/// New connections per second, and threads that make them.
const RATE: u32 = 1_000;
const THREADS: u32 = 20;
/// Between two reloads.
const PACE: Duration = Duration::from_millis(150);
/// When a new connection counts as failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the reloads did.
struct Seen {
    made: usize,
    failed: usize,
    lost: usize,
    processes: usize,
}

pub(super) fn measure(programs: &[Program; 2], reloads: usize) -> Result<String> {
    let [ours, theirs] = programs.each_ref().map(|program| {
        let seen = one(program, reloads).with_context(|| format!("reloading {}", program.name))?;
        let text = format!("{} of {}; {}; {}", seen.failed, seen.made, seen.lost, seen.processes);
        eprintln!("{}: {text}", program.name);
        anyhow::Ok(text)
    });
    Ok(format!(
        "| {reloads} reloads (SIGUSR2) under {RATE} new connections/s and {OPEN} open ones: new ones that failed; open ones \
         that were lost; processes more than before | {} | {} | – |\n",
        ours?, theirs?
    ))
}

/// The program with its children; they end with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A master takes its workers along when it is asked to.
        let _ = signal(&self.0, "TERM");
        std::thread::sleep(Duration::from_millis(500));
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(child: &Child, name: &str) -> Result<()> {
    process::output(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string())).map(drop)
}

/// Processes below this one.
fn children(child: &Child) -> Result<usize> {
    let path = format!("/proc/{0}/task/{0}/children", child.id());
    Ok(std::fs::read_to_string(path)?.split_whitespace().count())
}

fn one(program: &Program, reloads: usize) -> Result<Seen> {
    let (_lines, log) = Lines::listen("is DOWN")?;
    let held = Arc::new(Mutex::new(Vec::new()));
    let (behind, [busy, idle, extra, _]) = (servers(&held)?, fronts()?);
    let file = directory()?.join(format!("{}-reload.cfg", program.name));
    let write = |more: bool| {
        let mut text = head(log) + &section("busy", busy, &behind[0]) + &section("idle", idle, &behind[2]);
        if more {
            text += &section("more", extra, &behind[0]);
        }
        std::fs::write(&file, text)
    };
    write(false)?;
    let running = Running(program.command(&file).arg("-W").spawn().context("starting it")?);
    started(busy)?;
    started(idle)?;
    let mut open = Vec::new();
    for _ in 0..OPEN {
        let mut stream = TcpStream::connect(idle)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0])?;
        open.push(stream);
    }
    let before = children(&running.0)?;
    let (stop, made, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| -> Result<()> {
        for number in 0..THREADS {
            let (stop, made, failed) = (&stop, &made, &failed);
            scope.spawn(move || clients(busy, number, stop, made, failed));
        }
        let reloaded = (0..reloads).try_for_each(|number| -> Result<()> {
            write((reloads - number) % 2 == 1)?;
            signal(&running.0, "USR2")?;
            std::thread::sleep(PACE);
            Ok(())
        });
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, SeqCst);
        reloaded
    })?;
    // The last file has a listener more: it was read.
    let begin = Instant::now();
    while reloads > 0 && attempt(extra, PATIENCE).is_err() {
        ensure!(begin.elapsed() < PATIENCE, "the last reload did nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
    let lost = open.iter().filter(|stream| lost(stream)).count();
    let processes = children(&running.0)?.saturating_sub(before);
    Ok(Seen { made: made.into_inner(), failed: failed.into_inner(), lost, processes })
}

/// One of the threads that make new connections, until it is told to stop.
fn clients(front: SocketAddr, number: u32, stop: &AtomicBool, made: &AtomicUsize, failed: &AtomicUsize) {
    let pace = Duration::from_secs(1) * THREADS / RATE;
    let mut due = Instant::now() + pace * number / THREADS;
    while !stop.load(SeqCst) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due = (due + pace).max(Instant::now());
        made.fetch_add(1, SeqCst);
        if let Err(error) = attempt(front, PATIENCE) {
            eprintln!("a connection failed: {error}");
            failed.fetch_add(1, SeqCst);
        }
    }
}

/// The other side has ended it.
fn lost(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_err()
        || !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
