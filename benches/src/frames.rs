//! Valid Kafka frames for both ends, encoded by the `kafka-protocol` crate: ApiVersions v3,
//! Metadata v4 and v12, Produce v12, Fetch v17. Every frame has its length in front; a correlation
//! id is patched in where it is sent.

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// Where the correlation id stands in a request, counted from its length.
pub const REQUEST_CORRELATION_AT: usize = 8;
/// Where the correlation id stands in a response, counted from its length.
pub const RESPONSE_CORRELATION_AT: usize = 4;
/// The versions that load is made of: what a client of 4.0 speaks.
pub const PRODUCE_VERSION: i16 = 12;
pub const FETCH_VERSION: i16 = 17;
pub const METADATA_VERSION: i16 = 12;

const TOPIC: &str = "bench";
const CLUSTER_ID: &str = "narrows-bench-cluster-01";
/// A Fetch with this isolation level is answered from a file, with sendfile.
pub const ISOLATION_FROM_FILE: i8 = 1;
const RECORDS_OVERHEAD_MAX: usize = 400;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name() -> TopicName {
    TopicName(text(TOPIC))
}

fn request(api: ApiKey, version: i16, body: &impl Encodable) -> Result<Vec<u8>> {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_client_id(Some(text("bench")));
    let mut out = BytesMut::from(&[0; 4][..]);
    header.encode(&mut out, api.request_header_version(version))?;
    body.encode(&mut out, version)?;
    Ok(with_length(out))
}

fn response(api: ApiKey, version: i16, body: &impl Encodable) -> Result<Vec<u8>> {
    let mut out = BytesMut::from(&[0; 8][..]);
    if api.response_header_version(version) > 0 {
        out.extend_from_slice(&[0]); // no tags
    }
    body.encode(&mut out, version)?;
    Ok(with_length(out))
}

fn with_length(frame: BytesMut) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// One record batch (v2, with a right checksum) of one record with a value of `value_bytes`.
fn records(value_bytes: usize) -> Result<Bytes> {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: 0,
        timestamp: 0,
        key: None,
        value: Some(Bytes::from(vec![b'r'; value_bytes])),
        headers: IndexMap::new(),
    };
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, [&record], &options)?;
    Ok(out.freeze())
}

/// Builds with growing values until the frame has `bytes`, its length prefix included; lengths of
/// varints can make one size impossible, so up to four bytes fewer count as well.
fn sized(bytes: usize, build: impl Fn(Bytes) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    let from = bytes.saturating_sub(RECORDS_OVERHEAD_MAX);
    let overhead = build(records(from)?)?.len() - from;
    ensure!(
        overhead <= bytes,
        "a frame of {bytes} bytes has no room for a record"
    );
    let mut best = None;
    for value_bytes in (bytes - overhead).saturating_sub(6)..=(bytes - overhead) + 6 {
        let frame = build(records(value_bytes)?)?;
        if (bytes - 4..=bytes).contains(&frame.len()) {
            best = Some(frame);
        }
    }
    best.with_context(|| format!("no frame of {bytes} bytes can be built"))
}

pub fn api_versions_request() -> Result<Vec<u8>> {
    let body = ApiVersionsRequest::default()
        .with_client_software_name(text("narrows-bench"))
        .with_client_software_version(text("1"));
    request(ApiKey::ApiVersions, 3, &body)
}

/// What the simulator offers, in the form of `version`; one that is too new gets error 35 in the
/// form of v0, as Kafka does it.
pub fn api_versions_response(version: i16) -> Result<Vec<u8>> {
    let is_known = (0..=4).contains(&version);
    let offers = [
        (0, 3, PRODUCE_VERSION),
        (1, 4, FETCH_VERSION),
        (3, 0, METADATA_VERSION),
        (18, 0, 4),
    ];
    let offer = |&(key, min, max)| {
        ApiVersion::default()
            .with_api_key(key)
            .with_min_version(min)
            .with_max_version(max)
    };
    let body = ApiVersionsResponse::default()
        .with_error_code(if is_known { 0 } else { 35 })
        .with_api_keys(offers.iter().map(offer).collect());
    response(
        ApiKey::ApiVersions,
        if is_known { version } else { 0 },
        &body,
    )
}

/// A Produce v12, `acks=all`, that is `bytes` long with its length.
pub fn produce_request(bytes: usize) -> Result<Vec<u8>> {
    sized(bytes, |records| {
        let partition = PartitionProduceData::default().with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(topic_name())
            .with_partition_data(vec![partition]);
        let body = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![topic]);
        request(ApiKey::Produce, PRODUCE_VERSION, &body)
    })
}

pub fn produce_response() -> Result<Vec<u8>> {
    let partition = PartitionProduceResponse::default().with_log_append_time_ms(-1);
    let topic = TopicProduceResponse::default()
        .with_name(topic_name())
        .with_partition_responses(vec![partition]);
    response(
        ApiKey::Produce,
        PRODUCE_VERSION,
        &ProduceResponse::default().with_responses(vec![topic]),
    )
}

/// A Fetch v17 that the simulator answers with a frame of `bytes`.
pub fn fetch_request(bytes: usize, from_file: bool) -> Result<Vec<u8>> {
    let size = i32::try_from(bytes)?;
    let partition = FetchPartition::default().with_partition_max_bytes(size);
    let body = FetchRequest::default()
        .with_max_bytes(size)
        .with_min_bytes(1)
        .with_isolation_level(if from_file { ISOLATION_FROM_FILE } else { 0 })
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_partitions(vec![partition])]);
    request(ApiKey::Fetch, FETCH_VERSION, &body)
}

/// What a Fetch v17 asks for: bytes, and whether from the file. The fields in front of the topics
/// are of fixed size.
pub fn read_fetch(request: &[u8]) -> Option<(usize, bool)> {
    let client_id_bytes = i16::from_be_bytes(*request.get(12..)?.first_chunk()?).max(0) as usize;
    // Tags of the header (none), then max_wait_ms, min_bytes, max_bytes, isolation_level.
    let body = request.get(14 + client_id_bytes + 1..)?;
    let bytes = i32::from_be_bytes(*body.get(8..)?.first_chunk()?);
    Some((
        usize::try_from(bytes).ok()?,
        *body.get(12)? == ISOLATION_FROM_FILE as u8,
    ))
}

/// A Fetch response v17 that is `bytes` long with its length, without `NodeEndpoints`.
pub fn fetch_response(bytes: usize) -> Result<Vec<u8>> {
    sized(bytes, |records| {
        let partition = PartitionData::default()
            .with_aborted_transactions(None)
            .with_records(Some(records));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        response(
            ApiKey::Fetch,
            FETCH_VERSION,
            &FetchResponse::default().with_responses(vec![topic]),
        )
    })
}

/// Metadata v12 for the topic that stands for `partitions`.
pub fn metadata_request(partitions: usize) -> Result<Vec<u8>> {
    let name = TopicName(text(&format!("partitions-{partitions}")));
    let body = MetadataRequest::default()
        .with_topics(Some(vec![
            MetadataRequestTopic::default().with_name(Some(name)),
        ]))
        .with_allow_auto_topic_creation(false);
    request(ApiKey::Metadata, METADATA_VERSION, &body)
}

/// How many partitions a Metadata request asks for, by the topic's name; none without such a topic.
pub fn read_metadata(request: &[u8]) -> usize {
    let marker = b"partitions-";
    let at = request
        .windows(marker.len())
        .position(|window| window == marker);
    let digits = at.map_or(&[][..], |at| &request[at + marker.len()..]);
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: usize, digit| {
        number
            .saturating_mul(10)
            .saturating_add((digit - b'0') as usize)
    })
}

/// Three brokers; the simulator is broker 1, at `port` of 127.0.0.1. The others are told of, and
/// nobody dials them.
pub fn metadata_response(version: i16, port: u16, partitions: usize) -> Result<Vec<u8>> {
    let broker = |id: i32| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(text(&format!("127.0.0.{id}")))
            .with_port(i32::from(port))
    };
    let nodes = vec![BrokerId(1), BrokerId(2), BrokerId(3)];
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(1))
            .with_leader_epoch(7)
            .with_replica_nodes(nodes.clone())
            .with_isr_nodes(nodes.clone())
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&format!("partitions-{partitions}")))))
        .with_partitions((0..i32::try_from(partitions)?).map(partition).collect());
    let body = MetadataResponse::default()
        .with_cluster_id(Some(text(CLUSTER_ID)))
        .with_controller_id(BrokerId(1))
        .with_brokers((1..=3).map(broker).collect())
        .with_topics(if partitions > 0 {
            vec![topic]
        } else {
            Vec::new()
        });
    response(ApiKey::Metadata, version, &body)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the result of a test"
)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_size_that_was_asked_for() {
        for bytes in [200, 16 * 1024, 64 * 1024, 1024 * 1024] {
            for frame in [
                produce_request(bytes).unwrap(),
                fetch_response(bytes).unwrap(),
            ] {
                assert!(
                    (bytes - 4..=bytes).contains(&frame.len()),
                    "{} instead of {bytes}",
                    frame.len()
                );
                assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
            }
        }
    }

    #[test]
    fn a_fetch_says_what_it_wants() {
        assert_eq!(
            read_fetch(&fetch_request(65_536, false).unwrap()),
            Some((65_536, false))
        );
        assert_eq!(
            read_fetch(&fetch_request(1 << 20, true).unwrap()),
            Some((1 << 20, true))
        );
        assert_eq!(read_fetch(&[0; 20]), None);
    }

    #[test]
    fn a_metadata_request_says_how_many_partitions_it_wants() {
        assert_eq!(read_metadata(&metadata_request(10_000).unwrap()), 10_000);
        assert_eq!(read_metadata(&[0; 30]), 0);
    }

    #[test]
    fn ten_thousand_partitions_make_a_large_answer() {
        assert!(
            metadata_response(METADATA_VERSION, 9092, 10_000)
                .unwrap()
                .len()
                > 300_000
        );
    }
}
