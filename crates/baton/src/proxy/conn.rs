//! One connection: finding a backend that answers, then two directions until both are over.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_keepalive, set_socket_linger, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_quickack,
    set_tcp_user_timeout, socket_error,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::flow::{Flow, Lent, Moved, Side};
use super::target::{Fault, Reports, Route, Target};

/// A connect that takes longer has failed, and the next backend is tried.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Backends tried for one connection.
const ATTEMPTS: usize = 4;
/// Silence after which the kernel asks whether the other end is still there.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between two such questions.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Unanswered questions that end a connection.
pub(super) const KEEPALIVE_COUNT: u32 = 3;
/// Bytes that nobody acknowledges for this long end a connection.
pub(super) const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a connection came in.
pub(super) struct Origin {
    pub(super) route: Arc<Route>,
    /// The listener's address; unspecified when it listens on all.
    pub(super) address: SocketAddr,
}

/// What a connection needs of its worker.
pub(super) struct Context<'a> {
    pub(super) worker: usize,
    pub(super) lent: &'a mut Lent,
    pub(super) reports: &'a Reports,
}

/// What becomes of a connection after a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It waits for events.
    Keep,
    /// It could go on when others had their turn.
    Again,
    /// A new socket of a backend is to be watched.
    Dialled,
    /// Both directions ended in order.
    Close,
    /// It is broken: both ends are to see that.
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the backend to accept.
    Connecting,
    /// Moves bytes.
    Open,
    /// Moves what the backend still sends; it takes nothing any more.
    Broken,
}

/// One connection.
pub(super) struct Conn {
    client: Side,
    backend: Side,
    pub(super) target: Arc<Target>,
    pub(super) origin: Rc<Origin>,
    to_backend: Flow,
    to_client: Flow,
    phase: Phase,
    tried: Vec<Arc<Target>>,
    /// Waits for its next turn.
    pub(super) queued: bool,
}

impl Conn {
    /// Begins with a client just accepted. `None`: nobody can serve it; it was refused.
    pub(super) fn begin(client: OwnedFd, origin: &Rc<Origin>, with: &mut Context<'_>) -> Option<Conn> {
        let mut client = Side::accepted(client);
        let mut to_backend = Flow::new();
        let first = to_backend.begin(&mut client, with.lent).ok()?;
        let mut tried = Vec::new();
        let Some((target, backend)) = dial(origin, &mut tried, first > 0, with) else {
            origin.route.refused.fetch_add(1, Relaxed);
            reset(&client.fd);
            return None;
        };
        target.cell(with.worker).active.fetch_add(1, Relaxed);
        let (to_client, phase) = (Flow::new(), Phase::Connecting);
        Some(Conn {
            client,
            backend,
            target,
            origin: origin.clone(),
            to_backend,
            to_client,
            phase,
            tried,
            queued: false,
        })
    }

    pub(super) fn client(&self) -> &OwnedFd {
        &self.client.fd
    }

    pub(super) fn backend(&self) -> &OwnedFd {
        &self.backend.fd
    }

    /// Attempts that failed: names the present one.
    pub(super) fn attempt(&self) -> usize {
        self.tried.len()
    }

    /// Something happened at the client's socket.
    pub(super) fn client_event(&mut self, flags: EventFlags, with: &mut Context<'_>) -> Verdict {
        self.client.event(flags);
        if self.phase != Phase::Connecting {
            return self.drive(with);
        }
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) { Verdict::Reset } else { Verdict::Keep }
    }

    /// Something happened at the backend's socket.
    pub(super) fn backend_event(&mut self, flags: EventFlags, with: &mut Context<'_>) -> Verdict {
        if self.phase == Phase::Connecting {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                let error = socket_error(&self.backend.fd).ok().and_then(Result::err).unwrap_or(Errno::CONNRESET);
                return self.failed(fault(error).unwrap_or(Fault::Unreachable), with);
            }
            if !flags.contains(EventFlags::OUT) {
                return Verdict::Keep;
            }
            self.phase = Phase::Open;
            self.target.cell(with.worker).connected(self.to_backend.held());
            self.target.connected(with.reports);
        }
        self.backend.event(flags);
        self.drive(with)
    }

    /// The connect timeout of attempt `attempt` is over: it has failed, or the connection lasts and gets the options
    /// that only lasting ones need.
    pub(super) fn aged(&mut self, attempt: usize, with: &mut Context<'_>) -> Verdict {
        if attempt != self.attempt() {
            return Verdict::Keep;
        }
        if self.phase == Phase::Connecting {
            return self.failed(Fault::TimedOut, with);
        }
        // A connection that has just failed says so by an event.
        let _ = watch_over(&self.backend.fd);
        Verdict::Keep
    }

    /// The backend did not answer: the next one.
    fn failed(&mut self, fault: Fault, with: &mut Context<'_>) -> Verdict {
        self.target.failed(with.worker, fault, with.reports);
        self.tried.push(self.target.clone());
        if self.tried.len() >= ATTEMPTS {
            return Verdict::Reset;
        }
        let first = self.to_backend.held();
        let Some((target, backend)) = dial(&self.origin, &mut self.tried, first > 0, with) else {
            return Verdict::Reset;
        };
        self.target.cell(with.worker).active.fetch_sub(1, Relaxed);
        target.cell(with.worker).active.fetch_add(1, Relaxed);
        self.target = target;
        self.backend = backend;
        Verdict::Dialled
    }

    /// Moves bytes both ways.
    pub(super) fn drive(&mut self, with: &mut Context<'_>) -> Verdict {
        if self.phase == Phase::Connecting {
            return Verdict::Keep;
        }
        let cell = self.target.cell(with.worker);
        let mut again = false;
        if !self.to_backend.ended() {
            let last = self.to_client.ended();
            match self.to_backend.run(&mut self.client, &mut self.backend, last, with.lent, &cell.to_backend) {
                Moved::Waits | Moved::Ended => {}
                Moved::Again => again = true,
                Moved::SourceFailed => return Verdict::Reset,
                Moved::SinkFailed => {
                    // What it sent before it went is still there to be read.
                    self.to_backend.give_up(with.lent);
                    self.phase = Phase::Broken;
                }
            }
        }
        if !self.to_client.ended() {
            let last = self.to_backend.ended();
            match self.to_client.run(&mut self.backend, &mut self.client, last, with.lent, &cell.to_client) {
                Moved::Waits | Moved::Ended => {}
                Moved::Again => again = true,
                Moved::SourceFailed | Moved::SinkFailed => return Verdict::Reset,
            }
        }
        let (from_client, from_backend) = (self.to_backend.ended(), self.to_client.ended());
        if (from_client && self.client.broken) || (from_backend && self.backend.broken) {
            // Nothing more is read of it, so nobody else would notice.
            return Verdict::Reset;
        }
        match (from_client && from_backend, self.phase) {
            (true, Phase::Broken) => Verdict::Reset,
            (true, _) => Verdict::Close,
            (false, _) if again => Verdict::Again,
            (false, _) => Verdict::Keep,
        }
    }

    /// The connection leaves its worker.
    pub(super) fn end(mut self, broken: bool, with: &mut Context<'_>) {
        self.target.cell(with.worker).active.fetch_sub(1, Relaxed);
        self.to_backend.give_up(with.lent);
        self.to_client.give_up(with.lent);
        if broken {
            reset(&self.client.fd);
            reset(&self.backend.fd);
        }
    }
}

/// Connects to the next backend. `None`: there is none left.
fn dial(
    origin: &Origin,
    tried: &mut Vec<Arc<Target>>,
    speaks: bool,
    with: &mut Context<'_>,
) -> Option<(Arc<Target>, Side)> {
    while tried.len() < ATTEMPTS {
        let (target, address) = if tried.is_empty() {
            origin.route.next()?
        } else {
            origin.route.after(|target| tried.iter().any(|t| Arc::ptr_eq(t, target)))?
        };
        match open(address, speaks) {
            Ok(fd) => return Some((target, Side::dialled(fd))),
            Err(error) => match fault(error) {
                Some(fault) => {
                    target.failed(with.worker, fault, with.reports);
                    tried.push(target);
                }
                // Descriptors, ports or memory have run out here: no other backend would do better.
                None => return None,
            },
        }
    }
    None
}

/// A socket that connects.
fn open(address: SocketAddr, speaks: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if speaks {
        // Bytes wait for it: they carry the handshake's last acknowledgement.
        set_tcp_quickack(&fd, false)?;
    }
    match connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(e) => Err(e),
    }
}

/// Whose fault a failed connect is. `None`: this host's.
fn fault(error: Errno) -> Option<Fault> {
    match error {
        Errno::CONNREFUSED => Some(Fault::Refused),
        Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE => Some(Fault::Reset),
        Errno::TIMEDOUT => Some(Fault::TimedOut),
        Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN | Errno::HOSTDOWN | Errno::ACCESS | Errno::PERM => {
            Some(Fault::Unreachable)
        }
        _ => None,
    }
}

/// Closing it will send RST.
fn reset(fd: &OwnedFd) {
    // A socket that refuses is already disconnected.
    let _ = set_socket_linger(fd, Some(Duration::ZERO));
}

/// Lets the kernel find out that the other end is gone.
pub(super) fn watch_over<Fd: AsFd>(fd: Fd) -> Result<(), Errno> {
    set_socket_keepalive(&fd, true)?;
    set_tcp_keepidle(&fd, KEEPALIVE_IDLE)?;
    set_tcp_keepintvl(&fd, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(&fd, KEEPALIVE_COUNT)?;
    set_tcp_user_timeout(&fd, u32::try_from(USER_TIMEOUT.as_millis()).expect("half a minute"))
}
