//! The proxy's cost, paired with haproxy: CPU per connection and per byte, memory per idle connection.
//!
//! Both run on the loopback interface of this host with two threads, checks on, no log, in turns whose order rotates. What
//! is compared is the CPU time of the proxy's own process as the scheduler counted it, and per round, so that whatever
//! else the host is doing meets both.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// Rounds unless `--rounds N` says otherwise. From 15 on the interval has a meaning.
const ROUNDS: usize = 15;
/// Connections per cell.
const CONNECTIONS: usize = 10_000;
/// Clients at once.
const CLIENTS: usize = 64;
/// Streams at once, and bytes of each.
const STREAMS: usize = 6;
const STREAM_BYTES: usize = 256 << 20;
/// Connections held open for the memory figure.
const IDLE: usize = 9_000;
/// Clock ticks per second in /proc, on every architecture.
const TICKS: f64 = 100.0;
/// Backends behind each balancer.
const BACKENDS: usize = 3;
/// What anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy under test, and where its listeners are. Without a process: the backends themselves.
struct Subject {
    name: &'static str,
    child: Option<Child>,
    /// For echoes, for bulk, for idling.
    fronts: [Vec<SocketAddr>; 3],
}

/// One listener per kind of work.
type Fronts = [SocketAddr; 3];

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What one cell of one proxy showed.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// CPU seconds of the proxy's process.
    cpu: f64,
    /// CPU seconds of everybody: proxy, clients and backends.
    lab: f64,
    /// Seconds that passed.
    wall: f64,
}

/// One round: Baton, haproxy, nothing in between.
type Round = [Cost; 3];

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
    let echo = backends(echo)?;
    let bulk = backends(bulk)?;
    let held = Arc::new(Mutex::new(Vec::new()));
    let behind = [echo, bulk, holders(&held)?];
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
    let memory = [idle(&subjects[0], &held)?, idle(&subjects[1], &held)?];
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

fn version(haproxy: &Path) -> Result<String> {
    let text = process::text(Command::new(haproxy).arg("-v"))?;
    Ok(text.split_whitespace().nth(2).unwrap_or("of unknown version").to_owned())
}

/// Backends that serve with as many threads as there may be connections at once.
fn backends(serve: fn(TcpStream)) -> Result<Vec<SocketAddr>> {
    (0..BACKENDS)
        .map(|_| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a backend's port")?;
            let address = listener.local_addr()?;
            for _ in 0..CLIENTS {
                let listener = listener.try_clone()?;
                std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
            }
            Ok(address)
        })
        .collect()
}

fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
}

fn bulk(mut stream: TcpStream) {
    let mut size = [0; 8];
    // A check says nothing.
    if stream.read_exact(&mut size).is_err() {
        return;
    }
    let block = vec![b'b'; 64 * 1024];
    let mut left = usize::from_be_bytes(size);
    while left > 0 {
        let n = left.min(block.len());
        if stream.write_all(&block[..n]).is_err() {
            return;
        }
        left -= n;
    }
}

/// One backend that says a byte and then only holds its connections: it needs no thread for each.
fn holders(held: &Arc<Mutex<Vec<TcpStream>>>) -> Result<Vec<SocketAddr>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a backend's port")?;
    let address = listener.local_addr()?;
    let held = held.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if stream.write_all(b"x").is_ok() {
                held.lock().expect("nobody panics while holding it").push(stream);
            }
        }
    });
    Ok(vec![address])
}

/// Ports that were free a moment ago.
fn fronts() -> Result<Fronts> {
    let listeners: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    let address = |at: usize| listeners[at].local_addr();
    Ok([address(0)?, address(1)?, address(2)?])
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn baton(program: &Path, behind: &[Vec<SocketAddr>; 3]) -> Result<Subject> {
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

fn other(program: &Path, behind: &[Vec<SocketAddr>; 3]) -> Result<Subject> {
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
    let start = Instant::now();
    while TcpStream::connect(fronts[0]).is_err() {
        ensure!(start.elapsed() < PATIENCE, "haproxy did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(subject)
}

/// The same cell for all, the order rotating with the round.
fn turns(subjects: &[Subject; 3], round: usize, cell: impl Fn(&Subject) -> Result<Cost>) -> Result<Round> {
    let mut costs = [Cost::default(); 3];
    for turn in 0..3 {
        let at = (round + turn) % 3;
        costs[at] = cell(&subjects[at])?;
    }
    Ok(costs)
}

/// CPU seconds so far: of a proxy, as the scheduler counted them for all its threads, and of this process, in which
/// clients and backends live, in ticks, which include threads that have ended.
fn cpu(subject: &Subject) -> Result<(f64, f64)> {
    let mut nanos = 0u64;
    if let Some(child) = &subject.child {
        for task in std::fs::read_dir(format!("/proc/{}/task", child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split_whitespace().next().context("schedstat is empty")?.parse::<u64>()?;
        }
    }
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(") ").context("stat has no name")?.1;
    let ticks: Vec<u32> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok((Duration::from_nanos(nanos).as_secs_f64(), f64::from(ticks.iter().sum::<u32>()) / TICKS))
}

/// A cell: what `work` cost.
fn cell(subject: &Subject, share: f64, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (before, start) = (cpu(subject)?, Instant::now());
    work().with_context(|| format!("through {}", subject.name))?;
    // Ends of connections that are still on their way belong to it.
    std::thread::sleep(Duration::from_millis(50));
    let (wall, after) = (start.elapsed().as_secs_f64(), cpu(subject)?);
    let (own, others) = (after.0 - before.0, after.1 - before.1);
    Ok(Cost { cpu: own * share, lab: (own + others) * share, wall: wall * share })
}

/// Does the same `count` times at once.
fn at_once(count: usize, work: impl Fn(usize) -> std::io::Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })?;
    Ok(())
}

/// Connections with one byte each way, `CLIENTS` at once. Per 10,000.
fn connections(subject: &Subject, count: usize) -> Result<Cost> {
    let (fronts, left) = (&subject.fronts[0], AtomicUsize::new(count));
    cell(subject, 10_000.0 / as_f64(count), || {
        at_once(CLIENTS, |number| {
            while left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
                let mut stream = TcpStream::connect(fronts[number % fronts.len()])?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(b"x")?;
                stream.read_exact(&mut [0])?;
            }
            Ok(())
        })
    })
}

/// `STREAMS` downloads at once. Per GB.
fn bytes(subject: &Subject, each: usize) -> Result<Cost> {
    let fronts = &subject.fronts[1];
    cell(subject, 1e9 / as_f64(each * STREAMS), || {
        at_once(STREAMS, |number| {
            let mut stream = TcpStream::connect(fronts[number % fronts.len()])?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&each.to_be_bytes())?;
            let mut buffer = vec![0; 256 * 1024];
            let mut left = each;
            while left > 0 {
                match stream.read(&mut buffer)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    n => left -= n.min(left),
                }
            }
            Ok(())
        })
    })
}

/// Resident MB with `IDLE` connections, each of which has carried a byte.
fn idle(subject: &Subject, held: &Mutex<Vec<TcpStream>>) -> Result<f64> {
    let mut open = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut stream = TcpStream::connect(subject.fronts[2][0])?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0]).context("an idle connection (`ulimit -n` must be 20000 or more)")?;
        open.push(stream);
    }
    // Buffers that are given back after a while are.
    std::thread::sleep(Duration::from_secs(2));
    let child = subject.child.as_ref().context("only a process has memory")?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("no figure in VmRSS")?.parse()?;
    held.lock().expect("nobody panics while holding it").clear();
    drop(open);
    std::thread::sleep(Duration::from_secs(2));
    Ok(kilobytes / 1000.0)
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(n: usize) -> f64 {
    n as f64
}

/// Median, and the narrowest pair of order statistics that holds the true one in at least 95 of 100 series.
fn median(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let middle = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
    let mut tail = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let (mut probability, mut rank) = (tail, 0);
    while rank + 1 < n / 2 {
        probability *= as_f64(n - rank) / as_f64(rank + 1);
        if tail + probability > 0.025 {
            break;
        }
        tail += probability;
        rank += 1;
    }
    (middle, sorted[rank], sorted[n - 1 - rank])
}

/// One line of the table: both figures, the ratio with its interval.
fn row(what: &str, unit: &str, pairs: &[[f64; 2]]) -> String {
    let of = |side: usize| median(&pairs.iter().map(|p| p[side]).collect::<Vec<_>>()).0;
    let (ratio, low, high) = median(&pairs.iter().map(|p| p[0] / p[1]).collect::<Vec<_>>());
    format!("| {what} | {:.3} {unit} | {:.3} {unit} | {ratio:.3} ({low:.3}–{high:.3}) |\n", of(0), of(1))
}

/// What it was measured on.
fn host() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} shared cores, Linux {}", kernel.trim())
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

#[cfg(test)]
mod tests {
    //! The interval is the one that textbooks have.

    use super::median;

    #[test]
    fn fifteen_values() {
        let values: Vec<f64> = (1..=15).rev().map(f64::from).collect();
        assert_eq!(median(&values), (8.0, 4.0, 12.0));
        assert_eq!(median(&[2.0, 1.0]), (1.5, 1.0, 2.0));
    }
}
