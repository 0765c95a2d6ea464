//! Recognised checks, and those that are not.

use std::time::Duration;

use baton_config::keepalived::Native;
use baton_config::keepalived::model::{At, Command};
use baton_config::keepalived::native::{Get, recognise};

fn command(text: &str) -> Command {
    let args = text.split_whitespace().map(str::to_owned).collect();
    Command { text: text.to_owned(), args, user: None, at: At::default() }
}

fn line(text: &str) -> Option<Native> {
    recognise(&command(text), None)
}

fn script(text: &str) -> Option<Native> {
    recognise(&command("/etc/keepalived/check.sh"), Some(text))
}

fn get(host: &str, port: u16, path: &str) -> Get {
    Get {
        tls: true,
        verify: false,
        host: host.to_owned(),
        port,
        path: path.to_owned(),
        timeout: None,
        connect_timeout: None,
        fail: false,
    }
}

fn process(name: &str) -> Option<Native> {
    Some(Native::Process(name.to_owned()))
}

fn tcp(host: &str, port: u16, timeout: Option<u64>) -> Option<Native> {
    Some(Native::Tcp { host: host.to_owned(), port, timeout: timeout.map(Duration::from_secs) })
}

#[test]
fn processes_and_units() {
    for text in [
        "killall -0 haproxy",
        "/usr/bin/killall -0 haproxy",
        "pidof haproxy",
        "/bin/pidof -q haproxy",
        "pgrep -x haproxy",
        "ps -C haproxy --no-heading",
        "killall -0 haproxy 2>/dev/null",
        "pidof haproxy >/dev/null 2>&1",
        "sh -c pidof",
    ] {
        let expected = if text == "sh -c pidof" { None } else { process("haproxy") };
        assert_eq!(line(text), expected, "{text}");
    }
    let unit = Some(Native::Unit(String::from("haproxy")));
    for text in ["systemctl is-active haproxy", "systemctl is-active --quiet haproxy.service", "service haproxy status"]
    {
        assert_eq!(line(text), unit, "{text}");
    }
}

#[test]
fn connections() {
    assert_eq!(line("</dev/tcp/127.0.0.1/6443"), tcp("127.0.0.1", 6443, None));
    assert_eq!(line("nc -z localhost 6443"), tcp("localhost", 6443, None));
    assert_eq!(line("nc -zv -w 2 localhost 6443"), tcp("localhost", 6443, Some(2)));
    assert_eq!(line("nc -zw1 localhost 6443"), tcp("localhost", 6443, Some(1)));
    assert_eq!(script("#!/bin/bash\n</dev/tcp/127.0.0.1/443 || exit 1\n"), tcp("127.0.0.1", 443, None));
    let sh = Command {
        text: String::new(),
        args: ["timeout", "1", "bash", "-c", "</dev/tcp/localhost/80"].map(str::to_owned).to_vec(),
        user: None,
        at: At::default(),
    };
    assert_eq!(recognise(&sh, None), tcp("localhost", 80, Some(1)));
}

#[test]
fn requests() {
    let plain = get("localhost", 6443, "/");
    assert_eq!(line("curl -k https://localhost:6443/"), Some(Native::Http(plain.clone())));
    let fails =
        Get { fail: true, timeout: Some(Duration::from_secs(2)), path: String::from("/healthz"), ..plain.clone() };
    for text in [
        "curl -sfk -m 2 https://localhost:6443/healthz",
        "curl --silent --fail --insecure --max-time 2 https://localhost:6443/healthz -o /dev/null",
        "curl -skf -m2 -o /dev/null https://localhost:6443/healthz",
        "curl -sfk --max-time=2 https://localhost:6443/healthz >/dev/null 2>&1",
    ] {
        assert_eq!(line(text), Some(Native::Http(fails.clone())), "{text}");
    }
    let http = Get { tls: false, verify: true, port: 80, host: String::from("127.0.0.1"), ..plain };
    assert_eq!(line("curl 127.0.0.1"), Some(Native::Http(http.clone())));
    assert_eq!(line("wget -q --spider http://127.0.0.1/"), Some(Native::Http(Get { fail: true, ..http })));
    let six = Get { host: String::from("::1"), ..get("", 6443, "/livez?verbose") };
    assert_eq!(line("curl -k https://[::1]:6443/livez?verbose"), Some(Native::Http(six)));
}

#[test]
fn the_check_of_the_guide() {
    let text = "#!/bin/sh

errorExit() {
    echo \"*** $*\" 1>&2
    exit 1
}

curl --silent --max-time 2 --insecure https://localhost:6443/ -o /dev/null || errorExit \"Error GET https://localhost:6443/\"
if ip addr | grep -q 192.0.2.100; then
    curl --silent --max-time 2 --insecure https://192.0.2.100:6443/ -o /dev/null || errorExit \"Error GET https://192.0.2.100:6443/\"
fi
";
    let ask = |host: &str| Native::Http(Get { timeout: Some(Duration::from_secs(2)), ..get(host, 6443, "/") });
    let here = Native::WhileHere { address: [192, 0, 2, 100].into(), then: Box::new(ask("192.0.2.100")) };
    assert_eq!(script(text), Some(Native::All(vec![ask("localhost"), here.clone()])));
    // The same with variables, and the newer one that asks only for health.
    let text = text.replacen("errorExit() {", "PORT=6443\nVIP=192.0.2.100\nerrorExit() {", 1);
    let text = text.replace("localhost:6443", "localhost:${PORT}").replace("grep -q 192.0.2.100", "grep -q $VIP");
    assert_eq!(script(&text), Some(Native::All(vec![ask("localhost"), here])));
    let newer = "#!/bin/sh\n\nerrorExit() {\n    echo \"*** $*\" 1>&2\n    exit 1\n}\n\ncurl -sfk --max-time 2 https://localhost:6443/healthz -o /dev/null || errorExit \"Error GET https://localhost:6443/healthz\"\n";
    let health = Get { fail: true, timeout: Some(Duration::from_secs(2)), ..get("localhost", 6443, "/healthz") };
    assert_eq!(script(newer), Some(Native::Http(health)));
}

#[test]
fn other_shapes_of_the_same() {
    for text in [
        "#!/bin/bash\nkillall -0 haproxy\n",
        "#!/bin/bash\nkillall -0 haproxy &> /dev/null\n",
        "#!/bin/bash\nif ! killall -0 haproxy; then\n  exit 1\nfi\n",
        "#!/bin/bash\nif killall -0 haproxy; then exit 0; else exit 1; fi\n",
        "#!/bin/bash\nif pidof haproxy >/dev/null; then\n  echo fine\n  exit 0\nelse\n  logger gone\n  exit 1\nfi\n",
        "#!/bin/bash\nset -e\npidof haproxy || exit 1\nexit 0\n",
        "#!/bin/bash\nNAME=haproxy\npidof $NAME || exit 2\n",
    ] {
        assert_eq!(script(text), process("haproxy"), "{text}");
    }
    let both = Native::All(vec![Native::Process(String::from("haproxy")), Native::Unit(String::from("kubelet"))]);
    assert_eq!(script("pidof haproxy && systemctl is-active kubelet"), Some(both.clone()));
    assert_eq!(script("pidof haproxy || exit 1\nsystemctl is-active -q kubelet || exit 1\n"), Some(both));
}

/// What is not understood as a whole is run: a wrong answer would be worse than a slow one.
#[test]
fn what_is_not_known_is_run() {
    for text in [
        "#!/bin/sh\nsystemctl restart haproxy\npidof haproxy\n",
        "#!/bin/sh\npidof haproxy || systemctl start haproxy\n",
        "#!/bin/sh\ncount=$(ps -C haproxy --no-header | wc -l)\nif [ $count -eq 0 ]; then exit 1; fi\n",
        "#!/bin/sh\npidof haproxy\npidof nginx\n",
        "#!/bin/sh\npidof haproxy || exit 0\nexit 1\n",
        "#!/bin/sh\nif pidof haproxy; then exit 1; fi\n",
        "#!/bin/sh\ncurl -k https://localhost:6443/ | grep ok\n",
        // Certificates would be verified.
        "#!/bin/sh\ncurl -sf https://localhost:6443/\n",
        "#!/bin/sh\nwget -q -O /dev/null https://localhost:6443/\n",
        "#!/bin/sh\ncurl -k -H 'Authorization: x' https://localhost:6443/\n",
        "#!/bin/sh\ncurl -k https://$HOST:6443/\n",
        "#!/bin/sh\nwhile true; do pidof haproxy; done\n",
        "#!/bin/sh\npidof haproxy &\n",
        "#!/bin/sh\nif pidof a; then exit 0; else exit 1; fi\npidof b\n",
        "#!/bin/sh\nif ip addr | grep -q 192.0.2.1; then exit 0; fi\npidof b\n",
        "#!/bin/sh\npidof haproxy && exit 1\nexit 0\n",
        "#!/usr/bin/env python3\nimport sys\nsys.exit(0)\n",
        "#!/bin/sh\nexit 1\n",
        "pidof haproxy > /etc/passwd",
        "errorExit() {\n echo no\n}\npidof haproxy || errorExit\n",
    ] {
        assert_eq!(script(text), None, "{text}");
    }
    for text in [
        "/etc/keepalived/check.sh",
        "killall haproxy",
        "curl --upload-file x http://localhost/",
        "pidof",
        "nc localhost 80",
    ] {
        assert_eq!(line(text), None, "{text}");
    }
}
