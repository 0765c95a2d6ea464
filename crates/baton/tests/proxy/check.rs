//! Active checks, and what they do to the choice of backends.

use std::io::{Read, Write};
use std::time::Duration;

use baton::proxy::check;
use baton::proxy::health::{Change, Checks};
use baton_core::settings::{Backend, Balancer, Check, CheckKind};

use crate::world::*;

fn of(kind: CheckKind) -> Check {
    Check { kind, interval: Duration::from_millis(40), timeout: Duration::from_millis(400), rise: 2, fall: 2 }
}

fn http(tls: bool, path: &str) -> CheckKind {
    CheckKind::Http { tls, path: path.to_owned(), expect: vec![(200, 299), (401, 401)] }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn checks_say_what_is_wrong() {
    let (plain, _) = server(|mut stream| {
        let mut head = vec![0; 1000];
        let n = stream.read(&mut head).unwrap_or(0);
        let status = if head[..n].starts_with(b"GET /good ") { "200 OK" } else { "404 Not Found" };
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    });
    let secret = tls_server(|mut stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.flush();
    });
    let (mute, _) = server(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let cases = [
        (plain, CheckKind::Tcp, None),
        (nobody(), CheckKind::Tcp, Some("connection refused")),
        (plain, http(false, "/good"), None),
        (plain, http(false, "/bad"), Some("GET /bad answered 404")),
        (mute, http(false, "/good"), Some("no answer within 400ms")),
        (mute, CheckKind::Tls, Some("no answer within 400ms")),
        (plain, CheckKind::Tls, Some("TLS: ")),
        (secret, CheckKind::Tls, None),
        (secret, http(true, "/livez"), None),
        (secret, http(false, "/livez"), Some("HTTP: ")),
    ];
    for (address, kind, want) in cases {
        let check = of(kind);
        match (runtime().block_on(check::run(&check, address, "127.0.0.1")), want) {
            (Ok(took), None) => assert!(took < check.timeout),
            (Err(why), Some(want)) => assert!(why.contains(want), "{why}, not {want}"),
            (got, want) => panic!("{check:?}: {got:?}, not {want:?}"),
        }
    }
}

#[test]
fn a_backend_goes_down_and_comes_back() {
    let (a, _) = server(named(b'a'));
    let settings = Balancer {
        backends: vec![backend(a), Backend { check: Some(of(CheckKind::Tcp)), ..backend(nobody()) }],
        ..balancer("b", vec![])
    };
    let (mut proxy, front) = proxy(&settings);
    let mut checks = Checks::new(proxy.passive().expect("the first time"), baton_net::clock::now);
    checks.apply(std::slice::from_ref(&settings));
    let bad = proxy.snapshot().backends[1].id.clone();
    runtime().block_on(async {
        let change = tokio::time::timeout(PATIENCE, checks.next()).await.expect("a change");
        let Change::State { id, up, why, .. } = change else { panic!("{change:?}") };
        assert_eq!((&id, up), (&bad, false));
        assert!(why.contains("connection refused"), "{why}");
        proxy.set_up(&id, up);
        assert!((0..4).all(|_| ask(front) == Some(b'a')));
        assert_eq!(proxy.snapshot().backends[1].counts.failures, 0, "it was not even tried");
        let known = checks.known(&bad).expect("it is known");
        assert!(!known.up && !known.unchecked && checks.any_up(&settings));
        // Somebody listens there now.
        let back = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        back.set_reuse_port(true).expect("option");
        back.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], bad.port)).into()).expect("bind");
        back.listen(16).expect("listen");
        let change = tokio::time::timeout(PATIENCE, checks.next()).await.expect("a change");
        assert!(matches!(change, Change::State { ref id, up: true, .. } if *id == bad), "{change:?}");
    });
}

#[test]
fn a_backend_without_a_check_is_found_out_by_its_clients() {
    let settings = balancer("b", vec![backend(nobody())]);
    let (mut proxy, front) = proxy(&settings);
    let mut checks = Checks::new(proxy.passive().expect("the first time"), baton_net::clock::now);
    checks.apply(std::slice::from_ref(&settings));
    for _ in 0..3 {
        assert_eq!(ask(front), None);
    }
    let change = runtime().block_on(async { tokio::time::timeout(PATIENCE, checks.next()).await });
    let Ok(Change::State { up: false, why, .. }) = change else { panic!("{change:?}") };
    assert_eq!(why, "connection refused");
    assert!(!checks.any_up(&settings));
}

#[test]
fn names_are_looked_up_beside_everything_else() {
    let (a, _) = server(named(b'a'));
    let settings = balancer("b", vec![Backend { host: "localhost".to_owned(), ..backend(a) }]);
    let (mut proxy, front) = proxy(&settings);
    assert_eq!(ask(front), None, "nowhere to go yet");
    let mut checks = Checks::new(proxy.passive().expect("the first time"), baton_net::clock::now);
    checks.apply(std::slice::from_ref(&settings));
    let change = runtime().block_on(async { tokio::time::timeout(PATIENCE, checks.next()).await });
    let Ok(Change::Address { id, address }) = change else { panic!("{change:?}") };
    if address.is_ipv4() {
        proxy.set_address(&id, Some(address));
        assert_eq!(ask(front), Some(b'a'));
    }
}
