//! Scripts for Services: a few objects, what a node makes of them, and what it tells.

mod address;
mod lease;
mod node;
mod properties;

use super::*;
use crate::time::Time;
use std::time::Duration;

pub(super) fn lease(name: &str) -> LeaseName {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    LeaseName { namespace: namespace.into(), name: name.into() }
}

pub(super) fn options() -> Options {
    Options {
        node: "node-1".into(),
        interface: "eth0".into(),
        placement: Placement::Default,
        prefix4: Prefix::Length(32),
        prefix6: Prefix::Length(128),
        namespace: None,
        class_name: "kube-vip.io/kube-vip-class".into(),
        class_only: false,
        class_legacy: true,
        per_service: false,
        on_demand: false,
        lease: lease("kube-system/plndr-svcs-lock"),
        lease_duration: Duration::from_secs(15),
        control_plane: vec![],
        control_plane_lease: None,
        dns: DnsMode::First,
        disable_updates: false,
        security: false,
        labels: false,
        upnp: false,
        mirror: false,
    }
}

pub(super) fn per_service() -> Options {
    Options { per_service: true, ..options() }
}

/// A Service of type `LoadBalancer` with one port; `created` sorts by the order of the calls' numbers.
pub(super) fn service(name: &str) -> Service {
    Service {
        key: Key::new("default", name),
        uid: format!("uid-{name}").into(),
        created: "2026-01-01T00:00:00Z".into(),
        load_balancer: true,
        class: None,
        load_balancer_ip: "".into(),
        policy: TrafficPolicy::Cluster,
        families: Families::Unknown,
        require_dual_stack: false,
        ports: Box::new([Port { protocol: Protocol::Tcp, port: 80 }]),
        health_check_node_port: 0,
        ingress: Box::new([]),
        annotations: Box::new([]),
    }
}

impl Service {
    pub(super) fn with(mut self, name: &str, value: &str) -> Service {
        let mut all: Vec<_> = self.annotations.into_vec();
        all.retain(|(known, _)| known.as_ref() != name);
        all.push((name.into(), value.into()));
        all.sort();
        self.annotations = all.into();
        self
    }

    pub(super) fn at(self, addresses: &str) -> Service {
        self.with("loadbalancerIPs", addresses)
    }

    pub(super) fn local(mut self) -> Service {
        self.policy = TrafficPolicy::Local;
        self
    }

    pub(super) fn status(mut self, ips: &[&str]) -> Service {
        let entry = |ip: &&str| Ingress { ip: (*ip).into(), hostname: "".into(), ports: self.ports.clone() };
        self.ingress = ips.iter().map(entry).collect();
        self
    }
}

/// `node` ready, `node!` serving but not ready, `node-` neither.
pub(super) fn slice_named(slice: &str, service: &str, endpoints: &[&str]) -> Slice {
    let endpoint = |text: &&str| Endpoint {
        node: text.trim_end_matches(['!', '-']).into(),
        hostname: "".into(),
        ready: !text.ends_with(['!', '-']),
        serving: !text.ends_with('-'),
    };
    Slice {
        key: Key::new("default", slice),
        service: service.into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

pub(super) fn slice(service: &str, endpoints: &[&str]) -> Slice {
    slice_named(&format!("{service}-abcde"), service, endpoints)
}

pub(super) fn host() -> Vec<Interface> {
    let interface = |name: &str, addresses: &[(&str, u8)]| Interface {
        name: name.into(),
        addresses: addresses.iter().map(|(address, prefix)| (address.parse().expect("address"), *prefix)).collect(),
    };
    vec![
        interface("lo", &[("127.0.0.1", 8), ("::1", 128)]),
        interface("eth0", &[("10.0.0.1", 24), ("fd00::1", 64)]),
        interface("eth1", &[("192.168.7.1", 16)]),
    ]
}

/// A node that has read everything that there is: nothing.
pub(super) struct Node {
    pub(super) services: Services,
    pub(super) now: Time,
}

impl Node {
    pub(super) fn new(options: Options) -> Node {
        let mut node = Node { services: Services::new(options), now: Time::ZERO + Duration::from_secs(1) };
        node.take(Change::Services(vec![]));
        node.take(Change::Slices(vec![]));
        node.take(Change::Host(host()));
        node
    }

    pub(super) fn take(&mut self, change: Change) -> Touched {
        self.services.handle(self.now, change)
    }

    /// The Service with one ready endpoint on this node.
    pub(super) fn backed(&mut self, service: Service) -> Touched {
        self.take(Change::Slice(slice(&service.key.name, &["node-1"])));
        self.take(Change::Service(service))
    }

    pub(super) fn holder(&mut self, name: &str, holder: &str) -> Touched {
        self.take(Change::Lease { name: lease(name), holder: holder.into() })
    }

    pub(super) fn held(&mut self, address: &str, held: bool) -> Touched {
        self.take(Change::Held { address: ip(address), held })
    }

    pub(super) fn wait(&mut self, seconds: u64) -> Touched {
        self.now = self.now + Duration::from_secs(seconds);
        self.take(Change::Tick)
    }

    /// `address/prefix interface lease`, one word each, of all that is wanted.
    pub(super) fn wanted(&self) -> Vec<String> {
        let line =
            |wanted: &Wanted| format!("{}/{} {} {}", wanted.address, wanted.prefix, wanted.interface, wanted.lease);
        self.services.all_wanted().map(line).collect()
    }

    pub(super) fn plan(&self, name: &str) -> Plan {
        self.services.plan(&Key::new("default", name)).expect("a Service of this name")
    }

    pub(super) fn verdict(&self, name: &str) -> Verdict {
        self.plan(name).verdict
    }

    pub(super) fn refused(&self, name: &str) -> String {
        match self.verdict(name) {
            Verdict::Nowhere(Why::Refused(refusal)) => format!("{}: {}", refusal.reason, refusal.message),
            other => panic!("{name} is not refused: {other:?}"),
        }
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn told(touched: &Touched) -> Vec<String> {
    touched.happenings.iter().map(|told| format!("{} {}", told.kind.reason(), told.message)).collect()
}

pub(super) fn global(address: &str) -> String {
    format!("{address} eth0 kube-system/plndr-svcs-lock")
}
