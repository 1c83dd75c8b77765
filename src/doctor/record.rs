//! One record as a batch of format v2 (KIP-98), the way a producer writes it.

use bytes::BufMut;

/// The bytes between the length and the checksum: leader epoch and magic; the checksum itself.
const BEFORE_CHECKSUM_BYTES: usize = 4 + 1 + 4;

/// Where the attributes stand, whose lowest three bits say how a batch is compressed.
const ATTRIBUTES_AT: usize = 8 + 4 + BEFORE_CHECKSUM_BYTES;

/// A batch of one record without headers. `timestamp_ms` is since 1970.
pub(super) fn batch(key: &[u8], value: &[u8], timestamp_ms: i64) -> Vec<u8> {
    let mut record = vec![0, 0, 0]; // attributes, and both deltas
    put_bytes(&mut record, key);
    put_bytes(&mut record, value);
    record.put_u8(0); // no headers

    let mut summed = Vec::new();
    summed.put_i16(0); // not compressed
    summed.put_i32(0); // the last offset, counted from the first
    summed.put_i64(timestamp_ms);
    summed.put_i64(timestamp_ms);
    summed.put_i64(-1); // no producer id
    summed.put_i16(-1);
    summed.put_i32(-1);
    summed.put_i32(1); // one record
    put_zigzag(&mut summed, record.len());
    summed.put_slice(&record);

    let mut batch = Vec::new();
    batch.put_i64(0); // the broker sets the offset
    batch.put_i32((BEFORE_CHECKSUM_BYTES + summed.len()) as i32);
    batch.put_i32(-1); // no leader epoch
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&summed));
    batch.put_slice(&summed);
    batch
}

/// Whether `batches`, as a broker gave them, hold `value`. What a topic compresses can't be
/// looked into, and counts as held.
pub(super) fn holds(batches: &[u8], value: &[u8]) -> bool {
    let attributes = batches.get(ATTRIBUTES_AT + 1);
    let is_compressed = attributes.is_some_and(|attributes| attributes & 0x07 != 0);
    is_compressed || batches.windows(value.len()).any(|window| window == value)
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    put_zigzag(record, bytes.len());
    record.put_slice(bytes);
}

/// A length as a signed varint: few bytes, what is written here is short.
fn put_zigzag(out: &mut Vec<u8>, length: usize) {
    crate::protocol::wire::put_varint(out, (length as u32) << 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn the_batch_is_one_record_to_another_implementation() {
        let bytes = batch(b"key", b"a value", 1_700_000_000_000);
        let mut read = bytes::Bytes::from(bytes.clone());
        let set = RecordBatchDecoder::decode(&mut read).unwrap();
        assert_eq!(set.records.len(), 1);
        let record = &set.records[0];
        assert_eq!(record.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"a value"[..]));
        assert_eq!(record.timestamp, 1_700_000_000_000);
        assert!(holds(&bytes, b"a value") && !holds(&bytes, b"another"));
    }

    #[test]
    fn a_batch_that_is_cut_holds_nothing() {
        assert!(!holds(b"", b"a value"));
    }
}
