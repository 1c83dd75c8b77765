//! Narrows' own requests to a broker: are you who I take you for, and who are the others?
//!
//! Metadata v4 for no topics, which every broker since 0.11 knows, names the cluster and all its
//! brokers. ApiVersions v5 carries the cluster id and node id that the broker is expected to have
//! (KIP-1242): Kafka 4.4 answers REBOOTSTRAP_REQUIRED when they are not its own, older brokers
//! answer that they don't know the version. ApiVersions v0 is answered by all of them, before a
//! login too. SaslHandshake v1, which every broker since 1.0 knows,
//! shows whether a listener demands a login: one that does names its mechanisms, another one
//! answers ILLEGAL_SASL_STATE.
//!
//! All are written by hand: the `kafka-protocol` crate knows ApiVersions up to v4 only, and the
//! tests read what is written here by the crate as far as it goes.

use super::api_versions::Offers;
use super::rewrite::{Advertise, BrokerList, PREFIX_BYTES, Rewrite};
use super::split::{CoordinatorKind, TopicRef};
use super::table::{self, Api};
use super::wire::{Malformed, Reader, Unread, put_string, put_varint};
use crate::types::{AdvertisedAddress, NodeId};
use bytes::BufMut;

/// What Narrows asks a broker on its own behalf: what is remembered until the answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnRequest {
    /// Metadata: who are the brokers of this cluster? See [`metadata_request`].
    Metadata,
    /// ApiVersions: are you this node of this cluster? See [`identity_request`].
    Identity,
    /// ApiVersions: what do you offer? See [`offers_request`].
    Offers,
    /// SaslHandshake: do you demand a login? See [`handshake_request`].
    Handshake,
    /// Metadata: who leads the partitions of these topics? See [`leaders_request`].
    Leaders,
    /// FindCoordinator: who coordinates this? See [`coordinator_request`].
    Coordinator,
}

impl OwnRequest {
    /// The API's row.
    pub(crate) fn api(self) -> &'static Api {
        match self {
            Self::Metadata | Self::Leaders => table::METADATA,
            Self::Identity | Self::Offers => table::API_VERSIONS,
            Self::Handshake => table::SASL_HANDSHAKE,
            Self::Coordinator => table::FIND_COORDINATOR,
        }
    }

    /// The version in which it is asked.
    pub(crate) fn version(self) -> i16 {
        match self {
            Self::Metadata => 4,
            Self::Identity => 5,
            // Every broker answers it with all that it offers.
            Self::Offers => 0,
            Self::Handshake => 1,
            // The first in which topics can be asked for by id (Kafka 3.1).
            Self::Leaders => 12,
            Self::Coordinator => 3,
        }
    }

    fn begin(self, name: &[u8], correlation_id: i32) -> Vec<u8> {
        begin(self.api(), self.version(), name, correlation_id)
    }
}

/// The frame's length and header. `name` is the client id, as brokers see it in their logs and
/// quotas: at most what an int16 length can say.
pub(super) fn begin(api: &Api, version: i16, name: &[u8], correlation_id: i32) -> Vec<u8> {
    let mut frame = vec![0; LENGTH_BYTES];
    frame.put_i16(api.key);
    frame.put_i16(version);
    frame.put_i32(correlation_id);
    let name = &name[..name.len().min(NAME_BYTES_MAX)];
    frame.put_i16(name.len() as i16);
    frame.put_slice(name);
    if api.is_flexible(version) {
        frame.put_u8(0); // no header tags
    }
    frame
}

/// The software that asks, as in KIP-511.
pub(super) const SOFTWARE: &str = "narrows";
/// What is longer is cut: no name is.
const NAME_BYTES_MAX: usize = 249;
const LENGTH_BYTES: usize = 4;
/// REBOOTSTRAP_REQUIRED (KIP-1102).
const REBOOTSTRAP_REQUIRED: i16 = 129;
/// The broker's listener speaks SASL, but not by this mechanism.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
/// The broker's listener does not speak SASL.
const ILLEGAL_SASL_STATE: i16 = 34;
/// More than any broker has; a longer list is not a broker's.
const MECHANISMS_MAX: i32 = 64;

/// A Metadata request for no topics, with its length in front.
pub(crate) fn metadata_request(name: &[u8], correlation_id: i32) -> Vec<u8> {
    let mut frame = OwnRequest::Metadata.begin(name, correlation_id);
    frame.put_i32(0); // no topics
    frame.put_u8(0); // none are created
    closed(frame)
}

/// What the answer to a [`metadata_request`] says: `frame` begins with the length.
pub fn read_metadata(frame: &[u8]) -> Result<BrokerList, Malformed> {
    let asked = OwnRequest::Metadata;
    let frame_bytes = frame.len().saturating_sub(LENGTH_BYTES);
    let rewrite =
        Rewrite::new(asked.api(), asked.version(), frame_bytes).ok_or(Malformed::TooLong)?;
    Ok(rewrite.edit_whole(frame, &NoAdvertise)?.sighting)
}

/// An ApiVersions request that says which broker Narrows means to speak to, with its length in
/// front. Brokers before 4.4 don't know the version, and say so.
pub(crate) fn identity_request(name: &[u8], cluster_id: &str, node: NodeId) -> Vec<u8> {
    let mut frame = OwnRequest::Identity.begin(name, 0);
    for text in [SOFTWARE, env!("CARGO_PKG_VERSION"), cluster_id] {
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
    read_identity(frame) == Some(false)
}

/// Whether the broker says that it is the one it was taken for; `None` when it does not understand
/// the question, as brokers before 4.4. `frame` answers an [`identity_request`].
pub fn read_identity(frame: &[u8]) -> Option<bool> {
    let mut reader = Reader::whole(frame.get(PREFIX_BYTES..).unwrap_or(&[]));
    match reader.int16() {
        Ok(0) => Some(true),
        Ok(REBOOTSTRAP_REQUIRED) => Some(false),
        _ => None,
    }
}

/// An ApiVersions request that every broker since 0.10 knows, with its length in front.
pub(crate) fn offers_request(name: &[u8], correlation_id: i32) -> Vec<u8> {
    closed(OwnRequest::Offers.begin(name, correlation_id))
}

/// What the broker offers; `None` if it does not say so. `frame` answers an [`offers_request`].
pub fn read_offers(frame: &[u8]) -> Option<Offers> {
    Offers::read(frame.get(PREFIX_BYTES..)?, OwnRequest::Offers.version())
}

/// A Metadata request for these topics, with its length in front. None is created by it.
pub(crate) fn leaders_request(name: &[u8], correlation_id: i32, topics: &[TopicRef]) -> Vec<u8> {
    let mut frame = OwnRequest::Leaders.begin(name, correlation_id);
    put_varint(&mut frame, topics.len() as u32 + 1);
    for topic in topics {
        match topic {
            TopicRef::Name(name) => {
                frame.put_slice(&[0; 16]);
                put_string(&mut frame, name, true);
            }
            TopicRef::Id(id) => {
                frame.put_slice(id);
                frame.put_u8(0); // no name
            }
        }
        frame.put_u8(0); // no tags
    }
    frame.put_u8(0); // none are created
    frame.put_u8(0); // what one may do with them is not asked
    frame.put_u8(0); // no tags
    closed(frame)
}

/// A FindCoordinator request for one group id or transactional id, with its length in front.
pub(crate) fn coordinator_request(
    name: &[u8],
    correlation_id: i32,
    kind: CoordinatorKind,
    key: &str,
) -> Vec<u8> {
    let mut frame = OwnRequest::Coordinator.begin(name, correlation_id);
    put_string(&mut frame, key, true);
    frame.put_u8(match kind {
        CoordinatorKind::Group => 0,
        CoordinatorKind::Transaction => 1,
    });
    frame.put_u8(0); // no tags
    closed(frame)
}

/// What a broker says of logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It demands one, by one of these mechanisms; at least one.
    Demanded(Vec<String>),
    /// Its listener has no SASL.
    NotDemanded,
    /// It answers something else.
    Unclear(i16),
}

/// A SaslHandshake request for `mechanism`, with its length in front.
pub(crate) fn handshake_request(name: &[u8], correlation_id: i32, mechanism: &str) -> Vec<u8> {
    let mut frame = OwnRequest::Handshake.begin(name, correlation_id);
    put_string(&mut frame, mechanism, false);
    closed(frame)
}

/// What the answer to a [`handshake_request`] says: `frame` begins with the length.
pub fn read_handshake(frame: &[u8]) -> Result<Handshake, Malformed> {
    let mut reader = Reader::whole(frame.get(PREFIX_BYTES..).ok_or(Malformed::TooLong)?);
    let mut read = || {
        let code = reader.int16()?;
        let count = reader.int32()?;
        let mut mechanisms = Vec::new();
        for _ in 0..count.clamp(0, MECHANISMS_MAX) {
            let mechanism = reader.string()?.unwrap_or(b"");
            mechanisms.push(String::from_utf8_lossy(mechanism).into_owned());
        }
        Ok(match code {
            ILLEGAL_SASL_STATE => Handshake::NotDemanded,
            0 | UNSUPPORTED_SASL_MECHANISM if !mechanisms.is_empty() => {
                Handshake::Demanded(mechanisms)
            }
            code => Handshake::Unclear(code),
        })
    };
    read().map_err(|unread: Unread| unread.in_whole())
}

/// Writes the length in front of what [`OwnRequest::begin`] began.
pub(super) fn closed(mut frame: Vec<u8>) -> Vec<u8> {
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
    use kafka_protocol::messages::{
        BrokerId, FindCoordinatorRequest, MetadataRequest, MetadataResponse, RequestHeader,
        SaslHandshakeRequest, SaslHandshakeResponse,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    #[test]
    fn the_metadata_request_asks_for_no_topics_and_creates_none() {
        let frame = metadata_request(b"narrows-1", 7);
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        let mut rest = Bytes::from(frame).slice(4..);
        let header = RequestHeader::decode(&mut rest, 1).unwrap();
        assert_eq!(header.request_api_key, 3);
        assert_eq!(header.request_api_version, 4);
        assert_eq!(header.correlation_id, 7);
        assert_eq!(header.client_id.as_deref(), Some("narrows-1"));
        let request = MetadataRequest::decode(&mut rest, 4).unwrap();
        assert_eq!(request.topics, Some(Vec::new()));
        assert!(!request.allow_auto_topic_creation);
        assert!(rest.is_empty());
    }

    #[test]
    fn the_identity_request_names_narrows_the_cluster_and_the_node() {
        let frame = identity_request(b"narrows-1", "abc", NodeId(5));
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        let mut rest = Bytes::from(frame).slice(4..);
        let header = RequestHeader::decode(&mut rest, 2).unwrap();
        assert_eq!(header.request_api_key, 18);
        assert_eq!(header.request_api_version, 5);
        assert_eq!(header.correlation_id, 0);
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
    fn what_a_broker_offers_is_asked_for_in_the_version_that_all_know() {
        let frame = offers_request(b"narrows-1", 7);
        let expected = b"\0\0\0\x13\0\x12\0\0\0\0\0\x07\0\x09narrows-1";
        assert_eq!(frame, expected);
        let answer = b"\0\0\0\x10\0\0\0\x07\0\0\0\0\0\x01\0\x12\0\0\0\x05";
        assert!(read_offers(answer).is_some());
        assert!(read_offers(&answer[..8]).is_none());
    }

    #[test]
    fn leaders_are_asked_for_by_name_and_by_id_and_no_topic_is_created() {
        let topics = [TopicRef::Name("orders".into()), TopicRef::Id([7; 16])];
        let frame = leaders_request(b"narrows-1", 7, &topics);
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        let mut rest = Bytes::from(frame).slice(4..);
        let header = RequestHeader::decode(&mut rest, 2).unwrap();
        assert_eq!(
            (header.request_api_key, header.request_api_version),
            (3, 12)
        );
        let request = MetadataRequest::decode(&mut rest, 12).unwrap();
        let asked = request.topics.unwrap();
        assert_eq!(asked[0].name.as_ref().unwrap().0, text("orders"));
        assert_eq!(asked[1].name, None);
        assert_eq!(asked[1].topic_id.as_bytes(), &[7; 16]);
        assert!(!request.allow_auto_topic_creation);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_coordinator_is_asked_for_by_kind_and_key() {
        let kinds = [
            (CoordinatorKind::Group, 0),
            (CoordinatorKind::Transaction, 1),
        ];
        for (kind, key_type) in kinds {
            let frame = coordinator_request(b"narrows-1", 7, kind, "billing");
            let mut rest = Bytes::from(frame).slice(4..);
            let header = RequestHeader::decode(&mut rest, 2).unwrap();
            assert_eq!(
                (header.request_api_key, header.request_api_version),
                (10, 3)
            );
            let request = FindCoordinatorRequest::decode(&mut rest, 3).unwrap();
            assert_eq!((request.key, request.key_type), (text("billing"), key_type));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_login_counts_as_demanded_only_where_mechanisms_are_named() {
        let answer = |code: i16, mechanisms: &[&str]| {
            let response = SaslHandshakeResponse::default()
                .with_error_code(code)
                .with_mechanisms(mechanisms.iter().map(|name| text(name)).collect());
            let mut frame = vec![0, 0, 0, 0, 0, 0, 0, 7];
            response.encode(&mut frame, 1).unwrap();
            read_handshake(&closed(frame)).unwrap()
        };
        let demanded = Handshake::Demanded(vec!["SCRAM-SHA-512".into(), "PLAIN".into()]);
        assert_eq!(answer(0, &["SCRAM-SHA-512", "PLAIN"]), demanded);
        assert_eq!(answer(33, &["SCRAM-SHA-512", "PLAIN"]), demanded);
        assert_eq!(answer(34, &[]), Handshake::NotDemanded);
        assert_eq!(answer(0, &[]), Handshake::Unclear(0));
        assert_eq!(answer(35, &["PLAIN"]), Handshake::Unclear(35));
        assert!(read_handshake(&[0; 9]).is_err());
    }

    #[test]
    fn the_handshake_request_names_the_mechanism() {
        let frame = handshake_request(b"narrows-1", 3, "PLAIN");
        let mut rest = Bytes::from(frame).slice(4..);
        let header = RequestHeader::decode(&mut rest, 1).unwrap();
        assert_eq!(
            (header.request_api_key, header.request_api_version),
            (17, 1)
        );
        let request = SaslHandshakeRequest::decode(&mut rest, 1).unwrap();
        assert_eq!(request.mechanism, text("PLAIN"));
        assert!(rest.is_empty());
    }

    fn text(name: &str) -> StrBytes {
        StrBytes::from_string(name.to_owned())
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
