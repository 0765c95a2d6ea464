//! The table of keys: what a configuration file may say. Reading, the nearest-key hint, the JSON Schema and the
//! reference are all made from it, so they cannot disagree.

use std::time::Duration;

use baton_core::settings::{LEASE_MAX, LEASE_MIN, VIPS_MAX, VOTERS_MAX};

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    Text,
    /// A port or count; for keys of old a zero means "not given", as it did in Go.
    Int(u64, u64),
    Bool,
    /// A duration with its bounds; the flag allows `off`.
    Time(Duration, Duration, bool),
    Ip,
    /// `address:port`, `:port` or `off`.
    Listen,
    Choice(&'static [&'static str]),
    /// HTTP statuses: `200`, `200-399`, or a list of them.
    Statuses,
    Map(&'static [Key]),
    List(&'static Shape, usize),
    /// One of several, told apart by being a scalar, a list or a mapping.
    Either(&'static [Shape]),
    /// Anything: it is not looked at.
    Any,
}

/// Where a key comes from, and what became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A key of kube-vip 0.1 that works.
    Old,
    /// Baton's own.
    New,
    /// A key of kube-vip 0.1 without effect; the text says why.
    Idle(&'static str),
}

/// One key of a mapping.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Other names, read alike.
    pub(crate) also: &'static [&'static str],
    pub(crate) shape: Shape,
    /// For people; empty: none.
    pub(crate) default: &'static str,
    pub(crate) about: &'static str,
    pub(crate) standing: Standing,
    /// Never shown.
    pub(crate) secret: bool,
}

impl Key {
    const fn old(name: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Key {
        Key { name, also: &[], shape, default, about, standing: Standing::Old, secret: false }
    }

    const fn new(name: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Key {
        Key { name, also: &[], shape, default, about, standing: Standing::New, secret: false }
    }

    const fn idle(name: &'static str, why: &'static str) -> Key {
        Key { name, also: &[], shape: Shape::Any, default: "", about: "", standing: Standing::Idle(why), secret: false }
    }

    const fn also(mut self, also: &'static [&'static str]) -> Key {
        self.also = also;
        self
    }

    const fn secret(mut self) -> Key {
        self.secret = true;
        self
    }

    /// The spelling of kube-vip 0.1.5 and later, for keys of that time.
    pub(crate) fn go_name(&self) -> String {
        match self.name {
            "id" => "ID".to_owned(),
            "vip" => "VIP".to_owned(),
            "vipCidr" => "VIPCIDR".to_owned(),
            "url" => "RawURL".to_owned(),
            "parsedURL" => "ParsedURL".to_owned(),
            "bgpConfig" => "BGPConfig".to_owned(),
            "bgpPeerConfig" => "BGPPeerConfig".to_owned(),
            name => {
                let mut letters = name.chars();
                letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
            }
        }
    }

    /// Whether this is the key's name, in any case.
    pub(crate) fn is(&self, written: &str) -> bool {
        std::iter::once(&self.name).chain(self.also).any(|name| name.eq_ignore_ascii_case(written))
    }
}

/// Most load balancers in a file.
pub(crate) const BALANCERS_MAX: usize = 256;
/// Most backends of a load balancer.
pub(crate) const BACKENDS_MAX: usize = 1024;
/// Where peers listen unless they say otherwise, as in every sample that kube-vip 0.1 printed.
pub(crate) const PEER_PORT: u16 = 10000;
/// How long one grant lasts by default.
pub(crate) const LEASE: Duration = Duration::from_millis(500);
/// How long `accept` stays open after a hand-over by default.
pub(crate) const DRAIN: Duration = Duration::from_millis(300);
/// Slow repetition of announcements by default, as in kube-vip 0.1.
pub(crate) const REFRESH: Duration = Duration::from_secs(5);
/// Rank by default.
pub(crate) const PRIORITY: u16 = 100;
/// Shortest renewal: below, the renewals themselves are the load.
pub(crate) const RENEW_MIN: Duration = Duration::from_millis(5);

const PORT: Shape = Shape::Int(1, 65535);

/// The whole file.
pub(crate) const ROOT: &[Key] = &[
    Key::old("localPeer", Shape::Map(PEER), "", "This node among its peers: who it is and where it listens (UDP)."),
    Key::old(
        "remotePeers",
        Shape::List(&Shape::Map(PEER), VOTERS_MAX + 1),
        "[]",
        "The other voters. An entry with localPeer's address and port is skipped, so that one list serves all nodes.",
    ),
    Key::old(
        "addPeersAsBackends",
        Shape::Bool,
        "false",
        "Fill a load balancer that lists no backends with all peers, localPeer included, on its backendPort. (kube-vip 0.1 read this key and did nothing.)",
    ),
    Key::old("vip", Shape::Ip, "", "The virtual IP address, IPv4 or IPv6. More of them: `vips`."),
    Key::old("address", Shape::Ip, "", "The same as `vip`, as kube-vip 0.1.8 and 0.1.9 had it. (They took a host name too; Baton does not.)"),
    Key::new("vips", Shape::List(&VIP_ITEM, VIPS_MAX), "[]", "Several virtual IP addresses, beside `vip`: addresses, or mappings."),
    Key::old(
        "interface",
        Shape::Text,
        "the interface whose network contains the address",
        "Where virtual IPs go.",
    ),
    Key::new("prefix", Shape::Int(1, 128), "32, for IPv6 128", "Prefix length that virtual IPs are added with."),
    Key::old(
        "gratuitousARP",
        Shape::Bool,
        "true",
        "Repeat announcements slowly while holding (`refresh`). `false`: only the bursts after a change; a gain is always announced.",
    ),
    Key::old("singleNode", Shape::Bool, "false", "No peers: hold the virtual IPs whenever this host is well."),
    Key::old(
        "startAsLeader",
        Shape::Bool,
        "false",
        "Hold alone, outside the guarantee, until a majority of peers was seen once. For the first node of a new cluster.",
    ),
    Key::old("loadBalancers", Shape::List(&Shape::Map(BALANCER), BALANCERS_MAX), "[]", "What is listened on and where it goes."),
    Key::new(
        "lease",
        Shape::Time(LEASE_MIN, LEASE_MAX, false),
        "500ms",
        "How long one grant of a majority lasts: the time after which a dead holder is replaced. It travels with every request, so nodes may differ during a change.",
    ),
    Key::new("renew", Shape::Time(RENEW_MIN, LEASE_MAX, false), "a fifth of lease", "How often the lease is renewed: at most a third of it.").also(&["renewal"]),
    Key::new(
        "peerKey",
        Shape::Either(&[Shape::Text, Shape::List(&Shape::Text, 2)]),
        "",
        "Shared secret of the peers' messages (HMAC-SHA-256), best of 16 bytes or more. A list of two during a rotation: the first signs, both are accepted.",
    )
    .secret(),
    Key::new(
        "peerKeyFile",
        Shape::Either(&[Shape::Text, Shape::List(&Shape::Text, 2)]),
        "",
        "The same in a file, one key on each line; or a list of two files.",
    ),
    Key::new("witness", Shape::Bool, "false", "This node votes and never holds: the third voter for two hosts."),
    Key::new("priority", Shape::Int(1, 65535), "100", "This node's rank: higher is preferred."),
    Key::new("preempt", Shape::Bool, "false", "Ask a holder with a lower priority to hand over."),
    Key::new(
        "drain",
        Shape::Time(Duration::ZERO, Duration::from_secs(30), false),
        "300ms",
        "How long packets of a virtual IP still pass here after a hand-over, so that nothing in flight is lost.",
    ),
    Key::new(
        "refresh",
        Shape::Time(Duration::from_secs(1), Duration::from_secs(3600), true),
        "5s",
        "How often the holder repeats its announcement; `off` for bursts only.",
    ),
    Key::new(
        "fence",
        Shape::Bool,
        "on",
        "The kernel ends ownership by itself (nftables gates). `off` gives that guarantee up, for kernels without nftables.",
    ),
    Key::new("force", Shape::Bool, "false", "Take an address even while an unknown host answers for it."),
    Key::new(
        "admin",
        Shape::Listen,
        "off",
        "Where /metrics, /healthz, /readyz and /livez are served: `127.0.0.1:2112`, or `:2112` for all addresses.",
    ),
    Key::idle("enableLeaderElection", "ownership is decided by the peers; `start` does not use Kubernetes Leases"),
    Key::idle("leaseDuration", "it was for Kubernetes Leases; the peers' lease is `lease`"),
    Key::idle("renewDeadline", "it was for Kubernetes Leases; the peers' renewal is `renew`"),
    Key::idle("retryPeriod", "it was for Kubernetes Leases"),
    Key::idle("vipCidr", "it was for BGP; the prefix length is `prefix`"),
    Key::idle("port", "kube-vip 0.1 read it and did nothing with it; ports belong to loadBalancers"),
    Key::idle("enableLoadBalancer", "every load balancer in loadBalancers is started"),
    Key::idle("enableBGP", "`start` does not speak BGP"),
    Key::idle("bgpConfig", "`start` does not speak BGP"),
    Key::idle("bgpPeerConfig", "`start` does not speak BGP"),
    Key::idle("enablePacket", "the Packet API does not exist any more"),
    Key::idle("packetAPIKey", "the Packet API does not exist any more").secret(),
    Key::idle("packetProject", "the Packet API does not exist any more"),
];

const PEER: &[Key] = &[
    Key::old("id", Shape::Text, "the address", "Its name, for people."),
    Key::old("address", Shape::Ip, "", "Its IP address on the peers' network."),
    Key::old("port", PORT, "10000", "Its UDP port. (kube-vip 0.1 used TCP: open UDP in the firewall.)"),
];

const VIP_ITEM: Shape = Shape::Either(&[Shape::Ip, Shape::Map(VIP)]);

const VIP: &[Key] = &[
    Key::new("address", Shape::Ip, "", "The address."),
    Key::new("interface", Shape::Text, "`interface` of the file", "Where it goes."),
    Key::new("prefix", Shape::Int(1, 128), "`prefix` of the file", "Prefix length that it is added with."),
    Key::new(
        "priority",
        Shape::Int(1, 65535),
        "`priority` of the file",
        "This node's rank for it: different ranks spread addresses over the nodes.",
    ),
];

const BALANCER: &[Key] = &[
    Key::old("name", Shape::Text, "type and port", "For people, logs and metrics."),
    Key::old(
        "type",
        Shape::Choice(&["tcp", "http"]),
        "tcp",
        "`tcp` moves bytes, `http` sends each request to the next backend.",
    ),
    Key::old("port", PORT, "", "Where it listens."),
    Key::old("bindToVip", Shape::Bool, "false", "Listen on the virtual IPs only, not on all addresses."),
    Key::old(
        "backendPort",
        PORT,
        "",
        "The peers' port, with addPeersAsBackends and no backends listed. Without effect otherwise, as in kube-vip 0.1.",
    ),
    Key::old("backends", Shape::List(&Shape::Map(BACKEND), BACKENDS_MAX), "[]", "Where it goes, in turn."),
    Key::new(
        "cutOnDown",
        Shape::Bool,
        "true",
        "Cut the connections of a backend that goes down, so that clients connect again.",
    ),
    Key::new("check", CHECK, "", "Health check of backends that do not say their own."),
];

const BACKEND: &[Key] = &[
    Key::old("address", Shape::Text, "", "IP address or host name."),
    Key::old("port", PORT, "", "Port."),
    Key::old("url", Shape::Text, "", "For type http, in place of address and port: `http://host:port/prefix`.")
        .also(&["rawURL"]),
    Key::idle("parsedURL", "kube-vip 0.1 printed it and made it itself from url"),
    Key::new("weight", Shape::Int(0, 256), "1", "Share of new connections; 0 gets nothing new."),
    Key::new("backup", Shape::Bool, "false", "Used only while no other backend is up."),
    Key::new("check", CHECK, "the load balancer's", "Health check."),
];

const CHECK: Shape = Shape::Either(&[CHECK_KIND, Shape::Map(CHECK_KEYS)]);
const CHECK_KIND: Shape = Shape::Choice(&["tcp", "tls", "http", "https", "none"]);
const CHECK_TIMES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));

const CHECK_KEYS: &[Key] = &[
    Key::new(
        "type",
        CHECK_KIND,
        "tcp",
        "What is tried; `none` believes a backend up unless connects fail. Certificates are not verified.",
    ),
    Key::new("path", Shape::Text, "/", "For http and https: what is asked for."),
    Key::new(
        "expect",
        Shape::Statuses,
        "200-399",
        "For http and https: accepted statuses, such as `200`, `200-399`, or a list.",
    ),
    Key::new(
        "interval",
        Shape::Time(CHECK_TIMES.0, CHECK_TIMES.1, false),
        "1s",
        "Time between the starts of two checks.",
    ),
    Key::new(
        "timeout",
        Shape::Time(CHECK_TIMES.0, CHECK_TIMES.1, false),
        "500ms, at most interval",
        "A check that takes longer has failed.",
    ),
    Key::new("rise", Shape::Int(1, 100), "2", "Successes in a row that make a backend up."),
    Key::new("fall", Shape::Int(1, 100), "3", "Failures in a row that make it down."),
];
