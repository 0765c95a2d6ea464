//! `baton status`: asks the daemon of this network namespace and shows its answer.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use baton_net::process;

use super::args::Status;
use super::output::{FAILED, fail, print};
use crate::admin::document::Document;
use crate::admin::{socket, table};

/// Between two pictures of `--watch`.
const PERIOD: Duration = Duration::from_secs(1);
/// Clears the screen and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(super) fn run(options: &Status) -> ExitCode {
    if !options.watch {
        return match picture(options) {
            Ok(text) => print(&text),
            Err(why) => fail(FAILED, &why),
        };
    }
    loop {
        let text = picture(options).unwrap_or_else(|why| format!("{why}\n"));
        // JSON is for programs: one document per line, no screen.
        let shown = if options.json { print(&text) } else { print(&format!("{CLEAR}{text}")) };
        if shown != ExitCode::SUCCESS {
            return shown;
        }
        std::thread::sleep(PERIOD);
    }
}

/// What every daemon of this network namespace says, one after the other.
fn picture(options: &Status) -> Result<String, String> {
    let netns = process::netns_inode();
    let start = socket::path(&options.run_dir, netns);
    let managers = managers(&options.run_dir, netns);
    let mut answers = Vec::new();
    match socket::ask(&start) {
        Err(e) if is_absent(&e) && !managers.is_empty() => {}
        answer => answers.push((start, answer)),
    }
    answers.extend(managers.into_iter().map(|path| (path.clone(), socket::question(&path, "status"))));
    // One that has died is of interest when nobody lives.
    if answers.iter().any(|(_, answer)| answer.is_ok()) {
        answers.retain(|(_, answer)| !answer.as_ref().is_err_and(is_absent));
    }
    let several = answers.len() > 1;
    let mut text = String::new();
    for (path, answer) in answers {
        let answer = answer.map_err(|e| absent(&options.run_dir, &path, &e))?;
        if options.json {
            text += &answer;
            continue;
        }
        let document: Document =
            serde_json::from_str(&answer).map_err(|e| format!("{}: its answer: {e}", path.display()))?;
        if several {
            text += &format!("{}{}:\n", if text.is_empty() { "" } else { "\n" }, path.display());
        }
        text += &table::render(&document);
    }
    Ok(text)
}

/// Nobody answers there.
fn is_absent(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

/// Sockets of managers in a network namespace.
pub(super) fn managers(run_dir: &Path, netns: u64) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(run_dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let prefix = format!("manager-{netns}");
    let of = |path: &std::path::PathBuf| {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            && path.extension().is_some_and(|x| x == "sock")
    };
    let mut found: Vec<_> = all.filter(of).collect();
    found.sort();
    found
}

/// Why there is no answer, and where there may be one.
pub(super) fn absent(run_dir: &Path, path: &Path, e: &std::io::Error) -> String {
    let mut text = match e.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "neither `baton start` nor `baton manager` runs in this network namespace (there is no {})",
                path.display()
            )
        }
        std::io::ErrorKind::ConnectionRefused => {
            format!("the daemon of this network namespace has died ({} is left of it)", path.display())
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("{}: {e}: only the user of the daemon may ask it", path.display())
        }
        std::io::ErrorKind::UnexpectedEof => {
            format!("{}: the daemon lives, but its keeper does not answer: see its log", path.display())
        }
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("{}: the daemon does not answer", path.display())
        }
        _ => format!("{}: {e}", path.display()),
    };
    let others: Vec<String> = fs::read_dir(run_dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|x| x == "sock") && p != path)
        .map(|p| p.display().to_string())
        .collect();
    if !others.is_empty() {
        text.push_str(&format!("; other network namespaces: {}", others.join(", ")));
    }
    text
}
