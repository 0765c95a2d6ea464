//! Figures and the table of them.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// A line of the table.
pub(crate) struct Row([String; 4]);

impl Row {
    /// What was measured, what it must be, what it is, and what it is with kube-vip. Progress goes to standard error at once.
    pub(crate) fn new(what: &str, must: &str, baton: String, rival: &str) -> Row {
        eprintln!("{what}: {baton} (must be {must}; kube-vip {rival})");
        Row([what.to_owned(), must.to_owned(), baton, rival.to_owned()])
    }
}

/// Durations of repeated runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    pub(crate) fn add(&mut self, one: Duration) {
        self.0.push(one);
        self.0.sort();
    }

    pub(crate) fn most(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// Median / maximum.
    pub(crate) fn text(&self) -> String {
        let median = self.0.get(self.0.len() / 2).copied().unwrap_or_default();
        if self.0.is_empty() {
            return "–".to_owned();
        }
        format!("{} / {} (n = {})", time(median), time(self.most()), self.0.len())
    }
}

/// A time with as many digits as it is worth.
pub(crate) fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

/// The whole section.
pub(crate) fn table(rows: &[Row]) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().nth(2).unwrap_or("?").to_owned();
    let mut text = format!(
        "Three nodes with an API server each, a host with etcd, the controllers and an API server of the measurement's own, and a client, in network \
         namespaces of one machine: {processors} processors, Linux {}, load average {load} at the end. Median / maximum. An outage is the \
         longest time between two answers to a client that connects each 5 ms, less these 5 ms. \"Two answering\" as above. The column on the right \
         is kube-vip 1.2.3, measured in a lab of the same kind.\n\n| measured | must be | Baton | kube-vip |\n| --- | --- | --- | --- |\n",
        kernel.trim()
    );
    for Row(cells) in rows {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}
