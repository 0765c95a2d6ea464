//! A server dies under traffic: it refuses, or it does not answer at all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::load::{fronts, started};
use super::{Lines, Program, attempt, directory, head, section};

/// Between two connections of the clients.
const PACE: Duration = Duration::from_millis(5);
/// When a client gives up.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is quick: it is the balancer that lets others wait.
const QUICK: Duration = Duration::from_millis(100);
/// How long one looks.
const LOOK: Duration = Duration::from_secs(12);
/// Connections that fill the queue of a listener whom nobody serves.
const QUEUE: usize = 6_000;

/// How a server dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Refuses,
    Hangs,
}

pub(super) fn measure(programs: &[Program; 2]) -> Result<String> {
    let mut rows = String::new();
    for (way, what) in [(Way::Refuses, "refuses"), (Way::Hangs, "does not answer")] {
        let [ours, theirs] = programs.each_ref().map(|program| {
            let text = one(program, way).with_context(|| format!("{}: a server that {what}", program.name))?;
            eprintln!("{}: a server {what}: {text}", program.name);
            anyhow::Ok(text)
        });
        rows += &format!(
            "| a server of three {what} (checks each 2 s, 3 failures, connect timeout 500 ms): clients that failed, for how long; \
             clients that waited over {} ms, begun within; marked down after | {} | {} | – |\n",
            QUICK.as_millis(),
            ours?,
            theirs?
        );
    }
    Ok(rows)
}

/// A server that can die.
struct Server {
    alive: Arc<AtomicBool>,
    address: SocketAddr,
    listener: Option<TcpListener>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start() -> Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (address, alive) = (listener.local_addr()?, Arc::new(AtomicBool::new(true)));
        let (accepting, lives) = (listener.try_clone()?, alive.clone());
        let thread = std::thread::spawn(move || {
            while lives.load(SeqCst) {
                match accepting.accept() {
                    Ok((stream, _)) => drop(std::thread::spawn(move || echo(stream))),
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Ok(Server { alive, address, listener: Some(listener), thread: Some(thread) })
    }

    /// Dies; what is returned must be kept.
    fn die(&mut self, way: Way) -> Result<Vec<TcpStream>> {
        self.alive.store(false, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if way == Way::Refuses {
            self.listener = None;
            return Ok(Vec::new());
        }
        // Its queue is full, so its kernel is silent.
        let mut queue = Vec::new();
        while queue.len() < QUEUE {
            match TcpStream::connect_timeout(&self.address, Duration::from_millis(30)) {
                Ok(stream) => queue.push(stream),
                Err(_) => return Ok(queue),
            }
        }
        anyhow::bail!("the queue of a listener is longer than {QUEUE}")
    }
}

fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    let _ = stream.set_nonblocking(false);
    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
}

/// The balancer; it ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An attempt of a client: when it began, how long it took, whether it was served.
type Attempt = (Instant, Duration, bool);

fn one(program: &Program, way: Way) -> Result<String> {
    let (lines, log) = Lines::listen("is DOWN")?;
    let mut servers = [Server::start()?, Server::start()?, Server::start()?];
    let [front, ..] = fronts()?;
    let addresses = servers.each_ref().map(|server| server.address);
    let file = directory()?.join(format!("{}-death.cfg", program.name));
    std::fs::write(&file, head(log) + &section("l", front, &addresses))?;
    let _running = Running(program.command(&file).arg("-db").spawn().context("starting it")?);
    started(front)?;
    let attempts: Arc<Mutex<Vec<Attempt>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let asking = std::thread::spawn({
        let (attempts, stop) = (attempts.clone(), stop.clone());
        move || ask(front, &attempts, &stop)
    });
    std::thread::sleep(Duration::from_secs(3));
    let (before, served) = {
        let all = attempts.lock().expect("nobody panics while holding it");
        (all.len(), all.iter().filter(|(.., served)| *served).count())
    };
    ensure!(before > 0 && before == served, "only {served} of {before} clients are served by three servers");
    let kept = servers[0].die(way)?;
    let died = Instant::now();
    std::thread::sleep(LOOK);
    stop.store(true, SeqCst);
    asking.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
    std::thread::sleep(PATIENCE);
    drop(kept);
    let all = attempts.lock().expect("nobody panics while holding it");
    // What was begun before it died may have been in its hands.
    let since: Vec<&Attempt> = all.iter().filter(|(began, ..)| *began >= died).collect();
    let failed: Vec<_> = since.iter().filter(|(.., served)| !served).collect();
    let slow: Vec<_> = since.iter().filter(|(_, took, served)| *served && *took > QUICK).collect();
    let within =
        |some: &[&&Attempt]| some.iter().map(|(began, ..)| *began - died).max().unwrap_or_default().as_millis();
    let down =
        lines.first(died, "is DOWN").map_or("never".to_owned(), |at| format!("{:.1} s", (at - died).as_secs_f64()));
    Ok(format!("{}, {} ms; {}, {} ms; {down}", failed.len(), within(&failed), slow.len(), within(&slow)))
}

/// Clients that come at a fixed pace, each on a thread of its own: one that waits keeps nobody from coming.
fn ask(front: SocketAddr, attempts: &Arc<Mutex<Vec<Attempt>>>, stop: &AtomicBool) {
    let mut due = Instant::now();
    while !stop.load(SeqCst) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due = (due + PACE).max(Instant::now());
        let attempts = attempts.clone();
        std::thread::spawn(move || {
            let began = Instant::now();
            let served = attempt(front, PATIENCE).is_ok();
            attempts.lock().expect("nobody panics while holding it").push((began, began.elapsed(), served));
        });
    }
}
