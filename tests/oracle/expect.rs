//! What a rewritten response must say: the JSON of the original (see `driver::Oracle::json`) with
//! every broker's address replaced by its advertised one, and nothing else.

#![allow(dead_code)] // Each test that includes this file uses its part of it.

use serde_json::{Value, json};

/// The JSON that the rewritten response of an API must have, given that of the original and the
/// advertised host and port of each node id. An API without addresses must come out as it went in.
/// Known by structure, not by the table under test.
///
/// For edits at unchanged length (a Fetch that streams) compare [`without_node_endpoints`] instead.
pub(crate) fn rewritten(
    key: i16,
    original: &Value,
    advertised: impl Fn(i64) -> (String, u16),
) -> Value {
    let mut expected = original.clone();
    let body = &mut expected["body"];
    match key {
        // Produce, Fetch, ShareFetch, ShareAcknowledge: nothing there is as good as none.
        0 | 1 | 78 | 79 => each(body, "nodeEndpoints", |node| {
            replace(node, "nodeId", &advertised)
        }),
        3 => each(body, "brokers", |broker| {
            replace(broker, "nodeId", &advertised)
        }),
        // FindCoordinator up to 3 names one coordinator, from 4 on a list.
        10 if body.get("nodeId").is_some() => replace(body, "nodeId", &advertised),
        10 => each(body, "coordinators", |coordinator| {
            replace(coordinator, "nodeId", &advertised)
        }),
        // DescribeQuorum: clients don't dial controllers, so their listeners are taken out, with
        // all that is in them.
        55 => {
            each(body, "nodes", |node| node["listeners"] = json!([]));
            if let Some(unknown) = expected
                .get_mut("unknownTaggedFields")
                .and_then(Value::as_object_mut)
            {
                unknown.retain(|path, _| !path.contains(".listeners["));
            }
        }
        60 => each(body, "brokers", |broker| {
            replace(broker, "brokerId", &advertised)
        }),
        _ => {}
    }
    expected
}

/// The same JSON without the addresses of KIP-951 and without the tagged fields at the top that
/// Kafka doesn't know, where a rewrite at unchanged length may pad (for those see
/// [`unknown_tags`]).
pub(crate) fn without_node_endpoints(message: &Value) -> Value {
    let mut rest = message.clone();
    if let Some(body) = rest.get_mut("body").and_then(Value::as_object_mut) {
        body.remove("nodeEndpoints");
    }
    if let Some(unknown) = rest
        .get_mut("unknownTaggedFields")
        .and_then(Value::as_object_mut)
    {
        unknown.retain(|path, _| path != "body" && !path.starts_with("body.nodeEndpoints"));
    }
    rest
}

/// The tagged fields at the top of the body that Kafka doesn't know, as `[tag, hex]`.
pub(crate) fn unknown_tags(message: &Value) -> Vec<Value> {
    message["unknownTaggedFields"]["body"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// Where two messages first differ and how, in a line that can be read: whole responses run to many
/// pages. `None` if equal.
pub(crate) fn difference(expected: &Value, says: &Value) -> Option<String> {
    match (expected, says) {
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let a = a.get(key).unwrap_or(&Value::Null);
            let b = b.get(key).unwrap_or(&Value::Null);
            difference(a, b).map(|inner| format!(".{key}{inner}"))
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(index, (a, b))| {
                difference(a, b).map(|inner| format!("[{index}]{inner}"))
            })
        }
        _ => (expected != says).then(|| {
            let expected = expected.to_string();
            let says = says.to_string();
            format!(": expected {expected:.200}, but it says {says:.200}")
        }),
    }
}

fn each(body: &mut Value, list: &str, mut change: impl FnMut(&mut Value)) {
    body.get_mut(list)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(&mut change);
}

/// The marker of a coordinator that was not found (-1 at "") stays.
fn replace(node: &mut Value, id: &str, advertised: &impl Fn(i64) -> (String, u16)) {
    let Some(id) = node[id].as_i64() else { return };
    if id == -1 && node["host"] == "" {
        return;
    }
    let (host, port) = advertised(id);
    node["host"] = json!(host);
    node["port"] = json!(port);
}
