//! haproxy.cfg: verdicts over a corpus, held against haproxy itself where it is installed, and what the model says.

use std::path::{Path, PathBuf};
use std::process::Command;

use std::time::Duration;

use proptest::prelude::*;

use baton_config::haproxy::model::{
    CheckKind, ExpectKind, Listen, LogFormat, Mode, Redispatch, ServerPort, Step, Verify,
};
use baton_config::haproxy::{Class, Config, File, Finding, LINTS, Loaded, Outside, fix, read, refuse};

fn load(path: &str) -> Result<String, String> {
    match path {
        "/dev/null" => Ok(String::new()),
        _ => std::fs::read_to_string(path).map_err(|error| error.to_string()),
    }
}

fn read_text(text: &str) -> Loaded {
    let files = [File { path: "haproxy.cfg".into(), text: text.into() }];
    let environment = [("HOME".to_owned(), "/root".to_owned()), ("PORT".to_owned(), "7443".to_owned())];
    read(&files, &Outside { environment: &environment, load: &load, local_peer: "node1" })
}

fn config(text: &str) -> Config {
    let loaded = read_text(text);
    let said: Vec<String> = loaded.findings.iter().map(|finding| finding.message.to_string()).collect();
    loaded.config.unwrap_or_else(|| panic!("refused: {said:#?}"))
}

fn said(findings: &[Finding], class: Class) -> Vec<String> {
    findings.iter().filter(|finding| finding.class == class).map(|finding| finding.message.to_string()).collect()
}

/// `valid`, `warns` or `wrong` as haproxy has it; `refused` besides.
fn verdict(loaded: &Loaded) -> (&'static str, bool) {
    let has = |class| loaded.findings.iter().any(|finding| finding.class == class);
    let haproxy = match (has(Class::Alert), has(Class::Warning)) {
        (true, _) => "wrong",
        (false, true) => "warns",
        (false, false) => "valid",
    };
    (haproxy, has(Class::Refused))
}

fn corpus() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/haproxy");
    let mut out: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cfg"))
        .map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    out.sort();
    out
}

/// The first line says what is expected: `# valid`, `# warns`, `# wrong`, with `, refused` behind it.
fn expected(text: &str) -> (&str, bool) {
    let first = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    (first.trim_end_matches(", refused"), first.ends_with(", refused"))
}

#[test]
fn verdicts_are_as_written() {
    let corpus = corpus();
    assert!(corpus.len() >= 100, "{} files", corpus.len());
    let mut wrong = Vec::new();
    for (path, text) in &corpus {
        let loaded = read_text(text);
        let (found, expected) = (verdict(&loaded), expected(text));
        // What is refused may hide what haproxy would say.
        if found != expected && !(expected.1 && found.1) {
            let lines: Vec<String> = loaded.findings.iter().map(|f| format!("  {:?} {}", f.class, f.message)).collect();
            wrong.push(format!("{}: {expected:?}, but {found:?}\n{}", path.display(), lines.join("\n")));
        }
        assert_eq!(loaded.config.is_some(), found.0 != "wrong" && !found.1);
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
}

#[test]
fn verdicts_are_haproxys() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        println!("skipped: haproxy is not installed");
        return;
    }
    let mut wrong = Vec::new();
    for (path, text) in &corpus() {
        let mut haproxy = Command::new("haproxy");
        haproxy.args(["-c", "-L", "node1", "-f"]).arg(path).env_clear().env("HOME", "/root").env("PORT", "7443");
        haproxy.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let output = haproxy.output().unwrap();
        let text_of = String::from_utf8_lossy(&output.stderr).into_owned();
        let found = match (output.status.success(), text_of.contains("[WARNING]")) {
            (false, _) => "wrong",
            (true, true) => "warns",
            (true, false) => "valid",
        };
        if found != expected(text).0 {
            wrong.push(format!("{}: haproxy says {found}\n{text_of}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The guide's file for three API servers, with its placeholders filled in.
const GUIDE: &str = "\
global
    log /dev/log local0
    log /dev/log local1 notice
    daemon
defaults
    mode http
    log global
    option httplog
    option dontlognull
    option http-server-close
    option forwardfor except 127.0.0.0/8
    option redispatch
    retries 1
    timeout http-request 10s
    timeout queue 20s
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    timeout http-keep-alive 10s
    timeout check 10s
frontend apiserver
    bind *:7443
    mode tcp
    option tcplog
    default_backend apiserver
backend apiserver
    option httpchk GET /healthz
    http-check expect status 200
    mode tcp
    option ssl-hello-chk
    balance roundrobin
    server one 10.0.0.1:6443 check
    server two 10.0.0.2:6443 check
";

#[test]
fn the_guides_file_is_what_haproxy_makes_of_it() {
    let loaded = read_text(GUIDE);
    let warnings = said(&loaded.findings, Class::Warning);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(
        warnings
            .iter()
            .all(|warning| warning.starts_with("haproxy.cfg:11:5: warning: option forwardfor: is ignored by"))
    );
    let config = config(GUIDE);
    let (frontend, backend) = (&config.frontends[0], &config.backends[0]);
    assert_eq!(frontend.mode, Mode::Tcp);
    assert_eq!(frontend.binds[0].listen, Listen::Inet { ip: "0.0.0.0".parse().unwrap(), port: 7443 });
    assert_eq!((frontend.log_format.clone(), frontend.logs.len()), (LogFormat::Tcp, 2));
    assert_eq!((frontend.logs[1].facility, frontend.logs[1].level), (17, 5));
    assert_eq!((frontend.id, backend.id), (1, 2));
    assert_eq!(frontend.default_backend.as_deref(), Some("apiserver"));
    assert_eq!((backend.retries, backend.redispatch), (1, Redispatch::FromEnd(1)));
    let check = backend.servers[1].check.as_ref().unwrap();
    assert_eq!(check.kind, CheckKind::SslHello, "the last option wins");
    let seconds = Duration::from_secs;
    assert_eq!((check.inter, check.connect_timeout, check.answer_timeout), (seconds(2), seconds(2), Some(seconds(10))));
    assert_eq!((check.rise, check.fall), (2, 3));
    assert_eq!(
        (&backend.servers[1].name, backend.servers[1].id, backend.servers[1].port),
        (&"two".to_owned(), 2, ServerPort::Fixed(6443))
    );
}

/// A backend with two lines: the steps of its server's check.
fn steps(defaults: &str, own: &str) -> CheckKind {
    let text = format!(
        "defaults\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n{defaults}\nlisten l\n bind :80\n{own}\n server s 10.0.0.1:80 check\n"
    );
    config(&text).backends[0].servers[0].check.clone().unwrap().kind
}

fn request(kind: &CheckKind) -> String {
    let CheckKind::Steps(steps) = kind else { return format!("{kind:?}") };
    let Some(Step::Request(request)) = steps.iter().find(|step| matches!(step, Step::Request(_))) else {
        panic!("{kind:?}")
    };
    let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!(" {name}:{value}")).collect();
    format!("{} {} {}{}", request.method, request.uri, request.version, headers.concat())
}

#[test]
fn requests_of_checks_are_those_that_haproxy_sends() {
    for (defaults, own, expected) in [
        ("", " option httpchk\n http-check expect status 401", "OPTIONS / HTTP/1.0"),
        (" option httpchk GET /def\n http-check expect status 401", "", "GET /def HTTP/1.0"),
        (" option httpchk GET /def", " option httpchk", "OPTIONS / HTTP/1.0"),
        (" http-check expect status 401", " option httpchk GET /own", "GET /own HTTP/1.0"),
        ("", " option httpchk GET /a\n http-check send meth HEAD uri /b hdr X y", "HEAD /b HTTP/1.0 X:y"),
        ("", " option httpchk GET /a\n http-check send hdr Host y", "GET /a HTTP/1.0 Host:y"),
        ("", " option httpchk GET /a HTTP/1.1", "GET /a HTTP/1.1"),
        ("", " option httpchk GET /a \"HTTP/1.1\\r\\nHost: x\"", "GET /a HTTP/1.1 Host:x"),
        ("", " option httpchk /a", "OPTIONS /a HTTP/1.0"),
        ("", " http-check send uri /z\n option httpchk", "OPTIONS /z HTTP/1.0"),
        ("", " http-check send uri /z\n option httpchk GET /q", "GET /q HTTP/1.0"),
        // A rule of the section makes the option of `defaults` void: only a connection is tried.
        (" option httpchk GET /def", " http-check expect status 401", "Connect"),
    ] {
        assert_eq!(request(&steps(defaults, own)), expected, "{defaults} / {own}");
    }
}

#[test]
fn an_expectation_of_defaults_is_gone_with_an_option_of_the_section() {
    let CheckKind::Steps(steps) = steps(" option httpchk GET /x\n http-check expect status 401", " option httpchk")
    else {
        panic!("no steps")
    };
    let Some(Step::Expect(expect)) = steps.last() else { panic!("{steps:?}") };
    assert_eq!(expect.kind, ExpectKind::Status(vec![(200, 399)]));
}

#[test]
fn what_is_not_served_is_refused_by_name_and_line() {
    let text = GUIDE.replace("mode tcp\n    option tcplog", "mode tcp\n    email-alert from a@b");
    let loaded = read_text(&text);
    assert_eq!(loaded.config, None);
    let expected =
        "haproxy.cfg:24:5: email-alert: is not served by Baton: no mails are sent; the log says what happens";
    assert_eq!(said(&loaded.findings, Class::Refused), [expected]);
    let config = config(GUIDE);
    let refused = refuse(&config, &[("option tcplog", "lines are short")]);
    assert_eq!(
        refused[0].message.to_string(),
        "haproxy.cfg:24:5: option tcplog: is not served by Baton: lines are short"
    );
}

fn mutated(text: &str, at: usize, how: u8, with: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = at % (chars.len() + 1);
    let end = (at + with.chars().count()).min(chars.len());
    let (before, after): (String, String) = match how % 4 {
        0 => (chars[..at].iter().collect(), chars[at..].iter().collect()),
        1 => (chars[..at].iter().collect(), chars[end..].iter().collect()),
        2 => (chars[..at].iter().collect(), "\n".to_owned()),
        _ => (chars[..at].iter().collect(), chars[at..].iter().rev().collect()),
    };
    format!("{before}{with}{after}")
}

/// What holds for every answer.
fn check(text: &str) {
    let loaded = read_text(text);
    let lines = text.split('\n').count();
    for finding in &loaded.findings {
        let message = &finding.message;
        if let Some(line) = message.line() {
            assert!((1..=lines).contains(&(line as usize)), "{message} in {text:?}");
        }
        assert!(!message.to_string().chars().any(char::is_control), "{message:?}");
    }
    if loaded.config.is_some() {
        let fixed = fix(0, text, &loaded.edits);
        assert!(read_text(&fixed).config.is_some(), "{text:?} became {fixed:?}");
    }
    match &loaded.config {
        None => assert!(loaded.findings.iter().any(|finding| finding.class <= Class::Refused), "{text}"),
        Some(config) => {
            assert!(config.frontends.iter().any(|frontend| !frontend.binds.is_empty()));
            let named = |name: &String| config.backends.iter().any(|backend| backend.name == *name);
            assert!(
                config
                    .frontends
                    .iter()
                    .all(|f| f.switches.iter().all(|switch| named(&switch.backend) || text.contains("disabled")))
            );
            assert!(config.backends.iter().flat_map(|backend| &backend.servers).all(|server| server.weight <= 256));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn any_lines(text in "(listen x\n|bind |server s |check |\\.if |\\.endif\n|option |httpchk |acl a |src |if |\\{ |\\} |! |\"|\\$\\{A\\}|%\\[src\\]|log |[ -~]{0,6}|\n){0,60}") {
        check(&text);
    }

    #[test]
    fn mutations(file in any::<prop::sample::Index>(), changes in proptest::collection::vec((any::<usize>(), any::<u8>(), "[ \n:\\-\\[\\](){}a-c0-9\"'!%,#$@/.\\\\]{0,4}"), 1..5)) {
        let corpus = corpus();
        let mut text = corpus[file.index(corpus.len())].1.clone();
        for (at, how, with) in changes {
            text = mutated(&text, at, how, &with);
        }
        check(&text);
    }
}

/// What `--fix` makes of a text.
fn fixed(text: &str) -> String {
    fix(0, text, &read_text(text).edits)
}

fn lints(text: &str) -> Vec<String> {
    said(&read_text(text).findings, Class::Lint)
}

#[test]
fn the_guides_file_is_explained_and_put_right() {
    let lints = lints(GUIDE);
    for expected in [
        "haproxy.cfg:27:5: warning: overridden-check: `option httpchk` never runs: `option ssl-hello-chk` in line 30 comes \
         later and wins",
        "haproxy.cfg:26:1: warning: idle-cut: what is idle for 20 s is cut, watches too: expected `timeout tunnel`",
        "haproxy.cfg:32:5: warning: hanging-connections: connections to one stay when it is down: expected \
         `on-marked-down shutdown-sessions`",
        "haproxy.cfg:32:5: warning: slow-detection: one is noticed to fail after up to 6 s (3 checks)",
    ] {
        assert!(lints.iter().any(|lint| lint == expected), "{expected} is not in {lints:#?}");
    }
    let tail = "\
backend apiserver
    timeout tunnel 24h
    option httpchk GET /healthz
    http-check expect status 200
    mode tcp
    balance roundrobin
    server one 10.0.0.1:6443 check check-ssl verify none on-marked-down shutdown-sessions inter 1s fall 2
    server two 10.0.0.2:6443 check check-ssl verify none on-marked-down shutdown-sessions inter 1s fall 2
";
    let text = fixed(GUIDE);
    assert_eq!(text, format!("{}\n{tail}", GUIDE.split("\nbackend apiserver\n").next().unwrap()));
    assert_eq!(fixed(&text), text, "once is enough");
    let config = config(&text);
    let check = config.backends[0].servers[0].check.as_ref().unwrap();
    assert_eq!(request(&check.kind), "GET /healthz HTTP/1.0");
    assert_eq!(check.tls.as_ref().map(|tls| &tls.verify), Some(&Verify::None));
}

/// Sections that differ from a sound one in one way, the lint that says so, and the line that `--fix` makes.
const UNWISE: &[(&str, &str, &str)] = &[
    (
        "balance source\n option ssl-hello-chk\n option httpchk GET /x\n server a 10.0.0.1:80 check # one",
        "overridden-check",
        " server a 10.0.0.1:80 check check-ssl verify none # one",
    ),
    (
        "balance source\n http-check expect status 401\n server a 10.0.0.1:80 check",
        "void-check",
        " option httpchk GET /def",
    ),
    (
        "balance source\n timeout tunnel 1h\n option httpchk GET /readyz\n server a 10.0.0.1:80 check inter 1s on-marked-down shutdown-sessions",
        "plain-check",
        " server a 10.0.0.1:80 check inter 1s on-marked-down shutdown-sessions check-ssl verify none",
    ),
    ("balance source\n server a 10.0.0.1:6443", "idle-cut", " timeout tunnel 24h"),
    (
        "balance source\n option tcp-check\n server a 10.0.0.1:6443 check inter 1s",
        "hanging-connections",
        " server a 10.0.0.1:6443 check inter 1s on-marked-down shutdown-sessions",
    ),
    (
        "balance source\n option tcp-check\n server a 10.0.0.1:6443 check",
        "slow-detection",
        " server a 10.0.0.1:6443 check on-marked-down shutdown-sessions inter 1s fall 2",
    ),
    ("balance source\n server a 10.0.0.1:80 check\n server b 10.0.0.2:80", "unchecked-server", ""),
    ("server a 10.0.0.1:80\n server b 10.0.0.2:80", "implied-balance", ""),
];

fn unwise(own: &str) -> String {
    format!(
        "defaults\n option httpchk GET /def\n timeout connect 1s\n timeout client 5s\n timeout server 5s\nlisten l\n bind 127.0.0.1:7999\n {own}\n"
    )
}

#[test]
fn every_lint_is_said_and_put_right_as_promised() {
    let mut seen = Vec::new();
    for (own, name, line) in UNWISE {
        let text = unwise(own);
        let lint = LINTS.iter().find(|lint| lint.name == *name).unwrap();
        assert_eq!(lint.fix.is_empty(), line.is_empty());
        assert!(lints(&text).iter().any(|said| said.contains(&format!(" {name}: "))), "{name}: {:#?}", lints(&text));
        let fixed = fixed(&text);
        if !line.is_empty() {
            assert!(fixed.lines().any(|found| found == *line), "{name}:\n{fixed}");
            assert!(!lints(&fixed).iter().any(|said| said.contains(&format!(" {name}: "))), "{fixed}");
        }
        assert!(read_text(&fixed).config.is_some(), "{fixed}");
        seen.push(*name);
    }
    let names: Vec<&str> = LINTS.iter().map(|lint| lint.name).collect();
    assert_eq!(seen, names);
}

#[test]
fn nothing_is_said_of_a_sound_file() {
    let text = unwise(
        "balance leastconn\n timeout tunnel 1h\n option httpchk GET /readyz\n default-server check check-ssl verify none inter 1s on-marked-down shutdown-sessions\n server a 10.0.0.1:6443",
    );
    assert_eq!(lints(&text), Vec::<String>::new());
    assert_eq!(fixed(&text), text);
}
