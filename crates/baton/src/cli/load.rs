//! Gathers what a configuration is made of (file, flags, environment, facts about the host) and has it checked.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;

use baton_config::{HostFacts, Loaded, Message, Place, Severity, StartArgs};
use baton_net::rtnl::Rtnl;

use super::flags::Flags;

/// A file larger than this is no configuration.
const FILE_MAX: u64 = 4 << 20;
/// A file larger than this is no key.
const KEY_MAX: u64 = 4096;

/// Reads and checks.
///
/// # Errors
/// Everything that is wrong.
pub fn load(flags: &Flags, as_kube_vip: bool) -> Result<Loaded, Vec<Message>> {
    let host = host_facts().map_err(|e| vec![problem(None, "the host's links and addresses", &e)])?;
    check(flags, &environment(), &host, as_kube_vip)
}

/// Reads and checks for a host of which `host` is known.
///
/// # Errors
/// Everything that is wrong.
pub fn check(
    flags: &Flags,
    env: &[(String, String)],
    host: &HostFacts,
    as_kube_vip: bool,
) -> Result<Loaded, Vec<Message>> {
    let path = flags.config.as_deref();
    let text = match path {
        Some(path) => Some(read(path, FILE_MAX).map_err(|e| vec![problem(Some(path), "the file", &e)])?),
        None => None,
    };
    let args = StartArgs { flags: flags.given.clone() };
    let read_key = |path: &str| read(path, KEY_MAX).map_err(|e| e.to_string());
    baton_config::start(&args, env, path.zip(text.as_deref()), host, &read_key, as_kube_vip)
}

/// All that is set and can be text.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// The file of that path and its text.
///
/// # Errors
/// It cannot be read, or is none that we read.
pub fn named_file(path: Option<String>) -> Result<Option<(String, String)>, Vec<Message>> {
    let Some(path) = path else { return Ok(None) };
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    if !matches!(extension.as_deref(), Some("yaml" | "yml" | "json")) {
        let expected = "a name that ends in .yaml, .yml or .json";
        let mut message =
            Message::new(Severity::Error, &Place::Nowhere, "the file", "is of no known kind", "", expected);
        message.file = Some(path);
        return Err(vec![message]);
    }
    match read(&path, FILE_MAX) {
        Ok(text) => Ok(Some((path, text))),
        Err(e) => Err(vec![problem(Some(&path), "the file", &e)]),
    }
}

/// The host's name.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read(path: &str, most: u64) -> io::Result<String> {
    let mut text = String::new();
    let taken = File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if u64::try_from(taken).is_ok_and(|n| n > most) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(text)
}

/// What a configuration is held against.
///
/// # Errors
/// What netlink may fail with.
pub fn host_facts() -> io::Result<HostFacts> {
    let mut rtnl = Rtnl::open()?;
    Ok(HostFacts { name: host_name(), links: rtnl.links()?, addresses: rtnl.addresses()? })
}

fn problem(file: Option<&str>, what: &str, e: &io::Error) -> Message {
    let mut message = Message::new(Severity::Error, &Place::Nowhere, what, "cannot be read", &e.to_string(), "");
    message.file = file.map(str::to_owned);
    message
}

/// Messages as lines, with the lines of the file that they are about.
#[must_use]
pub fn text(messages: &[Message]) -> String {
    messages.iter().map(|m| format!("{m:#}\n")).collect()
}

/// Why the peers' port cannot be had, where the file says which it is.
#[must_use]
pub fn port_message(loaded: &Loaded, local: SocketAddr, e: &io::Error) -> Message {
    let expected = match e.kind() {
        io::ErrorKind::AddrInUse => "a UDP port that no other program uses (does another instance run?)",
        _ => "a UDP address of this host",
    };
    let what = match e.kind() {
        io::ErrorKind::AddrInUse => "is in use".to_owned(),
        _ => format!("cannot be bound: {e}"),
    };
    loaded.message(Severity::Error, "localPeer.port", &what, &local.to_string(), expected)
}
