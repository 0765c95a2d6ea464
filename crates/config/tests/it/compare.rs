//! Files of several nodes side by side.

use baton_config::{HostFacts, Loaded, StartArgs, compare, start};

use crate::{key_file, lines};

const PEERS: &str = "remotePeers: [{address: 192.0.2.1}, {address: 192.0.2.2}, {address: 192.0.2.3}]\n";

fn node(name: &str, address: &str, rest: &str) -> Loaded {
    let text = format!("localPeer: {{address: {address}}}\ninterface: eth0\n{rest}");
    start(&StartArgs::default(), &[], Some((name, &text)), &HostFacts::default(), &key_file, false).unwrap()
}

fn says(rests: &[&str], expected: &[&str]) {
    let names = ["a.yaml", "b.yaml", "c.yaml"];
    let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let files: Vec<Loaded> = rests.iter().enumerate().map(|(i, rest)| node(names[i], addresses[i], rest)).collect();
    assert_eq!(lines(&compare(&files)), expected);
}

#[test]
fn what_fits_together() {
    let vip = format!("{PEERS}vip: 192.0.2.9\n");
    says(&[&vip, &vip, &vip], &[]);
    says(&[&vip], &[]);
    says(&[], &[]);
    let others = "remotePeers: [{address: 192.0.2.3}, {address: 192.0.2.1}]\nvip: 192.0.2.9\n";
    says(&[&vip, others], &[]);
    let old = format!("{vip}peerKey: 0123456789abcdef\n");
    let both = format!("{vip}peerKey: [0123456789abcdef, fedcba9876543210]\n");
    says(&[&old, &both, &both], &[]);
}

#[test]
fn what_does_not() {
    let vip = format!("{PEERS}vip: 192.0.2.9\n");
    says(
        &[&vip, &vip.replace("192.0.2.3", "192.0.2.4")],
        &[
            "b.yaml:3:14: remotePeers: makes other voters than a.yaml, without 192.0.2.3:10000 and with 192.0.2.4:10000, expected the same voters in every file, localPeer included",
        ],
    );
    says(
        &[&vip, &vip.replace("192.0.2.3", "192.0.2.3, port: 7")],
        &[
            "b.yaml:3:14: remotePeers: makes other voters than a.yaml, without 192.0.2.3:10000 and with 192.0.2.3:7, expected the same voters in every file, localPeer included",
        ],
    );
    says(
        &[&vip, &format!("{vip}lease: 1s\n"), &vip.replace("2.9", "2.8")],
        &[
            "b.yaml:5:8: warning: lease: differs from 500ms in a.yaml (1s), expected the same on all nodes",
            "c.yaml:4:6: warning: vip: differs from a.yaml, without 192.0.2.9 and with 192.0.2.8, expected the same addresses on all nodes that can hold them",
        ],
    );
    let key = |key: &str| format!("{vip}peerKey: {key}\n");
    let deaf = "b.yaml:5:10: peerKey: shares no key with a.yaml, so neither hears the other, expected the same key on all nodes; during a rotation one that both have";
    says(&[&key("0123456789abcdef"), &key("fedcba9876543210")], &[deaf]);
    says(&[&key("0123456789abcdef"), &key("[fedcba9876543210, 0123456789abcdef]")], &[deaf]);
    says(&[&vip, &key("0123456789abcdef")], &[deaf]);
    says(
        &[&format!("{vip}startAsLeader: true\n"), &format!("{vip}startAsLeader: true\n")],
        &[
            "b.yaml:5:16: warning: startAsLeader: is true in a.yaml too, so neither starts alone (true), expected true on one node only",
        ],
    );
    let twins = [node("a.yaml", "192.0.2.1", &vip), node("b.yaml", "192.0.2.1", &vip)];
    let twin =
        "b.yaml:1:12: localPeer: is the same node as in a.yaml (192.0.2.1:10000), expected one file for each node";
    assert_eq!(lines(&compare(&twins)), [twin]);
}
