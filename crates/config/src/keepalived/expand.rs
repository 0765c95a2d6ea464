//! The small languages inside a line: `$NAME=value`, `${NAME}`, `~SEQ(…)`, `~LST(…)`.

/// Most values of one series: more than there are virtual router identifiers on 256 networks.
const VALUES_MAX: usize = 65_536;

/// `$NAME=value`: name and value.
pub(super) fn definition(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('$')?;
    let (name, value) = rest.split_once('=')?;
    is_name(name).then_some((name, value.trim_start_matches([' ', '\t'])))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `$NAME` before white space, or `${NAME}`, or `${NAME parameters}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference<'t> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) name: &'t str,
    pub(super) parameters: &'t str,
}

/// The first reference from a byte on.
pub(super) fn reference(text: &str, from: usize) -> Option<Reference<'_>> {
    let mut from = from;
    loop {
        let start = from + text.get(from..)?.find('$')?;
        from = start + 1;
        let rest = &text[from..];
        if let Some(inner) = rest.strip_prefix('{') {
            let Some(close) = inner.find('}') else { continue };
            let (name, parameters) = inner[..close].split_once(' ').unwrap_or((&inner[..close], ""));
            if is_name(name) {
                return Some(Reference { start, end: start + 2 + close + 1, name, parameters });
            }
        } else {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let ends = rest[length..].chars().next().is_none_or(|c| matches!(c, ' ' | '\t' | ',' | ')'));
            if ends && is_name(&rest[..length]) {
                return Some(Reference { start, end: from + length, name: &rest[..length], parameters: "" });
            }
        }
    }
}

/// A series: the names, and for each turn their values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) names: Vec<String>,
    pub(super) values: Vec<Vec<String>>,
}

/// `~SEQ(NAME, first, step, last)`, `~SEQx(…)` or `~LST(NAME, a, b)`, `~LST({A, B}, {1, 2}, {3, 4})`.
pub(super) fn series(head: &str) -> Result<Series, String> {
    let (open, close) = head.find('(').zip(head.rfind(')')).ok_or("has no brackets")?;
    if close < open {
        return Err(String::from("has no brackets"));
    }
    let inner = &head[open + 1..close];
    match head[..open].trim_end() {
        "~SEQ" => sequence(inner, false),
        "~SEQx" => sequence(inner, true),
        "~LST" => list(inner),
        _ => Err(String::from("is neither ~SEQ, ~SEQx nor ~LST")),
    }
}

fn sequence(inner: &str, hex: bool) -> Result<Series, String> {
    let mut parts = inner.split(',').map(str::trim);
    let name = parts.next().filter(|name| is_name(name)).ok_or("has no name")?;
    let numbers: Vec<i64> = parts.map(number).collect::<Option<_>>().ok_or("has something that is no number")?;
    let (first, step, last) = match numbers[..] {
        [last] => (if last < 0 { -1 } else { 1 }, if last < 1 { -1 } else { 1 }, last),
        [first, last] => (first, if first <= last { 1 } else { -1 }, last),
        [first, step, last] => (first, step, last),
        _ => return Err(String::from("needs one to three numbers")),
    };
    if step == 0 || first < last && step < 0 || first > last && step > 0 {
        return Err(String::from("never ends"));
    }
    if hex && (first < 0 || last < 0) {
        return Err(String::from("is of hexadecimal numbers, and one is below 0"));
    }
    let mut values = Vec::new();
    let mut at = first;
    while step > 0 && at <= last || step < 0 && at >= last {
        if values.len() >= VALUES_MAX {
            return Err(String::from("has too many values"));
        }
        values.push(vec![if hex { format!("{at:x}") } else { at.to_string() }]);
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Ok(Series { names: vec![name.to_owned()], values })
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

fn list(inner: &str) -> Result<Series, String> {
    let mut groups = groups(inner).into_iter();
    let names = groups.next().ok_or("has no name")?;
    if names.is_empty() || !names.iter().all(|name| is_name(name)) {
        return Err(String::from("has no name"));
    }
    let values: Vec<Vec<String>> = groups.collect();
    if values.is_empty() || values.len() > VALUES_MAX {
        return Err(String::from("needs values"));
    }
    if values.iter().any(|group| group.len() != names.len()) {
        return Err(String::from("does not have a value for each name"));
    }
    Ok(Series { names, values })
}

/// `a, {b, c}, d` as `[[a], [b, c], [d]]`.
fn groups(inner: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() && out.len() <= VALUES_MAX {
        if let Some(group) = rest.strip_prefix('{') {
            let close = group.find('}').unwrap_or(group.len());
            out.push(group[..close].split(',').map(|part| part.trim().to_owned()).collect());
            rest = group.get(close + 1..).unwrap_or("").trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        } else {
            let (part, after) = rest.split_once(',').unwrap_or((rest, ""));
            out.push(vec![part.trim().to_owned()]);
            rest = after.trim_start();
        }
    }
    out
}
