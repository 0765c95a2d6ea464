//! One client's connection to a front of mode http: its requests one after the other, and how long it may take with them.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use baton_config::haproxy::model::FrontendTimeouts;
use baton_wire::proxy;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::super::face::Face;
use super::Shared;
use super::exchange;
use super::record::Record;
use super::stream::{Room, Stream};
use crate::haproxy::requests::answers;

/// Longest head of a request: haproxy's `tune.bufsize`, unless said otherwise.
const HEAD_MAX: usize = 16 * 1024;
/// Longest header of the PROXY protocol.
const HEADER_MAX: usize = 4096;

/// What a connection may take that gets nothing but answers of this process, from its beginning to its end.
const ALONE_PATIENCE: Duration = Duration::from_secs(30);

/// A client, for as long as one of its requests lives.
pub(super) struct Client {
    pub(super) face: Arc<Face>,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) accepted: SystemTime,
    pub(super) shared: Arc<Shared>,
    clock: Mutex<Clock>,
    _room: Room,
}

/// What a client is waited for.
pub(super) struct Clock {
    /// A request is under way: none is waited for.
    pub(super) busy: bool,
    /// Since when a request is waited for.
    pub(super) since: Instant,
    /// When its first byte came.
    pub(super) begun: Option<(Instant, SystemTime)>,
    /// Requests so far.
    pub(super) requests: u64,
    /// Since when the rest of a request is waited for.
    pub(super) body: Option<Instant>,
    /// Since when the client takes nothing of what there is for it.
    blocked: Option<Instant>,
    /// It has taken too long.
    pub(super) late: bool,
    /// What hyper wanted to answer by itself.
    refusal: Vec<u8>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.face.open.fetch_sub(1, Relaxed);
    }
}

impl Client {
    pub(super) fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().expect("nobody panics while holding it")
    }

    /// When the client has taken too long, as things are.
    fn deadline(&self, times: &FrontendTimeouts) -> Option<Instant> {
        let clock = self.clock();
        let silent = [clock.body, clock.blocked].into_iter().flatten().map(|at| (at, times.client));
        let whole = times.http_request.or(times.client);
        let next = match (clock.busy, clock.begun, clock.requests) {
            (true, ..) => None,
            (false, Some((begun, _)), 1..) => Some((begun, whole)),
            (false, Some(_), 0) => Some((clock.since, whole)),
            (false, None, 0) => Some((clock.since, [whole, times.client].into_iter().flatten().min())),
            (false, None, 1..) => Some((clock.since, times.http_keep_alive.or(whole))),
        };
        silent.chain(next).filter_map(|(at, time)| Some(at + time?)).min()
    }
}

/// How a connection ended.
enum End {
    Done(hyper::Result<()>),
    Late,
}

/// How a client came.
pub(super) struct Came {
    /// The client, and where it connected to.
    pub(super) ends: [SocketAddr; 2],
    pub(super) face: Arc<Face>,
    /// It opens with the PROXY protocol's header.
    pub(super) header_due: bool,
    pub(super) room: Room,
    /// It gets nothing but answers of this process, and this is its place among those.
    pub(super) alone: bool,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Serves a client until one side has had enough.
pub(super) async fn serve(stream: Stream, came: Came, shared: Arc<Shared>) {
    let Came { ends: [mut source, listener], face, header_due, room, alone, place } = came;
    let socket = stream.socket();
    if !face.plan.load().lets_in(source.ip().to_canonical(), listener.port()) {
        face.denied_connections.fetch_add(1, Relaxed);
        return;
    }
    let mut destination =
        if listener.ip().is_unspecified() { socket.local_addr().unwrap_or(listener) } else { listener };
    let (mut stream, mut early) = (stream, Vec::new());
    if header_due {
        let times = times(&face);
        let longest = if alone { ALONE_PATIENCE } else { Duration::MAX };
        let patience = times.http_request.or(times.client).unwrap_or(longest).min(longest);
        match tokio::time::timeout(patience, header(&mut stream)).await {
            Ok(Some((ends, rest))) => {
                early = rest;
                if let Some(ends) = ends {
                    (source, destination) = (ends.source, ends.destination);
                }
            }
            _ => {
                face.request_errors.fetch_add(1, Relaxed);
                return;
            }
        }
    }
    face.enter();
    let begun = (!early.is_empty()).then(|| (Instant::now(), SystemTime::now()));
    let clock = Clock {
        busy: false,
        since: Instant::now(),
        begun,
        requests: 0,
        body: None,
        blocked: None,
        late: false,
        refusal: Vec::new(),
    };
    let accepted = SystemTime::now();
    let client =
        Arc::new(Client { face, source, destination, accepted, shared, clock: Mutex::new(clock), _room: room });
    let until = alone.then(|| client.clock().since + ALONE_PATIENCE);
    let end = converse(Watched { stream, client: client.clone(), early }, &client, until).await;
    finish(end, &client, &socket);
    drop(place);
}

fn times(face: &Face) -> FrontendTimeouts {
    face.plan.load().requests.as_ref().map(|requests| requests.front.timeouts.clone()).unwrap_or_default()
}

/// The PROXY protocol's header and what follows it. `None`: there is none.
async fn header(stream: &mut Stream) -> Option<(Option<proxy::Ends>, Vec<u8>)> {
    let mut bytes = Vec::new();
    while bytes.len() < HEADER_MAX {
        let mut more = [0; 512];
        let count = stream.read(&mut more).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&more[..count]);
        match proxy::parse(&bytes) {
            proxy::Parsed::Incomplete => {}
            proxy::Parsed::Header(ends, length) => return Some((ends, bytes.split_off(length))),
            proxy::Parsed::Invalid => return None,
        }
    }
    None
}

/// Requests and answers, until the connection ends or the client is late. `until`: there is one request, and no longer.
async fn converse(stream: Watched, client: &Arc<Client>, until: Option<Instant>) -> End {
    let service = service_fn(|request| exchange::answer(request, client.clone()));
    let connection = http1::Builder::new()
        .half_close(true)
        .keep_alive(until.is_none())
        .auto_date_header(false)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    loop {
        let closing = client.face.closing.notified();
        if client.face.closed.load(Relaxed) {
            connection.as_mut().graceful_shutdown();
        }
        let times = times(&client.face);
        let now = Instant::now();
        let due = client.deadline(&times).into_iter().chain(until).min();
        if due.is_some_and(|at| at <= now) {
            client.clock().late = true;
            return End::Late;
        }
        // What begins to be waited for meanwhile is due no sooner than the shortest of the times.
        let shortest = [times.client, times.http_request, times.http_keep_alive].into_iter().flatten().min();
        let next = due.into_iter().chain(shortest.map(|time| now + time)).min();
        tokio::select! {
            done = connection.as_mut() => return End::Done(done),
            () = tokio::time::sleep_until(next.unwrap_or(now).into()), if next.is_some() => {}
            () = closing => {}
        }
    }
}

/// What is said last, and logged, of a request that never was one.
fn finish(end: End, client: &Arc<Client>, socket: &TcpStream) {
    let (busy, requests, begun, refusal) = {
        let mut clock = client.clock();
        (clock.busy, clock.requests, clock.begun.is_some(), std::mem::take(&mut clock.refusal))
    };
    let plan = client.face.plan.load_full();
    let Some(rules) = &plan.requests else { return };
    let probe = !begun && rules.front.http_ignore_probes;
    let first = requests == 0;
    let refused = match &end {
        _ if busy || first && client.face.closed.load(Relaxed) => None,
        End::Late if begun || first && !probe => Some((408, *b"cR")),
        End::Late => None,
        End::Done(Ok(())) if first && !probe => Some((400, *b"CR")),
        End::Done(Ok(())) => None,
        End::Done(Err(e)) if e.is_incomplete_message() && (begun || first && !probe) => Some((400, *b"CR")),
        End::Done(Err(e)) if e.is_parse() => Some((400, *b"PR")),
        End::Done(Err(_)) if first && !probe => Some((400, *b"CR")),
        End::Done(Err(_)) => None,
    };
    let Some((status, state)) = refused else {
        let _ = socket.try_write(&refusal);
        return;
    };
    client.face.request_errors.fetch_add(1, Relaxed);
    let _ = socket.try_write(&answers::bytes(status, &rules.front.error_files));
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Write);
    // Closing with something unread would be a reset, which may overtake the answer.
    while socket.try_read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    Record::refused(client, status, state, begun);
}

/// Whether this is what hyper answers by itself to what is no request; haproxy's words take its place.
fn is_refusal(bytes: &[u8]) -> bool {
    const STATUS: [&str; 3] =
        ["HTTP/1.1 400 Bad Request", "HTTP/1.1 414 URI Too Long", "HTTP/1.1 431 Request Header Fields Too Large"];
    const REST: [&str; 3] = ["content-length: 0", "connection: close", ""];
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.split("\r\n");
    lines.next().is_some_and(|first| STATUS.contains(&first)) && lines.all(|line| REST.contains(&line))
}

/// A client's stream: notes what the client is waited for.
struct Watched {
    stream: Stream,
    client: Arc<Client>,
    /// What was read before.
    early: Vec<u8>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..count]);
            self.early.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            let mut clock = self.client.clock();
            if !clock.busy && clock.begun.is_none() {
                clock.begun = Some((Instant::now(), SystemTime::now()));
            }
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An answer of haproxy's may still have to be written.
        let clock = self.client.clock();
        if clock.requests == 0 || !clock.refusal.is_empty() {
            return Poll::Ready(Ok(()));
        }
        drop(clock);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first: &[u8] = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[], |buf| buf);
        if !self.client.clock().busy && is_refusal(first) {
            self.client.clock().refusal = first.to_vec();
            return Poll::Ready(Ok(first.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        let mut clock = self.client.clock();
        match &polled {
            Poll::Pending => _ = clock.blocked.get_or_insert_with(Instant::now),
            Poll::Ready(_) => clock.blocked = None,
        }
        drop(clock);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
