//! Connections to backends of type http: kept for the next request, counted, cut when their backend goes down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use baton_core::pool::Source;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::conn::{open, watch_over};
use super::super::route::Choice;
use super::super::target::{BackendId, Fault, Target};
use super::super::tls;
use super::record::Upload;
use super::stream::{Stream, Streams};

/// Idle connections kept per backend.
const IDLE_MAX: usize = 64;
/// What a handshake with a backend that accepts connections may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one is kept.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(30);

/// A connection to a backend, between requests.
struct Idle {
    sender: SendRequest<Counted>,
    since: Instant,
    /// It has served more than one request: it is really kept by the other side.
    proven: bool,
}

/// A connection for a request.
pub(super) struct Line {
    pub(super) sender: SendRequest<Counted>,
    /// It has served before.
    pub(super) used: bool,
}

impl Idle {
    fn is_fresh(&self) -> bool {
        !self.sender.is_closed() && (!self.sender.is_ready() || self.since.elapsed() < IDLE_TIME)
    }
}

/// Connections to one backend.
#[derive(Default)]
struct Lines {
    idle: Vec<Idle>,
    open: Arc<Streams>,
}

/// Connections to all backends, by the identity of the backend.
#[derive(Default)]
pub(super) struct Pool {
    lines: Mutex<HashMap<BackendId, Lines>>,
}

/// Why no connection was made.
pub(super) enum NoConnection {
    /// The backend's fault.
    Fault(Fault),
    /// It accepts connections and then does not speak as it should.
    Speech(String),
    /// This host's.
    Local(std::io::Error),
}

impl Pool {
    /// A kept connection that is ready for a request. `proven`: only one that has been taken before.
    pub(super) fn take(&self, target: &Arc<Target>, proven: bool) -> Option<Line> {
        let mut lines = self.lines.lock().expect("nobody panics while holding it");
        let idle = &mut lines.get_mut(&target.id)?.idle;
        idle.retain(Idle::is_fresh);
        let ready = idle.iter().rposition(|i| i.sender.is_ready() && (i.proven || !proven))?;
        Some(Line { sender: idle.swap_remove(ready).sender, used: true })
    }

    /// Keeps a connection. It need not be ready yet: its response may still be on the way.
    pub(super) fn keep(&self, target: &Arc<Target>, line: Line) {
        let Line { sender, used } = line;
        let mut lines = self.lines.lock().expect("nobody panics while holding it");
        let idle = &mut lines.entry(target.id.clone()).or_default().idle;
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now(), proven: used });
        }
    }

    /// Closes what was idle for too long.
    pub(super) fn tidy(&self) {
        let mut lines = self.lines.lock().expect("nobody panics while holding it");
        lines.retain(|_, line| {
            line.idle.retain(Idle::is_fresh);
            !line.open.is_empty()
        });
    }

    /// Resets all connections to a backend.
    pub(super) fn cut(&self, target: &Arc<Target>) {
        let line = self.lines.lock().expect("nobody panics while holding it").remove(&target.id);
        if let Some(line) = line {
            line.open.reset(|_| true);
        }
    }

    fn open(&self, target: &Arc<Target>) -> Arc<Streams> {
        self.lines.lock().expect("nobody panics while holding it").entry(target.id.clone()).or_default().open.clone()
    }

    /// A new connection, which opens with `first`.
    pub(super) async fn dial(
        &self,
        choice: &Choice,
        address: SocketAddr,
        patience: Duration,
        first: &[u8],
    ) -> Result<Line, NoConnection> {
        let mut stream = match tokio::time::timeout(patience, connect(address, choice.source.as_deref())).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(fault(e)),
            Err(_) => return Err(NoConnection::Fault(Fault::TimedOut)),
        };
        stream.set_nodelay(true).map_err(NoConnection::Local)?;
        watch_over(&stream).map_err(|e| NoConnection::Local(e.into()))?;
        stream.write_all(first).await.map_err(fault)?;
        let stream = Stream::new(stream, self.open(&choice.target), None);
        if !choice.url.as_ref().is_some_and(|url| url.tls) {
            return shake(stream).await;
        }
        let name = tls::server_name(&choice.target.id.host).map_err(NoConnection::Speech)?;
        match tokio::time::timeout(TLS_TIMEOUT, tls::connector().connect(name, stream)).await {
            Ok(Ok(stream)) => shake(stream).await,
            Ok(Err(e)) => Err(NoConnection::Speech(format!("TLS: {e}"))),
            Err(_) => Err(NoConnection::Speech(format!("TLS: no answer within {TLS_TIMEOUT:?}"))),
        }
    }
}

async fn connect(address: SocketAddr, source: Option<&Source>) -> std::io::Result<TcpStream> {
    let stream = TcpStream::from_std(open(address, false, source)?.into())?;
    // It is when the handshake is over, however that ended.
    stream.writable().await?;
    stream.take_error()?.map_or(Ok(stream), Err)
}

async fn shake<S>(stream: S) -> Result<Line, NoConnection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = http1::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(super::serve::BUFFER_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = shaken.map_err(|e| NoConnection::Speech(format!("HTTP: {e}")))?;
    // An error is told to whoever waits for a response.
    tokio::spawn(connection.with_upgrades());
    Ok(Line { sender, used: false })
}

fn fault(error: std::io::Error) -> NoConnection {
    use std::io::ErrorKind as E;
    match error.kind() {
        E::ConnectionRefused => NoConnection::Fault(Fault::Refused),
        E::ConnectionReset | E::ConnectionAborted => NoConnection::Fault(Fault::Reset),
        E::TimedOut => NoConnection::Fault(Fault::TimedOut),
        E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown => NoConnection::Fault(Fault::Unreachable),
        _ => NoConnection::Local(error),
    }
}

/// Which of a backend's counters a body adds to.
pub(super) enum Way {
    ToBackend,
    ToClient,
}

/// A body on its way through, counted. That of a response ends the request when it is dropped.
pub(super) struct Counted {
    body: Incoming,
    target: Option<Arc<Target>>,
    cell: usize,
    way: Way,
    /// Of a request in mode http: who is told how it moves.
    upload: Option<Arc<Upload>>,
}

impl Counted {
    /// A request's body, before it is known where it goes.
    pub(super) fn request(body: Incoming, cell: usize) -> Counted {
        Counted { body, target: None, cell, way: Way::ToBackend, upload: None }
    }

    /// A response's body. The request is active until it is dropped.
    pub(super) fn response(body: Incoming, target: Arc<Target>, cell: usize) -> Counted {
        Counted { body, target: Some(target), cell, way: Way::ToClient, upload: None }
    }

    /// A request's body that is watched.
    pub(super) fn watched(body: Incoming, cell: usize, upload: Arc<Upload>) -> Counted {
        Counted { body, target: None, cell, way: Way::ToBackend, upload: Some(upload) }
    }

    pub(super) fn goes_to(&mut self, target: &Arc<Target>) {
        self.target = Some(target.clone());
    }

    fn counter(&self) -> Option<&AtomicU64> {
        let cell = self.target.as_ref()?.cell(self.cell);
        Some(match self.way {
            Way::ToBackend => &cell.to_backend,
            Way::ToClient => &cell.to_client,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let (Way::ToClient, Some(target)) = (&self.way, &self.target) {
            target.cell(self.cell).active.fetch_sub(1, Relaxed);
        }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = std::pin::Pin::new(&mut self.body).poll_frame(cx);
        if let Some(upload) = &self.upload {
            upload.polled(&polled);
        }
        if let std::task::Poll::Ready(Some(Ok(frame))) = &polled
            && let (Some(data), Some(counter)) = (frame.data_ref(), self.counter())
        {
            counter.fetch_add(data.len() as u64, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
