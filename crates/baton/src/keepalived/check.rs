//! `baton check keepalived.conf`: what would be said at the start, what is only unwise, and the fixes of that.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use baton_config::keepalived::{Kind, Reading, fix};
use baton_config::{Message, Severity};

use super::load::{Looked, look_at};
use super::options::Options;
use crate::cli::output::complain;

/// Checks one file and adds lines about it; whether it can be started.
pub(crate) fn check(file: &str, elsewhere: bool, fixes: bool, lines: &mut String) -> bool {
    let options = Options { file: Some(PathBuf::from(file)), ..Options::default() };
    let look = || look_at(&options, elsewhere).map_err(|refusal| complain(&refusal.text()));
    let Ok(mut looked) = look() else { return false };
    if fixes {
        if let Err(why) = write(&looked.reading, lines) {
            complain(&format!("baton: {why}"));
            return false;
        }
        let Ok(again) = look() else { return false };
        looked = again;
    }
    say(file, &looked, lines)
}

/// Writes what the author meant into the files, and says what that was.
fn write(reading: &Reading, lines: &mut String) -> Result<(), String> {
    let files: BTreeSet<&str> = reading.edits.iter().map(|edit| &*edit.at.file).collect();
    for file in files {
        let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        let fixed = fix(file, &text, &reading.edits);
        if fixed == text {
            continue;
        }
        // In place: the file may be mounted, and its owner and mode stay.
        fs::write(file, fixed).map_err(|e| format!("{file}: {e}"))?;
        for edit in reading.edits.iter().filter(|edit| &*edit.at.file == file) {
            lines.push_str(&format!("{file}:{}: fixed: {} ({})\n", edit.at.line, edit.why, edit.lint));
        }
    }
    Ok(())
}

fn say(file: &str, looked: &Looked, lines: &mut String) -> bool {
    let mut messages: Vec<Message> = looked.messages.clone();
    let lints = looked.reading.findings.iter().filter(|finding| finding.kind == Kind::Lint);
    let lints: Vec<Message> = lints.map(|finding| finding.message.clone()).collect();
    // What is to be done about a line says what is wrong with it, too.
    let said = |a: &Message, b: &Message| (&a.file, a.line(), &a.key) == (&b.file, b.line(), &b.key);
    messages.retain(|message| message.severity == Severity::Error || !lints.iter().any(|lint| said(lint, message)));
    messages.extend(lints);
    messages.sort_by(|a, b| (&a.file, &a.place).cmp(&(&b.file, &b.place)));
    complain(&messages.iter().map(|message| format!("{message:#}\n")).collect::<String>());
    if messages.iter().any(|message| message.severity == Severity::Error) {
        return false;
    }
    let config = &looked.reading.config;
    let addresses: usize = config.instances.iter().map(|one| one.addresses.len() + one.excluded.len()).sum();
    lines.push_str(&format!(
        "{file}: can be started: {} virtual routers, {addresses} addresses, {} virtual servers, {} warnings",
        config.instances.len(),
        config.servers.len(),
        messages.len()
    ));
    let fixable = looked.reading.edits.len();
    lines.push_str(&if fixable > 0 { format!(", --fix changes {fixable} lines\n") } else { String::from("\n") });
    true
}
