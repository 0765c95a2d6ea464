//! A client that asks at a fixed rate, each time over a new connection, and remembers what became of every attempt.
//!
//! Nothing waits for anything else: an attempt that hangs does not delay the next one, so the gaps between answers are the
//! service's and not the client's.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::host::Host;

/// An attempt that has no answer after this long has failed.
pub const TIMEOUT: Duration = Duration::from_millis(200);
/// Time between two attempts.
pub const INTERVAL: Duration = Duration::from_millis(5);

/// How often the client looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(100);

/// What became of one attempt: a connection, one byte out, one byte back.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When the connection was asked for.
    pub started: Instant,
    /// When the answer, the error or the time-out came.
    pub ended: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

impl Attempt {
    /// The service was there.
    #[must_use]
    pub fn answered(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(_))
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, by the server of that name.
    Answered(u8),
    /// The connection was refused.
    Refused,
    /// The connection was reset, or closed without an answer.
    Broken,
    /// Nothing came in time.
    TimedOut,
}

/// What a client saw between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The longest time between two answers, less the interval of the attempts.
    pub outage: Duration,
    /// Attempts that were started and answered.
    pub answered: usize,
    /// Attempts that were started and not answered.
    pub failed: usize,
}

/// A client at work. Dropping it ends it.
pub struct Client {
    stop: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    interval: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Asks `target` from `host`, once per `interval`.
    pub fn start(host: &Host, target: SocketAddr, interval: Duration) -> io::Result<Client> {
        let stop = Arc::new(AtomicBool::new(false));
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (stopped, list) = (Arc::clone(&stop), Arc::clone(&attempts));
        let work = move || ask(target, interval, &stopped, &list);
        // The thread is made by the host's thread, so its sockets are the host's.
        let thread = host.run(move |_| thread::Builder::new().name("client".to_owned()).spawn(work))?;
        Ok(Client { stop, attempts, interval, thread: Some(thread) })
    }

    /// What was seen from `from` to `to`. Attempts that were begun less than [`TIMEOUT`] before now may still be missing.
    #[must_use]
    pub fn seen(&self, from: Instant, to: Instant) -> Seen {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers: Vec<Instant> = Vec::new();
        let mut seen = Seen::default();
        for attempt in attempts.iter() {
            let answered = matches!(attempt.outcome, Outcome::Answered(_));
            if answered && attempt.ended >= from && attempt.ended <= to {
                answers.push(attempt.ended);
            }
            if attempt.started >= from && attempt.started <= to {
                if answered { seen.answered += 1 } else { seen.failed += 1 }
            }
        }
        answers.sort();
        let bounds = std::iter::once(from).chain(answers.iter().copied());
        let ends = answers.iter().copied().chain(std::iter::once(to));
        let longest = bounds.zip(ends).map(|(start, end)| end.duration_since(start)).max().unwrap_or_default();
        seen.outage = longest.saturating_sub(self.interval);
        seen
    }

    /// Waits until `count` attempts in a row were answered, at most `patience`.
    #[must_use]
    pub fn wait_for_answers(&self, count: usize, patience: Duration) -> bool {
        let from = Instant::now();
        while from.elapsed() < patience {
            {
                let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
                let recent = attempts.iter().rev().take_while(|attempt| attempt.started >= from);
                let row = recent.take_while(|attempt| matches!(attempt.outcome, Outcome::Answered(_))).count();
                if row >= count {
                    return true;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Time from `since` to the first answer of `count` answers in a row.
    #[must_use]
    pub fn settled(&self, since: Instant, count: usize) -> Option<Duration> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut later: Vec<Attempt> = attempts.iter().filter(|attempt| attempt.started >= since).copied().collect();
        later.sort_by_key(|attempt| attempt.started);
        let row = later.windows(count).find(|row| row.iter().all(|one| matches!(one.outcome, Outcome::Answered(_))))?;
        row.iter().map(|one| one.ended - since).min()
    }

    /// The attempts that were started between two moments.
    #[must_use]
    pub fn attempts(&self, from: Instant, to: Instant) -> Vec<Attempt> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.iter().filter(|attempt| attempt.started >= from && attempt.started <= to).copied().collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One attempt on its way.
struct Open {
    stream: TcpStream,
    started: Instant,
    sent: bool,
}

fn ask(target: SocketAddr, interval: Duration, stop: &AtomicBool, attempts: &Mutex<Vec<Attempt>>) {
    let mut open: Vec<Open> = Vec::new();
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let mut ended = Vec::new();
        if now >= next {
            // After a pause of this process the attempts that it missed are not made up for.
            next = (next + interval).max(now);
            match begin(target) {
                Ok(stream) => open.push(Open { stream, started: now, sent: false }),
                Err(_) => ended.push(Attempt { started: now, ended: now, outcome: Outcome::Broken }),
            }
        }
        wait(&open, next.saturating_duration_since(Instant::now()));
        open.retain_mut(|one| match step(one) {
            None => true,
            Some(outcome) => {
                ended.push(Attempt { started: one.started, ended: Instant::now(), outcome });
                false
            }
        });
        if !ended.is_empty() {
            attempts.lock().unwrap_or_else(PoisonError::into_inner).append(&mut ended);
        }
    }
}

/// A connection under way. It ends with a reset, so that no port is left waiting.
fn begin(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&SockAddr::from(target)) {
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket.into()),
    }
}

fn wait(open: &[Open], patience: Duration) {
    let interest = |one: &Open| if one.sent { PollFlags::IN } else { PollFlags::OUT };
    let mut waiting: Vec<PollFd<'_>> = open.iter().map(|one| PollFd::new(&one.stream, interest(one))).collect();
    crate::wait(&mut waiting, patience.min(PATIENCE));
}

/// Moves an attempt on; its outcome when it is over.
fn step(one: &mut Open) -> Option<Outcome> {
    if !one.sent {
        match one.stream.write_all(b"?") {
            Ok(()) => one.sent = true,
            Err(error) => return failure(&error, one.started),
        }
    }
    let mut answer = [0];
    match one.stream.read(&mut answer) {
        Ok(0) => Some(Outcome::Broken),
        Ok(_) => Some(Outcome::Answered(answer[0])),
        Err(error) => failure(&error, one.started),
    }
}

fn failure(error: &io::Error, started: Instant) -> Option<Outcome> {
    match error.kind() {
        // A connection that is not there yet says "not connected" or "would block".
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted => {
            (started.elapsed() > TIMEOUT).then_some(Outcome::TimedOut)
        }
        io::ErrorKind::ConnectionRefused => Some(Outcome::Refused),
        _ => Some(Outcome::Broken),
    }
}
