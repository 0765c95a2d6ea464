//! `http-check expect` and `tcp-check expect`.

use super::context::{Context, Line};
use super::keywords::not_served;
use super::model::{Expect, ExpectKind, Pattern, Said};

/// Reads the words from the third one on.
pub(super) fn read(context: &mut Context<'_>, line: &Line, http: bool) -> Option<Expect> {
    let mut out = Expect::new(ExpectKind::Status(Vec::new()));
    let mut found = false;
    let mut at = 2;
    while at < line.len() {
        let mut word = line.word(at);
        if word.starts_with('!') && !found {
            out.negate = true;
            word = match word.trim_start_matches('!') {
                "" => {
                    at += 1;
                    line.word(at)
                }
                rest => rest,
            };
        }
        match word {
            "min-recv" => out.min_recv = context.whole::<i64>(line, at + 1, -1, i64::from(i32::MAX))?.try_into().ok(),
            "comment" => out.comment = Some(context.needed(line, at + 1, "a text")?),
            "ok-status" => out.told.ok_status = Some(status(context, line, at + 1, OK_STATUSES)?),
            "error-status" => out.told.error_status = Some(status(context, line, at + 1, ERROR_STATUSES)?),
            "tout-status" => out.told.tout_status = Some(status(context, line, at + 1, TIMEOUT_STATUSES)?),
            "on-success" => out.told.on_success = said(context, line, at + 1),
            "on-error" => out.told.on_error = said(context, line, at + 1),
            "status-code" => {
                context.refuse(line, at, not_served("codes of answers are not computed"));
            }
            "hdr" | "fhdr" | "string-lf" | "binary-lf" => {
                context.refuse(line, at, not_served("a status, a text or bytes can be expected"));
                return None;
            }
            _ if found => {
                context.alert(line, at, format!("`{word}` is one word too many"));
                return None;
            }
            _ => {
                out.kind = kind(context, line, at, word, http)?;
                found = true;
            }
        }
        at += 2;
    }
    if !found {
        context.alert(line, line.len(), "needs what is expected: status, string and so on");
        return None;
    }
    Some(out)
}

fn kind(context: &mut Context<'_>, line: &Line, at: usize, word: &str, http: bool) -> Option<ExpectKind> {
    let known = match word {
        "status" | "rstatus" => http,
        "binary" | "rbinary" => !http,
        "string" | "rstring" => true,
        _ => false,
    };
    if !known {
        let text = match http {
            true => format!("`{word}` is not known here, expected status, rstatus, string or rstring"),
            false => format!("`{word}` is not known here, expected string, rstring, binary or rbinary"),
        };
        context.alert(line, at, text);
        return None;
    }
    let value = context.needed(line, at + 1, "a value")?;
    Some(match word {
        "status" => ExpectKind::Status(statuses(context, line, at + 1, &value)?),
        "rstatus" => ExpectKind::StatusRegex(pattern(context, line, at + 1, &value)?),
        "string" => ExpectKind::Contains(value.into_bytes()),
        "binary" => ExpectKind::Contains(binary(context, line, at + 1, &value)?),
        "rbinary" => ExpectKind::HexRegex(pattern(context, line, at + 1, &value)?),
        _ => ExpectKind::Regex(pattern(context, line, at + 1, &value)?),
    })
}

const OK_STATUSES: &[&str] = &["L7OK", "L7OKC", "L6OK", "L4OK"];
/// A server that passes so gets nothing new.
const CONDITIONAL: &str = "L7OKC";
const ERROR_STATUSES: &[&str] = &["L7RSP", "L7STS", "L7OKC", "L6RSP", "L4CON"];
const TIMEOUT_STATUSES: &[&str] = &["L7TOUT", "L6TOUT", "L4TOUT"];

/// The name of a result.
fn status(context: &mut Context<'_>, line: &Line, at: usize, known: &[&'static str]) -> Option<&'static str> {
    let word = context.needed(line, at, "a status")?;
    let found = known.iter().copied().find(|name| name.eq_ignore_ascii_case(&word));
    if found == Some(CONDITIONAL) {
        context.refuse(line, at, not_served("a server is up or down"));
        return None;
    }
    if found.is_none() {
        context.alert(line, at, format!("`{word}` is no status, expected {}", known.join(", ")));
    }
    found
}

/// A text about a result, without variables.
fn said(context: &mut Context<'_>, line: &Line, at: usize) -> Option<Said> {
    let text = context.needed(line, at, "a text")?;
    if text.contains('%') {
        context.refuse(line, at, not_served("texts about results have no variables"));
        return None;
    }
    Some(Said::Text(text))
}

/// A regular expression over bytes.
pub(super) fn pattern(context: &mut Context<'_>, line: &Line, at: usize, text: &str) -> Option<Pattern> {
    match regex::bytes::RegexBuilder::new(text).unicode(false).build() {
        Ok(found) => Some(Pattern(found)),
        Err(wrong) => {
            // haproxy's own may know more: what refers back or looks around is not searched here.
            let wrong = wrong.to_string();
            let why = wrong.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            context.refuse(line, at, format!("`{text}` is no regular expression that Baton reads: {why}"));
            None
        }
    }
}

/// `200`, `200-399,401`.
fn statuses(context: &mut Context<'_>, line: &Line, at: usize, text: &str) -> Option<Vec<(u16, u16)>> {
    let mut out = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
            context.alert(line, at, format!("`{text}` is no list of statuses, expected one such as 200-399,401"));
            return None;
        };
        if first > last || last > 999 {
            context.alert(line, at, format!("`{part}` is no range of statuses"));
            return None;
        }
        out.push((first, last));
    }
    Some(out)
}

/// Pairs of hexadecimal digits.
pub(super) fn binary(context: &mut Context<'_>, line: &Line, at: usize, text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let Some(digits) = digits.filter(|digits| digits.len() % 2 == 0) else {
        context.alert(line, at, format!("`{text}` is no even number of hexadecimal digits"));
        return None;
    };
    Some(digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or(0)).collect())
}
