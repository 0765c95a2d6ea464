//! Sync groups: members move together.

use super::*;

fn grouped(tracking_weight: bool) -> Settings {
    let names = || vec!["VI_1".into(), "VI_2".into()];
    let group = SyncGroup { name: "VG".into(), members: names(), watches: Vec::new(), tracking_weight };
    let script = TrackerKind::Script { rise: 1, fall: 1, init_fail: false };
    let watches = vec![Watch { tracker: "chk".into(), weight: -50, reverse: false }];
    let second = Router { interface: "eth1".into(), watches, ..router("VI_2", 52, 200, "10.0.1.100") };
    Settings {
        groups: vec![group],
        trackers: vec![Tracker { name: "chk".into(), kind: script }],
        ..settings(vec![one(100), second])
    }
}

fn node(settings: Settings) -> Node {
    let mut node = Node::new(settings);
    node.event(Event::Link(Link { name: "eth1".into(), ..link(true) }));
    let second = HostAddress { interface: "eth1".into(), ..host_address("10.0.1.2", false) };
    node.event(Event::AddressPut(second));
    node
}

fn states(node: &Node) -> Vec<State> {
    node.routers.status().routers.iter().map(|r| r.state).collect()
}

use State::{Backup, Fault, Master};

#[test]
fn the_first_one_takes_the_others_along() {
    let mut node = node(grouped(false));
    assert_eq!(states(&node), [Backup, Backup]);
    node.run(3_300);
    assert_eq!(states(&node), [Master, Master], "VI_2 was due after 3.2 s, VI_1 after 3.6 s");
    let told = node.log.iter().filter(|w| w.starts_with("VG")).cloned().collect::<Vec<_>>();
    assert_eq!(told.last().map(String::as_str), Some("VG Master"));
}

#[test]
fn one_that_hears_a_better_master_takes_the_others_along() {
    let mut node = node(grouped(false));
    node.run(4_000);
    node.log.clear();
    let words = node.hear("10.0.0.9", 150);
    assert_eq!(states(&node), [Backup, Backup]);
    let expected = ["drain 1", "notify Backup", "advert 100", "drain 1", "notify Backup", "VG Backup"];
    assert_eq!(words, expected);
}

#[test]
fn one_fault_is_a_fault_of_all_until_it_is_over() {
    let mut node = node(grouped(false));
    node.run(4_000);
    node.event(Event::Link(Link { name: "eth1".into(), ..link(false) }));
    assert_eq!(states(&node), [Fault, Fault]);
    assert_eq!(node.log.iter().filter(|w| *w == "advert 0").count(), 2, "both give up: {:?}", node.log);
    assert!(node.log.contains(&"VG Fault".into()), "{:?}", node.log);
    node.run(10_000);
    assert_eq!(states(&node), [Fault, Fault]);
    node.event(Event::Link(Link { name: "eth1".into(), ..link(true) }));
    assert_eq!(states(&node), [Backup, Backup]);
    node.run(4_000);
    assert_eq!(states(&node), [Master, Master]);
}

#[test]
fn weights_of_members_count_only_where_they_are_told_to() {
    for (tracking_weight, expected) in [(false, 200), (true, 150)] {
        let mut node = node(grouped(tracking_weight));
        node.event(Event::Checked { tracker: "chk".into(), found: Found::Failed });
        assert_eq!(node.routers.status().routers[1].priority, expected);
    }
}

#[test]
fn a_group_whose_checks_are_unknown_waits() {
    let mut settings = grouped(false);
    settings.groups[0].watches = vec![Watch { tracker: "chk".into(), weight: 0, reverse: false }];
    let mut node = node(settings);
    node.run(10_000);
    assert_eq!(states(&node), [State::Init, State::Init]);
    node.event(Event::Checked { tracker: "chk".into(), found: Found::Well });
    node.run(4_000);
    assert_eq!(states(&node), [Master, Master]);
    node.event(Event::Checked { tracker: "chk".into(), found: Found::Failed });
    assert_eq!(states(&node), [Fault, Fault]);
}

#[test]
fn a_group_stops_as_one() {
    let mut node = node(grouped(false));
    node.run(4_000);
    node.log.clear();
    node.event(Event::Stop);
    node.run(1_000);
    let count = |word: &str| node.log.iter().filter(|w| *w == word).count();
    assert_eq!((count("advert 0"), count("notify Stop"), count("VG Stop")), (2, 2, 1), "{:?}", node.log);
    assert_eq!(node.log.last().map(String::as_str), Some("stopped"));
}
