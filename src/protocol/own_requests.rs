//! Narrows' own requests to a broker: are you who I take you for, and who are the others?
//!
//! Metadata v4 for no topics, which every broker since 0.11 knows, names the cluster and all its
//! brokers. ApiVersions v5 carries the cluster id and node id that the broker is expected to have
//! (KIP-1242): Kafka 4.4 answers REBOOTSTRAP_REQUIRED when they are not its own, older brokers
//! answer that they don't know the version.
//!
//! Both are written by hand: the `kafka-protocol` crate knows ApiVersions up to v4 only, and the
//! tests read what is written here by the crate as far as it goes.

use super::rewrite::{Advertise, BrokerList, PREFIX_BYTES, Rewrite};
use super::table::{self, Api};
use super::wire::{Malformed, Reader, put_varint};
use crate::types::{AdvertisedAddress, NodeId};
use bytes::BufMut;

/// What Narrows asks a broker on its own behalf: what is remembered until the answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRequest {
    /// Metadata: who are the brokers of this cluster? See [`metadata_request`].
    Metadata,
    /// ApiVersions: are you this node of this cluster? See [`identity_request`].
    Identity,
}

impl OwnRequest {
    /// The API's row.
    pub fn api(self) -> &'static Api {
        match self {
            Self::Metadata => table::METADATA,
            Self::Identity => table::API_VERSIONS,
        }
    }

    /// The version in which it is asked.
    pub fn version(self) -> i16 {
        match self {
            Self::Metadata => 4,
            Self::Identity => 5,
        }
    }

    /// The frame's length and header, the client id as brokers see it in their logs and quotas.
    fn begin(self, correlation_id: i32) -> Vec<u8> {
        let mut frame = vec![0; LENGTH_BYTES];
        frame.put_i16(self.api().key);
        frame.put_i16(self.version());
        frame.put_i32(correlation_id);
        frame.put_i16(CLIENT_ID.len() as i16);
        frame.put_slice(CLIENT_ID.as_bytes());
        if self.api().is_flexible(self.version()) {
            frame.put_u8(0); // no header tags
        }
        frame
    }
}

const CLIENT_ID: &str = "narrows";
const LENGTH_BYTES: usize = 4;
/// REBOOTSTRAP_REQUIRED (KIP-1102).
const REBOOTSTRAP_REQUIRED: i16 = 129;

/// A Metadata request for no topics, with its length in front.
pub fn metadata_request(correlation_id: i32) -> Vec<u8> {
    let mut frame = OwnRequest::Metadata.begin(correlation_id);
    frame.put_i32(0); // no topics
    frame.put_u8(0); // none are created
    closed(frame)
}

/// What the answer to a [`metadata_request`] says: `frame` begins with the length.
pub fn read_metadata(frame: &[u8]) -> Result<BrokerList, Malformed> {
    let asked = OwnRequest::Metadata;
    let frame_bytes = frame.len().saturating_sub(LENGTH_BYTES);
    let mut rewrite =
        Rewrite::new(asked.api(), asked.version(), frame_bytes).ok_or(Malformed::TooLong)?;
    rewrite.push(frame.get(PREFIX_BYTES..).ok_or(Malformed::TooLong)?)?;
    if !rewrite.is_ready() {
        return Err(Malformed::TooLong);
    }
    Ok(rewrite.finish(frame, 0, &NoAdvertise)?.sighting)
}

/// An ApiVersions request that says which broker Narrows means to speak to, with its length in
/// front. Brokers before 4.4 don't know the version, and say so.
pub fn identity_request(correlation_id: i32, cluster_id: &str, node: NodeId) -> Vec<u8> {
    let mut frame = OwnRequest::Identity.begin(correlation_id);
    for text in [CLIENT_ID, env!("CARGO_PKG_VERSION"), cluster_id] {
        put_varint(&mut frame, text.len() as u32 + 1);
        frame.put_slice(text.as_bytes());
    }
    frame.put_i32(node.0);
    frame.put_u8(0); // no tags
    closed(frame)
}

/// Whether the broker says that it is not the one it was taken for: `frame` answers an
/// [`identity_request`].
pub fn is_wrong_broker(frame: &[u8]) -> bool {
    let mut reader = Reader::whole(frame.get(PREFIX_BYTES..).unwrap_or(&[]));
    reader.int16() == Ok(REBOOTSTRAP_REQUIRED)
}

/// Writes the length in front of what [`OwnRequest::begin`] began.
fn closed(mut frame: Vec<u8>) -> Vec<u8> {
    // A cluster id has at most the int16 length of the response that it came from.
    let length = (frame.len() - LENGTH_BYTES) as u32;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Answers to Narrows' own requests go to no client.
struct NoAdvertise;

impl Advertise for NoAdvertise {
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
    use bytes::Bytes;
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
    use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, RequestHeader};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    #[test]
    fn the_metadata_request_asks_for_no_topics_and_creates_none() {
        let frame = metadata_request(7);
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        let mut rest = Bytes::from(frame).slice(4..);
        let header = RequestHeader::decode(&mut rest, 1).unwrap();
        assert_eq!(header.request_api_key, 3);
        assert_eq!(header.request_api_version, 4);
        assert_eq!(header.correlation_id, 7);
        assert_eq!(header.client_id.as_deref(), Some("narrows"));
        let request = MetadataRequest::decode(&mut rest, 4).unwrap();
        assert_eq!(request.topics, Some(Vec::new()));
        assert!(!request.allow_auto_topic_creation);
        assert!(rest.is_empty());
    }

    #[test]
    fn the_identity_request_names_narrows_the_cluster_and_the_node() {
        let frame = identity_request(9, "abc", NodeId(5));
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        let mut rest = Bytes::from(frame).slice(4..);
        let header = RequestHeader::decode(&mut rest, 2).unwrap();
        assert_eq!(header.request_api_key, 18);
        assert_eq!(header.request_api_version, 5);
        assert_eq!(header.correlation_id, 9);
        let version = env!("CARGO_PKG_VERSION");
        let expected = [
            b"\x08narrows",
            &[version.len() as u8 + 1][..],
            version.as_bytes(),
            b"\x04abc\0\0\0\x05\0",
        ];
        assert_eq!(rest, expected.concat());
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
        let mut frame = vec![0, 0, 0, 0, 0, 0, 0, 7];
        response.encode(&mut frame, 4).unwrap();
        let sighting = read_metadata(&closed(frame)).unwrap();
        assert_eq!(sighting.cluster_id.as_deref(), Some("abc"));
        let broker = &sighting.brokers[0];
        assert_eq!((broker.node, broker.host.as_str()), (NodeId(5), "kafka-5"));
        assert!(sighting.is_complete);
    }
}
