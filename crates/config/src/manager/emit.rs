//! Values → YAML as Kubernetes' own programs print it: keys sorted, two blanks, list items not indented under their
//! key, quotes only where they are needed.

/// A value to be printed.
#[derive(Clone, Debug)]
pub(crate) enum Yaml {
    Text(String),
    Bool(bool),
    Int(i64),
    List(Vec<Yaml>),
    /// Printed sorted by key.
    Map(Vec<(String, Yaml)>),
}

/// A mapping.
pub(crate) fn map<const N: usize>(entries: [(&str, Yaml); N]) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A text.
pub(crate) fn text(text: impl Into<String>) -> Yaml {
    Yaml::Text(text.into())
}

/// A list of texts.
pub(crate) fn texts(items: &[&str]) -> Yaml {
    Yaml::List(items.iter().map(|item| text(*item)).collect())
}

impl Yaml {
    /// Adds an entry to a mapping.
    pub(crate) fn with(mut self, key: &str, value: Yaml) -> Yaml {
        if let Yaml::Map(entries) = &mut self {
            entries.push((key.to_owned(), value));
        }
        self
    }

    /// A document, with a line end.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        match self {
            Yaml::Map(entries) if !entries.is_empty() => print_map(entries, 0, false, &mut out),
            Yaml::List(items) if !items.is_empty() => print_list(items, 0, &mut out),
            value => {
                out.push_str(&scalar(value));
                out.push('\n');
            }
        }
        out
    }
}

/// `begun`: the first key stands behind the dash of a list item.
fn print_map(entries: &[(String, Yaml)], indent: usize, begun: bool, out: &mut String) {
    let mut sorted: Vec<&(String, Yaml)> = entries.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (i, (key, value)) in sorted.into_iter().enumerate() {
        if i > 0 || !begun {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(&quoted(key));
        out.push(':');
        match value {
            Yaml::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                print_map(inner, indent + 2, false, out);
            }
            Yaml::List(items) if !items.is_empty() => {
                out.push('\n');
                print_list(items, indent, out);
            }
            value => {
                out.push(' ');
                out.push_str(&scalar(value));
                out.push('\n');
            }
        }
    }
}

fn print_list(items: &[Yaml], indent: usize, out: &mut String) {
    for item in items {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str("- ");
        match item {
            Yaml::Map(inner) if !inner.is_empty() => print_map(inner, indent + 2, true, out),
            Yaml::List(inner) if !inner.is_empty() => print_list(inner, indent + 2, out),
            value => {
                out.push_str(&scalar(value));
                out.push('\n');
            }
        }
    }
}

fn scalar(value: &Yaml) -> String {
    match value {
        Yaml::Text(text) => quoted(text),
        Yaml::Bool(bool) => bool.to_string(),
        Yaml::Int(int) => int.to_string(),
        Yaml::List(_) => "[]".to_owned(),
        Yaml::Map(_) => "{}".to_owned(),
    }
}

/// A text as a scalar: plain where it stays text, in double quotes where a reader would take it for something else, in
/// single quotes where its characters mean something to YAML.
fn quoted(text: &str) -> String {
    if text.chars().any(|c| c.is_control() || c == '\u{feff}') {
        return double(text);
    }
    if means_something(text) {
        return double(text);
    }
    if plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether YAML 1.1, as Go's library reads it, takes a plain text for something else.
fn means_something(text: &str) -> bool {
    const WORDS: [&str; 15] =
        ["", "~", "null", "y", "n", "yes", "no", "true", "false", "on", "off", ".nan", ".inf", "+.inf", "-.inf"];
    if WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) || text == "<<" {
        return true;
    }
    let digits = text.replace('_', "");
    is_int(&digits) || is_float(&digits) || is_sexagesimal(text) || is_date(text)
}

/// Decimal, or with a prefix for its base; a leading zero means octal to Go.
fn is_int(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text).to_ascii_lowercase();
    let (digits, base) = match bare.as_bytes() {
        [b'0', b'x', ..] => (&bare[2..], 16),
        [b'0', b'o', ..] => (&bare[2..], 8),
        [b'0', b'b', ..] => (&bare[2..], 2),
        [b'0', _, ..] => (&bare[1..], 8),
        _ => (bare.as_str(), 10),
    };
    !digits.is_empty() && digits.chars().all(|c| c.is_digit(base))
}

/// `1.5`, `.5`, `1e9`.
fn is_float(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match bare.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (bare, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent && digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty())
}

/// `1:30`, which YAML 1.1 read in base sixty.
fn is_sexagesimal(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((first, rest)) = bare.split_once(':') else { return false };
    let rest = rest.split_once('.').map_or(rest, |(rest, _)| rest);
    let sixty = |item: &str| (1..=2).contains(&item.len()) && item.parse::<u8>().is_ok_and(|n| n < 60);
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && rest.split(':').all(sixty)
}

/// `2026-01-02…`.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 5 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-' && bytes[5].is_ascii_digit()
}

/// Whether a text can stand without quotes in a block.
fn plain(text: &str) -> bool {
    const FIRST: &str = "#,[]{}&*!|>'\"%@`";
    let bytes = text.as_bytes();
    let ends = |i: usize| bytes.get(i).is_none_or(|b| *b == b' ');
    let first = text.chars().next().is_some_and(|c| FIRST.contains(c) || (matches!(c, '-' | '?' | ':') && ends(1)));
    let inside = (0..bytes.len()).any(|i| match bytes[i] {
        b':' => ends(i + 1),
        b'#' => i > 0 && bytes[i - 1] == b' ',
        _ => false,
    });
    !first && !inside && !text.starts_with("---") && !text.starts_with("...") && text.trim() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_where_go_puts_them() {
        let check = |value: &str, printed: &str| assert_eq!(quoted(value), printed);
        for plain in [
            "eth0",
            "192.168.0.1",
            ":2112",
            "32,128",
            "/24",
            "fd00::1",
            "plndr-cp-lock",
            "0.1.0",
            "a#b",
            "v1.2.3",
            "x y",
            "ghcr.io/kube-vip/kube-vip:v1.2.3",
            "kube-vip.io/kube-vip-class",
            "-x",
        ] {
            check(plain, plain);
        }
        for text in [
            "true",
            "Yes",
            "n",
            "32",
            "6443",
            "09",
            "-4",
            "0x1F",
            "1e5",
            "1.5",
            ".5",
            "010",
            "",
            "~",
            "1:30",
            "2026-01-02",
        ] {
            check(text, &format!("\"{text}\""));
        }
        check("fd00::", "'fd00::'");
        check("*", "'*'");
        check("a: b", "'a: b'");
        check("it's #1", "'it''s #1'");
        check("a\nb", "\"a\\nb\"");
    }

    #[test]
    fn nesting() {
        let value = map([
            ("b", Yaml::List(vec![map([("y", Yaml::Int(1)), ("x", texts(&["1", "z"]))]), text("")])),
            ("a", map([])),
            ("c", Yaml::List(Vec::new())),
        ]);
        assert_eq!(value.print(), "a: {}\nb:\n- x:\n  - \"1\"\n  - z\n  \"y\": 1\n- \"\"\nc: []\n");
    }
}
