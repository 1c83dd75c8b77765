//! What is counted of sessions: round trips, errors of Kafka, logins, client libraries, waits.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{
    API_VERSIONS, OFFSET_COMMIT, SASL_AUTHENTICATE, opaque, produce, raw, request,
};
use crate::samples::{METADATA, Shape, node, pattern, response};
use crate::sasl::begun;
use crate::until;

const HEARTBEAT: i16 = 12;

/// A round trip: the client asks, the broker answers.
async fn round_trip(
    (client, arrival): (&mut Client, &mut Arrival),
    request: &[u8],
    response: &[u8],
) {
    client.send(request).await;
    arrival.frame().await.unwrap();
    arrival.send(response).await;
    client.frame().await.unwrap();
}

async fn connected(broker: &mut Broker, proxy: &Proxy) -> (Client, Arrival) {
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"one")).await;
    let mut arrival = broker.next().await;
    arrival.send(&opaque(1, b"one")).await;
    client.frame().await.unwrap();
    (client, arrival)
}

/// How many durations a series has.
fn durations(proxy: &Proxy, of: &str, api: &str) -> u64 {
    let labels = format!("{{api=\"{api}\",listener=\"external\"}}");
    proxy.metric(&format!("narrows_{of}_duration_seconds_count{labels}"))
}

#[tokio::test]
async fn each_round_trip_counts_once_in_what_narrows_adds_and_in_what_brokers_take() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = connected(&mut broker, &proxy).await;
    let metadata = response(METADATA, 12, 2, &Shape::of(&[node(0, "kafka-0", 9092)]));
    let both = (&mut client, &mut arrival);
    round_trip(both, &request(METADATA, 12, 2, b""), &metadata).await;
    // Not answered: not measured.
    client.send(&produce(3, 0, b"records")).await;
    arrival.frame().await.unwrap();
    let both = (&mut client, &mut arrival);
    round_trip(both, &produce(4, 1, b"records"), &opaque(4, b"done")).await;
    drop(client);
    proxy.until_closed("client_closed", 1).await;
    for of in ["added", "broker"] {
        for api in ["OffsetCommit", "Metadata", "Produce"] {
            assert_eq!(durations(&proxy, of, api), 1, "{of} {api}");
        }
    }
    let produced = "narrows_requests_total{api=\"Produce\",listener=\"external\"}";
    assert_eq!(proxy.metric(produced), 2);
}

#[tokio::test]
async fn the_error_of_a_whole_response_is_counted_by_its_name() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = connected(&mut broker, &proxy).await;
    // ThrottleTimeMs, REBALANCE_IN_PROGRESS; then one in which nothing is wrong.
    for (id, error) in [(2, 27), (3, 0)] {
        let answer = opaque(id, &[0, 0, 0, 0, 0, error]);
        let both = (&mut client, &mut arrival);
        round_trip(both, &request(HEARTBEAT, 3, id, b"group"), &answer).await;
    }
    drop(client);
    proxy.until_closed("client_closed", 1).await;
    let text = proxy.narrows.metrics().render();
    let errors: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("narrows_kafka_errors_total"))
        .collect();
    assert_eq!(
        errors,
        [
            "narrows_kafka_errors_total{api=\"Heartbeat\",error=\"REBALANCE_IN_PROGRESS\",\
             listener=\"external\"} 1"
        ]
    );
}

#[tokio::test]
async fn logins_are_counted_by_mechanism_and_outcome() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let logins = |mechanism: &str, outcome: &str| {
        let labels = format!("mechanism=\"{mechanism}\",outcome=\"{outcome}\"");
        proxy.metric(&format!(
            "narrows_sasl_logins_total{{listener=\"external\",{labels}}}"
        ))
    };
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 0, b"PLAIN").await;
    let both = (&mut client, &mut arrival);
    round_trip(both, &raw(b"\0alice\0secret"), &raw(b"")).await;
    let both = (&mut client, &mut arrival);
    round_trip(both, &request(OFFSET_COMMIT, 6, 2, b""), &opaque(2, b"")).await;
    assert_eq!(logins("PLAIN", "success"), 1);

    let (mut client, mut arrival) = begun(&proxy, &mut broker, 1, b"SCRAM-SHA-512").await;
    let refused: &[u8] = &[0, 0, 58, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let token = request(SASL_AUTHENTICATE, 2, 2, b"\x01");
    round_trip((&mut client, &mut arrival), &token, &opaque(2, refused)).await;
    drop(client);
    proxy.until_closed("sasl_failed", 1).await;
    proxy.problem("sasl_failed");
    assert_eq!(logins("SCRAM-SHA-512", "failure"), 1);
    assert_eq!(logins("SCRAM-SHA-512", "success"), 0);
}

#[tokio::test]
async fn the_library_of_a_client_is_counted_once_a_connection() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = connected(&mut broker, &proxy).await;
    // Compact strings: their length and one.
    let software = [b"\x0b", &b"librdkafka"[..], b"\x07", b"2.15.0", b"\0"].concat();
    for id in [2, 3] {
        let answer = opaque(id, &[0, 0, 1, 0, 0, 0, 0, 0]);
        let asked = request(API_VERSIONS, 3, id, &software);
        round_trip((&mut client, &mut arrival), &asked, &answer).await;
    }
    let series = "narrows_client_connections_total{listener=\"external\",\
                  software=\"librdkafka\",version=\"2.15.0\"}";
    assert_eq!(proxy.metric(series), 1);
}

#[tokio::test]
async fn the_wait_for_a_client_that_takes_nothing_is_counted_once_it_takes_something() {
    const LARGE: usize = 32 * 1024 * 1024;
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = connected(&mut broker, &proxy).await;
    let waited = |direction: &str| {
        let text = proxy.narrows.metrics().render();
        let series = format!(
            "narrows_backpressure_seconds_total{{direction=\"{direction}\",listener=\"external\"}} "
        );
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap().parse::<f64>().unwrap()
    };
    assert!(waited("to_client") == 0.0 && waited("to_broker") == 0.0);
    client.send(&request(OFFSET_COMMIT, 6, 2, b"two")).await;
    arrival.frame().await.unwrap();
    let answer = opaque(2, &pattern(LARGE));
    let taken = arrival.fill(&answer).await;
    let rest = &answer[taken..];
    let (got, ()) = tokio::join!(client.frame(), arrival.send(rest));
    assert_eq!(got.map(|frame| frame.len()), Some(answer.len()));
    until("the wait is counted", || waited("to_client") > 0.0).await;
}

#[tokio::test]
async fn a_failure_is_a_series_before_it_happens_so_that_its_rate_is_seen() {
    let zero = Broker::alone(0).await;
    let _one = Broker::member(1, &zero.cluster).await;
    let proxy = Proxy::start(&[&zero]).await;
    let text = proxy.narrows.metrics().render();
    for series in [
        "narrows_broker_dial_failures_total{cluster=\"orders\",node_id=\"1\",reason=\"refused\"}",
        "narrows_broker_dial_failures_total{cluster=\"orders\",node_id=\"bootstrap\",reason=\"dns\"}",
        "narrows_metadata_refreshes_total{cluster=\"orders\",outcome=\"failed\"}",
        "narrows_connections_closed_total{cause=\"aborted\",listener=\"external\",side=\"narrows\"}",
        "narrows_accept_errors_total{listener=\"external\",reason=\"no_file_descriptors\"}",
    ] {
        let expected = format!("{series} 0");
        assert!(
            text.lines().any(|line| line == expected),
            "{series} in\n{text}"
        );
    }
}
