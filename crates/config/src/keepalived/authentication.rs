//! `authentication`: the password of version 2, and the ways to lose it.

use super::finding::{Findings, Kind};
use super::fix::Edit;
use super::instance::Draft;
use super::keywords::Block;
use super::model::{At, Password, State, Version};
use super::read::Reader;
use super::tree::Item;

/// Characters that count.
const LENGTH: usize = 8;

/// `auth_type`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuthType {
    Pass(At),
    Ah(At),
}

/// Reads the block.
pub(super) fn read(reader: &mut Reader<'_, '_>, block: &Item, draft: &mut Draft) {
    reader.each(Block::Authentication, block.inside(), |reader, item| {
        let findings = &mut reader.findings;
        match item.key() {
            "auth_type" => match item.need(1, findings) {
                Some("PASS") => draft.auth_type = Some(AuthType::Pass(item.at_word(1))),
                Some("AH") => draft.auth_type = Some(AuthType::Ah(item.at_word(1))),
                Some(_) => item.bad(1, findings, "is not known and is ignored", "PASS"),
                None => {}
            },
            _ => pass(reader, item, draft),
        }
        if item.words.len() > 2 {
            one_line(reader, block, item);
        }
    });
}

fn pass(reader: &mut Reader<'_, '_>, item: &Item, draft: &mut Draft) {
    let Some(word) = item.need(1, &mut reader.findings) else { return };
    if word.len() > LENGTH {
        let at = item.at_word(1);
        let what = "has more than eight characters; the first eight count";
        reader.findings.weak(&at, item.key(), what, "", "eight");
        reader.findings.lint("password-cut", &at, item.key(), "is cut to eight characters", "eight characters");
        let mut end = LENGTH;
        while !word.is_char_boundary(end) {
            end -= 1;
        }
        let lines = vec![format!("auth_pass {}", &word[..end])];
        let why = String::from("auth_pass: the eight characters that count");
        reader.edits.push(Edit { at: item.at.clone(), key: item.key().to_owned(), lines, lint: "password-cut", why });
    }
    draft.auth_pass = Some((word.as_bytes().to_vec(), item.at_word(1)));
}

/// `auth_type PASS auth_pass secret`
fn one_line(reader: &mut Reader<'_, '_>, block: &Item, item: &Item) {
    let (at, expected) = (item.at_word(2), "auth_type and auth_pass on lines of their own");
    reader.findings.weak(&at, item.key(), "takes one value; what else stands in its line is lost", "", expected);
    let words: Vec<&str> = item.words.iter().map(|word| word.text.as_str()).collect();
    let (["auth_type", kind, "auth_pass", pass] | ["auth_pass", pass, "auth_type", kind]) = words[..] else { return };
    let lint = "authentication-in-one-line";
    let what = "and auth_pass stand in one line: the password is lost";
    reader.findings.lint(lint, &item.at, "auth_type", what, "a line for each");
    let (kind, pass) = (format!("auth_type {kind}"), format!("auth_pass {pass}"));
    // Only what stands alone in its lines can be written anew.
    let (at, lines) = if block.at.line == item.at.line && block.end == item.at.line {
        let inner = |line: String| format!("    {line}");
        let open = String::from("authentication {");
        (block.at.clone(), vec![open, inner(kind), inner(pass), String::from("}")])
    } else if block.at.line < item.at.line && item.at.line < block.end {
        (item.at.clone(), vec![kind, pass])
    } else {
        return;
    };
    let why = String::from("authentication: a line for each keyword");
    let key = if at.line == block.at.line { block.key() } else { item.key() }.to_owned();
    reader.edits.push(Edit { at, key, lines, lint, why });
}

/// The password of the adverts, and why there is none.
pub(super) fn password(findings: &mut Findings, draft: &mut Draft, version: Version, strict: bool) -> Option<Password> {
    let auth = draft.auth_type.take()?;
    let at = match &auth {
        AuthType::Pass(at) | AuthType::Ah(at) => at.clone(),
    };
    let mut say = |what: &str| findings.weak(&at, &draft.name, what, "", "");
    if strict {
        say("has a password, which strict mode does not have: adverts go without one");
        return None;
    }
    if version == Version::V3 {
        say("has a password, which version 3 does not have: adverts go without one");
        return None;
    }
    let Some((pass, _)) = draft.auth_pass.take().filter(|(pass, _)| !pass.is_empty()) else {
        say("has an authentication without a password: adverts go without one");
        return None;
    };
    if matches!(auth, AuthType::Ah(_)) {
        if draft.state == Some(State::Master) && draft.priority != Some(255) {
            say("has state MASTER, which AH does not go with; it is ignored");
        }
        let what = "asks for auth_type AH, which is not done; adverts without it would be refused by the other routers";
        findings.put(Kind::Refused, &at, &draft.name, what, "", "auth_type PASS on all of them");
        return None;
    }
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(&pass).for_each(|(byte, from)| *byte = *from);
    Some(Password(bytes))
}
