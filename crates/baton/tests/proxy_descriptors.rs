//! What the data path does when the process has no descriptor left. Alone in its program: the limit is everybody's.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use baton::proxy::Proxy;
use baton_core::settings::{Backend, Balancer, BalancerKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LIMIT: u64 = 400;

/// CPU time of the proxy's workers so far.
fn worked() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks").flatten();
    let ours = tasks.filter(|t| std::fs::read_to_string(t.path().join("comm")).is_ok_and(|c| c.starts_with("proxy-")));
    let nanos = ours.filter_map(|t| {
        let text = std::fs::read_to_string(t.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn ask(stream: &TcpStream) -> std::io::Result<()> {
    let mut stream = stream;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

#[test]
fn without_descriptors_clients_wait_and_nobody_spins() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) }).expect("a lower limit");
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = backend.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut stream in backend.incoming().flatten() {
            std::thread::spawn(move || while stream.read_exact(&mut [0]).is_ok() && stream.write_all(b"x").is_ok() {});
        }
    });
    let settings = Balancer {
        name: "b".to_owned(),
        kind: BalancerKind::Tcp,
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        bind_to_vip: false,
        backends: vec![Backend {
            host: "127.0.0.1".to_owned(),
            port: address.port(),
            url: None,
            weight: 1,
            backup: false,
            check: None,
        }],
        cut_on_down: true,
    };
    let mut proxy = Proxy::start(2).expect("workers");
    let front = proxy.apply(&[settings])[0].address;
    assert_eq!(getrlimit(Resource::Nofile).current, Some(LIMIT));
    let early = TcpStream::connect(front).expect("connect");
    ask(&early).expect("served");

    let client = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    let clients: Vec<socket2::Socket> = (0..8).map(|_| client()).collect();
    // For reading /proc while everything else is used up.
    let spare: Vec<File> = (0..4).map(|_| File::open("/dev/null").expect("open")).collect();
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(hoard.len() > 100, "the limit is in force");
    for client in &clients {
        client.connect(&front.into()).expect("the kernel accepts");
    }
    std::thread::sleep(Duration::from_millis(100));
    drop(spare);
    let before = worked();
    let refill: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    ask(&early).expect("who is in stays in");
    std::thread::sleep(Duration::from_millis(500));
    drop(refill);
    let spent = worked() - before;
    assert!(spent < Duration::from_millis(50), "{spent:?} of CPU in half a second of waiting");

    drop(hoard);
    let mut served = 0;
    for client in clients {
        let client = TcpStream::from(client);
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        served += usize::from(ask(&client).is_ok());
    }
    // One that got the last descriptor, and none for its backend, was refused.
    assert!(served >= 4, "{served} of 8 were served when there were descriptors again");
}
