//! A reload changes what differs and nothing else.

use std::io::{Read, Write};

use nix::sys::signal::Signal;

use super::world::{Balancer, a, b, echo, server, until};

fn config(server: &str) -> String {
    format!(
        "global\n    stats socket DIR/s level admin\ndefaults\n    mode tcp\n    timeout connect 1s\n    timeout client 20s\n    \
         timeout server 20s\nlisten l\n    bind 127.0.0.1:PORT\n    {server}\n"
    )
}

#[test]
fn connections_and_counters_stay() {
    let echo = server(echo);
    let balancer = Balancer::start(true, &config(&format!("server e 127.0.0.1:{echo}"))).expect("our own program");
    let mut open = balancer.connect();
    open.write_all(b"1").unwrap();
    let mut byte = [0];
    open.read_exact(&mut byte).unwrap();
    let (a, b) = (server(a), server(b));
    balancer.write(&config(&format!("server a 127.0.0.1:{a}")));
    balancer.signal(Signal::SIGUSR2);
    until("the new server", || balancer.ask(b"") == "a");
    // The old connection goes on although its server is not in the file any more.
    open.write_all(b"2").unwrap();
    open.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"2");
    // A file that is refused changes nothing.
    balancer.write("listen l\n    bind 127.0.0.1:PORT\n    nonsense\n");
    balancer.signal(Signal::SIGHUP);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(balancer.ask(b""), "a");
    balancer.write(&config(&format!("server a 127.0.0.1:{a} weight 0\n    server b 127.0.0.1:{b}")));
    balancer.signal(Signal::SIGHUP);
    until("the other server", || balancer.ask(b"") == "b");
    let table = balancer.command("show stat");
    let row = table.lines().find(|line| line.starts_with("l,FRONTEND")).expect("the frontend's row");
    let sessions: u64 = row.split(',').nth(7).and_then(|n| n.parse().ok()).expect("a number of sessions");
    assert!(sessions >= 4, "counted from the start: {row}");
}

#[test]
fn without_a_listener_it_ends_when_its_sessions_do() {
    let balancer =
        Balancer::start(true, &config(&format!("server e 127.0.0.1:{}", server(echo)))).expect("our own program");
    let mut open = balancer.connect();
    open.write_all(b"1").unwrap();
    let mut byte = [0];
    open.read_exact(&mut byte).unwrap();
    balancer.signal(Signal::SIGUSR1);
    until("the listener to be closed", || std::net::TcpStream::connect(("127.0.0.1", balancer.port)).is_err());
    open.write_all(b"2").unwrap();
    open.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"2");
    drop(open);
    until("the end", || balancer.ended());
}
