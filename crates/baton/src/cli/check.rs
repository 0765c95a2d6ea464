//! `baton check FILE…`: what a daemon would say, and what is legal and unwise; several files are held against each other.

use std::path::Path;
use std::process::ExitCode;

use baton_config::{HostFacts, Loaded, Severity};

use super::args::Check;
use super::check_haproxy;
use super::flags::Flags;
use super::load;
use super::output::{REFUSED, complain, print};
use crate::keepalived;

pub(super) fn run(options: &Check) -> ExitCode {
    // Several files are of several hosts. Without netlink (no network namespace of one's own, say) a file is checked as
    // for another host, too.
    let elsewhere = options.elsewhere || options.files.len() > 1;
    let host = if elsewhere { None } else { load::host_facts().ok() }.unwrap_or_default();
    let mut all = Vec::new();
    let mut lines = String::new();
    let mut other = 0;
    for file in &options.files {
        // A file that cannot be read as text is complained about where settings are read.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        match file.to_str() {
            Some(path) if check_haproxy::is_haproxy(&text) => {
                other += usize::from(check_haproxy::run(path, &text, options.fix, &mut lines));
            }
            Some(path) if is_keepalived(&text) => {
                other += usize::from(keepalived::check(path, elsewhere, options.fix, &mut lines));
            }
            _ => all.extend(one(file, &host, &mut lines)),
        }
    }
    let printed = print(&lines);
    let differences = baton_config::compare(&all);
    complain(&load::text(&differences));
    let differ = differences.iter().any(|m| m.severity == Severity::Error);
    if differ || all.len() + other < options.files.len() { ExitCode::from(REFUSED) } else { printed }
}

/// A `keepalived.conf`: a line of it begins with one of its own keywords.
fn is_keepalived(text: &str) -> bool {
    let words = ["global_defs", "vrrp_instance", "vrrp_script", "vrrp_sync_group", "virtual_server"];
    text.lines().any(|line| line.split([' ', '\t', '{']).next().is_some_and(|word| words.contains(&word)))
}

/// Checks one file and adds a line about it; `None` when it is refused.
fn one(file: &Path, host: &HostFacts, lines: &mut String) -> Option<Loaded> {
    let Some(file) = file.to_str() else {
        complain(&format!("baton: {}: the path is not UTF-8", file.display()));
        return None;
    };
    let flags = Flags { config: Some(file.to_owned()), given: Vec::new() };
    let loaded = match load::check(&flags, &load::environment(), host, false) {
        Ok(loaded) => loaded,
        Err(messages) => {
            complain(&load::text(&messages));
            return None;
        }
    };
    let mut messages = loaded.warnings.clone();
    messages.extend(baton_config::unwise(&loaded, host));
    complain(&load::text(&messages));
    let o = &loaded.settings.ownership;
    lines.push_str(&format!(
        "{file}: can be started: node {}, {} voters, {} addresses, {} load balancers, {} warnings\n",
        o.node,
        o.peers.len() + 1,
        o.vips.len(),
        loaded.settings.balancers.len(),
        messages.len()
    ));
    Some(loaded)
}
