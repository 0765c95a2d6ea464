//! Lines into words: quotes, escapes, comments, variables of the environment.

/// A word and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Without quotes and escapes, with variables replaced.
    pub(super) text: String,
    /// In characters, from one.
    pub(super) column: u32,
}

/// Most words of a line; more are an error, as with haproxy.
pub(super) const WORDS_MAX: usize = 64;

/// Longest line after the variables are replaced: a bound for variables within variables' values, which nobody needs.
const LINE_MAX: usize = 1 << 20;

/// What is wrong with a line, and at which column.
pub(super) type Wrong = (u32, &'static str);

/// Cuts a line into words. `variable` knows the environment.
pub(super) fn words(line: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Word>, Wrong> {
    let chars: Vec<char> = line.chars().collect();
    let mut cut = Cut { chars: &chars, at: 0, out: Vec::new(), open: None, size: 0 };
    cut.run(variable)?;
    Ok(cut.out)
}

struct Cut<'a> {
    chars: &'a [char],
    at: usize,
    out: Vec<Word>,
    /// The word under way.
    open: Option<Word>,
    size: usize,
}

impl Cut<'_> {
    fn column(&self) -> u32 {
        u32::try_from(self.at + 1).unwrap_or(u32::MAX)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn begin(&mut self) {
        let column = self.column();
        self.open.get_or_insert(Word { text: String::new(), column });
    }

    fn put(&mut self, c: char) {
        self.begin();
        self.size += c.len_utf8();
        if let (Some(word), true) = (&mut self.open, self.size <= LINE_MAX) {
            word.text.push(c);
        }
    }

    fn end(&mut self) {
        self.out.extend(self.open.take());
    }

    fn run(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), Wrong> {
        while let Some(c) = self.peek(0) {
            match c {
                '#' | '\n' | '\r' => break,
                ' ' | '\t' => {
                    self.end();
                    self.at += 1;
                }
                '\'' => self.strong()?,
                '"' => self.weak(variable)?,
                '\\' => self.escape(false)?,
                _ => {
                    self.put(c);
                    self.at += 1;
                }
            }
        }
        self.end();
        if self.size > LINE_MAX { Err((1, "the line is too long")) } else { Ok(()) }
    }

    fn strong(&mut self) -> Result<(), Wrong> {
        let start = self.column();
        self.begin();
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err((start, "the quote is not closed")),
                Some('\'') => break,
                Some(c) => self.put(c),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(())
    }

    fn weak(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), Wrong> {
        let start = self.column();
        self.begin();
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err((start, "the quote is not closed")),
                Some('"') => break,
                Some('\\') => self.escape(true)?,
                Some('$') => self.variable(variable)?,
                Some(c) => {
                    self.put(c);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A backslash; before anything else than what it protects, it stands for itself.
    fn escape(&mut self, weak: bool) -> Result<(), Wrong> {
        let taken = match self.peek(1) {
            Some(c @ (' ' | '\\' | '#' | '"' | '\'')) => c,
            Some('$') if weak => '$',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('x') => {
                let digit = |c: Option<char>| c.and_then(|c| c.to_digit(16));
                let (Some(high), Some(low)) = (digit(self.peek(2)), digit(self.peek(3))) else {
                    return Err((self.column(), "`\\x` needs two hexadecimal digits"));
                };
                let byte = high * 16 + low;
                if byte == 0 || byte >= 0x80 {
                    return Err((self.column(), "only bytes from \\x01 to \\x7f can be written like this"));
                }
                self.put(char::from_u32(byte).unwrap_or('?'));
                self.at += 4;
                return Ok(());
            }
            _ => {
                self.put('\\');
                self.at += 1;
                return Ok(());
            }
        };
        self.put(taken);
        self.at += 2;
        Ok(())
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`.
    fn variable(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), Wrong> {
        let start = self.column();
        self.at += 1;
        let brace = self.peek(0) == Some('{');
        self.at += usize::from(brace);
        let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !self.peek(0).is_some_and(|c| named(c) && !c.is_ascii_digit() || c == '.') {
            return Err((start, "the name of a variable begins with a letter; a dollar sign itself is `\\$`"));
        }
        let mut name = String::new();
        while let Some(c) = self.peek(0).filter(|c| named(*c) || name.is_empty()) {
            name.push(c);
            self.at += 1;
        }
        let mut value = variable(&name);
        let mut list = false;
        if brace {
            let rest: String = self.chars[self.at..].iter().take_while(|c| **c != '}').collect();
            list = rest.starts_with("[*]");
            if let Some(default) = rest.trim_start_matches("[*]").strip_prefix('-') {
                value = value.or(Some(default.to_owned()));
            } else if !matches!(rest.as_str(), "" | "[*]") {
                return Err((start, "the brace of the variable is not closed"));
            }
            self.at += rest.chars().count();
            if self.peek(0) != Some('}') {
                return Err((start, "the brace of the variable is not closed"));
            }
            self.at += 1;
        }
        for c in value.unwrap_or_default().chars() {
            if list && (c == ' ' || c == '\t') {
                self.end();
            } else {
                self.put(c);
            }
        }
        Ok(())
    }
}
