//! What a backend's servers are checked with: `option httpchk` and its like, `http-check`, `tcp-check`.
//!
//! Of several check options the last one wins. Rules belong to the section that they stand in: one rule, or the option
//! itself, in a section puts everything aside that `defaults` said.

use super::context::{Context, Line};
use super::keywords::not_served;
use super::lexer::Word;
use super::model::{At, CheckKind, CheckTls, Expect, ExpectKind, HttpRequest, Step, Verify};
use super::proxy::Proxy;
use super::{address, expect, services};

/// Options that choose a kind of check.
pub(super) const KINDS: &[&str] = &[
    "httpchk",
    "tcp-check",
    "ssl-hello-chk",
    "external-check",
    "ldap-check",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "smtpchk",
    "spop-check",
];

/// Which option has won.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chosen {
    #[default]
    None,
    Http,
    Tcp,
    SslHello,
    External,
    /// A service whose protocol is known.
    Service,
    /// Refused, and that is said.
    Other,
}

/// One step, and where it was written.
pub(super) type Placed = (Step, At);

/// Everything about checks that a section says.
#[derive(Clone, Debug, Default)]
pub(super) struct Checking {
    pub(super) chosen: Chosen,
    /// Where the option that has won stands.
    pub(super) chosen_at: At,
    /// Options that were there before and lost, in this section.
    pub(super) overridden: Vec<(&'static str, At, Chosen)>,
    /// The request of `option httpchk` with arguments.
    request: Option<HttpRequest>,
    pub(super) http: Vec<Placed>,
    pub(super) tcp: Vec<Placed>,
    /// What the option of a service means.
    service: Vec<Step>,
    /// The above came from `defaults`.
    inherited: bool,
    /// A rule of this section put an option of `defaults` aside: where the rule is, where the option, its name.
    pub(super) discarded: Option<(At, At, &'static str)>,
    /// The option that was chosen, as written.
    pub(super) option_text: String,
    /// Rules that no option asks for.
    pub(super) unused_http: Option<At>,
    pub(super) unused_tcp: Option<At>,
    pub(super) disable_on_404: bool,
    pub(super) send_state: bool,
    pub(super) command: Option<String>,
    pub(super) path: Option<String>,
    pub(super) command_at: At,
}

impl Checking {
    /// What is known so far is from `defaults`.
    pub(super) fn begin_section(&mut self) {
        self.inherited = true;
        self.overridden.clear();
        (self.unused_http, self.unused_tcp) = (None, None);
        self.discarded = None;
    }

    /// The section says something itself: what `defaults` said about checks is gone.
    fn own(&mut self) {
        if std::mem::take(&mut self.inherited) {
            self.discarded = (self.chosen != Chosen::None).then(|| (At::default(), self.chosen_at, self.name()));
            self.chosen = Chosen::None;
            self.chosen_at = At::default();
            self.request = None;
            self.http.clear();
            self.tcp.clear();
        }
    }

    /// A rule stands here, which an option has to ask for.
    fn rule(&mut self, of: Chosen, at: At) {
        if self.chosen == of {
            return;
        }
        // haproxy says nothing when the section's own rule is what made `option httpchk` of `defaults` void.
        if let (Chosen::None, Some((place, ..))) = (self.chosen, &mut self.discarded) {
            if place.line == 0 {
                *place = at;
            }
            return;
        }
        match of {
            Chosen::Http => self.unused_http = Some(at),
            _ => self.unused_tcp = Some(at),
        }
    }

    fn choose(&mut self, chosen: Chosen, at: At) {
        self.own();
        self.discarded = None;
        if self.chosen != Chosen::None && self.chosen != chosen {
            self.overridden.push((self.name(), self.chosen_at, self.chosen));
        }
        if chosen == Chosen::Http || chosen == Chosen::Tcp {
            self.unused_http = self.unused_http.filter(|_| chosen != Chosen::Http);
            self.unused_tcp = self.unused_tcp.filter(|_| chosen != Chosen::Tcp);
        } else {
            (self.unused_http, self.unused_tcp) = (None, None);
        }
        (self.chosen, self.chosen_at) = (chosen, at);
    }

    /// Name of the option that has won.
    pub(super) fn name(&self) -> &'static str {
        match self.chosen {
            Chosen::None => "",
            Chosen::Http => "option httpchk",
            Chosen::Tcp => "option tcp-check",
            Chosen::SslHello => "option ssl-hello-chk",
            Chosen::External => "option external-check",
            Chosen::Service => "the option for a service",
            Chosen::Other => "another check option",
        }
    }

    /// The kind of check that runs; `None` where something is wrong that was said.
    pub(super) fn kind(&self) -> Option<CheckKind> {
        Some(match self.chosen {
            Chosen::None => CheckKind::Connect,
            Chosen::SslHello => CheckKind::SslHello,
            Chosen::External => CheckKind::External { command: self.command.clone()?, path: self.path.clone() },
            Chosen::Service => CheckKind::Steps(self.service.clone()),
            Chosen::Tcp if self.tcp.is_empty() => CheckKind::Connect,
            Chosen::Tcp => CheckKind::Steps(self.tcp.iter().map(|(step, _)| step.clone()).collect()),
            Chosen::Http => CheckKind::Steps(self.http_steps()),
            Chosen::Other => return None,
        })
    }

    /// The steps of `option httpchk` and `http-check`, also if another option has won.
    pub(super) fn requests(&self) -> Option<CheckKind> {
        let http = self.chosen == Chosen::Http || self.overridden.iter().any(|(.., kind)| *kind == Chosen::Http);
        http.then(|| CheckKind::Steps(self.http_steps()))
    }

    /// The steps of an HTTP check: a request and an expectation are always there.
    fn http_steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = self.http.iter().map(|(step, _)| step.clone()).collect();
        let plain = || HttpRequest {
            method: "OPTIONS".into(),
            uri: "/".into(),
            version: "HTTP/1.0".into(),
            headers: Vec::new(),
            body: None,
        };
        match steps.iter_mut().find_map(|step| if let Step::Request(request) = step { Some(request) } else { None }) {
            // What the option says and the rule does not.
            Some(first) => {
                if let Some(option) = &self.request {
                    let own = first.clone();
                    *first = option.clone();
                    overlay(first, own);
                }
            }
            None => {
                let connects = steps.iter().take_while(|step| matches!(step, Step::Connect { .. })).count();
                steps.insert(connects.min(1), Step::Request(self.request.clone().unwrap_or_else(plain)));
            }
        }
        for step in &mut steps {
            if let Step::Request(request) = step {
                let with = |text: &mut String, value: String| {
                    if text.is_empty() {
                        *text = value;
                    }
                };
                let plain = plain();
                with(&mut request.method, plain.method);
                with(&mut request.uri, plain.uri);
                with(&mut request.version, plain.version);
            }
        }
        if !steps.iter().any(|step| matches!(step, Step::Expect(_))) {
            steps.push(Step::Expect(Expect::new(ExpectKind::Status(vec![(200, 399)]))));
        }
        steps
    }
}

/// Puts what a rule says over what an option said.
fn overlay(request: &mut HttpRequest, own: HttpRequest) {
    for (slot, value) in
        [(&mut request.method, own.method), (&mut request.uri, own.uri), (&mut request.version, own.version)]
    {
        if !value.is_empty() {
            *slot = value;
        }
    }
    request.headers.extend(own.headers);
    request.body = own.body.or(request.body.take());
}

/// `option httpchk` and the other options that choose a check.
pub(super) fn option(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let at = line.at(0);
    let (chosen, words) = match line.word(1) {
        "httpchk" => (Chosen::Http, 5),
        "tcp-check" => (Chosen::Tcp, 2),
        "ssl-hello-chk" => (Chosen::SslHello, 2),
        "external-check" => (Chosen::External, 2),
        "redis-check" | "ldap-check" => (Chosen::Service, 2),
        "spop-check" => (Chosen::Other, 2),
        "pgsql-check" | "smtpchk" => (Chosen::Service, 4),
        _ => (Chosen::Service, 5),
    };
    if !context.ends(line, words) {
        return;
    }
    proxy.checking.choose(chosen, at);
    let plain = |word: &Word| word.text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '#' | '\\'));
    proxy.checking.option_text = if line.words.iter().all(plain) { line.rest(0) } else { String::new() };
    match chosen {
        Chosen::Http => {
            let request = httpchk(line);
            if line.word(4).contains("\r\n") {
                context.warn(line, 4, "headers after the version are out of date, expected `http-check send`");
            }
            // A rule that stands before is overridden by what the option says.
            if let (Some(request), Some((Step::Request(rule), _))) =
                (&request, proxy.checking.http.iter_mut().find(|(step, _)| matches!(step, Step::Request(_))))
            {
                overlay(rule, request.clone());
            }
            proxy.checking.request = request;
        }
        Chosen::Service => proxy.checking.service = services::steps(context, line),
        Chosen::Other => {
            let why = "such servers are checked by `option tcp-check` with `tcp-check send` and `expect`";
            context.refuse(line, 1, not_served(why));
        }
        _ => {}
    }
}

/// `option httpchk [METHOD] URI [VERSION]`; headers may follow the version after `\r\n`.
fn httpchk(line: &Line) -> Option<HttpRequest> {
    let (method, uri, version) = match line.len() {
        0..=2 => return None,
        3 => ("OPTIONS", line.word(2), "HTTP/1.0"),
        4 => (line.word(2), line.word(3), "HTTP/1.0"),
        _ => (line.word(2), line.word(3), line.word(4)),
    };
    let (version, rest) = version.split_once("\r\n").unwrap_or((version, ""));
    let (head, body) = match rest.split_once("\r\n\r\n") {
        Some((head, body)) => (head, Some(body)),
        None => (rest, None),
    };
    let header = |text: &str| text.split_once(':').map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned()));
    Some(HttpRequest {
        method: method.to_owned(),
        uri: uri.to_owned(),
        version: version.to_owned(),
        headers: head.split("\r\n").filter_map(header).collect(),
        body: body.filter(|body| !body.is_empty()).map(str::to_owned),
    })
}

/// `http-check …`.
pub(super) fn http_check(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    context.used(&line.key(), line.at(0), &proxy.name);
    let step = match line.word(1) {
        "disable-on-404" => {
            context.ends(line, 2);
            proxy.checking.disable_on_404 = true;
            return;
        }
        "send-state" => {
            context.ends(line, 2);
            proxy.checking.send_state = true;
            return;
        }
        "comment" => {
            context.needed(line, 2, "a text");
            None
        }
        "connect" => connect(context, line),
        "send" => send(context, line).map(Step::Request),
        "expect" => expect::read(context, line, true).map(Step::Expect),
        word if word.starts_with("set-var") || word.starts_with("unset-var") => {
            return context.refuse(line, 1, not_served("checks have no variables"));
        }
        other => {
            let text = format!("`{other}` is no rule, expected connect, send, expect, disable-on-404 or send-state");
            return context.alert(line, 1, text);
        }
    };
    proxy.checking.own();
    proxy.checking.rule(Chosen::Http, line.at(0));
    if let (Some(Step::Connect { .. }), Some((first, _))) = (&step, proxy.checking.http.first())
        && !matches!(first, Step::Connect { .. })
    {
        return context.alert(line, 1, "the first step has to be a `connect`, too");
    }
    proxy.checking.http.extend(step.map(|step| (step, line.at(0))));
}

/// `tcp-check …`.
pub(super) fn tcp_check(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    context.used(&line.key(), line.at(0), &proxy.name);
    let step = match line.word(1) {
        "comment" => {
            context.needed(line, 2, "a text");
            None
        }
        "connect" => connect(context, line),
        "send" => {
            let text = context.needed(line, 2, "a text");
            comment(context, line, 3);
            text.map(|text| Step::Send(text.into_bytes()))
        }
        "send-binary" => {
            let digits = context.needed(line, 2, "hexadecimal digits");
            comment(context, line, 3);
            digits.and_then(|digits| expect::binary(context, line, 2, &digits)).map(Step::Send)
        }
        "expect" => expect::read(context, line, false).map(Step::Expect),
        word if word.starts_with("set-var") || word.starts_with("unset-var") || word.ends_with("-lf") => {
            return context.refuse(line, 1, not_served("checks have no variables"));
        }
        other => {
            let text = format!("`{other}` is no rule, expected connect, send, send-binary, expect or comment");
            return context.alert(line, 1, text);
        }
    };
    proxy.checking.own();
    proxy.checking.rule(Chosen::Tcp, line.at(0));
    if let (Some(Step::Connect { .. }), Some((first, _))) = (&step, proxy.checking.tcp.first())
        && !matches!(first, Step::Connect { .. })
    {
        return context.alert(line, 1, "the first step has to be a `connect`, too");
    }
    proxy.checking.tcp.extend(step.map(|step| (step, line.at(0))));
}

/// Only `comment TEXT` may follow.
fn comment(context: &mut Context<'_>, line: &Line, at: usize) {
    match line.word(at) {
        "" => {}
        "comment" => {
            context.needed(line, at + 1, "a text");
            context.ends(line, at + 2);
        }
        other => context.alert(line, at, format!("`{other}` is not known here, expected comment")),
    }
}

fn connect(context: &mut Context<'_>, line: &Line) -> Option<Step> {
    let (mut to, mut port, mut send_proxy, mut default, mut linger) = (None, None, false, false, false);
    let (mut tls, mut sni, mut alpn) = (false, None, Vec::new());
    let mut at = 2;
    while at < line.len() {
        let mut argument = false;
        match line.word(at) {
            "ssl" => tls = true,
            "send-proxy" => send_proxy = true,
            "default" => default = true,
            "linger" => linger = true,
            "port" => {
                argument = true;
                port = Some(context.whole(line, at + 1, 1, 65535)?);
            }
            "addr" => {
                argument = true;
                let text = context.needed(line, at + 1, "an address")?;
                match address::server(&text) {
                    Ok((target, _)) => to = Some(target),
                    Err(address::Wrong::Alert(why)) => context.alert(line, at + 1, why),
                    Err(address::Wrong::Refused(why)) => context.refuse(line, at + 1, why),
                }
            }
            "sni" => {
                argument = true;
                sni = Some(context.needed(line, at + 1, "a name")?);
            }
            "alpn" => {
                argument = true;
                alpn = context.needed(line, at + 1, "protocols")?.split(',').map(str::to_owned).collect();
            }
            "comment" => {
                argument = true;
                context.needed(line, at + 1, "a text")?;
            }
            "proto" | "via-socks4" => {
                context.refuse(line, at, not_served("checks speak plain TCP, TLS and HTTP/1"));
                argument = line.word(at) == "proto";
            }
            other => {
                let text = format!("`{other}` is not known here, expected ssl, port, addr, sni, alpn or send-proxy");
                context.alert(line, at, text);
                return None;
            }
        }
        at += 1 + usize::from(argument);
    }
    let tls = tls.then_some(CheckTls { sni, alpn, verify: Verify::None });
    Some(Step::Connect { address: to, port, tls, send_proxy, default, linger })
}

fn send(context: &mut Context<'_>, line: &Line) -> Option<HttpRequest> {
    let mut out = HttpRequest {
        method: String::new(),
        uri: String::new(),
        version: String::new(),
        headers: Vec::new(),
        body: None,
    };
    let mut at = 2;
    while at < line.len() {
        let value = |context: &mut Context<'_>, at| context.needed(line, at, "a value");
        match line.word(at) {
            "meth" => out.method = value(context, at + 1)?,
            "uri" => out.uri = value(context, at + 1)?,
            "ver" => out.version = value(context, at + 1)?,
            "body" => out.body = Some(value(context, at + 1)?),
            "comment" => {
                value(context, at + 1)?;
            }
            "hdr" => {
                let (name, text) = (value(context, at + 1)?, value(context, at + 2)?);
                if text.contains('%') {
                    context.refuse(line, at + 2, not_served("values of checks' headers have no variables"));
                }
                out.headers.push((name, text));
                at += 1;
            }
            "uri-lf" | "body-lf" => {
                context.refuse(line, at, not_served("checks have no variables"));
                value(context, at + 1)?;
            }
            other => {
                let text = format!("`{other}` is not known here, expected meth, uri, ver, hdr, body or comment");
                context.alert(line, at, text);
                return None;
            }
        }
        at += 2;
    }
    Some(out)
}

/// `external-check command`, `external-check path`.
pub(super) fn external(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some(value) = context.needed(line, 2, "a path") else { return };
    proxy.checking.command_at = line.at(0);
    match line.word(1) {
        "command" => proxy.checking.command = Some(value),
        "path" => proxy.checking.path = Some(value),
        other => context.alert(line, 1, format!("`{other}` is neither command nor path")),
    }
}
