//! When a backup takes over, and from whom: timers, priorities, preemption, reload.

use super::*;

/// When the node becomes master, in ms from now.
fn takes_over(node: &mut Node, within_ms: u64) -> Option<u64> {
    let done = node.run(within_ms);
    done.into_iter().find(|(_, word)| word.starts_with("advert")).map(|(at, _)| at)
}

#[test]
fn the_first_advert_comes_after_the_master_down_interval() {
    for (router, expected) in [
        (one(100), 3_609),
        (one(101), 3_605),
        (one(254), 3_007),
        (Router { down_adverts: 5, ..one(100) }, 5_609),
        (v3(100, 10), 360),
        (v3(100, 1), 36),
        (Router { start_master: true, ..one(255) }, 0),
        // `state MASTER` is a hint.
        (Router { start_master: true, ..one(254) }, 3_007),
    ] {
        let mut node = Node::new(settings(vec![router.clone()]));
        assert_eq!(takes_over(&mut node, 10_000), Some(expected), "{router:?}");
    }
}

#[test]
fn priority_zero_shortens_the_wait_to_the_skew() {
    let mut node = Node::backup(settings(vec![one(100)]));
    node.hear("10.0.0.9", 0);
    assert_eq!(takes_over(&mut node, 10_000), Some(609));
    let mut node = Node::backup(settings(vec![one(100)]));
    node.hear("10.0.0.1", 0);
    assert_eq!(takes_over(&mut node, 10_000), Some(3_609), "not its master: that one lives");
    let mut node = Node::backup(settings(vec![one(100)]));
    node.hear("10.0.0.9", 0);
    node.run(100);
    node.hear("10.0.0.8", 200);
    assert_eq!(takes_over(&mut node, 10_000), Some(3_609), "another master was faster");
}

#[test]
fn a_lower_master_is_replaced_or_not() {
    let cases = [
        (Preempt::Yes, Some(3_609)),
        (Preempt::No, None),
        // The delay runs from the start; after it, a master-down interval without adverts that count.
        (Preempt::After(Duration::from_secs(10)), Some(10_000 + 2_609)),
    ];
    for (preempt, expected) in cases {
        let mut node = Node::new(settings(vec![Router { preempt, ..one(100) }]));
        let mut at = None;
        for second in 0..30 {
            node.hear("10.0.0.1", 50);
            let done = node.run(1_000);
            let advert = done.into_iter().find(|(_, word)| word.starts_with("advert"));
            at = at.or(advert.map(|(ms, _)| second * 1_000 + ms));
        }
        // The first advert comes before the first step, and does not count in INIT.
        let near = |at: u64, wanted: u64| at.abs_diff(wanted) <= 1_001;
        assert!(matches!((at, expected), (None, None)) || near(at.unwrap(), expected.unwrap()), "{preempt:?}: {at:?}");
    }
}

#[test]
fn version_3_follows_the_masters_interval() {
    let mut node = Node::new(settings(vec![v3(100, 10)]));
    node.run(50);
    node.packet("10.0.0.9", &advert_v3(200, 100));
    assert_eq!(node.status().master_interval, Duration::from_secs(1));
    assert_eq!(takes_over(&mut node, 10_000), Some(3_609));
    // As master it keeps its own interval.
    let adverts = node.run(300).into_iter().filter(|(_, word)| word == "advert 100").count();
    assert!(adverts >= 2, "{adverts} adverts in 300 ms");
    let mut odd = Node::new(settings(vec![v3(100, 10)]));
    odd.run(50);
    odd.packet("10.0.0.9", &advert_v3(200, 0));
    assert_eq!(odd.status().master_interval, Duration::from_millis(10), "an interval of zero is no busy loop");
}

#[test]
fn weights_move_the_priority_and_with_it_the_timer() {
    let watch = Watch { tracker: "chk".into(), weight: -50, reverse: false };
    let kind = TrackerKind::Script { rise: 1, fall: 1, init_fail: false };
    let trackers = vec![Tracker { name: "chk".into(), kind }];
    let router = Router { watches: vec![watch], notify_priority: true, ..one(100) };
    let mut node = Node::backup(Settings { trackers, ..settings(vec![router]) });
    let failed = Event::Checked { tracker: "chk".into(), found: Found::Failed };
    assert_eq!(node.event(failed), ["notify BackupPriority"]);
    assert_eq!(node.status().priority, 50);
    assert_eq!(takes_over(&mut node, 10_000), Some(3_804), "50 more 256ths of a second");
    assert_eq!(node.hear("10.0.0.1", 60)[..2], ["drain 1", "notify Backup"]);
    let well = Event::Checked { tracker: "chk".into(), found: Found::Well };
    assert_eq!(node.event(well), ["notify BackupPriority"]);
    node.run(600);
    assert_eq!(node.hear("10.0.0.1", 60), [""; 0], "lower now: it does not keep us quiet");
    assert!(takes_over(&mut node, 3_100).is_some());
}

#[test]
fn a_nopreempt_backup_lets_a_weakened_master_be() {
    let mut node = Node::backup(settings(vec![Router { preempt: Preempt::No, ..one(100) }]));
    for _ in 0..10 {
        node.hear("10.0.0.9", 99);
        assert_eq!(takes_over(&mut node, 1_000), None);
    }
    assert_eq!(takes_over(&mut node, 4_000), Some(2_609), "but not a dead one");
}

#[test]
fn a_reload_of_what_stays_does_not_interrupt_the_adverts() {
    let mut node = Node::master(settings(vec![one(100)]));
    let more = Router { addresses: vec![address("10.0.0.100"), address("10.0.0.101")], ..one(110) };
    let words = node.event(Event::Configure(settings(vec![more.clone()])));
    assert_eq!(words, ["advert 110", "open 1", "put 10.0.0.101", "garp 1x5"]);
    assert_eq!(node.event(Event::Configure(settings(vec![more]))), [""; 0], "nothing changed");
    let words = node.event(Event::Configure(settings(vec![one(110)])));
    assert_eq!(words, ["shut 1", "advert 110", "remove 10.0.0.101"]);
    assert_eq!(node.state(), State::Master);
}

#[test]
fn a_reload_goes_on_with_the_list_that_all_members_know() {
    let list = |words: &mut Node| {
        let mut out = Vec::new();
        words.now = words.now + Duration::from_secs(1);
        words.routers.handle(words.now, Event::Tick, &mut out);
        let bytes =
            out.iter().find_map(|e| if let Effect::Send { bytes, .. } = e { Some(bytes.clone()) } else { None });
        Advert::parse(&bytes.unwrap(), ip(OWN), GROUP_V4.into()).unwrap().addresses.len()
    };
    let mut node = Node::master(settings(vec![one(100)]));
    let more = Router { addresses: vec![address("10.0.0.100"), address("10.0.0.101")], ..one(100) };
    node.event(Event::Configure(settings(vec![more])));
    assert_eq!(list(&mut node.clone_of()), 1, "a member that was not reloaded still understands");
    // A reloaded keepalived rejects that, becomes master beside us, and is understood at once.
    let words = node.hear_list("10.0.0.1", 90, &["10.0.0.100", "10.0.0.101"]);
    assert_eq!(words[0], "advert 100");
    assert_eq!(list(&mut node.clone_of()), 2);
    node.hear_list("10.0.0.1", 90, &["10.0.0.101"]);
    assert_eq!(list(&mut node.clone_of()), 1, "and one that is behind, too");
    node.hear_list("10.0.0.1", 90, &["10.0.0.101", "10.0.0.250"]);
    assert_eq!(list(&mut node), 1, "what is not ours is not spoken");
}

#[test]
fn a_moved_router_gives_up_first_and_then_begins_anew() {
    let mut node = Node::master(settings(vec![one(100)]));
    let words = node.event(Event::Configure(settings(vec![Router { vrid: 52, ..one(100) }])));
    assert_eq!(words, ["drain 1", "advert 0"]);
    let done = node.run(5_000);
    let words: Vec<&str> = done.iter().map(|(_, word)| word.as_str()).collect();
    let begin = ["shut 1", "remove 10.0.0.100", "notify Backup", "advert 100", "open 1", "put 10.0.0.100"];
    assert_eq!(words[..6], begin);
    assert!(node.hear("10.0.0.9", 200).is_empty(), "VRID 51 is not ours any more");
}

#[test]
fn what_is_no_advert_of_the_group_changes_nothing_and_is_counted() {
    let password = Some(*b"secret\0\0");
    let mut node = Node::backup(settings(vec![Router { password, ..one(100) }]));
    let before = node.routers.deadline();
    node.now = node.now + Duration::from_millis(10);
    let list = vec![ip("10.0.0.100")];
    let v2 = |seconds, auth| Advert {
        vrid: 51,
        priority: 200,
        version: Wire::V2 { seconds, auth },
        addresses: list.clone(),
    };
    node.packet("10.0.0.9", &v2(1, Auth::None));
    node.packet("10.0.0.9", &v2(1, Auth::Password(*b"wrong\0\0\0")));
    node.packet("10.0.0.9", &v2(1, Auth::Other(7)));
    node.packet("10.0.0.9", &v2(2, Auth::Password(*b"secret\0\0")));
    node.packet("10.0.0.9", &advert_v3(200, 100));
    let good = v2(1, Auth::Password(*b"secret\0\0")).emit(ip("10.0.0.9"), GROUP_V4.into());
    let packet = |ttl, destination, bytes: &[u8]| {
        let source = ip("10.0.0.9");
        Event::Advert { interface: "eth0".into(), source, destination, ttl, bytes: bytes.to_vec() }
    };
    node.event(packet(254, GROUP_V4.into(), &good));
    node.event(packet(255, ip(OWN), &good));
    node.event(packet(255, GROUP_V4.into(), &good[..good.len() - 1]));
    node.event(packet(255, GROUP_V4.into(), &[good.clone(), vec![0; 28]].concat()));
    let mut broken = good.clone();
    broken[6] ^= 1;
    node.event(packet(255, GROUP_V4.into(), &broken));
    let counters = node.status().counters;
    let counted = Counters {
        received: counters.received,
        auth_mismatch: 2, // the one by which the node became backup of nobody, and the first
        auth_failure: 1,
        auth_type: 1,
        interval: 1,
        version: 1,
        ttl: 1,
        source: 1,
        length: 2,
        checksum: 1,
        ..Counters::default()
    };
    assert_eq!(counters, counted);
    assert_eq!(node.routers.deadline(), before, "the timer did not move");
    node.event(packet(255, GROUP_V4.into(), &good));
    assert_ne!(node.routers.deadline(), before, "a good one does");
}

#[test]
fn unicast_counts_from_peers_only() {
    let peer = Peer { address: ip("10.0.0.9"), ttl: Some((250, 255)) };
    let router = Router { peers: vec![peer], source: Some(ip(OWN)), ..v3(100, 100) };
    let mut node = Node::new(settings(vec![router.clone()]));
    node.run(100);
    let mut hear = |source: &str, ttl| {
        let bytes = advert_v3(200, 100).emit(ip(source), ip(OWN));
        let (source, destination) = (ip(source), ip(OWN));
        node.event(Event::Advert { interface: "eth0".into(), source, destination, ttl, bytes });
        (node.status().counters, node.status().master)
    };
    assert_eq!(hear("10.0.0.8", 255).0.source, 1);
    assert_eq!(hear("10.0.0.9", 249).0.ttl, 1);
    assert_eq!(hear("10.0.0.9", 250).1, Some((ip("10.0.0.9"), 200)));
    let words = node.run(9_000);
    assert!(words.iter().any(|(_, w)| w == "advert 100"), "{words:?}");
    let open = Router { check_source: false, ..router };
    let mut node = Node::new(settings(vec![open]));
    node.run(100);
    let bytes = advert_v3(200, 100).emit(ip("10.0.0.8"), ip(OWN));
    let (source, destination) = (ip("10.0.0.8"), ip(OWN));
    node.event(Event::Advert { interface: "eth0".into(), source, destination, ttl: 1, bytes });
    assert_eq!(node.status().master, Some((ip("10.0.0.8"), 200)), "as keepalived without the check");
}

#[test]
fn a_living_master_answers_before_its_successor_does() {
    let preempting = || {
        let mut node = Node::new(settings(vec![one(100)]));
        node.run(1_000);
        for _ in 0..3 {
            node.hear("10.0.0.1", 50);
            node.run(869);
        }
        node.hear("10.0.0.1", 50);
        node.log.clear();
        node
    };
    // A Baton says so when its gates are shut.
    let mut node = preempting();
    assert_eq!(node.run(5), [(2, "advert 100".to_owned())]);
    assert!(node.hear("10.0.0.1", 50).is_empty());
    let opens: Vec<String> = node.run(0).into_iter().map(|(_, word)| word).collect();
    assert_eq!(opens, ["open 1", "put 10.0.0.100", "garp 1x5", "notify Master"]);
    // keepalived says nothing.
    let mut node = preempting();
    let done = node.run(2 + 21);
    assert_eq!(done[..2], [(2, "advert 100".to_owned()), (22, "open 1".to_owned())]);
    // Somebody better may be there.
    let mut node = preempting();
    node.run(5);
    assert_eq!(node.hear("10.0.0.9", 200), ["advert 100"], "nobody was told that it was master");
    assert!(node.run(100).is_empty());
}

#[test]
fn a_source_that_is_tracked_has_to_be_there() {
    let router = Router { source: Some(ip("10.0.0.7")), track_source: true, ..one(100) };
    let mut node = Node::new(settings(vec![router]));
    node.run(100);
    assert_eq!(node.state(), State::Fault);
    node.event(Event::AddressPut(host_address("10.0.0.7", false)));
    assert_eq!((node.state(), node.status().source), (State::Backup, Some(ip("10.0.0.7"))));
    node.event(Event::AddressGone { interface: "eth0".into(), address: ip("10.0.0.7") });
    assert_eq!(node.state(), State::Fault);
}

#[test]
fn a_links_change_counts_after_its_delay() {
    let (down, up) = (Duration::from_secs(2), Duration::from_secs(3));
    let delays = vec![LinkDelay { interface: "eth0".into(), down, up }];
    let mut node = Node::master(Settings { delays, ..settings(vec![one(100)]) });
    node.event(Event::Link(link(false)));
    node.run(1_900);
    assert_eq!(node.state(), State::Master, "not yet");
    node.event(Event::Link(link(true)));
    node.run(3_000);
    assert_eq!(node.state(), State::Master, "it came back in time");
    node.event(Event::Link(link(false)));
    node.run(2_000);
    assert_eq!(node.state(), State::Fault);
    node.event(Event::Link(link(true)));
    node.run(2_900);
    assert_eq!(node.state(), State::Fault);
    node.run(100);
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn nothing_begins_before_what_it_waits_for_is_known() {
    let tracker = Tracker { name: "later".into(), kind: TrackerKind::Process };
    let watches = vec![Watch { tracker: "later".into(), weight: 0, reverse: false }];
    let mut node = Node::new(Settings {
        trackers: vec![tracker],
        ..settings(vec![Router { watches, start_master: true, ..one(255) }])
    });
    assert!(node.run(5_000).is_empty());
    assert_eq!(node.state(), State::Init);
    let begun = node.event(Event::Checked { tracker: "later".into(), found: Found::Well });
    assert!(begun.iter().any(|word| word.starts_with("advert")), "{begun:?}");
}
