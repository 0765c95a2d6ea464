//! HTTPS requests to an address at a fixed rate, each over a new connection: what `kubectl` through the virtual address would see.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use baton_lab::host::Host;
use rustls::ClientConfig;

use crate::api;

/// Time between two requests.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// A request without answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most requests under way.
const WORKERS: u32 = 10;

/// Requests at work. Dropping it ends them.
pub struct Probe {
    answers: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Asks `server` for its version from `host`.
    pub fn start(host: &Host, tls: &Arc<ClientConfig>, server: SocketAddr) -> io::Result<Probe> {
        let mut probe = Probe { answers: Arc::default(), stop: Arc::default(), workers: Vec::new() };
        // Each worker has its place in a round, so a request that hangs delays none of the others.
        let begin = Instant::now();
        for worker in 0..WORKERS {
            let (answers, stop, tls) = (Arc::clone(&probe.answers), Arc::clone(&probe.stop), Arc::clone(tls));
            let first = begin + INTERVAL * worker;
            let work = move || ask(server, &tls, first, &stop, &answers);
            probe.workers.push(host.run(move |_| thread::Builder::new().name("probe".to_owned()).spawn(work))?);
        }
        Ok(probe)
    }

    /// The longest time without an answer between two moments, less the interval.
    #[must_use]
    pub fn outage(&self, from: Instant, to: Instant) -> Duration {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        answers.retain(|answer| *answer > from && *answer < to);
        answers.extend([from, to]);
        answers.sort();
        let gaps = answers.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default().saturating_sub(INTERVAL)
    }

    /// Waits for `count` answers that come from now on, at most `patience`.
    #[must_use]
    pub fn wait_for_answers(&self, count: usize, patience: Duration) -> bool {
        let from = Instant::now();
        while from.elapsed() < patience {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.iter().filter(|answer| **answer > from).count() >= count {
                return true;
            }
            drop(answers);
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

fn ask(server: SocketAddr, tls: &Arc<ClientConfig>, first: Instant, stop: &AtomicBool, answers: &Mutex<Vec<Instant>>) {
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let answer = TcpStream::connect_timeout(&server, PATIENCE)
            .and_then(|tcp| api::secure(tcp, tls, PATIENCE))
            .and_then(|mut stream| api::exchange(&mut stream, "GET", "/version", None));
        if matches!(answer, Ok((200, _))) {
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        }
        while next <= Instant::now() {
            next += INTERVAL * WORKERS;
        }
    }
}
