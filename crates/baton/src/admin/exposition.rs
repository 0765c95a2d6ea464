//! Metrics in the text format that Prometheus has always read (version 0.0.4), under kube-vip's own names: what scrapes
//! kube-vip reads them unchanged.

use std::fmt::Write;

use crate::kube::Access;

/// What the page is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    /// One metric with its samples; a gauge or a counter.
    pub(crate) fn metric<'a>(
        &mut self,
        (name, kind): (&str, &str),
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        // A metric that nothing is known of yet is left out, as the original's library does.
        if samples.peek().is_none() {
            return;
        }
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, &labels, value);
        }
    }

    /// What the API was asked.
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not lived to see")]
    pub(crate) fn api_requests(&mut self, access: &Access) {
        let requests = access.requests();
        let rows = requests.iter().map(|(verb, count)| (vec![("verb", verb.name())], *count as f64));
        self.metric(("baton_api_requests_total", "counter"), "Requests to the API server, by verb", rows);
    }

    /// Name, kind and meaning.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One line.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if i == 0 { '{' } else { ',' }, escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    pub(crate) fn text(self) -> String {
        self.0
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Times in buckets, as the original's library makes them unless told otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Histogram {
    pub(crate) fn observe(&mut self, seconds: f64) {
        for (bound, count) in BUCKETS.iter().zip(&mut self.counts) {
            *count += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not lived to see")]
    pub(crate) fn write(&self, page: &mut Page, name: &str, labels: &[(&str, &str)]) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in BUCKETS.iter().zip(self.counts) {
            let bound = bound.to_string();
            page.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count as f64);
        }
        page.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), self.count as f64);
        page.sample(&format!("{name}_sum"), labels, self.sum);
        page.sample(&format!("{name}_count"), labels, self.count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_prometheus_reads_it() {
        let mut page = Page::default();
        page.metric(("none", "gauge"), "Nothing", []);
        page.metric(("kube_vip_is_leader", "gauge"), "Leads", [(vec![("node", "a\"b"), ("lease_name", "l")], 1.0)]);
        page.metric(("events_total", "counter"), "Events", [(vec![], 3.0)]);
        let mut times = Histogram::default();
        times.observe(0.02);
        page.head("took_seconds", "histogram", "Time");
        times.write(&mut page, "took_seconds", &[("namespace", "x")]);
        let text = page.text();
        for line in [
            "# TYPE kube_vip_is_leader gauge",
            "kube_vip_is_leader{node=\"a\\\"b\",lease_name=\"l\"} 1",
            "events_total 3",
            "took_seconds_bucket{namespace=\"x\",le=\"0.01\"} 0",
            "took_seconds_bucket{namespace=\"x\",le=\"0.025\"} 1",
            "took_seconds_bucket{namespace=\"x\",le=\"+Inf\"} 1",
            "took_seconds_sum{namespace=\"x\"} 0.02",
            "took_seconds_count{namespace=\"x\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("none"));
    }
}
