//! The nftables tables that carry the gates: one per VIP interface (`netdev baton-IF`), one for ARP on other interfaces
//! (`arp baton`), and the markers that outlive a stop (`inet baton-marks`). Several instances have other names
//! ([`Instance`]).
//!
//! ```text
//! table netdev baton-eth0 {
//!   set guard4, guard6     addresses that are silent unless a gate is open; elements end by themselves
//!   set answer4, answer6   may be announced and answered for
//!   set accept4, accept6   may be reached
//!   chain in  { hook ingress: packets to a guarded address that is not accepted, addressed to this host: drop }
//!   chain out { hook egress:  ARP from, neighbour discovery from or about a guarded address not in answer: drop;
//!                             packets from a guarded address not in accept: drop }
//! }
//! ```
//!
//! Without the egress hook there are two more tables per interface (`arp baton-IF`, `inet baton-IF`) with the rules for
//! what goes out. Made with a netlink library over the socket that owns them (`owner,persist` where the kernel has it).

mod instance;
mod layout;
mod marker;
mod others;
mod rules;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use baton_core::Time;
use baton_core::settings::Vip;
use nlink::netlink::nftables::types::{Family, Set, SetElement, SetKeyType, Table};
use nlink::netlink::{Connection, Nftables};

use crate::clock;
pub use instance::Instance;
pub(crate) use instance::are_ports;
use instance::is_ours;
pub use layout::Layout;
pub use marker::{Markers, forget, mark, markers};
pub(crate) use others::{Orphan, orphans};
pub use others::{guarded_by_others, owned_by_others};
pub use watch::Watch;

/// `NFPROTO_ARP`.
const ARP: u8 = 3;
/// `NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST`: nobody else changes the table while its socket is open, and it outlives the
/// socket.
const OWNED: u32 = OWNER | 0x4;
/// `NFT_TABLE_F_OWNER`.
const OWNER: u32 = 0x2;
/// The longest that an operation may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is taken off an element's time left when it is copied into a new table, for the time that the copying takes.
const COPYING: Duration = Duration::from_millis(10);

/// Why the tables could not be made, read or removed.
#[derive(Debug)]
pub enum TableError {
    /// Another process owns them: a second instance in this network namespace.
    Owned {
        /// The table.
        table: String,
    },
    /// The interface is not there.
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The kernel refused.
    Kernel {
        /// What was to be done.
        what: String,
        /// What it said.
        source: nlink::Error,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::Owned { table } => write!(
                f,
                "the nftables table {table} belongs to another running process: is a second instance of Baton, which does the \
                 same, running in this network namespace?"
            ),
            TableError::NoInterface { interface } => write!(f, "there is no interface {interface}"),
            TableError::Kernel { what, source } => write!(f, "nftables: cannot {what}: {source}"),
        }
    }
}

impl std::error::Error for TableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TableError::Kernel { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Why the kernel cannot fence addresses.
#[derive(Debug)]
pub struct Unsupported {
    why: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unsupported {}

impl From<TableError> for Unsupported {
    fn from(error: TableError) -> Unsupported {
        let why = match &error {
            TableError::Kernel { source, .. } if source.is_permission_denied() => {
                "this process may not use nftables: it needs CAP_NET_ADMIN".to_owned()
            }
            _ => format!(
                "this kernel cannot fence addresses: nftables with the families netdev, arp and inet is needed \
                 (CONFIG_NF_TABLES_NETDEV, CONFIG_NF_TABLES_ARP, CONFIG_NF_TABLES_INET): {error}"
            ),
        };
        Unsupported { why }
    }
}

impl From<std::io::Error> for Unsupported {
    fn from(error: std::io::Error) -> Unsupported {
        Unsupported { why: format!("no netlink socket: {error}") }
    }
}

/// Tries what the kernel has: the egress hook, else the output hooks. Nothing is left behind.
pub(crate) async fn layout(connection: &Connection<Nftables>) -> Result<Layout, TableError> {
    // What a predecessor made needs no try. (A chain that goes makes the next close of such a socket wait for tens of
    // milliseconds, in which a killed holder that comes back has no listeners.)
    for table in ours(connection, is_ours).await?.iter().filter(|table| table.family == Family::Netdev) {
        if rules::goes_out(connection, &table.name).await {
            return Ok(Layout::Egress);
        }
    }
    let name = Instance::default().gates(&format!("try-{}", std::process::id()));
    let mut refused = None;
    for layout in [Layout::Egress, Layout::Output] {
        // Removed in the transaction that makes them, so nobody ever sees them.
        let mut transaction = rules::make_arp(connection.transaction(), &name, 0, &[]).del_table(&name, Family::Arp);
        for family in layout.families() {
            transaction = rules::make(transaction, (layout, *family), (&name, "lo"), 0, &[]).del_table(&name, *family);
        }
        match transaction.commit(connection).await {
            Ok(()) => return Ok(layout),
            Err(error) => refused = Some(error),
        }
    }
    let source = refused.unwrap_or_else(nlink::Error::timeout);
    Err(failed("make a chain where frames of a link come in and go out", source))
}

/// Removes what dead instances left (the markers stay); the names of the tables that were there.
pub fn cleanup() -> Result<Vec<String>, TableError> {
    run(async { remove(&connect()?, is_ours).await })
}

/// An address as the key of an element.
pub(crate) fn key(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// The elements that guard an address: family, table, set, key.
pub(crate) fn guards(layout: Layout, instance: &Instance, vip: &Vip) -> Vec<(u8, String, &'static str, Vec<u8>)> {
    let address = key(vip.address);
    let set = guard_set(vip.address);
    let mut guards: Vec<_> =
        layout.places(set).map(|family| (family, instance.gates(&vip.interface), set, address.clone())).collect();
    if vip.address.is_ipv4() {
        let home = rules::home_key(&address, &vip.interface);
        guards.push((ARP, instance.table(), "guard", address));
        guards.push((ARP, instance.table(), "home", home));
    }
    guards
}

fn guard_set(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "guard4" } else { "guard6" }
}

/// A connection whose operations end in time. To be called within a runtime.
pub(crate) fn connect() -> Result<Connection<Nftables>, TableError> {
    let connection = Connection::<Nftables>::new().map_err(|source| failed("open a netlink socket", source))?;
    Ok(connection.timeout(TIMEOUT))
}

/// Makes or updates the tables.
pub(crate) async fn install(
    connection: &Connection<Nftables>,
    (layout, instance): (Layout, &Instance),
    vips: &[Vip],
) -> Result<(), TableError> {
    let present = ours(connection, |table| instance.has(table)).await?;
    for interface in interfaces(vips) {
        let table = instance.gates(interface);
        let there = families(&present, &table);
        let as_wanted = there.len() == layout.families().len() && layout.families().iter().all(|f| there.contains(f));
        if as_wanted && whole(connection, (layout, instance), interface).await? {
            for family in there {
                adopt(connection, &table, family).await?;
            }
        } else {
            let live = live(connection, &table, &there).await;
            make(connection, layout, (&table, interface), &live, &there).await?;
        }
    }
    for table in instance.arp() {
        if !families(&present, &table).contains(&Family::Arp) {
            make_arp(connection, &table, &[], false).await?;
        } else if rules::arp_intact(connection, &table).await? {
            adopt(connection, &table, Family::Arp).await?;
        } else {
            make_arp(connection, &table, &[], true).await?;
        }
    }
    Ok(())
}

/// The families in which there is a table of this name.
fn families(present: &[Table], name: &str) -> Vec<Family> {
    present.iter().filter(|table| table.name == name).map(|table| table.family).collect()
}

/// All of an instance's tables belong to a socket: nobody else can change them.
pub(crate) async fn owned(connection: &Connection<Nftables>, instance: &Instance) -> bool {
    let Ok(tables) = ours(connection, |table| instance.has(table)).await else { return false };
    tables.iter().all(|table| table.flags & OWNER != 0)
}

/// The tables, their sets, chains and rules are all there.
pub(crate) async fn intact(
    connection: &Connection<Nftables>,
    (layout, instance): (Layout, &Instance),
    vips: &[Vip],
) -> Result<bool, TableError> {
    for interface in interfaces(vips) {
        if !whole(connection, (layout, instance), interface).await? {
            return Ok(false);
        }
    }
    for table in instance.arp() {
        if !rules::arp_intact(connection, &table).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn whole(
    connection: &Connection<Nftables>,
    (layout, instance): (Layout, &Instance),
    interface: &str,
) -> Result<bool, TableError> {
    for family in layout.families() {
        if !rules::intact(connection, (layout, *family), (&instance.gates(interface), interface)).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the tables anew, those of an interface in one transaction: what is held first.
pub(crate) async fn repair(
    connection: &Connection<Nftables>,
    (layout, instance): (Layout, &Instance),
    vips: &[Vip],
    held: &[(Vip, Time)],
    guard: Duration,
) -> Result<(), TableError> {
    let present = ours(connection, |table| instance.has(table)).await?;
    let mut order: Vec<&str> = interfaces(vips);
    order.sort_by_key(|interface| !held.iter().any(|(vip, _)| vip.interface == *interface));
    for interface in order {
        let mut live = Vec::new();
        for (vip, end) in held.iter().filter(|(vip, _)| vip.interface == interface) {
            let left = end.left(clock::now());
            let sets = if vip.address.is_ipv4() { ["answer4", "accept4"] } else { ["answer6", "accept6"] };
            live.extend(sets.map(|set| (set, vip.address, left)));
        }
        for vip in vips.iter().filter(|vip| vip.interface == interface) {
            live.push((guard_set(vip.address), vip.address, guard));
        }
        let table = instance.gates(interface);
        make(connection, layout, (&table, interface), &live, &families(&present, &table)).await?;
    }
    let homes: Vec<(Vip, Duration)> =
        vips.iter().filter(|vip| vip.address.is_ipv4()).map(|vip| (vip.clone(), guard)).collect();
    for (nth, table) in instance.arp().iter().enumerate() {
        let homes = if nth == 0 { homes.as_slice() } else { &[] };
        make_arp(connection, table, homes, families(&present, table).contains(&Family::Arp)).await?;
    }
    Ok(())
}

/// Removes these tables.
pub(crate) async fn remove(
    connection: &Connection<Nftables>,
    which: impl Fn(&Table) -> bool,
) -> Result<Vec<String>, TableError> {
    let mut removed = Vec::new();
    for Table { name: table, family, .. } in ours(connection, which).await? {
        match connection.del_table_if_exists(table.as_str(), family).await {
            Ok(true) => removed.push(format!("{} {table}", family.name())),
            Ok(false) => {}
            Err(error) if error.is_permission_denied() => return Err(TableError::Owned { table }),
            Err(source) => return Err(failed(&format!("remove table {table}"), source)),
        }
    }
    Ok(removed)
}

/// Runs an operation to its end, also from within an asynchronous caller. (No asynchronous closures here: rustc 1.95 was
/// seen to lose what a match guard in one of them had decided.)
pub(crate) fn run<T: Send>(work: impl Future<Output = Result<T, TableError>> + Send) -> Result<T, TableError> {
    let on_a_thread = || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(failed("open a netlink socket", error.into())),
    };
    std::thread::scope(|scope| match scope.spawn(on_a_thread).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// The sets of gates.
pub(crate) const GATES: &[&str] = &["answer4", "accept4", "answer6", "accept6"];
/// The sets of guarded addresses.
pub(crate) const GUARDS: &[&str] = &["guard4", "guard6"];

/// Addresses in these sets, with the longest time left.
pub(crate) async fn left(
    connection: &Connection<Nftables>,
    instance: &Instance,
    sets: &[&str],
) -> Result<Vec<(IpAddr, Duration)>, TableError> {
    let mut all: BTreeMap<IpAddr, Duration> = BTreeMap::new();
    for table in ours(connection, |table| instance.has_gates(table)).await? {
        for set in sets {
            for (address, left) in elements(connection, (&table.name, table.family), set).await {
                let longest = all.entry(address).or_default();
                *longest = left.max(*longest);
            }
        }
    }
    Ok(all.into_iter().collect())
}

pub(crate) fn failed(what: &str, source: nlink::Error) -> TableError {
    TableError::Kernel { what: what.to_owned(), source }
}

/// Interfaces of the addresses, each once.
fn interfaces(vips: &[Vip]) -> Vec<&str> {
    let set: BTreeSet<&str> = vips.iter().map(|vip| vip.interface.as_str()).collect();
    set.into_iter().collect()
}

/// The tables of this network namespace that are meant.
async fn ours(connection: &Connection<Nftables>, which: impl Fn(&Table) -> bool) -> Result<Vec<Table>, TableError> {
    let tables = connection.list_tables().await.map_err(|source| failed("list tables", source))?;
    Ok(tables.into_iter().filter(which).collect())
}

/// An element to be: set, address, time left.
type Live = (&'static str, IpAddr, Duration);

/// The elements of an interface's tables that live.
async fn live(connection: &Connection<Nftables>, table: &str, families: &[Family]) -> Vec<Live> {
    let mut live: Vec<Live> = Vec::new();
    for family in families {
        // The layout may have been another one: what is asked for and not there has no elements.
        for set in Layout::Egress.sets(Family::Netdev) {
            for (address, left) in elements(connection, (table, *family), set).await {
                if !live.iter().any(|(known, element, _)| known == set && *element == address) {
                    live.push((set, address, left.saturating_sub(COPYING)));
                }
            }
        }
    }
    live
}

async fn elements(
    connection: &Connection<Nftables>,
    (table, family): (&str, Family),
    set: &str,
) -> Vec<(IpAddr, Duration)> {
    let elements = connection.list_set_elements(table, set, family).await.unwrap_or_default();
    let read = |element: &SetElement| {
        let address = if let Ok(octets) = <[u8; 4]>::try_from(element.key()) {
            IpAddr::from(octets)
        } else {
            IpAddr::from(<[u8; 16]>::try_from(element.key()).ok()?)
        };
        Some((address, element.expiration().or(element.timeout())?))
    };
    elements.iter().filter_map(read).collect()
}

/// Makes an interface's tables, in place of those that are there. Old kernels know no owners.
async fn make(
    connection: &Connection<Nftables>,
    layout: Layout,
    (table, interface): (&str, &str),
    live: &[Live],
    there: &[Family],
) -> Result<(), TableError> {
    for flags in [OWNED, 0] {
        let mut transaction = connection.transaction();
        for family in there {
            transaction = transaction.del_table(table, *family);
        }
        for family in layout.families() {
            transaction = rules::make(transaction, (layout, *family), (table, interface), flags, live);
        }
        match transaction.commit(connection).await {
            Err(error) if flags == OWNED && knows_no_owner(&error) => {}
            Err(error) if !there.is_empty() && error.is_permission_denied() => {
                return Err(TableError::Owned { table: table.to_owned() });
            }
            Err(error) if matches!(error.errno(), Some(libc::ENODEV | libc::ENOENT)) => {
                return Err(TableError::NoInterface { interface: interface.to_owned() });
            }
            other => return other.map_err(|source| failed(&format!("make table {table}"), source)),
        }
    }
    Ok(())
}

async fn make_arp(
    connection: &Connection<Nftables>,
    table: &str,
    homes: &[(Vip, Duration)],
    replaces: bool,
) -> Result<(), TableError> {
    for flags in [OWNED, 0] {
        let mut transaction = connection.transaction();
        if replaces {
            transaction = transaction.del_table(table, Family::Arp);
        }
        match rules::make_arp(transaction, table, flags, homes).commit(connection).await {
            Err(error) if flags == OWNED && knows_no_owner(&error) => {}
            Err(error) if replaces && error.is_permission_denied() => {
                return Err(TableError::Owned { table: table.to_owned() });
            }
            other => return other.map_err(|source| failed(&format!("make table {table}"), source)),
        }
    }
    Ok(())
}

/// Old kernels refuse the flags of a table that has an owner and outlives it.
fn knows_no_owner(error: &nlink::Error) -> bool {
    matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}

/// Takes over a table whose owner is gone. One that never had an owner stays as it is.
async fn adopt(connection: &Connection<Nftables>, table: &str, family: Family) -> Result<(), TableError> {
    match connection.transaction().update_table(table, family, OWNED).commit(connection).await {
        Err(error) if error.is_permission_denied() => Err(TableError::Owned { table: table.to_owned() }),
        Err(error) if knows_no_owner(&error) => Ok(()),
        Err(source) => Err(failed(&format!("take over table {table}"), source)),
        Ok(()) => Ok(()),
    }
}

/// A set of our tables.
fn set(table: &str, name: &str, family: Family, key: SetKeyType) -> Set {
    Set::new(table, name).family(family).key_type(key).per_element_timeouts()
}
