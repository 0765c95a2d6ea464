//! As much of a shell as checks need: assignments, functions that only fail, `if`, `||`, `&&`, `exit`.

use std::collections::BTreeMap;

use super::{Native, simple};

/// Longest script that is looked at: what is longer is no idiom.
const SCRIPT_MAX: usize = 8 * 1024;

/// What a script finds out, if all of it is understood.
pub(super) fn script(text: &str) -> Option<Native> {
    if text.len() > SCRIPT_MAX {
        return None;
    }
    let tokens = lex(text)?;
    let mut reader = Reader { tokens, next: 0, names: BTreeMap::new(), failing: Vec::new() };
    let found = reader.list(&[])?;
    (reader.next == reader.tokens.len()).then_some(found)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word, and whether it was quoted (then it is no keyword).
    Word(String, bool),
    /// `;`, a new line, `&&`, `||`, `|`, `(`, `)`
    Sign(&'static str),
}

/// Words and signs; variables stay as `$NAME` and are put in later. Redirections go away where they change nothing.
fn lex(text: &str) -> Option<Vec<Token>> {
    let mut out: Vec<Token> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' => {}
            '\\' if chars.next_if_eq(&'\n').is_some() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '\n' | ';' => out.push(Token::Sign(";")),
            '&' if chars.next_if_eq(&'&').is_some() => out.push(Token::Sign("&&")),
            '|' if chars.next_if_eq(&'|').is_some() => out.push(Token::Sign("||")),
            '|' => out.push(Token::Sign("|")),
            '(' => out.push(Token::Sign("(")),
            ')' => out.push(Token::Sign(")")),
            '`' => return None,
            _ => {
                let (word, quoted) = word(c, &mut chars)?;
                out.push(Token::Word(word, quoted));
            }
        }
    }
    redirections(out)
}

/// One word from its first character on.
fn word(first: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(String, bool)> {
    let (mut word, mut quoted, mut quote) = (String::new(), false, None);
    let mut next = Some(first);
    while let Some(c) = next {
        match (c, quote) {
            ('\'', None) => quote = Some('\''),
            ('"', None) => quote = Some('"'),
            (_, Some(open)) if c == open => quote = None,
            ('\\', Some('"') | None) => word.push(chars.next()?),
            ('`', Some('"') | None) => return None,
            // What is in single quotation marks is no variable.
            ('$', Some('\'')) => return None,
            ('$', _) if chars.peek() == Some(&'(') => return None,
            _ => word.push(c),
        }
        quoted |= quote.is_some();
        let ends = |c: &char| {
            matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '|' | ')' | '(') || *c == '&' && !word.ends_with('>')
        };
        next = if quote.is_some() { Some(chars.next()?) } else { chars.next_if(|c| !ends(c)) };
    }
    Some((word, quoted))
}

/// `>/dev/null`, `2>&1`, `1>&2` change nothing; `</dev/tcp/host/port` is a word of its own; others are not known.
fn redirections(tokens: Vec<Token>) -> Option<Vec<Token>> {
    let mut out = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let Token::Word(word, false) = &token else {
            out.push(token);
            continue;
        };
        let bare = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let bare = if bare.starts_with("&>") { &bare[1..] } else { bare };
        if !bare.starts_with(['<', '>']) {
            out.push(token);
            continue;
        }
        let sign = bare.trim_end_matches(|c: char| !matches!(c, '<' | '>' | '&'));
        let mut target = bare.trim_start_matches(['<', '>', '&']).to_owned();
        if target.is_empty() {
            match tokens.next() {
                Some(Token::Word(word, _)) => target = word,
                _ => return None,
            }
        }
        if let ("<", Some(to)) = (&bare[..1], target.strip_prefix("/dev/tcp/")) {
            out.push(Token::Word(format!("</dev/tcp/{to}"), false));
        } else if !(target == "/dev/null" || bare.contains("&") && matches!(target.as_str(), "1" | "2")) || sign == "<<"
        {
            return None;
        }
    }
    Some(out)
}

struct Reader {
    tokens: Vec<Token>,
    next: usize,
    names: BTreeMap<String, String>,
    /// Functions that say something and fail.
    failing: Vec<String>,
}

/// What a command is.
enum Step {
    /// It asks something.
    Ask(Native),
    /// It says something, or sets a variable.
    Nothing,
    /// The script ends well, or not.
    End(bool),
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Sign(known)) if *known == sign);
        self.next += usize::from(here);
        here
    }

    fn keyword(&mut self, word: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Word(known, false)) if known == word);
        self.next += usize::from(here);
        here
    }

    /// Commands up to one of some keywords, or the end.
    fn list(&mut self, ends: &[&str]) -> Option<Native> {
        let mut all = Vec::new();
        // The status of a script is that of its last command: one whose failure nobody looks at counts only there.
        let mut loose = None;
        loop {
            while self.sign(";") {}
            match self.peek() {
                None => break,
                Some(Token::Word(word, false)) if ends.contains(&word.as_str()) => break,
                _ => {}
            }
            if loose.take().is_some() {
                return None;
            }
            if self.function()? {
                continue;
            }
            if self.keyword("if") {
                all.push(self.condition()?);
                continue;
            }
            match self.chain()? {
                (Step::Ask(ask), bound) => {
                    loose = (!bound).then_some(());
                    all.push(ask);
                }
                (Step::Nothing, _) => {}
                // What comes after it is never reached, and inside a condition it would skip what follows that.
                (Step::End(true), _) => {
                    while self.sign(";") {}
                    return (ends.is_empty() && self.peek().is_none()).then(|| joined(all));
                }
                (Step::End(false), _) => return None,
            }
        }
        Some(joined(all))
    }

    /// `name() { echo …; exit 1; }`: whether there was one.
    fn function(&mut self) -> Option<bool> {
        let begin = self.next;
        let named = self.keyword("function");
        let Some(Token::Word(name, false)) = self.peek().cloned() else { return Some(false) };
        self.next += 1;
        let brackets = self.sign("(") && self.sign(")");
        if !named && !brackets {
            self.next = begin;
            return Some(false);
        }
        while self.sign(";") {}
        if !self.keyword("{") {
            return None;
        }
        let mut ended = false;
        loop {
            while self.sign(";") {}
            if self.keyword("}") {
                break;
            }
            match self.command()? {
                Step::Nothing => {}
                Step::End(false) => ended = true,
                Step::Ask(_) | Step::End(true) => return None,
            }
        }
        self.failing.push(name);
        ended.then_some(true)
    }

    /// `a`, `a && b`, `a || fail`: what it asks, and whether its failure ends the script.
    fn chain(&mut self) -> Option<(Step, bool)> {
        let mut step = self.command()?;
        let mut bound = false;
        loop {
            if self.sign("&&") {
                let Step::Ask(first) = step else { return None };
                step = match self.command()? {
                    Step::Ask(second) => Step::Ask(joined(vec![first, second])),
                    Step::Nothing => Step::Ask(first),
                    // `a && exit 0` with more below it is a choice, not a condition.
                    Step::End(_) => return None,
                };
            } else if self.sign("||") {
                match self.command()? {
                    Step::End(false) => bound = true,
                    Step::Nothing | Step::Ask(_) | Step::End(true) => return None,
                }
            } else {
                return Some((step, bound));
            }
        }
    }

    /// After `if`.
    fn condition(&mut self) -> Option<Native> {
        let negated = self.keyword("!");
        let condition = self.test(negated)?;
        while self.sign(";") {}
        if !self.keyword("then") {
            return None;
        }
        match condition {
            Condition::Here(address) => {
                let then = self.list(&["fi"])?;
                self.keyword("fi").then_some(Native::WhileHere { address, then: Box::new(then) })
            }
            Condition::Asks(ask) => {
                let passes = self.branch()?;
                let otherwise = if self.keyword("else") { Some(self.branch()?) } else { None };
                if !self.keyword("fi") {
                    return None;
                }
                // A branch that ends the script well must be the last thing in it.
                let last = || self.tokens[self.next..].iter().all(|token| *token == Token::Sign(";"));
                match (negated, passes, otherwise) {
                    (true, Some(false), None | Some(None)) | (false, None, Some(Some(false))) => Some(ask),
                    (true, Some(false), Some(Some(true))) | (false, Some(true), Some(Some(false))) if last() => {
                        Some(ask)
                    }
                    _ => None,
                }
            }
        }
    }

    /// Commands that end the script, or only say something.
    fn branch(&mut self) -> Option<Option<bool>> {
        let mut end = None;
        loop {
            while self.sign(";") {}
            match self.peek()? {
                Token::Word(word, false) if matches!(word.as_str(), "fi" | "else") => return Some(end),
                _ => {}
            }
            match self.command()? {
                Step::Nothing => {}
                Step::End(well) => end = end.or(Some(well)),
                Step::Ask(_) => return None,
            }
        }
    }

    /// What stands between `if` and `then`.
    fn test(&mut self, negated: bool) -> Option<Condition> {
        let words = self.words()?;
        let plain: Vec<&str> = words.iter().map(String::as_str).collect();
        if self.sign("|") {
            let filter = self.words()?;
            let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
            let shows = matches!(plain[..], ["ip", "a" | "addr" | "address"])
                || matches!(plain[..], ["ip", "a" | "addr" | "address", "show" | "list" | "ls", ..])
                || matches!(plain[..], ["ip", _, "a" | "addr" | "address", ..]);
            let ["grep", flags @ .., address] = &filter[..] else { return None };
            let quiet = flags.iter().all(|flag| matches!(*flag, "-q" | "-w" | "-qw" | "-F" | "-qF"));
            let address = address.trim_end_matches('/').parse().ok()?;
            return (shows && quiet && !negated).then_some(Condition::Here(address));
        }
        simple(&plain).map(Condition::Asks)
    }

    /// The words of one command, with variables put in.
    fn words(&mut self) -> Option<Vec<String>> {
        let mut words = Vec::new();
        while let Some(Token::Word(word, _)) = self.peek().cloned() {
            self.next += 1;
            words.push(self.filled(&word)?);
        }
        (!words.is_empty()).then_some(words)
    }

    /// A word with its variables; `None` when one is not known.
    fn filled(&self, word: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = word;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let (name, after) = match rest.strip_prefix('{') {
                Some(inner) => inner.split_once('}')?,
                None => {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    rest.split_at(end)
                }
            };
            out.push_str(self.names.get(name)?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    fn command(&mut self) -> Option<Step> {
        let Some(Token::Word(first, quoted)) = self.peek().cloned() else { return None };
        if let (false, Some((name, value))) = (quoted, first.split_once('=')) {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
            let alone = !matches!(self.tokens.get(self.next + 1), Some(Token::Word(..)));
            if plain && alone {
                self.next += 1;
                let value = self.filled(value)?;
                self.names.insert(name.to_owned(), value);
                return Some(Step::Nothing);
            }
        }
        // What is said does not matter, so what stands in it does not either.
        if matches!(first.as_str(), "echo" | "printf" | "logger" | "set") || self.failing.contains(&first) {
            while matches!(self.peek(), Some(Token::Word(..))) {
                self.next += 1;
            }
            return Some(if self.failing.contains(&first) { Step::End(false) } else { Step::Nothing });
        }
        let words = self.words()?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if matches!(self.peek(), Some(Token::Sign("|" | "(" | ")"))) {
            return None;
        }
        match words[..] {
            ["exit", status] => Some(Step::End(status.parse::<u8>().ok()? == 0)),
            [redirected] | [":" | "true" | "exec" | "echo", redirected] if redirected.starts_with("</dev/tcp/") => {
                let (host, port) = redirected["</dev/tcp/".len()..].split_once('/')?;
                let port = port.parse().ok()?;
                Some(Step::Ask(Native::Tcp { host: host.to_owned(), port, timeout: None }))
            }
            _ => simple(&words).map(Step::Ask),
        }
    }
}

enum Condition {
    Here(std::net::IpAddr),
    Asks(Native),
}

/// Several in a row as one.
fn joined(all: Vec<Native>) -> Native {
    let mut out = Vec::new();
    for native in all {
        match native {
            Native::Always => {}
            Native::All(more) => out.extend(more),
            other => out.push(other),
        }
    }
    match out.len() {
        0 => Native::Always,
        1 => out.remove(0),
        _ => Native::All(out),
    }
}
