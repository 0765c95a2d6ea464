//! Every kind of check against servers that answer well, badly or not at all: both programs must find the same, and say the
//! same.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use super::world::{Balancer, nobody, server, until};

/// What a server does, step by step.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Says something.
    Say(&'static [u8]),
    /// Waits for something to be said.
    Hear,
    /// Waits for the end.
    Wait,
}

use Step::{Hear, Say, Wait};

/// A server that does these steps with everybody, then closes. What it heard is kept.
fn scripted(steps: &'static [Step], heard: &Arc<Mutex<Vec<Vec<u8>>>>) -> u16 {
    let heard = heard.clone();
    server(move |mut stream: TcpStream| {
        let mut buffer = [0; 4096];
        let mut all = Vec::new();
        for step in steps {
            match step {
                Say(bytes) => drop(stream.write_all(bytes)),
                Hear => {
                    let count = stream.read(&mut buffer).unwrap_or(0);
                    all.extend_from_slice(&buffer[..count]);
                }
                Wait => drop(stream.read_to_end(&mut Vec::new())),
            }
        }
        let mut list = heard.lock().unwrap();
        if !all.is_empty() && !list.contains(&all) {
            list.push(all);
        }
    })
}

/// Name, directives of the backend, words of its server, what the server does; `None`: nobody listens.
type Case = (&'static str, &'static str, &'static str, Option<&'static [Step]>);

const GREETING: &[u8] = b"\x0a\0\0\0\x0a8.0.36\0\x01\x02";
const WELCOME: &[u8] = b"\x07\0\0\x02\0\0\0\x02\0\0\0";
const DENIED: &[u8] = b"\x0f\0\0\x02\xff\x15\x04Access denied";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready";

const CASES: &[Case] = &[
    ("connect", "", "", Some(&[Wait])),
    ("refused", "", "", None),
    ("hello", "option ssl-hello-chk", "", Some(&[Hear, Say(b"\x15\x03\x01\0\x02\x02\x28"), Wait])),
    ("hello-plain", "option ssl-hello-chk", "", Some(&[Hear, Say(b"HTTP/1.0 400 Bad\r\n\r\n"), Wait])),
    ("hello-silent", "option ssl-hello-chk", "", Some(&[Wait])),
    ("hello-closed", "option ssl-hello-chk", "", Some(&[Hear])),
    ("tls-silent", "", "check-ssl verify none", Some(&[Wait])),
    ("redis", "option redis-check", "", Some(&[Hear, Say(b"+PONG\r\n"), Wait])),
    ("redis-error", "option redis-check", "", Some(&[Hear, Say(b"-LOADING dataset\r\n")])),
    ("redis-waits", "option redis-check", "", Some(&[Hear, Say(b"-NOAUTH Authentication\r\n"), Wait])),
    ("redis-silent", "option redis-check", "", Some(&[Wait])),
    ("mysql", "option mysql-check", "", Some(&[Say(GREETING), Wait])),
    ("mysql-full", "option mysql-check", "", Some(&[Say(b"\x0b\0\0\0\xff\x10\x04Too many"), Wait])),
    ("mysql-short", "option mysql-check", "", Some(&[Say(b"\x0b\0\0\0\x0a")])),
    ("mysql-user", "option mysql-check user haproxy", "", Some(&[Say(GREETING), Hear, Say(WELCOME), Wait])),
    ("mysql-old", "option mysql-check user haproxy pre-41", "", Some(&[Say(GREETING), Hear, Say(WELCOME), Wait])),
    ("mysql-denied", "option mysql-check user haproxy", "", Some(&[Say(GREETING), Hear, Say(DENIED), Wait])),
    ("pgsql", "option pgsql-check user postgres", "", Some(&[Hear, Say(b"R\0\0\0\x08\0\0\0\0"), Wait])),
    ("pgsql-md5", "option pgsql-check user postgres", "", Some(&[Hear, Say(b"R\0\0\0\x0c\0\0\0\x05salt"), Wait])),
    ("pgsql-error", "option pgsql-check user x", "", Some(&[Hear, Say(b"E\0\0\0\x20SFATAL\0C28000\0Mno\0\0"), Wait])),
    ("pgsql-alien", "option pgsql-check user x", "", Some(&[Hear, Say(b"HTTP/1.0 400 Bad request\r\n"), Wait])),
    ("ldap", "option ldap-check", "", Some(&[Hear, Say(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"), Wait])),
    (
        "ldap-49",
        "option ldap-check",
        "",
        Some(&[Hear, Say(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\0\x04\0"), Wait]),
    ),
    ("ldap-alien", "option ldap-check", "", Some(&[Hear, Say(b"HTTP/1.0 400 Bad request\r\n"), Wait])),
    (
        "smtp",
        "option smtpchk",
        "",
        Some(&[Say(b"220 mx ESMTP\r\n"), Hear, Say(b"250 mx\r\n"), Hear, Say(b"221 Bye\r\n"), Wait]),
    ),
    (
        "smtp-ehlo",
        "option smtpchk EHLO lb.example",
        "",
        Some(&[Say(b"220 mx ESMTP\r\n"), Hear, Say(b"250-mx\r\n250 SIZE\r\n"), Hear, Say(b"221 Bye\r\n"), Wait]),
    ),
    ("smtp-busy", "option smtpchk", "", Some(&[Say(b"421 Too busy\r\n"), Wait])),
    ("smtp-rejects", "option smtpchk", "", Some(&[Say(b"220 mx\r\n"), Hear, Say(b"501 Who?\r\n"), Wait])),
    ("smtp-alien", "option smtpchk", "", Some(&[Say(b"SSH-2.0-x\r\n"), Wait])),
    ("http", "option httpchk GET /healthz", "", Some(&[Hear, Say(OK), Wait])),
    ("http-redirect", "option httpchk", "", Some(&[Hear, Say(b"HTTP/1.0 302 Found\r\n\r\n")])),
    ("http-404", "option httpchk", "", Some(&[Hear, Say(b"HTTP/1.0 404 Not Found\r\n\r\n")])),
    ("http-503", "option httpchk", "", Some(&[Hear, Say(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")])),
    ("http-silent", "option httpchk", "", Some(&[Wait])),
    ("http-closed", "option httpchk", "", Some(&[Hear])),
    ("http-alien", "option httpchk", "", Some(&[Hear, Say(b"+PONG\r\n")])),
    ("http-401", "option httpchk; http-check expect status 401", "", Some(&[Hear, Say(b"HTTP/1.0 401 No\r\n\r\n")])),
    (
        "http-list",
        "option httpchk; http-check expect status 200,404",
        "",
        Some(&[Hear, Say(b"HTTP/1.0 500 Internal Server Error\r\n\r\n")]),
    ),
    ("http-rstatus", "option httpchk; http-check expect rstatus ^2", "", Some(&[Hear, Say(OK)])),
    ("http-rstatus-not", "option httpchk; http-check expect rstatus ^3", "", Some(&[Hear, Say(OK)])),
    ("http-not", "option httpchk; http-check expect ! rstatus ^5", "", Some(&[Hear, Say(OK)])),
    ("http-string", "option httpchk; http-check expect string ready", "", Some(&[Hear, Say(OK)])),
    ("http-string-not", "option httpchk; http-check expect string master", "", Some(&[Hear, Say(OK)])),
    ("http-unwanted", "option httpchk; http-check expect ! string ready", "", Some(&[Hear, Say(OK)])),
    ("http-rstring", "option httpchk; http-check expect rstring ^re.dy$", "", Some(&[Hear, Say(OK)])),
    ("http-no-body", "option httpchk; http-check expect string x", "", Some(&[Hear, Say(b"HTTP/1.0 200 OK\r\n\r\n")])),
    (
        "http-send",
        "option httpchk; http-check send meth HEAD uri /live ver HTTP/1.1 hdr Host api.example hdr X-Probe 1",
        "",
        Some(&[Hear, Say(b"HTTP/1.1 204 No Content\r\n\r\n")]),
    ),
    (
        "http-comment",
        "option httpchk; http-check expect status 200 comment \"the API\"",
        "",
        Some(&[Hear, Say(b"HTTP/1.0 500 Oh no\r\n\r\n")]),
    ),
    ("tcp", "option tcp-check", "", Some(&[Wait])),
    ("tcp-send", "option tcp-check; tcp-check send PING\\r\\n", "", Some(&[Hear, Wait])),
    (
        "tcp-sentinel",
        "option tcp-check; tcp-check send PING\\r\\n; tcp-check expect string +PONG; \
         tcp-check send info\\ replication\\r\\n; tcp-check expect string role:master; tcp-check send QUIT\\r\\n; \
         tcp-check expect string +OK",
        "",
        Some(&[Hear, Say(b"+PONG\r\n"), Hear, Say(b"$9\r\nrole:master\r\n"), Hear, Say(b"+OK\r\n")]),
    ),
    (
        "tcp-replica",
        "option tcp-check; tcp-check send info\\ replication\\r\\n; tcp-check expect string role:master",
        "",
        Some(&[Hear, Say(b"$9\r\nrole:slave\r\n")]),
    ),
    ("tcp-waits", "option tcp-check; tcp-check expect string role:master", "", Some(&[Say(b"role:slave\r\n"), Wait])),
    ("tcp-empty", "option tcp-check; tcp-check expect string x", "", Some(&[])),
    (
        "tcp-rstring",
        "option tcp-check; tcp-check expect rstring ^role:(master|slave)",
        "",
        Some(&[Say(b"role:slave\r\n"), Wait]),
    ),
    ("tcp-rstring-not", "option tcp-check; tcp-check expect rstring ^role:master", "", Some(&[Say(b"role:slave\r\n")])),
    ("tcp-unwanted", "option tcp-check; tcp-check expect ! string slave", "", Some(&[Say(b"role:slave\r\n"), Wait])),
    ("tcp-binary", "option tcp-check; tcp-check expect binary 0a0b", "", Some(&[Say(b"\x0a\x0b"), Wait])),
    ("tcp-binary-not", "option tcp-check; tcp-check expect binary 0a0c", "", Some(&[Say(b"\x0a\x0b")])),
    ("tcp-rbinary", "option tcp-check; tcp-check expect rbinary ^0A(0B|0C)", "", Some(&[Say(b"\x0a\x0b"), Wait])),
    (
        "tcp-min",
        "option tcp-check; tcp-check expect rstring ^x min-recv 4 comment \"long enough\"",
        "",
        Some(&[Say(b"yes!"), Wait]),
    ),
    (
        "tcp-told",
        "option tcp-check; tcp-check expect string x error-status L7STS on-error \"no x\"",
        "",
        Some(&[Say(b"yes!")]),
    ),
    (
        "tcp-said",
        "option tcp-check; tcp-check expect string y ok-status L6OK on-success \"all is well\"",
        "",
        Some(&[Say(b"yes!"), Wait]),
    ),
];

/// The file with all cases, whose servers have these ports.
fn config(ports: &[u16]) -> String {
    let mut text = "global\n    stats socket DIR/s level admin\ndefaults\n    mode tcp\n    timeout connect 1s\n    \
                    timeout client 9s\n    timeout server 9s\n    timeout check 300ms\nfrontend f\n    bind 127.0.0.1:PORT\n    \
                    default_backend connect\n"
        .to_owned();
    for ((name, directives, words, _), port) in CASES.iter().zip(ports) {
        let directives = directives.replace("; ", "\n    ");
        text += &format!(
            "backend {name}\n    {directives}\n    server s 127.0.0.1:{port} check inter 700ms fall 1 rise 1 {words}\n"
        );
    }
    text
}

/// By server, what a program finds of it; and by server and connection, what that heard.
type Found = (BTreeMap<String, Vec<String>>, Vec<Vec<Vec<u8>>>);

fn found(ours: bool) -> Option<Found> {
    let heard: Vec<Arc<Mutex<Vec<Vec<u8>>>>> = CASES.iter().map(|_| Arc::default()).collect();
    let port = |((.., steps), heard): (&Case, _)| steps.map_or_else(nobody, |steps| scripted(steps, heard));
    let ports: Vec<u16> = CASES.iter().zip(&heard).map(port).collect();
    let balancer = Balancer::start(ours, &config(&ports))?;
    let columns = ["svname", "status", "check_status", "check_code", "last_chk"];
    let rows = || {
        let mut rows = balancer.stat(&columns);
        rows.retain(|name, _| name.ends_with("/s"));
        rows
    };
    let mut results = BTreeMap::new();
    until("every check", || {
        // A check that runs is marked by haproxy: what was found is told when it is over.
        let done = rows().into_iter().filter(|(_, row)| !row[2].is_empty() && !row[2].starts_with(['*', 'I']));
        for (name, row) in done {
            results.entry(name).or_insert(row);
        }
        results.len() == CASES.len()
    });
    let heard = heard.iter().map(|heard| heard.lock().unwrap().clone()).collect();
    Some((results, heard))
}

#[test]
fn every_kind_of_check_finds_what_haproxy_finds() {
    let Some((theirs, heard_of_theirs)) = found(false) else { return };
    let (ours, heard_of_ours) = found(true).expect("our own program is there");
    let mut differences = Vec::new();
    for (name, row) in &theirs {
        if ours.get(name) != Some(row) {
            differences.push(format!("{name}: haproxy {row:?}\n    ours {:?}", ours.get(name)));
        }
    }
    for ((name, ..), (theirs, ours)) in CASES.iter().zip(heard_of_theirs.iter().zip(&heard_of_ours)) {
        // The hello of TLS is not the same one, and need not be.
        if theirs != ours && !name.starts_with("hello") && !name.starts_with("tls") {
            differences.push(format!("{name}: heard of haproxy {theirs:x?}\n    of ours {ours:x?}"));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), CASES.len(), differences.join("\n"));
}
