//! What is done with every word of haproxy's: the table for people, made from the tables that decide.

use super::keywords::{ENTRIES, What};
use super::options::{CHOICES, How};
use super::{global, names, sections};

/// The table of keywords, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from("| keyword | Baton |\n| --- | --- |\n");
    let mut row = |name: &str, text: String| out.push_str(&format!("| `{name}` | {text} |\n"));
    for entry in ENTRIES {
        match entry.what {
            What::Read(_) => row(entry.name, served(entry.http)),
            What::Moot(why) => row(entry.name, format!("changes nothing: {why}")),
            What::Refused(why) => row(entry.name, refused(entry.http, why)),
            What::Gone(instead) => row(entry.name, format!("gone from haproxy itself; expected {instead}")),
        }
    }
    for choice in CHOICES {
        let name = format!("option {}", choice.name);
        match choice.how {
            How::Flag(_) | How::Read(..) => row(&name, served(choice.http)),
            How::Moot(why) => row(&name, format!("changes nothing: {why}")),
            How::Refused(why) => row(&name, refused(choice.http, why)),
            How::Gone(instead) => row(&name, format!("gone from haproxy itself; expected {instead}")),
        }
    }
    for name in names::GLOBAL.split_ascii_whitespace() {
        let has = |list: &[(&str, &'static str)]| list.iter().find(|(names, _)| names::has(names, name)).map(|e| e.1);
        let text = match (has(global::MOOT), has(global::REFUSED)) {
            (Some(why), _) => format!("changes nothing: {why}"),
            (_, Some(why)) => format!("refused: {why}"),
            (None, None) => "served".to_owned(),
        };
        row(&format!("global {name}"), text);
    }
    for (name, why) in sections::REFUSED {
        row(&format!("section {name}"), format!("refused: {why}"));
    }
    for (name, _) in sections::INERT {
        row(&format!("section {name}"), "read; what refers to it is refused".to_owned());
    }
    out
}

fn served(http: bool) -> String {
    if http { "served in mode http; ignored with a warning in mode tcp".into() } else { "served".into() }
}

fn refused(http: bool, why: &str) -> String {
    if http {
        format!("refused in mode http: {why}; ignored with a warning in mode tcp")
    } else {
        format!("refused: {why}")
    }
}
