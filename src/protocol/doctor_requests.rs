//! What `narrows doctor` and `narrows check --live` ask a broker beyond `own_requests`: which
//! versions it has, who leads a topic, a login, one record there and back.
//!
//! ApiVersions v3 (KIP-511; features by KIP-584), Metadata v4, SaslAuthenticate v0 (KIP-152),
//! Produce v3 and Fetch v4: every broker from 1.0 to 4.4 has these, and of those with a choice they
//! are the ones with the plainest form. Brokers before 2.4, and much that plays a broker, are asked
//! for ApiVersions once more as v0.

use super::errors::UNSUPPORTED_VERSION;
use super::own_requests::{SOFTWARE, begin, closed};
use super::rewrite::PREFIX_BYTES;
use super::table::{self, Versions};
use super::wire::{Malformed, Reader, Unread, put_string, to_usize};
use crate::types::NodeId;
use bytes::BufMut;

/// More than any broker or cluster has: what is beyond is no answer of a broker's.
const APIS_MAX: usize = 1_000;
const FEATURES_MAX: usize = 1_000;
const BROKERS_MAX: usize = 10_000;
const PARTITIONS_MAX: usize = 100_000;
/// The tag of the features that the cluster has settled on (KIP-584).
const FINALIZED_FEATURES_TAG: u32 = 2;

/// What a broker says that it can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Api keys with their versions.
    pub apis: Vec<(i16, Versions)>,
    /// Features that the cluster has settled on, with their level, such as `metadata.version`.
    pub(crate) features: Vec<(String, i16)>,
}

/// An ApiVersions v3 request, with its length in front.
pub(crate) fn versions_request(name: &[u8]) -> Vec<u8> {
    let mut frame = begin(table::API_VERSIONS, 3, name, 1);
    for text in [SOFTWARE, env!("CARGO_PKG_VERSION")] {
        put_string(&mut frame, text, true);
    }
    frame.put_u8(0); // no tags
    closed(frame)
}

/// What the answer to a [`versions_request`] says, or that the broker is too old for it, which it
/// adds various things to: `frame` begins with the length.
pub fn read_versions(frame: &[u8]) -> Result<Option<Offered>, Malformed> {
    let mut reader = Reader::whole(body(frame)?);
    if reader.clone().int16() == Ok(UNSUPPORTED_VERSION) {
        return Ok(None);
    }
    let offered = read_offered(&mut reader, true).map_err(Unread::in_whole)?;
    Ok(Some(offered))
}

/// What the answer to an [`offers_request`](super::own_requests::offers_request) says.
pub fn read_old_versions(frame: &[u8]) -> Result<Offered, Malformed> {
    let mut reader = Reader::whole(body(frame)?);
    read_offered(&mut reader, false).map_err(Unread::in_whole)
}

fn read_offered(reader: &mut Reader<'_>, is_flexible: bool) -> Result<Offered, Unread> {
    reader.int16()?; // an error has no list
    let mut offered = Offered::default();
    for _ in 0..count(reader, is_flexible, APIS_MAX)? {
        let api_key = reader.int16()?;
        let versions = Versions {
            min: reader.int16()?,
            max: reader.int16()?,
        };
        if is_flexible {
            reader.skip_tags()?;
        }
        offered.apis.push((api_key, versions));
    }
    if is_flexible {
        reader.int32()?; // throttle time
        for _ in 0..reader.varint()? {
            let tag = reader.varint()?;
            let size = reader.varint()?;
            let value = reader.take(to_usize(size))?;
            if tag == FINALIZED_FEATURES_TAG {
                offered.features = features(&mut Reader::whole(value))?;
            }
        }
    }
    Ok(offered)
}

fn features(reader: &mut Reader<'_>) -> Result<Vec<(String, i16)>, Unread> {
    let mut features = Vec::new();
    for _ in 0..count(reader, true, FEATURES_MAX)? {
        let name = text(reader.compact_string()?);
        let level = reader.int16()?;
        reader.int16()?; // the lowest level
        reader.skip_tags()?;
        features.push((name, level));
    }
    Ok(features)
}

/// A cluster as Metadata describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Kafka's cluster id.
    pub(crate) cluster_id: Option<String>,
    /// The controller, or in KRaft any broker that passes requests on to it.
    pub(crate) controller: Option<NodeId>,
    /// All brokers as they are advertised.
    pub brokers: Vec<AdvertisedBroker>,
    /// The topic that was asked for, and what else came.
    pub(crate) topics: Vec<Topic>,
}

/// A broker as Metadata names it. Host and port are what was sent: any text, any number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedBroker {
    /// Its node id.
    pub(crate) node: NodeId,
    /// Its host; not checked.
    pub host: String,
    /// Its port; not checked.
    pub(crate) port: i32,
    /// Its rack, where it has one.
    pub(crate) rack: Option<String>,
}

/// A topic as Metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    /// Kafka's error code for it; 0 for none.
    pub(crate) error: i16,
    /// Its name.
    pub(crate) name: String,
    /// Its partitions, in the broker's order.
    pub(crate) partitions: Vec<Partition>,
}

/// A partition as Metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Kafka's error code for it; 0 for none.
    pub(crate) error: i16,
    /// Its number.
    pub(crate) index: i32,
    /// Its leader, if there is one.
    pub(crate) leader: Option<NodeId>,
    /// Who has a copy.
    pub(crate) replicas: Vec<i32>,
    /// Whose copy is current.
    pub(crate) in_sync: Vec<i32>,
}

/// A Metadata v4 request for one topic or none, with its length in front. It creates none.
pub(crate) fn topology_request(name: &[u8], topic: Option<&str>) -> Vec<u8> {
    let mut frame = begin(table::METADATA, 4, name, 2);
    frame.put_i32(i32::from(topic.is_some()));
    if let Some(topic) = topic {
        put_string(&mut frame, topic, false);
    }
    frame.put_u8(0);
    closed(frame)
}

/// What the answer to a [`topology_request`] says: `frame` begins with the length.
pub fn read_topology(frame: &[u8]) -> Result<Topology, Malformed> {
    let mut reader = Reader::whole(body(frame)?);
    read_cluster(&mut reader).map_err(Unread::in_whole)
}

fn read_cluster(reader: &mut Reader<'_>) -> Result<Topology, Unread> {
    reader.int32()?; // throttle time
    let mut topology = Topology::default();
    for _ in 0..count(reader, false, BROKERS_MAX)? {
        topology.brokers.push(AdvertisedBroker {
            node: NodeId(reader.int32()?),
            host: text(reader.string()?),
            port: reader.int32()?,
            rack: reader.string()?.map(|rack| text(Some(rack))),
        });
    }
    topology.cluster_id = reader.string()?.map(|id| text(Some(id)));
    topology.controller = node(reader.int32()?);
    for _ in 0..count(reader, false, BROKERS_MAX)? {
        let error = reader.int16()?;
        let name = text(reader.string()?);
        reader.take(1)?; // whether it is internal
        let mut partitions = Vec::new();
        for _ in 0..count(reader, false, PARTITIONS_MAX)? {
            partitions.push(Partition {
                error: reader.int16()?,
                index: reader.int32()?,
                leader: node(reader.int32()?),
                replicas: numbers(reader)?,
                in_sync: numbers(reader)?,
            });
        }
        topology.topics.push(Topic {
            error,
            name,
            partitions,
        });
    }
    Ok(topology)
}

/// A SaslAuthenticate v0 request with one token, with its length in front.
pub(crate) fn token_request(name: &[u8], token: &[u8]) -> Vec<u8> {
    let mut frame = begin(table::SASL_AUTHENTICATE, 0, name, 3);
    frame.put_i32(token.len() as i32);
    frame.put_slice(token);
    closed(frame)
}

/// A broker's answer to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// Kafka's error code; 0 for none.
    pub(crate) error: i16,
    /// The broker's own words for it.
    pub(crate) message: Option<String>,
    /// The broker's token.
    pub token: Vec<u8>,
}

/// What the answer to a [`token_request`] says: `frame` begins with the length.
pub fn read_token(frame: &[u8]) -> Result<TokenAnswer, Malformed> {
    let mut reader = Reader::whole(body(frame)?);
    let mut read = || {
        Ok(TokenAnswer {
            error: reader.int16()?,
            message: reader.string()?.map(|message| text(Some(message))),
            token: reader.bytes_of(false)?.unwrap_or(b"").to_vec(),
        })
    };
    read().map_err(Unread::in_whole)
}

/// A Produce v3 request of one record batch, which all in-sync replicas acknowledge, with its
/// length in front.
pub(crate) fn produce_request(
    name: &[u8],
    topic: &str,
    partition: i32,
    timeout_ms: i32,
    batch: &[u8],
) -> Vec<u8> {
    let mut frame = begin(table::PRODUCE, 3, name, 4);
    frame.put_i16(-1); // no transaction
    frame.put_i16(-1); // acks=all
    frame.put_i32(timeout_ms);
    put_partition(&mut frame, topic, partition);
    frame.put_i32(batch.len() as i32);
    frame.put_slice(batch);
    closed(frame)
}

/// The error code and the offset that the answer to a [`produce_request`] has.
pub fn read_produced(frame: &[u8]) -> Result<(i16, i64), Malformed> {
    let mut reader = Reader::whole(body(frame)?);
    let mut read = || {
        one_partition(&mut reader)?;
        Ok((reader.int16()?, int64(&mut reader)?))
    };
    read().map_err(Unread::in_whole)
}

/// A Fetch v4 request of one partition from an offset on, with its length in front.
pub(crate) fn fetch_request(
    name: &[u8],
    topic: &str,
    partition: i32,
    offset: i64,
    wait_ms: i32,
    bytes_max: i32,
) -> Vec<u8> {
    let mut frame = begin(table::FETCH, 4, name, 5);
    frame.put_i32(-1); // a consumer, no replica
    frame.put_i32(wait_ms);
    frame.put_i32(1); // at least one byte
    frame.put_i32(bytes_max);
    frame.put_i8(0); // read_uncommitted
    put_partition(&mut frame, topic, partition);
    frame.put_i64(offset);
    frame.put_i32(bytes_max);
    closed(frame)
}

/// The error code and the record batches that the answer to a [`fetch_request`] has.
pub fn read_fetched(frame: &[u8]) -> Result<(i16, Vec<u8>), Malformed> {
    let mut reader = Reader::whole(body(frame)?);
    let mut read = || {
        reader.int32()?; // throttle time
        one_partition(&mut reader)?;
        let error = reader.int16()?;
        int64(&mut reader)?; // high watermark
        int64(&mut reader)?; // last stable offset
        for _ in 0..count(&mut reader, false, PARTITIONS_MAX)? {
            reader.take(16)?; // an aborted transaction
        }
        Ok((error, reader.bytes_of(false)?.unwrap_or(b"").to_vec()))
    };
    read().map_err(Unread::in_whole)
}

fn put_partition(frame: &mut Vec<u8>, topic: &str, partition: i32) {
    frame.put_i32(1);
    put_string(frame, topic, false);
    frame.put_i32(1);
    frame.put_i32(partition);
}

/// Steps over the one topic and partition that were asked for.
fn one_partition(reader: &mut Reader<'_>) -> Result<(), Unread> {
    if count(reader, false, PARTITIONS_MAX)? == 0 {
        return Err(Malformed::TooLong.into());
    }
    reader.string()?;
    if count(reader, false, PARTITIONS_MAX)? == 0 {
        return Err(Malformed::TooLong.into());
    }
    reader.int32().map(drop)
}

fn body(frame: &[u8]) -> Result<&[u8], Malformed> {
    frame.get(PREFIX_BYTES..).ok_or(Malformed::TooLong)
}

/// The length of an array; null counts as empty.
fn count(reader: &mut Reader<'_>, is_flexible: bool, max: usize) -> Result<usize, Unread> {
    let count = match is_flexible {
        true => to_usize(reader.varint()?.saturating_sub(1)),
        false => usize::try_from(reader.int32()?).unwrap_or(0),
    };
    if count > max {
        return Err(Malformed::TooLong.into());
    }
    Ok(count)
}

fn numbers(reader: &mut Reader<'_>) -> Result<Vec<i32>, Unread> {
    let count = count(reader, false, BROKERS_MAX)?;
    (0..count).map(|_| reader.int32()).collect()
}

fn int64(reader: &mut Reader<'_>) -> Result<i64, Unread> {
    let bytes = reader.take(8)?;
    let bytes = bytes.try_into().map_err(|_| Unread::Incomplete)?;
    Ok(i64::from_be_bytes(bytes))
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or(b"")).into_owned()
}

fn node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

#[cfg(test)]
mod tests;
