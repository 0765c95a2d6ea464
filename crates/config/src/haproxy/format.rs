//! Texts with variables: `log-format`, values of headers.

use super::context::{Context, Line};
use super::model::{Format, FormatPart};
use super::names;
use super::proxy::{Proxy, Reference, To};
use super::sample::{self, Needs};

/// Variables of log lines that haproxy 2.6 has.
const VARIABLES: &str = "B CC CS H HM HP HPO HQ HU HV ID ST T Ta Tc Td Th Ti Tl Tq TR Tr Ts Tt Tu Tw U ac b bc bi bp bq ci cp \
    f fc fi fp ft hr hrl hs hsl lc ms o pid r rc rt s sc si sp sq ssl_c_s ssl_fc sslc sslv t tr ts tsc trg trl";

/// Those that are about requests.
const HTTP_VARIABLES: &str = "CC CS HM HP HPO HQ HU HV ST TR Ti Tq Tr Ta U hr hrl hs hsl r tr trg trl";

/// A text without variables.
pub(super) fn plain(text: String) -> Format {
    Format { parts: vec![FormatPart::Text(text)] }
}

/// Reads the text at `index`.
pub(super) fn read(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line, index: usize) -> Option<Format> {
    let text = context.needed(line, index, "a text")?;
    let mut out = Format::default();
    let mut literal = String::new();
    let mut rest = text.as_str();
    let mut flags = (false, false);
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        if !literal.is_empty() {
            out.parts.push(FormatPart::Text(std::mem::take(&mut literal)));
        }
        rest = variable(context, proxy, line, index, after, &mut flags, &mut out)?;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        out.parts.push(FormatPart::Text(literal));
    }
    Some(out)
}

/// Reads what follows a percent sign; the rest of the text.
fn variable<'t>(
    context: &mut Context<'_>,
    proxy: &mut Proxy,
    line: &Line,
    index: usize,
    text: &'t str,
    global: &mut (bool, bool),
    out: &mut Format,
) -> Option<&'t str> {
    let (mut quoted, mut hex) = *global;
    let mut rest = text;
    if let Some(inside) = rest.strip_prefix('{') {
        let Some((flags, after)) = inside.split_once('}') else {
            context.alert(line, index, "the brace after `%` is not closed");
            return None;
        };
        for flag in flags.split(',') {
            match flag {
                "+Q" => quoted = true,
                "-Q" => quoted = false,
                "+X" => hex = true,
                "-X" => hex = false,
                "+E" | "-E" => {
                    context.refuse(line, index, "escaping for structured data (`%{+E}`) is not served by Baton");
                }
                _ => {}
            }
        }
        rest = after;
    }
    if let Some(inside) = rest.strip_prefix('[') {
        return expression(context, proxy, line, index, inside, out);
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    match name {
        "" => {
            context.alert(line, index, "nothing follows `%`, expected a variable; the sign itself is `%%`");
            return None;
        }
        "o" => *global = (quoted, hex),
        _ if !names::has(VARIABLES, name) => {
            context.alert(line, index, format!("`%{name}` is no variable; the sign itself is `%%`"));
            return None;
        }
        _ => {
            if names::has(HTTP_VARIABLES, name) {
                let key = format!("variable %{name}");
                proxy.references.push(Reference { at: line.at(index), key, to: To::HttpMode });
            }
            out.parts.push(FormatPart::Variable { name: name.to_owned(), quoted, hex });
        }
    }
    Some(after)
}

/// Reads `%[sample]` after its bracket; the rest of the text.
fn expression<'t>(
    context: &mut Context<'_>,
    proxy: &mut Proxy,
    line: &Line,
    index: usize,
    inside: &'t str,
    out: &mut Format,
) -> Option<&'t str> {
    let Some((expression, after)) = inside.split_once(']') else {
        context.alert(line, index, "the bracket after `%` is not closed");
        return None;
    };
    match sample::read(expression, line.at(index), &line.key(), &|name| context.variable(name)) {
        Ok(read) => {
            proxy.references.extend(read.references.iter().cloned());
            if read.needs == Needs::Request {
                let key = format!("sample {expression}");
                proxy.references.push(Reference { at: line.at(index), key, to: To::HttpMode });
            }
            out.parts.push(FormatPart::Sample(read.sample));
        }
        Err(sample::Wrong::Alert(why)) => {
            context.alert(line, index, why);
            return None;
        }
        Err(sample::Wrong::Refused(why)) => {
            context.refuse(line, index, why);
            return None;
        }
    }
    Some(after)
}
