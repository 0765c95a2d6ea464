//! What was given for each setting, and where: file, then flags over it, then the environment over both.

use baton_core::strconv::parse_bool;

use crate::message::{Findings, Place, Severity};
use crate::scalar;
use crate::yaml::{self, Node};

use super::table::{GONE, Kind, SETTINGS, Setting, Standing};

/// Environment variables that kube-vip reads only when `svc_enable` is set, to whatever.
pub(crate) const BEHIND_SVC_ENABLE: [&str; 6] =
    ["svc_election", "svc_leasename", "svc_namespace", "lb_class_only", "lb_class_name", "lb_class_legacy_handling"];
/// The one variable whose empty value counts.
const MAY_BE_EMPTY: &str = "lb_class_name";
/// Most items of a list or object.
const ITEMS_MAX: usize = 256;
/// Longest text of a value.
const TEXT_MAX: usize = 4096;

/// A typed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    List(Vec<String>),
    Pairs(Vec<(String, String)>),
    /// Something of a kind that is not looked into.
    Some,
    /// Wrong, and already reported.
    Bad,
}

/// All that was given.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// By index into [`SETTINGS`].
    given: Vec<Option<(Value, Place)>>,
}

impl Values {
    /// Lays everything over the defaults.
    pub(crate) fn read(
        flags: &[(String, String)],
        env: &[(String, String)],
        file: Option<&str>,
        lenient: bool,
        found: &mut Findings,
    ) -> Values {
        let mut values = Values { given: vec![None; SETTINGS.len()] };
        if let Some(text) = file {
            values.file(text, lenient, found);
        }
        values.flags(flags, found);
        values.environment(env, found);
        values
    }

    fn index(field: &str) -> usize {
        SETTINGS.iter().position(|s| s.field == field).unwrap_or_else(|| unreachable!("{field} is in the table"))
    }

    fn put(&mut self, index: usize, value: Value, place: &Place) {
        self.given[index] = Some((value, place.clone()));
    }

    /// Where a setting was given.
    pub(crate) fn place(&self, field: &str) -> Place {
        self.given[Values::index(field)].as_ref().map_or(Place::Nowhere, |(_, place)| place.clone())
    }

    /// Whether a setting was given at all.
    pub(crate) fn is_given(&self, field: &str) -> bool {
        self.given[Values::index(field)].is_some()
    }

    /// Its value: what was given, or the default. One that was wrong reads as the default.
    pub(crate) fn value(&self, field: &str) -> Value {
        let index = Values::index(field);
        match &self.given[index] {
            Some((value, _)) if *value != Value::Bad => value.clone(),
            _ => default(&SETTINGS[index]),
        }
    }

    pub(crate) fn text(&self, field: &str) -> String {
        match self.value(field) {
            Value::Text(text) => text,
            _ => String::new(),
        }
    }

    /// A text, unless it is empty.
    pub(crate) fn some_text(&self, field: &str) -> Option<String> {
        Some(self.text(field)).filter(|text| !text.is_empty())
    }

    pub(crate) fn bool(&self, field: &str) -> bool {
        self.value(field) == Value::Bool(true)
    }

    pub(crate) fn int(&self, field: &str) -> i64 {
        match self.value(field) {
            Value::Int(int) => int,
            _ => 0,
        }
    }

    /// Whether a setting asks for something: given, and not the default.
    pub(crate) fn asks(&self, setting: &Setting) -> bool {
        let given = &self.given[Values::index(setting.field)];
        given.as_ref().is_some_and(|(value, _)| *value != Value::Bad && *value != default(setting))
    }

    /// A value as it would be written in the environment; `None` when it is the default or not given.
    pub(crate) fn written(&self, setting: &Setting) -> Option<String> {
        self.asks(setting).then(|| self.shown(setting.field))
    }

    /// A value as it would be written.
    pub(crate) fn shown(&self, field: &str) -> String {
        match self.value(field) {
            Value::Text(text) => text,
            Value::Bool(bool) => bool.to_string(),
            Value::Int(int) => int.to_string(),
            Value::List(items) => items.join(","),
            Value::Pairs(pairs) => {
                let map: serde_json::Map<String, serde_json::Value> =
                    pairs.into_iter().map(|(k, v)| (k, v.into())).collect();
                serde_json::Value::from(map).to_string()
            }
            Value::Some | Value::Bad => String::new(),
        }
    }

    fn flags(&mut self, flags: &[(String, String)], found: &mut Findings) {
        for (name, text) in flags {
            let place = Place::Flag(name.clone());
            let known = SETTINGS.iter().position(|s| !s.flag.is_empty() && s.flag == name);
            let gone = GONE.iter().find(|gone| gone.flag == name);
            let index = match (known, gone) {
                (Some(index), _) => index,
                (None, Some(gone)) if !gone.now.is_empty() => {
                    let index = Values::index(gone.now);
                    let now = SETTINGS[index].flag;
                    found.put(Severity::Warning, &place, name, &format!("is an old name of --{now}"), "", "");
                    index
                }
                (None, Some(gone)) => {
                    let what = format!("has no effect: {}", gone.why);
                    found.put(Severity::Warning, &place, name, &what, "", "");
                    continue;
                }
                (None, None) => {
                    found.put(Severity::Error, &place, name, "is not a known flag", text, "");
                    continue;
                }
            };
            let setting = &SETTINGS[index];
            if text.is_empty() && !setting.may_be_empty && setting.kind != Kind::Bool {
                continue;
            }
            let value = outside(setting, text, &place, found);
            self.put(index, value, &place);
        }
    }

    fn environment(&mut self, env: &[(String, String)], found: &mut Findings) {
        let set = |name: &str| env.iter().find(|(n, v)| n == name && (!v.is_empty() || name == MAY_BE_EMPTY));
        let services = set("svc_enable").is_some();
        for (index, setting) in SETTINGS.iter().enumerate() {
            let Some((name, text)) = setting.env.iter().find_map(|name| set(name)) else { continue };
            let place = Place::Environment(name.clone());
            if BEHIND_SVC_ENABLE.contains(&name.as_str()) && !services {
                let what = "is not read, as in kube-vip, because svc_enable is not set beside it";
                found.put(Severity::Warning, &place, setting.field, what, text, "svc_enable=true");
                continue;
            }
            let value = outside(setting, text, &place, found);
            self.put(index, value, &place);
        }
    }

    fn file(&mut self, text: &str, lenient: bool, found: &mut Findings) {
        let at = |line, column| Place::File { line, column };
        let document = match yaml::parse(text) {
            Ok(document) => document,
            Err(broken) => {
                return found.put(Severity::Error, &at(broken.line, broken.column), "the file", &broken.what, "", "");
            }
        };
        if let Some((line, column)) = document.second {
            let what = "has a second document, which is not read";
            found.put(Severity::Warning, &at(line, column), "the file", what, "", "");
        }
        match document.root.as_ref().map(|node| (&node.kind, node)) {
            None => {}
            Some((yaml::Kind::Map(entries), _)) => self.map(entries, "", lenient, found),
            Some((yaml::Kind::Scalar { text, plain }, _)) if scalar::is_nothing(text, *plain) => {}
            Some((_, node)) => {
                let expected = "settings such as enableARP: true";
                found.put(Severity::Error, &at(node.line, node.column), "the file", "is not a mapping", "", expected);
            }
        }
    }

    /// The entries of a mapping; `path` is the Go name of the field around them.
    fn map(&mut self, entries: &[(Node, Node)], path: &str, lenient: bool, found: &mut Findings) {
        for (name, node) in entries {
            let place = Place::File { line: name.line, column: name.column };
            let yaml::Kind::Scalar { text, .. } = &name.kind else {
                found.put(Severity::Error, &place, path, "has a key that is a list or a mapping", "", "a name");
                continue;
            };
            let full = if path.is_empty() { text.clone() } else { format!("{path}.{text}") };
            let place = Place::File { line: node.line, column: node.column };
            if let Some(index) = SETTINGS.iter().position(|s| names(s, &full)) {
                if matches!(&self.given[index], Some((_, Place::File { .. }))) {
                    found.put(Severity::Error, &place, &full, "is given twice", "", "each setting once");
                } else if let Some(value) = inside(&SETTINGS[index], node, &place, found) {
                    self.put(index, value, &place);
                }
            } else if let (Some(group), yaml::Kind::Map(inner)) = (group(&full), &node.kind) {
                self.map(inner, group, lenient, found);
            } else if group(&full).is_none() {
                let severity = if lenient { Severity::Warning } else { Severity::Error };
                let expected = "the name of a field of kube-vip's configuration, such as enableARP";
                found.put(severity, &place, &full, "is not a known setting", "", expected);
            }
        }
    }
}

/// Whether a key of the file is this setting.
fn names(setting: &Setting, key: &str) -> bool {
    std::iter::once(&setting.field).chain(setting.also).any(|name| name.eq_ignore_ascii_case(key))
}

/// The Go name of a mapping that settings are in. Fields of an embedded structure are at the root.
fn group(key: &str) -> Option<&'static str> {
    const GROUPS: [(&str, &str); 6] = [
        ("BGPConfig", "BGPConfig"),
        ("BGPConfig.Zebra", "BGPConfig.Zebra"),
        ("BGPPeerConfig", "BGPPeerConfig"),
        ("ControlPlaneHealthCheck", "ControlPlaneHealthCheck"),
        ("Etcd", "Etcd"),
        ("KubernetesLeaderElection", ""),
    ];
    GROUPS.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, path)| *path)
}

/// The default, as a value.
pub(crate) fn default(setting: &Setting) -> Value {
    match setting.kind {
        Kind::Text => Value::Text(setting.default.to_owned()),
        Kind::Bool => Value::Bool(setting.default == "true"),
        Kind::Int(..) => Value::Int(setting.default.parse().unwrap_or_default()),
        Kind::List => Value::List(Vec::new()),
        Kind::Pairs => Value::Pairs(Vec::new()),
        Kind::Any => Value::Bad,
    }
}

/// What a kind wants, for people.
fn expects(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Int(min, max) => format!("a whole number from {min} to {max}"),
        Kind::List => "texts separated by commas".to_owned(),
        Kind::Pairs => "a JSON object of texts, such as {\"team\":\"network\"}".to_owned(),
        Kind::Any => "anything".to_owned(),
    }
}

/// A value from a flag or the environment.
fn outside(setting: &Setting, text: &str, place: &Place, found: &mut Findings) -> Value {
    let shown = if setting.secret { "" } else { text };
    let mut wrong = |what: &str, expected: &str| {
        found.put(Severity::Error, place, setting.field, what, shown, expected);
        Value::Bad
    };
    if text.len() > TEXT_MAX {
        return wrong("is too long", &format!("at most {TEXT_MAX} bytes"));
    }
    match setting.kind {
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Bool => match parse_bool(text) {
            Some(bool) => Value::Bool(bool),
            None => wrong("is not a boolean", "1, t, T, true, True, TRUE, 0, f, F, false, False or FALSE"),
        },
        Kind::Int(min, max) => match int(text, min, max) {
            Ok(int) => Value::Int(int),
            Err(what) => wrong(what, &expects(setting.kind)),
        },
        Kind::List => Value::List(text.split(',').map(str::to_owned).filter(|item| !item.is_empty()).collect()),
        Kind::Pairs => match pairs(text) {
            Some(pairs) => Value::Pairs(pairs),
            None => wrong("is not a JSON object of texts", &expects(setting.kind)),
        },
        Kind::Any => Value::Some,
    }
}

fn int(text: &str, min: i64, max: i64) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not a whole number");
    }
    let int: Option<i64> = text.parse().ok();
    int.filter(|int| (min..=max).contains(int)).ok_or("is out of range")
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let serde_json::Value::Object(map) = serde_json::from_str(text).ok()? else { return None };
    let pairs: Option<Vec<_>> = map.into_iter().map(|(k, v)| Some((k, v.as_str()?.to_owned()))).collect();
    let mut pairs = pairs.filter(|pairs| pairs.len() <= ITEMS_MAX)?;
    pairs.sort();
    Some(pairs)
}

/// A value from the file; `None`: not given.
fn inside(setting: &Setting, node: &Node, place: &Place, found: &mut Findings) -> Option<Value> {
    let mut wrong = |what: &str, value: &str| {
        let value = if setting.secret { "" } else { value };
        found.put(Severity::Error, place, setting.field, what, value, &expects(setting.kind));
        Some(Value::Bad)
    };
    match (&node.kind, setting.kind) {
        (_, Kind::Any) => Some(Value::Some),
        (yaml::Kind::Scalar { text, plain }, _) if scalar::is_nothing(text, *plain) => {
            (setting.may_be_empty && !*plain).then(|| Value::Text(String::new()))
        }
        (yaml::Kind::Scalar { text, plain }, kind) => match kind {
            Kind::Int(..) | Kind::Bool if !plain => wrong("is quoted, so it is text", text),
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => Some(Value::Bool(true)),
                "false" | "no" | "off" | "n" => Some(Value::Bool(false)),
                _ => wrong("is not a boolean", text),
            },
            Kind::Pairs => wrong("is not a mapping", text),
            _ => Some(outside(setting, text, place, found)),
        },
        (yaml::Kind::List(nodes), Kind::List) => match texts(nodes) {
            Some(items) => Some(Value::List(items)),
            None => wrong("is not a list of texts", ""),
        },
        (yaml::Kind::Map(entries), Kind::Pairs) => {
            let one = |(k, v): &(Node, Node)| Some((scalar_text(k)?.to_owned(), scalar_text(v)?.to_owned()));
            match entries.iter().map(one).collect::<Option<Vec<_>>>().filter(|pairs| pairs.len() <= ITEMS_MAX) {
                Some(mut pairs) => {
                    pairs.sort();
                    Some(Value::Pairs(pairs))
                }
                None => wrong("is not a mapping of texts", ""),
            }
        }
        (yaml::Kind::List(_), _) => wrong("is a list", ""),
        (yaml::Kind::Map(_), _) => wrong("is a mapping", ""),
    }
}

fn scalar_text(node: &Node) -> Option<&str> {
    match &node.kind {
        yaml::Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

fn texts(nodes: &[Node]) -> Option<Vec<String>> {
    if nodes.len() > ITEMS_MAX {
        return None;
    }
    nodes.iter().map(|node| scalar_text(node).map(str::to_owned)).collect()
}

/// Warns of settings that ask for something which this version does not do, or which has no effect any more.
pub(crate) fn without_effect(values: &Values, found: &mut Findings) {
    for setting in SETTINGS.iter().filter(|setting| values.asks(setting)) {
        let what = match setting.standing {
            Standing::Of(feature) => format!("has no effect: {feature} is not in this version"),
            Standing::Idle(why) => format!("has no effect: {why}"),
            Standing::Refuses(why) => why.to_owned(),
            Standing::Works | Standing::Own | Standing::Silent(_) => continue,
        };
        found.put(Severity::Warning, &values.place(setting.field), setting.field, &what, "", "");
    }
}
