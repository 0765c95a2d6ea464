//! Answers of mode http that this process's figures go into: the statistics page and its CSV, and figures for Prometheus.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use baton_config::haproxy::model::StatsPage;
use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::{mpsc, oneshot};

use super::requests::answers::{self, Files, answer};
use super::socket::{Ask, Permission};

/// The statistics page of a section, or what follows its path asks for.
pub async fn stats(
    (page, section): (&StatsPage, &str),
    rest: &str,
    headers: &HeaderMap,
    files: &Files,
    questions: &mpsc::Sender<Ask>,
) -> Response<Bytes> {
    if !allowed(page, headers.get(header::AUTHORIZATION)) {
        return challenge(page, files);
    }
    let csv = rest.split(';').any(|word| word == "csv");
    let question = format!("{} {section}", if csv { "csv" } else { "page" });
    let Some(text) = ask(questions, &question).await else { return answer(503, files) };
    let refresh = page.refresh.map(|time| time.as_secs().max(1).to_string()).filter(|_| !rest.contains(";norefresh"));
    let mut headers =
        vec![("cache-control", "no-cache"), ("content-type", if csv { "text/plain" } else { "text/html" })];
    headers.extend(refresh.iter().map(|seconds| ("refresh", seconds.as_str())));
    answers::plain(200, text, &headers)
}

/// The figures for Prometheus.
pub async fn figures(files: &Files, questions: &mpsc::Sender<Ask>) -> Response<Bytes> {
    let headers = [("cache-control", "no-cache"), ("content-type", "text/plain; version=0.0.4")];
    ask(questions, "figures").await.map_or_else(|| answer(503, files), |text| answers::plain(200, text, &headers))
}

async fn ask(questions: &mpsc::Sender<Ask>, line: &str) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    questions.send(Ask { line: line.to_owned(), level: Permission::User, reply }).await.ok()?;
    answer.await.ok()
}

fn challenge(page: &StatsPage, files: &Files) -> Response<Bytes> {
    let mut response = answer(401, files);
    let realm = page.realm.as_deref().unwrap_or("HAProxy Statistics").replace('"', "'");
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
