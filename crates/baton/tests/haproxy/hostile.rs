//! Clients that mean no good, or none that is known, and operators who mistype.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::world::{Balancer, a, b, free_port, server, until};

const BASE: &str = "
global
    stats socket DIR/s level admin
    stats maxconn 3
    stats timeout 700ms
defaults
    mode tcp
    timeout connect 1s
    timeout client 20s
    timeout server 20s
";

fn start(ours: bool, sections: &str) -> Option<Balancer> {
    Balancer::start(ours, &format!("{BASE}{sections}"))
}

fn ours(sections: &str) -> Balancer {
    start(true, sections).expect("our own program")
}

#[test]
fn a_header_that_comes_late_is_waited_for_before_rules_look_at_bytes() {
    let (a, b) = (server(a), server(b));
    let sections = format!(
        "frontend f\n    bind 127.0.0.1:PORT accept-proxy\n    use_backend a if {{ req.ssl_hello_type 1 }}\n    \
         default_backend b\nbackend a\n    server s 127.0.0.1:{a}\nbackend b\n    server s 127.0.0.1:{b}\n"
    );
    for ours in [true, false] {
        let Some(balancer) = start(ours, &sections) else { continue };
        let mut stream = balancer.connect();
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\nhello").unwrap();
        let mut said = [0];
        assert_eq!(stream.read(&mut said).unwrap(), 1, "ours: {ours}");
        assert_eq!(&said, b"b");
    }
}

const PAGE: &str = "listen other\n    bind 127.0.0.1:SPARE\nfrontend p\n    mode http\n    bind 127.0.0.1:PORT\n    \
                    stats enable\n    stats uri /s\n    stats hide-version\n    stats refresh 5s\n    stats scope .\n    \
                    stats show-desc one & two\n";

fn page() -> Balancer {
    ours(&PAGE.replace("SPARE", &free_port().to_string()))
}

#[test]
fn connections_of_the_page_are_few_and_soon_gone() {
    let balancer = page();
    let before = balancer.descriptors();
    let hold = || {
        let mut stream = balancer.connect();
        stream.write_all(b"GET /s HTTP/1.1\r\nhost:").unwrap();
        stream
    };
    let mut held: Vec<TcpStream> = (0..300).map(|_| hold()).collect();
    until("they are accepted", || balancer.descriptors() >= before + 128);
    for _ in 0..50 {
        assert!(balancer.descriptors() <= before + 140, "{} of {before}", balancer.descriptors());
        std::thread::sleep(Duration::from_millis(10));
    }
    held.clear();
    assert!(balancer.ask(b"GET /s HTTP/1.1\r\nhost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_page_shows_what_it_may() {
    let balancer = page();
    let page = balancer.ask(b"GET /s HTTP/1.0\r\n\r\n");
    assert!(page.contains("\r\nrefresh: 5\r\n"), "{page}");
    assert!(page.contains("<h1>baton: one &amp; two</h1>") && page.contains("<h2>p</h2>"), "{page}");
    assert!(!page.contains(env!("CARGO_PKG_VERSION")) && !page.contains("other"), "{page}");
    let table = balancer.ask(b"GET /s;csv HTTP/1.0\r\n\r\n");
    assert!(table.contains("\np,FRONTEND,") && !table.contains("\nother,"), "{table}");
}

#[test]
fn silence_ends_connections_of_the_runtime_socket_and_makes_room() {
    let section = format!("listen l\n    bind 127.0.0.1:PORT\n    server s 127.0.0.1:{}\n", server(a));
    for ours in [true, false] {
        let Some(balancer) = start(ours, &section) else { continue };
        let mut held: Vec<_> = (0..3).map(|_| balancer.runtime()).collect();
        for stream in &mut held {
            stream.write_all(b"prompt\n").unwrap();
            stream.read_exact(&mut [0; 3]).unwrap();
        }
        // There is room for three.
        assert!(balancer.command("show stat").contains("l,FRONTEND"), "ours: {ours}");
        // Of three that are silent haproxy now and then forgets one.
        for mut stream in held.into_iter().filter(|_| ours) {
            stream.read_to_end(&mut Vec::new()).expect("its end");
        }
    }
}

#[test]
fn commands_that_make_no_sense_are_answered() {
    let section = format!("listen l\n    bind 127.0.0.1:PORT\n    server s 127.0.0.1:{}\n", server(a));
    let balancer = ours(&section);
    for (command, expected) in [
        ("set weight l/s 4294967295%", "Relative weight must be positive.\n"),
        ("set weight l/s 4294967295", "Absolute weight can only be between 0 and 256 inclusive.\n"),
        ("set weight l/s -1", "Require <weight> or <weight%>.\n"),
        ("set maxconn server l/s 99999999999", "Value out of range.\n"),
        ("set weight l 1", "No such server.\n"),
        ("show stat -9223372036854775808 9223372036854775807 99999999999999999999", "is not served"),
        ("page nobody", "</html>"),
        ("show servers state \u{1}\u{7f}", "Can't find backend.\n"),
        (&"x".repeat(16_000), "Unknown command"),
    ] {
        let answer = balancer.command(command);
        assert!(answer.contains(expected), "{command}: {answer}");
    }
    // What is no text ends its connection, and nothing else.
    let mut stream = balancer.runtime();
    stream.write_all(b"show \xff\xfe info\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(balancer.ask(b""), "a");
}
