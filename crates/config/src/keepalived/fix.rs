//! Changes to a file, line by line: what the author meant.

use std::collections::BTreeMap;

use super::model::At;

/// A change to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub at: At,
    /// The word that the line begins with: a line made by a definition is not changed.
    pub key: String,
    /// What becomes of the line: other lines with its indentation; none takes it away.
    pub lines: Vec<String>,
    /// Name of the lint.
    pub lint: &'static str,
    /// For people.
    pub why: String,
}

impl Edit {
    /// Whether a line is the one that is meant, and nothing else stands in it.
    fn fits(&self, line: &str) -> bool {
        let code = &line[..comment(line)];
        let alone = !code.contains(['{', '}']) || self.lines.iter().any(|line| line.contains('{'));
        alone && code.split([' ', '\t', '{']).find(|word| !word.is_empty()) == Some(&self.key)
    }
}

/// Where the comment of a line begins, or its end.
fn comment(line: &str) -> usize {
    let mut quoted = false;
    let begins = |(_, c): &(usize, char)| {
        quoted ^= *c == '"';
        !quoted && matches!(c, '#' | '!')
    };
    line.char_indices().find(begins).map_or(line.len(), |(at, _)| at)
}

/// A file with the edits that are about it; comments, order and indentation stay.
#[must_use]
pub fn fix(path: &str, text: &str, edits: &[Edit]) -> String {
    let mut changes: BTreeMap<u32, &Edit> = BTreeMap::new();
    for edit in edits.iter().filter(|edit| &*edit.at.file == path) {
        changes.entry(edit.at.line).or_insert(edit);
    }
    let mut out = String::new();
    for (number, raw) in (1u32..).zip(text.split_inclusive('\n')) {
        let line = raw.trim_end_matches(['\n', '\r']);
        let Some(edit) = changes.get(&number).filter(|edit| edit.fits(line)) else {
            out.push_str(raw);
            continue;
        };
        let end = &raw[line.len()..];
        let indent = &line[..line.len() - line.trim_start().len()];
        let last = edit.lines.len().saturating_sub(1);
        for (index, new) in edit.lines.iter().enumerate() {
            out.push_str(indent);
            out.push_str(new);
            if index == 0 && comment(line) < line.len() {
                out.push(' ');
                out.push_str(&line[comment(line)..]);
            }
            out.push_str(if index < last && end.is_empty() { "\n" } else { end });
        }
    }
    out
}
