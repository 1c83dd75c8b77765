//! Bootstrapping works, and then a client meets the brokers that are advertised.

use crate::kafka::Script;
use crate::{expect, only_problem, peers, report, target};
use narrows::doctor::Target;
use std::sync::{Arc, Mutex};

fn advertising(brokers: &[(i32, &str, u16)]) -> Script {
    let brokers = brokers.iter();
    let brokers = brokers.map(|(node, host, port)| (*node, (*host).to_owned(), i32::from(*port)));
    Script {
        brokers: brokers.collect(),
        ..Script::default()
    }
}

#[tokio::test]
async fn a_broker_at_a_port_where_nobody_listens() {
    let nobody = peers::nobody().await.port();
    let script = advertising(&[(1, "127.0.0.1", 0), (2, "127.0.0.1", nobody)]);
    let target = target(script.start().await);
    let words = [
        "broker 2: nobody listens at 127.0.0.1:",
        "advertised.listeners",
    ];
    expect(&target, "broker_unreachable", &words).await;
}

#[tokio::test]
async fn a_broker_whose_name_is_known_only_inside() {
    let script = advertising(&[(1, "kafka-1.kafka-headless.invalid", 9092)]);
    let target = target(script.start().await);
    let words = ["broker 1 at kafka-1.kafka-headless.invalid:9092"];
    expect(&target, "broker_dns_not_found", &words).await;
}

#[tokio::test]
async fn brokers_that_share_one_address() {
    let script = advertising(&[(1, "127.0.0.1", 0), (2, "127.0.0.1", 0)]);
    let target = target(script.start().await);
    expect(
        &target,
        "brokers_share_address",
        &["brokers 1, 2 all advertise"],
    )
    .await;
}

#[tokio::test]
async fn a_broker_for_which_narrows_has_no_address() {
    let name = "node-7-is-not-in-node-ids.narrows.invalid";
    let script = advertising(&[(1, "127.0.0.1", 0), (7, name, 9092)]);
    let target = target(script.start().await);
    expect(&target, "broker_not_in_node_ids", &["broker 7", "node_ids"]).await;
}

#[tokio::test]
async fn an_address_that_is_none() {
    let script = advertising(&[(1, "kafka 1\u{1b}[2J", 9092)]);
    let target = target(script.start().await);
    expect(&target, "broker_address_invalid", &["kafka 1\\u{1b}[2J"]).await;
}

#[tokio::test]
async fn another_broker_than_the_one_that_is_meant() {
    let other = Script {
        node: Some(3),
        ..Script::default()
    };
    let other = other.start().await.port();
    let script = Script {
        node: Some(1),
        ..advertising(&[(1, "127.0.0.1", 0), (2, "127.0.0.1", other)])
    };
    let target = target(script.start().await);
    let report = report(&target).await;
    let (code, sentence) = only_problem(&report);
    assert_eq!(code, "broker_wrong_node", "{sentence}");
    assert!(sentence.starts_with("broker 2 at 127.0.0.1:"), "{sentence}");
    let table = report.table(false);
    assert!(table.contains("confirms its node id"), "{table}");
}

#[tokio::test]
async fn a_broker_of_another_cluster() {
    let other = Script {
        cluster_id: "another",
        ..Script::default()
    };
    let other = other.start().await.port();
    let script = advertising(&[(1, "127.0.0.1", 0), (2, "127.0.0.1", other)]);
    let target = target(script.start().await);
    expect(&target, "broker_wrong_cluster", &["broker 2", "(another)"]).await;
}

#[tokio::test]
async fn a_broker_that_closes() {
    let closes = peers::closes().await.port();
    let script = advertising(&[(1, "127.0.0.1", 0), (2, "127.0.0.1", closes)]);
    let target = target(script.start().await);
    expect(&target, "broker_closed", &["broker 2", "/status"]).await;
}

#[tokio::test]
async fn a_cluster_without_brokers() {
    let target = target(advertising(&[]).start().await);
    expect(&target, "no_brokers", &["no brokers"]).await;
}

fn with_topic(target: Target) -> Target {
    Target {
        topic: Some("orders".to_owned()),
        ..target
    }
}

#[tokio::test]
async fn a_record_goes_to_a_topic_and_back() {
    let script = Script {
        topic: Some("orders"),
        ..Script::default()
    };
    let report = report(&with_topic(target(script.start().await))).await;
    assert!(report.is_fine(), "{}", report.table(false));
    let table = report.table(false);
    let expected = "one record to orders[0] at offset 42 and back, by broker 1";
    assert!(table.contains(expected), "{table}");
    assert!(
        table.contains("  topic \"orders\" with 1 partitions:\n"),
        "{table}"
    );
}

#[tokio::test]
async fn a_topic_that_does_not_exist() {
    let target = with_topic(target(Script::default().start().await));
    expect(&target, "topic_not_found", &["there is no topic orders"]).await;
}

#[tokio::test]
async fn a_topic_that_the_user_may_not_write_to() {
    let script = Script {
        topic: Some("orders"),
        records: Arc::new(Mutex::new(None)),
        ..Script::default()
    };
    let target = with_topic(target(script.start().await));
    expect(
        &target,
        "produce_failed",
        &["TOPIC_AUTHORIZATION_FAILED (29)"],
    )
    .await;
}

#[tokio::test]
async fn a_record_that_does_not_come_back() {
    let script = Script {
        topic: Some("orders"),
        loses_records: true,
        ..Script::default()
    };
    let target = with_topic(target(script.start().await));
    expect(&target, "record_differs", &["0 bytes at offset 42"]).await;
}
