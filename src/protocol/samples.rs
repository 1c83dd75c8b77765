//! Valid responses of every API and version that names brokers, as the `kafka-protocol` crate
//! writes them, from a shape that says what is in them. What a rewrite must give is the same shape
//! with other addresses.
//!
//! ShareFetch and ShareAcknowledge are known to the crate in v1 only: v0 and v2 differ from it by
//! one int32, which is taken out or put in by hand.

// Each test that includes this file uses its part of it.
#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::panic, reason = "helpers of tests may fail as tests do")]

use bytes::Bytes;
use kafka_protocol::messages::{
    BrokerId, DescribeClusterResponse, DescribeConfigsResponse, DescribeQuorumResponse,
    FetchResponse, FindCoordinatorResponse, MetadataResponse, ProduceResponse,
    ShareAcknowledgeResponse, ShareFetchResponse, TopicName, describe_cluster_response as cluster,
    describe_configs_response as configs, describe_quorum_response as quorum,
    fetch_response as fetch, find_coordinator_response as coordinator,
    metadata_response as metadata, produce_response as produce,
    share_acknowledge_response as acknowledge, share_fetch_response as share,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

pub(crate) const PRODUCE: i16 = 0;
pub(crate) const FETCH: i16 = 1;
pub(crate) const METADATA: i16 = 3;
pub(crate) const FIND_COORDINATOR: i16 = 10;
pub(crate) const DESCRIBE_QUORUM: i16 = 55;
pub(crate) const DESCRIBE_CLUSTER: i16 = 60;
pub(crate) const SHARE_FETCH: i16 = 78;
pub(crate) const SHARE_ACKNOWLEDGE: i16 = 79;

/// Every API whose responses name brokers, with the versions in which they do.
pub(crate) const REWRITTEN: [(i16, RangeInclusive<i16>); 8] = [
    (PRODUCE, 10..=13),
    (FETCH, 16..=18),
    (METADATA, 0..=13),
    (FIND_COORDINATOR, 0..=6),
    (DESCRIBE_QUORUM, 2..=2),
    (DESCRIBE_CLUSTER, 0..=2),
    (SHARE_FETCH, 0..=2),
    (SHARE_ACKNOWLEDGE, 0..=2),
];

/// Those whose addresses stand at the end.
pub(crate) const TAILED: [i16; 4] = [PRODUCE, FETCH, SHARE_FETCH, SHARE_ACKNOWLEDGE];

/// Every API and version of [`REWRITTEN`], one by one.
pub(crate) fn rewritten() -> impl Iterator<Item = (i16, i16)> {
    REWRITTEN
        .into_iter()
        .flat_map(|(key, versions)| versions.map(move |version| (key, version)))
}

/// A broker as a response names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

pub(crate) fn node(id: i32, host: &str, port: u16) -> Node {
    Node {
        id,
        host: host.to_owned(),
        port,
    }
}

/// What is in a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) nodes: Vec<Node>,
    /// How many bytes of records (or, where there are none, of an error message).
    pub(crate) filling: usize,
    /// Whether there are tagged fields that nobody knows.
    pub(crate) has_unknown_tags: bool,
    /// Whether what may be null is null; else it is empty.
    pub(crate) has_nulls: bool,
}

impl Shape {
    pub(crate) fn of(nodes: &[Node]) -> Self {
        Self {
            nodes: nodes.to_vec(),
            ..Self::default()
        }
    }

    /// The same with other addresses.
    pub(crate) fn readdressed(&self, map: impl Fn(&Node) -> Node) -> Self {
        Self {
            nodes: self.nodes.iter().map(map).collect(),
            ..self.clone()
        }
    }

    fn tags(&self) -> BTreeMap<i32, Bytes> {
        let tags = [(40, Bytes::from_static(b"forty")), (5000, Bytes::new())];
        if self.has_unknown_tags {
            tags.into()
        } else {
            BTreeMap::new()
        }
    }

    fn text(&self) -> Option<StrBytes> {
        (!self.has_nulls).then(|| StrBytes::from_static_str(""))
    }

    fn records(&self) -> Option<Bytes> {
        if self.filling == 0 && self.has_nulls {
            None
        } else {
            Some(pattern(self.filling))
        }
    }

    fn message(&self) -> Option<StrBytes> {
        if self.filling == 0 {
            self.text()
        } else {
            Some(str_bytes(&"m".repeat(self.filling)))
        }
    }
}

/// Bytes that repeat with a period that divides no buffer's size.
pub(crate) fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

pub(crate) fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Whether a version has compact types, and so a response header with tagged fields.
pub(crate) fn is_flexible(key: i16, version: i16) -> bool {
    match key {
        METADATA => version >= 9,
        FIND_COORDINATOR => version >= 3,
        _ => true,
    }
}

/// The frame of a response, with its length.
pub(crate) fn response(key: i16, version: i16, correlation_id: i32, shape: &Shape) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    if is_flexible(key, version) {
        frame.push(0);
    }
    match key {
        PRODUCE => put(&mut frame, &produce_response(version, shape), version),
        FETCH => put(&mut frame, &fetch_response(shape), version),
        METADATA => put(&mut frame, &metadata_response(version, shape), version),
        FIND_COORDINATOR => put(&mut frame, &coordinator_response(version, shape), version),
        DESCRIBE_QUORUM => put(&mut frame, &quorum_response(shape), version),
        DESCRIBE_CLUSTER => put(&mut frame, &cluster_response(version, shape), version),
        SHARE_FETCH => put(&mut frame, &share_fetch_response(shape), 1),
        SHARE_ACKNOWLEDGE => put(&mut frame, &share_acknowledge_response(shape), 1),
        _ => panic!("api key {key} names no brokers"),
    }
    from_v1(key, version, &mut frame);
    close(frame)
}

/// Where AcquisitionLockTimeoutMs stands: behind length, correlation id, tags, ThrottleTimeMs,
/// ErrorCode and ErrorMessage (null or empty, one byte).
const LOCK_TIMEOUT: Range<usize> = 16..20;

fn from_v1(key: i16, version: i16, frame: &mut Vec<u8>) {
    match (key, version) {
        (SHARE_FETCH, 0) => drop(frame.drain(LOCK_TIMEOUT)),
        (SHARE_ACKNOWLEDGE, 2) => {
            drop(frame.splice(LOCK_TIMEOUT.start..LOCK_TIMEOUT.start, [0, 0, 0, 9]))
        }
        _ => {}
    }
}

fn to_v1(key: i16, version: i16, frame: &mut Vec<u8>) {
    match (key, version) {
        (SHARE_FETCH, 0) => drop(frame.splice(LOCK_TIMEOUT.start..LOCK_TIMEOUT.start, [0; 4])),
        (SHARE_ACKNOWLEDGE, 2) => drop(frame.drain(LOCK_TIMEOUT)),
        _ => {}
    }
}

/// Writes the length of a frame in front, where four bytes are kept for it.
pub(crate) fn close(mut frame: Vec<u8>) -> Vec<u8> {
    let length = i32::try_from(frame.len() - 4).expect("a frame's length");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// The broker addresses at the end of a response of one of [`TAILED`], and the same response
/// without them and without padding: what must be left untouched.
pub(crate) fn tail(key: i16, version: i16, frame: &[u8]) -> (Vec<Node>, Vec<u8>) {
    let mut body = frame.to_vec();
    to_v1(key, version, &mut body);
    let mut prefix = body[..9].to_vec();
    let body = body.split_off(9);
    macro_rules! split {
        ($response:ty, $version:expr) => {{
            let mut bytes = Bytes::from(body);
            let mut response = <$response>::decode(&mut bytes, $version).expect("a valid response");
            assert!(bytes.is_empty(), "bytes behind the last field");
            let nodes = std::mem::take(&mut response.node_endpoints);
            response.unknown_tagged_fields.remove(&127);
            response.unknown_tagged_fields.remove(&128);
            put(&mut prefix, &response, $version);
            nodes
                .into_iter()
                .map(|at| node(at.node_id.0, &at.host, at.port as u16))
                .collect()
        }};
    }
    let nodes = match key {
        PRODUCE => split!(ProduceResponse, version),
        FETCH => split!(FetchResponse, version),
        SHARE_FETCH => split!(ShareFetchResponse, 1),
        SHARE_ACKNOWLEDGE => split!(ShareAcknowledgeResponse, 1),
        _ => panic!("api key {key} has no addresses at its end"),
    };
    from_v1(key, version, &mut prefix);
    (nodes, close(prefix))
}

fn put(frame: &mut Vec<u8>, response: &impl Encodable, version: i16) {
    response
        .encode(frame, version)
        .expect("every field exists in this version");
}

macro_rules! endpoints {
    ($module:ident, $shape:expr) => {
        $shape
            .nodes
            .iter()
            .map(|at| {
                $module::NodeEndpoint::default()
                    .with_node_id(BrokerId(at.id))
                    .with_host(str_bytes(&at.host))
                    .with_port(i32::from(at.port))
                    .with_rack($shape.text())
                    .with_unknown_tagged_fields($shape.tags())
            })
            .collect()
    };
}

fn produce_response(version: i16, shape: &Shape) -> ProduceResponse {
    let partition = produce::PartitionProduceResponse::default()
        .with_error_code(6)
        .with_error_message(shape.message())
        .with_record_errors(vec![produce::BatchIndexAndErrorMessage::default()])
        .with_current_leader(produce::LeaderIdAndEpoch::default().with_leader_id(BrokerId(1)))
        .with_unknown_tagged_fields(shape.tags());
    let topic = produce::TopicProduceResponse::default().with_partition_responses(vec![partition]);
    let topic = if version < 13 {
        topic.with_name(TopicName(str_bytes("orders")))
    } else {
        topic
    };
    ProduceResponse::default()
        .with_responses(vec![topic])
        .with_node_endpoints(endpoints!(produce, shape))
        .with_unknown_tagged_fields(shape.tags())
}

fn fetch_response(shape: &Shape) -> FetchResponse {
    let partition = fetch::PartitionData::default()
        .with_current_leader(fetch::LeaderIdAndEpoch::default().with_leader_id(BrokerId(1)))
        .with_aborted_transactions(if shape.has_nulls {
            None
        } else {
            Some(vec![Default::default()])
        })
        .with_records(shape.records())
        .with_unknown_tagged_fields(shape.tags());
    let topic = fetch::FetchableTopicResponse::default()
        .with_partitions(vec![Default::default(), partition]);
    FetchResponse::default()
        .with_responses(vec![topic])
        .with_node_endpoints(endpoints!(fetch, shape))
        .with_unknown_tagged_fields(shape.tags())
}

fn share_fetch_response(shape: &Shape) -> ShareFetchResponse {
    let partition = share::PartitionData::default()
        .with_records(shape.records())
        .with_acquired_records(vec![Default::default()])
        .with_unknown_tagged_fields(shape.tags());
    let topic = share::ShareFetchableTopicResponse::default().with_partitions(vec![partition]);
    ShareFetchResponse::default()
        .with_error_message(shape.text())
        .with_responses(vec![topic])
        .with_node_endpoints(endpoints!(share, shape))
        .with_unknown_tagged_fields(shape.tags())
}

fn share_acknowledge_response(shape: &Shape) -> ShareAcknowledgeResponse {
    let partition = acknowledge::PartitionData::default().with_error_message(shape.message());
    let topic =
        acknowledge::ShareAcknowledgeTopicResponse::default().with_partitions(vec![partition]);
    ShareAcknowledgeResponse::default()
        .with_error_message(shape.text())
        .with_responses(vec![topic])
        .with_node_endpoints(endpoints!(acknowledge, shape))
        .with_unknown_tagged_fields(shape.tags())
}

fn metadata_response(version: i16, shape: &Shape) -> MetadataResponse {
    let tags = |has: bool| if has { shape.tags() } else { BTreeMap::new() };
    let flexible = is_flexible(METADATA, version);
    let brokers = shape.nodes.iter().map(|at| {
        metadata::MetadataResponseBroker::default()
            .with_node_id(BrokerId(at.id))
            .with_host(str_bytes(&at.host))
            .with_port(i32::from(at.port))
            .with_rack(if version >= 1 { shape.text() } else { None })
            .with_unknown_tagged_fields(tags(flexible))
    });
    let topic = metadata::MetadataResponseTopic::default()
        .with_name(Some(TopicName(str_bytes(
            &"t".repeat(1 + shape.filling.min(200)),
        ))))
        .with_partitions(vec![Default::default(); 1 + shape.filling / 30]);
    let last = shape.nodes.last().filter(|_| version >= 1);
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_controller_id(BrokerId(last.map_or(-1, |at| at.id)))
        .with_cluster_id(if version >= 2 && !shape.has_nulls {
            Some(str_bytes("the-cluster"))
        } else {
            None
        })
        .with_topics(vec![topic])
        .with_unknown_tagged_fields(tags(flexible))
}

fn coordinator_response(version: i16, shape: &Shape) -> FindCoordinatorResponse {
    let flexible = is_flexible(FIND_COORDINATOR, version);
    let response = FindCoordinatorResponse::default().with_unknown_tagged_fields(if flexible {
        shape.tags()
    } else {
        BTreeMap::new()
    });
    if version >= 4 {
        let coordinators = shape.nodes.iter().map(|at| {
            coordinator::Coordinator::default()
                .with_key(str_bytes("a-group"))
                .with_node_id(BrokerId(at.id))
                .with_host(str_bytes(&at.host))
                .with_port(i32::from(at.port))
                .with_error_message(shape.text())
                .with_unknown_tagged_fields(shape.tags())
        });
        return response.with_coordinators(coordinators.collect());
    }
    let none = node(-1, "", 0);
    let at = shape.nodes.first().unwrap_or(&none);
    response
        .with_error_message(if version >= 1 {
            shape.text()
        } else {
            Some(StrBytes::default())
        })
        .with_node_id(BrokerId(at.id))
        .with_host(str_bytes(&at.host))
        .with_port(i32::from(at.port))
}

/// Here a shape's nodes are the controllers' listeners; a rewritten response has none.
fn quorum_response(shape: &Shape) -> DescribeQuorumResponse {
    let listeners = shape.nodes.iter().map(|at| {
        quorum::Listener::default()
            .with_name(str_bytes("CONTROLLER"))
            .with_host(str_bytes(&at.host))
            .with_port(at.port)
            .with_unknown_tagged_fields(shape.tags())
    });
    let listeners: Vec<_> = listeners.collect();
    let nodes = [1, 2].map(|id| {
        quorum::Node::default()
            .with_node_id(BrokerId(id))
            .with_listeners(listeners.clone())
    });
    let partition = quorum::PartitionData::default()
        .with_error_message(shape.text())
        .with_current_voters(vec![Default::default(); 1 + shape.filling / 30])
        .with_observers(vec![Default::default()]);
    DescribeQuorumResponse::default()
        .with_error_message(shape.text())
        .with_topics(vec![
            quorum::TopicData::default()
                .with_topic_name(TopicName(str_bytes("__cluster_metadata")))
                .with_partitions(vec![partition]),
        ])
        .with_nodes(nodes.into())
        .with_unknown_tagged_fields(shape.tags())
}

fn cluster_response(version: i16, shape: &Shape) -> DescribeClusterResponse {
    let brokers = shape.nodes.iter().map(|at| {
        cluster::DescribeClusterBroker::default()
            .with_broker_id(BrokerId(at.id))
            .with_host(str_bytes(&at.host))
            .with_port(i32::from(at.port))
            .with_rack(shape.text())
            .with_is_fenced(version >= 2)
            .with_unknown_tagged_fields(shape.tags())
    });
    DescribeClusterResponse::default()
        .with_error_message(shape.text())
        .with_cluster_id(str_bytes("the-cluster"))
        .with_brokers(brokers.collect())
        .with_unknown_tagged_fields(shape.tags())
}

/// DescribeConfigs, which no other function here writes: it names brokers in values alone.
pub(crate) const DESCRIBE_CONFIGS: i16 = 32;

/// A key of a configuration: its name, its value and whether the value is flagged as sensitive.
pub(crate) type Setting<'a> = (&'a str, &'a str, bool);

/// What a setting is once its value is masked.
pub(crate) fn masked<'a>((name, value, _): Setting<'a>, stars: &'a str) -> Setting<'a> {
    (name, &stars[..value.len()], true)
}

/// The frame of a response to DescribeConfigs with these keys, each with a synonym of its name.
pub(crate) fn describe_configs(
    version: i16,
    correlation_id: i32,
    settings: &[Setting<'_>],
) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    if version == 0 {
        put_configs_v0(&mut frame, settings);
        return close(frame);
    }
    if version >= 4 {
        frame.push(0);
    }
    let configs = settings.iter().map(|(name, value, is_sensitive)| {
        let synonym = configs::DescribeConfigsSynonym::default()
            .with_name(str_bytes(name))
            .with_value(Some(str_bytes(value)));
        let setting = configs::DescribeConfigsResourceResult::default()
            .with_name(str_bytes(name))
            .with_value(Some(str_bytes(value)))
            .with_is_sensitive(*is_sensitive)
            .with_synonyms(vec![synonym.clone(), synonym]);
        if version >= 3 {
            setting.with_documentation(Some(str_bytes("what it is for")))
        } else {
            setting
        }
    });
    let result = configs::DescribeConfigsResult::default()
        .with_resource_type(4)
        .with_resource_name(str_bytes("1"))
        .with_configs(configs.collect());
    let response = DescribeConfigsResponse::default().with_results(vec![result.clone(), result]);
    put(&mut frame, &response, version);
    close(frame)
}

/// The crate knows v1 and newer only.
fn put_configs_v0(frame: &mut Vec<u8>, settings: &[Setting<'_>]) {
    let put_text = |frame: &mut Vec<u8>, text: &str| {
        frame.extend_from_slice(&(text.len() as i16).to_be_bytes());
        frame.extend_from_slice(text.as_bytes());
    };
    frame.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 4]);
    put_text(frame, "1");
    frame.extend_from_slice(&(settings.len() as i32).to_be_bytes());
    for (name, value, is_sensitive) in settings {
        put_text(frame, name);
        put_text(frame, value);
        frame.extend_from_slice(&[1, 0, u8::from(*is_sensitive)]);
    }
}
