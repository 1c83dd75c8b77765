//! Requests are read, and answers written, by the `kafka-protocol` crate.

use super::super::own_requests;
use super::*;
use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

/// The body of a request that has this header.
fn body_of(frame: Vec<u8>, key: i16, version: i16, header_version: i16) -> Bytes {
    assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
    let mut rest = Bytes::from(frame).slice(4..);
    let header = RequestHeader::decode(&mut rest, header_version).unwrap();
    let asked = (header.request_api_key, header.request_api_version);
    assert_eq!(asked, (key, version));
    assert_eq!(header.client_id.as_deref(), Some("narrows-1"));
    rest
}

fn answer(response: &impl Encodable, version: i16) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 0, 0, 0, 0, 7];
    response.encode(&mut frame, version).unwrap();
    closed(frame)
}

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

#[test]
fn versions_are_asked_for_under_the_name_of_narrows_and_come_with_features() {
    let mut rest = body_of(versions_request(b"narrows-1"), 18, 3, 2);
    let request = ApiVersionsRequest::decode(&mut rest, 3).unwrap();
    assert_eq!(&*request.client_software_name, "narrows");
    assert!(rest.is_empty());

    let api = ApiVersion::default()
        .with_api_key(3)
        .with_min_version(0)
        .with_max_version(13);
    let feature = FinalizedFeatureKey::default()
        .with_name(StrBytes::from_static_str("metadata.version"))
        .with_max_version_level(25);
    let response = ApiVersionsResponse::default()
        .with_api_keys(vec![api])
        .with_finalized_features(vec![feature]);
    let expected = Offered {
        apis: vec![(3, Versions { min: 0, max: 13 })],
        features: vec![("metadata.version".to_owned(), 25)],
    };
    assert_eq!(read_versions(&answer(&response, 3)), Ok(Some(expected)));
}

#[test]
fn an_old_broker_is_told_by_its_error_and_asked_in_the_form_of_v0() {
    let api = ApiVersion::default().with_api_key(18).with_max_version(2);
    let response = ApiVersionsResponse::default().with_api_keys(vec![api]);
    let refused = response.clone().with_error_code(35);
    assert_eq!(read_versions(&answer(&refused, 0)), Ok(None));
    // What librdkafka's mock cluster says: neither in the old form nor in the new one.
    let mock = b"\0\0\0\x11\0\0\0\x07\0\x23\x01\0\x12\0\0\0\x02\0\0\0\0";
    assert_eq!(read_versions(mock), Ok(None));

    let rest = body_of(own_requests::offers_request(b"narrows-1", 1), 18, 0, 1);
    assert!(rest.is_empty(), "v0 has no body");
    let offered = read_old_versions(&answer(&response, 0)).unwrap();
    assert_eq!(offered.apis, [(18, Versions { min: 0, max: 2 })]);
}

#[test]
fn a_topic_is_asked_for_without_creating_it_and_described_with_its_leaders() {
    let mut rest = body_of(topology_request(b"narrows-1", Some("orders")), 3, 4, 1);
    let request = MetadataRequest::decode(&mut rest, 4).unwrap();
    let topics = request.topics.unwrap();
    assert_eq!(topics[0].name, Some(name("orders")));
    assert!(!request.allow_auto_topic_creation && rest.is_empty());

    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(5))
        .with_host(StrBytes::from_static_str("kafka-5"))
        .with_port(9092)
        .with_rack(Some(StrBytes::from_static_str("a")));
    let partition = MetadataResponsePartition::default()
        .with_leader_id(BrokerId(5))
        .with_replica_nodes(vec![BrokerId(5), BrokerId(6)])
        .with_isr_nodes(vec![BrokerId(5)]);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(name("orders")))
        .with_partitions(vec![partition]);
    let response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_static_str("abc")))
        .with_controller_id(BrokerId(5))
        .with_topics(vec![topic]);
    let topology = read_topology(&answer(&response, 4)).unwrap();
    assert_eq!(topology.cluster_id.as_deref(), Some("abc"));
    assert_eq!(topology.controller, Some(NodeId(5)));
    let broker = &topology.brokers[0];
    assert_eq!((broker.host.as_str(), broker.port), ("kafka-5", 9092));
    assert_eq!(broker.rack.as_deref(), Some("a"));
    let partition = &topology.topics[0].partitions[0];
    assert_eq!(partition.leader, Some(NodeId(5)));
    assert_eq!(
        (&partition.replicas[..], &partition.in_sync[..]),
        (&[5, 6][..], &[5][..])
    );
}

#[test]
fn a_token_goes_out_and_comes_back_whole() {
    let mut rest = body_of(token_request(b"narrows-1", b"n,,"), 36, 0, 1);
    let request = SaslAuthenticateRequest::decode(&mut rest, 0).unwrap();
    assert_eq!(&request.auth_bytes[..], b"n,,");
    let response = SaslAuthenticateResponse::default()
        .with_error_code(58)
        .with_error_message(Some(StrBytes::from_static_str("no")))
        .with_auth_bytes(Bytes::from_static(b"r="));
    let expected = TokenAnswer {
        error: 58,
        message: Some("no".to_owned()),
        token: b"r=".to_vec(),
    };
    assert_eq!(read_token(&answer(&response, 0)), Ok(expected));
}

#[test]
fn a_batch_is_produced_with_all_acknowledgements() {
    let frame = produce_request(b"narrows-1", "orders", 2, 5_000, b"batch");
    let mut rest = body_of(frame, 0, 3, 1);
    let request = ProduceRequest::decode(&mut rest, 3).unwrap();
    assert_eq!((request.acks, request.timeout_ms), (-1, 5_000));
    let topic = &request.topic_data[0];
    assert_eq!(topic.name, name("orders"));
    assert_eq!(topic.partition_data[0].index, 2);
    assert_eq!(
        topic.partition_data[0].records.as_deref(),
        Some(&b"batch"[..])
    );
    assert!(rest.is_empty());

    let partition = PartitionProduceResponse::default()
        .with_error_code(6)
        .with_base_offset(42);
    let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
    let response = ProduceResponse::default().with_responses(vec![topic]);
    assert_eq!(read_produced(&answer(&response, 3)), Ok((6, 42)));
}

#[test]
fn one_partition_is_fetched_from_an_offset_on() {
    let frame = fetch_request(b"narrows-1", "orders", 2, 42, 500, 1_000);
    let mut rest = body_of(frame, 1, 4, 1);
    let request = FetchRequest::decode(&mut rest, 4).unwrap();
    assert_eq!((request.max_wait_ms, request.max_bytes), (500, 1_000));
    let topic = &request.topics[0];
    assert_eq!(topic.topic, name("orders"));
    assert_eq!(topic.partitions[0].fetch_offset, 42);
    assert!(rest.is_empty());

    let partition = PartitionData::default()
        .with_aborted_transactions(Some(Vec::new()))
        .with_records(Some(Bytes::from_static(b"batch")));
    let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
    let response = FetchResponse::default().with_responses(vec![topic]);
    assert_eq!(
        read_fetched(&answer(&response, 4)),
        Ok((0, b"batch".to_vec()))
    );
}

proptest! {
    #[test]
    fn no_answer_is_a_panic(frame in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_versions(&frame);
        let _ = read_old_versions(&frame);
        let _ = read_topology(&frame);
        let _ = read_token(&frame);
        let _ = read_produced(&frame);
        let _ = read_fetched(&frame);
    }
}
