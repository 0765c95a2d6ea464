//! Load for balancers on the loopback interface, and what it cost: clients and servers live in this process, each balancer in
//! one of its own.
//!
//! What is compared is the CPU time of the balancer's own process as the scheduler counted it, and per round, so that
//! whatever else the host is doing meets all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Connections per cell.
pub(super) const CONNECTIONS: usize = 10_000;
/// Clients at once.
const CLIENTS: usize = 64;
/// Streams at once, and bytes of each.
const STREAMS: usize = 6;
pub(super) const STREAM_BYTES: usize = 256 << 20;
/// Connections held open for the memory figure.
pub(super) const IDLE: usize = 9_000;
/// Clients that ask at fixed times.
const PATIENT: usize = 32;
/// Clock ticks per second in /proc, on every architecture.
const TICKS: f64 = 100.0;
/// Backends behind each balancer.
const BACKENDS: usize = 3;
/// What anything may take before the measurement is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy under test, and where its listeners are. Without a process: the backends themselves.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) child: Option<Child>,
    /// For echoes, for bulk, for idling, for requests.
    pub(super) fronts: [Vec<SocketAddr>; KINDS],
}

/// One listener per kind of work.
pub(super) type Fronts = [SocketAddr; KINDS];
/// Kinds of work: echoes, bulk, idling, requests.
pub(super) const KINDS: usize = 4;

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
pub(super) struct Cost {
    /// CPU seconds of the proxy's process.
    pub(super) cpu: f64,
    /// CPU seconds of everybody: proxy, clients and backends.
    pub(super) lab: f64,
    /// Seconds that passed.
    pub(super) wall: f64,
}

/// One round: Baton, haproxy, nothing in between.
pub(super) type Round = [Cost; 3];

pub(super) fn version(haproxy: &Path) -> Result<String> {
    let text = process::text(Command::new(haproxy).arg("-v"))?;
    Ok(text.split_whitespace().nth(2).unwrap_or("of unknown version").to_owned())
}

/// Servers for every kind of work; `held`: the connections of those that idle.
pub(super) fn servers(held: &Arc<Mutex<Vec<TcpStream>>>) -> Result<[Vec<SocketAddr>; KINDS]> {
    Ok([backends(echo)?, backends(bulk)?, holders(held)?, backends(answer)?])
}

/// Backends that serve with as many threads as there may be connections at once.
pub(super) fn backends(serve: fn(TcpStream)) -> Result<Vec<SocketAddr>> {
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

/// A request, and what an API server says to a small one.
const REQUEST: &[u8] =
    b"GET /api/v1/namespaces/default/pods HTTP/1.1\r\nhost: api\r\nuser-agent: bench\r\naccept: */*\r\n\r\n";
const ANSWER: [u8; 512] = {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 445\r\n\r\n";
    let (mut text, mut at) = ([b'x'; 512], 0);
    while at < head.len() {
        text[at] = head[at];
        at += 1;
    }
    text
};

fn answer(mut stream: TcpStream) {
    let mut request = [0; REQUEST.len()];
    // A server's answers are no smaller for being late.
    let _ = stream.set_nodelay(true);
    while stream.read_exact(&mut request).is_ok() && stream.write_all(&ANSWER).is_ok() {}
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
pub(super) fn fronts() -> Result<Fronts> {
    let listeners: Vec<TcpListener> =
        (0..KINDS).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    let address = |at: usize| listeners[at].local_addr();
    Ok([address(0)?, address(1)?, address(2)?, address(3)?])
}

pub(super) fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Waits until somebody listens.
pub(super) fn started(front: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(front).is_err() {
        ensure!(start.elapsed() < PATIENCE, "nobody listens on {front}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The same cell for all, the order rotating with the round.
pub(super) fn turns(subjects: &[Subject; 3], round: usize, cell: impl Fn(&Subject) -> Result<Cost>) -> Result<Round> {
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
pub(super) fn cell(subject: &Subject, share: f64, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
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
pub(super) fn connections(subject: &Subject, count: usize) -> Result<Cost> {
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

/// Requests over connections that stay, `CLIENTS` at once. Per 10,000.
pub(super) fn requests(subject: &Subject, count: usize) -> Result<Cost> {
    let fronts = &subject.fronts[3];
    let open = |number: usize| -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(fronts[number % fronts.len()])?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    let streams: Vec<TcpStream> = (0..CLIENTS).map(open).collect::<std::io::Result<_>>()?;
    let left = AtomicUsize::new(count);
    cell(subject, 10_000.0 / as_f64(count), || {
        at_once(CLIENTS, |number| {
            let mut stream = &streams[number];
            let mut answer = [0; ANSWER.len()];
            while left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
                stream.write_all(REQUEST)?;
                stream.read_exact(&mut answer)?;
            }
            Ok(())
        })
    })
}

/// Requests at fixed times, whatever became of those before: the seconds each took from when it was due, in order.
pub(super) fn latencies(subject: &Subject, per_second: u32, seconds: u32) -> Result<Vec<f64>> {
    let fronts = &subject.fronts[3];
    let all = Mutex::new(Vec::new());
    let (pace, begin) = (Duration::from_secs(1) / per_second, Instant::now() + Duration::from_millis(50));
    at_once(PATIENT, |number| {
        let mut stream = TcpStream::connect(fronts[number % fronts.len()])?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (mut answer, mut took) = ([0; ANSWER.len()], Vec::new());
        for turn in (number..).step_by(PATIENT) {
            let due = begin + pace * u32::try_from(turn).unwrap_or(u32::MAX);
            if due > begin + Duration::from_secs(1) * seconds {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.write_all(REQUEST)?;
            stream.read_exact(&mut answer)?;
            took.push(due.elapsed().as_secs_f64());
        }
        all.lock().expect("nobody panics while holding it").append(&mut took);
        Ok(())
    })?;
    let mut all = all.into_inner().expect("nobody panics while holding it");
    all.sort_by(f64::total_cmp);
    Ok(all)
}

/// `STREAMS` downloads at once. Per GB.
pub(super) fn bytes(subject: &Subject, each: usize) -> Result<Cost> {
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

/// Resident MB with `IDLE` connections, each of which has carried a byte. `look` looks at something else then.
pub(super) fn idle(subject: &Subject, held: &Mutex<Vec<TcpStream>>, look: impl FnOnce()) -> Result<f64> {
    let mut open = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut stream = TcpStream::connect(subject.fronts[2][0])?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0]).context("an idle connection (`ulimit -n` must be 20000 or more)")?;
        open.push(stream);
    }
    // Buffers that are given back after a while are.
    std::thread::sleep(Duration::from_secs(2));
    look();
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
pub(super) fn as_f64(n: usize) -> f64 {
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
pub(super) fn row(what: &str, unit: &str, pairs: &[[f64; 2]]) -> String {
    let of = |side: usize| median(&pairs.iter().map(|p| p[side]).collect::<Vec<_>>()).0;
    let (ratio, low, high) = median(&pairs.iter().map(|p| p[0] / p[1]).collect::<Vec<_>>());
    format!("| {what} | {:.3} {unit} | {:.3} {unit} | {ratio:.3} ({low:.3}–{high:.3}) |\n", of(0), of(1))
}

/// What it was measured on.
pub(super) fn host() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} shared cores, Linux {}", kernel.trim())
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
