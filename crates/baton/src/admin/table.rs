//! `baton status` for people: the document as a few tables.

use std::fmt::Write;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::document::{Address, Backend, Document, Kubernetes, Service};

/// Rows of a table that may be long.
const ROWS: usize = 50;

/// The whole picture.
#[must_use]
pub fn render(d: &Document) -> String {
    let mut out = String::new();
    head(&mut out, d);
    for warning in &d.warnings {
        let _ = writeln!(out, "  ! {warning}");
    }
    section(&mut out, "addresses", addresses(d));
    section(&mut out, "leases", leases(d));
    section(&mut out, "services", services(d));
    section(&mut out, "peers", peers(d));
    section(&mut out, "balancers", balancers(d));
    section(&mut out, "last transitions", transitions(d));
    tail(&mut out, d);
    out
}

fn head(out: &mut String, d: &Document) {
    if let Some(kubernetes) = &d.kubernetes {
        return head_of_manager(out, d, kubernetes);
    }
    let state = match (d.stopping, d.quiet_ms, d.ready) {
        (true, ..) => "stopping".to_owned(),
        (_, Some(ms), _) => format!("quiet for another {}", millis(ms)),
        (_, _, true) => "ready".to_owned(),
        _ => "not ready: no contact with a majority".to_owned(),
    };
    let voters = match d.voters {
        1 => "single voter".to_owned(),
        n => format!("{n} voters"),
    };
    let witness = if d.witness { ", witness" } else { "" };
    let _ = writeln!(
        out,
        "{}{}: {state}, {voters}{witness}, lease {}, up {} (baton {}, pid {})",
        d.node,
        d.local.as_ref().map(|a| format!(" ({a})")).unwrap_or_default(),
        millis(d.lease_ms),
        millis(d.uptime_ms),
        d.version,
        d.pid
    );
}

fn head_of_manager(out: &mut String, d: &Document, kubernetes: &Kubernetes) {
    let here = kubernetes.services.iter().filter(|s| s.announced == "here").count();
    let _ = writeln!(
        out,
        "{}: manager, {} of {} Services announced here, up {} (baton {}, pid {})",
        d.node,
        here,
        kubernetes.services.len(),
        millis(d.uptime_ms),
        d.version,
        d.pid
    );
    let asked: Vec<String> = kubernetes.requests.iter().map(|(verb, n)| format!("{n} {verb}")).collect();
    let _ = writeln!(out, "API requests: {}; edits waiting: {}", asked.join(", "), kubernetes.writes_waiting);
}

fn leases(d: &Document) -> Vec<Vec<String>> {
    let mut rows = vec![header(&["lease", "holder", "this node", "for another", "addresses"])];
    rows.extend(d.kubernetes.iter().flat_map(|k| &k.leases).take(ROWS).map(|l| {
        vec![
            l.name.clone(),
            if l.holder.is_empty() { "nobody known".to_owned() } else { l.holder.clone() },
            if l.here { "leads" } else { "follows" }.to_owned(),
            l.remaining_ms.map_or_else(|| "-".to_owned(), millis),
            l.addresses.to_string(),
        ]
    }));
    rows
}

fn services(d: &Document) -> Vec<Vec<String>> {
    let mut rows = vec![header(&["service", "addresses", "lease", "announced"])];
    let all = d.kubernetes.as_ref().map_or(&[] as &[Service], |k| &k.services);
    rows.extend(all.iter().take(ROWS).map(|s| {
        vec![s.name.clone(), s.addresses.join(" "), s.lease.clone().unwrap_or_default(), s.announced.clone()]
    }));
    if all.len() > ROWS {
        rows.push(vec![format!("… {} more: --json", all.len() - ROWS), String::new(), String::new(), String::new()]);
    }
    rows
}

/// How close it has been, and what did not count.
fn tail(out: &mut String, d: &Document) {
    let (lag, most) = (micros(d.renewal_lag_us), micros(d.renewal_lag_max_us));
    let of = if d.kubernetes.is_some() { String::new() } else { format!(" of a lease of {}", millis(d.lease_ms)) };
    let _ = writeln!(out, "\nrenewal lag {lag}, at most {most}{of}");
    if !d.dropped.is_empty() {
        let all: Vec<String> = d.dropped.iter().map(|(why, n)| format!("{n} ({why})")).collect();
        let _ = writeln!(out, "dropped datagrams: {}", all.join(", "));
    }
}

/// A heading and rows; nothing at all when there are none.
fn section(out: &mut String, heading: &str, rows: Vec<Vec<String>>) {
    if rows.len() < 2 {
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    let mut rows = rows.into_iter();
    if let Some(names) = rows.next() {
        table.set_header(names);
    }
    table.add_rows(rows);
    let _ = writeln!(out, "\n{heading}");
    for line in table.to_string().lines() {
        let _ = writeln!(out, " {}", line.trim_end());
    }
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_uppercase()).collect()
}

fn addresses(d: &Document) -> Vec<Vec<String>> {
    let mut rows =
        vec![header(&["address", "interface", "this node", "held by", "for another", "guarantee", "healthy"])];
    rows.extend(d.addresses.iter().map(|a| {
        vec![
            a.address.clone(),
            a.interface.clone(),
            a.role.clone(),
            a.holder_name.clone().or_else(|| a.holder.clone()).unwrap_or_else(|| "nobody known".to_owned()),
            a.remaining_ms.map_or_else(|| "-".to_owned(), millis),
            guarantee(a),
            if a.healthy { "yes" } else { "no" }.to_owned(),
        ]
    }));
    rows
}

fn guarantee(a: &Address) -> String {
    match a.guarantee.as_str() {
        "quorum-fenced" => "majority, ended by the kernel",
        "quorum-unfenced" => "majority, ended by this process only",
        "lease-fenced" => "Lease, ended by the kernel",
        "lease-unfenced" => "Lease, ended by this process only",
        "alone" => "none: startAsLeader",
        "single-node" => "single node: nobody is asked",
        other => other,
    }
    .to_owned()
}

fn peers(d: &Document) -> Vec<Vec<String>> {
    let mut rows = vec![header(&["peer", "address", "state", "last contact", "round trip"])];
    rows.extend(d.peers.iter().map(|p| {
        let state = match (p.reachable, p.same_voters, p.voting, p.witness) {
            (false, ..) => "silent",
            (_, false, ..) => "other list of voters",
            (_, _, false, _) => "quiet",
            (_, _, _, true) => "witness",
            _ => "there",
        };
        vec![
            p.name.clone(),
            p.address.clone(),
            state.to_owned(),
            p.last_contact_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", millis(ms))),
            p.round_trip_us.map_or_else(|| "-".to_owned(), micros),
        ]
    }));
    rows
}

fn balancers(d: &Document) -> Vec<Vec<String>> {
    let mut rows = vec![header(&["balancer", "listen", "backend", "state", "why", "active", "total", "failed"])];
    for b in &d.balancers {
        for l in b.listeners.iter().filter_map(|l| Some((l, l.error.as_ref()?))) {
            let (name, listen) = (b.name.clone(), l.0.address.clone());
            rows.push(vec![name, listen, String::new(), "no listener".to_owned(), l.1.clone()]);
        }
        let listen: Vec<&str> = b.listeners.iter().map(|l| l.address.as_str()).collect();
        for (i, e) in b.backends.iter().enumerate() {
            let first = i == 0;
            rows.push(backend(
                if first { &b.name } else { "" },
                &if first { listen.join(" ") } else { String::new() },
                e,
            ));
        }
    }
    rows
}

fn backend(name: &str, listen: &str, e: &Backend) -> Vec<String> {
    let state = match e.since_ms {
        Some(ms) => format!("{} {}", e.state, millis(ms)),
        None => e.state.clone(),
    };
    let mut address = e.address.clone();
    if e.backup {
        address.push_str(" (backup)");
    }
    if e.weight != 1 {
        let _ = write!(address, " (weight {})", e.weight);
    }
    let count = |n: u64| n.to_string();
    vec![
        name.to_owned(),
        listen.to_owned(),
        address,
        state,
        e.why.clone(),
        count(e.active),
        count(e.connections),
        count(e.failures),
    ]
}

fn transitions(d: &Document) -> Vec<Vec<String>> {
    let mut rows = vec![header(&["when", "address", "what", "why"])];
    rows.extend(d.transitions.iter().rev().map(|t| {
        let took = std::time::Duration::from_secs_f64((t.duration_ms / 1e3).clamp(0.0, 1e12));
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let what =
            if t.gained { format!("gained in {}", micros(took)) } else { format!("given up after {}", micros(took)) };
        vec![format!("{} ago", millis(t.ago_ms)), t.address.clone(), what, t.reason.clone()]
    }));
    rows
}

/// A number of milliseconds as people read it.
fn millis(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..=9 => format!("{s}.{} s", ms % 1000 / 100),
        10..=119 => format!("{s} s"),
        120..=7199 => format!("{} min", s / 60),
        7200..=172_799 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

fn micros(us: u64) -> String {
    if us < 10_000 { format!("{}.{:02} ms", us / 1000, us % 1000 / 10) } else { millis(us / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::document::tests::sample;

    #[test]
    fn everything_a_person_asks_for_is_there() {
        let text = render(&sample());
        for part in [
            "a (10.0.0.1:10000): ready, 3 voters, lease 500 ms, up 2 min",
            "! peer c (10.0.0.3:10000) is silent: does it run, and is UDP port 10000 open",
            "10.0.0.100",
            "majority, ended by the kernel",
            "0.25 ms",
            "down 7.0 s",
            "connection refused",
            "gained in 1.50 ms",
            "the holder's lease ran out",
            "renewal lag 0.10 ms, at most 1.20 ms of a lease of 500 ms",
            "dropped datagrams: 2 (not a peer)",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn durations() {
        let check = |ms, text| assert_eq!(millis(ms), text);
        check(0, "0 ms");
        check(999, "999 ms");
        check(1_250, "1.2 s");
        check(59_999, "59 s");
        check(600_000, "10 min");
        check(7_200_000, "2 h");
        check(864_000_000, "10 d");
        assert_eq!(micros(1_505), "1.50 ms");
    }
}
