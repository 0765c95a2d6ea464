//! Who may hold which address, and how that is decided: the timing, the keys, and what excludes what.

use std::time::Duration;

use baton_core::settings::{Key, Ownership};

use crate::keys::{DRAIN, LEASE, REFRESH, RENEW_MIN};
use crate::message::Findings;
use crate::peers::{self, is_true};
use crate::scalar;
use crate::start::HostFacts;
use crate::tree::{Item, Value, of};
use crate::vips;

/// Shortest key: below, it can be guessed.
const KEY_BYTES_SAFE: usize = 16;
/// Longest key.
const KEY_BYTES_MAX: usize = 4096;
/// Most keys: the one that signs and the one that is on its way in or out.
const KEYS_MAX: usize = 2;

/// Reads everything that the keeper must know.
pub(crate) fn settle(
    root: &Item,
    host: &HostFacts,
    read_key: &dyn Fn(&str) -> Result<String, String>,
    found: &mut Findings,
) -> Ownership {
    let voters = peers::settle(root, host, found);
    let vips = vips::settle(root, &voters, host, found);
    exclusions(root, found);
    let (lease, renewal) = timing(root, found);
    Ownership {
        node: voters.node,
        local: voters.local,
        peers: voters.peers,
        vips,
        lease,
        renewal,
        keys: keys(root, read_key, found),
        start_as_leader: voters.start_as_leader,
        witness: is_true(root, "witness"),
        preempt: is_true(root, "preempt"),
        drain: of(root.get("drain"), Item::time).unwrap_or(DRAIN),
        refresh: refresh(root, found),
        fence: of(root.get("fence"), Item::bool).unwrap_or(true),
        force: is_true(root, "force"),
    }
}

fn exclusions(root: &Item, found: &mut Findings) {
    let Some(witness) = root.get("witness").filter(|item| item.bool() == Some(true)) else { return };
    for other in ["singleNode", "startAsLeader"] {
        if is_true(root, other) {
            let what = format!("contradicts {other}: a witness never holds");
            found.error(witness, &what, "true", "only one of the two");
        }
    }
}

fn timing(root: &Item, found: &mut Findings) -> (Duration, Duration) {
    let lease = of(root.get("lease"), Item::time).unwrap_or(LEASE);
    let Some(item) = root.get("renew") else { return (lease, (lease / 5).max(RENEW_MIN)) };
    let renewal = item.time().unwrap_or(lease / 5);
    if item.time().is_some() && renewal > lease / 3 {
        let most = scalar::duration(Duration::from_millis(u64::try_from((lease / 3).as_millis()).unwrap_or(u64::MAX)));
        let expected = format!("at most {most}, a third of the lease of {}", scalar::duration(lease));
        found.error(item, "is too long", &scalar::duration(renewal), &expected);
    }
    (lease, renewal)
}

fn refresh(root: &Item, found: &mut Findings) -> Option<Duration> {
    let item = root.get("refresh");
    if of(root.get("gratuitousARP"), Item::bool) == Some(false) {
        if let Some(item) = item.filter(|item| item.time().is_some()) {
            found.warning(item, "has no effect: gratuitousARP is false", "", "");
        }
        return None;
    }
    match item.map(|item| &item.value) {
        Some(Value::Off) => None,
        Some(Value::Time(time)) => Some(*time),
        _ => Some(REFRESH),
    }
}

/// The peers' keys. Nothing of them may end up in a message.
fn keys(root: &Item, read_key: &dyn Fn(&str) -> Result<String, String>, found: &mut Findings) -> Vec<Key> {
    if let (Some(_), Some(file)) = (root.get("peerKey"), root.get("peerKeyFile")) {
        found.error(file, "contradicts peerKey", "", "only one of the two");
    }
    let mut keys = Vec::new();
    for item in one_or_more(root.get("peerKey")) {
        keys.extend(item.text().and_then(|text| key(item, text, found)));
    }
    for item in one_or_more(root.get("peerKeyFile")) {
        let Some(path) = item.text() else { continue };
        let text = match read_key(path) {
            Ok(text) => text,
            Err(error) => {
                found.error(item, &format!("cannot be read: {error}"), path, "a file with one key on each line");
                continue;
            }
        };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            found.error(item, "has no key in it", path, "a file with one key on each line");
        }
        keys.extend(lines.into_iter().take(KEYS_MAX + 1).filter_map(|line| key(item, line, found)));
    }
    if keys.len() > KEYS_MAX {
        let item = root.get("peerKeyFile").or_else(|| root.get("peerKey")).unwrap_or(root);
        found.error(item, "has too many keys", "", "at most two: the one that signs, and the other of a rotation");
    }
    keys
}

fn one_or_more(item: Option<&Item>) -> Vec<&Item> {
    match item {
        Some(item) if item.list().is_empty() => vec![item],
        Some(item) => item.list().iter().collect(),
        None => Vec::new(),
    }
}

fn key(item: &Item, text: &str, found: &mut Findings) -> Option<Key> {
    let what = format!("has a key of {} bytes", text.len());
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        found.error(
            item,
            &what,
            "",
            &format!("1 to {KEY_BYTES_MAX} bytes, such as the output of `openssl rand -hex 32`"),
        );
        return None;
    }
    if text.len() < KEY_BYTES_SAFE {
        let expected = format!("{KEY_BYTES_SAFE} bytes or more, such as the output of `openssl rand -hex 32`");
        found.warning(item, &format!("{what}, which can be guessed"), "", &expected);
    }
    Some(Key(text.as_bytes().to_vec()))
}
