//! Directives of proxy sections that set one value each.

use super::context::{Context, Line};
use super::finding::Class;
use super::model::{Balance, HashFunction, Mode};
use super::proxy::{Kind, Proxy};
use super::{acl, units};

/// Most of anything that is counted in 32 bits.
const COUNT_MAX: i64 = i32::MAX as i64;

pub(super) fn mode(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    match line.word(1) {
        "tcp" => proxy.mode = Mode::Tcp,
        "http" => proxy.mode = Mode::Http,
        "health" => {
            context.alert(
                line,
                1,
                "`mode health` is gone since haproxy 2.0, expected `http-request return status 200`",
            );
        }
        other => context.alert(line, 1, format!("`{other}` is no mode, expected tcp or http")),
    }
    context.ends(line, 2);
}

/// A count as haproxy reads it (what does not begin with a number is 0); 0 is "no limit".
fn count(context: &mut Context<'_>, line: &Line, index: usize) -> Option<u32> {
    let word = context.needed(line, index, "a number")?;
    context.ends(line, index + 1);
    let number = units::number(&word).clamp(0, COUNT_MAX);
    if !word.bytes().all(|b| b.is_ascii_digit()) {
        let text = format!("`{word}` is no number: {number} is taken");
        context.says.put(Class::Lint, line.at(index), &line.key(), text);
    }
    u32::try_from(number).ok().filter(|n| *n > 0)
}

pub(super) fn maxconn(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    proxy.front.maxconn = count(context, line, 1);
}

pub(super) fn backlog(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    proxy.front.backlog = count(context, line, 1);
}

pub(super) fn fullconn(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    proxy.back.fullconn = count(context, line, 1);
}

pub(super) fn retries(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if line.len() > 1 {
        proxy.back.retries = count(context, line, 1).unwrap_or(0);
    } else {
        context.alert(line, 1, "needs a number");
    }
}

pub(super) fn rate_limit(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if line.word(1) != "sessions" {
        return context.alert(line, 1, "expected `rate-limit sessions` and a number per second");
    }
    let Some(word) = context.needed(line, 2, "a number per second") else { return };
    match word.parse::<u32>() {
        Ok(limit) => proxy.front.rate_limit = Some(limit).filter(|n| *n > 0),
        Err(_) => context.alert(line, 2, format!("`{word}` is not a number per second")),
    }
}

pub(super) fn id(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if let Some(id) = context.whole(line, 1, 1, COUNT_MAX) {
        proxy.id = Some(id);
    }
}

pub(super) fn description(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if context.needed(line, 1, "a text").is_some() {
        let text = Some(line.rest(1));
        proxy.front.description.clone_from(&text);
        proxy.back.description = text;
    }
}

pub(super) fn disabled(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    context.ends(line, 1);
    proxy.disabled = line.word(0) == "disabled";
}

pub(super) fn bind_process(context: &mut Context<'_>, _: &mut Proxy, line: &Line) {
    context.warn(line, 0, "has no effect: there is one process");
}

/// Read as it is: connections to servers are not shared between clients.
pub(super) fn http_reuse(context: &mut Context<'_>, _: &mut Proxy, line: &Line) {
    context.needed(line, 1, "a value");
}

pub(super) fn default_backend(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some(name) = context.needed(line, 1, "the name of a backend") else { return };
    context.ends(line, 2);
    proxy.front.default_backend = Some(name);
    proxy.default_backend_at = line.at(1);
}

pub(super) fn keepalive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let tuning = match line.word(0).starts_with("cli") {
        true => &mut proxy.front.clitcpka_tuning,
        false => &mut proxy.back.srvtcpka_tuning,
    };
    match line.word(0).rsplit('-').next() {
        Some("cnt") => {
            if let Some(count) = context.whole(line, 1, 0, 127) {
                tuning.0 = Some(count);
            }
        }
        Some("idle") => tuning.1 = context.time_in(line, 1, 1000),
        _ => tuning.2 = context.time_in(line, 1, 1000),
    }
    context.ends(line, 2);
}

pub(super) fn errorfile(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    const STATUSES: &[u16] =
        &[200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503, 504];
    let Some(status) = context.whole::<u16>(line, 1, 100, 999) else { return };
    let Some(path) = context.needed(line, 2, "a file") else { return };
    if !STATUSES.contains(&status) {
        return context.warn(line, 1, format!("no answer with status {status} is made by itself: the line is ignored"));
    }
    match (context.outside.load)(&path) {
        Ok(text) => {
            for files in [&mut proxy.front.error_files, &mut proxy.back.error_files] {
                files.retain(|(other, _)| *other != status);
                files.push((status, text.clone()));
            }
        }
        Err(why) => context.alert(line, 2, format!("the file {path} cannot be read: {why}")),
    }
}

pub(super) fn balance(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    proxy.balanced = true;
    let word = line.word(1);
    let (name, argument) = match word.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')),
        None => (word, None),
    };
    if !name.is_empty() {
        context.used(&format!("balance {name}"), line.at(1), &proxy.name);
    }
    proxy.back.balance = match (name, argument) {
        ("" | "roundrobin", _) => Balance::RoundRobin,
        ("static-rr", _) => Balance::StaticRr,
        ("leastconn", _) => Balance::LeastConn,
        ("first", _) => Balance::First,
        ("source", _) => Balance::Source,
        ("random", None) => Balance::Random(2),
        ("random", Some(draws)) => match units::whole(draws, 1, i64::from(u16::MAX)) {
            Ok(draws) => Balance::Random(draws),
            Err(wrong) => return context.alert(line, 1, wrong),
        },
        ("hash", None) => match acl::sample(context, proxy, line, 2) {
            Some((sample, _)) => Balance::Hash(sample),
            None => return,
        },
        ("uri" | "url_param" | "hdr" | "rdp-cookie", _) => {
            if name != "rdp-cookie" {
                let why = "servers are not chosen by what a request says";
                return super::keywords::http_only(proxy, line, "balance", Some(why));
            }
            return context.refuse(line, 1, "is not served by Baton: there is no persistence by RDP cookies");
        }
        _ => {
            let text = format!(
                "`{word}` is no way to choose a server, expected roundrobin, static-rr, leastconn, first, source or random"
            );
            return context.alert(line, 1, text);
        }
    };
}

pub(super) fn hash_type(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let mut hash = proxy.back.hash;
    hash.consistent = match line.word(1) {
        "consistent" => true,
        "map-based" => false,
        "avalanche" => {
            return context.alert(line, 1, "is gone since haproxy 1.6, expected `hash-type map-based sdbm avalanche`");
        }
        other => return context.alert(line, 1, format!("`{other}` is neither consistent nor map-based")),
    };
    let functions = [
        ("sdbm", HashFunction::Sdbm),
        ("djb2", HashFunction::Djb2),
        ("wt6", HashFunction::Wt6),
        ("crc32", HashFunction::Crc32),
        ("none", HashFunction::None),
    ];
    hash.function = match (line.word(2), functions.iter().find(|(name, _)| *name == line.word(2))) {
        ("", _) => HashFunction::Sdbm,
        (_, Some((_, function))) => *function,
        (other, None) => return context.alert(line, 2, format!("`{other}` is no hash function")),
    };
    // Without a function, haproxy mixes the ring's hash for a better spread.
    hash.avalanche = match line.word(3) {
        "" => hash.consistent && line.word(2).is_empty(),
        "avalanche" => true,
        other => return context.alert(line, 3, format!("`{other}` is no modifier, expected avalanche")),
    };
    proxy.back.hash = hash;
}

pub(super) fn hash_balance_factor(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if proxy.kind == Kind::Frontend {
        return;
    }
    let Some(factor) = context.whole::<u32>(line, 1, 0, COUNT_MAX) else { return };
    if (1..=100).contains(&factor) {
        return context.alert(line, 1, "expected 0 or more than 100 (percent of the mean load)");
    }
    proxy.back.hash.balance_factor = factor;
}
