//! Tables transcribed from what kube-vip-cloud-provider does, and properties over long scripts.

mod ledger;
mod pools;
mod script;

use super::*;

/// A Service that wants an address, one port 80/tcp.
pub(super) fn service(namespace: &str, name: &str) -> Service {
    Service {
        key: Key { namespace: namespace.into(), name: name.into() },
        uid: format!("uid-{namespace}-{name}"),
        version: "1".into(),
        created: "2026-01-01T00:00:00Z".into(),
        balanced: true,
        class: None,
        deleting: false,
        finalizer: false,
        label: false,
        annotation: String::new(),
        interface: String::new(),
        spec_ip: String::new(),
        status: Vec::new(),
        ports: vec![(Protocol::Tcp, 80)],
        policy: Policy::SingleStack,
        families: Vec::new(),
    }
}

pub(super) fn rules(data: &[(&str, &str)]) -> Rules {
    Rules::read(data.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
}

/// What an API server does with a change, apart from the version.
pub(super) fn write(service: &mut Service, change: &Change) {
    let set = |field: &mut String, value: &Option<String>| {
        if let Some(value) = value {
            field.clone_from(value);
        }
    };
    set(&mut service.annotation, &change.annotation);
    set(&mut service.spec_ip, &change.spec_ip);
    set(&mut service.interface, &change.interface);
    service.label = change.label.unwrap_or(service.label);
    service.finalizer = change.finalizer.unwrap_or(service.finalizer);
}
