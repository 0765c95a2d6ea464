//! What others ask: metrics and health over HTTP, status and explanations over the control socket.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use baton_core::services::Key;
use baton_net::clock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use super::Manager;
use super::document::leases;
use crate::admin::document::{Around, Document, document};
use crate::admin::{exposition, wall};
use crate::keeper::Command;

/// Questions that wait; more are refused.
pub(super) const QUESTIONS: usize = 16;
/// The keeper answers within a round of its loop; one that does not within this time is taken for stuck.
const KEEPER: Duration = Duration::from_secs(1);
/// A reader of the control socket that takes longer is cut off; so is one that asks nothing.
const READER: Duration = Duration::from_secs(2);
/// Longest question.
const QUESTION_MAX: u64 = 1024;

/// A question to the manager. No answer (the sender is dropped) means that the keeper did not answer in time.
pub(super) enum Question {
    /// The whole document.
    Status(oneshot::Sender<Document>),
    /// Why a Service is announced here, there or nowhere.
    Explain(Key, oneshot::Sender<String>),
    /// The metrics page.
    Metrics(oneshot::Sender<String>),
}

type Questions = mpsc::Sender<Question>;

async fn ask<T>(questions: &Questions, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    questions.try_send(question(sender)).ok()?;
    answer.await.ok()
}

/// Opens what the settings ask for and is not open yet. What cannot be had is tried again.
pub(super) struct Faces {
    questions: Questions,
    metrics: Option<SocketAddr>,
    health: Option<SocketAddr>,
}

impl Faces {
    pub(super) fn new(questions: Questions, metrics: Option<SocketAddr>, health_port: Option<u16>) -> Faces {
        let health = health_port.map(|port| SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port));
        Faces { questions, metrics, health }
    }

    /// What could not be opened, in words.
    pub(super) async fn open(&mut self) -> Vec<(&'static str, Result<(), String>)> {
        let mut results = Vec::new();
        if let Some(address) = self.metrics {
            let opened = self.bind(address, metrics_routes()).await;
            results.push(("metrics", opened.map_err(|e| format!("metrics are not served: {address}: {e}"))));
            if results.last().is_some_and(|(_, r)| r.is_ok()) {
                self.metrics = None;
            }
        }
        if let Some(address) = self.health {
            let opened = self.bind(address, Router::new().route("/healthz", get(alive))).await;
            results.push(("health", opened.map_err(|e| format!("/healthz is not served: {address}: {e}"))));
            if results.last().is_some_and(|(_, r)| r.is_ok()) {
                self.health = None;
            }
        }
        results
    }

    async fn bind(&self, address: SocketAddr, routes: Router<Questions>) -> std::io::Result<()> {
        let listener = listen(address).await?;
        let routes = routes.with_state(self.questions.clone());
        // axum retries what accepting may fail with; it does not return.
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(())
    }
}

/// On all addresses of both families; without IPv6 on those of IPv4.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    }
}

fn metrics_routes() -> Router<Questions> {
    let index = || async { Html("<html><body><a href=\"/metrics\">metrics</a></body></html>\n") };
    Router::new().route("/metrics", get(scrape)).route("/", get(index))
}

async fn scrape(State(questions): State<Questions>) -> Response {
    match ask(&questions, Question::Metrics).await {
        Some(page) => ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], page).into_response(),
        None => silent(),
    }
}

/// The manager's loop and the keeper's thread both answer.
async fn alive(State(questions): State<Questions>) -> Response {
    match ask(&questions, Question::Status).await {
        Some(_) => "OK".into_response(),
        None => silent(),
    }
}

fn silent() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "the keeper does not answer\n").into_response()
}

/// Answers every connection on the control socket: one line in, one answer out.
pub(super) async fn socket(listener: UnixListener, questions: Questions) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move { timeout(2 * READER, answer(stream, &questions)).await });
            }
            // Out of descriptors, say: try again when some may be free.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(stream: UnixStream, questions: &Questions) -> Option<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    timeout(READER, BufReader::new(reader.take(QUESTION_MAX)).read_line(&mut line)).await.ok()?.ok()?;
    let text = match line.trim_end().split_once(' ') {
        None if line.trim_end() == "status" => {
            let mut text = serde_json::to_string(&ask(questions, Question::Status).await?).ok()?;
            text.push('\n');
            text
        }
        Some(("explain", key)) => {
            let (namespace, name) = key.split_once('/')?;
            let key = Key::new(namespace, name);
            ask(questions, |sender| Question::Explain(key, sender)).await?
        }
        _ => "unknown question\n".to_owned(),
    };
    timeout(READER, writer.write_all(text.as_bytes())).await.ok()?.ok()
}

/// What is to be said of a Service where none is kept.
pub(crate) const NOT_KEPT: &str = "Services are not kept here: the manager runs without --services\n";

impl Manager {
    pub(super) fn answer(&self, question: Question) {
        match question {
            // Whoever asked may have gone.
            Question::Metrics(answer) => drop(answer.send(self.metrics())),
            Question::Explain(key, answer) => drop(answer.send(self.explain(&key))),
            Question::Status(answer) => self.answer_status(answer),
        }
    }

    fn answer_status(&self, answer: oneshot::Sender<Document>) {
        let (sender, status) = oneshot::channel();
        if !self.parts.keeper.send(Command::Status(sender)) {
            return;
        }
        let around = Around {
            fence: self.parts.fence,
            balancers: self.balancing.iter().map(super::balancer::Balancing::shown).collect(),
            uptime: clock::now().since(self.parts.started),
            warnings: self.warnings(),
        };
        let mut kubernetes = self.kubernetes();
        tokio::spawn(async move {
            if let Ok(Ok(status)) = timeout(KEEPER, status).await {
                let now = clock::now();
                kubernetes.leases = leases(&status, now);
                let troubles = kubernetes.leases.iter().filter_map(|l| Some((&l.name, l.trouble.as_ref()?)));
                let troubles: Vec<String> = troubles.map(|(name, why)| format!("lease {name}: {why}")).collect();
                let mut document = document(&status, around, now, wall::now());
                document.warnings.extend(troubles);
                document.kubernetes = Some(kubernetes);
                let _ = answer.send(document);
            }
        });
    }

    fn explain(&self, key: &Key) -> String {
        match &self.serving {
            Some(serving) => serving.state.explain(key).to_string(),
            None => NOT_KEPT.to_owned(),
        }
    }

    /// Opens what others ask at; `first`: nothing was tried before.
    pub(super) async fn open_faces(&mut self) {
        for (what, opened) in self.faces.open().await {
            match opened {
                Ok(()) if self.parts.warnings.remove(what).is_some() => info!("{what}: served now"),
                Ok(()) => {}
                Err(why) => {
                    if self.parts.warnings.insert(what, why.clone()).as_ref() != Some(&why) {
                        warn!("{why}; tried again every second");
                    }
                }
            }
        }
    }
}
