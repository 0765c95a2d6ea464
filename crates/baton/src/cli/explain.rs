//! `baton explain svc NAMESPACE/NAME`: asks the manager why a Service is announced here, there or nowhere.

use std::process::ExitCode;

use baton_net::process;

use super::args::Explain;
use super::output::{FAILED, REFUSED, fail, print};
use super::status::{absent, managers};
use crate::admin::socket;

pub(super) fn run(what: &Explain) -> ExitCode {
    let Explain::Svc { name, run_dir } = what;
    let Some((namespace, service)) = name.split_once('/').filter(|(a, b)| !a.is_empty() && !b.is_empty()) else {
        return fail(REFUSED, &format!("{name:?}: a Service is named as NAMESPACE/NAME"));
    };
    let netns = process::netns_inode();
    let path = managers(run_dir, netns).into_iter().next().unwrap_or_else(|| socket::manager_path(run_dir, netns, ""));
    match socket::question(&path, &format!("explain {namespace}/{service}")) {
        Ok(text) => print(&text),
        Err(e) => fail(FAILED, &absent(run_dir, &path, &e)),
    }
}
