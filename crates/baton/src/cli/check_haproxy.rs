//! `baton check haproxy.cfg [--fix]`: haproxy's own verdict, what Baton does not do, and what the author hardly meant.

use std::fs;
use std::path::Path;

use baton_config::haproxy::{self, Class, File, Outside};

use super::load;
use super::output::complain;
use crate::haproxy::{moot, refuse};

/// Words that sections of haproxy.cfg begin with.
const SECTIONS: &[&str] = &["global", "defaults", "frontend", "backend", "listen", "resolvers", "peers", "userlist"];

/// Whether a file is haproxy's: its first word begins a section, which is no key of YAML.
pub(super) fn is_haproxy(text: &str) -> bool {
    let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('.'));
    first.and_then(|line| line.split_ascii_whitespace().next()).is_some_and(|word| SECTIONS.contains(&word))
}

/// Checks one file, and adds a line about it; whether it can be started.
pub(super) fn run(path: &str, text: &str, fix: bool, lines: &mut String) -> bool {
    let environment = load::environment();
    let host = rustix::system::uname();
    let local_peer = host.nodename().to_string_lossy();
    let read_file = |path: &str| fs::read_to_string(path).map_err(|error| error.to_string());
    let outside = Outside { environment: &environment, load: &read_file, local_peer: &local_peer };
    let file = File { path: path.to_owned(), text: text.to_owned() };
    let loaded = haproxy::read(std::slice::from_ref(&file), &outside);
    let unserved = loaded.config.as_ref().map(refuse::findings).unwrap_or_default();
    let moot = loaded.config.as_ref().map(moot::findings).unwrap_or_default();
    let said = || loaded.findings.iter().chain(&moot);
    let all = said().chain(&unserved);
    complain(&load::text(&all.map(|finding| finding.message.clone()).collect::<Vec<_>>()));
    let refused = unserved.iter().any(|finding| finding.class <= Class::Refused);
    let Some(config) = loaded.config.as_ref().filter(|_| !refused) else {
        let why = if loaded.valid() { "haproxy takes it, Baton does not" } else { "haproxy does not take it either" };
        complain(&format!("baton: {path}: refused: {why}"));
        return false;
    };
    let count = |class| said().filter(|finding| finding.class == class).count();
    lines.push_str(&format!(
        "{path}: can be started: {} frontends, {} backends, {} servers, {} warnings, {} pieces of advice\n",
        config.frontends.len(),
        config.backends.len(),
        config.backends.iter().map(|backend| backend.servers.len()).sum::<usize>(),
        count(Class::Warning),
        count(Class::Lint),
    ));
    if loaded.edits.is_empty() {
        return true;
    }
    let edits = loaded.edits.len();
    if !fix {
        lines.push_str(&format!("{path}: `baton check --fix` would put {edits} places right\n"));
        return true;
    }
    match replace(Path::new(path), &haproxy::fix(0, text, &loaded.edits)) {
        Ok(()) => {
            lines.push_str(&format!("{path}: {edits} places put right\n"));
            true
        }
        Err(error) => {
            complain(&format!("baton: {path}: cannot be written: {error}"));
            false
        }
    }
}

/// Puts a new text in a file's place at once, with its permissions.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // What a link leads to is replaced, not the link.
    let path = fs::canonicalize(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || {
        fs::write(&temporary, text)?;
        fs::set_permissions(&temporary, fs::metadata(&path)?.permissions())?;
        fs::rename(&temporary, &path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::is_haproxy;

    #[test]
    fn files_are_told_apart_by_their_first_section() {
        assert!(is_haproxy("# a comment\n\nglobal # b\n  daemon\n"));
        assert!(is_haproxy(".if 1\nfrontend a\n"));
        assert!(!is_haproxy("global_defs {\n}\n"));
        assert!(!is_haproxy("vip: 192.0.2.1\n"));
        assert!(!is_haproxy(""));
    }
}
