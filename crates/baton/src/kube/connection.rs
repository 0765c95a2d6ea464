//! A connection to one API server: HTTP/2 (many requests and watches on it), or several of HTTP/1.1 where nothing better
//! is spoken. A server that hangs does not answer pings, which ends the connection and every watch on it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper::rt::Executor;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::access::{Server, Source, Way};
use super::tls;

/// Silence after which a server is asked for a sign of life, and how long it may take to give it.
pub(super) const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// What one stream may have under way. A watch that nobody reads must not stop the others, hence the many of them in
/// [`WINDOW`].
const STREAM_WINDOW: u32 = 128 << 10;
/// What all streams together may have under way.
const WINDOW: u32 = 4 << 20;
/// Idle HTTP/1.1 connections that are kept.
const IDLE_MAX: usize = 4;

/// A request as it is sent. Its URI is a path.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// Why there is no answer.
pub(super) struct NoAnswer {
    /// Nothing of it was sent.
    pub(super) unsent: bool,
    pub(super) text: String,
}

pub(super) struct Connection {
    pub(super) server: Server,
    pub(super) source: Source,
    /// The first of the list.
    pub(super) is_home: bool,
    pub(super) since: Instant,
    lines: Lines,
    config: Arc<ClientConfig>,
    tasks: Tasks,
    closed: AtomicBool,
}

/// Everything that runs for a connection, so that closing it ends all of that: what is under way fails at once.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

impl Tasks {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().drain(..).for_each(|task| task.abort());
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, work: F) {
        let task = tokio::spawn(work).abort_handle();
        let mut tasks = self.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }
}

enum Lines {
    Http2(http2::SendRequest<Full<Bytes>>),
    Http1(Mutex<Vec<http1::SendRequest<Full<Bytes>>>>),
}

/// A line that one request is sent on.
enum Line {
    Http2(http2::SendRequest<Full<Bytes>>),
    Http1(http1::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Connects. The caller bounds the time.
    pub(super) async fn open(way: &Way, at: usize) -> Result<Connection, String> {
        let server = way.servers[at].clone();
        let config = tls::config(&way.identity, &server.names)?;
        let stream = dial(&server, &config).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let tasks = Tasks::default();
        let lines = if is_http2 {
            Lines::Http2(http2_line(stream, &tasks).await?)
        } else {
            Lines::Http1(Mutex::new(vec![http1_line(stream, &tasks).await?]))
        };
        Ok(Connection {
            server,
            source: way.source.clone(),
            is_home: at == 0,
            since: Instant::now(),
            lines,
            config,
            tasks,
            closed: AtomicBool::new(false),
        })
    }

    /// Whether a request can be sent on it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        let gone = match &self.lines {
            Lines::Http2(sender) => sender.is_closed(),
            Lines::Http1(_) => false,
        };
        !gone && !self.closed.load(Relaxed)
    }

    /// Ends it, and what is still being read from it.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.tasks.close();
    }

    /// Sends a request and waits for the beginning of its answer.
    pub(super) async fn send(&self, request: Outgoing) -> Result<Response<Incoming>, NoAnswer> {
        let unsent = |text: String| NoAnswer { unsent: true, text };
        let line = self.line().await.map_err(unsent)?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let path = format!("{}{path}", self.server.prefix);
        let authority = self.server.authority();
        let (mut head, body) = request.into_parts();
        match line {
            Line::Http2(mut sender) => {
                head.uri = uri(&format!("https://{authority}{path}")).map_err(unsent)?;
                sender
                    .try_send_request(Request::from_parts(head, body))
                    .await
                    .map_err(|mut e| NoAnswer { unsent: e.take_message().is_some(), text: reason(&e.into_error()) })
            }
            Line::Http1(mut sender) => {
                head.uri = uri(&path).map_err(unsent)?;
                head.headers.insert(HOST, authority.parse().map_err(|_| unsent(format!("{authority} is no host")))?);
                let answer = sender
                    .try_send_request(Request::from_parts(head, body))
                    .await
                    .map_err(|mut e| NoAnswer { unsent: e.take_message().is_some(), text: reason(&e.into_error()) })?;
                self.keep(sender);
                Ok(answer)
            }
        }
    }

    async fn line(&self) -> Result<Line, String> {
        if !self.is_open() {
            return Err("the connection was closed".to_owned());
        }
        let idle = match &self.lines {
            Lines::Http2(sender) => return Ok(Line::Http2(sender.clone())),
            Lines::Http1(idle) => idle,
        };
        let ready = {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|sender| !sender.is_closed());
            idle.iter().position(http1::SendRequest::is_ready).map(|at| idle.swap_remove(at))
        };
        if let Some(sender) = ready {
            return Ok(Line::Http1(sender));
        }
        let stream = dial(&self.server, &self.config).await?;
        Ok(Line::Http1(http1_line(stream, &self.tasks).await?))
    }

    /// Keeps a line of HTTP/1.1 for the next request; it is ready when the answer has been read.
    fn keep(&self, sender: http1::SendRequest<Full<Bytes>>) {
        if let Lines::Http1(idle) = &self.lines {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(sender);
            // The oldest is what a watch goes on being read from: dropping the sender does not end that.
            if idle.len() > IDLE_MAX {
                idle.remove(0);
            }
        }
    }
}

fn uri(text: &str) -> Result<Uri, String> {
    text.parse().map_err(|_| format!("{text} is no path"))
}

async fn dial(server: &Server, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let (after, every) = PING;
    let keepalive = TcpKeepalive::new().with_time(after).with_interval(every).with_retries(2);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(|e| e.to_string())?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(server.names.asked(), stream).await.map_err(|e| e.to_string())
}

async fn http2_line(stream: TlsStream<TcpStream>, tasks: &Tasks) -> Result<http2::SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| reason(&e))?;
    tasks.execute(connection);
    Ok(sender)
}

async fn http1_line(stream: TlsStream<TcpStream>, tasks: &Tasks) -> Result<http1::SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| reason(&e))?;
    tasks.execute(connection);
    Ok(sender)
}

/// An error with what caused it: the cause is what tells a person something.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
