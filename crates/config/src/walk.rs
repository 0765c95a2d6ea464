//! A tree with positions → typed values, by the table of keys. Finds everything that is wrong in one pass.

use crate::keys::{Key, ROOT, Shape, Standing};
use crate::message::{Findings, Place, Severity, may_hold_secrets};
use crate::scalar::{self, Style};
use crate::tree::{Item, Value, join};
use crate::yaml::{Kind, Node};

/// A walk over one file.
pub(crate) struct Walk<'a> {
    /// What is wrong.
    pub(crate) found: &'a mut Findings,
    /// Unknown keys are only warned of, as for somebody who typed `kube-vip`.
    pub(crate) lenient: bool,
}

fn place(node: &Node) -> Place {
    Place::File { line: node.line, column: node.column }
}

impl Walk<'_> {
    /// Reads the root.
    pub(crate) fn root(&mut self, node: &Node) -> Item {
        let shape = Shape::Map(ROOT);
        let item = self.item(node, &shape, String::new(), false);
        item.unwrap_or_else(|| Item::new(place(node), String::new(), Value::Bad))
    }

    /// Reads one value; `None`: not given.
    fn item(&mut self, node: &Node, shape: &Shape, path: String, secret: bool) -> Option<Item> {
        let value = match (&node.kind, fitting(&node.kind, shape)) {
            (_, Shape::Any) => return None,
            (Kind::Scalar { text, plain }, fit) => {
                let style = if *plain { Style::Plain } else { Style::Quoted };
                match scalar::read(text, style, fit) {
                    Ok(None) => return None,
                    Ok(Some(value)) => value,
                    Err(wrong) => {
                        let value = if secret { "" } else { text };
                        let expected = scalar::expects(shape, style);
                        let expected = if matches!(shape, Shape::Either(_)) { expected } else { wrong.expected };
                        self.wrong(node, &path, wrong.what, value, &expected)
                    }
                }
            }
            (Kind::List(nodes), Shape::List(of, most)) => self.list(node, nodes, of, *most, &path, secret),
            (Kind::List(nodes), Shape::Statuses) => self.statuses(node, nodes, &path),
            (Kind::Map(entries), Shape::Map(keys)) => self.map(entries, keys, &path),
            (Kind::List(_), _) => self.wrong(node, &path, "is a list", "", &scalar::expects(shape, Style::Plain)),
            (Kind::Map(_), _) => self.wrong(node, &path, "is a mapping", "", &scalar::expects(shape, Style::Plain)),
        };
        Some(Item::new(place(node), path, value))
    }

    fn wrong(&mut self, node: &Node, path: &str, what: &str, value: &str, expected: &str) -> Value {
        let path = if path.is_empty() { "the file" } else { path };
        self.found.put(Severity::Error, &place(node), path, what, value, expected);
        Value::Bad
    }

    fn list(&mut self, node: &Node, nodes: &[Node], of: &Shape, most: usize, path: &str, secret: bool) -> Value {
        if nodes.len() > most {
            let many = nodes.len().to_string();
            self.wrong(node, path, "has too many items", &many, &format!("at most {most}"));
        }
        let mut items = Vec::new();
        for (i, node) in nodes.iter().take(most).enumerate() {
            let path = format!("{path}[{i}]");
            let blank = || Item::new(place(node), path.clone(), Value::Bad);
            match self.item(node, of, path.clone(), secret) {
                Some(item) => items.push(item),
                None => {
                    self.wrong(node, &path, "is empty", "", &scalar::expects(of, Style::Plain));
                    items.push(blank());
                }
            }
        }
        Value::List(items)
    }

    fn statuses(&mut self, node: &Node, nodes: &[Node], path: &str) -> Value {
        let mut ranges = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let text = if let Kind::Scalar { text, .. } = &node.kind { text.as_str() } else { "" };
            match scalar::status(text) {
                Some(range) => ranges.push(range),
                None => {
                    let expected = "a status such as 200 or a range such as 200-399";
                    self.wrong(node, &format!("{path}[{i}]"), "is not an HTTP status", text, expected);
                }
            }
        }
        if nodes.is_empty() {
            return self.wrong(node, path, "is an empty list", "", &scalar::expects(&Shape::Statuses, Style::Plain));
        }
        Value::Statuses(ranges)
    }

    fn map(&mut self, entries: &[(Node, Node)], keys: &'static [Key], path: &str) -> Value {
        let mut seen: Vec<(&'static str, u32)> = Vec::new();
        let mut out = Vec::new();
        for (name, node) in entries {
            let Kind::Scalar { text, .. } = &name.kind else {
                self.wrong(name, path, "has a key that is a list or a mapping", "", "text before the colon");
                continue;
            };
            let path = join(path, text);
            let Some(key) = keys.iter().find(|key| key.is(text)) else {
                self.unknown(name, text, node, keys, &path);
                continue;
            };
            if let Some((_, first)) = seen.iter().find(|(name, _)| *name == key.name) {
                let what = format!("is given twice, first in line {first}");
                self.wrong(name, &path, &what, text, "each key once, whatever its spelling");
                continue;
            }
            seen.push((key.name, name.line));
            if let Standing::Idle(why) = key.standing {
                self.idle(name, node, why, &path);
            } else if let Some(item) = self.entry(key, node, path) {
                out.push((key.name, item));
            }
        }
        Value::Map(out)
    }

    /// One known entry. In keys of old a zero is "not given", as it was in Go.
    fn entry(&mut self, key: &'static Key, node: &Node, path: String) -> Option<Item> {
        if let (Standing::Old, Shape::Int(..), Kind::Scalar { text, plain: true }) =
            (&key.standing, &key.shape, &node.kind)
            && text == "0"
        {
            return None;
        }
        // Paths carry the table's spelling, whatever the file's.
        let base = path.rsplit_once('.').map(|(base, _)| base);
        let path = join(base.unwrap_or_default(), key.name);
        let item = self.item(node, &key.shape, path.clone(), key.secret);
        if item.is_none() && key.name.starts_with("peerKey") {
            // An empty key is more likely a template gone wrong than the wish for no authentication.
            self.wrong(node, &path, "is empty", "", "a key, or no such line");
        }
        item
    }

    fn idle(&mut self, name: &Node, node: &Node, why: &str, path: &str) {
        let zero = match &node.kind {
            Kind::Scalar { text, .. } => {
                matches!(text.to_ascii_lowercase().as_str(), "" | "~" | "null" | "false" | "0" | "no" | "off")
            }
            Kind::List(items) => items.is_empty(),
            Kind::Map(entries) => entries.is_empty(),
        };
        if !zero {
            let what = format!("has no effect: {why}");
            self.found.put(Severity::Warning, &place(name), path, &what, "", "");
        }
    }

    fn unknown(&mut self, name: &Node, text: &str, node: &Node, keys: &[Key], path: &str) {
        if self.found.is_full() {
            let severity = if self.lenient { Severity::Warning } else { Severity::Error };
            return self.found.put(severity, &place(name), path, "is not a known key", "", "");
        }
        let value = match &node.kind {
            Kind::Scalar { .. } if may_hold_secrets(text) => "",
            Kind::Scalar { text, .. } => text.as_str(),
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        };
        let expected = match nearest(text, keys) {
            Some(near) => near.to_owned(),
            None => elsewhere(text, ROOT, "").map_or_else(
                || {
                    let names: Vec<&str> =
                        keys.iter().filter(|k| !matches!(k.standing, Standing::Idle(_))).map(|k| k.name).collect();
                    format!("one of {}", names.join(", "))
                },
                |home| format!("it at {home}"),
            ),
        };
        let severity = if self.lenient { Severity::Warning } else { Severity::Error };
        self.found.put(severity, &place(name), path, "is not a known key", value, &expected);
    }
}

/// The shape, among several, that a node of this kind can have.
fn fitting<'s>(kind: &Kind, shape: &'s Shape) -> &'s Shape {
    let Shape::Either(shapes) = shape else { return shape };
    let fits = |shape: &&Shape| match kind {
        Kind::Scalar { .. } => !matches!(shape, Shape::List(..) | Shape::Map(_)),
        Kind::List(_) => matches!(shape, Shape::List(..)),
        Kind::Map(_) => matches!(shape, Shape::Map(_)),
    };
    shapes.iter().find(fits).unwrap_or(shape)
}

/// The key that somebody probably meant.
fn nearest(text: &str, keys: &[Key]) -> Option<&'static str> {
    let written = text.to_ascii_lowercase();
    if written.len() > 64 {
        return None;
    }
    let names = keys.iter().filter(|k| !matches!(k.standing, Standing::Idle(_)));
    let near = names.map(|key| (distance(&written, &key.name.to_ascii_lowercase()), key.name)).min()?;
    (near.0 <= 1 + written.len() / 5).then_some(near.1)
}

/// Where a key of this name belongs, when it is known but not here.
fn elsewhere(text: &str, keys: &[Key], path: &str) -> Option<String> {
    keys.iter().find_map(|key| {
        let here = join(path, key.name);
        if key.is(text) && !matches!(key.standing, Standing::Idle(_)) {
            return Some(here);
        }
        below(text, &key.shape, here)
    })
}

fn below(text: &str, shape: &Shape, path: String) -> Option<String> {
    match shape {
        Shape::Map(keys) => elsewhere(text, keys, &path),
        Shape::List(of, _) => below(text, of, format!("{path}[]")),
        Shape::Either(shapes) => shapes.iter().find_map(|shape| below(text, shape, path.clone())),
        _ => None,
    }
}

/// Edits (insert, delete, replace, swap of neighbours) between two short words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
