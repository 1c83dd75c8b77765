//! Scheme `single` in front of brokers of several versions: a client is offered what all of them
//! have, since any of them may get its requests.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{API_VERSIONS, opaque, request};
use crate::lines::Lines;
use crate::single::{api_versions, two};
use tracing::Level;

/// What a broker offers: each API with its lowest and highest version.
type Offers = &'static [(i16, i16, i16)];

/// Produce, Fetch, ApiVersions; and one API that only the newer broker has.
const OLD: Offers = &[(0, 0, 11), (1, 4, 17), (18, 0, 4)];
const NEW: Offers = &[(0, 3, 13), (1, 4, 18), (2, 1, 11), (18, 0, 5)];
const COMMON: Offers = &[(0, 3, 11), (1, 4, 17), (18, 0, 4)];

/// An api that any broker can serve.
const CREATE_TOPICS: i16 = 19;

/// The body of an answer to ApiVersions v0.
fn body(offers: Offers) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend((offers.len() as i32).to_be_bytes());
    for (key, min, max) in offers {
        for number in [key, min, max] {
            body.extend(number.to_be_bytes());
        }
    }
    body
}

/// What a broker tells whoever asks it from now on.
fn says(broker: &Broker, offers: Offers) {
    let mut cluster = broker.cluster.lock().unwrap();
    cluster.offers.insert(broker.address, body(offers));
}

/// A client that asks what is offered, at a broker that offers this; what it is told.
async fn asked(proxy: &Proxy, broker: &mut Broker, offers: Offers) -> (Client, Arrival, Vec<u8>) {
    let mut client = proxy.connect().await;
    client.send(&request(API_VERSIONS, 0, 1, b"")).await;
    let mut arrival = broker.next().await;
    arrival.send(&opaque(1, &body(offers))).await;
    let told = client.frame().await.unwrap();
    (client, arrival, told[8..].to_vec())
}

#[tokio::test]
async fn a_client_is_offered_what_all_brokers_have_in_common() {
    let (mut zero, one, proxy) = two().await;
    says(&zero, NEW);
    says(&one, OLD);
    let (_client, _arrival, told) = asked(&proxy, &mut zero, NEW).await;
    assert_eq!(told, body(COMMON));
    assert!(!one.has_arrivals());
}

#[tokio::test]
async fn what_brokers_offer_is_known_before_a_login_too() {
    let (mut zero, one, proxy) = two().await;
    says(&zero, NEW);
    says(&one, OLD);
    zero.cluster.lock().unwrap().demands_sasl = true;
    let (_client, _arrival, told) = asked(&proxy, &mut zero, NEW).await;
    assert_eq!(told, body(COMMON));
}

#[tokio::test]
async fn a_client_that_names_its_broker_is_offered_all_that_this_one_has() {
    let (mut zero, mut one, proxy) = two().await;
    says(&one, NEW);
    let (_other, _arrival, told) = asked(&proxy, &mut zero, OLD).await;
    assert_eq!(told, body(COMMON));
    let mut client = proxy.connect().await;
    client.send(&api_versions(1, "the-cluster", 1)).await;
    let mut arrival = one.next().await;
    // No tags, no throttle time.
    let mut flexible = vec![0, 0, NEW.len() as u8 + 1];
    for offer in body(NEW)[6..].chunks(6) {
        flexible.extend(offer);
        flexible.push(0);
    }
    flexible.extend([0; 5]);
    let answer = opaque(1, &flexible);
    arrival.send(&answer).await;
    assert_eq!(client.frame().await, Some(answer));
}

#[tokio::test]
async fn a_broker_that_does_not_say_what_it_offers_keeps_nobody_waiting_for_long() {
    let (mut zero, one, proxy) = two().await;
    says(&zero, NEW);
    let (_client, _arrival, told) = asked(&proxy, &mut zero, NEW).await;
    assert_eq!(told, body(NEW));
    assert!(!one.has_arrivals());
}

#[tokio::test]
async fn an_upgrade_and_a_downgrade_are_known_once_the_brokers_connections_have_broken() {
    let (mut zero, mut one, proxy) = two().await;
    let steps = [
        (OLD, OLD, OLD),
        (NEW, OLD, COMMON),
        (NEW, NEW, NEW),
        (OLD, NEW, COMMON),
    ];
    for (count, (of_zero, of_one, expected)) in (1..).zip(steps) {
        says(&zero, of_zero);
        says(&one, of_one);
        let (mut client, arrival, told) = asked(&proxy, &mut zero, of_zero).await;
        assert_eq!(told, body(expected), "step {count}");
        // A connection to the other one, which breaks too.
        let mut named = proxy.connect().await;
        named.send(&api_versions(1, "the-cluster", 1)).await;
        drop(one.next().await);
        drop(arrival);
        assert_eq!((client.frame().await, named.frame().await), (None, None));
        proxy.until_closed("broker_closed", 2 * count).await;
    }
}

#[tokio::test]
async fn a_version_that_a_broker_has_lost_is_refused_by_that_broker_itself() {
    let (mut zero, one, proxy) = two().await;
    says(&zero, NEW);
    says(&one, NEW);
    let (mut client, mut arrival, told) = asked(&proxy, &mut zero, NEW).await;
    assert_eq!(told, body(NEW));
    let request = request(CREATE_TOPICS, 2, 2, b"for any");
    client.send(&request).await;
    assert_eq!(arrival.frame().await, Some(request));
    let refusal = opaque(2, &[0, 0, 0, 0, 0, 35]);
    arrival.send(&refusal).await;
    assert_eq!(client.frame().await, Some(refusal));
}

#[tokio::test]
async fn the_log_names_the_library_that_takes_this_for_another_cluster_or_names_half_of_it() {
    let (lines, _guard) = Lines::collect(Level::INFO);
    let (mut zero, _one, proxy) = two().await;
    // Each kind once a minute.
    for (cluster_id, node) in [("another", 1), ("the-cluster", -1), ("another", 1)] {
        let mut client = proxy.connect().await;
        client.send(&api_versions(1, cluster_id, node)).await;
        let arrival = zero.next().await;
        assert_eq!(
            arrival.first,
            api_versions(1, cluster_id, node),
            "the broker answers it"
        );
    }
    let said = lines.of("narrows::cluster::misled");
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(
        (&said[0]["client"], &said[0]["cluster_id"], &said[0]["node"]),
        (&"c 1".into(), &"another".into(), &"1".into())
    );
    assert_eq!(
        (&said[1]["client"], &said[1]["cluster_id"]),
        (&"c 1".into(), &serde_json::Value::Null)
    );
}
