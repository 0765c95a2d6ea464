//! Mode http: the same requests to both programs; answers, what servers got, and the fields of the log must be the same.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::beside::compare;
use super::world::{Balancer, free_port, server, until};

const BASE: &str = "
global
    log stdout format raw local0
    stats socket DIR/s level admin
defaults
    mode http
    log global
    option httplog
    timeout connect 500ms
    timeout client 900ms
    timeout server 700ms
    timeout http-request 600ms
    timeout http-keep-alive 500ms
    timeout queue 300ms
    retries 1
";

/// The head of a request, and what came of its body.
fn head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            return Some((text[..end + 4].to_owned(), bytes.split_off(end + 4)));
        }
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
    }
}

fn length(head: &str) -> usize {
    let line =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Reads a message with a length.
fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (head, mut body) = head(stream)?;
    let mut rest = vec![0; length(&head).saturating_sub(body.len())];
    stream.read_exact(&mut rest).ok()?;
    body.append(&mut rest);
    Some((head, body))
}

/// Answers each request with what came of it.
fn show(mut stream: TcpStream) {
    while let Some((head, body)) = message(&mut stream) {
        let text = [head.as_bytes(), &body].concat();
        let line = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Server: One\r\n\r\n", text.len());
        if stream.write_all(&[line.as_bytes(), &text].concat()).is_err() {
            return;
        }
    }
}

/// Answers each request with one letter.
fn letter(mut stream: TcpStream, letter: char) {
    while message(&mut stream).is_some() {
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{letter}").as_bytes());
    }
}

fn a(stream: TcpStream) {
    letter(stream, 'a');
}

fn b(stream: TcpStream) {
    letter(stream, 'b');
}

/// Answers once with these bytes and closes.
fn once(mut stream: TcpStream, answer: &[u8]) {
    let _ = message(&mut stream);
    let _ = stream.write_all(answer);
}

fn nothing(stream: TcpStream) {
    once(stream, b"");
}

fn garbage(stream: TcpStream) {
    once(stream, b"SSH-2.0-OpenSSH\r\n");
}

fn half(stream: TcpStream) {
    once(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
}

fn hang(mut stream: TcpStream) {
    let _ = message(&mut stream);
    let _ = stream.read(&mut [0]);
}

fn stall(mut stream: TcpStream) {
    let _ = message(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    let _ = stream.read(&mut [0]);
}

/// Upgrades, then sends back what comes.
fn echo_upgraded(mut stream: TcpStream) {
    if head(&mut stream).is_some() {
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        super::world::echo(stream);
    }
}

/// A request after which the connection ends.
fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h:80\r\n{headers}Connection: close\r\n\r\n").into_bytes()
}

/// A request on a connection that is kept, and its answer.
fn kept(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    let (head, body) = message(stream).unwrap_or_default();
    head + &String::from_utf8_lossy(&body)
}

/// An answer with its headers in small letters and in order: an empty body's length stands elsewhere than in haproxy's, and
/// names in some of its answers have capital letters.
fn sorted(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_ascii_lowercase).collect();
    lines[1..].sort_unstable();
    format!("{}\n{body}", lines.join("\n"))
}

/// All requests, each on a connection of its own; each makes a line.
fn each(frontend: &str, requests: &[Vec<u8>]) {
    let count = requests.len();
    compare(&format!("{BASE}{}", frontend.replace("; ", "\n    ")), count, |balancer| {
        let mut said = String::new();
        for (done, request) in requests.iter().enumerate() {
            said += &sorted(&balancer.ask(request));
            said += "\n====\n";
            balancer.lines(done + 1);
        }
        said
    });
}

fn listen(rest: &str) -> String {
    format!("listen l\n    bind 127.0.0.1:PORT; {rest}\n")
}

#[test]
fn requests_and_answers_pass() {
    let section = listen(&format!(
        "http-request set-header X-Set \"%[src] %[hdr(host)] %[path]\"; http-request add-header X-Add one; \
         http-request del-header X-Del; http-response set-header X-Answer two; http-response del-header X-Server; \
         server s 127.0.0.1:{}",
        server(show)
    ));
    each(
        &section,
        &[
            get("/", ""),
            get("/a/b?c=d", "X-Del: 1\r\nX-CaSe: Yes\r\nX-Set: old\r\nKeep-Alive: 3\r\nTE: trailers\r\n"),
            b"HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec(),
            b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".to_vec(),
            b"GET http://a/abs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
            b"GET /nohost HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
        ],
    );
}

#[test]
fn who_the_client_is() {
    for option in [
        "option forwardfor",
        "option forwardfor if-none",
        "option forwardfor header X-Client",
        "option forwardfor except 127.0.0.0/8",
    ] {
        let section = listen(&format!("{option}; server s 127.0.0.1:{}", server(show)));
        each(&section, &[get("/", ""), get("/", "X-Forwarded-For: 192.0.2.1\r\n")]);
    }
}

#[test]
fn connections_are_kept_or_closed() {
    for option in ["option http-keep-alive", "option http-server-close", "option httpclose"] {
        let section = listen(&format!("{option}; server s 127.0.0.1:{}", server(show))).replace("; ", "\n    ");
        compare(&format!("{BASE}{section}"), if option.contains("httpclose") { 1 } else { 2 }, |balancer| {
            let mut stream = balancer.connect();
            let mut said = kept(&mut stream, "/one");
            if !option.contains("httpclose") {
                said += &kept(&mut stream, "/two");
            }
            let mut rest = String::new();
            let _ = stream.read_to_string(&mut rest);
            said + &rest
        });
    }
}

#[test]
fn servers_that_do_not_answer() {
    let ports = [nothing, garbage, half, hang, stall].map(server);
    let nobody = free_port();
    let mut section = "frontend f\n    bind 127.0.0.1:PORT\n".to_owned();
    let names = ["nothing", "garbage", "half", "hang", "stall"];
    for name in names {
        section += &format!("    use_backend {name} if {{ path /{name} }}\n");
    }
    section += "    use_backend empty if { path /empty }\n    use_backend down if { path /down }\n";
    for (name, port) in names.iter().zip(ports) {
        section += &format!("backend {name}\n    server s 127.0.0.1:{port}\n");
    }
    section += &format!("backend empty\nbackend down\n    server s 127.0.0.1:{nobody}\n");
    let paths = ["/nothing", "/garbage", "/half", "/hang", "/stall", "/empty", "/down", "/nowhere"];
    each(&section, &paths.map(|path| get(path, "")));
}

#[test]
fn another_server_is_tried() {
    let section =
        listen(&format!("option redispatch; server e 127.0.0.1:{}; server f 127.0.0.1:{}", free_port(), server(a)));
    each(&section, &[get("/", "")]);
}

#[test]
fn rules_answer() {
    let section = listen(&format!(
        "monitor-uri /mon; monitor fail if {{ nbsrv(l) lt 1 }}; http-request deny if {{ path /deny }}; \
         http-request deny deny_status 429 if {{ path_beg /many }} METH_GET; \
         http-request redirect location /x code 301 if {{ path /location }}; \
         http-request redirect scheme https if {{ path /scheme }}; \
         http-request redirect prefix http://p code 307 if {{ path /prefix }}; \
         http-request return status 200 content-type text/plain string hi if {{ path_end .txt }}; \
         http-request return status 404 if {{ hdr(host) -i Other }}; \
         http-request return status 418 content-type text/plain string tea if {{ path_sub tea }} !{{ src 192.0.2.0/24 }}; \
         server s 127.0.0.1:{}",
        server(show)
    ));
    let paths = ["/deny", "/many/x", "/location", "/scheme?a=1", "/prefix?a=1", "/a.txt", "/green-tea"];
    let mut requests: Vec<Vec<u8>> = paths.iter().map(|path| get(path, "")).collect();
    requests.push(b"GET / HTTP/1.1\r\nHost: oTHER\r\nConnection: close\r\n\r\n".to_vec());
    requests.push(b"POST /many HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx".to_vec());
    each(&section, &requests);
    let section = section.replace("; ", "\n    ");
    compare(&format!("{BASE}{section}"), 0, |balancer| {
        let well = balancer.ask(&get("/mon", ""));
        balancer.command("disable server l/s");
        well + &balancer.ask(&get("/mon", ""))
    });
}

#[test]
fn what_is_no_request() {
    let section = listen(&format!("server s 127.0.0.1:{}", server(show)));
    each(
        &section,
        &[
            b"GET / FOO/1.1\r\n\r\n".to_vec(),
            b"G@T\x01 / HTTP/1.1\r\n\r\n".to_vec(),
            b"GET / HT".to_vec(),
            Vec::new(),
            b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\nConnection: close\r\n\r\n".to_vec(),
            [b"GET / HTTP/1.1\r\nHost: h\r\nX: ", &[b'x'; 20_000][..], b"\r\n\r\n"].concat(),
        ],
    );
    let quiet = listen(&format!("option dontlognull; server s 127.0.0.1:{}", server(show))).replace("; ", "\n    ");
    compare(&format!("{BASE}{quiet}"), 1, |balancer| {
        let mut silent = String::new();
        let _ = balancer.connect().read_to_string(&mut silent);
        silent + &balancer.ask(&get("/", ""))
    });
    let probes =
        listen(&format!("option http-ignore-probes; server s 127.0.0.1:{}", server(show))).replace("; ", "\n    ");
    compare(&format!("{BASE}{probes}"), 1, |balancer| {
        let mut silent = String::new();
        let _ = balancer.connect().read_to_string(&mut silent);
        silent + &balancer.ask(&get("/", ""))
    });
}

#[test]
fn each_request_has_its_turn() {
    for balance in ["roundrobin", "static-rr"] {
        let section = listen(&format!(
            "balance {balance}; server a 127.0.0.1:{} weight 3; server b 127.0.0.1:{} weight 2",
            server(a),
            server(b)
        ));
        compare(&format!("{BASE}{}", section.replace("; ", "\n    ")), 15, |balancer| {
            let mut stream = balancer.connect();
            (0..15).map(|_| kept(&mut stream, "/").chars().next_back().unwrap_or('?')).collect()
        });
    }
}

#[test]
fn a_request_waits_for_room() {
    let section = listen(&format!("server s 127.0.0.1:{} maxconn 1", server(hang))).replace("; ", "\n    ");
    compare(&format!("{BASE}{section}"), 2, |balancer| {
        let mut first = balancer.connect();
        first.write_all(&get("/1", "")).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let second = balancer.ask(&get("/2", ""));
        let mut text = String::new();
        let _ = first.read_to_string(&mut text);
        second + &text
    });
}

#[test]
fn too_many_requests_wait_for_one_server() {
    let section = listen(&format!("balance source; server s 127.0.0.1:{} maxconn 1 maxqueue 1", server(hang)));
    compare(&format!("{BASE}{}", section.replace("; ", "\n    ")), 0, |balancer| {
        let mut first = balancer.connect();
        first.write_all(&get("/1", "")).unwrap();
        until("it is served", || balancer.stat(&["scur"])["l/s"][0] == "1");
        let mut second = balancer.connect();
        second.write_all(&get("/2", "")).unwrap();
        until("it waits", || balancer.stat(&["qcur"])["l/s"][0] == "1");
        let third = balancer.ask(&get("/3", ""));
        balancer.lines(1);
        let mut text = String::new();
        let _ = second.read_to_string(&mut text);
        // The states alone: haproxy names the server that was waited for in vain.
        let lines = balancer.lines(3).into_iter();
        let states = lines.map(|line| line.split(' ').find(|word| word.ends_with("--")).unwrap_or("none").to_owned());
        format!("{third}{text}{:?}", states.collect::<Vec<_>>())
    });
}

/// Answers with the address that it is asked from.
fn whence(mut stream: TcpStream) {
    let from = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
    while message(&mut stream).is_some() {
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{from}").as_bytes());
    }
}

#[test]
fn what_a_pool_asks_for_beside_balance() {
    let two = |more: &str| format!("{more}; server a 127.0.0.1:{}; server b 127.0.0.1:{}", server(a), server(b));
    for section in [
        two("stick-table type ip size 10k; stick on src"),
        two("stick-table type ip size 10k; stick match src if { src 192.0.2.1 }; stick store-request src"),
        two("use-server b if { src 127.0.0.1 }"),
        two("use-server a unless { dst_port 1 }"),
        format!("source 127.0.0.7; server s 127.0.0.1:{}", server(whence)),
    ] {
        compare(&format!("{BASE}{}", listen(&section).replace("; ", "\n    ")), 6, |balancer| {
            let mut stream = balancer.connect();
            let mut said: String = (0..3).map(|_| kept(&mut stream, "/")).collect();
            drop(stream);
            for done in 3..6 {
                balancer.lines(done);
                said += &balancer.ask(&get("/", ""));
            }
            let table = balancer.command("show table l");
            sorted(&said) + &table.lines().filter(|line| line.contains("key=")).count().to_string()
        });
    }
}

#[test]
fn how_long_requests_take_is_counted() {
    let late = |mut stream: TcpStream| {
        while message(&mut stream).is_some() {
            std::thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n.");
        }
    };
    let section = listen(&format!("server s 127.0.0.1:{}", server(late)));
    compare(&format!("{BASE}{}", section.replace("; ", "\n    ")), 3, |balancer| {
        (0..3).for_each(|_| drop(balancer.ask(&get("/", ""))));
        balancer.lines(3);
        let rows = balancer.stat(&["rtime", "ttime", "rtime_max", "ttime_max"]);
        let long = |of: &str| rows[of].iter().map(|time| time.parse().is_ok_and(|ms: u64| (100..900).contains(&ms)));
        format!("{:?}", ["l/s", "l/BACKEND"].map(|of| long(of).collect::<Vec<_>>()))
    });
}

#[test]
fn an_upgrade_makes_a_tunnel() {
    let section = listen(&format!("server s 127.0.0.1:{}", server(echo_upgraded))).replace("; ", "\n    ");
    compare(&format!("{BASE}{section}"), 1, |balancer| {
        let mut stream = balancer.connect();
        stream
            .write_all(
                b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            )
            .unwrap();
        let (head, _) = head(&mut stream).unwrap();
        stream.write_all(b"ping").unwrap();
        let mut echoed = [0; 4];
        stream.read_exact(&mut echoed).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest);
        let mut lines: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
        lines.sort();
        format!("{lines:?} {}{rest}", String::from_utf8_lossy(&echoed))
    });
}

#[test]
fn a_file_takes_the_place_of_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("503.http");
    std::fs::write(
        &path,
        "HTTP/1.1 503 Gone\r\nContent-Length: 6\r\nCache-Control: no-cache\r\nContent-Type: text/plain\r\n\r\nlater\n",
    )
    .unwrap();
    let section = listen(&format!("errorfile 503 {}", path.display()));
    each(&section, &[get("/", "")]);
}

#[test]
fn the_statistics() {
    let section = listen(&format!(
        "stats enable; stats uri /stats; stats refresh 5s; stats hide-version; stats auth me:secret; \
         server s 127.0.0.1:{}",
        server(show)
    ))
    .replace("; ", "\n    ");
    compare(&format!("{BASE}{section}"), 0, |balancer: &Balancer| {
        let stranger = balancer.ask(&get("/stats", ""));
        let csv = balancer.ask(&get("/stats;csv", "Authorization: Basic bWU6c2VjcmV0\r\n"));
        let status = csv.lines().next().unwrap_or_default().to_owned();
        let rows: Vec<&str> = csv
            .lines()
            .filter(|line| line.starts_with("# pxname") || line.starts_with("l,"))
            .map(|line| if line.starts_with('#') { line } else { line.split(',').next().unwrap_or_default() })
            .collect();
        let page = balancer.ask(&get("/stats", "Authorization: Basic bWU6c2VjcmV0\r\n"));
        let refresh = page.lines().find(|line| line.to_ascii_lowercase().starts_with("refresh:")).unwrap_or_default();
        format!("{stranger}\n{status}\n{rows:?}\n{refresh}\n{}", page.contains("Statistics Report for HAProxy"))
    });
}
