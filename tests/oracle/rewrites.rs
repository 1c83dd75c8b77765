//! Rewriting changes addresses and nothing else, as Kafka's own message classes see it: for every
//! response that carries broker addresses, in every version, over samples with errors, nulls,
//! records and tagged fields that Kafka doesn't know.

use std::cell::Cell;

use anyhow::{Context, Result, bail, ensure};
use narrows::protocol::rewrite::{
    Advertise, HELD_WHOLE_BYTES_MAX, ListedBroker, PREFIX_BYTES, Rewrite,
};
use narrows::protocol::table::{self, APIS, Treatment};
use narrows::types::{AdvertisedAddress, NodeId};
use serde_json::Value;

use crate::driver::{Oracle, What, oracles};
use crate::{expect, rewritten};

/// Seeds of a version. The oracle makes every eighth one large, so that its addresses come after
/// its length was sent.
const SEEDS: u64 = 48;

/// Advertised hosts of one length: shorter than nearly all of the brokers', about as long, or
/// longer.
#[derive(Clone, Copy)]
enum Advertised {
    Short,
    Middling,
    Long,
}

impl Advertised {
    fn of(self, node: i64) -> (String, u16) {
        let host = match self {
            Advertised::Short => format!("k{node}"),
            Advertised::Middling => format!("broker-{node}.narrows.example.com"),
            Advertised::Long => format!(
                "{}{node}.narrows.example.com",
                "one-label-of-many.".repeat(12)
            ),
        };
        (
            host,
            19_000 + u16::try_from(node.rem_euclid(1000)).unwrap_or_default(),
        )
    }
}

impl Advertise for Advertised {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        let (host, port) = self.of(node.0.into());
        AdvertisedAddress {
            host: host.into(),
            port,
        }
    }
}

/// What came out of a rewrite.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    frame: Vec<u8>,
    brokers: Vec<ListedBroker>,
    cluster_id: Option<String>,
    /// Whether bytes had to be let go before the addresses were known.
    has_streamed: bool,
}

/// Rewrites a frame that arrives in pieces of `piece` bytes.
fn rewrite(
    key: i16,
    version: i16,
    frame: &[u8],
    piece: usize,
    advertised: Advertised,
) -> Result<Outcome> {
    let api = table::api(key).context("not in the table")?;
    let mut rewrite = Rewrite::new(api, version, frame.len() - 4).context("not rewritten")?;
    let mut scanned = PREFIX_BYTES;
    for arrived in (PREFIX_BYTES..frame.len())
        .step_by(piece)
        .chain([frame.len()])
    {
        scanned += rewrite.push(&frame[scanned..arrived.max(scanned)])?;
        if rewrite.is_ready() {
            break;
        }
    }
    ensure!(rewrite.is_ready(), "the frame ended before its addresses");
    let held_from = rewrite.held_from().unwrap_or(scanned);
    let held = &frame[held_from..scanned];
    let edited = rewrite.finish(held, held_from, &advertised)?;
    let held = edited.bytes.as_deref().unwrap_or(held);
    Ok(Outcome {
        frame: [&frame[..held_from], held, &frame[scanned..]].concat(),
        brokers: edited.sighting.brokers,
        cluster_id: edited.sighting.cluster_id,
        has_streamed: held_from > 0,
    })
}

fn framed(message: &[u8]) -> Result<Vec<u8>> {
    Ok([&i32::try_from(message.len())?.to_be_bytes(), message].concat())
}

/// Calls `check` with every version of every rewritten response and its samples, as Kafka writes
/// them and with defaults written out.
fn for_all_samples(
    seeds: u64,
    mut check: impl FnMut(&mut Oracle, i16, i16, u64, &[u8]) -> Result<()>,
) -> Result<()> {
    for (key, version) in rewritten() {
        let mut oracles = oracles();
        let oracle = oracles.of(key, version)?;
        for seed in 0..seeds {
            let about = || format!("api key {key} version {version} seed {seed}");
            let sample = oracle.sample(What::Response, key, version, seed)?;
            check(oracle, key, version, seed, &sample).with_context(about)?;
            let raw = oracle.raw(What::Response, key, version, seed)?;
            check(oracle, key, version, seed, &raw).with_context(|| format!("{} raw", about()))?;
        }
    }
    Ok(())
}

fn same(expected: &Value, says: &Value) -> Result<()> {
    expect::difference(expected, says).map_or(Ok(()), |difference| bail!("{difference}"))
}

/// The tagged fields that Kafka doesn't know are all there, with at most one more, which is all
/// zero.
fn only_padded(expected: &[Value], says: &[Value]) -> Result<()> {
    let (kept, more): (Vec<_>, Vec<_>) =
        says.iter().cloned().partition(|tag| expected.contains(tag));
    ensure!(
        kept == expected,
        "unknown tagged fields: expected {expected:?}, but it says {says:?}"
    );
    let is_blank = |tag: &Value| {
        tag[1]
            .as_str()
            .is_some_and(|hex| hex.bytes().all(|digit| digit == b'0'))
    };
    ensure!(
        more.len() <= 1 && more.iter().all(is_blank),
        "unknown tagged fields: {more:?} on top"
    );
    Ok(())
}

fn without_unknown_tags(message: &Value) -> Value {
    let mut rest = message.clone();
    if let Some(unknown) = rest
        .get_mut("unknownTaggedFields")
        .and_then(Value::as_object_mut)
    {
        unknown.remove("body");
    }
    rest
}

fn advertised_for(seed: u64) -> Advertised {
    // By the eighth part: large samples are to meet all three.
    [Advertised::Short, Advertised::Middling, Advertised::Long]
        [usize::try_from(seed + seed / 8).unwrap_or(0) % 3]
}

#[test]
fn a_rewritten_response_says_what_it_said_but_for_the_addresses() -> Result<()> {
    let kept = Cell::new(0);
    let dropped = Cell::new(0);
    for_all_samples(SEEDS, |oracle, key, version, seed, sample| {
        let advertised = advertised_for(seed);
        let frame = framed(sample)?;
        let out = rewrite(key, version, &frame, frame.len(), advertised)?;
        let length = i32::from_be_bytes(out.frame[..4].try_into()?);
        ensure!(
            usize::try_from(length)? + 4 == out.frame.len(),
            "length {length} of {} bytes",
            out.frame.len()
        );
        let original = oracle.json(What::Response, key, version, sample)?;
        let says = oracle.json(What::Response, key, version, &out.frame[4..])?;
        let expected = expect::rewritten(key, &original, |node| advertised.of(node));
        if !out.has_streamed {
            return same(&expected, &says);
        }
        // The length had been sent: addresses may be missing, so that clients refresh their
        // metadata, but not wrong.
        ensure!(
            out.frame.len() == frame.len(),
            "streamed {} bytes as {}",
            frame.len(),
            out.frame.len()
        );
        only_padded(
            &expect::unknown_tags(&expected),
            &expect::unknown_tags(&says),
        )?;
        let has_dropped = endpoints(&says).is_empty() && !endpoints(&expected).is_empty();
        if has_dropped {
            same(
                &expect::without_node_endpoints(&expected),
                &expect::without_node_endpoints(&says),
            )?;
        } else {
            same(
                &without_unknown_tags(&expected),
                &without_unknown_tags(&says),
            )?;
        }
        let count = if has_dropped { &dropped } else { &kept };
        count.set(count.get() + 1);
        Ok(())
    })?;
    // Without these the test would have shown less than it says.
    assert!(
        kept.get() > 10 && dropped.get() > 10,
        "streamed and kept {kept:?}, dropped {dropped:?}"
    );
    Ok(())
}

#[test]
fn no_host_of_a_broker_is_left_anywhere_in_the_bytes() -> Result<()> {
    for_all_samples(SEEDS, |oracle, key, version, seed, sample| {
        let frame = framed(sample)?;
        let out = rewrite(key, version, &frame, frame.len(), advertised_for(seed))?.frame;
        let mut hosts = Vec::new();
        collect_hosts(
            &oracle.json(What::Response, key, version, sample)?["body"],
            &mut hosts,
        );
        // A host as short as b7 stands in random bytes by chance.
        for host in hosts.iter().filter(|host| host.len() >= 8) {
            ensure!(!contains(&out, host.as_bytes()), "{host} has leaked");
        }
        Ok(())
    })
}

#[test]
fn how_a_response_arrives_does_not_change_what_goes_out() -> Result<()> {
    for_all_samples(16, |_, key, version, seed, sample| {
        let frame = framed(sample)?;
        let advertised = advertised_for(seed);
        let whole = rewrite(key, version, &frame, frame.len(), advertised)?;
        for piece in [1, 2, 7, 1460] {
            ensure!(
                rewrite(key, version, &frame, piece, advertised)? == whole,
                "in pieces of {piece}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_rewrite_sees_the_brokers_and_the_cluster_id_that_the_response_names() -> Result<()> {
    for_all_samples(SEEDS / 2, |oracle, key, version, seed, sample| {
        let frame = framed(sample)?;
        let out = rewrite(key, version, &frame, frame.len(), advertised_for(seed))?;
        let original = oracle.json(What::Response, key, version, sample)?;
        ensure!(
            out.brokers == endpoints(&original),
            "{:?}, but it says {original}",
            out.brokers
        );
        let cluster_id = original["body"]["clusterId"].as_str();
        ensure!(
            out.cluster_id.as_deref().unwrap_or("") == cluster_id.unwrap_or(""),
            "{:?}",
            out.cluster_id
        );
        Ok(())
    })
}

#[test]
fn a_truncated_response_is_malformed_or_becomes_the_beginning_of_what_the_whole_one_becomes()
-> Result<()> {
    for_all_samples(3, |_, key, version, seed, sample| {
        let frame = framed(sample)?;
        ensure!(
            frame.len() <= HELD_WHOLE_BYTES_MAX,
            "the first seeds are small"
        );
        let whole = rewrite(key, version, &frame, frame.len(), advertised_for(seed))?;
        for length in PREFIX_BYTES..frame.len() {
            let cut = &frame[..length];
            let Ok(out) = rewrite(key, version, cut, length, advertised_for(seed)) else {
                continue;
            };
            if matches!(key, 0 | 1 | 78 | 79) {
                // Addresses at the end: where too few bytes are left for one, they are not looked
                // at, and hold none.
                ensure!(
                    out.frame == cut && out.brokers.is_empty(),
                    "{length} of {} bytes",
                    frame.len()
                );
                let leaks = |broker: &ListedBroker| {
                    broker.host.len() >= 8 && contains(cut, broker.host.as_bytes())
                };
                ensure!(
                    !whole.brokers.iter().any(leaks),
                    "{length} of {} bytes leak",
                    frame.len()
                );
            } else {
                ensure!(
                    whole.frame[4..].starts_with(&out.frame[4..]),
                    "{length} of {} bytes",
                    frame.len()
                );
            }
        }
        Ok(())
    })
}

#[test]
fn exactly_the_versions_that_the_table_says_are_rewritten() {
    for api in &APIS {
        for version in api.versions.min..=api.versions.max {
            let is_walked = Rewrite::new(api, version, 100).is_some();
            let is_masked = matches!(api.treatment, Treatment::Mask { .. });
            assert_eq!(
                is_walked,
                api.rewrites(version) || is_masked,
                "{} {version}",
                api.name
            );
        }
    }
}

/// The broker addresses in a response's JSON, less the markers of none.
fn endpoints(message: &Value) -> Vec<ListedBroker> {
    let body = &message["body"];
    let lists = ["brokers", "coordinators", "nodeEndpoints"]
        .iter()
        .filter_map(|list| body[list].as_array());
    lists.flatten().chain([body]).filter_map(endpoint).collect()
}

fn endpoint(json: &Value) -> Option<ListedBroker> {
    let id = json["nodeId"].as_i64().or(json["brokerId"].as_i64())?;
    let host = json["host"].as_str().filter(|host| !host.is_empty())?;
    let id = i32::try_from(id).ok()?;
    let port = u16::try_from(json["port"].as_i64()?).ok()?;
    Some(ListedBroker {
        node: NodeId(id),
        host: host.to_owned(),
        port,
    })
}

fn collect_hosts(json: &Value, hosts: &mut Vec<String>) {
    match json {
        Value::Object(fields) => {
            hosts.extend(
                fields
                    .get("host")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields
                .values()
                .for_each(|value| collect_hosts(value, hosts));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_hosts(value, hosts)),
        _ => {}
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
