//! File, flags and environment → settings: the order of things, and what is left for the caller to ask.

use std::collections::BTreeSet;

use baton_core::keeper::event::{HostAddress, Link};
use baton_core::settings::Settings;

use crate::message::{Findings, Message, Place, Severity, snippet};
use crate::tree::{Item, Value};
use crate::walk::Walk;
use crate::{balancers, outside, ownership, scalar, yaml};

/// What a configuration is held against: facts of the host that it is for. Without a link nothing is known of it (every
/// host has one), and what depends on the host is not checked.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The host's name, for nodes that have none of their own.
    pub name: String,
    /// All links.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<HostAddress>,
}

impl HostFacts {
    /// Whether anything can be held against the host.
    pub(crate) fn known(&self) -> bool {
        !self.links.is_empty()
    }
}

/// The command line of `baton start`, without what is not about settings.
#[derive(Clone, Debug, Default)]
pub struct StartArgs {
    /// Flags by name without dashes ([`crate::FLAGS`]), in order; a later one wins. `--flag` alone is `true`.
    pub flags: Vec<(String, String)>,
}

/// A configuration that may be started.
#[derive(Clone)]
pub struct Loaded {
    /// What to do.
    pub settings: Settings,
    /// What is legal and probably not meant.
    pub warnings: Vec<Message>,
    /// Keys of `settings.balancers`, in their order: `loadBalancers[0]`.
    pub balancer_keys: Vec<String>,
    /// Path and text.
    file: Option<(String, String)>,
    root: Item,
}

impl std::fmt::Debug for Loaded {
    /// Without what was written, which has secrets in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Loaded { settings, warnings, balancer_keys, .. } = self;
        write!(f, "Loaded {{ settings: {settings:?}, warnings: {warnings:?}, balancer_keys: {balancer_keys:?} }}")
    }
}

impl Loaded {
    /// Path of the file, when there is one.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_ref().map(|(path, _)| path.as_str())
    }

    /// Where a key (`localPeer.port`, `loadBalancers[0].port`) was written, or the nearest thing around it.
    #[must_use]
    pub fn position_of(&self, key: &str) -> Place {
        self.root.find(key).place.clone()
    }

    /// A message about a key, for what only the host can tell: a port in use, say.
    #[must_use]
    pub fn message(&self, severity: Severity, key: &str, what: &str, value: &str, expected: &str) -> Message {
        let mut message = Message::new(severity, &self.position_of(key), key, what, value, expected);
        if let Some((path, text)) = &self.file {
            message.file = Some(path.clone());
            let nth = message.line().and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
            message.snippet = nth.and_then(|nth| snippet(text.lines().nth(nth)?));
        }
        message
    }

    /// The key of a balancer in [`Settings::balancers`], by name.
    #[must_use]
    pub fn balancer_key(&self, name: &str) -> Option<&str> {
        let index = self.settings.balancers.iter().position(|balancer| balancer.name == name)?;
        self.balancer_keys.get(index).map(String::as_str)
    }
}

/// Reads a configuration: environment over flags over `file` (its path and text).
///
/// `read_key` reads a `peerKeyFile`. `kube_vip`: somebody typed that name, so an unknown key is only warned of.
///
/// # Errors
/// Everything that is wrong, and the warnings too, in the order of the file.
pub fn start(
    args: &StartArgs,
    env: &[(String, String)],
    file: Option<(&str, &str)>,
    host: &HostFacts,
    read_key: &dyn Fn(&str) -> Result<String, String>,
    kube_vip: bool,
) -> Result<Loaded, Vec<Message>> {
    let mut found = Findings::default();
    let mut root = match file {
        Some((_, text)) => read(text, kube_vip, &mut found),
        None => Some(Item::new(Place::Nowhere, String::new(), Value::Map(Vec::new()))),
    };
    if let Some(root) = root.as_mut().filter(|root| !root.is_bad()) {
        outside::flags(root, &args.flags, &mut found);
        outside::environment(root, env, &mut found);
    }
    let settled = root.as_ref().filter(|root| !root.is_bad()).map(|root| {
        let ownership = ownership::settle(root, host, read_key, &mut found);
        let balancers = balancers::settle(root, &ownership, &mut found);
        (ownership, balancers)
    });
    let refused = found.refused();
    let messages = found.finish(file);
    match (root, settled) {
        (Some(root), Some((ownership, balancers))) if !refused => {
            let (balancers, balancer_keys) = balancers.into_iter().unzip();
            let admin = balancers::admin(&root);
            let settings = Settings { ownership, balancers, admin };
            let file = file.map(|(path, text)| (path.to_owned(), text.to_owned()));
            Ok(Loaded { settings, warnings: messages, balancer_keys, file, root })
        }
        _ => Err(messages),
    }
}

/// The file's text as typed values.
fn read(text: &str, lenient: bool, found: &mut Findings) -> Option<Item> {
    let at = |line, column| Place::File { line, column };
    let document = match yaml::parse(text) {
        Ok(document) => document,
        Err(broken) => {
            found.put(Severity::Error, &at(broken.line, broken.column), "the file", &broken.what, "", "");
            return None;
        }
    };
    if let Some((line, column)) = document.second {
        found.put(Severity::Warning, &at(line, column), "the file", "has a second document, which is not read", "", "");
    }
    let empty = |node: &yaml::Node| match &node.kind {
        yaml::Kind::Scalar { text, plain } => scalar::is_nothing(text, *plain),
        _ => false,
    };
    match document.root.filter(|node| !empty(node)) {
        Some(node) => Some(Walk { found, lenient }.root(&node)),
        None => {
            found.put(Severity::Error, &at(1, 1), "the file", "is empty", "", "keys such as vip, interface, localPeer");
            None
        }
    }
}

/// Names of the host's links, sorted, for messages.
pub(crate) fn link_names(host: &HostFacts) -> Vec<&str> {
    let names: BTreeSet<&str> = host.links.iter().map(|link| link.name.as_str()).collect();
    names.into_iter().collect()
}
