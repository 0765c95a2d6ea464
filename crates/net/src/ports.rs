//! Ports of addresses: which of them others may reach, and which lead to another port of this host.
//!
//! ```text
//! table inet baton (or of one of several instances) {
//!   set closed4, closed6     addresses of which only the allowed ports are reached
//!   set allowed4, allowed6   address . protocol . port
//!   chain input  { filter: from lo, in allowed: accept; ICMP errors and neighbour discovery: accept; to a closed address: drop }
//!   chain arriving, leaving { nat: a redirected port: the other port of the same address }
//! }
//! ```
//!
//! Packets that kube-proxy has translated no longer carry the address when they come to `input`, so its ways stay as
//! they are; what is dropped is what would reach the host itself (its SSH, say) through a Service's address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use nlink::netlink::nftables::types::{
    BaseChain, Chain, CmpOp, Family, FilterHook, MetaKey, NatHook, NatStatement, PayloadBase, Priority, Register, Rule,
    Set, SetElement, SetKeyType, Verdict,
};
use nlink::netlink::nftables::{Expr, LookupExpr, Transaction};

use crate::table::{self, Instance, TableError, key};

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const ECHO: u8 = 8;
const ECHO6: u8 = 128;
/// `IFNAMSIZ`: how the kernel keeps interface names in registers.
const NAME: usize = 16;
/// Before kube-proxy, which translates at -100.
const BEFORE_OTHERS: i32 = -110;

/// What is asked of the kernel, complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Addresses of which only the allowed ports are reached.
    pub closed: BTreeSet<IpAddr>,
    /// Address, protocol number, port.
    pub allowed: BTreeSet<(IpAddr, u8, u16)>,
    /// TCP connections to the address arrive at another port of it.
    pub redirected: BTreeMap<SocketAddr, u16>,
}

impl Ports {
    /// Puts the instance's table in place, in one transaction; an empty one is removed. It belongs to nobody's socket.
    pub fn apply(&self, instance: &Instance) -> Result<(), TableError> {
        let name = instance.table();
        table::run(async {
            let connection = table::connect()?;
            if *self == Ports::default() {
                let removed = connection.del_table_if_exists(name.as_str(), Family::Inet).await.map(drop);
                return removed.map_err(|source| table::failed(&format!("remove table inet {name}"), source));
            }
            let tables = connection.list_tables_in(Family::Inet).await;
            let tables = tables.map_err(|source| table::failed("list tables", source))?;
            let mut anew = connection.transaction();
            if tables.iter().any(|table| table.name == name) {
                anew = anew.del_table(&name, Family::Inet);
            }
            let made = self.make(&name, anew.add_table(&name, Family::Inet)).commit(&connection).await;
            made.map_err(|source| table::failed(&format!("make table inet {name}"), source))
        })
    }

    fn make(&self, table: &str, mut transaction: Transaction) -> Transaction {
        for v6 in [false, true] {
            let addresses = self.closed.iter().filter(|a| a.is_ipv6() == v6).map(|a| SetElement::new(key(*a)));
            transaction = filled(transaction, closed(table, v6), addresses.collect());
            let ports = self.allowed.iter().filter(|(a, ..)| a.is_ipv6() == v6);
            let ports = ports.map(|(a, protocol, port)| SetElement::new(port_key(*a, *protocol, *port)));
            transaction = filled(transaction, allowed(table, v6), ports.collect());
        }
        if !self.closed.is_empty() {
            let base = BaseChain::filter(FilterHook::Input, Priority::Filter);
            transaction = chain(transaction, table, "input", base);
            for body in [own(), admit(false), admit(true), errors(false), errors(true), refuse(false), refuse(true)] {
                transaction = transaction.add_rule(rule(table, "input", body));
            }
        }
        if !self.redirected.is_empty() {
            let hooks = [("arriving", NatHook::Prerouting), ("leaving", NatHook::Output)];
            for (name, hook) in hooks {
                transaction = chain(transaction, table, name, BaseChain::nat(hook, Priority::Custom(BEFORE_OTHERS)));
                for (from, to) in &self.redirected {
                    let family = if from.is_ipv6() { Family::Ip6 } else { Family::Ip };
                    let lead = Rule::new(table, name).family(Family::Inet).match_daddr(from.ip(), whole(from.ip()));
                    let lead = lead.match_tcp_dport(from.port()).nat(NatStatement::dnat_to_port(family, *to));
                    transaction = transaction.add_rule(lead);
                }
            }
        }
        transaction
    }
}

/// Removes all such tables; the names of those that were there.
pub fn remove() -> Result<Vec<String>, TableError> {
    table::run(async { table::remove(&table::connect()?, table::are_ports).await })
}

fn whole(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn chain(transaction: Transaction, table: &str, name: &str, base: BaseChain) -> Transaction {
    // The names are short.
    let Ok(chain) = Chain::new(table, name) else { return transaction };
    transaction.add_chain(chain.family(Family::Inet).base(base))
}

fn rule(table: &str, chain: &str, body: Vec<Expr>) -> Rule {
    Rule::new(table, chain).family(Family::Inet).expressions(body)
}

fn filled(transaction: Transaction, set: Set, elements: Vec<SetElement>) -> Transaction {
    let transaction = transaction.add_set(set.clone());
    if elements.is_empty() { transaction } else { transaction.add_set_elements(&set, &elements) }
}

fn address_type(v6: bool) -> SetKeyType {
    if v6 { SetKeyType::Ipv6Addr } else { SetKeyType::Ipv4Addr }
}

fn closed(table: &str, v6: bool) -> Set {
    Set::new(table, closed_name(v6)).family(Family::Inet).key_type(address_type(v6))
}

fn allowed(table: &str, v6: bool) -> Set {
    let key = vec![address_type(v6), SetKeyType::InetProto, SetKeyType::InetService];
    Set::new(table, allowed_name(v6)).family(Family::Inet).key_type(SetKeyType::Concat(key))
}

fn closed_name(v6: bool) -> &'static str {
    if v6 { "closed6" } else { "closed4" }
}

fn allowed_name(v6: bool) -> &'static str {
    if v6 { "allowed6" } else { "allowed4" }
}

/// The key of an allowed port: as in the registers, each part padded to words.
fn port_key(address: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    let mut bytes = key(address);
    bytes.extend([protocol, 0, 0, 0]);
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn equals(load: Expr, value: &[u8]) -> [Expr; 2] {
    [load, Expr::Cmp { sreg: Register::R0, op: CmpOp::Eq, data: value.to_vec() }]
}

fn meta(key: MetaKey) -> Expr {
    Expr::Meta { dreg: Register::R0, key }
}

fn of_family(v6: bool) -> [Expr; 2] {
    equals(meta(MetaKey::NfProto), &[if v6 { IPV6 } else { IPV4 }])
}

fn destination(v6: bool, into: Register) -> Expr {
    let (offset, len) = if v6 { (24, 16) } else { (16, 4) };
    Expr::Payload { dreg: into, base: PayloadBase::Network, offset, len }
}

/// This host with itself: its source is the address that it asks for.
fn own() -> Vec<Expr> {
    let mut name = b"lo".to_vec();
    name.resize(NAME, 0);
    let mut body = equals(meta(MetaKey::IifName), &name).to_vec();
    body.push(Expr::Verdict(Verdict::Accept));
    body
}

/// The address, the protocol and the port are in the set: accept.
fn admit(v6: bool) -> Vec<Expr> {
    let (protocol, port) =
        if v6 { (Register::Reg32_04, Register::Reg32_05) } else { (Register::Reg32_01, Register::Reg32_02) };
    let mut body = of_family(v6).to_vec();
    body.extend([
        destination(v6, Register::Reg32_00),
        Expr::Meta { dreg: protocol, key: MetaKey::L4Proto },
        // Ports are at the same place in TCP, UDP and SCTP.
        Expr::Payload { dreg: port, base: PayloadBase::Transport, offset: 2, len: 2 },
        Expr::Lookup(LookupExpr::new(allowed_name(v6), Register::Reg32_00)),
        Expr::Verdict(Verdict::Accept),
    ]);
    body
}

/// Errors about connections, and neighbour discovery, pass: everything of ICMP but the echo request.
fn errors(v6: bool) -> Vec<Expr> {
    let (protocol, echo) = if v6 { (ICMPV6, ECHO6) } else { (ICMP, ECHO) };
    let mut body = of_family(v6).to_vec();
    body.extend(equals(meta(MetaKey::L4Proto), &[protocol]));
    body.extend([
        Expr::Payload { dreg: Register::R0, base: PayloadBase::Transport, offset: 0, len: 1 },
        Expr::Cmp { sreg: Register::R0, op: CmpOp::Neq, data: vec![echo] },
        Expr::Verdict(Verdict::Accept),
    ]);
    body
}

fn refuse(v6: bool) -> Vec<Expr> {
    let mut body = of_family(v6).to_vec();
    body.extend([
        destination(v6, Register::R0),
        Expr::Lookup(LookupExpr::new(closed_name(v6), Register::R0)),
        Expr::Verdict(Verdict::Drop),
    ]);
    body
}
