//! Scheme `single` and Fetch: racks, and brokers that have nothing yet beside those that have.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{header, opaque, request};
use crate::move_clock;
use crate::single::{
    CREATE_TOPICS, FETCH, FETCH_VERSION, TOPIC, answer_leaders, api_versions, begun, fetch,
    produce, produced, two,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::share_fetch_request::{
    FetchPartition as SharePartition, FetchTopic as ShareTopic,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ShareFetchRequest, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use std::time::Duration;

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
async fn pinned(proxy: &Proxy, zero: &mut Broker) -> (Client, Arrival) {
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

/// The answer to a Fetch: these records of this partition.
fn fetched(correlation_id: i32, partition: i32, records: &'static [u8]) -> Vec<u8> {
    let data = PartitionData::default()
        .with_partition_index(partition)
        .with_records(Some(bytes::Bytes::from_static(records)));
    let topic = FetchableTopicResponse::default()
        .with_topic(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(vec![data]);
    let mut body = Vec::new();
    let response = FetchResponse::default().with_responses(vec![topic]);
    response.encode(&mut body, FETCH_VERSION).unwrap();
    opaque(correlation_id, &body)
}

/// What a client reads of an answer to Fetch: the records of each partition.
fn records(frame: &[u8]) -> Vec<(i32, Vec<u8>)> {
    let mut body = bytes::Bytes::copy_from_slice(&frame[8..]);
    let response = FetchResponse::decode(&mut body, FETCH_VERSION).unwrap();
    assert_eq!(response.error_code, 0);
    let partitions = &response.responses[0].partitions;
    let of = |data: &PartitionData| {
        assert_eq!(data.error_code, 0);
        let records = data.records.as_deref().unwrap_or_default();
        (data.partition_index, records.to_vec())
    };
    partitions.iter().map(of).collect()
}

/// A client that fetches from both nodes, behind which it sends `more`; each has been asked.
async fn fetching(
    proxy: &Proxy,
    (zero, one): (&mut Broker, &mut Broker),
    more: &[u8],
) -> (Client, [Arrival; 2]) {
    let (mut client, mut at_zero) = begun(proxy, zero).await;
    client
        .send(&[&fetch_from("", 2, &[0, 1])[..], more].concat())
        .await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[0, 1]).await;
    let first = read(&at_zero.frame().await.unwrap());
    let at_one = one.next().await;
    for asked in [first, read(&at_one.first)] {
        assert_eq!(asked.max_wait_ms, 0, "each says what it has");
    }
    (client, [at_zero, at_one])
}

/// Each has nothing, and is asked again, for a short wait.
async fn asked_again(arrivals: &mut [Arrival; 2]) {
    for (partition, arrival) in (0..).zip(&mut *arrivals) {
        arrival.send(&fetched(2, partition, b"")).await;
    }
    for arrival in arrivals {
        let again = read(&arrival.frame().await.unwrap());
        assert!((1..=50).contains(&again.max_wait_ms), "{again:?}");
        assert_eq!((again.min_bytes, again.session_epoch), (1, -1));
    }
}

#[tokio::test]
async fn what_one_broker_has_does_not_wait_for_one_that_has_nothing() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut arrivals) = fetching(&proxy, (&mut zero, &mut one), b"").await;
    asked_again(&mut arrivals).await;
    let [at_zero, at_one] = &mut arrivals;
    at_zero.send(&fetched(2, 0, b"new")).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(records(&answer), [(0, b"new".to_vec()), (1, Vec::new())]);
    // What comes too late is asked for once more, and is not lost.
    client.send(&fetch_from("", 3, &[0, 1])).await;
    assert_eq!(read(&at_zero.frame().await.unwrap()).max_wait_ms, 0);
    assert_eq!(read(&at_one.frame().await.unwrap()).max_wait_ms, 0);
    at_zero.send(&fetched(3, 0, b"")).await;
    let late = [fetched(2, 1, b"late"), fetched(3, 1, b"late, again")];
    at_one.send(&late.concat()).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(
        records(&answer),
        [(0, Vec::new()), (1, b"late, again".to_vec())]
    );
    // Nor does it stand in the way of an answer that is one broker's.
    client.send(&fetch_from("", 4, &[1])).await;
    at_one.frame().await.unwrap();
    at_one.send(&fetched(4, 1, b"more")).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(records(&answer), [(1, b"more".to_vec())]);
}

#[tokio::test]
async fn what_there_is_at_once_is_answered_at_once() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, [mut at_zero, mut at_one]) =
        fetching(&proxy, (&mut zero, &mut one), b"").await;
    at_zero.send(&fetched(2, 0, b"zero")).await;
    at_one.send(&fetched(2, 1, b"one")).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(
        records(&answer),
        [(0, b"zero".to_vec()), (1, b"one".to_vec())]
    );
}

#[tokio::test]
async fn a_fetch_that_finds_nothing_is_answered_when_its_wait_is_over() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut arrivals) = fetching(&proxy, (&mut zero, &mut one), b"").await;
    asked_again(&mut arrivals).await;
    asked_again(&mut arrivals).await;
    move_clock(Duration::from_millis(500)).await;
    for (partition, arrival) in (0..).zip(&mut arrivals) {
        arrival.send(&fetched(2, partition, b"")).await;
    }
    let answer = client.frame().await.unwrap();
    assert_eq!(records(&answer), [(0, Vec::new()), (1, Vec::new())]);
}

#[tokio::test]
async fn a_request_behind_a_fetch_does_not_wait_for_records() {
    let (mut zero, mut one, proxy) = two().await;
    let behind = request(CREATE_TOPICS, 2, 3, b"any");
    let (mut client, [mut at_zero, mut at_one]) =
        fetching(&proxy, (&mut zero, &mut one), &behind).await;
    assert_eq!(at_zero.frame().await, Some(behind));
    at_zero.send(&fetched(2, 0, b"")).await;
    at_zero.send(&opaque(3, b"any")).await;
    at_one.send(&fetched(2, 1, b"")).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(records(&answer), [(0, Vec::new()), (1, Vec::new())]);
    assert_eq!(client.frame().await, Some(opaque(3, b"any")));
}

#[tokio::test]
async fn a_session_stays_with_its_broker_while_its_partitions_move() {
    let (mut zero, one, proxy) = two().await;
    let (mut client, mut at_zero) = pinned(&proxy, &mut zero).await;
    // Node 1 leads partition 1: that is for the broker of the session to say.
    let of_session = fetch(3, (7, 1), &[1]);
    client.send(&of_session).await;
    assert_eq!(at_zero.frame().await, Some(of_session));
    const SHARE_FETCH: i16 = 78;
    let acknowledging = ShareFetchRequest::default()
        .with_group_id(Some(StrBytes::from_static_str("g").into()))
        .with_member_id(Some("m".into()))
        .with_share_session_epoch(5)
        .with_topics(vec![
            ShareTopic::default().with_partitions(vec![SharePartition::default()]),
        ]);
    let mut body = Vec::new();
    acknowledging.encode(&mut body, 1).unwrap();
    let acknowledging = request(SHARE_FETCH, 1, 4, &body);
    client.send(&acknowledging).await;
    assert_eq!(at_zero.frame().await, Some(acknowledging));
    assert!(!one.has_arrivals());
}
