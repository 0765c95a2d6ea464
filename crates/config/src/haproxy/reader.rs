//! Files into lines, lines into sections: conditional lines, variables, where a section begins.

use std::collections::BTreeMap;

use super::conditional::{self, Facts};
use super::context::{Context, Line, Prefix};
use super::finding::Says;
use super::global::{self, Extra};
use super::lexer::{self, Word};
use super::model::{Global, Peers, Resolvers};
use super::proxy::{Kind, Proxy};
use super::server::bad_character;
use super::{File, Loaded, Outside, keywords, sections, settle};

/// Everything that the files said, before it is put together.
pub(super) struct Draft {
    pub(super) global: Global,
    pub(super) extra: Extra,
    pub(super) proxies: Vec<Proxy>,
    pub(super) defaults: Vec<Proxy>,
    pub(super) resolvers: Vec<Resolvers>,
    pub(super) peers: Vec<Peers>,
}

/// The section under way.
enum Section {
    /// None yet.
    None,
    Global,
    Proxy(Box<Proxy>),
    Resolvers(Resolvers),
    Peers(Peers),
    /// Its words are known, and nothing comes of them.
    Inert(&'static str),
    /// Its lines are not looked at: the section is wrong or refused, and that was said.
    Skipped,
}

/// Deepest nesting of `.if`.
const NESTING_MAX: usize = 1024;
/// Longest file, in lines.
const LINES_MAX: usize = 1 << 20;

/// Reads files, one after the other, as one configuration.
#[must_use]
pub fn read(files: &[File], outside: &Outside<'_>) -> Loaded {
    let mut variables: BTreeMap<String, String> = outside.environment.iter().cloned().collect();
    variables.insert("HAPROXY_LOCALPEER".into(), outside.local_peer.to_owned());
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    variables.insert("HAPROXY_CFGFILES".into(), paths.join(";"));
    let context = Context { outside, variables, says: Says::default(), keywords: Vec::new() };
    let draft = Draft {
        global: Global {
            log_tag: "haproxy".into(),
            stats_timeout: std::time::Duration::from_secs(10),
            stats_maxconn: 10,
            bufsize: 16_384,
            ..Global::default()
        },
        extra: Extra::default(),
        proxies: Vec::new(),
        defaults: Vec::new(),
        resolvers: Vec::new(),
        peers: Vec::new(),
    };
    let mut reader = Reader { context, draft, section: Section::None, levels: Vec::new() };
    for (index, file) in files.iter().enumerate() {
        reader.file(index, file);
    }
    let lines = |file: &File| (file.path.clone(), file.text.lines().map(str::to_owned).collect());
    let texts: Vec<(String, Vec<String>)> = files.iter().map(lines).collect();
    let Reader { mut context, draft, .. } = reader;
    let (config, mut edits) = settle::settle(&mut context, draft, &paths);
    let failed = context.says.failed();
    if failed {
        edits.clear();
    }
    Loaded { config: Some(config).filter(|_| !failed), findings: context.says.finish(&texts), edits }
}

/// A level of `.if`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Its lines are taken.
    Taken,
    /// Not yet: a later branch may be.
    Waiting,
    /// A branch was taken, or the whole is left out.
    Over,
    /// In the last branch, taken or not.
    Else(bool),
}

struct Reader<'a> {
    context: Context<'a>,
    draft: Draft,
    section: Section,
    levels: Vec<Level>,
}

impl Reader<'_> {
    fn file(&mut self, index: usize, file: &File) {
        self.levels.clear();
        let mut number = 0;
        for text in file.text.split_inclusive('\n').take(LINES_MAX) {
            number += 1;
            let section = self.section_name();
            let words = {
                let context = &self.context;
                let variable = |name: &str| match name {
                    ".FILE" => Some(file.path.clone()),
                    ".LINE" => Some(number.to_string()),
                    ".SECTION" => Some(section.clone()),
                    _ => context.variable(name),
                };
                lexer::words(text.trim_end_matches('\n'), &variable)
            };
            let whole = |column| Line {
                file: index,
                number,
                words: vec![Word { text: "the line".into(), column }],
                prefix: Prefix::None,
            };
            if !text.ends_with('\n') {
                let line = whole(1);
                self.context.says.alert(line.at(0), "the line", "the last line has no end: the file may be cut");
            }
            match words {
                Ok(words) => self.words(index, number, words),
                Err((column, wrong)) => {
                    if self.taken() {
                        self.context.says.alert(whole(column).at(0), "the line", wrong);
                    }
                }
            }
        }
        if !self.levels.is_empty() {
            let at = super::model::At { file: index, line: number.max(1), column: 1 };
            self.context.says.alert(at, ".if", "has no `.endif`");
        }
        self.end();
    }

    fn section_name(&self) -> String {
        match &self.section {
            Section::None | Section::Skipped => String::new(),
            Section::Global => "global".into(),
            Section::Proxy(proxy) if proxy.name.is_empty() => proxy.kind.word().into(),
            Section::Proxy(proxy) => proxy.name.clone(),
            Section::Resolvers(section) => section.name.clone(),
            Section::Peers(section) => section.name.clone(),
            Section::Inert(kind) => (*kind).into(),
        }
    }

    fn taken(&self) -> bool {
        self.levels.iter().all(|level| matches!(level, Level::Taken | Level::Else(true)))
    }

    fn words(&mut self, file: usize, number: u32, mut words: Vec<Word>) {
        if words.first().is_some_and(|word| word.text.starts_with('.')) {
            let line = Line { file, number, words, prefix: Prefix::None };
            return self.macro_line(&line);
        }
        // An empty word is the end of a line, as haproxy has it.
        if let Some(end) = words.iter().position(|word| word.text.is_empty()) {
            words.truncate(end);
        }
        if words.is_empty() || !self.taken() {
            return;
        }
        let prefix = match words[0].text.as_str() {
            "no" => Prefix::No,
            "default" => Prefix::Default,
            _ => Prefix::None,
        };
        if prefix != Prefix::None {
            if words.len() == 1 {
                let line = Line { file, number, words, prefix };
                return self.context.alert(&line, 0, "needs what it is about");
            }
            words.remove(0);
        }
        let line = Line { file, number, words, prefix };
        if line.len() > lexer::WORDS_MAX {
            let text = format!("the line has more than {} words", lexer::WORDS_MAX);
            return self.context.alert(&line, lexer::WORDS_MAX, text);
        }
        self.line(&line);
    }

    /// `.if` and its like, `.notice` and its like.
    fn macro_line(&mut self, line: &Line) {
        match line.word(0) {
            ".if" => {
                if self.levels.len() >= NESTING_MAX {
                    return self.context.alert(line, 0, "is nested too deeply");
                }
                let level = if self.taken() { self.evaluate(line) } else { Level::Over };
                self.levels.push(level);
            }
            ".elif" => match self.levels.pop() {
                None => self.context.alert(line, 0, "has no `.if`"),
                Some(Level::Else(_)) => self.context.alert(line, 0, "comes after `.else`"),
                Some(Level::Waiting) => {
                    let level = if self.taken() { self.evaluate(line) } else { Level::Over };
                    self.levels.push(level);
                }
                Some(Level::Taken | Level::Over) => self.levels.push(Level::Over),
            },
            ".else" => {
                self.context.ends(line, 1);
                match self.levels.pop() {
                    None => self.context.alert(line, 0, "has no `.if`"),
                    Some(Level::Else(_)) => self.context.alert(line, 0, "comes after `.else`"),
                    Some(level) => self.levels.push(Level::Else(level == Level::Waiting)),
                }
            }
            ".endif" => {
                self.context.ends(line, 1);
                if self.levels.pop().is_none() {
                    self.context.alert(line, 0, "has no `.if`");
                }
            }
            ".notice" | ".diag" => {}
            ".warning" if self.taken() => self.context.says.warn(line.at(0), ".warning", line.rest(1)),
            ".alert" if self.taken() => self.context.says.alert(line.at(0), ".alert", line.rest(1)),
            ".warning" | ".alert" => {}
            other if self.taken() => {
                self.context.says.alert(line.at(0), other, "is not known, expected .if, .elif, .else or .endif");
            }
            _ => {}
        }
    }

    fn evaluate(&mut self, line: &Line) -> Level {
        let context = &self.context;
        let facts = Facts { variable: &|name| context.variable(name) };
        match conditional::evaluate(&line.rest(1), &facts) {
            Ok(true) => Level::Taken,
            Ok(false) => Level::Waiting,
            Err(wrong) => {
                self.context.says.alert(line.at(0), line.word(0), wrong);
                Level::Over
            }
        }
    }

    fn line(&mut self, line: &Line) {
        if line.prefix == Prefix::None && self.begin(line) {
            return;
        }
        let Reader { context, draft, section, .. } = self;
        match section {
            Section::None => {
                let text = format!("`{}` stands before any section", line.word(0));
                context.says.alert(line.at(0), line.word(0), text);
                *section = Section::Skipped;
            }
            Section::Global => global::directive(context, &mut draft.global, &mut draft.extra, line),
            Section::Proxy(proxy) => keywords::directive(context, proxy, line),
            Section::Resolvers(resolvers) => sections::resolvers_line(context, resolvers, line),
            Section::Peers(peers) => sections::peers_line(context, peers, line),
            Section::Inert(kind) => {
                let known =
                    sections::INERT.iter().any(|(name, words)| name == kind && super::names::has(words, line.word(0)));
                if !known {
                    let text = format!("`{}` is not known in a `{kind}` section", line.word(0));
                    context.says.alert(line.at(0), line.word(0), text);
                }
            }
            Section::Skipped => {}
        }
    }

    /// Ends the section under way.
    fn end(&mut self) {
        match std::mem::replace(&mut self.section, Section::None) {
            Section::Proxy(proxy) if proxy.kind == Kind::Defaults => self.draft.defaults.push(*proxy),
            Section::Proxy(proxy) => self.draft.proxies.push(*proxy),
            Section::Resolvers(section) => self.draft.resolvers.push(section),
            Section::Peers(section) => self.draft.peers.push(section),
            _ => {}
        }
    }

    /// Whether the line begins a section; if so, does that.
    fn begin(&mut self, line: &Line) -> bool {
        let kind = line.word(0);
        let inert = sections::INERT.iter().find(|(name, _)| *name == kind);
        let refused = sections::REFUSED.iter().find(|(name, _)| *name == kind);
        let proxy =
            [Kind::Defaults, Kind::Frontend, Kind::Listen, Kind::Backend].into_iter().find(|k| k.word() == kind);
        if inert.is_none() && refused.is_none() && proxy.is_none() && !matches!(kind, "global" | "resolvers" | "peers")
        {
            return false;
        }
        self.end();
        self.section = Section::Skipped;
        self.context.used(kind, line.at(0), line.word(1));
        if kind == "global" {
            self.context.ends(line, 1);
            self.section = Section::Global;
        } else if let Some(kind) = proxy {
            self.section =
                self.begin_proxy(line, kind).map_or(Section::Skipped, |proxy| Section::Proxy(Box::new(proxy)));
        } else if let Some((name, why)) = refused {
            self.context.says.refuse(line.at(0), name, keywords::not_served(why));
        } else if let Some(name) = self.name(line) {
            self.section = match (inert, kind) {
                (Some((inert, _)), _) => {
                    if *inert == "mailers" {
                        self.context.warn(line, 0, "nothing sends mails: the section is ignored");
                    }
                    Section::Inert(inert)
                }
                (None, "peers") => Section::Peers(Peers { name, members: Vec::new(), at: line.at(0) }),
                (None, _) => {
                    if self.draft.resolvers.iter().any(|other| other.name == name) {
                        self.context.alert(line, 1, format!("there is a section resolvers {name} already"));
                    }
                    Section::Resolvers(sections::resolvers(&name, line.at(0)))
                }
            };
        }
        true
    }

    /// The name of a section, which has to be there.
    fn name(&mut self, line: &Line) -> Option<String> {
        let name = self.context.needed(line, 1, "a name")?;
        if let Some(c) = bad_character(&name) {
            self.context.alert(line, 1, format!("`{c}` may not be in a name, `{name}`"));
            return None;
        }
        Some(name)
    }

    fn begin_proxy(&mut self, line: &Line, kind: Kind) -> Option<Proxy> {
        let mut at = 1;
        let mut name = String::new();
        if kind != Kind::Defaults || !matches!(line.word(1), "" | "from") {
            name = self.name(line)?;
            at = 2;
        }
        let from = match line.word(at) {
            "from" => Some(self.context.needed(line, at + 1, "the name of a defaults section")?),
            _ => None,
        };
        let twin = self.draft.proxies.iter().find(|other| {
            other.name == name
                && kind != Kind::Defaults
                && (other.kind.is_front() && kind.is_front() || other.kind.is_back() && kind.is_back())
        });
        if let Some(twin) = twin {
            let both = twin.kind == kind || kind == Kind::Listen && twin.kind == Kind::Listen;
            if both {
                let text = format!("has the name of the {} in line {}", twin.title(), twin.at.line);
                self.context.alert(line, 1, text);
                return None;
            }
            // haproxy takes the one that comes first for what refers to the name.
            let text =
                format!("has the name of the {} in line {}: expected distinct names", twin.title(), twin.at.line);
            self.context.refuse(line, 1, text);
            return None;
        }
        let defaults = match &from {
            Some(from) => {
                let found = self.draft.defaults.iter().rev().find(|defaults| defaults.name == *from);
                if found.is_none() {
                    self.context.alert(line, at + 1, format!("there is no section defaults {from} above"));
                    return None;
                }
                found
            }
            // A `defaults` section begins with nothing; other sections with the last one.
            None if kind == Kind::Defaults => None,
            None => self.draft.defaults.last(),
        };
        Some(match defaults {
            Some(defaults) => Proxy::from_defaults(defaults, kind, &name, line.at(0)),
            None => Proxy::new(kind, &name, line.at(0)),
        })
    }
}
