//! What is legal and unwise.

use baton_config::unwise;
use baton_core::keeper::event::Link;

use crate::{accepted, host, lines};

const GOOD: &str = "\
localPeer: {id: a, address: 192.0.2.1}
remotePeers: [{id: b, address: 192.0.2.2}, {id: c, address: 192.0.2.3}]
vip: 192.0.2.75
interface: eth0
peerKey: 0123456789abcdef
";

fn says(text: &str, expected: &[&str]) {
    assert_eq!(lines(&unwise(&accepted(text, &[]), &host())), expected, "{text}");
}

#[test]
fn nothing_to_say() {
    says(GOOD, &[]);
    says("singleNode: true\nvip: 192.0.2.75\n", &[]);
}

#[test]
fn numbers_of_voters() {
    says(
        &GOOD.replace(", {id: c, address: 192.0.2.3}", ""),
        &[
            "f.yaml:2:14: warning: remotePeers: makes two voters, which cannot fail over: when one is down, the other has no majority (2), expected a third voter; `witness: true` makes one that only votes",
        ],
    );
    says(
        &GOOD.replace("{id: c", "{address: 192.0.2.9}, {id: c"),
        &[
            "f.yaml:2:14: warning: remotePeers: makes an even number of voters, which survives no more failures than 3 (4), expected an odd number",
        ],
    );
    let many: String = (10..16).map(|n| format!("{{address: 192.0.2.{n}}}, ")).collect();
    says(
        &GOOD.replace("{id: c", &format!("{many}{{id: c")),
        &["f.yaml:2:14: warning: remotePeers: makes many voters (9), expected five or seven for any number of hosts"],
    );
}

#[test]
fn trust() {
    says(
        &GOOD.replace("peerKey: 0123456789abcdef\n", "fence: off\nforce: true\nstartAsLeader: true\n"),
        &[
            "f.yaml:7:16: warning: startAsLeader: holds outside the guarantee until a majority was seen (true), expected true on one node only, and false again when the others have joined",
            "f.yaml:1:1: warning: peerKey: is missing: anybody who can send from a peer's address can vote, expected the same secret on all nodes, such as the output of `openssl rand -hex 32`",
            "f.yaml:5:8: warning: fence: leaves the end of ownership to this process: stopped or killed, it goes on answering (off), expected on, wherever the kernel has nftables",
            "f.yaml:6:8: warning: force: takes addresses from hosts that answer for them (true), expected false, unless for a moment",
        ],
    );
}

#[test]
fn networks_and_links() {
    says(
        &GOOD.replace("192.0.2.75", "203.0.113.75"),
        &[
            "f.yaml:3:6: warning: vip: is in no network of eth0, so neighbours need a route to it (203.0.113.75), expected an address of that network",
        ],
    );
    let mut host = host();
    host.links[1] = Link { name: "eth0".into(), up: false, mac: None };
    let line = "f.yaml:4:12: warning: interface: is down (eth0), expected an interface with a carrier";
    assert_eq!(lines(&unwise(&accepted(GOOD, &[]), &host)), [line]);
}

#[test]
fn a_listener_beside_an_api_server() {
    let with = |balancer: &str| format!("{GOOD}loadBalancers:\n- {balancer}\n");
    let what = |listener: &str, host: &str| {
        format!(
            "f.yaml:7:10: warning: loadBalancers[0].port: listens on {listener} and {host}:6443 is a backend: a server there that binds all addresses, as an API server does, and this listener cannot both start (6443), expected another port, or "
        )
    };
    let own = "a server that binds its own address only";
    says(
        &with("{port: 6443, bindToVip: true, backends: [{address: 192.0.2.1, port: 6443}]}"),
        &[&(what("a virtual IP", "192.0.2.1") + own)],
    );
    let all = what("all addresses", "192.0.2.2") + "bindToVip: true and " + own;
    says(&with("{port: 6443, backends: [{address: 192.0.2.2, port: 6443}]}"), &[&all]);
    let local = what("all addresses", "localhost") + "bindToVip: true and " + own;
    says(&with("{port: 6443, backends: [{address: localhost, port: 6443}]}"), &[&local]);
    says(&with("{port: 6443, backends: [{address: 192.0.2.1, port: 6444}]}"), &[]);
    says(&with("{port: 6443, backends: [{address: 192.0.2.99, port: 6443}]}"), &[]);
    says(
        &with("{port: 6443, backends: [{address: 192.0.2.99, port: 6443, weight: 0}]}"),
        &[
            "f.yaml:7:26: warning: loadBalancers[0].backends: all have weight 0, so nothing new is accepted, expected a weight above 0 for one of them",
        ],
    );
}
