//! Values whose types are checked but whose meaning is not: what file, flags and environment have in common.
//!
//! Every value knows its path and where it was written, so that a later check can point at it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::message::Place;

/// A value with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Where it was written.
    pub(crate) place: Place,
    /// Its path from the root: `loadBalancers[0].port`; empty for the root.
    pub(crate) path: String,
    /// What was written.
    pub(crate) value: Value,
}

/// A typed value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Int(u64),
    Time(Duration),
    /// `off`, where a duration or an address can be switched off.
    Off,
    Ip(IpAddr),
    Socket(SocketAddr),
    Statuses(Vec<(u16, u16)>),
    List(Vec<Item>),
    Map(Vec<(&'static str, Item)>),
    /// Written, but wrong: already reported.
    Bad,
}

impl Item {
    pub(crate) fn new(place: Place, path: String, value: Value) -> Item {
        Item { place, path, value }
    }

    /// The entry of a mapping, unless it is missing.
    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| *name == key).map(|(_, item)| item),
            _ => None,
        }
    }

    /// Puts an entry into a mapping, in the place of an older one.
    pub(crate) fn put(&mut self, key: &'static str, item: Item) {
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|(name, _)| *name != key);
            entries.push((key, item));
        }
    }

    /// The entries of a list; nothing for anything else.
    pub(crate) fn list(&self) -> &[Item] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(bool) => Some(bool),
            _ => None,
        }
    }

    pub(crate) fn int(&self) -> Option<u64> {
        match self.value {
            Value::Int(int) => Some(int),
            _ => None,
        }
    }

    pub(crate) fn time(&self) -> Option<Duration> {
        match self.value {
            Value::Time(time) => Some(time),
            _ => None,
        }
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.value {
            Value::Ip(ip) => Some(ip),
            _ => None,
        }
    }

    pub(crate) fn is_bad(&self) -> bool {
        matches!(self.value, Value::Bad)
    }

    /// The item with this path, or its nearest ancestor that was written.
    pub(crate) fn find(&self, path: &str) -> &Item {
        let below: Vec<&Item> = match &self.value {
            Value::Map(entries) => entries.iter().map(|(_, item)| item).collect(),
            Value::List(items) => items.iter().collect(),
            _ => Vec::new(),
        };
        for item in below {
            let rest = path.strip_prefix(item.path.as_str());
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])) {
                return item.find(path);
            }
        }
        self
    }
}

/// The entry of a mapping, when its type is right: `of(item.get("port"), Item::int)`.
pub(crate) fn of<'a, T>(item: Option<&'a Item>, read: impl Fn(&'a Item) -> Option<T>) -> Option<T> {
    item.and_then(read)
}

/// A path one step down.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
