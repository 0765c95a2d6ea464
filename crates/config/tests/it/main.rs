//! Configurations as users write them, and every message that they can get.

mod balancing;
mod cloud;
mod compare;
mod corpus;
mod env;
mod haproxy;
mod keepalived;
mod lint;
mod manager;
mod manifests;
mod messages;
mod outputs;
mod properties;
mod settings;

use std::net::IpAddr;

use baton_config::{HostFacts, Loaded, Message, StartArgs, start};
use baton_core::keeper::event::{HostAddress, Link};

fn address(interface: &str, address: &str, prefix: u8) -> HostAddress {
    let address: IpAddr = address.parse().unwrap();
    HostAddress { interface: interface.into(), address, prefix, mine: false, permanent: true, secondary: false }
}

fn link(name: &str) -> Link {
    Link { name: name.into(), up: true, mac: None }
}

/// The host of every test: eth0 with 192.0.2.1/24 and 2001:db8::1/64, eth1 with 198.51.100.1/24.
fn host() -> HostFacts {
    HostFacts {
        name: "host1".into(),
        links: vec![link("lo"), link("eth0"), link("eth1")],
        addresses: vec![
            address("lo", "127.0.0.1", 8),
            address("eth0", "192.0.2.1", 24),
            address("eth0", "2001:db8::1", 64),
            address("eth1", "198.51.100.1", 24),
        ],
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// Key files of every test.
fn key_file(path: &str) -> Result<String, String> {
    match path {
        "/etc/baton/key" => Ok("0123456789abcdef0123456789abcdef\n".into()),
        "/etc/baton/two" => Ok("0123456789abcdef\n\nfedcba9876543210\n".into()),
        "/etc/baton/empty" => Ok("\n".into()),
        _ => Err("No such file or directory".into()),
    }
}

fn load(text: &str) -> Result<Loaded, Vec<Message>> {
    load_with(Some(text), &[], &[])
}

fn load_with(text: Option<&str>, flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Loaded, Vec<Message>> {
    let args = StartArgs { flags: pairs(flags) };
    start(&args, &pairs(env), text.map(|text| ("f.yaml", text)), &host(), &key_file, false)
}

fn lines(messages: &[Message]) -> Vec<String> {
    messages.iter().map(ToString::to_string).collect()
}

/// The file is refused with exactly these lines.
fn refused(text: &str, expected: &[&str]) {
    match load(text) {
        Ok(loaded) => panic!("accepted: {:#?}\n{text}", loaded.settings),
        Err(messages) => assert_eq!(lines(&messages), expected, "{text}"),
    }
}

/// The file is accepted with exactly these warnings.
fn accepted(text: &str, warnings: &[&str]) -> Loaded {
    match load(text) {
        Ok(loaded) => {
            assert_eq!(lines(&loaded.warnings), warnings, "{text}");
            loaded
        }
        Err(messages) => panic!("refused: {:#?}\n{text}", lines(&messages)),
    }
}
