//! Request frames, and what brokers answer Narrows itself.

use crate::samples::{METADATA, Shape, close, node, response};
use narrows::protocol::table;
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(crate) const API_VERSIONS: i16 = 18;
pub(crate) const SASL_HANDSHAKE: i16 = 17;
pub(crate) const SASL_AUTHENTICATE: i16 = 36;
/// An API that names no broker: what it carries flows.
pub(crate) const OFFSET_COMMIT: i16 = 8;

/// The client id of every scripted client.
const CLIENT_ID: &[u8] = b"scripted";

/// A request, with its length in front. `body` stands behind the header.
pub(crate) fn request(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&(CLIENT_ID.len() as i16).to_be_bytes());
    frame.extend_from_slice(CLIENT_ID);
    if table::api(key).is_some_and(|api| api.is_flexible(version)) {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    close(frame)
}

/// A Produce v7 (not flexible) with these acks.
pub(crate) fn produce(correlation_id: i32, acks: i16, body: &[u8]) -> Vec<u8> {
    request(
        0,
        7,
        correlation_id,
        &[&(-1i16).to_be_bytes(), &acks.to_be_bytes(), body].concat(),
    )
}

/// A response that Narrows does not look into.
pub(crate) fn opaque(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    close([&[0; 4][..], &correlation_id.to_be_bytes(), body].concat())
}

/// A frame without a Kafka header, as SASL tokens after a v0 handshake are.
pub(crate) fn raw(token: &[u8]) -> Vec<u8> {
    close([&[0; 4][..], token].concat())
}

/// The header of a request, as a broker reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// Narrows asks in its own name.
    pub(crate) is_narrows: bool,
}

/// Reads the header of a frame that begins with its length.
pub(crate) fn header(frame: &[u8]) -> Header {
    let int16 = |at: usize| i16::from_be_bytes(frame[at..at + 2].try_into().unwrap());
    Header {
        key: int16(4),
        version: int16(6),
        correlation_id: i32::from_be_bytes(frame[8..12].try_into().unwrap()),
        is_narrows: frame.get(14..21) == Some(b"narrows"),
    }
}

/// The answer to one of Narrows' own requests: brokers up to 4.3 don't know ApiVersions v5 and say
/// so in the form of v0.
pub(crate) fn answer_narrows(
    frame: &[u8],
    nodes: &BTreeMap<i32, SocketAddr>,
    cluster_id: &str,
) -> Vec<u8> {
    let Header {
        key,
        correlation_id,
        ..
    } = header(frame);
    if key == API_VERSIONS {
        return opaque(correlation_id, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    }
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(id, at)| node(*id, &at.ip().to_string(), at.port()))
        .collect();
    let mut metadata = response(METADATA, 4, correlation_id, &Shape::of(&nodes));
    let at = metadata
        .windows(11)
        .position(|window| window == b"the-cluster")
        .unwrap()
        - 2;
    let id = [
        &(cluster_id.len() as i16).to_be_bytes(),
        cluster_id.as_bytes(),
    ]
    .concat();
    metadata.splice(at..at + 13, id);
    close(metadata)
}
