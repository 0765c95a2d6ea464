//! Checks that people write as scripts, recognised: what they find out can be answered in this process.
//!
//! A script is recognised only as a whole: a line that is not understood makes all of it a script that is run.

mod curl;
mod shell;

use std::net::IpAddr;
use std::time::Duration;

use super::model::Command;

/// What a script finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Native {
    /// It always passes.
    Always,
    /// A process of that name runs: `killall -0 haproxy`, `pidof haproxy`, `pgrep -x haproxy`, `ps -C haproxy`.
    Process(String),
    /// A unit is active: `systemctl is-active haproxy`. Without the suffix `.service`.
    Unit(String),
    /// A connection is accepted: `</dev/tcp/127.0.0.1/6443`, `nc -z localhost 6443`.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Of the program itself, beside the script's; `None`: none.
        timeout: Option<Duration>,
    },
    /// `curl`, `wget`.
    Http(Get),
    /// All of them, in this order.
    All(Vec<Native>),
    /// Only while this host has the address: `if ip addr | grep -q 192.0.2.1; then …; fi`.
    WhileHere {
        /// The address.
        address: IpAddr,
        /// What is asked then.
        then: Box<Native>,
    },
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Over TLS.
    pub tls: bool,
    /// Certificates are verified (no `--insecure`).
    pub verify: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// `--max-time`, `--timeout`.
    pub timeout: Option<Duration>,
    /// `--connect-timeout`.
    pub connect_timeout: Option<Duration>,
    /// `--fail`: statuses from 400 on are failures. Otherwise any answer is good.
    pub fail: bool,
}

/// Whether a command can only be meant for a shell.
pub(super) fn is_shell(text: &str) -> bool {
    text.starts_with('<') || text.contains(['|', ';', '>', '&'])
}

/// What a command finds out, when it is known; `text` is that of its script. Arguments of a script are not followed.
#[must_use]
pub fn recognise(command: &Command, text: Option<&str>) -> Option<Native> {
    if is_shell(&command.text) {
        return shell::script(&command.text);
    }
    let (program, arguments) = command.args.split_first()?;
    let words: Vec<&str> = command.args.iter().map(String::as_str).collect();
    match (base(program), text) {
        ("sh" | "bash" | "dash", _) => match arguments {
            [flag, line] if flag == "-c" => shell::script(line),
            _ => None,
        },
        (_, Some(text)) => match arguments {
            [] => shell::script(text),
            _ => None,
        },
        _ => simple(&words),
    }
}

/// The last part of a path.
fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Flags of a program that change nothing about what it finds out.
fn quiet(words: &[&str], flags: &[&str]) -> Vec<String> {
    words.iter().filter(|word| !flags.contains(word)).map(|word| (*word).to_owned()).collect()
}

/// One program with its arguments.
fn simple(words: &[&str]) -> Option<Native> {
    let (program, rest) = words.split_first()?;
    let one = |words: &[String]| match words {
        [word] if !word.starts_with('-') && !word.is_empty() => Some(word.clone()),
        _ => None,
    };
    match base(program) {
        "true" | ":" if rest.is_empty() => Some(Native::Always),
        "killall" if rest.contains(&"-0") => one(&quiet(rest, &["-0", "-q", "--quiet", "-e"])).map(Native::Process),
        "pidof" => one(&quiet(rest, &["-q", "-s", "-x"])).map(Native::Process),
        "pgrep" if rest.contains(&"-x") => one(&quiet(rest, &["-x", "-q"])).map(Native::Process),
        // Without -x any part of a name would do; it is asked for the same name.
        "pgrep" => one(&quiet(rest, &["-q"])).map(Native::Process),
        "ps" => match quiet(rest, &["h", "--no-heading", "--no-headers", "--no-header"]).as_slice() {
            [flag, name] if flag == "-C" => Some(Native::Process(name.clone())),
            _ => None,
        },
        "systemctl" | "service" => unit(base(program), rest),
        "nc" | "ncat" | "netcat" => connect(rest),
        "curl" => curl::curl(rest),
        "wget" => curl::wget(rest),
        "timeout" => within(rest),
        _ => None,
    }
}

fn unit(program: &str, rest: &[&str]) -> Option<Native> {
    let words = quiet(rest, &["-q", "--quiet"]);
    let name = match (program, words.iter().map(String::as_str).collect::<Vec<_>>().as_slice()) {
        ("systemctl", ["is-active" | "status", name]) | ("service", [name, "status"]) => *name,
        _ => return None,
    };
    Some(Native::Unit(name.strip_suffix(".service").unwrap_or(name).to_owned()))
}

/// `nc -z [-w SECONDS] HOST PORT`
fn connect(rest: &[&str]) -> Option<Native> {
    let (mut timeout, mut scan, mut plain) = (None, false, Vec::new());
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match *word {
            "-w" => timeout = Some(Duration::from_secs(words.next()?.parse().ok()?)),
            flags if flags.starts_with('-') => {
                scan |= flags.contains('z');
                let rest = flags.trim_start_matches('-').trim_start_matches(['z', 'v', 'n', '4']);
                match rest.strip_prefix('w') {
                    Some("") => timeout = Some(Duration::from_secs(words.next()?.parse().ok()?)),
                    Some(number) => timeout = Some(Duration::from_secs(number.parse().ok()?)),
                    None if rest.is_empty() => {}
                    None => return None,
                }
            }
            word => plain.push(word),
        }
    }
    let [host, port] = plain[..] else { return None };
    scan.then_some(Native::Tcp { host: host.to_owned(), port: port.parse().ok()?, timeout })
}

/// `timeout SECONDS command …`: the command, within that time.
fn within(rest: &[&str]) -> Option<Native> {
    let (limit, command) = rest.split_first()?;
    let limit = super::value::seconds(limit.strip_suffix('s').unwrap_or(limit))?;
    let inner = match command {
        ["sh" | "bash" | "/bin/sh" | "/bin/bash", "-c", line] => shell::script(line)?,
        _ => simple(command)?,
    };
    Some(match inner {
        Native::Tcp { host, port, timeout } => Native::Tcp { host, port, timeout: Some(least(timeout, limit)) },
        Native::Http(get) => Native::Http(Get { timeout: Some(least(get.timeout, limit)), ..get }),
        other => other,
    })
}

fn least(known: Option<Duration>, limit: Duration) -> Duration {
    known.map_or(limit, |known| known.min(limit))
}
