//! The JSON schema (draft 7) of the configuration file, from the key table: what an editor, a
//! pipeline or the Helm chart can check without Narrows.
//!
//! It knows shapes, names, units and bounds. What only the whole tells (ports that clash, files
//! that can't be read, keys of another scheme) is `narrows check`'s to say. Nothing is required
//! here, since the environment and flags may set any key.

use super::keys::{Fallback, KEYS, Key, NAME_CHARS_MAX, NAME_PATTERN};
use super::kind::Kind;
use serde_json::{Map, Value, json};

/// The schema as JSON text, with a line end.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// The schema.
pub fn schema() -> Value {
    let keys: Vec<_> = KEYS
        .iter()
        .map(|key| (key.levels().collect(), key))
        .collect();
    let mut root = object(&keys);
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("Narrows' configuration");
    root
}

/// A section that has these keys, each with the levels that are left of its path.
fn object(keys: &[(Vec<&'static str>, &Key)]) -> Value {
    let mut properties = Map::new();
    let mut named = Map::new();
    for (levels, _) in keys {
        let Some(first) = levels.first() else {
            continue;
        };
        let inside: Vec<_> = keys
            .iter()
            .filter(|(levels, _)| levels.first() == Some(first))
            .map(|(levels, key)| (levels[1..].to_vec(), *key))
            .collect();
        let schema = match inside.as_slice() {
            [(rest, key)] if rest.is_empty() => value(key),
            _ => object(&inside),
        };
        match *first {
            "*" => named.insert(NAME_PATTERN.to_owned(), schema),
            name => properties.insert(name.to_owned(), schema),
        };
    }
    let mut object = json!({ "type": ["object", "null"], "additionalProperties": false });
    if !properties.is_empty() {
        object["properties"] = properties.into();
    }
    if !named.is_empty() {
        object["patternProperties"] = named.into();
        object["propertyNames"] = json!({ "maxLength": NAME_CHARS_MAX });
    }
    object
}

/// One value; no value is the same as no key.
fn value(key: &Key) -> Value {
    let mut forms = forms(key.kind);
    forms.push(json!({ "type": "null" }));
    let mut schema = json!({ "description": key.meaning, "anyOf": forms });
    if let Fallback::Value(text) = key.fallback {
        schema["default"] = json!(text);
    }
    schema
}

fn forms(kind: Kind) -> Vec<Value> {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let list = |items: Value| json!({ "type": "array", "items": items, "minItems": 1 });
    match kind {
        Kind::Duration { .. } => vec![text(r"^[0-9]+ *(ms|s|m|h)$")],
        Kind::Bytes { min, max } => vec![
            json!({ "type": "integer", "minimum": min, "maximum": max }),
            text(r"^[0-9]+ *(B|KiB|MiB|GiB)?$"),
        ],
        Kind::Integer { min, max } => vec![
            json!({ "type": "integer", "minimum": min, "maximum": max }),
            text(r"^-?[0-9]+$"),
        ],
        Kind::Choice(words) => vec![choice(words)],
        Kind::Bind => vec![text(r"^(\[[0-9A-Fa-f:.%]+\]|[0-9.]+):[0-9]{1,5}$")],
        Kind::HostPorts | Kind::Networks | Kind::Paths => {
            let one = json!({ "type": "string", "minLength": 1 });
            vec![one.clone(), list(one)]
        }
        Kind::BrokerAddresses => {
            let one = json!({ "type": "string", "minLength": 1 });
            let table = json!({
                "type": "object",
                "patternProperties": { "^[0-9]+$": one.clone() },
                "additionalProperties": false,
                "minProperties": 1,
            });
            vec![one.clone(), list(one), table]
        }
        Kind::NodeIds => {
            let id = json!({ "type": "integer", "minimum": 0, "maximum": i32::MAX });
            let ids = text(r"^ *[0-9]+ *(- *[0-9]+ *)?(, *[0-9]+ *(- *[0-9]+ *)?)*$");
            let several = json!({ "anyOf": [id.clone(), ids.clone()] });
            vec![id, ids, list(several)]
        }
        Kind::Path | Kind::Text => vec![json!({ "type": "string", "minLength": 1 })],
    }
}

/// YAML 1.1, which Helm reads, takes a bare `off` or `on` for a boolean; Narrows reads both.
fn choice(words: &[&str]) -> Value {
    let mut values: Vec<Value> = words.iter().map(|word| json!(word)).collect();
    for (word, boolean) in [("off", false), ("on", true)] {
        if words.contains(&word) {
            values.push(json!(boolean));
        }
    }
    json!({ "enum": values })
}
