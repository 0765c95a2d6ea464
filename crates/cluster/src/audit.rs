//! Who asked the API servers for what, from their audit logs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

/// What was asked: the user, the verb and the resource.
pub type Request = (String, String, String);

/// A place in the logs of several API servers.
#[derive(Clone, Debug)]
pub struct Mark(Vec<(PathBuf, u64)>);

impl Mark {
    /// The ends of these logs, now.
    #[must_use]
    pub fn now(logs: Vec<PathBuf>) -> Mark {
        let end = |log: &PathBuf| fs::metadata(log).map_or(0, |file| file.len());
        Mark(logs.into_iter().map(|log| (log.clone(), end(&log))).collect())
    }

    /// How often each request was made since.
    pub fn requests(&self) -> io::Result<BTreeMap<Request, usize>> {
        let mut counts = BTreeMap::new();
        for (log, from) in &self.0 {
            let Ok(mut file) = fs::File::open(log) else { continue };
            file.seek(SeekFrom::Start(*from))?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            for request in text.lines().filter_map(request) {
                *counts.entry(request).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// All requests since.
    pub fn count(&self) -> io::Result<usize> {
        Ok(self.requests()?.values().sum())
    }
}

/// The request of one line. A watch counts when it begins, everything else when it is answered.
fn request(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verb = text(&event["verb"]);
    let counted = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    if event["stage"] != counted {
        return None;
    }
    let what = match event["objectRef"]["resource"].as_str() {
        Some(resource) => resource.to_owned(),
        None => text(&event["requestURI"]).split('?').next().unwrap_or_default().to_owned(),
    };
    let subresource = event["objectRef"]["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
    Some((text(&event["user"]["username"]), verb, what + &subresource))
}
