//! One connection: finding a backend that answers, then two directions until both are over.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use baton_core::pool::Source;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_keepalive, set_socket_linger, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_quickack,
    set_tcp_user_timeout, socket_error,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::face::Face;
use super::flow::{Flow, Lent, Moved, Side};
use super::limits::Share;
use super::listen;
use super::route::{Bell, Route};
use super::session::Session;
use super::slots::Key;
use super::target::{Fault, Reports, Target};
use super::timers::Tick;
use super::worker::Mailbox;
use crate::haproxy::syslog::Sockets;

/// A connect that takes longer has failed, and the next backend is tried.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A session's connection that is older than this (milliseconds) lasts.
const LASTING: Tick = 500;
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
    pub(super) entry: Entry,
    /// The listener's address; unspecified when it listens on all.
    pub(super) address: SocketAddr,
}

/// What connections of a listener go through.
#[derive(Clone)]
pub(super) enum Entry {
    /// Straight to the servers of a balancer.
    Straight(Arc<Route>),
    /// A front, as sessions. Whether each opens with the PROXY protocol's header.
    Session(Arc<Face>, bool),
}

impl Entry {
    /// Whether both are the same.
    pub(super) fn is(&self, other: &Entry) -> bool {
        match (self, other) {
            (Entry::Straight(a), Entry::Straight(b)) => Arc::ptr_eq(a, b),
            (Entry::Session(a, x), Entry::Session(b, y)) => Arc::ptr_eq(a, b) && x == y,
            _ => false,
        }
    }
}

/// What a connection needs of its worker.
pub(super) struct Context<'a> {
    pub(super) worker: usize,
    pub(super) lent: &'a mut Lent,
    pub(super) reports: &'a Reports,
    pub(super) mailbox: &'a Arc<Mailbox>,
    pub(super) logs: &'a mut Sockets,
    /// Where a line of the log is put together.
    pub(super) line: &'a mut String,
    pub(super) limits: &'a Share,
    pub(super) now: Tick,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A session's first bytes are waited for.
    Reading,
    /// It waits for a server with room.
    Queued,
    /// It waits before it tries the same server again.
    Resting,
    /// Waits for the backend to accept.
    Connecting,
    /// Moves bytes.
    Open,
    /// Moves what the backend still sends; it takes nothing any more.
    Broken,
}

/// One connection.
pub(super) struct Conn {
    pub(super) client: Side,
    /// None while a session has no server.
    pub(super) backend: Option<Side>,
    pub(super) target: Option<Arc<Target>>,
    pub(super) origin: Rc<Origin>,
    pub(super) to_backend: Flow,
    to_client: Flow,
    pub(super) phase: Phase,
    pub(super) tried: Vec<Arc<Target>>,
    /// Waits for its next turn.
    pub(super) queued: bool,
    pub(super) session: Option<Box<Session>>,
    /// Its name in its worker; for sessions.
    pub(super) key: Key,
}

impl Conn {
    /// Begins with a client just accepted. `None`: nobody can serve it; it was refused.
    pub(super) fn begin(client: OwnedFd, origin: &Rc<Origin>, route: &Route, with: &mut Context<'_>) -> Option<Conn> {
        let mut client = Side::accepted(client);
        let mut to_backend = Flow::new();
        let first = to_backend.begin(&mut client, with.lent).ok()?;
        let mut tried = Vec::new();
        let Some((target, backend)) = dial(route, &mut tried, first > 0, with) else {
            route.refused.fetch_add(1, Relaxed);
            reset(&client.fd);
            return None;
        };
        target.cell(with.worker).active.fetch_add(1, Relaxed);
        let mut conn = Conn::new(client, origin, to_backend);
        (conn.backend, conn.target, conn.tried, conn.phase) = (Some(backend), Some(target), tried, Phase::Connecting);
        Some(conn)
    }

    pub(super) fn new(client: Side, origin: &Rc<Origin>, to_backend: Flow) -> Conn {
        Conn {
            client,
            backend: None,
            target: None,
            origin: origin.clone(),
            to_backend,
            to_client: Flow::new(),
            phase: Phase::Reading,
            tried: Vec::new(),
            queued: false,
            session: None,
            key: Key::default(),
        }
    }

    pub(super) fn client(&self) -> &OwnedFd {
        &self.client.fd
    }

    pub(super) fn backend(&self) -> Option<&OwnedFd> {
        self.backend.as_ref().map(|side| &side.fd)
    }

    /// Attempts that failed: names the present one.
    pub(super) fn attempt(&self) -> usize {
        self.tried.len()
    }

    /// Something happened at the client's socket.
    pub(super) fn client_event(&mut self, flags: EventFlags, with: &mut Context<'_>) -> Verdict {
        self.client.event(flags);
        match self.phase {
            Phase::Open | Phase::Broken => self.drive(with),
            _ if flags.intersects(EventFlags::ERR | EventFlags::HUP) => self.client_left(),
            Phase::Reading => self.read_early(with),
            _ => Verdict::Keep,
        }
    }

    /// Something happened at the backend's socket.
    pub(super) fn backend_event(&mut self, flags: EventFlags, with: &mut Context<'_>) -> Verdict {
        let (Some(backend), Some(target)) = (&mut self.backend, &self.target) else { return Verdict::Keep };
        if self.phase == Phase::Connecting {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                let error = socket_error(&backend.fd).ok().and_then(Result::err).unwrap_or(Errno::CONNRESET);
                return self.failed(fault(error).unwrap_or(Fault::Unreachable), with);
            }
            if !flags.contains(EventFlags::OUT) {
                return Verdict::Keep;
            }
            self.phase = Phase::Open;
            let header = self.session.as_ref().map_or(0, |session| session.header);
            let waited = self.to_backend.held() - header;
            target.cell(with.worker).connected(waited);
            target.connected(with.reports);
            if let Some(session) = &mut self.session {
                // The options that only lasting connections need come with the first look at the clock.
                session.until = Some(with.now + LASTING);
                session.open(waited, target, with);
            }
        }
        backend.event(flags);
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
        self.lasts();
        Verdict::Keep
    }

    /// It has become one of those that last.
    pub(super) fn lasts(&self) {
        if let Some(backend) = &self.backend {
            // A connection that has just failed says so by an event.
            let _ = watch_over(&backend.fd);
        }
    }

    /// The backend did not answer: the next one.
    pub(super) fn failed(&mut self, fault: Fault, with: &mut Context<'_>) -> Verdict {
        let Some(target) = self.target.clone() else { return Verdict::Reset };
        target.failed(with.worker, fault, with.reports);
        target.cell(with.worker).active.fetch_sub(1, Relaxed);
        self.target = None;
        let Entry::Straight(route) = &self.origin.entry else { return self.server_failed(&target, fault, with) };
        self.tried.push(target);
        if self.tried.len() >= ATTEMPTS {
            return Verdict::Reset;
        }
        let first = self.to_backend.held();
        let Some((target, backend)) = dial(route, &mut self.tried, first > 0, with) else {
            return Verdict::Reset;
        };
        target.cell(with.worker).active.fetch_add(1, Relaxed);
        (self.target, self.backend) = (Some(target), Some(backend));
        Verdict::Dialled
    }

    /// Moves bytes both ways.
    pub(super) fn drive(&mut self, with: &mut Context<'_>) -> Verdict {
        if !matches!(self.phase, Phase::Open | Phase::Broken) {
            return Verdict::Keep;
        }
        let (Some(backend), Some(target)) = (&mut self.backend, &self.target) else { return Verdict::Keep };
        let cell = target.cell(with.worker);
        // A session counts for itself first.
        let (up, down) = match &self.session {
            Some(session) => (&session.from_client, &session.to_client),
            None => (&cell.to_backend, &cell.to_client),
        };
        let (mut again, mut broke) = (false, None);
        if !self.to_backend.ended() {
            let last = self.to_client.ended();
            match self.to_backend.run(&mut self.client, backend, last, with.lent, up) {
                Moved::Waits | Moved::Ended => {}
                Moved::Again => again = true,
                Moved::SourceFailed => broke = Some(b'C'),
                Moved::SinkFailed => {
                    // What it sent before it went is still there to be read.
                    self.to_backend.give_up(with.lent);
                    self.phase = Phase::Broken;
                }
            }
        }
        if broke.is_none() && !self.to_client.ended() {
            let last = self.to_backend.ended();
            match self.to_client.run(backend, &mut self.client, last, with.lent, down) {
                Moved::Waits | Moved::Ended => {}
                Moved::Again => again = true,
                Moved::SourceFailed => broke = Some(b'S'),
                Moved::SinkFailed => broke = Some(b'C'),
            }
        }
        let (from_client, from_backend) = (self.to_backend.ended(), self.to_client.ended());
        // Nothing more is read of one that has ended, so nobody else would notice.
        if broke.is_none() && from_client && self.client.broken {
            broke = Some(b'C');
        } else if broke.is_none() && from_backend && backend.broken {
            broke = Some(b'S');
        }
        if let Some(session) = &mut self.session {
            session.account(with.now, cell);
            if let Some(who) = broke.or((self.phase == Phase::Broken).then_some(b'S')) {
                session.state = [who, b'D'];
            }
        }
        match (broke.is_some(), from_client && from_backend, self.phase) {
            (true, ..) | (false, true, Phase::Broken) => Verdict::Reset,
            (false, true, _) => Verdict::Close,
            (false, false, _) if again => Verdict::Again,
            (false, false, _) => Verdict::Keep,
        }
    }

    /// The connection leaves its worker.
    pub(super) fn end(mut self, broken: bool, with: &mut Context<'_>) {
        if let Some(target) = &self.target {
            target.cell(with.worker).active.fetch_sub(1, Relaxed);
        }
        if let Some(session) = &mut self.session {
            if self.phase == Phase::Queued
                && let Some(route) = &session.route
                && !route.unqueue(&Bell::Session(with.mailbox.clone(), self.key))
            {
                // The room that it was told of is somebody else's now.
                route.wake(|_| true, 1);
            }
            if self.backend.is_none() && !broken {
                // Closing a socket that has something to be read would reset it.
                let _ = self.to_backend.gather(&mut self.client, with.lent);
            }
            session.finish(&self.to_backend, with);
        }
        self.to_backend.give_up(with.lent);
        self.to_client.give_up(with.lent);
        if broken {
            reset(&self.client.fd);
            if let Some(backend) = &self.backend {
                reset(&backend.fd);
            }
        }
    }

    /// Whose bytes have all been passed on: the client's, the backend's.
    pub(super) fn ended(&self) -> (bool, bool) {
        (self.to_backend.ended(), self.to_client.ended())
    }
}

/// Connects to the next backend. `None`: there is none left.
fn dial(
    route: &Route,
    tried: &mut Vec<Arc<Target>>,
    speaks: bool,
    with: &mut Context<'_>,
) -> Option<(Arc<Target>, Side)> {
    while tried.len() < ATTEMPTS {
        let (target, address) = if tried.is_empty() {
            route.next()?
        } else {
            route.after(|target| tried.iter().any(|t| Arc::ptr_eq(t, target)))?
        };
        match open(address, speaks, None) {
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
pub(super) fn open(address: SocketAddr, speaks: bool, source: Option<&Source>) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if speaks {
        // Bytes wait for it: they carry the handshake's last acknowledgement.
        set_tcp_quickack(&fd, false)?;
    }
    if let Some(source) = source {
        listen::come_from(&fd, source)?;
    }
    match connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(e) => Err(e),
    }
}

/// Whose fault a failed connect is. `None`: this host's.
pub(super) fn fault(error: Errno) -> Option<Fault> {
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
