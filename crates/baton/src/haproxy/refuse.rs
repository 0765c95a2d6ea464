//! What a file may ask for and this driver does not do: one list, for `-c`, `baton check` and the start alike.

use baton_config::haproxy::model::{
    At, Backend, Balance, Bind, Check, CheckKind, Condition, Format, FormatPart, Frontend, Host, Listen, Mode, Observe,
    Sample, Server, ServerPort, Source, Step, StickKind, Target, TcpAction, TcpRule, Verify,
};
use baton_config::haproxy::{Class, Config, Finding};

use baton_config::{Message, Place, Severity};

use super::lines::{self, VARIABLES};
use super::{lower, requests};

/// Something that is asked for and not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// Where it is asked for.
    pub at: At,
    /// The words that ask for it.
    pub words: String,
    /// What to know about it.
    pub why: String,
}

/// The list as messages. A `listen` is a frontend and a backend: what both would say is said once.
#[must_use]
pub fn findings(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for unserved in unserved(config) {
        let text = format!("is not served by Baton: {}", unserved.why);
        let finding = finding(config, unserved.at, &unserved.words, &text, Class::Refused);
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// One message about a place in the file.
#[must_use]
pub fn finding(config: &Config, at: At, words: &str, text: &str, class: Class) -> Finding {
    let place = match at.line {
        0 => Place::Nowhere,
        line => Place::File { line, column: at.column.max(1) },
    };
    let severity = if class <= Class::Refused { Severity::Error } else { Severity::Warning };
    let mut message = Message::new(severity, &place, words, text, "", "");
    message.file = config.files.get(at.file).cloned();
    Finding { class, message }
}

/// Everything that is asked for and not done.
#[must_use]
pub fn unserved(config: &Config) -> Vec<Unserved> {
    let mut list = List::default();
    list.global(config);
    for front in &config.frontends {
        list.front(front);
        // That of a `listen` is its backend's too.
        let alone = !config.backends.iter().any(|back| back.name == front.name);
        if let Some(table) = front.stick_table.as_ref().filter(|_| alone) {
            list.put(table.at, "stick-table", "it is not served in a frontend, where nothing is looked up in it");
        }
        list.rules(&front.connection_rules);
        if front.mode == Mode::Http {
            continue;
        }
        list.rules(front.session_rules.iter().chain(&front.content_rules));
        for switch in &front.switches {
            list.condition(switch.at, "use_backend", switch.condition.as_ref());
        }
    }
    for back in &config.backends {
        list.back(back);
        back.servers.iter().for_each(|server| list.server(back, server));
        if back.mode == Mode::Http {
            continue;
        }
        let chosen = |name: &str| name == back.name;
        let switched = config.frontends.iter().filter(|front| !front.switches.is_empty()).any(|front| {
            front.switches.iter().any(|s| chosen(&s.backend)) || front.default_backend.as_deref().is_some_and(chosen)
        });
        if let Some(rule) = back.content_rules.first().filter(|_| switched) {
            let why = "rules of a backend are not looked at where `use_backend` chooses; put them into the frontend";
            list.put(rule.at, "tcp-request content", why);
        }
        list.rules(&back.content_rules);
    }
    list.0
}

#[derive(Default)]
struct List(Vec<Unserved>);

impl List {
    fn put(&mut self, at: At, words: &str, why: &str) {
        self.0.push(Unserved { at, words: words.to_owned(), why: why.to_owned() });
    }

    fn when(&mut self, asked: bool, at: At, words: &str, why: &str) {
        if asked {
            self.put(at, words, why);
        }
    }

    fn global(&mut self, config: &Config) {
        let global = &config.global;
        let at = |name: &str| config.keywords.iter().find(|k| k.name == name).map(|k| k.at).unwrap_or_default();
        self.when(
            global.external_check,
            at("global external-check"),
            "external-check",
            "programs are not run as checks",
        );
        self.when(global.maxconnrate.is_some(), at("global maxconnrate"), "maxconnrate", "rates are not limited");
        self.when(
            global.server_state_file.is_some(),
            at("global server-state-file"),
            "server-state-file",
            "states stay in the running process over a reload",
        );
        let rcvbuf = global.rcvbuf.0.or(global.rcvbuf.1).is_some();
        let sndbuf = global.sndbuf.0.or(global.sndbuf.1).is_some();
        self.when(rcvbuf || sndbuf, At::default(), "tune.rcvbuf, tune.sndbuf", "the kernel sizes buffers");
        for bind in &global.stats_sockets {
            let unix = matches!(bind.listen, Listen::Unix(_));
            self.when(!unix, bind.at, "stats socket", "only Unix sockets take commands");
        }
        for peers in &config.peers {
            self.put(peers.at, "peers", "stick tables are not exchanged");
        }
    }

    fn front(&mut self, front: &Frontend) {
        let (at, name) = (front.at, format!("frontend {}", front.name));
        front.binds.iter().for_each(|bind| self.bind(bind));
        self.when(front.rate_limit.is_some(), at, &name, "`rate-limit sessions` is not served");
        self.when(front.nolinger, at, &name, "`option nolinger` is not served");
        if front.mode == Mode::Tcp {
            self.format(at, &lines::format(&front.log_format, front.mode));
        } else {
            requests::unserved(front, &mut |at, words, why| self.put(at, words, why));
        }
    }

    fn bind(&mut self, bind: &Bind) {
        let refused = match &bind.listen {
            Listen::Inet { .. } => None,
            Listen::Name { .. } => Some("a name is not looked up for `bind`; write the address"),
            Listen::Unix(_) | Listen::Abstract(_) => Some("clients are served by TCP only"),
            Listen::Fd(_) => Some("inherited sockets are not used"),
        };
        if let Some(why) = refused {
            self.put(bind.at, "bind", why);
        }
        self.when(bind.maxconn.is_some(), bind.at, "bind maxconn", "use `maxconn` of the frontend");
        self.when(bind.mss.is_some(), bind.at, "bind mss", "the kernel chooses the segment size");
    }

    fn rules<'a>(&mut self, rules: impl IntoIterator<Item = &'a TcpRule>) {
        for rule in rules {
            let served = matches!(rule.action, TcpAction::Accept | TcpAction::Reject);
            self.when(!served, rule.at, "tcp-request", "only `accept` and `reject` are served");
            self.condition(rule.at, "tcp-request", rule.condition.as_ref());
        }
    }

    fn condition(&mut self, at: At, words: &str, condition: Option<&Condition>) {
        if condition.is_some_and(|condition| lower::condition(condition).is_none()) {
            let why = "conditions may look at src, dst_port, req.ssl_sni (whole or end), req.ssl_hello_type 1 and \
                       WAIT_END";
            self.put(at, words, why);
        }
    }

    fn format(&mut self, at: At, format: &Format) {
        for part in &format.parts {
            match part {
                FormatPart::Variable { name, hex, .. } => {
                    let known = VARIABLES.contains(&name.as_str()) && !hex;
                    self.when(!known, at, &format!("log-format %{name}"), "lines of sessions do not have it");
                }
                FormatPart::Sample(sample) if !lines::has_sample(sample) => {
                    self.put(at, "log-format", "lines of sessions may have src and dst samples only");
                }
                _ => {}
            }
        }
    }

    fn back(&mut self, back: &Backend) {
        let (at, name) = (back.at, format!("backend {}", back.name));
        self.when(matches!(back.balance, Balance::Hash(_)), at, &name, "`balance hash` is not served");
        let bounded = back.balance == Balance::Source && back.hash.balance_factor > 0;
        self.when(bounded, at, &name, "`hash-balance-factor` is not served");
        self.source(at, &name, back.source.as_ref());
        self.sticking(back);
        for rule in &back.use_servers {
            self.condition(rule.at, "use-server", rule.condition.as_ref());
        }
        self.when(!back.response_rules.is_empty(), at, &name, "`tcp-response` is not served");
        self.when(back.nolinger, at, &name, "`option nolinger` is not served");
        if back.mode == Mode::Http {
            requests::unserved_back(back, &mut |at, words, why| self.put(at, words, why));
        }
    }

    fn server(&mut self, back: &Backend, server: &Server) {
        let at = server.at;
        let words = format!("server {}", server.name);
        let target = matches!(server.target, Target::Inet(_)) && matches!(server.port, ServerPort::Fixed(_));
        self.when(!target, at, &words, "a server is an address or a name, with a port");
        self.when(server.tls.is_some(), at, &words, "`ssl` towards servers is served for checks only (`check-ssl`)");
        self.source(at, &words, server.source.as_ref());
        let answers = server.observe == Some(Observe::Layer7);
        self.when(answers, at, &words, "`observe layer7` is not served: answers are not looked at");
        let agent = server.agent.as_ref().and_then(|agent| agent.address.as_ref());
        let elsewhere = agent.is_some_and(|a| !matches!(a, Target::Inet(Host::Ip(_))));
        self.when(elsewhere, at, &words, "`agent-addr` is an address");
        if let Some(check) = &server.check {
            self.check(back, server, check);
        }
    }

    /// Where connections come from.
    fn source(&mut self, at: At, words: &str, source: Option<&Source>) {
        let Some(source) = source else { return };
        self.when(source.transparent.is_some(), at, words, "`source … usesrc` is not served");
        let ports = source.address.port() != 0 || source.last_port != 0;
        self.when(ports, at, words, "`source` is an address; its port is the kernel's choice");
    }

    fn sticking(&mut self, back: &Backend) {
        if let Some(table) = &back.stick_table {
            let key = matches!(table.key.as_str(), "ip" | "ipv6");
            self.when(!key && !back.sticks.is_empty(), table.at, "stick-table", "clients are told apart by addresses");
        }
        for stick in &back.sticks {
            let key = matches!(stick.key, Sample::Src | Sample::Dst);
            self.when(!key, stick.at, "stick", "clients are told apart by `src` or `dst`");
            let answer = stick.kind == StickKind::StoreResponse;
            self.when(answer, stick.at, "stick store-response", "answers are not looked at");
            let same = back.sticks.first().is_some_and(|first| first.table == stick.table);
            self.when(!same, stick.at, "stick", "all rules of a backend use one table");
            self.condition(stick.at, "stick", stick.condition.as_ref());
        }
    }

    fn authorities(&mut self, at: At, words: &str, verify: &Verify) {
        if let Verify::Required { ca_file, .. } = verify
            && let Err(why) = super::verify::authorities(ca_file)
        {
            self.0.push(Unserved { at, words: words.to_owned(), why: format!("ca-file {why}") });
        }
    }

    fn check(&mut self, back: &Backend, server: &Server, check: &Check) {
        let (at, words) = (server.at, format!("server {}", server.name));
        self.when(matches!(check.kind, CheckKind::External { .. }), at, &words, "programs are not run as checks");
        self.when(check.disable_on_404, back.at, "http-check disable-on-404", "it is not served");
        self.when(check.send_state, back.at, "http-check send-state", "it is not served");
        if let Some(tls) = &check.tls {
            self.authorities(at, &words, &tls.verify);
        }
        self.when(
            check.address.as_ref().is_some_and(|a| !matches!(a, Target::Inet(Host::Ip(_)))),
            at,
            &words,
            "`addr` is an address",
        );
        self.when(matches!(check.port, Some(ServerPort::Client(_))), at, &words, "`port` of a check is a number");
        let CheckKind::Steps(steps) = &check.kind else { return };
        for step in steps {
            let Step::Connect { tls, address, .. } = step else { continue };
            if let Some(tls) = tls {
                self.authorities(back.at, "connect ssl", &tls.verify);
            }
            let other = address.as_ref().is_some_and(|a| !matches!(a, Target::Inet(Host::Ip(_))));
            self.when(other, back.at, "connect", "`addr` is an address");
        }
    }
}
