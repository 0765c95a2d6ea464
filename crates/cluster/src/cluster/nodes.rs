//! What is done to nodes: power, cables, API servers, daemons.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use baton_lab::backend::Backend;
use baton_lab::host::{Host, gone};
use baton_lab::lab::{INTERFACE, Part, v4, v6};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{CLIENT, Cluster, NODE_PORT, Powered, STORE};
use crate::certificates::{MASTERS, User};
use crate::components::{API_PORT, log};
use crate::daemon::{self, Access, Daemon};
use crate::pods;

impl Cluster {
    /// Gives a node power, a cable, and what is part of a node; its daemon, too, if it has one.
    pub fn power_on(&mut self, place: usize) -> io::Result<()> {
        let number = self.nodes[place].number;
        if self.nodes[place].powered.is_some() {
            return Ok(());
        }
        let host = Host::new(&self.name(place))?;
        let _ = fs::remove_dir_all(host.directory().join("run"));
        let port = self.switch.connect(&host, INTERFACE, number)?;
        host.run(|links| {
            links.add_default_route(IpAddr::V4(v4(CLIENT)))?;
            links.add_default_route(IpAddr::V6(v6(CLIENT)))
        })?;
        self.observer.watch(&self.switch, &port, number)?;
        let server = Backend::start(&host, NODE_PORT, b'0' + number)?;
        if self.plan.pods {
            let all: Vec<u8> = self.nodes.iter().map(|node| node.number).collect();
            pods::prepare(&host, number, &all)?;
            self.components.proxy(&host, &self.name(place), &self.proxy_conf)?;
        }
        let powered =
            Powered { _server: server, pods: BTreeMap::new(), places: 2, port, api: None, daemon: None, host };
        self.nodes[place].powered = Some(powered);
        self.start_api_server(place)?;
        self.start_daemon(place)
    }

    /// Takes a node's power: everything stops in the middle of what it did.
    pub fn power_off(&mut self, place: usize) -> io::Result<()> {
        let Some(powered) = self.nodes[place].powered.take() else { return Ok(()) };
        if let Some(daemon) = powered.daemon {
            let _ = kill(daemon, Signal::SIGKILL);
        }
        let cut = self.switch.disconnect(&powered.port);
        self.observer.forget(self.nodes[place].number);
        powered.host.kill_all();
        cut
    }

    pub(super) fn powered(&mut self, place: usize) -> &mut Powered {
        self.nodes[place].powered.as_mut().expect("the node has power")
    }

    /// Starts the API server of a node.
    pub fn start_api_server(&mut self, place: usize) -> io::Result<()> {
        let address = IpAddr::V4(v4(self.nodes[place].number));
        if self.powered(place).api.is_some_and(|api| !gone(api)) {
            return Ok(());
        }
        let api = self.components.api_server(self.host(place), address, true)?;
        self.powered(place).api = Some(api);
        Ok(())
    }

    pub(super) fn start_store_api(&mut self) -> io::Result<()> {
        if self.store_api.is_none_or(gone) {
            self.store_api = Some(self.components.api_server(&self.store, IpAddr::V4(v4(STORE)), false)?);
        }
        Ok(())
    }

    /// Starts every API server that is not running.
    pub fn start_api_servers(&mut self) -> io::Result<()> {
        self.start_store_api()?;
        for place in 0..self.nodes.len() {
            if self.nodes[place].powered.is_some() {
                self.start_api_server(place)?;
            }
        }
        Ok(())
    }

    /// Sends a signal to the API server of a node.
    pub fn signal_api_server(&mut self, place: usize, signal: Signal) {
        if let Some(api) = self.powered(place).api {
            let _ = kill(api, signal);
        }
    }

    /// Sends a signal to every API server.
    pub fn signal_api_servers(&self, signal: Signal) {
        let nodes = self.nodes.iter().filter_map(|node| node.powered.as_ref()?.api);
        for api in nodes.chain(self.store_api) {
            let _ = kill(api, signal);
        }
    }

    /// Gives a node a daemon, and starts it.
    pub fn deploy(&mut self, place: usize, daemon: Daemon) -> io::Result<()> {
        let host = self.host(place);
        let name = self.name(place);
        for directory in [daemon::etc_kubernetes(host), daemon::service_account(host)] {
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory)?;
        }
        match &daemon.access {
            Access::AdminConf => {
                let user = format!("baton-{name}");
                let user = User { name: &user, group: Some(MASTERS) };
                // As kubeadm writes it: the control plane's endpoint. Without one, the node's own API server.
                let with = |flag: &str| daemon.arguments.iter().skip_while(|argument| *argument != flag).nth(1);
                let endpoint = with("--address").and_then(|list| list.split(',').next()?.parse().ok());
                let endpoint = endpoint.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                let server = format!("https://{}", SocketAddr::new(endpoint, API_PORT));
                let conf = self.authority().kubeconfig(&format!("baton-{name}"), user, &server)?;
                fs::copy(conf, daemon::etc_kubernetes(host).join("admin.conf"))?;
            }
            Access::ServiceAccount { namespace, name } => {
                let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
                let wish = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
                let token = self.api().create(&path, &wish)?;
                let directory = daemon::service_account(host);
                fs::write(directory.join("token"), token["status"]["token"].as_str().unwrap_or_default())?;
                fs::write(directory.join("namespace"), namespace)?;
                fs::copy(self.authority().certificate(), directory.join("ca.crt"))?;
            }
        }
        self.nodes[place].daemon = Some(daemon);
        self.start_daemon(place)
    }

    /// Starts a node's daemon, if it has one and it is not running.
    pub fn start_daemon(&mut self, place: usize) -> io::Result<()> {
        let Some(daemon) = self.nodes[place].daemon.clone() else { return Ok(()) };
        if self.powered(place).daemon.is_some_and(|daemon| !gone(daemon)) {
            return Ok(());
        }
        let pid = daemon.start(self.host(place), &self.name(place))?;
        self.powered(place).daemon = Some(pid);
        Ok(())
    }

    /// The process of a node's daemon.
    #[must_use]
    pub fn daemon(&self, place: usize) -> Option<Pid> {
        self.nodes[place].powered.as_ref()?.daemon.filter(|daemon| !gone(*daemon))
    }

    /// Sends a signal to a node's daemon.
    pub fn signal(&self, place: usize, signal: Signal) {
        if let Some(daemon) = self.daemon(place) {
            let _ = kill(daemon, signal);
        }
    }

    /// `kill -9` of a node's daemon. Whoever wants it back starts it.
    pub fn kill(&mut self, place: usize) {
        self.signal(place, Signal::SIGKILL);
        while self.daemon(place).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks a node's daemon to end and waits for it; how long that took, if it was less than `patience`.
    #[must_use]
    pub fn terminate(&mut self, place: usize, patience: Duration) -> Option<Duration> {
        let from = Instant::now();
        self.signal(place, Signal::SIGTERM);
        while self.daemon(place).is_some() {
            if from.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Some(from.elapsed())
    }

    /// Ends and forgets a node's daemon; its files go, too.
    pub fn undeploy(&mut self, place: usize) {
        let _ = self.terminate(place, Duration::from_secs(5));
        self.kill(place);
        self.nodes[place].daemon = None;
        if let Some(powered) = &self.nodes[place].powered {
            for name in ["run", "state"] {
                let _ = fs::remove_dir_all(powered.host.directory().join(name));
            }
            let _ = fs::remove_file(log(&powered.host, "daemon"));
        }
    }

    /// Pulls a node's cable, or puts it back.
    pub fn set_cable(&self, place: usize, plugged: bool) -> io::Result<()> {
        let Some(powered) = &self.nodes[place].powered else { return Ok(()) };
        self.switch.set_cable(&powered.port, plugged)
    }

    /// Cuts a node off while its carrier stays, or joins it again.
    pub fn set_part(&self, place: usize, part: Part) -> io::Result<()> {
        let Some(powered) = &self.nodes[place].powered else { return Ok(()) };
        self.switch.set_part(&powered.port, part)
    }
}
