//! What is said of servers, in haproxy's words, since people search their logs for them.

use baton_config::haproxy::model::{Backend, Check};
use baton_core::health::{Change, Health};

use super::probe::Outcome;
use super::servers::{Admin, Server};
use super::syslog::Level;

/// What an outcome's status is called.
#[must_use]
pub fn describe(status: &str) -> &'static str {
    match status {
        "L4OK" => "Layer4 check passed",
        "L4TOUT" => "Layer4 timeout",
        "L4CON" => "Layer4 connection problem",
        "L6OK" => "Layer6 check passed",
        "L6TOUT" => "Layer6 timeout",
        "L6RSP" => "Layer6 invalid response",
        "L7OK" => "Layer7 check passed",
        "L7TOUT" => "Layer7 timeout",
        "L7RSP" => "Layer7 invalid response",
        "L7STS" => "Layer7 wrong status",
        "L7OKC" => "Layer7 check conditionally passed",
        "HANA" => "Health analyze",
        "CHECKED" => "No status change",
        _ => "Socket error",
    }
}

/// Results of answers that were understood have a code, if only 0.
#[must_use]
pub fn has_code(status: &str) -> bool {
    matches!(status, "L7OK" | "L7OKC" | "L7STS")
}

/// What decided, as it follows a state.
#[must_use]
pub fn reason(outcome: &Outcome) -> String {
    let code = if has_code(outcome.status) { format!(", code: {}", outcome.code) } else { String::new() };
    let info = if outcome.info.is_empty() { String::new() } else { format!(", info: \"{}\"", escape(&outcome.info)) };
    format!(", reason: {}{code}{info}, check duration: {}ms", describe(outcome.status), outcome.took.as_millis())
}

/// Angle brackets and quotes, as haproxy writes them.
fn escape(text: &str) -> String {
    text.replace('<', "<3C>").replace('>', "<3E>").replace('"', "'")
}

/// Servers of a backend that may get traffic: active ones, backups.
#[must_use]
pub fn counts<'a>(servers: impl Iterator<Item = &'a Server>) -> (usize, usize) {
    let up: Vec<&Server> = servers.filter(|s| s.up() && s.share() > 0).collect();
    let backups = up.iter().filter(|s| s.settings.backup).count();
    (up.len() - backups, backups)
}

/// A server went up or down.
#[must_use]
pub fn turned(server: &Server, change: &Change, why: &str, left: (usize, usize), sessions: u64) -> (Level, String) {
    let (active, backups) = left;
    let name = format!("Server {}/{}", server.id.balancer, server.id.host);
    if change.up {
        let text = format!(
            "{name} is UP{why}. {active} active and {backups} backup servers online. 0 sessions requeued, 0 total in queue."
        );
        (Level::Notice, text)
    } else {
        let running = if active == 0 && backups > 0 { " Running on backup." } else { "" };
        let text = format!(
            "{name} is DOWN{why}. {active} active and {backups} backup servers left.{running} {sessions} sessions active, 0 requeued, 0 remaining in queue."
        );
        (Level::Alert, text)
    }
}

/// A check that was not expected, for `option log-health-checks`.
#[must_use]
pub fn checked(server: &Server, backend: &Backend) -> Option<String> {
    let outcome = server.last.as_ref()?;
    let check = server.settings.check.as_ref()?;
    if !backend.log_health_checks {
        return None;
    }
    let what = if outcome.ok { "succeeded" } else { "failed" };
    let (health, most) = health(&server.health, check);
    let state = if server.health.is_up() { "UP" } else { "DOWN" };
    Some(format!(
        "Health check for server {}/{} {what}{}, status: {health}/{most} {state}.",
        server.id.balancer,
        server.id.host,
        reason(outcome)
    ))
}

/// How far a state is from turning, and the most of that: of an up server, failures left; of a down one, successes so far.
#[must_use]
pub fn health(health: &Health, check: &Check) -> (u32, u32) {
    if health.is_up() {
        (check.fall.saturating_sub(health.against()), check.fall)
    } else {
        (health.against(), check.rise)
    }
}

/// An operator's wish was done.
#[must_use]
pub fn wished(server: &Server, before: Admin) -> String {
    let name = format!("Server {}/{}", server.id.balancer, server.id.host);
    let state = if server.health.is_up() { "UP" } else { "DOWN" };
    match server.admin {
        Admin::Maint => format!("{name} was {state} and now enters maintenance."),
        Admin::Drain => format!("{name} enters drain state."),
        Admin::Ready if before == Admin::Maint => format!("{name} is {state}/READY (leaving forced maintenance)."),
        Admin::Ready => format!("{name} is {state} (leaving forced drain)."),
    }
}
