//! Words of a line, in the two ways in which keepalived reads them.

/// A word and how many characters of the line come before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) before: u32,
}

/// Separated by white space; `"…"` is one word, and everything in it stands for itself. Without the second quotation
/// mark there is no word.
pub(super) fn plain(line: &str) -> Vec<Word> {
    let mut out = Vec::new();
    let mut chars = line.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut text = String::new();
        if c == '"' {
            let mut closed = false;
            for (_, c) in chars.by_ref() {
                closed = c == '"';
                if closed {
                    break;
                }
                text.push(c);
            }
            if !closed {
                break;
            }
        } else {
            text.push(c);
            while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && *c != '"') {
                text.push(c);
            }
        }
        out.push(Word { text, before: u32::try_from(at).unwrap_or(u32::MAX) });
    }
    out
}

/// A quotation mark without its partner.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unterminated;

/// Like a shell: `"…"` and `'…'` anywhere in a word, and backslash escapes in and outside of them.
pub(super) fn quoted(line: &str) -> Result<Vec<String>, Unterminated> {
    let mut out = Vec::new();
    let mut chars = line.chars().peekable();
    while chars.next_if(|c| c.is_whitespace()).is_some() || chars.peek().is_some() {
        if chars.peek().is_none_or(|c| c.is_whitespace()) {
            continue;
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next_if(|c| quote.is_some() || !c.is_whitespace()) {
            match (c, quote) {
                ('\\', _) => word.push(escape(&mut chars).ok_or(Unterminated)?),
                (_, Some(open)) if c == open => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                _ => word.push(c),
            }
        }
        if quote.is_some() {
            return Err(Unterminated);
        }
        out.push(word);
    }
    Ok(out)
}

/// What follows a backslash.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let c = chars.next()?;
    Some(match c {
        'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => {
            let mut value = 0;
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(16)) {
                chars.next();
                // As in one byte: what is shifted out is lost.
                value = (value << 4 | digit) & 0xff;
            }
            char::from_u32(value)?
        }
        'c' if chars.peek().is_some() => char::from_u32(u32::from(chars.next()?) & 0x1f)?,
        '0'..='7' => {
            let mut value = c.to_digit(8)?;
            for _ in 0..2 {
                let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                chars.next();
                value = (value << 3 | digit) & 0xff;
            }
            char::from_u32(value)?
        }
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        other => other,
    })
}
