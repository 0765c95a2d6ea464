//! What happened, as a hash (two runs of a seed must agree) and, when asked for, as lines for people.

use std::collections::VecDeque;
use std::fmt;

use baton_core::keeper::{Effect, Event};
use baton_core::settings::Key;

use crate::clock::Moment;
use crate::message;

/// Lines that are kept, the last ones.
const LINES_MAX: usize = 20_000;

/// The record of one run.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
    /// To read messages with.
    keys: Vec<Key>,
}

impl Trace {
    /// An empty record; `lines` keeps text, too.
    #[must_use]
    pub fn new(lines: bool, keys: Vec<Key>) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines: lines.then(VecDeque::new), keys }
    }

    /// FNV-1a of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }

    fn absorb(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn head(&mut self, at: Moment, node: usize) {
        self.absorb(&at.0.to_le_bytes());
        self.absorb(&[u8::try_from(node).unwrap_or(u8::MAX)]);
    }

    fn line(&mut self, at: Moment, node: usize, text: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{at:?} n{node} {text}"));
        }
    }

    /// A fault, or something else that the world does.
    pub fn world(&mut self, at: Moment, node: usize, text: &str) {
        self.head(at, node);
        self.absorb(text.as_bytes());
        self.line(at, node, format_args!("** {text}"));
    }

    /// A cause.
    pub fn event(&mut self, at: Moment, node: usize, event: &Event) {
        self.head(at, node);
        match event {
            Event::Tick => self.absorb(b"tick"),
            Event::Datagram { from, bytes } => {
                self.absorb(bytes);
                if self.lines.is_some() {
                    self.line(at, node, format_args!("<- {from} {}", message::text(bytes, &self.keys)));
                }
            }
            other => {
                let text = format!("{other:?}");
                self.absorb(text.as_bytes());
                self.line(at, node, format_args!("<- {text}"));
            }
        }
    }

    /// A consequence.
    pub fn effect(&mut self, at: Moment, node: usize, effect: &Effect) {
        self.head(at, node);
        match effect {
            Effect::Send { to, bytes } => {
                self.absorb(bytes);
                if self.lines.is_some() {
                    self.line(at, node, format_args!("-> {to} {}", message::text(bytes, &self.keys)));
                }
            }
            other => {
                let text = format!("{other:?}");
                self.absorb(text.as_bytes());
                self.line(at, node, format_args!("-> {text}"));
            }
        }
    }
}
