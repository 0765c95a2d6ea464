//! Configurations that are legal and hardly what their authors meant: which, why, and the edits that put them right.

use std::time::Duration;

use super::checks::Chosen;
use super::context::Context;
use super::finding::Class;
use super::fix::{Change, Edit};
use super::model::{At, CheckKind, MarkedDown, Mode, ServerPort, Step};
use super::proxy::Proxy;
use super::reader::Draft;
use super::server;

/// A lint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Its name.
    pub name: &'static str,
    /// What is wrong about it.
    pub about: &'static str,
    /// What `--fix` does; empty: nothing.
    pub fix: &'static str,
}

/// Every lint.
pub const LINTS: &[Lint] = &[
    Lint {
        name: "overridden-check",
        about: "Of several check options in a section the last one wins; what the others say, paths and expected \
                statuses with it, is never tried.",
        fix: "`option ssl-hello-chk` goes where there is an `option httpchk`, and the servers get \
              `check-ssl verify none`: the request is sent inside TLS.",
    },
    Lint {
        name: "void-check",
        about: "An `http-check` or `tcp-check` rule in a section makes the check option of `defaults` void, without a \
                word: only a connection is tried.",
        fix: "The option is repeated in the section, before the rule.",
    },
    Lint {
        name: "plain-check",
        about: "Requests are sent in plain text to an API server, which speaks TLS: it is down for ever.",
        fix: "The servers get `check-ssl verify none`.",
    },
    Lint {
        name: "idle-cut",
        about: "Connections on which nothing is said for a short time are cut: watches, `kubectl logs -f`, \
                `kubectl exec`.",
        fix: "The backend gets `timeout tunnel 24h`.",
    },
    Lint {
        name: "hanging-connections",
        about: "Connections to a server that is down stay, and clients wait on them until a timeout.",
        fix: "The servers get `on-marked-down shutdown-sessions`.",
    },
    Lint {
        name: "slow-detection",
        about: "A server that fails goes on getting requests for longer than 3 seconds.",
        fix: "The servers get `inter 1s fall 2` where the file says nothing about either.",
    },
    Lint {
        name: "unchecked-server",
        about: "A server without `check` is believed up for ever, though others of its backend are checked.",
        fix: "",
    },
    Lint {
        name: "implied-balance",
        about: "Without `balance`, haproxy up to 3.2 and Baton take servers in turn, later haproxy takes random ones.",
        fix: "",
    },
];

/// Shortest idle time that clients of an API server live with: they renew watches after five to ten minutes.
const IDLE_MIN: Duration = Duration::from_secs(600);
/// Longest time in which a failing server may go on getting requests.
const DETECTION_MAX: Duration = Duration::from_secs(3);

/// Port of API servers.
const API_PORT: u16 = 6443;
/// Paths that API servers answer checks on.
const API_PATHS: &[&str] = &["/healthz", "/readyz", "/livez"];

/// Says what is unwise, and returns what would put it right.
pub(super) fn lint(context: &mut Context<'_>, draft: &Draft) -> Vec<Edit> {
    let mut edits = Vec::new();
    for proxy in draft.proxies.iter().filter(|proxy| proxy.kind.is_back() && !proxy.disabled) {
        let mut lints = Lints { context, edits: &mut edits, proxy };
        lints.checks();
        if is_api(proxy) {
            lints.api(draft);
        }
        lints.rest();
    }
    edits
}

/// Whether the servers are API servers, by their port or what is asked of them.
fn is_api(proxy: &Proxy) -> bool {
    let port = proxy.servers.iter().any(|server| server.port == ServerPort::Fixed(API_PORT));
    let asked = match proxy.checking.requests() {
        Some(CheckKind::Steps(steps)) => steps.iter().any(|step| match step {
            Step::Request(request) => API_PATHS.iter().any(|path| request.uri.starts_with(path)),
            _ => false,
        }),
        _ => false,
    };
    proxy.mode == Mode::Tcp && !proxy.servers.is_empty() && (port || asked)
}

struct Lints<'a, 'b> {
    context: &'a mut Context<'b>,
    edits: &'a mut Vec<Edit>,
    proxy: &'a Proxy,
}

impl Lints<'_, '_> {
    fn say(&mut self, at: At, name: &'static str, text: String) {
        self.context.says.put(Class::Lint, at, name, text);
    }

    fn edit(&mut self, at: At, change: Change, lint: &'static str) {
        let edit = Edit { at, change, lint };
        // The servers of a template are one line.
        let same = |other: &Edit| other.at.line == at.line && other.at.file == at.file && other.change == edit.change;
        if !self.edits.iter().any(same) {
            self.edits.push(edit);
        }
    }

    fn checked(&self) -> Vec<server::Draft> {
        self.proxy.servers.iter().filter(|server| server.check).cloned().collect()
    }

    /// Checks that are not those that were meant.
    fn checks(&mut self) {
        let checking = &self.proxy.checking;
        let (chosen, name, chosen_at) = (checking.chosen, checking.name(), checking.chosen_at);
        for (lost, at, kind) in checking.overridden.clone() {
            let text = format!("`{lost}` never runs: `{name}` in line {} comes later and wins", chosen_at.line);
            self.say(at, "overridden-check", text);
            let hello = match (kind, chosen) {
                (Chosen::Http, Chosen::SslHello) => chosen_at,
                (Chosen::SslHello, Chosen::Http) => at,
                _ => continue,
            };
            self.edit(hello, Change::Remove, "overridden-check");
            self.speak_tls("overridden-check");
        }
        if let Some((rule, option, name)) = self.proxy.checking.discarded
            && chosen == Chosen::None
        {
            let text =
                format!("makes `{name}` of the defaults in line {} void: only a connection is tried", option.line);
            self.say(rule, "void-check", text);
            let words = self.proxy.checking.option_text.clone();
            if rule.line > 0 && !words.is_empty() {
                self.edit(rule, Change::Before(words), "void-check");
            }
        }
    }

    /// The checks of the servers are to speak TLS.
    fn speak_tls(&mut self, lint: &'static str) {
        for server in self.checked() {
            if server.check_tls || server.tls {
                continue;
            }
            let words = if server.verify.is_some() { "check-ssl" } else { "check-ssl verify none" };
            self.edit(server.at, Change::Append(words.to_owned()), lint);
        }
    }

    fn api(&mut self, draft: &Draft) {
        let checking = &self.proxy.checking;
        let tls_step = checking.http.iter().any(|(step, _)| matches!(step, Step::Connect { tls: Some(_), .. }));
        let checked = self.checked();
        let plain = checked.iter().any(|server| !server.check_tls && !server.tls);
        if checking.chosen == Chosen::Http && plain && !tls_step && checking.overridden.is_empty() {
            let text = "requests are sent in plain text, and API servers speak TLS: expected `check-ssl`";
            self.say(checking.chosen_at, "plain-check", text.to_owned());
            self.speak_tls("plain-check");
        }
        self.idle(draft);
        for server in checked {
            let key = server.name.clone();
            if server.on_marked_down != Some(MarkedDown::ShutdownSessions) {
                let text =
                    format!("connections to {key} stay when it is down: expected `on-marked-down shutdown-sessions`");
                self.say(server.at, "hanging-connections", text);
                let words = "on-marked-down shutdown-sessions".to_owned();
                self.edit(server.at, Change::Append(words), "hanging-connections");
            }
            let inter = server.inter.unwrap_or(Duration::from_secs(2));
            let whole = inter.saturating_mul(server.fall);
            if whole > DETECTION_MAX {
                let text =
                    format!("{key} is noticed to fail after up to {} s ({} checks)", whole.as_secs(), server.fall);
                self.say(server.at, "slow-detection", text);
                if server.inter.is_none() && !server.fall_given {
                    self.edit(server.at, Change::Append("inter 1s fall 2".to_owned()), "slow-detection");
                }
            }
        }
    }

    /// Timeouts that cut what is idle.
    fn idle(&mut self, draft: &Draft) {
        let back = &self.proxy.back.timeouts;
        if back.tunnel.is_some() {
            return;
        }
        let name = &self.proxy.name;
        let leads_here = |proxy: &&Proxy| {
            let front = &proxy.front;
            let switched = front.switches.iter().any(|switch| switch.backend == *name);
            proxy.kind.is_front() && (proxy.name == *name || switched || front.default_backend.as_ref() == Some(name))
        };
        let clients = draft.proxies.iter().filter(leads_here).filter_map(|proxy| proxy.front.timeouts.client);
        let Some(idle) = clients.chain(back.server).min().filter(|idle| *idle < IDLE_MIN) else { return };
        let text = format!("what is idle for {} s is cut, watches too: expected `timeout tunnel`", idle.as_secs());
        let at = self.proxy.at;
        self.say(at, "idle-cut", text);
        self.edit(at, Change::After("timeout tunnel 24h".to_owned()), "idle-cut");
    }

    fn rest(&mut self) {
        let some = self.proxy.servers.iter().any(|server| server.check || server.track.is_some());
        let unchecked: Vec<(At, String)> = self
            .proxy
            .servers
            .iter()
            .filter(|server| some && !server.check && server.track.is_none() && !server.agent)
            .map(|server| (server.at, server.name.clone()))
            .collect();
        for (at, name) in unchecked {
            self.say(at, "unchecked-server", format!("{name} is not checked, unlike others here: expected `check`"));
        }
        if !self.proxy.balanced && self.proxy.servers.len() > 1 {
            let text = "no `balance`: servers are taken in turn; haproxy from 3.3 on takes random ones".to_owned();
            self.say(self.proxy.at, "implied-balance", text);
        }
    }
}
