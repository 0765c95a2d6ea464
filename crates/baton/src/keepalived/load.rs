//! Reads `keepalived.conf` with what it includes, and says what is wrong with it.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use baton_config::keepalived::model::{At, Command, Config, Global};
use baton_config::keepalived::{Class, Host, Kind, Reading, Source, read};
use baton_config::{Message, Place, Severity};
use baton_net::rtnl::Rtnl;
use tracing::{error, info, warn};

use super::facts;
use super::options::Options;
use super::refuse;
use crate::cli::output::{FAILED, REFUSED, complain, fail};

/// Where the file is: the original's place, and that of the images that carry it.
const PLACES: [&str; 2] = ["/etc/keepalived/keepalived.conf", "/usr/local/etc/keepalived/keepalived.conf"];
/// The original's exit status when there is no file.
const NO_CONFIG: u8 = 6;

/// A configuration that may be run.
pub(super) struct Loaded {
    pub(super) config: Config,
    messages: Vec<Message>,
}

/// One that may not.
pub(crate) struct Refusal {
    code: u8,
    messages: Vec<Message>,
}

impl Loaded {
    /// To the log.
    pub(super) fn say(&self) {
        say(&self.messages);
    }
}

impl Refusal {
    /// To the log.
    pub(super) fn say(&self) {
        say(&self.messages);
    }

    /// For standard error.
    pub(crate) fn text(&self) -> String {
        text(&self.messages)
    }

    /// The process ends with it.
    pub(super) fn code(&self) -> u8 {
        self.code
    }
}

fn say(messages: &[Message]) {
    for message in messages {
        // How grave it is, the log says.
        match message.severity {
            Severity::Error => error!("{}", message.unlabelled()),
            Severity::Warning => warn!("{}", message.unlabelled()),
        }
    }
}

fn text(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{message:#}");
    }
    text
}

/// Reads the file that the options name.
///
/// # Errors
/// It is not there, or is refused.
pub(super) fn load(options: &Options) -> Result<Loaded, Refusal> {
    let Looked { reading, messages, .. } = look(options)?;
    if messages.iter().any(|message| message.severity == Severity::Error) {
        return Err(Refusal { code: code(reading.class), messages });
    }
    Ok(Loaded { config: reading.config, messages })
}

/// `-t`: says everything and ends as the original does, unless this program refuses what the original takes.
pub(super) fn test(options: &Options, to: Option<&Path>) -> ExitCode {
    let (code, text) = match look(options) {
        Err(refusal) => (refusal.code, refusal.text()),
        Ok(looked) if looked.refused => (REFUSED, text(&looked.messages)),
        Ok(looked) => (looked.reading.class.code(), text(&looked.messages)),
    };
    match to {
        None => complain(&text),
        Some(path) => {
            if let Err(e) = fs::write(path, text) {
                return fail(FAILED, &format!("{}: {e}", path.display()));
            }
        }
    }
    ExitCode::from(code)
}

/// Of a file that is refused: the original's, if it refuses the file too.
fn code(class: Class) -> u8 {
    if matches!(class, Class::Broken | Class::NoInterface) { class.code() } else { REFUSED }
}

/// A file as it is.
pub(super) struct Looked {
    pub(super) reading: Reading,
    /// Everything that is to be said about it but what is only unwise.
    pub(super) messages: Vec<Message>,
    /// The original would take what this program does not.
    refused: bool,
}

/// Reads the file that the options name, with everything that is to be said about it.
///
/// # Errors
/// It is not there.
fn look(options: &Options) -> Result<Looked, Refusal> {
    look_at(options, false)
}

/// The same for a file of this host or of another one.
///
/// # Errors
/// It is not there.
pub(super) fn look_at(options: &Options, elsewhere: bool) -> Result<Looked, Refusal> {
    let path = file(options)?;
    let shown = path.display().to_string();
    let text = match facts::text_of(&path) {
        Ok(text) => text,
        Err(why) => return Err(missing(&shown, &why)),
    };
    // In another namespace are other interfaces.
    let elsewhere = elsewhere || options.namespace.is_some() || text.contains("net_namespace");
    let interfaces = if elsewhere { None } else { interfaces() };
    let id = options.config_id.clone().unwrap_or_else(facts::host_name);
    let source = Source { path: &shown, text: &text, config_id: &id, strict: options.strict, seed: seed() };
    let mut include = |pattern: &str, directory: &str| facts::included(pattern, directory);
    let mut script = |command: &Command| facts::script(command);
    let mut host = Host {
        interfaces: interfaces.as_deref(),
        include: &mut include,
        script: &mut script,
        user: &facts::user,
        environment: &|name| std::env::var(name).ok(),
    };
    let mut reading = read(&source, &mut host);
    let mut messages: Vec<Message> = Vec::new();
    for finding in &reading.findings {
        // What is only unwise is for `baton check`.
        if finding.kind != Kind::Lint {
            messages.push(finding.message.clone());
        }
        if options.all_config && finding.message.key.starts_with("include") {
            messages.push(Message { severity: Severity::Error, ..finding.message.clone() });
        }
    }
    place(&mut reading.config, elsewhere);
    let mut refused = reading.findings.iter().any(|finding| finding.kind == Kind::Refused);
    for not in refuse::not_done(&reading.config, options.vrrp_only) {
        refused = true;
        messages.push(not_done(&not));
    }
    if options.vrrp_only {
        reading.config.servers.clear();
        reading.config.server_groups.clear();
    }
    Ok(Looked { reading, messages, refused })
}

/// An instance without an interface is on the one that has its source address; its virtual addresses are elsewhere.
fn place(config: &mut Config, elsewhere: bool) {
    let default = config.global.default_interface.clone();
    for instance in config.instances.iter_mut().filter(|instance| instance.interface.is_none()) {
        let found = if elsewhere { Some(default.clone()) } else { instance.source.and_then(interface_of) };
        instance.dont_track_primary = true;
        instance.interface = found;
        for address in instance.addresses.iter_mut().chain(&mut instance.excluded) {
            address.interface.get_or_insert_with(|| default.clone());
        }
    }
}

fn interface_of(source: IpAddr) -> Option<String> {
    let all = Rtnl::open().and_then(|mut rtnl| rtnl.addresses()).unwrap_or_default();
    all.into_iter().find(|address| address.address == source).map(|address| address.interface)
}

fn not_done(refused: &refuse::Refusal) -> Message {
    let what = format!("is not done by this version: {}", refused.instead);
    message(Severity::Error, &refused.at, refused.key, &what)
}

fn message(severity: Severity, at: &At, key: &str, what: &str) -> Message {
    let place = if at.line == 0 { Place::Nowhere } else { Place::File { line: at.line, column: at.column } };
    let mut message = Message::new(severity, &place, key, what, "", "");
    message.file = Some(at.file.to_string()).filter(|file| !file.is_empty());
    message
}

fn file(options: &Options) -> Result<PathBuf, Refusal> {
    if let Some(file) = &options.file {
        return Ok(file.clone());
    }
    let found = PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| missing(PLACES[0], "it is not there, and -f names no other"))
}

fn missing(path: &str, why: &str) -> Refusal {
    let mut message = Message::new(Severity::Error, &Place::Nowhere, "the file", why, "", "");
    message.file = Some(path.to_owned());
    Refusal { code: NO_CONFIG, messages: vec![message] }
}

/// Names of the links; `None` when they cannot be looked at.
fn interfaces() -> Option<Vec<String>> {
    let links = Rtnl::open().and_then(|mut rtnl| rtnl.links());
    match links {
        Ok(links) => Some(links.into_iter().map(|link| link.name).collect()),
        Err(e) => {
            info!("the interfaces are not looked at: {e}");
            None
        }
    }
}

/// For `${_RANDOM}`.
fn seed() -> u64 {
    let mut seed = [0; 8];
    // Without random numbers it is always the same.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed);
    u64::from_ne_bytes(seed)
}

/// Only what the process itself is like: a reload cannot change it.
pub(super) fn process_differs(a: &Global, b: &Global) -> bool {
    (&a.net_namespace, &a.instance, a.use_pid_dir, a.umask) != (&b.net_namespace, &b.instance, b.use_pid_dir, b.umask)
}
