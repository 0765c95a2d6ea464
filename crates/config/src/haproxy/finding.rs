//! What is said about a configuration, and how grave it is.

use crate::message::{self, Message, Place, Severity};

use super::model::At;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// haproxy refuses this too.
    Alert,
    /// haproxy does it, Baton does not.
    Refused,
    /// haproxy warns too.
    Warning,
    /// Legal, and hardly what was meant: only `baton check` says it.
    Lint,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub class: Class,
    /// Where, and what.
    pub message: Message,
}

/// Most findings of one configuration: beyond, nobody reads them.
const FINDINGS_MAX: usize = 200;

/// Findings as they come.
#[derive(Debug, Default)]
pub(super) struct Says {
    list: Vec<(Class, At, String, String)>,
}

impl Says {
    pub(super) fn alert(&mut self, at: At, key: &str, text: impl Into<String>) {
        self.put(Class::Alert, at, key, text.into());
    }

    pub(super) fn refuse(&mut self, at: At, key: &str, text: impl Into<String>) {
        self.put(Class::Refused, at, key, text.into());
    }

    pub(super) fn warn(&mut self, at: At, key: &str, text: impl Into<String>) {
        self.put(Class::Warning, at, key, text.into());
    }

    pub(super) fn put(&mut self, class: Class, at: At, key: &str, text: String) {
        let entry = (class, at, key.to_owned(), text);
        // An error is never dropped for a warning.
        if (self.list.len() < FINDINGS_MAX || class <= Class::Refused && !self.failed()) && !self.list.contains(&entry)
        {
            self.list.push(entry);
        }
    }

    /// Whether nothing may be started.
    pub(super) fn failed(&self) -> bool {
        self.list.iter().any(|(class, ..)| *class <= Class::Refused)
    }

    /// In the order of the files, with the lines that they are about.
    pub(super) fn finish(mut self, files: &[(String, Vec<String>)]) -> Vec<Finding> {
        self.list.sort_by_key(|(_, at, ..)| *at);
        self.list.into_iter().map(|(class, at, key, text)| finding(class, at, &key, &text, files)).collect()
    }
}

/// Makes one finding; `files` are paths and lines.
pub(super) fn finding(class: Class, at: At, key: &str, text: &str, files: &[(String, Vec<String>)]) -> Finding {
    let severity = if class <= Class::Refused { Severity::Error } else { Severity::Warning };
    let nowhere = at.line == 0;
    let place = if nowhere { Place::Nowhere } else { Place::File { line: at.line, column: at.column.max(1) } };
    let mut message = Message::new(severity, &place, key, text, "", "");
    if let Some((path, lines)) = files.get(at.file) {
        message.file = Some(path.clone());
        let line = usize::try_from(at.line).ok().and_then(|line| lines.get(line.checked_sub(1)?));
        message.snippet = line.filter(|line| !secret(line)).and_then(|line| message::snippet(line));
    }
    Finding { class, message }
}

/// A line that may hold a password: `stats auth`, an `Authorization` of a check, an `AUTH` sent to a server.
fn secret(line: &str) -> bool {
    line.to_ascii_lowercase().contains("auth")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_passwords_are_not_shown() {
        for (line, shown) in [
            ("stats auth admin:hunter2 more", false),
            ("http-check send hdr Authorization \"Basic aHVudGVyMg==\"", false),
            ("tcp-check send AUTH\\ hunter2\\r\\n extra", false),
            ("user a insecure-password hunter2", false),
            ("maxconn many", true),
        ] {
            let at = At { file: 0, line: 1, column: 1 };
            let files = [("h.cfg".to_owned(), vec![line.to_owned()])];
            let text = format!("{:#}", finding(Class::Alert, at, "key", "is wrong", &files).message);
            assert_eq!(text.contains(line), shown, "{text}");
        }
    }
}
