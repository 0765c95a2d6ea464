//! What is wrong, where, and what is expected: messages for people, collected rather than thrown.
//!
//! One line each, in the form compilers use, so that editors can jump to it. Secrets never get in here.

use std::fmt;

use crate::tree::Item;

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// Legal, but without effect or unwise.
    Warning,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file; both count from one, columns in characters.
    File {
        /// Line.
        line: u32,
        /// Column.
        column: u32,
    },
    /// In an environment variable.
    Environment(String),
    /// In a flag of the command line (its name, without dashes).
    Flag(String),
    /// Nowhere: something is missing, or was made up from a default.
    Nowhere,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How much it matters.
    pub severity: Severity,
    /// Path of the file, when there is one.
    pub file: Option<String>,
    /// Where the value was written.
    pub place: Place,
    /// The key, as a path: `loadBalancers[0].port`.
    pub key: String,
    /// What is wrong, the value, and what is expected.
    pub text: String,
    /// The line of the file, for people; `{:#}` shows it.
    pub snippet: Option<String>,
}

/// Longest value that is repeated in a message.
const VALUE_SHOWN: usize = 60;
/// Longest key and text, as a bound for what a parser or a file system may have said.
const TEXT_SHOWN: usize = 300;

impl Message {
    /// Makes a message: `what is wrong (value), expected what`. Empty parts are left out.
    #[must_use]
    pub fn new(severity: Severity, place: &Place, key: &str, what: &str, value: &str, expected: &str) -> Message {
        let mut text = shown(what, TEXT_SHOWN);
        if !value.is_empty() {
            text.push_str(&format!(" ({})", shown(value, VALUE_SHOWN)));
        }
        if !expected.is_empty() {
            text.push_str(", expected ");
            text.push_str(expected);
        }
        Message { severity, file: None, place: place.clone(), key: shown(key, TEXT_SHOWN), text, snippet: None }
    }

    /// Line in the file.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match self.place {
            Place::File { line, .. } => Some(line),
            _ => None,
        }
    }

    /// Column in the file.
    #[must_use]
    pub fn column(&self) -> Option<u32> {
        match self.place {
            Place::File { column, .. } => Some(column),
            _ => None,
        }
    }
}

/// A text as it can stand in one line of a terminal.
fn shown(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in text.chars().take(most) {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// A message where something else says how grave it is (a log's level).
#[derive(Debug)]
pub struct Unlabelled<'a>(&'a Message);

impl fmt::Display for Unlabelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, false)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, true)
    }
}

impl Message {
    /// Without the word for its severity.
    #[must_use]
    pub fn unlabelled(&self) -> Unlabelled<'_> {
        Unlabelled(self)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, labelled: bool) -> fmt::Result {
        let file = self.file.as_deref();
        match &self.place {
            Place::File { line, column } => write!(f, "{}:{line}:{column}: ", file.unwrap_or("configuration"))?,
            Place::Environment(name) => write!(f, "environment variable {name}: ")?,
            Place::Flag(name) => write!(f, "flag --{name}: ")?,
            Place::Nowhere => write!(f, "{}: ", file.unwrap_or("configuration"))?,
        }
        if labelled && self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        write!(f, "{}: {}", self.key, self.text)?;
        if let (true, Some(source), Place::File { line, column }) = (f.alternate(), &self.snippet, &self.place) {
            let margin = line.to_string().len();
            let caret = usize::try_from(*column).unwrap_or(1).saturating_sub(1);
            write!(f, "\n {line} | {source}\n {:margin$} | {:caret$}^", "", "")?;
        }
        Ok(())
    }
}

/// Longest part of a line that is shown.
const SNIPPET_SHOWN: usize = 200;
/// Most messages about one configuration: beyond, nobody reads them.
const MESSAGES_MAX: usize = 200;

/// Messages as they are found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Message>,
    refused: bool,
    unsaid: usize,
}

impl Findings {
    /// An error about a value.
    pub(crate) fn error(&mut self, item: &Item, what: &str, value: &str, expected: &str) {
        self.put(Severity::Error, &item.place, &item.path, what, value, expected);
    }

    /// A warning about a value.
    pub(crate) fn warning(&mut self, item: &Item, what: &str, value: &str, expected: &str) {
        self.put(Severity::Warning, &item.place, &item.path, what, value, expected);
    }

    /// An error about something that is not there: `near` is what it should be part of.
    pub(crate) fn missing(&mut self, near: &Item, key: &str, expected: &str) {
        let path = crate::tree::join(&near.path, key);
        self.put(Severity::Error, &near.place, &path, "is missing", "", expected);
    }

    /// Any message.
    pub(crate) fn put(
        &mut self,
        severity: Severity,
        place: &Place,
        key: &str,
        what: &str,
        value: &str,
        expected: &str,
    ) {
        self.refused |= severity == Severity::Error;
        if self.is_full() {
            self.unsaid += 1;
            return;
        }
        let message = Message::new(severity, place, key, what, value, expected);
        if !self.list.contains(&message) {
            self.list.push(message);
        }
    }

    /// Nothing more is kept.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MESSAGES_MAX
    }

    /// Whether nothing may be started.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// All messages in the order of the file, then flags and environment.
    pub(crate) fn finish(mut self, file: Option<(&str, &str)>) -> Vec<Message> {
        self.list.sort_by(|a, b| a.place.cmp(&b.place));
        if self.unsaid > 0 {
            let severity = if self.refused { Severity::Error } else { Severity::Warning };
            let many = self.unsaid.to_string();
            self.list.push(Message::new(severity, &Place::Nowhere, "the file", "has more problems", &many, ""));
        }
        let Some((path, text)) = file else { return self.list };
        let lines: Vec<&str> = text.lines().collect();
        for message in &mut self.list {
            message.file = Some(path.to_owned());
            message.snippet =
                message.line().and_then(|line| snippet(lines.get(usize::try_from(line).ok()?.checked_sub(1)?)?));
        }
        self.list
    }
}

/// A line of the file as it can be shown; nothing of one that may hold a secret.
pub(crate) fn snippet(line: &str) -> Option<String> {
    let shown = line.chars().take(SNIPPET_SHOWN).map(|c| if c.is_control() { ' ' } else { c });
    (!may_hold_secrets(line)).then(|| shown.collect())
}

/// A line or key that may be about a secret, mistyped or not.
pub(crate) fn may_hold_secrets(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["key", "secret", "password", "token"].iter().any(|word| text.contains(word))
}
