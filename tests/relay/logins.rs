//! A login that fails is told: by a cause of its own, and a line that says what to change.

use crate::broker::Broker;
use crate::client::Proxy;
use crate::frames::{OFFSET_COMMIT, SASL_AUTHENTICATE, SASL_HANDSHAKE, opaque, raw, request};
use crate::sasl::begun;

/// SaslAuthenticate v2: no tags, SASL_AUTHENTICATION_FAILED, null, empty token, no lifetime, no
/// tags.
const REFUSED: &[u8] = &[0, 0, 58, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn a_login_that_the_broker_refuses_is_told_with_what_to_check() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 1, b"PLAIN").await;
    client
        .send(&request(SASL_AUTHENTICATE, 2, 2, b"\x01"))
        .await;
    arrival.frame().await.unwrap();
    arrival.send(&opaque(2, REFUSED)).await;
    assert_eq!(client.frame().await, Some(opaque(2, REFUSED)));
    drop(arrival);
    assert_eq!(client.rest().await, b"");
    proxy.until_closed("sasl_failed", 1).await;
    let problem = proxy.problem("sasl_failed");
    let text = problem["last"].as_str().unwrap();
    assert!(
        text.contains("Kafka error 58") && text.contains("password"),
        "{text}"
    );
}

#[tokio::test]
async fn a_mechanism_that_the_broker_lacks_and_a_login_that_it_does_not_take_are_told() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let unsupported: &[u8] = &[0, 33, 0, 0, 0, 1, 0, 5, b'P', b'L', b'A', b'I', b'N'];
    let not_expected: &[u8] = &[0, 34, 0, 0, 0, 0];
    for (answer, cause, part) in [
        (unsupported, "sasl_mechanism_unsupported", "(PLAIN)"),
        (not_expected, "sasl_not_expected", "security.protocol"),
    ] {
        let mut client = proxy.connect().await;
        let mechanism = request(SASL_HANDSHAKE, 1, 1, b"\0\x06GSSAPI");
        client.send(&mechanism).await;
        let mut arrival = broker.next().await;
        arrival.send(&opaque(1, answer)).await;
        assert_eq!(client.frame().await, Some(opaque(1, answer)));
        drop(client);
        assert_eq!(arrival.rest().await, b"");
        proxy.until_closed(cause, 1).await;
        let problem = proxy.problem(cause);
        let text = problem["last"].as_str().unwrap();
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_broker_that_closes_in_the_middle_of_a_login_is_told() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 0, b"PLAIN").await;
    client.send(&raw(b"\0alice\0wrong")).await;
    arrival.frame().await.unwrap();
    drop(arrival);
    assert_eq!(client.rest().await, b"");
    proxy.until_closed("sasl_cut_off", 1).await;
}

#[tokio::test]
async fn a_client_without_a_login_at_brokers_that_demand_one_is_told_to_log_in() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let versions: &[u8] = &[0, 0, 0, 0, 0, 0];
    for is_served in [false, true] {
        let mut client = proxy.connect().await;
        client.send(&request(18, 0, 1, b"")).await;
        let mut arrival = broker.next().await;
        arrival.send(&opaque(1, versions)).await;
        client.frame().await.unwrap();
        if is_served {
            client.send(&request(OFFSET_COMMIT, 6, 2, b"")).await;
            arrival.frame().await.unwrap();
            arrival.send(&opaque(2, b"answer")).await;
            client.frame().await.unwrap();
        }
        client.send(&request(OFFSET_COMMIT, 6, 3, b"")).await;
        arrival.frame().await.unwrap();
        drop(arrival);
        assert_eq!(client.rest().await, b"");
        let cause = if is_served {
            "broker_closed"
        } else {
            "login_missing"
        };
        proxy.until_closed(cause, 1).await;
    }
    assert_eq!(proxy.closed("login_missing"), 1);
}
