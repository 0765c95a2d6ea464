//! Files as they are found on hosts, each with its verdict in its first lines.
//!
//! `#! accepted`: no error and no warning. `#! broken N`: not YAML, reported in line N. Otherwise all messages, without
//! the file's name.

use baton_config::{HostFacts, Message, start};

use crate::{address, key_file, link};

pub(crate) fn host() -> HostFacts {
    HostFacts {
        name: "host1".into(),
        links: vec![link("lo"), link("eth0")],
        addresses: vec![address("eth0", "192.168.0.1", 24), address("eth0", "2001:db8::1", 64)],
    }
}

pub(crate) fn files() -> Vec<(String, String)> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let mut files: Vec<(String, String)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn every_file_gets_its_verdict() {
    let files = files();
    assert!(files.len() >= 10);
    for (name, text) in files {
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#! ")).collect();
        let loaded = start(&Default::default(), &[], Some((&name, &text)), &host(), &key_file, false);
        let messages: Vec<Message> = match loaded {
            Ok(loaded) => loaded.warnings,
            Err(messages) => messages,
        };
        let lines: Vec<String> =
            messages.iter().map(|m| m.to_string().trim_start_matches(&format!("{name}:")).to_owned()).collect();
        match expected[..] {
            ["accepted"] => assert!(lines.is_empty(), "{name}: {lines:#?}"),
            [broken] if broken.starts_with("broken ") => {
                let line: u32 = broken["broken ".len()..].parse().unwrap();
                assert!(messages.len() == 1 && messages[0].text.starts_with("is not valid YAML"), "{name}: {lines:?}");
                assert_eq!(messages[0].line(), Some(line), "{name}: {lines:?}");
            }
            _ => assert_eq!(lines, expected, "{name}"),
        }
    }
}
