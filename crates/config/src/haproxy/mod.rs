//! Front end for haproxy's configuration files.
//!
//! Text comes in as arguments, a model of plain values and findings go out. Nothing is opened here: what a file refers
//! to is asked for through [`Outside`]. What Baton does not do is refused by name and line, never passed over.

mod acl;
mod address;
mod basics;
mod bind;
mod checks;
mod conditional;
mod context;
mod expect;
mod finding;
mod fix;
mod format;
mod global;
mod keywords;
mod lexer;
mod lint;
mod log;
pub mod model;
mod names;
mod options;
mod proxy;
mod reader;
mod reference;
mod rules;
mod sample;
mod sections;
mod server;
mod server_words;
mod services;
mod settle;
mod settle_server;
mod stats;
mod stick;
mod timeouts;
mod units;

pub use finding::{Class, Finding};
pub use fix::{Change, Edit, fix};
pub use lint::{LINTS, Lint};
pub use model::Config;
pub use reader::read;
pub use reference::reference;

/// A file of a configuration. Directories are files in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path, as it was given.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// What a configuration sees of its surroundings.
pub struct Outside<'a> {
    /// The environment.
    pub environment: &'a [(String, String)],
    /// Reads a file that the configuration names: values of ACLs, answers to errors. An error is a reason for people.
    pub load: &'a dyn Fn(&str) -> Result<String, String>,
    /// This host's name, or what `-L` says: its name among peers.
    pub local_peer: &'a str,
}

/// What came of reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The model; `None` when something is wrong or refused.
    pub config: Option<Config>,
    /// Everything there is to say, in the order of the files.
    pub findings: Vec<Finding>,
    /// What [`fix`] would change; empty when something is wrong.
    pub edits: Vec<Edit>,
}

impl Loaded {
    /// Whether haproxy would say that the file is valid.
    #[must_use]
    pub fn valid(&self) -> bool {
        !self.findings.iter().any(|finding| finding.class == Class::Alert)
    }
}

/// Refuses what a model uses and its server does not do: `unserved` are names as in [`model::Keyword`], and why.
#[must_use]
pub fn refuse(config: &Config, unserved: &[(&str, &str)]) -> Vec<Finding> {
    let files: Vec<(String, Vec<String>)> = config.files.iter().map(|path| (path.clone(), Vec::new())).collect();
    let mut out = Vec::new();
    for keyword in &config.keywords {
        if let Some((name, why)) = unserved.iter().find(|(name, _)| *name == keyword.name) {
            let text = keywords::not_served(why);
            out.push(finding::finding(Class::Refused, keyword.at, name, &text, &files));
        }
    }
    out
}

/// Refuses one thing of a model: `words` are how it is written, `why` is what stands in for it or is missing.
#[must_use]
pub fn refusal(config: &Config, at: model::At, words: &str, why: &str) -> Finding {
    let files: Vec<(String, Vec<String>)> = config.files.iter().map(|path| (path.clone(), Vec::new())).collect();
    finding::finding(Class::Refused, at, words, &keywords::not_served(why), &files)
}
