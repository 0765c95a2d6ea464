//! `baton explain svc NAMESPACE/NAME`: asks the manager why a Service is announced here, there or nowhere.

use std::path::PathBuf;
use std::process::ExitCode;

use baton_net::process;

use super::args::Explain;
use super::output::{FAILED, REFUSED, fail, print};
use super::status::{absent, managers};
use crate::admin::socket;
use crate::manager::NOT_KEPT;

pub(super) fn run(what: &Explain) -> ExitCode {
    let Explain::Svc { name, run_dir } = what;
    let Some((namespace, service)) = name.split_once('/').filter(|(a, b)| !a.is_empty() && !b.is_empty()) else {
        return fail(REFUSED, &format!("{name:?}: a Service is named as NAMESPACE/NAME"));
    };
    let netns = process::netns_inode();
    let mut paths = managers(run_dir, netns);
    if paths.is_empty() {
        paths.push(socket::manager_path(run_dir, netns, ""));
    }
    // Several may run: those that keep no Services have nothing to say beside one that does.
    let ask = |path: &PathBuf| (path.clone(), socket::question(path, &format!("explain {namespace}/{service}")));
    let mut answers: Vec<_> = paths.iter().map(ask).collect();
    let explains = |answer: &std::io::Result<String>| answer.as_ref().is_ok_and(|text| text != NOT_KEPT);
    if answers.iter().any(|(_, answer)| explains(answer)) {
        answers.retain(|(_, answer)| explains(answer));
    } else {
        answers.truncate(1);
    }
    let mut text = String::new();
    for (path, answer) in answers {
        match answer {
            Ok(answer) => text += &answer,
            Err(e) => return fail(FAILED, &absent(run_dir, &path, &e)),
        }
    }
    print(&text)
}
