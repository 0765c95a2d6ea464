//! One request of a front of mode http: the rules, a server for it, the attempts, and its answer.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use baton_config::haproxy::model::{Backend, HttpClose, Sample};
use baton_core::pool::{Dealings, Known, ProxyHeader};
use baton_wire::proxy;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout_at};

use super::super::face::{Face, Plan};
use super::super::route::{Bell, Choice, Route, Turn, Waiter, Wish};
use super::super::session::State;
use super::super::target::{Fault, Target};
use super::client::Client;
use super::download::{self, Download};
use super::headers;
use super::pool::{Counted, Line, NoConnection};
use super::record::Record;
use crate::haproxy::requests::condition::Ends;
use crate::haproxy::requests::{Own, Requests, Verdict, remove};
use crate::haproxy::web;

/// The same server is not tried again sooner.
const REST: Duration = Duration::from_secs(1);

/// What a client gets.
pub(super) type Answer = Response<Either<Download, Full<Bytes>>>;

/// What became of one attempt.
enum Sent {
    Answered(Response<Incoming>),
    /// Nothing of it was sent: it may be sent again.
    Returned(Box<Request<Counted>>, Fault),
    Failed(u16, State),
}

/// Answers a request.
pub(super) async fn answer(request: Request<Incoming>, client: Arc<Client>) -> Result<Answer, Infallible> {
    let plan = client.face.plan.load_full();
    let (mut parts, body) = request.into_parts();
    let mut record = Record::new(&client, plan.clone(), &parts);
    let Some(rules) = &plan.requests else { return Ok(plain(Response::default())) };
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let first = hosts.next();
    if hosts.any(|other| Some(other) != first) {
        return Ok(plain(record.unreadable(rules.page(None, 400))));
    }
    let verdict = with_ends(&client, &plan, |ends| rules.judge(&mut parts, ends));
    Ok(match verdict {
        _ if parts.method == Method::CONNECT => refuse(record, rules, None, 405, *b"PR"),
        Verdict::Own(own) => ours(own, record, &parts, rules).await,
        Verdict::To(at) => pass(record, parts, body, rules, &rules.backs[at]).await,
        Verdict::Nowhere => {
            record.received = None;
            refuse(record, rules, None, 503, *b"SC")
        }
    })
}

fn with_ends<T>(client: &Client, plan: &Plan, act: impl FnOnce(&Ends<'_>) -> T) -> T {
    let live = |sample: &Sample| live(plan, &client.face, sample);
    act(&Ends { client: client.source, local: client.destination, live: &live })
}

/// What is known of servers and proxies now.
fn live(plan: &Plan, face: &Face, sample: &Sample) -> Option<i64> {
    let route = |name: &str| plan.pools.iter().find(|route| route.name == name);
    let server = |pool: &str, name: &str| -> Option<Choice> {
        route(pool)?.snapshot.load().choices.iter().find(|c| c.target.id.host == name).cloned()
    };
    let count = match sample {
        Sample::NbSrv(name) => route(name)?.snapshot.load().usable as u64,
        Sample::SrvIsUp(pool, name) => server(pool, name)?.up.into(),
        Sample::SrvConn(pool, name) => server(pool, name)?.target.served.load(Relaxed),
        Sample::BeConn(Some(name)) => route(name)?.open.load(Relaxed),
        Sample::Queue(name) => route(name)?.waiting.load(Relaxed) as u64,
        Sample::FeConn(None) => face.open.load(Relaxed),
        _ => return None,
    };
    i64::try_from(count).ok()
}

fn plain(response: Response<Bytes>) -> Answer {
    response.map(|body| Either::Right(Full::new(body)))
}

/// An answer of this process.
fn told(mut record: Record, response: Response<Bytes>) -> Answer {
    record.answer(response.status(), response.headers(), response.extensions());
    record.down(response.body().len() as u64);
    plain(response)
}

fn refuse(mut record: Record, rules: &Requests, back: Option<&Backend>, status: u16, state: State) -> Answer {
    record.state = state;
    let response = rules.page(back, status);
    told(record, response)
}

async fn ours(own: Own, mut record: Record, parts: &Parts, rules: &Requests) -> Answer {
    let files = &rules.front.error_files;
    record.state = *b"LR";
    let response = match own {
        Own::Monitor(response) => {
            record.forget();
            return plain(response);
        }
        Own::Denied(response) => {
            record.state = *b"PR";
            record.client.face.denied_sessions.fetch_add(1, Relaxed);
            response
        }
        Own::Reply(response) => response,
        Own::Stats(page, section, rest) => {
            record.own = Some("<STATS>");
            web::stats((&page, &section), &rest, &parts.headers, files, &rules.questions).await
        }
        Own::Figures => {
            record.own = Some("<PROMEX>");
            web::figures(files, &rules.questions).await
        }
    };
    if response.status() == 401 {
        (record.own, record.state) = (None, *b"PR");
    }
    told(record, response)
}

/// Passes a request on.
async fn pass(mut record: Record, mut parts: Parts, body: Incoming, rules: &Requests, back: &Backend) -> Answer {
    let client = record.client.clone();
    let Some(route) = record.plan.pools.iter().find(|route| route.name == back.name).cloned() else {
        return refuse(record, rules, None, 503, *b"SC");
    };
    let Some(dealings) = route.snapshot.load().dealings.clone() else {
        return refuse(record, rules, None, 503, *b"SC");
    };
    record.enter(&route);
    let closes = rules.closes(back);
    let keeps = closes == HttpClose::KeepAlive && parts.version != Version::HTTP_10;
    let upgrade = headers::upgrade(&parts.headers).is_some();
    remove(&mut parts.headers, header::CONNECTION.as_str());
    with_ends(&client, &record.plan, |ends| rules.forwarded_for(back, &mut parts.headers, ends));
    if upgrade {
        parts.headers.append(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else if closes != HttpClose::KeepAlive {
        parts.headers.append(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // Rules about the answer may look at it again.
    let asked = parts.clone();
    let body = Counted::watched(body, client.shared.cell, record.upload.clone());
    let mut request = Request::from_parts(parts, body);
    let client_side = upgrade.then(|| hyper::upgrade::on(&mut request));
    match fetch(request, &mut record, &route, &dealings, keeps).await {
        Err((status, state)) => refuse(record, rules, Some(back), status, state),
        Ok(mut response) => {
            record.answered = Some(Instant::now());
            record.answer(response.status(), response.headers(), response.extensions());
            let upgraded = response.status() == 101;
            let server_side = upgraded.then(|| hyper::upgrade::on(&mut response));
            // Names of headers are written in small letters, as haproxy does.
            let reason = response.extensions_mut().remove::<ReasonPhrase>();
            response.extensions_mut().clear();
            reason.map(|reason| response.extensions_mut().insert(reason));
            let empty = asked.method == Method::HEAD;
            let trailer = u64::from(response.headers().contains_key(header::TRANSFER_ENCODING));
            remove(response.headers_mut(), header::CONNECTION.as_str());
            with_ends(&client, &record.plan, |ends| rules.respond(back, response.headers_mut(), &asked, ends));
            if upgraded {
                response.headers_mut().append(header::CONNECTION, HeaderValue::from_static("upgrade"));
            } else if closes == HttpClose::Close {
                response.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
            }
            match client_side.zip(server_side) {
                Some((client_side, server_side)) => {
                    tokio::spawn(download::tunnel(client_side, server_side, record, dealings));
                    response.map(|_| Either::Right(Full::default()))
                }
                None => response.map(|body| Either::Left(Download::new(body, record, empty, trailer, dealings.server))),
            }
        }
    }
}

/// Has a server answer: attempts until one does, or may not be made any more.
async fn fetch(
    request: Request<Counted>,
    record: &mut Record,
    route: &Arc<Route>,
    dealings: &Dealings,
    keeps: bool,
) -> Result<Response<Incoming>, (u16, State)> {
    let mut request = request;
    let wish = wish(&record.client, route);
    let mut tried: Vec<Arc<Target>> = Vec::new();
    let mut same: Option<Arc<Target>> = None;
    loop {
        let choice = match same.take().and_then(|target| route.again(&target)) {
            Some(choice) => choice,
            None => turn(record, route, &tried, wish.as_deref(), dealings).await?,
        };
        record.serve(choice.clone());
        request.body_mut().goes_to(&choice.target);
        let fault = match attempt(request, record, &choice, dealings, keeps).await {
            Sent::Answered(response) => {
                if let Some(key) = wish.as_ref().and_then(|wish| wish.key) {
                    route.keep(key, &choice);
                }
                return Ok(response);
            }
            Sent::Failed(status, state) => return Err((status, state)),
            Sent::Returned(again, fault) => {
                request = *again;
                fault
            }
        };
        if record.attempts >= dealings.retries {
            return Err((503, if fault == Fault::TimedOut { *b"sC" } else { *b"SC" }));
        }
        record.attempts += 1;
        record.leave();
        if dealings.redispatch {
            (record.redispatched, record.served) = (true, None);
            choice.target.rare.redispatches.fetch_add(1, Relaxed);
            tried.push(choice.target);
            continue;
        }
        choice.target.rare.retries.fetch_add(1, Relaxed);
        if fault != Fault::TimedOut {
            sleep(dealings.connect.map_or(REST, |connect| connect.min(REST))).await;
        }
        tried = vec![choice.target.clone()];
        same = Some(choice.target);
    }
}

/// What a request wants of its pool, by what is known of its client.
fn wish(client: &Client, route: &Route) -> Option<Box<Wish>> {
    let (source, destination) = (client.source.ip().to_canonical(), client.destination);
    let known = Known { source, port: destination.port(), hello: Some(None), is_hello: false, over: true };
    route.wish(&known, || Some(destination.ip()))
}

/// A place in the queue; left when it is dropped.
struct Place<'a> {
    route: &'a Route,
    bell: Bell,
    told: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.told && !self.route.unqueue(&self.bell) {
            // The room that it was told of is somebody else's now.
            self.route.wake(|_| true, 1);
        }
    }
}

/// The server whose turn it is, when it has room.
async fn turn(
    record: &mut Record,
    route: &Arc<Route>,
    tried: &[Arc<Target>],
    wish: Option<&Wish>,
    dealings: &Dealings,
) -> Result<Choice, (u16, State)> {
    let source = record.client.source.ip().to_canonical();
    let until = dealings.queue.or(dealings.connect).map(|time| Instant::now() + time);
    let notify = Arc::new(Notify::new());
    loop {
        let target = match route.take(source, tried, wish) {
            Turn::Now(choice) => return Ok(choice),
            Turn::Nobody => {
                route.refused.fetch_add(1, Relaxed);
                return Err((503, *b"SC"));
            }
            Turn::Full => {
                route.refused.fetch_add(1, Relaxed);
                return Err((503, *b"SQ"));
            }
            Turn::Wait(target) => target,
        };
        let (alone, bell) = (usize::from(target.is_none()), Bell::Request(notify.clone()));
        let before = route.queue(Waiter { bell: bell.clone(), target }) as u64;
        if record.queued == [0; 2] {
            record.queued[alone] = before + 1;
        }
        let mut place = Place { route, bell, told: false };
        // Room may have been made between the question and the queue.
        if let Turn::Now(choice) = route.take(source, tried, wish) {
            return Ok(choice);
        }
        let waits = notify.notified();
        place.told = match until {
            Some(until) => timeout_at(until.into(), waits).await.is_ok(),
            None => {
                waits.await;
                true
            }
        };
        if !place.told {
            record.served = Some(Instant::now());
            return Err((503, *b"sQ"));
        }
    }
}

/// On kept connections, which may turn out to be closed, then on a new one.
async fn attempt(
    request: Request<Counted>,
    record: &mut Record,
    choice: &Choice,
    dealings: &Dealings,
    keeps: bool,
) -> Sent {
    let mut request = request;
    let client = record.client.clone();
    let shared = &client.shared;
    // What a connection opens with is about one client.
    let keeps = keeps && choice.proxy_header.is_none();
    // A first request may not be sent again by its client, so it is not risked on a connection that may be closed.
    let first = client.clock().requests == 1;
    while choice.proxy_header.is_none()
        && let Some(line) = shared.pool.take(&choice.target, first)
    {
        match send(line, request, record, choice, dealings, keeps).await {
            Sent::Returned(again, _) => request = *again,
            done => return done,
        }
    }
    record.connected = None;
    let Some(address) = choice.address else { return Sent::Returned(Box::new(request), Fault::Unreachable) };
    let ends = proxy::Ends { source: client.source, destination: client.destination };
    let opening = match choice.proxy_header {
        Some(ProxyHeader::Text) => proxy::emit_text(&ends),
        Some(ProxyHeader::Binary) => proxy::emit_binary(&ends),
        None => Vec::new(),
    };
    match shared.pool.dial(choice, address, dealings.connect.unwrap_or(Duration::MAX), &opening).await {
        Ok(line) => {
            choice.target.connected(&shared.reports);
            send(line, request, record, choice, dealings, keeps).await
        }
        Err(NoConnection::Fault(fault)) => {
            choice.target.failed(shared.cell, fault, &shared.reports);
            Sent::Returned(Box::new(request), fault)
        }
        Err(NoConnection::Speech(why)) => {
            tracing::debug!("{}: {why}", choice.target.id);
            Sent::Returned(Box::new(request), Fault::Reset)
        }
        Err(NoConnection::Local(why)) => {
            tracing::warn!("no connection to {}: {why}", choice.target.id);
            Sent::Failed(503, *b"RC")
        }
    }
}

async fn send(
    mut line: Line,
    request: Request<Counted>,
    record: &mut Record,
    choice: &Choice,
    dealings: &Dealings,
    keeps: bool,
) -> Sent {
    let began = Instant::now();
    record.connected = Some(began);
    let upload = record.upload.clone();
    let mut answer = pin!(line.sender.try_send_request(request));
    let done = loop {
        let due = upload.silent_since().zip(dealings.server).map(|(since, time)| since.max(began) + time);
        if due.is_some_and(|at| at <= Instant::now()) {
            record.sent();
            return Sent::Failed(504, *b"sH");
        }
        // While the client is waited for, it is looked again after as long.
        let next = due.or(dealings.server.map(|time| Instant::now() + time));
        tokio::select! {
            biased;
            done = &mut answer => break done,
            () = sleep_until(next.unwrap_or(began).into()), if next.is_some() => {}
        }
    };
    match done {
        Ok(response) => {
            record.sent();
            if keeps {
                record.client.shared.pool.keep(&choice.target, line);
            }
            Sent::Answered(response)
        }
        Err(mut error) => match error.take_message() {
            Some(request) => Sent::Returned(Box::new(request), Fault::Reset),
            None => {
                record.sent();
                Sent::Failed(502, if error.error().is_parse() { *b"PH" } else { *b"SH" })
            }
        },
    }
}
