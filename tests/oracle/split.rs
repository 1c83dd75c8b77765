//! Parting a request and merging the answers loses, invents and moves nothing, as Kafka's own
//! message classes see it: over sampled requests of every API and version that names partitions,
//! groups, transactional ids or brokers, and over clusters in which every key has any broker.
//!
//! What a broker would answer is made here from Kafka's JSON of a sampled response.

#[path = "split/kafka.rs"]
mod kafka;
#[path = "split/keys.rs"]
mod keys;
#[path = "split/one.rs"]
mod one;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use narrows::protocol::split::{Failure, FirstNeed, Needs, Outcome, Piece, first_need};
use narrows::protocol::table::{APIS, Api, Route};
use narrows::protocol::wire::Unread;
use serde_json::{Value, json};

use crate::driver::{Oracle, What, oracles};
use crate::expect::difference;
use kafka::{Random, elements, merged, message, needed, node, request, sampled, says, written};
use keys::{GROUPS, Items, Key, List, Partitions, RESOURCES, TOPICS};

/// Seeds of a version.
const SEEDS: u64 = 10;
/// Brokers that a request is parted between, at most.
const PIECES: u64 = 4;
/// An API whose requests are parted: key, from which version, where keys stand in the request and
/// in the response.
type Parted = (i16, i16, List, List);

const PARTED: [Parted; 17] = [
    (
        0,
        0,
        Partitions("topicData", "partitionData", "index"),
        Partitions("responses", "partitionResponses", "index"),
    ),
    (
        1,
        0,
        Partitions("topics", "partitions", "partition"),
        Partitions("responses", "partitions", "partitionIndex"),
    ),
    (2, 0, TOPICS, TOPICS),
    (21, 0, TOPICS, TOPICS),
    (
        23,
        0,
        Partitions("topics", "partitions", "partition"),
        Partitions("topics", "partitions", "partition"),
    ),
    (61, 0, Partitions("topics", "partitionIndexes", ""), TOPICS),
    (9, 8, GROUPS, GROUPS),
    (15, 0, Items("groups", ""), GROUPS),
    (42, 0, Items("groupsNames", ""), Items("results", "groupId")),
    (69, 0, Items("groupIds", ""), GROUPS),
    (77, 0, Items("groupIds", ""), GROUPS),
    (89, 0, Items("groupIds", ""), GROUPS),
    (90, 0, GROUPS, GROUPS),
    (
        65,
        0,
        Items("transactionalIds", ""),
        Items("transactionStates", "transactionalId"),
    ),
    (32, 0, RESOURCES, Items("results", "resourceName")),
    (33, 0, RESOURCES, Items("responses", "resourceName")),
    (44, 0, RESOURCES, Items("responses", "resourceName")),
];

/// Runs a check for every version and seed of the parted APIs.
fn each_parted(
    check: impl Fn(&mut Oracle, &'static Api, i16, Parted, u64, &mut Random) -> Result<()>,
) -> Result<()> {
    for parted in PARTED {
        let api = &APIS[usize::try_from(parted.0)?];
        for version in api.versions.min.max(parted.1)..=api.versions.max {
            let mut oracles = oracles();
            let oracle = oracles.of(api.key, version)?;
            for seed in 0..SEEDS {
                let mut random = Random(seed << 32 | u64::from(api.key as u16) << 8);
                check(oracle, api, version, parted, seed, &mut random)
                    .with_context(|| format!("{} v{version} seed {seed}", api.name))?;
            }
        }
    }
    Ok(())
}

/// A piece for each key.
fn assignment(keys: usize, random: &mut Random) -> (Vec<usize>, usize) {
    let pieces = 1 + random.usize_below(PIECES as usize);
    (
        (0..keys).map(|_| random.usize_below(pieces)).collect(),
        pieces,
    )
}

#[test]
fn every_key_goes_into_the_piece_that_it_is_assigned_to_and_nothing_else_changes() -> Result<()> {
    each_parted(|oracle, api, version, (key, _, list, _), seed, random| {
        let of = (key, version);
        let frame = sampled(oracle, of, seed, random)?;
        let request = request(api, version, &frame)?;
        let whole = says(oracle, What::Request, of, &frame)?;
        let elements = list.elements(&whole["body"]);
        let session_epoch = whole["body"]["sessionEpoch"].as_i64();
        match request.needs()? {
            Needs::FetchSession => assert!(session_epoch > Some(0)),
            Needs::Nodes(nodes) => {
                let expected: Vec<_> = elements.iter().map(|(_, element)| node(element)).collect();
                assert_eq!(nodes, expected);
            }
            needs => {
                let expected: Vec<_> = elements.iter().map(|(key, _)| key.clone()).collect();
                assert_eq!(needed(needs), expected);
            }
        }
        let (assignment, count) = assignment(elements.len(), random);
        let pieces = request.split(&assignment, count)?;
        assert_eq!(pieces.len(), count);
        for (number, piece) in pieces.iter().enumerate() {
            assert_eq!(piece[..4], u32::try_from(piece.len() - 4)?.to_be_bytes());
            let mut says = says(oracle, What::Request, of, &piece[4..])?;
            let mut expected = whole.clone();
            expected["body"] = list.only(&whole["body"], |at| assignment[at] == number);
            sessionless(&mut expected["body"], count);
            if count > 1 {
                // Structs have moved, and with them the places of fields that Kafka doesn't know.
                for message in [&mut says, &mut expected] {
                    let all = message["unknownTaggedFields"].take();
                    message["unknownTaggedFields"] = json!([all["header"], all["body"]]);
                }
            } else if list.only(&whole["body"], |_| true) != whole["body"] {
                // The same where a topic without partitions is left out.
                expected["unknownTaggedFields"] = says["unknownTaggedFields"].clone();
            } else {
                let unknown = expected["unknownTaggedFields"].as_object_mut();
                let unknown = unknown.context("an object")?;
                unknown.retain(|path, _| !path.contains("forgottenTopicsData"));
            }
            let difference = difference(&expected, &says);
            assert_eq!(difference, None, "piece {number} of {count}");
        }
        Ok(())
    })
}

/// What a Fetch says of sessions and bytes, in one of so many pieces.
fn sessionless(body: &mut Value, pieces: usize) {
    if body.get("sessionId").is_some() {
        body["sessionId"] = json!(0);
        body["sessionEpoch"] = json!(-1);
        body["forgottenTopicsData"] = json!([]);
    }
    if body.get("rackId").is_some() {
        body["rackId"] = json!("");
    }
    if body.get("maxWaitMs").is_some() {
        for name in ["minBytes", "maxBytes"] {
            if let Some(bytes) = body[name].as_i64().filter(|bytes| *bytes > 0) {
                body[name] = json!((bytes / pieces as i64).max(1));
            }
        }
    }
}

#[test]
fn the_first_key_of_a_request_is_known_from_its_beginning_and_never_wrong() -> Result<()> {
    each_parted(|oracle, api, version, (key, _, list, _), seed, random| {
        let of = (key, version);
        let frame = sampled(oracle, of, seed, random)?;
        let body_at = request(api, version, &frame)?.body_at;
        let whole = says(oracle, What::Request, of, &frame)?;
        let elements = list.elements(&whole["body"]);
        let first = |bytes: &[u8]| first_need(api, version, bytes, frame.len(), body_at);
        let need = first(&frame);
        let keys = match need.clone() {
            Ok(FirstNeed::Leader(partition)) => needed(Needs::Leaders(vec![partition])),
            Ok(FirstNeed::Coordinator(kind, name)) => needed(Needs::Coordinators(kind, vec![name])),
            Ok(FirstNeed::Node(node)) => {
                let mut nodes = elements
                    .iter()
                    .filter_map(|(_, element)| kafka::node(element));
                assert_eq!(nodes.next(), Some(node));
                Vec::new()
            }
            Ok(FirstNeed::Any) => Vec::new(),
            other => panic!("{other:?}"),
        };
        if matches!(list, Partitions(..)) || api.route != Route::Node {
            let expected: Vec<_> = elements
                .iter()
                .take(1)
                .map(|(key, _)| key.clone())
                .collect();
            assert_eq!(keys, expected);
        }
        for arrived in (0..frame.len()).step_by(1 + frame.len() / 100) {
            let some = first(&frame[..arrived]);
            assert!(
                some == need || some == Err(Unread::Incomplete),
                "{arrived}: {some:?}"
            );
        }
        Ok(())
    })
}

/// What a broker says of each key, and beside.
struct Cluster {
    list: List,
    /// By which field topics are named.
    name: &'static str,
    body: Value,
    said: BTreeMap<Key, Value>,
    endpoints: Vec<Value>,
}

impl Cluster {
    /// Brokers that say anything of each of these keys.
    fn sampled(
        oracle: &mut Oracle,
        of: (i16, i16),
        list: List,
        keys: &[Key],
        random: &mut Random,
    ) -> Result<Self> {
        let (name, templates) = elements(oracle, of, list)?;
        let said = keys.iter().map(|key| {
            let template = &templates[random.usize_below(templates.len())];
            (key.clone(), list.keyed(key, template))
        });
        let said = said.collect();
        let sample = oracle.sample(What::Response, of.0, of.1, random.below(100))?;
        let mut body = says(oracle, What::Response, of, &sample)?["body"].take();
        let endpoint = |node: i64| json!({"nodeId": node, "host": "h", "port": 1, "rack": null});
        let has_endpoints = matches!(of, (0, 10..) | (1, 16..));
        if let Some(body) = body.as_object_mut() {
            body.remove("nodeEndpoints");
            if body.contains_key("errorCode") {
                body.insert("errorCode".to_owned(), json!(0));
            }
        }
        let endpoints = (1..=3).filter(|_| has_endpoints).map(endpoint).collect();
        Ok(Self {
            list,
            name,
            body,
            said,
            endpoints,
        })
    }

    /// What is answered to these keys, each once.
    fn body(&self, keys: &[Key], throttle_ms: u64, endpoints: &[Value]) -> Value {
        let mut seen = BTreeSet::new();
        let once = keys.iter().filter(|key| seen.insert(*key));
        let elements: Vec<_> = once
            .map(|key| (key.clone(), self.said[key].clone()))
            .collect();
        let mut body = self.list.with(&self.body, self.name, &elements);
        if body.get("throttleTimeMs").is_some() {
            body["throttleTimeMs"] = json!(throttle_ms);
        }
        if !endpoints.is_empty() {
            body["nodeEndpoints"] = endpoints.into();
        }
        body
    }
}

#[test]
fn merged_answers_say_what_one_broker_would_have_said() -> Result<()> {
    each_parted(
        |oracle, api, version, (key, _, list, response_list), seed, random| {
            let of = (key, version);
            let frame = sampled(oracle, of, seed, random)?;
            let request = request(api, version, &frame)?;
            let whole = says(oracle, What::Request, of, &frame)?;
            let elements = list.elements(&whole["body"]);
            let keys: Vec<_> = elements.iter().map(|(key, _)| key.clone()).collect();
            // Any broker can answer it.
            if keys.is_empty() {
                return Ok(());
            }
            let cluster = Cluster::sampled(oracle, of, response_list, &keys, random)?;
            let (assignment, count) = assignment(keys.len(), random);
            // A key that stands twice has one leader.
            let of_first =
                |at: &usize| keys.iter().position(|key| *key == keys[*at]).unwrap_or(*at);
            let mut pieces = Vec::new();
            for number in 0..count {
                let mine = (0..keys.len()).filter(|at| assignment[of_first(at)] == number);
                let mine: Vec<_> = mine.collect();
                let mut asked: Vec<_> = mine.iter().map(|at| keys[*at].clone()).collect();
                // Brokers answer in any order.
                let turn = random.usize_below(asked.len().max(1));
                asked.rotate_left(turn);
                let shown = &cluster.endpoints[..cluster.endpoints.len().min(number + 1)];
                let throttle_ms = 10 * number as u64;
                let body = written(oracle, of, &cluster.body(&asked, throttle_ms, shown))?;
                pieces.push((mine, body));
            }
            let answered = pieces.iter().map(|(keys, body)| Piece {
                node: None,
                keys,
                outcome: Outcome::Answered(body),
            });
            let response = request.merge(&answered.collect::<Vec<_>>())?;
            let says = merged(oracle, of, &frame, &response)?;
            let shown = &cluster.endpoints[..cluster.endpoints.len().min(count)];
            let mut expected = cluster.body(&keys, 10 * (count as u64 - 1), shown);
            if expected.get("sessionId").is_some() {
                expected["sessionId"] = json!(0);
            }
            // As Kafka says it, which leaves out what it would not write.
            let expected = message(oracle, of, &expected)?;
            let expected = kafka::says(oracle, What::Response, of, &expected)?["body"].take();
            assert_eq!(difference(&expected, &says), None, "{count} pieces");
            Ok(())
        },
    )
}

/// The code of what was sent, and of what was not.
fn codes(key: i16) -> (i64, i64) {
    match key {
        0 => (7, 6),
        1 | 2 | 21 | 23 | 61 => (6, 6),
        32 | 33 | 44 => (7, 7),
        _ => (16, 16),
    }
}

#[test]
fn the_keys_of_a_piece_that_failed_say_so_and_the_others_what_their_brokers_said() -> Result<()> {
    each_parted(
        |oracle, api, version, (key, _, list, response_list), seed, random| {
            let of = (key, version);
            let frame = sampled(oracle, of, seed, random)?;
            let request = request(api, version, &frame)?;
            let whole = says(oracle, What::Request, of, &frame)?;
            let keys: Vec<_> = list
                .elements(&whole["body"])
                .into_iter()
                .map(|(key, _)| key)
                .collect();
            let cluster = Cluster::sampled(oracle, of, response_list, &keys, random)?;
            let mut seen = BTreeSet::new();
            let once: Vec<_> = (0..keys.len())
                .filter(|at| seen.insert(&keys[*at]))
                .collect();
            let kinds: Vec<_> = keys.iter().map(|_| random.below(3)).collect();
            let of_kind = |kind| -> Vec<usize> {
                let keys = once.iter().copied();
                keys.filter(|at| kinds[*at] == kind).collect()
            };
            let [asked, unanswered, unsent] = [0, 1, 2].map(of_kind);
            let asked_keys: Vec<_> = asked.iter().map(|at| keys[*at].clone()).collect();
            let body = written(oracle, of, &cluster.body(&asked_keys, 0, &[]))?;
            let piece = |keys, outcome| Piece {
                node: None,
                keys,
                outcome,
            };
            let response = request.merge(&[
                piece(&asked, Outcome::Answered(&body)),
                piece(&unanswered, Outcome::Failed(Failure::Unanswered)),
                piece(&unsent, Outcome::Failed(Failure::NotSent)),
            ])?;
            let says = merged(oracle, of, &frame, &response)?;
            let found = response_list.elements(&says);
            assert_eq!(found.len(), once.len());
            let (sent, not_sent) = codes(of.0);
            for (key, element) in found {
                let at = keys
                    .iter()
                    .position(|of| *of == key)
                    .context("a key of the request")?;
                let expected = match (unanswered.contains(&at), unsent.contains(&at)) {
                    (true, _) => json!(sent),
                    (_, true) => json!(not_sent),
                    _ => cluster.said[&key]["errorCode"].clone(),
                };
                assert_eq!(element["errorCode"], expected, "{key}");
            }
            Ok(())
        },
    )
}
