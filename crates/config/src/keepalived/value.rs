//! Values of keywords: numbers, times, switches, addresses, programs. What is wrong is said, and then it is not there.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::finding::{Findings, Kind};
use super::model::{At, Command, User, Weight};
use super::tree::Item;
use super::words;

impl Item {
    /// Where a word stands, or would.
    fn place(&self, index: usize) -> At {
        self.at_word(index.min(self.words.len().saturating_sub(1)))
    }

    /// A word that must be there: keepalived ends without it.
    pub(super) fn need<'i>(&'i self, index: usize, findings: &mut Findings) -> Option<&'i str> {
        let word = self.word(index);
        if word.is_none() {
            findings.put(Kind::Broken, &self.place(index), self.key(), "has no value", "", "one");
        }
        word
    }

    /// A warning about a word.
    pub(super) fn bad(&self, index: usize, findings: &mut Findings, what: &str, expected: &str) {
        let value = self.word(index).unwrap_or_default();
        findings.warn(&self.place(index), self.key(), what, value, expected);
    }

    /// A whole number in a range.
    pub(super) fn whole(&self, index: usize, range: RangeInclusive<u32>, findings: &mut Findings) -> Option<u32> {
        let word = self.need(index, findings)?;
        let number = word.strip_prefix('+').unwrap_or(word).parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.bad(index, findings, "is not valid and is ignored", &expected);
        }
        number
    }

    /// Seconds, with a fraction.
    pub(super) fn seconds(
        &self,
        index: usize,
        range: RangeInclusive<Duration>,
        findings: &mut Findings,
    ) -> Option<Duration> {
        let word = self.need(index, findings)?;
        let time = seconds(word).filter(|time| range.contains(time));
        if time.is_none() {
            let (low, high) = (range.start().as_secs_f64(), range.end().as_secs_f64());
            self.bad(index, findings, "is not valid and is ignored", &format!("seconds from {low} to {high}"));
        }
        time
    }

    /// On, off, or on because it is written.
    pub(super) fn switch(&self, findings: &mut Findings) -> Option<bool> {
        match self.word(1) {
            None | Some("on" | "true" | "yes") => Some(true),
            Some("off" | "false" | "no") => Some(false),
            Some(_) => {
                self.bad(1, findings, "is not valid and is ignored", "on, off, true, false, yes or no");
                None
            }
        }
    }

    /// An address.
    pub(super) fn address(&self, index: usize, findings: &mut Findings) -> Option<IpAddr> {
        let word = self.need(index, findings)?;
        let address = word.parse().ok();
        if address.is_none() {
            self.bad(index, findings, "is no IP address and is ignored", "");
        }
        address
    }

    /// `weight W [reverse]` from a word on.
    pub(super) fn weight(&self, index: usize, most: i32, findings: &mut Findings) -> Option<Weight> {
        let word = self.need(index, findings)?;
        let value = word.strip_prefix('+').unwrap_or(word).parse().ok().filter(|w: &i32| w.abs() <= most);
        let Some(value) = value else {
            self.bad(index, findings, "is not valid and is ignored", &format!("a weight from -{most} to {most}"));
            return None;
        };
        let reverse = match self.word(index + 1) {
            None | Some("noreverse" | "no_reverse") => false,
            Some("reverse") => true,
            Some(_) => {
                self.bad(index + 1, findings, "is not known beside a weight", "reverse");
                false
            }
        };
        Some(Weight { value, reverse })
    }

    /// `user [group]` from a word on.
    pub(super) fn user(&self, index: usize) -> Option<User> {
        let name = self.word(index)?.to_owned();
        Some(User { name, group: self.word(index + 1).map(str::to_owned) })
    }

    /// `keyword "program arguments" [user [group]]`.
    pub(super) fn command(&self, findings: &mut Findings) -> Option<Command> {
        let Ok(words) = words::quoted(&self.raw) else {
            self.bad(1, findings, "has a quotation mark without its partner and is ignored", "");
            return None;
        };
        let Some(text) = words.get(1) else {
            self.need(1, findings);
            return None;
        };
        // What is in quotation marks is cut again: that is how arguments are given.
        let args = words::quoted(text).unwrap_or_default();
        if args.is_empty() {
            self.bad(1, findings, "names no program and is ignored", "a path");
            return None;
        }
        let user = words.get(2).map(|name| User { name: name.clone(), group: words.get(3).cloned() });
        Some(Command { text: text.clone(), args, user, at: self.at_word(1) })
    }
}

/// Seconds with up to six digits after the point.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let micros: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    Duration::from_secs(whole).checked_add(Duration::from_micros(micros.parse().ok()?))
}

/// `address[/prefix]`; the prefix is that of one host when it is missing.
pub(super) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => most,
        Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= most)?,
    };
    Some((address, prefix))
}

/// 255.255.255.0 as 24.
pub(super) fn mask(text: &str) -> Option<u8> {
    let bits = u32::from(text.parse::<std::net::Ipv4Addr>().ok()?);
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then_some(u8::try_from(ones).ok()?)
}

/// As a link may be called.
pub(super) fn is_link_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 16
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}
