//! How long a Fetch waits for how much, and whether an answer to it ends the wait: what one needs
//! who asks several brokers in its place.

use super::index::{Index, Until};
use super::layout::Role;
use super::{Request, form, keys};
use crate::protocol::table;
use crate::protocol::wire::{Malformed, Reader, Unread};

/// What a Fetch says of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    /// For how long at the most.
    pub(crate) max_wait_ms: i32,
    /// For how many bytes of all partitions together.
    pub(crate) min_bytes: i32,
    /// Where in the frame the first of the two stands; the other one is behind it.
    at: usize,
}

/// What a broker has answered to a Fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// How many bytes of records.
    pub(crate) bytes: u64,
    /// It says more than which records there are: an error, a throttle, an epoch to go back to. A
    /// broker does not wait with that, and asked again says it again.
    pub(crate) is_final: bool,
}

impl Request<'_> {
    /// How long it waits; `None` if it is no Fetch.
    pub(crate) fn waits(&self) -> Result<Option<Waits>, Malformed> {
        let Some((_, layout)) = keys(self.api).filter(|_| self.api == table::FETCH) else {
            return Ok(None);
        };
        let index = self.index(layout)?;
        let min_bytes = index.spot(Role::MinBytes);
        let at = min_bytes.and_then(|at| at.start.checked_sub(4));
        Ok(at.and_then(|at| {
            let max_wait_ms = self.frame.get(at..)?.first_chunk()?;
            Some(Waits {
                max_wait_ms: i32::from_be_bytes(*max_wait_ms),
                min_bytes: index.number(Role::MinBytes, self.frame)?,
                at,
            })
        }))
    }

    /// Whether it continues a fetch session, which only the broker has that began it.
    pub(crate) fn continues_session(&self) -> Result<bool, Malformed> {
        let Some((_, layout)) = keys(self.api) else {
            return Ok(false);
        };
        let mut reader = Reader::whole(self.frame);
        reader.take(self.body_at).map_err(Unread::in_whole)?;
        let index = Index::read(reader, layout.request, self.form(), Until::FirstKey);
        let index = index.map_err(Unread::in_whole)?;
        let epoch = index.number(Role::SessionEpoch, self.frame);
        Ok(epoch.is_some_and(|epoch| epoch > 0))
    }
}

impl Waits {
    /// Writes another wait into a piece of the request, which has its length in front.
    pub(crate) fn put(self, piece: &mut [u8], max_wait_ms: i32, min_bytes: i32) {
        let at = LENGTH_BYTES + self.at;
        let numbers = [max_wait_ms.to_be_bytes(), min_bytes.to_be_bytes()].concat();
        if let Some(place) = piece.get_mut(at..at + numbers.len()) {
            place.copy_from_slice(&numbers);
        }
    }
}

const LENGTH_BYTES: usize = 4;

/// What the body of an answer to a Fetch of this version has.
pub(crate) fn fetched(version: i16, body: &[u8]) -> Result<Fetched, Malformed> {
    let Some((_, layout)) = keys(table::FETCH) else {
        return Ok(Fetched::default());
    };
    let form = form(table::FETCH, version);
    let index = Index::read(Reader::whole(body), layout.response, form, Until::End);
    let index = index.map_err(Unread::in_whole)?;
    let is_said = |role| index.number(role, body).is_some_and(|number| number != 0);
    Ok(Fetched {
        bytes: index.records_bytes,
        is_final: index.has_news || is_said(Role::Throttle) || is_said(Role::FetchError),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::messages::fetch_response::{
        EpochEndOffset, FetchableTopicResponse, PartitionData,
    };
    use kafka_protocol::protocol::Encodable;

    fn told(version: i16, response: &FetchResponse) -> Fetched {
        let mut body = Vec::new();
        response.encode(&mut body, version).unwrap();
        fetched(version, &body).unwrap()
    }

    fn of(partitions: Vec<PartitionData>) -> FetchResponse {
        let topic = FetchableTopicResponse::default().with_partitions(partitions);
        FetchResponse::default().with_responses(vec![topic])
    }

    #[test]
    fn records_are_counted_and_whatever_else_is_said_ends_the_wait() {
        let records = |count: usize| {
            PartitionData::default()
                .with_preferred_read_replica((-1).into())
                .with_records(Some(Bytes::from(vec![7; count])))
        };
        for version in [4, 11, 12, 17] {
            let is_final = |response| told(version, &response).is_final;
            let two = told(version, &of(vec![records(3), records(4)]));
            assert_eq!((two.bytes, two.is_final), (7, false), "v{version}");
            assert!(is_final(of(vec![
                records(3),
                records(0).with_error_code(6)
            ])));
            assert!(is_final(of(vec![records(0)]).with_throttle_time_ms(1)));
            if version >= 11 {
                let elsewhere = records(0).with_preferred_read_replica(2.into());
                assert!(is_final(of(vec![elsewhere])));
                assert!(is_final(of(Vec::new()).with_error_code(70)));
            }
            if version >= 12 {
                let diverging = EpochEndOffset::default().with_epoch(3).with_end_offset(9);
                assert!(is_final(of(vec![
                    records(0).with_diverging_epoch(diverging)
                ])));
            }
        }
    }
}
