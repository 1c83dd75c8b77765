//! Messages as Kafka's classes say them, and made-up ones.

use anyhow::{Context, Result, ensure};
use narrows::protocol::header;
use narrows::protocol::split::{Needs, PartitionRef, Request, TopicRef};
use narrows::protocol::table::Api;
use narrows::types::NodeId;
use serde_json::{Value, json};

use super::keys::{Key, List, NAMES, Partitions};
use crate::driver::{Oracle, What, unhex};

/// Numbers that look random, the same every time (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn usize_below(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }
}

pub(crate) const STANDARD: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
pub(crate) const OF_IDS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(crate) fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(
                alphabet[(bits >> (18 - 6 * place)) as usize & 63],
            ));
        }
    }
    text
}

/// What a message says, its records in their place, as Kafka reads them from JSON.
pub(crate) fn says(
    oracle: &mut Oracle,
    what: What,
    of: (i16, i16),
    message: &[u8],
) -> Result<Value> {
    let mut says = oracle.json(what, of.0, of.1, message)?;
    let records = says["records"].take();
    for (path, batches) in records.as_object().into_iter().flatten() {
        let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
        let place = says
            .pointer_mut(&pointer)
            .with_context(|| format!("no {path}"))?;
        let bytes = unhex(batches.as_str().unwrap_or_default())?;
        let text = base64(&bytes, STANDARD);
        *place = json!(format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4)));
    }
    Ok(says)
}

/// Elements of sampled responses, and by which field these name topics.
pub(crate) fn elements(
    oracle: &mut Oracle,
    of: (i16, i16),
    list: List,
) -> Result<(&'static str, Vec<Value>)> {
    let mut found = Vec::new();
    let mut name = "";
    for seed in 0..200 {
        let sample = oracle.sample(What::Response, of.0, of.1, seed)?;
        let body = says(oracle, What::Response, of, &sample)?["body"].take();
        if let Partitions(topics, _, _) = list {
            let named = NAMES.iter().find(|name| !body[topics][0][**name].is_null());
            name = named.copied().unwrap_or(name);
        }
        found.extend(list.elements(&body).into_iter().map(|(_, element)| element));
        if found.len() >= 12 {
            break;
        }
    }
    ensure!(found.len() >= 4, "{of:?}: no elements in sampled responses");
    Ok((name, found))
}

/// A sampled request with its length's bytes gone; every other resource is a broker.
pub(crate) fn sampled(
    oracle: &mut Oracle,
    of: (i16, i16),
    seed: u64,
    random: &mut Random,
) -> Result<Vec<u8>> {
    let sample = oracle.sample(What::Request, of.0, of.1, seed)?;
    let mut request = says(oracle, What::Request, of, &sample)?;
    let Some(resources) = request["body"]["resources"].as_array_mut() else {
        return Ok(sample);
    };
    for resource in resources {
        resource["resourceType"] = json!([2, 4, 8, 16][random.usize_below(4)]);
        resource["resourceName"] = json!(["", "1", "2", "1001", "orders"][random.usize_below(5)]);
    }
    oracle.write(What::Request, of.0, of.1, &request)
}

pub(crate) fn request<'a>(api: &'static Api, version: i16, frame: &'a [u8]) -> Result<Request<'a>> {
    let header = header::read(frame, frame.len()).ok().context("a header")?;
    let body_at = header.body_at;
    Ok(Request {
        api,
        version,
        frame,
        body_at,
    })
}

/// The keys that a request needs, as Kafka's JSON has them.
pub(crate) fn needed(needs: Needs) -> Vec<Key> {
    let key = |of: PartitionRef| {
        let topic = match of.topic {
            TopicRef::Name(name) => json!(*name),
            TopicRef::Id(id) => json!(base64(&id, OF_IDS)),
        };
        json!([topic, of.partition]).to_string()
    };
    match needs {
        Needs::Leaders(partitions) => partitions.into_iter().map(key).collect(),
        Needs::Coordinators(_, names) => names
            .iter()
            .map(|name| json!([null, **name]).to_string())
            .collect(),
        _ => Vec::new(),
    }
}

/// The node that a resource of a request needs.
pub(crate) fn node(element: &Value) -> Option<NodeId> {
    let is_brokers = matches!(element["resourceType"].as_i64(), Some(4 | 8));
    let name = element["resourceName"].as_str().filter(|_| is_brokers)?;
    name.parse().ok().map(NodeId)
}
/// A response that says what the JSON of a body says, without its length.
pub(crate) fn message(oracle: &mut Oracle, of: (i16, i16), body: &Value) -> Result<Vec<u8>> {
    let message = json!({ "header": { "correlationId": 1 }, "body": body });
    oracle.write(What::Response, of.0, of.1, &message)
}

/// The same behind its header.
pub(crate) fn written(oracle: &mut Oracle, of: (i16, i16), body: &Value) -> Result<Vec<u8>> {
    let header = oracle.headers(of.0, of.1).context("known")?.1;
    Ok(message(oracle, of, body)?.split_off(4 + usize::try_from(header)?))
}

/// What a merged response says, whose header must be that of the request.
pub(crate) fn merged(
    oracle: &mut Oracle,
    of: (i16, i16),
    frame: &[u8],
    response: &[u8],
) -> Result<Value> {
    assert_eq!(
        response[..4],
        u32::try_from(response.len() - 4)?.to_be_bytes()
    );
    assert_eq!(response[4..8], frame[4..8], "the correlation id");
    Ok(says(oracle, What::Response, of, &response[4..])?["body"].take())
}
