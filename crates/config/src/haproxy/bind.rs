//! `bind` lines, and `stats socket`, which are the same with a level.

use super::address::{self, Wrong};
use super::context::{Context, Line};
use super::keywords::not_served;
use super::model::{At, Bind, Listen};
use super::names;
use super::proxy::Proxy;

impl Bind {
    fn new(listen: Listen, at: At) -> Bind {
        Bind {
            listen,
            at,
            name: None,
            id: None,
            interface: None,
            transparent: false,
            v4v6: false,
            v6only: false,
            accept_proxy: false,
            maxconn: None,
            backlog: None,
            tfo: false,
            defer_accept: false,
            mss: None,
            tcp_ut: None,
            unix_mode: None,
            unix_user: None,
            unix_group: None,
            level: None,
            expose_fd: false,
        }
    }
}

/// Most sockets of one configuration.
const SOCKETS_MAX: usize = 16_384;

pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let binds = read(context, line, 1, &proxy.name);
    for bind in binds {
        let twin =
            proxy.front.binds.iter().find(|other| other.at != bind.at && other.id.is_some() && other.id == bind.id);
        if let Some(twin) = twin {
            let text = format!("the id is that of the `bind` in line {}, too", twin.at.line);
            return context.alert(line, 1, text);
        }
        if proxy.front.binds.len() >= SOCKETS_MAX {
            return context.refuse(line, 1, format!("more than {SOCKETS_MAX} sockets in one section"));
        }
        proxy.front.binds.push(bind);
    }
}

/// Reads addresses at `first` and the words after them.
pub(super) fn read(context: &mut Context<'_>, line: &Line, first: usize, proxy: &str) -> Vec<Bind> {
    let Some(text) = context.needed(line, first, "an address and a port, such as *:6443") else { return Vec::new() };
    let text = address::expand(&text, &|name| context.variable(name));
    let listens = match address::listens(&text) {
        Ok(listens) => listens,
        Err(Wrong::Alert(why)) => {
            context.alert(line, first, why);
            return Vec::new();
        }
        Err(Wrong::Refused(why)) => {
            context.refuse(line, first, why);
            return Vec::new();
        }
    };
    let mut bind = Bind::new(Listen::Fd(-1), line.at(0));
    let mut at = first + 1;
    while at < line.len() {
        match word(context, line, at, &mut bind, proxy) {
            Some(taken) => at += 1 + taken,
            None => return Vec::new(),
        }
    }
    listens.into_iter().map(|listen| Bind { listen, ..bind.clone() }).collect()
}

/// Reads one word; how many arguments it took.
fn word(context: &mut Context<'_>, line: &Line, at: usize, bind: &mut Bind, proxy: &str) -> Option<usize> {
    let name = line.word(at);
    let taken = match name {
        "transparent" => flag(&mut bind.transparent),
        "v4v6" => flag(&mut bind.v4v6),
        "v6only" => flag(&mut bind.v6only),
        "accept-proxy" => flag(&mut bind.accept_proxy),
        "tfo" => flag(&mut bind.tfo),
        "defer-accept" => flag(&mut bind.defer_accept),
        "maxconn" => {
            bind.maxconn = context.whole::<u32>(line, at + 1, 0, i64::from(i32::MAX)).filter(|n| *n > 0);
            1
        }
        "backlog" => {
            bind.backlog = context.whole::<u32>(line, at + 1, 0, i64::from(i32::MAX)).filter(|n| *n > 0);
            1
        }
        "id" => {
            bind.id = context.whole(line, at + 1, 1, i64::from(i32::MAX));
            1
        }
        "mss" => {
            let mss = context.whole::<i32>(line, at + 1, -65535, 65535)?;
            if mss == 0 {
                context.alert(line, at + 1, "expected a number from 1 to 65535, or less than the kernel's by one");
            }
            bind.mss = Some(mss);
            1
        }
        "tcp-ut" => {
            bind.tcp_ut = context.time(line, at + 1);
            1
        }
        // How threads share the work, and how gravely the command line words its answers.
        "shards" | "thread" | "nice" | "severity-output" => {
            context.needed(line, at + 1, "a value")?;
            1
        }
        "process" => {
            context.needed(line, at + 1, "a value")?;
            context.warn(line, at, "`process` has no effect: there is one process");
            1
        }
        _ => match owner(context, line, at, bind)? {
            Some(taken) => taken,
            None => return unknown(context, line, at),
        },
    };
    context.used(&format!("bind {name}"), line.at(at), proxy);
    Some(taken)
}

/// Words with a text: names, owners and permissions of sockets. `Some(None)`: none of them.
fn owner(context: &mut Context<'_>, line: &Line, at: usize, bind: &mut Bind) -> Option<Option<usize>> {
    let taken = match line.word(at) {
        "name" => text(context, line, at, &mut bind.name)?,
        "interface" => text(context, line, at, &mut bind.interface)?,
        "user" | "uid" => text(context, line, at, &mut bind.unix_user)?,
        "group" | "gid" => text(context, line, at, &mut bind.unix_group)?,
        "mode" => {
            let mode = context.needed(line, at + 1, "permission bits")?;
            match u32::from_str_radix(&mode, 8) {
                Ok(mode) if mode <= 0o7777 => bind.unix_mode = Some(mode),
                _ => context.alert(line, at + 1, format!("`{mode}` are no permission bits, expected some such as 660")),
            }
            1
        }
        "level" => {
            text(context, line, at, &mut bind.level)?;
            if let Some(level) = bind.level.as_deref()
                && !matches!(level, "user" | "operator" | "admin")
            {
                context.alert(line, at + 1, format!("`{level}` is no level, expected user, operator or admin"));
            }
            1
        }
        "expose-fd" => {
            match line.word(at + 1) {
                "listeners" => bind.expose_fd = true,
                other => context.alert(line, at + 1, format!("`{other}` is not `listeners`")),
            }
            1
        }
        _ => return Some(None),
    };
    Some(Some(taken))
}

fn unknown(context: &mut Context<'_>, line: &Line, at: usize) -> Option<usize> {
    let name = line.word(at);
    let Some((_, arity)) = names::BIND.iter().find(|(known, _)| *known == name) else {
        context.alert(line, at, format!("`{name}` is not known on a `bind` line"));
        return None;
    };
    let why = match name {
        "namespace" => "sockets are opened in Baton's own network namespace",
        "accept-netscaler-cip" => "the PROXY protocol (`accept-proxy`) is",
        _ => "TLS is passed through, not ended here",
    };
    context.refuse(line, at, format!("`{name}` {}", not_served(why)));
    Some(*arity)
}

fn flag(slot: &mut bool) -> usize {
    *slot = true;
    0
}

fn text(context: &mut Context<'_>, line: &Line, at: usize, slot: &mut Option<String>) -> Option<usize> {
    *slot = Some(context.needed(line, at + 1, "a value")?);
    Some(1)
}
