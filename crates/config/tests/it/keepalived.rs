//! `keepalived.conf`: a corpus whose verdicts keepalived itself gave, what files mean, and text that means nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::OnceLock;

use baton_config::keepalived::model::Command;
use baton_config::keepalived::{Class, Finding, Host, Included, Kind, Reading, ScriptFact, Source, read};

mod checks;
mod meaning;
mod mutations;
mod values;

/// The interfaces of the host on which the verdicts were given.
const INTERFACES: [&str; 5] = ["lo", "eth0", "eth1", "eth2", "eth3"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/keepalived")
}

/// What the files of the corpus ask the host for.
fn script(command: &Command) -> ScriptFact {
    match command.args[0].as_str() {
        "/bin/true" | "/bin/false" | "/bin/echo" => ScriptFact::Program { insecure: false, text: None },
        _ => ScriptFact::Missing,
    }
}

/// Reads a text as on that host; `files` are there to be included.
fn read_with(text: &str, files: &BTreeMap<&str, &str>, script: &mut dyn FnMut(&Command) -> ScriptFact) -> Reading {
    let interfaces: Vec<String> = INTERFACES.iter().map(|name| (*name).to_owned()).collect();
    let mut include = |pattern: &str, _: &str| -> Included {
        let matches =
            |path: &&&str| **path == pattern || pattern.strip_suffix('*').is_some_and(|p| path.starts_with(p));
        files
            .iter()
            .filter(|(path, _)| matches(path))
            .map(|(path, text)| ((*path).to_owned(), Ok((*text).to_owned())))
            .collect()
    };
    let mut host = Host {
        interfaces: Some(&interfaces),
        include: &mut include,
        script,
        user: &|name| matches!(name, "root" | "nobody"),
        environment: &|_| None,
    };
    let source = Source { path: "keepalived.conf", text, config_id: "here", strict: false, seed: 7 };
    read(&source, &mut host)
}

fn parse(text: &str) -> Reading {
    read_with(text, &BTreeMap::new(), &mut script)
}

/// What is said, one line each.
fn said(reading: &Reading) -> Vec<String> {
    reading.findings.iter().map(|finding| format!("{:?} {}", finding.kind, finding.message)).collect()
}

/// Name, text and verdict of each file.
fn corpus() -> &'static [(String, String, u8)] {
    static CORPUS: OnceLock<Vec<(String, String, u8)>> = OnceLock::new();
    CORPUS.get_or_init(load)
}

fn load() -> Vec<(String, String, u8)> {
    let verdicts = std::fs::read_to_string(directory().join("verdicts.txt")).expect("the verdicts");
    let line = |line: &str| {
        let (name, code) = line.split_once(' ').expect("name and status");
        let text = std::fs::read_to_string(directory().join(name)).expect(name);
        (name.to_owned(), text, code.parse().expect("a status"))
    };
    verdicts.lines().map(line).collect()
}

#[test]
fn verdicts_are_keepaliveds() {
    let mut wrong = Vec::new();
    let corpus = corpus();
    assert!(corpus.len() >= 100, "{} files", corpus.len());
    for (name, text, code) in corpus {
        let reading = parse(text);
        if reading.class.code() != *code {
            let said = said(&reading).join("\n    ");
            wrong.push(format!("{name}: {} instead of {code}\n    {said}", reading.class.code()));
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// Asks keepalived again, where it is installed and namespaces can be made.
#[test]
fn keepalived_still_says_so() {
    let script = "
        ip link add eth0 type veth peer name eth1 && ip link add eth2 type veth peer name eth3 || exit 77
        for i in eth0 eth1 eth2 eth3; do ip link set $i up; done
        ip addr add 192.0.2.11/24 dev eth0; ip addr add 192.0.2.12/24 dev eth1
        for f in *.conf; do keepalived -t -i here -f $f >/dev/null 2>&1; echo $f $?; done";
    let version = Process::new("keepalived").arg("--version").output();
    let known = version.is_ok_and(|out| String::from_utf8_lossy(&out.stderr).contains("v2.2.7"));
    let out = Process::new("unshare").args(["-rn", "sh", "-c", script]).current_dir(directory()).output();
    let Some(out) = out.ok().filter(|out| known && out.status.success()) else {
        eprintln!("skipped: needs keepalived 2.2.7, ip, and a network namespace");
        return;
    };
    let now = String::from_utf8_lossy(&out.stdout).into_owned();
    let then = std::fs::read_to_string(directory().join("verdicts.txt")).expect("the verdicts");
    let changed: Vec<&str> = now.lines().filter(|line| !then.lines().any(|known| known == *line)).collect();
    assert!(changed.is_empty(), "{changed:?}");
}

fn of_kind(reading: &Reading, kind: Kind) -> Vec<&Finding> {
    reading.findings.iter().filter(|finding| finding.kind == kind).collect()
}

#[test]
fn classes_are_exit_statuses() {
    let codes = [Class::Clean, Class::Broken, Class::NoInterface, Class::Warned, Class::Security].map(Class::code);
    assert_eq!(codes, [0, 2, 4, 5, 6]);
}

/// A keyword that no code names would be passed over silently.
#[test]
fn every_keyword_with_an_effect_has_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for entry in std::fs::read_dir(root.join("src/keepalived")).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_file() && !path.ends_with("keywords.rs") {
            code.push_str(&std::fs::read_to_string(path).expect("text"));
        }
    }
    // What the page says to be accepted and no more.
    let accepted = ["vrrp_iptables", "nftables", "hashed", "regex_stack", "password", "ca", "certificate", "key"];
    let page = baton_config::keepalived::reference();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let mut seen = 0;
    for (name, rest) in rows.filter(|(_, rest)| rest.starts_with("A |") || rest.starts_with("B |")) {
        let exempt = accepted.contains(&name) || name.starts_with("nftables_");
        assert!(exempt || code.contains(&format!("\"{name}\"")), "{name} ({rest}) is named nowhere");
        seen += 1;
    }
    assert!(seen > 150, "{seen} keywords");
}
