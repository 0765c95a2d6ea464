//! The values of every router of the corpus, as keepalived itself dumped them (`keepalived -n -l -d`).

use std::fmt::Write as _;
use std::time::Duration;

use baton_config::keepalived::model::{Address, Instance, State, Version};

use super::{corpus, directory, parse};

fn on(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

fn seconds(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| time.as_secs())
}

/// `address[/prefix]@link`: a host's prefix is not written, and the link is the router's unless it has one.
fn addresses(list: &[Address], link: &str) -> String {
    let one = |address: &Address| {
        let host = address.prefix == if address.address.is_ipv4() { 32 } else { 128 };
        let prefix = if host { String::new() } else { format!("/{}", address.prefix) };
        format!("{}{prefix}@{}", address.address, address.interface.as_deref().unwrap_or(link))
    };
    list.iter().map(one).collect::<Vec<_>>().join(",")
}

fn line(file: &str, instance: &Instance) -> String {
    let link = instance.vmac.as_ref().map(|vmac| vmac.name.as_str()).or(instance.interface.as_deref()).unwrap_or("");
    let garp = &instance.garp;
    let mut out = format!("{file} {}", instance.name);
    let mut put = |key: &str, value: &dyn std::fmt::Display| write!(out, " {key}={value}").expect("a string takes all");
    put("version", &if instance.version == Version::V2 { 2 } else { 3 });
    put("state", &if instance.state == State::Master { "MASTER" } else { "BACKUP" });
    put("interface", &link);
    put("vrid", &instance.vrid);
    put("priority", &instance.priority);
    put("interval", &instance.advert_interval.as_millis());
    put("down", &instance.down_timer_adverts);
    let lower = (seconds(garp.lower_prio_delay), garp.lower_prio_repeat);
    let times =
        [seconds(garp.master_delay), garp.master_repeat.into(), seconds(garp.refresh), garp.refresh_repeat.into()];
    let times = times.map(|number| number.to_string()).join("/");
    put("garp", &format!("{times}/{}/{}", lower.0, lower.1));
    put("answers", &!instance.lower_prio_no_advert);
    put("last", &instance.higher_prio_send_advert);
    put("accept", &on(instance.accept));
    put("preempt", &on(instance.preempt));
    put("promote", &on(instance.promote_secondaries));
    put("auth", &if instance.password.is_some() { "SIMPLE_PASSWORD" } else { "none" });
    put("addresses", &addresses(&instance.addresses, link));
    put("excluded", &addresses(&instance.excluded, link));
    let peers: Vec<String> = instance.unicast_peers.iter().map(|peer| peer.address.to_string()).collect();
    put("peers", &peers.join(","));
    out
}

#[test]
fn values_are_keepaliveds() {
    let dumped = std::fs::read_to_string(directory().join("values.txt")).expect("the values");
    let mut wrong = Vec::new();
    for expected in dumped.lines() {
        let mut words = expected.split(' ');
        let (file, name) = (words.next().expect("a file"), words.next().expect("a name"));
        let (_, text, _) = corpus().iter().find(|(known, _, _)| known == file).expect(file);
        let reading = parse(text);
        let found = reading.config.instances.iter().find(|instance| instance.name == name);
        let found = found.map_or_else(|| format!("{file} {name} is not there"), |instance| line(file, instance));
        if found != expected {
            wrong.push(format!("{expected}\n  {found}"));
        }
    }
    assert!(dumped.lines().count() > 100);
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
