//! The way through a file: lines, blocks, what each block says, and then what they mean together.

use std::collections::BTreeMap;

use super::finding::{Class, Finding, Findings, Kind};
use super::fix::Edit;
use super::instance::{self, Draft};
use super::keywords::{Block, Found, Tier, find};
use super::model::{Address, At, Command, Config};
use super::source::{Included, Lines, Outside};
use super::tree::{self, Item};
use super::{check, complete, general, group, lvs, track};

/// A configuration as it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Path, for messages and for what is included.
    pub path: &'a str,
    /// What is in it.
    pub text: &'a str,
    /// `-i`, or the host's name up to the first dot.
    pub config_id: &'a str,
    /// What keepalived silently weakens is refused.
    pub strict: bool,
    /// For `${_RANDOM}`.
    pub seed: u64,
}

/// What is known of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptFact {
    /// There is no such file, or it cannot be reached.
    Missing,
    /// It cannot be executed.
    NotExecutable,
    /// A program.
    Program {
        /// Others than root could change it, and it would run as root.
        insecure: bool,
        /// What is in it, when it is text.
        text: Option<String>,
    },
}

/// What is asked of the host.
pub struct Host<'a> {
    /// Names of the interfaces; `None`: not looked at.
    pub interfaces: Option<&'a [String]>,
    /// Files that match a pattern, relative to a directory.
    pub include: &'a mut dyn FnMut(&str, &str) -> Included,
    /// What the first word of a command names.
    pub script: &'a mut dyn FnMut(&Command) -> ScriptFact,
    /// Whether there is a user of that name or number.
    pub user: &'a dyn Fn(&str) -> bool,
    /// Variables for `${_ENV NAME}`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What the file asks for.
    pub config: Config,
    /// What is to be said about it, in the order of the file.
    pub findings: Vec<Finding>,
    /// How `keepalived -t` would end.
    pub class: Class,
    /// Nothing may be started.
    pub refused: bool,
    /// What [`super::fix`] changes.
    pub edits: Vec<Edit>,
}

/// Everything while it is read.
pub(super) struct Reader<'a, 'h> {
    pub(super) findings: Findings,
    pub(super) host: &'a mut Host<'h>,
    pub(super) config: Config,
    /// Defaults for instances; known when everything was read.
    pub(super) defaults: general::Defaults,
    pub(super) drafts: Vec<Draft>,
    /// Where the keywords of scripts stand, for edits: script, keyword, place.
    pub(super) marks: Vec<(String, String, At)>,
    pub(super) edits: Vec<Edit>,
    /// Instances whose priority is 255 because nothing else was said.
    pub(super) owners_by_default: Vec<String>,
}

/// Reads a file and those that it includes.
#[must_use]
pub fn read(source: &Source<'_>, host: &mut Host<'_>) -> Reading {
    let mut findings = Findings::new(source.strict);
    let outside = Outside {
        config_id: source.config_id,
        seed: source.seed,
        include: &mut *host.include,
        environment: host.environment,
    };
    let (lines, texts) = Lines::new(outside, &mut findings).file(source.path, source.text);
    let items = tree::build(&lines, &mut findings);
    drop(lines);
    let mut reader = Reader {
        findings,
        host,
        config: Config::default(),
        defaults: general::Defaults::default(),
        drafts: Vec::new(),
        marks: Vec::new(),
        edits: Vec::new(),
        owners_by_default: Vec::new(),
    };
    // Definitions for all come first wherever they stand, as instances take their defaults from them.
    for item in items.iter().filter(|item| item.key() == "global_defs") {
        reader.each(Block::Global, item.inside(), general::keyword);
    }
    reader.root(&items);
    complete::all(&mut reader, &items);
    super::lint::all(&mut reader);
    let Reader { findings, config, edits, .. } = reader;
    let class = findings.class();
    let refused = findings.refused();
    let cut = texts.iter().map(|(path, text)| (path.as_str(), text.lines().collect())).collect::<BTreeMap<_, Vec<_>>>();
    let findings = findings.finish(|file, line| {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        cut.get(file)?.get(index).map(|line| (*line).to_owned())
    });
    Reading { config, findings, class, refused, edits }
}

impl Reader<'_, '_> {
    /// Every keyword of a block: those that are not known or without effect are said, the others are handed on.
    pub(super) fn each(&mut self, block: Block, items: &[Item], mut take: impl FnMut(&mut Self, &Item)) {
        for item in items {
            match find(block, item.key()) {
                Found::Known(keyword) if keyword.tier == Tier::C => {
                    let what = format!("has no effect here: {}", keyword.about);
                    self.findings.put(Kind::Ignored, &item.at, item.key(), &what, "", "");
                }
                Found::Known(_) => take(self, item),
                Found::Entry => {}
                Found::Unknown => {
                    let expected =
                        nearest(block, item.key()).map_or_else(String::new, |name| format!("perhaps {name}"));
                    let what = format!("is no keyword {}; it is passed over", place(block));
                    self.findings.warn(&item.at, item.key(), &what, "", &expected);
                }
            }
        }
    }

    /// Lines of a list.
    pub(super) fn entries(&mut self, item: &Item, mut take: impl FnMut(&mut Self, &Item)) {
        for entry in item.inside() {
            take(self, entry);
        }
    }

    fn root(&mut self, items: &[Item]) {
        self.each(Block::Root, items, |reader, item| match item.key() {
            "vrrp_instance" => instance::read(reader, item),
            "vrrp_sync_group" => group::read(reader, item),
            "vrrp_script" => track::script(reader, item),
            "vrrp_track_process" | "track_process" => track::process(reader, item),
            "track_file" | "vrrp_track_file" => track::file(reader, item),
            "garp_group" => group::garp(reader, item),
            "track_group" => group::track(reader, item),
            "virtual_server" => lvs::virtual_server(reader, item),
            "virtual_server_group" => lvs::server_group(reader, item),
            "SSL" => check::certificate(reader, item),
            "static_ipaddress" => reader.entries(item, |reader, entry| {
                let address = super::address::address(entry, true, &mut reader.findings);
                reader.config.static_addresses.extend(address);
            }),
            "static_routes" => reader.entries(item, |reader, entry| {
                let route = super::address::route(entry, true, &mut reader.findings);
                reader.config.static_routes.extend(route);
            }),
            "static_rules" => reader.entries(item, |reader, entry| {
                let rule = super::address::rule(entry, true, &mut reader.findings);
                reader.config.static_rules.extend(rule);
            }),
            "interface_up_down_delays" => reader.entries(item, group::delay),
            _ => general::keyword(reader, item),
        });
    }

    /// An address of a list, with what keepalived says about its interface.
    pub(super) fn virtual_address(&mut self, entry: &Item) -> Option<Address> {
        let address = super::address::address(entry, false, &mut self.findings)?;
        if let Some(name) = address.interface.clone()
            && !self.has_interface(&name)
        {
            entry.bad(0, &mut self.findings, &format!("is for {name}, which is not there; it is passed over"), "");
            return None;
        }
        Some(address)
    }

    /// Whether an interface is there, as far as is known.
    pub(super) fn has_interface(&self, name: &str) -> bool {
        let dynamic = self.config.global.dynamic_interfaces;
        self.host.interfaces.is_none_or(|all| dynamic || all.iter().any(|known| known == name))
    }
}

fn place(block: Block) -> String {
    if block == Block::Root { String::from("outside of blocks") } else { format!("of {}", block.name()) }
}

/// A keyword of the block that is spelled almost like it.
fn nearest(block: Block, word: &str) -> Option<&'static str> {
    let rows = super::keywords::KEYWORDS.iter().find(|(known, _)| *known == block).map(|(_, rows)| *rows)?;
    let near = rows.iter().map(|row| (distance(row.name, word), row.name)).min()?;
    (near.0 <= 2 && word.len() > 4 && word.len() < 40).then_some(near.1)
}

/// Letters to change, add or leave out.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 || b.len() > 40 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let here = row[j + 1];
            row[j + 1] = (before + usize::from(x != *y)).min(row[j] + 1).min(here + 1);
            before = here;
        }
    }
    row[b.len()]
}
