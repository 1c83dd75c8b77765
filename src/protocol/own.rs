//! Narrows' own requests to a broker: who are you, and who are the others.
//!
//! ApiVersions v5 carries the cluster id and node id that the broker is expected to have
//! (KIP-1242): Kafka 4.4 answers REBOOTSTRAP_REQUIRED when they are not its own, older brokers
//! answer that they don't know the version. Metadata v4 for no topics, which every broker since
//! 0.11 knows, names the cluster and all its brokers.

use super::rewrite::{Advertise, BrokerList, PREFIX_BYTES, Rewrite};
use super::wire::{Malformed, Reader, put_varint};
use crate::types::{AdvertisedAddress, NodeId};
use bytes::BufMut;
use kafka_protocol::messages::{MetadataRequest, RequestHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};

/// The api key of Metadata.
pub const METADATA: i16 = 3;

/// The client id that brokers see in their logs and quotas.
const CLIENT_ID: &str = "narrows";
/// The version in which Narrows asks for it: every broker since 0.11 has it, and it names the
/// cluster.
pub const METADATA_VERSION: i16 = 4;
const API_VERSIONS_VERSION: i16 = 5;
/// REBOOTSTRAP_REQUIRED (KIP-1102).
const REBOOTSTRAP_REQUIRED: i16 = 129;

/// A Metadata request for no topics, with its length in front.
pub fn metadata_request(correlation_id: i32) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(METADATA)
        .with_request_api_version(METADATA_VERSION)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let request = MetadataRequest::default()
        .with_topics(Some(Vec::new()))
        .with_allow_auto_topic_creation(false);
    let mut body = Vec::new();
    // Both encode into memory, and every field exists in this version.
    let encoded = header
        .encode(&mut body, 1)
        .and_then(|()| request.encode(&mut body, METADATA_VERSION));
    debug_assert!(encoded.is_ok());
    framed(&body)
}

/// What the body of a [`metadata_request`]'s response says: `frame` begins with the length.
pub fn read_metadata(frame: &[u8]) -> Result<BrokerList, Malformed> {
    let frame_bytes = frame.len().saturating_sub(4);
    let mut rewrite =
        Rewrite::new(METADATA, METADATA_VERSION, frame_bytes).ok_or(Malformed::TooLong)?;
    rewrite.push(frame.get(PREFIX_BYTES..).ok_or(Malformed::TooLong)?)?;
    if !rewrite.is_ready() {
        return Err(Malformed::TooLong);
    }
    Ok(rewrite.finish(frame, 0, &Nobody)?.sighting)
}

/// An ApiVersions request that says whom Narrows means to speak to, with its length in front.
/// Brokers before 4.4 don't know the version, and say so.
pub fn identity_request(correlation_id: i32, cluster_id: &str, node: NodeId) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_i16(super::api_versions::API_KEY);
    body.put_i16(API_VERSIONS_VERSION);
    body.put_i32(correlation_id);
    body.put_i16(CLIENT_ID.len() as i16);
    body.put_slice(CLIENT_ID.as_bytes());
    body.put_u8(0); // no header tags
    for text in [CLIENT_ID, env!("CARGO_PKG_VERSION"), cluster_id] {
        put_varint(&mut body, text.len() as u32 + 1);
        body.put_slice(text.as_bytes());
    }
    body.put_i32(node.0);
    body.put_u8(0); // no tags
    framed(&body)
}

/// Whether the broker says that it is not the one it was taken for: `frame` answers an
/// [`identity_request`].
pub fn is_wrong_broker(frame: &[u8]) -> bool {
    let mut reader = Reader::whole(frame.get(PREFIX_BYTES..).unwrap_or(&[]));
    reader.int16() == Ok(REBOOTSTRAP_REQUIRED)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.put_u32(body.len() as u32);
    frame.put_slice(body);
    frame
}

/// Narrows' own responses go to no client.
struct Nobody;

impl Advertise for Nobody {
    fn advertise(&self, _: NodeId) -> AdvertisedAddress {
        AdvertisedAddress {
            host: "".into(),
            port: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
    use kafka_protocol::messages::{BrokerId, MetadataResponse};

    #[test]
    fn the_metadata_request_is_a_frame_as_long_as_it_says() {
        let frame = metadata_request(7);
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        let header = super::super::header::read(&frame[4..], frame.len() - 4).unwrap();
        assert_eq!(
            (header.api_key, header.version, header.correlation_id),
            (3, 4, 7)
        );
        assert_eq!(
            frame[4 + header.body_at..],
            [0, 0, 0, 0, 0],
            "no topics, none created"
        );
    }

    #[test]
    fn the_answer_names_the_cluster_and_its_brokers() {
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(5))
            .with_host(StrBytes::from_static_str("kafka-5"))
            .with_port(9092);
        let response = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(StrBytes::from_static_str("abc")));
        let mut body = vec![0, 0, 0, 7];
        response.encode(&mut body, METADATA_VERSION).unwrap();
        let sighting = read_metadata(&framed(&body)).unwrap();
        assert_eq!(sighting.cluster_id.as_deref(), Some("abc"));
        assert_eq!(
            (sighting.brokers[0].node, sighting.brokers[0].host.as_str()),
            (NodeId(5), "kafka-5")
        );
        assert!(sighting.is_complete);
    }
}
