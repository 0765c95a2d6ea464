//! What is held and until when: adverts first, gates next, then addresses; every end by itself.

use super::*;

/// The end that the last gate operation asked for, and what else a step asked for, without performing anything.
fn step(node: &mut Node, event: Event) -> (Option<Time>, Vec<String>) {
    let mut out = Vec::new();
    node.routers.handle(node.now, event, &mut out);
    let end = out.iter().rev().find_map(|e| match e {
        Effect::Gates { op: GateOp::Open { end } | GateOp::Renew { end }, .. } => Some(*end),
        _ => None,
    });
    (end, out.iter().filter_map(words).collect())
}

fn sent(ok: bool) -> Event {
    Event::Sent { router: "VI_1".into(), ok }
}

#[test]
fn the_end_is_counted_from_the_decision_to_send() {
    let mut node = Node::backup(settings(vec![one(100)]));
    node.now = node.now + Duration::from_millis(3_610);
    let began = node.now;
    assert_eq!(step(&mut node, Event::Tick), (None, vec!["advert 100".into()]), "nothing opens before it left");
    node.now = node.now + Duration::from_millis(200);
    assert_eq!(step(&mut node, sent(true)), (None, vec![]), "nor before all was heard that came in until then");
    let (end, words) = step(&mut node, Event::Tick);
    assert_eq!((end, words), (Some(began + Duration::from_nanos(2_450_545_454)), vec!["open 1".into()]));
}

#[test]
fn a_gain_hears_first_who_was_faster_than_its_advert() {
    let gaining = || {
        let mut node = Node::backup(settings(vec![one(100)]));
        node.now = node.now + Duration::from_millis(3_610);
        step(&mut node, Event::Tick);
        step(&mut node, sent(true));
        node
    };
    let mut node = gaining();
    assert_eq!(node.hear("10.0.0.9", 110), ["advert 100"]);
    assert_eq!(node.state(), State::Backup);
    let mut node = gaining();
    assert_eq!(node.hear("10.0.0.9", 90), ["advert 100"], "it has to yield, and opens nothing before it did");
    assert_eq!(node.run(5), []);
    node.hear("10.0.0.9", 90);
    assert_eq!(node.run(1)[0].1, "open 1");
}

#[test]
fn a_process_that_stood_still_before_its_first_advert_does_not_take_over() {
    let mut node = Node::backup(settings(vec![one(100)]));
    node.now = node.now + Duration::from_millis(3_610);
    step(&mut node, Event::Tick);
    node.now = node.now + Duration::from_millis(501);
    step(&mut node, sent(true));
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn who_cannot_speak_leaves_it_to_who_can() {
    let mut node = Node::backup(settings(vec![one(100)]));
    node.sends = false;
    node.run(4_000);
    assert_eq!(node.state(), State::Master);
    assert!(!node.log.iter().any(|word| word.starts_with("open")), "{:?}", node.log);
    node.hear("10.0.0.1", 50);
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn a_failed_advert_never_lengthens_a_hold() {
    let mut node = Node::master(settings(vec![one(100)]));
    let until = node.status().until.unwrap();
    node.sends = false;
    node.run(1_400);
    assert_eq!(node.status().until, Some(until));
    let words: Vec<String> = node.run(2_000).into_iter().map(|(_, word)| word).collect();
    assert_eq!(node.state(), State::Backup);
    assert!(words.contains(&"notify Backup".into()) && words.contains(&"remove 10.0.0.100".into()), "{words:?}");
    node.sends = true;
    node.run(4_000);
    assert_eq!(node.state(), State::Master);
}

#[test]
fn results_count_in_the_order_of_the_adverts() {
    let mut node = Node::master(settings(vec![one(100)]));
    // Two adverts are under way when the first one turns out to have failed.
    node.now = node.now + Duration::from_secs(1);
    step(&mut node, Event::Tick);
    node.now = node.now + Duration::from_secs(1);
    let second = node.now;
    step(&mut node, Event::Tick);
    assert_eq!(step(&mut node, sent(false)).0, None);
    assert_eq!(step(&mut node, sent(true)).0, Some(second + Duration::from_nanos(2_450_545_454)));
    assert_eq!(step(&mut node, sent(true)).0, None, "one too many changes nothing");
}

#[test]
fn an_advert_that_left_before_mastership_ended_opens_nothing() {
    let mut node = Node::master(settings(vec![one(100)]));
    node.now = node.now + Duration::from_secs(1);
    step(&mut node, Event::Tick);
    node.hear("10.0.0.9", 200);
    assert_eq!(step(&mut node, sent(true)), (None, vec![]));
}

#[test]
fn a_late_process_is_backup_before_it_listens() {
    let mut node = Node::master(settings(vec![one(100)]));
    node.now = node.now + Duration::from_secs(60);
    let words = node.hear("10.0.0.1", 50);
    assert_eq!(words[..2], ["shut 1", "notify Backup"], "it does not answer the other one as a master would");
    assert_eq!(node.state(), State::Backup);
    let note = |n: &Node| n.routers.status().routers[0].master;
    assert_eq!(note(&node), None, "a lower one is replaced in its time");
    let at = node.run(5_000).into_iter().find(|(_, word)| word == "advert 100").map(|(at, _)| at);
    assert_eq!(at, Some(3_609));
}

#[test]
fn priority_zero_leaves_only_when_the_kernel_confirmed_the_end() {
    let mut node = Node::master(settings(vec![one(100)]));
    assert_eq!(step(&mut node, Event::Stop).1, ["drain 1", "notify Stop"]);
    let done = vec![(ip("10.0.0.100"), GateDone::AnswerShut)];
    assert_eq!(step(&mut node, Event::Gates { router: "VI_1".into(), done }).1, ["advert 0"]);
    // Without a confirmation the end of the hold is one.
    let mut node = Node::master(settings(vec![one(100)]));
    step(&mut node, Event::Stop);
    let done = vec![(ip("10.0.0.100"), GateDone::Failed)];
    assert_eq!(step(&mut node, Event::Gates { router: "VI_1".into(), done }).1, [""; 0]);
    node.now = node.now + Duration::from_millis(2_500);
    assert!(step(&mut node, Event::Tick).1.contains(&"advert 0".into()));
}

#[test]
fn refused_gates_are_asked_for_again_and_then_a_fault() {
    let mut node = Node::backup(settings(vec![one(100)]));
    node.kernel = Kernel::Refuses;
    let done = node.run(5_000);
    assert_eq!(node.state(), State::Fault, "another node may have a better kernel");
    let opens = done.iter().filter(|(_, word)| word == "open 1").count();
    assert_eq!(opens, 8, "{done:?}");
    assert!(!done.iter().any(|(_, word)| word.starts_with("put") || word == "notify Master"), "{done:?}");
    assert!(done.iter().any(|(_, word)| word == "advert 0"), "{done:?}");
    node.kernel = Kernel::Obeys;
    node.run(15_000);
    assert_eq!(node.state(), State::Master, "it is not given up for ever");
}

#[test]
fn a_renewal_that_came_too_late_ends_it() {
    let mut node = Node::master(settings(vec![one(100)]));
    let done = vec![(ip("10.0.0.100"), GateDone::Lost)];
    let words = node.event(Event::Gates { router: "VI_1".into(), done });
    assert_eq!(words, ["notify Backup", "remove 10.0.0.100"]);
}

#[test]
fn what_drains_is_taken_up_again_without_a_gap_in_the_address() {
    let mut node = Node::master(settings(vec![v3(100, 10)]));
    node.packet("10.0.0.9", &advert_v3(200, 1));
    assert_eq!(node.state(), State::Backup);
    // The master dies at once: 36 ms later, within the drain.
    let words: Vec<String> = node.run(60).into_iter().map(|(_, word)| word).collect();
    let expected = ["advert 100", "shut 1", "open 1", "garp 1x5", "notify Master"];
    assert_eq!(words, expected, "the address was there all the time");
}

#[test]
fn addresses_that_others_remove_or_left_are_put_right() {
    let mut node = Node::master(settings(vec![one(100)]));
    let gone = Event::AddressGone { interface: "eth0".into(), address: ip("10.0.0.100") };
    assert_eq!(node.event(gone), ["garp 1x5", "put 10.0.0.100"]);
    let mut node = Node::backup(settings(vec![one(100)]));
    let left = HostAddress { prefix: 24, ..host_address("10.0.0.100", false) };
    assert_eq!(node.event(Event::AddressPut(left)), ["remove 10.0.0.100"], "nobody answers on a backup");
}

#[test]
fn a_stranger_is_answered_once_in_a_while() {
    let mut node = Node::master(settings(vec![one(100)]));
    let claim = |mac| Event::Claimed { address: ip("10.0.0.100"), mac: [mac, 0, 0, 0, 0, 9] };
    assert_eq!(node.event(claim(2)), ["garp 1x1"]);
    assert_eq!(node.event(claim(2)), [""; 0]);
    node.run(10_000);
    node.log.clear();
    assert_eq!(node.event(Event::Claimed { address: ip("10.0.0.100"), mac: [2, 0, 0, 0, 0, 2] }), [""; 0], "own");
    assert_eq!(node.event(claim(4)), ["garp 1x1"]);
}

#[test]
fn without_a_fence_no_gate_is_asked_for_and_addresses_go_at_once() {
    let unfenced = || Settings { fence: false, ..settings(vec![one(100)]) };
    let mut node = Node::backup(unfenced());
    let words: Vec<String> = node.run(3_700).into_iter().map(|(_, word)| word).collect();
    assert_eq!(words, ["advert 100", "put 10.0.0.100", "garp 1x5", "notify Master"]);
    let mut node = Node::master(unfenced());
    assert_eq!(node.event(Event::Stop), ["notify Stop", "remove 10.0.0.100", "advert 0", "stopped"]);
    let mut node = Node::master(Settings { release: false, ..unfenced() });
    assert_eq!(node.event(Event::Stop), ["notify Stop", "advert 0", "stopped"], "as it was asked to");
}

#[test]
fn a_flood_of_lower_priorities_is_answered_in_measure() {
    let mut node = Node::master(settings(vec![one(100)]));
    let mut adverts = 0;
    for _ in 0..1_000 {
        node.now = node.now + Duration::from_millis(1);
        adverts += node.hear("10.0.0.1", 1).iter().filter(|w| *w == "advert 100").count();
    }
    assert!((8..=10).contains(&adverts), "{adverts} adverts in a second");
}

#[test]
fn addresses_where_no_adverts_go_are_announced_again_and_again() {
    let elsewhere = |text: &str| Address { interface: "eth1".into(), ..address(text) };
    let excluded = vec![elsewhere("10.1.0.1"), elsewhere("10.1.0.2")];
    let garp = Garp { extra: Some(Duration::from_secs(20)), ..one(100).garp };
    let mut node = Node::master(settings(vec![Router { excluded, garp, ..one(100) }]));
    let done = node.run(60_000);
    let garps: Vec<_> = done.iter().filter(|(_, word)| word.starts_with("garp")).collect();
    assert_eq!(garps.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>(), ["garp 1x1"; 3], "{garps:?}");
}

#[test]
fn adverts_have_the_ttl_that_is_asked_for() {
    let peers = vec![Peer { address: ip("10.0.0.9"), ttl: None }];
    let mut node = Node::new(settings(vec![Router { peers, ttl: 7, ..one(100) }]));
    let mut out = Vec::new();
    while !out.iter().any(|e| matches!(e, Effect::Send { .. })) {
        node.now = node.routers.deadline().unwrap();
        node.routers.handle(node.now, Event::Tick, &mut out);
    }
    assert!(out.iter().all(|e| !matches!(e, Effect::Send { ttl, .. } if *ttl != 7)));
}

#[test]
fn another_owner_is_told_of_once_however_often_it_is_heard() {
    let owner = Router { start_master: true, ..one(255) };
    let mut node = Node::master(settings(vec![owner]));
    let mut told = |from: &str| {
        let advert = Advert {
            vrid: 51,
            priority: 255,
            version: Wire::V2 { seconds: 1, auth: Auth::None },
            addresses: vec![ip("10.0.0.100")],
        };
        let (source, destination) = (ip(from), GROUP_V4.into());
        let bytes = advert.emit(source, destination);
        let mut out = Vec::new();
        node.now = node.now + Duration::from_millis(1);
        let event = Event::Advert { interface: "eth0".into(), source, destination, ttl: 255, bytes };
        node.routers.handle(node.now, event, &mut out);
        out.iter().filter(|effect| matches!(effect, Effect::Note(Note::TwoOwners { .. }))).count()
    };
    // A lower address loses, so this one stays master and goes on hearing it.
    assert_eq!((0..100).map(|_| told("10.0.0.1")).sum::<usize>(), 1);
    // A host that makes up sources is not told of without end.
    let many: usize = (0..=255).map(|n| told(&format!("1.0.0.{n}"))).sum();
    assert_eq!(many, 63);
}
