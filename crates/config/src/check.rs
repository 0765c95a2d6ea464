//! Health checks: a backend's own over the load balancer's over the defaults, key by key.

use std::time::Duration;

use baton_core::settings::{Check, CheckKind};

use crate::message::Findings;
use crate::tree::{Item, Value, of};

/// Time between two checks by default.
const INTERVAL: Duration = Duration::from_secs(1);
/// A check that takes longer has failed, by default.
const TIMEOUT: Duration = Duration::from_millis(500);
const RISE: u32 = 2;
const FALL: u32 = 3;

/// What was said about a check, with gaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    kind: Option<String>,
    path: Option<String>,
    expect: Option<Vec<(u16, u16)>>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
}

/// The load balancer's own, for its backends to fall back on.
pub(crate) fn base(item: Option<&Item>, found: &mut Findings) -> Said {
    let said = said(item, &Said::default());
    fits(item, &said, found);
    said
}

/// A backend's check; `None`: not checked.
pub(crate) fn settle(item: Option<&Item>, base: &Said, found: &mut Findings) -> Option<Check> {
    let said = said(item, base);
    if item.is_some() {
        fits(item, &said, found);
    }
    let path = said.path.unwrap_or_else(|| "/".to_owned());
    let expect = said.expect.unwrap_or_else(|| vec![(200, 399)]);
    let kind = match said.kind.as_deref() {
        Some("none") => return None,
        Some("tls") => CheckKind::Tls,
        Some("http") => CheckKind::Http { tls: false, path, expect },
        Some("https") => CheckKind::Http { tls: true, path, expect },
        _ => CheckKind::Tcp,
    };
    let interval = said.interval.unwrap_or(INTERVAL);
    Some(Check {
        kind,
        interval,
        timeout: said.timeout.unwrap_or(TIMEOUT).min(interval),
        rise: said.rise.unwrap_or(RISE),
        fall: said.fall.unwrap_or(FALL),
    })
}

fn said(item: Option<&Item>, base: &Said) -> Said {
    let Some(item) = item else { return base.clone() };
    if let Some(kind) = item.text() {
        return Said { kind: Some(kind.to_owned()), ..base.clone() };
    }
    let count = |key: &str| of(item.get(key), Item::int).and_then(|n| u32::try_from(n).ok());
    let expect = item.get("expect").and_then(|expect| match &expect.value {
        Value::Statuses(ranges) => Some(ranges.clone()),
        _ => None,
    });
    let text = |key: &str| of(item.get(key), Item::text).map(str::to_owned);
    Said {
        kind: text("type").or_else(|| base.kind.clone()),
        path: text("path").or_else(|| base.path.clone()),
        expect: expect.or_else(|| base.expect.clone()),
        interval: of(item.get("interval"), Item::time).or(base.interval),
        timeout: of(item.get("timeout"), Item::time).or(base.timeout),
        rise: count("rise").or(base.rise),
        fall: count("fall").or(base.fall),
    }
}

/// What is written here must suit the rest.
fn fits(item: Option<&Item>, said: &Said, found: &mut Findings) {
    let Some(item) = item else { return };
    let http = matches!(said.kind.as_deref(), Some("http" | "https"));
    for key in ["path", "expect"] {
        if let Some(at) = item.get(key).filter(|_| !http) {
            let kind = said.kind.as_deref().unwrap_or("tcp");
            found.error(
                at,
                &format!("is for checks of type http and https, and this is {kind}"),
                "",
                "type: http beside it",
            );
        }
    }
    if let Some((at, path)) = item.get("path").and_then(|at| Some((at, at.text()?)))
        && (!path.starts_with('/') || path.chars().any(|c| c.is_control() || c == ' '))
    {
        found.error(at, "is not a path", path, "a path that begins with a slash, such as /readyz");
    }
    let interval = said.interval.unwrap_or(INTERVAL);
    let timeout = item.get("timeout").filter(|at| at.time().is_some_and(|timeout| timeout > interval));
    if let Some(at) = timeout {
        let value = at.time().map(crate::scalar::duration).unwrap_or_default();
        found.error(at, "is longer than interval", &value, &format!("at most {}", crate::scalar::duration(interval)));
    }
}
