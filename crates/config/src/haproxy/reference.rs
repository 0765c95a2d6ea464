//! What becomes of every word of haproxy's: the page for people, made from the tables and the reader that decide.

use super::keywords::{ENTRIES, What};
use super::lint::LINTS;
use super::options::{CHOICES, How};
use super::{Class, File, Outside, global, names, read, sections};

const HEAD: &str = "\
# haproxy.cfg

`baton check FILE` reads haproxy's own file: it gives the verdict of `haproxy -c` (2.6), names what Baton does not do, and
says what is legal and hardly meant. `baton check --fix FILE` writes the file that its author meant.

*This page is generated from the tables that the reader itself uses.*

- **read**: its meaning is in the model; what the balancer itself does not do of it is refused by name and line when it
  starts. **changes nothing**: it is about something that is Baton's own. **refused**: by name and line, never passed over.
- What belongs to mode http is ignored in mode tcp, with haproxy's own warning; it is refused in mode http alone.
- Quotes, escapes, `\"${NAME-default}\"`, `${NAME[*]}`, `.if` with `defined`, `feature`, `streq`, `strneq`,
  `version_atleast`, `version_before`, `.notice`, `.warning`, `.alert`: as in haproxy 2.6. `feature` knows what Baton has.
- Of several check options the last one wins, and a rule of a section makes the check option of its `defaults` void: that
  is what haproxy does, and what is read here.
- Words of an ACL stand before the rules that use it. Regular expressions, maps, variables and most converters are refused.
- Messages: one line each, `FILE:LINE:COLUMN: KEYWORD: what is wrong`.

";

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(HEAD);
    out.push_str("## What `baton check` finds\n\n| name | finds | `--fix` |\n| --- | --- | --- |\n");
    for lint in LINTS {
        let fix = if lint.fix.is_empty() { "–" } else { lint.fix };
        out.push_str(&format!("| `{}` | {} | {fix} |\n", lint.name, lint.about));
    }
    out.push_str("\n## Sections `defaults`, `frontend`, `listen`, `backend`\n\n| keyword | Baton |\n| --- | --- |\n");
    proxies(&mut out);
    words(&mut out, "bind", names::BIND, "bind :80");
    words(&mut out, "server", names::SERVER, "bind :80\n server s 10.0.0.1:80");
    out.push_str("\n## Section `global`\n\n| keyword | Baton |\n| --- | --- |\n");
    for name in names::GLOBAL.split_ascii_whitespace() {
        let has = |list: &[(&str, &'static str)]| list.iter().find(|(names, _)| names::has(names, name)).map(|e| e.1);
        let text = match (has(global::MOOT), has(global::REFUSED)) {
            (Some(why), _) => format!("changes nothing: {why}"),
            (_, Some(why)) => format!("refused: {why}"),
            (None, None) => "read".to_owned(),
        };
        row(&mut out, name, &text);
    }
    out.push_str("\n## Other sections\n\n| section | Baton |\n| --- | --- |\n| `resolvers`, `peers` | read |\n");
    for (name, why) in sections::REFUSED {
        row(&mut out, name, &format!("refused: {why}"));
    }
    for (name, _) in sections::INERT {
        row(&mut out, name, "read; what refers to it is refused");
    }
    out
}

fn row(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("| `{name}` | {text} |\n"));
}

/// The tables of directives and options.
fn proxies(out: &mut String) {
    let served = |http: bool| if http { "read; mode http" } else { "read" }.to_owned();
    let refused = |http: bool, why: &str| match http {
        true => format!("refused in mode http: {why}"),
        false => format!("refused: {why}"),
    };
    let gone = |instead: &str| format!("gone from haproxy itself: {instead}");
    for entry in ENTRIES.iter().filter(|entry| entry.name != "option") {
        let text = match entry.what {
            What::Read(_) => served(entry.http),
            What::Moot(why) => format!("changes nothing: {why}"),
            What::Refused(why) => refused(entry.http, why),
            What::Gone(instead) => gone(instead),
        };
        row(out, entry.name, &text);
    }
    for choice in CHOICES {
        let text = match choice.how {
            How::Flag(_) | How::Read(..) => served(choice.http),
            How::Moot(why) => format!("changes nothing: {why}"),
            How::Refused(why) => refused(choice.http, why),
            How::Gone(instead) => gone(instead),
        };
        row(out, &format!("option {}", choice.name), &text);
    }
}

/// Words of a line: the reader is asked about each.
fn words(out: &mut String, title: &str, list: &[(&str, usize)], line: &str) {
    let refused = |name: &str, arity: usize| {
        let argument = if arity > 0 { " 1" } else { "" };
        let text = format!("listen l\n {line} {name}{argument}\n");
        let none = |_: &str| Err(String::new());
        let outside = Outside { environment: &[], load: &none, local_peer: "" };
        let loaded = read(&[File { path: String::new(), text }], &outside);
        let about = format!("`{name}` ");
        loaded.findings.iter().any(|f| f.class == Class::Refused && f.message.text.starts_with(&about))
    };
    let mut names: [Vec<String>; 2] = Default::default();
    for (name, arity) in list {
        let known = &mut names[usize::from(refused(name, *arity))];
        if !known.iter().any(|other| other == &format!("`{name}`")) {
            known.push(format!("`{name}`"));
        }
    }
    let [read, refused] = names.map(|names| names.join(", "));
    out.push_str(&format!("\n## Words of `{title}`\n\n- **read**: {read}\n- **refused**: {refused}\n"));
}
