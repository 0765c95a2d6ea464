//! One request: the next backend that answers, its response, or an error that says whose fault it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::super::conn::CONNECT_TIMEOUT;
use super::super::route::{Choice, Route};
use super::super::target::Target;
use super::Shared;
use super::headers;
use super::pool::{Counted, Line, NoConnection};

/// Backends tried for one request.
const ATTEMPTS: usize = 4;
/// How long a backend may think before its response begins.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a client gets.
pub(super) type Answer = Response<Either<Counted, Full<Bytes>>>;

/// What became of one request on one connection.
enum Sent {
    Answered(Response<Incoming>),
    /// Nothing of it was sent: it may be sent elsewhere.
    Returned(Box<Request<Counted>>),
    Failed(Answer),
}

/// A counter of requests under way; becomes the response's when there is one.
struct Active<'a>(&'a Arc<Target>, usize);

impl<'a> Active<'a> {
    fn new(target: &'a Arc<Target>, cell: usize) -> Active<'a> {
        target.cell(cell).active.fetch_add(1, Relaxed);
        Active(target, cell)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.cell(self.1).active.fetch_sub(1, Relaxed);
    }
}

/// Forwards a request. An upgrade is carried on by a task of its own.
pub(super) async fn forward(request: Request<Incoming>, client: IpAddr, route: &Route, shared: &Arc<Shared>) -> Answer {
    if request.method() == Method::CONNECT {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "this is no proxy for CONNECT");
    }
    let mut request = request;
    let upgrade = headers::depart(&mut request, client);
    let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let mut request = request.map(|body| Counted::request(body, shared.cell));
    let path = headers::path(&request);
    let mut tried: Vec<Arc<Target>> = Vec::new();
    while tried.len() < ATTEMPTS {
        let Some(choice) = route.choose(&tried) else { break };
        let (host, port) = (&choice.target.id.host, choice.target.id.port);
        if let Err(why) = headers::address(&mut request, &path, host, port, choice.url.as_ref()) {
            return refuse(StatusCode::BAD_REQUEST, &why);
        }
        request.body_mut().goes_to(&choice.target);
        match attempt(request, &choice, shared).await {
            Sent::Answered(response) => return answer(response, client_side, &choice.target, shared),
            Sent::Failed(answer) => return answer,
            Sent::Returned(again) => request = *again,
        }
        tried.push(choice.target);
    }
    route.refused.fetch_add(1, Relaxed);
    if tried.is_empty() {
        refuse(StatusCode::SERVICE_UNAVAILABLE, "no backend is up")
    } else {
        refuse(StatusCode::BAD_GATEWAY, "no backend could be reached")
    }
}

/// On kept connections, which may turn out to be closed, then on a new one.
async fn attempt(request: Request<Counted>, choice: &Choice, shared: &Arc<Shared>) -> Sent {
    let mut request = request;
    let active = Active::new(&choice.target, shared.cell);
    while let Some(line) = shared.pool.take(&choice.target, false) {
        match send(line, request, choice, shared).await {
            Sent::Returned(again) => request = *again,
            done => return settled(done, active),
        }
    }
    let Some(address) = choice.address else { return Sent::Returned(Box::new(request)) };
    match shared.pool.dial(choice, address, CONNECT_TIMEOUT, &[]).await {
        Ok(line) => {
            choice.target.connected(&shared.reports);
            let done = send(line, request, choice, shared).await;
            settled(done, active)
        }
        Err(NoConnection::Fault(fault)) => {
            choice.target.failed(shared.cell, fault, &shared.reports);
            Sent::Returned(Box::new(request))
        }
        Err(NoConnection::Speech(why)) => {
            choice.target.cell(shared.cell).failures.fetch_add(1, Relaxed);
            tracing::debug!("{}: {why}", choice.target.id);
            Sent::Returned(Box::new(request))
        }
        Err(NoConnection::Local(why)) => {
            tracing::warn!("no connection to {}: {why}", choice.target.id);
            Sent::Failed(refuse(StatusCode::SERVICE_UNAVAILABLE, "the balancer is out of resources"))
        }
    }
}

/// A response's body goes on counting as an active request.
fn settled(done: Sent, active: Active<'_>) -> Sent {
    if let Sent::Answered(_) = &done {
        std::mem::forget(active);
    }
    done
}

async fn send(mut line: Line, request: Request<Counted>, choice: &Choice, shared: &Arc<Shared>) -> Sent {
    match tokio::time::timeout(RESPONSE_TIMEOUT, line.sender.try_send_request(request)).await {
        Ok(Ok(response)) => {
            choice.target.cell(shared.cell).connections.fetch_add(1, Relaxed);
            shared.pool.keep(&choice.target, line);
            Sent::Answered(response)
        }
        Ok(Err(mut error)) => match error.take_message() {
            Some(request) => Sent::Returned(Box::new(request)),
            None => {
                Sent::Failed(refuse(StatusCode::BAD_GATEWAY, "the backend closed the connection without an answer"))
            }
        },
        Err(_) => Sent::Failed(refuse(StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time")),
    }
}

fn answer(
    mut response: Response<Incoming>,
    client_side: Option<hyper::upgrade::OnUpgrade>,
    target: &Arc<Target>,
    shared: &Arc<Shared>,
) -> Answer {
    headers::arrive(&mut response);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let backend_side = hyper::upgrade::on(&mut response);
        if let Some(client_side) = client_side {
            let (target, cell) = (target.clone(), shared.cell);
            target.cell(cell).active.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                super::serve::tunnel(client_side, backend_side, target.cell(cell)).await;
                target.cell(cell).active.fetch_sub(1, Relaxed);
            });
        }
    }
    response.map(|body| Either::Left(Counted::response(body, target.clone(), shared.cell)))
}

/// An answer of our own.
fn refuse(status: StatusCode, why: &str) -> Answer {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(format!("{status}: {why}\n")))));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
