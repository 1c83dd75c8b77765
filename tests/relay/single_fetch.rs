//! Scheme `single` and Fetch: racks, and brokers that have nothing yet beside those that have.

use crate::broker::Arrival;
use crate::client::Client;
use crate::frames::{header, opaque, request};
use crate::single::{
    FETCH, FETCH_VERSION, TOPIC, answer_leaders, api_versions, begun, produce, produced, two,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// A Fetch outside of any session, from a rack, for these partitions.
fn fetch_from(rack: &'static str, correlation_id: i32, partitions: &[i32]) -> Vec<u8> {
    let of = |partition: &i32| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_partition_max_bytes(1000)
    };
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(partitions.iter().map(of).collect());
    let fetch = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
        .with_rack_id(StrBytes::from_static_str(rack));
    let mut body = Vec::new();
    fetch.encode(&mut body, FETCH_VERSION).unwrap();
    request(FETCH, FETCH_VERSION, correlation_id, &body)
}

/// What a broker reads of a Fetch.
fn read(frame: &[u8]) -> FetchRequest {
    assert_eq!(header(frame).key, FETCH);
    let mut body = bytes::Bytes::copy_from_slice(&frame[4 + 8 + 2 + "scripted".len()..]);
    let fetch = FetchRequest::decode(&mut body, FETCH_VERSION).unwrap();
    assert!(body.is_empty(), "bytes behind the request");
    fetch
}

/// A client whose connection has gone to node 0, which leads partition 0; node 1 leads partition 1.
async fn pinned(
    proxy: &crate::client::Proxy,
    zero: &mut crate::broker::Broker,
) -> (Client, Arrival) {
    let (mut client, mut at_zero) = begun(proxy, zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[0, 1]).await;
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(2, &[0], 0)).await;
    client.frame().await.unwrap();
    (client, at_zero)
}

#[tokio::test]
async fn a_leader_is_told_of_no_rack_for_which_it_would_send_the_client_away() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut at_zero) = pinned(&proxy, &mut zero).await;
    // On a connection of one broker, and on one of several; what follows is not disturbed.
    let behind = fetch_from("", 4, &[0]);
    client
        .send(&[fetch_from("eu-1a", 3, &[0]), behind.clone()].concat())
        .await;
    assert_eq!(at_zero.frame().await, Some(fetch_from("", 3, &[0])));
    assert_eq!(at_zero.frame().await, Some(behind));
    client.send(&fetch_from("eu-1a", 5, &[1])).await;
    let at_one = one.next().await;
    assert_eq!(read(&at_one.first).rack_id.as_str(), "");
    client.send(&fetch_from("eu-1a", 6, &[0, 1])).await;
    assert_eq!(read(&at_zero.frame().await.unwrap()).rack_id.as_str(), "");
}

#[tokio::test]
async fn a_rack_that_arrives_in_pieces_is_not_told_either() {
    let (mut zero, _one, proxy) = two().await;
    let (mut client, mut at_zero) = pinned(&proxy, &mut zero).await;
    let asked = fetch_from("eu-1a", 3, &[0]);
    for byte in asked.chunks(1) {
        client.send(byte).await;
    }
    assert_eq!(at_zero.frame().await, Some(fetch_from("", 3, &[0])));
    at_zero.send(&opaque(3, b"fetched")).await;
    assert_eq!(client.frame().await, Some(opaque(3, b"fetched")));
}

#[tokio::test]
async fn a_client_that_names_its_broker_is_served_by_rack() {
    let (_zero, mut one, proxy) = two().await;
    let mut client = proxy.connect().await;
    client.send(&api_versions(1, "the-cluster", 1)).await;
    let mut at_one = one.next().await;
    // Node 0 leads it; node 1 is the replica that the client has been sent to.
    client.send(&fetch_from("eu-1a", 2, &[0])).await;
    assert_eq!(at_one.frame().await, Some(fetch_from("eu-1a", 2, &[0])));
}
