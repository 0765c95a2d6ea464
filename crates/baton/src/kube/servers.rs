//! The cluster's API servers, as its own `kubernetes` Service has them: whom to ask when the usual one is away.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::access::Access;
use super::client::Client;
use super::resource::{ENDPOINT_SLICES, ObjectRef, Selection};
use super::watch::{Change, watch};

/// How long the list is not asked for again when it is forbidden.
const FORBIDDEN: Duration = Duration::from_secs(1800);

/// What is read of an `EndpointSlice`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Slice {
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    addresses: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Port {
    port: Option<u16>,
}

/// Keeps `access` told, for as long as the runtime lives.
pub fn follow(access: Access, client: Client) {
    tokio::spawn(async move {
        loop {
            let slice = ObjectRef::new(ENDPOINT_SLICES, "default", "kubernetes");
            let mut changes = watch::<Slice>(client.clone(), Selection::one(&slice));
            loop {
                match changes.recv().await {
                    Some(Change::Restarted(slices)) => access.remember(slices.iter().flat_map(servers).collect()),
                    Some(Change::Applied(slice)) => access.remember(servers(&slice)),
                    Some(Change::Deleted(_)) => {}
                    Some(Change::Refused(_)) | None => break,
                }
            }
            drop(changes);
            tokio::time::sleep(FORBIDDEN).await;
        }
    });
}

fn servers(slice: &Slice) -> Vec<SocketAddr> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    let ips = addresses.filter_map(|text| text.parse::<IpAddr>().ok());
    port.map_or_else(Vec::new, |port| ips.map(|ip| SocketAddr::new(ip, port)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_three() {
        let text = r#"{"metadata":{},"addressType":"IPv4","ports":[{"name":"https","port":6443,"protocol":"TCP"}],
            "endpoints":[{"addresses":["10.0.0.1"]},{"addresses":["10.0.0.2"]},{"addresses":["no"]}]}"#;
        let slice: Slice = serde_json::from_str(text).unwrap();
        let expected: Vec<SocketAddr> = vec!["10.0.0.1:6443".parse().unwrap(), "10.0.0.2:6443".parse().unwrap()];
        assert_eq!(servers(&slice), expected);
        assert!(servers(&Slice::default()).is_empty());
    }
}
