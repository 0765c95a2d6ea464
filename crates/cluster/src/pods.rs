//! Pods: objects at the API server, and for each a network namespace with a server in it. There is no kubelet: what one would
//! say about a pod, the lab says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use baton_lab::backend::Backend;
use baton_lab::host::Host;
use baton_lab::lab::{v4, v6};
use serde_json::{Value, json};

/// The bridge of a node's pods.
const BRIDGE: &str = "pods";
/// Prefix lengths of one node's pods.
const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;

/// A running pod. Dropping it ends its server and removes its namespace; the object stays.
pub struct Pod {
    /// Its namespace (of Kubernetes).
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: (Ipv4Addr, Ipv6Addr),
    backend: Backend,
    _host: Host,
}

/// What a pod is asked to be.
#[derive(Clone, Copy, Debug)]
pub struct PodSpec<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its label `app`.
    pub app: &'a str,
    /// The port that it serves.
    pub port: u16,
    /// What it answers.
    pub answer: u8,
}

/// Address of place `place` in the pod network of node `number`; the first one is the node's own.
fn addresses(number: u8, place: u8) -> (Ipv4Addr, Ipv6Addr) {
    let v6 = Ipv6Addr::new(0xfd78, 0, 0, u16::from(number), 0, 0, 0, u16::from(place));
    (Ipv4Addr::new(10, 244, number, place), v6)
}

/// Makes `host`, which has `number`, a node that carries pods and forwards packets, and tells it where those of `others` are.
pub fn prepare(host: &Host, number: u8, others: &[u8]) -> io::Result<()> {
    let others: Vec<u8> = others.iter().copied().filter(|other| *other != number).collect();
    host.run(move |links| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
        links.add_bridge(BRIDGE)?;
        let index = links.link(BRIDGE)?.index;
        let own = addresses(number, 1);
        links.add_address(index, IpAddr::V4(own.0), PREFIX_V4)?;
        links.add_address(index, IpAddr::V6(own.1), PREFIX_V6)?;
        links.set_up(index, true)?;
        for other in others {
            let there = addresses(other, 0);
            links.add_route(IpAddr::V4(there.0), PREFIX_V4, IpAddr::V4(v4(other)))?;
            links.add_route(IpAddr::V6(there.1), PREFIX_V6, IpAddr::V6(v6(other)))?;
        }
        Ok(())
    })
}

impl Pod {
    /// Starts the server of a pod in place `place` of the node `node`, which has `number`.
    pub fn start(node: &Host, number: u8, place: u8, spec: PodSpec<'_>) -> io::Result<Pod> {
        let host = Host::new(&format!("{}-{}", node.name(), spec.name))?;
        let addresses = addresses(number, place);
        let near = format!("pod{place}");
        let far = host.namespace().try_clone_to_owned()?;
        node.run(move |links| -> io::Result<()> {
            links.add_veth(&near, "eth0", None, far.as_fd())?;
            let (index, bridge) = (links.link(&near)?.index, links.link(BRIDGE)?.index);
            links.set_master(index, bridge)?;
            links.set_up(index, true)
        })?;
        let gateway = self::addresses(number, 1);
        host.run(move |links| -> io::Result<()> {
            let index = links.link("eth0")?.index;
            links.add_address(index, IpAddr::V4(addresses.0), PREFIX_V4)?;
            links.add_address(index, IpAddr::V6(addresses.1), PREFIX_V6)?;
            links.set_up(index, true)?;
            links.add_default_route(IpAddr::V4(gateway.0))?;
            links.add_default_route(IpAddr::V6(gateway.1))
        })?;
        let backend = Backend::start(&host, spec.port, spec.answer)?;
        let (namespace, name) = (spec.namespace.to_owned(), spec.name.to_owned());
        Ok(Pod { namespace, name, addresses, backend, _host: host })
    }

    /// How many requests it has answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.backend.answered()
    }

    /// Where its object is.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.name)
    }

    /// What a kubelet would say about it.
    #[must_use]
    pub fn status(&self, node: IpAddr, ready: bool) -> Value {
        let word = if ready { "True" } else { "False" };
        let condition = |kind: &str, word: &str| json!({"type": kind, "status": word});
        json!({"status": {
            "phase": "Running",
            "hostIP": node,
            "podIP": self.addresses.0,
            "podIPs": [{"ip": self.addresses.0}, {"ip": self.addresses.1}],
            "conditions": [condition("Initialized", "True"), condition("PodScheduled", "True"),
                condition("ContainersReady", word), condition("Ready", word)],
        }})
    }
}

/// The object of a pod on node `node`.
#[must_use]
pub fn object(spec: PodSpec<'_>, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": spec.name, "namespace": spec.namespace, "labels": {"app": spec.app}},
        "spec": {
            "nodeName": node, "automountServiceAccountToken": false,
            "containers": [{"name": "server", "image": "server", "ports": [{"containerPort": spec.port}]}],
        },
    })
}
