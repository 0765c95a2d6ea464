//! `/metrics`: the status document as OpenMetrics. Names begin with `baton_` and carry their unit.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::document::{Backend, Document};

/// What the page is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// One scrape. Made anew each time, so that what is gone from the configuration is gone from the page.
struct Page {
    registry: Registry,
}

impl Page {
    fn gauge(&mut self, name: &str, unit: Option<Unit>, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).set(value);
        }
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, family),
            None => self.registry.register(name, help, family),
        }
    }

    /// A gauge without labels.
    fn value(&mut self, name: &str, unit: Option<Unit>, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, gauge),
            None => self.registry.register(name, help, gauge),
        }
    }

    fn counter(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).inc_by(value);
        }
        self.registry.register(name, help, family);
    }
}

fn seconds_of_ms(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn seconds_of_us(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64()
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// The page.
#[must_use]
pub fn page(d: &Document) -> String {
    let mut page = Page { registry: Registry::with_prefix("baton") };
    instance(&mut page, d);
    addresses(&mut page, d);
    peers(&mut page, d);
    balancers(&mut page, d);
    let mut text = String::new();
    encode(&mut text, &page.registry).expect("writing to a string does not fail");
    text
}

fn instance(page: &mut Page, d: &Document) {
    let build = vec![("version", d.version.clone()), ("node", d.node.clone())];
    page.gauge("build_info", None, "The program and the node; always 1", [(build, 1.0)]);
    page.value("ready", None, "Voting and in contact with a majority", flag(d.ready));
    page.value("voting", None, "The quiet time after the start is over", flag(d.voting));
    let voters = u32::try_from(d.voters).map_or(f64::MAX, f64::from);
    page.value("voters", None, "Voters, this node included", voters);
    page.value("fence", None, "The kernel enforces the end of every hold", flag(d.fence));
    let s = || Some(Unit::Seconds);
    page.value("lease", s(), "Duration of one grant", seconds_of_ms(d.lease_ms));
    page.value("uptime", s(), "Time since the start", seconds_of_ms(d.uptime_ms));
    let (lag, lag_max) = (seconds_of_us(d.renewal_lag_us), seconds_of_us(d.renewal_lag_max_us));
    page.value("renewal_lag", s(), "Lag of the latest renewal behind its time", lag);
    page.value("renewal_lag_max", s(), "Largest lag of a renewal since the start", lag_max);
    let dropped = d.dropped.iter().map(|(why, n)| (vec![("reason", why.clone())], *n));
    page.counter("datagrams_dropped", "Datagrams dropped, by reason", dropped);
    let n = u32::try_from(d.warnings.len()).map_or(f64::MAX, f64::from);
    page.value("warnings", None, "Warnings that `baton status` shows now", n);
}

fn addresses(page: &mut Page, d: &Document) {
    let rows = |value: &dyn Fn(&super::document::Address) -> f64| {
        d.addresses.iter().map(|a| (labels_of(a), value(a))).collect::<Vec<_>>()
    };
    page.gauge("address_held", None, "This node holds the address", rows(&|a| flag(a.role == "holder")));
    page.gauge("address_healthy", None, "What is behind the address passes here", rows(&|a| flag(a.healthy)));
    let stranger = rows(&|a| flag(a.stranger.is_some()));
    page.gauge("address_stranger", None, "A host that is no peer answers for the address", stranger);
    let remaining = rows(&|a| seconds_of_ms(a.remaining_ms.unwrap_or(0)));
    page.gauge("address_remaining", Some(Unit::Seconds), "Time until the known hold ends unless renewed", remaining);
    page.counter("address_gains", "Times this node gained it", d.addresses.iter().map(|a| (labels_of(a), a.gains)));
    page.counter("address_losses", "Times this node lost it", d.addresses.iter().map(|a| (labels_of(a), a.losses)));
}

fn labels_of(a: &super::document::Address) -> Labels {
    vec![("address", a.address.clone()), ("interface", a.interface.clone())]
}

fn peers(page: &mut Page, d: &Document) {
    let labels = |p: &super::document::Peer| vec![("peer", p.name.clone()), ("address", p.address.clone())];
    let reachable = d.peers.iter().map(|p| (labels(p), flag(p.reachable)));
    page.gauge("peer_reachable", None, "The peer was heard recently", reachable);
    let agrees = d.peers.iter().map(|p| (labels(p), flag(p.same_voters)));
    page.gauge("peer_same_voters", None, "The peer has the same list of voters", agrees);
    let trip = d.peers.iter().filter_map(|p| Some((labels(p), seconds_of_us(p.round_trip_us?))));
    page.gauge("peer_round_trip", Some(Unit::Seconds), "Round trip of the last answered message", trip);
    let heard = d.peers.iter().filter_map(|p| Some((labels(p), seconds_of_ms(p.last_contact_ms?))));
    page.gauge("peer_silence", Some(Unit::Seconds), "Time since the peer's last valid message", heard);
}

fn balancers(page: &mut Page, d: &Document) {
    let listeners = d.balancers.iter().flat_map(|b| {
        b.listeners
            .iter()
            .map(|l| (vec![("balancer", b.name.clone()), ("listen", l.address.clone())], flag(l.error.is_none())))
    });
    page.gauge("listener_up", None, "The listening socket is there", listeners);
    let refused = d.balancers.iter().map(|b| (vec![("balancer", b.name.clone())], b.refused));
    page.counter("balancer_refused", "Clients refused because no backend could be had", refused);
    let backends: Vec<(Labels, &Backend)> = d
        .balancers
        .iter()
        .flat_map(|b| {
            b.backends.iter().map(|e| (vec![("balancer", b.name.clone()), ("backend", e.address.clone())], e))
        })
        .collect();
    let counts = |value: &dyn Fn(&Backend) -> u64| {
        backends.iter().map(|(labels, b)| (labels.clone(), value(b))).collect::<Vec<_>>()
    };
    let up = backends.iter().map(|(labels, b)| (labels.clone(), flag(b.state != "down")));
    page.gauge("backend_up", None, "The backend may get traffic", up);
    let active =
        backends.iter().map(|(labels, b)| (labels.clone(), u32::try_from(b.active).map_or(f64::MAX, f64::from)));
    page.gauge("backend_connections_active", None, "Connections (or requests) now", active);
    page.counter("backend_connections", "Connections (or requests) so far", counts(&|b| b.connections));
    page.counter("backend_connect_failures", "Connects that failed", counts(&|b| b.failures));
    page.counter("backend_received_bytes", "Bytes from clients to the backend", counts(&|b| b.bytes_in));
    page.counter("backend_sent_bytes", "Bytes from the backend to clients", counts(&|b| b.bytes_out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::document::tests::sample;

    #[test]
    fn units_and_ends() {
        let text = page(&sample());
        for line in [
            "baton_address_held{address=\"10.0.0.100\",interface=\"eth0\"} 1.0",
            "baton_address_gains_total{address=\"10.0.0.100\",interface=\"eth0\"} 3",
            "baton_lease_seconds 0.5",
            "baton_peer_round_trip_seconds{peer=\"b\",address=\"10.0.0.2:10000\"} 0.00025",
            "baton_backend_up{balancer=\"api\",backend=\"10.0.0.2:6443\"} 0.0",
            "baton_datagrams_dropped_total{reason=\"not a peer\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "OpenMetrics has an end");
    }

    /// Every metric is explained in docs/status.md.
    #[test]
    fn the_documentation_names_every_metric() {
        let documentation = include_str!("../../../../docs/status.md");
        let text = page(&sample());
        let names = text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(['{', ' ']).next());
        for name in names {
            assert!(documentation.contains(&format!("`{name}`")), "{name} is not explained");
        }
    }
}
