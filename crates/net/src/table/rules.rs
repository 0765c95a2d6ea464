//! What is in the tables: sets, chains and rules, as expressions; and whether it is all there.
//!
//! The rules of a gate table, in nft's words (IPv6 likewise):
//!
//! ```text
//! in:  icmpv6 type nd-neighbor-solicit ip6 daddr @answer6 accept
//!      meta protocol ip ip daddr @guard4 ip daddr != @accept4 meta pkttype host drop
//! out: meta protocol arp arp saddr ip @guard4 arp saddr ip != @answer4 drop
//!      meta protocol ip ip saddr @guard4 ip saddr != @accept4 drop
//!      icmpv6 type nd-neighbor-advert icmpv6 taddr @guard6 icmpv6 taddr != @answer6 drop
//!      icmpv6 type nd-neighbor-solicit ip6 saddr @guard6 ip6 saddr != @answer6 drop
//!      icmpv6 type nd-neighbor-advert ip6 saddr @answer6 accept
//!      meta protocol ip6 ip6 saddr @guard6 ip6 saddr != @accept6 drop
//!      ether saddr 00:00:5e:00:01:00/40 ip protocol igmp drop
//!      ether saddr 00:00:5e:00:02:00/40 icmpv6 type mld2-listener-report drop
//! ```
//!
//! An address that is for routing only is found (`answer`) and accepts nothing else (`accept` stays shut). What joins a group
//! on a link with a virtual MAC address is no advert, and would make switches think that a backup is the master.
//!
//! Without the egress hook `out` is in the output hooks of the families `arp` and `inet`, each rule behind
//! `meta oifname IF`.
//!
//! Our own probes pass: they name no sender. `accept` is closed for other hosts' frames only if those are addressed to
//! this host (`pkttype host`), so a bridge or a router on the way keeps forwarding.

use std::time::Duration;

use baton_core::settings::Vip;
use nlink::netlink::nftables::types::{
    BaseChain, Chain, CmpOp, Family, FilterHook, MetaKey, PayloadBase, PktType, Priority, Register, Rule, Set,
    SetElement, SetKeyType, Verdict,
};
use nlink::netlink::nftables::{ChainInfo, Expr, LookupExpr, Transaction};
use nlink::netlink::{Connection, Nftables};

use super::{Layout, Live, TableError, failed, key, set};

/// Before everything else that others may hook there.
const PRIORITY: i32 = -400;
const IN: &str = "in";
const OUT: &str = "out";
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const LISTENER_REPORT: u8 = 143;
const IGMP: u8 = 2;
/// `IFNAMSIZ`: how the kernel keeps interface names in registers.
const NAME: usize = 16;
/// nft's number for the type "ifname", for `nft list`.
const IFNAME_TYPE: u32 = 41;

/// An address in a packet.
#[derive(Clone, Copy)]
struct Field {
    base: PayloadBase,
    offset: u32,
    length: u32,
}

const fn network(offset: u32, length: u32) -> Field {
    Field { base: PayloadBase::Network, offset, length }
}

const IP_SOURCE: Field = network(12, 4);
const IP_DESTINATION: Field = network(16, 4);
const IP6_SOURCE: Field = network(8, 16);
const IP6_DESTINATION: Field = network(24, 16);
/// Of a MAC address what all virtual routers share.
const ETHER_SOURCE: Field = Field { base: PayloadBase::LinkLayer, offset: 6, length: 5 };
const ARP_SENDER: Field = network(14, 4);
/// The target of a neighbour solicitation or advertisement.
const ND_TARGET: Field = Field { base: PayloadBase::Transport, offset: 8, length: 16 };

/// Adds to a transaction what makes an interface's table of one family, with the elements that live in it.
pub(super) fn make(
    mut transaction: Transaction,
    (layout, family): (Layout, Family),
    (table, interface): (&str, &str),
    flags: u32,
    live: &[Live],
) -> Transaction {
    transaction = transaction.add_table_with_flags(table, family, flags);
    for name in layout.sets(family) {
        let of = gate_set(table, family, name);
        let elements: Vec<SetElement> = live
            .iter()
            .filter(|(set, _, left)| set == name && *left >= Duration::from_millis(1))
            .map(|(_, address, left)| SetElement::new(key(*address)).with_timeout(*left))
            .collect();
        transaction = transaction.add_set(of.clone());
        if !elements.is_empty() {
            transaction = transaction.add_set_elements(&of, &elements);
        }
    }
    for (name, hook, rules) in chains(layout, family, table, interface) {
        // Both names are short and constant, and interface names are shorter than table names may be.
        let Ok(chain) = Chain::new(table, name) else { return transaction };
        let base = BaseChain::filter(hook, Priority::Custom(PRIORITY));
        transaction = transaction.add_chain(chain.family(family).base(base));
        transaction = rules.into_iter().fold(transaction, Transaction::add_rule);
    }
    transaction
}

/// A transaction that makes the table that keeps ARP for a VIP on its own interface.
pub(super) fn make_arp(transaction: Transaction, table: &str, flags: u32, homes: &[(Vip, Duration)]) -> Transaction {
    let (guard, home) = (set(table, "guard", Family::Arp, SetKeyType::Ipv4Addr), home_set(table));
    let mut transaction =
        transaction.add_table_with_flags(table, Family::Arp, flags).add_set(guard.clone()).add_set(home.clone());
    let element = |key: Vec<u8>, left: &Duration| SetElement::new(key).with_timeout(*left);
    if !homes.is_empty() {
        let guards: Vec<SetElement> = homes.iter().map(|(vip, left)| element(key(vip.address), left)).collect();
        let homes: Vec<SetElement> =
            homes.iter().map(|(vip, left)| element(home_key(&key(vip.address), &vip.interface), left)).collect();
        transaction = transaction.add_set_elements(&guard, &guards).add_set_elements(&home, &homes);
    }
    let Ok(chain) = Chain::new(table, OUT) else { return transaction };
    let base = BaseChain::filter(FilterHook::Output, Priority::Custom(PRIORITY));
    let sender = Register::Reg32_00;
    let mut exprs = vec![load(ARP_SENDER, Register::R0), lookup("guard", Register::R0, false)];
    exprs.extend([
        load(ARP_SENDER, sender),
        Expr::Meta { dreg: Register::Reg32_01, key: MetaKey::OifName },
        lookup("home", sender, true),
        Expr::Verdict(Verdict::Drop),
    ]);
    let rule = Rule::new(table, OUT).family(Family::Arp).expressions(exprs);
    transaction.add_chain(chain.family(Family::Arp).base(base)).add_rule(rule)
}

/// The key of an element that says where an address is at home: as in the registers, each part padded to words.
pub(super) fn home_key(address: &[u8], interface: &str) -> Vec<u8> {
    let mut key = address.to_vec();
    key.extend(interface.as_bytes().iter().take(NAME - 1));
    key.resize(address.len() + NAME, 0);
    key
}

/// An interface's table of one family is there with its sets, its chains where they belong, and their rules.
pub(super) async fn intact(
    connection: &Connection<Nftables>,
    (layout, family): (Layout, Family),
    (table, interface): (&str, &str),
) -> Result<bool, TableError> {
    let wanted: Vec<(&str, usize)> =
        chains(layout, family, table, interface).iter().map(|(name, _, rules)| (*name, rules.len())).collect();
    let in_place = |chain: &ChainInfo| {
        let on_the_interface =
            chain.device.as_deref() == Some(interface) || chain.devices.iter().any(|d| d == interface);
        family != Family::Netdev || on_the_interface
    };
    whole(connection, (table, family), layout.sets(family), &wanted, in_place).await
}

/// The table has a chain at its interface's egress.
pub(super) async fn goes_out(connection: &Connection<Nftables>, table: &str) -> bool {
    let chains = connection.list_chains_in(table, Family::Netdev).await.unwrap_or_default();
    chains.iter().any(|chain| chain.name == OUT)
}

/// The ARP table is there with its sets, chain and rule.
pub(super) async fn arp_intact(connection: &Connection<Nftables>, table: &str) -> Result<bool, TableError> {
    whole(connection, (table, Family::Arp), &["guard", "home"], &[(OUT, 1)], |_| true).await
}

async fn whole(
    connection: &Connection<Nftables>,
    (table, family): (&str, Family),
    sets: &[&str],
    chains: &[(&str, usize)],
    in_place: impl Fn(&ChainInfo) -> bool,
) -> Result<bool, TableError> {
    let missing = |result: nlink::Result<bool>| match result {
        Err(error) if error.is_not_found() => Ok(false),
        Err(source) => Err(failed(&format!("read table {table}"), source)),
        Ok(whole) => Ok(whole),
    };
    let look = async {
        let there = connection.list_sets_in(table, family).await?;
        let hooked = connection.list_chains_in(table, family).await?;
        let rules = connection.list_rules(table, family).await?;
        let has_sets = sets.iter().all(|name| there.iter().any(|set| set.name == *name));
        let has_rules = chains.iter().all(|(name, count)| {
            let hooked = hooked.iter().any(|chain| chain.name == *name && chain.hook.is_some() && in_place(chain));
            hooked && rules.iter().filter(|rule| rule.chain == *name).count() == *count
        });
        Ok(has_sets && has_rules)
    };
    missing(look.await)
}

fn gate_set(table: &str, family: Family, name: &str) -> Set {
    let key = if name.ends_with('4') { SetKeyType::Ipv4Addr } else { SetKeyType::Ipv6Addr };
    set(table, name, family, key)
}

fn home_set(table: &str) -> Set {
    let name = SetKeyType::Other { type_id: IFNAME_TYPE, len: 16 };
    set(table, "home", Family::Arp, SetKeyType::Concat(vec![SetKeyType::Ipv4Addr, name]))
}

/// The chains of an interface's table of one family, with their rules.
fn chains(layout: Layout, family: Family, table: &str, interface: &str) -> Vec<(&'static str, FilterHook, Vec<Rule>)> {
    let rules = |chain: &str, bodies: Vec<Vec<Expr>>| {
        let rule = |body| Rule::new(table, chain).family(family).expressions(body);
        bodies.into_iter().map(rule).collect::<Vec<Rule>>()
    };
    let from_here = |bodies: Vec<Vec<Expr>>| {
        let bodies = bodies.into_iter().map(|body| [out_of(interface), body].concat());
        rules(OUT, bodies.collect())
    };
    let incoming = (IN, FilterHook::ingress(interface), rules(IN, packets_to_it(layout)));
    match (layout, family) {
        (Layout::Egress, _) => {
            let outgoing = [arp_from_it(), packets_from_it(), memberships()].concat();
            vec![incoming, (OUT, FilterHook::egress(interface), rules(OUT, outgoing))]
        }
        (Layout::Output, Family::Netdev) => vec![incoming],
        (Layout::Output, Family::Arp) => vec![(OUT, FilterHook::Output, from_here(arp_from_it()))],
        (Layout::Output, _) => vec![(OUT, FilterHook::Output, from_here(packets_from_it()))],
    }
}

fn packets_to_it(layout: Layout) -> Vec<Vec<Expr>> {
    // Where there is no such set here, neighbours ask again by multicast.
    let asked = layout.sets(Family::Netdev).contains(&"answer6");
    let asked = asked.then(|| [discovery(SOLICITATION), within(IP6_DESTINATION, "answer6"), accept_it()].concat());
    let to_this_host = equals(Expr::Meta { dreg: Register::R0, key: MetaKey::PktType }, &[PktType::Host as u8]);
    let rules = [
        [protocol(IPV4), shut(IP_DESTINATION, "guard4", "accept4"), to_this_host.clone(), drop_it()].concat(),
        [protocol(IPV6), shut(IP6_DESTINATION, "guard6", "accept6"), to_this_host, drop_it()].concat(),
    ];
    asked.into_iter().chain(rules).collect()
}

fn arp_from_it() -> Vec<Vec<Expr>> {
    vec![[protocol(ARP), shut(ARP_SENDER, "guard4", "answer4"), drop_it()].concat()]
}

fn packets_from_it() -> Vec<Vec<Expr>> {
    vec![
        [protocol(IPV4), shut(IP_SOURCE, "guard4", "accept4"), drop_it()].concat(),
        [discovery(ADVERTISEMENT), shut(ND_TARGET, "guard6", "answer6"), drop_it()].concat(),
        [discovery(SOLICITATION), shut(IP6_SOURCE, "guard6", "answer6"), drop_it()].concat(),
        [discovery(ADVERTISEMENT), within(IP6_SOURCE, "answer6"), accept_it()].concat(),
        [protocol(IPV6), shut(IP6_SOURCE, "guard6", "accept6"), drop_it()].concat(),
    ]
}

/// Reports of group memberships with a virtual MAC address.
fn memberships() -> Vec<Vec<Expr>> {
    let from = |mac: [u8; 5]| equals(load(ETHER_SOURCE, Register::R0), &mac);
    let igmp = equals(Expr::Meta { dreg: Register::R0, key: MetaKey::L4Proto }, &[IGMP]);
    vec![
        [protocol(IPV4), igmp, from([0, 0, 0x5e, 0, 1]), drop_it()].concat(),
        [discovery(LISTENER_REPORT), from([0, 0, 0x5e, 0, 2]), drop_it()].concat(),
    ]
}

fn discovery(kind: u8) -> Vec<Expr> {
    let message = Field { base: PayloadBase::Transport, offset: 0, length: 1 };
    let icmpv6 = equals(Expr::Meta { dreg: Register::R0, key: MetaKey::L4Proto }, &[ICMPV6]);
    [protocol(IPV6), icmpv6, equals(load(message, Register::R0), &[kind])].concat()
}

fn out_of(interface: &str) -> Vec<Expr> {
    let mut name = interface.as_bytes().to_vec();
    name.resize(NAME, 0);
    equals(Expr::Meta { dreg: Register::R0, key: MetaKey::OifName }, &name)
}

fn accept_it() -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Accept)]
}

fn drop_it() -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Drop)]
}

fn within(field: Field, set: &str) -> Vec<Expr> {
    vec![load(field, Register::R0), lookup(set, Register::R0, false)]
}

/// The address is guarded and its gate is not open.
fn shut(field: Field, guard: &str, gate: &str) -> Vec<Expr> {
    vec![load(field, Register::R0), lookup(guard, Register::R0, false), lookup(gate, Register::R0, true)]
}

fn protocol(protocol: u16) -> Vec<Expr> {
    equals(Expr::Meta { dreg: Register::R0, key: MetaKey::Protocol }, &protocol.to_be_bytes())
}

fn equals(load: Expr, value: &[u8]) -> Vec<Expr> {
    vec![load, Expr::Cmp { sreg: Register::R0, op: CmpOp::Eq, data: value.to_vec() }]
}

fn load(field: Field, into: Register) -> Expr {
    Expr::Payload { dreg: into, base: field.base, offset: field.offset, len: field.length }
}

fn lookup(set: &str, register: Register, inverted: bool) -> Expr {
    let lookup = LookupExpr::new(set, register);
    Expr::Lookup(if inverted { lookup.invert() } else { lookup })
}
