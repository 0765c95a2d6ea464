//! What sections of mode http ask for and do not get.

use baton_config::haproxy::model::{
    At, Backend, Condition, Format, FormatPart, Frontend, HttpAction, HttpRule, LogFormat, Sample, StatsPage,
};

use super::super::lines;
use super::{VARIABLES, answers, condition};

/// Takes what is not served: where, the words, why.
type Put<'a> = &'a mut dyn FnMut(At, &str, &str);

const LOOKS: &str = "conditions about requests may look at src, dst, path, url, method, hdr, nbsrv, srv_is_up, be_conn, \
                     fe_conn, queue and their like, not at TLS or stick tables";

/// Of a frontend.
pub fn unserved(front: &Frontend, put: Put<'_>) {
    let (at, name) = (front.at, format!("frontend {}", front.name));
    if !front.content_rules.is_empty() || !front.session_rules.is_empty() {
        put(at, &name, "of `tcp-request` only `connection` is served in mode http");
    }
    if front.log_format == LogFormat::Http(true) {
        put(at, "option httplog clf", "lines have the format of `option httplog`, or of `log-format`");
    }
    for switch in &front.switches {
        looks(switch.at, "use_backend", switch.condition.as_ref(), put);
    }
    for failing in &front.monitor_fail {
        looks(at, "monitor fail", Some(failing), put);
    }
    rules(&front.http_rules, "http-request", put);
    responses(&front.http_response_rules, put);
    page(at, &name, front.stats.as_ref(), put);
    for part in &lines::format(&front.log_format, front.mode).parts {
        match part {
            FormatPart::Variable { name, hex, .. } if *hex || !has_variable(name) => {
                put(at, &format!("log-format %{name}"), "lines of requests do not have it");
            }
            FormatPart::Sample(sample) if !lines::has_sample(sample) => {
                put(at, "log-format", "lines of requests may have src and dst samples only");
            }
            _ => {}
        }
    }
}

fn has_variable(name: &str) -> bool {
    lines::VARIABLES.contains(&name) || lines::OF_REQUESTS.contains(&name)
}

/// Of a backend.
pub fn unserved_back(back: &Backend, put: Put<'_>) {
    let name = format!("backend {}", back.name);
    if !back.content_rules.is_empty() && !back.listen {
        put(back.at, &name, "`tcp-request content` is not served in mode http");
    }
    rules(&back.http_rules, "http-request", put);
    responses(&back.http_response_rules, put);
    page(back.at, &name, back.stats.as_ref(), put);
}

fn page(at: At, name: &str, stats: Option<&StatsPage>, put: Put<'_>) {
    if stats.is_some_and(|stats| !stats.admin.is_empty()) {
        put(at, name, "`stats admin` is not served; the `stats socket` takes commands");
    }
}

fn looks(at: At, words: &str, asked: Option<&Condition>, put: Put<'_>) {
    if !condition::all_served(asked) {
        put(at, words, LOOKS);
    }
}

fn rules(rules: &[HttpRule], words: &str, put: Put<'_>) {
    for rule in rules {
        looks(rule.at, words, rule.condition.as_ref(), put);
        match &rule.action {
            HttpAction::SilentDrop => put(rule.at, words, "`silent-drop` is not served; `deny` refuses a request"),
            HttpAction::Deny(status) if !answers::has(*status) => {
                put(rule.at, words, "there is no page for this status; `http-request return` takes any");
            }
            HttpAction::SetHeader(_, format)
            | HttpAction::AddHeader(_, format)
            | HttpAction::Redirect { to: format, .. } => text(rule.at, words, format, put),
            HttpAction::Return { body, headers, .. } => {
                for format in body.iter().chain(headers.iter().map(|(_, format)| format)) {
                    text(rule.at, words, format, put);
                }
            }
            _ => {}
        }
    }
}

fn responses(list: &[HttpRule], put: Put<'_>) {
    for rule in list {
        match &rule.action {
            _ if rule.condition.is_some() => {
                put(rule.at, "http-response", "conditions about answers are not looked at");
            }
            HttpAction::SetHeader(_, format) | HttpAction::AddHeader(_, format) => {
                let looks_back = |part: &FormatPart| matches!(part, FormatPart::Sample(Sample::Header(..)));
                if format.parts.iter().any(looks_back) {
                    put(rule.at, "http-response", "texts about answers cannot have their headers");
                }
                text(rule.at, "http-response", format, put);
            }
            HttpAction::DelHeader(_) => {}
            _ => put(rule.at, "http-response", "`set-header`, `add-header` and `del-header` are served"),
        }
    }
}

fn text(at: At, words: &str, format: &Format, put: Put<'_>) {
    for part in &format.parts {
        let known = match part {
            FormatPart::Text(_) => true,
            FormatPart::Sample(sample) => condition::is_served(sample),
            FormatPart::Variable { name, hex, .. } => !hex && VARIABLES.contains(&name.as_str()),
        };
        if !known {
            put(at, words, "texts about requests may have the samples of conditions, and %ci %cp %fi %fp %HM %HP %HU");
        }
    }
}
