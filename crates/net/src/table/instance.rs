//! Whose tables they are. Several daemons may run in one network namespace when they do different things: each has tables
//! of its own, by names that say what it does.
//!
//! | | gates of an interface | ARP on other interfaces | ports |
//! | --- | --- | --- | --- |
//! | nothing distinguishes it | `baton-eth0` | `arp baton` | `inet baton` |
//! | by what it claims | `baton/plndr-cp-lock/eth0` | `arp baton/plndr-cp-lock` | `inet baton/plndr-cp-lock` |
//!
//! Of several claims the first names the tables; for each of the others it owns an ARP table, so that nobody else claims it.

use nlink::netlink::nftables::types::{Family, Table};

use super::marker;

/// The ARP table and the ports of an instance that nothing distinguishes.
const PLAIN: &str = "baton";
/// What the names of its gate tables begin with; the interface follows.
const PLAIN_GATES: &str = "baton-";
/// What all other names begin with. No interface has a slash in its name.
const CLAIMED: &str = "baton/";
/// Names of tables are shorter than 256 bytes, and the interface needs some of them.
const CLAIM_MAX: usize = 200;

/// One of the daemons of a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    claims: Vec<String>,
}

impl Instance {
    /// What it does and no other here may do. Whatever `nft` does not read in a name is written as an underline.
    #[must_use]
    pub fn of(claims: impl IntoIterator<Item = String>) -> Instance {
        let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
        let claim = |text: String| text.chars().map(legal).take(CLAIM_MAX).collect();
        Instance { claims: claims.into_iter().map(claim).collect() }
    }

    /// What tells it from others, in the names of files too; empty when nothing does.
    #[must_use]
    pub fn name(&self) -> &str {
        self.claims.first().map_or("", String::as_str)
    }

    /// The gate tables of an interface.
    #[must_use]
    pub fn gates(&self, interface: &str) -> String {
        match self.claims.first() {
            None => format!("{PLAIN_GATES}{interface}"),
            Some(claim) => format!("{CLAIMED}{claim}/{interface}"),
        }
    }

    /// The table of its ports, and the one that keeps ARP for its addresses on their interfaces.
    #[must_use]
    pub fn table(&self) -> String {
        self.claims.first().map_or_else(|| PLAIN.to_owned(), |claim| format!("{CLAIMED}{claim}"))
    }

    /// The ARP tables that it owns: its own, and one for each further claim.
    pub(super) fn arp(&self) -> Vec<String> {
        let further = self.claims.iter().skip(1).map(|claim| format!("{CLAIMED}{claim}"));
        [self.table()].into_iter().chain(further).collect()
    }

    /// One of its gate tables.
    pub(super) fn has_gates(&self, table: &Table) -> bool {
        self.names_gates(table.family, &table.name)
    }

    /// One of its tables, but for ports and markers.
    pub(crate) fn has(&self, table: &Table) -> bool {
        self.names(table.family, &table.name)
    }

    fn names_gates(&self, family: Family, name: &str) -> bool {
        let interface = name.strip_prefix(&self.gates(""));
        are_gates(family, name) && interface.is_some_and(|interface| !interface.contains('/'))
    }

    fn names(&self, family: Family, name: &str) -> bool {
        self.names_gates(family, name) || family == Family::Arp && self.arp().iter().any(|own| own == name)
    }
}

/// Some instance's table, whichever's, but for ports and markers.
pub(super) fn is_ours(table: &Table) -> bool {
    are_ours(table.family, &table.name)
}

/// Some instance's table of ports.
pub(crate) fn are_ports(table: &Table) -> bool {
    table.family == Family::Inet && is_plain(&table.name)
}

fn are_ours(family: Family, name: &str) -> bool {
    are_gates(family, name) || family == Family::Arp && is_plain(name)
}

fn are_gates(family: Family, name: &str) -> bool {
    let named = match name.strip_prefix(CLAIMED) {
        Some(rest) => rest.contains('/'),
        None => name.starts_with(PLAIN_GATES),
    };
    match family {
        Family::Netdev | Family::Arp => named,
        Family::Inet => named && name != marker::TABLE,
        _ => false,
    }
}

/// A name without an interface.
fn is_plain(name: &str) -> bool {
    name == PLAIN || name.strip_prefix(CLAIMED).is_some_and(|claim| !claim.contains('/'))
}

/// The name of some table of ours.
pub(super) fn is_our_name(name: &str) -> bool {
    name == PLAIN || name.starts_with(PLAIN_GATES) || name.starts_with(CLAIMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_knows_its_own_tables() {
        let claims = ["a/b", "c"].map(str::to_owned);
        let (plain, claimed) = (Instance::default(), Instance::of(claims));
        assert_eq!(
            (claimed.name(), claimed.gates("e/0"), claimed.table()),
            ("a_b", "baton/a_b/e/0".into(), "baton/a_b".into())
        );
        assert_eq!(claimed.arp(), ["baton/a_b", "baton/c"]);
        // Family, name: the plain one's, the claimed one's, somebody's gates, somebody's ports.
        let check = |family, name: &str, whose: [bool; 4]| {
            let ports = family == Family::Inet && is_plain(name);
            let are = [plain.names(family, name), claimed.names(family, name), are_ours(family, name), ports];
            assert_eq!(are, whose, "{name}");
            assert!(is_our_name(name) || whose == [false; 4], "{name}");
        };
        check(Family::Netdev, "baton-e0", [true, false, true, false]);
        check(Family::Netdev, "baton/a_b/e0", [false, true, true, false]);
        check(Family::Netdev, "baton/c/e0", [false, false, true, false]);
        check(Family::Arp, "baton", [true, false, true, false]);
        check(Family::Arp, "baton/a_b", [false, true, true, false]);
        check(Family::Arp, "baton/c", [false, true, true, false]);
        check(Family::Arp, "baton/d", [false, false, true, false]);
        check(Family::Arp, "baton/a_b/e0", [false, true, true, false]);
        check(Family::Inet, "baton-e0", [true, false, true, false]);
        check(Family::Inet, "baton-marks", [false, false, false, false]);
        check(Family::Inet, "baton", [false, false, false, true]);
        check(Family::Inet, "baton/a_b", [false, false, false, true]);
        check(Family::Inet, "baton/a_b/e0", [false, true, true, false]);
        check(Family::Netdev, "batons", [false; 4]);
        check(Family::Ip, "baton-e0", [false; 4]);
    }
}
