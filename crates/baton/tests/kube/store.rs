//! Objects behind a scripted server: versions, compare-and-swap, pages, history and watches, as the API has them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::server::{Answer, Ask, Part, status};

/// What several servers may serve together.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<String, Value>,
    history: Vec<Happened>,
    /// Watches cannot begin before this.
    oldest: u64,
    feeds: Vec<Feed>,
}

#[derive(Clone)]
struct Happened {
    version: u64,
    kind: &'static str,
    path: String,
    object: Value,
}

struct Feed {
    selects: Selects,
    sender: mpsc::UnboundedSender<Part>,
}

#[derive(Clone)]
struct Selects {
    collection: String,
    field: Option<String>,
}

impl Selects {
    fn of(ask: &Ask) -> Selects {
        Selects { collection: ask.path.clone(), field: ask.query.get("fieldSelector").cloned() }
    }

    fn has(&self, path: &str) -> bool {
        let (collection, name) = path.rsplit_once('/').unwrap();
        let named = self.field.as_ref().is_none_or(|field| *field == format!("metadata.name={name}"));
        let (root, plural) = self.collection.rsplit_once('/').unwrap();
        let across =
            collection.starts_with(&format!("{root}/namespaces/")) && collection.ends_with(&format!("/{plural}"));
        named && (collection == self.collection || across)
    }
}

impl Happened {
    fn line(&self) -> String {
        format!("{}\n", json!({"type": self.kind, "object": self.object}))
    }
}

impl Inner {
    fn happens(&mut self, kind: &'static str, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if kind == "DELETED" {
            self.objects.remove(path);
        } else {
            self.objects.insert(path.to_owned(), object.clone());
        }
        let happened = Happened { version: self.version, kind, path: path.to_owned(), object: object.clone() };
        self.feeds.retain(|feed| !feed.selects.has(path) || feed.sender.send(Part::Text(happened.line())).is_ok());
        self.history.push(happened);
        object
    }

    fn list(&self, ask: &Ask) -> Answer {
        let selects = Selects::of(ask);
        let after = ask.query.get("continue").map(String::as_str).unwrap_or_default();
        let limit: usize = ask.query.get("limit").map_or(usize::MAX, |text| text.parse().unwrap());
        let mut all =
            self.objects.iter().filter(|(path, _)| selects.has(path) && path.replace('/', ".").as_str() > after);
        let page: Vec<(&String, &Value)> = all.by_ref().take(limit).collect();
        let more = all.next().is_some();
        let next = if more { page.last().unwrap().0.replace('/', ".") } else { String::new() };
        let items: Vec<&Value> = page.into_iter().map(|(_, object)| object).collect();
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": next});
        Answer::Json(200, json!({"kind": "List", "metadata": metadata, "items": items}))
    }

    fn watch(&mut self, ask: &Ask) -> Answer {
        let since: u64 = ask.query["resourceVersion"].parse().unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        if since < self.oldest {
            let gone = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
            sender.send(Part::Text(format!("{}\n", json!({"type": "ERROR", "object": gone})))).unwrap();
            return Answer::Stream(receiver);
        }
        let selects = Selects::of(ask);
        for happened in self.history.iter().filter(|happened| happened.version > since && selects.has(&happened.path)) {
            sender.send(Part::Text(happened.line())).unwrap();
        }
        self.feeds.push(Feed { selects, sender });
        Answer::Stream(receiver)
    }
}

impl Store {
    pub(crate) fn answer(&self, ask: &Ask) -> Answer {
        let mut inner = self.0.lock().unwrap();
        let path = ask.path.trim_end_matches("/status").to_owned();
        let stored = inner.objects.get(&path).cloned();
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        match (ask.method.as_str(), stored) {
            ("GET", _) if ask.path == "/readyz" => Answer::Json(200, json!("ok")),
            ("GET", Some(object)) => Answer::Json(200, object),
            ("GET", None) if ask.is_watch() => inner.watch(ask),
            ("GET", None) if is_collection(&path) => inner.list(ask),
            ("GET" | "PUT" | "PATCH" | "DELETE", None) => status(404, "NotFound", "no such object"),
            ("POST", _) => {
                let path = format!("{path}/{}", ask.body["metadata"]["name"].as_str().unwrap());
                if inner.objects.contains_key(&path) {
                    return status(409, "AlreadyExists", "it is there");
                }
                Answer::Json(201, inner.happens("ADDED", &path, ask.body.clone()))
            }
            ("PUT", Some(object)) if version(&ask.body) == version(&object) => {
                Answer::Json(200, inner.happens("MODIFIED", &path, ask.body.clone()))
            }
            ("PUT", Some(_)) => status(409, "Conflict", "it has been modified"),
            ("PATCH", Some(mut object)) => {
                for (key, value) in ask.body.as_object().unwrap() {
                    object[key] = value.clone();
                }
                Answer::Json(200, inner.happens("MODIFIED", &path, object))
            }
            ("DELETE", Some(object)) => Answer::Json(200, inner.happens("DELETED", &path, object)),
            (method, _) => panic!("{method} {path}"),
        }
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut inner = self.0.lock().unwrap();
        let kind = if inner.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        inner.happens(kind, path, object);
    }

    pub(crate) fn delete(&self, path: &str) {
        let mut inner = self.0.lock().unwrap();
        let object = inner.objects[path].clone();
        inner.happens("DELETED", path, object);
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.0.lock().unwrap().objects.get(path).cloned().unwrap_or_default()
    }

    /// Tells every watch how far it is.
    pub(crate) fn bookmark(&self) {
        let mut inner = self.0.lock().unwrap();
        let object = json!({"metadata": {"resourceVersion": inner.version.to_string()}});
        let line = format!("{}\n", json!({"type": "BOOKMARK", "object": object}));
        inner.feeds.retain(|feed| feed.sender.send(Part::Text(line.clone())).is_ok());
    }

    /// Ends every watch: in good order, or in the middle of a line.
    pub(crate) fn cut(&self, rudely: bool) {
        for feed in self.0.lock().unwrap().feeds.drain(..) {
            if rudely {
                feed.sender.send(Part::Text("{\"type\":\"MODIF".to_owned())).ok();
                feed.sender.send(Part::Break).ok();
            }
        }
    }

    /// Forgets what happened.
    pub(crate) fn compact(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.oldest = inner.version;
        inner.history.clear();
    }

    pub(crate) fn watches(&self) -> usize {
        let mut inner = self.0.lock().unwrap();
        inner.feeds.retain(|feed| !feed.sender.is_closed());
        inner.feeds.len()
    }
}

fn is_collection(path: &str) -> bool {
    ["services", "leases", "endpointslices", "nodes", "events", "configmaps"]
        .iter()
        .any(|plural| path.ends_with(plural))
}
