//! What a file asks of the host's own network: addresses, routes and rules that stay, and those of masters.
//!
//! A thread of its own keeps them: what another program removes is put back within a second, and who tracks it is told.
//! At the end, and when they are asked for no more, they are removed.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use baton_config::keepalived::model::{self, Config, Family, Instance};
use baton_core::keeper::Mac;
use baton_net::rtnl::{Dress, Hop, Kind, Lasting, Route, Rtnl, Rule};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

/// How often it is looked whether everything is still there.
const LOOK: Duration = Duration::from_secs(1);
/// Wishes that wait: one for each change of a virtual router.
const WISHES: usize = 256;
/// How long the end waits for everything to be removed.
const FINISH: Duration = Duration::from_secs(1);

/// Something of the host's network.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Address(Lasting),
    Route(Route),
    Rule(Rule),
    /// Of a link, for as long as it is asked for.
    Sysctl(String),
    /// A link with a virtual MAC address on another one.
    VirtualMac {
        name: String,
        parent: String,
        mac: Mac,
    },
}

/// An item that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    item: Item,
    /// Another program may remove it.
    free: bool,
    /// The `track_group` that fails without it.
    group: Option<String>,
}

/// A `track_group` whose items are all there, or not.
pub(super) type Group = (String, bool);

struct Wish {
    all: Vec<Wanted>,
    done: oneshot::Sender<()>,
}

/// The running thread.
pub(super) struct Network {
    wishes: Option<SyncSender<Wish>>,
    /// Groups whose state changed.
    pub(super) groups: mpsc::Receiver<Group>,
    ended: Receiver<()>,
}

/// Removes everything.
impl Drop for Network {
    fn drop(&mut self) {
        self.wishes = None;
        let _ = self.ended.recv_timeout(FINISH);
    }
}

impl Network {
    /// Starts it, with nothing wanted.
    ///
    /// # Errors
    /// What netlink and threads may fail with.
    pub(super) fn start() -> io::Result<Network> {
        let rtnl = Rtnl::open()?;
        let (wishes, inbox) = sync_channel(WISHES);
        let (groups, told) = mpsc::channel(WISHES);
        let (end, ended) = sync_channel(1);
        let mut keeper = Keeper { rtnl, have: Vec::new(), groups, told: Vec::new() };
        std::thread::Builder::new().name("network".to_owned()).spawn(move || {
            keeper.run(&inbox);
            // Nobody may be there to be told.
            let _ = end.send(());
        })?;
        Ok(Network { wishes: Some(wishes), groups: told, ended })
    }

    /// What the file asks for while these instances are masters. The answer comes when it was tried once.
    pub(super) fn want(&self, config: &Config, masters: &[String]) -> oneshot::Receiver<()> {
        let (done, tried) = oneshot::channel();
        let wish = Wish { all: wanted(config, masters), done };
        if self.wishes.as_ref().is_none_or(|wishes| wishes.try_send(wish).is_err()) {
            warn!("routes and addresses of the file: the host's network is busy, they stay as they were");
        }
        tried
    }
}

/// An item, and how it was the last time.
struct Had {
    wanted: Wanted,
    /// What was said about it; empty: it is there.
    trouble: String,
    /// It was missing when it was looked for.
    missed: bool,
    /// It was put at least once.
    put: bool,
    /// What was there before it.
    before: Option<String>,
}

struct Keeper {
    rtnl: Rtnl,
    have: Vec<Had>,
    groups: mpsc::Sender<Group>,
    told: Vec<Group>,
}

impl Keeper {
    fn run(&mut self, inbox: &Receiver<Wish>) {
        loop {
            match inbox.recv_timeout(LOOK) {
                Ok(wish) => {
                    self.change(wish.all);
                    self.tell();
                    let _ = wish.done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    self.tell();
                }
                Err(RecvTimeoutError::Disconnected) => return self.change(Vec::new()),
            }
        }
    }

    /// What is no longer wanted goes, the last first; what is new comes.
    fn change(&mut self, all: Vec<Wanted>) {
        for had in std::mem::take(&mut self.have).into_iter().rev() {
            if all.contains(&had.wanted) {
                self.have.insert(0, had);
            } else if let Err(e) = remove(&mut self.rtnl, &had) {
                warn!("{}: removing it: {e}", name(&had.wanted.item));
            }
        }
        for wanted in all {
            if !self.have.iter().any(|had| had.wanted == wanted) {
                let mut had = Had { wanted, trouble: String::new(), missed: false, put: false, before: None };
                put(&mut self.rtnl, &mut had);
                self.have.push(had);
            }
        }
    }

    fn look(&mut self) {
        for had in self.have.iter_mut().filter(|had| !had.wanted.free || !had.put) {
            put(&mut self.rtnl, had);
        }
    }

    /// Groups whose state changed.
    fn tell(&mut self) {
        let mut groups: Vec<Group> = Vec::new();
        for had in &self.have {
            let Some(name) = &had.wanted.group else { continue };
            let there = had.trouble.is_empty() && !had.missed;
            match groups.iter_mut().find(|(known, _)| known == name) {
                Some((_, all)) => *all &= there,
                None => groups.push((name.clone(), there)),
            }
        }
        for group in &groups {
            if !self.told.contains(group) && self.groups.try_send(group.clone()).is_err() {
                // It is told the next time.
                return;
            }
        }
        self.told = groups;
    }
}

/// Puts an item that may be there already, and says what is new about that.
fn put(rtnl: &mut Rtnl, had: &mut Had) {
    let put = match &had.wanted.item {
        Item::Address(address) => rtnl.put_lasting(address),
        Item::Route(route) => rtnl.put_route(route),
        Item::Rule(rule) => rtnl.put_rule(rule),
        Item::Sysctl(path) => set(path, &mut had.before),
        Item::VirtualMac { name, parent, mac } => virtual_mac(rtnl, name, parent, *mac),
    };
    let trouble = put.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let what = name(&had.wanted.item);
    if !trouble.is_empty() && trouble != had.trouble {
        warn!("{what}: {trouble}; it is tried again every second");
    } else if trouble.is_empty() && !had.trouble.is_empty() {
        info!("{what}: works again");
    }
    had.missed = had.put && put.as_ref().is_ok_and(|new| *new);
    if had.missed {
        warn!("{what} was removed by another program, and is put back");
    }
    had.put |= put.is_ok();
    had.trouble = trouble;
}

fn remove(rtnl: &mut Rtnl, had: &Had) -> io::Result<()> {
    match &had.wanted.item {
        Item::Address(address) => rtnl.remove_lasting(address),
        Item::Route(route) => rtnl.remove_route(route),
        Item::Rule(rule) => rtnl.remove_rule(rule),
        Item::Sysctl(path) => had.before.as_ref().map_or(Ok(()), |before| fs::write(path, before)),
        Item::VirtualMac { name, .. } => rtnl.delete_link(name),
    }
}

/// Sets a switch of the kernel, and remembers what it was.
fn set(path: &str, before: &mut Option<String>) -> io::Result<bool> {
    let is = fs::read_to_string(path)?;
    if is.trim() == "1" {
        return Ok(false);
    }
    before.get_or_insert(is);
    fs::write(path, "1")?;
    Ok(true)
}

/// What the link's own switches are: it speaks for its own addresses alone, whichever way packets come back, keeps addresses
/// when others go, and the kernel gives it none.
const SWITCHES: [(&str, &str); 7] = [
    ("ipv4", "arp_ignore=1"),
    ("ipv4", "rp_filter=0"),
    ("ipv4", "accept_local=1"),
    ("ipv4", "promote_secondaries=1"),
    ("ipv6", "accept_ra=0"),
    ("ipv6", "autoconf=0"),
    ("ipv6", "addr_gen_mode=1"),
];

fn virtual_mac(rtnl: &mut Rtnl, name: &str, parent: &str, mac: Mac) -> io::Result<bool> {
    let new = rtnl.put_virtual_mac(name, parent, mac)?;
    if new {
        for (family, (key, value)) in SWITCHES.iter().filter_map(|(f, switch)| Some((f, switch.split_once('=')?))) {
            match fs::write(format!("/proc/sys/net/{family}/conf/{name}/{key}"), value) {
                // A kernel without IPv6.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                written => written?,
            }
        }
        rtnl.set_up(name, true)?;
    }
    Ok(new)
}

fn name(item: &Item) -> String {
    match item {
        Item::Address(a) => format!("address {}/{} on {}", a.address, a.prefix, a.interface),
        Item::Route(r) => format!("route to {}/{}", r.to.0, r.to.1),
        Item::Rule(r) => format!("rule for table {}", r.table),
        Item::Sysctl(path) => path.clone(),
        Item::VirtualMac { name, parent, .. } => format!("link {name} on {parent}"),
    }
}

/// A static address, route or rule names the `track_group`.
pub(super) fn tracks(config: &Config, group: &str) -> bool {
    wanted(config, &[]).iter().any(|wanted| wanted.group.as_deref() == Some(group))
}

/// Addresses first: routes may prefer them.
fn wanted(config: &Config, masters: &[String]) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let mut add = |item: Item, free: bool, group: &Option<String>| {
        all.push(Wanted { item, free, group: group.clone() });
    };
    for instance in config.instances.iter().filter(|instance| instance.promote_secondaries) {
        for interface in interfaces(instance) {
            add(Item::Sysctl(format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries")), false, &None);
        }
    }
    for instance in &config.instances {
        let (Some(vmac), Some(parent)) = (&instance.vmac, &instance.interface) else { continue };
        let family = if instance.family == Family::V4 { 1 } else { 2 };
        let mac = vmac.mac.unwrap_or([0, 0, 0x5e, 0, family, instance.vrid]);
        add(Item::VirtualMac { name: vmac.name.clone(), parent: parent.clone(), mac }, false, &None);
    }
    for address in &config.static_addresses {
        let item = Item::Address(lasting(address, &config.global.default_interface));
        add(item, address.no_track, &address.track_group);
    }
    for route in &config.static_routes {
        add(Item::Route(route_of(route)), route.no_track, &route.track_group);
    }
    for rule in &config.static_rules {
        add(Item::Rule(rule_of(rule)), rule.no_track, &rule.track_group);
    }
    for instance in config.instances.iter().filter(|instance| masters.contains(&instance.name)) {
        instance.routes.iter().for_each(|route| add(Item::Route(route_of(route)), route.no_track, &None));
        instance.rules.iter().for_each(|rule| add(Item::Rule(rule_of(rule)), rule.no_track, &None));
    }
    all
}

/// The links that an instance's IPv4 addresses are on.
fn interfaces(instance: &Instance) -> Vec<&str> {
    let addresses = instance.addresses.iter().chain(&instance.excluded).filter(|a| a.address.is_ipv4());
    let mut all: Vec<&str> =
        addresses.filter_map(|a| a.interface.as_deref().or(instance.interface.as_deref())).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn lasting(a: &model::Address, default_interface: &str) -> Lasting {
    let preferred = match (a.preferred, a.address) {
        (Some(preferred), _) => preferred,
        // As the original: never a source by itself.
        (None, IpAddr::V6(_)) if a.prefix == 128 => Some(0),
        (None, _) => None,
    };
    Lasting {
        interface: a.interface.clone().unwrap_or_else(|| default_interface.to_owned()),
        address: a.address,
        prefix: a.prefix,
        dress: Dress { label: a.label.clone(), broadcast: a.broadcast, scope: a.scope.map_or(0, |scope| scope.0) },
        peer: a.peer,
        // As the original.
        nodad: a.nodad || a.address.is_ipv6(),
        home: a.home,
        mngtmpaddr: a.mngtmpaddr,
        noprefixroute: a.noprefixroute,
        autojoin: a.autojoin,
        preferred,
    }
}

fn route_of(r: &model::Route) -> Route {
    let hop = |hop: &model::NextHop| Hop {
        gateway: hop.gateway,
        interface: hop.interface.clone(),
        weight: hop.weight,
        onlink: hop.onlink,
    };
    Route {
        kind: match r.kind {
            model::RouteKind::Unicast => Kind::Unicast,
            model::RouteKind::Blackhole => Kind::Blackhole,
            model::RouteKind::Unreachable => Kind::Unreachable,
            model::RouteKind::Prohibit => Kind::Prohibit,
            model::RouteKind::Throw => Kind::Throw,
        },
        to: r.to,
        source: r.source,
        hops: r.hops.iter().map(hop).collect(),
        table: r.table,
        metric: r.metric,
        scope: r.scope.map(|scope| scope.0),
        tos: r.tos,
        mtu: r.mtu,
        advmss: r.advmss,
    }
}

fn rule_of(r: &model::Rule) -> Rule {
    Rule {
        ipv6: r.ipv6,
        from: r.from,
        to: r.to,
        input: r.input.clone(),
        output: r.output.clone(),
        mark: r.mark,
        tos: r.tos,
        table: r.table,
        priority: r.priority,
    }
}
