//! Frontends of mode http: what becomes of a request before it goes to a server, by the rules of the file.

pub mod answers;
pub mod condition;
mod unserved;

use std::sync::Arc;

use baton_config::haproxy::model::{
    Backend, Format, FormatPart, ForwardFor, Frontend, HttpAction, HttpClose, HttpRule, StatsPage,
};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, Version};
use tokio::sync::mpsc;

use super::socket::Ask;
use answers::answer;
use condition::{Ends, holds, look};

pub use unserved::{unserved, unserved_back};

/// What a frontend of mode http does with requests.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Its section.
    pub front: Frontend,
    /// All backends.
    pub backs: Arc<[Backend]>,
    /// Who knows the figures.
    pub questions: mpsc::Sender<Ask>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes to a server of this backend.
    To(usize),
    /// It is answered here.
    Own(Own),
    /// There is no backend for it.
    Nowhere,
}

/// An answer of this process.
#[derive(Debug)]
pub enum Own {
    /// `monitor-uri`: it leaves no trace.
    Monitor(Response<Bytes>),
    /// A rule refuses the request.
    Denied(Response<Bytes>),
    /// A rule answers it.
    Reply(Response<Bytes>),
    /// The statistics that this section shows, with what follows their path.
    Stats(Box<StatsPage>, String, String),
    /// Figures for Prometheus.
    Figures,
}

impl Requests {
    /// Takes a request through the rules, which may change its headers.
    pub fn judge(&self, parts: &mut Parts, ends: &Ends<'_>) -> Verdict {
        if let Some(response) = self.monitor(parts, ends) {
            return Verdict::Own(Own::Monitor(response));
        }
        let front = &self.front;
        if let Some(own) = rules(&front.http_rules, &front.error_files, parts, ends) {
            return Verdict::Own(own);
        }
        if let Some(own) = stats(front.stats.as_ref(), &front.name, parts) {
            return Verdict::Own(own);
        }
        let switch = front.switches.iter().find(|s| holds(s.condition.as_ref(), parts, ends));
        let name = switch.map(|s| &s.backend).or(front.default_backend.as_ref());
        let Some(at) = name.and_then(|name| self.backs.iter().position(|b| b.name == *name)) else {
            return Verdict::Nowhere;
        };
        let back = &self.backs[at];
        let its: &[HttpRule] = if self.is_same(back) { &[] } else { &back.http_rules };
        let own = rules(its, &back.error_files, parts, ends).or_else(|| stats(back.stats.as_ref(), &back.name, parts));
        own.map_or(Verdict::To(at), Verdict::Own)
    }

    fn monitor(&self, parts: &Parts, ends: &Ends<'_>) -> Option<Response<Bytes>> {
        let whole = parts.uri.path_and_query().map_or("", |p| p.as_str());
        if self.front.monitor_uri.as_deref() != Some(whole) {
            return None;
        }
        let fails = self.front.monitor_fail.iter().any(|condition| holds(Some(condition), parts, ends));
        Some(answer(if fails { 503 } else { 200 }, &self.front.error_files))
    }

    /// The page for a status.
    #[must_use]
    pub fn page(&self, back: Option<&Backend>, status: u16) -> Response<Bytes> {
        let its = back.map_or(&[][..], |back| &back.error_files);
        let files = if its.iter().any(|(known, _)| *known == status) { its } else { &self.front.error_files };
        answer(status, files)
    }

    /// When connections end, for requests that go there.
    #[must_use]
    pub fn closes(&self, back: &Backend) -> HttpClose {
        match (self.front.http_close, back.http_close) {
            (HttpClose::Close, _) => HttpClose::Close,
            (HttpClose::KeepAlive, HttpClose::KeepAlive) => HttpClose::KeepAlive,
            // A backend alone ends the servers' side.
            _ => HttpClose::ServerClose,
        }
    }

    /// Says who the client is, where the file asks for it.
    pub fn forwarded_for(&self, back: &Backend, headers: &mut HeaderMap, ends: &Ends<'_>) {
        let both = [self.front.forward_for.as_ref(), back.forward_for.as_ref()];
        let client = ends.client.ip().to_canonical();
        let excepted = |f: &&ForwardFor| f.except.is_some_and(|net| condition::inside(client, &net));
        let asked: Vec<&ForwardFor> = both.into_iter().flatten().collect();
        let Some(last) = asked.last() else { return };
        let there = || headers.contains_key(last.header.as_str());
        if asked.iter().any(excepted) || asked.iter().all(|f| f.if_none) && there() {
            return;
        }
        let name = HeaderName::from_bytes(last.header.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&client.to_string())) {
            headers.append(name, value);
        }
    }

    /// What `http-response` does to an answer's headers.
    pub fn respond(&self, back: &Backend, headers: &mut HeaderMap, parts: &Parts, ends: &Ends<'_>) {
        let its: &[HttpRule] = if self.is_same(back) { &[] } else { &back.http_response_rules };
        for rule in its.iter().chain(&self.front.http_response_rules) {
            let said = match &rule.action {
                HttpAction::SetHeader(_, format) | HttpAction::AddHeader(_, format) => text(format, parts, ends),
                _ => String::new(),
            };
            change(&rule.action, headers, said);
        }
    }

    /// No server gets any: there is nothing but answers of this process.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        let goes = |back: &Backend| {
            self.front.default_backend.as_ref() == Some(&back.name)
                || self.front.switches.iter().any(|s| s.backend == back.name)
        };
        !self.backs.iter().any(|back| !back.servers.is_empty() && goes(back))
    }

    /// Both are one `listen`, whose rules are written once.
    fn is_same(&self, back: &Backend) -> bool {
        back.listen && back.name == self.front.name
    }
}

/// Follows rules until one of them answers.
fn rules(rules: &[HttpRule], files: &answers::Files, parts: &mut Parts, ends: &Ends<'_>) -> Option<Own> {
    for rule in rules {
        if !holds(rule.condition.as_ref(), parts, ends) {
            continue;
        }
        match &rule.action {
            HttpAction::Allow => return None,
            HttpAction::Deny(status) => return Some(Own::Denied(answer(*status, files))),
            HttpAction::Return { status, content_type, body, headers } => {
                let said = body.as_ref().map(|body| text(body, parts, ends)).unwrap_or_default();
                let more = headers.iter().map(|(name, value)| (name.clone(), text(value, parts, ends)));
                let more: Vec<(String, String)> = more.collect();
                let kind = content_type.iter().map(|kind| ("content-type", kind.as_str()));
                let all: Vec<(&str, &str)> = kind.chain(more.iter().map(|(n, v)| (n.as_str(), v.as_str()))).collect();
                return Some(Own::Reply(answers::plain(*status, said, &all)));
            }
            HttpAction::Redirect { kind, status, to } => {
                let to = text(to, parts, ends);
                return Some(Own::Reply(answers::redirect(*kind, *status, &to, parts)));
            }
            HttpAction::PrometheusExporter => return Some(Own::Figures),
            // Refused with the file.
            HttpAction::SilentDrop => {}
            action => {
                let said = match action {
                    HttpAction::SetHeader(_, format) | HttpAction::AddHeader(_, format) => text(format, parts, ends),
                    _ => String::new(),
                };
                change(action, &mut parts.headers, said);
            }
        }
    }
    None
}

/// What a rule does to headers.
fn change(action: &HttpAction, headers: &mut HeaderMap, value: String) {
    let (HttpAction::SetHeader(name, _) | HttpAction::AddHeader(name, _) | HttpAction::DelHeader(name)) = action else {
        return;
    };
    if !matches!(action, HttpAction::AddHeader(..)) {
        remove(headers, name);
    }
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::try_from(value))
        && !matches!(action, HttpAction::DelHeader(_))
    {
        headers.append(name, value);
    }
}

/// Removes a header and leaves the others in their order.
pub fn remove(headers: &mut HeaderMap, name: &str) {
    if !headers.contains_key(name) {
        return;
    }
    let before = std::mem::take(headers);
    for (other, value) in &before {
        if !other.as_str().eq_ignore_ascii_case(name) {
            headers.append(other.clone(), value.clone());
        }
    }
}

/// The statistics, if they are asked for.
fn stats(page: Option<&StatsPage>, section: &str, parts: &Parts) -> Option<Own> {
    let page = page?;
    let rest = parts.uri.path_and_query()?.as_str().strip_prefix(page.uri.as_str())?;
    Some(Own::Stats(Box::new(page.clone()), section.to_owned(), rest.to_owned()))
}

/// Variables that texts about requests may have.
pub const VARIABLES: &[&str] = &["ci", "cp", "fi", "fp", "H", "HM", "HP", "HPO", "HQ", "HU", "HV", "pid"];

/// A text about a request.
#[must_use]
pub fn text(format: &Format, parts: &Parts, ends: &Ends<'_>) -> String {
    let mut out = String::new();
    for part in &format.parts {
        match part {
            FormatPart::Text(text) => out.push_str(text),
            FormatPart::Sample(sample) => {
                out.push_str(&look(sample, parts, ends).last().map(condition::Value::text).unwrap_or_default());
            }
            FormatPart::Variable { name, quoted, .. } => {
                let quote = if *quoted { "\"" } else { "" };
                out.push_str(quote);
                out.push_str(&variable(name, parts, ends));
                out.push_str(quote);
            }
        }
    }
    out
}

fn variable(name: &str, parts: &Parts, ends: &Ends<'_>) -> String {
    match name {
        "ci" => ends.client.ip().to_canonical().to_string(),
        "cp" => ends.client.port().to_string(),
        "fi" => ends.local.ip().to_canonical().to_string(),
        "fp" => ends.local.port().to_string(),
        "H" => super::host_name(),
        "pid" => std::process::id().to_string(),
        "HM" => parts.method.to_string(),
        "HP" | "HPO" => parts.uri.path().to_owned(),
        "HQ" => parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default(),
        "HU" => parts.uri.to_string(),
        "HV" => version(parts.version).to_owned(),
        _ => "-".to_owned(),
    }
}

/// A version as requests have it.
#[must_use]
pub fn version(version: Version) -> &'static str {
    if version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}
