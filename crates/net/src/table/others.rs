//! Tables of other instances in the same network namespace, living and dead.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nlink::netlink::nftables::types::{Family, Table};
use nlink::netlink::{Connection, Nftables};

use super::{GUARDS, Instance, OWNED, OWNER, TableError, connect, elements, is_ours, ours, run};

/// An address that a dead instance guards: its guard silences whoever has the address now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) set: &'static str,
    pub(crate) address: IpAddr,
}

/// A table outlives its owner, and this one did.
fn is_dead(table: &Table) -> bool {
    table.flags & OWNED == OWNED & !OWNER
}

/// What other instances guarded when they died.
pub(crate) async fn orphans(connection: &Connection<Nftables>, instance: &Instance) -> Result<Vec<Orphan>, TableError> {
    let mut orphans = Vec::new();
    for table in ours(connection, |table| is_ours(table) && !instance.has(table) && is_dead(table)).await? {
        // That of the ARP tables has another name.
        for set in GUARDS.iter().chain(&["guard"]) {
            for (address, _) in elements(connection, (&table.name, table.family), set).await {
                orphans.push(Orphan { family: table.family as u8, table: table.name.clone(), set, address });
            }
        }
    }
    Ok(orphans)
}

/// Addresses that other instances guard, unless they are known to be dead: they are not to be touched.
pub fn guarded_by_others(instance: &Instance) -> Result<BTreeSet<IpAddr>, TableError> {
    run(async {
        let connection = connect()?;
        let mut guarded = BTreeSet::new();
        for table in ours(&connection, |table| is_ours(table) && !instance.has(table) && !is_dead(table)).await? {
            for set in GUARDS.iter().filter(|_| table.family != Family::Arp) {
                let elements = elements(&connection, (&table.name, table.family), set).await;
                guarded.extend(elements.into_iter().map(|(address, _)| address));
            }
        }
        Ok(guarded)
    })
}

/// Tables that belong to running processes.
pub fn owned_by_others() -> Result<Vec<String>, TableError> {
    run(async {
        let tables = ours(&connect()?, |table| is_ours(table) && table.flags & OWNER != 0).await?;
        Ok(tables.into_iter().map(|table| format!("{} {}", table.family.name(), table.name)).collect())
    })
}
