//! Sections besides `global` and the proxies: `resolvers` and `peers` are read, others are known or refused.

use std::time::Duration;

use super::address;
use super::context::{Context, Line};
use super::model::{At, Host, Listen, Peers, Resolvers};

/// Sections that mean nothing unless something refers to them, which is refused there; and their words.
pub(super) const INERT: &[(&str, &str)] = &[
    ("userlist", "group user"),
    ("mailers", "mailer timeout"),
    ("cache", "total-max-size max-object-size max-age max-secondary-entries process-vary"),
    ("http-errors", "errorfile"),
    ("ring", "description format maxlen server size timeout"),
    ("fcgi-app", "acl docroot filter index log-stderr option pass-header path-info no set-param"),
    ("crt-list", ""),
];

/// Sections that do something by themselves, which Baton does not do.
pub(super) const REFUSED: &[(&str, &str)] =
    &[("program", "other programs are started by the system's own means"), ("log-forward", "logs are not received")];

/// A section `resolvers` that nothing was said about.
pub(super) fn resolvers(name: &str, at: At) -> Resolvers {
    let seconds = Duration::from_secs;
    Resolvers {
        name: name.to_owned(),
        nameservers: Vec::new(),
        parse_resolv_conf: false,
        resolve_retries: 3,
        timeout_resolve: seconds(1),
        timeout_retry: seconds(1),
        hold: [seconds(10), seconds(0), seconds(30), seconds(30), seconds(30), seconds(30)],
        at,
    }
}

/// Reads one line of `resolvers`.
pub(super) fn resolvers_line(context: &mut Context<'_>, section: &mut Resolvers, line: &Line) {
    context.used(&format!("resolvers {}", line.word(0)), line.at(0), "");
    match line.word(0) {
        "nameserver" => nameserver(context, section, line),
        "parse-resolv-conf" => section.parse_resolv_conf = true,
        "resolve_retries" => {
            if let Some(count) = context.whole(line, 1, 0, 1000) {
                section.resolve_retries = count;
            }
        }
        "accepted_payload_size" => {
            context.whole::<u32>(line, 1, 512, 65535);
        }
        "timeout" => {
            let Some(time) = context.time(line, 2) else { return };
            match line.word(1) {
                "resolve" => section.timeout_resolve = time,
                "retry" => section.timeout_retry = time,
                other => context.alert(line, 1, format!("`{other}` is neither resolve nor retry")),
            }
        }
        "hold" => {
            const KINDS: [&str; 6] = ["valid", "obsolete", "nx", "other", "refused", "timeout"];
            let Some(time) = context.time(line, 2) else { return };
            match KINDS.iter().position(|kind| *kind == line.word(1)) {
                Some(index) => section.hold[index] = time,
                None => context.alert(line, 1, format!("`{}` is not {}", line.word(1), KINDS.join(", "))),
            }
        }
        other => {
            let text = format!("`{other}` is not known in a `resolvers` section");
            context.says.alert(line.at(0), other, text);
        }
    }
}

fn nameserver(context: &mut Context<'_>, section: &mut Resolvers, line: &Line) {
    let (Some(name), Some(text)) =
        (context.needed(line, 1, "a name"), context.needed(line, 2, "an address and a port"))
    else {
        return;
    };
    if section.nameservers.iter().any(|(other, ..)| *other == name) {
        return context.alert(line, 1, format!("there is a name server {name} already"));
    }
    let text = address::expand(&text, &|name| context.variable(name));
    if text.starts_with("tcp@") {
        return context.refuse(line, 2, "name servers are asked over UDP by Baton, and over TCP only when they say so");
    }
    let text = text.trim_start_matches("udp@");
    match address::listens(text) {
        Ok(listens) => section.nameservers.extend(listens.into_iter().filter_map(|listen| match listen {
            Listen::Inet { ip, port } => Some((name.clone(), Host::Ip(ip), port)),
            Listen::Name { host, port } => Some((name.clone(), Host::Name(host), port)),
            _ => None,
        })),
        Err(address::Wrong::Alert(why) | address::Wrong::Refused(why)) => context.alert(line, 2, why),
    }
}

/// Reads one line of `peers`. Tables are kept on this node: the section is read, and said to be without effect.
pub(super) fn peers_line(context: &mut Context<'_>, section: &mut Peers, line: &Line) {
    context.used(&format!("peers {}", line.word(0)), line.at(0), "");
    match line.word(0) {
        "peer" | "server" => {
            let Some(name) = context.needed(line, 1, "a name") else { return };
            let text = line.word(2).to_owned();
            match address::listens(&text) {
                Ok(listens) => {
                    for listen in listens {
                        if let Listen::Inet { ip, port } = listen {
                            section.members.push((name.clone(), ip, port));
                        }
                    }
                }
                Err(_) if text.is_empty() && line.word(0) == "server" => {}
                Err(address::Wrong::Alert(why) | address::Wrong::Refused(why)) => context.alert(line, 2, why),
            }
        }
        "bind" | "default-bind" | "default-server" | "table" | "disabled" | "enabled" | "log" | "shards" => {
            context.says.refuse(line.at(0), &line.key(), "is not served by Baton: peers are lines `peer` alone");
        }
        other => {
            let text = format!("`{other}` is not known in a `peers` section");
            context.says.alert(line.at(0), other, text);
        }
    }
}
