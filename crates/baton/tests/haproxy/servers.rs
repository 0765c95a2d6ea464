//! Who gets a connection and who loses it, side by side with haproxy: the ways to choose, clients that stay, limits, and
//! what other than its own checks makes a server go down.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use socket2::{Domain, Socket, Type};

use super::world::{Balancer, PATIENCE, echo, free_port, greet, nobody, server, server_at, until};

const BASE: &str = "
global
    log stdout format raw local0
    stats socket DIR/s level admin
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 1s
    timeout client 20s
    timeout server 20s
    timeout queue 2s
listen l
    bind 127.0.0.1:PORT
    ";

/// What both programs do with the same file.
fn both<T: PartialEq + std::fmt::Debug>(section: &str, act: impl Fn(&Balancer) -> T) -> T {
    let config = format!("{BASE}{}\n", section.replace("; ", "\n    "));
    let run = |ours: bool| Some(act(&Balancer::start(ours, &config)?));
    let ours = run(true).expect("our own program is there");
    if let Some(theirs) = run(false) {
        assert_eq!(ours, theirs, "ours, then haproxy's, of:\n{section}");
    }
    ours
}

/// A connection from an address of the loopback network, and the letter that its server greets with.
fn from(balancer: &Balancer, last: u8) -> Option<(TcpStream, char)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), 0).into()).expect("an address");
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, balancer.port)).into()).expect("connect");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut letter = [0];
    stream.read_exact(&mut letter).ok()?;
    Some((stream, char::from(letter[0])))
}

/// Three servers that greet with their names.
fn three(words: [&str; 3]) -> String {
    let line = |name: char, words: &str| format!("server {name} 127.0.0.1:{} {words}", server(greet(name)));
    [('a', words[0]), ('b', words[1]), ('c', words[2])].map(|(name, words)| line(name, words)).join("; ")
}

/// The letters of connections that stay open.
fn held(section: &str, clients: &[u8]) -> String {
    both(section, |balancer| {
        let held: Vec<(TcpStream, char)> = clients.iter().filter_map(|last| from(balancer, *last)).collect();
        held.iter().map(|(_, letter)| *letter).collect::<String>()
    })
}

#[test]
fn connections_that_stay_open_are_spread_alike() {
    held(&format!("balance leastconn; {}", three(["", "", ""])), &[1; 7]);
    held(&format!("balance leastconn; {}", three(["weight 30", "weight 20", "weight 10"])), &[1; 9]);
    held(&format!("balance first; {}", three(["maxconn 2", "maxconn 3", ""])), &[1; 7]);
}

#[test]
fn a_client_is_led_to_its_server_by_its_address() {
    let clients: Vec<u8> = (1..40).collect();
    let words = ["weight 10", "weight 20", "weight 30"];
    for kind in ["", "; hash-type map-based sdbm avalanche", "; hash-type consistent", "; hash-type consistent sdbm"] {
        let letters = held(&format!("balance source{kind}; {}", three(words)), &clients);
        assert_eq!(letters.len(), clients.len(), "{kind}: everybody is served");
    }
}

#[test]
fn random_choices_reach_everybody() {
    let config = format!("{BASE}balance random\n    {}\n", three(["", "", "weight 0"]).replace("; ", "\n    "));
    let balancer = Balancer::start(true, &config).expect("our own program is there");
    let letters: Vec<char> = (0..60).filter_map(|_| Some(from(&balancer, 1)?.1)).collect();
    let count = |wanted: char| letters.iter().filter(|letter| **letter == wanted).count();
    assert!(count('a') > 10 && count('b') > 10 && count('c') == 0, "{letters:?}");
}

#[test]
fn a_client_stays_at_the_server_that_it_had() {
    let clients = [1, 2, 3, 1, 2, 3, 4, 1, 4, 2];
    for rule in ["stick on src", "stick match src; stick store-request src", "stick on dst"] {
        let section = format!("stick-table type ip size 10k expire 30m; {rule}; {}", three(["", "", ""]));
        held(&section, &clients);
    }
    // A client whose server is gone gets another one, and stays there.
    let section = format!("stick-table type ip size 10; stick on src; {}", three(["", "", ""]));
    both(&section, |balancer| {
        let letter = |last| from(balancer, last).map(|(_, letter)| letter);
        let before = letter(2);
        balancer.command(&format!("disable server l/{}", before.expect("served")));
        // Whose turn it is depends on what was before.
        let after = letter(2).expect("served by another one");
        assert!(Some(after) != before && letter(2) == Some(after));
        letter(3);
        assert_eq!(letter(2), Some(after));
        let table = balancer.command("show table l");
        let row = table.lines().find(|line| line.contains("key=127.0.0.2")).expect("a row of the client");
        let id = 1 + u32::from(after) - u32::from('a');
        assert!(row.contains(&format!(" server_id={id} server_key={after}")), "{row}");
        balancer.command("clear table l");
        (before, balancer.command("show table l").lines().next().map(str::to_owned))
    });
}

#[test]
fn a_rule_names_the_server() {
    let section = format!(
        "acl two src 127.0.0.2; use-server b if two; use-server c unless {{ src 127.0.0.2 127.0.0.9 }}; {}",
        three(["", "", ""])
    );
    let letters = held(&section, &[2, 2, 3, 4, 2]);
    assert_eq!(letters, "bbccb");
    let section = format!("use-server b if {{ src 127.0.0.2 }}; {}", three(["", "disabled", ""]));
    held(&section, &[2, 2, 2]);
}

#[test]
fn too_many_wait_for_one_server() {
    let section = format!("balance source; {}", three(["maxconn 1 maxqueue 1"; 3]));
    let said = both(&section, |balancer| {
        let first = from(balancer, 1).expect("served");
        let second = balancer.connect();
        until("somebody waits", || balancer.stat(&["qcur"]).values().any(|row| row[0] == "1"));
        let mut third = balancer.connect();
        let refused = third.read(&mut [0]).map_or(true, |n| n == 0);
        let line = balancer.lines(1)[0].split(' ').nth(6).map(str::to_owned);
        until("it is not counted any more", || balancer.stat(&["scur"])["l/FRONTEND"][0] == "2");
        let rows = balancer.stat(&["qcur", "qmax", "qlimit", "scur", "smax"]);
        drop(first);
        let mut letter = [0];
        (&second).read_exact(&mut letter).expect("its turn");
        (refused, line, rows)
    });
    assert!(said.0);
}

#[test]
fn limits_rise_with_the_load() {
    let section = format!("fullconn 10; maxconn 100; {}", three(["minconn 1 maxconn 5", "weight 0", "weight 0"]));
    held(&section, &[1]);
    both(&section, |balancer| {
        let first = from(balancer, 1).expect("served");
        let second = balancer.connect();
        until("somebody waits", || balancer.stat(&["qcur"])["l/BACKEND"][0] == "1");
        drop(first);
        (&second).read_exact(&mut [0]).expect("its turn");
    });
}

/// A file whose server `a` is checked on a port of its own, and backed up by `b`.
fn checked(words: &str) -> (String, u16) {
    let port = free_port();
    let section = format!(
        "server a 127.0.0.1:{} check port {port} inter 50ms rise 1 fall 1 {words}; server b 127.0.0.1:{} backup",
        server(greet('a')),
        server(greet('b'))
    );
    (section, port)
}

#[test]
fn a_server_that_is_up_again_takes_the_backups_sessions() {
    let (section, port) = checked("on-marked-up shutdown-backup-sessions");
    let config = format!("{BASE}{}\n", section.replace("; ", "\n    "));
    let mut checks = None;
    let mut run = |ours: bool| {
        let balancer = Balancer::start(ours, &config)?;
        until("a down", || balancer.stat(&["status"])["l/a"][0].starts_with("DOWN"));
        let (mut stream, letter) = from(&balancer, 1).expect("the backup serves");
        checks = Some(server_at(port, echo));
        let cut = stream.read(&mut [0]).map_or(true, |n| n == 0);
        checks.take().expect("it was there").stop();
        let line = balancer.lines(1)[0].split(' ').nth(6).map(str::to_owned);
        Some((letter, cut, line))
    };
    let ours = run(true);
    if let Some(theirs) = run(false) {
        assert_eq!(ours, Some(theirs));
    }
}

#[test]
fn a_server_that_goes_down_loses_its_sessions_and_no_other_does() {
    let port = free_port();
    let section = format!(
        "server a 127.0.0.1:{} check port {port} inter 50ms rise 1 fall 1 on-marked-down shutdown-sessions; \
         server b 127.0.0.1:{} check port {port} inter 50ms rise 1 fall 1",
        server(greet('a')),
        server(greet('b'))
    );
    let config = format!("{BASE}{}\n", section.replace("; ", "\n    "));
    let run = |ours: bool| {
        let checks = server_at(port, echo);
        let balancer = Balancer::start(ours, &config)?;
        until("both are checked", || {
            balancer
                .stat(&["check_status"])
                .iter()
                .all(|(name, row)| !name.ends_with("/a") && !name.ends_with("/b") || row[0] == "L4OK")
        });
        let mut sessions: Vec<(TcpStream, char)> = (0..2).filter_map(|_| from(&balancer, 1)).collect();
        sessions.sort_by_key(|(_, letter)| *letter);
        checks.stop();
        until("both down", || {
            ["l/a", "l/b"].iter().all(|name| balancer.stat(&["status"])[*name][0].starts_with("DOWN"))
        });
        let ended = sessions[0].0.read(&mut [0]).map_or(true, |n| n == 0);
        sessions[1].0.write_all(b"x").expect("it goes on");
        let letters: String = sessions.iter().map(|(_, letter)| *letter).collect();
        Some((letters, ended))
    };
    let ours = run(true);
    assert_eq!(ours, Some(("ab".to_owned(), true)));
    if let Some(theirs) = run(false) {
        assert_eq!(ours, Some(theirs));
    }
}

#[test]
fn errors_of_traffic_make_a_server_go_down() {
    let checks = server(echo);
    let section = format!(
        "retries 0; server a 127.0.0.1:{} check port {checks} inter 20s fall 1 observe layer4 error-limit 3 on-error mark-down",
        nobody()
    );
    both(&section, |balancer| {
        until("the first check", || balancer.stat(&["check_status"])["l/a"][0] == "L4OK");
        for _ in 0..3 {
            balancer.ask(b"?");
        }
        until("a down", || balancer.stat(&["status"])["l/a"][0].starts_with("DOWN"));
        balancer.stat(&["status", "check_status", "last_chk", "hanafail", "chkdown"])["l/a"].clone()
    });
}

#[test]
fn a_server_follows_another_one() {
    let port = free_port();
    let section = format!(
        "server a 127.0.0.1:{} check port {port} inter 50ms rise 1 fall 1; server b 127.0.0.1:{} track l/a",
        server(greet('a')),
        server(greet('b'))
    );
    both(&section, |balancer| {
        let rows = || balancer.stat(&["status", "tracked"]);
        until("both down", || ["l/a", "l/b"].iter().all(|name| rows()[*name][0].starts_with("DOWN")));
        let down = rows();
        let checks = server_at(port, echo);
        until("both up", || ["l/a", "l/b"].iter().all(|name| rows()[*name][0].starts_with("UP")));
        let up = rows();
        checks.stop();
        (down["l/b"].clone(), up["l/b"].clone())
    });
}

/// An agent that says one of these lines.
fn agent(lines: &'static [&'static [u8]]) -> (u16, Arc<AtomicU8>) {
    let which = Arc::new(AtomicU8::new(0));
    let its = which.clone();
    let port = server(move |mut stream: TcpStream| {
        let _ = stream.write_all(lines[usize::from(its.load(SeqCst))]);
    });
    (port, which)
}

#[test]
fn an_agent_says_how_its_server_is() {
    const LINES: &[&[u8]] = &[
        b"up\n",
        b"50%\n",
        b"down # no disk\n",
        b"up ready 100%\n",
        b"drain\n",
        b"ready maxconn:7\n",
        b"maint\n",
        b"ready up\n",
        b"fail\n",
    ];
    let (port, which) = agent(LINES);
    let section = format!(
        "server a 127.0.0.1:{} weight 10 agent-check agent-port {port} agent-inter 50ms; server b 127.0.0.1:{}",
        server(greet('a')),
        server(greet('b'))
    );
    let expected = [
        ("last_agt", "via agent : up"),
        ("weight", "5"),
        ("status", "DOWN (agent)"),
        ("status", "no check"),
        ("status", "DRAIN"),
        ("slim", "7"),
        ("status", "MAINT"),
        ("status", "no check"),
        ("status", "DOWN (agent)"),
    ];
    both(&section, |balancer| {
        let mut seen = Vec::new();
        for (line, (column, wanted)) in (0u8..).zip(expected) {
            which.store(line, SeqCst);
            until(&format!("{column} {wanted} after line {line}"), || {
                balancer.stat(&[column])["l/a"][0].starts_with(wanted)
            });
            seen.push(balancer.stat(&["status", "weight", "slim"])["l/a"].clone());
        }
        seen
    });
}

#[test]
fn a_listener_of_one_interface_and_of_one_family() {
    let config = |binds: &str| {
        format!(
            "global\n    stats socket DIR/s level admin\ndefaults\n    mode tcp\n    timeout connect 1s\n    timeout client 9s\n    timeout server 9s\nlisten l\n    {binds}\n    server a 127.0.0.1:{}\n",
            server(greet('a'))
        )
    };
    for ours in [true, false] {
        let six = free_port();
        let binds = format!("bind 127.0.0.1:PORT interface lo\n    bind :::{six} v6only");
        let Some(balancer) = Balancer::start(ours, &config(&binds)) else { return };
        assert_eq!(balancer.ask(b"?"), "a", "by the loopback interface");
        let connects = |ip: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(ip, six), PATIENCE).is_ok();
        assert!(connects("::1".parse().unwrap()) && !connects(Ipv4Addr::LOCALHOST.into()), "IPv6 alone");
    }
}

#[test]
fn connections_come_from_an_address() {
    let whence = server(|mut stream: TcpStream| {
        let peer = stream.peer_addr().expect("a peer").ip();
        let _ = stream.write_all(peer.to_string().as_bytes());
    });
    for section in [
        format!("source 127.0.0.7; server a 127.0.0.1:{whence}"),
        format!("server a 127.0.0.1:{whence} source 127.0.0.7"),
    ] {
        assert_eq!(both(&section, |balancer| balancer.ask(b"?")), "127.0.0.7");
    }
}
