//! Type tcp.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use baton::proxy::{Fault, Proxy};
use baton_core::keeper::Holding;
use baton_core::settings::Backend;

use crate::world::*;

#[test]
fn what_is_sent_comes_back() {
    let (address, _) = server(echo);
    let (proxy, front) = proxy(&balancer("b", vec![backend(address)]));
    let mut client = connect(front);
    for size in [1, 2, 3000, 70_000] {
        let bytes = pattern(7, size);
        client.write_all(&bytes).expect("write");
        let mut back = vec![0; size];
        client.read_exact(&mut back).expect("read");
        assert_eq!(back, bytes);
    }
    drop(client);
    until("the connection is over", || counts(&proxy, 0).active == 0);
    let counts = counts(&proxy, 0);
    assert_eq!((counts.connections, counts.to_backend, counts.to_client), (1, 73_003, 73_003));
}

#[test]
fn a_server_may_speak_first() {
    let (address, _) = server(named(b'x'));
    let (_proxy, front) = proxy(&balancer("b", vec![backend(address)]));
    let took = (0..3).map(|_| {
        let start = Instant::now();
        assert_eq!(ask(front), Some(b'x'));
        start.elapsed()
    });
    assert!(took.min() < Some(Duration::from_millis(35)), "it waited for a delayed acknowledgement");
}

#[test]
fn each_direction_ends_for_itself() {
    // The backend answers only when the client has said that it is done; then the client's end is still open to read.
    let (address, _) = server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("read");
        all.reverse();
        stream.write_all(&all).expect("write");
    });
    let (_proxy, front) = proxy(&balancer("b", vec![backend(address)]));
    let mut client = connect(front);
    client.write_all(b"abc").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut back = Vec::new();
    client.read_to_end(&mut back).expect("read");
    assert_eq!(back, b"cba");

    // The other way round: the backend is done at once and goes on listening.
    let (sender, received) = std::sync::mpsc::channel();
    let (address, _) = server(move |mut stream| {
        stream.shutdown(Shutdown::Write).expect("shutdown");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("read");
        sender.send(all).expect("the test listens");
    });
    let (_proxy, front) = proxy_of(vec![backend(address)]);
    let mut client = connect(front);
    assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
    client.write_all(b"still here").expect("write");
    drop(client);
    assert_eq!(received.recv_timeout(PATIENCE).expect("bytes"), b"still here");
}

fn proxy_of(backends: Vec<Backend>) -> (Proxy, SocketAddr) {
    proxy(&balancer("b", backends))
}

#[test]
fn bulk_arrives_whole_both_ways_at_once() {
    const SIZE: usize = 24 << 20;
    let (sender, received) = std::sync::mpsc::channel();
    let (address, _) = server(move |stream| {
        let mut writer = stream.try_clone().expect("clone");
        let sending = std::thread::spawn(move || {
            writer.write_all(&pattern(2, SIZE)).expect("write");
            writer.shutdown(Shutdown::Write).expect("shutdown");
        });
        sender.send(slow_read(stream)).expect("the test listens");
        sending.join().expect("sent");
    });
    let (proxy, front) = proxy_of(vec![backend(address)]);
    let client = connect(front);
    let mut writer = client.try_clone().expect("clone");
    let sending = std::thread::spawn(move || {
        writer.write_all(&pattern(1, SIZE)).expect("write");
        writer.shutdown(Shutdown::Write).expect("shutdown");
    });
    assert!(slow_read(client) == pattern(2, SIZE), "to the client");
    assert!(received.recv_timeout(PATIENCE).expect("bytes") == pattern(1, SIZE), "to the backend");
    sending.join().expect("sent");
    until("the connection is over", || counts(&proxy, 0).active == 0);
    assert_eq!((counts(&proxy, 0).to_backend, counts(&proxy, 0).to_client), (SIZE as u64, SIZE as u64));
}

/// Reads all, with breaks in which buffers fill up.
fn slow_read(mut stream: TcpStream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 300_000]);
    for turn in 0.. {
        let n = stream.read(&mut buffer).expect("read");
        if n == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..n]);
        if turn % 50 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    all
}

#[test]
fn turns_follow_the_weights() {
    let (a, _) = server(named(b'a'));
    let (b, _) = server(named(b'b'));
    let (_proxy, front) = proxy_of(vec![Backend { weight: 3, ..backend(a) }, backend(b)]);
    let mut asked: Vec<u8> = (0..40).filter_map(|_| ask(front)).collect();
    asked.sort_unstable();
    assert_eq!(asked.iter().filter(|x| **x == b'a').count(), 30, "{asked:?}");
    assert_eq!(asked.len(), 40);
}

#[test]
fn backups_wait_until_no_other_is_up() {
    let (a, _) = server(named(b'a'));
    let (b, _) = server(named(b'b'));
    let (mut proxy, front) = proxy_of(vec![backend(a), Backend { backup: true, ..backend(b) }]);
    assert!((0..6).all(|_| ask(front) == Some(b'a')));
    let first = proxy.snapshot().backends[0].id.clone();
    proxy.set_up(&first, false);
    assert!((0..6).all(|_| ask(front) == Some(b'b')));
    proxy.set_up(&first, true);
    assert!((0..6).all(|_| ask(front) == Some(b'a')));
}

#[test]
fn a_refused_connect_goes_to_the_next_and_is_told() {
    let (address, _) = server(named(b'a'));
    let (mut proxy, front) = proxy_of(vec![backend(nobody()), backend(address)]);
    let mut passive = proxy.passive().expect("the first time");
    let start = Instant::now();
    assert!((0..10).all(|_| ask(front) == Some(b'a')));
    assert!(start.elapsed() < Duration::from_secs(2));
    let told = passive.try_recv().expect("a failure");
    assert_eq!((told.backend.port, told.outcome), (proxy.snapshot().backends[0].id.port, Err(Fault::Refused)));
    assert_eq!(counts(&proxy, 0).connections, 0);
    assert!(counts(&proxy, 0).failures >= 5);
    assert_eq!(counts(&proxy, 1).connections, 10);
}

/// A listener whose queue is full: it answers no SYN.
struct BlackHole {
    listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl BlackHole {
    fn new() -> BlackHole {
        let listener = stream();
        listener.bind(&any().into()).expect("bind");
        listener.listen(0).expect("listen");
        let address = listener.local_addr().expect("address");
        let waiting = (0..4).map(|_| stream()).collect::<Vec<_>>();
        for socket in &waiting {
            socket.set_nonblocking(true).expect("option");
            let _ = socket.connect(&address);
        }
        BlackHole { listener, _waiting: waiting }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("address").as_socket().expect("IP")
    }
}

fn stream() -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket")
}

#[test]
fn a_silent_backend_costs_half_a_second_and_no_connection() {
    let hole = BlackHole::new();
    let (address, _) = server(named(b'a'));
    let (mut proxy, front) = proxy_of(vec![backend(hole.address()), backend(address)]);
    let mut passive = proxy.passive().expect("the first time");
    let start = Instant::now();
    assert_eq!((ask(front), ask(front)), (Some(b'a'), Some(b'a')));
    let took = start.elapsed();
    assert!(took > Duration::from_millis(490) && took < Duration::from_millis(990), "{took:?}");
    assert_eq!(passive.try_recv().expect("a failure").outcome, Err(Fault::TimedOut));
}

#[test]
fn when_all_are_dead_clients_are_refused_at_once() {
    let (address, served) = server(echo);
    let (mut proxy, front) = proxy_of(vec![backend(address)]);
    let only = proxy.snapshot().backends[0].id.clone();
    proxy.set_up(&only, false);
    check_refused(front);
    assert_eq!(proxy.snapshot().refused, [("b".to_owned(), 1)]);
    assert_eq!(served.load(SeqCst), 0);
    let (_proxy, front) = proxy_of(vec![backend(nobody()), backend(nobody()), backend(nobody())]);
    check_refused(front);
    let (_proxy, front) = proxy_of(vec![]);
    check_refused(front);
}

fn check_refused(front: SocketAddr) {
    let start = Instant::now();
    // The reset may be there before connect has returned.
    let outcome = TcpStream::connect_timeout(&front, PATIENCE).and_then(|mut client| client.read(&mut [0; 1]));
    assert_eq!(outcome.expect_err("no end in order").kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
}

#[test]
fn a_backend_that_goes_down_loses_its_connections_where_asked() {
    for cut in [true, false] {
        let (address, _) = server(echo);
        let (mut proxy, front) =
            proxy(&baton_core::settings::Balancer { cut_on_down: cut, ..balancer("b", vec![backend(address)]) });
        let mut client = connect(front);
        client.write_all(b"x").expect("write");
        client.read_exact(&mut [0; 1]).expect("read");
        let only = proxy.snapshot().backends[0].id.clone();
        proxy.set_up(&only, false);
        if cut {
            assert_eq!(client.read(&mut [0; 1]).expect_err("cut").kind(), ErrorKind::ConnectionReset);
            until("it is over", || counts(&proxy, 0).active == 0);
        } else {
            client.write_all(b"x").expect("write");
            client.read_exact(&mut [0; 1]).expect("read");
        }
    }
}

#[test]
fn a_reset_is_passed_on_both_ways() {
    let (address, _) = server(|mut stream| {
        let _ = stream.read(&mut [0; 1]);
        let _ = stream.write_all(b"part");
        std::thread::sleep(Duration::from_millis(50));
        reset(stream);
    });
    let (_proxy, front) = proxy_of(vec![backend(address)]);
    let mut client = connect(front);
    client.write_all(b"x").expect("write");
    let mut part = [0; 4];
    client.read_exact(&mut part).expect("what came before");
    assert_eq!(client.read(&mut part).expect_err("reset").kind(), ErrorKind::ConnectionReset);

    let (sender, received) = std::sync::mpsc::channel();
    let (address, _) = server(move |mut stream| {
        stream.read_exact(&mut [0; 1]).expect("read");
        sender.send(stream.read(&mut [0; 1]).map_err(|e| e.kind())).expect("the test listens");
    });
    let (_proxy, front) = proxy_of(vec![backend(address)]);
    let mut client = connect(front);
    client.write_all(b"x").expect("write");
    std::thread::sleep(Duration::from_millis(50));
    reset(client);
    assert_eq!(received.recv_timeout(PATIENCE).expect("outcome"), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_reset_after_half_an_end_is_noticed() {
    // The client has said that it is done; the backend thinks. Then the client is killed.
    let (sender, received) = std::sync::mpsc::channel();
    let (address, _) = server(move |mut stream| {
        assert_eq!(stream.read(&mut [0; 1]).expect("the end"), 0);
        std::thread::sleep(Duration::from_millis(100));
        let outcome = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            stream.write_all(b"x").err()
        });
        sender.send(outcome.map(|e| e.kind())).expect("the test listens");
    });
    let (proxy, front) = proxy_of(vec![backend(address)]);
    let client = connect(front);
    client.shutdown(Shutdown::Write).expect("shutdown");
    until("it is through", || counts(&proxy, 0).connections == 1);
    std::thread::sleep(Duration::from_millis(50));
    reset(client);
    let outcome = received.recv_timeout(PATIENCE).expect("outcome");
    assert!(matches!(outcome, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)), "{outcome:?}");
    until("it is over", || counts(&proxy, 0).active == 0);
}

fn reset(stream: TcpStream) {
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).expect("option");
}

#[test]
fn connections_on_an_address_that_is_gone_are_reset() {
    let (address, _) = server(echo);
    for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let (mut proxy, front) = proxy(&baton_core::settings::Balancer {
            listen: vec![listen.parse().expect("an address")],
            ..balancer("b", vec![backend(address)])
        });
        let on = |ip: [u8; 4]| SocketAddr::from((ip, front.port()));
        let mut client = connect(on([127, 0, 0, 1]));
        client.write_all(b"x").expect("write");
        client.read_exact(&mut [0; 1]).expect("read");
        for (vip, holding) in [([127, 0, 0, 1], Holding::Draining), ([127, 0, 0, 2], Holding::Gone)] {
            proxy.holding(IpAddr::V4(Ipv4Addr::from(vip)), holding);
            client.write_all(b"x").expect("write");
            client.read_exact(&mut [0; 1]).expect("read");
        }
        proxy.holding(IpAddr::V4(Ipv4Addr::LOCALHOST), Holding::Gone);
        assert_eq!(client.read(&mut [0; 1]).expect_err("reset").kind(), ErrorKind::ConnectionReset, "{listen}");
    }
}

#[test]
fn an_address_of_another_host_can_be_listened_on() {
    let mut settings = balancer("b", vec![]);
    settings.listen = vec!["192.0.2.7:0".parse().expect("an address"), "[2001:db8::7]:0".parse().expect("an address")];
    let mut proxy = Proxy::start(1).expect("workers");
    for listening in proxy.apply(&[settings]) {
        assert!(listening.error.is_none(), "{listening:?}");
    }
}

#[test]
fn an_address_in_use_is_told_and_the_rest_works() {
    let (taken, _) = server(named(b't'));
    let (address, _) = server(named(b'a'));
    let mut settings = balancer("b", vec![backend(address)]);
    settings.listen = vec![taken, any()];
    let mut proxy = Proxy::start(2).expect("workers");
    let listening = proxy.apply(std::slice::from_ref(&settings));
    assert_eq!(listening[0].error.as_ref().expect("in use").kind(), ErrorKind::AddrInUse);
    assert_eq!(ask(listening[1].address), Some(b'a'));
    // Another balancer of this very user is told as well, although the kernel would let it share the port.
    settings.listen = vec![listening[1].address];
    let other = Proxy::start(2).expect("workers").apply(&[settings]);
    assert_eq!(other[0].error.as_ref().expect("in use").kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_change_leaves_alone_what_it_does_not_name() {
    let (a, _) = server(echo);
    let (b, _) = server(named(b'b'));
    let before = balancer("before", vec![backend(a)]);
    let mut proxy = Proxy::start(2).expect("workers");
    let front = proxy.apply(std::slice::from_ref(&before))[0].address;
    let mut client = connect(front);
    let mut still_works = || {
        client.write_all(b"x").expect("write");
        client.read_exact(&mut [0; 1]).expect("read");
    };
    still_works();
    // Another backend: new connections go there, the old one stays.
    let mut after = before.clone();
    after.backends = vec![backend(b)];
    assert_eq!(proxy.apply(std::slice::from_ref(&after))[0].address, front);
    assert_eq!(ask(front), Some(b'b'));
    still_works();
    // Another name: the same listener.
    after.name = "after".to_owned();
    assert_eq!(proxy.apply(std::slice::from_ref(&after))[0].address, front);
    until("the new name is counted", || {
        assert_eq!(ask(front), Some(b'b'));
        counts(&proxy, 0).connections > 0
    });
    still_works();
    // The first backend again, with its counters.
    proxy.apply(&[before]);
    assert_eq!(counts(&proxy, 0).connections, 1);
    // Nothing: nobody listens, the connection goes on.
    proxy.apply(&[]);
    until("nobody listens", || TcpStream::connect(front).is_err());
    still_works();
}

#[test]
fn a_listener_can_move_from_one_address_to_all() {
    let (a, _) = server(named(b'a'));
    let mut settings = balancer("b", vec![backend(a)]);
    let (mut proxy, front) = proxy(&settings);
    for listen in ["0.0.0.0", "127.0.0.1", "::", "127.0.0.1"] {
        settings.listen = vec![SocketAddr::new(listen.parse().expect("an address"), front.port())];
        let listening = proxy.apply(std::slice::from_ref(&settings));
        assert!(listening[0].error.is_none(), "{listening:?}");
        assert_eq!(ask(front), Some(b'a'), "{listen}");
    }
    assert_eq!(proxy.snapshot().workers, 2);
}

#[test]
fn a_thousand_at_once() {
    let (a, _) = server(echo);
    let (b, _) = server(echo);
    let (proxy, front) = proxy_of(vec![backend(a), backend(b)]);
    let mut clients: Vec<TcpStream> = (0..1000).map(|_| connect(front)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&u32::try_from(number).expect("small").to_le_bytes()).expect("write");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut back = [0; 4];
        client.read_exact(&mut back).expect("read");
        assert_eq!(u32::from_le_bytes(back) as usize, number);
    }
    assert_eq!(proxy.snapshot().connections, 1000);
    assert_eq!(counts(&proxy, 0).active + counts(&proxy, 1).active, 1000);
    drop(clients);
    until("all are over", || proxy.snapshot().connections == 0);
    assert_eq!(counts(&proxy, 0).active + counts(&proxy, 1).active, 0);
}

#[test]
fn clients_in_the_queue_of_a_closing_listener_are_served() {
    let (address, _) = server(named(b'a'));
    let settings = balancer("b", vec![backend(address)]);
    for _ in 0..20 {
        let (mut proxy, front) = proxy(&settings);
        let clients: Vec<TcpStream> = (0..50).map(|_| connect(front)).collect();
        proxy.apply(&[]);
        for mut client in clients {
            client.read_exact(&mut [0; 1]).expect("served");
        }
    }
}

#[test]
fn a_swarm_of_different_connections_gets_every_byte_back() {
    let (a, _) = server(echo);
    let (b, _) = server(echo);
    let (proxy, front) = proxy_of(vec![backend(a), backend(b)]);
    std::thread::scope(|scope| {
        for swimmer in 0..24u64 {
            scope.spawn(move || (0..6).for_each(|turn| swim(front, swimmer * 100 + turn)));
        }
    });
    until("all are over", || proxy.snapshot().connections == 0);
    let (a, b) = (counts(&proxy, 0), counts(&proxy, 1));
    assert_eq!(a.connections + b.connections, 24 * 6);
    assert_eq!(a.to_backend + b.to_backend, a.to_client + b.to_client);
    assert_eq!(a.active + b.active, 0);
}

/// One connection: pieces and pauses that its seed chooses, an end in order, or none.
fn swim(front: SocketAddr, seed: u64) {
    let dice = pattern(seed, 64);
    let size = usize::from(dice[0]).pow(2) * (1 + usize::from(dice[1] % 16));
    let bytes = pattern(seed + 1, size);
    let client = connect(front);
    let mut writer = client.try_clone().expect("clone");
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || {
        let (mut rest, mut roll) = (&sent[..], 2);
        while !rest.is_empty() {
            let piece = rest.len().min(1 + usize::from(dice[roll % 64]) * usize::from(dice[(roll + 1) % 64]));
            writer.write_all(&rest[..piece]).expect("write");
            rest = &rest[piece..];
            roll += 2;
            if dice[roll % 64] < 16 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        writer.shutdown(Shutdown::Write).expect("shutdown");
    });
    let mut back = Vec::new();
    let mut reader = client;
    reader.read_to_end(&mut back).expect("read");
    sending.join().expect("sent");
    assert!(back == bytes, "seed {seed}: {} bytes back of {size}", back.len());
}
