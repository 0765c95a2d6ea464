//! Type http: requests instead of bytes. One thread with a runtime of its own, started when the first such balancer is.
//!
//! The thread accepts, hyper speaks HTTP/1.1 with clients and backends, and every request goes to the next backend.

mod client;
mod download;
mod exchange;
mod forward;
mod headers;
mod pool;
mod record;
mod serve;
mod stream;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::conn::Entry;
use super::face::Face;
use super::limits::Limits;
use super::target::{Reports, Target};
use crate::haproxy::syslog::Sockets;
use pool::Pool;
use stream::{Room, Stream, Streams};

/// Connections at once, of all fronts that have nothing but answers of this process: they are not to take the room of
/// those that have servers. Others wait.
const ALONE_MAX: usize = 128;
/// How long nothing is accepted after descriptors or room have run out.
const STARVED: Duration = Duration::from_millis(20);

/// What the control side asks of the thread.
pub(super) enum Command {
    /// Accept on a new socket.
    Listen { number: u32, fd: OwnedFd, address: SocketAddr, entry: Entry },
    /// Requests that come in there go elsewhere from now on.
    Retarget { number: u32, entry: Entry },
    /// Serve those that wait, then close the listener; `done` is dropped then.
    Close { number: u32, done: Sender<()> },
    /// Cut what is in flight to a backend.
    Cut(Arc<Target>),
    /// Reset the connections on an address.
    Gone(IpAddr),
    /// End the thread.
    Stop,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) limits: Arc<Limits>,
    pub(super) reports: Reports,
    /// Which of a backend's counters are this thread's.
    pub(super) cell: usize,
    pool: Pool,
    clients: Arc<Streams>,
    /// Room for clients of fronts that have no servers.
    alone: Arc<Semaphore>,
    /// Sockets for log lines.
    logs: Mutex<Sockets>,
}

/// The thread, from outside.
pub(super) struct Http {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Http {
    pub(super) fn start(limits: Arc<Limits>, reports: Reports, cell: usize) -> io::Result<Http> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            limits,
            reports,
            cell,
            pool: Pool::default(),
            clients: Arc::default(),
            alone: Arc::new(Semaphore::new(ALONE_MAX)),
            logs: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name("proxy-http".to_owned())
            .spawn(move || runtime.block_on(obey(queue, shared)))?;
        Ok(Http { commands, thread: Some(thread) })
    }

    pub(super) fn tell(&self, command: Command) {
        // A thread that has ended has nothing to change.
        let _ = self.commands.send(command);
    }

    /// The thread has ended although nobody stopped it.
    pub(super) fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(std::thread::JoinHandle::is_finished)
    }

    pub(super) fn stop(&mut self) {
        self.tell(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Listener {
    /// Where its requests go, for the task that accepts.
    entry: Arc<Mutex<Entry>>,
    close: Option<tokio::sync::oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn obey(mut queue: mpsc::UnboundedReceiver<Command>, shared: Arc<Shared>) {
    let mut listeners: HashMap<u32, Listener> = HashMap::new();
    let mut tidy = tokio::time::interval(pool::IDLE_TIME);
    loop {
        let command = tokio::select! {
            command = queue.recv() => command,
            _ = tidy.tick() => {
                shared.pool.tidy();
                continue;
            }
        };
        let Some(command) = command else { return };
        match command {
            Command::Listen { number, fd, address, entry } => {
                match TcpListener::from_std(std::net::TcpListener::from(fd)) {
                    Ok(socket) => drop(listeners.insert(number, listen(socket, address, entry, shared.clone()))),
                    Err(e) => tracing::error!("a listener of type http cannot be watched: {e}"),
                }
            }
            Command::Retarget { number, entry } => {
                if let Some(listener) = listeners.get(&number) {
                    *listener.entry.lock().expect("nobody panics while holding it") = entry;
                }
            }
            Command::Close { number, done } => {
                if let Some(mut listener) = listeners.remove(&number) {
                    drop(listener.close.take());
                    let _ = listener.task.await;
                }
                drop(done);
            }
            Command::Cut(target) => shared.pool.cut(&target),
            Command::Gone(address) => {
                shared.clients.reset(|s| s.local_addr().is_ok_and(|a| a.ip().to_canonical() == address))
            }
            Command::Stop => return,
        }
    }
}

fn listen(socket: TcpListener, address: SocketAddr, entry: Entry, shared: Arc<Shared>) -> Listener {
    let entry = Arc::new(Mutex::new(entry));
    let (close, closed) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(accept_all(socket, address, entry.clone(), shared, closed));
    Listener { entry, close: Some(close), task }
}

/// Accepts until told to close; then what waits in the queue, which closing would reset.
async fn accept_all(
    socket: TcpListener,
    address: SocketAddr,
    entry: Arc<Mutex<Entry>>,
    shared: Arc<Shared>,
    mut closed: tokio::sync::oneshot::Receiver<()>,
) {
    let mut closing = false;
    loop {
        let is_full = |face: &Face| !face.has_room() || face.is_alone() && shared.alone.available_permits() == 0;
        let full = |entry: &Entry| matches!(entry, Entry::Session(face, _) if is_full(face));
        if !closing && full(&entry.lock().expect("nobody panics while holding it")) {
            tokio::select! {
                () = tokio::time::sleep(STARVED) => {}
                _ = &mut closed => closing = true,
            }
            continue;
        }
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = std::future::ready(()), if closing => return,
            _ = &mut closed, if !closing => {
                closing = true;
                continue;
            }
        };
        match accepted {
            Ok((client, from)) => {
                let room = room(&shared.limits).await;
                let entry = entry.lock().expect("nobody panics while holding it").clone();
                match entry {
                    Entry::Straight(route) => {
                        let stream = Stream::new(client, shared.clients.clone(), Some(room));
                        tokio::spawn(serve::connection(stream, from.ip().to_canonical(), route, shared.clone()));
                    }
                    Entry::Session(face, header_due) => {
                        let stream = Stream::new(client, shared.clients.clone(), None);
                        // Listeners that have waited at the same time may have one more each.
                        let alone = face.is_alone();
                        let place = if alone { shared.alone.clone().try_acquire_owned().ok() } else { None };
                        let came = client::Came { ends: [from, address], face, header_due, room, alone, place };
                        tokio::spawn(client::serve(stream, came, shared.clone()));
                    }
                }
            }
            Err(e) => {
                if let Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) = Errno::from_io_error(&e) {
                    tokio::time::sleep(STARVED).await;
                }
            }
        }
    }
}

/// Room for one more connection, when there is some.
async fn room(limits: &Arc<Limits>) -> Room {
    loop {
        match Room::take(limits) {
            Some(room) => return room,
            None => tokio::time::sleep(STARVED).await,
        }
    }
}
