//! This node's own API server: asked every second whether it lives. An address that leads to a dead one is given up while
//! another one answers; kube-vip keeps it.

use baton_config::manager::HealthCheck;
use baton_core::settings::{Check, CheckKind};
use tokio::sync::mpsc;

use crate::proxy::check;

/// Successes in a row after which its addresses come back: a server that has just started may fall over once more.
const SUCCESSES: u32 = 3;

/// What is asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    host: String,
    port: u16,
    check: Check,
}

impl Probe {
    /// As configured; by default `/livez` of the API server on this host.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn new(settings: &HealthCheck, port: u16) -> Result<Probe, String> {
        let (tls, host, port, path) = match &settings.url {
            None => (true, "127.0.0.1".to_owned(), port, "/livez".to_owned()),
            Some(url) => parse(url).ok_or_else(|| format!("{url:?} is not the URL of a health check"))?,
        };
        // Without credentials: a server that answers "who are you?" lives.
        let expect = vec![(200, 299), (401, 401), (403, 403)];
        let kind = CheckKind::Http { tls, path, expect };
        let (interval, timeout) = (settings.period, settings.timeout);
        Ok(Probe { host, port, check: Check { kind, interval, timeout, rise: SUCCESSES, fall: settings.failures } })
    }

    async fn ask(&self) -> Result<(), String> {
        let found = tokio::time::timeout(self.check.timeout, tokio::net::lookup_host((self.host.as_str(), self.port)));
        let found = found.await.map_err(|_| format!("{} is not resolved in time", self.host))?;
        let found = found.map_err(|e| format!("{}: {e}", self.host))?.next();
        let address = found.ok_or_else(|| format!("{} has no address", self.host))?;
        // The server on this host is known by the name that every API server has.
        let name = if address.ip().is_loopback() { "kubernetes" } else { &self.host };
        check::run(&self.check, address, name).await.map(drop)
    }
}

/// TLS, host, port, path.
fn parse(url: &str) -> Option<(bool, String, u16, String)> {
    let url: hyper::Uri = url.parse().ok()?;
    let tls = match url.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = url.host()?.trim_matches(['[', ']']).to_owned();
    let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Some((tls, host, url.port_u16().unwrap_or(if tls { 443 } else { 80 }), path))
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It answers.
    Well,
    /// It did, and does not any more; and why.
    Ill(String),
}

/// What came of one question.
pub(super) type Answer = Result<(), String>;

/// Asks until nobody listens any more.
pub(super) async fn watch(probe: Probe, answers: mpsc::Sender<Answer>) {
    let mut due = tokio::time::interval(probe.check.interval);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if answers.send(probe.ask().await).await.is_err() {
            return;
        }
    }
}

/// What is thought of it after so many answers. A server that was never seen to answer is not ill: there may be none on this
/// host.
#[derive(Debug)]
pub(super) struct Opinion {
    /// Failures in a row that make it ill.
    failures: u32,
    well: Option<bool>,
    against: u32,
}

impl Opinion {
    pub(super) fn new(failures: u32) -> Opinion {
        Opinion { failures, well: None, against: 0 }
    }

    /// Takes an answer. `given_up`: addresses were, so that they would move once more; otherwise one good answer is enough, and
    /// is heard before another server's makes this node give them up.
    pub(super) fn heard(&mut self, answer: Answer, given_up: bool) -> Option<Condition> {
        let good = answer.is_ok();
        match (self.well, good) {
            (None, false) => return None,
            (None, true) => {
                self.well = Some(true);
                return Some(Condition::Well);
            }
            (Some(before), now) if before == now => {
                self.against = 0;
                return None;
            }
            (Some(_), _) => self.against += 1,
        }
        let enough = match (good, given_up) {
            (false, _) => self.failures,
            (true, true) => SUCCESSES,
            (true, false) => 1,
        };
        if self.against < enough {
            return None;
        }
        self.against = 0;
        self.well = Some(good);
        Some(match answer {
            Ok(()) => Condition::Well,
            Err(why) => Condition::Ill(why),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answers: &str, given_up: bool) -> Vec<(usize, bool)> {
        let mut opinion = Opinion::new(3);
        let heard = |(i, c)| {
            let answer = if c == '+' { Ok(()) } else { Err("no".to_owned()) };
            Some((i, opinion.heard(answer, given_up)? == Condition::Well))
        };
        answers.chars().enumerate().filter_map(heard).collect()
    }

    #[test]
    fn where_a_url_leads() {
        let check = |url, tls, host: &str, port, path: &str| {
            assert_eq!(parse(url), Some((tls, host.to_owned(), port, path.to_owned())), "{url}");
        };
        check("https://[::1]:6443/livez?verbose", true, "::1", 6443, "/livez?verbose");
        check("http://node-1/", false, "node-1", 80, "/");
        assert_eq!(parse("tcp://node-1:1"), None);
        assert_eq!(parse("node-1:6443"), None);
    }

    #[test]
    fn three_failures_and_three_successes() {
        assert_eq!(told("------", true), [], "never seen: there may be none here");
        assert_eq!(told("+--+--+-", true), [(0, true)], "not in a row");
        assert_eq!(told("--+---", true), [(2, true), (5, false)]);
        assert_eq!(told("+----++-+++", true), [(0, true), (3, false), (10, true)]);
    }

    #[test]
    fn what_was_not_given_up_needs_no_second_thought() {
        assert_eq!(told("+----+", false), [(0, true), (3, false), (5, true)]);
        assert_eq!(told("+---+---", false), [(0, true), (3, false), (4, true), (7, false)]);
    }
}
