//! From lines to blocks: `{` may stand on the keyword's line or the next one, and what stands where it cannot is said.

use super::finding::Findings;
use super::keywords::{self, Block, Found};
use super::model::At;
use super::source::Line;
use super::words::{self, Word};

/// Deepest blocks in blocks: the format knows five.
const DEPTH_MAX: usize = 32;

/// A keyword with its words, or a line of a list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Words; never empty, the first one is the keyword.
    pub(super) words: Vec<Word>,
    /// As it stands in the line.
    pub(super) raw: String,
    /// Where it begins.
    pub(super) at: At,
    verbatim: bool,
    /// What is in its block, if it has one.
    pub(super) items: Option<Vec<Item>>,
    /// Line of the closing brace, for edits.
    pub(super) end: u32,
}

impl Item {
    /// The keyword.
    pub(super) fn key(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    /// A word by number; the keyword is 0.
    pub(super) fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(|word| word.text.as_str())
    }

    /// Where a word stands.
    pub(super) fn at_word(&self, index: usize) -> At {
        let mut at = self.at.clone();
        if let (true, Some(word)) = (self.verbatim, self.words.get(index)) {
            at.column = at.column.saturating_add(word.before);
        }
        at
    }

    /// What is in its block.
    pub(super) fn inside(&self) -> &[Item] {
        self.items.as_deref().unwrap_or_default()
    }
}

/// A part of a line: a brace, or what is between braces.
enum Piece {
    Open,
    Close,
    Words(String),
}

/// Cuts a line at braces outside quotation marks; each part with the characters before it.
fn pieces(text: &str) -> Vec<(Piece, u32)> {
    let mut out = Vec::new();
    let mut part = String::new();
    let mut begin = 0;
    let mut quoted = false;
    for (at, c) in (0u32..).zip(text.chars()) {
        if c == '"' {
            quoted = !quoted;
        }
        if quoted || !matches!(c, '{' | '}') {
            if part.trim().is_empty() && !c.is_whitespace() {
                part.clear();
                begin = at;
            }
            part.push(c);
            continue;
        }
        if !part.trim().is_empty() {
            out.push((Piece::Words(part.trim_end().to_owned()), begin));
        }
        part.clear();
        out.push((if c == '{' { Piece::Open } else { Piece::Close }, at));
    }
    if !part.trim().is_empty() {
        out.push((Piece::Words(part.trim_end().to_owned()), begin));
    }
    out
}

/// A block that is open.
struct Level {
    block: Block,
    items: Vec<Item>,
    /// The last item has a block of this kind, and `{` has not come yet.
    wants: Option<Block>,
    /// The last item is not known: if a block follows, it is passed over.
    unknown: bool,
}

/// Builds the blocks.
pub(super) struct Tree<'a> {
    findings: &'a mut Findings,
    levels: Vec<Level>,
}

/// Blocks of a file.
pub(super) fn build(lines: &[Line], findings: &mut Findings) -> Vec<Item> {
    let root = Level { block: Block::Root, items: Vec::new(), wants: None, unknown: false };
    let mut tree = Tree { findings, levels: vec![root] };
    let mut last = At::default();
    for line in lines {
        for (piece, before) in pieces(&line.text) {
            let mut at = line.at.clone();
            if line.verbatim {
                at.column = at.column.saturating_add(before);
            }
            match piece {
                Piece::Open => tree.open(&at),
                Piece::Close => tree.close(&at),
                Piece::Words(text) => tree.item(text, at, line.verbatim),
            }
        }
        last = line.at.clone();
    }
    tree.finish(&last)
}

impl Tree<'_> {
    fn top(&mut self) -> &mut Level {
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn open(&mut self, at: &At) {
        let level = self.top();
        let block = match level.wants.take() {
            Some(block) => block,
            None if level.unknown => Block::Unknown,
            None => {
                self.findings.warn(at, "{", "opens a block where there can be none; it is passed over", "", "");
                return;
            }
        };
        level.unknown = false;
        self.enter(block);
    }

    fn enter(&mut self, block: Block) {
        self.levels.push(Level { block, items: Vec::new(), wants: None, unknown: false });
    }

    fn close(&mut self, at: &At) {
        if self.top().wants.is_some() {
            self.begin_without(at);
        }
        if self.levels.len() == 1 {
            self.findings.warn(at, "}", "closes a block that was never opened", "", "");
            return;
        }
        self.leave(at.line);
    }

    fn leave(&mut self, end: u32) {
        let Some(level) = self.levels.pop() else { return };
        if let Some(item) = self.top().items.last_mut() {
            item.items = Some(level.items);
            item.end = end;
        }
    }

    /// A block begins although `{` is missing.
    fn begin_without(&mut self, at: &At) {
        let level = self.top();
        let Some(block) = level.wants.take() else { return };
        let key = level.items.last().map_or(String::new(), |item| item.key().to_owned());
        self.findings.warn(at, &key, "is not followed by `{`", "", "`{` on its line or the next one");
        self.enter(block);
    }

    fn item(&mut self, raw: String, at: At, verbatim: bool) {
        if self.top().wants.is_some() {
            self.begin_without(&at);
        }
        if self.levels.len() > DEPTH_MAX {
            return;
        }
        let words = words::plain(&raw);
        if words.is_empty() {
            return;
        }
        let level = self.top();
        let found = keywords::find(level.block, &words[0].text);
        level.unknown = matches!(found, Found::Unknown);
        level.wants = match found {
            Found::Known(keyword) => keyword.opens,
            Found::Unknown | Found::Entry => None,
        };
        let end = at.line;
        level.items.push(Item { words, raw, at, verbatim, items: None, end });
    }

    fn finish(mut self, last: &At) -> Vec<Item> {
        if self.top().wants.is_some() {
            self.begin_without(last);
        }
        let missing = self.levels.len() - 1;
        if missing > 0 {
            let what = format!("is missing {missing} time{} at the end", if missing == 1 { "" } else { "s" });
            self.findings.warn(last, "}", &what, "", "one for each `{`");
        }
        while self.levels.len() > 1 {
            self.leave(last.line);
        }
        self.levels.pop().map(|level| level.items).unwrap_or_default()
    }
}
