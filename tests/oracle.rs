//! The oracle is worth trusting: it makes samples of every version in the table, reads what it
//! wrote, refuses what is malformed, and its samples have what a rewrite can stumble over. The
//! promises of the rewrites themselves build on it.

#[path = "oracle/driver.rs"]
mod driver;
#[path = "oracle/expect.rs"]
mod expect;
#[path = "oracle/masks.rs"]
mod masks;
#[path = "oracle/rewrites.rs"]
mod rewrites;
#[path = "../src/protocol/samples.rs"]
mod samples;
#[path = "oracle/split.rs"]
mod split;

use anyhow::Result;
use driver::{What, oracles};
use narrows::protocol::table::{self, APIS, Api, Treatment};
use serde_json::{Value, json};

/// Every version of every API, as request and as response.
fn all() -> impl Iterator<Item = (&'static Api, i16, What)> {
    APIS.iter().flat_map(|api| {
        (api.versions.min..=api.versions.max).flat_map(move |version| {
            [
                (api, version, What::Request),
                (api, version, What::Response),
            ]
        })
    })
}

/// The versions whose responses are rewritten.
fn rewritten() -> impl Iterator<Item = (i16, i16)> {
    all()
        .filter(|(api, version, what)| *what == What::Response && api.rewrites(*version))
        .map(|(api, version, _)| (api.key, version))
}

#[test]
fn every_version_in_the_table_has_samples_that_kafka_reads_to_the_last_byte() -> Result<()> {
    for (api, version, what) in all() {
        let mut oracles = oracles();
        let oracle = oracles.of(api.key, version)?;
        for seed in 0..3 {
            let sample = oracle.sample(what, api.key, version, seed)?;
            let raw = oracle.raw(what, api.key, version, seed)?;
            let says = oracle.json(what, api.key, version, &sample)?;
            assert_eq!(
                says,
                oracle.json(what, api.key, version, &raw)?,
                "{api:?} {version} {what:?} {seed}"
            );
            assert_eq!(
                sample,
                oracle.sample(what, api.key, version, seed)?,
                "the same seed, the same bytes"
            );
        }
    }
    Ok(())
}

#[test]
fn the_header_versions_of_the_table_are_kafkas_own() -> Result<()> {
    for api in &APIS {
        for version in api.versions.min..=api.versions.max {
            let kafka = oracles().of(api.key, version)?.headers(api.key, version);
            let ours = api
                .header_versions(version)
                .map(|headers| (headers.request, headers.response));
            // ControlledShutdown 0 alone has request header 0, which the table knows as none.
            let expected = kafka.filter(|(request, _)| *request > 0);
            assert_eq!(ours, expected, "{} {version}", api.name);
        }
    }
    Ok(())
}

#[test]
fn a_truncated_message_or_one_with_a_byte_too_many_is_refused_and_the_oracle_goes_on() -> Result<()>
{
    let mut oracles = oracles();
    let oracle = oracles.of(3, 12)?;
    let sample = oracle.sample(What::Response, 3, 12, 1)?;
    let says = oracle.json(What::Response, 3, 12, &sample)?;
    for length in 0..sample.len() {
        assert!(
            oracle
                .json(What::Response, 3, 12, &sample[..length])
                .is_err(),
            "{length} bytes"
        );
    }
    let longer = [&sample[..], &[0]].concat();
    assert!(oracle.json(What::Response, 3, 12, &longer).is_err());
    assert_eq!(oracle.json(What::Response, 3, 12, &sample)?, says);
    Ok(())
}

#[test]
fn a_version_that_no_release_has_is_an_error() {
    assert!(oracles().of(3, 14).is_err());
    assert!(oracles().of(95, 0).is_err());
}

#[test]
fn samples_of_rewritten_responses_come_with_addresses_and_without_with_unknown_tags_and_records()
-> Result<()> {
    for (key, version) in rewritten() {
        let mut oracles = oracles();
        let oracle = oracles.of(key, version)?;
        let mut with = 0;
        let mut without = 0;
        let mut tags = 0;
        let mut records = 0;
        let mut padded = 0;
        for seed in 0..64 {
            let sample = oracle.sample(What::Response, key, version, seed)?;
            let says = oracle.json(What::Response, key, version, &sample)?;
            let changed =
                expect::rewritten(key, &says, |node| (format!("advertised-{node}"), 7)) != says;
            with += usize::from(changed);
            without += usize::from(!changed);
            tags += usize::from(says["unknownTaggedFields"] != json!({}));
            records += usize::from(
                says["records"]
                    .as_object()
                    .is_some_and(|records| !records.is_empty()),
            );
            padded += usize::from(sample != oracle.raw(What::Response, key, version, seed)?);
        }
        let about = format!("api key {key} version {version}");
        assert!(
            with >= 8 && without >= 4,
            "{about}: {with} with addresses, {without} without"
        );
        let flexible = table::api(key).is_some_and(|api| api.is_flexible(version));
        assert_eq!(
            tags >= 8,
            flexible,
            "{about}: {tags} with unknown tagged fields"
        );
        assert_eq!(
            records >= 8,
            matches!(key, 1 | 78),
            "{about}: {records} with records"
        );
        if matches!(key, 0 | 1) {
            assert!(
                padded >= 4,
                "{about}: {padded} with tagged fields that equal their default"
            );
        }
    }
    Ok(())
}

#[test]
fn some_sampled_coordinators_are_not_found_at_minus_1_without_a_host() -> Result<()> {
    for version in [0, 3, 4, 6] {
        let mut oracles = oracles();
        let oracle = oracles.of(10, version)?;
        let mut markers = 0;
        for seed in 0..64 {
            let sample = oracle.sample(What::Response, 10, version, seed)?;
            let body = oracle.json(What::Response, 10, version, &sample)?["body"].take();
            let listed = body["coordinators"].as_array().cloned();
            for node in listed.unwrap_or_else(|| vec![body]) {
                assert_eq!(node["nodeId"] == -1, node["host"] == "", "{node}");
                assert_eq!(node["nodeId"] == -1, node["port"] == -1, "{node}");
                assert_eq!(node["nodeId"] == -1, node["errorCode"] == 15, "{node}");
                markers += usize::from(node["nodeId"] == -1);
            }
        }
        assert!(markers >= 8, "version {version}: {markers}");
    }
    Ok(())
}

/// A mapping that shows the node id in both.
fn advertised(node: i64) -> (String, u16) {
    (
        format!("advertised-{node}"),
        19000 + u16::try_from(node).expect("a small node id"),
    )
}

#[test]
fn the_expectation_replaces_host_and_port_of_each_node_and_nothing_else() {
    let at =
        |id: &str, host: &str, port: u16| json!({ id: 2, "host": host, "port": port, "rack": "r" });
    let list = |name: &str, node: Value| json!({ "header": {}, "body": { name: [node], "throttleTimeMs": 2 } });
    for (key, name, id) in [
        (0, "nodeEndpoints", "nodeId"),
        (1, "nodeEndpoints", "nodeId"),
        (78, "nodeEndpoints", "nodeId"),
        (79, "nodeEndpoints", "nodeId"),
        (3, "brokers", "nodeId"),
        (60, "brokers", "brokerId"),
        (10, "coordinators", "nodeId"),
    ] {
        let expected = expect::rewritten(key, &list(name, at(id, "kafka-2", 9092)), advertised);
        assert_eq!(
            expected,
            list(name, at(id, "advertised-2", 19002)),
            "api key {key}"
        );
        // Another API's list of the same name is another thing.
        let other = list(name, at(id, "kafka-2", 9092));
        assert_eq!(expect::rewritten(18, &other, advertised), other);
    }
    let one =
        |host: &str, port: u16| json!({ "body": { "nodeId": 2, "host": host, "port": port } });
    assert_eq!(
        expect::rewritten(10, &one("kafka-2", 9092), advertised),
        one("advertised-2", 19002)
    );
}

#[test]
fn the_expectation_keeps_the_marker_of_a_coordinator_that_was_not_found() {
    let marker = json!({ "nodeId": -1, "host": "", "port": -1, "errorCode": 15 });
    for body in [marker.clone(), json!({ "coordinators": [marker] })] {
        let message = json!({ "body": body });
        assert_eq!(expect::rewritten(10, &message, advertised), message);
    }
}

#[test]
fn the_expectation_takes_the_listeners_of_controllers_out() {
    let with = |listeners: Value| json!({ "body": { "nodes": [{ "nodeId": 1, "listeners": listeners }] } });
    let mut original = with(json!([{ "name": "CONTROLLER", "host": "kafka-1", "port": 9093 }]));
    assert_eq!(
        expect::rewritten(55, &original, advertised),
        with(json!([]))
    );
    original["unknownTaggedFields"] =
        json!({ "body.nodes[0].listeners[0]": [[9, ""]], "body.nodes[0]": [[8, ""]] });
    let expected = expect::rewritten(55, &original, advertised);
    assert_eq!(
        expected["unknownTaggedFields"],
        json!({ "body.nodes[0]": [[8, ""]] })
    );
}

#[test]
fn what_an_edit_at_unchanged_length_may_change_can_be_left_out() {
    let message = |endpoints: Value, tags: Value| {
        json!({
            "body": { "responses": [1], "nodeEndpoints": endpoints },
            "unknownTaggedFields": {
                "body": tags, "body.nodeEndpoints[0]": [[12, ""]], "body.responses[0]": [[10, ""]],
            },
        })
    };
    let rest = json!({ "body": { "responses": [1] }, "unknownTaggedFields": { "body.responses[0]": [[10, ""]] } });
    assert_eq!(
        expect::without_node_endpoints(&message(json!([2]), json!([[11, "00"]]))),
        rest
    );
    assert_eq!(expect::without_node_endpoints(&rest), rest);
    assert_eq!(
        expect::unknown_tags(&message(json!([2]), json!([[11, "00"]]))),
        [json!([11, "00"])]
    );
    assert_eq!(expect::unknown_tags(&rest), [Value::Null; 0]);
}

#[test]
fn a_difference_is_named_with_its_place() {
    let a = json!({ "body": { "brokers": [{ "host": "a", "port": 1 }], "clusterId": "x" } });
    assert_eq!(expect::difference(&a, &a), None);
    let b = json!({ "body": { "brokers": [{ "host": "b", "port": 1 }], "clusterId": "x" } });
    let expected = ".body.brokers[0].host: expected \"a\", but it says \"b\"";
    assert_eq!(expect::difference(&a, &b).as_deref(), Some(expected));
    let without = json!({ "body": { "brokers": [{ "host": "a", "port": 1 }] } });
    for (a, b) in [(&a, &without), (&without, &a)] {
        assert!(expect::difference(a, b).is_some_and(|says| says.starts_with(".body.clusterId: ")));
    }
    assert!(expect::difference(&json!([1]), &json!([1, 2])).is_some());
    let long = expect::difference(&json!("x".repeat(1000)), &json!(1));
    assert!(long.is_some_and(|says| says.len() < 300));
}

#[test]
fn an_expectation_exists_for_every_api_that_the_table_rewrites() {
    let original = json!({ "body": {
        "nodeEndpoints": [{ "nodeId": 1, "host": "h", "port": 1 }],
        "brokers": [{ "nodeId": 1, "brokerId": 1, "host": "h", "port": 1 }],
        "coordinators": [{ "nodeId": 1, "host": "h", "port": 1 }],
        "nodes": [{ "listeners": [{}] }],
    } });
    for api in &APIS {
        let changes = expect::rewritten(api.key, &original, advertised) != original;
        assert_eq!(
            changes,
            matches!(api.treatment, Treatment::Rewrite { .. }),
            "{api:?}"
        );
    }
}
