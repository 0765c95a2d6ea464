//! A section `defaults`, `frontend`, `listen` or `backend` while it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::checks::Checking;
use super::model::{At, Backend, Frontend, LogFormat, LogTarget, Mode, StatsPage, Test};
use super::server::Draft;

/// Kind of a section; the numbers are columns of the table of keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Defaults = 0,
    Frontend = 1,
    Listen = 2,
    Backend = 3,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        ["defaults", "frontend", "listen", "backend"][self as usize]
    }

    pub(super) fn is_front(self) -> bool {
        matches!(self, Kind::Frontend | Kind::Listen)
    }

    pub(super) fn is_back(self) -> bool {
        matches!(self, Kind::Backend | Kind::Listen)
    }
}

/// Something that works in mode http alone. The mode is known at the end of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpOnly {
    pub(super) name: String,
    pub(super) at: At,
    /// Which kinds of sections it is about.
    pub(super) front: bool,
    pub(super) back: bool,
    /// haproxy does not say that it ignores it.
    pub(super) silent: bool,
    /// Why Baton does not do it in mode http.
    pub(super) refused: Option<&'static str>,
}

/// One `log` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Log {
    Global,
    Target(LogTarget),
}

/// A section while it is read.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) at: At,
    /// What the client's side of the section will be.
    pub(super) front: Frontend,
    /// What the server's side of the section will be.
    pub(super) back: Backend,
    pub(super) mode: Mode,
    pub(super) disabled: bool,
    pub(super) id: Option<u32>,
    pub(super) checking: Checking,
    pub(super) default_server: Draft,
    pub(super) servers: Vec<Draft>,
    /// Tests of each name.
    pub(super) acls: BTreeMap<String, Vec<Test>>,
    /// Names of ACLs that rules have used: nothing may be added to them.
    pub(super) acls_used: BTreeSet<String>,
    pub(super) logs: Vec<Log>,
    pub(super) log_format: LogFormat,
    pub(super) log_format_at: Option<At>,
    pub(super) http_only: Vec<HttpOnly>,
    pub(super) stats: Option<StatsPage>,
    pub(super) timeout_http_request: Option<Duration>,
    pub(super) timeout_http_keep_alive: Option<Duration>,
    /// Timeouts that this section itself has set, by name.
    pub(super) timeouts_set: BTreeSet<&'static str>,
    /// The `defaults` section with rules that this one began with.
    pub(super) ruled_by: Option<At>,
    /// `balance` was said.
    pub(super) balanced: bool,
    /// What refers to other sections, for the end.
    pub(super) references: Vec<Reference>,
    pub(super) default_backend_at: At,
}

/// A name of something in another section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) at: At,
    pub(super) key: String,
    pub(super) to: To,
}

/// What a reference is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    Backend(String),
    /// Backend (`None`: this section) and server.
    Server(Option<String>, String),
    /// A section's stick table (`None`: this section's).
    Table(Option<String>),
    Peers(String),
    /// What a request says: the section has to be in mode http.
    HttpMode,
}

/// Timeouts, attempts and intervals where nothing is said.
const RETRIES: u32 = 3;

impl Proxy {
    /// One that nothing was said about.
    pub(super) fn new(kind: Kind, name: &str, at: At) -> Proxy {
        let front = Frontend { at, name: name.to_owned(), ..Frontend::default() };
        let back = Backend { at, name: name.to_owned(), retries: RETRIES, ..Backend::default() };
        Proxy {
            kind,
            name: name.to_owned(),
            at,
            front,
            back,
            mode: Mode::Tcp,
            disabled: false,
            id: None,
            checking: Checking::default(),
            default_server: Draft::new("", at),
            servers: Vec::new(),
            acls: BTreeMap::new(),
            acls_used: BTreeSet::new(),
            logs: Vec::new(),
            log_format: LogFormat::Short,
            log_format_at: None,
            http_only: Vec::new(),
            stats: None,
            timeout_http_request: None,
            timeout_http_keep_alive: None,
            timeouts_set: BTreeSet::new(),
            ruled_by: None,
            balanced: false,
            references: Vec::new(),
            default_backend_at: At::default(),
        }
    }

    /// A section that begins with what a `defaults` section says.
    pub(super) fn from_defaults(defaults: &Proxy, kind: Kind, name: &str, at: At) -> Proxy {
        let mut proxy = defaults.clone();
        proxy.kind = kind;
        proxy.name = name.to_owned();
        proxy.at = at;
        proxy.front.name = name.to_owned();
        proxy.back.name = name.to_owned();
        proxy.front.at = at;
        proxy.back.at = at;
        proxy.id = None;
        proxy.acls.clear();
        proxy.acls_used.clear();
        proxy.timeouts_set.clear();
        proxy.ruled_by = defaults.has_rules().then_some(defaults.at);
        proxy.checking.begin_section();
        proxy
    }

    /// Whether a `defaults` section has rules: then frontends and backends cannot both begin with it.
    pub(super) fn has_rules(&self) -> bool {
        let front = &self.front;
        let tcp = [&front.connection_rules, &front.session_rules, &front.content_rules, &self.back.response_rules];
        let http = [&front.http_rules, &front.http_response_rules];
        tcp.iter().any(|rules| !rules.is_empty()) || http.iter().any(|rules| !rules.is_empty())
    }

    /// Name for messages: `backend b`.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }
}
