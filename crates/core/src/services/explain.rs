//! Why a Service is announced here, there or nowhere: the chain of conditions with their values.

use std::fmt;

use super::ask::{self, Source};
use super::backing::without_endpoints;
use super::object::{Key, Service, TrafficPolicy};
use super::plan::{Plan, Planned, Verdict, Why};
use super::state::Services;

/// Why a Service is announced here, there or nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The Service.
    pub key: Key,
    /// The conditions, in the order in which they are asked. After one that excludes the Service none follows.
    pub conditions: Vec<Condition>,
    /// What is odd and yet changes nothing.
    pub remarks: Vec<String>,
    /// What follows, in words.
    pub verdict: String,
}

/// One condition and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is asked.
    pub name: &'static str,
    /// It holds.
    pub ok: bool,
    /// With this value.
    pub value: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Service {}", self.key)?;
        for Condition { name, ok, value } in &self.conditions {
            writeln!(f, "  {:<3}  {name:<10}  {value}", if *ok { "ok" } else { "not" })?;
        }
        for remark in &self.remarks {
            writeln!(f, "  note {remark}")?;
        }
        writeln!(f, "  =>   {}", self.verdict)
    }
}

impl Services {
    /// Why a Service is announced here, there or nowhere.
    #[must_use]
    pub fn explain(&self, key: &Key) -> Explanation {
        let (Some(service), Some(plan)) = (self.service(key), self.plan(key)) else {
            let watched = self.options.namespace.as_deref().unwrap_or("all");
            let value = format!("no Service of type LoadBalancer has this name (namespaces watched: {watched})");
            return Explanation {
                key: key.clone(),
                conditions: vec![Condition { name: "type", ok: false, value }],
                remarks: Vec::new(),
                verdict: "announced nowhere".into(),
            };
        };
        let mut conditions = Vec::new();
        let mut ask = |name, ok, value| {
            conditions.push(Condition { name, ok, value });
            ok
        };
        ask("type", true, "LoadBalancer".into());
        if self.explain_ask(service, &plan, &mut ask) {
            self.explain_here(service, &plan, &mut ask);
        }
        Explanation {
            key: key.clone(),
            conditions,
            remarks: self.remarks(service),
            verdict: verdict(&plan.verdict, &self.options.node),
        }
    }

    /// What the Service asks for, the same on all nodes.
    fn explain_ask(
        &self,
        service: &Service,
        plan: &Plan,
        ask: &mut impl FnMut(&'static str, bool, String) -> bool,
    ) -> bool {
        let options = &self.options;
        if let Some(namespace) = &options.namespace {
            let value = format!("{}; watched: {namespace}", service.key.namespace);
            if !ask("namespace", ask::namespace_is_ours(service, options), value) {
                return false;
            }
        }
        let ignored = service.annotation("ignore");
        let value = ignored.map_or("not annotated".into(), |value| format!("kube-vip.io/ignore: {value}"));
        if !ask("ignore", !service.annotated("ignore"), value)
            || !ask("class", ask::class_is_ours(service, options), self.class(service))
        {
            return false;
        }
        let asked = ask::addresses(service);
        let listed: Vec<String> = plan.addresses.iter().map(|planned| planned.address.to_string()).collect();
        let value = match (asked.source, listed.is_empty()) {
            (Source::Nowhere, _) => "none yet: neither annotation, spec.loadBalancerIP nor status has one".into(),
            (source, true) if asked.names.is_empty() => format!("in {}", source.field()),
            (source, true) => format!("{} in {}: no usable address known", asked.names.join(", "), source.field()),
            (source, false) => format!("{} from {}", listed.join(", "), source.field()),
        };
        let refusal = ask::refusal(service, options, &asked);
        if !ask("address", !listed.is_empty() || refusal.is_some(), value) {
            return false;
        }
        refusal.is_none_or(|refusal| ask("supported", false, refusal.message))
    }

    fn class(&self, service: &Service) -> String {
        let options = &self.options;
        let found = service.class.as_deref().map_or("none".into(), |class| format!("\"{class}\""));
        let wanted = match (options.class_legacy, options.class_only, options.class_name.is_empty()) {
            (false, _, true) => "none".into(),
            (false, _, false) | (true, true, _) => format!("\"{}\"", options.class_name),
            (true, false, _) => format!("\"{}\" or none", options.class_name),
        };
        format!("{found}; expected: {wanted}")
    }

    /// What follows for this node.
    fn explain_here(&self, service: &Service, plan: &Plan, ask: &mut impl FnMut(&'static str, bool, String) -> bool) {
        if !self.ready() {
            ask("read", false, "not everything was read from the API server yet".into());
        }
        let places: Vec<String> = plan.addresses.iter().map(place).collect();
        ask("interface", plan.addresses.iter().all(|planned| planned.place.is_ok()), each(places));
        let backing = self.backing(&service.key);
        let (here, elsewhere) = (backing.serving_here, backing.serving_elsewhere);
        let mut value = match service.policy {
            TrafficPolicy::Cluster => format!("policy Cluster: {} answering", here.saturating_add(elsewhere)),
            TrafficPolicy::Local => format!("policy Local: {here} answering on this node, {elsewhere} elsewhere"),
        };
        if here > backing.ready_here {
            value += &format!(" ({} here terminating)", here - backing.ready_here);
        }
        if without_endpoints(service) {
            value += "; none needed: allow-reconcile-without-endpoints";
        }
        ask("endpoints", backing.allows(service), value);
        let mine = |planned: &Planned| planned.holder.as_ref().is_some_and(|holder| *holder == self.options.node);
        let leases = plan.addresses.iter().map(|planned| {
            let holder = planned.holder.as_deref().unwrap_or("nobody that is known here");
            let shared = if planned.shared_with > 0 { " (shared address: the oldest Service's)" } else { "" };
            let waits = self.waits_for(planned.address);
            let waits = waits.map_or(String::new(), |former| format!("; {former} may still be in use elsewhere"));
            format!("{}{shared} held by {holder}{waits}", planned.lease)
        });
        ask("lease", plan.addresses.iter().all(mine), each(leases.collect()));
        let held = plan.addresses.iter().map(|planned| {
            format!("{} {}", planned.address, if planned.held { "answers here" } else { "does not answer here" })
        });
        ask("held", plan.addresses.iter().all(|planned| planned.held), held.collect::<Vec<_>>().join(", "));
    }
}

fn place(planned: &Planned) -> String {
    match &planned.place {
        Ok(place) => format!("{}/{} on {} ({})", planned.address, place.prefix, place.interface, place.why),
        Err(refusal) => refusal.message.clone(),
    }
}

/// Several values, each once.
fn each(mut values: Vec<String>) -> String {
    values.dedup();
    values.join("; ")
}

fn verdict(verdict: &Verdict, node: &str) -> String {
    match verdict {
        Verdict::Here => format!("announced here (node {node})"),
        Verdict::There(holder) => format!("announced there: by node {holder}, as far as the Lease says"),
        Verdict::Nowhere(why) => format!("announced nowhere, as far as this node knows: {}", reason(why)),
    }
}

fn reason(why: &Why) -> String {
    match why {
        Why::Namespace => "its namespace is not watched".into(),
        Why::Ignored => "it is to be ignored".into(),
        Why::Class => "its class is not ours".into(),
        Why::Refused(refusal) => refusal.message.clone(),
        Why::NoAddress => "it has no address".into(),
        Why::Unresolved => "its name has no usable address".into(),
        Why::Starting => "this node has not read everything yet".into(),
        Why::NoEndpoints => "no endpoint answers".into(),
        Why::NoLocalEndpoints => "no endpoint on this node, and no other node is known to hold the Lease".into(),
        Why::Former(lease) => format!("until {lease}, which governed the address before, has run out"),
        Why::NoHolder => "nobody holds the Lease yet".into(),
        Why::Opening => "this node holds the Lease; the address is about to come up".into(),
    }
}
