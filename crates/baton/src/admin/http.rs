//! `/metrics`, `/healthz`, `/readyz`, `/livez` on the configured address, and the document on the control socket.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use super::{Ask, ask, metrics};

/// A reader that takes longer for a document is cut off.
const WRITE: Duration = Duration::from_secs(2);

/// Serves HTTP until the task is dropped.
pub fn serve(listener: TcpListener, questions: mpsc::Sender<Ask>) -> impl Future<Output = ()> + Send {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .with_state(questions);
    async move {
        // axum retries what accepting may fail with; it does not return.
        let _ = axum::serve(listener, router).await;
    }
}

async fn scrape(State(questions): State<mpsc::Sender<Ask>>) -> Response {
    match ask(&questions).await {
        Some(document) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::page(&document)).into_response(),
        None => silent(),
    }
}

async fn alive(State(questions): State<mpsc::Sender<Ask>>) -> Response {
    match ask(&questions).await {
        Some(_) => "ok\n".into_response(),
        None => silent(),
    }
}

async fn ready(State(questions): State<mpsc::Sender<Ask>>) -> Response {
    let Some(document) = ask(&questions).await else { return silent() };
    if document.stopping {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if document.ready {
        return "ok\n".into_response();
    }
    let why = match document.quiet_ms {
        Some(ms) => format!("quiet for another {ms} ms after the start\n"),
        None => "no contact with a majority of the voters\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

fn silent() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "the keeper does not answer\n").into_response()
}

/// Answers every connection on the control socket with one document, one after the other.
pub async fn answer(listener: UnixListener, questions: mpsc::Sender<Ask>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // Out of descriptors, say: try again when some may be free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(document) = ask(&questions).await else { continue };
        let Ok(mut text) = serde_json::to_vec(&document) else { continue };
        text.push(b'\n');
        let _ = tokio::time::timeout(WRITE, stream.write_all(&text)).await;
    }
}
