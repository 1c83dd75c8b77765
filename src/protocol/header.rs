//! Reads the beginning of a request: its header, and `acks` of a Produce, which says whether a
//! response will come. And steps over a response's.
//!
//! Request header v1 and v2 (KIP-482). The client id is a string with an int16 length in both; v2
//! adds tagged fields.

use super::rewrite::PREFIX_BYTES;
use super::table::{self, Api, RequestReading};
use super::wire::{Malformed, Reader, Unread};
use crate::types::NodeId;

/// What stands at the beginning of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The api key as it stands there.
    pub api_key: i16,
    /// Its row in the table, if there is one.
    pub api: Option<&'static Api>,
    /// Which version of it.
    pub version: i16,
    /// What the response will carry.
    pub correlation_id: i32,
    /// Who says to be asking; any bytes.
    pub client_id: Option<&'a [u8]>,
    /// Whether the broker will answer: a Produce with `acks=0` gets nothing.
    pub is_answered: bool,
    /// Where the body begins, counted from the frame's first byte behind its length.
    pub body_at: usize,
}

#[cfg(test)]
impl RequestHeader<'_> {
    /// A header of which only the API and the version matter.
    pub(crate) fn of(api_key: i16, version: i16) -> Self {
        Self {
            api_key,
            api: table::api(api_key),
            version,
            correlation_id: 0,
            client_id: None,
            is_answered: true,
            body_at: 0,
        }
    }
}

/// The first bytes of a header, enough to know the API.
pub(crate) const API_BYTES: usize = 4;

/// Reads the header of a request of `frame_bytes` of which `bytes` have arrived, both without the
/// length prefix.
#[inline]
pub fn read(bytes: &[u8], frame_bytes: usize) -> Result<RequestHeader<'_>, Unread> {
    let mut reader = Reader::new(bytes, frame_bytes);
    let api_key = reader.int16()?;
    let version = reader.int16()?;
    let correlation_id = reader.int32()?;
    let client_id = reader.string()?;
    // An API or version that the table lacks is passed unread or refused: where its body begins
    // doesn't matter.
    let api = table::api(api_key);
    let is_flexible = api.is_some_and(|api| api.is_flexible(version));
    if is_flexible {
        reader.skip_tags()?;
    }
    let body_at = reader.position();
    let has_acks = api.is_some_and(|api| api.request() == RequestReading::HeaderAndAcks);
    let is_answered = !has_acks || reads_acks(&mut reader, version, is_flexible)?;
    Ok(RequestHeader {
        api_key,
        api,
        version,
        correlation_id,
        client_id,
        is_answered,
        body_at,
    })
}

/// Whether a Produce asks for an acknowledgement: `acks` stands behind the transactional id (v3+).
fn reads_acks(reader: &mut Reader<'_>, version: i16, is_flexible: bool) -> Result<bool, Unread> {
    if version >= 3 {
        reader.string_of(is_flexible)?;
    }
    Ok(reader.int16()? != 0)
}

/// What stands behind the header of a response; `frame` begins with its length. `None` if the
/// header has not arrived, or can't be read.
pub(crate) fn response_body<'a>(api: &Api, version: i16, frame: &'a [u8]) -> Option<&'a [u8]> {
    let behind_id = frame.get(PREFIX_BYTES..)?;
    let mut reader = Reader::whole(behind_id);
    if api.header_versions(version)?.response > 0 {
        reader.skip_tags().ok()?;
    }
    behind_id.get(reader.position()..)
}

/// The client software's name and version, from the body of an ApiVersions request of v3 or newer
/// (KIP-511).
pub(crate) fn read_software(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::whole(body);
    let mut text = || match reader.compact_string() {
        Ok(text) => Ok(text.unwrap_or(b"")),
        Err(unread) => Err(unread.in_whole()),
    };
    Ok((text()?, text()?))
}

/// Whom a client takes a broker for (KIP-1242).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedBroker<'a> {
    /// It does not say so.
    Any,
    /// For this node of the cluster with this id.
    Node(&'a [u8], NodeId),
    /// It names one of the two only, which no broker understands.
    Half,
}

/// Whom the body of an ApiVersions request says that the client means, from v5 on. What can't be
/// read names nobody.
pub(crate) fn read_expected_broker(body: &[u8], version: i16) -> ExpectedBroker<'_> {
    let mut reader = Reader::whole(body);
    let mut read = || {
        reader.compact_string()?;
        reader.compact_string()?;
        Ok::<_, Unread>((reader.compact_string()?, NodeId(reader.int32()?)))
    };
    match read() {
        Err(_) => ExpectedBroker::Any,
        Ok(_) if version < 5 => ExpectedBroker::Any,
        Ok((None, node)) if node.0 < 0 => ExpectedBroker::Any,
        Ok((Some(cluster_id), node)) if node.0 >= 0 => ExpectedBroker::Node(cluster_id, node),
        Ok(_) => ExpectedBroker::Half,
    }
}

/// The mechanism in the body of a SaslHandshake request, v0 and v1.
pub(crate) fn read_mechanism(body: &[u8]) -> Option<&[u8]> {
    Reader::whole(body).string().ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCE: i16 = 0;

    fn produce(version: i16, acks: i16) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&PRODUCE.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&7i32.to_be_bytes());
        frame.extend_from_slice(&[0, 2, b'm', b'e']);
        if version >= 9 {
            frame.extend_from_slice(&[1, 0, 2, 9, 9]); // one header tag of two bytes
            frame.push(0); // no transactional id
        } else if version >= 3 {
            frame.extend_from_slice(&(-1i16).to_be_bytes());
        }
        frame.extend_from_slice(&acks.to_be_bytes());
        frame
    }

    #[test]
    fn api_versions_names_a_node_of_a_cluster_or_half_of_that_or_nobody() {
        let body = |cluster_id: &[u8], node: i32| {
            [b"\x02c\x021", cluster_id, &node.to_be_bytes(), b"\0"].concat()
        };
        let read = |cluster_id: &[u8], node| {
            let body = body(cluster_id, node);
            match read_expected_broker(&body, 5) {
                ExpectedBroker::Any => None,
                ExpectedBroker::Half => Some(None),
                ExpectedBroker::Node(cluster_id, node) => Some(Some((cluster_id.to_vec(), node))),
            }
        };
        assert_eq!(read(b"\x04abc", 7), Some(Some((b"abc".into(), NodeId(7)))));
        assert_eq!(read(b"\x04abc", -1), Some(None));
        assert_eq!(read(b"\0", 7), Some(None));
        assert_eq!(read(b"\0", -1), None);
        let named = body(b"\x04abc", 7);
        assert_eq!(read_expected_broker(&named, 4), ExpectedBroker::Any);
        assert_eq!(read_expected_broker(&named[..9], 5), ExpectedBroker::Any);
    }

    #[test]
    fn a_produce_with_acks_0_is_not_answered_in_any_version() {
        for version in 0..=13 {
            for acks in [-1, 0, 1] {
                let frame = produce(version, acks);
                let header = read(&frame, frame.len()).unwrap();
                assert_eq!(header.is_answered, acks != 0, "v{version} acks={acks}");
                assert_eq!(header.client_id, Some(&b"me"[..]));
            }
        }
    }

    #[test]
    fn a_header_that_has_not_arrived_is_incomplete_at_every_byte() {
        let frame = produce(12, -1);
        for arrived in 0..frame.len() {
            assert_eq!(
                read(&frame[..arrived], frame.len()),
                Err(Unread::Incomplete),
                "{arrived}"
            );
            let cut = read(&frame[..arrived], arrived);
            assert!(
                matches!(cut, Err(Unread::Malformed(_))),
                "{arrived}: {cut:?}"
            );
        }
    }
}
