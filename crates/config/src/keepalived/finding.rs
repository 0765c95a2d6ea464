//! What is to be said about a file, and how keepalived's own test of it would end.

use super::model::At;
use crate::message::{Message, Place, Severity, may_hold_secrets, snippet};

/// Why something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// keepalived itself ends here: a parameter is missing.
    Broken,
    /// keepalived itself does not start: the file speaks of an interface that is not there.
    NoInterface,
    /// Scripts run without being protected, or a file that must be included is missing: keepalived's test has a status
    /// of its own for these.
    Security,
    /// keepalived itself does not start, though its test only warns.
    Fatal,
    /// keepalived warns and starts; what is said here is what it does.
    Warning,
    /// Baton does not do it, and starting without it would not be what was asked for.
    Refused,
    /// Read, and without effect in Baton.
    Ignored,
    /// Legal, and not what its author meant: `baton check` says it.
    Lint,
}

/// A message and why it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Why.
    pub kind: Kind,
    /// Name of the lint, for its page; empty for other kinds.
    pub lint: &'static str,
    /// Where and what.
    pub message: Message,
}

/// How `keepalived -t` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing to say.
    Clean,
    /// A parameter is missing.
    Broken,
    /// An interface is missing.
    NoInterface,
    /// Warnings.
    Warned,
    /// A script that others could change.
    Security,
}

impl Class {
    /// The exit status.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Class::Clean => 0,
            Class::Broken => 2,
            Class::NoInterface => 4,
            Class::Warned => 5,
            Class::Security => 6,
        }
    }
}

/// Most findings about one configuration: beyond, nobody reads them.
const FINDINGS_MAX: usize = 500;

/// Findings as they are made.
#[derive(Debug)]
pub(super) struct Findings {
    list: Vec<Finding>,
    unsaid: usize,
    worst: Option<Kind>,
    /// What keepalived silently weakens is refused.
    strict: bool,
}

impl Findings {
    /// None yet.
    pub(super) fn new(strict: bool) -> Findings {
        Findings { list: Vec::new(), unsaid: 0, worst: None, strict }
    }

    /// One finding: what is wrong (value), expected what.
    pub(super) fn put(&mut self, kind: Kind, at: &At, key: &str, what: &str, value: &str, expected: &str) {
        self.named(kind, "", at, key, what, value, expected);
    }

    /// Like keepalived's own warnings.
    pub(super) fn warn(&mut self, at: &At, key: &str, what: &str, value: &str, expected: &str) {
        self.put(Kind::Warning, at, key, what, value, expected);
    }

    /// What keepalived goes on without although somebody relies on it.
    pub(super) fn weak(&mut self, at: &At, key: &str, what: &str, value: &str, expected: &str) {
        if self.strict {
            self.put(Kind::Refused, at, key, &format!("{what} (refused: strict)"), value, expected);
        } else {
            self.put(Kind::Warning, at, key, what, value, expected);
        }
    }

    /// A lint by its name.
    pub(super) fn lint(&mut self, name: &'static str, at: &At, key: &str, what: &str, expected: &str) {
        self.named(Kind::Lint, name, at, key, what, "", expected);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message; a struct would only name them again")]
    fn named(&mut self, kind: Kind, lint: &'static str, at: &At, key: &str, what: &str, value: &str, expected: &str) {
        self.worst = Some(self.worst.map_or(kind, |worst| worst.min(kind)));
        if self.list.len() >= FINDINGS_MAX {
            self.unsaid += 1;
            return;
        }
        let severity = match kind {
            Kind::Broken | Kind::NoInterface | Kind::Fatal | Kind::Refused => Severity::Error,
            Kind::Security | Kind::Warning | Kind::Ignored | Kind::Lint => Severity::Warning,
        };
        let place = if at.line == 0 { Place::Nowhere } else { Place::File { line: at.line, column: at.column } };
        let mut message = Message::new(severity, &place, key, what, value, expected);
        message.file = (!at.file.is_empty()).then(|| at.file.to_string());
        let finding = Finding { kind, lint, message };
        if !self.list.contains(&finding) {
            self.list.push(finding);
        }
    }

    /// Everything, in the order of the files, with the lines that it is about.
    pub(super) fn finish(mut self, lines: impl Fn(&str, u32) -> Option<String>) -> Vec<Finding> {
        self.list.sort_by(|a, b| (&a.message.file, &a.message.place).cmp(&(&b.message.file, &b.message.place)));
        for finding in &mut self.list {
            let message = &mut finding.message;
            let (Some(file), Some(line)) = (&message.file, message.line()) else { continue };
            message.snippet = lines(file, line).filter(|text| !secret(text)).and_then(|text| snippet(&text));
        }
        if self.unsaid > 0 {
            let what = "has more to be said about it";
            let many = self.unsaid.to_string();
            let message = Message::new(Severity::Warning, &Place::Nowhere, "the file", what, &many, "");
            self.list.push(Finding { kind: Kind::Lint, lint: "", message });
        }
        self.list
    }

    /// Whether nothing may be started.
    pub(super) fn refused(&self) -> bool {
        self.list.iter().any(|finding| finding.message.severity == Severity::Error)
    }

    /// How keepalived's test would end.
    pub(super) fn class(&self) -> Class {
        match self.worst {
            Some(Kind::Broken) => Class::Broken,
            Some(Kind::NoInterface) => Class::NoInterface,
            Some(Kind::Security) => Class::Security,
            Some(Kind::Fatal | Kind::Warning) => Class::Warned,
            Some(Kind::Refused | Kind::Ignored | Kind::Lint) | None => Class::Clean,
        }
    }
}

/// A line that may hold a password, its keyword mistyped or not.
fn secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.contains("auth_p") || line.contains("pass") || may_hold_secrets(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_passwords_are_not_shown() {
        for (line, shown) in [
            ("auth_pass hunter2", false),
            ("AUTH_PAS hunter2", false),
            ("authpass hunter2", false),
            ("authentication { auth_typ PASS auth_pass hunter2 }", false),
            ("auth_type AH", true),
            ("priority 400", true),
        ] {
            let mut findings = Findings::new(false);
            let at = At { file: "k.conf".into(), line: 1, column: 1 };
            findings.warn(&at, "key", "is wrong", "", "");
            let text = format!("{:#}", findings.finish(|_, _| Some(line.to_owned()))[0].message);
            assert_eq!(text.contains(line), shown, "{text}");
        }
    }
}
