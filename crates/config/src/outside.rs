//! Flags and environment variables of kube-vip 0.1, laid over what the file says: environment over flag over file.
//!
//! In kube-vip most of these flags landed nowhere and its integers were read in base eight; here they mean what
//! they say.

use crate::keys::{Key, ROOT, Shape};
use crate::message::{Findings, Place, Severity};
use crate::scalar::{self, Style};
use crate::tree::{Item, Value};

/// A flag of `baton start` and `baton sample config`, for the command line's own table.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// It may stand without a value, which then is `true`.
    pub boolean: bool,
    /// Environment variables with the same meaning; the first one that is set counts.
    pub env: &'static [&'static str],
    /// What it does.
    pub about: &'static str,
    /// The key of the file that it sets.
    pub(crate) path: &'static str,
    pub(crate) how: How,
}

/// How a text becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By the shape of its key.
    Plain,
    /// `id:address:port`.
    Peer,
    /// The same, separated by commas.
    Peers,
    /// `address:port`, separated by commas.
    Backends,
    /// Not a key of the file: kept under this name at the root.
    Switch,
    /// Without effect; `true` and other values that ask for something are warned of.
    Idle(&'static str),
}

const fn flag(name: &'static str, env: &'static [&'static str], path: &'static str, about: &'static str) -> Flag {
    Flag { name, boolean: false, env, about, path, how: How::Plain }
}

const fn switch(name: &'static str, env: &'static [&'static str], path: &'static str, about: &'static str) -> Flag {
    Flag { name, boolean: true, env, about, path, how: How::Plain }
}

const fn how(mut flag: Flag, how: How) -> Flag {
    flag.how = how;
    flag
}

const LEASES: &str = "ownership is decided by the peers; `start` does not use Kubernetes";

/// Every flag of kube-vip 0.1 `start`, and `admin`.
pub const FLAGS: &[Flag] = &[
    flag("interface", &["vip_interface"], "interface", "Interface for the virtual IP"),
    flag("vip", &["vip_address"], "vip", "The virtual IP address"),
    flag("address", &["address"], "address", "The same as --vip"),
    how(switch("disableVIP", &[], "disableVIP", "Run the load balancers only; needs singleNode"), How::Switch),
    switch("singleNode", &["vip_singlenode"], "singleNode", "No peers: hold the virtual IP whenever this host is well"),
    switch(
        "startAsLeader",
        &["vip_startleader"],
        "startAsLeader",
        "Hold alone until a majority of peers was seen once",
    ),
    switch("arp", &["vip_arp"], "gratuitousARP", "Repeat gratuitous ARP slowly while holding"),
    how(flag("localPeer", &["vip_localpeer"], "localPeer", "This node: id:address:port"), How::Peer),
    how(
        flag("remotePeers", &["vip_peers", "vip_remotepeers"], "remotePeers", "The other voters: id:address:port,…"),
        How::Peers,
    ),
    switch(
        "addPeersToLB",
        &["vip_addpeerstolb"],
        "addPeersAsBackends",
        "Fill a load balancer without backends with the peers",
    ),
    switch("lbBindToVip", &["lb_bindtovip"], "loadBalancers[0].bindToVip", "Listen on the virtual IP only"),
    flag("lbType", &["lb_type"], "loadBalancers[0].type", "tcp or http"),
    flag("lbName", &["lb_name"], "loadBalancers[0].name", "Name of the load balancer"),
    flag("lbPort", &["lb_port"], "loadBalancers[0].port", "Where the load balancer listens"),
    flag("lbBackEndPort", &["lb_backendport"], "loadBalancers[0].backendPort", "Port of the peers as backends"),
    how(flag("lbBackends", &["lb_backends"], "loadBalancers[0].backends", "Backends: address:port,…"), How::Backends),
    flag("admin", &[], "admin", "Where metrics and health are served: address:port, :port or off"),
    how(flag("kubeConfig", &[], "", "Without effect"), How::Idle(LEASES)),
    how(switch("inCluster", &[], "", "Without effect"), How::Idle(LEASES)),
    how(switch("leaderElection", &["vip_leaderelection"], "", "Without effect"), How::Idle(LEASES)),
    how(switch("enableBGP", &["bgp_enable"], "", "Without effect"), How::Idle("`start` does not speak BGP")),
    how(
        switch("enablePacket", &["vip_packet"], "", "Without effect"),
        How::Idle("the Packet API does not exist any more"),
    ),
];

/// The first load balancer, which flags and environment apply to.
const FIRST: &str = "loadBalancers[0]";

/// Lays flags over `root`.
pub(crate) fn flags(root: &mut Item, given: &[(String, String)], found: &mut Findings) {
    for (name, value) in given {
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            found.put(Severity::Error, &Place::Flag(name.clone()), name, "is not a known flag", value, "");
            continue;
        };
        if !value.is_empty() {
            lay(root, flag, value, &Place::Flag(name.clone()), found);
        }
    }
}

/// Lays the environment over `root`. What it does not know it leaves alone, and an empty variable is not set.
pub(crate) fn environment(root: &mut Item, given: &[(String, String)], found: &mut Findings) {
    for flag in FLAGS {
        let set = |name: &&&str| given.iter().find(|(n, v)| n == **name && !v.is_empty());
        let first = flag.env.iter().find(|name| set(name).is_some());
        if let Some((name, value)) = first.and_then(|name| set(&name)) {
            lay(root, flag, value, &Place::Environment(name.clone()), found);
        }
    }
}

fn lay(root: &mut Item, flag: &'static Flag, text: &str, place: &Place, found: &mut Findings) {
    let value = match flag.how {
        How::Plain => plain(flag, text, place, found),
        How::Switch => scalar(&Shape::Bool, flag.path, text, place, found),
        How::Peer => peer(text, flag.path, place, found),
        How::Peers => each(text, flag.path, place, found, peer),
        How::Backends => each(text, flag.path, place, found, backend),
        How::Idle(why) => return idle(flag, text, why, place, found),
    };
    let item = Item::new(place.clone(), flag.path.to_owned(), value);
    let inner = flag.path.strip_prefix(FIRST).and_then(|rest| rest.strip_prefix('.'));
    match inner {
        None => root.put(flag.path, item),
        Some(key) => first_balancer(root, place).put(key, item),
    }
}

/// The first load balancer, made when there is none.
fn first_balancer<'a>(root: &'a mut Item, place: &Place) -> &'a mut Item {
    if root.get("loadBalancers").is_none_or(|list| list.list().is_empty()) {
        let first = Item::new(place.clone(), FIRST.to_owned(), Value::Map(Vec::new()));
        root.put("loadBalancers", Item::new(place.clone(), "loadBalancers".to_owned(), Value::List(vec![first])));
    }
    let Value::Map(entries) = &mut root.value else { unreachable!("put made it a mapping") };
    let list = entries.iter_mut().find(|(name, _)| *name == "loadBalancers").map(|(_, item)| &mut item.value);
    match list {
        Some(Value::List(items)) => &mut items[0],
        _ => unreachable!("it was put there above"),
    }
}

fn plain(flag: &Flag, text: &str, place: &Place, found: &mut Findings) -> Value {
    let shape = shape_of(flag.path).expect("every flag's path is in the table of keys");
    scalar(shape, flag.path, text, place, found)
}

fn scalar(shape: &Shape, path: &str, text: &str, place: &Place, found: &mut Findings) -> Value {
    match scalar::read(text, Style::Outside, shape) {
        Ok(value) => value.unwrap_or(Value::Bad),
        Err(wrong) => {
            found.put(Severity::Error, place, path, wrong.what, text, &wrong.expected);
            Value::Bad
        }
    }
}

/// The shape of a key of the root or of a load balancer.
pub(crate) fn shape_of(path: &str) -> Option<&'static Shape> {
    let find = |keys: &'static [Key], name: &str| keys.iter().find(|key| key.name == name).map(|key| &key.shape);
    let Some(name) = path.strip_prefix(FIRST) else { return find(ROOT, path) };
    let Some(Shape::List(Shape::Map(keys), _)) = find(ROOT, "loadBalancers") else { return None };
    find(keys, name.strip_prefix('.')?)
}

fn idle(flag: &Flag, text: &str, why: &str, place: &Place, found: &mut Findings) {
    let asks = !flag.boolean || !matches!(text, "0" | "f" | "F" | "false" | "False" | "FALSE");
    if asks {
        found.put(Severity::Warning, place, flag.name, &format!("has no effect: {why}"), "", "");
    }
}

/// A list separated by commas; an empty item, as after a last comma, is no item.
fn each(
    text: &str,
    path: &str,
    place: &Place,
    found: &mut Findings,
    one: fn(&str, &str, &Place, &mut Findings) -> Value,
) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty()).enumerate();
    let most = match shape_of(path) {
        Some(Shape::List(_, most)) => *most,
        _ => 0,
    };
    let items: Vec<Item> = items
        .map(|(i, text)| {
            let path = format!("{path}[{i}]");
            let value = one(text, &path, place, found);
            Item::new(place.clone(), path, value)
        })
        .collect();
    if items.len() > most {
        let many = items.len().to_string();
        found.put(Severity::Error, place, path, "has too many items", &many, &format!("at most {most}"));
        return Value::Bad;
    }
    Value::List(items)
}

/// `id:address:port`, where brackets around an IPv6 address may be left out.
fn peer(text: &str, path: &str, place: &Place, found: &mut Findings) -> Value {
    let parts = text.split_once(':').and_then(|(id, rest)| Some((id, rest.rsplit_once(':')?)));
    let Some((id, (address, port))) = parts else {
        found.put(
            Severity::Error,
            place,
            path,
            "is not a peer",
            text,
            "id:address:port, such as server1:192.0.2.1:10000",
        );
        return Value::Bad;
    };
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    fields(
        &[("id", id, &Shape::Text), ("address", address, &Shape::Ip), ("port", port, &Shape::Int(1, 65535))],
        path,
        place,
        found,
    )
}

fn backend(text: &str, path: &str, place: &Place, found: &mut Findings) -> Value {
    let Some((host, port)) = scalar::host_and_port(text) else {
        found.put(Severity::Error, place, path, "is not a backend", text, "address:port, such as 192.0.2.1:6443");
        return Value::Bad;
    };
    fields(&[("address", host, &Shape::Text), ("port", port, &Shape::Int(1, 65535))], path, place, found)
}

fn fields(fields: &[(&'static str, &str, &Shape)], path: &str, place: &Place, found: &mut Findings) -> Value {
    let mut map = Item::new(place.clone(), path.to_owned(), Value::Map(Vec::new()));
    for (name, text, shape) in fields {
        let path = format!("{path}.{name}");
        if text.is_empty() {
            continue;
        }
        let value = scalar(shape, &path, text, place, found);
        map.put(name, Item::new(place.clone(), path, value));
    }
    map.value
}
