//! Requests about one group or transaction, which go to its coordinator whole, and those of which
//! every broker answers a part.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use narrows::protocol::split::{Failure, Needs, Outcome, Piece};
use narrows::protocol::table::{APIS, Route};
use narrows::types::NodeId;
use serde_json::{Value, json};

use super::kafka::{merged, needed, request, says, written};
use super::keys::{Items, Key, List, Partitions};
use super::{PARTED, SEEDS};
use crate::driver::{What, oracles};
use crate::expect::difference;

/// The APIs that name one group or transactional id, with the field that does, up to which version.
const OF_ONE: [(i16, i16, &str); 18] = [
    (8, 99, "groupId"),
    (9, 7, "groupId"),
    (11, 99, "groupId"),
    (12, 99, "groupId"),
    (13, 99, "groupId"),
    (14, 99, "groupId"),
    (28, 99, "groupId"),
    (47, 99, "groupId"),
    (68, 99, "groupId"),
    (76, 99, "groupId"),
    (88, 99, "groupId"),
    (91, 99, "groupId"),
    (92, 99, "groupId"),
    (93, 99, "groupId"),
    (22, 99, "transactionalId"),
    (24, 3, "v3AndBelowTransactionalId"),
    (25, 99, "transactionalId"),
    (26, 99, "transactionalId"),
];

#[test]
fn a_request_about_one_group_or_transaction_needs_its_coordinator_and_fails_as_a_whole()
-> Result<()> {
    for (key, until, name) in OF_ONE {
        let api = &APIS[usize::try_from(key)?];
        for version in api.versions.min..=api.versions.max.min(until) {
            let of = (key, version);
            let mut oracles = oracles();
            let oracle = oracles.of(key, version)?;
            for seed in 0..SEEDS {
                let frame = oracle.sample(What::Request, key, version, seed)?;
                let request = request(api, version, &frame)?;
                let body = says(oracle, What::Request, of, &frame)?["body"].take();
                let about = format!("{} v{version} seed {seed}", api.name);
                let Some(name) = body[name].as_str() else {
                    assert_eq!(request.needs()?, Needs::Any, "{about}: it names none");
                    continue;
                };
                let expected = [json!([null, name]).to_string()];
                assert_eq!(needed(request.needs()?), expected, "{about}");
                for (why, code) in [(Failure::NoBroker, 15), (Failure::Unanswered, 16)] {
                    let failed = merged(oracle, of, &frame, &request.failed(why)?)?;
                    check_failed(&body, &failed, code, &about);
                }
                let answer = oracle.sample(What::Response, key, version, seed)?;
                let header = oracle.headers(key, version).context("known")?.1;
                let answer = &answer[4 + usize::try_from(header)?..];
                let outcome = Outcome::Answered(answer);
                let piece = Piece {
                    node: None,
                    keys: &[0],
                    outcome,
                };
                let merged = request.merge(&[piece])?;
                assert_eq!(merged[8 + usize::try_from(header)?..], *answer, "{about}");
            }
        }
    }
    Ok(())
}

/// A response has the error for the whole, or for each partition of the request.
fn check_failed(request: &Value, response: &Value, code: i64, about: &str) {
    if let Some(error) = response.get("errorCode") {
        assert_eq!(error, &json!(code), "{about}");
        return;
    }
    // OffsetCommit, TxnOffsetCommit, OffsetFetch up to 1; AddPartitionsToTxn has other names.
    let requests = [
        Partitions("topics", "partitions", "partitionIndex"),
        Partitions("topics", "partitionIndexes", ""),
        Partitions("v3AndBelowTopics", "partitions", ""),
    ];
    let responses = [
        Partitions("topics", "partitions", "partitionIndex"),
        Partitions(
            "resultsByTopicV3AndBelow",
            "resultsByPartition",
            "partitionIndex",
        ),
    ];
    let keys = |of: &Value, lists: &[List]| -> BTreeSet<Key> {
        let elements = lists.iter().flat_map(|list| list.elements(of));
        elements
            .map(|(key, _)| key)
            .filter(|key| !key.contains("null"))
            .collect()
    };
    assert_eq!(
        keys(response, &responses),
        keys(request, &requests),
        "{about}"
    );
    for (key, element) in responses.iter().flat_map(|list| list.elements(response)) {
        let names = ["errorCode", "partitionErrorCode"];
        let errors: Vec<_> = names.iter().filter_map(|name| element.get(*name)).collect();
        assert_eq!(errors, [&json!(code)], "{about}: {key}");
    }
}

#[test]
fn the_list_of_all_brokers_has_what_each_has_and_is_an_error_if_one_fails() -> Result<()> {
    for (key, list, error) in [
        (16, Items("groups", "groupId"), 15),
        (66, Items("transactionStates", "transactionalId"), 14),
        (35, Items("results", "logDir"), 7),
    ] {
        let api = &APIS[usize::try_from(key)?];
        for version in api.versions.min..=api.versions.max {
            let of = (key, version);
            let mut oracles = oracles();
            let oracle = oracles.of(key, version)?;
            for seed in 0..SEEDS {
                let frame = oracle.sample(What::Request, key, version, seed)?;
                let request = request(api, version, &frame)?;
                assert_eq!(request.needs()?, Needs::All);
                let mut listed = Vec::new();
                let mut bodies = Vec::new();
                for node in 1..=3 {
                    let sample = oracle.sample(What::Response, key, version, 3 * seed + node)?;
                    let mut body = says(oracle, What::Response, of, &sample)?["body"].take();
                    if let Some(error) = body.get_mut("errorCode") {
                        *error = json!(0);
                    }
                    for (name, mut element) in list.elements(&body) {
                        if key == 35 {
                            let path = element["logDir"].as_str().unwrap_or_default();
                            element["logDir"] = json!(format!("broker-{node}:{path}"));
                            listed.push((name, element));
                        } else if !listed.iter().any(|(of, _)| *of == name) {
                            listed.push((name, element));
                        }
                    }
                    bodies.push(written(oracle, of, &body)?);
                }
                let piece = |node: usize, outcome| Piece {
                    node: i32::try_from(node + 1).ok().map(NodeId),
                    keys: &[],
                    outcome,
                };
                let all = bodies.iter().enumerate();
                let all = all.map(|(node, body)| piece(node, Outcome::Answered(body)));
                let mut all: Vec<_> = all.collect();
                let about = format!("{} v{version} seed {seed}", api.name);
                let says = merged(oracle, of, &frame, &request.merge(&all)?)?;
                let found: Vec<_> = list.elements(&says).into_iter().map(|(_, of)| of).collect();
                let expected: Vec<_> = listed.into_iter().map(|(_, element)| element).collect();
                let difference = difference(&expected.into(), &found.into());
                assert_eq!(difference, None, "{about}");

                all[1].outcome = Outcome::Failed(Failure::NotSent);
                let says = merged(oracle, of, &frame, &request.merge(&all)?)?;
                let found = list.elements(&says);
                match says.get("errorCode") {
                    Some(says) => assert_eq!((says, found.len()), (&json!(error), 0), "{about}"),
                    None => assert_eq!(found[0].1["errorCode"], json!(error), "{about}"),
                }
            }
        }
    }
    Ok(())
}
const SHARE_FETCH: i16 = 78;
const SHARE_ACKNOWLEDGE: i16 = 79;
const ALTER_REPLICA_LOG_DIRS: i16 = 34;

#[test]
fn a_share_session_needs_the_leaders_and_is_never_parted() -> Result<()> {
    let list = Partitions("topics", "partitions", "partitionIndex");
    for key in [SHARE_FETCH, SHARE_ACKNOWLEDGE] {
        let api = &APIS[usize::try_from(key)?];
        for version in api.versions.min..=api.versions.max {
            let of = (key, version);
            let mut oracles = oracles();
            let oracle = oracles.of(key, version)?;
            for seed in 0..SEEDS {
                let frame = oracle.sample(What::Request, key, version, seed)?;
                let request = request(api, version, &frame)?;
                let body = says(oracle, What::Request, of, &frame)?["body"].take();
                let keys = list.elements(&body).into_iter().map(|(key, _)| key);
                let keys: Vec<_> = keys.collect();
                assert_eq!(needed(request.needs()?), keys);
                assert!(request.split(&vec![0; keys.len()], 2).is_err());
                let failed = request.failed(Failure::NotSent)?;
                let failed = merged(oracle, of, &frame, &failed)?;
                assert_eq!(failed["errorCode"], json!(122));
            }
        }
    }
    Ok(())
}

#[test]
fn a_replica_moves_if_one_broker_has_it_and_none_of_those_that_have_it_failed() -> Result<()> {
    let api = &APIS[usize::try_from(ALTER_REPLICA_LOG_DIRS)?];
    let list = Partitions("results", "partitions", "partitionIndex");
    for version in api.versions.min..=api.versions.max {
        let of = (ALTER_REPLICA_LOG_DIRS, version);
        let mut oracles = oracles();
        let oracle = oracles.of(of.0, version)?;
        let dirs = json!({ "dirs": [
            { "path": "/a", "topics": [{ "name": "t", "partitions": [0, 1] }] },
            { "path": "/b", "topics": [{ "name": "t", "partitions": [2] }] },
        ] });
        let header = json!({
            "requestApiKey": of.0, "requestApiVersion": version, "correlationId": 1,
            "clientId": null,
        });
        let frame = json!({ "header": header, "body": dirs });
        let frame = oracle.write(What::Request, of.0, version, &frame)?;
        let request = request(api, version, &frame)?;
        let answer = |errors: [i16; 3]| {
            let partition = |(index, error): (usize, &i16)| json!({ "partitionIndex": index, "errorCode": error });
            let partitions: Vec<_> = errors.iter().enumerate().map(partition).collect();
            let topic = json!({ "topicName": "t", "partitions": partitions });
            json!({ "throttleTimeMs": 0, "results": [topic] })
        };
        let mut bodies = Vec::new();
        for errors in [[9, 0, 9], [0, 56, 9]] {
            bodies.push(written(oracle, of, &answer(errors))?);
        }
        let piece = |body| Piece {
            node: None,
            keys: &[],
            outcome: Outcome::Answered(body),
        };
        let pieces: Vec<_> = bodies.iter().map(|body| piece(body.as_slice())).collect();
        let says = merged(oracle, of, &frame, &request.merge(&pieces)?)?;
        let errors = |says: &Value| -> Vec<Value> {
            let elements = list.elements(says).into_iter();
            elements
                .map(|(_, element)| element["errorCode"].clone())
                .collect()
        };
        assert_eq!(errors(&says), [0, 56, 9]);
        let says = merged(oracle, of, &frame, &request.failed(Failure::NotSent)?)?;
        assert_eq!(errors(&says), [7, 7, 7]);
    }
    Ok(())
}

#[test]
fn every_api_that_names_keys_is_looked_at_here() {
    let parted = PARTED.iter().map(|parted| parted.0);
    let of_one = OF_ONE.iter().map(|of| of.0);
    let others = [
        SHARE_FETCH,
        SHARE_ACKNOWLEDGE,
        ALTER_REPLICA_LOG_DIRS,
        16,
        35,
        66,
    ];
    let tested: BTreeSet<_> = parted.chain(of_one).chain(others).collect();
    let routed = APIS
        .iter()
        .filter(|api| !matches!(api.route, Route::Any | Route::Connection | Route::None));
    // WriteTxnMarkers comes from brokers and administrators, and is refused where it would be
    // parted.
    let routed: BTreeSet<_> = routed.map(|api| api.key).filter(|key| *key != 27).collect();
    assert_eq!(tested, routed);
}
