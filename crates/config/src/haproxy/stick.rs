//! `stick-table` and `stick …`.

use super::acl::{self, PHASE_CONTENT};
use super::context::{Context, Line};
use super::keywords::not_served;
use super::model::{Stick, StickKind, StickTable};
use super::proxy::{Proxy, Reference, To};
use super::units;

/// What a table can hold, and whether it needs a period in parentheses.
const STORES: &[(&str, bool)] = &[
    ("server_id", false),
    ("server_key", false),
    ("conn_cnt", false),
    ("conn_cur", false),
    ("conn_rate", true),
    ("sess_cnt", false),
    ("sess_rate", true),
    ("http_req_cnt", false),
    ("http_req_rate", true),
    ("http_err_cnt", false),
    ("http_err_rate", true),
    ("http_fail_cnt", false),
    ("http_fail_rate", true),
    ("bytes_in_cnt", false),
    ("bytes_in_rate", true),
    ("bytes_out_cnt", false),
    ("bytes_out_rate", true),
    ("gpc0", false),
    ("gpc0_rate", true),
    ("gpc1", false),
    ("gpc1_rate", true),
    ("gpc", true),
    ("gpc_rate", true),
    ("gpt", true),
    ("gpt0", false),
];

/// Longest key where nothing is said, as with haproxy.
const KEY_LENGTH: u32 = 32;

pub(super) fn table(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if let Some(twin) = &proxy.front.stick_table {
        let text = format!("a section has one table, and one is in line {} already", twin.at.line);
        return context.alert(line, 0, text);
    }
    let mut table = StickTable {
        key: String::new(),
        key_length: 0,
        size: 0,
        expire: None,
        nopurge: false,
        store: Vec::new(),
        peers: None,
        at: line.at(0),
    };
    let mut at = 1;
    while at < line.len() {
        match line.word(at) {
            "nopurge" => {
                table.nopurge = true;
                at += 1;
                continue;
            }
            "type" => {
                let Some(taken) = key(context, line, at + 1, &mut table) else { return };
                at += taken;
            }
            "size" => match units::size(line.word(at + 1)) {
                Ok(size) => table.size = size,
                Err(wrong) => return context.alert(line, at + 1, wrong),
            },
            "expire" => match context.time(line, at + 1) {
                Some(time) => table.expire = Some(time).filter(|time| !time.is_zero()),
                None => return,
            },
            "peers" => match context.needed(line, at + 1, "a section") {
                Some(name) => {
                    let to = To::Peers(name.clone());
                    proxy.references.push(Reference { at: line.at(at + 1), key: line.key(), to });
                    table.peers = Some(name);
                }
                None => return,
            },
            "store" => match store(context, line, at + 1) {
                Some(list) => table.store.extend(list),
                None => return,
            },
            "srvkey" => match line.word(at + 1) {
                "name" | "addr" => {}
                other => return context.alert(line, at + 1, format!("`{other}` is neither name nor addr")),
            },
            "write-to" => return context.refuse(line, at, not_served("tables are not chained")),
            other => return context.alert(line, at, format!("`{other}` is not known here")),
        }
        at += 2;
    }
    if table.key.is_empty() {
        return context.alert(line, 0, "needs a type, such as `type ip`");
    }
    if table.size == 0 {
        return context.alert(line, 0, "needs a size, such as `size 100k`");
    }
    proxy.front.stick_table = Some(table.clone());
    proxy.back.stick_table = Some(table);
}

/// The type of a key; how many words more than one it took.
fn key(context: &mut Context<'_>, line: &Line, at: usize, table: &mut StickTable) -> Option<usize> {
    table.key = line.word(at).to_owned();
    match line.word(at) {
        "ip" | "ipv6" | "integer" => Some(0),
        "string" | "binary" => {
            table.key_length = KEY_LENGTH;
            if line.word(at + 1) != "len" {
                return Some(0);
            }
            table.key_length = context.whole(line, at + 2, 1, 65535)?;
            Some(2)
        }
        other => {
            context.alert(line, at, format!("`{other}` is no type, expected ip, ipv6, integer, string or binary"));
            None
        }
    }
}

fn store(context: &mut Context<'_>, line: &Line, at: usize) -> Option<Vec<String>> {
    let text = context.needed(line, at, "what is counted")?;
    let mut out = Vec::new();
    for part in text.split(',') {
        let (name, argument) = match part.split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')')),
            None => (part, None),
        };
        let Some((_, period)) = STORES.iter().find(|(known, _)| *known == name) else {
            context.alert(line, at, format!("`{name}` is nothing that a table counts"));
            return None;
        };
        if *period && argument.is_none() {
            context.alert(line, at, format!("`{name}` needs an argument, as {name}(10s)"));
            return None;
        }
        out.push(part.to_owned());
    }
    Some(out)
}

pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let kind = match line.word(1) {
        "on" => StickKind::On,
        "match" => StickKind::Match,
        "store-request" => StickKind::StoreRequest,
        "store-response" => StickKind::StoreResponse,
        other => {
            let text = format!("`{other}` is not known here, expected on, match, store-request or store-response");
            return context.alert(line, 1, text);
        }
    };
    if context.needed(line, 2, "a sample, such as src").is_none() {
        return;
    }
    let Some((key, _)) = acl::sample(context, proxy, line, 2) else { return };
    let (table, next) = match line.word(3) {
        "table" => match context.needed(line, 4, "the section of a table") {
            Some(table) => (Some(table), 5),
            None => return,
        },
        _ => (None, 3),
    };
    let Some(condition) = acl::condition(context, proxy, line, next, PHASE_CONTENT) else { return };
    proxy.references.push(Reference { at: line.at(0), key: line.key(), to: To::Table(table.clone()) });
    proxy.back.sticks.push(Stick { kind, key, table, condition, at: line.at(0) });
}
