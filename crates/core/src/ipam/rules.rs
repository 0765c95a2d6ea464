//! The ConfigMap with the pools, read: which pool a namespace draws from, and how.

use std::collections::BTreeMap;

use super::pool::{Order, Pool};
use crate::strconv::parse_bool;

const CIDR: &str = "cidr";
const RANGE: &str = "range";
const SHARE: &str = "allow-share";
const INTERFACE: &str = "interface";
const SEARCH_ORDER: &str = "search-order";
const SKIP_ENDS: &str = "skip-end-ips-in-cidr";

/// What the ConfigMap says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    data: BTreeMap<String, String>,
    pools: BTreeMap<String, Result<Pool, String>>,
    order: Order,
}

impl Rules {
    /// Reads the ConfigMap's data.
    #[must_use]
    pub fn read(data: BTreeMap<String, String>) -> Rules {
        let skip_ends = data.get(SKIP_ENDS).is_some_and(|value| value == "true");
        let descending = data.get(SEARCH_ORDER).is_some_and(|value| value == "desc");
        let is_pool = |key: &str| [CIDR, RANGE].iter().any(|kind| namespace_of(key, kind).is_some());
        let pools = data.iter().filter(|(key, _)| is_pool(key));
        let pools = pools.map(|(key, text)| (key.clone(), Pool::parse(text, skip_ends))).collect();
        Rules { pools, order: if descending { Order::Descending } else { Order::Ascending }, data }
    }

    /// The pool of a namespace: `cidr-NAMESPACE`, `cidr-global`, `range-NAMESPACE`, `range-global`.
    ///
    /// # Errors
    /// No pool, or one that cannot be read.
    pub fn pool(&self, namespace: &str) -> Result<&Pool, String> {
        let find = |kind: &str| self.keys(kind, namespace).find_map(|key| self.pools.get(&key));
        match find(CIDR).or_else(|| find(RANGE)) {
            None => Err("no address pools could be found".into()),
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(pool)) => Ok(pool),
        }
    }

    /// Services of the namespace may share an IPv4 address when their ports differ.
    #[must_use]
    pub fn share(&self, namespace: &str) -> bool {
        self.value(SHARE, namespace).and_then(parse_bool).unwrap_or(false)
    }

    /// The interface that the namespace's addresses belong on.
    #[must_use]
    pub fn interface(&self, namespace: &str) -> Option<&str> {
        self.value(INTERFACE, namespace).filter(|name| !name.is_empty())
    }

    /// From which end pools are searched.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// What is written in it and means nothing, or cannot be read: for the log, when the ConfigMap changes.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let pools = self.pools.iter().filter_map(|(key, pool)| Some(format!("{key}: {}", pool.as_ref().err()?)));
        let others = self.data.iter().filter(|(key, _)| !self.pools.contains_key(*key));
        let others = others.filter_map(|(key, value)| {
            let expected = match key.as_str() {
                SEARCH_ORDER => (!matches!(value.as_str(), "desc" | "asc")).then_some("asc or desc"),
                SKIP_ENDS => (!matches!(value.as_str(), "true" | "false")).then_some("true or false"),
                key if namespace_of(key, SHARE).is_some() => parse_bool(value).is_none().then_some("true or false"),
                key if namespace_of(key, INTERFACE).is_some() => value.is_empty().then_some("an interface's name"),
                _ => return Some(format!("{key}: not a key of this ConfigMap, ignored")),
            };
            Some(format!("{key}: {value}, expected {}", expected?))
        });
        pools.chain(others).collect()
    }

    fn keys(&self, kind: &str, namespace: &str) -> impl Iterator<Item = String> + use<> {
        [format!("{kind}-{namespace}"), format!("{kind}-global")].into_iter()
    }

    fn value(&self, kind: &str, namespace: &str) -> Option<&str> {
        self.keys(kind, namespace).find_map(|key| self.data.get(&key)).map(String::as_str)
    }
}

fn namespace_of<'a>(key: &'a str, kind: &str) -> Option<&'a str> {
    key.strip_prefix(kind)?.strip_prefix('-').filter(|namespace| !namespace.is_empty())
}
