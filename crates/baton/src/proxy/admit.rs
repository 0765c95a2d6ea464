//! A session on its way to a server: its first bytes, the rules, the queue, the attempts to connect.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use baton_core::pool::{Known, ProxyHeader};
use baton_wire::{hello, proxy};

use super::conn::{Conn, Context, Origin, Phase, Verdict, fault, open};
use super::face::{Face, Way};
use super::flow::{Flow, Side};
use super::listen;
use super::route::{Bell, Choice, Turn, Waiter};
use super::session::{Session, WELL};
use super::target::{Fault, Target};
use super::timers::Tick;

/// The same server is not tried again sooner.
const REST: Duration = Duration::from_secs(1);

impl Conn {
    /// A session with a client just accepted. What follows is [`Conn::start`], when it has its name.
    pub(super) fn admit(
        client: Side,
        origin: &Rc<Origin>,
        face: &Arc<Face>,
        header_due: bool,
        source: std::net::SocketAddr,
        now: Tick,
    ) -> Conn {
        let mut conn = Conn::new(client, origin, Flow::new());
        let mut session = Session::new(face, source, header_due, now);
        session.local = if !origin.address.ip().is_unspecified() {
            Some(origin.address)
        } else if session.plan.lines.as_ref().is_some_and(|lines| lines.local) {
            listen::local(&conn.client.fd)
        } else {
            None
        };
        conn.session = Some(Box::new(session));
        conn
    }

    /// The first step of a session.
    pub(super) fn start(&mut self, with: &mut Context<'_>) -> Verdict {
        let Some(session) = &mut self.session else { return Verdict::Reset };
        session.wait_for_first(with.now);
        if self.to_backend.begin(&mut self.client, with.lent).is_err() {
            return self.client_left();
        }
        self.look(with)
    }

    /// More of the first bytes may be there.
    pub(super) fn read_early(&mut self, with: &mut Context<'_>) -> Verdict {
        match self.to_backend.gather(&mut self.client, with.lent) {
            Ok(true) => self.look(with),
            Ok(false) => Verdict::Keep,
            Err(_) => self.client_left(),
        }
    }

    /// What the bytes so far lead to.
    fn look(&mut self, with: &mut Context<'_>) -> Verdict {
        let Some(session) = &mut self.session else { return Verdict::Reset };
        if session.header_due {
            match proxy::parse(self.to_backend.early()) {
                proxy::Parsed::Incomplete if !self.to_backend.over_early() => return Verdict::Keep,
                proxy::Parsed::Header(ends, length) => {
                    self.to_backend.replace_front(length, &[]);
                    session.header_due = false;
                    session.wait_for_first(with.now);
                    if let Some(ends) = ends {
                        (session.source, session.destination) = (ends.source, Some(ends.destination));
                    }
                }
                _ => {
                    session.face.request_errors.fetch_add(1, Relaxed);
                    return self.stop(*b"PR");
                }
            }
        }
        let over = self.to_backend.over_early() || session.until.is_some_and(|at| at <= with.now);
        let bytes = self.to_backend.early();
        let (hello, is_hello) = if session.plan.reads {
            match hello::parse(bytes) {
                hello::Parsed::Incomplete if !over => (None, false),
                hello::Parsed::Hello(name) => (Some(name), true),
                _ => (Some(None), false),
            }
        } else {
            (Some(None), false)
        };
        let port = match session.destination {
            Some(destination) => destination.port(),
            None => self.origin.address.port(),
        };
        let known = Known { source: session.source_ip(), port, hello, is_hello, over };
        match session.plan.clone().way(&known) {
            Way::Unknown => Verdict::Keep,
            Way::To(route) => {
                let local = || listen::local(&self.client.fd);
                session.wish = route.wish(&known, || session.destination.or_else(local).map(|address| address.ip()));
                session.enter(route);
                self.want(with)
            }
            Way::Denied => {
                session.face.denied_sessions.fetch_add(1, Relaxed);
                self.stop(*b"PR")
            }
            Way::Nowhere => self.stop(*b"SC"),
        }
    }

    /// Asks for a server.
    fn want(&mut self, with: &mut Context<'_>) -> Verdict {
        let Some(session) = &mut self.session else { return Verdict::Reset };
        let Some(route) = session.route.clone() else { return Verdict::Reset };
        let (source, wish) = (session.source_ip(), session.wish.take());
        let turn = route.take(source, &self.tried, wish.as_deref());
        session.wish = wish;
        match turn {
            Turn::Now(choice) => return self.connect_to(choice, with),
            Turn::Nobody => {
                route.refused.fetch_add(1, Relaxed);
                return self.stop(*b"SC");
            }
            Turn::Full => {
                route.refused.fetch_add(1, Relaxed);
                return self.stop(*b"SQ");
            }
            Turn::Wait(target) => {
                let alone = usize::from(target.is_none());
                let waiter = Waiter { bell: Bell::Session(with.mailbox.clone(), self.key), target };
                let before = route.queue(waiter) as u64;
                if self.phase != Phase::Queued {
                    session.queued[alone] = before + 1;
                    let queue = session.of(|d| d.queue.or(d.connect));
                    session.until = Session::after(with.now, queue);
                }
                self.phase = Phase::Queued;
            }
        }
        // Room may have been made between the question and the queue.
        if let Turn::Now(choice) = route.take(source, &self.tried, session.wish.as_deref()) {
            if !route.unqueue(&Bell::Session(with.mailbox.clone(), self.key)) {
                // It was told of other room meanwhile: that is for somebody else.
                route.wake(|_| true, 1);
            }
            return self.connect_to(choice, with);
        }
        Verdict::Keep
    }

    /// There may be room now.
    pub(super) fn turn(&mut self, with: &mut Context<'_>) -> Verdict {
        if self.phase == Phase::Queued { self.want(with) } else { Verdict::Keep }
    }

    fn connect_to(&mut self, choice: Choice, with: &mut Context<'_>) -> Verdict {
        let Some(session) = &mut self.session else { return Verdict::Reset };
        session.served.get_or_insert(with.now);
        session.until = Session::after(with.now, session.of(|d| d.connect));
        let target = choice.target.clone();
        let (address, header, source) = (choice.address, choice.proxy_header, choice.source.clone());
        session.choice = Some(choice);
        self.open_with(header);
        target.cell(with.worker).active.fetch_add(1, Relaxed);
        self.target = Some(target);
        self.phase = Phase::Connecting;
        let Some(address) = address else { return self.failed(Fault::Unreachable, with) };
        match open(address, self.to_backend.held() > 0, source.as_deref()) {
            Ok(fd) => {
                self.backend = Some(Side::dialled(fd));
                Verdict::Dialled
            }
            Err(error) => match fault(error) {
                Some(fault) => self.failed(fault, with),
                // Descriptors, ports or memory have run out here: no other server would do better.
                None => self.stop(*b"RC"),
            },
        }
    }

    /// Puts the PROXY protocol's header before the client's bytes, in place of one for a server that failed.
    fn open_with(&mut self, header: Option<ProxyHeader>) {
        let Some(session) = &mut self.session else { return };
        if header.is_none() && session.header == 0 {
            return;
        }
        let local = || listen::local(&self.client.fd).unwrap_or(self.origin.address);
        let destination = *session.destination.get_or_insert_with(local);
        let ends = proxy::Ends { source: session.source, destination };
        let bytes = match header {
            Some(ProxyHeader::Text) => proxy::emit_text(&ends),
            Some(ProxyHeader::Binary) => proxy::emit_binary(&ends),
            None => Vec::new(),
        };
        self.to_backend.replace_front(session.header, &bytes);
        session.header = bytes.len();
    }

    /// The server did not answer.
    pub(super) fn server_failed(&mut self, target: &Arc<Target>, fault: Fault, with: &mut Context<'_>) -> Verdict {
        let Some(session) = &mut self.session else { return Verdict::Reset };
        self.backend = None;
        let retries = session.dealings.as_ref().map_or(0, |d| d.retries);
        if session.attempts >= retries {
            return self.stop(if fault == Fault::TimedOut { *b"sC" } else { *b"SC" });
        }
        session.attempts += 1;
        session.leave_server();
        if session.dealings.as_ref().is_some_and(|d| d.redispatch) {
            (session.redispatched, session.served) = (true, None);
            target.rare.redispatches.fetch_add(1, Relaxed);
            self.tried.push(target.clone());
            return self.want(with);
        }
        target.rare.retries.fetch_add(1, Relaxed);
        self.tried = vec![target.clone()];
        if fault == Fault::TimedOut {
            // It has rested long enough.
            return self.rested(with);
        }
        let rest = session.of(|d| d.connect).map_or(REST, |connect| connect.min(REST));
        session.until = Session::after(with.now, Some(rest));
        self.phase = Phase::Resting;
        Verdict::Keep
    }

    /// The same server again, or whoever there is if it may not be used any more.
    fn rested(&mut self, with: &mut Context<'_>) -> Verdict {
        let same = self.tried.pop();
        let Some(session) = &mut self.session else { return Verdict::Reset };
        let again = session.route.as_ref().zip(same.as_ref()).and_then(|(route, target)| route.again(target));
        match again {
            Some(choice) => self.connect_to(choice, with),
            None => self.want(with),
        }
    }

    /// Its timer is due: what that means. `false` when nothing is over yet.
    pub(super) fn timed_out(&mut self, with: &mut Context<'_>) -> Verdict {
        if self.deadline().is_none_or(|at| at > with.now) {
            return Verdict::Keep;
        }
        let phase = self.phase;
        let Some(session) = &mut self.session else { return Verdict::Keep };
        match phase {
            Phase::Reading if session.plan.reads && !session.header_due => self.look(with),
            Phase::Reading => self.stop(*b"cR"),
            Phase::Queued => {
                session.served = Some(with.now);
                self.stop(*b"sQ")
            }
            Phase::Connecting => self.failed(Fault::TimedOut, with),
            Phase::Resting => self.rested(with),
            Phase::Open | Phase::Broken => {
                if session.until.take().is_some() {
                    self.lasts();
                }
                self.silent(with)
            }
        }
    }

    /// Nothing has moved, perhaps for too long.
    fn silent(&mut self, with: &mut Context<'_>) -> Verdict {
        let ended = self.ended();
        let Some(session) = &mut self.session else { return Verdict::Keep };
        match session.silence(ended) {
            Some((at, who)) if at <= with.now => {
                session.state = [who, b'D'];
                Verdict::Close
            }
            _ => Verdict::Keep,
        }
    }

    /// When something happens although nothing comes.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let session = self.session.as_ref()?;
        match self.phase {
            Phase::Open | Phase::Broken => {
                let silence = session.silence(self.ended()).map(|(at, _)| at);
                session.until.into_iter().chain(silence).min()
            }
            _ => session.until,
        }
    }

    /// The client has gone before a server was there.
    pub(super) fn client_left(&mut self) -> Verdict {
        let when = match self.phase {
            Phase::Reading => b'R',
            Phase::Queued => b'Q',
            _ => b'C',
        };
        if let Some(session) = &mut self.session {
            session.state = [b'C', when];
        }
        Verdict::Reset
    }

    /// The session ends here, in order.
    fn stop(&mut self, state: [u8; 2]) -> Verdict {
        if let Some(session) = &mut self.session {
            debug_assert_ne!(state, WELL);
            session.state = state;
        }
        Verdict::Close
    }

    /// Somebody outside ends the session, wherever it is: `D` for a server that went down, `U` for one that came up, `K` for
    /// an operator.
    pub(super) fn cut(&mut self, who: u8) {
        if let Some(session) = &mut self.session {
            session.state = [who, b'-'];
        }
    }
}
