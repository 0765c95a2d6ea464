//! Every message, word by word.

use crate::{accepted, load, refused};

/// A file that is in order, to which each test adds one mistake.
pub(crate) const GOOD: &str = "\
localPeer: {id: a, address: 192.0.2.1}
remotePeers: [{id: b, address: 192.0.2.2}, {id: c, address: 192.0.2.3}]
vip: 192.0.2.75
interface: eth0
";

/// `GOOD` plus one line (the fifth), refused with one message about it.
pub(crate) fn fifth(line: &str, expected: &str) {
    refused(&format!("{GOOD}{line}\n"), &[&format!("f.yaml:5:{expected}")]);
}

fn fifth_warned(line: &str, expected: &str) {
    accepted(&format!("{GOOD}{line}\n"), &[&format!("f.yaml:5:{expected}")]);
}

/// `GOOD` with one line replaced.
fn instead(old: &str, new: &str, expected: &[&str]) {
    assert!(GOOD.contains(old), "{old}");
    refused(&GOOD.replace(old, new), expected);
}

#[test]
fn whole_files() {
    let empty = "f.yaml:1:1: the file: is empty, expected keys such as vip, interface, localPeer";
    for text in ["", "\n\n", "# nothing\n", "---\n", "~\n", "\u{feff}"] {
        refused(text, &[empty]);
    }
    let mapping = "expected a mapping with keys such as localPeer, remotePeers, addPeersAsBackends";
    refused("- a\n", &[&format!("f.yaml:1:1: the file: is a list, {mapping}")]);
    refused("hello\n", &[&format!("f.yaml:1:1: the file: is a single value (hello), {mapping}")]);
    let deep = "[".repeat(40);
    assert!(load(&deep).unwrap_err()[0].to_string().contains("the file: is"), "{deep}");
    refused(&format!("a: {}\n", "x".repeat(1 << 20)), &["f.yaml:1:1: the file: is larger than 1 MiB"]);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
        d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    let many = "f.yaml:5:5: the file: has more than 20000 values, aliases counted in full";
    assert_eq!(load(bomb).unwrap_err()[0].to_string(), many);
    refused("a: &a [*a]\n", &["f.yaml:1:8: the file: is an alias to a value that contains it"]);
}

#[test]
fn broken_yaml_has_a_position() {
    let first = load("vip: 192.0.2.75\n  interface: eth0\n").unwrap_err()[0].to_string();
    assert!(first.starts_with("f.yaml:2:"), "{first}");
    assert!(first.contains("the file: is not valid YAML: "), "{first}");
}

#[test]
fn a_second_document() {
    accepted(
        &format!("{GOOD}---\nvip: 1\n"),
        &["f.yaml:5:1: warning: the file: has a second document, which is not read"],
    );
}

#[test]
fn wrong_types() {
    fifth("singleNode: maybe", "13: singleNode: is not a boolean (maybe), expected true or false");
    fifth(
        "witness: \"true\"",
        "10: witness: is quoted, so it is text and not a boolean (true), expected true or false",
    );
    fifth("witness: [true]", "10: witness: is a list, expected true or false");
    fifth("witness: {a: b}", "10: witness: is a mapping, expected true or false");
    fifth("priority: high", "11: priority: is not a whole number (high), expected a whole number from 1 to 65535");
    fifth(
        "priority: \"7\"",
        "11: priority: is quoted, so it is text and not a number (7), expected a whole number from 1 to 65535",
    );
    fifth(
        "priority: 010",
        "11: priority: begins with a zero, which some readers take for octal (010), expected a whole number from 1 to 65535",
    );
    fifth("priority: 0", "11: priority: is out of range (0), expected a whole number from 1 to 65535");
    fifth("priority: -3", "11: priority: is out of range (-3), expected a whole number from 1 to 65535");
    fifth("priority: 7.5", "11: priority: is not a whole number (7.5), expected a whole number from 1 to 65535");
    fifth(
        "prefix: 99999999999999999999999",
        "9: prefix: is out of range (99999999999999999999999), expected a whole number from 1 to 128",
    );
    fifth("lease: 500", "8: lease: has no unit (500), expected a duration from 50ms to 5s");
    fifth("lease: soon", "8: lease: is not a duration (soon), expected a duration from 50ms to 5s");
    fifth("lease: 10ms", "8: lease: is out of range (10ms), expected a duration from 50ms to 5s");
    fifth("lease: 6s", "8: lease: is out of range (6s), expected a duration from 50ms to 5s");
    fifth("refresh: 1d", "10: refresh: is not a duration (1d), expected a duration from 1s to 1h, or off");
    fifth("drain: 31s", "8: drain: is out of range (31s), expected a duration from 0s to 30s");
    fifth(
        "loadBalancers: 3",
        "16: loadBalancers: is a single value (3), expected a list, each item a mapping with keys such as name, type, port",
    );
    fifth(
        "loadBalancers: [~]",
        "17: loadBalancers[0]: is empty, expected a mapping with keys such as name, type, port",
    );
    fifth(
        "loadBalancers: [tcp]",
        "17: loadBalancers[0]: is a single value (tcp), expected a mapping with keys such as name, type, port",
    );
}

#[test]
fn unknown_keys() {
    fifth("intreface: ens192", "1: intreface: is not a known key (ens192), expected interface");
    fifth("Vipp: {a: 1}", "1: Vipp: is not a known key (a mapping), expected vip");
    fifth("bindToVip: true", "1: bindToVip: is not a known key (true), expected it at loadBalancers[].bindToVip");
    fifth(
        "interval: [1]",
        "1: interval: is not a known key (a list), expected it at loadBalancers[].backends[].check.interval",
    );
    let root = "localPeer, remotePeers, addPeersAsBackends, vip, address, vips, interface, prefix, gratuitousARP, singleNode, \
        startAsLeader, loadBalancers, lease, renew, peerKey, peerKeyFile, witness, priority, preempt, drain, refresh, fence, force, admin";
    fifth("quorum: 3", &format!("1: quorum: is not a known key (3), expected one of {root}"));
    fifth("[a]: 3", "1: the file: has a key that is a list or a mapping, expected text before the colon");
    instead(
        "id: a",
        "name: a",
        &["f.yaml:1:13: localPeer.name: is not a known key (a), expected it at loadBalancers[].name"],
    );
}

#[test]
fn under_the_old_name_an_unknown_key_is_a_warning() {
    let text = format!("{GOOD}quorumm: 3\n");
    let loaded =
        baton_config::start(&Default::default(), &[], Some(("f.yaml", &text)), &crate::host(), &crate::key_file, true);
    let warnings = loaded.unwrap().warnings;
    assert!(warnings[0].to_string().starts_with("f.yaml:5:1: warning: quorumm: is not a known key (3), expected "));
}

#[test]
fn keys_twice() {
    fifth(
        "VIP: 192.0.2.76",
        "1: VIP: is given twice, first in line 3 (VIP), expected each key once, whatever its spelling",
    );
    let text = format!("{GOOD}lease: 1s\nLEASE: 1s\nlease: 2s\n");
    let line = |n| {
        format!(
            "f.yaml:{n}:1: {}: is given twice, first in line 5 ({0}), expected each key once, whatever its spelling",
            if n == 6 { "LEASE" } else { "lease" }
        )
    };
    refused(&text, &[&line(6), &line(7)]);
}

#[test]
fn keys_that_had_no_effect() {
    fifth_warned(
        "leaseDuration: 15",
        "1: warning: leaseDuration: has no effect: it was for Kubernetes Leases; the peers' lease is `lease`",
    );
    fifth_warned("EnableBGP: true", "1: warning: EnableBGP: has no effect: `start` does not speak BGP");
    fifth_warned("bgpConfig: {AS: 65000}", "1: warning: bgpConfig: has no effect: `start` does not speak BGP");
    fifth_warned(
        "vipCidr: \"32\"",
        "1: warning: vipCidr: has no effect: it was for BGP; the prefix length is `prefix`",
    );
    fifth_warned(
        "addPeersAsBackends: true",
        "21: warning: addPeersAsBackends: has no effect: no load balancer has a backendPort and no backends of its own",
    );
    let quiet = "EnableLeaderElection: false\nLeaseDuration: 0\nRenewDeadline: 0\nRetryPeriod: 0\nVIPCIDR: \"\"\nAddress: \"\"\nPort: 0\n\
        EnableLoadBalancer: false\nEnableBGP: false\nBGPConfig: {}\nBGPPeerConfig: {}\nEnablePacket: false\nPacketAPIKey: \"\"\nPacketProject: \"\"\n";
    accepted(&format!("{GOOD}{quiet}"), &[]);
}

#[test]
fn addresses() {
    instead(
        "vip: 192.0.2.75",
        "vip: 192.0.2.256",
        &["f.yaml:3:6: vip: is not an IP address (192.0.2.256), expected an IPv4 or IPv6 address such as 192.0.2.10"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 192.0.2.75/24",
        &[
            "f.yaml:3:6: vip: has a prefix length (it goes into prefix) (192.0.2.75/24), expected an IPv4 or IPv6 address such as 192.0.2.10",
        ],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 192.0.2.7,192.0.2.8",
        &[
            "f.yaml:3:6: vip: is more than one address (several go into vips) (192.0.2.7,192.0.2.8), expected an IPv4 or IPv6 address such as 192.0.2.10",
        ],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 0.0.0.0",
        &["f.yaml:3:6: vip: is the unspecified address (0.0.0.0), expected the address of a host"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 224.0.0.18",
        &["f.yaml:3:6: vip: is a multicast address (224.0.0.18), expected the address of a host"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 127.0.0.9",
        &["f.yaml:3:6: vip: is a loopback address (127.0.0.9), expected an address that other hosts can reach"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 'fe80::9'",
        &[
            "f.yaml:3:6: vip: is a link-local address, which means nothing without a zone (fe80::9), expected the address of a host",
        ],
    );
    instead(
        "vip: 192.0.2.75",
        "prefix: 24",
        &["f.yaml:1:1: vip: is missing, expected the address to keep, such as 192.0.2.10"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 192.0.2.75\nprefix: 33",
        &["f.yaml:4:9: prefix: is too long for 192.0.2.75 (33), expected 1 to 32"],
    );
    instead(
        "vip: 192.0.2.75",
        "vips: [192.0.2.75, {address: 192.0.2.75}]",
        &["f.yaml:3:30: vips[1].address: is given twice (192.0.2.75), expected each address once"],
    );
    let none = "f.yaml:1:1: vip: is missing, expected the address to keep, such as 192.0.2.10";
    instead("vip: 192.0.2.75", "vips: []", &[none]);
    instead("vip: 192.0.2.75", "vip: ''", &[none]);
    instead(
        "vip: 192.0.2.75",
        "vips: [{prefix: 24}]",
        &["f.yaml:3:8: vips[0].address: is missing, expected the address to keep"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 192.0.2.75\naddress: 192.0.2.76",
        &[
            "f.yaml:4:10: address: differs from vip (192.0.2.76), expected one of the two keys; several addresses go into vips",
        ],
    );
}

#[test]
fn addresses_of_hosts() {
    instead(
        "vip: 192.0.2.75",
        "vip: 192.0.2.3",
        &["f.yaml:3:6: vip: is the address of remotePeers[1] (192.0.2.3), expected an address that no host has"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 192.0.2.1",
        &["f.yaml:3:6: vip: is localPeer's own address (192.0.2.1), expected an address that no host has"],
    );
    instead(
        "vip: 192.0.2.75",
        "vip: 198.51.100.1",
        &[
            "f.yaml:3:6: vip: is this host's own address on eth1 (198.51.100.1/24), expected an address that no host has",
        ],
    );
}

#[test]
fn interfaces() {
    instead(
        "interface: eth0",
        "interface: ens192",
        &["f.yaml:4:12: interface: is not an interface of this host (ens192), expected one of eth0, eth1, lo"],
    );
    assert_eq!(accepted(&GOOD.replace("interface: eth0\n", ""), &[]).settings, accepted(GOOD, &[]).settings);
    instead(
        "192.0.2.75\ninterface: eth0\n",
        "203.0.113.7\n",
        &[
            "f.yaml:3:6: interface: is missing (no interface of this host is in the network of 203.0.113.7), expected one of eth0, eth1, lo",
        ],
    );
}

#[test]
fn peers() {
    instead(
        "address: 192.0.2.1",
        "address: 192.0.2.9",
        &[
            "f.yaml:1:29: localPeer.address: is not an address of this host (192.0.2.9), expected one of 192.0.2.1, 2001:db8::1, 198.51.100.1",
        ],
    );
    instead(
        "id: a, address: 192.0.2.1",
        "id: a",
        &["f.yaml:1:12: localPeer.address: is missing, expected its IP address on the peers' network"],
    );
    instead(
        "192.0.2.3}",
        "192.0.2.2, port: 7}",
        &[
            "f.yaml:2:61: remotePeers[1].address: is remotePeers[0]'s address too (192.0.2.2), expected a different address for each peer",
        ],
    );
    instead(
        "192.0.2.3}",
        "192.0.2.1, port: 7}",
        &[
            "f.yaml:2:78: remotePeers[1].port: differs from localPeer.port (7), expected 10000, because it has localPeer's address",
        ],
    );
    instead(
        "192.0.2.3}",
        "'2001:db8::3'}",
        &[
            "f.yaml:2:61: remotePeers[1].address: is of another family than localPeer.address (2001:db8::3), expected an IPv4 address",
        ],
    );
    instead(
        "192.0.2.3}",
        "host3}",
        &[
            "f.yaml:2:61: remotePeers[1].address: is not an IP address (host3), expected an IPv4 or IPv6 address such as 192.0.2.10",
        ],
    );
    instead(
        "192.0.2.3}",
        "192.0.2.3, port: 70000}",
        &["f.yaml:2:78: remotePeers[1].port: is out of range (70000), expected a whole number from 1 to 65535"],
    );
    let alone = "f.yaml:1:12: localPeer: has no peers, expected entries in remotePeers, or singleNode: true, or startAsLeader: true";
    refused("localPeer: {id: a, address: 192.0.2.1}\nremotePeers: []\nvip: 192.0.2.75\n", &[alone]);
    refused("localPeer: {id: a, address: 192.0.2.1}\nremotePeers: [{address: 192.0.2.1}]\nvip: 192.0.2.75\n", &[alone]);
    let who = "is missing, expected this node's id, address and port; or singleNode: true for a node without peers";
    refused("vip: 192.0.2.75\n", &[&format!("f.yaml:1:1: localPeer: {who}")]);
    refused("startAsLeader: true\nvip: 192.0.2.75\n", &[&format!("f.yaml:1:1: localPeer: {who}")]);
    let many: Vec<String> = (2..18).map(|n| format!("{{address: 192.0.2.{n}}}")).collect();
    instead(
        "{id: b, address: 192.0.2.2}, {id: c, address: 192.0.2.3}",
        &many.join(", "),
        &["f.yaml:2:14: remotePeers: makes too many voters (17), expected at most 15, localPeer included"],
    );
}

#[test]
fn a_single_node_ignores_its_peers() {
    accepted(
        &format!("{GOOD}singleNode: true\n"),
        &["f.yaml:2:14: warning: remotePeers: is ignored, because singleNode is true (2)"],
    );
}

#[test]
fn contradictions() {
    fifth(
        "witness: true\nstartAsLeader: true",
        "10: witness: contradicts startAsLeader: a witness never holds (true), expected only one of the two",
    );
    fifth("renew: 200ms", "8: renew: is too long (200ms), expected at most 166ms, a third of the lease of 500ms");
    fifth_warned("refresh: 9s\ngratuitousARP: false", "10: warning: refresh: has no effect: gratuitousARP is false");
}

#[test]
fn keys_of_the_peers_are_never_shown() {
    fifth_warned(
        "peerKey: tooshort",
        "10: warning: peerKey: has a key of 8 bytes, which can be guessed, expected 16 bytes or more, such as the output of `openssl rand -hex 32`",
    );
    fifth("peerKey: {tooshort: 1}", "10: peerKey: is a mapping, expected text, or a list, each item text");
    fifth(
        "peerKey: [secret-secret-secret, secret-secret-secret, secret-secret-secret]",
        "10: peerKey: has too many items (3), expected at most 2",
    );
    fifth(
        "peerKeyFile: /none",
        "14: peerKeyFile: cannot be read: No such file or directory (/none), expected a file with one key on each line",
    );
    fifth(
        "peerKeyFile: /etc/baton/empty",
        "14: peerKeyFile: has no key in it (/etc/baton/empty), expected a file with one key on each line",
    );
    fifth(
        "peerKeyFile: [/etc/baton/two, /etc/baton/key]",
        "14: peerKeyFile: has too many keys, expected at most two: the one that signs, and the other of a rotation",
    );
    let both = "peerKey: secret-secret-secret\npeerKeyFile: /etc/baton/key\n";
    refused(&format!("{GOOD}{both}"), &["f.yaml:6:14: peerKeyFile: contradicts peerKey, expected only one of the two"]);
    let weak = load(&format!("{GOOD}peerKey: hunter2\n")).unwrap();
    assert!(!format!("{:#} {weak:?}", weak.warnings[0]).contains("hunter2"));
    let mistakes =
        ["perKey: hunter2\n", "peerKey: [hunter2\n", "x: {PeerKey: hunter2, vip: 1}\n", "\"peerKey\": hunter2: 1\n"];
    for mistake in mistakes {
        for message in load(&format!("{GOOD}{mistake}")).unwrap_err() {
            let text = format!("{message:#} {message:?}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    let loaded = accepted(&format!("{GOOD}peerKey: hunter2-hunter2-hunter2\n"), &[]);
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn all_at_once_and_in_order() {
    let text = "vip: x\nlocalPeer: {id: a, address: 192.0.2.9, port: zero}\nremotePeers: {}\ninterface: eth9\nfoo: 1\nlease: 1\n";
    let lines: Vec<u32> = load(text).unwrap_err().iter().filter_map(baton_config::Message::line).collect();
    assert_eq!(lines, [1, 2, 2, 3, 4, 5, 6]);
}

#[test]
fn more_than_anybody_reads() {
    let text: String = (0..1000).map(|n| format!("nothing{n}: 1\n")).collect();
    let messages = load(&text).unwrap_err();
    assert_eq!(messages.len(), 201);
    assert_eq!(messages[200].to_string(), "f.yaml: the file: has more problems (802)");
}

#[test]
fn snippets() {
    let message = &load(&GOOD.replace("eth0", "eth9")).unwrap_err()[0];
    let shown = "f.yaml:4:12: interface: is not an interface of this host (eth9), expected one of eth0, eth1, lo\n 4 | interface: eth9\n   |            ^";
    assert_eq!(format!("{message:#}"), shown);
}

#[test]
fn values_are_shortened_and_made_printable() {
    let message = load(&format!("{GOOD}witness: \"\\e[31m{}\"\n", "x".repeat(100))).unwrap_err()[0].to_string();
    assert!(message.contains("(\\u{1b}[31mxxx") && message.contains("x…)"), "{message}");
}

#[test]
fn own_addresses_and_leftovers() {
    use baton_core::keeper::event::HostAddress;
    let with = |text: &str, change: &dyn Fn(&mut HostAddress)| {
        let mut host = crate::host();
        let mut found = crate::address("eth0", "192.0.2.75", 24);
        change(&mut found);
        host.addresses.push(found);
        let loaded =
            baton_config::start(&Default::default(), &[], Some(("f.yaml", text)), &host, &crate::key_file, false);
        loaded.err().map(|messages| messages[0].to_string())
    };
    let own =
        "f.yaml:3:6: vip: is this host's own address on eth0 (192.0.2.75/24), expected an address that no host has";
    assert_eq!(with(GOOD, &|_| ()).as_deref(), Some(own));
    assert_eq!(with(GOOD, &|a| a.permanent = false).as_deref(), Some(own), "leased by DHCP");
    assert_eq!(with(GOOD, &|a| a.prefix = 32), None, "left by kube-vip");
    assert_eq!(with(GOOD, &|a| a.secondary = true), None, "left by keepalived");
    assert_eq!(with(GOOD, &|a| a.mine = true), None, "held");
    let longer = format!("{GOOD}prefix: 24\n");
    assert_eq!(with(&longer, &|a| a.permanent = false), None, "held, on a kernel that does not say by whom");
    assert_eq!(with(&longer, &|_| ()).as_deref(), Some(own));
}
