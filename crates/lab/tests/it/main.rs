//! The instruments themselves: they must show what is there, or they would never show a fault.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use baton_lab::backend::Backend;
use baton_lab::client::{Client, INTERVAL, Outcome};
use baton_lab::harness::{Skipped, main as harness};
use baton_lab::host::Host;
use baton_lab::lab::{INTERFACE, Part, Port, Switch, v4, v6};
use baton_lab::observer::Observer;

fn main() -> ExitCode {
    harness(&[
        ("two_hosts_with_one_address_are_seen", two_hosts_with_one_address_are_seen),
        ("a_partition_hides_nobody_from_the_observer", a_partition_hides_nobody_from_the_observer),
        ("an_outage_is_as_long_as_it_was", an_outage_is_as_long_as_it_was),
        ("a_dead_server_refuses_and_its_connections_break", a_dead_server_refuses_and_its_connections_break),
        ("answers_teach_the_clients_nothing", answers_teach_the_clients_nothing),
    ])
}

const PORT: u16 = 80;

fn vips() -> [IpAddr; 2] {
    [IpAddr::V4(v4(100)), IpAddr::V6(v6(100))]
}

/// Two hosts on a switch, both watched.
fn pair() -> (Switch, Host, Host, Observer, [Port; 2]) {
    let switch = Switch::new().unwrap();
    let (a, b) = (Host::new("a").unwrap(), Host::new("b").unwrap());
    let ports = [switch.connect(&a, INTERFACE, 1).unwrap(), switch.connect(&b, INTERFACE, 2).unwrap()];
    let observer = Observer::start(&vips()).unwrap();
    observer.watch(&switch, &ports[0], 1).unwrap();
    observer.watch(&switch, &ports[1], 2).unwrap();
    (switch, a, b, observer, ports)
}

fn give(host: &Host, address: IpAddr) {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let add = move |links: &mut baton_lab::link::Links| {
        let index = links.link(INTERFACE)?.index;
        links.add_address(index, address, prefix)
    };
    host.run(add).unwrap();
}

fn take(host: &Host, address: IpAddr) {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let remove = move |links: &mut baton_lab::link::Links| {
        let index = links.link(INTERFACE)?.index;
        links.remove_address(index, address, prefix)
    };
    host.run(remove).unwrap();
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn two_hosts_with_one_address_are_seen() -> Result<(), Skipped> {
    let (_switch, a, b, observer, _) = pair();
    for vip in vips() {
        let from = Instant::now();
        pause(100);
        give(&a, vip);
        pause(200);
        let one = observer.answering(vip, from, Instant::now());
        assert_eq!(one.most, 1, "{vip}: {one:?}");
        assert!(one.nobody >= Duration::from_millis(50), "{vip}: {one:?}");
        assert_eq!(observer.holder(vip, Duration::from_millis(500)), Some(1));

        let both = Instant::now();
        give(&b, vip);
        pause(200);
        take(&a, vip);
        pause(100);
        let two = observer.answering(vip, both, Instant::now());
        assert_eq!(two.most, 2, "{vip}: {two:?}");
        assert!(two.two >= Duration::from_millis(50), "{vip}: {two:?}");
        assert_eq!(observer.holder(vip, Duration::from_millis(500)), Some(2));
    }
    Ok(())
}

fn a_partition_hides_nobody_from_the_observer() -> Result<(), Skipped> {
    let (switch, a, b, observer, ports) = pair();
    let vip = vips()[0];
    give(&a, vip);
    give(&b, vip);
    switch.set_part(&ports[0], Part::Island).unwrap();
    pause(50);
    let from = Instant::now();
    pause(100);
    assert_eq!(observer.answering(vip, from, Instant::now()).most, 2);
    switch.set_cable(&ports[0], false).unwrap();
    pause(20);
    let from = Instant::now();
    pause(100);
    assert_eq!(observer.answering(vip, from, Instant::now()).most, 1, "a pulled cable carries nothing");
    Ok(())
}

fn an_outage_is_as_long_as_it_was() -> Result<(), Skipped> {
    let (switch, a, b, _, ports) = pair();
    let _server = Backend::start(&a, PORT, b'a').unwrap();
    let client = Client::start(&b, SocketAddr::from((v4(1), PORT)), INTERVAL).unwrap();
    assert!(client.wait_for_answers(50, Duration::from_secs(5)));
    let from = Instant::now();
    pause(100);
    switch.set_part(&ports[0], Part::Island).unwrap();
    pause(500);
    switch.set_part(&ports[0], Part::Mainland).unwrap();
    assert!(client.wait_for_answers(20, Duration::from_secs(5)));
    let seen = client.seen(from, Instant::now());
    let outage = seen.outage.as_millis();
    assert!((480..1200).contains(&outage), "cut off for 500 ms, measured {outage} ms");
    assert!(seen.failed >= 50, "{seen:?}");
    Ok(())
}

fn a_dead_server_refuses_and_its_connections_break() -> Result<(), Skipped> {
    let (_switch, a, b, ..) = pair();
    let server = Backend::start(&a, PORT, b'a').unwrap();
    let client = Client::start(&b, SocketAddr::from((v4(1), PORT)), INTERVAL).unwrap();
    assert!(client.wait_for_answers(20, Duration::from_secs(5)));
    assert!(server.answered() >= 20);
    drop(server);
    let from = Instant::now();
    pause(100);
    let attempts = client.attempts(from, Instant::now());
    assert!(attempts.len() > 5 && attempts.iter().all(|attempt| attempt.outcome == Outcome::Refused), "{attempts:?}");
    Ok(())
}

/// An address that moves without an announcement must stay lost for a client that has it cached, however often others ask.
fn answers_teach_the_clients_nothing() -> Result<(), Skipped> {
    let (switch, a, b, _observer, _) = pair();
    let c = Host::new("c").unwrap();
    switch.connect(&c, INTERFACE, 3).unwrap();
    let vip = vips()[0];
    give(&a, vip);
    let _servers = [Backend::start(&a, PORT, b'a').unwrap(), Backend::start(&b, PORT, b'b').unwrap()];
    let client = Client::start(&c, SocketAddr::from((vip, PORT)), INTERVAL).unwrap();
    assert!(client.wait_for_answers(20, Duration::from_secs(5)));
    let cached = c.run(move |links| links.neighbour(vip)).unwrap();
    assert_eq!(cached, Some(baton_lab::lab::mac(1)));
    take(&a, vip);
    give(&b, vip);
    let from = Instant::now();
    pause(500);
    let attempts = client.attempts(from, Instant::now());
    assert!(attempts.iter().all(|attempt| !matches!(attempt.outcome, Outcome::Answered(_))), "{attempts:?}");
    Ok(())
}
