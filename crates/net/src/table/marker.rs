//! What must be remembered across restarts and stops, kept in the network namespace: a table of chains without hooks
//! whose names say it. It costs no packet anything.

use std::time::Duration;

use baton_core::keeper::Marker;
use nlink::netlink::nftables::types::{Chain, Family};
use nlink::netlink::{Connection, Nftables};

use super::{TableError, connect, failed, run};

/// The table of markers.
pub(super) const TABLE: &str = "baton-marks";
/// Followed by milliseconds.
const LEASE: &str = "longest-lease-";
const MAJORITY: &str = "majority-seen";

/// What was remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Markers {
    /// The longest lease that a configuration allowed here; `None`: nothing is known.
    pub longest_lease: Option<Duration>,
    /// A majority was seen once.
    pub majority_seen: bool,
}

/// What is remembered in this network namespace.
pub fn markers() -> Result<Markers, TableError> {
    run(async { Ok(parse(&read(&connect()?).await?)) })
}

/// Remembers something. A lease takes the place of the one before, longer or not: the keeper says when a longer one cannot
/// matter any more, and the driver keeps the longer one until then.
pub fn mark(marker: Marker) -> Result<(), TableError> {
    run(async move { write(&connect()?, marker).await })
}

/// Forgets everything; true when there was something.
pub fn forget() -> Result<bool, TableError> {
    run(async {
        let gone = connect()?.del_table_if_exists(TABLE, Family::Inet).await;
        gone.map_err(|source| failed("remove the markers", source))
    })
}

async fn write(connection: &Connection<Nftables>, marker: Marker) -> Result<(), TableError> {
    let known = read(connection).await?;
    let have = parse(&known);
    let (name, outdone) = match marker {
        Marker::LongestLease(lease) => {
            if have.longest_lease == Some(lease) {
                return Ok(());
            }
            (format!("{LEASE}{}", lease.as_nanos().div_ceil(1_000_000)), LEASE)
        }
        Marker::MajoritySeen if have.majority_seen => return Ok(()),
        Marker::MajoritySeen => (MAJORITY.to_owned(), MAJORITY),
    };
    let there = connection.list_tables_in(Family::Inet).await.map_err(|source| failed("list tables", source))?;
    let mut transaction = connection.transaction();
    if !there.iter().any(|table| table.name == TABLE) {
        transaction = transaction.add_table(TABLE, Family::Inet);
    }
    let chain = Chain::new(TABLE, name.as_str()).map_err(|source| failed("name a marker", source))?;
    transaction = transaction.add_chain(chain.family(Family::Inet));
    for old in known.iter().filter(|old| old.starts_with(outdone) && **old != name) {
        transaction = transaction.del_chain(TABLE, old, Family::Inet);
    }
    transaction.commit(connection).await.map_err(|source| failed("write a marker", source))
}

async fn read(connection: &Connection<Nftables>) -> Result<Vec<String>, TableError> {
    match connection.list_chains_in(TABLE, Family::Inet).await {
        Ok(chains) => Ok(chains.into_iter().map(|chain| chain.name).collect()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(source) => Err(failed("read the markers", source)),
    }
}

fn parse(chains: &[String]) -> Markers {
    let milliseconds = chains.iter().filter_map(|name| name.strip_prefix(LEASE)?.parse().ok());
    Markers {
        longest_lease: milliseconds.max().map(Duration::from_millis),
        majority_seen: chains.iter().any(|name| name == MAJORITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_foreign_ones_ignored() {
        let names = ["longest-lease-500", "longest-lease-x", "longest-lease-2000", "other"].map(str::to_owned);
        assert_eq!(parse(&names), Markers { longest_lease: Some(Duration::from_secs(2)), majority_seen: false });
        assert_eq!(parse(&["majority-seen".to_owned()]), Markers { longest_lease: None, majority_seen: true });
    }
}
