//! The codec in memory: reading a request's header, walking and rewriting each response that names
//! brokers, next to what decoding (and encoding again) with the `kafka-protocol` crate costs.
//! `benches/run --codec`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark that can't run should end"
)]

use bytes::{Bytes, BytesMut};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use kafka_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::fetch_response::{
    FetchableTopicResponse, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    NodeEndpoint as ProduceNodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, DescribeClusterResponse, FetchResponse, FindCoordinatorResponse,
    MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use narrows::protocol::header;
use narrows::protocol::rewrite::{Advertise, PREFIX_BYTES, Rewrite};
use narrows::protocol::table;
use narrows::types::{AdvertisedAddress, NodeId};

fn main() {
    divan::main();
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic() -> TopicName {
    TopicName(text("orders"))
}

/// A response with its length, a correlation id and its header.
fn framed(api: ApiKey, version: i16, body: &impl Encodable) -> Vec<u8> {
    let mut out = BytesMut::from(&[0; 8][..]);
    if api.response_header_version(version) > 0 {
        out.extend_from_slice(&[0]);
    }
    body.encode(&mut out, version).unwrap();
    let length = (out.len() as u32 - 4).to_be_bytes();
    out[..4].copy_from_slice(&length);
    out.to_vec()
}

/// Tells every client the same host, of another length than the brokers' own.
struct Gateway;

impl Advertise for Gateway {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        AdvertisedAddress {
            host: "kafka.example.com".into(),
            port: 9093 + node.0 as u16,
        }
    }
}

/// As a session does it with a response that has arrived whole: a quick look, the walk, then the
/// edit of what it held.
fn rewritten(api: ApiKey, version: i16, frame: &[u8]) -> usize {
    let row = table::api(api as i16).unwrap();
    if Rewrite::passes(row, version, frame) {
        return 0;
    }
    let mut rewrite = Rewrite::new(row, version, frame.len() - 4).unwrap();
    let looked_at = rewrite.push(&frame[PREFIX_BYTES..]).unwrap();
    let end = PREFIX_BYTES + looked_at;
    assert!(rewrite.is_ready());
    let from = rewrite.held_from().unwrap_or(end);
    let edited = rewrite.finish(&frame[from..end], from, &Gateway).unwrap();
    edited.bytes.map_or(0, |bytes| bytes.len()) + edited.sighting.brokers.len()
}

fn body_at(api: ApiKey, version: i16) -> usize {
    if api.response_header_version(version) > 0 {
        9
    } else {
        8
    }
}

fn decoded<R: Decodable>(api: ApiKey, version: i16, frame: &Bytes) -> R {
    R::decode(&mut frame.slice(body_at(api, version)..), version).unwrap()
}

fn bench_rewrite(bencher: Bencher<'_, '_>, api: ApiKey, version: i16, frame: Vec<u8>) {
    bencher
        .counter(BytesCount::new(frame.len()))
        .bench(|| rewritten(api, version, black_box(&frame)));
}

fn bench_decode<R: Decodable>(bencher: Bencher<'_, '_>, api: ApiKey, version: i16, frame: Vec<u8>) {
    let frame = Bytes::from(frame);
    let bytes = BytesCount::new(frame.len());
    bencher
        .counter(bytes)
        .bench(|| decoded::<R>(api, version, black_box(&frame)));
}

fn bench_decode_encode<R: Decodable + Encodable>(
    bencher: Bencher<'_, '_>,
    api: ApiKey,
    version: i16,
    frame: Vec<u8>,
) {
    let frame = Bytes::from(frame);
    bencher.counter(BytesCount::new(frame.len())).bench(|| {
        let response = decoded::<R>(api, version, black_box(&frame));
        let mut out = BytesMut::with_capacity(frame.len());
        response.encode(&mut out, version).unwrap();
        out
    });
}

/// Three benchmarks of one response: Narrows' rewrite, the crate's decode, and its decode with
/// encode.
macro_rules! response {
    ($module:ident, $api:expr, $version:expr, $response:ty, $frame:expr, $sizes:expr) => {
        mod $module {
            use super::*;

            #[divan::bench(args = $sizes)]
            fn narrows_rewrite(bencher: Bencher<'_, '_>, size: usize) {
                bench_rewrite(bencher, $api, $version, $frame(size));
            }

            #[divan::bench(args = $sizes)]
            fn crate_decode(bencher: Bencher<'_, '_>, size: usize) {
                bench_decode::<$response>(bencher, $api, $version, $frame(size));
            }

            #[divan::bench(args = $sizes)]
            fn crate_decode_encode(bencher: Bencher<'_, '_>, size: usize) {
                bench_decode_encode::<$response>(bencher, $api, $version, $frame(size));
            }
        }
    };
}

// Partitions; brokers, for those that only name brokers.
response!(
    metadata_v12,
    ApiKey::Metadata,
    12,
    MetadataResponse,
    metadata,
    [1, 100, 10_000]
);
response!(
    fetch_v17_1_mib,
    ApiKey::Fetch,
    17,
    FetchResponse,
    fetch,
    [1, 10, 100, 1000]
);
response!(
    fetch_v17_1_mib_moved,
    ApiKey::Fetch,
    17,
    FetchResponse,
    fetch_moved,
    [10]
);
response!(
    produce_v12,
    ApiKey::Produce,
    12,
    ProduceResponse,
    produce,
    [1, 10, 100]
);
response!(
    produce_v12_moved,
    ApiKey::Produce,
    12,
    ProduceResponse,
    produce_moved,
    [10]
);
response!(
    find_coordinator_v6,
    ApiKey::FindCoordinator,
    6,
    FindCoordinatorResponse,
    coordinators,
    [1, 100]
);
response!(
    describe_cluster_v2,
    ApiKey::DescribeCluster,
    2,
    DescribeClusterResponse,
    cluster,
    [3, 30]
);

fn metadata(partitions: usize) -> Vec<u8> {
    let broker = |id: i32| {
        let host = text(&format!("kafka-{id}.kafka.svc.cluster.local"));
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(host)
            .with_port(9092)
    };
    let nodes = vec![BrokerId(1), BrokerId(2), BrokerId(3)];
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(1))
            .with_replica_nodes(nodes.clone())
            .with_isr_nodes(nodes.clone())
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(topic()))
        .with_partitions((0..partitions as i32).map(partition).collect());
    let body = MetadataResponse::default()
        .with_cluster_id(Some(text("cluster")))
        .with_brokers((0..30).map(broker).collect())
        .with_topics(vec![topic]);
    framed(ApiKey::Metadata, 12, &body)
}

fn fetch_with(partitions: usize, endpoints: Vec<NodeEndpoint>) -> Vec<u8> {
    let records = Bytes::from(vec![7; (1 << 20) / partitions]);
    let partition = |index| {
        PartitionData::default()
            .with_partition_index(index)
            .with_aborted_transactions(None)
            .with_records(Some(records.clone()))
    };
    let topic = FetchableTopicResponse::default()
        .with_partitions((0..partitions as i32).map(partition).collect());
    let body = FetchResponse::default()
        .with_responses(vec![topic])
        .with_node_endpoints(endpoints);
    framed(ApiKey::Fetch, 17, &body)
}

fn fetch(partitions: usize) -> Vec<u8> {
    fetch_with(partitions, Vec::new())
}

fn fetch_moved(partitions: usize) -> Vec<u8> {
    let endpoint = NodeEndpoint::default()
        .with_node_id(BrokerId(2))
        .with_host(text("kafka-2.kafka.svc.cluster.local"))
        .with_port(9092);
    fetch_with(partitions, vec![endpoint])
}

fn produce_with(partitions: usize, endpoints: Vec<ProduceNodeEndpoint>) -> Vec<u8> {
    let partition = |index| {
        PartitionProduceResponse::default()
            .with_index(index)
            .with_base_offset(12_345)
    };
    let topic = TopicProduceResponse::default()
        .with_name(topic())
        .with_partition_responses((0..partitions as i32).map(partition).collect());
    let body = ProduceResponse::default()
        .with_responses(vec![topic])
        .with_node_endpoints(endpoints);
    framed(ApiKey::Produce, 12, &body)
}

fn produce(partitions: usize) -> Vec<u8> {
    produce_with(partitions, Vec::new())
}

fn produce_moved(partitions: usize) -> Vec<u8> {
    let endpoint = ProduceNodeEndpoint::default()
        .with_node_id(BrokerId(2))
        .with_host(text("kafka-2.kafka.svc.cluster.local"))
        .with_port(9092);
    produce_with(partitions, vec![endpoint])
}

fn coordinators(count: usize) -> Vec<u8> {
    let coordinator = |id: usize| {
        Coordinator::default()
            .with_key(text(&format!("group-{id}")))
            .with_node_id(BrokerId(id as i32 % 3))
            .with_host(text("kafka-1.kafka.svc.cluster.local"))
            .with_port(9092)
    };
    let body =
        FindCoordinatorResponse::default().with_coordinators((0..count).map(coordinator).collect());
    framed(ApiKey::FindCoordinator, 6, &body)
}

fn cluster(brokers: usize) -> Vec<u8> {
    let broker = |id: usize| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(id as i32))
            .with_host(text("kafka-1.kafka.svc.cluster.local"))
            .with_port(9092)
    };
    let body = DescribeClusterResponse::default()
        .with_cluster_id(text("cluster"))
        .with_brokers((0..brokers).map(broker).collect());
    framed(ApiKey::DescribeCluster, 2, &body)
}

/// The header of a request: a Produce, of which `acks` is read too, and one that is as short as
/// they get.
mod request_header {
    use super::*;

    pub(super) fn request(api: ApiKey, version: i16, body: &impl Encodable) -> Bytes {
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_client_id(Some(text("producer-1")));
        let mut out = BytesMut::new();
        header
            .encode(&mut out, api.request_header_version(version))
            .unwrap();
        body.encode(&mut out, version).unwrap();
        out.freeze()
    }

    fn produce() -> Bytes {
        let partition =
            PartitionProduceData::default().with_records(Some(Bytes::from(vec![7; 16 * 1024])));
        let topic = TopicProduceData::default()
            .with_name(topic())
            .with_partition_data(vec![partition]);
        let body = ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(vec![topic]);
        request(ApiKey::Produce, 12, &body)
    }

    #[divan::bench]
    fn narrows_read_produce(bencher: Bencher<'_, '_>) {
        let frame = produce();
        bencher.bench(|| {
            header::read(black_box(&frame), frame.len())
                .unwrap()
                .is_answered
        });
    }

    #[divan::bench]
    fn crate_decode_produce(bencher: Bencher<'_, '_>) {
        let frame = produce();
        bencher.bench(|| {
            let mut rest = black_box(&frame).clone();
            let header = RequestHeader::decode(&mut rest, 2).unwrap();
            (header, ProduceRequest::decode(&mut rest, 12).unwrap().acks)
        });
    }

    #[divan::bench]
    fn narrows_read_small(bencher: Bencher<'_, '_>) {
        let frame = request(
            ApiKey::AddOffsetsToTxn,
            3,
            &AddOffsetsToTxnRequest::default(),
        );
        bencher.bench(|| {
            header::read(black_box(&frame), frame.len())
                .unwrap()
                .correlation_id
        });
    }

    #[divan::bench]
    fn crate_decode_small_header(bencher: Bencher<'_, '_>) {
        let frame = request(
            ApiKey::AddOffsetsToTxn,
            3,
            &AddOffsetsToTxnRequest::default(),
        );
        bencher.bench(|| RequestHeader::decode(&mut black_box(&frame).clone(), 2).unwrap());
    }
}

/// What scheme `single` does beyond that with a Produce for six partitions: `pinned` looks at the
/// first one, `of_one_broker` at all, and `of_three_brokers` makes three requests of it and one
/// answer of three.
mod routing {
    use super::request_header::request;
    use super::*;
    use narrows::protocol::split::{Outcome, Piece, Request, first_need};
    use std::sync::LazyLock;

    const VERSION: i16 = 12;
    const PARTITIONS: i32 = 6;
    const BROKERS: usize = 3;
    const RECORDS_BYTES: usize = 1000;

    fn frame() -> Bytes {
        let partition = |index| {
            PartitionProduceData::default()
                .with_index(index)
                .with_records(Some(Bytes::from(vec![7; RECORDS_BYTES])))
        };
        let topic = TopicProduceData::default()
            .with_name(topic())
            .with_partition_data((0..PARTITIONS).map(partition).collect());
        let body = ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(vec![topic]);
        request(ApiKey::Produce, VERSION, &body)
    }

    fn whole(frame: &[u8]) -> Request<'_> {
        Request {
            api: table::api(ApiKey::Produce as i16).unwrap(),
            version: VERSION,
            frame,
            body_at: header::read(frame, frame.len()).unwrap().body_at,
        }
    }

    /// What a broker says of every third partition: the body alone.
    fn answer(broker: usize) -> Vec<u8> {
        let partitions = (0..PARTITIONS).skip(broker).step_by(BROKERS);
        let partitions =
            partitions.map(|index| PartitionProduceResponse::default().with_index(index));
        let topic = TopicProduceResponse::default()
            .with_name(topic())
            .with_partition_responses(partitions.collect());
        let body = ProduceResponse::default().with_responses(vec![topic]);
        let mut out = BytesMut::new();
        body.encode(&mut out, VERSION).unwrap();
        out.to_vec()
    }

    static FRAME: LazyLock<Bytes> = LazyLock::new(frame);

    #[divan::bench]
    fn pinned(bencher: Bencher<'_, '_>) {
        let request = whole(&FRAME);
        bencher.bench(|| {
            let frame = black_box(request.frame);
            first_need(request.api, VERSION, frame, frame.len(), request.body_at)
        });
    }

    #[divan::bench]
    fn of_one_broker(bencher: Bencher<'_, '_>) {
        let request = whole(&FRAME);
        bencher.bench(|| black_box(request).needs());
    }

    #[divan::bench]
    fn of_three_brokers(bencher: Bencher<'_, '_>) {
        let request = whole(&FRAME);
        let answers: Vec<_> = (0..BROKERS).map(answer).collect();
        let keys: Vec<usize> = (0..PARTITIONS as usize).collect();
        let assignment: Vec<usize> = keys.iter().map(|key| key % BROKERS).collect();
        let of_broker = |broker: usize| keys.iter().copied().skip(broker).step_by(BROKERS);
        let keys: Vec<Vec<usize>> = (0..BROKERS)
            .map(|broker| of_broker(broker).collect())
            .collect();
        bencher.bench(|| {
            let request = black_box(request);
            request.needs().unwrap();
            let parts = request.split(&assignment, BROKERS).unwrap();
            let pieces: Vec<_> = (0..BROKERS)
                .map(|broker| Piece {
                    node: Some(NodeId(broker as i32)),
                    keys: &keys[broker],
                    outcome: Outcome::Answered(&answers[broker]),
                })
                .collect();
            (parts, request.merge(&pieces).unwrap())
        });
    }
}
