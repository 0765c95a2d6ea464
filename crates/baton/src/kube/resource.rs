//! Names of things in the API, and the paths they have.

use std::fmt::{self, Write};

/// A kind of object, as its path wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Its group; empty for the core.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
}

impl Kind {
    const fn core(plural: &'static str) -> Kind {
        Kind { group: "", version: "v1", plural }
    }

    /// What an object says as its `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// `v1` Services.
pub const SERVICES: Kind = Kind::core("services");
/// `v1` Nodes.
pub const NODES: Kind = Kind::core("nodes");
/// `v1` Endpoints.
pub const ENDPOINTS: Kind = Kind::core("endpoints");
/// `v1` `ConfigMaps`.
pub const CONFIG_MAPS: Kind = Kind::core("configmaps");
/// `v1` Events.
pub const EVENTS: Kind = Kind::core("events");
/// `discovery.k8s.io/v1` `EndpointSlices`.
pub const ENDPOINT_SLICES: Kind = Kind { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };
/// `coordination.k8s.io/v1` Leases.
pub const LEASES: Kind = Kind { group: "coordination.k8s.io", version: "v1", plural: "leases" };

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// What it is.
    pub kind: Kind,
    /// Where it is; `None` for what belongs to the cluster.
    pub namespace: Option<String>,
    /// What it is called.
    pub name: String,
}

impl ObjectRef {
    /// An object in a namespace.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> ObjectRef {
        ObjectRef { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }

    /// An object of the cluster.
    #[must_use]
    pub fn of_cluster(kind: Kind, name: &str) -> ObjectRef {
        ObjectRef { kind, namespace: None, name: name.to_owned() }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), Escaped(&self.name))
    }

    /// The path of one of its subresources, or its own.
    #[must_use]
    pub fn subresource(&self, subresource: Option<&str>) -> String {
        match subresource {
            Some(name) => format!("{}/{name}", self.path()),
            None => self.path(),
        }
    }

    /// The path it is created at.
    #[must_use]
    pub fn collection(&self) -> String {
        collection(self.kind, self.namespace.as_deref())
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.plural, self.name),
            None => write!(f, "{} {}", self.kind.plural, self.name),
        }
    }
}

/// Objects of one kind: all, or those of a namespace, or those that selectors pick.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// What they are.
    pub kind: Kind,
    /// In this namespace only.
    pub namespace: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
}

impl Selection {
    /// All of a kind.
    #[must_use]
    pub fn all(kind: Kind) -> Selection {
        Selection { kind, namespace: None, fields: None, labels: None }
    }

    /// All of a kind in a namespace.
    #[must_use]
    pub fn namespaced(kind: Kind, namespace: &str) -> Selection {
        Selection { namespace: Some(namespace.to_owned()), ..Selection::all(kind) }
    }

    /// One object. Rights for this name alone are enough.
    #[must_use]
    pub fn one(object: &ObjectRef) -> Selection {
        let fields = Some(format!("metadata.name={}", object.name));
        Selection { kind: object.kind, namespace: object.namespace.clone(), fields, labels: None }
    }

    /// The path with these parameters and the selectors.
    #[must_use]
    pub fn path(&self, parameters: &[(&str, &str)]) -> String {
        let mut path = collection(self.kind, self.namespace.as_deref());
        let selectors = [("fieldSelector", &self.fields), ("labelSelector", &self.labels)];
        let selectors = selectors.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        for (at, (key, value)) in parameters.iter().copied().chain(selectors).enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(path, "{}{key}={}", if at == 0 { '?' } else { '&' }, Escaped(value));
        }
        path
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.plural)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        for selector in [&self.fields, &self.labels].into_iter().flatten() {
            write!(f, " with {selector}")?;
        }
        Ok(())
    }
}

fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    match namespace {
        Some(namespace) => format!("{root}/namespaces/{}/{}", Escaped(namespace), kind.plural),
        None => format!("{root}/{}", kind.plural),
    }
}

/// Percent-encoded, everything but what RFC 3986 calls unreserved.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => f.write_char(byte.into())?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let service = ObjectRef::new(SERVICES, "default", "web");
        assert_eq!(service.path(), "/api/v1/namespaces/default/services/web");
        assert_eq!(service.subresource(Some("status")), "/api/v1/namespaces/default/services/web/status");
        assert_eq!(ObjectRef::of_cluster(NODES, "a/b").path(), "/api/v1/nodes/a%2Fb");
        let one = Selection::one(&ObjectRef::new(LEASES, "kube-system", "plndr-cp-lock"));
        assert_eq!(
            one.path(&[("watch", "1")]),
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?watch=1&fieldSelector=metadata.name%3Dplndr-cp-lock"
        );
        assert_eq!(Selection::all(SERVICES).path(&[]), "/api/v1/services");
    }
}
