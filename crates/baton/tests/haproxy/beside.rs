//! The same files and the same clients with both programs: what clients get and what the log says must be the same, but
//! for the times.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::world::{Balancer, a, b, echo, free_port, server, until};

/// One thread: how many are open when a line is written is no matter of chance.
const BASE: &str = "
global
    nbthread 1
    log stdout format raw local0
    stats socket DIR/s level admin
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 500ms
    timeout client 700ms
    timeout server 700ms
    timeout queue 400ms
    retries 1
";

/// A line without what differs from run to run: client, moment, times; `-1` among the times stays.
fn fields(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let times: Vec<&str> = words[4].split('/').map(|time| if time == "-1" { time } else { "t" }).collect();
    format!("{} {} {} {}", words[2], words[3], times.join("/"), words[5..].join(" "))
}

/// Runs `act` with both programs; what it returned and the log's fields must be the same.
fn both(section: &str, sessions: usize, act: impl Fn(&Balancer) -> String) {
    compare(&format!("{BASE}{section}"), sessions, act);
}

/// The same of a whole file.
pub(crate) fn compare(config: &str, sessions: usize, act: impl Fn(&Balancer) -> String) {
    let run = |ours: bool| {
        let balancer = Balancer::start(ours, config)?;
        let said = act(&balancer);
        let lines: Vec<String> = balancer.lines(sessions).iter().take(sessions).map(|line| fields(line)).collect();
        Some((said, lines))
    };
    let ours = run(true).expect("our own program is there");
    if let Some(theirs) = run(false) {
        assert_eq!(ours, theirs, "ours, then haproxy's, of:\n{config}");
    }
}

fn listen(rest: &str) -> String {
    format!("listen l\n    bind 127.0.0.1:PORT\n    {}\n", rest.replace("; ", "\n    "))
}

#[test]
fn a_session_that_goes_well() {
    let section = listen(&format!("server e 127.0.0.1:{}", server(a)));
    both(&section, 1, |balancer| balancer.ask(b"hello"));
}

#[test]
fn silence_ends_a_session() {
    let section = listen(&format!("server e 127.0.0.1:{}", server(echo)));
    both(&section, 1, |balancer| balancer.ask(b"hello"));
}

#[test]
fn a_session_without_a_word_is_not_logged() {
    let section = listen(&format!("option dontlognull; server e 127.0.0.1:{}", server(echo)));
    both(&section, 1, |balancer| {
        let mut silent = String::new();
        balancer.connect().read_to_string(&mut silent).unwrap();
        silent + &balancer.ask(b"hello")
    });
}

#[test]
fn half_a_session_is_served_to_its_end() {
    let section = listen(&format!("server e 127.0.0.1:{}", server(echo)));
    both(&section, 1, |balancer| {
        let mut stream = balancer.connect();
        // haproxy may give up a client that has nothing more to say before a server is connected: so it is, by then.
        stream.write_all(b"all").unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        stream.write_all(b" there is").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
}

#[test]
fn a_server_that_refuses() {
    let nobody = free_port();
    both(&listen(&format!("server e 127.0.0.1:{nobody}")), 1, |balancer| balancer.ask(b"hello"));
    let section = listen(&format!("option redispatch; server e 127.0.0.1:{nobody}; server f 127.0.0.1:{}", server(a)));
    both(&section, 1, |balancer| balancer.ask(b"hello"));
}

#[test]
fn no_server_at_all() {
    let section = listen(&format!("server e 127.0.0.1:{} disabled", server(a)));
    both(&section, 1, |balancer| balancer.ask(b"hello"));
}

#[test]
fn a_rule_that_rejects() {
    let section =
        listen(&format!("tcp-request content reject if {{ src 127.0.0.0/8 }}; server e 127.0.0.1:{}", server(a)));
    both(&section, 1, |balancer| balancer.ask(b"hello"));
}

#[test]
fn the_order_of_servers() {
    for balance in ["roundrobin", "static-rr"] {
        let section = listen(&format!(
            "balance {balance}; server a 127.0.0.1:{} weight 3; server b 127.0.0.1:{} weight 2",
            server(a),
            server(b)
        ));
        // How many sessions were under way when another ended is chance.
        both(&section, 0, |balancer| (0..15).map(|_| balancer.ask(b"?")).collect());
    }
}

#[test]
fn the_client_waits_for_a_server_with_room() {
    // Long enough for the busiest machine.
    let times = "timeout queue 20s; timeout client 20s; timeout server 20s";
    let section = listen(&format!("{times}; server e 127.0.0.1:{} maxconn 1", server(echo)));
    let waits = |table: &str| table.lines().skip(1).any(|line| line.split(',').nth(2) == Some("1"));
    both(&section, 2, |balancer| {
        let mut first = balancer.connect();
        first.write_all(b"1").unwrap();
        let mut byte = [0];
        first.read_exact(&mut byte).unwrap();
        let mut second = balancer.connect();
        second.write_all(b"2").unwrap();
        until("the second one to wait", || waits(&balancer.command("show stat")));
        drop(first);
        second.read_exact(&mut byte).unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        String::from_utf8_lossy(&byte).into_owned()
    });
}

#[test]
fn nobody_waits_for_room_without_end() {
    let times = "timeout client 20s; timeout server 20s";
    let section = listen(&format!("{times}; server e 127.0.0.1:{} maxconn 1", server(echo)));
    both(&section, 1, |balancer| {
        let mut first = balancer.connect();
        first.write_all(b"1").unwrap();
        first.read_exact(&mut [0]).unwrap();
        balancer.ask(b"2")
    });
}

#[test]
fn the_header_of_the_proxy_protocol() {
    for word in ["send-proxy", "send-proxy-v2"] {
        let section = listen(&format!("server e 127.0.0.1:{} {word}", server(echo)));
        both(&section, 1, |balancer| {
            let mut stream = balancer.connect();
            let port = stream.local_addr().unwrap().port();
            stream.write_all(b"!").unwrap();
            let (mut header, mut byte) = (Vec::new(), [0]);
            while byte != *b"!" {
                stream.read_exact(&mut byte).unwrap();
                header.extend(byte);
            }
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut header).unwrap();
            if word == "send-proxy-v2" {
                return header.len().to_string();
            }
            // The client's port differs.
            let header = String::from_utf8_lossy(&header).replace(&port.to_string(), "C");
            header.replace(&balancer.port.to_string(), "P")
        });
    }
}

#[test]
fn the_runtime_socket_answers_alike() {
    let section = listen(&format!("server e 127.0.0.1:{}; server f 127.0.0.1:{} weight 5", server(a), server(b)));
    both(&section, 1, |balancer| {
        let served = balancer.ask(b"hello");
        let commands = [
            "set server l/e state drain",
            "set server l/e state sideways",
            "set server l/x state ready",
            "get weight l/f",
            "set weight l/f 300",
            "set weight l/f 7",
            "get weight l/f",
            "disable server l/f",
        ];
        let answers: String = commands.iter().map(|command| balancer.command(command)).collect();
        let columns =
            ["pxname", "svname", "scur", "smax", "stot", "bin", "bout", "status", "act", "bck", "uweight", "type"];
        let table = balancer.command("show stat");
        let header: Vec<&str> = table.lines().next().unwrap().trim_start_matches("# ").split(',').collect();
        let rows: Vec<String> = table
            .lines()
            .skip(1)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let values: Vec<&str> = line.split(',').collect();
                let of = |name: &&str| values[header.iter().position(|h| h == name).unwrap()].to_owned();
                columns.iter().map(of).collect::<Vec<_>>().join(",")
            })
            .collect();
        format!("{served}{answers}{}\n{}", header.join(","), rows.join("\n"))
    });
}
