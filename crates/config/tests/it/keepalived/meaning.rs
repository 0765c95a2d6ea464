//! What files mean: the values that a driver gets.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_config::keepalived::model::lvs::{CheckKind, Method, Protocol, Scheduler, Service};
use baton_config::keepalived::model::{Checksum, Family, State, Version};
use baton_config::keepalived::{Kind, Reading, fix};

use super::{corpus, of_kind, parse, read_with, said, script};

fn of(name: &str) -> Reading {
    let (_, text, _) = corpus().iter().find(|(known, _, _)| known == name).expect(name);
    parse(text)
}

#[test]
fn the_guide() {
    let reading = of("guide-check-script.conf");
    let instance = &reading.config.instances[0];
    assert_eq!((instance.vrid, instance.priority, instance.state), (51, 101, State::Master));
    assert_eq!((instance.version, instance.family), (Version::V2, Family::V4));
    assert_eq!(instance.password.expect("a password").0, *b"42\0\0\0\0\0\0");
    assert_eq!(instance.group, std::net::IpAddr::from([224, 0, 0, 18]));
    assert_eq!(instance.advert_interval, Duration::from_secs(1));
    assert_eq!((instance.addresses[0].address, instance.addresses[0].prefix), ([192, 0, 2, 100].into(), 32));
    assert_eq!(
        (instance.tracks.scripts[0].name.as_str(), instance.tracks.scripts[0].weight.value),
        ("check_apiserver", -2)
    );
    let script = &reading.config.scripts[0];
    assert_eq!((script.interval, script.timeout), (Duration::from_secs(3), Duration::from_secs(3)));
    assert_eq!((script.rise, script.fall), (2, 10));
    assert_eq!(instance.at.to_string(), "keepalived.conf:14:1");
    // The defaults of a burst.
    assert_eq!((instance.garp.master_repeat, instance.garp.master_delay), (5, Some(Duration::from_secs(5))));
    assert_eq!((instance.garp.lower_prio_repeat, instance.garp.refresh), (5, None));
}

#[test]
fn services_and_servers() {
    let reading = of("services-rendered.conf");
    let server = &reading.config.servers[0];
    assert_eq!(server.service, Service::Address([192, 0, 2, 50].into(), 80));
    assert_eq!(
        (server.protocol, server.scheduler, server.method),
        (Protocol::Tcp, Scheduler::WeightedLeastConnections, Method::Nat)
    );
    assert_eq!(server.persistence, Some(Duration::from_secs(1800)));
    let check = &server.real[0].checks[0];
    assert_eq!((check.kind.clone(), check.address, check.port), (CheckKind::Tcp, [198, 51, 100, 30].into(), 80));
    assert_eq!((check.timeout, check.delay_loop), (Duration::from_secs(3), Duration::from_secs(5)));
    let instance = &reading.config.instances[0];
    assert!(!instance.preempt && instance.version == Version::V3 && instance.checksum == Checksum::Pseudo);
}

#[test]
fn conditions_and_definitions() {
    let reading = of("condition.conf");
    assert_eq!((reading.config.instances[0].state, reading.config.instances[0].priority), (State::Master, 150));
    let reading = of("definition-multiline.conf");
    let names: Vec<&str> = reading.config.instances.iter().map(|instance| instance.name.as_str()).collect();
    assert_eq!(names, ["r1", "r2"]);
    assert_eq!(of("definition-recursive.conf").config.instances[0].addresses[0].address.to_string(), "192.0.2.7");
}

#[test]
fn series_make_lines() {
    let addresses = |name: &str| -> Vec<String> {
        of(name).config.instances[0].addresses.iter().map(|address| address.address.to_string()).collect()
    };
    let expected = ["1", "2", "3", "4", "5", "10", "20", "30", "40", "50"].map(|last| format!("192.0.2.{last}"));
    assert_eq!(addresses("sequence.conf"), expected);
    assert_eq!(
        addresses("sequence-hex.conf")[1..],
        ["90", "a0", "b0", "c0"].map(|part| format!("2001:db8::20:{part}:1"))
    );
    assert_eq!(addresses("list.conf"), ["192.0.2.3", "192.0.2.5", "192.0.2.9", "203.0.100.1", "203.0.113.2"]);
}

#[test]
fn included_files_are_part_of_it_and_named_in_messages() {
    let part =
        "vrrp_instance a {\n  interface eth0\n  virtual_router_id 3\n  wrong 1\n  virtual_ipaddress { 192.0.2.9 }\n}\n";
    let files = BTreeMap::from([("conf.d/a.conf", part)]);
    let reading = read_with("include conf.d/*\n", &files, &mut script);
    assert_eq!(reading.config.instances[0].vrid, 3);
    let message = &of_kind(&reading, Kind::Warning)[0].message;
    assert_eq!((message.file.as_deref(), message.line(), message.column()), (Some("conf.d/a.conf"), Some(4), Some(3)));
    // A file that includes itself ends.
    let files = BTreeMap::from([("a.conf", "include a.conf\n")]);
    assert!(read_with("include a.conf\n", &files, &mut script).refused);
}

#[test]
fn messages_name_the_place_and_what_to_do() {
    let text = "vrrp_instance a {\n  interface eth0\n  virtual_router_id 300\n  priorty 5\n  virtual_ipaddress {\n    192.0.2.1/99\n  }\n}\n";
    assert_eq!(
        said(&parse(text)),
        [
            "Fatal keepalived.conf:1:1: warning: a: has no virtual_router_id, expected virtual_router_id 1 to 255, the same on all nodes",
            "Warning keepalived.conf:3:21: warning: virtual_router_id: is not valid and is ignored (300), expected a whole number from 1 to 255",
            "Warning keepalived.conf:4:3: warning: priorty: is no keyword of vrrp_instance; it is passed over, expected perhaps priority",
            "Warning keepalived.conf:6:5: warning: 192.0.2.1/99: has a prefix that there is not; the address is taken for one host (192.0.2.1/99)",
        ]
        .map(|line| line.replace("Fatal keepalived.conf:1:1: warning:", "Fatal keepalived.conf:1:1:"))
    );
}

#[test]
fn passwords_are_never_shown() {
    let text = "vrrp_instance a {\n  interface eth0\n  virtual_router_id 3\n  authentication { auth_type PASS auth_pass verysecretindeed }\n  authentication {\n    auth_pass verysecretindeed extra\n    auth_type PASS\n  }\n  virtual_ipaddress { 192.0.2.9 }\n}\n";
    let reading = parse(text);
    for finding in &reading.findings {
        assert!(!format!("{:#}", finding.message).contains("verysecret"), "{finding:?}");
    }
    assert!(!format!("{:?}", reading.config).contains("verysecret"));
}

#[test]
fn the_fix_makes_what_was_meant() {
    let (_, text, _) = corpus().iter().find(|(name, _, _)| name == "guide-check-script.conf").expect("the guide");
    let reading = parse(text);
    let lints: Vec<&str> = of_kind(&reading, Kind::Lint).iter().map(|finding| finding.lint).collect();
    assert_eq!(lints, ["weight-not-fault", "slow-check", "vrid-of-the-examples"]);
    let fixed = fix("keepalived.conf", text, &reading.edits);
    assert!(fixed.contains("    interval 1\n    fall 2\n    rise 2\n"), "{fixed}");
    let again = parse(&fixed);
    let lints: Vec<&str> = of_kind(&again, Kind::Lint).iter().map(|finding| finding.lint).collect();
    assert_eq!(lints, ["vrid-of-the-examples"], "{fixed}");
    assert_eq!(again.config.instances[0].tracks.scripts[0].weight.value, 0);
    assert_eq!(fix("keepalived.conf", &fixed, &again.edits), fixed);
}

#[test]
fn a_lost_password_is_found_again() {
    let (_, text, _) = corpus().iter().find(|(name, _, _)| name == "auth-one-line.conf").expect("the file");
    let reading = parse(text);
    assert!(reading.config.instances[0].password.is_none());
    let fixed = fix("keepalived.conf", text, &reading.edits);
    let again = parse(&fixed);
    assert_eq!(again.config.instances[0].password.expect("a password").0, *b"42\0\0\0\0\0\0", "{fixed}");
    assert!(again.findings.is_empty(), "{:?}", said(&again));
}

#[test]
fn missing_includes_count_where_that_is_asked_for() {
    let class = |text: &str| parse(text).class.code();
    assert_eq!(class("include nothing.conf\n"), 0);
    assert_eq!(class("global_defs {\n  include_check\n}\ninclude nothing.conf\n"), 6);
    assert_eq!(class("global_defs {\n  include_check match\n}\ninclude nothing*\n"), 0);
    assert_eq!(class("global_defs {\n  include_check match\n}\ninclude nothing\n"), 6);
    assert_eq!(
        class("global_defs {\n  include_check\n  include_check -match -wildcard_match\n}\ninclude nothing\n"),
        0
    );
}

#[test]
fn the_same_seed_makes_the_same_file() {
    let text = "global_defs {\n  random_seed 5\n}\nvrrp_instance a {\n  interface eth0\n  virtual_router_id ${_RANDOM 10 20}\n  virtual_ipaddress { 192.0.2.9 }\n}\n";
    let vrid = parse(text).config.instances[0].vrid;
    assert!((10..=20).contains(&vrid));
    assert_eq!(parse(text).config.instances[0].vrid, vrid);
}
