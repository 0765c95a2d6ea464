//! Changes to a file, line by line: what the author meant. Comments, order and indentation stay.

use super::model::At;

/// A change to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The line.
    pub at: At,
    /// What becomes of it.
    pub change: Change,
    /// Name of the lint that asks for it.
    pub lint: &'static str,
}

/// What becomes of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It goes.
    Remove,
    /// Words are added at its end, before a comment.
    Append(String),
    /// A line is put before it, with its indentation.
    Before(String),
    /// A line is put after it: the first of a section, with the indentation of the line that follows.
    After(String),
}

/// Where the comment of a line begins, or its end.
fn code_end(line: &str) -> usize {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '#') => return at,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    line.len()
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The text of the file with this number (as in [`At::file`]) after the edits.
#[must_use]
pub fn fix(file: usize, text: &str, edits: &[Edit]) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut out = String::new();
    for (index, raw) in lines.iter().enumerate() {
        let here = |edit: &&Edit| edit.at.file == file && usize::try_from(edit.at.line).is_ok_and(|n| n == index + 1);
        let mut line = raw.trim_end_matches(['\n', '\r']).to_owned();
        let end = &raw[line.len()..];
        let mut removed = false;
        let mut after = Vec::new();
        for edit in edits.iter().filter(here) {
            match &edit.change {
                Change::Remove => removed = true,
                Change::Append(words) => {
                    let code = line[..code_end(&line)].trim_end().len();
                    line.insert_str(code, &format!(" {words}"));
                }
                Change::Before(new) => out.push_str(&format!("{}{new}{end}", indent(&line))),
                Change::After(new) => {
                    let next = lines[index + 1..].iter().find(|line| !line.trim().is_empty());
                    after.push(format!("{}{new}{end}", next.map_or("    ", |next| indent(next))));
                }
            }
        }
        if !removed {
            out.push_str(&line);
            out.push_str(end);
        }
        out.extend(after);
    }
    out
}
