//! Documents against the code: what is made from it is current, and what they show works.
//! `cargo xtask fix` writes the former.

use std::net::IpAddr;

use baton_config::{HostFacts, StartArgs};
use baton_core::keeper::event::{HostAddress, Link};

use crate::process;

/// Set by `fix`: write instead of compare.
const WRITE: &str = "BATON_WRITE_DOCUMENTS";

fn check_generated(path: &str, expected: &str) {
    let file = process::root().join(path);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, expected).unwrap_or_else(|error| panic!("writing {path}: {error}"));
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is not what the code says: run `cargo xtask fix`");
}

#[test]
fn the_configuration_reference_is_current() {
    check_generated("docs/configuration.md", &baton_config::reference());
}

#[test]
fn the_reference_of_the_managers_settings_is_current() {
    check_generated("docs/manager.md", &baton_config::manager::settings_reference());
}

#[test]
fn the_reference_of_keepalived_conf_is_current() {
    check_generated("docs/keepalived-conf.md", &baton_config::keepalived::reference());
}

#[test]
fn the_reference_of_haproxy_cfg_is_current() {
    check_generated("docs/haproxy-cfg.md", &baton_config::haproxy::reference());
}

/// The host that the examples are for.
fn host() -> HostFacts {
    let address = |text: &str, prefix| HostAddress {
        interface: "eth0".to_owned(),
        address: text.parse::<IpAddr>().expect("an address"),
        prefix,
        mine: false,
        permanent: true,
        secondary: false,
    };
    let link = Link { name: "eth0".to_owned(), up: true, mac: None };
    HostFacts { name: "one".to_owned(), links: vec![link], addresses: vec![address("192.168.0.11", 24)] }
}

/// The text of the fenced blocks of one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        match open.take() {
            None if line.trim_start() == format!("```{language}") => open = Some(String::new()),
            None => {}
            Some(block) if line.trim_start() == "```" => found.push(block),
            Some(block) => open = Some(block + line + "\n"),
        }
    }
    found
}

#[test]
fn manifests_name_the_image_that_is_built() {
    assert_eq!(crate::dist::REPOSITORY, baton_config::manager::IMAGE);
}

#[test]
fn examples_of_files_are_accepted() {
    let mut tried = 0;
    for page in ["README.md", "docs/guarantees.md", "docs/migration.md", "docs/troubleshooting.md"] {
        let text = std::fs::read_to_string(process::root().join(page)).expect("the page is there");
        for example in blocks(&text, "yaml") {
            let no_key = |path: &str| Err(format!("{path}: examples have no key files"));
            let verdict =
                baton_config::start(&StartArgs::default(), &[], Some((page, &example)), &host(), &no_key, false);
            if let Err(messages) = verdict {
                let messages: Vec<String> = messages.iter().map(ToString::to_string).collect();
                panic!("{page} shows a file that is refused:\n{example}\n{}", messages.join("\n"));
            }
            tried += 1;
        }
    }
    assert!(tried > 0, "the README shows a file");
}
