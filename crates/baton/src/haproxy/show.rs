//! What is shown of the statistics beside the CSV: the page, and figures for Prometheus under haproxy's names.

use std::fmt::Write as _;

use baton_config::haproxy::model::StatsPage;

use super::daemon::Daemon;
use super::stats::{Kind, Row};

/// Name, column, kind, who has it, help.
type Figure = (&'static str, &'static str, &'static str, (bool, bool, bool), &'static str);

/// Figures by column: name after `haproxy_frontend_` and so on, kind, help. `(front, back, server)` tells who has it.
const FIGURES: &[Figure] = &[
    ("current_sessions", "scur", "gauge", (true, true, true), "Current number of active sessions"),
    ("max_sessions", "smax", "gauge", (true, true, true), "Highest value of current sessions"),
    ("limit_sessions", "slim", "gauge", (true, true, true), "Limit of sessions"),
    ("sessions_total", "stot", "counter", (true, true, true), "Total number of sessions"),
    ("connections_total", "conn_tot", "counter", (true, false, false), "Total number of new connections"),
    ("bytes_in_total", "bin", "counter", (true, true, true), "Total number of request bytes"),
    ("bytes_out_total", "bout", "counter", (true, true, true), "Total number of response bytes"),
    ("requests_denied_total", "dreq", "counter", (true, true, false), "Total number of denied sessions"),
    ("request_errors_total", "ereq", "counter", (true, false, false), "Total number of invalid requests"),
    ("denied_connections_total", "dcon", "counter", (true, false, false), "Total number of denied connections"),
    ("current_session_rate", "rate", "gauge", (true, true, true), "Sessions per second over the last second"),
    ("max_session_rate", "rate_max", "gauge", (true, true, true), "Highest value of sessions per second"),
    ("current_queue", "qcur", "gauge", (false, true, true), "Current number of queued connections"),
    ("max_queue", "qmax", "gauge", (false, true, true), "Highest value of queued connections"),
    ("connection_errors_total", "econ", "counter", (false, true, true), "Total number of failed connections"),
    ("connection_attempts_total", "connect", "counter", (false, true, true), "Total number of connections made"),
    ("retry_warnings_total", "wretr", "counter", (false, true, true), "Total number of connection retries"),
    ("redispatch_warnings_total", "wredis", "counter", (false, true, true), "Total number of redispatches"),
    ("client_aborts_total", "cli_abrt", "counter", (false, true, true), "Total number of transfers aborted by clients"),
    ("server_aborts_total", "srv_abrt", "counter", (false, true, true), "Total number of transfers aborted by servers"),
    ("weight", "weight", "gauge", (false, true, true), "Weight"),
    ("active_servers", "act", "gauge", (false, true, false), "Number of active servers that are up"),
    ("backup_servers", "bck", "gauge", (false, true, false), "Number of backup servers that are up"),
    ("check_failures_total", "chkfail", "counter", (false, false, true), "Total number of failed checks"),
    ("check_up_down_total", "chkdown", "counter", (false, true, true), "Total number of UP to DOWN transitions"),
    ("downtime_seconds_total", "downtime", "counter", (false, true, true), "Total time in DOWN state"),
    ("loadbalanced_total", "lbtot", "counter", (false, true, true), "Total number of selections by the balancer"),
];

impl Daemon {
    /// Figures for Prometheus.
    #[must_use]
    pub fn figures(&self) -> String {
        let rows = self.rows();
        let mut text = String::new();
        for (kind, word) in [(Kind::Front, "frontend"), (Kind::Back, "backend"), (Kind::Server, "server")] {
            let its: Vec<&Row> = rows.iter().filter(|row| row.kind == kind).collect();
            let label = |row: &Row| match kind {
                Kind::Server => format!("proxy=\"{}\",server=\"{}\"", row.get("pxname"), row.get("svname")),
                _ => format!("proxy=\"{}\"", row.get("pxname")),
            };
            states(&its, word, &label, &mut text);
            for (name, column, sort, who, help) in FIGURES {
                let has = match kind {
                    Kind::Front => who.0,
                    Kind::Back => who.1,
                    Kind::Server => who.2,
                };
                let values: Vec<_> = its.iter().filter(|row| !row.get(column).is_empty()).collect();
                if !has || values.is_empty() {
                    continue;
                }
                let _ = writeln!(text, "# HELP haproxy_{word}_{name} {help}.\n# TYPE haproxy_{word}_{name} {sort}");
                for row in values {
                    let _ = writeln!(text, "haproxy_{word}_{name}{{{}}} {}", label(row), row.get(column));
                }
            }
        }
        text
    }

    /// What a frontend or backend says about its page.
    fn stats_of(&self, section: &str) -> Option<&StatsPage> {
        let front = self.config.frontends.iter().find(|front| front.name == section);
        let back = self.config.backends.iter().find(|back| back.name == section);
        front.and_then(|front| front.stats.as_ref()).or_else(|| back?.stats.as_ref())
    }

    /// The rows that the page of a section may show: `stats scope`.
    #[must_use]
    pub fn rows_of(&self, section: &str) -> Vec<Row> {
        let scope = self.stats_of(section).map_or(&[][..], |stats| &stats.scope);
        let mut rows = self.rows();
        rows.retain(|row| {
            let name = row.get("pxname");
            scope.is_empty() || scope.iter().any(|shown| shown == name || shown == "." && name == section)
        });
        rows
    }

    /// The page of a section, for people.
    #[must_use]
    pub fn page(&self, section: &str) -> String {
        let columns = [
            "svname",
            "status",
            "weight",
            "scur",
            "smax",
            "stot",
            "bin",
            "bout",
            "qcur",
            "econ",
            "wretr",
            "wredis",
            "check_status",
            "lastchg",
            "downtime",
        ];
        let mut text = self.head(section);
        let mut last = String::new();
        for row in self.rows_of(section) {
            let name = row.get("pxname").to_owned();
            if name != last {
                if !last.is_empty() {
                    text.push_str("</table>\n");
                }
                let _ = write!(text, "<h2>{}</h2><table border=\"1\"><tr>", plain(&name));
                columns.iter().for_each(|column| _ = write!(text, "<th>{column}</th>"));
                text.push_str("</tr>\n");
                last = name;
            }
            text.push_str("<tr>");
            columns.iter().for_each(|column| _ = write!(text, "<td>{}</td>", plain(row.get(column))));
            text.push_str("</tr>\n");
        }
        if !last.is_empty() {
            text.push_str("</table>\n");
        }
        text.push_str("</body></html>\n");
        text
    }
}

impl Daemon {
    /// What stands above the tables, as the section has it.
    fn head(&self, section: &str) -> String {
        let mut text = String::from("<!DOCTYPE html>\n<html><head><title>Statistics Report for HAProxy</title>");
        let stats = self.stats_of(section).cloned().unwrap_or_default();
        let version = if stats.hide_version { String::new() } else { format!(" {}", crate::VERSION) };
        let node = stats.show_node.map(|node| {
            let known = self.config.global.node.clone().unwrap_or_else(super::host_name);
            format!(" on {}", if node.is_empty() { known } else { node })
        });
        let said = stats.show_desc.map(|said| {
            let known = self.config.global.description.clone().unwrap_or_default();
            format!(": {}", if said.is_empty() { known } else { said })
        });
        let (node, said) = (plain(&node.unwrap_or_default()), plain(&said.unwrap_or_default()));
        let _ = writeln!(text, "</head><body>\n<h1>baton{version}{node}{said}</h1><p>pid {}</p>", std::process::id());
        text
    }
}

/// A row for each state that there could be, of which one is 1.
fn states(rows: &[&Row], word: &str, label: &dyn Fn(&Row) -> String, text: &mut String) {
    let states: &[&str] = match word {
        "server" => &["DOWN", "UP", "MAINT", "DRAIN", "NOLB"],
        _ => &["DOWN", "UP"],
    };
    let name = format!("haproxy_{word}_status");
    let _ = writeln!(text, "# HELP {name} Current status, per state label value.\n# TYPE {name} gauge");
    for row in rows {
        let now = match row.get("status").split(' ').next().unwrap_or_default() {
            "OPEN" | "no" => "UP",
            other => other,
        };
        for state in states {
            let _ = writeln!(text, "{name}{{{},state=\"{state}\"}} {}", label(row), u8::from(now == *state));
        }
    }
}

fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
