//! `baton check FILE`: what a daemon would say, and what is legal and unwise.

use std::process::ExitCode;

use baton_config::Severity;

use super::args::Check;
use super::flags::Flags;
use super::load;
use super::output::{REFUSED, complain, print};

pub(super) fn run(options: &Check) -> ExitCode {
    // Without netlink (no network namespace of one's own, say) the file is checked as for another host.
    let here = if options.elsewhere { None } else { load::host_facts().ok() };
    let host = here.unwrap_or_default();
    let Some(file) = options.file.to_str() else {
        complain(&format!("baton: {}: the path is not UTF-8", options.file.display()));
        return ExitCode::from(REFUSED);
    };
    let flags = Flags { config: Some(file.to_owned()), given: Vec::new() };
    let env = load::environment();
    let loaded = match load::check(&flags, &env, &host, false) {
        Ok(loaded) => loaded,
        Err(messages) => {
            complain(&load::text(&messages));
            return ExitCode::from(REFUSED);
        }
    };
    let mut messages = loaded.warnings.clone();
    messages.extend(baton_config::unwise(&loaded, &host));
    complain(&load::text(&messages));
    let warnings = messages.iter().filter(|m| m.severity == Severity::Warning).count();
    let o = &loaded.settings.ownership;
    print(&format!(
        "{file}: can be started: node {}, {} voters, {} addresses, {} load balancers, {warnings} warnings\n",
        o.node,
        o.peers.len() + 1,
        o.vips.len(),
        loaded.settings.balancers.len()
    ))
}
