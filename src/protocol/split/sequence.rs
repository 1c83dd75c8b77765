//! Where in a producer's sequence the records of a Produce stand: what an idempotent producer
//! numbers its batches by, for each partition (KIP-98).

use super::Request;
use super::index::{Index, Partition};
use crate::protocol::table;
use crate::protocol::wire::Reader;

/// The number of a record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Whose: ids are given by the cluster.
    producer_id: i64,
    /// A producer that has lost count begins another epoch.
    epoch: i16,
    /// Of the batch's first record. Behind `i32::MAX` comes 0.
    first: i32,
}

/// The format of a record batch; those before it have no producer.
const MAGIC: u8 = 2;
/// Where in a record batch its magic and the three numbers stand (`DefaultRecordBatch`).
const MAGIC_AT: usize = 16;
const PRODUCER_ID_AT: usize = 43;
/// How many numbers there are.
const SEQUENCES: i64 = 1 << 31;

impl Sequence {
    /// Of what a Produce has for a partition, which since v3 is one batch. `None` if its producer
    /// does not number it.
    pub(crate) fn of(records: &[u8]) -> Option<Self> {
        if *records.get(MAGIC_AT)? != MAGIC {
            return None;
        }
        let (producer_id, rest) = records.get(PRODUCER_ID_AT..)?.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let sequence = Self {
            producer_id: i64::from_be_bytes(*producer_id),
            epoch: i16::from_be_bytes(*epoch),
            first: i32::from_be_bytes(*rest.first_chunk()?),
        };
        let is_numbered = sequence.producer_id >= 0 && sequence.first >= 0;
        is_numbered.then_some(sequence)
    }

    /// One of a producer that all tests have.
    #[cfg(test)]
    pub(crate) fn numbered(first: i32) -> Option<Self> {
        Some(Self {
            producer_id: 1 << 40,
            epoch: 7,
            first,
        })
    }

    /// The same in another epoch.
    #[cfg(test)]
    pub(crate) fn in_epoch(self, epoch: i16) -> Self {
        Self { epoch, ..self }
    }

    /// Whether it comes behind `other` in the same count.
    pub(crate) fn is_behind(&self, other: &Self) -> bool {
        let is_one_count = self.producer_id == other.producer_id && self.epoch == other.epoch;
        let ahead = (i64::from(self.first) - i64::from(other.first)).rem_euclid(SEQUENCES);
        is_one_count && (1..SEQUENCES / 2).contains(&ahead)
    }
}

impl Request<'_> {
    /// Of each key of a Produce, its number, in the index's order. Nothing for any other request.
    pub(super) fn sequences(&self, index: &Index<'_>) -> Vec<Option<Sequence>> {
        if self.api != table::PRODUCE {
            return Vec::new();
        }
        let is_flexible = self.form().is_flexible;
        let of = |partition: &Partition| {
            let mut reader = Reader::whole(self.frame.get(partition.at.clone())?);
            reader.int32().ok()?;
            Sequence::of(reader.bytes_of(is_flexible).ok()??)
        };
        index.partitions.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{ProduceRequest, TopicName};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    fn records(producer_id: i64, epoch: i16, first: i32) -> Bytes {
        let record = Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 5,
            producer_id,
            producer_epoch: epoch,
            timestamp_type: TimestampType::Creation,
            offset: 0,
            sequence: first,
            timestamp: 1,
            key: None,
            value: Some(Bytes::from_static(b"value")),
            headers: Default::default(),
        };
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
        bytes.freeze()
    }

    #[test]
    fn a_batch_has_the_numbers_that_the_codec_wrote() {
        assert_eq!(
            Sequence::of(&records(1 << 40, 7, 300)),
            Sequence::numbered(300)
        );
        assert_eq!(Sequence::of(&records(-1, -1, -1)), None);
        let whole = records(1 << 40, 7, 300);
        let mut old = whole.to_vec();
        old[MAGIC_AT] = 1;
        assert_eq!(Sequence::of(&old), None);
        for cut in 0..PRODUCER_ID_AT + 14 {
            assert_eq!(Sequence::of(&whole[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn each_partition_of_a_request_has_its_own_number() {
        let data = |(index, records): (i32, Option<Bytes>)| {
            PartitionProduceData::default()
                .with_index(index)
                .with_records(records)
        };
        let topic = |name: &'static str, of: Vec<(i32, Option<Bytes>)>| {
            TopicProduceData::default()
                .with_name(TopicName(StrBytes::from_static_str(name)))
                .with_partition_data(of.into_iter().map(data).collect())
        };
        let numbered_records = |first| Some(records(1 << 40, 7, first));
        let request = ProduceRequest::default().with_topic_data(vec![
            topic("a", vec![(3, numbered_records(5)), (4, None)]),
            topic("b", vec![(3, Some(records(-1, -1, -1)))]),
            topic("c", vec![(0, numbered_records(0))]),
        ]);
        for version in 3..=12 {
            let mut frame = Vec::new();
            request.encode(&mut frame, version).unwrap();
            let request = Request {
                api: table::PRODUCE,
                version,
                frame: &frame,
                body_at: 0,
            };
            let expected = vec![Sequence::numbered(5), None, None, Sequence::numbered(0)];
            let (_, sequences) = request.needs_and_sequences().unwrap();
            assert_eq!(sequences, expected, "v{version}");
        }
    }

    #[test]
    fn a_count_goes_on_behind_its_last_number_and_ends_with_its_epoch() {
        let at = |first| Sequence::numbered(first).unwrap();
        assert!(at(6).is_behind(&at(5)));
        assert!(!at(5).is_behind(&at(5)));
        assert!(!at(4).is_behind(&at(5)));
        assert!(at(0).is_behind(&at(i32::MAX)));
        assert!(!at(i32::MAX).is_behind(&at(0)));
        let other = |producer_id, epoch| Sequence {
            producer_id,
            epoch,
            first: 6,
        };
        assert!(!other(1 << 40, 8).is_behind(&at(5)));
        assert!(!other(2, 7).is_behind(&at(5)));
    }
}
