//! JSON Schema of the configuration file, from the table of keys.

use serde_json::{Map, Value as Json, json};

use crate::keys::{Key, ROOT, Shape, Standing};
use crate::scalar::{self, Style};
use crate::tree::Value;

/// The schema, draft 2020-12. Keys are read in any case; it lists the two spellings that exist.
#[must_use]
pub fn schema() -> Json {
    let mut root = mapping(ROOT);
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("Baton configuration file"));
    let about = "What `baton start -c FILE` reads: the file of kube-vip 0.1 and Baton's own keys. Keys are read in any \
        case; both spellings of kube-vip 0.1 are listed.";
    root.insert("description".into(), json!(about));
    Json::Object(root)
}

fn mapping(keys: &[Key]) -> Map<String, Json> {
    let mut properties = Map::new();
    for key in keys {
        let json = property(key);
        let mut names = vec![key.name.to_owned()];
        names.extend(key.also.iter().map(|name| (*name).to_owned()));
        if key.standing != Standing::New {
            names.push(key.go_name());
        }
        for name in names {
            let mut json = json.clone();
            if name != key.name {
                json.insert("description".into(), json!(format!("The same as {}.", key.name)));
            }
            properties.insert(name, Json::Object(json));
        }
    }
    let mut out = Map::new();
    out.insert("type".into(), json!("object"));
    out.insert("properties".into(), Json::Object(properties));
    out.insert("additionalProperties".into(), json!(false));
    out
}

fn property(key: &Key) -> Map<String, Json> {
    let mut out = shape(&key.shape, key.standing == Standing::Old);
    let mut about = match key.standing {
        Standing::Idle(why) => format!("Has no effect: {why}."),
        _ => key.about.to_owned(),
    };
    if let Standing::Idle(_) = key.standing {
        out.insert("deprecated".into(), json!(true));
    }
    if let Shape::Time(..) = key.shape {
        about.push_str(&format!(" Expected {}.", scalar::expects(&key.shape, Style::Plain)));
    }
    match default(key) {
        Some(default) => {
            out.insert("default".into(), default);
        }
        None if !key.default.is_empty() => about.push_str(&format!(" Default: {}.", key.default)),
        None => {}
    }
    out.insert("description".into(), json!(about));
    out
}

/// A default that is a value rather than a rule.
fn default(key: &Key) -> Option<Json> {
    if key.default.is_empty() {
        return None;
    }
    if key.default == "[]" {
        return Some(json!([]));
    }
    let scalar = match &key.shape {
        Shape::Either(shapes) => shapes.first()?,
        shape => shape,
    };
    match (scalar::read(key.default, Style::Plain, scalar), scalar) {
        (Ok(Some(Value::Bool(bool))), _) => Some(json!(bool)),
        (Ok(Some(Value::Int(int))), _) => Some(json!(int)),
        (Ok(Some(Value::Time(_) | Value::Off | Value::Statuses(_))), _) | (Ok(Some(_)), Shape::Choice(_)) => {
            Some(json!(key.default))
        }
        (Ok(Some(Value::Text(text))), Shape::Text) if text.starts_with('/') => Some(json!(text)),
        _ => None,
    }
}

fn shape(shape: &Shape, old: bool) -> Map<String, Json> {
    let statuses = json!([
        { "type": "integer", "minimum": 100, "maximum": 599 },
        { "type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$" }
    ]);
    let json = match shape {
        // kube-vip 0.1 printed empty texts and zeros for what was not given.
        Shape::Text => json!({ "type": ["string", "number", "boolean", "null"] }),
        Shape::Ip if old => {
            json!({ "type": ["string", "null"], "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }, { "maxLength": 0 }] })
        }
        Shape::Ip => json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }),
        Shape::Int(min, max) => json!({ "type": "integer", "minimum": if old { 0 } else { *min }, "maximum": max }),
        Shape::Bool => json!({ "enum": [true, false, "on", "off", "yes", "no"] }),
        Shape::Time(_, _, off) => {
            let time = json!({ "type": "string", "pattern": "^(0|([0-9]+(\\.[0-9]+)?(us|ms|s|m|h))+)$" });
            if *off { json!({ "anyOf": [time, { "enum": ["off", false] }] }) } else { time }
        }
        Shape::Listen => {
            json!({ "anyOf": [{ "type": "string", "pattern": "^.*:[0-9]+$" }, { "enum": ["off", false] }] })
        }
        Shape::Choice(names) => {
            let any_case: Vec<String> = names.iter().map(|name| any_case(name)).collect();
            json!({ "type": "string", "pattern": format!("^({})$", any_case.join("|")), "examples": names })
        }
        Shape::Statuses => {
            json!({ "anyOf": [statuses[0], statuses[1], { "type": "array", "minItems": 1, "items": { "anyOf": statuses } }] })
        }
        Shape::Map(keys) => Json::Object(mapping(keys)),
        Shape::List(of, most) => json!({ "type": ["array", "null"], "maxItems": most, "items": self::shape(of, old) }),
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(|one| Json::Object(self::shape(one, old))).collect::<Vec<_>>() })
        }
        Shape::Any => json!({}),
    };
    match json {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// `tcp` → `[tT][cC][pP]`.
fn any_case(name: &str) -> String {
    name.chars().map(|c| format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase())).collect()
}
