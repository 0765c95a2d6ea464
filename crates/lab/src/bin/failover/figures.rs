//! Figures and the table of them.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// A line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) must: String,
    pub(crate) baton: String,
    pub(crate) rival: String,
}

impl Row {
    /// A line; progress goes to standard error at once.
    pub(crate) fn new(what: &str, must: &str, baton: String, rival: String) -> Row {
        eprintln!("{what}: {baton} (must be {must}); {rival}");
        Row { what: what.to_owned(), must: must.to_owned(), baton, rival }
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

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    fn most(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// Median / maximum.
    pub(crate) fn text(&self) -> String {
        if self.0.is_empty() {
            return "–".to_owned();
        }
        format!("{} / {} ms", self.median().as_millis(), self.most().as_millis())
    }
}

/// The whole section.
pub(crate) fn table(rows: &[Row]) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().nth(2).unwrap_or("?").to_owned();
    let mut text = format!(
        "Three hosts, a client and two servers in network namespaces of one machine: {processors} processors, Linux {}, load average \
         {load} at the end, no real-time priority. Median / maximum. \"Without\" is the longest time between two answers to a client \
         that connects each 5 ms (200 ms time-out), less these 5 ms; faults come at random moments. \"Two answering\" are answers of \
         two hosts to one ARP request or neighbour solicitation, asked on every wire each 2 ms.\n\n\
         | measured | must be | Baton | keepalived |\n| --- | --- | --- | --- |\n",
        kernel.trim()
    );
    for row in rows {
        let _ = writeln!(text, "| {} | {} | {} | {} |", row.what, row.must, row.baton, row.rival);
    }
    text
}
