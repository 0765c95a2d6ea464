//! Requests: to the server in use, to the next one when it fails, never twice when the first may have been done.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use baton_config::kubeconfig::Token;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use serde_json::Value;
use tokio::time::timeout;
use tracing::{info, warn};

use super::access::{Access, Server};
use super::connection::{Connection, Outgoing};
use super::counts::Verb;
use super::error::Error;

/// Longest answer that is read: a page of a list is far smaller.
const ANSWER_MAX: usize = 64 << 20;
/// How often a server that is not home is left for home again, if home is well.
const HOME: Duration = Duration::from_secs(60);
/// How long a token that was read from a file is used.
const TOKEN: Duration = Duration::from_secs(60);
/// How long a server must have been in use to be left because of an answer.
const SETTLED: Duration = Duration::from_secs(1);
/// One request is sent at most so often: to servers that turn out to be away, and again with other credentials.
const ATTEMPTS: usize = 20;

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// To connect to one server.
    pub connect: Duration,
    /// To be answered by one server.
    pub attempt: Duration,
    /// Altogether.
    pub total: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times { connect: Duration::from_secs(3), attempt: Duration::from_secs(10), total: Duration::from_secs(25) }
    }
}

/// A client with a connection of its own. Clones share it.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    access: Access,
    times: Times,
    state: Mutex<State>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Connection>>,
    /// The server that failed last: the next one is tried first.
    failed: Option<String>,
    avoid_home: bool,
    /// When home was tried last.
    home_tried: Option<Instant>,
    token: Option<Token>,
    bearer: Option<(HeaderValue, Instant)>,
    /// What the log said last about the way.
    said: String,
}

/// One request, before it is sent to anybody.
struct Call<'a> {
    verb: Verb,
    path: &'a str,
    body: Option<(&'static str, Bytes)>,
}

impl Call<'_> {
    fn method(&self) -> Method {
        match self.verb {
            Verb::Get | Verb::List | Verb::Watch => Method::GET,
            Verb::Create => Method::POST,
            Verb::Update => Method::PUT,
            Verb::Patch => Method::PATCH,
        }
    }

    /// Asking twice changes nothing.
    fn is_read(&self) -> bool {
        self.method() == Method::GET
    }
}

/// What became of one attempt.
enum Attempt {
    Answer(Response<Incoming>),
    Failed { error: Error, again: bool },
}

impl Client {
    /// A client. It connects when it is asked something.
    #[must_use]
    pub fn new(access: &Access, times: Times) -> Client {
        let (state, connecting) = (Mutex::default(), tokio::sync::Mutex::default());
        Client(Arc::new(Shared { access: access.clone(), times, state, connecting }))
    }

    /// Reads an object.
    ///
    /// # Errors
    /// As [`Error`] sorts them; so for all of these.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        parsed(&self.whole(&Call { verb: Verb::Get, path, body: None }).await?)
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// [`Error::Exists`] and others.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.write(Verb::Create, path, "application/json", object).await
    }

    /// Replaces an object; with its `resourceVersion` only if nobody changed it.
    ///
    /// # Errors
    /// [`Error::Conflict`] and others.
    pub async fn put(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.write(Verb::Update, path, "application/json", object).await
    }

    /// Changes parts of an object, by JSON merge patch.
    ///
    /// # Errors
    /// As [`Error`] sorts them.
    pub async fn patch(&self, path: &str, changes: &Value) -> Result<Value, Error> {
        self.write(Verb::Patch, path, "application/merge-patch+json", changes).await
    }

    /// The server in use is ill in a way that it does not show here (or well again): while there is another, ask that.
    pub fn avoid_home(&self, avoid: bool) {
        let left = {
            let mut state = self.state();
            state.avoid_home = avoid;
            let at_home = avoid && state.current.as_ref().is_some_and(|connection| connection.is_home);
            if at_home { state.current.take() } else { None }
        };
        if let Some(connection) = left {
            connection.close();
        }
    }

    /// Whether a server other than home answers that it is ready, home being avoided: its address.
    ///
    /// # Errors
    /// Why none does.
    pub async fn elsewhere(&self) -> Result<String, Error> {
        let way = self.0.access.way().map_err(Error::Unreachable)?;
        let mut wrong = Vec::new();
        for at in 1..way.servers.len() {
            let server = way.servers[at].authority();
            if way.servers[at].is_this_host() {
                continue;
            }
            match self.probe(&way, at).await {
                Ok(_) => return Ok(server),
                Err(error) => wrong.push(format!("{server}: {error}")),
            }
        }
        let none = "no other API server is known".to_owned();
        Err(Error::Unreachable(if wrong.is_empty() { none } else { wrong.join("; ") }))
    }

    /// Reads a page of a list, as bytes.
    pub(super) async fn page(&self, path: &str) -> Result<Bytes, Error> {
        self.whole(&Call { verb: Verb::List, path, body: None }).await
    }

    /// Opens a stream. It is as long as the server likes.
    pub(super) async fn stream(&self, path: &str) -> Result<Incoming, Error> {
        let answer = self.answer(&Call { verb: Verb::Watch, path, body: None }).await?;
        Ok(answer.0.into_body())
    }

    async fn write(&self, verb: Verb, path: &str, kind: &'static str, object: &Value) -> Result<Value, Error> {
        let bytes = serde_json::to_vec(object).map_err(|e| Error::Invalid(e.to_string()))?;
        parsed(&self.whole(&Call { verb, path, body: Some((kind, bytes.into())) }).await?)
    }

    /// The whole answer.
    async fn whole(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        let (answer, connection) = self.answer(call).await?;
        match timeout(self.0.times.attempt, bytes(answer)).await {
            Ok(read) => read,
            Err(_) => {
                self.leave(&connection, true);
                Err(Error::Unanswered(format!("{} stopped in the middle of its answer", connection.server.authority())))
            }
        }
    }

    /// The beginning of a good answer.
    async fn answer(&self, call: &Call<'_>) -> Result<(Response<Incoming>, Arc<Connection>), Error> {
        let until = Instant::now() + self.0.times.total;
        let nobody = || Error::Unreachable(format!("no API server took a connection within {:?}", self.0.times.total));
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let connection = match timeout(left, self.connection()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(text)) => return Err(Error::Unreachable(text)),
                Err(_) => break,
            };
            let left = until.saturating_duration_since(Instant::now()).min(self.0.times.attempt);
            match self.attempt(call, &connection, left).await {
                Attempt::Answer(answer) => return Ok((answer, connection)),
                Attempt::Failed { error, again: false } => return Err(error),
                Attempt::Failed { error, .. } => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(nobody))
    }

    async fn attempt(&self, call: &Call<'_>, connection: &Arc<Connection>, left: Duration) -> Attempt {
        let request = match self.request(call) {
            Ok(request) => request,
            Err(text) => return Attempt::Failed { error: Error::Unreachable(text), again: false },
        };
        self.0.access.count(call.verb);
        let server = connection.server.authority();
        match timeout(left, connection.send(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Attempt::Answer(answer),
            Ok(Ok(answer)) => self.refused(call, connection, answer, left).await,
            Ok(Err(gone)) => {
                // The server closed it: a new connection to the same one may do.
                self.leave(connection, false);
                let text = format!("{server}: {}", gone.text);
                let error = if gone.unsent { Error::Unreachable(text) } else { Error::Unanswered(text) };
                Attempt::Failed { error, again: gone.unsent || call.is_read() }
            }
            Err(_) => {
                self.leave(connection, true);
                let error = Error::Unanswered(format!("{server} did not answer within {left:?}"));
                Attempt::Failed { error, again: call.is_read() }
            }
        }
    }

    /// Sorts an answer that is no success. A server that fails is left, credentials that do not do are changed.
    async fn refused(
        &self,
        call: &Call<'_>,
        connection: &Arc<Connection>,
        answer: Response<Incoming>,
        left: Duration,
    ) -> Attempt {
        let code = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = timeout(left, bytes(answer)).await.ok().and_then(Result::ok).unwrap_or_default();
        let error = Error::of_answer(code, after.map(Duration::from_secs), &body);
        let again = match &error {
            Error::Forbidden(_) if self.0.access.forbidden(&connection.source) => {
                warn!("{} may not do this (yet): asking with super-admin.conf for a while", connection.source);
                self.leave(connection, false);
                true
            }
            Error::Unauthorized(_) => {
                let stale = self.state().bearer.take().is_some_and(|(_, read)| read.elapsed() > Duration::from_secs(1));
                // Credentials may have been rotated: one more time with what the files say now.
                let again = stale || connection.since.elapsed() > Duration::from_secs(5);
                self.leave(connection, !again);
                again
            }
            Error::Server(_) => self.turn_from(connection) && call.is_read(),
            _ => false,
        };
        Attempt::Failed { error, again }
    }

    fn request(&self, call: &Call<'_>) -> Result<Outgoing, String> {
        let mut request = Request::builder()
            .method(call.method())
            .uri(call.path)
            .header(USER_AGENT, concat!("baton/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        if let Some(bearer) = self.bearer()? {
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some((kind, _)) = &call.body {
            request = request.header(CONTENT_TYPE, *kind);
        }
        let body = call.body.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        request.body(Full::new(body)).map_err(|e| format!("{}: {e}", call.path))
    }

    /// The token, read again when it is old.
    fn bearer(&self) -> Result<Option<HeaderValue>, String> {
        let mut state = self.state();
        let text = match (&state.token, &state.bearer) {
            (None, _) => return Ok(None),
            (_, Some((bearer, read))) if read.elapsed() < TOKEN => return Ok(Some(bearer.clone())),
            (Some(Token::Text(text)), _) => text.clone(),
            (Some(Token::File(path)), _) => std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?,
        };
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|_| "the token holds characters that no token has".to_owned())?;
        bearer.set_sensitive(true);
        state.bearer = Some((bearer.clone(), Instant::now()));
        Ok(Some(bearer))
    }

    /// The connection in use, or a new one to the first server that takes it.
    async fn connection(&self) -> Result<Arc<Connection>, String> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let _one = self.0.connecting.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let way = self.0.access.way()?;
        let mut wrong = Vec::new();
        for at in self.order(&way.servers) {
            match timeout(self.0.times.connect, Connection::open(&way, at)).await {
                Ok(Ok(connection)) => return Ok(self.take(Arc::new(connection), way.token)),
                Ok(Err(text)) => wrong.push(format!("{}: {text}", way.servers[at].authority())),
                Err(_) => wrong.push(format!("{}: no answer", way.servers[at].authority())),
            }
            if at != 0 {
                // Should the caller's patience end here, the next call goes on with the next server.
                self.state().failed = Some(way.servers[at].authority());
            }
        }
        Err(wrong.join("; "))
    }

    /// In which order servers are tried: home first unless it was what failed last, then those after the one that failed;
    /// home last while it is ill.
    fn order(&self, servers: &[Server]) -> Vec<usize> {
        let state = self.state();
        let failed = servers.iter().position(|server| Some(server.authority()) == state.failed);
        let first = failed.map_or(0, |at| at + 1);
        let mut order: Vec<usize> = (0..servers.len()).map(|at| (first + at) % servers.len()).collect();
        if state.avoid_home {
            order.sort_by_key(|at| *at == 0);
        } else if failed != Some(0) {
            order.sort_by_key(|at| *at != 0);
        }
        order
    }

    fn take(&self, connection: Arc<Connection>, token: Option<Token>) -> Arc<Connection> {
        let mut state = self.state();
        if state.token != token {
            (state.token, state.bearer) = (token, None);
        }
        let said = format!("{} with {}", connection.server.authority(), connection.source);
        if state.said != said {
            info!("asking the API server {said}");
            state.said = said;
        }
        state.home_tried = Some(Instant::now());
        state.current = Some(Arc::clone(&connection));
        connection
    }

    fn current(&self) -> Option<Arc<Connection>> {
        let mut state = self.state();
        let connection = state.current.clone().filter(|connection| connection.is_open());
        let connection = connection.filter(|connection| !self.0.access.is_over(&connection.source));
        state.current.clone_from(&connection);
        let away = connection.as_ref().is_some_and(|connection| !connection.is_home) && !state.avoid_home;
        if away && state.home_tried.is_none_or(|tried| tried.elapsed() > HOME) {
            state.home_tried = Some(Instant::now());
            tokio::spawn(self.clone().go_home());
        }
        connection
    }

    /// Takes the first server again when it is ready. What is being read elsewhere goes on there.
    async fn go_home(self) {
        let Ok(way) = self.0.access.way() else { return };
        // It may have been found ill while it was asked.
        if let Ok(connection) = self.probe(&way, 0).await
            && !self.state().avoid_home
        {
            self.state().failed = None;
            self.take(connection, way.token);
        }
    }

    /// A connection to a server that says it is ready.
    async fn probe(&self, way: &super::access::Way, at: usize) -> Result<Arc<Connection>, String> {
        let open = timeout(self.0.times.connect, Connection::open(way, at));
        let connection = open.await.map_err(|_| "no answer".to_owned())??;
        let call = Call { verb: Verb::Get, path: "/readyz", body: None };
        let request = self.request(&call)?;
        self.0.access.count(Verb::Get);
        match timeout(self.0.times.attempt, connection.send(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(Arc::new(connection)),
            Ok(Ok(answer)) => Err(format!("is not ready: {}", answer.status())),
            Ok(Err(gone)) => Err(gone.text),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Leaves a connection; `fault`: and its server, as long as there is another.
    fn leave(&self, connection: &Arc<Connection>, fault: bool) {
        let mut state = self.state();
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            state.current = None;
            state.failed = fault.then(|| connection.server.authority());
        }
        drop(state);
        connection.close();
    }

    /// Sends what comes next to another server; what is being read from this one goes on. A server that is new to us is
    /// heard a second time, so that an answer which all of them would give does not chase us around: `false`, and whoever
    /// asks waits before that.
    fn turn_from(&self, connection: &Arc<Connection>) -> bool {
        let mut state = self.state();
        let is_current = state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection));
        if is_current && connection.since.elapsed() > SETTLED {
            state.current = None;
            state.failed = Some(connection.server.authority());
            return true;
        }
        !is_current
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parsed(bytes: &Bytes) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Server(format!("the answer is not JSON: {e}")))
}

async fn bytes(answer: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    body.map(|body| body.to_bytes()).map_err(|e| Error::Unanswered(format!("the answer broke off: {e}")))
}
