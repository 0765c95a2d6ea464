//! What reading a file needs at every step: the line under way, what is said about it, the environment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Outside;
use super::finding::Says;
use super::lexer::Word;
use super::model::{At, Keyword};
use super::units;

/// A line of the file, without what conditions leave out.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) file: usize,
    pub(super) number: u32,
    /// Never empty. Without a leading `no` or `default`.
    pub(super) words: Vec<Word>,
    /// What stood before the first word.
    pub(super) prefix: Prefix,
}

/// `no` and `default` before a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    None,
    No,
    Default,
}

impl Line {
    /// A word; empty when there is none.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word.text.as_str())
    }

    /// Place of a word; of the last one when there is none.
    pub(super) fn at(&self, index: usize) -> At {
        let word = self.words.get(index).or(self.words.last());
        At { file: self.file, line: self.number, column: word.map_or(1, |word| word.column) }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// Words from here on, with spaces between.
    pub(super) fn rest(&self, index: usize) -> String {
        let words: Vec<&str> = self.words.iter().skip(index).map(|word| word.text.as_str()).collect();
        words.join(" ")
    }

    /// The first two words.
    pub(super) fn key(&self) -> String {
        match self.word(1) {
            "" => self.word(0).to_owned(),
            second => format!("{} {second}", self.word(0)),
        }
    }
}

/// Everything around a line.
pub(super) struct Context<'a> {
    pub(super) outside: &'a Outside<'a>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) says: Says,
    pub(super) keywords: Vec<Keyword>,
}

impl Context<'_> {
    /// haproxy refuses the word at `index`, too.
    pub(super) fn alert(&mut self, line: &Line, index: usize, text: impl Into<String>) {
        self.says.alert(line.at(index), &line.key(), text);
    }

    pub(super) fn refuse(&mut self, line: &Line, index: usize, text: impl Into<String>) {
        self.says.refuse(line.at(index), &line.key(), text);
    }

    pub(super) fn warn(&mut self, line: &Line, index: usize, text: impl Into<String>) {
        self.says.warn(line.at(index), &line.key(), text);
    }

    /// Notes that a word is used.
    pub(super) fn used(&mut self, name: &str, at: At, proxy: &str) {
        self.keywords.push(Keyword { name: name.to_owned(), at, proxy: proxy.to_owned() });
    }

    /// The time at `index`.
    pub(super) fn time(&mut self, line: &Line, index: usize) -> Option<Duration> {
        self.time_in(line, index, 1)
    }

    /// The time at `index`, whose unit is so many milliseconds where it says none.
    pub(super) fn time_in(&mut self, line: &Line, index: usize, unit_ms: u64) -> Option<Duration> {
        match units::time(line.word(index), unit_ms) {
            Ok((time, odd)) => {
                if let Some(odd) = odd {
                    self.warn(line, index, odd);
                }
                Some(time)
            }
            Err(wrong) => {
                self.alert(line, index, wrong);
                None
            }
        }
    }

    /// The whole number at `index`.
    pub(super) fn whole<T: TryFrom<i64>>(&mut self, line: &Line, index: usize, least: i64, most: i64) -> Option<T> {
        units::whole(line.word(index), least, most).map_err(|wrong| self.alert(line, index, wrong)).ok()
    }

    /// The word at `index`, which has to be there.
    pub(super) fn needed(&mut self, line: &Line, index: usize, what: &str) -> Option<String> {
        match line.word(index) {
            "" => {
                self.alert(line, index, format!("needs {what}"));
                None
            }
            word => Some(word.to_owned()),
        }
    }

    /// Complains about words after the last one that is read.
    pub(super) fn ends(&mut self, line: &Line, count: usize) -> bool {
        if line.len() > count {
            self.alert(line, count, format!("`{}` is one word too many", line.word(count)));
        }
        line.len() <= count
    }

    /// A variable of the environment, as the files see it.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}
