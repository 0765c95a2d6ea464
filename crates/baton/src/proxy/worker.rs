//! A worker: one thread, one epoll instance, its own listeners and its own connections.
//!
//! Everything is edge-triggered and registered once. Nothing is shared with other workers on the path of a byte; the
//! control side leaves commands and rings an eventfd.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, acceptfrom_with};

use super::conn::{CONNECT_TIMEOUT, Conn, Context, Entry, Origin, Verdict};
use super::face::Face;
use super::flow::{Lent, Side};
use super::limits::{Limits, Share};
use super::listen;
use super::slots::{Key, Slots, Token};
use super::target::{Reports, Target};
use super::timers::{Tick, Timers};
use crate::haproxy::syslog::Sockets;

/// Events taken at once.
const EVENTS: usize = 256;
/// Connections taken from one listener before others get their turn.
const ACCEPTS: usize = 64;
/// A listener that could not accept (no descriptor, no room) tries again after this long.
const STARVED: Duration = Duration::from_millis(20);

/// What the control side asks of a worker.
pub(super) enum Command {
    /// Accept on a new socket.
    Listen { number: u32, fd: OwnedFd, address: SocketAddr, entry: Entry },
    /// Connections of this listener go elsewhere from now on.
    Retarget { number: u32, entry: Entry },
    /// Serve those that wait, then close the listener; `done` is dropped then.
    Close { number: u32, done: Sender<()> },
    /// There may be room at a server for a session that waits.
    Turn(Key),
    /// Cut the connections of a backend, for this reason: `D` it is down, `K` an operator wants it.
    Cut(Arc<Target>, u8),
    /// Reset the connections on an address.
    Gone(IpAddr),
    /// End the thread.
    Stop,
}

/// Where commands are left.
pub(super) struct Mailbox {
    commands: Mutex<Vec<Command>>,
    bell: OwnedFd,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Mailbox> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Mailbox { commands: Mutex::new(Vec::new()), bell })
    }

    pub(super) fn post(&self, command: Command) {
        self.commands.lock().expect("nobody panics while holding it").push(command);
        // A full counter has rung already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn take(&self) -> Vec<Command> {
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        std::mem::take(&mut *self.commands.lock().expect("nobody panics while holding it"))
    }
}

struct Listener {
    number: u32,
    fd: OwnedFd,
    origin: Rc<Origin>,
    /// Connections wait that could not be accepted.
    starved: bool,
}

pub(super) struct Worker {
    epoll: OwnedFd,
    tools: Tools,
    listeners: Vec<Listener>,
    conns: Slots<Conn>,
    /// Connections that could go on.
    ready: VecDeque<Key>,
    /// When attempts to connect have taken too long, oldest first: all wait equally long.
    ages: VecDeque<(Instant, Key, usize)>,
    /// When sessions are to be looked at.
    timers: Timers,
    /// The beginning of this worker's clock.
    origin: Instant,
    starved: Option<Instant>,
    stopping: bool,
}

/// What the worker lends to the connection that it works on.
struct Tools {
    number: usize,
    mailbox: Arc<Mailbox>,
    limits: Share,
    reports: Reports,
    lent: Lent,
    logs: Sockets,
    line: String,
    /// How late it was when the worker last woke up.
    now: Tick,
}

impl Tools {
    fn context(&mut self) -> Context<'_> {
        Context {
            worker: self.number,
            lent: &mut self.lent,
            reports: &self.reports,
            mailbox: &self.mailbox,
            logs: &mut self.logs,
            line: &mut self.line,
            limits: &self.limits,
            now: self.now,
        }
    }
}

impl Worker {
    pub(super) fn new(
        number: usize,
        pipes: usize,
        mailbox: Arc<Mailbox>,
        limits: Arc<Limits>,
        reports: Reports,
    ) -> io::Result<Worker> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, &mailbox.bell, Token::Wake, EventFlags::IN | EventFlags::ET)?;
        let tools = Tools {
            number,
            mailbox,
            limits: Share::new(limits),
            reports,
            lent: Lent::new(pipes),
            logs: Sockets::default(),
            line: String::new(),
            now: 0,
        };
        Ok(Worker {
            epoll,
            tools,
            listeners: Vec::new(),
            conns: Slots::new(),
            ready: VecDeque::new(),
            ages: VecDeque::new(),
            timers: Timers::default(),
            origin: Instant::now(),
            starved: None,
            stopping: false,
        })
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        while !self.stopping {
            let timeout = self.timeout();
            // The only error there is: interrupted by a signal.
            let count = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()).unwrap_or_default();
            self.tools.now = self.tick();
            for event in &events[..count] {
                let (flags, data) = (event.flags, event.data);
                self.event(Token::unpack(data.u64()), flags);
            }
            for _ in 0..self.ready.len() {
                if let Some(key) = self.ready.pop_front() {
                    self.step(key, |conn, with| {
                        conn.queued = false;
                        conn.drive(with)
                    });
                }
            }
            self.clock();
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        if !self.ready.is_empty() {
            return Some(Timespec::default());
        }
        let age = self.ages.front().map(|(at, _, _)| *at);
        let timer = self.timers.next().map(|at| self.origin + Duration::from_millis(at));
        let next = [age, timer, self.starved].into_iter().flatten().min()?;
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up to whole milliseconds: waking up early would be waking up twice.
        let millis = i64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
        Some(Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 })
    }

    /// The time on this worker's clock.
    fn tick(&self) -> Tick {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn event(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Client(key) => self.step(key, |conn, with| conn.client_event(flags, with)),
            Token::Backend(key) => self.step(key, |conn, with| conn.backend_event(flags, with)),
            Token::Listener(number) => {
                if let Some(at) = self.listeners.iter().position(|l| l.number == number) {
                    self.accept(at, ACCEPTS);
                }
            }
            Token::Wake => self.obey(),
        }
    }

    /// What time brings.
    fn clock(&mut self) {
        if self.timers.next().is_some_and(|at| at <= self.tools.now) {
            self.tools.now = self.tick();
            while let Some(key) = self.timers.due(self.tools.now) {
                if let Some(session) = self.conns.get(key).and_then(|conn| conn.session.as_mut()) {
                    session.armed = None;
                    self.step(key, Conn::timed_out);
                }
            }
        }
        if self.ages.is_empty() && self.starved.is_none() {
            return;
        }
        let now = Instant::now();
        while let Some((at, key, attempt)) = self.ages.front().copied().filter(|(at, ..)| *at <= now) {
            let _ = at;
            self.ages.pop_front();
            self.step(key, |conn, with| conn.aged(attempt, with));
        }
        if self.starved.is_some_and(|at| at <= now) {
            self.starved = None;
            for at in 0..self.listeners.len() {
                if self.listeners[at].starved {
                    self.accept(at, ACCEPTS);
                }
            }
        }
    }

    /// Accepts what waits, at most `most`. Listeners are level-triggered: what is left over is reported again.
    fn accept(&mut self, at: usize, most: usize) -> usize {
        for taken in 0..most {
            if !self.tools.limits.enter() {
                self.starve(at);
                return taken;
            }
            match self.take_one(at) {
                Ok(true) => {}
                Ok(false) => {
                    self.tools.limits.leave();
                    self.starve(at);
                    return taken;
                }
                Err(e) => {
                    self.tools.limits.leave();
                    match e {
                        Errno::AGAIN => {
                            self.feed(at);
                            return taken;
                        }
                        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
                            self.starve(at);
                            return taken;
                        }
                        // The client went away before it was accepted.
                        _ => {}
                    }
                }
            }
        }
        self.feed(at);
        most
    }

    /// No room: the listener is not watched until a while has passed, lest it be reported again and again.
    fn starve(&mut self, at: usize) {
        let listener = &mut self.listeners[at];
        if !listener.starved {
            listener.starved = true;
            let _ = epoll::delete(&self.epoll, &listener.fd);
        }
        self.starved.get_or_insert_with(|| Instant::now() + STARVED);
    }

    fn feed(&mut self, at: usize) {
        let listener = &mut self.listeners[at];
        if listener.starved {
            listener.starved = false;
            if watch(&self.epoll, &listener.fd, Token::Listener(listener.number), EventFlags::IN).is_err() {
                self.starve(at);
            }
        }
    }

    /// Accepts one. `false`: its front has no room for it.
    fn take_one(&mut self, at: usize) -> Result<bool, Errno> {
        let listener = &self.listeners[at];
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let origin = listener.origin.clone();
        match &origin.entry {
            Entry::Straight(_) => {
                let client = accept_with(&listener.fd, flags)?;
                self.begin(client, &origin);
            }
            Entry::Session(face, _) if !face.has_room() => return Ok(false),
            Entry::Session(face, header_due) => {
                let (client, source) = acceptfrom_with(&listener.fd, flags)?;
                // One that has no address has gone.
                if let Some(source) = source.and_then(|address| SocketAddr::try_from(address).ok()) {
                    self.admit(client, source, &origin, face, *header_due);
                } else {
                    self.tools.limits.leave();
                }
            }
        }
        Ok(true)
    }

    fn begin(&mut self, client: OwnedFd, origin: &Rc<Origin>) {
        let Entry::Straight(route) = &origin.entry else { return };
        let Some(conn) = Conn::begin(client, origin, route, &mut self.tools.context()) else {
            self.tools.limits.leave();
            return;
        };
        let key = self.conns.insert(conn);
        let Some(conn) = self.conns.get(key) else { return };
        let attempt = conn.attempt();
        if watch_both(&self.epoll, conn, key).is_err() {
            return self.end(key, true);
        }
        self.ages.push_back((Instant::now() + CONNECT_TIMEOUT, key, attempt));
    }

    fn admit(&mut self, client: OwnedFd, source: SocketAddr, origin: &Rc<Origin>, face: &Arc<Face>, header_due: bool) {
        if !face.plan.load().lets_in(source.ip().to_canonical(), origin.address.port()) {
            face.denied_connections.fetch_add(1, Relaxed);
            self.tools.limits.leave();
            return;
        }
        let conn = Conn::admit(Side::accepted(client), origin, face, header_due, source, self.tools.now);
        let key = self.conns.insert(conn);
        let Some(conn) = self.conns.get(key) else { return };
        conn.key = key;
        self.step(key, Conn::start);
        let Some(conn) = self.conns.get(key) else { return };
        if watch(&self.epoll, conn.client(), Token::Client(key), STREAM).is_err() {
            self.end(key, true);
        }
    }

    /// Lets a connection do something and draws the consequences.
    fn step(&mut self, key: Key, act: impl FnOnce(&mut Conn, &mut Context<'_>) -> Verdict) {
        let Some(conn) = self.conns.get(key) else { return };
        let is_session = conn.session.is_some();
        match act(conn, &mut self.tools.context()) {
            Verdict::Keep => {}
            Verdict::Again => {
                if !std::mem::replace(&mut conn.queued, true) {
                    self.ready.push_back(key);
                }
            }
            Verdict::Dialled => {
                let watched = conn.backend().map(|fd| watch(&self.epoll, fd, Token::Backend(key), STREAM));
                if watched.is_some_and(|watched| watched.is_err()) {
                    return self.end(key, true);
                }
                if !is_session {
                    self.ages.push_back((Instant::now() + CONNECT_TIMEOUT, key, conn.attempt()));
                }
            }
            Verdict::Close => return self.end(key, false),
            Verdict::Reset => return self.end(key, true),
        }
        if is_session {
            self.arm(key);
        }
    }

    /// Sets a session's timer if it may be due earlier than it is set; one that is set too early moves when it is due.
    fn arm(&mut self, key: Key) {
        let Some(conn) = self.conns.get(key) else { return };
        let wanted = conn.deadline();
        let Some(session) = &mut conn.session else { return };
        if wanted.is_some_and(|at| session.armed.is_none_or(|armed| at < armed)) {
            self.timers.set(key, session.armed, wanted);
            session.armed = wanted;
        }
    }

    fn end(&mut self, key: Key, broken: bool) {
        if let Some(conn) = self.conns.remove(key) {
            if let Some(session) = &conn.session {
                self.timers.set(key, session.armed, None);
            }
            conn.end(broken, &mut self.tools.context());
            self.tools.limits.leave();
        }
    }

    fn obey(&mut self) {
        for command in self.tools.mailbox.take() {
            match command {
                Command::Listen { number, fd, address, entry } => {
                    let origin = Rc::new(Origin { entry, address });
                    // Watched like one that had no room: at once, and again should that fail.
                    self.listeners.push(Listener { number, fd, origin, starved: true });
                    self.feed(self.listeners.len() - 1);
                }
                Command::Retarget { number, entry } => {
                    if let Some(listener) = self.listeners.iter_mut().find(|l| l.number == number) {
                        listener.origin = Rc::new(Origin { entry, address: listener.origin.address });
                    }
                }
                Command::Close { number, done } => {
                    self.close(number);
                    drop(done);
                }
                Command::Turn(key) => self.step(key, Conn::turn),
                Command::Cut(target, who) => {
                    let its = |conn: &Conn| conn.target.as_ref().is_some_and(|its| Arc::ptr_eq(its, &target));
                    self.reset_all(its, who);
                }
                Command::Gone(address) => self.reset_all(|conn| local(conn) == Some(address), b'K'),
                Command::Stop => self.stopping = true,
            }
        }
    }

    /// Closing a listener resets what waits in its queue, so that is accepted first. (Clients whose handshake is not
    /// complete by then are refused, as they would be a moment later.)
    fn close(&mut self, number: u32) {
        if let Some(at) = self.listeners.iter().position(|l| l.number == number) {
            while self.accept(at, ACCEPTS) == ACCEPTS {}
            self.listeners.swap_remove(at);
        }
    }

    fn reset_all(&mut self, which: impl Fn(&Conn) -> bool, who: u8) {
        for key in self.conns.keys() {
            if let Some(conn) = self.conns.get(key).filter(|conn| which(conn)) {
                conn.cut(who);
                self.end(key, true);
            }
        }
    }
}

/// Everything there is to know about a stream, once per change.
const STREAM: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::PRI).union(EventFlags::ET);

fn watch(epoll: &OwnedFd, fd: &OwnedFd, token: Token, flags: EventFlags) -> io::Result<()> {
    Ok(epoll::add(epoll, fd, EventData::new_u64(token.pack()), flags)?)
}

fn watch_both(epoll: &OwnedFd, conn: &Conn, key: Key) -> io::Result<()> {
    if let Some(backend) = conn.backend() {
        watch(epoll, backend, Token::Backend(key), STREAM)?;
    }
    watch(epoll, conn.client(), Token::Client(key), STREAM)
}

/// The address at which the client reached us.
fn local(conn: &Conn) -> Option<IpAddr> {
    let address = conn.origin.address.ip();
    if address.is_unspecified() { listen::local(conn.client()).map(|a| a.ip().to_canonical()) } else { Some(address) }
}
