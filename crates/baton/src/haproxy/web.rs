//! Frontends of mode http: what this process answers itself. The statistics page and its CSV, `monitor-uri`, and figures
//! for Prometheus.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use baton_config::haproxy::Config;
use baton_config::haproxy::model::{
    Backend, Condition, Frontend, HttpAction, Listen, Matching, Mode, Sample, StatsPage,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::socket::{Ask, Permission};
use crate::proxy::listen;

/// Connections at once, of all frontends: their descriptors are those that are kept for the daemon itself. Others wait.
const CONNECTIONS: usize = 128;
/// How long one may take, from its beginning to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one frontend answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Web {
    name: String,
    listen: Vec<SocketAddr>,
    monitor: Option<String>,
    stats: Option<StatsPage>,
    /// Paths of the figures for Prometheus; empty: none, and every path where there is no condition.
    metrics: Option<Vec<String>>,
}

impl Web {
    /// Those that a configuration asks for.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Web> {
        config.frontends.iter().filter(|f| f.mode == Mode::Http).map(Web::of).collect()
    }

    fn of(front: &Frontend) -> Web {
        let listen = front.binds.iter().filter_map(|bind| match bind.listen {
            Listen::Inet { ip, port } => Some(SocketAddr::new(ip, port)),
            _ => None,
        });
        let exporter = front.http_rules.iter().find(|rule| rule.action == HttpAction::PrometheusExporter);
        Web {
            name: front.name.clone(),
            listen: listen.collect(),
            monitor: front.monitor_uri.clone(),
            stats: front.stats.clone(),
            metrics: exporter.map(|rule| rule.condition.as_ref().and_then(paths).unwrap_or_default()),
        }
    }
}

/// The paths that a condition asks for, if it asks for nothing else.
fn paths(condition: &Condition) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    for term in condition.any.iter().flatten() {
        for test in &term.any {
            match (&test.sample, &test.matching) {
                (Sample::Path, Matching::Equal(wanted, _)) if !term.negate => paths.extend(wanted.iter().cloned()),
                _ => return None,
            }
        }
    }
    (!condition.unless && condition.any.iter().all(|all| all.len() == 1)).then_some(paths)
}

/// What a frontend of mode http asks for beyond that.
pub fn unserved(front: &Frontend, put: &mut dyn FnMut(&str, &str)) {
    let name = format!("frontend {}", front.name);
    let mut when = |asked: bool, why: &str| {
        if asked {
            put(&name, why);
        }
    };
    when(
        !front.switches.is_empty(),
        "`use_backend` in mode http is not served: `monitor-uri`, `stats` and `prometheus-exporter` are answered, requests are not passed on",
    );
    when(!front.monitor_fail.is_empty(), "`monitor fail` is not served");
    when(front.binds.iter().any(|bind| bind.accept_proxy), "`accept-proxy` in mode http is not served");
    when(
        !front.connection_rules.is_empty() || !front.content_rules.is_empty(),
        "`tcp-request` in mode http is not served",
    );
    let exporter = |action: &HttpAction| *action == HttpAction::PrometheusExporter;
    when(
        front.http_rules.iter().any(|rule| !exporter(&rule.action)),
        "of `http-request` only `use-service prometheus-exporter` is served",
    );
    let asked = front.http_rules.iter().filter_map(|rule| rule.condition.as_ref());
    when(
        asked.into_iter().any(|condition| paths(condition).is_none()),
        "the exporter's condition may look at `path` only",
    );
    when(!front.http_response_rules.is_empty(), "`http-response` is not served");
    when(
        front.stats.as_ref().is_some_and(|s| !s.admin.is_empty()),
        "`stats admin` is not served; the `stats socket` takes commands",
    );
}

/// What a backend of mode http asks for beyond that.
pub fn unserved_back(back: &Backend, put: &mut dyn FnMut(&str, &str)) {
    if !back.servers.is_empty() {
        put(
            &format!("backend {}", back.name),
            "servers in mode http are not served: `mode tcp` passes requests on as they are",
        );
    }
}

/// The listeners that are open.
pub struct Webs {
    open: Vec<(Web, Vec<JoinHandle<()>>)>,
    room: Arc<Semaphore>,
}

impl Default for Webs {
    fn default() -> Webs {
        Webs { open: Vec::new(), room: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

impl Webs {
    /// Opens and closes what differs; what could not be done.
    pub async fn apply(&mut self, wanted: Vec<Web>, questions: &mpsc::Sender<Ask>) -> Vec<String> {
        let (stay, go): (Vec<_>, Vec<_>) = self.open.drain(..).partition(|(web, _)| wanted.contains(web));
        self.open = stay;
        for task in go.into_iter().flat_map(|(_, tasks)| tasks) {
            task.abort();
            // Its socket is closed when it has ended.
            let _ = task.await;
        }
        let mut failed = Vec::new();
        for web in wanted {
            if self.open.iter().any(|(open, _)| *open == web) {
                continue;
            }
            let shared = Arc::new(web.clone());
            let mut tasks = Vec::new();
            for address in &web.listen {
                match bind(*address) {
                    Ok(listener) => {
                        let serve = serve(listener, shared.clone(), self.room.clone(), questions.clone());
                        tasks.push(tokio::spawn(serve));
                    }
                    Err(e) => failed.push(format!("{} cannot listen on {address}: {e}", web.name)),
                }
            }
            self.open.push((web, tasks));
        }
        failed
    }

    /// Closes all.
    pub fn close(&mut self) {
        self.open.drain(..).flat_map(|(_, tasks)| tasks).for_each(|task| task.abort());
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let fd = listen::open(address, 1)?.pop().ok_or(std::io::ErrorKind::Other)?;
    TcpListener::from_std(std::net::TcpListener::from(fd))
}

async fn serve(listener: TcpListener, web: Arc<Web>, room: Arc<Semaphore>, questions: mpsc::Sender<Ask>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Nobody closes the room. The listeners share it, so it is not kept while nobody comes.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (web, questions) = (web.clone(), questions.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (web, questions) = (web.clone(), questions.clone());
                async move { Ok::<_, Infallible>(answer(&web, &request, &questions).await) }
            });
            // One request each: a client that only holds a connection is soon gone.
            let mut builder = hyper::server::conn::http1::Builder::new();
            let connection = builder.keep_alive(false).serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is its own affair.
            let _ = tokio::time::timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

async fn answer<B>(web: &Web, request: &Request<B>, questions: &mpsc::Sender<Ask>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if web.monitor.as_deref() == Some(path) {
        let text = "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n";
        return page(StatusCode::OK, "text/html", text.to_owned());
    }
    if web.metrics.as_ref().is_some_and(|paths| paths.is_empty() || paths.iter().any(|p| p == path)) {
        return match ask(questions, "figures").await {
            Some(text) => page(StatusCode::OK, "text/plain; version=0.0.4", text),
            None => unavailable(),
        };
    }
    if let Some(stats) = &web.stats {
        let whole = request.uri().path_and_query().map_or("", |p| p.as_str());
        if let Some(rest) = whole.strip_prefix(stats.uri.as_str()) {
            if !allowed(stats, request.headers().get(header::AUTHORIZATION)) {
                return challenge(stats);
            }
            let csv = rest.split(';').any(|word| word == "csv");
            let text = ask(questions, &format!("{} {}", if csv { "csv" } else { "page" }, web.name)).await;
            let kind = if csv { "text/plain" } else { "text/html" };
            return text.map_or_else(unavailable, |text| page(StatusCode::OK, kind, text));
        }
    }
    unavailable()
}

async fn ask(questions: &mpsc::Sender<Ask>, line: &str) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    questions.send(Ask { line: line.to_owned(), level: Permission::User, reply }).await.ok()?;
    answer.await.ok()
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn unavailable() -> Response<Full<Bytes>> {
    let text = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n";
    page(StatusCode::SERVICE_UNAVAILABLE, "text/html", text.to_owned())
}

fn challenge(stats: &StatsPage) -> Response<Full<Bytes>> {
    let text = "<html><body><h1>401 Unauthorized</h1>\nYou need a valid user and password to access this content.\n</body></html>\n";
    let mut response = page(StatusCode::UNAUTHORIZED, "text/html", text.to_owned());
    let realm = stats.realm.as_deref().unwrap_or("HAProxy Statistics").replace('"', "'");
    if let Ok(value) = HeaderValue::from_str(&format!("Basic realm=\"{realm}\"")) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

/// Whether the client is one of the users; without users everybody is.
fn allowed(stats: &StatsPage, given: Option<&HeaderValue>) -> bool {
    if stats.auth.is_empty() {
        return true;
    }
    let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let given = given.and_then(|text| STANDARD.decode(text.trim()).ok()).unwrap_or_default();
    stats.auth.iter().any(|auth| {
        let known = format!("{}:{}", auth.user, auth.password).into_bytes();
        // As long for a wrong one as for a right one.
        let differ = known.iter().zip(&given).fold(known.len() ^ given.len(), |d, (a, b)| d | usize::from(a ^ b));
        differ == 0
    })
}
