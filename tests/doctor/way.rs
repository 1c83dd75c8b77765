//! The way to the bootstrap server: names, ports, and what listens there instead of Kafka.

use crate::kafka::Script;
use crate::logins::alice;
use crate::{IMPATIENT, expect, peers, report, target};
use narrows::auth::Mechanism;
use narrows::doctor::Target;

#[tokio::test]
async fn a_healthy_cluster_has_no_problem_and_a_configuration_for_every_client() {
    let report = report(&target(Script::default().start().await)).await;
    assert!(report.is_fine(), "{}", report.table(false));
    let stages: Vec<_> = report
        .findings
        .iter()
        .map(|found| found.stage.word())
        .collect();
    let expected = [
        "resolve", "connect", "versions", "sasl", "metadata", "broker",
    ];
    assert_eq!(stages, expected);
    assert_eq!(report.clients.len(), 5);
    let table = report.table(true);
    assert!(table.contains("Cluster the-cluster: 1 brokers:"), "{table}");
    assert!(table.contains("  broker 1 at 127.0.0.1:"), "{table}");
    assert!(table.contains("  Fetch(1): 4 to 17\n"), "{table}");
    assert!(table.ends_with("All is well.\n"), "{table}");
    assert_eq!(report.json()["ok"], true);
    assert_eq!(report.json()["cluster"]["brokers"][0]["node_id"], 1);
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let target = target(peers::nobody().await);
    expect(
        &target,
        "connect_refused",
        &["nobody listens at 127.0.0.1:"],
    )
    .await;
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let target = Target {
        bootstrap: "no-such-host.invalid:9092".parse().unwrap(),
        ..target(peers::nobody().await)
    };
    let words = ["no-such-host.invalid has no address here", "DNS"];
    expect(&target, "dns_not_found", &words).await;
}

#[tokio::test]
async fn a_web_server() {
    let target = target(peers::says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    expect(
        &target,
        "speaks_http",
        &["a web server answers at 127.0.0.1:"],
    )
    .await;
}

#[tokio::test]
async fn a_web_server_that_waits_for_a_line() {
    let target = Target {
        timeout: 5 * IMPATIENT,
        ..target(peers::web_server_that_waits_for_a_line().await)
    };
    expect(&target, "speaks_http", &["a web server"]).await;
}

#[tokio::test]
async fn an_ssh_server() {
    let target = target(peers::says(b"SSH-2.0-OpenSSH_9.9\r\n").await);
    expect(&target, "speaks_ssh", &["an SSH server"]).await;
}

#[tokio::test]
async fn something_else_is_shown_by_its_first_bytes() {
    let target = target(peers::says(b"-ERR unknown command\r\n").await);
    let words = ["is not Kafka (first bytes 0x2d455252, \"-ERR\")"];
    expect(&target, "speaks_other", &words).await;
}

#[tokio::test]
async fn a_tls_alert_says_that_it_is_a_tls_listener() {
    let target = target(peers::says(b"\x15\x03\x03\x00\x02\x02\x0a").await);
    expect(&target, "speaks_tls", &["security.protocol SSL"]).await;
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing() {
    let target = Target {
        timeout: IMPATIENT,
        ..target(peers::says_nothing().await)
    };
    expect(&target, "silent", &["says nothing within 200ms"]).await;
}

#[tokio::test]
async fn a_peer_that_accepts_and_closes() {
    let target = target(peers::closes().await);
    expect(&target, "closed", &["closes them without an answer"]).await;
}

#[tokio::test]
async fn a_listener_that_expects_a_proxy_protocol_header() {
    let script = Script {
        expects_proxy_header: true,
        ..Script::default()
    };
    let target = target(script.start().await);
    expect(&target, "proxy_protocol_expected", &["proxy_protocol.mode"]).await;
}

#[tokio::test]
async fn a_broker_that_is_too_old_for_the_first_question_is_asked_an_older_one() {
    let script = Script {
        is_old: true,
        login: Some((&["PLAIN"], "alice", "hunter2")),
        ..Script::default()
    };
    let target = alice(target(script.start().await), Mechanism::Plain, "hunter2");
    let report = report(&target).await;
    assert!(report.is_fine(), "{}", report.table(false));
    assert_eq!(report.json()["apis"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_controller() {
    let script = Script {
        is_controller: true,
        ..Script::default()
    };
    let target = target(script.start().await);
    expect(&target, "speaks_controller", &["is a KRaft controller"]).await;
}
