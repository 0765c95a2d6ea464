//! Type http.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use baton::proxy::{Fault, Proxy};
use baton_core::keeper::Holding;
use baton_core::settings::{Backend, Balancer, BalancerKind, Url};

use crate::world::*;

/// A request or response as it was read.
struct Message {
    first: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    Some(line.trim_end().to_owned())
}

/// Reads one message; `None` at the end of the stream.
fn read(reader: &mut impl BufRead) -> Option<Message> {
    let first = line(reader)?;
    let mut headers = Vec::new();
    loop {
        let header = line(reader)?;
        if header.is_empty() {
            break;
        }
        headers.push(header);
    }
    let mut message = Message { first, headers, body: Vec::new() };
    if let Some(length) = message.header("content-length") {
        message.body = vec![0; length.parse().expect("a number")];
        reader.read_exact(&mut message.body).ok()?;
    } else if message.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&line(reader)?, 16).expect("a size");
            let at = message.body.len();
            message.body.resize(at + size, 0);
            reader.read_exact(&mut message.body[at..]).ok()?;
            line(reader)?;
            if size == 0 {
                break;
            }
        }
    }
    Some(message)
}

/// A backend that answers each request on a connection with what `answer` makes of it.
fn serve(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    server(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("clone"));
        let mut stream = stream;
        while let Some(request) = read(&mut reader) {
            if stream.write_all(&answer(&request)).is_err() {
                return;
            }
        }
    })
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn front(backends: Vec<Backend>) -> (Proxy, SocketAddr) {
    proxy(&Balancer { kind: BalancerKind::Http, ..balancer("web", backends) })
}

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        Client { reader: BufReader::new(connect(address)) }
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).expect("write");
    }

    fn ask(&mut self, text: &str) -> Message {
        self.send(text);
        read(&mut self.reader).expect("a response")
    }

    fn get(&mut self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: vip.test\r\n\r\n"))
    }
}

#[test]
fn requests_of_one_connection_go_to_all_backends_over_kept_connections() {
    let (a, connections_a) = serve(|_| ok("a"));
    let (b, connections_b) = serve(|_| ok("b"));
    let (proxy, address) = front(vec![backend(a), backend(b)]);
    let mut client = Client::new(address);
    let bodies: Vec<u8> = (0..8).flat_map(|_| client.get("/").body).collect();
    assert_eq!(bodies, b"abababab");
    assert_eq!((connections_a.load(SeqCst), connections_b.load(SeqCst)), (1, 1));
    let counts = counts(&proxy, 0);
    assert_eq!((counts.connections, counts.to_client), (4, 4));
    until("no request is under way", || crate::world::counts(&proxy, 0).active == 0);
}

#[test]
fn backends_see_who_asked_for_what() {
    let (sender, seen) = std::sync::mpsc::channel();
    let (a, _) = serve(move |request| {
        sender.send((request.first.clone(), request.headers.clone())).expect("the test listens");
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=9\r\nX-Own: 1\r\n\r\n".to_vec()
    });
    let url = Some(Url { tls: false, prefix: "/api".to_owned() });
    let (_proxy, address) = front(vec![Backend { url, ..backend(a) }]);
    let response = Client::new(address).ask(
        "GET /x?y=1 HTTP/1.1\r\nHost: vip.test\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    );
    assert_eq!((response.header("x-own"), response.header("keep-alive")), (Some("1"), None));
    let (first, mut headers) = seen.recv_timeout(PATIENCE).expect("a request");
    headers.iter_mut().for_each(|h| h.make_ascii_lowercase());
    headers.sort();
    assert_eq!(first, "GET /api/x?y=1 HTTP/1.1");
    let host = format!("host: {a}");
    let want = [
        host.as_str(),
        "x-forwarded-for: 192.0.2.1, 127.0.0.1",
        "x-forwarded-host: vip.test",
        "x-forwarded-proto: http",
    ];
    assert_eq!(headers, want);
}

#[test]
fn bodies_pass_in_chunks_or_by_length() {
    let (a, _) = serve(|request| {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in request.body.chunks(7000) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        answer
    });
    let (proxy, address) = front(vec![backend(a)]);
    let body: String = pattern(3, 200_000).into_iter().map(|b| char::from(b'a' + b % 26)).collect();
    let mut client = Client::new(address);
    let echoed = client.ask(&format!("POST / HTTP/1.1\r\nHost: v\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert!(echoed.body == body.as_bytes());
    let echoed = client.ask(&format!(
        "POST / HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ));
    assert!(echoed.body == body.as_bytes());
    assert_eq!((counts(&proxy, 0).to_backend, counts(&proxy, 0).to_client), (400_000, 400_000));
}

#[test]
fn an_upgraded_connection_carries_bytes() {
    let (a, _) = server(|stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("clone"));
        let request = read(&mut reader).expect("a request");
        assert_eq!(request.header("upgrade"), Some("chat"));
        let mut stream = stream;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
        stream.write_all(head).expect("write");
        let mut byte = [0];
        while reader.read_exact(&mut byte).is_ok() {
            stream.write_all(&[byte[0].to_ascii_uppercase()]).expect("write");
        }
    });
    let (mut proxy, address) = front(vec![backend(a)]);
    let mut client = Client::new(address);
    let response = client.ask("GET / HTTP/1.1\r\nHost: v\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    assert!(response.first.contains("101"), "{}", response.first);
    assert_eq!(response.header("upgrade"), Some("chat"));
    client.send("hello");
    let mut back = [0; 5];
    client.reader.read_exact(&mut back).expect("read");
    assert_eq!(&back, b"HELLO");
    assert_eq!(counts(&proxy, 0).active, 1);
    // It is cut with its backend like any other.
    let only = proxy.snapshot().backends[0].id.clone();
    proxy.set_up(&only, false);
    assert!(matches!(client.reader.read(&mut back), Ok(0) | Err(_)));
    until("it is over", || counts(&proxy, 0).active == 0 && proxy.snapshot().connections == 0);
}

#[test]
fn a_backend_that_refuses_is_passed_over() {
    let (a, _) = serve(|_| ok("a"));
    let (mut proxy, address) = front(vec![backend(nobody()), backend(a)]);
    let mut passive = proxy.passive().expect("the first time");
    let mut client = Client::new(address);
    assert!((0..4).all(|_| client.get("/").body == b"a"));
    assert_eq!(passive.try_recv().expect("a failure").outcome, Err(Fault::Refused));
}

#[test]
fn errors_say_whose_fault_it_is() {
    let (address_of_mute, _) = server(drop);
    for (backends, status) in
        [(vec![], "503"), (vec![backend(nobody())], "502"), (vec![backend(address_of_mute)], "502")]
    {
        let (_proxy, address) = front(backends);
        let mut client = Client::new(address);
        let response = client.get("/");
        assert!(response.first.contains(status), "{} for {status}", response.first);
        assert!(response.body.starts_with(status.as_bytes()) && response.body.len() < 100);
        // The client may go on.
        assert!(client.get("/").first.contains(status));
    }
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_request() {
    let (a, connections) = server(|stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("clone"));
        let mut stream = stream;
        if read(&mut reader).is_some() {
            stream.write_all(&ok("once")).expect("write");
        }
    });
    let (_proxy, address) = front(vec![backend(a)]);
    let mut client = Client::new(address);
    for turn in 1..=5 {
        assert_eq!(client.get("/").body, b"once");
        assert_eq!(connections.load(SeqCst), turn);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn connections_end_with_their_address_and_requests_with_their_backend() {
    let (a, _) = serve(|_| {
        std::thread::sleep(Duration::from_millis(300));
        ok("late")
    });
    let (mut proxy, address) = front(vec![backend(a)]);
    let mut client = Client::new(address);
    client.send("GET / HTTP/1.1\r\nHost: v\r\n\r\n");
    until("the request is under way", || counts(&proxy, 0).active == 1);
    let only = proxy.snapshot().backends[0].id.clone();
    proxy.set_up(&only, false);
    assert!(read(&mut client.reader).expect("an answer").first.contains("502"));
    assert!(client.get("/").first.contains("503"));
    proxy.holding(IpAddr::V4(Ipv4Addr::LOCALHOST), Holding::Gone);
    let error = client.reader.read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    until("it is over", || proxy.snapshot().connections == 0);
}

#[test]
fn a_backend_may_speak_tls() {
    let address = tls_server(|mut stream| {
        let mut head = vec![0; 1000];
        let n = stream.read(&mut head).expect("read");
        assert!(head[..n].starts_with(b"GET /s HTTP/1.1\r\n"));
        stream.write_all(&ok("secret")).expect("write");
        stream.flush().expect("flush");
    });
    let url = Some(Url { tls: true, prefix: String::new() });
    let (_proxy, front) = front(vec![Backend { url, ..backend(address) }]);
    assert_eq!(Client::new(front).get("/s").body, b"secret");
}

#[test]
fn a_closed_listener_refuses_and_its_connections_go_on() {
    let (a, _) = serve(|_| ok("a"));
    let (mut proxy, address) = front(vec![backend(a)]);
    let mut client = Client::new(address);
    assert_eq!(client.get("/").body, b"a");
    proxy.apply(&[]);
    until("nobody listens", || TcpStream::connect(address).is_err());
    assert_eq!(client.get("/").body, b"a");
}
