//! YAML text → a tree with positions. Bounded in size, depth, and what aliases may multiply.
//!
//! Knows no key and no type: a scalar is its text and whether it was quoted.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

/// Longest text that is read.
pub(crate) const BYTES_MAX: usize = 1 << 20;
/// Most nodes, with every alias counted in full.
const NODES_MAX: usize = 20_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 32;

/// A node and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `plain`: not quoted, so it may mean a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What keeps a text from being a tree.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) what: String,
}

/// A parsed file.
#[derive(Debug)]
pub(crate) struct Document {
    /// `None` when there is nothing in it.
    pub(crate) root: Option<Node>,
    /// Where a second document begins, which nobody reads.
    pub(crate) second: Option<(u32, u32)>,
}

/// An open collection.
enum Open {
    List(Node, usize),
    Map(Node, Option<Node>, usize),
}

struct Builder {
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
    second: Option<(u32, u32)>,
}

/// Reads the first document.
pub(crate) fn parse(text: &str) -> Result<Document, Broken> {
    let begin = |what: String| Broken { line: 1, column: 1, what };
    if text.len() > BYTES_MAX {
        return Err(begin(format!("is larger than {} MiB", BYTES_MAX >> 20)));
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder =
        Builder { stack: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, documents: 0, second: None };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| {
            let (line, column) = position(error.marker().line(), error.marker().col());
            Broken { line, column, what: format!("is not valid YAML: {}", error.info()) }
        })?;
        builder.event(event, &span)?;
        if builder.second.is_some() {
            break;
        }
    }
    Ok(Document { root: builder.root, second: builder.second })
}

/// Lines count from one, columns from zero there.
fn position(line: usize, column: usize) -> (u32, u32) {
    (u32::try_from(line.max(1)).unwrap_or(u32::MAX), u32::try_from(column + 1).unwrap_or(u32::MAX))
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Broken> {
        let (line, column) = position(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.second = Some((line, column));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = plain(style, tag.as_deref());
                let node = Node { line, column, kind: Kind::Scalar { text: text.into_owned(), plain } };
                self.close(node, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.stack.push(Open::List(Node { line, column, kind: Kind::List(Vec::new()) }, anchor));
            }
            Event::MappingStart(_, anchor, _) => {
                self.stack.push(Open::Map(Node { line, column, kind: Kind::Map(Vec::new()) }, None, anchor));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open::List(node, anchor) | Open::Map(node, _, anchor)) = self.stack.pop() {
                    self.close(merged(node), anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).cloned();
                let what = "is an alias to a value that contains it".to_owned();
                let node = target.ok_or(Broken { line, column, what })?;
                self.count(size(&node), line, column)?;
                self.close(node, 0)?;
            }
            _ => {}
        }
        if self.stack.len() > DEPTH_MAX {
            return Err(Broken { line, column, what: format!("is nested deeper than {DEPTH_MAX} levels") });
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, line: u32, column: u32) -> Result<(), Broken> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(Broken {
                line,
                column,
                what: format!("has more than {NODES_MAX} values, aliases counted in full"),
            });
        }
        Ok(())
    }

    /// A node is complete: it goes into the open collection, or is the document.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        self.count(1, node.line, node.column)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(Node { kind: Kind::List(items), .. }, _)) => items.push(node),
            Some(Open::Map(Node { kind: Kind::Map(entries), .. }, key, _)) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
            Some(_) => {}
        }
        Ok(())
    }
}

fn plain(style: ScalarStyle, tag: Option<&Tag>) -> bool {
    match tag {
        Some(tag) => !tag.is_yaml_core_schema_tag("str"),
        None => style == ScalarStyle::Plain,
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar { .. } => 1,
        Kind::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|(k, v)| size(k) + size(v)).sum::<usize>(),
    }
}

/// Resolves `<<: *anchor`: what the mapping says itself wins.
fn merged(node: Node) -> Node {
    let Kind::Map(entries) = node.kind else { return node };
    let is_merge = |key: &Node| matches!(&key.kind, Kind::Scalar { text, plain: true } if text == "<<");
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, value)| is_merge(key) && !matches!(value.kind, Kind::Scalar { .. }));
    for (_, value) in merges {
        let sources = match value.kind {
            Kind::List(items) => items,
            other => vec![Node { kind: other, ..value }],
        };
        for source in sources {
            let Kind::Map(more) = source.kind else { continue };
            for (key, value) in more {
                let known = own.iter().any(|(k, _)| same_text(k, &key));
                if !known {
                    own.push((key, value));
                }
            }
        }
    }
    Node { kind: Kind::Map(own), ..node }
}

fn same_text(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Scalar { text: a, .. }, Kind::Scalar { text: b, .. }) => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}
