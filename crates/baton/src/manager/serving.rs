//! Services: what was watched goes to `core::services`, and what follows from it to the keeper, the API and the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use baton_config::manager::ServicesInterface;
use baton_core::lease::LeaseName;
use baton_core::services::{self, Change, Happening, Ingress, Key, Kind, Options, Placement, Services, Touched};
use baton_net::clock;
use serde_json::{Map, Value, json};
use tracing::{debug, info, warn};

use super::{Manager, controlplane, objects};
use crate::kube::events::{Involved, Severity};
use crate::kube::watch;
use crate::kube::write::{Changed, Written};
use crate::kube::{ObjectRef, SERVICES};

/// Labels and ports follow changes this much later: many come at once.
const TIDY: Duration = Duration::from_millis(30);
/// The annotation that names the announcing node.
const VIP_HOST: &str = "kube-vip.io/vipHost";

/// What is known of Services.
pub(super) struct Serving {
    pub(super) state: Services,
    pub(super) host_known: bool,
    /// Why a kind of object cannot be read, while it cannot.
    pub(super) refused: BTreeMap<&'static str, String>,
}

impl Serving {
    pub(super) fn new(options: Options) -> Serving {
        Serving { state: Services::new(options), host_known: false, refused: BTreeMap::new() }
    }
}

/// The configuration, as decisions about Services have it.
pub(super) fn options(
    settings: &baton_config::manager::ManagerSettings,
    services: &baton_config::manager::Services,
    interface: &str,
    lease: LeaseName,
    control_plane: Option<&controlplane::ControlPlane>,
) -> Options {
    Options {
        node: settings.node.as_str().into(),
        interface: interface.into(),
        placement: match &services.interface {
            ServicesInterface::Same => Placement::Default,
            ServicesInterface::Auto => Placement::Auto,
            ServicesInterface::Named(name) => Placement::Named(name.as_str().into()),
        },
        prefix4: settings.subnet.v4,
        prefix6: settings.subnet.v6,
        namespace: services.namespace.as_deref().map(Into::into),
        class_name: services.class.name.as_str().into(),
        class_only: services.class.only,
        class_legacy: services.class.legacy,
        per_service: services.per_service,
        on_demand: services.on_demand,
        lease,
        lease_duration: settings.election.duration,
        control_plane: control_plane.map(controlplane::ControlPlane::addresses).unwrap_or_default(),
        control_plane_lease: control_plane.map(|c| c.lease.clone()),
        dns: services.dns_mode,
        disable_updates: !services.write_status,
        security: services.security,
        labels: settings.node_labels,
        upnp: services.upnp,
        mirror: services.mirror,
    }
}

impl Manager {
    /// A Service was watched.
    pub(super) fn service_seen(&mut self, change: watch::Change<objects::Service>) {
        let Some(serving) = &mut self.serving else { return };
        let known = |key: &Key| serving.state.service(key).is_some();
        let change = match change {
            watch::Change::Restarted(all) => {
                self.counters.events("ADDED", all.len());
                Change::Services(all.into_iter().map(Into::into).collect())
            }
            watch::Change::Applied(one) => {
                let service: services::Service = one.into();
                self.counters.events(if known(&service.key) { "MODIFIED" } else { "ADDED" }, 1);
                Change::Service(service)
            }
            watch::Change::Deleted(one) => {
                self.counters.events("DELETED", 1);
                Change::ServiceGone(services::Service::from(one).key)
            }
            watch::Change::Refused(error) => return self.refused("services", &error.to_string()),
        };
        serving.refused.remove("services");
        self.change(change);
    }

    /// Endpoints of a Service were watched.
    pub(super) fn slice_seen(&mut self, change: watch::Change<objects::Slice>) {
        let Some(serving) = &mut self.serving else { return };
        let change = match change {
            watch::Change::Restarted(all) => Change::Slices(all.into_iter().map(Into::into).collect()),
            watch::Change::Applied(one) => Change::Slice(one.into()),
            watch::Change::Deleted(one) => Change::SliceGone(services::Slice::from(one).key),
            watch::Change::Refused(error) => return self.refused("endpoints", &error.to_string()),
        };
        serving.refused.remove("endpoints");
        self.change(change);
    }

    fn refused(&mut self, what: &'static str, why: &str) {
        warn!("the API server does not show {what}: {why}");
        if let Some(serving) = &mut self.serving {
            serving.refused.insert(what, why.to_owned());
        }
    }

    /// Something about Services is another: what follows is done.
    pub(super) fn change(&mut self, change: Change) {
        let Some(serving) = &mut self.serving else { return };
        let started = Instant::now();
        let was_ready = serving.state.ready();
        let touched = serving.state.handle(clock::now(), change);
        let ready = serving.state.ready();
        self.follow(touched, started);
        if ready && !was_ready {
            self.all_known();
        }
    }

    fn follow(&mut self, touched: Touched, started: Instant) {
        for address in touched.addresses {
            self.settle_address(address);
        }
        for lease in touched.leases {
            self.settle_lease(&lease);
        }
        if touched.names {
            self.look_up();
        }
        let took = started.elapsed().as_secs_f64();
        for key in touched.services {
            self.counters.reconciled(&key.namespace, took);
            self.write(&key);
        }
        for happening in touched.happenings {
            self.happened(happening);
        }
        self.tidy_soon();
        self.outbox.flush(&self.parts.keeper);
    }

    /// The first time that everything was read: what a predecessor left and nobody keeps goes.
    fn all_known(&mut self) {
        let count = self.serving.as_ref().map_or(0, |s| s.state.keys().count());
        info!(event = "synced", "{count} Services of type LoadBalancer are known");
        let lease = self.serving.as_ref().map(|s| s.state.options().lease.clone());
        if let Some(lease) = lease {
            self.settle_lease(&lease);
        }
        self.remove_strays();
    }

    /// Has the API say what is so.
    fn write(&mut self, key: &Key) {
        let Some(serving) = self.serving.as_ref().filter(|_| self.leaving.is_none()) else { return };
        let (Some(service), Some(plan)) = (serving.state.service(key), serving.state.plan(key)) else { return };
        let object = ObjectRef::new(SERVICES, &key.namespace, &key.name);
        if let Some(host) = plan.vip_host {
            let uid = service.uid.clone();
            self.writer.edit(object.clone(), None, "vipHost", move |service| annotate(service, &uid, &host));
        }
        if let Some(ingress) = plan.ingress {
            let (uid, ingress) = (service.uid.clone(), ingress_value(&ingress));
            self.writer.edit(object, Some("status"), "ingress", move |service| put_ingress(service, &uid, &ingress));
        }
    }

    /// What became of an edit that could not be done.
    pub(super) fn written(&mut self, done: &Written) {
        let what = done.subresource.map_or_else(String::new, |s| format!("/{s}"));
        match &done.result {
            Ok(Changed::Yes) => debug!("written: {}{what}", done.object.path()),
            Ok(Changed::No) => {}
            Err(error) => warn!("not written: {}{what}: {error}", done.object.path()),
        }
    }

    fn happened(&mut self, happening: Happening) {
        let Happening { key, uid, kind, message } = happening;
        match kind {
            Kind::Refused => warn!(event = "service", service = %key, reason = kind.reason(), "{key}: {message}"),
            _ => info!(event = "service", service = %key, reason = kind.reason(), "{key}: {message}"),
        }
        let involved = Involved {
            api_version: "v1".to_owned(),
            kind: "Service",
            namespace: Some(key.namespace.to_string()),
            name: key.name.to_string(),
            uid: uid.to_string(),
        };
        let severity = if kind.severity() == "Normal" { Severity::Normal } else { Severity::Warning };
        self.recorder.record(involved, severity, kind.reason(), &message);
    }

    /// Labels and ports are to follow.
    pub(super) fn tidy_soon(&mut self) {
        self.tidy_at.get_or_insert_with(|| tokio::time::Instant::now() + TIDY);
    }
}

/// Another Service of the same name is none of ours.
fn is(object: &Value, uid: &str) -> bool {
    object["metadata"]["uid"].as_str() == Some(uid)
}

fn annotate(service: &mut Value, uid: &str, host: &str) -> Changed {
    if !is(service, uid) || service["metadata"]["annotations"][VIP_HOST].as_str() == Some(host) {
        return Changed::No;
    }
    let annotations = &mut service["metadata"]["annotations"];
    if !annotations.is_object() {
        *annotations = Value::Object(Map::new());
    }
    annotations[VIP_HOST] = Value::from(host);
    Changed::Yes
}

fn ingress_value(ingress: &[Ingress]) -> Value {
    let port = |port: &services::Port| json!({"port": port.port, "protocol": port.protocol.name()});
    let one = |one: &Ingress| json!({"ip": &*one.ip, "ports": one.ports.iter().map(port).collect::<Vec<_>>()});
    ingress.iter().map(one).collect()
}

fn put_ingress(service: &mut Value, uid: &str, ingress: &Value) -> Changed {
    if !is(service, uid) || service["status"]["loadBalancer"]["ingress"] == *ingress {
        return Changed::No;
    }
    if !service["status"].is_object() {
        service["status"] = json!({});
    }
    if !service["status"]["loadBalancer"].is_object() {
        service["status"]["loadBalancer"] = json!({});
    }
    service["status"]["loadBalancer"]["ingress"] = ingress.clone();
    Changed::Yes
}
