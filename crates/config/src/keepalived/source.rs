//! From files to lines: comments, conditions, definitions, sequences, lists and included files.
//!
//! Every line knows where it came from. Nothing is opened here, and whatever the text says, the number of lines, their
//! length and the depth of their making are bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expand::{self, Series};
use super::finding::{Findings, Kind};
use super::model::At;

/// Most lines after everything was put in: 20 times the largest configuration that keepalived's manual shows.
const LINES_MAX: usize = 1_000_000;
/// Longest line after everything was put in.
pub(super) const LINE_MAX: usize = 16 * 1024;
/// How deep definitions, sequences and includes may lie in each other.
const DEPTH_MAX: usize = 40;
/// Most definitions put into one line: one that holds itself never ends.
const REPLACEMENTS_MAX: usize = 1000;
/// Most steps in all, those that make no line among them.
const STEPS_MAX: usize = 4_000_000;
/// Most included files.
const FILES_MAX: usize = 1000;

/// What the host says about a pattern of files: each with its path and its text, or why it cannot be read.
pub type Included = Vec<(String, Result<String, String>)>;

/// What the reader needs from outside to make lines.
pub(super) struct Outside<'a> {
    /// `-i`, or the host's name up to the first dot.
    pub(super) config_id: &'a str,
    /// For `${_RANDOM}`.
    pub(super) seed: u64,
    /// Files that match a pattern, relative to a directory.
    pub(super) include: &'a mut dyn FnMut(&str, &str) -> Included,
    /// Variables for `${_ENV NAME}`.
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
}

/// A line without comments, after everything was put in.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its text, without white space around it. Never empty.
    pub(super) text: String,
    /// Where it begins.
    pub(super) at: At,
    /// The text stands in the file as it is here, so that columns can be counted.
    pub(super) verbatim: bool,
}

/// A definition: its lines, and whether it was written over several.
#[derive(Clone, Debug, Default)]
struct Definition {
    lines: Vec<String>,
    multiline: bool,
}

/// Makes lines.
pub(super) struct Lines<'a> {
    outside: Outside<'a>,
    findings: &'a mut Findings,
    definitions: BTreeMap<String, Definition>,
    /// Name of the definition that the next lines belong to.
    open: Option<String>,
    directory: String,
    checks: Checks,
    random: u64,
    files: usize,
    steps: usize,
    full: bool,
    /// The files that were read, for messages.
    pub(super) texts: BTreeMap<String, String>,
    out: Vec<Line>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(outside: Outside<'a>, findings: &'a mut Findings) -> Lines<'a> {
        let random = outside.seed | 1;
        Lines {
            outside,
            findings,
            definitions: BTreeMap::new(),
            open: None,
            directory: String::new(),
            checks: Checks::default(),
            random,
            files: 0,
            steps: 0,
            full: false,
            texts: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    /// All lines of a file and of those that it includes.
    pub(super) fn file(mut self, path: &str, text: &str) -> (Vec<Line>, BTreeMap<String, String>) {
        self.one(path, text, 0);
        (self.out, self.texts)
    }

    fn one(&mut self, path: &str, text: &str, depth: usize) {
        let before = std::mem::replace(&mut self.directory, directory(path));
        let checks = self.checks;
        self.texts.insert(path.to_owned(), text.to_owned());
        let file: Arc<str> = Arc::from(path);
        for (number, raw) in text.split('\n').enumerate() {
            let raw = raw.trim_end_matches('\r');
            let line = u32::try_from(number + 1).unwrap_or(u32::MAX);
            let blank = raw.chars().take_while(|c| matches!(c, ' ' | '\t')).count();
            let at = At { file: file.clone(), line, column: u32::try_from(blank + 1).unwrap_or(u32::MAX) };
            if raw.is_empty() {
                self.open = None;
                continue;
            }
            let clean = decomment(raw);
            if clean.unterminated {
                self.findings.warn(&at, "the line", "has a quotation mark without its partner", "", "two of them");
            }
            if self.continued(&clean.text) || clean.text.is_empty() {
                continue;
            }
            self.feed(&clean.text, &at, !clean.changed, depth);
        }
        self.open = None;
        self.directory = before;
        self.checks = checks;
    }

    /// Whether a line belongs to the definition above it.
    fn continued(&mut self, text: &str) -> bool {
        let Some(name) = self.open.take() else { return false };
        let more = text.ends_with('\\');
        let text = text.trim_end_matches('\\').trim_end();
        if let Some(definition) = self.definitions.get_mut(&name) {
            let bytes: usize = definition.lines.iter().map(String::len).sum();
            if !text.is_empty() && bytes < LINE_MAX * 64 {
                definition.lines.push(text.to_owned());
            }
        }
        if more {
            self.open = Some(name);
        }
        true
    }

    /// A line at whatever depth: conditions, definitions, series, what is put in, includes; then it is one.
    fn feed(&mut self, text: &str, at: &At, verbatim: bool, depth: usize) {
        self.steps += 1;
        let many = self.out.len() >= LINES_MAX || self.steps > STEPS_MAX;
        if depth > DEPTH_MAX || text.len() > LINE_MAX || many {
            self.too_much(at);
            return;
        }
        let text = text.trim();
        if text.is_empty() || self.full {
            return;
        }
        if let Some(condition) = text.strip_prefix('@') {
            if let Some(rest) = self.condition(condition) {
                self.feed(rest, at, false, depth + 1);
            }
        } else if let Some((name, value)) = expand::definition(text) {
            self.define(name, value);
        } else if text.starts_with("~SEQ") || text.starts_with("~LST") {
            self.series(text, at, depth);
        } else if !self.replace(text, at, depth) && !self.include(text, at, depth) {
            if let Some(found) = expand::reference(text, 0).filter(|found| text[found.start..].starts_with("${")) {
                let what = "is defined nowhere: a placeholder that was not filled in?";
                self.findings.warn(at, &text[found.start..found.end], what, "", "");
            }
            self.setting(text);
            self.out.push(Line { text: text.to_owned(), at: at.clone(), verbatim });
        }
    }

    /// What the lines say about how they are read. Wrong values are said where the keyword is.
    fn setting(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        match words.next() {
            Some("include_check") => self.checks.change(words),
            Some("random_seed") => {
                if let Some(seed) = words.next().and_then(|seed| seed.parse::<u64>().ok()) {
                    self.random = seed | 1;
                }
            }
            _ => {}
        }
    }

    fn too_much(&mut self, at: &At) {
        if !self.full {
            self.full = true;
            let what = "makes more lines, longer lines or deeper definitions than can be meant";
            self.findings.put(Kind::Fatal, at, "the line", what, "", "definitions that end");
        }
    }

    /// `@id rest`, `@^id rest`: the rest, when the line is for this host.
    fn condition<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (text, negated) = text.strip_prefix('^').map_or((text, false), |text| (text, true));
        let (id, rest) = text.split_once([' ', '\t'])?;
        ((id == self.outside.config_id) != negated).then_some(rest)
    }

    fn define(&mut self, name: &str, value: &str) {
        let multiline = value.ends_with('\\');
        let first = value.trim_end_matches('\\').trim_end();
        let lines = if first.is_empty() && multiline { Vec::new() } else { vec![first.to_owned()] };
        self.definitions.insert(name.to_owned(), Definition { lines, multiline });
        if multiline {
            self.open = Some(name.to_owned());
        }
    }

    fn series(&mut self, text: &str, at: &At, depth: usize) {
        let Some(close) = text.find(')') else {
            self.findings.warn(at, "the series", "has no closing bracket", text, "~SEQ(NAME, first, last) text");
            return;
        };
        // Numbers in a series may be definitions themselves.
        let mut head = text[..=close].to_owned();
        for _ in 0..DEPTH_MAX {
            match self.put_in(&head) {
                Some((next, more)) if more.is_empty() && next.len() <= LINE_MAX => head = next,
                _ => break,
            }
        }
        match expand::series(&head) {
            Ok(Series { names, values }) => {
                let rest = &text[close + 1..];
                for value in values {
                    for (name, value) in names.iter().zip(value) {
                        self.definitions.insert(name.clone(), Definition { lines: vec![value], multiline: false });
                    }
                    self.feed(rest, at, false, depth + 1);
                    if self.full {
                        return;
                    }
                }
            }
            Err(why) => self.findings.warn(at, "the series", &why, text, "~SEQ(NAME, first, last) text"),
        }
    }

    /// Puts definitions in; whether there were any. What comes out is a line like any other.
    fn replace(&mut self, text: &str, at: &At, depth: usize) -> bool {
        let mut line = text.to_owned();
        let mut more = Vec::new();
        let mut changed = 0;
        while changed < REPLACEMENTS_MAX && line.len() <= LINE_MAX && more.is_empty() && !line.starts_with('~') {
            let Some((next, follow)) = self.put_in(&line) else { break };
            (line, more) = (next, follow);
            changed += 1;
        }
        if changed == 0 {
            return false;
        }
        let depth = if changed < REPLACEMENTS_MAX { depth + 1 } else { DEPTH_MAX + 1 };
        for line in std::iter::once(line).chain(more) {
            self.feed(&line, at, false, depth);
        }
        true
    }

    /// The text with its first definition put in, and the lines that follow from it.
    fn put_in(&mut self, text: &str) -> Option<(String, Vec<String>)> {
        let mut from = 0;
        while let Some(found) = expand::reference(text, from) {
            from = found.start + 1;
            let (before, after) = (&text[..found.start], &text[found.end..]);
            if let Some(value) = self.predefined(&found) {
                return Some((format!("{before}{value}{after}"), Vec::new()));
            }
            let Some(definition) = self.definitions.get(found.name) else { continue };
            if !found.parameters.is_empty() || definition.multiline && !after.is_empty() {
                continue;
            }
            let first = definition.lines.first().map_or("", String::as_str);
            let more = definition.lines.iter().skip(1).cloned().collect();
            return Some((format!("{before}{first}{after}"), more));
        }
        None
    }

    fn predefined(&mut self, found: &expand::Reference<'_>) -> Option<String> {
        if self.definitions.contains_key(found.name) {
            return None;
        }
        let directory = if self.directory.is_empty() { "." } else { &self.directory };
        match found.name {
            "_PWD" => Some(directory.to_owned()),
            "_INSTANCE" => Some(self.outside.config_id.to_owned()),
            "_HASH" => Some(String::from("#")),
            "_BANG" => Some(String::from("!")),
            "_ENV" => (self.outside.environment)(found.parameters.trim()),
            "_RANDOM" => {
                let mut numbers = found.parameters.split_whitespace().filter_map(|n| n.parse::<u32>().ok());
                let (low, high) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(32_767));
                // xorshift64: the same seed gives the same file.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                let span = u64::from(high.saturating_sub(low)) + 1;
                Some((u64::from(low) + self.random % span).to_string())
            }
            _ => None,
        }
    }

    fn include(&mut self, text: &str, at: &At, depth: usize) -> bool {
        let mut words = text.split_whitespace();
        let (Some(word), Some(pattern), None) = (words.next(), words.next(), words.next()) else { return false };
        if !matches!(word, "include" | "includer" | "includem" | "includew" | "includeb" | "includea") {
            return false;
        }
        let pattern = pattern.trim_matches('"');
        let directory = self.directory.clone();
        let files = (self.outside.include)(pattern, &directory);
        let checks = self.checks.with(word);
        if files.is_empty() && checks.wants(pattern) {
            self.findings.put(Kind::Security, at, word, "matches no file", pattern, "a file");
        }
        for (path, text) in files {
            if self.files >= FILES_MAX || depth > DEPTH_MAX {
                self.too_much(at);
                return true;
            }
            self.files += 1;
            match text {
                Ok(text) => self.one(&path, &text, depth + 1),
                Err(why) if !checks.readable => {
                    self.findings.put(Kind::Ignored, at, word, "names a file that cannot be read", &path, &why);
                }
                Err(why) => {
                    self.findings.warn(at, word, &format!("names a file that cannot be read: {why}"), &path, "")
                }
            }
        }
        true
    }
}

/// Which missing files are errors: `include_check`, and the letter behind `include`.
#[derive(Clone, Copy, Debug, Default)]
struct Checks {
    readable: bool,
    matching: bool,
    wild: bool,
    brace: bool,
}

impl Checks {
    const ALL: Checks = Checks { readable: true, matching: true, wild: true, brace: true };

    /// `include_check [[+|-]option]…`: without options all, without signs exactly these.
    fn change<'w>(&mut self, words: impl Iterator<Item = &'w str>) {
        let (mut any, mut signed, mut on) = (false, false, true);
        for word in words {
            let name = word.trim_start_matches(['+', '-']);
            signed |= name.len() < word.len();
            on = if word.starts_with('-') { false } else { on || word.starts_with('+') };
            if !any && !signed {
                *self = Checks::default();
            }
            any = true;
            match name {
                "readable" => self.readable = on,
                "match" => self.matching = on,
                "wildcard_match" => self.wild = on,
                "brace_match" => self.brace = on,
                _ => {}
            }
        }
        if !any {
            *self = Checks::ALL;
        }
    }

    fn with(self, word: &str) -> Checks {
        match word {
            "includer" => Checks { readable: true, ..self },
            "includem" => Checks { readable: true, matching: true, ..self },
            "includew" => Checks { readable: true, wild: true, ..self },
            "includeb" => Checks { readable: true, brace: true, ..self },
            "includea" => Checks::ALL,
            _ => self,
        }
    }

    /// Whether a pattern must name a file.
    fn wants(self, pattern: &str) -> bool {
        let wild = pattern.contains(['*', '?', '[']);
        self.wild || self.matching && !wild || self.brace && pattern.contains('{')
    }
}

fn directory(path: &str) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(dir, _)| String::from(if dir.is_empty() { "/" } else { dir }))
}

/// A line without its comment.
struct Clean {
    text: String,
    /// Characters inside it went away.
    changed: bool,
    unterminated: bool,
}

/// Comments begin with `#` or `!` outside quotation marks, and a backslash takes that from them.
fn decomment(line: &str) -> Clean {
    let mut text = String::new();
    let mut changed = false;
    let mut quoted = false;
    let mut chars = line.trim_start_matches([' ', '\t']).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => match chars.next() {
                Some(next @ ('#' | '!')) if !quoted => {
                    changed = true;
                    text.push(next);
                    continue;
                }
                Some(next) => {
                    text.push(c);
                    text.push(next);
                    continue;
                }
                None => {}
            },
            '#' | '!' if !quoted => break,
            _ => {}
        }
        text.push(c);
    }
    let end = text.trim_end_matches([' ', '\t']).len();
    text.truncate(end);
    Clean { text, changed, unterminated: quoted }
}
