//! What a configuration has to be told about this host: included files, scripts, users.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use baton_config::keepalived::ScriptFact;
use baton_config::keepalived::model::Command;

use super::program;

/// A larger file is no configuration.
const FILE_MAX: u64 = 64 << 20;
/// Of a script so much is looked at.
const SCRIPT_MAX: u64 = 64 << 10;
/// Files that one pattern may name.
const MATCHES: usize = 4096;

/// The host's name up to the first dot.
pub(super) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or("").to_owned()
}

/// Files that match a pattern, in order, with their text.
pub(super) fn included(pattern: &str, directory: &str) -> Vec<(String, Result<String, String>)> {
    let whole = if pattern.starts_with('/') { PathBuf::from(pattern) } else { Path::new(directory).join(pattern) };
    glob(&whole).iter().map(|path| (path.display().to_string(), text_of(path))).collect()
}

/// What is in a file, as text.
pub(super) fn text_of(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > FILE_MAX {
        return Err("it is too large for a configuration".to_owned());
    }
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|e| e.to_string())
}

/// Paths that match, sorted. A pattern without special characters names itself.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        let special = name.contains(['*', '?', '[']);
        let mut next = Vec::new();
        for base in &found {
            if !special {
                next.push(base.join(part));
                continue;
            }
            let directory = if base.as_os_str().is_empty() { Path::new(".") } else { base.as_path() };
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name());
            let hidden = |entry: &str| entry.starts_with('.') && !name.starts_with('.');
            next.extend(
                names
                    .filter(|entry| entry.to_str().is_some_and(|entry| !hidden(entry) && matches(&name, entry)))
                    .map(|entry| base.join(entry)),
            );
        }
        next.sort();
        next.truncate(MATCHES);
        found = next;
    }
    found.retain(|path| path.is_file());
    found
}

/// As shells match names: `*`, `?` and sets in brackets.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where the last star was, and how much it stands for so far.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        let one = pattern.get(p).and_then(|c| match c {
            '*' => None,
            '?' => Some(1),
            '[' => set(&pattern[p..], name[n]),
            c => (*c == name[n]).then_some(1),
        });
        match (pattern.get(p), one, star) {
            (Some('*'), ..) => {
                star = Some((p, n));
                p += 1;
            }
            (_, Some(length), _) => {
                p += length;
                n += 1;
            }
            (_, None, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
            (_, None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How long a set is when the character is in it.
fn set(pattern: &[char], c: char) -> Option<usize> {
    let close = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
    let inside = &pattern[1..close];
    let (inside, negated) = match inside.split_first() {
        Some(('!' | '^', rest)) => (rest, true),
        _ => (inside, false),
    };
    let mut found = false;
    let mut at = 0;
    while at < inside.len() {
        if at + 2 < inside.len() && inside[at + 1] == '-' {
            found |= (inside[at]..=inside[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= inside[at] == c;
            at += 1;
        }
    }
    (found != negated).then_some(close + 1)
}

/// There is such a user.
pub(super) fn user(name: &str) -> bool {
    program::has_user(name)
}

/// What the first word of a command names.
pub(super) fn script(command: &Command) -> ScriptFact {
    let Some(first) = command.args.first() else { return ScriptFact::Missing };
    match program::look_up(first) {
        Some(path) => ScriptFact::Program { insecure: insecure(&path), text: text(&path) },
        None if Path::new(first).exists() => ScriptFact::NotExecutable,
        None => ScriptFact::Missing,
    }
}

/// Its text, when it is some.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(SCRIPT_MAX).read_to_end(&mut bytes).ok()?;
    if bytes.starts_with(b"#!") { String::from_utf8(bytes).ok() } else { None }
}

/// Others than root may write to it or to what leads to it.
pub(super) fn insecure(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return true };
    path.ancestors().any(|part| {
        // A directory like /tmp that only lets owners remove is as good as a closed one for what others own.
        fs::metadata(part).map_or(true, |m| {
            let sticky = m.is_dir() && m.mode() & 0o1000 != 0;
            m.uid() != 0 || m.mode() & 0o002 != 0 && !sticky || m.mode() & 0o020 != 0 && m.gid() != 0
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyy", false),
            ("[0-9]*.conf", "10-vip.conf", true),
            ("[!0-9]*.conf", "10-vip.conf", false),
            ("[]a]", "]", true),
            ("[", "[", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_in_order_with_their_text() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            fs::write(dir.path().join(name), name).expect("written");
        }
        let base = dir.path().display().to_string();
        let texts: Vec<String> = included("*.conf", &base).into_iter().map(|(_, text)| text.expect("read")).collect();
        assert_eq!(texts, ["a.conf", "b.conf"]);
        assert_eq!(included(&format!("{base}/c.txt"), "/nowhere").len(), 1);
        assert_eq!(included("missing.conf", &base), Vec::new());
    }
}
