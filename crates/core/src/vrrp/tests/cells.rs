//! Every cell of the transition table: four states, and everything that can happen to them.

use super::*;

/// A node in each state.
fn node(state: State) -> Node {
    let watch = Watch { tracker: "chk".into(), weight: 0, reverse: false };
    let tracker = |init_fail| Tracker { name: "chk".into(), kind: TrackerKind::Script { rise: 1, fall: 1, init_fail } };
    let with = |init_fail| Settings {
        trackers: vec![tracker(init_fail)],
        ..settings(vec![Router { watches: vec![watch.clone()], ..one(100) }])
    };
    let well = Event::Checked { tracker: "chk".into(), found: Found::Well };
    let mut node = Node::new(with(state == State::Fault));
    match state {
        State::Init | State::Fault => {
            node.run(1_000);
        }
        State::Backup => {
            node.event(well);
            node.run(1_000);
            node.hear("10.0.0.9", 200);
        }
        State::Master => {
            node.event(well);
            node.run(9_000);
        }
    }
    assert_eq!(node.state(), state);
    node.log.clear();
    node
}

const STATES: [State; 4] = [State::Init, State::Backup, State::Master, State::Fault];

/// What happens, and the state and the words that each state (INIT, BACKUP, MASTER, FAULT) answers with.
fn row(what: &str, act: impl Fn(&mut Node) -> Vec<String>, expected: [(State, &str); 4]) {
    for (state, (after, done)) in STATES.into_iter().zip(expected) {
        let mut node = node(state);
        let words = act(&mut node).join(", ");
        assert_eq!((node.state(), words.as_str()), (after, done), "{what} in {state}");
    }
}

use State::{Backup, Fault, Init, Master};

#[test]
fn adverts() {
    let ignored = (Fault, "");
    row("priority 0", |n| n.hear("10.0.0.9", 0), [(Init, ""), (Backup, ""), (Master, "advert 100"), ignored]);
    let answered = (Master, "advert 100, garp 1x5, notify MasterRxLowerPri");
    row("a lower priority", |n| n.hear("10.0.0.9", 99), [(Init, ""), (Backup, ""), answered, ignored]);
    row("the same from a lower address", |n| n.hear("10.0.0.1", 100), [(Init, ""), (Backup, ""), answered, ignored]);
    let yielded = (Backup, "drain 1, notify Backup, advert 100");
    row("the same from a higher address", |n| n.hear("10.0.0.9", 100), [(Init, ""), (Backup, ""), yielded, ignored]);
    row("a higher priority", |n| n.hear("10.0.0.1", 101), [(Init, ""), (Backup, ""), yielded, ignored]);
    row("an own one", |n| n.hear(OWN, 200), [(Init, ""), (Backup, ""), (Master, ""), ignored]);
    let foreign = |n: &mut Node| n.hear_list("10.0.0.9", 255, &["10.0.0.200"]);
    row("a foreign group's", foreign, [(Init, ""), (Backup, ""), (Master, ""), ignored]);
}

#[test]
fn timers() {
    let timer = |n: &mut Node| {
        let due = if n.state() == State::Backup { n.status().master_down } else { Duration::from_secs(1) };
        let done = n.run(u64::try_from(due.as_millis()).unwrap() + 1);
        // Addresses are refreshed on a schedule of their own.
        done.into_iter().map(|(_, word)| word).filter(|word| !word.starts_with("put")).collect()
    };
    row(
        "the timer",
        timer,
        [(Init, ""), (Master, "advert 100, open 1, garp 1x5, notify Master"), (Master, "advert 100"), (Fault, "")],
    );
}

#[test]
fn faults() {
    row(
        "the link goes down",
        |n| n.event(Event::Link(link(false))),
        [
            (Init, ""),
            (Fault, "notify Fault"),
            (Fault, "shut 1, notify Fault, remove 10.0.0.100, advert 0"),
            (Fault, ""),
        ],
    );
    row(
        "a check fails",
        |n| n.event(Event::Checked { tracker: "chk".into(), found: Found::Failed }),
        [(Fault, "notify Fault"), (Fault, "notify Fault"), (Fault, "drain 1, notify Fault, advert 0"), (Fault, "")],
    );
    row(
        "a check succeeds",
        |n| n.event(Event::Checked { tracker: "chk".into(), found: Found::Well }),
        [(Backup, "notify Backup"), (Backup, ""), (Master, ""), (Backup, "notify Backup")],
    );
    row(
        "the source address goes",
        |n| n.event(Event::AddressGone { interface: "eth0".into(), address: ip(OWN) }),
        [(Init, ""), (Fault, "notify Fault"), (Fault, "drain 1, notify Fault"), (Fault, "")],
    );
}

#[test]
fn ends() {
    row(
        "the end comes while the process does not run",
        |n| {
            n.now = n.now + Duration::from_millis(2_500);
            n.event(Event::Tick)
        },
        [(Init, ""), (Backup, ""), (Backup, "shut 1, notify Backup, shut 1, remove 10.0.0.100"), (Fault, "")],
    );
    row(
        "it is no longer configured",
        |n| {
            let mut words = n.event(Event::Configure(settings(vec![one(100), router("VI_2", 52, 1, "10.0.0.101")])));
            words.retain(|w| w != "notify Backup");
            n.event(Event::Configure(settings(vec![router("VI_2", 52, 1, "10.0.0.101")])));
            words
        },
        [(Backup, ""), (Backup, ""), (Init, "advert 100"), (Backup, "")],
    );
    for state in STATES {
        let mut node = node(state);
        let mut words = node.event(Event::Stop);
        words.extend(node.run(1_000).into_iter().map(|(_, w)| w));
        let expected = match state {
            State::Master => "drain 1, notify Stop, advert 0, shut 1, remove 10.0.0.100, stopped",
            _ => "notify Stop, stopped",
        };
        assert_eq!(words.join(", "), expected, "stop in {state}");
        assert_eq!(node.routers.deadline(), None, "nothing is due after the end");
    }
}

/// Whatever comes in whatever state: nothing answers but a master, no panic, and a deadline that moves on.
#[test]
fn any_sequence_is_survived() {
    use proptest::prelude::*;
    let step = prop_oneof![
        (any::<u8>(), 1..4u8).prop_map(|(priority, last)| (0u8, u32::from(priority), u32::from(last))),
        (0..4_000u32).prop_map(|ms| (1, ms, 0)),
        any::<bool>().prop_map(|up| (2, u32::from(up), 0)),
        any::<bool>().prop_map(|well| (3, u32::from(well), 0)),
        any::<bool>().prop_map(|obeys| (4, u32::from(obeys), 0)),
        any::<bool>().prop_map(|sends| (5, u32::from(sends), 0)),
    ];
    proptest!(|(steps in proptest::collection::vec(step, 0..40), start in 0..4usize)| {
        let mut node = node(STATES[start]);
        for (kind, value, last) in steps {
            match kind {
                0 => { node.hear(&format!("10.0.0.{last}"), u8::try_from(value).unwrap()); }
                1 => { node.run(value.into()); }
                2 => { node.event(Event::Link(link(value == 1))); }
                3 => {
                    let found = if value == 1 { Found::Well } else { Found::Failed };
                    node.event(Event::Checked { tracker: "chk".into(), found });
                }
                4 => node.kernel = if value == 1 { Kernel::Obeys } else { Kernel::Refuses },
                _ => node.sends = value == 1,
            }
            let status = node.status();
            prop_assert!(status.state == State::Master || status.until.is_none(), "{:?}", status.state);
            prop_assert!(status.until.is_none_or(|until| until.since(node.now) < Duration::from_millis(2_455)));
        }
        node.kernel = Kernel::Obeys;
        node.event(Event::Stop);
        node.run(2_000);
        prop_assert_eq!(node.log.last().map(String::as_str), Some("stopped"));
    });
}
