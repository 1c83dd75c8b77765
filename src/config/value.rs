//! A value of any layer, as text: what the keys' readers get, and what messages show.

use super::problem::{Fault, shown};
use crate::types::BrokerAddress;
use figment::value::{Dict, Value};

/// The text of a plain value.
pub(super) fn scalar(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(_, text) => Ok(text.trim().to_owned()),
        Value::Array(..) => Err(Fault::new(
            "a list stands where one plain value belongs",
            "write one value",
        )),
        Value::Dict(..) => Err(Fault::new(
            "keys stand where a plain value belongs",
            "write one plain value, without keys under it",
        )),
        _ => Err(Fault::new(
            "there is no value",
            "write one, or remove the key",
        )),
    }
}

/// The text of an entry of a table, as it stands in one text: `0=kafka-0:9092`.
pub(super) fn line((name, value): (&String, &Value)) -> Result<String, Fault> {
    Ok(format!("{name}={}", scalar(value)?))
}

/// The text of an item of a list.
pub(super) fn item(value: &Value) -> Result<String, Fault> {
    let Value::Dict(_, dict) = value else {
        return scalar(value);
    };
    match dict.iter().next() {
        // `- kafka-0: 9092`
        Some((host, port)) if dict.len() == 1 && is_port(port) => {
            let port = port.as_str().unwrap_or_default();
            Err(Fault::new(
                format!(
                    "the blank behind the colon makes a key of {}",
                    shown("", host)
                ),
                format!("write {host}:{port}, without the blank"),
            ))
        }
        _ => Err(Fault::new(
            "keys stand in a list of plain values",
            host_and_port(dict).map_or_else(
                || "write each item as one plain value".to_owned(),
                |server| format!("write {server}"),
            ),
        )),
    }
}

/// `{host: kafka-0, port: 9092}`
fn host_and_port(dict: &Dict) -> Option<String> {
    let text = |names: [&str; 3]| {
        let value = names.iter().find_map(|name| dict.get(*name));
        value.and_then(Value::as_str)
    };
    let host = text(["host", "hostname", "address"])?;
    let server = format!("{host}:{}", text(["port", "Port", "PORT"])?);
    server
        .parse::<BrokerAddress>()
        .ok()
        .map(|server| server.to_string())
}

fn is_port(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.parse::<u16>().is_ok())
}

/// A value as it may be shown; sections are only named, since secrets may stand inside.
pub(super) fn show_value(key: &str, value: &Value) -> String {
    match value {
        Value::Dict(..) => "a section".to_owned(),
        Value::Array(_, items) => {
            let items: Vec<_> = items.iter().map(|item| show_value(key, item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(_, text) => shown(key, text),
        _ => "nothing".to_owned(),
    }
}
