//! Scheme `single`: what a client asks says which broker it means.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE, header, opaque, request};
use crate::samples::{METADATA, close};
use bytes::Bytes;
use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, BrokerId, FetchRequest, FetchResponse,
    MetadataResponse, ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use narrows::address::{Scheme, SingleScheme};

pub(crate) const PRODUCE: i16 = 0;
pub(crate) const PRODUCE_VERSION: i16 = 7;
pub(crate) const TOPIC: &str = "orders";
/// An api that any broker can serve.
pub(crate) const CREATE_TOPICS: i16 = 19;

/// Two brokers, nodes 0 and 1, behind one address. Narrows is told of the first alone.
pub(crate) async fn two() -> (Broker, Broker, Proxy) {
    let zero = Broker::alone(0).await;
    let one = Broker::member(1, &zero.cluster).await;
    let proxy = single(&zero).await;
    (zero, one, proxy)
}

/// A Narrows with one address for the whole cluster, which is told of one broker alone.
pub(crate) async fn single(broker: &Broker) -> Proxy {
    Proxy::start_with(&[broker], |settings| {
        let listener = &mut settings.listeners[0];
        let bind = listener.scheme.binds()[0].address;
        let scheme = SingleScheme::new(bind, "kafka.example.com", bind.port()).unwrap();
        listener.scheme = Scheme::Single(scheme);
    })
    .await
}

/// ApiVersions v5, which names whom the client means.
pub(crate) fn api_versions(correlation_id: i32, cluster_id: &str, node: i32) -> Vec<u8> {
    let mut body = vec![2, b'c', 2, b'1', cluster_id.len() as u8 + 1];
    body.extend(cluster_id.as_bytes());
    body.extend(node.to_be_bytes());
    body.push(0);
    request(API_VERSIONS, 5, correlation_id, &body)
}

/// A Produce for these partitions.
pub(crate) fn produce(correlation_id: i32, partitions: &[i32]) -> Vec<u8> {
    let records = |partition: &i32| (*partition, format!("records of {partition}").into());
    produce_of(correlation_id, partitions.iter().map(records).collect())
}

/// One of an idempotent producer, which for each of these partitions numbers its batch.
pub(crate) fn produce_numbered(correlation_id: i32, batches: &[(i32, i32)]) -> Vec<u8> {
    let records = |(partition, sequence): &(i32, i32)| (*partition, numbered(*sequence));
    produce_of(correlation_id, batches.iter().map(records).collect())
}

/// The head of a record batch of producer 7, whose first record has this number.
fn numbered(sequence: i32) -> Bytes {
    let offset_length_and_epoch = [0; 16];
    let magic = [2];
    let checksum_attributes_last_and_times = [0; 26];
    let mut batch = [&offset_length_and_epoch[..], &magic].concat();
    batch.extend(checksum_attributes_last_and_times);
    batch.extend(7_i64.to_be_bytes());
    batch.extend(0_i16.to_be_bytes());
    batch.extend(sequence.to_be_bytes());
    batch.into()
}

pub(crate) fn produce_of(correlation_id: i32, records: Vec<(i32, Bytes)>) -> Vec<u8> {
    let data = |(partition, records): (i32, Bytes)| {
        PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(records))
    };
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_data(records.into_iter().map(data).collect());
    let produce = ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![topic]);
    let mut body = Vec::new();
    produce.encode(&mut body, PRODUCE_VERSION).unwrap();
    request(PRODUCE, PRODUCE_VERSION, correlation_id, &body)
}

/// Which partitions a Produce is for.
pub(crate) fn partitions_of(frame: &[u8]) -> Vec<i32> {
    assert_eq!(header(frame).key, PRODUCE);
    let mut body = bytes::Bytes::copy_from_slice(&frame[4 + 8 + 2 + "scripted".len()..]);
    let produce = ProduceRequest::decode(&mut body, PRODUCE_VERSION).unwrap();
    let of_topic = |topic: &TopicProduceData| topic.partition_data.clone();
    let all = produce.topic_data.iter().flat_map(of_topic);
    all.map(|data| data.index).collect()
}

/// The answer of the broker that leads these partitions; the offset says which broker it was.
pub(crate) fn produced(correlation_id: i32, partitions: &[i32], offset: i64) -> Vec<u8> {
    produced_or_not(correlation_id, partitions, offset, 0)
}

/// The answer of a broker that does not lead them: NOT_LEADER_OR_FOLLOWER.
pub(crate) fn refused(correlation_id: i32, partitions: &[i32]) -> Vec<u8> {
    produced_or_not(correlation_id, partitions, -1, 6)
}

pub(crate) fn produced_or_not(
    correlation_id: i32,
    partitions: &[i32],
    offset: i64,
    error: i16,
) -> Vec<u8> {
    let of = |partition: &i32| {
        PartitionProduceResponse::default()
            .with_index(*partition)
            .with_base_offset(offset)
            .with_error_code(error)
    };
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_responses(partitions.iter().map(of).collect());
    let mut frame = [&[0; 4][..], &correlation_id.to_be_bytes()].concat();
    let response = ProduceResponse::default().with_responses(vec![topic]);
    response.encode(&mut frame, PRODUCE_VERSION).unwrap();
    close(frame)
}

/// What a client reads of such an answer: each partition with its offset.
pub(crate) fn offsets(frame: &[u8]) -> Vec<(i32, i64)> {
    let mut body = bytes::Bytes::copy_from_slice(&frame[8..]);
    let response = ProduceResponse::decode(&mut body, PRODUCE_VERSION).unwrap();
    let of_topic = |topic: &TopicProduceResponse| topic.partition_responses.clone();
    let all = response.responses.iter().flat_map(of_topic);
    all.map(|partition| (partition.index, partition.base_offset))
        .collect()
}

/// Answers Narrows' question who leads: partition `i` is led by `leaders[i]`.
pub(crate) async fn answer_leaders(arrival: &mut Arrival, frame: &[u8], leaders: &[i32]) {
    assert!(asks_leaders(frame), "Narrows asks who leads");
    arrival.send(&leaders_of(frame, leaders)).await;
}

/// Whether Narrows asks who leads.
pub(crate) fn asks_leaders(frame: &[u8]) -> bool {
    let asked = header(frame);
    asked.is_narrows && (asked.key, asked.version) == (METADATA, 12)
}

/// The answer to that.
pub(crate) fn leaders_of(frame: &[u8], leaders: &[i32]) -> Vec<u8> {
    let correlation_id = header(frame).correlation_id;
    let partition = |(index, leader): (usize, &i32)| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(*leader))
            .with_leader_epoch(1)
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
        .with_partitions(leaders.iter().enumerate().map(partition).collect());
    let mut answer = [&[0; 4][..], &correlation_id.to_be_bytes(), &[0]].concat();
    let response = MetadataResponse::default().with_topics(vec![topic]);
    response.encode(&mut answer, 12).unwrap();
    close(answer)
}

/// A client that has asked for something that any broker can serve, at node 0.
pub(crate) async fn begun(proxy: &Proxy, zero: &mut Broker) -> (Client, Arrival) {
    let mut client = proxy.connect().await;
    client.send(&request(CREATE_TOPICS, 2, 1, b"any")).await;
    let mut arrival = zero.next().await;
    arrival.send(&opaque(1, b"any")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"any")));
    (client, arrival)
}

#[tokio::test]
async fn the_node_that_api_versions_names_gets_the_connection_and_all_of_it() {
    let (zero, mut one, proxy) = two().await;
    let mut client = proxy.connect().await;
    client.send(&api_versions(1, "the-cluster", 1)).await;
    let mut arrival = one.next().await;
    assert_eq!(arrival.first, api_versions(1, "the-cluster", 1));
    // Nothing is looked at any more: what other partitions are, the broker says itself.
    client.send(&produce(2, &[0])).await;
    assert_eq!(arrival.frame().await, Some(produce(2, &[0])));
    assert!(!zero.has_arrivals());
}

#[tokio::test]
async fn another_clusters_id_is_for_a_broker_to_refuse() {
    let (mut zero, one, proxy) = two().await;
    let mut client = proxy.connect().await;
    client.send(&api_versions(1, "another", 1)).await;
    let arrival = zero.next().await;
    assert_eq!(arrival.first, api_versions(1, "another", 1));
    assert!(!one.has_arrivals());
}

#[tokio::test]
async fn nobody_answers_in_the_place_of_a_broker_that_the_client_names() {
    let (zero, one, proxy) = two().await;
    one.stop_accepting().await;
    drop(one);
    proxy.announce("can't be reached");
    let mut client = proxy.connect().await;
    client.send(&api_versions(1, "the-cluster", 1)).await;
    assert_eq!(client.rest().await, b"");
    proxy.until_closed("dial_failed", 1).await;
    assert!(!zero.has_arrivals());
}

#[tokio::test]
async fn the_first_request_that_only_one_broker_can_serve_takes_the_connection_there() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut any) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = any.frame().await.unwrap();
    answer_leaders(&mut any, &asked, &[1]).await;
    let mut arrival = one.next().await;
    assert_eq!(arrival.first, produce(2, &[0]));
    arrival.send(&produced(2, &[0], 7)).await;
    assert_eq!(client.frame().await, Some(produced(2, &[0], 7)));
    // What any broker can serve goes there too from now on, and the first broker is let go.
    client.send(&request(CREATE_TOPICS, 2, 3, b"any")).await;
    let next = arrival.frame().await.unwrap();
    assert_eq!(header(&next).correlation_id, 3);
    assert_eq!(any.rest().await, b"");
    // Another client's first request finds its broker without a question.
    let mut other = proxy.connect().await;
    other.send(&produce(1, &[0])).await;
    assert_eq!(one.next().await.first, produce(1, &[0]));
}

#[tokio::test]
async fn requests_for_two_brokers_on_one_connection_are_answered_in_the_clients_order() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut first) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = first.frame().await.unwrap();
    answer_leaders(&mut first, &asked, &[0, 1]).await;
    assert_eq!(first.frame().await, Some(produce(2, &[0])));
    client.send(&produce(3, &[1])).await;
    let mut second = one.next().await;
    assert_eq!(second.first, produce(3, &[1]));
    client.send(&produce(4, &[0])).await;
    assert_eq!(first.frame().await, Some(produce(4, &[0])));
    // The second broker is the first to answer.
    second.send(&produced(3, &[1], 1)).await;
    first.send(&produced(2, &[0], 0)).await;
    first.send(&produced(4, &[0], 0)).await;
    for expected in [
        produced(2, &[0], 0),
        produced(3, &[1], 1),
        produced(4, &[0], 0),
    ] {
        let frame = client.frame().await;
        assert_eq!(frame, Some(expected), "{:?}", proxy.causes());
    }
}

#[tokio::test]
async fn a_request_for_two_brokers_is_split_and_its_answers_become_one() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut first) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[1, 0, 2])).await;
    let asked = first.frame().await.unwrap();
    answer_leaders(&mut first, &asked, &[0, 1, 0]).await;
    let piece = first.frame().await.unwrap();
    assert_eq!(partitions_of(&piece), [0, 2]);
    let mut second = one.next().await;
    assert_eq!(partitions_of(&second.first), [1]);
    second.send(&produced(2, &[1], 11)).await;
    first.send(&produced(2, &[0, 2], 22)).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(header_of(&answer), 2);
    assert_eq!(offsets(&answer), [(1, 11), (0, 22), (2, 22)]);
}

/// The correlation id of a response.
pub(crate) fn header_of(response: &[u8]) -> i32 {
    i32::from_be_bytes(response[4..8].try_into().unwrap())
}

#[tokio::test]
async fn a_piece_whose_broker_closes_is_said_to_have_timed_out_and_the_rest_stands() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut first) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0, 1])).await;
    let asked = first.frame().await.unwrap();
    answer_leaders(&mut first, &asked, &[0, 1]).await;
    first.frame().await.unwrap();
    drop(one.next().await);
    first.send(&produced(2, &[0], 5)).await;
    let answer = client.frame().await.unwrap();
    let mut body = bytes::Bytes::copy_from_slice(&answer[8..]);
    let response = ProduceResponse::decode(&mut body, PRODUCE_VERSION).unwrap();
    let partitions = &response.responses[0].partition_responses;
    let told = |index: usize| (partitions[index].index, partitions[index].error_code);
    // REQUEST_TIMED_OUT: nobody knows whether it was written.
    assert_eq!([told(0), told(1)], [(0, 0), (1, 7)]);
}

#[tokio::test]
async fn a_request_for_a_broker_that_is_away_is_answered_by_the_one_at_hand() {
    let (mut zero, one, proxy) = two().await;
    one.stop_accepting().await;
    drop(one);
    let (mut client, mut first) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = first.frame().await.unwrap();
    answer_leaders(&mut first, &asked, &[1]).await;
    assert_eq!(first.frame().await, Some(produce(2, &[0])));
}

#[tokio::test]
async fn where_nobody_knows_the_leader_the_broker_at_hand_says_so() {
    let (mut zero, one, proxy) = two().await;
    let (mut client, mut first) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = first.frame().await.unwrap();
    answer_leaders(&mut first, &asked, &[-1]).await;
    assert_eq!(first.frame().await, Some(produce(2, &[0])));
    assert!(!one.has_arrivals());
}

/// A client that has logged in at node 0 by this mechanism.
async fn logged_in(
    proxy: &Proxy,
    zero: &mut Broker,
    mechanism: &str,
    tokens: i32,
) -> (Client, Arrival) {
    let mut client = proxy.connect().await;
    let mut body = (mechanism.len() as i16).to_be_bytes().to_vec();
    body.extend(mechanism.as_bytes());
    client.send(&request(SASL_HANDSHAKE, 1, 1, &body)).await;
    let mut arrival = zero.next().await;
    arrival.send(&opaque(1, &[0, 0, 0, 0, 0, 0])).await;
    client.frame().await.unwrap();
    for token in 0..tokens {
        let asked = request(SASL_AUTHENTICATE, 0, 2 + token, b"\0\0\0\x05token");
        client.send(&asked).await;
        arrival.frame().await.unwrap();
        let granted = [0, 0, 255, 255, 0, 0, 0, 0];
        arrival.send(&opaque(2 + token, &granted)).await;
        client.frame().await.unwrap();
    }
    (client, arrival)
}

#[tokio::test]
async fn a_login_by_plain_is_said_again_to_the_broker_that_is_meant() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, any) = logged_in(&proxy, &mut zero, "PLAIN", 1).await;
    client.send(&api_versions(9, "the-cluster", 1)).await;
    let mut arrival = one.next().await;
    assert_eq!(header(&arrival.first).key, SASL_HANDSHAKE);
    arrival.send(&opaque(1, &[0, 0, 0, 0, 0, 0])).await;
    let token = arrival.frame().await.unwrap();
    assert_eq!(header(&token).key, SASL_AUTHENTICATE);
    assert!(token.ends_with(b"token"));
    arrival
        .send(&opaque(2, &[0, 0, 255, 255, 0, 0, 0, 0]))
        .await;
    assert_eq!(
        arrival.frame().await,
        Some(api_versions(9, "the-cluster", 1))
    );
    assert_eq!(any.rest().await, b"", "the first broker is let go");
}

#[tokio::test]
async fn after_a_login_by_scram_the_client_comes_again_and_is_carried_straight_there() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, any) = logged_in(&proxy, &mut zero, "SCRAM-SHA-256", 2).await;
    client.send(&api_versions(9, "the-cluster", 1)).await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(any.rest().await, b"");
    proxy.until_closed("login_elsewhere", 1).await;
    let (mut client, mut arrival) = logged_in(&proxy, &mut one, "SCRAM-SHA-256", 2).await;
    client.send(&api_versions(9, "the-cluster", 1)).await;
    assert_eq!(
        arrival.frame().await,
        Some(api_versions(9, "the-cluster", 1))
    );
    assert!(!zero.has_arrivals());
}

pub(crate) const FETCH: i16 = 1;
pub(crate) const FETCH_VERSION: i16 = 11;

/// A Fetch v11 in this session for these partitions.
pub(crate) fn fetch(
    correlation_id: i32,
    (session, epoch): (i32, i32),
    partitions: &[i32],
) -> Vec<u8> {
    let of = |partition: &i32| FetchPartition::default().with_partition(*partition);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(partitions.iter().map(of).collect());
    let topics = if partitions.is_empty() {
        Vec::new()
    } else {
        vec![topic]
    };
    let fetch = FetchRequest::default()
        .with_session_id(session)
        .with_session_epoch(epoch)
        .with_topics(topics);
    let mut body = Vec::new();
    fetch.encode(&mut body, FETCH_VERSION).unwrap();
    request(FETCH, FETCH_VERSION, correlation_id, &body)
}

/// The session that a Fetch is of.
pub(crate) fn session_of(frame: &[u8]) -> (i32, i32) {
    assert_eq!(header(frame).key, FETCH);
    let mut body = bytes::Bytes::copy_from_slice(&frame[4 + 8 + 2 + "scripted".len()..]);
    let fetch = FetchRequest::decode(&mut body, FETCH_VERSION).unwrap();
    (fetch.session_id, fetch.session_epoch)
}

#[tokio::test]
async fn a_connection_to_several_brokers_fetches_without_a_session() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut first) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = first.frame().await.unwrap();
    answer_leaders(&mut first, &asked, &[0, 1]).await;
    first.frame().await.unwrap();
    first.send(&produced(2, &[0], 0)).await;
    client.frame().await.unwrap();
    // A connection of one broker keeps its session.
    client.send(&fetch(3, (0, 0), &[0])).await;
    assert_eq!(session_of(&first.frame().await.unwrap()), (0, 0));
    first.send(&opaque(3, b"fetched")).await;
    client.frame().await.unwrap();
    // From the second broker on there are none, and one that was begun is not known any more.
    client.send(&fetch(4, (0, 0), &[1])).await;
    let mut second = one.next().await;
    client.send(&fetch(5, (0, 0), &[0])).await;
    assert_eq!(session_of(&first.frame().await.unwrap()), (0, -1));
    client.send(&fetch(6, (7, 1), &[])).await;
    second.send(&opaque(4, b"fetched")).await;
    first.send(&opaque(5, b"fetched")).await;
    for id in [4, 5] {
        assert_eq!(client.frame().await, Some(opaque(id, b"fetched")));
    }
    let answer = client.frame().await.unwrap();
    assert_eq!(header_of(&answer), 6);
    let mut body = bytes::Bytes::copy_from_slice(&answer[8..]);
    let response = FetchResponse::decode(&mut body, FETCH_VERSION).unwrap();
    // FETCH_SESSION_ID_NOT_FOUND
    assert_eq!((response.error_code, response.session_id), (70, 0));
}

const ALTER_REPLICA_LOG_DIRS: i16 = 34;

#[tokio::test]
async fn a_replica_is_moved_to_another_directory_on_no_broker_that_was_not_named() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut first) = begun(&proxy, &mut zero).await;
    let topic = AlterReplicaLogDirTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(vec![3]);
    let directory = AlterReplicaLogDir::default()
        .with_path(StrBytes::from_static_str("/data"))
        .with_topics(vec![topic]);
    let mut body = Vec::new();
    let asked = AlterReplicaLogDirsRequest::default().with_dirs(vec![directory]);
    asked.encode(&mut body, 1).unwrap();
    client
        .send(&request(ALTER_REPLICA_LOG_DIRS, 1, 2, &body))
        .await;
    let answer = client.frame().await.unwrap();
    let mut answer = bytes::Bytes::copy_from_slice(&answer[8..]);
    let answer = AlterReplicaLogDirsResponse::decode(&mut answer, 1).unwrap();
    let partition = &answer.results[0].partitions[0];
    // BROKER_NOT_AVAILABLE
    assert_eq!((partition.partition_index, partition.error_code), (3, 8));
    assert!(!one.has_arrivals());
    client.send(&request(CREATE_TOPICS, 2, 3, b"any")).await;
    assert_eq!(header(&first.frame().await.unwrap()).correlation_id, 3);
    // Whose connection is known to be one broker's has it done there.
    let mut named = proxy.connect().await;
    named.send(&api_versions(1, "the-cluster", 1)).await;
    let mut arrival = one.next().await;
    let asked = request(ALTER_REPLICA_LOG_DIRS, 1, 2, &body);
    named.send(&asked).await;
    assert_eq!(arrival.frame().await, Some(asked));
}
